//! A peer that sends a hundred times as much as nine others takes nothing from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use peerage::NodeId;
use peerage::channel::{ChannelConfig, DropReason, Sender, Share};
use peerage::message::Message;
use peerage::queue::Overflow;
use peerage::transport::memory::MemoryNetwork;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{Load, Node, PATIENCE, Way, key, lost, paused, real};

/// How many messages the receiver reads in a round, from all peers together: each has a fair share of two.
const READ_EACH_ROUND: usize = 20;
/// How many each modest peer sends in a round: twice its fair share.
const SENT_EACH_ROUND: usize = 4;
const ROUNDS: usize = 250;
const GREEDY: u64 = 2;
const PEERS: u64 = 10;

/// A peer that sends as many messages as it is told to, and counts those that it has sent.
struct Peer {
    node: Node,
    orders: Arc<Semaphore>,
}

impl Peer {
    fn start(tasks: &TaskTracker, node: Node, sender: Sender<Load>, to: NodeId) -> Self {
        let orders = Arc::new(Semaphore::new(0));
        let ordered = Arc::clone(&orders);
        tasks.spawn(async move {
            for number in 0.. {
                let Ok(order) = ordered.acquire().await else { return };
                order.forget();
                let message = Load::Piece { number, filler: Bytes::from_static(&[1; 200]) };
                if sender.send(to, message, PATIENCE * 10).await.is_err() {
                    return;
                }
            }
        });
        Self { node, orders }
    }
}

/// Time is counted in rounds of the receiver, so that the same test runs over real sockets.
async fn shares_are_fair(way: Way, inbound_overflow: Overflow) {
    let tasks = TaskTracker::new();
    let config = ChannelConfig {
        inbound: Share { messages: 64, bytes: 64 << 10 },
        inbound_total: Share { messages: 2048, bytes: 2 << 20 },
        inbound_overflow,
        ..ChannelConfig::for_messages_of(Load::MAX_BYTES)
    };
    let mut builder = way.builder(1).await;
    let (_, mut receiver) = builder.channel_with::<Load>(&config).unwrap().split();
    let node = Node::start(&tasks, builder);
    let mut peers = Vec::new();
    for seed in GREEDY..GREEDY + PEERS {
        let mut builder = way.builder(seed).await;
        builder.peer(node.address());
        let (sender, _) = builder.channel::<Load>().unwrap().split();
        let peer = Node::start(&tasks, builder);
        peer.up(1).await;
        peers.push(Peer::start(&tasks, peer, sender, node.id));
    }
    node.up(peers.len()).await;

    let mut read: BTreeMap<NodeId, usize> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for peer in &peers {
            let greed = if peer.node.id == key(GREEDY).id() { 100 } else { 1 };
            peer.orders.add_permits(greed * SENT_EACH_ROUND);
        }
        for _ in 0..READ_EACH_ROUND {
            let envelope = receiver.recv().await.expect("the node has ended");
            *read.entry(envelope.from).or_default() += 1;
        }
    }
    let fair = ROUNDS * READ_EACH_ROUND / peers.len();
    for peer in &peers {
        let got = read.get(&peer.node.id).copied().unwrap_or(0);
        assert!(got * 10 >= fair * 9, "{got} of a fair share of {fair}: {read:?}");
    }
    conserves(node, receiver, peers, inbound_overflow).await;
}

/// Ends all, and finds each message that was sent read, queued or dropped by name.
async fn conserves(
    node: Node,
    mut receiver: peerage::channel::Receiver<Load>,
    peers: Vec<Peer>,
    policy: Overflow,
) {
    peers.iter().for_each(|peer| peer.orders.close());
    let reading = async { while receiver.recv().await.is_some() {} };
    let ending = async {
        let mut sent = 0;
        for peer in peers {
            let handle = peer.node.handle.clone();
            let report = peer.node.stop().await;
            assert_eq!(report.dropped, 0, "{report:?}");
            let load = handle.channels().remove(0);
            assert_eq!((load.accepted, load.dropped), (load.sent, Vec::new()));
            sent += load.sent;
        }
        // All have said farewell; when the node has heard it, it has heard all before it.
        let mut updates = node.handle.updates();
        while !node.handle.peers().is_empty() {
            updates.next().await;
        }
        let load = node.load();
        node.stop().await;
        (sent, load)
    };
    let ((), (sent, load)) = tokio::join!(reading, ending);
    assert_eq!(load.received + lost(&load), sent, "{load:?}");
    match policy {
        Overflow::Wait => assert_eq!(load.dropped, []),
        _ => assert!(matches!(load.dropped[..], [(DropReason::InboundFull, 1..)]), "{load:?}"),
    }
}

fn memory() -> Way {
    Way::Memory(MemoryNetwork::new())
}

#[test]
fn a_greedy_peer_leaves_the_others_their_shares_where_the_newest_is_dropped() {
    paused(shares_are_fair(memory(), Overflow::DropNewest));
}

#[test]
fn a_greedy_peer_leaves_the_others_their_shares_where_peers_wait() {
    paused(shares_are_fair(memory(), Overflow::Wait));
}

#[test]
fn a_greedy_peer_leaves_the_others_their_shares_over_tcp_where_the_newest_is_dropped() {
    real(shares_are_fair(Way::Tcp, Overflow::DropNewest));
}

#[test]
fn a_greedy_peer_leaves_the_others_their_shares_over_tcp_where_peers_wait() {
    real(shares_are_fair(Way::Tcp, Overflow::Wait));
}
