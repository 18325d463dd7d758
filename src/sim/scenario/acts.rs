//! What a scenario does to its network at stated times.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::Fault;
use super::lines::read_line;
use super::names::Census;
use super::section::{At, Kind, Section, Value, of_kind, wrong_kind};
use crate::sim::clocks::MOST_PPM;
use crate::sim::node::Node;
use crate::sim::script::{Act, Script};
use crate::transport::link::LinkConfig;

/// Most acts that one table of a scenario may stand for.
const MAX_ACTS: usize = 10_000;

/// Most nodes that the acts of a scenario may name, all together: each is kept, and a table of one line may name all.
const MAX_WEIGHT: usize = 1_000_000;

/// A clock is turned by a hundred years at most.
const MAX_TURN_SECONDS: i64 = 100 * 365 * 86_400;

/// An act that is done to each of several nodes.
pub(super) type OfNode = fn(Node) -> Act;

/// An act that is done to each of several pairs.
pub(super) type OfPair = fn(Node, Node) -> Act;

#[derive(Clone, Copy)]
pub(super) enum What {
    Nodes(OfNode),
    Pairs(OfPair),
    Partition,
    Heal,
    HealAll,
    Slow,
    Drift,
    TurnClock,
    Line,
    RollingRestart,
}

const NODES: &[&str] = &["at", "what", "nodes"];
const PAIRS: &[&str] = &["at", "what", "from", "to"];

pub(super) const KINDS: &[Kind<What>] = &[
    ("start", What::Nodes(Act::Start), NODES),
    ("kill", What::Nodes(Act::Kill), NODES),
    ("shut_down", What::Nodes(Act::ShutDown), NODES),
    ("power_off", What::Nodes(Act::PowerOff), NODES),
    ("power_on", What::Nodes(Act::PowerOn), NODES),
    ("wipe_store", What::Nodes(Act::WipeStore), NODES),
    ("cut", What::Pairs(Act::Cut), PAIRS),
    ("mend", What::Pairs(Act::Mend), PAIRS),
    ("reset", What::Pairs(Act::Reset), PAIRS),
    ("stall", What::Pairs(Act::Stall), PAIRS),
    ("partition", What::Partition, &["at", "what", "name", "parts"]),
    ("heal", What::Heal, &["at", "what", "name"]),
    ("heal_all", What::HealAll, &["at", "what"]),
    ("slow", What::Slow, &["at", "what", "nodes", "rate"]),
    ("drift", What::Drift, &["at", "what", "nodes", "ppm"]),
    ("turn_clock", What::TurnClock, &["at", "what", "nodes", "seconds"]),
    ("line", What::Line, &["at", "what", "latency", "spread", "jitter", "rate", "buffer"]),
    ("rolling_restart", What::RollingRestart, &["at", "what", "nodes", "every", "down_for", "how"]),
];

/// How a node goes, and how it comes back.
pub(super) type GoingAndComing = (OfNode, OfNode);

/// The ways in which a node goes and comes back.
pub(super) const GOINGS: &[(&str, GoingAndComing)] = &[
    ("kill", (Act::Kill, Act::Start)),
    ("shut_down", (Act::ShutDown, Act::Start)),
    ("power_off", (Act::PowerOff, Act::PowerOn)),
];

/// Reads all acts of a scenario.
pub(super) fn read_acts(
    tables: &[At<&DeTable<'_>>],
    census: &Census,
    duration: Duration,
) -> Result<Script, Fault> {
    let mut reader =
        Reader { census, duration, acts: Vec::new(), weight: 0, parted: BTreeSet::new(), heals: Vec::new() };
    for table in tables {
        reader.read(*table)?;
    }
    let unknown = reader.heals.iter().find(|heal| !reader.parted.contains(&heal.value));
    match unknown {
        Some(heal) => Err(heal.fault(format!("there is no partition `{}`", heal.value))),
        None => Ok(Script::of(&[reader.acts])),
    }
}

struct Reader<'a> {
    census: &'a Census,
    duration: Duration,
    acts: Vec<(Duration, Act)>,
    /// How many nodes the acts name, all together.
    weight: usize,
    /// The names of partitions.
    parted: BTreeSet<String>,
    heals: Vec<At<String>>,
}

impl Reader<'_> {
    fn read(&mut self, table: At<&DeTable<'_>>) -> Result<(), Fault> {
        let (what, section) = of_kind("an act", table, KINDS)?;
        let at = section.must("at", section.time("at", Duration::ZERO..=self.duration)?)?.value;
        let acts = self.acts(what, &section, at)?;
        self.weight += acts.iter().map(|(_, act)| weight(act)).sum::<usize>();
        if self.weight > MAX_WEIGHT {
            return Err(table.fault(format!("with this the acts name more than {MAX_WEIGHT} nodes")));
        }
        self.acts.extend(acts);
        Ok(())
    }

    /// What a table stands for.
    fn acts(
        &mut self,
        what: What,
        section: &Section<'_>,
        at: Duration,
    ) -> Result<Vec<(Duration, Act)>, Fault> {
        let acts: Vec<Act> = match what {
            What::Nodes(act) => self.nodes(section)?.into_iter().map(act).collect(),
            What::Pairs(act) => self.pairs(section)?.into_iter().map(|(from, to)| act(from, to)).collect(),
            What::Partition => vec![self.partition(section)?],
            What::Heal => {
                let name = section.must("name", section.text("name")?)?;
                self.heals.push(At { value: name.value.to_owned(), at: name.at });
                vec![Act::Heal(name.value.to_owned())]
            }
            What::HealAll => vec![Act::HealAll],
            What::Slow => {
                let rate = section.whole("rate", 1..=LinkConfig::MAX_BYTES_PER_SECOND)?;
                let slow = |node| Act::Slow(node, rate.map(|rate| rate.value));
                self.nodes(section)?.into_iter().map(slow).collect()
            }
            What::Drift => {
                let most = i64::from(MOST_PPM);
                let ppm = section.must("ppm", section.signed("ppm", -most..=most)?)?.value;
                let ppm = i32::try_from(ppm).unwrap_or(0);
                self.nodes(section)?.into_iter().map(|node| Act::Drift(node, ppm)).collect()
            }
            What::TurnClock => {
                let bounds = -MAX_TURN_SECONDS..=MAX_TURN_SECONDS;
                let seconds = section.must("seconds", section.signed("seconds", bounds)?)?.value;
                self.nodes(section)?.into_iter().map(|node| Act::TurnClock(node, seconds)).collect()
            }
            What::Line => vec![Act::Line(read_line(section)?)],
            What::RollingRestart => return self.rolling_restart(section, at),
        };
        Ok(acts.into_iter().map(|act| (at, act)).collect())
    }

    fn nodes(&self, section: &Section<'_>) -> Result<Vec<Node>, Fault> {
        let nodes = section.must("nodes", section.value("nodes"))?;
        some_of(self.census, "nodes", nodes)
    }

    /// Each of some nodes with each of others.
    fn pairs(&self, section: &Section<'_>) -> Result<Vec<(Node, Node)>, Fault> {
        let from = section.must("from", section.value("from"))?;
        let to = section.must("to", section.value("to"))?;
        let (from, others) = (some_of(self.census, "from", from)?, some_of(self.census, "to", to)?);
        let pairs: Vec<(Node, Node)> = from
            .iter()
            .flat_map(|from| others.iter().filter(move |to| from != *to).map(move |to| (*from, *to)))
            .take(MAX_ACTS + 1)
            .collect();
        match pairs.len() {
            0 => Err(Fault::new(to.span().start, "`to` names the same node as `from`")),
            1..=MAX_ACTS => Ok(pairs),
            _ => Err(Fault::new(
                to.span().start,
                format!("these are more than {MAX_ACTS} ways; use a partition"),
            )),
        }
    }

    fn partition(&mut self, section: &Section<'_>) -> Result<Act, Fault> {
        let name = section.must("name", section.text("name")?)?.value.to_owned();
        let value = section.must("parts", section.value("parts"))?;
        let DeValue::Array(lists) = value.get_ref() else {
            return Err(wrong_kind("parts", value, "a list of lists of nodes"));
        };
        let (mut parts, mut seen) = (Vec::new(), BTreeSet::new());
        for list in lists {
            let part = some_of(self.census, "parts", list)?;
            if let Some(twice) = part.iter().find(|node| !seen.insert(**node)) {
                return Err(Fault::new(list.span().start, format!("{twice} is in two parts")));
            }
            parts.push(part);
        }
        if parts.len() < 2 {
            return Err(Fault::new(value.span().start, "a partition has two parts or more"));
        }
        self.parted.insert(name.clone());
        Ok(Act::Partition(name, parts))
    }

    fn rolling_restart(
        &self,
        section: &Section<'_>,
        begins: Duration,
    ) -> Result<Vec<(Duration, Act)>, Fault> {
        let times = Duration::from_millis(1)..=self.duration;
        let every = section.must("every", section.time("every", times.clone())?)?;
        let down_for = section.must("down_for", section.time("down_for", times)?)?.value;
        let how = section.one_of("how", GOINGS)?;
        let (go, come) = how.unwrap_or((Act::ShutDown, Act::Start));
        let nodes = self.nodes(section)?;
        let last = u32::try_from(nodes.len() - 1).unwrap_or(u32::MAX);
        if begins + every.value * last + down_for > self.duration {
            return Err(every.fault("with this the last node comes back after the run has ended"));
        }
        let (mut goes, mut acts) = (begins, Vec::with_capacity(nodes.len() * 2));
        for node in nodes {
            acts.extend([(goes, go(node)), (goes + down_for, come(node))]);
            goes += every.value;
        }
        Ok(acts)
    }
}

/// How many nodes an act names; at least one, for itself.
fn weight(act: &Act) -> usize {
    match act {
        Act::Partition(_, parts) => parts.iter().map(Vec::len).sum::<usize>().max(1),
        _ => 1,
    }
}

/// The nodes that a value names: one name, or a list of them, and at least one node.
fn some_of(census: &Census, key: &str, value: Value<'_>) -> Result<Vec<Node>, Fault> {
    let list: Vec<Value<'_>> = match value.get_ref() {
        DeValue::Array(values) => values.iter().collect(),
        _ => vec![value],
    };
    if list.is_empty() {
        return Err(Fault::new(value.span().start, format!("`{key}` names nobody")));
    }
    census.all_of(key, &list)
}
