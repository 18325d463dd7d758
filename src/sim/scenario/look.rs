//! What is to be seen of a network at one time.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::Direction;
use crate::sim::net::SimNet;
use crate::sim::node::Node;

/// The nodes that run, and whom each is connected to.
pub(super) struct Look {
    nodes: BTreeMap<Node, Seen>,
}

/// What is seen of a node.
#[derive(Default)]
pub(super) struct Seen {
    /// The peers that it has up, and who dialled.
    pub(super) peers: BTreeMap<Node, Direction>,
    /// Messages that wait to be written or received.
    pub(super) queued: u64,
}

impl Look {
    pub(super) fn at(net: &SimNet) -> Self {
        let seen = |node: Node| {
            let handle = net.handle(node)?;
            let mut seen = Seen::default();
            handle.for_each_peer(|peer, direction, queued| {
                seen.queued += queued as u64;
                if let Some(peer) = net.node_of(&peer) {
                    seen.peers.insert(peer, direction);
                }
            });
            seen.queued += handle.waiting() as u64;
            Some((node, seen))
        };
        Self { nodes: net.nodes().into_iter().filter_map(seen).collect() }
    }

    /// The nodes that run, and what is seen of each.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (Node, &Seen)> {
        self.nodes.iter().map(|(node, seen)| (*node, seen))
    }

    pub(super) fn node(&self, node: Node) -> Option<&Seen> {
        self.nodes.get(&node)
    }

    /// Whether both ends have a connection up.
    pub(super) fn is_connected(&self, a: Node, b: Node) -> bool {
        let has =
            |node: Node, peer: Node| self.nodes.get(&node).is_some_and(|seen| seen.peers.contains_key(&peer));
        has(a, b) && has(b, a)
    }

    /// The connections that an end which runs has up, each once, the lower number first. A byzantine end is not asked.
    pub(super) fn connections(&self, is_blind: impl Fn(Node) -> bool) -> Vec<(Node, Node)> {
        let mut pairs = BTreeSet::new();
        for (node, seen) in self.nodes() {
            for &peer in seen.peers.keys().filter(|peer| is_blind(**peer) || self.is_connected(node, **peer))
            {
                pairs.insert((node.min(peer), node.max(peer)));
            }
        }
        pairs.into_iter().collect()
    }

    /// How many networks those of `settled` are that run, over connections among the nodes of `within`.
    pub(super) fn networks(&self, settled: &[Node], within: &BTreeSet<Node>) -> usize {
        let mut left: BTreeSet<Node> =
            settled.iter().copied().filter(|node| self.nodes.contains_key(node)).collect();
        let mut reached: BTreeSet<Node> = BTreeSet::new();
        let mut networks = 0;
        while let Some(first) = left.pop_first() {
            networks += 1;
            reached.insert(first);
            let mut open = vec![first];
            while let Some(node) = open.pop() {
                let peers = self.nodes.get(&node).into_iter().flat_map(|seen| seen.peers.keys().copied());
                for peer in peers.filter(|peer| within.contains(peer)) {
                    if !reached.contains(&peer) && self.is_connected(node, peer) {
                        reached.insert(peer);
                        left.remove(&peer);
                        open.push(peer);
                    }
                }
            }
        }
        networks
    }
}
