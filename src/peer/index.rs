//! Everything derived from the peers: ordered sets and counts, changed in one place.
//!
//! [`Keys::of`] says under which keys a peer stands, as a function of its state alone. A change of a peer goes
//! through [`Index::change`], which moves exactly the keys that differ: O(log n). So the whole index can be
//! recomputed from scratch, and `check_invariants` does.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Instant;

use super::order::{Merit, Rank};
use super::pools::{PoolName, Usage};
use super::state::{Live, Peer, State};
use crate::id::{ConnId, NodeId};

/// Worst first: what the store gives up when it is full.
pub(super) type PruneKey = (Merit, Reverse<u32>, u64, NodeId);
/// Best class first, then the drawn order. `None` sorts before every peer, so that a range can begin anywhere.
pub(super) type ToldKey = (Reverse<Merit>, u64, Option<NodeId>);

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Index {
    pub(super) usage: Usage,
    /// Idle peers with an address, under hold, by its end.
    pub(super) held: BTreeSet<(Instant, NodeId)>,
    /// Idle peers with an address and without a hold; the best is last.
    pub(super) due: BTreeSet<(Rank, NodeId)>,
    /// Idle peers that the store may drop.
    pub(super) prunable: BTreeSet<PruneKey>,
    /// Peers whose addresses may be told.
    pub(super) told: BTreeSet<ToldKey>,
    /// Connections that an upgrade may evict, now or later, by pool.
    pub(super) outbound: Candidates,
    pub(super) inbound: Candidates,
    /// Evictions not dispensed yet.
    pub(super) evictions: BTreeSet<ConnId>,
}

/// The connections of one pool that an upgrade may evict.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Candidates {
    /// Those that are too young, by the end of their youth.
    pub(super) young: BTreeSet<(Instant, NodeId)>,
    /// The others; the worst is first.
    pub(super) victims: BTreeSet<(Rank, NodeId)>,
}

/// The keys of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Keys {
    usage: Usage,
    held: Option<(Instant, NodeId)>,
    due: Option<(Rank, NodeId)>,
    prunable: Option<PruneKey>,
    told: Option<ToldKey>,
    young: Option<(PoolName, Instant, NodeId)>,
    victim: Option<(PoolName, Rank, NodeId)>,
    eviction: Option<ConnId>,
}

impl Keys {
    pub(super) fn of(peer: &Peer) -> Self {
        let mut keys = Self::default();
        let reachable = !peer.addresses.is_empty();
        if reachable && !peer.private && !peer.incompatible {
            keys.told = Some((Reverse(peer.rank.merit), peer.rank.order, Some(peer.id)));
        }
        if let State::Idle { hold } = &peer.state {
            keys.held = hold.filter(|_| reachable).map(|hold| (hold.until, peer.id));
            keys.due = (reachable && hold.is_none()).then_some((peer.rank, peer.id));
            keys.prunable = (!peer.protected).then(|| prune_key(peer.rank, peer.failures, peer.id));
        }
        if let Some(attempt) = peer.dial() {
            keys.usage.dials = 1;
            keys.usage.occupy(attempt.seat.slot);
        }
        if let Some(live) = peer.live() {
            keys.count_live(peer, live);
        }
        keys
    }

    fn count_live(&mut self, peer: &Peer, live: &Live) {
        self.usage.live = 1;
        self.usage.occupy(live.seat.slot);
        self.eviction = live.doom.as_ref().filter(|doom| !doom.dispensed).map(|_| live.seat.conn);
        let Some(pool) = live.seat.slot.pool() else { return };
        if live.claimant.is_some() {
            self.usage.pool_mut(pool).upgrades += 1;
        } else if live.doom.is_none() && !peer.protected {
            self.young = live.young_until.map(|until| (pool, until, peer.id));
            self.victim = live.young_until.is_none().then_some((pool, peer.rank, peer.id));
        }
    }

    fn young_in(&self, pool: PoolName) -> Option<(Instant, NodeId)> {
        self.young.filter(|young| young.0 == pool).map(|(_, until, id)| (until, id))
    }

    fn victim_in(&self, pool: PoolName) -> Option<(Rank, NodeId)> {
        self.victim.filter(|victim| victim.0 == pool).map(|(_, rank, id)| (rank, id))
    }
}

pub(super) fn prune_key(rank: Rank, failures: u32, id: NodeId) -> PruneKey {
    (rank.merit, Reverse(failures), rank.order, id)
}

impl Index {
    /// Moves a peer from the keys `old` to the keys `new`.
    pub(super) fn change(&mut self, old: &Keys, new: &Keys) {
        self.usage.subtract(&old.usage);
        self.usage.add(&new.usage);
        shift(&mut self.held, old.held, new.held);
        shift(&mut self.due, old.due, new.due);
        shift(&mut self.prunable, old.prunable, new.prunable);
        shift(&mut self.told, old.told, new.told);
        for pool in [PoolName::Outbound, PoolName::Inbound] {
            let key = |keys: &Keys| (keys.young_in(pool), keys.victim_in(pool));
            let ((old_young, old_victim), (new_young, new_victim)) = (key(old), key(new));
            let candidates = self.candidates_mut(pool);
            shift(&mut candidates.young, old_young, new_young);
            shift(&mut candidates.victims, old_victim, new_victim);
        }
        shift(&mut self.evictions, old.eviction, new.eviction);
    }

    pub(super) fn candidates(&self, pool: PoolName) -> &Candidates {
        match pool {
            PoolName::Outbound => &self.outbound,
            PoolName::Inbound => &self.inbound,
        }
    }

    fn candidates_mut(&mut self, pool: PoolName) -> &mut Candidates {
        match pool {
            PoolName::Outbound => &mut self.outbound,
            PoolName::Inbound => &mut self.inbound,
        }
    }
}

fn shift<K: Ord>(set: &mut BTreeSet<K>, old: Option<K>, new: Option<K>) {
    if old == new {
        return;
    }
    if let Some(old) = old {
        set.remove(&old);
    }
    if let Some(new) = new {
        set.insert(new);
    }
}
