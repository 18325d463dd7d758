//! Whose fault ends what: a reactor's panic the reactor, a peer's malice the peer, and bad input the build.

use std::time::Duration;

use bytes::Bytes;
use peerage::Router;
use peerage::channel::{ChannelConfig, DropReason, Share};
use peerage::event::{Blame, DisconnectReason, EventKind, Layer, Misbehaviour, Side};
use peerage::message::{ChannelSpec, Frame, Message, Packet};
use peerage::peer;
use peerage::router::{BuildError, RouterConfig};
use peerage::transport::memory::MemoryNetwork;
use peerage::transport::{PacketReader, PacketWriter};

use super::kit::{Net, Note, Wire, id, over_both, pair};

over_both!(
    a_reactor_that_panics_ends_alone,
    an_undecodable_message_ends_its_connection_and_no_other,
    a_reported_connection_is_told_why_and_closed,
    a_late_report_does_not_harm_the_connection_that_came_after,
    a_report_that_mixes_up_two_peers_harms_neither,
);

async fn a_reactor_that_panics_ends_alone<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let channel = builder.channel::<Note>().unwrap();
    builder.reactor("clumsy", async { panic!("for the test") });
    let mut node = net.start(builder, channel);
    let panicked = |kind: &EventKind| {
        matches!(kind, EventKind::ReactorPanicked { reactor } if reactor == "clumsy").then_some(())
    };
    node.log.wait(|events| events.iter().find_map(|event| panicked(&event.kind))).await;
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    assert_eq!(node.channel.try_send(id(2), Note::Say { number: 1 }).ok(), Ok(1));
    peer.reader.read().await.unwrap();
    drop(peer);
    let report = node.stop().await;
    assert!(!report.clean, "{report:?}");
    assert_eq!((report.panicked, report.unfinished), (vec!["clumsy".to_owned()], vec![]));
}

async fn an_undecodable_message_ends_its_connection_and_no_other<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let mut good = net.bare(2, &node.address()).await.unwrap();
    let mut bad = net.bare(3, &node.address()).await.unwrap();
    node.up_count(2).await;
    let junk = Frame { channel: Note::CHANNEL, code: 0, payload: Bytes::from_static(b"\xffjunk") };
    bad.writer.write(&Packet::Frame(junk)).unwrap();
    bad.writer.flush().await.unwrap();
    let told = bad.reader.read().await.unwrap_err();
    assert_eq!((told.by, told.reason), (Side::Remote, DisconnectReason::Subprotocol));
    drop(bad);
    let closed = node.down(id(3)).await;
    assert_eq!((closed.by, closed.layer, closed.label), (Side::Local, Layer::Channel, "malformed_message"));
    assert_eq!(closed.blame, Blame::Protocol);
    assert_eq!(node.handle.channels()[0].dropped, [(DropReason::Malformed, 1)]);
    let mut payload = bytes::BytesMut::new();
    let note = Note::Say { number: 5 };
    note.encode(1, &mut payload);
    let frame = Frame { channel: Note::CHANNEL, code: note.code(), payload: payload.freeze() };
    good.writer.write(&Packet::Frame(frame)).unwrap();
    good.writer.flush().await.unwrap();
    assert_eq!(node.hear().await, (id(2), note));
    assert_eq!(node.channel.try_send(id(2), Note::Say { number: 6 }).ok(), Ok(1));
    assert!(matches!(good.reader.read().await, Ok(Packet::Frame(_))));
}

async fn a_reported_connection_is_told_why_and_closed<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    let conn = node.up(id(2)).await;
    node.channel.sender().report(id(2), conn, Misbehaviour::Breach, "rude\u{7}").unwrap();
    let told = peer.reader.read().await.unwrap_err();
    assert_eq!((told.by, told.reason), (Side::Remote, DisconnectReason::Subprotocol));
    let end = peer.reader.read().await.unwrap_err();
    assert_eq!(end.layer, Layer::Tcp, "and then the stream ends: {end}");
    drop(peer);
    let closed = node.down(id(2)).await;
    assert_eq!((closed.layer, closed.label), (Layer::Channel, "misbehaved"));
    assert_eq!(closed.detail, "breach, bad points: 100");
    let expected = EventKind::Misbehaved {
        channel: Some(Note::CHANNEL),
        what: Misbehaviour::Breach,
        count: 1,
        detail: "rude?".into(),
    };
    assert_eq!(node.log.count(|kind| *kind == expected), 1);
    assert_eq!(node.handle.misbehaviour(), [(Misbehaviour::Breach, 1)]);
    assert_eq!(node.handle.peers(), []);
}

async fn a_late_report_does_not_harm_the_connection_that_came_after<W: Wire>(net: Net<W>) {
    let (mut a, mut b) = pair(&net).await;
    let old = b.up(a.id).await;
    assert_eq!(b.handle.disconnect(a.id).await, Ok(true));
    b.down(a.id).await;
    let new = b.up(a.id).await;
    a.down(b.id).await;
    a.up(b.id).await;
    b.channel.sender().report(a.id, old, Misbehaviour::Breach, "long ago").unwrap();
    // The manager has taken the report when its event is there.
    let heard = |kind: &EventKind| matches!(kind, EventKind::Misbehaved { .. });
    b.log.wait(|events| events.iter().any(|event| heard(&event.kind)).then_some(())).await;
    assert_eq!(b.channel.try_send(a.id, Note::Say { number: 1 }).ok(), Ok(1));
    assert_eq!(a.hear().await, (b.id, Note::Say { number: 1 }));
    assert_eq!(b.handle.disconnect(id(50)).await, Ok(false), "the manager has gone round once more");
    assert_eq!((b.updates.try_next(), b.handle.peers()[0].conn), (None, new));
}

async fn a_report_that_mixes_up_two_peers_harms_neither<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let _first = net.bare(2, &node.address()).await.unwrap();
    let _second = net.bare(3, &node.address()).await.unwrap();
    let conn = node.up(id(2)).await;
    let right = node.up(id(3)).await;
    node.channel.sender().report(id(3), conn, Misbehaviour::Breach, "mixed up").unwrap();
    node.channel.sender().report(id(3), right, Misbehaviour::Breach, "meant so").unwrap();
    // Reports are taken in order.
    node.down(id(3)).await;
    assert_eq!(node.handle.peers().len(), 1);
}

fn refusal(declare: impl FnOnce(&mut peerage::router::Builder) -> Result<(), BuildError>) -> BuildError {
    let mut builder = Router::builder(id(1));
    builder.transport(MemoryNetwork::new().listen(id(1)));
    match declare(&mut builder).and_then(|()| builder.build().map(drop)) {
        Err(refused) => refused,
        Ok(()) => panic!("it was built"),
    }
}

fn misconfigured(change: impl FnOnce(&mut RouterConfig)) -> BuildError {
    refusal(|builder| {
        builder.configure(change);
        Ok(())
    })
}

#[test]
fn a_node_without_a_transport_is_not_built() {
    let mut builder = Router::builder(id(1));
    builder.channel::<Note>().unwrap();
    assert_eq!(builder.build().map(drop).unwrap_err(), BuildError::NoTransport);
}

#[test]
fn a_channel_that_cannot_hold_its_largest_message_is_not_opened() {
    let fields: [fn(&mut ChannelConfig) -> &mut Share; 3] =
        [|config| &mut config.outbound, |config| &mut config.inbound, |config| &mut config.inbound_total];
    for (field, name) in fields.into_iter().zip(["outbound", "inbound", "inbound_total"]) {
        let mut small = ChannelConfig::for_messages_of(Note::MAX_BYTES);
        field(&mut small).bytes = Note::MAX_BYTES - 1;
        let mut none = ChannelConfig::for_messages_of(Note::MAX_BYTES);
        field(&mut none).messages = 0;
        for config in [small, none] {
            let refused = refusal(|builder| builder.channel_with::<Note>(&config).map(drop));
            let BuildError::Channel(fault) = refused else { panic!("{refused}") };
            assert_eq!((fault.channel, fault.field), (ChannelSpec::of::<Note>().id, name));
        }
    }
    let weightless = ChannelConfig { weight: 0, ..ChannelConfig::for_messages_of(Note::MAX_BYTES) };
    let refused = refusal(|builder| builder.channel_with::<Note>(&weightless).map(drop));
    assert!(matches!(&refused, BuildError::Channel(fault) if fault.field == "weight"), "{refused}");
}

#[test]
fn a_peer_queue_that_cannot_hold_the_largest_message_is_not_built() {
    let refused = refusal(|builder| {
        builder.configure(|config| config.peer_queue.bytes = 1024).channel::<Note>().map(drop)
    });
    assert!(matches!(&refused, BuildError::Config(fault) if fault.field == "peer_queue"), "{refused}");
}

#[test]
fn zero_and_endless_settings_are_refused_by_name() {
    type Field = fn(&mut RouterConfig) -> &mut Duration;
    let times: [(&str, Field); 3] = [
        ("handshake_timeout", |config| &mut config.handshake_timeout),
        ("write_stall", |config| &mut config.write_stall),
        ("drain_timeout", |config| &mut config.drain_timeout),
    ];
    for (name, field) in times {
        for value in [Duration::ZERO, Duration::MAX] {
            let refused = misconfigured(|config| *field(config) = value);
            assert!(matches!(&refused, BuildError::Config(fault) if fault.field == name), "{refused}");
        }
    }
    let refused = misconfigured(|config| config.peer_queue.messages = 0);
    assert!(matches!(&refused, BuildError::Config(fault) if fault.field == "peer_queue"), "{refused}");
    let mut builder = Router::builder(id(1));
    builder.transport(MemoryNetwork::new().listen(id(2)));
    assert_eq!(builder.build().unwrap_err(), BuildError::WrongIdentity(id(2)));
    let mut builder = Router::builder(id(1));
    builder.local_only().reactor("twin", async {}).reactor("twin", async {});
    assert_eq!(builder.build().unwrap_err(), BuildError::ReactorTaken("twin".into()));
    let refused = misconfigured(|config| config.network = "x".repeat(65));
    assert!(matches!(&refused, BuildError::Config(_)), "{refused}");
    let refused = misconfigured(|config| config.peers.max_dials_in_flight = 0);
    assert_eq!(refused, BuildError::Peers(peer::ConfigError::Zero { field: "max_dials_in_flight" }));
}
