//! What a run of a scenario showed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Depth;
use super::check::Violation;
use super::node::Node;
use super::script::Script;
use crate::channel::DropReason;

/// What a run of a scenario showed. All of it follows from the scenario and the seed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// How much of a node was under the simulation.
    pub depth: Depth,
    /// The hash of all that happened.
    pub trace_hash: u64,
    /// How many nodes there were, byzantine ones with them.
    pub nodes: usize,
    /// How many connections came up at both ends, over the whole run.
    pub connections: u64,
    /// How many messages were received, over all channels.
    pub messages: u64,
    /// The virtual time that passed.
    pub virtual_time: Duration,
    /// What was done to the network.
    pub script: Script,
    /// The network at regular times.
    pub samples: Vec<Sample>,
    /// The network when the first act was due.
    pub before: Picture,
    /// The network at the end.
    pub after: Picture,
    /// What did not hold, and when it was first seen, from the start of the run on.
    pub violations: Vec<(Duration, Violation)>,
}

/// A network at one time. What is counted is counted since the sample before.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Sample {
    /// When, since the start of the run.
    pub at: Duration,
    /// How many proper nodes run.
    pub running: usize,
    /// How many peers the proper nodes that run have.
    pub peers: Spread,
    /// Connections that came up, counted at each end.
    pub up: u64,
    /// Connections that went down, counted at each end.
    pub down: u64,
    /// Messages written to connections.
    pub sent: u64,
    /// Messages queued for their receivers.
    pub received: u64,
    /// Messages dropped, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Messages that wait in the queues of a node, to be written or received.
    pub queued: Spread,
    /// Time from the sending of a scenario's own messages to their receiver, in microseconds; `None` if none came.
    pub latency: Option<Spread>,
}

/// How values are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Spread {
    /// The least.
    pub least: u64,
    /// Half of them are at most this.
    pub median: u64,
    /// Ninety of a hundred are at most this.
    pub p90: u64,
    /// Ninety-nine of a hundred are at most this.
    pub p99: u64,
    /// The greatest.
    pub most: u64,
}

impl Spread {
    /// The spread of values; all zero if there are none.
    #[must_use]
    pub fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let Some(last) = values.len().checked_sub(1) else { return Self::default() };
        // The smallest value that so many of a hundred do not exceed.
        let at = |percent: usize| values[(values.len() * percent).div_ceil(100).saturating_sub(1).min(last)];
        Self { least: values[0], median: at(50), p90: at(90), p99: at(99), most: values[last] }
    }
}

/// Who is connected to whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Picture {
    /// The groups of the scenario, by name, and their nodes.
    pub groups: Vec<(String, Vec<Node>)>,
    /// The nodes that do not run.
    pub stopped: Vec<Node>,
    /// The connections that a proper end has up, each once, the lower number first.
    pub connections: Vec<(Node, Node)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_values_that_occur() {
        let hundred = Spread::of((1..=100).rev().collect());
        assert_eq!(hundred, Spread { least: 1, median: 50, p90: 90, p99: 99, most: 100 });
        assert_eq!(Spread::of(vec![7]), Spread { least: 7, median: 7, p90: 7, p99: 7, most: 7 });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
