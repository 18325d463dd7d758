//! What an operator may change of a running manager.

use super::config::{Config, Limit};
use crate::id::NodeId;

/// A change of the configuration in force. What follows from it, follows from the state: see
/// [`PeerManager::reconfigure`](super::PeerManager::reconfigure).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Change {
    /// [`Config::max_outbound`].
    MaxOutbound(Limit),
    /// [`Config::max_inbound`].
    MaxInbound(Limit),
    /// [`Config::upgrade_slots`].
    UpgradeSlots(usize),
    /// Who belongs to a set of peers.
    Member {
        /// Which set.
        set: PeerSet,
        /// The peer.
        peer: NodeId,
        /// Whether it belongs to the set from now on.
        member: bool,
    },
    /// [`Config::priorities`]: the class of a peer; `None` to take it away.
    Priority {
        /// The peer.
        peer: NodeId,
        /// Its class.
        class: Option<u8>,
    },
}

/// A set of peers in a [`Config`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum PeerSet {
    /// [`Config::persistent`].
    Persistent,
    /// [`Config::unconditional`].
    Unconditional,
    /// [`Config::private`].
    Private,
    /// [`Config::trusted`].
    Trusted,
    /// [`SeedConfig::peers`](super::SeedConfig::peers) of [`Config::seeds`].
    Seeds,
}

impl Change {
    /// Carries the change out on a configuration. Answers whether anything is different then. Does not validate.
    pub fn apply_to(&self, config: &mut Config) -> bool {
        match self {
            Self::MaxOutbound(limit) => replace(&mut config.max_outbound, *limit),
            Self::MaxInbound(limit) => replace(&mut config.max_inbound, *limit),
            Self::UpgradeSlots(slots) => replace(&mut config.upgrade_slots, *slots),
            Self::Priority { peer, class: Some(class) } => {
                config.priorities.insert(*peer, *class) != Some(*class)
            }
            Self::Priority { peer, class: None } => config.priorities.remove(peer).is_some(),
            Self::Member { set, peer, member } => {
                let peers = match set {
                    PeerSet::Persistent => &mut config.persistent,
                    PeerSet::Unconditional => &mut config.unconditional,
                    PeerSet::Private => &mut config.private,
                    PeerSet::Trusted => &mut config.trusted,
                    PeerSet::Seeds => &mut config.seeds.peers,
                };
                if *member { peers.insert(*peer) } else { peers.remove(peer) }
            }
        }
    }

    /// The peer it is about, if it is about one.
    #[must_use]
    pub fn peer(&self) -> Option<NodeId> {
        match self {
            Self::Member { peer, .. } | Self::Priority { peer, .. } => Some(*peer),
            Self::MaxOutbound(_) | Self::MaxInbound(_) | Self::UpgradeSlots(_) => None,
        }
    }
}

fn replace<T: PartialEq>(place: &mut T, value: T) -> bool {
    let differs = *place != value;
    *place = value;
    differs
}
