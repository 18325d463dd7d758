//! The groups of nodes of a scenario.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::Fault;
use super::limits::{LIMIT_KEYS, Limits};
use super::names::{Census, MAX_NODES};
use super::section::{At, Section, Value, table, text, whole, wrong_kind};
use super::talk::MAX_PADDING_BYTES;
use crate::channel::{ChannelConfig, Share};
use crate::peer::Limit;
use crate::queue::Overflow;
use crate::sim::byzantine::Misdeed;
use crate::sim::node::Node;
use crate::sim::topology::Topology;

const PROPER_KEYS: &[&str] = &[
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
const BYZANTINE_KEYS: &[&str] = &["name", "count", "region", "subnets", "start", "stagger", "byzantine"];

/// Most nodes in a /24: its first and its last address are no node's.
const SUBNET_NODES: usize = 254;

/// Nodes that are alike.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) region: u16,
    /// Where each node is, if the scenario says so.
    pub(super) ips: Vec<Option<IpAddr>>,
    /// When the first starts.
    pub(super) start: Duration,
    /// How long after one the next starts.
    pub(super) stagger: Duration,
    pub(super) conduct: Conduct,
}

/// What the nodes of a group do.
#[derive(Debug, Clone)]
pub(super) enum Conduct {
    Proper(Box<Proper>),
    Byzantine { misdeed: Misdeed, every: Duration, victims: Vec<Node> },
}

/// What proper nodes do.
#[derive(Debug, Clone)]
pub(super) struct Proper {
    pub(super) topology: Option<Topology>,
    /// How many nodes of which group each is told of.
    pub(super) knows: Vec<(usize, usize)>,
    /// How many of which group each dials and holds on to.
    pub(super) ties: Vec<(usize, usize)>,
    pub(super) limits: Limits,
    pub(super) pex: Option<Duration>,
    pub(super) talk: Option<Talking>,
    pub(super) channel: ChannelConfig,
    pub(super) handles_in: Duration,
}

/// What a node says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Talking {
    pub(super) every: Duration,
    pub(super) bytes: usize,
    /// To so many peers; to all if none is said.
    pub(super) to: Option<usize>,
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
    /// The first three bytes of each /24 that a group has.
    pub(super) subnets: BTreeSet<[u8; 3]>,
}

impl Around<'_> {
    /// Reads a group, which is that of a number.
    pub(super) fn read(&mut self, number: usize, table: At<&DeTable<'_>>) -> Result<Group, Fault> {
        let section = open(table)?;
        let count = self.census.nodes_of(number).len();
        let times = Duration::ZERO..=self.duration;
        let start = section.time("start", times.clone())?.map_or(Duration::ZERO, |time| time.value);
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
            region: self.region(section.text("region")?),
            ips: self.ips(&section, count)?,
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

    /// Spreads nodes over subnets.
    fn ips(&mut self, section: &Section<'_>, count: usize) -> Result<Vec<Option<IpAddr>>, Fault> {
        let mut subnets = Vec::new();
        for value in section.list("subnets") {
            let said = text("subnets", value)?;
            let form = || said.fault(format!("{:?} is no subnet, as in \"99.1.0.0/24\"", said.value));
            let subnet: Ipv4Addr =
                said.value.strip_suffix("/24").and_then(|ip| ip.parse().ok()).ok_or_else(form)?;
            let [a, b, c, host] = subnet.octets();
            if host != 0 || matches!(a, 0 | 127 | 224..) {
                return Err(form());
            }
            if a == 60 {
                return Err(said.fault("nodes without subnets are there; take another"));
            }
            if !self.subnets.insert([a, b, c]) {
                return Err(said.fault(format!("{:?} is named twice", said.value)));
            }
            subnets.push([a, b, c]);
        }
        let Some(most) = subnets.len().checked_mul(SUBNET_NODES).filter(|most| *most > 0) else {
            return Ok(vec![None; count]);
        };
        if count > most {
            let why = format!("{} subnets have room for {most} nodes, not for {count}", subnets.len());
            return Err(Fault::new(
                section.value("subnets").map_or(section.at, |value| value.span().start),
                why,
            ));
        }
        let ip = |number: usize| {
            let [a, b, c] = subnets[number % subnets.len()];
            let host = u8::try_from(1 + number / subnets.len()).unwrap_or(u8::MAX);
            Some(IpAddr::V4(Ipv4Addr::new(a, b, c, host)))
        };
        Ok((0..count).map(ip).collect())
    }

    fn byzantine(&self, value: Value<'_>) -> Result<Conduct, Fault> {
        let section =
            table("byzantine", value, "a byzantine node", &["misdeed", "bytes", "every", "victims"])?;
        let words = [
            ("garbage", Misdeed::Garbage),
            ("silence", Misdeed::Silence),
            ("leave", Misdeed::Leave),
            ("mute", Misdeed::Mute),
            ("flood", Misdeed::Flood { bytes: 1_000 }),
        ];
        let mut misdeed = section.must("misdeed", section.one_of("misdeed", &words)?)?;
        if let Some(size) = section.size("bytes", 1..=MAX_PADDING_BYTES)? {
            match &mut misdeed {
                Misdeed::Flood { bytes } => *bytes = size.value,
                _ => return Err(size.fault("only a `flood` has `bytes`")),
            }
        }
        let every = section.time("every", Duration::from_millis(1)..=self.duration)?;
        let victims = self.census.all_of("victims", &section.list("victims"))?;
        Ok(Conduct::Byzantine {
            misdeed,
            every: every.map_or(Duration::from_secs(1), |time| time.value),
            victims,
        })
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
            handles_in: section
                .time("handles_in", Duration::ZERO..=self.duration)?
                .map_or(Duration::ZERO, |time| time.value),
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

/// A word, or a table with the numbers that belong to it.
fn read_topology(value: Value<'_>, count: usize) -> Result<Topology, Fault> {
    let plain = [
        ("line", Topology::Line),
        ("ring", Topology::Ring),
        ("star", Topology::Star),
        ("full", Topology::Full),
    ];
    if let DeValue::String(word) = value.get_ref() {
        return plain.iter().find(|(name, _)| name == word).map(|(_, topology)| *topology).ok_or_else(|| {
            let why = format!(
                "`topology` is {word:?}; it must be one of `line`, `ring`, `star`, `full`, or a table"
            );
            Fault::new(value.span().start, why)
        });
    }
    let section = table("topology", value, "a topology", &["kind", "degree", "clusters", "bridges"])?;
    let is_clustered =
        section.must("kind", section.one_of("kind", &[("regular", false), ("clusters", true)])?)?;
    let degree = section.must("degree", section.size("degree", 2..=1_000)?)?.value;
    let clusters = section.size("clusters", 1..=count)?;
    let bridges = section.size("bridges", 0..=1_000)?;
    match (is_clustered, clusters.or(bridges)) {
        (true, _) => Ok(Topology::Clusters {
            clusters: section.must("clusters", clusters)?.value,
            degree,
            bridges: section.must("bridges", bridges)?.value,
        }),
        (false, None) => Ok(Topology::Regular { degree }),
        (false, Some(number)) => Err(number.fault("only `clusters` have this")),
    }
}

/// The queues of the scenarios' own channel.
fn read_channel(section: &Section<'_>) -> Result<ChannelConfig, Fault> {
    const KEYS: &[&str] = &["outbound", "outbound_overflow", "inbound", "inbound_total", "inbound_overflow"];
    const OVERFLOWS: &[(&str, Overflow)] = &[
        ("wait", Overflow::Wait),
        ("drop_oldest", Overflow::DropOldest),
        ("drop_newest", Overflow::DropNewest),
        ("disconnect", Overflow::Disconnect),
    ];
    let mut config = ChannelConfig::for_messages_of(super::talk::MAX_BYTES);
    let Some(section) = section.table("channel", "a group's `channel`", KEYS)? else { return Ok(config) };
    let shares = [
        ("outbound", &mut config.outbound),
        ("inbound", &mut config.inbound),
        ("inbound_total", &mut config.inbound_total),
    ];
    for (key, Share { messages, .. }) in shares {
        if let Some(most) = section.size(key, 1..=1_000_000)? {
            *messages = most.value;
        }
    }
    for (key, overflow) in [
        ("outbound_overflow", &mut config.outbound_overflow),
        ("inbound_overflow", &mut config.inbound_overflow),
    ] {
        if let Some(said) = section.one_of(key, OVERFLOWS)? {
            *overflow = said;
        }
    }
    Ok(config)
}
