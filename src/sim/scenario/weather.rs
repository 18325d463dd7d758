//! What happens to the nodes of a scenario at drawn times: nodes that come and go, and faults of all kinds.

use std::time::Duration;

use rand_chacha::rand_core::Rng;

use super::acts::{GOINGS, GoingAndComing};
use super::error::Fault;
use super::names::Census;
use super::section::{Section, meant, text, time};
use crate::sim::node::Node;
use crate::sim::script::Script;
use crate::sim::seed::{below, draws};

pub(super) const CHURN_KEYS: &[&str] = &["share", "from", "until", "down_for", "what", "groups"];
pub(super) const FAULT_KEYS: &[&str] = &["count", "from", "within", "groups"];

const MINUTE: Duration = Duration::from_secs(60);

/// Most times that nodes go in one run.
const MAX_GOINGS: usize = 100_000;

/// Nodes that go, and come back.
#[derive(Debug, Clone)]
pub(super) struct Churn {
    nodes: Vec<Node>,
    /// How many goings there are.
    goings: usize,
    from: Duration,
    until: Duration,
    down_for: [Duration; 2],
    ways: Vec<GoingAndComing>,
    /// Nothing is done later.
    duration: Duration,
}

impl Churn {
    pub(super) fn read(section: &Section<'_>, census: &Census, duration: Duration) -> Result<Self, Fault> {
        let share = section.must("share", section.per_mille("share")?)?;
        let times = Duration::ZERO..=duration;
        let from = section.time_or("from", times.clone(), Duration::ZERO)?;
        let until = section.time_or("until", from..=duration, duration)?;
        let nodes = nodes(section, census)?;
        let thousandths = u128::from(share.value) * nodes.len() as u128 * (until - from).as_millis();
        let goings = usize::try_from(thousandths / 1_000 / MINUTE.as_millis()).unwrap_or(usize::MAX);
        if goings > MAX_GOINGS {
            return Err(share.fault(format!("with this nodes go {goings} times; at most {MAX_GOINGS}")));
        }
        let down_for = section.list("down_for");
        let down_for = match *down_for {
            [] => [Duration::from_secs(10), MINUTE],
            [one] => [time("down_for", one, &times)?.value; 2],
            [least, most] => {
                let least = time("down_for", least, &times)?.value;
                [least, time("down_for", most, &(least..=duration))?.value]
            }
            [_, _, third, ..] => {
                return Err(Fault::new(
                    third.span().start,
                    "`down_for` is one time, or the shortest and the longest",
                ));
            }
        };
        let words = section.list("what").into_iter();
        let ways = words.map(|value| meant("what", text("what", value)?, GOINGS));
        let mut ways: Vec<GoingAndComing> = ways.collect::<Result<_, Fault>>()?;
        if ways.is_empty() {
            ways = GOINGS.iter().map(|(_, way)| *way).collect();
        }
        Ok(Self { nodes, goings, from, until, down_for, ways, duration })
    }

    /// When the last node is back, at the latest.
    pub(super) fn ends(&self) -> Duration {
        (self.until + self.down_for[1]).min(self.duration)
    }

    /// Adds what is drawn.
    pub(super) fn put(&self, seed: u64, mut script: Script) -> Script {
        let mut draws = draws(seed, "churn", 0);
        let mut times: Vec<Duration> =
            (0..self.goings).map(|_| between(self.from, self.until, draws.next_u64())).collect();
        times.sort_unstable();
        // When each node is back.
        let mut away: Vec<Duration> = vec![Duration::ZERO; self.nodes.len()];
        for goes in times {
            let here: Vec<usize> = (0..away.len()).filter(|at| away[*at] <= goes).collect();
            let Some(&number) = here.get(below(here.len(), &mut draws)) else { continue };
            let (go, come) = self.ways[below(self.ways.len(), &mut draws)];
            let back = goes + between(self.down_for[0], self.down_for[1], draws.next_u64());
            away[number] = back;
            script = script.at(goes, go(self.nodes[number]));
            if back <= self.duration {
                script = script.at(back, come(self.nodes[number]));
            }
        }
        script
    }
}

/// Faults of all kinds.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    nodes: Vec<Node>,
    count: usize,
    from: Duration,
    within: Duration,
}

impl Faults {
    pub(super) fn read(section: &Section<'_>, census: &Census, duration: Duration) -> Result<Self, Fault> {
        let count = section.must("count", section.size("count", 1..=10_000)?)?.value;
        let from = section.time_or("from", Duration::ZERO..=duration, Duration::ZERO)?;
        let left = duration.saturating_sub(from);
        let within = section.time_or("within", Duration::ZERO..=left, left)?;
        Ok(Self { nodes: nodes(section, census)?, count, from, within })
    }

    /// When the last of them has ended, at the latest.
    pub(super) fn ends(&self) -> Duration {
        self.from + self.within
    }

    /// Adds what is drawn.
    pub(super) fn put(&self, seed: u64, mut script: Script) -> Script {
        for (at, act) in Script::drawn(seed, &self.nodes, self.count, self.within).steps() {
            script = script.at(self.from + *at, act.clone());
        }
        script
    }
}

/// The nodes that it happens to: those that a table names, or all that keep the rules.
fn nodes(section: &Section<'_>, census: &Census) -> Result<Vec<Node>, Fault> {
    match &*section.list("groups") {
        [] => Ok(census.proper()),
        list => census.all_of("groups", list),
    }
}

/// A time from the first to the last.
fn between(first: Duration, last: Duration, draw: u64) -> Duration {
    let room = u64::try_from((last - first).as_millis()).unwrap_or(u64::MAX);
    first + Duration::from_millis(draw % room.saturating_add(1))
}
