//! Everything derived from the peers: ordered sets and counts, changed in one place.
//!
//! [`Keys::of`] says under which keys a peer stands, as a function of its state alone. A change of a peer goes
//! through [`Index::change`], which moves exactly the keys that differ: O(log n). So the whole index can be
//! recomputed from scratch, and `check_invariants` does.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Instant;

use super::arena::Key;
use super::config::MAX_QUOTAS;
use super::groups::{Group, Groups};
use super::order::{Merit, Rank};
use super::parking::Blocker;
use super::pools::{PoolName, Slot, Usage};
use super::state::{Live, Peer, State, Wait};
use crate::id::{ConnId, Direction};

/// Worst first: what the store gives up when it is full.
pub(super) type PruneKey = (Merit, bool, Reverse<u32>, u64, Key);
/// Best merit first, then the drawn order.
pub(super) type ToldKey = (Reverse<Merit>, u64, Key);

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Index {
    pub(super) usage: Usage,
    /// All peers, by their place in the drawn order: how an identity is found.
    pub(super) by_order: BTreeSet<(u64, Key)>,
    /// Idle peers under hold, by its end.
    pub(super) held: BTreeSet<(Instant, Key)>,
    /// Idle peers with an address that wait for their turn, seeds excepted; the best is last.
    pub(super) due: BTreeSet<(Rank, Key)>,
    /// The same of seeds.
    pub(super) seeds: BTreeSet<(Rank, Key)>,
    /// Those of `due` that offered, when last met, what a quota wants.
    pub(super) offering: [BTreeSet<(Rank, Key)>; MAX_QUOTAS],
    /// Idle peers that cannot be dialled until something is gone.
    pub(super) parked: BTreeSet<(Blocker, Key)>,
    /// Idle peers that the store may drop, the first of them first.
    pub(super) prunable: BTreeSet<PruneKey>,
    /// Peers whose addresses may be told, but for ordinary ones: those stand in `by_order` in the same order.
    pub(super) told: BTreeSet<ToldKey>,
    /// Peers whose grade may change with time.
    pub(super) regrades: BTreeSet<(Instant, Key)>,
    /// Connections whose time is limited.
    pub(super) leaving: BTreeSet<(Instant, ConnId)>,
    /// Connections that may give way to others, now or later, by pool.
    pub(super) outbound: Candidates,
    pub(super) inbound: Candidates,
    /// Evictions not dispensed yet.
    pub(super) evictions: BTreeSet<ConnId>,
    /// How many peers are up and not doomed, and how many are dialled, that offer what each quota wants.
    pub(super) up_offering: [usize; MAX_QUOTAS],
    pub(super) dialing_offering: [usize; MAX_QUOTAS],
    /// What is counted of groups of addresses.
    pub(super) groups: Groups,
}

/// The connections of one pool that may give way to others.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Candidates {
    /// Those that are too young, by the end of their youth.
    pub(super) young: BTreeSet<(Instant, Key)>,
    /// The others; the worst is first.
    pub(super) victims: BTreeSet<(Rank, Key)>,
    /// The same by age; the oldest is first.
    pub(super) by_age: BTreeSet<(Instant, ConnId, Key)>,
}

/// The keys of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Keys {
    usage: Usage,
    by_order: Option<(u64, Key)>,
    held: Option<(Instant, Key)>,
    due: Option<(Rank, Key)>,
    seed: Option<(Rank, Key)>,
    /// Under which quotas it is due.
    offers: u16,
    prunable: Option<PruneKey>,
    told: Option<ToldKey>,
    regrade: Option<(Instant, Key)>,
    leaving: Option<(Instant, ConnId)>,
    young: Option<(PoolName, Instant, Key)>,
    victim: Option<(PoolName, Rank, Instant, ConnId, Key)>,
    eviction: Option<ConnId>,
    up_offers: u16,
    dialing_offers: u16,
    live_group: Option<(Group, Direction)>,
    dial_group: Option<Group>,
}

impl Keys {
    pub(super) fn of(key: Key, peer: &Peer) -> Self {
        let mut keys = Self { by_order: Some((peer.rank.order, key)), ..Self::default() };
        let reachable = !peer.addresses.is_empty();
        if reachable && peer.may_be_told() && !peer.is_ordinary() {
            keys.told = Some((Reverse(peer.rank.merit), peer.rank.order, key));
        }
        keys.regrade = peer.history.as_ref().and_then(|history| Some((history.regrade_at?, key)));
        if let State::Idle(wait) = &peer.state {
            keys.count_idle(key, peer, wait, reachable);
        }
        if let Some(attempt) = peer.dial() {
            keys.usage.dials = 1;
            keys.usage.occupy(attempt.seat.slot);
            keys.dial_group = attempt.seat.group;
            keys.dialing_offers = if peer.live().is_none() { peer.offers() } else { 0 };
        }
        if let Some(live) = peer.live() {
            keys.count_live(key, peer, live);
        }
        keys
    }

    /// The group of addresses to which its dial, or its outgoing connection, belongs.
    pub(super) fn outbound_groups(&self) -> [Option<Group>; 2] {
        let live = self.live_group.filter(|(_, direction)| *direction == Direction::Outbound);
        [live.map(|(group, _)| group), self.dial_group]
    }

    fn count_idle(&mut self, key: Key, peer: &Peer, wait: &Wait, reachable: bool) {
        self.prunable = (!peer.roles.kept).then(|| prune_key(key, peer, reachable));
        match wait {
            Wait::Held(hold) => self.held = Some((hold.until, key)),
            Wait::Due if reachable && peer.roles.seed => self.seed = Some((peer.rank, key)),
            Wait::Due if reachable => {
                self.due = Some((peer.rank, key));
                self.offers = peer.offers();
            }
            Wait::Due | Wait::Parked(_) => {}
        }
    }

    fn count_live(&mut self, key: Key, peer: &Peer, live: &Live) {
        let seat = live.seat;
        self.usage.live = 1;
        self.usage.occupy(seat.slot);
        // In a slot that it inherited, it counts as the one did that it replaced.
        let direction = match seat.slot {
            Slot::Limited(PoolName::Outbound) => Direction::Outbound,
            Slot::Limited(PoolName::Inbound) => Direction::Inbound,
            Slot::Unconditional => live.direction,
        };
        self.live_group = seat.group.map(|group| (group, direction));
        self.eviction = live.doom.as_ref().filter(|doom| !doom.dispensed).map(|_| seat.conn);
        if live.doom.is_none() {
            self.leaving = live.leaves.map(|(at, _)| (at, seat.conn));
            self.up_offers = if live.up { peer.offers() } else { 0 };
        }
        let Some(pool) = seat.slot.pool() else { return };
        if live.claimant.is_some() {
            self.usage.pool_mut(pool).upgrades += 1;
        } else if live.doom.is_none() && !peer.roles.protected {
            match live.young_until {
                Some(until) => self.young = Some((pool, until, key)),
                None => self.victim = Some((pool, peer.rank, live.since, seat.conn, key)),
            }
        }
    }

    fn young_in(&self, pool: PoolName) -> Option<(Instant, Key)> {
        self.young.filter(|young| young.0 == pool).map(|(_, until, key)| (until, key))
    }

    fn victim_in(&self, pool: PoolName) -> Option<(Rank, Key)> {
        self.victim.filter(|victim| victim.0 == pool).map(|(_, rank, _, _, key)| (rank, key))
    }

    fn aged_in(&self, pool: PoolName) -> Option<(Instant, ConnId, Key)> {
        self.victim.filter(|victim| victim.0 == pool).map(|(_, _, since, conn, key)| (since, conn, key))
    }
}

/// The least is given up first. Whom a dial found where it was said to be is worth more than hearsay, of
/// which anybody can make as much as they like.
pub(super) fn prune_key(key: Key, peer: &Peer, reachable: bool) -> PruneKey {
    let merit = if reachable { peer.rank.merit } else { Merit::UNREACHABLE };
    (merit, peer.reached, Reverse(peer.failures), peer.rank.order, key)
}

impl Index {
    /// Whom the store gives up first.
    pub(super) fn most_prunable(&self) -> Option<PruneKey> {
        self.prunable.first().copied()
    }

    /// Moves a peer from the keys `old` to the keys `new`.
    pub(super) fn change(&mut self, old: &Keys, new: &Keys) {
        self.usage.subtract(&old.usage);
        self.usage.add(&new.usage);
        shift(&mut self.by_order, old.by_order, new.by_order);
        shift(&mut self.held, old.held, new.held);
        shift(&mut self.due, old.due, new.due);
        shift(&mut self.seeds, old.seed, new.seed);
        shift(&mut self.prunable, old.prunable, new.prunable);
        shift(&mut self.told, old.told, new.told);
        shift(&mut self.regrades, old.regrade, new.regrade);
        shift(&mut self.leaving, old.leaving, new.leaving);
        shift(&mut self.evictions, old.eviction, new.eviction);
        for pool in [PoolName::Outbound, PoolName::Inbound] {
            let candidates = self.candidates_mut(pool);
            shift(&mut candidates.young, old.young_in(pool), new.young_in(pool));
            shift(&mut candidates.victims, old.victim_in(pool), new.victim_in(pool));
            shift(&mut candidates.by_age, old.aged_in(pool), new.aged_in(pool));
        }
        self.change_offers(old, new);
        self.change_groups(old, new);
    }

    fn change_offers(&mut self, old: &Keys, new: &Keys) {
        let has = |offers: u16, quota: usize| offers >> quota & 1 == 1;
        let any = |keys: &Keys| keys.offers | keys.up_offers | keys.dialing_offers;
        if any(old) | any(new) == 0 {
            return;
        }
        for quota in 0..MAX_QUOTAS {
            let due = |keys: &Keys| keys.due.filter(|_| has(keys.offers, quota));
            shift(&mut self.offering[quota], due(old), due(new));
            let up = &mut self.up_offering[quota];
            *up = *up + usize::from(has(new.up_offers, quota)) - usize::from(has(old.up_offers, quota));
            let dialing = &mut self.dialing_offering[quota];
            *dialing = *dialing + usize::from(has(new.dialing_offers, quota))
                - usize::from(has(old.dialing_offers, quota));
        }
    }

    fn change_groups(&mut self, old: &Keys, new: &Keys) {
        if (old.live_group, old.dial_group) == (new.live_group, new.dial_group) {
            return;
        }
        for (keys, more) in [(old, false), (new, true)] {
            self.groups.count_connected(keys.dial_group, Direction::Outbound, more);
            if let Some((group, direction)) = keys.live_group {
                self.groups.count_connected(Some(group), direction, more);
            }
        }
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
