//! What peers, careless users and the scheduler may do to a node without harm to anybody else.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use peerage::Router;
use peerage::channel::{Channel, ChannelConfig, Outcome, Refusal, Share};
use peerage::event::{Blame, Event, Layer, Side};
use peerage::message::{ChannelSpec, Frame, Message, Packet};
use peerage::peer::{Loaded, Record, RecordKey, Store, StoreError};
use peerage::queue::Overflow;
use peerage::reactor::chat::{Chat, Flood};
use peerage::reactor::drive;
use peerage::router::{Builder, Stopped};
use peerage::transport::{Offer, PacketReader, PacketWriter};
use tokio::sync::{Notify, mpsc};
use tokio::task::yield_now;

use super::kit::{Bare, Memory, Net, Node, Note, Wire, id, key, lost, offer, over_both, paused};

over_both!(
    a_full_queue_whose_policy_is_to_disconnect_ends_the_connection,
    a_full_queue_whose_policy_is_to_drop_the_newest_counts_it,
    every_one_of_many_unpaced_sends_is_accounted_for,
    a_run_that_is_dropped_ends_the_node,
    an_observer_that_panics_ends_nothing,
    a_store_that_panics_ends_the_node_and_says_so,
    the_words_of_a_peer_reach_operators_without_control_characters,
    a_receiver_with_a_backlog_lets_other_tasks_run,
    a_flood_of_lines_does_not_silence_those_typed_here,
);

/// A channel that keeps so many messages for a peer.
fn keeping(messages: usize, outbound_overflow: Overflow) -> ChannelConfig {
    let defaults = ChannelConfig::for_messages_of(Note::MAX_BYTES);
    ChannelConfig { outbound: Share { messages, ..defaults.outbound }, outbound_overflow, ..defaults }
}

fn is_full(outcome: &Outcome) -> bool {
    matches!(outcome.refused()[..], [(_, Refusal::Full)])
}

async fn a_full_queue_whose_policy_is_to_disconnect_ends_the_connection<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let channel = builder.channel_with::<Note>(&keeping(4, Overflow::Disconnect)).unwrap();
    let mut node = net.start(builder, channel);
    let peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    for number in 0..4 {
        assert_eq!(node.channel.try_send(id(2), Note::Say { number }).ok(), Ok(1));
    }
    assert!(is_full(&node.channel.try_send(id(2), Note::Say { number: 4 })));
    drop(peer);
    let closed = node.down(id(2)).await;
    assert_eq!((closed.by, closed.layer, closed.label), (Side::Local, Layer::Channel, "outbound_overflow"));
    assert_eq!(closed.blame, Blame::Overload);
    let status = node.handle.channels().remove(0);
    assert_eq!((status.accepted, status.refused), (4, 1));
    assert_eq!(status.sent + lost(&status), status.accepted);
}

async fn a_full_queue_whose_policy_is_to_drop_the_newest_counts_it<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let channel = builder.channel_with::<Note>(&keeping(4, Overflow::DropNewest)).unwrap();
    let mut node = net.start(builder, channel);
    let _peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    let offered = (0..10).map(|number| node.channel.try_send(id(2), Note::Say { number }));
    assert_eq!(offered.filter(is_full).count(), 6);
    let status = node.handle.channels().remove(0);
    assert_eq!((status.accepted, status.refused, status.dropped), (4, 6, vec![]));
}

async fn every_one_of_many_unpaced_sends_is_accounted_for<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let channel = builder.channel_with::<Note>(&keeping(64, Overflow::Wait)).unwrap();
    let mut node = net.start(builder, channel);
    let peer = net.bare(2, &node.address()).await.unwrap();
    let to = id(2);
    node.up(to).await;
    let (mut queued, mut refused) = (0, 0);
    for number in 0..200_000 {
        match node.channel.try_send(to, Note::Say { number }).ok() {
            Ok(_) => queued += 1,
            Err(why) => {
                assert_eq!(why, Refusal::Full);
                refused += 1;
            }
        }
        if number % 1000 == 0 {
            assert!(node.handle.peers()[0].queued_messages <= 64);
            yield_now().await;
        }
    }
    assert_eq!(queued + refused, 200_000);
    let handle = node.handle.clone();
    drop(peer);
    node.stop().await;
    let status = handle.channels().remove(0);
    assert_eq!(status.sent + lost(&status), queued);
}

async fn a_run_that_is_dropped_ends_the_node<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    node.task.abort();
    assert!(node.task.await.unwrap_err().is_cancelled());
    // Whoever waited for it is told.
    assert_eq!(node.channel.recv().await, None);
    while node.updates.next().await.is_some() {}
    while peer.reader.read().await.is_ok() {}
    assert_eq!(node.handle.disconnect(id(2)).await, Err(Stopped));
    // And nobody listens.
    let address = node.handle.addresses().remove(0);
    assert!(net.bare(3, &address).await.is_err());
}

#[test]
fn a_router_that_never_runs_leaves_nobody_waiting() {
    paused(never_run());
}

async fn never_run() {
    let net = Net::new(Memory::default());
    let mut builder: Builder = net.builder(1).await;
    let mut channel: Channel<Note> = builder.channel().unwrap();
    let mut updates = builder.updates();
    let router: Router = builder.build().unwrap();
    let handle = router.handle();
    drop(router);
    assert_eq!(channel.recv().await, None);
    assert_eq!(updates.next().await, None);
    assert_eq!(handle.disconnect(id(2)).await, Err(Stopped));
}

async fn an_observer_that_panics_ends_nothing<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    builder.observer(|_: &Event| panic!("for the test"));
    let channel: Channel<Note> = builder.channel().unwrap();
    let mut node = net.start(builder, channel);
    let _first = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    let _second = net.bare(3, &node.address()).await.unwrap();
    node.up(id(3)).await;
    assert!(node.ever_up(), "the observer after it sees all");
}

/// Fails as a disk does, in the worst way.
struct Broken;

impl Store for Broken {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        Ok(Loaded::default())
    }

    fn persist(&mut self, _: Record) {
        panic!("for the test");
    }

    fn forget(&mut self, _: &RecordKey) {}

    fn close(self: Box<Self>, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }
}

async fn a_store_that_panics_ends_the_node_and_says_so<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let channel: Channel<Note> = builder.channel().unwrap();
    let known = net.node(2).await;
    builder.store(Broken).peer(known.address());
    let node = net.start(builder, channel);
    let report = node.task.await.unwrap();
    assert!(!report.clean, "{report:?}");
}

async fn the_words_of_a_peer_reach_operators_without_control_characters<W: Wire>(net: Net<W>) {
    let node = net.node(1).await;
    let hostile = Offer { network: "\u{1b}[2J\u{9b}31m\nall is well".into(), ..offer() };
    let refused = net.bare_with(2, &node.address(), hostile).await.map(drop).unwrap_err();
    let closed = node.log.failed().await;
    assert_eq!(closed.label, "other_network");
    for text in [closed.detail, refused.detail] {
        assert!(text.contains("network") || text.contains("all is well"), "{text:?}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}

/// Many tasks wait for room in a tiny queue, their receiver drops its future after each poll, and threads race.
#[test]
fn no_wake_up_is_lost_between_threads_and_dropped_futures() {
    const SENDERS: u64 = 4;
    const EACH: u64 = 2_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let net = Arc::new(Net::new(Memory::default()));
        let defaults = ChannelConfig::for_messages_of(Note::MAX_BYTES);
        let tiny = ChannelConfig {
            outbound: Share { messages: 2, ..defaults.outbound },
            inbound: Share { messages: 2, ..defaults.inbound },
            inbound_overflow: Overflow::Wait,
            ..defaults
        };
        let mut from = net.builder(1).await;
        let channel = from.channel_with::<Note>(&tiny).unwrap();
        let mut from = net.start(from, channel);
        let mut to = net.builder(2).await;
        to.peer(from.address());
        let channel = to.channel_with::<Note>(&tiny).unwrap();
        let mut to = net.start(to, channel);
        let target = key(2).id();
        from.up(target).await;
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                let sender = from.channel.sender().clone();
                net.beside(async move {
                    for number in 0..EACH {
                        sender.send(target, Note::Say { number }, Duration::from_secs(20)).await.unwrap();
                    }
                })
            })
            .collect();
        let mut heard = 0;
        while heard < SENDERS * EACH {
            tokio::select! {
                biased;
                message = to.channel.recv() => {
                    assert!(message.is_some());
                    heard += 1;
                }
                () = yield_now() => {}
            }
        }
        for sender in senders {
            sender.await.unwrap();
        }
        assert_eq!(from.handle.channels()[0].sent, SENDERS * EACH);
        assert_eq!((from.handle.channels()[0].dropped.len(), to.handle.channels()[0].dropped.len()), (0, 0));
        from.stop().await;
        to.stop().await;
    });
}

/// A node to which a peer has sent so many lines, all of which still wait.
async fn flooded<W: Wire>(net: &Net<W>, lines: u64) -> (Node<Channel<Chat>>, Bare<W>) {
    let mut builder = net.builder(1).await;
    let roomy = ChannelConfig {
        inbound: Share { messages: 4096, bytes: 64 << 20 },
        ..ChannelConfig::for_messages_of(Chat::MAX_BYTES)
    };
    let channel = builder.channel_with::<Chat>(&roomy).unwrap();
    let mut node = net.start(builder, channel);
    let chats = Offer { channels: vec![ChannelSpec::of::<Chat>()], ..offer() };
    let mut peer = net.bare_with(2, &node.address(), chats).await.unwrap();
    node.up(id(2)).await;
    for number in 0..lines {
        let line = Chat::Line { origin: *id(2).as_bytes(), number, text: "flood".into() };
        let mut payload = BytesMut::new();
        line.encode(1, &mut payload);
        let frame = Frame { channel: Chat::CHANNEL, code: line.code(), payload: payload.freeze() };
        peer.writer.write(&Packet::Frame(frame)).unwrap();
        peer.writer.flush().await.unwrap();
    }
    while (node.handle.channels()[0].waiting as u64) < lines {
        yield_now().await;
    }
    (node, peer)
}

async fn a_receiver_with_a_backlog_lets_other_tasks_run<W: Wire>(net: Net<W>) {
    let (mut node, _peer) = flooded(&net, 1000).await;
    let ran = Arc::new(AtomicBool::new(false));
    let other = Arc::clone(&ran);
    net.beside(async move { other.store(true, SeqCst) });
    let mut received = 0;
    while !ran.load(SeqCst) {
        assert!(received < 1000, "the backlog came first");
        node.channel.recv().await.unwrap();
        received += 1;
    }
}

async fn a_flood_of_lines_does_not_silence_those_typed_here<W: Wire>(net: Net<W>) {
    let (node, _peer) = flooded(&net, 1000).await;
    let (say, lines) = mpsc::channel(24);
    for _ in 0..24 {
        say.try_send("let me speak".into()).unwrap();
    }
    let (heard, all) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
    let hear = {
        let (heard, all, say) = (Arc::clone(&heard), Arc::clone(&all), say.clone());
        move |_| {
            let mut heard = heard.lock().unwrap();
            heard.push(say.capacity());
            if heard.len() == 1000 {
                all.notify_one();
            }
        }
    };
    let flood = Flood::new(id(1), 1, hear);
    let chatting = net.beside(drive(flood, node.channel, node.updates, lines));
    all.notified().await;
    chatting.abort();
    let heard = heard.lock().unwrap();
    assert_eq!(heard[..17], [[8; 8], [16; 8]].concat().into_iter().chain([24]).collect::<Vec<_>>());
}
