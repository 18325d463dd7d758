//! Ten times as much as the peer reads, for as long as you like: every message has a fate, and memory has a bound.

use bytes::Bytes;
use peerage::channel::{ChannelConfig, DropReason, Receiver, SendOptions, Sender, Share};
use peerage::message::Message;
use peerage::queue::{Overflow, charge};
use peerage::router::ChannelStatus;
use peerage::transport::memory::MemoryNetwork;
use tokio_util::task::TaskTracker;

use super::{Load, Node, Way, lost, paused};

/// What is offered for each message that the peer may read.
const OVERLOAD: u64 = 10;
const READ_EACH_TURN: u64 = 50;
/// Larger than what a pipe holds would take to fill, and small enough to be full for nearly all of the time.
const OUTBOUND: Share = Share { messages: 1024, bytes: 96 << 10 };
const INBOUND: Share = Share { messages: 256, bytes: 32 << 10 };
const FILLER_BYTES: usize = 100;

/// A sender that does not pace itself, and a receiver that reads a tenth of it.
struct Flood {
    tasks: TaskTracker,
    near: Node,
    far: Node,
    sender: Sender<Load>,
    receiver: Receiver<Load>,
}

/// What was counted while it lasted, and after both nodes had ended.
struct Outcome {
    offered: u64,
    refused: u64,
    read: u64,
    near: ChannelStatus,
    far: ChannelStatus,
}

impl Flood {
    async fn new(overflow: Overflow) -> Self {
        let way = Way::Memory(MemoryNetwork::new());
        let config = ChannelConfig {
            outbound: OUTBOUND,
            outbound_overflow: overflow,
            inbound: INBOUND,
            inbound_total: INBOUND,
            inbound_overflow: Overflow::Wait,
            ..ChannelConfig::for_messages_of(Load::MAX_BYTES)
        };
        let tasks = TaskTracker::new();
        let (mut near, mut far) = (way.builder(1).await, way.builder(2).await);
        let (sender, _) = near.channel_with::<Load>(&config).unwrap().split();
        let (_, receiver) = far.channel_with::<Load>(&config).unwrap().split();
        let far = Node::start(&tasks, far);
        near.peer(far.address());
        let near = Node::start(&tasks, near);
        near.up(1).await;
        far.up(1).await;
        Self { tasks, near, far, sender, receiver }
    }

    /// Offers so many messages, and reads a tenth of that meanwhile.
    async fn run(mut self, offers: u64) -> Outcome {
        let (mut offered, mut refused, mut read) = (0, 0, 0);
        let to = self.far.id;
        while offered < offers {
            for _ in 0..OVERLOAD * READ_EACH_TURN {
                let message = Load::Piece { number: offered, filler: Bytes::from_static(&[1; FILLER_BYTES]) };
                // Under the policy that knows keys, two of three messages have one that is queued or was.
                let options = SendOptions::new().key(offered % 300);
                let outcome = self.sender.try_send_with(to, message, options);
                refused += outcome.refused().len() as u64;
                offered += 1;
            }
            for _ in 0..READ_EACH_TURN {
                read += u64::from(self.receiver.try_recv().is_some());
            }
            self.check_memory();
            tokio::task::yield_now().await;
            if self.near.handle.peers().is_empty() {
                // It was disconnected for its slowness: it comes back.
                self.near.up(1).await;
            }
        }
        self.end(offered, refused, read).await
    }

    fn check_memory(&self) {
        for peer in self.near.handle.peers() {
            assert!(
                peer.queued_bytes <= OUTBOUND.bytes && peer.queued_messages <= OUTBOUND.messages,
                "{peer:?}"
            );
        }
        let load = self.far.load();
        assert!(load.waiting_bytes <= INBOUND.bytes && load.waiting <= INBOUND.messages, "{load:?}");
        assert!(load.waiting_bytes >= load.waiting * charge(FILLER_BYTES), "{load:?}");
    }

    /// Ends the sender, then the receiver, which reads what there is.
    async fn end(self, offered: u64, refused: u64, mut read: u64) -> Outcome {
        let Self { tasks, near, far, mut receiver, .. } = self;
        let (near_handle, far_handle) = (near.handle.clone(), far.handle.clone());
        let reading = async {
            while receiver.recv().await.is_some() {
                read += 1;
            }
        };
        let ending = async {
            let report = near.stop().await;
            assert!(report.clean, "{report:?}");
            let mut updates = far.handle.updates();
            while !far.handle.peers().is_empty() {
                updates.next().await;
            }
            far.stop().await;
        };
        tokio::join!(reading, ending);
        tasks.close();
        tasks.wait().await;
        let (near, far) = (near_handle.channels().remove(0), far_handle.channels().remove(0));
        Outcome { offered, refused, read, near, far }
    }
}

impl Outcome {
    /// The law: whatever was offered was refused, or accepted; and that was sent or dropped by name.
    fn is_conserved(&self) {
        let Self { offered, refused, read, near, far } = self;
        assert_eq!(near.accepted + near.refused, *offered, "{near:?}");
        assert_eq!(near.refused, *refused);
        assert_eq!(near.accepted, near.sent + lost(near), "{near:?}");
        assert_eq!((far.received, far.waiting), (*read, 0), "{far:?}");
        // It is an overload: most of what was offered was too much.
        assert!(near.sent < offered / 5, "{near:?}");
    }

    /// Nothing is lost on the way from a connection that lasts.
    fn arrived(&self) {
        assert_eq!(self.far.received, self.near.sent);
        assert_eq!(self.far.dropped, []);
        assert!(self.near.sent >= self.offered / 12, "the peer was kept busy: {:?}", self.near);
    }
}

fn flood(overflow: Overflow, offers: u64) -> Outcome {
    let outcome = paused(async { Flood::new(overflow).await.run(offers).await });
    outcome.is_conserved();
    outcome
}

#[test]
fn a_million_messages_too_many_are_refused_where_the_policy_is_to_wait() {
    let outcome = flood(Overflow::Wait, 1_000_000);
    outcome.arrived();
    assert_eq!(outcome.near.dropped, []);
}

#[test]
fn the_oldest_are_dropped_by_name() {
    let outcome = flood(Overflow::DropOldest, 100_000);
    outcome.arrived();
    assert_eq!(outcome.refused, 0);
    assert!(matches!(outcome.near.dropped[..], [(DropReason::OutboundEvicted, 50_000..)]));
}

#[test]
fn the_newest_are_refused() {
    let outcome = flood(Overflow::DropNewest, 100_000);
    outcome.arrived();
    assert_eq!(outcome.near.dropped, []);
}

#[test]
fn the_older_of_a_key_are_replaced_by_name() {
    let outcome = flood(Overflow::ReplaceByKey, 100_000);
    outcome.arrived();
    assert!(matches!(outcome.near.dropped[..], [(DropReason::Replaced, 50_000..)]), "{:?}", outcome.near);
}

#[test]
fn a_peer_that_is_too_slow_is_disconnected_and_what_waited_is_dropped_by_name() {
    let outcome = flood(Overflow::Disconnect, 100_000);
    // The last one may be the shutdown's.
    let by_name =
        |(reason, _): &(DropReason, u64)| [DropReason::Disconnected, DropReason::Shutdown].contains(reason);
    assert!(outcome.near.dropped.iter().all(by_name), "{:?}", outcome.near);
    assert!(matches!(outcome.near.dropped[0], (DropReason::Disconnected, 5000..)), "{:?}", outcome.near);
    // Of the batch that was being written when a connection ended part may have arrived; all of it counts as dropped.
    assert!(outcome.far.received <= outcome.near.accepted);
}
