//! What is done to a network, and when.

use std::fmt;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::lines::Line;
use super::net::{SimError, SimNet};
use super::node::Node;
use super::seed::{below, draws};

/// One thing that is done to a network. The methods of [`SimNet`] of the same names say what each is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// Starts a node.
    Start(Node),
    /// Ends a node as a crash would.
    Kill(Node),
    /// Shuts a node down in order. What comes next in a script does not wait for it.
    ShutDown(Node),
    /// Takes a node off the network without a word.
    PowerOff(Node),
    /// Brings it back.
    PowerOn(Node),
    /// Loses what a node has stored.
    WipeStore(Node),
    /// Cuts a way, in one direction.
    Cut(Node, Node),
    /// Mends it.
    Mend(Node, Node),
    /// Parts the network under a name.
    Partition(String, Vec<Vec<Node>>),
    /// Ends a partition.
    Heal(String),
    /// Ends all partitions and mends all ways.
    HealAll,
    /// Breaks the connections between two nodes.
    Reset(Node, Node),
    /// Stalls the connections between two nodes.
    Stall(Node, Node),
    /// Slows a node's connections, or no longer, in bytes per second.
    Slow(Node, Option<u64>),
    /// Lets a node's clock run fast by so many millionths, or slow, from its next start on.
    Drift(Node, i32),
    /// Turns a node's wall clock forward by so many seconds, or back; it is read at the next start.
    TurnClock(Node, i64),
    /// Sets what connects nodes.
    Line(Line),
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(node) => write!(f, "start {node}"),
            Self::Kill(node) => write!(f, "kill {node}"),
            Self::ShutDown(node) => write!(f, "shut {node} down"),
            Self::PowerOff(node) => write!(f, "power {node} off"),
            Self::PowerOn(node) => write!(f, "power {node} on"),
            Self::WipeStore(node) => write!(f, "wipe the store of {node}"),
            Self::Cut(from, to) => write!(f, "cut {from} -> {to}"),
            Self::Mend(from, to) => write!(f, "mend {from} -> {to}"),
            Self::Partition(name, parts) => {
                let sizes: Vec<String> = parts.iter().map(|part| part.len().to_string()).collect();
                write!(f, "part `{name}` into {} nodes", sizes.join(" | "))
            }
            Self::Heal(name) => write!(f, "heal `{name}`"),
            Self::HealAll => f.write_str("heal all"),
            Self::Reset(a, b) => write!(f, "reset {a} <-> {b}"),
            Self::Stall(a, b) => write!(f, "stall {a} <-> {b}"),
            Self::Slow(node, Some(rate)) => write!(f, "slow {node} to {rate} B/s"),
            Self::Slow(node, None) => write!(f, "let {node} be as fast as others"),
            Self::Drift(node, ppm) => write!(f, "let the clock of {node} run fast by {ppm} ppm"),
            Self::TurnClock(node, seconds) => write!(f, "turn the clock of {node} by {seconds:+} s"),
            Self::Line(line) => write!(f, "let the latency be {:?}", line.latency),
        }
    }
}

/// Things that are done to a network at their times.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    steps: Vec<(Duration, Act)>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, act) in &self.steps {
            writeln!(f, "{:>10.3} s  {act}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

impl Script {
    /// Makes an empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an act at a time after the script's start; after those that are there already at that time.
    #[must_use]
    pub fn at(mut self, at: Duration, act: Act) -> Self {
        let behind = self.steps.partition_point(|(earlier, _)| *earlier <= at);
        self.steps.insert(behind, (at, act));
        self
    }

    /// The acts, by time.
    #[must_use]
    pub fn steps(&self) -> &[(Duration, Act)] {
        &self.steps
    }

    /// The acts of all units, by time; those of one time in the order of their units.
    pub(super) fn of(units: &[Vec<(Duration, Act)>]) -> Self {
        let mut steps = units.concat();
        steps.sort_by_key(|(at, _)| *at);
        Self { steps }
    }

    /// Draws `faults` faults of all kinds within `length`, and ends each of them within it: nodes are killed and
    /// started, powered off and on, slowed, and started again with clocks that run otherwise (by 5 % at most) or were
    /// turned (by a day at most); ways are cut and mended, the network is parted and healed, connections are reset and
    /// stalled.
    #[must_use]
    pub fn drawn(seed: u64, nodes: &[Node], faults: usize, length: Duration) -> Self {
        let mut draws = draws(seed, "faults", 0);
        let mut script = Self::new();
        if nodes.is_empty() {
            return script;
        }
        for number in 0..faults {
            let begins = part_of(length / 2, &mut draws);
            let ends = begins + part_of(length - begins, &mut draws);
            let (begin, end) = fault(number, nodes, &mut draws);
            script = script.at(begins, begin);
            script = end.into_iter().fold(script, |script, act| script.at(ends, act));
        }
        script
    }
}

/// Draws a fault, and what ends it.
fn fault(number: usize, nodes: &[Node], draws: &mut ChaCha8Rng) -> (Act, Vec<Act>) {
    let (one, other) = (pick(nodes, draws), pick(nodes, draws));
    match draws.next_u32() % 9 {
        0 => (Act::Kill(one), vec![Act::Start(one)]),
        1 => (Act::PowerOff(one), vec![Act::PowerOn(one)]),
        2 => (Act::Cut(one, other), vec![Act::Mend(one, other)]),
        3 => {
            let name = format!("part {number}");
            let (left, right) = nodes.iter().partition(|_| draws.next_u32().is_multiple_of(2));
            (Act::Partition(name.clone(), vec![left, right]), vec![Act::Heal(name)])
        }
        4 => (Act::ShutDown(one), vec![Act::Start(one)]),
        5 => (Act::Reset(one, other), Vec::new()),
        6 => (Act::Stall(one, other), Vec::new()),
        7 => {
            let rate = 1_000 << (draws.next_u32() % 8);
            (Act::Slow(one, Some(rate)), vec![Act::Slow(one, None)])
        }
        _ => {
            let drift = Act::Drift(one, i32::try_from(either_way(MOST_DRIFT_PPM, draws)).unwrap_or(0));
            let turn = Act::TurnClock(one, either_way(MOST_TURN_SECONDS, draws));
            (Act::Kill(one), vec![drift, turn, Act::Start(one)])
        }
    }
}

/// How much the clocks of nodes are drawn to run otherwise, and to be turned.
const MOST_DRIFT_PPM: u32 = 50_000;
const MOST_TURN_SECONDS: u32 = 86_400;

/// A number from `-most` to `most`.
fn either_way(most: u32, draws: &mut ChaCha8Rng) -> i64 {
    let drawn = draws.next_u64() % (2 * u64::from(most) + 1);
    i64::try_from(drawn).unwrap_or(0) - i64::from(most)
}

/// A time from zero to `most`.
fn part_of(most: Duration, draws: &mut ChaCha8Rng) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(draws.next_u64() % most.saturating_add(1))
}

fn pick(nodes: &[Node], draws: &mut ChaCha8Rng) -> Node {
    nodes[below(nodes.len(), draws)]
}

impl SimNet {
    /// Does what a script says, at its times from now on, and runs the network until its last act is done.
    ///
    /// # Errors
    ///
    /// If an act cannot be done; the rest is not.
    pub fn play(&mut self, script: &Script) -> Result<(), SimError> {
        let began = self.elapsed();
        for (at, act) in script.steps() {
            let due = began + *at;
            self.run_for(due.saturating_sub(self.elapsed()));
            self.act(act)?;
        }
        Ok(())
    }

    /// Does one thing now.
    ///
    /// # Errors
    ///
    /// If it cannot be done.
    pub fn act(&mut self, act: &Act) -> Result<(), SimError> {
        match act {
            Act::Start(node) => return self.start(*node),
            Act::PowerOn(node) => return self.power_on(*node),
            Act::Line(line) => return self.set_line(*line),
            Act::Slow(node, rate) => return self.slow(*node, *rate),
            Act::Drift(node, ppm) => return self.drift(*node, *ppm),
            Act::TurnClock(node, seconds) => self.turn_clock(*node, *seconds),
            Act::Kill(node) => drop(self.kill(*node)),
            Act::ShutDown(node) => drop(self.begin_shut_down(*node)),
            Act::PowerOff(node) => drop(self.power_off(*node)),
            Act::WipeStore(node) => self.wipe_store(*node),
            Act::Cut(from, to) => self.cut(*from, *to),
            Act::Mend(from, to) => self.mend(*from, *to),
            Act::Partition(name, parts) => {
                let parts: Vec<&[Node]> = parts.iter().map(Vec::as_slice).collect();
                self.partition(name, &parts);
            }
            Act::Heal(name) => drop(self.heal(name)),
            Act::HealAll => self.heal_all(),
            Act::Reset(a, b) => drop(self.reset(*a, *b)),
            Act::Stall(a, b) => drop(self.stall(*a, *b)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn acts_are_done_by_time_and_those_of_one_time_in_their_order() {
        let script = Script::new()
            .at(2 * SECOND, Act::HealAll)
            .at(SECOND, Act::Kill(Node(1)))
            .at(SECOND, Act::Start(Node(1)));
        let words = "     1.000 s  kill node 1\n     1.000 s  start node 1\n     2.000 s  heal all\n";
        assert_eq!(script.to_string(), words);
        let again: Vec<_> = script.steps().iter().rev().map(|step| vec![step.clone()]).collect();
        let order = [Act::Start(Node(1)), Act::Kill(Node(1)), Act::HealAll];
        let steps = Script::of(&again);
        assert_eq!(steps.steps().iter().map(|(_, act)| act.clone()).collect::<Vec<_>>(), order);
    }

    #[test]
    fn drawn_faults_end_within_their_time_and_follow_from_the_seed() {
        let nodes: Vec<Node> = (0..9).map(Node).collect();
        let script = Script::drawn(1, &nodes, 60, 60 * SECOND);
        assert_eq!(script, Script::drawn(1, &nodes, 60, 60 * SECOND));
        assert_ne!(script, Script::drawn(2, &nodes, 60, 60 * SECOND));
        assert!(script.steps().iter().all(|(at, _)| *at <= 60 * SECOND));
        let count = |of: fn(&Act) -> bool| script.steps().iter().filter(|(_, act)| of(act)).count();
        let pairs = [
            (count(|act| matches!(act, Act::PowerOff(_))), count(|act| matches!(act, Act::PowerOn(_)))),
            (count(|act| matches!(act, Act::Cut(..))), count(|act| matches!(act, Act::Mend(..)))),
            (count(|act| matches!(act, Act::Partition(..))), count(|act| matches!(act, Act::Heal(_)))),
            (
                count(|act| matches!(act, Act::Slow(_, Some(_)))),
                count(|act| matches!(act, Act::Slow(_, None))),
            ),
            (count(|act| matches!(act, Act::Drift(..))), count(|act| matches!(act, Act::TurnClock(..)))),
        ];
        assert!(pairs.iter().all(|(begun, ended)| begun == ended && *begun > 0), "{pairs:?}");
        let modest = |act: &Act| match act {
            Act::Drift(_, ppm) => ppm.unsigned_abs() <= MOST_DRIFT_PPM,
            Act::TurnClock(_, seconds) => seconds.unsigned_abs() <= MOST_TURN_SECONDS.into(),
            _ => true,
        };
        assert!(script.steps().iter().all(|(_, act)| modest(act)));
        assert!(Script::drawn(1, &[], 40, SECOND).steps().is_empty());
    }
}
