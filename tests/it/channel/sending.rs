//! What becomes of a message on its way to peers.

use std::time::Duration;

use bytes::Bytes;
use peerage::channel::{
    Channel, ChannelConfig, DropReason, Fate, Recipients, Refusal, SendError, SendOptions, Sender, Share,
};
use peerage::message::{ChannelSpec, Message, Packet};
use peerage::queue::Overflow;
use peerage::router::ChannelStatus;
use peerage::transport::{Offer, PacketReader};
use tokio::task::yield_now;
use tokio::time::{Instant, advance};

use crate::router::kit::{
    Bare, Memory, Net, Node, Note, Other, Wire, dropped, id, lost, offer, over_both, paused,
};

over_both!(
    each_recipient_has_its_fate,
    what_is_sent_while_the_node_ends_is_refused_as_that,
    a_full_queue_evicts_or_replaces_and_says_so,
    a_send_waits_for_room_and_a_dropped_one_was_not_queued,
    a_send_that_waits_ends_with_the_connection,
    what_was_accepted_is_sent_or_counted_as_lost_under_every_policy,
    what_is_cancelled_is_taken_back_for_all_peers_and_nothing_else_is,
    a_reactor_that_sleeps_for_ever_harms_no_other_channel,
);

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3600);

/// A channel that keeps so many messages for a peer.
fn keeping(messages: usize, outbound_overflow: Overflow) -> ChannelConfig {
    let defaults = ChannelConfig::for_messages_of(Note::MAX_BYTES);
    ChannelConfig { outbound: Share { messages, ..defaults.outbound }, outbound_overflow, ..defaults }
}

/// A node with such a channel, and a peer that reads when the test does.
async fn with_peer<W: Wire>(net: &Net<W>, seed: u64, config: &ChannelConfig) -> (Node, Bare<W>) {
    let mut builder = net.builder(seed).await;
    let channel = builder.channel_with::<Note>(config).unwrap();
    let mut node = net.start(builder, channel);
    let peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    (node, peer)
}

fn say(number: u64) -> Note {
    Note::Say { number }
}

fn status<C>(node: &Node<C>) -> ChannelStatus {
    node.handle.channels().remove(0)
}

/// Sends to a peer that does not read until no more fits in its queue, nor in the network's buffers.
async fn fill(sender: &Sender<Note>, filler: &Bytes) {
    let mut idle_turns = 0;
    while idle_turns < 200 {
        let full = sender.try_send(id(2), Note::Fill { filler: filler.clone() }).ok().is_err();
        idle_turns = if full { idle_turns + 1 } else { 0 };
        yield_now().await;
    }
}

fn filler() -> Bytes {
    Bytes::from(vec![1; 16 * 1024 - 8])
}

/// The next message on a channel that is no filler.
async fn next_note<W: Wire>(peer: &mut Bare<W>) -> Note {
    loop {
        let Packet::Frame(frame) = peer.reader.read().await.unwrap() else { continue };
        match Note::decode(1, frame.code, &frame.payload).unwrap() {
            Note::Fill { .. } => {}
            note => return note,
        }
    }
}

async fn each_recipient_has_its_fate<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let channel = builder.channel_with::<Note>(&keeping(1, Overflow::Wait)).unwrap();
    let _other = builder.channel::<Other>().unwrap();
    let mut node = net.start(builder, channel);
    let _peer = net.bare(2, &node.address()).await.unwrap();
    let without = Offer { channels: vec![ChannelSpec::of::<Other>()], ..offer() };
    let _without = net.bare_with(3, &node.address(), without).await.unwrap();
    node.up_count(2).await;

    let outcome = node.channel.try_send(vec![id(2), id(2), id(3), id(4), id(1)], say(1));
    let refusals = [
        (id(2), Refusal::Full),
        (id(3), Refusal::NoChannel),
        (id(4), Refusal::NotConnected),
        (id(1), Refusal::NotConnected),
    ];
    let fates: Vec<_> = outcome.iter().collect();
    assert_eq!(fates[0], (id(2), Fate::Queued));
    assert_eq!(fates[1..], refusals.map(|(peer, why)| (peer, Fate::Refused(why))));
    assert_eq!(outcome.refused(), refusals);
    assert_eq!((outcome.queued(), outcome.evicted()), (1, 0));
    assert_eq!(outcome.count(Fate::Refused(Refusal::NotConnected)), 2);
    let words: String =
        refusals.iter().map(|(peer, why)| format!(", not for {}: {why}", peer.short())).collect();
    assert_eq!(outcome.to_string(), format!("queued for 1{words}"));
    assert_eq!(outcome.ok(), Err(Refusal::Full), "the first refusal");

    let everybody = node.channel.try_send(Recipients::all(), say(2));
    assert_eq!(everybody.refused(), [(id(2), Refusal::Full)], "whoever lacks the channel is not meant");
    let huge = Note::Fill { filler: vec![0; Note::MAX_BYTES].into() };
    let too_large = Refusal::TooLarge { bytes: Note::MAX_BYTES + 6, limit: Note::MAX_BYTES };
    assert_eq!(node.channel.try_send(id(2), huge.clone()).ok(), Err(too_large));
    let sent = node.channel.sender().send(id(2), huge, LONG).await;
    assert_eq!(sent, Err(SendError::Refused(too_large)), "waiting cannot help");
    assert_eq!((status(&node).accepted, status(&node).refused), (1, 7));
}

async fn what_is_sent_while_the_node_ends_is_refused_as_that<W: Wire>(net: Net<W>) {
    let (node, _peer) = with_peer(&net, 1, &keeping(4, Overflow::Wait)).await;
    let sender = node.channel.sender().clone();
    node.stop().await;
    assert_eq!(sender.try_send(id(2), say(1)).refused(), [(id(2), Refusal::ShuttingDown)]);
    assert_eq!(sender.send(id(2), say(1), LONG).await, Err(SendError::Refused(Refusal::ShuttingDown)));
    assert_eq!(sender.try_send(Recipients::all(), say(1)).ok(), Ok(0));
}

async fn a_full_queue_evicts_or_replaces_and_says_so<W: Wire>(net: Net<W>) {
    let (node, mut peer) = with_peer(&net, 1, &keeping(2, Overflow::DropOldest)).await;
    let fates = |node: &Node, number, options| {
        let outcome = node.channel.sender().try_send_with(id(2), say(number), options);
        (outcome.iter().next().unwrap().1, outcome.evicted())
    };
    let plain = SendOptions::new();
    assert_eq!([fates(&node, 1, plain), fates(&node, 2, plain)], [(Fate::Queued, 0); 2]);
    assert_eq!(fates(&node, 3, plain), (Fate::Evicted(1), 1));
    assert_eq!(status(&node).dropped, [(DropReason::OutboundEvicted, 1)]);
    assert_eq!([next_note(&mut peer).await, next_note(&mut peer).await], [say(2), say(3)]);
    drop(peer);

    let (node, mut peer) = with_peer(&net, 3, &keeping(2, Overflow::ReplaceByKey)).await;
    assert_eq!(fates(&node, 1, plain.key(7)), (Fate::Queued, 0));
    assert_eq!(fates(&node, 2, plain.key(8)), (Fate::Queued, 0));
    assert_eq!(fates(&node, 3, plain.key(7)), (Fate::Replaced, 1));
    assert_eq!(fates(&node, 4, plain.key(9)), (Fate::Refused(Refusal::Full), 0));
    assert_eq!(status(&node).dropped, [(DropReason::Replaced, 1)]);
    assert_eq!([next_note(&mut peer).await, next_note(&mut peer).await], [say(3), say(2)]);
}

async fn a_send_waits_for_room_and_a_dropped_one_was_not_queued<W: Wire>(net: Net<W>) {
    let (node, mut peer) = with_peer(&net, 1, &keeping(4, Overflow::Wait)).await;
    let sender = node.channel.sender().clone();
    fill(&sender, &filler()).await;
    let mut given_up = Box::pin(sender.send(id(2), say(1), LONG));
    assert!(futures::poll!(&mut given_up).is_pending());
    drop(given_up);
    let sending = net.beside({
        let sender = sender.clone();
        async move { sender.send(id(2), say(2), LONG).await }
    });
    assert_eq!(next_note(&mut peer).await, say(2));
    assert_eq!(sending.await.unwrap(), Ok(()));
}

#[test]
fn a_send_gives_up_at_its_deadline_to_the_tick() {
    paused(async {
        let net = Net::new(Memory::default());
        let (node, _peer) = with_peer(&net, 1, &keeping(4, Overflow::Wait)).await;
        let sender = node.channel.sender();
        fill(sender, &filler()).await;
        for within in [Duration::ZERO, Duration::from_secs(3)] {
            let began = Instant::now();
            assert_eq!(sender.send(id(2), say(1), within).await, Err(SendError::TimedOut));
            assert_eq!(began.elapsed(), within);
        }
    });
}

async fn a_send_that_waits_ends_with_the_connection<W: Wire>(net: Net<W>) {
    let (mut node, peer) = with_peer(&net, 1, &keeping(4, Overflow::Wait)).await;
    let sender = node.channel.sender().clone();
    fill(&sender, &filler()).await;
    let refused = status(&node).refused;
    let sending = net.beside(async move { sender.send(id(2), say(1), LONG).await });
    yield_now().await;
    drop(peer);
    assert_eq!(sending.await.unwrap(), Err(SendError::Refused(Refusal::NotConnected)));
    node.down(id(2)).await;
    let status = status(&node);
    assert_eq!(status.refused, refused + 1);
    assert_eq!(status.accepted, status.sent + lost(&status));
}

const POLICIES: [Overflow; 5] = [
    Overflow::Wait,
    Overflow::DropOldest,
    Overflow::DropNewest,
    Overflow::ReplaceByKey,
    Overflow::Disconnect,
];

/// One policy: deadlines, names and keys of all kinds, and a peer that reads for a while.
async fn conserve<W: Wire>(net: &Net<W>, seed: u64, policy: Overflow) {
    let (mut node, mut peer) = with_peer(net, seed, &keeping(8, policy)).await;
    let sender = node.channel.sender().clone();
    let (mut queued, mut refused, mut cancelled) = (0, 0, 0);
    for round in 0..20 {
        let name = sender.cancel_id();
        for number in 0..8 + round % 4 {
            let options = match number % 4 {
                0 => SendOptions::new().stale_after(Duration::ZERO).key(number),
                1 => SendOptions::new().cancel_by(name).key(number % 2),
                2 => SendOptions::new().stale_after(LONG).cancel_by(name),
                _ => SendOptions::new().key(number % 2),
            };
            let outcome = sender.try_send_with(id(2), say(number), options);
            queued += outcome.queued() as u64;
            refused += outcome.refused().len() as u64;
        }
        if round % 2 == 0 {
            cancelled += sender.cancel(name) as u64;
        }
        let now = status(&node);
        assert_eq!((now.accepted, now.refused), (queued, refused));
        assert_eq!(dropped(&now, DropReason::Cancelled), cancelled, "as it goes");
        if round == 0 && policy != Overflow::Disconnect {
            let waiting = node.handle.peers()[0].queued_messages as u64;
            assert_eq!(now.accepted, waiting + lost(&now), "the writer has not had its turn");
        }
        if round < 10 && policy != Overflow::Disconnect {
            assert!(matches!(peer.reader.read().await, Ok(Packet::Frame(_))));
        }
    }
    drop(peer);
    node.down(id(2)).await;
    let end = status(&node);
    assert_eq!(end.accepted, end.sent + lost(&end), "{policy:?}: {end:?}");
    let expected = match policy {
        Overflow::DropOldest => Some(DropReason::OutboundEvicted),
        Overflow::ReplaceByKey => Some(DropReason::Replaced),
        _ => None,
    };
    for reason in expected.into_iter().chain([DropReason::Stale]) {
        assert!(dropped(&end, reason) > 0, "{policy:?}, {reason}: {end:?}");
    }
}

async fn what_was_accepted_is_sent_or_counted_as_lost_under_every_policy<W: Wire>(net: Net<W>) {
    for (seed, policy) in (11..).zip(POLICIES) {
        conserve(&net, seed, policy).await;
    }
}

async fn what_is_cancelled_is_taken_back_for_all_peers_and_nothing_else_is<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let channels: (Channel<Note>, Channel<Other>) = (builder.channel().unwrap(), builder.channel().unwrap());
    let mut node = net.start(builder, channels);
    let both = Offer { channels: vec![ChannelSpec::of::<Note>(), ChannelSpec::of::<Other>()], ..offer() };
    let mut peers = Vec::new();
    for seed in [2, 3] {
        peers.push(net.bare_with(seed, &node.address(), both.clone()).await.unwrap());
    }
    node.up_count(2).await;
    let (note, other) = (node.channel.0.sender(), node.channel.1.sender());
    let (first, second, third) = (note.cancel_id(), note.cancel_id(), other.cancel_id());
    assert!(first != second && second != third && first != third);
    note.try_send_with(Recipients::all(), say(1), SendOptions::new().cancel_by(first)).ignore();
    note.try_send_with(Recipients::local(), say(1), SendOptions::new().cancel_by(first)).ignore();
    note.try_send_with(Recipients::all(), say(2), SendOptions::new().cancel_by(second)).ignore();
    let options = SendOptions::new().cancel_by(third);
    other.try_send_with(Recipients::all(), Other::Say { number: 3 }, options).ignore();
    assert_eq!((note.cancel(first), note.cancel(first)), (3, 0));
    assert_eq!(note.counters().dropped(DropReason::Cancelled), 3, "counted at once");
    assert_eq!(other.counters().drops().count(), 0);
    for peer in &mut peers {
        let mut heard = Vec::new();
        for _ in 0..2 {
            let Ok(Packet::Frame(frame)) = peer.reader.read().await else { panic!("no frame") };
            heard.push((frame.channel, frame.payload));
        }
        heard.sort();
        let expected = [(Note::CHANNEL, &b"\xc1\x02"[..]), (Other::CHANNEL, &b"\xc1\x03"[..])];
        assert_eq!(heard, expected.map(|(channel, payload)| (channel, Bytes::from_static(payload))));
    }
}

#[test]
fn a_message_that_waited_too_long_is_not_sent() {
    paused(async {
        let net = Net::new(Memory::default());
        let (node, mut peer) = with_peer(&net, 1, &keeping(4, Overflow::DropOldest)).await;
        let sender = node.channel.sender();
        for _ in 0..64 {
            sender.try_send(id(2), Note::Fill { filler: filler() }).ignore();
            yield_now().await;
        }
        let aged = |secs| SendOptions::new().stale_after(Duration::from_secs(secs));
        for (number, age) in [(1, 5), (2, 6)] {
            sender.try_send_with(id(2), say(number), aged(age)).ignore();
        }
        advance(Duration::from_secs(5)).await;
        assert_eq!(next_note(&mut peer).await, say(2));
        assert_eq!(sender.counters().dropped(DropReason::Stale), 1, "counted while the connection lives");
    });
}

#[test]
fn stale_messages_make_room_for_who_waits() {
    paused(async {
        let net = Net::new(Memory::default());
        let (node, mut peer) = with_peer(&net, 1, &keeping(1, Overflow::Wait)).await;
        let sender = node.channel.sender();
        let age = SendOptions::new().stale_after(Duration::from_millis(1));
        assert_eq!(sender.try_send_with(id(2), say(1), age).ok(), Ok(1));
        let mut sending = Box::pin(sender.send(id(2), say(2), LONG));
        assert!(futures::poll!(&mut sending).is_pending());
        // The clock moves before the writer has its turn: it drops what is stale, and has nothing to write.
        advance(Duration::from_millis(1)).await;
        let (began, sent) = (Instant::now(), sending.await);
        assert_eq!((sent, began.elapsed()), (Ok(()), Duration::ZERO));
        assert_eq!(next_note(&mut peer).await, say(2));
        assert_eq!(status(&node).dropped, [(DropReason::Stale, 1)]);
    });
}

async fn a_reactor_that_sleeps_for_ever_harms_no_other_channel<W: Wire>(net: Net<W>) {
    let defaults = ChannelConfig::for_messages_of(Note::MAX_BYTES);
    let oldest = ChannelConfig { inbound_overflow: Overflow::DropOldest, ..defaults.clone() };
    for (seed, config, reason) in
        [(1, defaults, DropReason::InboundFull), (3, oldest, DropReason::InboundEvicted)]
    {
        let mut builder = net.builder(seed).await;
        let _sleeps = builder.channel_with::<Note>(&config).unwrap();
        let mut awake = builder.channel::<Other>().unwrap();
        let a = net.start(builder, ());
        let mut builder = net.builder(seed + 1).await;
        builder.peer(a.address());
        let channels = (builder.channel::<Note>().unwrap(), builder.channel::<Other>().unwrap());
        let mut b = net.start(builder, channels);
        b.up(a.id).await;
        for number in 0..300 {
            for filled in 0..8 {
                b.channel.0.try_send(a.id, say(filled)).ignore();
            }
            b.channel.1.sender().send(a.id, Other::Say { number }, LONG).await.unwrap();
            assert_eq!(awake.recv().await.unwrap().message, Other::Say { number });
        }
        let channels = a.handle.channels();
        assert!(dropped(&channels[0], reason) > 0 && channels[0].waiting <= 1024, "{channels:?}");
        assert_eq!(channels[1].dropped, []);
    }
}
