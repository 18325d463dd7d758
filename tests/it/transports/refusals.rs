//! What an honest node says of a peer that breaks the session's rules, the same over every transport.

use bytes::BytesMut;
use peerage::event::{Blame, Closed, DisconnectReason, Layer, Side};
use peerage::message::Packet;
use peerage::rlpx::{Hello, p2p};
use peerage::transport::{Connection, PacketReader};

use super::wire::{INFO, TRIAL_0, Wire, hello};
use super::{
    Kit, MAX_BYTES, accept, assert_meet, conformance, endpoint_of, failure, frame, key, noise,
    plain_handshake, told,
};

conformance!(
    a_spoofed_hello_id_is_a_breach,
    a_message_before_hello_is_a_breach,
    a_malformed_hello_is_a_breach,
    a_disconnect_in_place_of_hello_is_read,
    a_message_before_info_is_a_breach,
    a_malformed_info_is_a_breach,
    pings_in_place_of_info_are_answered_and_not_for_ever,
    a_second_hello_is_a_breach,
    a_second_info_is_a_breach,
    an_unknown_message_id_is_a_breach,
    a_payload_at_the_maximum_passes_and_one_above_it_is_a_breach,
    an_announcement_above_every_maximum_is_refused_before_its_payload_comes,
    a_stranger_is_given_no_memory_for_a_channels_message,
);

/// The honest node's report on a peer that does as `misdeed` says. With it the reason that the peer was told, if the
/// node failed in its handshake: later the router says it.
async fn report<K: Kit>(
    kit: &K,
    misdeed: impl AsyncFnOnce(&mut Wire<K::Raw>),
) -> (Closed, Option<DisconnectReason>) {
    let (friend, node) = (kit.listen(&key(1)).await, kit.listen(&key(2)).await);
    let honest = async {
        let (mut reader, _writer) = accept(&node, plain_handshake()).await?.split();
        loop {
            reader.read().await?;
        }
    };
    let hostile = async {
        let mut wire = kit.speak(&key(9), key(2).id(), &endpoint_of(&node)).await;
        misdeed(&mut wire).await;
        wire.farewell().await
    };
    let (closed, told) = Box::pin(async { tokio::join!(honest, hostile) }).await;
    assert_meet::<K>(&friend, &node).await;
    (failure::<()>(closed), told)
}

/// The same of a peer that was honest until it was up.
async fn later_report<K: Kit>(kit: &K, misdeed: impl AsyncFnOnce(&mut Wire<K::Raw>)) -> Closed {
    report(kit, async |wire: &mut Wire<K::Raw>| {
        wire.establish(&key(9)).await;
        misdeed(wire).await;
    })
    .await
    .0
}

fn breach(layer: Layer, label: &'static str) -> (Layer, &'static str, Side, Blame, DisconnectReason) {
    (layer, label, Side::Local, Blame::Protocol, DisconnectReason::Breach)
}

async fn a_spoofed_hello_id_is_a_breach<K: Kit>(kit: K) {
    let (closed, reason) = report(&kit, async |wire: &mut Wire<K::Raw>| {
        wire.greet(&hello(key(8).id())).await;
    })
    .await;
    assert_eq!(
        told(&closed),
        (
            Layer::Hello,
            "spoofed_hello_id",
            Side::Local,
            Blame::Protocol,
            DisconnectReason::UnexpectedIdentity
        )
    );
    assert_eq!(reason, Some(DisconnectReason::UnexpectedIdentity));
    let ids = [key(8).id().to_string(), key(9).id().to_string()];
    assert!(ids.iter().all(|id| closed.detail.contains(id)), "{closed}");
}

async fn a_message_before_hello_is_a_breach<K: Kit>(kit: K) {
    for id in [p2p::PING, INFO, TRIAL_0] {
        let (closed, reason) =
            report(&kit, async |wire: &mut Wire<K::Raw>| wire.send(id, &[0xc0]).await).await;
        assert_eq!(told(&closed), breach(Layer::Capability, "unknown_message_id"));
        assert_eq!(reason, Some(DisconnectReason::Breach));
    }
}

async fn a_malformed_hello_is_a_breach<K: Kit>(kit: K) {
    let mut whole = BytesMut::new();
    hello(key(9).id()).encode(&mut whole);
    for cut in [0, 1, whole.len() - 1] {
        let (closed, reason) =
            report(&kit, async |wire: &mut Wire<K::Raw>| wire.send(p2p::HELLO, &whole[..cut]).await).await;
        assert_eq!(told(&closed), breach(Layer::Hello, "hello_malformed"), "{cut}");
        assert_eq!(reason, Some(DisconnectReason::Breach));
    }
}

async fn a_disconnect_in_place_of_hello_is_read<K: Kit>(kit: K) {
    let (closed, _) =
        report(&kit, async |wire: &mut Wire<K::Raw>| wire.send(p2p::DISCONNECT, &[0xc1, 4]).await).await;
    assert_eq!(closed, Closed::remote(DisconnectReason::TooManyPeers));
}

async fn a_message_before_info_is_a_breach<K: Kit>(kit: K) {
    let (closed, reason) = report(&kit, async |wire: &mut Wire<K::Raw>| {
        wire.greet(&hello(key(9).id())).await;
        wire.send(TRIAL_0, b"early").await;
    })
    .await;
    assert_eq!(told(&closed), breach(Layer::Capability, "unknown_message_id"));
    assert_eq!(reason, Some(DisconnectReason::Breach));
}

async fn a_malformed_info_is_a_breach<K: Kit>(kit: K) {
    let (closed, _) = report(&kit, async |wire: &mut Wire<K::Raw>| {
        wire.greet(&hello(key(9).id())).await;
        wire.send(INFO, &[0xc5, 1]).await;
    })
    .await;
    assert_eq!(told(&closed), breach(Layer::Capability, "info_malformed"));
}

async fn pings_in_place_of_info_are_answered_and_not_for_ever<K: Kit>(kit: K) {
    let (closed, reason) = report(&kit, async |wire: &mut Wire<K::Raw>| {
        wire.greet(&hello(key(9).id())).await;
        assert_eq!(wire.receive().await.unwrap().0, INFO);
        for _ in 0..16 {
            wire.send(p2p::PING, &p2p::PING_PAYLOAD).await;
            assert_eq!(wire.receive().await.unwrap().0, p2p::PONG);
        }
    })
    .await;
    assert_eq!(told(&closed), breach(Layer::Capability, "no_info"));
    assert_eq!(reason, Some(DisconnectReason::Breach));
}

async fn a_second_hello_is_a_breach<K: Kit>(kit: K) {
    let mut payload = BytesMut::new();
    Hello { client: "again".into(), ..hello(key(9).id()) }.encode(&mut payload);
    let closed =
        later_report(&kit, async |wire: &mut Wire<K::Raw>| wire.send(p2p::HELLO, &payload).await).await;
    assert_eq!(told(&closed), breach(Layer::Capability, "unknown_message_id"));
}

async fn a_second_info_is_a_breach<K: Kit>(kit: K) {
    let closed = later_report(&kit, async |wire: &mut Wire<K::Raw>| wire.send_info("trials").await).await;
    assert_eq!(told(&closed), breach(Layer::Capability, "second_info"));
}

async fn an_unknown_message_id_is_a_breach<K: Kit>(kit: K) {
    for id in [4, 0x0f, TRIAL_0 + 4, 0x7f] {
        let closed = later_report(&kit, async |wire: &mut Wire<K::Raw>| wire.send(id, &[0xc0]).await).await;
        assert_eq!(told(&closed), breach(Layer::Capability, "unknown_message_id"), "{id}");
        assert!(closed.detail.contains(&format!("0x{id:02x}")), "{closed}");
    }
}

async fn a_payload_at_the_maximum_passes_and_one_above_it_is_a_breach<K: Kit>(kit: K) {
    let (friend, node) = (kit.listen(&key(1)).await, kit.listen(&key(2)).await);
    let honest = async {
        let (mut reader, _writer) = accept(&node, plain_handshake()).await?.split();
        assert!(reader.read().await? == frame(0, vec![0; MAX_BYTES]));
        reader.read().await
    };
    let hostile = async {
        let mut wire = kit.speak(&key(9), key(2).id(), &endpoint_of(&node)).await;
        wire.establish(&key(9)).await;
        wire.send(TRIAL_0, &vec![0; MAX_BYTES]).await;
        let bytes = wire.encode(TRIAL_0, &vec![0; MAX_BYTES + 1]);
        // The node may close before all of it is written.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut wire.io, &bytes).await;
    };
    let (closed, ()) = Box::pin(async { tokio::join!(honest, hostile) }).await;
    let closed = failure::<Packet>(closed);
    assert_eq!(told(&closed), breach(Layer::Frame, "payload_too_large"));
    assert!(closed.detail.contains(&MAX_BYTES.to_string()), "{closed}");
    assert_meet::<K>(&friend, &node).await;
}

async fn an_announcement_above_every_maximum_is_refused_before_its_payload_comes<K: Kit>(kit: K) {
    // Far enough above that no compression could have made it of an allowed one.
    let payload = noise(1, 2 * MAX_BYTES);
    let closed = later_report(&kit, async |wire: &mut Wire<K::Raw>| {
        let bytes = wire.announcement(TRIAL_0, &payload);
        tokio::io::AsyncWriteExt::write_all(&mut wire.io, &bytes).await.unwrap();
    })
    .await;
    assert!(["frame_too_large", "payload_too_large"].contains(&closed.label), "{closed}");
    assert_eq!(told(&closed), breach(Layer::Frame, closed.label));
}

/// Until a peer has said of which network it is, the most that it may make a node keep is as small as Hello.
async fn a_stranger_is_given_no_memory_for_a_channels_message<K: Kit>(kit: K) {
    let payload = noise(1, MAX_BYTES);
    let (closed, _) = report(&kit, async |wire: &mut Wire<K::Raw>| {
        wire.greet(&hello(key(9).id())).await;
        let bytes = wire.announcement(TRIAL_0, &payload);
        tokio::io::AsyncWriteExt::write_all(&mut wire.io, &bytes).await.unwrap();
    })
    .await;
    assert!(["frame_too_large", "unknown_message_id"].contains(&closed.label), "{closed}");
}
