//! What an operator may decide, and what [`PeerManager::new`](super::PeerManager::new) checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::behaviour::BehaviourConfig;
use super::state::Introduction;
use crate::address::NodeAddress;
use crate::id::{ChannelId, NodeId};

/// Longest duration that a [`Config`] may name: one year. It keeps sums of instants far from overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// An upper bound, or the stated wish to have none. Zero means zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Limit {
    /// No bound.
    Unlimited,
    /// At most so many.
    AtMost(usize),
}

impl Limit {
    /// Whether `count` is still below the bound.
    #[must_use]
    pub fn is_above(self, count: usize) -> bool {
        match self {
            Self::Unlimited => true,
            Self::AtMost(limit) => count < limit,
        }
    }

    /// The number, if there is one.
    #[must_use]
    pub fn number(self) -> Option<usize> {
        match self {
            Self::Unlimited => None,
            Self::AtMost(limit) => Some(limit),
        }
    }

    fn sum(self, other: Self) -> Self {
        match (self, other) {
            (Self::AtMost(one), Self::AtMost(two)) => Self::AtMost(one.saturating_add(two)),
            _ => Self::Unlimited,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::AtMost(limit) => write!(f, "{limit}"),
        }
    }
}

/// How long a peer is left alone after it could not be reached, or did not stay.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct BackoffConfig {
    /// Before the first retry. Each further failure doubles it. Default 30 s: a node that restarts is back by then.
    /// Above zero.
    pub min: Duration,
    /// What doubling stops at; the jitter comes on top. Default 1 h: who was away for a day is found again within the
    /// hour. At least `min`.
    pub max: Duration,
    /// The same for peers that are [protected](Config::is_protected), and also for what `busy` asks of them. Default
    /// 3 min: one wants them back soon. At least `min`.
    pub max_persistent: Duration,
    /// Upper bound of what is added at random, drawn once per failure. Default 10 s, a third of `min`: peers that lost
    /// one node together do not all come back to it together.
    pub jitter: Duration,
    /// Least wait after the peer said that it has no room. Default 3 min, in which a place may have come free.
    pub busy: Duration,
    /// Least wait after the peer proved to be of another network, or useless to us. Default 1 h: only a new program
    /// or configuration at one end can change that.
    pub incompatible: Duration,
    /// How long a connection must live to clear the failures before it. Default 60 s: whoever accepts, and closes at
    /// once, stays under back-off.
    pub survival: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            min: Duration::from_secs(30),
            max: Duration::from_secs(3600),
            max_persistent: Duration::from_secs(180),
            jitter: Duration::from_secs(10),
            busy: Duration::from_secs(180),
            incompatible: Duration::from_secs(3600),
            survival: Duration::from_secs(60),
        }
    }
}

/// Peers that are asked for addresses and let go.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct SeedConfig {
    /// Peers to ask for addresses. Dialled only when nobody else can be dialled, never forgotten, let go again.
    pub peers: BTreeSet<NodeId>,
    /// How long a seed that we dialled is kept once it is up. Default 30 s: time for a few questions.
    pub stay: Duration,
    /// How long a seed that was let go is left alone. Default 10 min: seeds serve everybody.
    pub rest: Duration,
    /// Whether this node is a seed itself: then every connection, in either direction, ends after so long, unless its
    /// peer is protected. Default `None`: most nodes want to keep their peers. Above zero.
    pub mode: Option<Duration>,
}

impl Default for SeedConfig {
    fn default() -> Self {
        Self {
            peers: BTreeSet::new(),
            stay: Duration::from_secs(30),
            rest: Duration::from_secs(600),
            mode: None,
        }
    }
}

/// Limits for each group of addresses that one party may own: /24 of IP version 4, /64 of version 6.
///
/// Only literal public addresses belong to a group, unless [`private_too`](Self::private_too).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct GroupConfig {
    /// Outgoing connections and dials. Default 2: whoever rents a /24 gets no more than that of our choice.
    pub max_outbound: Limit,
    /// Incoming connections and handshakes. Default 10: an office or a campus behind one address.
    pub max_inbound: Limit,
    /// Addresses stored. Default 64: enough to find a live one, too few to fill the store from one network.
    pub max_stored: Limit,
    /// Handshakes begun in one window: each costs us public-key cryptography. Default 30.
    pub max_handshakes: Limit,
    /// The window for that, counted from the first of them. Default 1 min. Above zero.
    pub window: Duration,
    /// Whether addresses of private networks and of this machine are grouped as well. Default no: there one group is
    /// often the whole network.
    pub private_too: bool,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            max_outbound: Limit::AtMost(2),
            max_inbound: Limit::AtMost(10),
            max_stored: Limit::AtMost(64),
            max_handshakes: Limit::AtMost(30),
            window: Duration::from_secs(60),
            private_too: false,
        }
    }
}

/// How many connected peers there should be that offer something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Quota {
    /// What they offer.
    pub wants: Want,
    /// How many, at least 1. While fewer are connected, peers known to offer it are dialled first and may take the place
    /// of others; while no more are, none of them gives way to anybody.
    pub at_least: usize,
}

/// Something that a peer may offer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Want {
    /// A capability of this name, in any version.
    Capability(ChannelId),
    /// A service of this name.
    Service(String),
}

impl Want {
    /// Whether a peer that introduced itself so offers it.
    #[must_use]
    pub fn is_met_by(&self, introduction: &Introduction) -> bool {
        match self {
            Self::Capability(name) => introduction.capabilities.iter().any(|offered| offered.name == *name),
            Self::Service(name) => introduction.services.iter().any(|offered| offered == name),
        }
    }
}

/// As `capability snap` or `service archive`.
impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capability(name) => write!(f, "capability {name}"),
            Self::Service(name) => write!(f, "service {name}"),
        }
    }
}

/// Most [quotas](Config::quotas).
pub const MAX_QUOTAS: usize = 16;

/// The policy of a peer manager. Start from [`Config::new`] and change what differs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Config {
    /// Who we are: never stored, dialled or accepted.
    pub self_id: NodeId,
    /// Peers wanted always: dialled first, never forgotten, never evicted for a better one.
    pub persistent: BTreeSet<NodeId>,
    /// Peers admitted beside full pools, and otherwise as persistent ones.
    pub unconditional: BTreeSet<NodeId>,
    /// Peers whose addresses are told to nobody.
    pub private: BTreeSet<NodeId>,
    /// Peers whose misbehaviour is counted only up to [`BehaviourConfig::trusted_cap`], so that it never ends their
    /// connection: a fault of our own judgement must not cut us off from them.
    pub trusted: BTreeSet<NodeId>,
    /// Peers that are asked for addresses, and whether this node is one.
    pub seeds: SeedConfig,
    /// The operator's class of a peer; 0 if absent. It outranks the class that being persistent gives (255).
    pub priorities: BTreeMap<NodeId, u8>,
    /// Outgoing connections, dials in flight included. Default 25: enough that no few neighbours decide what we hear,
    /// and a broadcast still is cheap.
    pub max_outbound: Limit,
    /// Incoming connections, handshakes in progress included. Default 25: we give others as many places as we take.
    pub max_inbound: Limit,
    /// Incoming handshakes in progress at a time. Default 16: each may cost us public-key cryptography, whoever begins
    /// it. At least 1.
    pub max_inbound_handshakes: usize,
    /// Of those, how many may be begun although the inbound pool is full, since an unconditional or a better peer
    /// may be behind them. Default 4: strangers at a full node cost little. At most `max_inbound_handshakes`.
    pub max_excess_handshakes: usize,
    /// Dials in flight at a time. Default 16: a new node fills its pool soon though most addresses are dead. At
    /// least 1.
    pub max_dials_in_flight: usize,
    /// Upgrades under way at a time, in each pool: a better peer takes the place of a worse one. Default 1: a pool
    /// changes slowly. 0 for none.
    pub upgrade_slots: usize,
    /// A connection younger than this is never evicted for a better one. Default 10 min: nobody can show what it is
    /// worth in less, and `uptime_levels` begin there.
    pub upgrade_min_age: Duration,
    /// Least time between the beginnings of two upgrades of one pool. Default 3 min: at most 20 of them an hour,
    /// however many better peers call.
    pub upgrade_interval: Duration,
    /// By how many grades a peer must be better to take the place of another of its class. Default 2, at least 1: one
    /// grade is noise.
    pub upgrade_margin: u8,
    /// When the outbound pool is full, one place in it goes to another peer so often, whatever the grades. Default 1 h:
    /// newcomers get in and no clique closes itself, at the price of one connection an hour. `None` for never; above
    /// zero.
    pub rotate_every: Option<Duration>,
    /// When the inbound pool is full, a connection of this age gives way to a newcomer, whatever the grades. Default
    /// 6 h: slots do not belong for ever to whoever came first. `None` for never; at least `upgrade_min_age`.
    pub inbound_max_age: Option<Duration>,
    /// Limits for each /24 or /64.
    pub groups: GroupConfig,
    /// What connected peers should offer. At most [`MAX_QUOTAS`]. Default none: only the reactors know what they need.
    pub quotas: Vec<Quota>,
    /// How retries are spaced.
    pub backoff: BackoffConfig,
    /// When a peer that misbehaves is evicted.
    pub behaviour: BehaviourConfig,
    /// A peer is not dialled again within this time after its connection ended. Default 35 s: some
    /// Ethereum clients refuse an address that called within the last 30 s.
    pub cooldown: Duration,
    /// After so many failures in a row a peer is forgotten, unless it is [kept](Config::is_kept), of another network, or has
    /// just said that it has too many peers. Default 5: by the default back-off it could not be reached for more than seven
    /// minutes then. Nobody is forgotten so while nobody is connected, lest an outage of our own network empty the store.
    /// At least 1.
    pub forget_after: Limit,
    /// How many peers are stored. Default 10,000: enough to find somebody again after a long absence, in a few
    /// megabytes. At least as many as the bounded pools may hold and the operator names.
    pub max_peers: usize,
    /// How many addresses are kept for each peer. Default 4: IP versions 4 and 6, before and after a move. At least 1.
    pub max_addresses_per_peer: usize,
    /// How many addresses are kept that one peer has told us. Default 256, of 10,000: nobody fills the store alone.
    pub max_addresses_per_source: Limit,
    /// How many bans are kept. Default 10,000: as many as there are peers to ban. At least 1. A full table gives up
    /// the automatic ban that ends first for a new one; where there is none, it refuses the operator's.
    pub max_bans: usize,
    /// Our own addresses, told first.
    pub own_addresses: Vec<NodeAddress>,
}

/// Why a [`Config`] is refused. Names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ConfigError {
    /// A number must not be zero.
    #[error("`{field}` must be at least 1")]
    Zero {
        /// The field.
        field: &'static str,
    },
    /// A duration exceeds [`MAX_DURATION`].
    #[error("`{field}` must not exceed one year")]
    TooLong {
        /// The field.
        field: &'static str,
    },
    /// One field must not be below another.
    #[error("`{field}` must not be below `{than}`")]
    Below {
        /// The field that is too small.
        field: &'static str,
        /// What it is compared with.
        than: &'static str,
    },
    /// A number exceeds what is possible.
    #[error("`{field}` must not exceed {limit}")]
    Above {
        /// The field.
        field: &'static str,
        /// The greatest.
        limit: usize,
    },
    /// Levels must rise from one to the next, or fall where less is better.
    #[error("`{field}` must be in order, from the easiest to reach to the hardest, each different")]
    Unordered {
        /// The field.
        field: &'static str,
    },
    /// Two quotas want the same.
    #[error("`quotas` names {wants} twice")]
    QuotaTwice {
        /// What they want.
        wants: Want,
    },
    /// More persistent peers than outgoing connections.
    #[error("`persistent` names {persistent} peers that need a slot; `max_outbound` is {max_outbound}")]
    TooManyPersistent {
        /// Persistent peers that are not unconditional.
        persistent: usize,
        /// The limit.
        max_outbound: usize,
    },
    /// The store cannot hold what the pools may.
    #[error("`max_peers` is {max_peers}; the pools and operator's peers need {needed}")]
    StoreTooSmall {
        /// The bound given.
        max_peers: usize,
        /// The least that would do.
        needed: usize,
    },
    /// A set of peers names this node itself.
    #[error("`{field}` names this node itself")]
    NamesSelf {
        /// The field.
        field: &'static str,
    },
    /// An own address carries another identity.
    #[error("`own_addresses` holds the address of another node: {address}")]
    ForeignAddress {
        /// The address.
        address: NodeAddress,
    },
}

impl Config {
    /// The defaults, with their reasons beside each field, for the node `self_id`.
    #[must_use]
    pub fn new(self_id: NodeId) -> Self {
        Self {
            self_id,
            persistent: BTreeSet::new(),
            unconditional: BTreeSet::new(),
            private: BTreeSet::new(),
            trusted: BTreeSet::new(),
            seeds: SeedConfig::default(),
            priorities: BTreeMap::new(),
            max_outbound: Limit::AtMost(25),
            max_inbound: Limit::AtMost(25),
            max_inbound_handshakes: 16,
            max_excess_handshakes: 4,
            max_dials_in_flight: 16,
            upgrade_slots: 1,
            upgrade_min_age: Duration::from_secs(600),
            upgrade_interval: Duration::from_secs(180),
            upgrade_margin: 2,
            rotate_every: Some(Duration::from_secs(3600)),
            inbound_max_age: Some(Duration::from_secs(6 * 3600)),
            groups: GroupConfig::default(),
            quotas: Vec::new(),
            backoff: BackoffConfig::default(),
            behaviour: BehaviourConfig::default(),
            cooldown: Duration::from_secs(35),
            forget_after: Limit::AtMost(5),
            max_peers: 10_000,
            max_addresses_per_peer: 4,
            max_addresses_per_source: Limit::AtMost(256),
            max_bans: 10_000,
            own_addresses: Vec::new(),
        }
    }

    /// Checks that the fields fit each other.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first field that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_numbers()?;
        self.validate_durations()?;
        self.behaviour.validate()?;
        self.validate_quotas()?;
        self.validate_peers()?;
        self.validate_room()
    }

    /// Whether no other peer may take this one's place.
    #[must_use]
    pub fn is_protected(&self, peer: &NodeId) -> bool {
        self.persistent.contains(peer) || self.unconditional.contains(peer)
    }

    /// Whether a peer is dialled for its addresses only. One that is wanted for itself is an ordinary peer.
    #[must_use]
    pub fn is_seed(&self, peer: &NodeId) -> bool {
        self.seeds.peers.contains(peer) && !self.is_protected(peer)
    }

    /// Whether a peer is never forgotten.
    #[must_use]
    pub fn is_kept(&self, peer: &NodeId) -> bool {
        self.is_protected(peer) || self.seeds.peers.contains(peer)
    }

    fn validate_numbers(&self) -> Result<(), ConfigError> {
        let numbers = [
            ("max_inbound_handshakes", self.max_inbound_handshakes),
            ("max_dials_in_flight", self.max_dials_in_flight),
            ("max_peers", self.max_peers),
            ("max_addresses_per_peer", self.max_addresses_per_peer),
            ("max_bans", self.max_bans),
            ("upgrade_margin", usize::from(self.upgrade_margin)),
        ];
        if let Some((field, _)) = numbers.into_iter().find(|(_, number)| *number == 0) {
            return Err(ConfigError::Zero { field });
        }
        if self.forget_after == Limit::AtMost(0) {
            return Err(ConfigError::Zero { field: "forget_after" });
        }
        let durations = [
            ("backoff.min", Some(self.backoff.min)),
            ("groups.window", Some(self.groups.window)),
            ("seeds.mode", self.seeds.mode),
            ("rotate_every", self.rotate_every),
        ];
        if let Some((field, _)) = durations.into_iter().find(|(_, length)| *length == Some(Duration::ZERO)) {
            return Err(ConfigError::Zero { field });
        }
        if self.max_inbound_handshakes < self.max_excess_handshakes {
            return Err(ConfigError::Below {
                field: "max_inbound_handshakes",
                than: "max_excess_handshakes",
            });
        }
        Ok(())
    }

    fn validate_durations(&self) -> Result<(), ConfigError> {
        let backoff = &self.backoff;
        let durations = [
            ("backoff.min", backoff.min),
            ("backoff.max", backoff.max),
            ("backoff.max_persistent", backoff.max_persistent),
            ("backoff.jitter", backoff.jitter),
            ("backoff.busy", backoff.busy),
            ("backoff.incompatible", backoff.incompatible),
            ("backoff.survival", backoff.survival),
            ("upgrade_min_age", self.upgrade_min_age),
            ("upgrade_interval", self.upgrade_interval),
            ("cooldown", self.cooldown),
            ("seeds.stay", self.seeds.stay),
            ("seeds.rest", self.seeds.rest),
            ("seeds.mode", self.seeds.mode.unwrap_or_default()),
            ("rotate_every", self.rotate_every.unwrap_or_default()),
            ("inbound_max_age", self.inbound_max_age.unwrap_or_default()),
            ("groups.window", self.groups.window),
        ];
        if let Some((field, _)) = durations.into_iter().find(|(_, length)| *length > MAX_DURATION) {
            return Err(ConfigError::TooLong { field });
        }
        if backoff.max < backoff.min {
            return Err(ConfigError::Below { field: "backoff.max", than: "backoff.min" });
        }
        if backoff.max_persistent < backoff.min {
            return Err(ConfigError::Below { field: "backoff.max_persistent", than: "backoff.min" });
        }
        if self.inbound_max_age.is_some_and(|age| age < self.upgrade_min_age) {
            return Err(ConfigError::Below { field: "inbound_max_age", than: "upgrade_min_age" });
        }
        Ok(())
    }

    fn validate_quotas(&self) -> Result<(), ConfigError> {
        if self.quotas.len() > MAX_QUOTAS {
            return Err(ConfigError::Above { field: "quotas", limit: MAX_QUOTAS });
        }
        for (position, quota) in self.quotas.iter().enumerate() {
            if quota.at_least == 0 {
                return Err(ConfigError::Zero { field: "quotas.at_least" });
            }
            if self.quotas.iter().take(position).any(|other| other.wants == quota.wants) {
                return Err(ConfigError::QuotaTwice { wants: quota.wants.clone() });
            }
        }
        let pools = self.max_outbound.sum(self.max_inbound);
        match self.quotas.iter().map(|quota| quota.at_least).max() {
            Some(most) if !pools.is_above(most.saturating_sub(1)) => {
                Err(ConfigError::Below { field: "max_outbound + max_inbound", than: "quotas.at_least" })
            }
            _ => Ok(()),
        }
    }

    fn validate_peers(&self) -> Result<(), ConfigError> {
        let sets = [
            ("persistent", self.persistent.contains(&self.self_id)),
            ("unconditional", self.unconditional.contains(&self.self_id)),
            ("trusted", self.trusted.contains(&self.self_id)),
            ("private", self.private.contains(&self.self_id)),
            ("seeds.peers", self.seeds.peers.contains(&self.self_id)),
            ("priorities", self.priorities.contains_key(&self.self_id)),
        ];
        if let Some((field, _)) = sets.into_iter().find(|(_, names_self)| *names_self) {
            return Err(ConfigError::NamesSelf { field });
        }
        match self.own_addresses.iter().find(|address| address.id() != self.self_id) {
            Some(address) => Err(ConfigError::ForeignAddress { address: address.clone() }),
            None => Ok(()),
        }
    }

    fn validate_room(&self) -> Result<(), ConfigError> {
        let persistent = self.persistent.difference(&self.unconditional).count();
        if let Limit::AtMost(max_outbound) = self.max_outbound
            && persistent > max_outbound
        {
            return Err(ConfigError::TooManyPersistent { persistent, max_outbound });
        }
        let pool = |limit| match limit {
            Limit::Unlimited => 0,
            Limit::AtMost(limit) => limit.saturating_add(self.upgrade_slots),
        };
        let needed = pool(self.max_outbound)
            .saturating_add(pool(self.max_inbound))
            .max(persistent)
            .saturating_add(self.unconditional.len())
            .saturating_add(self.seeds.peers.len());
        if self.max_peers < needed {
            return Err(ConfigError::StoreTooSmall { max_peers: self.max_peers, needed });
        }
        Ok(())
    }
}
