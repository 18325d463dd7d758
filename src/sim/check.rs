//! What is to hold of a whole network.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::net::SimNet;
use super::node::Node;
use crate::channel::DropReason;
use crate::peer::Limit;
use crate::router::{ChannelStatus, RouterHandle};

/// What became of all messages between nodes, over all channels and all lives of nodes.
///
/// Sent is received, dropped on arrival, and [lost](Self::lost): on its way, or with a connection that ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Flow {
    /// Queued for peers when they were sent.
    pub accepted: u64,
    /// Written to connections. What is just being written is not among these, nor what broke meanwhile: a peer may have
    /// read part of that all the same.
    pub sent: u64,
    /// Queued for receivers, and answers taken to whoever asked. Not those that a node sent to itself.
    pub received: u64,
    /// Waiting to be written, or for a receiver.
    pub queued: u64,
    /// Never written, or never read, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
}

impl Flow {
    /// Came to their peers and were not received. A question without an answer was received, and is none of these.
    #[must_use]
    pub fn dropped_on_arrival(&self) -> u64 {
        let on_arrival = |reason: DropReason| reason.is_on_arrival() && reason != DropReason::Unanswered;
        self.dropped.iter().filter(|(reason, _)| on_arrival(**reason)).map(|(_, count)| count).sum()
    }

    /// Sent, and not arrived: on the way, or lost with a connection. `None` if more arrived than is counted as
    /// [sent](Self::sent).
    #[must_use]
    pub fn lost(&self) -> Option<u64> {
        self.sent.checked_sub(self.received + self.dropped_on_arrival())
    }

    /// What may have left, written to its end or not. That more arrives than this is explained by no fault of a
    /// network.
    fn left_at_most(&self) -> u64 {
        let unsent = [DropReason::OutboundEvicted, DropReason::Replaced];
        let unsent = unsent.iter().filter_map(|reason| self.dropped.get(reason)).sum();
        self.accepted.saturating_sub(unsent)
    }

    /// What arrived for certain: what was queued when its receiver went had been received, and is counted once more.
    fn arrived_at_least(&self) -> u64 {
        let gone = self.dropped.get(&DropReason::NoReceiver).copied().unwrap_or_default();
        self.received + self.dropped_on_arrival() - gone
    }

    fn add(&mut self, channel: ChannelStatus) {
        self.accepted += channel.accepted;
        self.sent += channel.sent;
        self.received += channel.received - channel.local;
        self.queued += channel.waiting as u64;
        for (reason, count) in channel.dropped {
            *self.dropped.entry(reason).or_default() += count;
        }
    }
}

/// Something that does not hold of a network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Violation {
    /// A node ended that nobody ended: its peer manager or its store panicked.
    Ended(Node),
    /// A node holds more connections than it may.
    OverLimit {
        /// The node.
        node: Node,
        /// `outbound` or `inbound`.
        pool: &'static str,
        /// How many it holds.
        found: usize,
        /// How many it may.
        limit: usize,
    },
    /// More messages arrived than were sent.
    Invented {
        /// How many may have been sent.
        sent: u64,
        /// How many arrived.
        arrived: u64,
    },
    /// The nodes that run are several networks.
    Parted {
        /// How many.
        networks: usize,
    },
    /// Pairs of nodes that were connected before something was done to the network are not so again.
    PairsLost {
        /// How many.
        missing: usize,
        /// The first of them.
        first: (Node, Node),
    },
    /// A node has fewer peers than were promised.
    FewPeers {
        /// The node.
        node: Node,
        /// How many it has of those that count.
        found: usize,
        /// How many it should have.
        wanted: usize,
    },
    /// All outgoing connections that a node may have lead to those that want to surround it.
    Surrounded {
        /// The node.
        node: Node,
        /// How many connections these are.
        held: usize,
    },
    /// Fewer messages arrived from one group of nodes at another than were promised.
    Undelivered {
        /// The group that sent them.
        from: String,
        /// The group that they were for.
        to: String,
        /// How many were to be sent.
        said: u64,
        /// How many arrived.
        heard: u64,
    },
    /// Messages were longer on their way than was promised.
    Late {
        /// What ninety-nine of a hundred did not exceed.
        p99: Duration,
        /// What they should not have exceeded.
        most: Duration,
    },
    /// More messages wait in the queues of a node than was promised.
    Queued {
        /// The node.
        node: Node,
        /// How many.
        found: u64,
        /// How many it should be at most.
        most: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(node) => write!(f, "{node} ended by itself"),
            Self::OverLimit { node, pool, found, limit } => {
                write!(f, "{node} holds {found} {pool} connections of at most {limit}")
            }
            Self::Invented { sent, arrived } => write!(f, "{sent} messages were sent and {arrived} arrived"),
            Self::Parted { networks } => {
                write!(f, "the nodes are {networks} networks that do not reach each other")
            }
            Self::PairsLost { missing, first: (a, b) } => {
                write!(f, "of the pairs that were connected {missing} are not so again, {a} and {b} first")
            }
            Self::FewPeers { node, found, wanted } => {
                write!(f, "{node} has {found} peers that count, not {wanted} or more")
            }
            Self::Surrounded { node, held } => {
                write!(f, "all {held} outgoing connections of {node} lead to those that surround it")
            }
            Self::Undelivered { from, to, said, heard } => {
                write!(f, "of {said} messages from `{from}` to `{to}` {heard} arrived")
            }
            Self::Late { p99, most } => {
                write!(f, "one of a hundred messages was {p99:?} on its way or longer, not {most:?} at most")
            }
            Self::Queued { node, found, most } => {
                write!(f, "{found} messages wait in the queues of {node}, not {most} at most")
            }
        }
    }
}

impl SimNet {
    /// What became of all messages.
    #[must_use]
    pub fn flow(&self) -> Flow {
        let mut flow = self.counted();
        for handle in self.handles() {
            flow.queued += handle.peers().iter().map(|peer| peer.queued_messages as u64).sum::<u64>();
        }
        flow
    }

    /// As [`Self::flow`], but for the messages that wait to be written.
    pub(super) fn counted(&self) -> Flow {
        let mut flow = Flow::default();
        for handle in self.handles().chain(self.past_handles()) {
            handle.channels().into_iter().for_each(|channel| flow.add(channel));
        }
        flow
    }

    /// What does not hold that must hold at every moment, whatever is done to the network: nodes live, keep their
    /// limits, and, if all are proper, hear nothing that was not said.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.violations_of(&self.counted())
    }

    /// As [`Self::violations`], of a network in which that became of all messages.
    pub(super) fn violations_of(&self, flow: &Flow) -> Vec<Violation> {
        let mut found = Vec::new();
        for node in self.running() {
            if self.has_ended(node) {
                found.push(Violation::Ended(node));
                continue;
            }
            found.extend(self.over_limits(node));
        }
        let (sent, arrived) = (flow.left_at_most(), flow.arrived_at_least());
        // What byzantine nodes say is not counted where it is said.
        if !self.has_byzantine() && arrived > sent {
            found.push(Violation::Invented { sent, arrived });
        }
        found
    }

    fn over_limits(&self, node: Node) -> Vec<Violation> {
        let Some((handle, limits)) = self.handle(node).zip(self.limits(node)) else { return Vec::new() };
        let Ok(counts) = self.block_on(handle.peer_counts()) else { return vec![Violation::Ended(node)] };
        let pools = [("outbound", counts.outbound, limits[0]), ("inbound", counts.inbound, limits[1])];
        let over = |(pool, found, limit): (&'static str, usize, Limit)| {
            // A place that is being taken over is held twice until the one has left.
            let limit = limit.number()?.saturating_add(counts.upgrades);
            (found > limit).then_some(Violation::OverLimit { node, pool, found, limit })
        };
        pools.into_iter().filter_map(over).collect()
    }

    /// How many networks the nodes that run are, over connections that both ends have up.
    #[must_use]
    pub fn networks(&self) -> Vec<BTreeSet<Node>> {
        let mut neighbours: BTreeMap<Node, Vec<Node>> = BTreeMap::new();
        for (a, b) in self.connections() {
            neighbours.entry(a).or_default().push(b);
            neighbours.entry(b).or_default().push(a);
        }
        let mut left: BTreeSet<Node> = self.running().into_iter().collect();
        let mut networks = Vec::new();
        while let Some(first) = left.pop_first() {
            let (mut reached, mut open) = (BTreeSet::from([first]), vec![first]);
            while let Some(node) = open.pop() {
                for &next in neighbours.get(&node).into_iter().flatten() {
                    if reached.insert(next) {
                        left.remove(&next);
                        open.push(next);
                    }
                }
            }
            networks.push(reached);
        }
        networks
    }

    /// Whether every node that runs can be reached from every other, over connections that both ends have up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.networks().len() <= 1
    }

    /// Asserts that the network is healthy again `within` a virtual time, once nothing is done to it any more: all
    /// nodes that run reach each other, and nothing is [violated](Self::violations). Answers how long it took.
    ///
    /// # Errors
    ///
    /// What does not hold at the end of that time.
    pub fn recover(&self, within: Duration) -> Result<Duration, Vec<Violation>> {
        let healthy = |net: &Self| net.is_connected() && net.violations().is_empty();
        self.run_until(healthy, within).map_err(|_| {
            let mut found = self.violations();
            let networks = self.networks().len();
            if networks > 1 {
                found.push(Violation::Parted { networks });
            }
            found
        })
    }

    fn handles(&self) -> impl Iterator<Item = &RouterHandle> {
        self.nodes().into_iter().filter_map(|node| self.handle(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_received_nor_dropped_on_arrival_is_lost_and_more_than_that_is_a_fault() {
        let mut flow = Flow { sent: 10, received: 6, ..Flow::default() };
        flow.dropped.extend([
            (DropReason::InboundFull, 2),
            (DropReason::Disconnected, 50),
            (DropReason::Unanswered, 50),
        ]);
        assert_eq!((flow.dropped_on_arrival(), flow.lost()), (2, Some(2)));
        flow.received = 9;
        assert_eq!(flow.lost(), None);
    }

    #[test]
    fn what_was_pushed_out_of_a_queue_has_not_left() {
        let mut flow = Flow { accepted: 10, ..Flow::default() };
        flow.dropped.extend([
            (DropReason::OutboundEvicted, 2),
            (DropReason::Replaced, 1),
            (DropReason::Disconnected, 5),
        ]);
        assert_eq!(flow.left_at_most(), 7, "what went with its connection may have left before");
    }

    #[test]
    fn what_was_received_has_arrived_once_though_its_receiver_goes() {
        let mut flow = Flow { received: 7, ..Flow::default() };
        flow.dropped.extend([(DropReason::NoReceiver, 3), (DropReason::InboundFull, 1)]);
        assert_eq!(flow.arrived_at_least(), 8);
    }

    #[test]
    fn a_violation_reads_as_a_sentence() {
        let violation = Violation::OverLimit { node: Node(3), pool: "inbound", found: 9, limit: 8 };
        assert_eq!(violation.to_string(), "node 3 holds 9 inbound connections of at most 8");
    }
}
