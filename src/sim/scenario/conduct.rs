//! What the nodes of a scenario do.

use std::time::Duration;

use toml::de::DeValue;

use super::error::Fault;
use super::limits::Limits;
use super::section::{Section, Value, table};
use super::talk::{MAX_BYTES, MAX_PADDING_BYTES};
use crate::channel::{ChannelConfig, Share};
use crate::queue::Overflow;
use crate::reactor::pex::MAX_TOLD;
use crate::sim::byzantine::Misdeed;
use crate::sim::lies::Lie;
use crate::sim::node::Node;
use crate::sim::topology::Topology;

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

/// What a byzantine node does, with the keys that belong to it.
pub(super) fn read_misdeed(section: &Section<'_>) -> Result<Misdeed, Fault> {
    const LIES: &[(&str, Lie)] = &[
        ("accomplices", Lie::Accomplices),
        ("phantoms", Lie::Phantoms),
        ("impostors", Lie::Impostors),
        ("swaps", Lie::Swaps),
    ];
    let bytes = section.size("bytes", 1..=MAX_PADDING_BYTES)?;
    let tells = section.one_of("tells", LIES)?;
    let addresses = section.size("addresses", 1..=1_000)?;
    let flood = Misdeed::Flood { bytes: bytes.map_or(1_000, |bytes| bytes.value) };
    let lie = Misdeed::Lie {
        what: tells.unwrap_or(Lie::Accomplices),
        addresses: addresses.map_or(MAX_TOLD, |addresses| addresses.value),
    };
    let words = [
        ("garbage", Misdeed::Garbage),
        ("silence", Misdeed::Silence),
        ("leave", Misdeed::Leave),
        ("mute", Misdeed::Mute),
        ("flood", flood),
        ("lie", lie),
    ];
    let misdeed = section.must("misdeed", section.one_of("misdeed", &words)?)?;
    let owners = [("bytes", "flood", flood), ("tells", "lie", lie), ("addresses", "lie", lie)];
    for (key, word, owner) in owners {
        if let Some(value) = section.value(key).filter(|_| misdeed != owner) {
            return Err(Fault::new(value.span().start, format!("only a `{word}` has `{key}`")));
        }
    }
    Ok(misdeed)
}

/// A word, or a table with the numbers that belong to it.
pub(super) fn read_topology(value: Value<'_>, count: usize) -> Result<Topology, Fault> {
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
pub(super) fn read_channel(section: &Section<'_>) -> Result<ChannelConfig, Fault> {
    const KEYS: &[&str] = &["outbound", "outbound_overflow", "inbound", "inbound_total", "inbound_overflow"];
    const OVERFLOWS: &[(&str, Overflow)] = &[
        ("wait", Overflow::Wait),
        ("drop_oldest", Overflow::DropOldest),
        ("drop_newest", Overflow::DropNewest),
        ("disconnect", Overflow::Disconnect),
    ];
    let mut config = ChannelConfig::for_messages_of(MAX_BYTES);
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
