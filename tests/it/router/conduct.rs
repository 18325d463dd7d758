//! What becomes of misbehaviour, from whoever notices it to the peer manager and the operator.

use std::time::Duration;

use bytes::Bytes;
use peerage::channel::Channel;
use peerage::event::{Blame, Closed, Event, EventKind, Layer, Misbehaviour, Side};
use peerage::id::ConnId;
use peerage::message::{Capability, ChannelSpec, Frame, Message, Packet, Version};
use peerage::peer::PeerUpdate;
use peerage::transport::{Offer, PacketReader, PacketWriter};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::kit::{Bare, Memory, Net, Node, Note, Wire, id, offer, over_both, pair, paused};

over_both!(
    a_malformed_message_is_reported_once_and_ends_its_connection,
    a_message_of_no_shared_channel_is_reported_once_and_ends_its_connection,
    a_mailbox_that_is_always_full_neither_loses_a_report_nor_saves_the_peer,
    an_up_says_what_the_peer_announced,
);

#[test]
fn nuisances_add_up_to_an_eviction_unless_time_forgives_them() {
    paused(nuisances(Net::new(Memory::default())));
}

peerage::protocol! {
    /// A channel whose block of message ids is the last: its name sorts behind all others.
    pub enum Last: "quiz" / 1, max 1024 {
        0 = Say { number: u64 },
    }
}

/// Sends frames in one write.
async fn send<W: Wire>(peer: &mut Bare<W>, frames: &[Frame]) {
    for frame in frames {
        peer.writer.write(&Packet::Frame(frame.clone())).unwrap();
    }
    peer.writer.flush().await.unwrap();
}

fn junk() -> Frame {
    Frame { channel: Note::CHANNEL, code: 0, payload: Bytes::from_static(b"\xffjunk") }
}

/// Whether the connection's one report came before its end, and was this one.
async fn assert_one_report<C>(node: &Node<C>, conn: ConnId, expected: &EventKind) {
    let about = |event: &Event| {
        let told = matches!(event.kind, EventKind::Misbehaved { .. } | EventKind::Down { .. });
        told && event.conn == Some(conn)
    };
    let down = |event: &Event| about(event) && matches!(event.kind, EventKind::Down { .. });
    let told = |events: &[Event]| {
        let all = || events.iter().filter(|event| about(event)).map(|event| event.kind.clone()).collect();
        events.iter().any(down).then(all)
    };
    let told: Vec<EventKind> = node.log.wait(told).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], *expected);
}

async fn a_malformed_message_is_reported_once_and_ends_its_connection<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    let conn = node.up(id(2)).await;
    send(&mut peer, &[junk(), junk(), junk()]).await;
    while peer.reader.read().await.is_ok() {}
    drop(peer);
    let closed = node.down(id(2)).await;
    assert_eq!((closed.by, closed.layer, closed.blame), (Side::Local, Layer::Channel, Blame::Protocol));
    assert_eq!(closed.label, "malformed_message");
    let (channel, what) = (Some(Note::CHANNEL), Misbehaviour::MalformedMessage);
    let expected = EventKind::Misbehaved { channel, what, count: 1, detail: closed.detail };
    assert_one_report(&node, conn, &expected).await;
    assert_eq!(node.handle.misbehaviour(), [(Misbehaviour::MalformedMessage, 1)]);
}

/// A peer in whose opinion the last channel has one code more than it has.
async fn stranger<W: Wire>(net: &Net<W>) -> (Node<Channel<Last>>, Bare<W>, ConnId) {
    let mut builder = net.builder(1).await;
    let channel = builder.channel::<Last>().unwrap();
    let mut node = net.start(builder, channel);
    let spec = ChannelSpec { versions: &[Version { number: 1, codes: 2 }], ..ChannelSpec::of::<Last>() };
    let peer = net.bare_with(2, &node.address(), Offer { channels: vec![spec], ..offer() }).await.unwrap();
    let conn = node.up(id(2)).await;
    (node, peer, conn)
}

async fn a_message_of_no_shared_channel_is_reported_once_and_ends_its_connection<W: Wire>(net: Net<W>) {
    let (mut node, mut peer, conn) = stranger(&net).await;
    let frame = Frame { channel: Last::CHANNEL, code: 1, payload: Bytes::from_static(b"\xc0") };
    send(&mut peer, &[frame.clone(), frame]).await;
    while peer.reader.read().await.is_ok() {}
    drop(peer);
    let closed = node.down(id(2)).await;
    assert_eq!((closed.by, closed.layer, closed.blame), (Side::Local, Layer::Capability, Blame::Protocol));
    assert_eq!(closed.label, "unknown_message_id");
    let (channel, what) = (None, Misbehaviour::UnsharedChannel);
    let expected = EventKind::Misbehaved { channel, what, count: 1, detail: closed.detail };
    assert_one_report(&node, conn, &expected).await;
    assert_eq!(node.handle.misbehaviour(), [(Misbehaviour::UnsharedChannel, 1)]);
}

async fn a_mailbox_that_is_always_full_neither_loses_a_report_nor_saves_the_peer<W: Wire>(net: Net<W>) {
    /// More than the mailbox holds: whoever asks next waits behind all of them.
    const ASKERS: usize = 3000;
    let mut node = net.node(1).await;
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    let conn = node.up(id(2)).await;
    let enough = CancellationToken::new();
    for _ in 0..ASKERS {
        let (handle, enough) = (node.handle.clone(), enough.clone());
        net.beside(async move {
            while !enough.is_cancelled() {
                handle.advertise(None, 0).await.unwrap();
            }
        });
    }
    send(&mut peer, &[junk()]).await;
    while peer.reader.read().await.is_ok() {}
    drop(peer);
    let closed = node.down(id(2)).await;
    enough.cancel();
    assert_eq!(closed.label, "malformed_message");
    let (channel, what) = (Some(Note::CHANNEL), Misbehaviour::MalformedMessage);
    let expected = EventKind::Misbehaved { channel, what, count: 1, detail: closed.detail };
    assert_one_report(&node, conn, &expected).await;
}

async fn nuisances<W: Wire>(net: Net<W>) {
    let (mut node, mut other) = pair(&net).await;
    let (peer, conn) = (other.id, node.up(other.id).await);
    let mut reported = 0;
    // Ten points each. The first are halved before the next are added, and so on: 90, 45 + 50, 47 + 50. At last 48 + 60, of
    // which the limit of 100 counts.
    for nuisances in [9, 5, 5] {
        for _ in 0..nuisances {
            node.channel.sender().report(peer, conn, Misbehaviour::Nuisance, "again").unwrap();
        }
        reported += nuisances;
        let all_heard = |events: &[Event]| {
            let misbehaved = |event: &&Event| matches!(event.kind, EventKind::Misbehaved { .. });
            (events.iter().filter(misbehaved).count() == reported).then_some(())
        };
        node.log.wait(all_heard).await;
        // A halving, 10 min by default, passes on virtual time. Both nodes go on with their signs of life.
        assert!(timeout(Duration::from_secs(601), node.updates.next()).await.is_err());
    }
    assert_eq!(node.handle.misbehaviour(), [(Misbehaviour::Nuisance, 19)]);
    for _ in 0..6 {
        node.channel.sender().report(peer, conn, Misbehaviour::Nuisance, "again").unwrap();
    }
    let Closed { label, detail, blame, .. } = node.down(peer).await;
    assert_eq!((label, &*detail, blame), ("misbehaved", "nuisance, bad points: 100", Blame::Protocol));
    assert_eq!(other.down(node.id).await.label, "subprotocol");
    assert_ne!(node.up(peer).await, conn, "and it may come back");
}

async fn an_up_says_what_the_peer_announced<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let services = vec!["archive".to_owned(), "relay".to_owned()];
    let offer = Offer { services: services.clone(), ..offer() };
    let _peer = net.bare_with(2, &node.address(), offer).await.unwrap();
    let update = node.update().await;
    assert_eq!((update.version_of(Note::CHANNEL), update.version_of(Last::CHANNEL)), (Some(1), None));
    let PeerUpdate::Up { services: announced, capabilities, .. } = update else { panic!("{update:?}") };
    assert_eq!(*announced, services);
    let capability = |name: &str| Capability { name: name.parse().unwrap(), version: 1 };
    assert_eq!(*capabilities, [capability("note"), capability("peer")]);
    let status = node.handle.peers().remove(0);
    assert_eq!(*status.services, services);
}
