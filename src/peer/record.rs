//! What outlives the process: the form in which a store keeps peers and bans.
//!
//! An [`Instant`](std::time::Instant) means nothing to another process, so a record tells times on the wall's clock. A
//! clock that was set wrong does little harm: what a record says is never trusted for longer than the policy itself
//! would have allowed.

use std::fmt;
use std::time::Duration;

use super::backoff::HoldReason;
use super::config::Want;
use crate::address::{IpPrefix, NodeAddress};
use crate::event::Misbehaviour;
use crate::id::NodeId;

/// A reading of the wall's clock: milliseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct WallTime {
    unix_ms: u64,
}

impl WallTime {
    /// A reading from milliseconds since 1970.
    #[must_use]
    pub const fn from_unix_ms(unix_ms: u64) -> Self {
        Self { unix_ms }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn as_unix_ms(self) -> u64 {
        self.unix_ms
    }

    /// The reading `by` later, in whole milliseconds, rounded down.
    pub(super) fn plus(self, by: Duration) -> Self {
        Self { unix_ms: self.unix_ms.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)) }
    }

    /// The reading `by` earlier, rounded down; 1970 at the earliest.
    pub(super) fn minus(self, by: Duration) -> Self {
        let millis = by.as_nanos().div_ceil(1_000_000);
        Self { unix_ms: self.unix_ms.saturating_sub(u64::try_from(millis).unwrap_or(u64::MAX)) }
    }

    /// How long after `earlier` it is; zero if it is not.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.unix_ms.saturating_sub(earlier.unix_ms))
    }
}

/// Where an address came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Source {
    /// The operator named it. It ends the peer's back-off if it is new, gives way to no other source, and counts
    /// towards no limit but that of the store and of its peer.
    Operator,
    /// A discovery protocol or a DNS list found it.
    Discovery,
    /// A peer told us.
    Gossip {
        /// Which one.
        from: NodeId,
    },
}

/// Something that a store keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Record {
    /// A peer.
    Peer(PeerRecord),
    /// A ban.
    Ban(BanRecord),
}

/// Under what a [`Record`] is kept. There is one record for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum RecordKey {
    /// A peer.
    Peer(NodeId),
    /// A ban.
    Ban(BanTarget),
}

impl Record {
    /// What it is kept under.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Peer(record) => RecordKey::Peer(record.id),
            Self::Ban(record) => RecordKey::Ban(record.target),
        }
    }
}

/// An address with its history.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct AddressRecord {
    /// The address.
    pub address: NodeAddress,
    /// Where it came from first, or the operator if that one named it, too.
    pub source: Source,
    /// Dials to it that failed in a row.
    pub failures: u32,
}

/// What is stored of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct PeerRecord {
    /// Who it is.
    pub id: NodeId,
    /// Its addresses, oldest first.
    pub addresses: Vec<AddressRecord>,
    /// Failures in a row.
    pub failures: u32,
    /// Whether it proved to be of another network, or useless to us, when last heard of.
    pub incompatible: bool,
    /// How long it is left alone, if it is.
    pub hold: Option<HoldRecord>,
    /// How it behaved.
    pub standing: StandingRecord,
    /// What it offered, when last met, of what there were quotas for; `None` if it was never met.
    pub offers: Option<Vec<Want>>,
}

impl PeerRecord {
    /// A peer of which nothing is known but an address.
    #[must_use]
    pub fn new(address: NodeAddress, source: Source) -> Self {
        Self {
            id: address.id(),
            addresses: vec![AddressRecord { address, source, failures: 0 }],
            failures: 0,
            incompatible: false,
            hold: None,
            standing: StandingRecord::default(),
            offers: None,
        }
    }
}

/// A [`Hold`](super::Hold) as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct HoldRecord {
    /// When it ends.
    pub until: WallTime,
    /// What it is for.
    pub why: HoldReason,
}

/// How a peer behaved, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct StandingRecord {
    /// What it did wrong.
    pub bad: Option<PointsRecord>,
    /// What it did well.
    pub good: Option<PointsRecord>,
    /// How long it was connected in all, without the present connection. Whole milliseconds.
    pub uptime: Duration,
    /// Its smoothed latency, if it was measured. Whole microseconds.
    pub latency: Option<Duration>,
}

/// Points that are halved as time passes, as they were at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct PointsRecord {
    /// How many.
    pub points: u32,
    /// From when on the time to the next halving counts.
    pub since: WallTime,
}

/// Who is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum BanTarget {
    /// A peer, wherever it is.
    Peer(NodeId),
    /// Everybody in a range of addresses.
    Prefix(IpPrefix),
}

impl fmt::Display for BanTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(id) => write!(f, "{}", id.short()),
            Self::Prefix(prefix) => write!(f, "{prefix}"),
        }
    }
}

/// Why somebody is banned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BanReason {
    /// An operator's words, at most [`MAX_BAN_TEXT_BYTES`](super::MAX_BAN_TEXT_BYTES).
    Operator(Box<str>),
    /// It misbehaved too much; this was the last it did.
    Misbehaved(Misbehaviour),
}

impl fmt::Display for BanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(text) => f.write_str(text),
            Self::Misbehaved(what) => write!(f, "misbehaved: {what}"),
        }
    }
}

/// What is stored of a ban.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct BanRecord {
    /// Who is banned.
    pub target: BanTarget,
    /// Until when; `None` until it is lifted.
    pub until: Option<WallTime>,
    /// Why.
    pub why: BanReason,
}
