//! A vote waits for one block on the line, however many blocks wait with it.

use std::time::Duration;

use bytes::Bytes;
use peerage::NodeId;
use peerage::channel::{Channel, ChannelConfig, Sender};
use peerage::message::Message;
use peerage::queue::Priority;
use peerage::router::Builder;
use peerage::transport::link::LinkConfig;
use peerage::transport::memory::MemoryNetwork;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Node, PATIENCE, Way, key, paused};

peerage::protocol! {
    /// Small and urgent: with its length and its id, 100 bytes on the line.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Vote: "vote" / 1, max 1024 {
        0 = Cast { nanos: u64, filler: Bytes },
    }
}

/// Declares channels of blocks. A vote may travel among the blocks.
macro_rules! bulk {
    ($($name:ident: $id:literal),*) => {$(
        peerage::protocol! {
            /// Large and patient.
            #[derive(Debug, Clone, PartialEq)]
            pub enum $name: $id / 1, max 2 * 1024 * 1024 {
                0 = Block(Bytes),
                1 = Cast { nanos: u64, filler: Bytes },
            }
        }

        impl Bulk for $name {
            fn block(filler: Bytes) -> Self {
                Self::Block(filler)
            }

            fn cast(nanos: u64, filler: Bytes) -> Self {
                Self::Cast { nanos, filler }
            }

            fn cast_at(received: &Self::Received) -> Option<u64> {
                match received {
                    Self::Block(_) => None,
                    Self::Cast { nanos, .. } => Some(*nanos),
                }
            }
        }
    )*};
}

bulk!(First: "bulk-1", Second: "bulk-2", Third: "bulk-3", Fourth: "bulk-4");

trait Bulk: Message {
    fn block(filler: Bytes) -> Self;
    fn cast(nanos: u64, filler: Bytes) -> Self;
    /// When a vote was cast, if it is one.
    fn cast_at(received: &Self::Received) -> Option<u64>;
}

impl Bulk for Vote {
    fn block(_: Bytes) -> Self {
        unreachable!("the channel of votes carries no blocks")
    }

    fn cast(nanos: u64, filler: Bytes) -> Self {
        Self::Cast { nanos, filler }
    }

    fn cast_at(Self::Cast { nanos, .. }: &Self) -> Option<u64> {
        Some(*nanos)
    }
}

/// 50 Mbit/s.
const BYTES_PER_SECOND: u64 = 6_250_000;
const LATENCY: Duration = Duration::from_millis(20);
/// What the line holds unsent comes on top of a vote's wait, as the unsent bytes of a socket do: here 0.7 ms.
const BUFFER_BYTES: usize = 4 * 1024;
const BLOCK_BYTES: usize = 1024 * 1024;
/// With a vote's other fields and its frame's head it makes 100 bytes on the line.
const FILLER_BYTES: usize = 83;
const VOTES: usize = 10_000;

/// The longest that 99 of 100 votes may take: one block, and the line.
fn bound() -> Duration {
    Duration::from_nanos(BLOCK_BYTES as u64 * 1_000_000_000 / BYTES_PER_SECOND) + LATENCY
}

/// Where the votes go.
#[derive(Clone, Copy, PartialEq)]
enum Votes {
    /// On a channel of this priority.
    Apart(Priority),
    /// On the first channel of blocks.
    AmongBlocks,
}

struct Ends<M: Message> {
    near: Channel<M>,
    far: Channel<M>,
}

impl<M: Message> Ends<M> {
    fn declare(near: &mut Builder, far: &mut Builder, priority: Priority) -> Self {
        let config = ChannelConfig { priority, ..ChannelConfig::for_messages_of(M::MAX_BYTES) };
        Self { near: near.channel_with(&config).unwrap(), far: far.channel_with(&config).unwrap() }
    }
}

/// A test under way.
struct Run {
    tasks: TaskTracker,
    stop: CancellationToken,
    to: NodeId,
    votes: usize,
}

impl Run {
    /// Keeps a channel full of blocks, whose receiver throws them away.
    fn flood<M: Bulk>(&self, ends: Ends<M>) {
        let ((sender, _), mut receiver) = (ends.near.split(), ends.far);
        self.fill(sender);
        self.tasks.spawn(async move { while receiver.recv().await.is_some() {} });
    }

    fn fill<M: Bulk>(&self, sender: Sender<M>) {
        let (to, stop) = (self.to, self.stop.clone());
        let block = Bytes::from(vec![7; BLOCK_BYTES]);
        let fill = async move { while sender.send(to, M::block(block.clone()), PATIENCE).await.is_ok() {} };
        self.tasks.spawn(async move { stop.run_until_cancelled(fill).await });
    }

    /// Casts a vote each millisecond. Returns how long each took, sorted.
    async fn vote<M: Bulk>(&self, ends: Ends<M>) -> Vec<Duration> {
        let began = Instant::now();
        let votes = self.votes;
        let ((sender, _), mut receiver) = (ends.near.split(), ends.far);
        let cast = async {
            let mut turns = interval(Duration::from_millis(1));
            for _ in 0..votes {
                // One that has to wait for room is late from its turn on.
                let turn = turns.tick().await;
                let nanos = u64::try_from((turn - began).as_nanos()).unwrap();
                let vote = M::cast(nanos, Bytes::from(vec![1; FILLER_BYTES]));
                sender.send(self.to, vote, PATIENCE).await.unwrap();
            }
        };
        let count = async {
            let mut delays = Vec::with_capacity(votes);
            while delays.len() < votes {
                let envelope = receiver.recv().await.expect("the node has ended");
                if let Some(nanos) = M::cast_at(&envelope.message) {
                    delays.push(began.elapsed() - Duration::from_nanos(nanos));
                }
            }
            delays
        };
        let ((), mut delays) = tokio::join!(cast, count);
        delays.sort_unstable();
        delays
    }
}

/// How long 99 of 100 votes take at most beside `floods` channels of blocks.
async fn p99(votes: Votes, floods: usize) -> Duration {
    let link = LinkConfig::new(LATENCY, Some(BYTES_PER_SECOND), BUFFER_BYTES).unwrap();
    let way = Way::Memory(MemoryNetwork::with_link(link));
    let (mut near, mut far) = (way.builder(1).await, way.builder(2).await);
    let priority = match votes {
        Votes::Apart(priority) => priority,
        Votes::AmongBlocks => Priority::Normal,
    };
    let apart = Ends::<Vote>::declare(&mut near, &mut far, priority);
    let first = Ends::<First>::declare(&mut near, &mut far, Priority::Normal);
    let second = Ends::<Second>::declare(&mut near, &mut far, Priority::Normal);
    let third = Ends::<Third>::declare(&mut near, &mut far, Priority::Normal);
    let fourth = Ends::<Fourth>::declare(&mut near, &mut far, Priority::Normal);
    let count = if votes == Votes::AmongBlocks { VOTES / 50 } else { VOTES };
    let run =
        Run { tasks: TaskTracker::new(), stop: CancellationToken::new(), to: key(2).id(), votes: count };
    let far = Node::start(&run.tasks, far);
    near.peer(far.address());
    let near = Node::start(&run.tasks, near);
    near.up(1).await;
    if floods == 4 {
        run.flood(second);
        run.flood(third);
        run.flood(fourth);
    }
    let delays = if votes == Votes::AmongBlocks {
        run.fill(first.near.sender().clone());
        run.vote(first).await
    } else {
        run.flood(first);
        run.vote(apart).await
    };
    run.stop.cancel();
    far.stop().await;
    near.stop().await;
    delays[delays.len() * 99 / 100 - 1]
}

#[test]
fn a_vote_of_high_priority_waits_for_one_block_of_one_channel() {
    let p99 = paused(p99(Votes::Apart(Priority::High), 1));
    assert!(p99 <= bound(), "{p99:?}");
}

#[test]
fn a_vote_of_high_priority_waits_for_one_block_of_four_channels() {
    let p99 = paused(p99(Votes::Apart(Priority::High), 4));
    assert!(p99 <= bound(), "{p99:?}");
}

/// Deficit round robin serves whoever was served least, and that is never the block. So with one channel of blocks the class
/// gains little: the votes that come while those of the last block's time are written (17 KB) wait for the next block.
#[test]
fn a_vote_among_equals_waits_for_hardly_more_than_a_block_of_one_channel() {
    let p99 = paused(p99(Votes::Apart(Priority::Normal), 1));
    assert!(bound() < p99 && p99 <= bound() + Duration::from_millis(3), "{p99:?}");
}

/// What the class is for.
#[test]
fn a_vote_among_equals_waits_for_a_block_of_each_of_four_channels() {
    let p99 = paused(p99(Votes::Apart(Priority::Normal), 4));
    assert!(p99 > 3 * bound(), "{p99:?}");
}

/// One queue, first in, first out: each waits for room, and then for eight blocks.
#[test]
fn a_vote_among_the_blocks_of_its_own_channel_waits_for_all_of_them() {
    let p99 = paused(p99(Votes::AmongBlocks, 1));
    assert!(p99 > 5 * bound(), "{p99:?}");
}
