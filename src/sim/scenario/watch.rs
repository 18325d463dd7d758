//! Whether a run keeps what its scenario promises.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::board::{Board, Delivery};
use super::expect::{Expect, Promise};
use super::look::{Look, Seen};
use super::plan::Plan;
use crate::id::Direction;
use crate::sim::check::Violation;
use crate::sim::net::SimNet;
use crate::sim::node::Node;
use crate::sim::outcome::Spread;

/// Looks whether promises are kept, and takes note of those that are not.
pub(super) struct Watch<'p> {
    plan: &'p Plan,
    /// When the last act is done.
    acts_end: Duration,
    up_since: BTreeMap<Node, Duration>,
    /// The pairs that were connected when the first act was due.
    pairs: Vec<(Node, Node)>,
    /// Which promise was seen broken, and for which node.
    told: BTreeSet<(usize, Option<Node>)>,
    violations: Vec<(Duration, Violation)>,
}

/// What is seen at one time.
pub(super) struct Sight<'a> {
    pub(super) now: Duration,
    pub(super) net: &'a SimNet,
    pub(super) look: &'a Look,
}

impl<'p> Watch<'p> {
    pub(super) fn new(plan: &'p Plan, acts_end: Duration) -> Self {
        Self {
            plan,
            acts_end,
            up_since: BTreeMap::new(),
            pairs: Vec::new(),
            told: BTreeSet::new(),
            violations: Vec::new(),
        }
    }

    /// The times at which some promise must be kept: it is looked at them.
    pub(super) fn deadlines(&self) -> Vec<Duration> {
        self.plan.expects.iter().filter_map(|expect| self.deadline(&expect.what)).collect()
    }

    fn deadline(&self, promise: &Promise) -> Option<Duration> {
        match promise {
            Promise::Recovered { within, .. } | Promise::PairsRestored { within } => {
                Some(self.acts_end + *within)
            }
            _ => None,
        }
    }

    /// Takes note of which nodes run.
    pub(super) fn lives(&mut self, net: &SimNet, now: Duration) {
        for node in net.nodes() {
            if net.is_up(node) {
                self.up_since.entry(node).or_insert(now);
            } else {
                self.up_since.remove(&node);
            }
        }
    }

    /// Takes note of the pairs that are connected before anything is done.
    pub(super) fn first_act(&mut self, pairs: Vec<(Node, Node)>) {
        self.pairs = pairs;
    }

    /// Takes note of what must never be.
    pub(super) fn always(&mut self, now: Duration, found: Vec<Violation>) {
        for violation in found {
            if !self.violations.iter().any(|(_, known)| is_alike(known, &violation)) {
                self.violations.push((now, violation));
            }
        }
    }

    /// Looks at all promises that can be seen broken now.
    pub(super) fn look(&mut self, sight: &Sight<'_>) {
        for (number, expect) in self.plan.expects.iter().enumerate() {
            for (node, violation) in self.broken(expect, sight) {
                self.tell(sight.now, number, node, violation);
            }
        }
    }

    /// Looks at the times on the way of the messages that arrived since it was done last, for each pair of groups.
    pub(super) fn latencies(&mut self, now: Duration, board: &Board, latencies: &[Vec<u64>]) {
        for (number, expect) in self.plan.expects.iter().enumerate() {
            let Promise::Latency { from, to, p99: most } = &expect.what else { continue };
            if !expect.window.contains(now) {
                continue;
            }
            let groups = || 0..self.plan.census.groups();
            let pairs = groups().filter(|group| from.is_none_or(|from| from == *group)).flat_map(|from| {
                groups()
                    .filter(|group| to.is_none_or(|to| to == *group))
                    .filter_map(move |to| board.pair(from, to))
            });
            let times: Vec<u64> = pairs.filter_map(|at| latencies.get(at)).flatten().copied().collect();
            let p99 = Duration::from_micros(Spread::of(times).p99);
            if p99 > *most {
                self.tell(now, number, None, Violation::Late { p99, most: *most });
            }
        }
    }

    /// Looks at what is promised of the whole run, and answers all that was found.
    pub(super) fn finish(mut self, now: Duration, board: &Board) -> Vec<(Duration, Violation)> {
        for (number, expect) in self.plan.expects.iter().enumerate() {
            let Promise::Delivered { from, to, per_mille } = expect.what else { continue };
            let Delivery { said, heard } = board.delivery(from, to);
            // Of nothing nothing can arrive, and a promise about it is not kept.
            if said == 0 || u128::from(heard) * 1_000 < u128::from(said) * u128::from(per_mille) {
                let [from, to] = [from, to].map(|group| self.plan.census.name(group).to_owned());
                self.tell(now, number, None, Violation::Undelivered { from, to, said, heard });
            }
        }
        self.violations
    }

    fn tell(&mut self, now: Duration, number: usize, node: Option<Node>, violation: Violation) {
        if self.told.insert((number, node)) {
            self.violations.push((now, violation));
        }
    }

    /// What is seen broken of a promise, and for which node.
    fn broken(&self, expect: &Expect, sight: &Sight<'_>) -> Vec<(Option<Node>, Violation)> {
        let is_due = self.deadline(&expect.what).is_none_or(|deadline| sight.now >= deadline);
        if !is_due || !expect.window.contains(sight.now) {
            return Vec::new();
        }
        let look = sight.look;
        match &expect.what {
            Promise::Connected { nodes, up_for } => self.parted(nodes, *up_for, sight),
            Promise::Peers { of, with, at_least, up_for } => {
                let with: BTreeSet<Node> = with.iter().copied().collect();
                let few = |(node, seen): (Node, &Seen)| {
                    let found = seen.peers.keys().filter(|peer| with.contains(peer)).count();
                    let few = Violation::FewPeers { node, found, wanted: *at_least };
                    (found < *at_least).then_some((Some(node), few))
                };
                let settled = seen_of(of, look).filter(|(node, _)| self.is_up_for(*node, *up_for, sight.now));
                settled.filter_map(few).collect()
            }
            Promise::NotSurrounded { of, by } => {
                let by: BTreeSet<Node> = by.iter().copied().collect();
                seen_of(of, look).filter_map(|(node, seen)| surrounded(node, seen, &by, sight.net)).collect()
            }
            Promise::Queued { nodes, at_most } => {
                let most = *at_most;
                let full = |(node, seen): (Node, &Seen)| {
                    let found = seen.queued;
                    (found > most).then_some((Some(node), Violation::Queued { node, found, most }))
                };
                seen_of(nodes, look).filter_map(full).collect()
            }
            Promise::Recovered { nodes, .. } => self.parted(nodes, Duration::ZERO, sight),
            Promise::PairsRestored { .. } => {
                self.pairs_lost(look).map(|lost| (None, lost)).into_iter().collect()
            }
            // Those are looked at apart.
            Promise::Delivered { .. } | Promise::Latency { .. } => Vec::new(),
        }
    }

    /// Whether those of some nodes that have been up for so long are several networks.
    fn parted(&self, nodes: &[Node], up_for: Duration, sight: &Sight<'_>) -> Vec<(Option<Node>, Violation)> {
        let settled: Vec<Node> =
            nodes.iter().copied().filter(|node| self.is_up_for(*node, up_for, sight.now)).collect();
        let networks = sight.look.networks(&settled, &nodes.iter().copied().collect());
        let parted = (networks > 1).then_some((None, Violation::Parted { networks }));
        parted.into_iter().collect()
    }

    /// Which pairs that were connected before the first act are not now, though both run.
    fn pairs_lost(&self, look: &Look) -> Option<Violation> {
        let runs = |node: &Node| look.node(*node).is_some();
        let both = self.pairs.iter().filter(|(a, b)| runs(a) && runs(b));
        let missing: Vec<_> = both.filter(|(a, b)| !look.is_connected(*a, *b)).collect();
        let first = **missing.first()?;
        Some(Violation::PairsLost { missing: missing.len(), first })
    }

    fn is_up_for(&self, node: Node, time: Duration, now: Duration) -> bool {
        self.up_since.get(&node).is_some_and(|since| now.saturating_sub(*since) >= time)
    }
}

/// Those of some nodes that run, and what is seen of them.
fn seen_of<'a>(nodes: &'a [Node], look: &'a Look) -> impl Iterator<Item = (Node, &'a Seen)> {
    nodes.iter().filter_map(|node| Some((*node, look.node(*node)?)))
}

/// Whether all outgoing connections that a node may have, or all that it has if there is no limit, lead to nodes of
/// `by`.
fn surrounded(
    node: Node,
    seen: &Seen,
    by: &BTreeSet<Node>,
    net: &SimNet,
) -> Option<(Option<Node>, Violation)> {
    let dialled = seen.peers.iter().filter(|(_, direction)| **direction == Direction::Outbound);
    let dialled: Vec<Node> = dialled.map(|(peer, _)| *peer).collect();
    let held = dialled.iter().filter(|peer| by.contains(peer)).count();
    let slots = net.limits(node).and_then(|[outbound, _]| outbound.number()).unwrap_or(dialled.len());
    (held > 0 && held >= slots).then_some((Some(node), Violation::Surrounded { node, held }))
}

/// Whether two violations are of the same matter, seen twice.
fn is_alike(one: &Violation, other: &Violation) -> bool {
    match (one, other) {
        (Violation::Ended(one), Violation::Ended(other)) => one == other,
        (
            Violation::OverLimit { node, pool, .. },
            Violation::OverLimit { node: other, pool: another, .. },
        ) => node == other && pool == another,
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}
