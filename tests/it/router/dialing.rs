//! What becomes of dials: whom a node believes, and that slow ones do not hold up others.

use std::time::Duration;

use peerage::address::{BoxFuture, Endpoint, ResolveError, Resolver};
use peerage::event::{Blame, DisconnectReason, EventKind, Layer, Side};
use peerage::id::Direction;
use peerage::peer::{AddError, Record, RecordKey};
use peerage::router::{BuildError, MemoryStore};
use peerage::transport::{Handshake, Incoming, Offer, Transport};
use peerage::{NodeAddress, NodeId};
use std::sync::Arc;
use tokio::time::Instant;

use super::kit::{Bare, Net, Node, Note, Wire, id, key, offer, over_both};

over_both!(
    a_valid_peer_is_dialled_and_comes_up,
    a_peer_that_closes_during_the_handshake_is_not_up,
    another_identity_than_the_one_dialled_is_not_believed,
    our_own_identity_is_not_dialled,
    nobody_at_the_address_is_an_end_in_the_tcp_layer,
    a_dialled_peer_of_another_network_is_not_up,
    an_address_that_no_transport_dials_is_our_own_fault,
    stuck_dials_run_side_by_side,
    ten_handshakes_completed_in_reverse_order_all_come_up,
    a_restart_on_the_same_store_redials_the_peers_it_knew,
);

/// A listener that the test plays: its transport, and the address that others dial.
pub(super) async fn listener<W: Wire>(net: &Net<W>, seed: u64) -> (W::Transport, NodeAddress) {
    let transport = net.wire.listen(&key(seed)).await;
    let endpoint = transport.local_endpoints().remove(0);
    let address = W::address(id(seed), &endpoint);
    (transport, address)
}

pub(super) async fn welcome<W: Wire>(
    incoming: <W::Transport as Transport>::Incoming,
    offer: Offer,
) -> Result<Bare<W>, peerage::event::Closed> {
    let handshake = Handshake { offer: Arc::new(offer), progress: Arc::new(()) };
    Ok(Bare::new(incoming.handshake(handshake).await?))
}

async fn a_valid_peer_is_dialled_and_comes_up<W: Wire>(net: Net<W>) {
    let (listener, address) = listener(&net, 2).await;
    let mut node = net.node_to(1, &[address]).await;
    let _peer = welcome::<W>(listener.accept().await.unwrap(), offer()).await.unwrap();
    node.up(id(2)).await;
    assert_eq!(node.up[&id(2)].1, Direction::Outbound);
    assert!(node.handle.ends().is_empty());
}

async fn a_peer_that_closes_during_the_handshake_is_not_up<W: Wire>(net: Net<W>) {
    let (listener, address) = listener(&net, 2).await;
    let mut node = net.node_to(1, &[address]).await;
    drop(listener.accept().await.unwrap());
    let closed = node.log.failed().await;
    assert_eq!((closed.by, closed.layer), (Side::Remote, Layer::Tcp), "{closed}");
    assert!(!node.ever_up());
    // It is tried again after its back-off.
    let _peer = welcome::<W>(listener.accept().await.unwrap(), offer()).await.unwrap();
    node.up(id(2)).await;
}

/// Sends every dial to one place.
struct Misdirect(Endpoint);

impl Resolver for Misdirect {
    fn resolve<'a>(&'a self, _: &'a NodeAddress) -> BoxFuture<'a, Result<Vec<Endpoint>, ResolveError>> {
        Box::pin(async { Ok(vec![self.0.clone()]) })
    }
}

async fn another_identity_than_the_one_dialled_is_not_believed<W: Wire>(net: Net<W>) {
    let other = net.node(2).await;
    let mut builder = net.builder(1).await;
    builder.resolver(Misdirect(other.endpoint()));
    builder.peer(W::address(id(9), &other.endpoint()));
    let channel = builder.channel::<Note>().unwrap();
    let node = net.start(builder, channel);
    let closed = node.log.failed().await;
    if W::ENCRYPTED {
        // The other node cannot read what was sealed for another key, and closes.
        assert_eq!(closed.by, Side::Remote, "{closed}");
    } else {
        assert_eq!((closed.layer, closed.label), (Layer::Ecies, "unexpected_identity"));
    }
    other.log.failed().await;
    assert!(!node.ever_up() && !other.ever_up());
}

async fn our_own_identity_is_not_dialled<W: Wire>(net: Net<W>) {
    let node = net.node(1).await;
    assert_eq!(node.handle.add(node.address()).await, Err(AddError::SelfAddress.into()));
    let mut builder = net.builder(1).await;
    builder.peer(node.address());
    let refused = builder.build().map(drop);
    assert!(matches!(refused, Err(BuildError::Address { error: AddError::SelfAddress, .. })), "{refused:?}");
    // An address under another name that leads to a node of our key.
    let twin = net.node(3).await;
    let mut builder = net.builder(3).await;
    let own = twin.endpoint();
    builder.resolver(Misdirect(own.clone()));
    builder.peer(W::address(id(9), &own));
    let channel = builder.channel::<Note>().unwrap();
    let node = net.start(builder, channel);
    node.log.failed().await;
    assert!(!node.ever_up());
}

async fn nobody_at_the_address_is_an_end_in_the_tcp_layer<W: Wire>(net: Net<W>) {
    let (listener, address) = listener(&net, 2).await;
    drop(listener);
    let node = net.node_to(1, &[address]).await;
    let closed = node.log.failed().await;
    assert_eq!((closed.layer, closed.label), (Layer::Tcp, "connection_refused"));
    assert_eq!(closed.blame, Blame::System);
    assert!(!node.ever_up());
}

async fn a_dialled_peer_of_another_network_is_not_up<W: Wire>(net: Net<W>) {
    let (listener, address) = listener(&net, 2).await;
    let node = net.node_to(1, &[address]).await;
    let foreign = Offer { network: "elsewhere".into(), ..offer() };
    assert!(welcome::<W>(listener.accept().await.unwrap(), foreign).await.is_err());
    let closed = node.log.failed().await;
    assert_eq!((closed.layer, closed.label), (Layer::Capability, "other_network"));
    assert_eq!(closed.reason, DisconnectReason::Useless);
    assert!(!node.ever_up());
}

async fn an_address_that_no_transport_dials_is_our_own_fault<W: Wire>(net: Net<W>) {
    let foreign = if W::ENCRYPTED {
        NodeAddress::memory(id(2))
    } else {
        NodeAddress::rlpx(id(2), ([127, 0, 0, 1], 9).into())
    };
    let node = net.node_to(1, &[foreign]).await;
    let closed = node.log.failed().await;
    assert_eq!((closed.layer, closed.label, closed.blame), (Layer::Node, "no_transport", Blame::Ourselves));
}

async fn dial_many<W: Wire>(net: &Net<W>, count: u64) -> (Node, Vec<<W::Transport as Transport>::Incoming>) {
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for seed in 10..10 + count {
        let (listener, address) = listener(net, seed).await;
        listeners.push(listener);
        addresses.push(address);
    }
    let node = net.node_to(1, &addresses).await;
    let mut incoming = Vec::new();
    for listener in &listeners {
        incoming.push(listener.accept().await.unwrap());
    }
    (node, incoming)
}

async fn stuck_dials_run_side_by_side<W: Wire>(net: Net<W>) {
    let began = Instant::now();
    // All three are accepted before any of them is answered.
    let (mut node, incoming) = dial_many(&net, 3).await;
    assert!(began.elapsed() < Duration::from_secs(4), "none waited for another's handshake limit");
    assert_eq!(node.log.count(|kind| matches!(kind, EventKind::Failed { .. })), 0);
    let mut peers = Vec::new();
    for incoming in incoming {
        peers.push(welcome::<W>(incoming, offer()).await.unwrap());
    }
    node.up_count(3).await;
}

async fn ten_handshakes_completed_in_reverse_order_all_come_up<W: Wire>(net: Net<W>) {
    let (mut node, incoming) = dial_many(&net, 10).await;
    let ids: Vec<NodeId> = (10..20).map(id).collect();
    let mut peers = Vec::new();
    for (incoming, peer) in incoming.into_iter().zip(&ids).rev() {
        peers.push(welcome::<W>(incoming, offer()).await.unwrap());
        node.up(*peer).await;
        assert_eq!(node.up.len(), peers.len());
    }
    assert_eq!(node.handle.peers().len(), 10);
}

async fn a_restart_on_the_same_store_redials_the_peers_it_knew<W: Wire>(net: Net<W>) {
    let store = MemoryStore::new();
    let known = net.node(2).await;
    let mut builder = net.builder(1).await;
    builder.store(store.clone()).peer(known.address());
    let channel = builder.channel::<Note>().unwrap();
    let mut first = net.start(builder, channel);
    first.up(id(2)).await;
    first.handle.shutdown();
    assert!(first.task.await.unwrap().clean);
    assert_eq!(store.records().iter().map(Record::key).collect::<Vec<_>>(), [RecordKey::Peer(id(2))]);

    let mut builder = net.builder(1).await;
    builder.store(store);
    let channel = builder.channel::<Note>().unwrap();
    let mut second = net.start(builder, channel);
    second.up(id(2)).await;
    assert_eq!(second.up[&id(2)].1, Direction::Outbound);
}
