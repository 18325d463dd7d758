//! What the nodes of a scenario take note of while it runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::event::{Event, EventKind};
use crate::id::NodeId;
use crate::sim::node::Node;

/// Counters that all nodes of a run share.
pub(super) struct Board {
    began: Instant,
    /// The group of each node.
    groups: Vec<u16>,
    /// How many groups there are.
    count: usize,
    nodes: BTreeMap<NodeId, Node>,
    tallies: Mutex<Tallies>,
}

/// What was counted.
#[derive(Default)]
struct Tallies {
    /// Messages for each pair of groups, from the start on.
    said: Vec<u64>,
    heard: Vec<u64>,
    /// Their times on the way, in microseconds, since they were taken last.
    latencies: Vec<Vec<u64>>,
    /// Ends of connections that came up and went down, since they were taken last.
    up: u64,
    down: u64,
    /// How often connections between two nodes came up, at the lower number and at the other.
    ups: BTreeMap<(Node, Node), [u64; 2]>,
}

/// How many messages were said by one group to another, and heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) said: u64,
    pub(super) heard: u64,
}

/// What was counted since it was taken last.
pub(super) struct Recent {
    pub(super) up: u64,
    pub(super) down: u64,
    /// For each pair of groups, by [`Board::pair`].
    pub(super) latencies: Vec<Vec<u64>>,
}

impl Board {
    /// One for nodes of these identities, whose groups are given by number.
    pub(super) fn new(began: Instant, nodes: Vec<(NodeId, Node)>, groups: Vec<u16>, count: usize) -> Self {
        let pairs = count * count;
        let tallies = Tallies {
            said: vec![0; pairs],
            heard: vec![0; pairs],
            latencies: vec![Vec::new(); pairs],
            ..Tallies::default()
        };
        Self { began, groups, count, nodes: nodes.into_iter().collect(), tallies: Mutex::new(tallies) }
    }

    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn group_of(&self, node: Node) -> u16 {
        self.groups.get(node.number()).copied().unwrap_or(0)
    }

    /// The place of a pair of groups among all pairs; `None` if there are no such groups.
    pub(super) fn pair(&self, from: usize, to: usize) -> Option<usize> {
        (from < self.count && to < self.count).then_some(from * self.count + to)
    }

    /// Takes note of a message that was to be sent to peers.
    pub(super) fn said(&self, from: u16, to: impl Iterator<Item = NodeId>) {
        let mut tallies = self.tallies();
        for peer in to {
            let group = self.nodes.get(&peer).map_or(0, |node| self.group_of(*node));
            if let Some(count) = self.pair(from.into(), group.into()).and_then(|at| tallies.said.get_mut(at))
            {
                *count += 1;
            }
        }
    }

    /// Takes note of a message that arrived. One of a byzantine node may say anything.
    pub(super) fn heard(&self, from: u16, to: u16, said_us: u64) {
        let Some(took) = self.now_us().checked_sub(said_us) else { return };
        let Some(pair) = self.pair(from.into(), to.into()) else { return };
        let mut tallies = self.tallies();
        tallies.heard[pair] += 1;
        tallies.latencies[pair].push(took);
    }

    /// Takes note of a node's event.
    pub(super) fn observe(&self, node: Node, event: &Event) {
        match event.kind {
            EventKind::Up { .. } => {
                let mut tallies = self.tallies();
                tallies.up += 1;
                if let Some(peer) = event.peer.and_then(|peer| self.nodes.get(&peer).copied()) {
                    let pair = (node.min(peer), node.max(peer));
                    tallies.ups.entry(pair).or_default()[usize::from(node > peer)] += 1;
                }
            }
            EventKind::Down { .. } => self.tallies().down += 1,
            _ => {}
        }
    }

    /// What was counted since this was asked last.
    pub(super) fn take_recent(&self) -> Recent {
        let mut tallies = self.tallies();
        let latencies = tallies.latencies.iter_mut().map(std::mem::take).collect();
        Recent { up: std::mem::take(&mut tallies.up), down: std::mem::take(&mut tallies.down), latencies }
    }

    /// What became of the messages from one group to another.
    pub(super) fn delivery(&self, from: usize, to: usize) -> Delivery {
        let tallies = self.tallies();
        let at = self.pair(from, to);
        let count = |of: &[u64]| at.and_then(|at| of.get(at)).copied().unwrap_or(0);
        Delivery { said: count(&tallies.said), heard: count(&tallies.heard) }
    }

    /// How many connections came up at both ends, from the start on; of those to a node for which `is_blind` says yes,
    /// at the other.
    pub(super) fn connections(&self, is_blind: impl Fn(Node) -> bool) -> u64 {
        let both = |(&(a, b), &[at_a, at_b]): (&(Node, Node), &[u64; 2])| match (is_blind(a), is_blind(b)) {
            (true, _) => at_b,
            (_, true) => at_a,
            _ => at_a.min(at_b),
        };
        self.tallies().ups.iter().map(both).sum()
    }

    fn tallies(&self) -> MutexGuard<'_, Tallies> {
        // Nothing that holds it can panic between two writes that belong together.
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
