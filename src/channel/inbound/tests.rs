use std::pin::pin;

use bytes::BytesMut;
use futures::FutureExt;
use tokio::task::yield_now;
use tokio_util::task::TaskTracker;

use super::*;
use crate::channel::{ChannelConfig, Fate, Receiver, Refusal, Share};
use crate::id::{ChannelId, NodeKey};
use crate::message::{DecodeError, Version};
use crate::queue::Meta;

/// A number that never leaves the node.
#[derive(Debug)]
struct Count(u64);

impl Message for Count {
    const CHANNEL: ChannelId = ChannelId::from_static("count");
    const VERSIONS: &'static [Version] = &[Version { number: 1, codes: 1 }];
    const MAX_BYTES: usize = 8;
    type Received = Self;

    fn code(&self) -> u8 {
        0
    }

    fn encode(&self, _version: u32, out: &mut BytesMut) {
        out.extend_from_slice(&self.0.to_be_bytes());
    }

    fn decode(_version: u32, code: u8, _payload: &Bytes) -> Result<Self, DecodeError> {
        Err(DecodeError::UnknownCode { code })
    }

    fn received(self) -> Self {
        self
    }
}

/// A queue that holds three messages of each sender.
fn tiny() -> Arc<InboundQueue<Count>> {
    let defaults = ChannelConfig::for_messages_of(Count::MAX_BYTES);
    let config = ChannelConfig { inbound: Share { messages: 3, ..defaults.inbound }, ..defaults };
    let limits = config.limits(&ChannelSpec::of::<Count>()).unwrap();
    Arc::new(InboundQueue::new(limits, Arc::default(), Clock::default()))
}

/// Puts so many messages into the queue, one after another, whenever there is room.
async fn fill(queue: Arc<InboundQueue<Count>>, sender: u64, count: u64) {
    let me = NodeKey::insecure_from_seed(sender).id();
    for number in 0..count {
        let mut message = Some(Count(number));
        loop {
            let mut room = pin!(queue.local_room());
            room.as_mut().enable();
            match queue.push_local(queue.clock.now(), me, &mut message, Meta::new(0)) {
                Fate::Refused(Refusal::Full) => room.await,
                fate => break assert_eq!(fate, Fate::Queued),
            }
        }
    }
}

/// Takes a message in a task of its own, in one of several ways, of which most leave a waker behind that nobody heeds.
async fn take(mut receiver: Receiver<Count>, way: u64) -> (Receiver<Count>, Option<Envelope<Count>>) {
    let early = match way % 5 {
        0 => receiver.recv().now_or_never().flatten(),
        1 => receiver.try_recv(),
        2 => tokio::select! {
            biased;
            found = receiver.recv() => found,
            () = yield_now() => None,
        },
        3 => {
            // Another task has polled it last, and is gone before the next message.
            let polling = TaskTracker::new().spawn(async move {
                let found = receiver.recv().now_or_never().flatten();
                (receiver, found)
            });
            let (back, found) = polling.await.unwrap();
            receiver = back;
            found.or_else(|| receiver.try_recv())
        }
        _ => None,
    };
    let found = match early {
        Some(found) => Some(found),
        None => receiver.recv().await,
    };
    (receiver, found)
}

#[test]
fn a_receiver_that_moves_between_tasks_and_drops_its_futures_sleeps_through_no_message() {
    const SENDERS: u64 = 3;
    const EACH: u64 = 3_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    runtime.block_on(async {
        let queue = tiny();
        let mut receiver = Receiver::new(Arc::clone(&queue));
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| TaskTracker::new().spawn(fill(Arc::clone(&queue), sender + 1, EACH)))
            .collect();
        let mut heard: std::collections::BTreeMap<NodeId, u64> = Default::default();
        for way in 0..SENDERS * EACH {
            let (back, found) = TaskTracker::new().spawn(take(receiver, way)).await.unwrap();
            receiver = back;
            let Envelope { from, message, .. } = found.unwrap();
            let next = heard.entry(from).or_default();
            assert_eq!(message.0, *next, "in the order in which they were sent");
            *next += 1;
        }
        for sender in senders {
            sender.await.unwrap();
        }
        assert_eq!((queue.depth().0, queue.counters.local()), (0, SENDERS * EACH));
        // One that waits hears of the end, on whichever thread.
        let ended = TaskTracker::new().spawn(async move { receiver.recv().await.is_none() });
        yield_now().await;
        queue.close();
        assert!(ended.await.unwrap());
    });
}
