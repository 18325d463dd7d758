//! Two reactors of one node, and no network between them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peerage::Router;
use peerage::channel::Destination::Local;
use peerage::channel::{
    Channel, ChannelConfig, DropReason, Fate, Recipients, Refusal, RequestError, SendError, SendOptions,
    Sender, Share,
};
use peerage::id::{ChannelId, ConnId};
use peerage::message::{DecodeError, Frame, Message, Packet, Request, Version};
use peerage::queue::Overflow;
use peerage::router::{BuildError, Builder};
use peerage::transport::PacketWriter;
use tokio::task::yield_now;
use tokio::time::{Instant, advance};

use crate::router::kit::{Memory, Net, Note, Wire, id, over_both, paused};

over_both!(local_messages_and_those_of_peers_take_turns, room_that_a_peer_left_is_found_by_a_local_sender);

const LONG: Duration = Duration::from_secs(3600);

/// Goes from reactor to reactor and nowhere else.
#[derive(Debug, PartialEq)]
struct Value(u64);

impl Message for Value {
    const CHANNEL: ChannelId = ChannelId::from_static("value");
    const VERSIONS: &'static [Version] = &[Version { number: 1, codes: 1 }];
    const MAX_BYTES: usize = 1024;
    type Received = Self;

    fn code(&self) -> u8 {
        panic!("a local message has no code")
    }

    fn encode(&self, _: u32, _: &mut BytesMut) {
        panic!("a local message is not encoded")
    }

    fn decode(_: u32, _: u8, _: &Bytes) -> Result<Self, DecodeError> {
        panic!("a local message is not decoded")
    }

    fn received(self) -> Self {
        self
    }
}

peerage::protocol! {
    /// Asks for a number.
    #[derive(Debug)]
    pub enum Sums: "sums" / 1, max 1024 {
        0 = Double { number: u64 } -> Doubled,
        1 = answer Doubled { number: u64 },
    }
}

/// A node that needs no network.
fn alone() -> Builder {
    let mut builder = Router::builder(id(1));
    builder.local_only().seed(1);
    builder
}

/// A channel whose receiver has so many messages of one sender waiting.
fn holding(messages: usize, inbound_overflow: Overflow) -> ChannelConfig {
    let defaults = ChannelConfig::for_messages_of(Value::MAX_BYTES);
    ChannelConfig { inbound: Share { messages, ..defaults.inbound }, inbound_overflow, ..defaults }
}

fn fate(sender: &Sender<Value>, number: u64) -> Fate {
    let outcome = sender.try_send(Recipients::local(), Value(number));
    let fates: Vec<_> = outcome.iter().collect();
    assert!(matches!(fates[..], [(me, _)] if me == id(1)), "{outcome}");
    fates[0].1
}

#[test]
fn a_value_passes_between_reactors_of_a_node_without_a_network() {
    paused(async {
        let mut builder = alone();
        let mut channel: Channel<Value> = builder.channel().unwrap();
        let sender = channel.sender().clone();
        assert_eq!(sender.try_send(Recipients::local(), Value(0)).ok(), Ok(1), "before it is built");
        let (tell, told) = tokio::sync::oneshot::channel();
        let replies = sender.clone();
        builder.reactor("hears", async move {
            let mut all = Vec::new();
            while let Some(envelope) = channel.recv().await {
                assert!(envelope.is_local());
                assert_eq!((envelope.from, envelope.conn), (id(1), ConnId::LOCAL));
                all.push(envelope.message.0);
            }
            tell.send(all).unwrap();
        });
        builder.reactor("speaks", async move {
            for number in 1..5000 {
                replies.send(Local, Value(number), LONG).await.unwrap();
            }
        });
        let router = builder.build().unwrap();
        let handle = router.handle();
        let counters = sender.clone();
        let running = Net::new(Memory::default()).beside(router.run());
        while counters.counters().received() < 5000 {
            yield_now().await;
        }
        assert!(handle.addresses().is_empty());
        handle.shutdown();
        assert!(running.await.unwrap().clean);
        assert_eq!(told.await.unwrap(), (0..5000).collect::<Vec<_>>(), "all of them, in order");
        assert_eq!((counters.counters().accepted(), counters.counters().received_bytes()), (0, 0));
        assert_eq!(fate(&sender, 1), Fate::Refused(Refusal::NoReceiver));
    });
}

#[test]
fn a_full_receiver_does_as_its_policy_says() {
    for policy in [Overflow::Wait, Overflow::DropNewest, Overflow::Disconnect, Overflow::DropOldest] {
        let mut channel = alone().channel_with::<Value>(&holding(2, policy)).unwrap();
        let fates: Vec<_> = (0..3).map(|number| fate(channel.sender(), number)).collect();
        assert_eq!(fates[..2], [Fate::Queued; 2]);
        let first = if policy == Overflow::DropOldest {
            assert_eq!(fates[2], Fate::Evicted(1));
            assert_eq!(channel.sender().counters().dropped(DropReason::InboundEvicted), 1);
            1
        } else {
            assert_eq!(fates[2], Fate::Refused(Refusal::Full), "{policy:?}");
            assert_eq!(channel.sender().counters().refused(), 1);
            0
        };
        paused(async {
            for number in first..first + 2 {
                assert_eq!(channel.recv().await.unwrap().message, Value(number));
            }
        });
        assert!(channel.is_empty());
    }
    let refused = alone().channel_with::<Value>(&holding(2, Overflow::ReplaceByKey)).map(drop).unwrap_err();
    assert!(matches!(&refused, BuildError::Channel(fault) if fault.field == "inbound_overflow"), "{refused}");
}

#[test]
fn a_local_send_waits_for_room_however_it_comes() {
    paused(async {
        let (sender, mut receiver) = alone().channel_with(&holding(1, Overflow::DropNewest)).unwrap().split();
        let name = sender.cancel_id();
        let aged = SendOptions::new().stale_after(Duration::from_secs(1));
        for ends in ["read", "cancelled", "stale"] {
            let options = if ends == "stale" { aged } else { SendOptions::new().cancel_by(name) };
            assert_eq!(sender.try_send_with(Recipients::local(), Value(1), options).ok(), Ok(1));
            let began = Instant::now();
            let late = sender.send(Local, Value(2), Duration::from_millis(5)).await;
            assert_eq!((late, began.elapsed()), (Err(SendError::TimedOut), Duration::from_millis(5)));
            let mut sending = Box::pin(sender.send(Local, Value(3), LONG));
            assert!(futures::poll!(&mut sending).is_pending());
            match ends {
                "read" => assert_eq!(receiver.recv().await.unwrap().message, Value(1)),
                "cancelled" => assert_eq!(sender.cancel(name), 1),
                _ => {
                    advance(Duration::from_secs(1)).await;
                    assert_eq!(receiver.try_recv(), None);
                }
            }
            let (began, sent) = (Instant::now(), sending.await);
            assert_eq!((sent, began.elapsed()), (Ok(()), Duration::ZERO), "{ends}");
            assert_eq!(receiver.recv().await.unwrap().message, Value(3));
        }
        let counters = sender.counters();
        assert_eq!(
            counters.drops().collect::<Vec<_>>(),
            [(DropReason::Stale, 1), (DropReason::Cancelled, 1)]
        );
        assert_eq!(counters.received(), 4 + 2, "four were read, two lost");
    });
}

#[test]
fn stale_local_messages_are_counted_when_they_make_room() {
    paused(async {
        let channel = alone().channel_with::<Value>(&holding(1, Overflow::DropOldest)).unwrap();
        let aged = SendOptions::new().stale_after(Duration::ZERO);
        assert_eq!(channel.sender().try_send_with(Recipients::local(), Value(1), aged).ok(), Ok(1));
        assert_eq!(fate(channel.sender(), 2), Fate::Queued);
        assert_eq!(channel.sender().counters().drops().collect::<Vec<_>>(), [(DropReason::Stale, 1)]);
    });
}

#[test]
fn whoever_waits_hears_that_the_receiver_is_gone_or_the_node_ends() {
    paused(async {
        let (sender, receiver) = alone().channel_with(&holding(1, Overflow::Wait)).unwrap().split();
        assert_eq!(fate(&sender, 1), Fate::Queued);
        let mut sending = Box::pin(sender.send(Local, Value(2), LONG));
        assert!(futures::poll!(&mut sending).is_pending());
        drop(receiver);
        assert_eq!(sending.await, Err(SendError::Refused(Refusal::NoReceiver)));
        assert_eq!(fate(&sender, 3), Fate::Refused(Refusal::NoReceiver));
        assert_eq!(sender.counters().drops().collect::<Vec<_>>(), [(DropReason::NoReceiver, 1)]);

        let mut builder = alone();
        let (sender, _receiver) = builder.channel_with(&holding(1, Overflow::Wait)).unwrap().split();
        let router = builder.build().unwrap();
        assert_eq!(fate(&sender, 1), Fate::Queued);
        router.handle().shutdown();
        let (began, sent) = (Instant::now(), sender.send(Local, Value(2), LONG));
        let (report, sent) = tokio::join!(router.run(), sent);
        assert!(report.clean);
        assert_eq!((sent, began.elapsed()), (Err(SendError::Refused(Refusal::ShuttingDown)), Duration::ZERO));
    });
}

/// Writes so many messages of a peer, in one go.
async fn flood(writer: &mut impl PacketWriter, messages: usize) {
    for _ in 0..messages {
        let payload = Bytes::from_static(b"\xc1\x07");
        writer.write(&Packet::Frame(Frame { channel: Note::CHANNEL, code: 0, payload })).unwrap();
    }
    writer.flush().await.unwrap();
}

async fn local_messages_and_those_of_peers_take_turns<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    flood(&mut peer.writer, 500).await;
    while node.handle.channels()[0].received < 500 {
        yield_now().await;
    }
    for number in 0..500 {
        assert_eq!(node.channel.try_send(Recipients::local(), Note::Say { number }).ok(), Ok(1));
    }
    let mut local = 0;
    for _ in 0..300 {
        local += usize::from(node.channel.recv().await.unwrap().is_local());
    }
    assert!((100..200).contains(&local), "{local} of 300");
}

async fn room_that_a_peer_left_is_found_by_a_local_sender<W: Wire>(net: Net<W>) {
    let defaults = ChannelConfig::for_messages_of(Note::MAX_BYTES);
    let one = Share { messages: 1, ..defaults.inbound };
    let config = ChannelConfig { inbound: one, inbound_total: one, ..defaults };
    let mut builder = net.builder(1).await;
    let channel = builder.channel_with::<Note>(&config).unwrap();
    let mut node = net.start(builder, channel);
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    flood(&mut peer.writer, 1).await;
    while node.handle.channels()[0].waiting < 1 {
        yield_now().await;
    }
    let sender = node.channel.sender().clone();
    let mut sending = Box::pin(sender.send(Local, Note::Say { number: 1 }, LONG));
    assert!(futures::poll!(&mut sending).is_pending(), "the peer's message takes all the room");
    assert_eq!(node.hear().await.0, id(2));
    assert_eq!(sending.await, Ok(()));
    assert_eq!(node.hear().await, (id(1), Note::Say { number: 1 }));
}

/// A channel for local requests, of which so many may wait.
fn asking(messages: usize) -> Channel<Sums> {
    alone().channel_with(&holding(messages, Overflow::Wait)).unwrap()
}

#[test]
fn a_local_question_is_answered_or_its_asker_hears_why_not() {
    paused(async {
        let (sender, mut receiver) = asking(2).split();
        let ask = |number| {
            let sender = sender.clone();
            async move { sender.request(Local, Double { number }, Duration::from_secs(2)).await }
        };
        let answering = async {
            let Sums::Double(Request { question, responder }) = receiver.recv().await.unwrap().message;
            responder.try_answer(Doubled { number: 2 * question.number }).unwrap();
            // Refused, by being forgotten.
            receiver.recv().await.unwrap();
            receiver.recv().await.unwrap()
        };
        let asking = async {
            assert!(matches!(ask(4).await, Ok(Doubled { number: 8 })));
            assert_eq!(ask(5).await.unwrap_err(), RequestError::Declined);
            let began = Instant::now();
            assert_eq!(ask(6).await.unwrap_err(), RequestError::TimedOut);
            assert_eq!(began.elapsed(), Duration::from_secs(2));
        };
        let (_kept, ()) = tokio::join!(answering, asking);

        let mut both = Box::pin(async { tokio::join!(ask(7), ask(8)) });
        assert!(futures::poll!(&mut both).is_pending());
        assert_eq!(ask(9).await.unwrap_err(), RequestError::NoCapacity);
        drop(receiver);
        let (seven, eight) = both.await;
        assert_eq!([seven.unwrap_err(), eight.unwrap_err()], [RequestError::Declined; 2]);
        assert_eq!(
            ask(1).await.unwrap_err(),
            RequestError::Refused(Refusal::NoReceiver),
            "the slots are free"
        );
    });
}

#[test]
fn a_local_question_is_taken_back_by_its_name() {
    paused(async {
        let (sender, _receiver) = asking(2).split();
        let name = sender.cancel_id();
        let asked = sender.request_any_as(name, Recipients::local(), Double { number: 1 }, LONG);
        let mut asked = Box::pin(asked);
        assert!(futures::poll!(&mut asked).is_pending());
        assert_eq!(sender.cancel(name), 1);
        assert_eq!(asked.await.map(drop), Err(RequestError::Cancelled));
    });
}
