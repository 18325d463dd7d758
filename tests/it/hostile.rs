//! Peers that mean harm, over TCP and RLPx: each ends its own connection, with a reason that names the layer.
//!
//! What a peer can do to a session of any transport is among the cases of [`crate::transports`]. Here is what needs
//! bytes of RLPx itself: its handshake, frames, MACs and compression, and what a whole node makes of it.

use bytes::BytesMut;
use peerage::event::{Blame, Closed, DisconnectReason, Layer, Side};
use peerage::rlpx::{Entropy, INFO_CHANNEL, Initiator, MAX_PACKET_BYTES, Recipient, p2p};
use peerage::transport::rlpx::RlpxTransport;
use peerage::transport::{Connection, Handshake, Incoming, PacketReader, Progress, Target, Transport};
use peerage::{Router, address::Endpoint};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::transports::kits::{ANY_PORT, Rlpx};
use crate::transports::wire::{TRIAL_0, Wire, hello, read_packet};
use crate::transports::{Kit, endpoint_of, key, offer, plain_handshake, told, within};

/// The honest node's key, and the hostile one's.
const HONEST: u64 = 2;
const HOSTILE: u64 = 9;

async fn node() -> RlpxTransport {
    Rlpx.listen(&key(HONEST)).await
}

/// Does as a node does with who connects: the handshake, then reading, until the end.
async fn serve(node: &RlpxTransport) -> Closed {
    let served = async {
        let (mut reader, _writer) = node.accept().await.unwrap().handshake(plain_handshake()).await?.split();
        loop {
            reader.read().await?;
        }
    };
    let served: Result<(), Closed> = served.await;
    served.unwrap_err()
}

/// The node's report on a peer that connects and does as `misdeed` says, and then waits for the end of the stream.
async fn report(misdeed: impl AsyncFnOnce(&mut TcpStream)) -> Closed {
    let node = node().await;
    let hostile = async {
        let mut stream = Rlpx.connect(key(HOSTILE).id(), &endpoint_of(&node)).await;
        misdeed(&mut stream).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    within(Box::pin(async { tokio::join!(serve(&node), hostile) })).await.0
}

/// The same of a peer that was honest until it was up.
async fn later_report(misdeed: impl AsyncFnOnce(&mut Wire<TcpStream>)) -> Closed {
    let node = node().await;
    let hostile = async {
        let mut wire = Rlpx.speak(&key(HOSTILE), key(HONEST).id(), &endpoint_of(&node)).await;
        wire.establish(&key(HOSTILE)).await;
        misdeed(&mut wire).await;
        wire.farewell().await
    };
    within(Box::pin(async { tokio::join!(serve(&node), hostile) })).await.0
}

fn breach(layer: Layer, label: &'static str) -> (Layer, &'static str, Side, Blame, DisconnectReason) {
    (layer, label, Side::Local, Blame::Protocol, DisconnectReason::Breach)
}

fn truncated(closed: &Closed) -> bool {
    closed.layer == Layer::Tcp && closed.label == "truncated" && closed.by == Side::Remote
}

#[tokio::test]
async fn a_garbage_connection_is_refused_by_its_first_two_bytes() {
    let closed = report(async |stream| stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap()).await;
    assert_eq!(told(&closed), breach(Layer::Ecies, "handshake_too_large"));
    let closed = report(async |stream| stream.write_all(&[0; 400]).await.unwrap()).await;
    assert_eq!(told(&closed), breach(Layer::Ecies, "handshake_too_short"));
}

#[tokio::test]
async fn an_oversized_handshake_is_refused_before_its_bytes_come() {
    for announced in [u16::try_from(MAX_PACKET_BYTES).unwrap() + 1, u16::MAX] {
        // Nothing follows the prefix: whoever waited for it, or made room for it, would hang here.
        let closed = report(async |stream| stream.write_all(&announced.to_be_bytes()).await.unwrap()).await;
        assert_eq!(told(&closed), breach(Layer::Ecies, "handshake_too_large"));
        assert!(closed.detail.contains(&announced.to_string()), "{closed}");
    }
}

#[tokio::test]
async fn garbage_of_the_right_size_is_not_authentic() {
    for fill in [0, 4, 0xff] {
        let mut packet = vec![fill; 2 + 400];
        packet[..2].copy_from_slice(&400_u16.to_be_bytes());
        let closed = report(async |stream| stream.write_all(&packet).await.unwrap()).await;
        assert_eq!(told(&closed), breach(Layer::Ecies, "handshake_not_authentic"));
    }
}

#[tokio::test]
async fn a_handshake_for_another_key_is_not_authentic() {
    let (_, auth) = Initiator::new(&key(HOSTILE), key(3).id(), Entropy::from_bytes([1; 32]));
    let closed = report(async |stream| stream.write_all(&auth).await.unwrap()).await;
    assert_eq!(told(&closed), breach(Layer::Ecies, "handshake_not_authentic"));
}

#[tokio::test]
async fn a_dialler_that_expects_another_identity_is_told_nothing() {
    let (node, dialler) = (node().await, RlpxTransport::dial_only(key(1)));
    let to = Target { id: key(3).id(), endpoint: endpoint_of(&node) };
    let both = async { tokio::join!(serve(&node), dialler.dial(to, plain_handshake())) };
    let (accepted, dialled) = within(Box::pin(both)).await;
    assert_eq!(told(&accepted), breach(Layer::Ecies, "handshake_not_authentic"));
    // Only the listener can know that the packet was for another; the dialler sees the stream end.
    let dialled = dialled.err().unwrap();
    assert!(truncated(&dialled) || dialled.label == "connection_reset", "{dialled}");
    assert_eq!((dialled.layer, dialled.by, dialled.blame), (Layer::Tcp, Side::Remote, Blame::System));
}

#[tokio::test]
async fn a_handshake_with_any_byte_changed_is_not_authentic() {
    let (_, auth) = Initiator::new(&key(HOSTILE), key(HONEST).id(), Entropy::from_bytes([1; 32]));
    // Within the point, the iv, the ciphertext and the tag.
    for at in [2, 3, 40, 70, 90, 200, auth.len() - 40, auth.len() - 1] {
        let mut auth = auth.clone();
        auth[at] ^= 1;
        let closed = report(async |stream| stream.write_all(&auth).await.unwrap()).await;
        assert_eq!(told(&closed), breach(Layer::Ecies, "handshake_not_authentic"), "byte {at}");
    }
}

#[tokio::test]
async fn a_handshake_that_stops_short_is_truncated() {
    let (_, auth) = Initiator::new(&key(HOSTILE), key(HONEST).id(), Entropy::from_bytes([1; 32]));
    for len in [0, 1, 2, 100, auth.len() - 1] {
        let closed = report(async |stream| {
            stream.write_all(&auth[..len]).await.unwrap();
            stream.shutdown().await.unwrap();
        })
        .await;
        assert!(truncated(&closed), "{closed}");
    }
}

#[tokio::test]
async fn a_replayed_handshake_comes_to_nothing() {
    // The recipient draws its own nonce: whoever replays an auth has not the keys of what follows.
    let (_, auth) = Initiator::new(&key(1), key(HONEST).id(), Entropy::from_bytes([1; 32]));
    let closed = report(async |stream| {
        stream.write_all(&auth).await.unwrap();
        read_packet(stream).await;
        stream.write_all(&[7; 64]).await.unwrap();
    })
    .await;
    assert_eq!(told(&closed), breach(Layer::Frame, "bad_header_mac"));
}

#[tokio::test]
async fn a_frame_with_any_bit_flipped_fails_its_mac() {
    for (at, label) in [
        (0, "bad_header_mac"),
        (15, "bad_header_mac"),
        (16, "bad_header_mac"),
        (31, "bad_header_mac"),
        (32, "bad_body_mac"),
        (33, "bad_body_mac"),
        (usize::MAX, "bad_body_mac"),
    ] {
        let closed = later_report(async |wire| {
            let mut frame = wire.encode(TRIAL_0, b"a message that is recorded and changed");
            let at = at.min(frame.len() - 1);
            frame[at] ^= 0x10;
            wire.io.write_all(&frame).await.unwrap();
        })
        .await;
        assert_eq!(told(&closed), breach(Layer::Frame, label), "byte {at}");
    }
}

#[tokio::test]
async fn a_replayed_frame_fails_its_mac() {
    let closed = later_report(async |wire| {
        let frame = wire.encode(TRIAL_0, b"once");
        wire.io.write_all(&frame).await.unwrap();
        wire.io.write_all(&frame).await.unwrap();
    })
    .await;
    assert_eq!(told(&closed), breach(Layer::Frame, "bad_header_mac"));
}

#[tokio::test]
async fn a_snappy_bomb_is_refused_by_what_it_announces() {
    // The varint of 16 MiB and more, and hardly anything after it.
    for bomb in [&[0x80, 0x80, 0x80, 0x08, 0][..], &[0xff, 0xff, 0xff, 0xff, 0x0f, 0]] {
        let closed = later_report(async |wire| {
            let frame = wire.encode_compressed(TRIAL_0, bomb);
            wire.io.write_all(&frame).await.unwrap();
        })
        .await;
        assert_eq!(told(&closed), breach(Layer::Frame, "payload_too_large"));
    }
}

#[tokio::test]
async fn what_is_no_snappy_block_is_refused() {
    for block in [&[][..], &[0x80], &[4, 0xff, 0xff], &[0xff; 10]] {
        let closed = later_report(async |wire| {
            let frame = wire.encode_compressed(TRIAL_0, block);
            wire.io.write_all(&frame).await.unwrap();
        })
        .await;
        assert_eq!(told(&closed), breach(Layer::Frame, "bad_snappy"), "{block:?}");
    }
}

#[tokio::test]
async fn a_first_frame_above_two_kilobytes_is_refused_by_its_header() {
    let closed = {
        let node = node().await;
        let hostile = async {
            let mut wire = Rlpx.speak(&key(HOSTILE), key(HONEST).id(), &endpoint_of(&node)).await;
            let header = wire.announcement(p2p::HELLO, &[0; 2048]);
            wire.io.write_all(&header).await.unwrap();
            wire.farewell().await
        };
        let (closed, reason) = within(Box::pin(async { tokio::join!(serve(&node), hostile) })).await;
        assert_eq!(reason, Some(DisconnectReason::Breach));
        closed
    };
    assert_eq!(told(&closed), breach(Layer::Frame, "frame_too_large"));
}

/// Somebody who listens as a node would: what a dialler reports of it.
async fn dial_report(misdeed: impl AsyncFnOnce(&mut TcpStream)) -> Closed {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
    let dialler = RlpxTransport::dial_only(key(HONEST));
    let hostile = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        misdeed(&mut stream).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let dial = dialler.dial(Target { id: key(HOSTILE).id(), endpoint }, plain_handshake());
    within(Box::pin(async { tokio::join!(dial, hostile) })).await.0.err().unwrap()
}

#[tokio::test]
async fn a_dialler_refuses_what_a_listener_should_not_answer() {
    let closed =
        dial_report(async |stream| stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap()).await;
    assert_eq!(told(&closed), breach(Layer::Ecies, "handshake_too_large"));

    let mut garbage = vec![4; 2 + 300];
    garbage[..2].copy_from_slice(&300_u16.to_be_bytes());
    let closed = dial_report(async |stream| stream.write_all(&garbage).await.unwrap()).await;
    assert_eq!(told(&closed), breach(Layer::Ecies, "handshake_not_authentic"));

    let closed = dial_report(async |stream| {
        read_packet(stream).await;
        stream.shutdown().await.unwrap();
    })
    .await;
    assert!(truncated(&closed), "{closed}");
}

#[tokio::test]
async fn a_dialler_refuses_a_listener_that_claims_another_identity_in_hello() {
    let closed = dial_report(async |stream| {
        let auth = read_packet(stream).await;
        let accepted = Recipient::on_auth(&key(HOSTILE), &auth, Entropy::from_bytes([3; 32])).unwrap();
        stream.write_all(&accepted.ack).await.unwrap();
        let mut wire = Wire::rlpx(stream, accepted.secrets);
        wire.greet(&hello(key(8).id())).await;
        assert_eq!(wire.farewell().await, Some(DisconnectReason::UnexpectedIdentity));
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
}

/// Remembers whom the handshake identified.
#[derive(Default)]
struct Identified(Mutex<Vec<peerage::NodeId>>);

impl Progress for Identified {
    fn identified(&self, peer: peerage::NodeId) {
        self.0.lock().unwrap().push(peer);
    }
}

#[tokio::test]
async fn nobody_is_identified_by_a_handshake_that_failed() {
    let node = node().await;
    let progress = Arc::new(Identified::default());
    let handshake = Handshake { offer: Arc::new(offer(&[])), progress: Arc::clone(&progress) as _ };
    let hostile = async {
        let mut stream = Rlpx.connect(key(HOSTILE).id(), &endpoint_of(&node)).await;
        let (_, auth) = Initiator::new(&key(HOSTILE), key(3).id(), Entropy::from_bytes([1; 32]));
        stream.write_all(&auth).await.unwrap();
        stream
    };
    let serve = async { node.accept().await.unwrap().handshake(handshake).await.is_err() };
    let (failed, _stream) = within(Box::pin(async { tokio::join!(serve, hostile) })).await;
    assert!(failed && progress.0.lock().unwrap().is_empty());
}

peerage::protocol! {
    /// The trial channel, as a node declares it.
    enum Trial: "trial" / 1, max 1000 {
        0 = Say { text: String },
        1 = One,
        2 = Two,
        3 = Three,
    }
}

/// A whole node that listens, and its endpoint.
async fn whole_node() -> (Router, Endpoint) {
    let transport = node().await;
    let endpoint = endpoint_of(&transport);
    let mut builder = Router::builder(key(HONEST).id());
    builder.configure(|config| config.network = "trials".into());
    builder.transport(transport).seed(1);
    let mut channel = builder.channel::<Trial>().unwrap();
    builder.reactor("trial", async move { while channel.recv().await.is_some() {} });
    (builder.build().unwrap(), endpoint)
}

#[tokio::test]
async fn a_ping_flood_gets_as_many_pongs_as_the_bucket_holds_and_no_more() {
    const PINGS: usize = 2000;
    const BUCKET: usize = 16;
    let (router, endpoint) = whole_node().await;
    let handle = router.handle();
    let mut node = JoinSet::new();
    node.spawn(router.run());
    let began = tokio::time::Instant::now();
    let pongs = within(Box::pin(async {
        let mut wire = Rlpx.speak(&key(HOSTILE), key(HONEST).id(), &endpoint).await;
        wire.establish(&key(HOSTILE)).await;
        let mut flood = BytesMut::new();
        for _ in 0..PINGS {
            flood.extend_from_slice(&wire.encode(p2p::PING, &p2p::PING_PAYLOAD));
        }
        wire.io.write_all(&flood).await.unwrap();
        for _ in 0..BUCKET {
            assert_eq!(wire.receive().await.unwrap().0, p2p::PONG);
        }
        // What comes after the flood is read after it: the end of the connection, by the node's own farewell.
        let id = wire.encode(0x7f, &[0xc0]);
        wire.io.write_all(&id).await.unwrap();
        let mut pongs = BUCKET;
        loop {
            match wire.receive().await {
                Some((p2p::PONG, _)) => pongs += 1,
                Some((p2p::DISCONNECT, payload)) => {
                    assert_eq!(p2p::Disconnect::decode(&payload), DisconnectReason::Breach);
                    break pongs;
                }
                Some((id, _)) => panic!("message 0x{id:02x}"),
                None => panic!("no reason was given"),
            }
        }
    }))
    .await;
    let refilled = usize::try_from(began.elapsed().as_secs()).unwrap() * 2 + 2;
    assert!(pongs <= BUCKET + refilled, "{pongs} pongs");
    handle.shutdown();
    while let Some(report) = node.join_next().await {
        assert!(report.unwrap().clean);
    }
}

#[test]
fn the_hostile_peers_ids_are_those_that_are_negotiated() {
    assert!(INFO_CHANNEL.id.as_str() < "trial");
}
