//! Who may have a place: a free slot, or that of somebody who goes for it.

use std::time::Instant;

use super::PeerManager;
use super::arena::Key;
use super::backoff::later;
use super::config::Want;
use super::order::{Class, Merit};
use super::pools::{Ground, PoolName, Slot};
use super::state::Peer;
use crate::id::ConnId;

/// A place for a newcomer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) slot: Slot,
    pub(super) ground: Ground,
    /// Who goes for it.
    pub(super) victim: Option<Key>,
}

/// What decides about the place of a newcomer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newcomer {
    pub(super) merit: Merit,
    pub(super) offers: u16,
    /// A seed takes nobody's place.
    pub(super) seed: bool,
}

impl Newcomer {
    pub(super) fn of(peer: &Peer) -> Self {
        Self { merit: peer.rank.merit, offers: peer.offers(), seed: peer.roles.seed }
    }
}

impl PeerManager {
    /// Where a newcomer would sit, if anywhere.
    pub(super) fn place_for(&self, newcomer: Newcomer, pool: PoolName, now: Instant) -> Option<Place> {
        if newcomer.merit.class == Class::Unconditional {
            return Some(Place { slot: Slot::Unconditional, ground: Ground::Unconditional, victim: None });
        }
        let slot = Slot::Limited(pool);
        if self.index.usage.pool(pool).has_room(self.config.limit(pool)) {
            return Some(Place { slot, ground: Ground::Free, victim: None });
        }
        if newcomer.seed || !self.may_take_over(pool, now) {
            return None;
        }
        let (ground, victim) = self.victim_for(newcomer, pool, now)?;
        Some(Place { slot, ground, victim: Some(victim) })
    }

    /// Whether the pool's permits and their rate allow one more place to be taken over.
    pub(super) fn may_take_over(&self, pool: PoolName, now: Instant) -> bool {
        self.index.usage.pool(pool).upgrades < self.config.upgrade_slots
            && self.next_upgrade[pool as usize].is_none_or(|at| at <= now)
    }

    fn victim_for(&self, newcomer: Newcomer, pool: PoolName, now: Instant) -> Option<(Ground, Key)> {
        let (worst, victim) = self.worst_of(pool)?;
        if newcomer.merit.outranks(worst, self.config.upgrade_margin) {
            return Some((Ground::Upgrade, victim));
        }
        match pool {
            PoolName::Outbound => {
                let ground = self.ground_beside_merit(newcomer, now)?;
                (newcomer.merit.class >= worst.class).then_some((ground, victim))
            }
            PoolName::Inbound => Some((Ground::Age, self.oldest(newcomer.merit.class, now)?)),
        }
    }

    fn ground_beside_merit(&self, newcomer: Newcomer, now: Instant) -> Option<Ground> {
        let short = |quota: &usize| newcomer.offers >> quota & 1 == 1 && self.is_short(*quota);
        let quota = (0..self.config.quotas.len()).find(short).map(Ground::Quota);
        quota.or_else(|| self.next_rotation.filter(|at| *at <= now).map(|_| Ground::Rotation))
    }

    /// The worst connection of a pool that may give way now.
    pub(super) fn worst_of(&self, pool: PoolName) -> Option<(Merit, Key)> {
        // Those that a quota needs are no more than the quotas ask for.
        let victims = self.index.candidates(pool).victims.iter();
        let spare = victims.into_iter().find(|(_, key)| !self.is_needed(*key));
        spare.map(|(rank, key)| (rank.merit, *key))
    }

    /// The oldest incoming connection that may give way for its age to a newcomer of this class.
    fn oldest(&self, class: Class, now: Instant) -> Option<Key> {
        let max_age = self.config.inbound_max_age?;
        let by_age = self.index.inbound.by_age.iter();
        let mut old = by_age.take_while(|(since, ..)| later(*since, max_age) <= now).map(|(.., key)| *key);
        // Of a greater class are those alone that the operator named.
        let below = |key| self.peers.get(key).is_some_and(|peer| peer.rank.merit.class <= class);
        old.find(|key| below(*key) && !self.is_needed(*key))
    }

    /// Whether fewer peers offer what a quota wants than it asks for.
    pub(super) fn is_short(&self, quota: usize) -> bool {
        let asked = self.config.quotas.get(quota).map_or(0, |quota| quota.at_least);
        self.index.up_offering[quota] + self.index.dialing_offering[quota] < asked
    }

    /// Whether a quota would be short without this peer.
    fn is_needed(&self, key: Key) -> bool {
        let Some(peer) = self.peers.get(key) else { return false };
        let offers = peer.offers();
        let needs = |(at, quota): (usize, &super::Quota)| {
            offers >> at & 1 == 1 && self.index.up_offering[at] <= quota.at_least
        };
        peer.live().is_some_and(|live| live.up) && self.config.quotas.iter().enumerate().any(needs)
    }

    /// Marks a victim as claimed, and charges the rates.
    pub(super) fn claim(&mut self, place: Place, by: ConnId, now: Instant) {
        let (Some(victim), Some(pool)) = (place.victim, place.slot.pool()) else { return };
        self.next_upgrade[pool as usize] = Some(later(now, self.config.upgrade_interval));
        if place.ground == Ground::Rotation {
            self.next_rotation = self.config.rotate_every.map(|every| later(now, every));
        }
        self.update_live(victim, |live| live.claimant = Some(by));
    }

    /// A bit for each quota whose want is offered.
    pub(super) fn offers_mask(&self, offered: impl Fn(&Want) -> bool) -> u16 {
        let quotas = self.config.quotas.iter().enumerate();
        quotas.filter(|(_, quota)| offered(&quota.wants)).fold(0, |mask, (at, _)| mask | 1 << at)
    }

    /// What the bits stand for.
    pub(super) fn offered(&self, mask: u16) -> Vec<Want> {
        let quotas = self.config.quotas.iter().enumerate();
        quotas.filter(|(at, _)| mask >> at & 1 == 1).map(|(_, quota)| quota.wants.clone()).collect()
    }
}
