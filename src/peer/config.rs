//! What an operator may decide, and what [`PeerManager::new`](super::PeerManager::new) checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::behaviour::BehaviourConfig;
use crate::address::NodeAddress;
use crate::id::NodeId;

/// Longest duration that a [`Config`] may name: one year. It keeps sums of instants far from overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// An upper bound, or the stated wish to have none. Zero means zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
pub struct BackoffConfig {
    /// Before the first retry. Each further failure doubles it. Default 30 s. Above zero.
    pub min: Duration,
    /// What doubling stops at; the jitter comes on top. Default 1 h, at least `min`.
    pub max: Duration,
    /// The same for persistent peers, which one wants back sooner. Default 3 min, at least `min`.
    pub max_persistent: Duration,
    /// Upper bound of what is added at random, drawn once per failure. Default 10 s.
    pub jitter: Duration,
    /// Least wait after the peer said that it has no room. Default 3 min.
    pub busy: Duration,
    /// Least wait after the peer proved to be of another network, or useless to us. Default 1 h.
    pub incompatible: Duration,
    /// How long a connection must live to clear the failures before it. Default 60 s.
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

/// The policy of a peer manager. Start from [`Config::new`] and change what differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who we are: never stored, dialled or accepted.
    pub self_id: NodeId,
    /// Peers wanted always: dialled first, never forgotten, never evicted for a better one.
    pub persistent: BTreeSet<NodeId>,
    /// Peers admitted beside full pools, and otherwise as persistent ones.
    pub unconditional: BTreeSet<NodeId>,
    /// Peers whose addresses are told to nobody.
    pub private: BTreeSet<NodeId>,
    /// The operator's class of a peer; 0 if absent. It outranks the class that being persistent gives (255).
    pub priorities: BTreeMap<NodeId, u8>,
    /// Outgoing connections, dials in flight included. Default 25.
    pub max_outbound: Limit,
    /// Incoming connections, handshakes in progress included. Default 25.
    pub max_inbound: Limit,
    /// Incoming handshakes in progress at a time. Default 16, at least 1.
    pub max_inbound_handshakes: usize,
    /// Of those, how many may be begun although the inbound pool is full, since an unconditional or a better peer
    /// may be behind them. Default 4.
    pub max_excess_handshakes: usize,
    /// Dials in flight at a time. Default 16, at least 1.
    pub max_dials_in_flight: usize,
    /// Upgrades under way at a time, in each pool: a better peer takes the place of a worse one. Default 1; 0 for
    /// none.
    pub upgrade_slots: usize,
    /// A connection younger than this is never evicted for a better one. Default 10 min.
    pub upgrade_min_age: Duration,
    /// Least time between the beginnings of two upgrades of one pool. Default 3 min.
    pub upgrade_interval: Duration,
    /// How retries are spaced.
    pub backoff: BackoffConfig,
    /// When a peer that misbehaves is evicted.
    pub behaviour: BehaviourConfig,
    /// A peer is not dialled again within this time after its connection ended. Default 35 s.
    pub cooldown: Duration,
    /// After so many failures in a row a peer is forgotten, unless it is persistent or unconditional. Default 5.
    pub forget_after: Limit,
    /// How many peers are stored. Default 10,000; at least as many as the bounded pools may hold.
    pub max_peers: usize,
    /// How many addresses are kept for each peer. Default 4, at least 1.
    pub max_addresses_per_peer: usize,
    /// Our own addresses, told first.
    pub own_addresses: Vec<NodeAddress>,
}

/// Why a [`Config`] is refused. Names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
            priorities: BTreeMap::new(),
            max_outbound: Limit::AtMost(25),
            max_inbound: Limit::AtMost(25),
            max_inbound_handshakes: 16,
            max_excess_handshakes: 4,
            max_dials_in_flight: 16,
            upgrade_slots: 1,
            upgrade_min_age: Duration::from_secs(600),
            upgrade_interval: Duration::from_secs(180),
            backoff: BackoffConfig::default(),
            behaviour: BehaviourConfig::default(),
            cooldown: Duration::from_secs(35),
            forget_after: Limit::AtMost(5),
            max_peers: 10_000,
            max_addresses_per_peer: 4,
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
        self.validate_peers()?;
        self.validate_room()
    }

    /// Whether the operator wants this peer kept, whatever happens.
    pub(super) fn is_protected(&self, peer: &NodeId) -> bool {
        self.persistent.contains(peer) || self.unconditional.contains(peer)
    }

    fn validate_numbers(&self) -> Result<(), ConfigError> {
        let numbers = [
            ("max_inbound_handshakes", self.max_inbound_handshakes),
            ("max_dials_in_flight", self.max_dials_in_flight),
            ("max_peers", self.max_peers),
            ("max_addresses_per_peer", self.max_addresses_per_peer),
        ];
        if let Some((field, _)) = numbers.into_iter().find(|(_, number)| *number == 0) {
            return Err(ConfigError::Zero { field });
        }
        if self.forget_after == Limit::AtMost(0) {
            return Err(ConfigError::Zero { field: "forget_after" });
        }
        if self.backoff.min.is_zero() {
            return Err(ConfigError::Zero { field: "backoff.min" });
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
        Ok(())
    }

    fn validate_peers(&self) -> Result<(), ConfigError> {
        let sets = [
            ("persistent", self.persistent.contains(&self.self_id)),
            ("unconditional", self.unconditional.contains(&self.self_id)),
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
            .saturating_add(self.unconditional.len());
        if self.max_peers < needed {
            return Err(ConfigError::StoreTooSmall { max_peers: self.max_peers, needed });
        }
        Ok(())
    }
}
