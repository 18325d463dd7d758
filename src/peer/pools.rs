//! Slots: which pool a connection or a dial occupies, and whether there is room.
//!
//! The law of a pool: `used <= limit + upgrades <= limit + upgrade_slots`, unless the limit was lowered since. A dial in
//! flight and a handshake that was let in count as used. An upgrade is in use from the moment that a newcomer claims a
//! victim until the victim is gone.

use super::state::EvictReason;
use super::{Config, Limit};

/// A pool with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PoolName {
    Outbound,
    Inbound,
}

/// What something occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Limited(PoolName),
    Unconditional,
}

impl Slot {
    pub(super) fn pool(self) -> Option<PoolName> {
        match self {
            Self::Limited(pool) => Some(pool),
            Self::Unconditional => None,
        }
    }
}

/// On which ground a newcomer has a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ground {
    /// The operator wants it unconditionally.
    Unconditional,
    /// A slot was free.
    Free,
    /// It is better than whoever goes.
    Upgrade,
    /// It offers what this quota is short of.
    Quota(usize),
    /// One place is given anew from time to time.
    Rotation,
    /// Whoever goes has been here for long.
    Age,
}

impl Ground {
    /// Why the one whose place is taken is evicted.
    pub(super) fn evicts(self) -> EvictReason {
        match self {
            Self::Quota(_) => EvictReason::Quota,
            Self::Rotation => EvictReason::Rotation,
            Self::Age => EvictReason::Age,
            Self::Upgrade | Self::Free | Self::Unconditional => EvictReason::Upgrade,
        }
    }
}

/// What is in use of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pool {
    pub(super) used: usize,
    pub(super) upgrades: usize,
}

impl Pool {
    /// Whether one more fits without an upgrade.
    pub(super) fn has_room(self, limit: Limit) -> bool {
        limit.is_above(self.settled())
    }

    /// Slots in use, places that are being taken over counted once.
    pub(super) fn settled(self) -> usize {
        self.used.saturating_sub(self.upgrades)
    }

    /// Whether more is in use than the limit allows, as after it was lowered.
    pub(super) fn is_over(self, limit: Limit) -> bool {
        limit.number().is_some_and(|limit| self.settled() > limit)
    }
}

/// Everything that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    pub(super) outbound: Pool,
    pub(super) inbound: Pool,
    pub(super) unconditional: usize,
    pub(super) dials: usize,
    pub(super) live: usize,
    /// Handshakes in progress of incoming connections.
    pub(super) handshakes: usize,
    /// Of those, the ones begun without a slot.
    pub(super) excess: usize,
}

impl Usage {
    pub(super) fn pool(&self, name: PoolName) -> Pool {
        match name {
            PoolName::Outbound => self.outbound,
            PoolName::Inbound => self.inbound,
        }
    }

    pub(super) fn pool_mut(&mut self, name: PoolName) -> &mut Pool {
        match name {
            PoolName::Outbound => &mut self.outbound,
            PoolName::Inbound => &mut self.inbound,
        }
    }

    pub(super) fn occupy(&mut self, slot: Slot) {
        match slot {
            Slot::Limited(pool) => self.pool_mut(pool).used += 1,
            Slot::Unconditional => self.unconditional += 1,
        }
    }

    /// Adds what `other` counts.
    pub(super) fn add(&mut self, other: &Self) {
        self.zip(other, usize::saturating_add);
    }

    /// Takes away what `other` counts.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.zip(other, usize::saturating_sub);
    }

    fn zip(&mut self, other: &Self, combine: impl Fn(usize, usize) -> usize) {
        let pairs = [
            (&mut self.outbound.used, other.outbound.used),
            (&mut self.outbound.upgrades, other.outbound.upgrades),
            (&mut self.inbound.used, other.inbound.used),
            (&mut self.inbound.upgrades, other.inbound.upgrades),
            (&mut self.unconditional, other.unconditional),
            (&mut self.dials, other.dials),
            (&mut self.live, other.live),
            (&mut self.handshakes, other.handshakes),
            (&mut self.excess, other.excess),
        ];
        for (mine, theirs) in pairs {
            *mine = combine(*mine, theirs);
        }
    }
}

impl Config {
    pub(super) fn limit(&self, pool: PoolName) -> Limit {
        match pool {
            PoolName::Outbound => self.max_outbound,
            PoolName::Inbound => self.max_inbound,
        }
    }
}
