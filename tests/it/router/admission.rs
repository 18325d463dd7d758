//! Whom a node admits: what ends an incoming connection, and that no other is disturbed by it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use peerage::address::Endpoint;
use peerage::event::{Blame, DisconnectReason, EventKind, Layer, Side};
use peerage::id::Protocol;
use peerage::peer::Limit;
use peerage::rlpx::{Entropy, Hello, Initiator, p2p};
use peerage::transport::{AcceptError, Handshake, Offer, PacketReader, Target, Transport};
use peerage::{NodeId, Router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::kit::{Memory, Net, Node, Note, Wire, id, key, offer, over_both, paused, quick};

over_both!(
    a_valid_peer_comes_up,
    a_peer_that_closes_during_its_handshake_is_counted,
    a_peer_that_says_nothing_is_ended_at_the_handshake_limit,
    a_peer_that_dialled_another_identity_is_not_admitted,
    a_peer_of_our_own_identity_is_not_admitted,
    a_peer_of_another_network_is_told_and_not_admitted,
    a_peer_without_a_common_channel_is_told_and_not_stored,
    garbage_is_no_handshake,
    errors_of_accept_never_end_accepting,
    stuck_handshakes_do_not_hold_up_another,
    the_hundredth_connection_comes_up_while_ninety_nine_never_speak,
    the_address_filter_comes_before_all_cryptography,
    the_identity_filter_comes_after_the_proof,
    beyond_the_limit_of_handshakes_a_connection_is_closed_at_once,
);

/// The node is not harmed: a valid peer comes up, and what went before was never up.
async fn still_accepts<W: Wire>(net: &Net<W>, mut node: Node) {
    assert!(!node.ever_up());
    let _peer = net.bare(77, &node.address()).await.unwrap();
    node.up(id(77)).await;
}

/// Waits until the node closes a stream, whatever it says before.
async fn closed_by_node(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut rest).await;
}

async fn a_valid_peer_comes_up<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    assert_eq!(node.channel.try_send(id(2), Note::Say { number: 1 }).ok(), Ok(1));
    peer.reader.read().await.unwrap();
    assert!(node.handle.ends().is_empty());
}

async fn a_peer_that_closes_during_its_handshake_is_counted<W: Wire>(net: Net<W>) {
    let node = net.node(1).await;
    drop(net.wire.raw(id(2), &node.endpoint()).await);
    let closed = node.log.failed().await;
    assert_eq!((closed.by, closed.layer), (Side::Remote, Layer::Tcp), "{closed}");
    still_accepts(&net, node).await;
}

async fn a_peer_that_says_nothing_is_ended_at_the_handshake_limit<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    builder.configure(|config| config.handshake_timeout = Duration::from_millis(300));
    let channel = builder.channel::<Note>().unwrap();
    let node = net.start(builder, channel);
    let began = Instant::now();
    let mut silent = net.wire.raw(id(2), &node.endpoint()).await;
    let closed = node.log.failed().await;
    assert_eq!((closed.by, closed.label), (Side::Local, "handshake_timeout"));
    assert!(began.elapsed() >= Duration::from_millis(300));
    closed_by_node(&mut silent).await;
    still_accepts(&net, node).await;
}

async fn a_peer_that_dialled_another_identity_is_not_admitted<W: Wire>(net: Net<W>) {
    let node = net.node(1).await;
    let wrong = Target { id: id(9), endpoint: node.endpoint() };
    let handshake = Handshake { offer: Arc::new(offer()), progress: Arc::new(()) };
    assert!(net.wire.dialer(&key(2)).dial(wrong, handshake).await.is_err());
    let closed = node.log.failed().await;
    if W::ENCRYPTED {
        assert_eq!((closed.by, closed.layer, closed.blame), (Side::Local, Layer::Ecies, Blame::Protocol));
    } else {
        assert_eq!((closed.by, closed.layer), (Side::Remote, Layer::Tcp));
    }
    still_accepts(&net, node).await;
}

async fn a_peer_of_our_own_identity_is_not_admitted<W: Wire>(net: Net<W>) {
    let node = net.node(1).await;
    let mut stream = net.wire.raw(node.id, &node.endpoint()).await;
    if W::ENCRYPTED {
        let (_, auth) = Initiator::new(&key(1), node.id, Entropy::from_bytes([7; 32]));
        stream.write_all(&auth).await.unwrap();
    }
    // Before the node has reported the end it tells the peer, and waits a moment for it to close.
    let mut told = [0; 5];
    stream.read_exact(&mut told).await.unwrap();
    drop(stream);
    let closed = node.log.failed().await;
    assert_eq!((closed.layer, closed.label), (Layer::Hello, "self_connection"));
    assert_eq!(closed.reason, DisconnectReason::SelfConnection);
    still_accepts(&net, node).await;
}

async fn a_peer_of_another_network_is_told_and_not_admitted<W: Wire>(net: Net<W>) {
    let node = net.node(1).await;
    let foreign = Offer { network: "elsewhere".into(), ..offer() };
    // Both sides find out at once; which of them speaks first is open.
    assert!(net.bare_with(2, &node.address(), foreign).await.is_err());
    let closed = node.log.failed().await;
    assert_eq!(closed.blame, Blame::Incompatible, "{closed}");
    assert_eq!(closed.reason, DisconnectReason::Useless, "{closed}");
    assert_eq!(node.ended(Layer::Capability, "other_network"), 1);
    still_accepts(&net, node).await;
}

async fn a_peer_without_a_common_channel_is_told_and_not_stored<W: Wire>(net: Net<W>) {
    let node = net.node(1).await;
    let stranger = Offer { channels: Vec::new(), ..offer() };
    let told = match net.bare_with(2, &node.address(), stranger).await {
        Err(closed) => closed,
        Ok(mut peer) => peer.reader.read().await.unwrap_err(),
    };
    assert_eq!((told.by, told.reason), (Side::Remote, DisconnectReason::Useless));
    assert_eq!(node.log.failed().await.label, "no_common_channel");
    assert_eq!(node.handle.peers(), []);
    assert_eq!(node.handle.advertise(None, 10).await.unwrap(), []);
    still_accepts(&net, node).await;
}

async fn garbage_is_no_handshake<W: Wire>(net: Net<W>) {
    let node = net.node(1).await;
    let mut stream = net.wire.raw(id(2), &node.endpoint()).await;
    stream.write_all(&[0xff; 4096]).await.unwrap();
    closed_by_node(&mut stream).await;
    drop(stream);
    let closed = node.log.failed().await;
    assert_eq!((closed.by, closed.blame), (Side::Local, Blame::Protocol), "{closed}");
    still_accepts(&net, node).await;
}

#[test]
fn a_hello_that_claims_another_identity_is_not_believed() {
    paused(async {
        let net = Net::new(Memory::default());
        let node = net.node(1).await;
        let mut stream = net.wire.raw(id(2), &node.endpoint()).await;
        let hello = Hello {
            version: p2p::VERSION,
            client: "liar".into(),
            capabilities: Vec::new(),
            listen_port: 0,
            id: id(3),
        };
        let (mut packet, mut payload) = (BytesMut::new(), BytesMut::new());
        hello.encode(&mut payload);
        packet.put_u32(u32::try_from(payload.len()).unwrap());
        packet.put_u8(p2p::HELLO);
        packet.put_slice(&payload);
        stream.write_all(&packet).await.unwrap();
        let closed = node.log.failed().await;
        assert_eq!((closed.layer, closed.label), (Layer::Hello, "spoofed_hello_id"));
        still_accepts(&net, node).await;
    });
}

/// A transport whose system fails the first accepts.
struct Flaky<T> {
    inner: T,
    failures: AtomicUsize,
}

impl<T: Transport> Transport for Flaky<T> {
    type Incoming = T::Incoming;
    type Connection = T::Connection;

    fn protocol(&self) -> Protocol {
        self.inner.protocol()
    }

    fn local_endpoints(&self) -> Vec<Endpoint> {
        self.inner.local_endpoints()
    }

    async fn accept(&self) -> Result<T::Incoming, AcceptError> {
        if self.failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(AcceptError::System(io::Error::other("too many open files")));
        }
        self.inner.accept().await
    }

    async fn dial(
        &self,
        target: Target,
        handshake: Handshake,
    ) -> Result<T::Connection, peerage::event::Closed> {
        self.inner.dial(target, handshake).await
    }

    fn close(&self) {
        self.inner.close();
    }
}

async fn errors_of_accept_never_end_accepting<W: Wire>(net: Net<W>) {
    let mut builder = Router::builder(id(1));
    let inner = net.wire.listen(&key(1)).await;
    builder.transport(Flaky { inner, failures: AtomicUsize::new(5) }).configure(quick);
    let channel = builder.channel::<Note>().unwrap();
    let mut node = net.start(builder, channel);
    let _peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    assert_eq!(node.log.count(|kind| matches!(kind, EventKind::AcceptFailed { .. })), 5);
}

async fn stuck_handshakes_do_not_hold_up_another<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let mut stuck = Vec::new();
    for seed in 2..5 {
        stuck.push(net.wire.raw(id(seed), &node.endpoint()).await);
    }
    let began = Instant::now();
    let _peer = net.bare(9, &node.address()).await.unwrap();
    node.up(id(9)).await;
    assert_eq!(node.log.count(|kind| matches!(kind, EventKind::Incoming { .. })), 4);
    assert_eq!(node.log.count(|kind| matches!(kind, EventKind::Failed { .. })), 0, "they are still held");
    assert!(began.elapsed() < Duration::from_secs(4), "it waited for none of them");
}

async fn the_hundredth_connection_comes_up_while_ninety_nine_never_speak<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let mut silent = Vec::new();
    for seed in 100..199 {
        silent.push(net.wire.raw(id(seed), &node.endpoint()).await);
    }
    let began = Instant::now();
    let _peer = net.bare(9, &node.address()).await.unwrap();
    node.up(id(9)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "within the handshake limit");
    assert_eq!(node.log.count(|kind| matches!(kind, EventKind::Incoming { .. })), 100);
    assert_eq!(node.log.count(|kind| matches!(kind, EventKind::Failed { .. })), 0, "they are still held");
}

async fn beyond_the_limit_of_handshakes_a_connection_is_closed_at_once<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    builder.configure(|config| {
        config.peers.max_inbound_handshakes = 4;
        config.peers.max_excess_handshakes = 0;
        config.peers.max_inbound = Limit::AtMost(4);
    });
    let channel = builder.channel::<Note>().unwrap();
    let mut node = net.start(builder, channel);
    let mut silent = Vec::new();
    for seed in 10..14 {
        silent.push(net.wire.raw(id(seed), &node.endpoint()).await);
    }
    let mut one_more = net.wire.raw(id(14), &node.endpoint()).await;
    closed_by_node(&mut one_more).await;
    let closed = node.log.failed().await;
    assert_eq!((closed.layer, closed.label), (Layer::PeerManager, "too_many_handshakes"));
    assert_eq!(closed.blame, Blame::Overload);
    // A slot comes free with the connection that held it.
    drop(silent.pop());
    node.log.wait(|events| events.iter().any(|event| is_end_in(event, Layer::Tcp)).then_some(())).await;
    let _peer = net.bare(9, &node.address()).await.unwrap();
    node.up(id(9)).await;
}

fn is_end_in(event: &peerage::event::Event, layer: Layer) -> bool {
    matches!(&event.kind, EventKind::Failed { closed } if closed.layer == layer)
}

async fn the_address_filter_comes_before_all_cryptography<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let shut = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let asked = Arc::clone(&shut);
    builder.address_filter(move |_| !asked.load(SeqCst));
    let channel = builder.channel::<Note>().unwrap();
    let node = net.start(builder, channel);
    // Nothing is said on it: the node judges it by its address alone.
    let mut stream = net.wire.raw(id(2), &node.endpoint()).await;
    closed_by_node(&mut stream).await;
    node.log.failed().await;
    assert_eq!(node.ended(Layer::PeerManager, "address_filtered"), 1);
    assert_eq!(node.log.count(|kind| matches!(kind, EventKind::Stage { .. })), 0, "no handshake was begun");
    shut.store(false, SeqCst);
    still_accepts(&net, node).await;
}

async fn the_identity_filter_comes_after_the_proof<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    builder.identity_filter(|peer: &NodeId| *peer != id(2));
    let channel = builder.channel::<Note>().unwrap();
    let node = net.start(builder, channel);
    let mut refused = net.bare(2, &node.address()).await.expect("the handshake itself succeeds");
    let told = refused.reader.read().await.unwrap_err();
    assert_eq!((told.by, told.reason), (Side::Remote, DisconnectReason::Useless));
    assert_eq!(node.ended(Layer::PeerManager, "identity_filtered"), 1);
    still_accepts(&net, node).await;
}
