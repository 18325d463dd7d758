//! The groups of nodes of a scenario.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::conduct::{Conduct, Proper, Talking, read_channel, read_misdeed, read_topology};
use super::error::Fault;
use super::limits::{LIMIT_KEYS, Limits};
use super::names::{Census, MAX_NODES};
use super::section::{At, Section, Value, table, text, whole, wrong_kind};
use super::talk::MAX_PADDING_BYTES;
use crate::address::IpPrefix;
use crate::peer::Limit;
use crate::sim::node::Place;

pub(super) const PROPER_KEYS: &[&str] = &[
    "name",
    "count",
    "region",
    "subnets",
    "start",
    "stagger",
    "topology",
    "knows",
    "ties",
    "limits",
    "pex",
    "talk",
    "channel",
    "handles_in",
];
pub(super) const BYZANTINE_KEYS: &[&str] =
    &["name", "count", "region", "subnets", "start", "stagger", "byzantine"];

/// Most nodes in a /24: its first and its last address are no node's.
const SUBNET_NODES: usize = 254;

/// Nodes that are alike.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Where each node is.
    pub(super) places: Vec<Place>,
    /// When the first starts.
    pub(super) start: Duration,
    /// How long after one the next starts.
    pub(super) stagger: Duration,
    pub(super) conduct: Conduct,
}

/// Takes up the names and numbers of all groups, which the rest of a scenario refers to.
pub(super) fn take_census(tables: &[At<&DeTable<'_>>]) -> Result<Census, Fault> {
    let mut census = Census::default();
    for table in tables {
        let section = open(*table)?;
        let name = section.must("name", section.text("name")?)?;
        let count = section.must("count", section.whole("count", 1..=u64::from(MAX_NODES))?)?;
        let count = At { value: u32::try_from(count.value).unwrap_or(MAX_NODES), at: count.at };
        census.add(name, count, !table.value.contains_key("byzantine"))?;
    }
    Ok(census)
}

fn open<'d>(table: At<&'d DeTable<'d>>) -> Result<Section<'d>, Fault> {
    if table.value.contains_key("byzantine") {
        Section::new("a group of byzantine nodes", table.value, table.at, BYZANTINE_KEYS)
    } else {
        Section::new("a group", table.value, table.at, PROPER_KEYS)
    }
}

/// What is to be known of the scenario to read a group.
pub(super) struct Around<'a> {
    pub(super) census: &'a Census,
    pub(super) duration: Duration,
    pub(super) regions: Vec<String>,
    /// Those that groups have so far.
    pub(super) subnets: BTreeSet<IpPrefix>,
}

impl Around<'_> {
    /// Reads a group, which is that of a number.
    pub(super) fn read(&mut self, number: usize, table: At<&DeTable<'_>>) -> Result<Group, Fault> {
        let section = open(table)?;
        let count = self.census.nodes_of(number).len();
        let region = self.region(section.text("region")?);
        let times = Duration::ZERO..=self.duration;
        let start = section.time_or("start", times.clone(), Duration::ZERO)?;
        let stagger = section.time("stagger", times)?;
        let last = u32::try_from(count - 1).unwrap_or(u32::MAX);
        if let Some(stagger) = stagger.filter(|stagger| start + stagger.value * last > self.duration) {
            return Err(stagger.fault("with this the last node starts after the run has ended"));
        }
        let conduct = match table.value.get("byzantine") {
            Some(value) => self.byzantine(value)?,
            None => Conduct::Proper(Box::new(self.proper(number, &section)?)),
        };
        Ok(Group {
            places: self.places(&section, count, region)?,
            start,
            stagger: stagger.map_or(Duration::ZERO, |time| time.value),
            conduct,
        })
    }

    /// The number of a region: that without a name is 0.
    fn region(&mut self, name: Option<At<&str>>) -> u16 {
        let Some(name) = name else { return 0 };
        let known = self.regions.iter().position(|region| region == name.value);
        let at = known.unwrap_or_else(|| {
            self.regions.push(name.value.to_owned());
            self.regions.len() - 1
        });
        u16::try_from(at + 1).unwrap_or(u16::MAX)
    }

    /// Where nodes are that are spread over subnets.
    fn places(&mut self, section: &Section<'_>, count: usize, region: u16) -> Result<Vec<Place>, Fault> {
        let mut subnets = Vec::new();
        for value in section.list("subnets") {
            let said = text("subnets", value)?;
            let form = || said.fault(format!("{:?} is no subnet, as in \"99.1.0.0/24\"", said.value));
            let subnet: IpPrefix = said.value.parse().map_err(|_| form())?;
            let IpAddr::V4(first) = subnet.first() else { return Err(form()) };
            let [a, ..] = first.octets();
            if subnet.bits() != 24 || matches!(a, 0 | 127 | 224..) {
                return Err(form());
            }
            if a == 60 {
                return Err(said.fault("nodes without subnets are there; take another"));
            }
            if !self.subnets.insert(subnet) {
                return Err(said.fault(format!("{:?} is named twice", said.value)));
            }
            subnets.push(subnet);
        }
        if subnets.is_empty() {
            return Ok(vec![Place { region, ip: None }; count]);
        }
        let most = subnets.len() * SUBNET_NODES;
        if count > most {
            let why = format!("{} subnets have room for {most} nodes, not for {count}", subnets.len());
            let at = section.value("subnets").map_or(section.at, |value| value.span().start);
            return Err(Fault::new(at, why));
        }
        Ok(Place::within(&subnets, count).into_iter().map(|place| Place { region, ..place }).collect())
    }

    fn byzantine(&self, value: Value<'_>) -> Result<Conduct, Fault> {
        const KEYS: &[&str] = &["misdeed", "bytes", "tells", "addresses", "every", "victims"];
        let section = table("byzantine", value, "a byzantine node", KEYS)?;
        let misdeed = read_misdeed(&section)?;
        let times = Duration::from_millis(1)..=self.duration;
        let every = section.time_or("every", times, Duration::from_secs(1))?;
        let victims = self.census.all_of("victims", &section.list("victims"))?;
        Ok(Conduct::Byzantine { misdeed, every, victims })
    }

    fn proper(&self, number: usize, section: &Section<'_>) -> Result<Proper, Fault> {
        let count = self.census.nodes_of(number).len();
        let limits = section.table("limits", "a group's `limits`", LIMIT_KEYS)?;
        let limits = limits.map(|section| Limits::read(&section)).transpose()?.unwrap_or_default();
        let topology = section.value("topology").map(|value| read_topology(value, count)).transpose()?;
        let ties = self.acquaintances(number, "ties", section)?;
        let held = topology.map_or(0, |topology| topology.most_dialled(count))
            + ties.iter().map(|(_, count)| count).sum::<usize>();
        if let Limit::AtMost(most) = limits.max_outbound()
            && held > most
        {
            let why =
                format!("a node of this group is tied to {held} others and may dial {most} (`max_outbound`)");
            return Err(Fault::new(section.at, why));
        }
        let talk = section.table("talk", "what a node says", &["every", "bytes", "to"])?;
        Ok(Proper {
            topology,
            knows: self.acquaintances(number, "knows", section)?,
            ties,
            limits,
            pex: section.time("pex", Duration::from_secs(1)..=self.longest())?.map(|time| time.value),
            talk: talk.map(|section| self.talking(&section)).transpose()?,
            channel: read_channel(section)?,
            handles_in: section.time_or("handles_in", Duration::ZERO..=self.duration, Duration::ZERO)?,
        })
    }

    /// Longest time between two of the same.
    fn longest(&self) -> Duration {
        self.duration.max(Duration::from_secs(1))
    }

    /// How many nodes of each group that a table names: a number, or "all".
    fn acquaintances(
        &self,
        own: usize,
        key: &str,
        section: &Section<'_>,
    ) -> Result<Vec<(usize, usize)>, Fault> {
        let mut known = Vec::new();
        for (name, value) in section.named(key)? {
            let group = self.census.group(name)?;
            let most = self.census.nodes_of(group).len() - usize::from(group == own);
            let count = match value.get_ref() {
                DeValue::String(word) if word == "all" => most,
                DeValue::Integer(_) => {
                    let count = whole(name.value, value, &(0..=most as u64))?;
                    usize::try_from(count.value).unwrap_or(usize::MAX)
                }
                _ => return Err(wrong_kind(name.value, value, "a whole number or \"all\"")),
            };
            known.push((group, count));
        }
        Ok(known)
    }

    fn talking(&self, section: &Section<'_>) -> Result<Talking, Fault> {
        let every = section.time("every", Duration::from_millis(1)..=self.longest())?;
        let bytes = section.size("bytes", 0..=MAX_PADDING_BYTES)?;
        Ok(Talking {
            every: section.must("every", every)?.value,
            bytes: bytes.map_or(64, |bytes| bytes.value),
            to: section.size("to", 1..=10_000)?.map(|to| to.value),
        })
    }
}
