//! Who goes first: operator's class, then behaviour, then an order of this node's own.
//!
//! The last part is a keyed hash of the identity. Every node draws another order, so a network does not
//! collapse into a clique around whoever behaves best, and nobody can choose an identity that all nodes prefer.
//! Only class and behaviour justify an eviction: the drawn order never does, or connections would churn.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::Config;
use crate::id::NodeId;

/// The operator's class. The greater goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// From 0; 255 for persistent peers to which the operator gave no other.
    Given(u8),
    Unconditional,
}

/// What may justify an eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Merit {
    pub(super) class: Class,
    /// Behaviour, coarse enough that noise does not change it.
    pub(super) grade: i8,
}

impl Merit {
    /// That of nearly everybody: the operator says nothing of it, and nothing is known of it.
    pub(super) const ORDINARY: Self = Self { class: Class::Given(0), grade: 0 };

    /// Below that of everybody: what a peer is worth to the store that nobody can dial.
    pub(super) const UNREACHABLE: Self = Self { class: Class::Given(0), grade: i8::MIN };

    /// Whether somebody of this merit may take the place of somebody of that.
    pub(super) fn outranks(self, other: Self, margin: u8) -> bool {
        let ahead = i16::from(self.grade) - i16::from(other.grade);
        self.class > other.class || (self.class == other.class && ahead >= i16::from(margin))
    }
}

/// A total order of peers but for hash collisions, which their keys then break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) merit: Merit,
    pub(super) order: u64,
}

impl Class {
    pub(super) fn of(peer: &NodeId, config: &Config) -> Self {
        if config.unconditional.contains(peer) {
            Self::Unconditional
        } else if let Some(given) = config.priorities.get(peer) {
            Self::Given(*given)
        } else if config.persistent.contains(peer) {
            Self::Given(u8::MAX)
        } else {
            Self::Given(0)
        }
    }
}

/// A peer's place in the order that this node draws.
pub(super) fn order_of(peer: &NodeId, seed: u64) -> u64 {
    draw(seed, "order", peer, 0)
}

/// Draws 64 bits for one use. Streams are apart, so that a new draw in one place shifts nothing elsewhere.
///
/// SipHash, keyed by the seed: nobody who does not know that can choose an identity for what it draws, and it is quick
/// enough to look peers up by.
pub(super) fn draw(seed: u64, purpose: &'static str, peer: &NodeId, count: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed, count);
    hasher.write(purpose.as_bytes());
    hasher.write(peer.as_bytes());
    hasher.finish()
}
