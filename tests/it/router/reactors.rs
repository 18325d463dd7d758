//! The reactors of our own, over whole nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peerage::NodeId;
use peerage::event::Misbehaviour;
use peerage::message::{Answer as _, ChannelSpec, Frame, Head, Message, Packet, Question as _};
use peerage::reactor::chat::{Chat, Flood, Heard, MAX_LINE_BYTES};
use peerage::reactor::drive;
use peerage::reactor::ping::{Answer, Measured, Ping, Pinger, Question};
use peerage::transport::{Offer, PacketReader, PacketWriter};
use tokio::sync::mpsc;

use super::kit::{Net, Node, Note, Wire, echo, id, offer, over_both};

over_both!(
    ping_measures_the_round_trip_to_every_peer,
    ping_counts_a_question_without_an_answer_as_lost,
    ping_asks_nobody_who_lacks_its_channel,
    an_answer_that_nobody_asked_for_is_reported,
    a_line_reaches_all_of_five_nodes_in_a_row_exactly_once,
    a_line_is_heard_once_in_a_ring,
    a_line_with_a_false_origin_is_reported,
);

type Measurements = mpsc::Receiver<(NodeId, Measured)>;

/// Runs ping on a node; its channel is all that the node has, but for those declared before.
async fn pinging<W: Wire>(net: &Net<W>, seed: u64, to: &[&Node<()>]) -> (Node<()>, Measurements) {
    let mut builder = net.builder(seed).await;
    for node in to {
        builder.peer(node.address());
    }
    let (tell, told) = mpsc::channel(1024);
    let (channel, updates) = (builder.channel::<Ping>().unwrap(), builder.updates());
    let every = Duration::from_millis(50);
    let measured = move |peer, what| {
        // Whoever reads takes what it needs; the rest may be lost.
        let _ = tell.try_send((peer, what));
    };
    let (_, no_orders) = mpsc::channel(1);
    builder.reactor("ping", drive(Pinger::new(every, measured), channel, updates, no_orders));
    let note = builder.channel::<Note>().unwrap();
    builder.reactor("echo", echo(note));
    (net.start(builder, ()), told)
}

async fn ping_measures_the_round_trip_to_every_peer<W: Wire>(net: Net<W>) {
    let (a, mut from_a) = pinging(&net, 1, &[]).await;
    let (b, mut from_b) = pinging(&net, 2, &[&a]).await;
    let (c, mut from_c) = pinging(&net, 3, &[&a, &b]).await;
    for (told, peers) in
        [(&mut from_a, [b.id, c.id]), (&mut from_b, [a.id, c.id]), (&mut from_c, [a.id, b.id])]
    {
        let mut found = BTreeMap::new();
        while !peers.iter().all(|peer| found.contains_key(peer)) {
            if let (peer, Measured::RoundTrip(took)) = told.recv().await.unwrap() {
                assert!(took < Duration::from_secs(5));
                found.insert(peer, took);
            }
        }
        assert_eq!(found.len(), 2);
    }
    for node in [a, b, c] {
        assert!(node.stop().await.clean, "ping ends with its node");
    }
}

fn ping_offer() -> Offer {
    Offer { channels: vec![ChannelSpec::of::<Ping>()], ..offer() }
}

fn frame<M: Message>(message: &M) -> Packet {
    let mut payload = BytesMut::new();
    message.encode(1, &mut payload);
    Packet::Frame(Frame { channel: M::CHANNEL, code: message.code(), payload: payload.freeze() })
}

fn answer(number: u64) -> Packet {
    let mut payload = BytesMut::new();
    Answer.encode(number, 1, &mut payload);
    assert_eq!(payload, list_of(number));
    Packet::Frame(Frame { channel: Ping::CHANNEL, code: Answer::CODE, payload: payload.freeze() })
}

/// The RLP list of one number: what questions and answers of ping have always been on the wire.
fn list_of(number: u64) -> Bytes {
    let digits: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|digit| *digit == 0).collect();
    let short = matches!(digits[..], [0..0x80]);
    let head = if short { vec![] } else { vec![0x80 + u8::try_from(digits.len()).unwrap()] };
    let body = [head, digits].concat();
    Bytes::from([vec![0xc0 + u8::try_from(body.len()).unwrap()], body].concat())
}

async fn ping_counts_a_question_without_an_answer_as_lost<W: Wire>(net: Net<W>) {
    let (node, mut told) = pinging(&net, 1, &[]).await;
    let mut mute = net.bare_with(2, &node.address(), ping_offer()).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(mute.reader.read().await, Ok(Packet::Frame(_))));
        assert_eq!(told.recv().await, Some((id(2), Measured::Lost)));
    }
    assert!(node.handle.ends().is_empty(), "a lost question is no reason to part");
}

async fn ping_asks_nobody_who_lacks_its_channel<W: Wire>(net: Net<W>) {
    let (mut node, mut told) = pinging(&net, 1, &[]).await;
    let _without = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    let mut with = net.bare_with(3, &node.address(), ping_offer()).await.unwrap();
    for _ in 0..5 {
        let Ok(Packet::Frame(question)) = with.reader.read().await else { panic!("no question") };
        let Ok(Head::Body(number)) = Head::peek(&question.payload) else { panic!("{question:?}") };
        assert_eq!(
            question,
            Frame { channel: Ping::CHANNEL, code: Question::CODE, payload: list_of(number) }
        );
        with.writer.write(&answer(number)).unwrap();
        with.writer.flush().await.unwrap();
        let (peer, what) = told.recv().await.unwrap();
        assert_eq!(peer, id(3), "{what:?}");
    }
}

async fn an_answer_that_nobody_asked_for_is_reported<W: Wire>(net: Net<W>) {
    let (mut node, _told) = pinging(&net, 1, &[]).await;
    let mut liar = net.bare_with(2, &node.address(), ping_offer()).await.unwrap();
    node.up(id(2)).await;
    liar.writer.write(&answer(u64::MAX)).unwrap();
    liar.writer.flush().await.unwrap();
    while liar.reader.read().await.is_ok() {}
    drop(liar);
    assert_eq!(node.down(id(2)).await.label, "misbehaved");
    assert_eq!(node.handle.misbehaviour(), [(Misbehaviour::UnaskedAnswer, 1)]);
}

/// A node that chats: what it is given to say, and what it hears.
struct Chatting {
    node: Node<()>,
    say: mpsc::Sender<String>,
    heard: mpsc::Receiver<Heard>,
}

async fn chatting<W: Wire>(net: &Net<W>, seed: u64, to: &[&Chatting]) -> Chatting {
    let mut builder = net.builder(seed).await;
    for peer in to {
        builder.peer(peer.node.address());
    }
    let (say, lines) = mpsc::channel(16);
    let (tell, heard) = mpsc::channel(64);
    let (channel, updates) = (builder.channel::<Chat>().unwrap(), builder.updates());
    let flood = Flood::new(id(seed), seed * 1000, move |line| tell.try_send(line).unwrap());
    builder.reactor("chat", drive(flood, channel, updates, lines));
    Chatting { node: net.start(builder, ()), say, heard }
}

async fn chain<W: Wire>(net: &Net<W>, closed: bool) -> Vec<Chatting> {
    let mut nodes: Vec<Chatting> = Vec::new();
    for seed in 1..=5 {
        let mut to: Vec<&Chatting> = nodes.last().into_iter().collect();
        if closed && seed == 5 {
            to.push(&nodes[0]);
        }
        let node = chatting(net, seed, &to).await;
        nodes.push(node);
    }
    for (at, chatting) in nodes.iter_mut().enumerate() {
        let ends = !closed && (at == 0 || at == 4);
        chatting.node.up_count(if ends { 1 } else { 2 }).await;
    }
    nodes
}

/// Each node speaks once; each hears all others once, whatever the ways that a line came.
async fn all_hear_all_once(nodes: &mut [Chatting]) {
    for speaker in 0..nodes.len() {
        let text = format!("line of {speaker}");
        nodes[speaker].say.send(text.clone()).await.unwrap();
        let origin = nodes[speaker].node.id;
        for listener in (0..nodes.len()).filter(|at| *at != speaker) {
            let line = nodes[listener].heard.recv().await;
            // A second copy of an earlier line would stand in the place of this one.
            assert_eq!(line, Some(Heard { origin, text: text.clone() }), "{listener} hears {speaker}");
        }
    }
    for chatting in nodes {
        assert!(chatting.heard.is_empty());
    }
}

async fn a_line_reaches_all_of_five_nodes_in_a_row_exactly_once<W: Wire>(net: Net<W>) {
    all_hear_all_once(&mut chain(&net, false).await).await;
}

async fn a_line_is_heard_once_in_a_ring<W: Wire>(net: Net<W>) {
    let mut nodes = chain(&net, true).await;
    all_hear_all_once(&mut nodes).await;
    // A line above the limit is cut, and goes round as any other.
    nodes[2].say.send("ä".repeat(MAX_LINE_BYTES)).await.unwrap();
    let heard = nodes[0].heard.recv().await.unwrap();
    assert_eq!(heard.text.len(), MAX_LINE_BYTES);
}

async fn a_line_with_a_false_origin_is_reported<W: Wire>(net: Net<W>) {
    let mut chatting = chatting(&net, 1, &[]).await;
    let offer = Offer { channels: vec![ChannelSpec::of::<Chat>()], ..offer() };
    let mut liar = net.bare_with(2, &chatting.node.address(), offer).await.unwrap();
    chatting.node.up(id(2)).await;
    let line = Chat::Line { origin: [0; 64], number: 1, text: "hello".into() };
    liar.writer.write(&frame(&line)).unwrap();
    liar.writer.flush().await.unwrap();
    while liar.reader.read().await.is_ok() {}
    drop(liar);
    assert_eq!(chatting.node.down(id(2)).await.label, "misbehaved");
    assert!(chatting.heard.is_empty());
    assert_eq!(chatting.node.handle.misbehaviour(), [(Misbehaviour::Breach, 1)]);
}
