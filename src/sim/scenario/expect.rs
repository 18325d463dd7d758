//! What a scenario promises.

use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::Fault;
use super::names::Census;
use super::section::{At, Kind, Length, Section, of_kind, time, wrong_kind};
use crate::sim::node::Node;

/// Something that a scenario promises, and when.
#[derive(Debug, Clone)]
pub(super) struct Expect {
    pub(super) what: Promise,
    pub(super) window: Window,
}

/// What is promised.
#[derive(Debug, Clone)]
pub(super) enum Promise {
    /// The nodes that have been up for so long are one network.
    Connected { nodes: Vec<Node>, up_for: Duration },
    /// From so long after the last act on those of the nodes that run are one network.
    Recovered { nodes: Vec<Node>, within: Duration },
    /// From so long after the last act on all pairs that were connected before the first are so again.
    PairsRestored { within: Duration },
    /// Each of the nodes has so many peers among others.
    Peers { of: Vec<Node>, with: Vec<Node>, at_least: usize, up_for: Duration },
    /// No node of the first has all of its outgoing connections to nodes of the second.
    NotSurrounded { of: Vec<Node>, by: Vec<Node> },
    /// So many of a thousand messages from the one group to the other arrive.
    Delivered { from: usize, to: usize, per_mille: u16 },
    /// Ninety-nine of a hundred messages are on their way for so long at most.
    Latency { from: Option<usize>, to: Option<usize>, p99: Duration },
    /// So many messages wait in each node's queues at most.
    Queued { nodes: Vec<Node>, at_most: u64 },
}

/// When something is promised.
#[derive(Debug, Clone)]
pub(super) struct Window {
    from: Duration,
    until: Duration,
    except: Vec<(Duration, Duration)>,
}

impl Window {
    /// The whole of a run.
    fn of(duration: Duration) -> Self {
        Self { from: Duration::ZERO, until: duration, except: Vec::new() }
    }

    pub(super) fn contains(&self, now: Duration) -> bool {
        let excepted = self.except.iter().any(|(from, until)| (*from..=*until).contains(&now));
        (self.from..=self.until).contains(&now) && !excepted
    }
}

#[derive(Clone, Copy)]
pub(super) enum What {
    Connected,
    Recovered,
    PairsRestored,
    Peers,
    NotSurrounded,
    Delivered,
    Latency,
    Queued,
}

pub(super) const KINDS: &[Kind<What>] = &[
    ("connected", What::Connected, &["what", "groups", "up_for", "from", "until", "except"]),
    ("recovered", What::Recovered, &["what", "groups", "within"]),
    ("pairs_restored", What::PairsRestored, &["what", "within"]),
    ("peers", What::Peers, &["what", "of", "with", "at_least", "up_for", "from", "until", "except"]),
    ("not_surrounded", What::NotSurrounded, &["what", "of", "by", "from", "until", "except"]),
    ("delivered", What::Delivered, &["what", "from_group", "to_group", "share"]),
    ("latency", What::Latency, &["what", "from_group", "to_group", "p99", "from", "until", "except"]),
    ("queued", What::Queued, &["what", "groups", "at_most", "from", "until", "except"]),
];

/// What is to be known of a scenario to read what it promises.
pub(super) struct Given<'a> {
    pub(super) census: &'a Census,
    pub(super) duration: Duration,
    /// When the last act is done, at the latest.
    pub(super) acts_end: Duration,
    pub(super) is_anything_done: bool,
}

impl Given<'_> {
    pub(super) fn read(&self, table: At<&DeTable<'_>>) -> Result<Expect, Fault> {
        let (what, section) = of_kind("an expectation", table, KINDS)?;
        let what = match what {
            What::Connected => {
                Promise::Connected { nodes: self.nodes("groups", &section)?, up_for: self.up_for(&section)? }
            }
            What::Recovered => {
                Promise::Recovered { nodes: self.nodes("groups", &section)?, within: self.within(&section)? }
            }
            What::PairsRestored if !self.is_anything_done => {
                return Err(table.fault("nothing is done to this network that could part a pair"));
            }
            What::PairsRestored => Promise::PairsRestored { within: self.within(&section)? },
            What::Peers => Promise::Peers {
                of: self.nodes("of", &section)?,
                with: self.others("with", &section)?,
                at_least: section.must("at_least", section.size("at_least", 1..=10_000)?)?.value,
                up_for: self.up_for(&section)?,
            },
            What::NotSurrounded => {
                section.must("by", section.value("by"))?;
                Promise::NotSurrounded { of: self.nodes("of", &section)?, by: self.others("by", &section)? }
            }
            What::Delivered => Promise::Delivered {
                from: section.must("from_group", self.group("from_group", &section)?)?,
                to: section.must("to_group", self.group("to_group", &section)?)?,
                per_mille: section.must("share", section.per_mille("share")?)?.value,
            },
            What::Latency => Promise::Latency {
                from: self.group("from_group", &section)?,
                to: self.group("to_group", &section)?,
                p99: section
                    .must("p99", section.time("p99", Duration::from_millis(1)..=self.duration)?)?
                    .value,
            },
            What::Queued => Promise::Queued {
                nodes: self.nodes("groups", &section)?,
                at_most: section.must("at_most", section.whole("at_most", 0..=1_000_000_000)?)?.value,
            },
        };
        let window = match what {
            // It follows from the acts.
            Promise::Recovered { .. } | Promise::PairsRestored { .. } | Promise::Delivered { .. } => {
                Window::of(self.duration)
            }
            _ => self.window(&section)?,
        };
        Ok(Expect { what, window })
    }

    /// The nodes that a key names, which keep the rules; all that do if it names none.
    fn nodes(&self, key: &str, section: &Section<'_>) -> Result<Vec<Node>, Fault> {
        match &*section.list(key) {
            [] => Ok(self.census.proper()),
            list => self.census.all_proper(key, list),
        }
    }

    /// The nodes that a key names, whatever they do; all if it names none.
    fn others(&self, key: &str, section: &Section<'_>) -> Result<Vec<Node>, Fault> {
        match &*section.list(key) {
            [] => Ok((0..self.census.len()).map(Node).collect()),
            list => self.census.all_of(key, list),
        }
    }

    fn group(&self, key: &str, section: &Section<'_>) -> Result<Option<usize>, Fault> {
        section.text(key)?.map(|name| self.census.proper_group(name)).transpose()
    }

    fn up_for(&self, section: &Section<'_>) -> Result<Duration, Fault> {
        section.time_or("up_for", Duration::ZERO..=self.duration, Duration::ZERO)
    }

    fn within(&self, section: &Section<'_>) -> Result<Duration, Fault> {
        let within = section.time("within", Duration::ZERO..=self.duration)?;
        let within = section.must("within", within)?;
        let left = self.duration.saturating_sub(self.acts_end);
        if within.value > left {
            let (ends, left) = (Length(self.acts_end), Length(left));
            return Err(within.fault(format!("the last act may be at {ends}: {left} are left of the run")));
        }
        Ok(within.value)
    }

    fn window(&self, section: &Section<'_>) -> Result<Window, Fault> {
        let from = section.time_or("from", Duration::ZERO..=self.duration, Duration::ZERO)?;
        let until = section.time_or("until", from..=self.duration, self.duration)?;
        let mut except = Vec::new();
        for value in section.list("except") {
            let DeValue::Array(ends) = value.get_ref() else {
                return Err(wrong_kind("except", value, "a list of pairs of times"));
            };
            let ends: Vec<_> = ends.iter().collect();
            let [first, last] = *ends else {
                return Err(Fault::new(value.span().start, "`except` is a list of pairs of times"));
            };
            let first = time("except", first, &(Duration::ZERO..=self.duration))?.value;
            except.push((first, time("except", last, &(first..=self.duration))?.value));
        }
        Ok(Window { from, until, except })
    }
}
