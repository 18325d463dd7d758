//! What a queue drops is a user's type: its `Drop` may use the channel, and may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peerage::Router;
use peerage::channel::{Channel, ChannelConfig, DropReason, Recipients, SendOptions, Sender, Share};
use peerage::id::ChannelId;
use peerage::message::{DecodeError, Message, Version};
use peerage::queue::Overflow;
use tokio::time::advance;

use crate::router::kit::{id, paused};

/// Does something when it is dropped, wherever that is.
struct Last(Option<Box<dyn FnOnce() + Send>>);

impl Drop for Last {
    fn drop(&mut self) {
        if let Some(words) = self.0.take() {
            words();
        }
    }
}

impl Message for Last {
    const CHANNEL: ChannelId = ChannelId::from_static("last");
    const VERSIONS: &'static [Version] = &[Version { number: 1, codes: 1 }];
    const MAX_BYTES: usize = 1024;
    type Received = Self;

    fn code(&self) -> u8 {
        0
    }

    fn encode(&self, _: u32, _: &mut BytesMut) {}

    fn decode(_: u32, _: u8, _: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self(None))
    }

    fn received(self) -> Self {
        self
    }
}

const WAYS: [DropReason; 4] =
    [DropReason::InboundEvicted, DropReason::Cancelled, DropReason::Stale, DropReason::NoReceiver];

/// Has `last` queued and lost in this way, before another message that stays unless the receiver goes.
async fn lose(way: DropReason, channel: Channel<Last>, last: Last) {
    let (sender, mut receiver) = channel.split();
    let cancel = sender.cancel_id();
    let options = SendOptions::new().cancel_by(cancel).stale_after(Duration::from_secs(1));
    let send = |last, options| {
        // Whatever a drop does, it does it here.
        catch_unwind(AssertUnwindSafe(|| sender.try_send_with(Recipients::local(), last, options).ignore()))
    };
    assert!(send(last, options).is_ok());
    assert!(send(Last(None), SendOptions::new()).is_ok());
    if way == DropReason::InboundEvicted {
        let _ = send(Last(None), SendOptions::new());
    }
    if way == DropReason::Cancelled {
        let _ = catch_unwind(AssertUnwindSafe(|| sender.cancel(cancel)));
    }
    if way == DropReason::Stale {
        advance(Duration::from_secs(2)).await;
        let _ = catch_unwind(AssertUnwindSafe(|| receiver.try_recv()));
    }
    if way == DropReason::NoReceiver {
        let _ = catch_unwind(AssertUnwindSafe(move || drop(receiver)));
    } else {
        while receiver.try_recv().is_some() {}
        assert!(receiver.is_empty());
    }
}

/// Runs on a thread of its own, so that one that waits for itself is noticed.
#[allow(clippy::disallowed_methods, reason = "a thread that waits for itself can only be told from another")]
fn promptly(test: impl FnOnce() + Send + 'static) {
    let (tell, told) = mpsc::sync_channel(1);
    let running = std::thread::spawn(move || {
        test();
        tell.send(()).unwrap();
    });
    match told.recv_timeout(Duration::from_secs(20)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it waits for itself"),
        _ => running.join().unwrap(),
    }
}

fn channel() -> Channel<Last> {
    let defaults = ChannelConfig::for_messages_of(Last::MAX_BYTES);
    let inbound = Share { messages: 2, ..defaults.inbound };
    let config = ChannelConfig { inbound, inbound_overflow: Overflow::DropOldest, ..defaults };
    let mut builder = Router::builder(id(1));
    builder.local_only().seed(1).channel_with(&config).unwrap()
}

#[test]
fn what_is_dropped_may_use_its_channel() {
    for way in WAYS {
        promptly(move || {
            paused(async {
                let channel = channel();
                let sender: Sender<Last> = channel.sender().clone();
                let (counters, (tell, told)) = (sender.clone(), mpsc::sync_channel(1));
                let last = Last(Some(Box::new(move || {
                    sender.try_send(Recipients::local(), Last(None)).ignore();
                    tell.send(()).unwrap();
                })));
                lose(way, channel, last).await;
                assert!(told.try_recv().is_ok(), "{way}");
                assert!(counters.counters().dropped(way) > 0, "{way}");
            });
        });
    }
}

#[test]
fn what_is_dropped_may_panic_and_the_books_stay_right() {
    for way in WAYS {
        promptly(move || {
            paused(async {
                let channel = channel();
                let sender: Sender<Last> = channel.sender().clone();
                let counters = sender.counters();
                lose(way, channel, Last(Some(Box::new(|| panic!("for the test"))))).await;
                let read = if way == DropReason::NoReceiver { 0 } else { counters.received() - 1 };
                let lost: u64 = counters.drops().map(|(_, count)| count).sum();
                assert_eq!(counters.received(), read + lost, "{way}");
                assert!(counters.dropped(way) > 0, "{way}");
                // A queue that leaks room would have none left.
                for _ in 0..8 {
                    sender.try_send(Recipients::local(), Last(None)).ignore();
                }
            });
        });
    }
}
