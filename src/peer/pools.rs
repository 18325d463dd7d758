//! Slots: which pool a connection or a dial occupies, and whether there is room.
//!
//! The law of a pool: `used <= limit + upgrades <= limit + upgrade_slots`. A dial in flight and a handshake
//! that was let in count as used. An upgrade is in use from the moment that a newcomer claims a victim until
//! the victim is gone.

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

/// What is in use of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pool {
    pub(super) used: usize,
    pub(super) upgrades: usize,
}

impl Pool {
    /// Whether one more fits without an upgrade.
    pub(super) fn has_room(self, limit: Limit) -> bool {
        limit.is_above(self.used.saturating_sub(self.upgrades))
    }

    /// Whether a newcomer that holds an upgrade, and is counted, would fit without it.
    pub(super) fn fits_without_upgrade(self, limit: Limit) -> bool {
        match limit {
            Limit::Unlimited => true,
            Limit::AtMost(limit) => self.used < limit.saturating_add(self.upgrades),
        }
    }

    /// Whether the law holds.
    pub(super) fn is_lawful(self, limit: Limit, upgrade_slots: usize) -> bool {
        let within = match limit {
            Limit::Unlimited => true,
            Limit::AtMost(limit) => self.used <= limit.saturating_add(self.upgrades),
        };
        within && self.upgrades <= upgrade_slots
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
