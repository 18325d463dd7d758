//! Why: every decision in one rule, with the numbers that it was applied to.
//!
//! Nothing here changes anything. A question is answered from the state as of the latest input; a rejected call changed
//! nothing, so it can be explained afterwards.

use std::time::{Duration, Instant};

use super::PeerManager;
use super::answer::Reject;
use super::arena::Key;
use super::backoff::{Hold, HoldReason};
use super::groups::Group;
use super::parking::Blocker;
use super::pools::{Ground, PoolName};
use super::record::BanTarget;
use super::seating::{Newcomer, Place};
use super::state::{Peer, State, Wait};
use crate::address::Endpoint;
use crate::event::{Because, Rule};
use crate::id::{Direction, NodeId};

impl PeerManager {
    /// Why a peer is not dialled, or not up, or what it waits for. Costs no more than a dial.
    #[must_use]
    pub fn why(&self, peer: &NodeId) -> Because {
        if *peer == self.config.self_id {
            return self.rule(Rule::SelfId);
        }
        if let Some(ban) = self.bans.of_peer(peer) {
            return self.rule(Rule::Banned).with_until(ban.until);
        }
        let Some(key) = self.find(peer) else { return self.rule(Rule::Unknown) };
        let Some(peer) = self.peers.get(key) else { return self.rule(Rule::Unknown) };
        match &peer.state {
            State::Connected { live, .. } => match &live.doom {
                // Its connection may outlast what it is ended for.
                Some(doom) => {
                    let until = doom.because.until.filter(|until| *until > self.now);
                    Because { at: self.now, until, ..doom.because }
                }
                None => self.rule(Rule::Connected),
            },
            State::Dialing(_) => self.rule(Rule::Dialing),
            State::Idle(Wait::Held(hold)) if hold.until > self.now => self.held(peer, hold),
            State::Idle(_) if peer.addresses.is_empty() => self.rule(Rule::NoAddress),
            State::Idle(_) => self.waiting(key, peer),
        }
    }

    /// Why nobody is dialled; or, if somebody will be, that there is one.
    #[must_use]
    pub fn why_not_dialling(&self) -> Because {
        if let Some(full) = self.all_dials() {
            return full;
        }
        let lines = [&self.index.due, &self.index.seeds];
        let first = lines.into_iter().find_map(|line| line.last()).map(|(_, key)| *key);
        if let Some(key) = self.next_to_dial().or(first) {
            let peer = self.peers.get(key);
            return peer.map_or(self.rule(Rule::NobodyKnown), |peer| self.waiting(key, peer));
        }
        if let Some(peer) = self.index.held.first().and_then(|(_, key)| self.peers.get(*key))
            && let State::Idle(Wait::Held(hold)) = &peer.state
        {
            return self.held(peer, hold);
        }
        match self.index.parked.first() {
            Some((blocker, _)) => self.blocked(*blocker),
            None => self.rule(Rule::NobodyKnown),
        }
    }

    /// The ban of a target, if there is one. A peer's own is found by its id alone, not by its address.
    #[must_use]
    pub fn why_banned(&self, target: &BanTarget) -> Option<Because> {
        let rule = match target {
            BanTarget::Peer(_) => Rule::Banned,
            BanTarget::Prefix(_) => Rule::BannedPrefix,
        };
        self.bans.get(target).map(|ban| self.rule(rule).with_until(ban.until))
    }

    /// Why a call was rejected. To be asked before the next input. `endpoint` is that of the connection, if it came in.
    #[must_use]
    pub fn why_rejected(&self, reject: Reject, endpoint: Option<&Endpoint>) -> Because {
        let ip = endpoint.and_then(Endpoint::ip);
        let group = ip.and_then(|ip| Group::of(ip, &self.config.groups));
        let groups = &self.config.groups;
        match reject {
            // Only what came in has told us whence.
            Reject::TooManyPeers if endpoint.is_none() => self.pool_full(PoolName::Outbound),
            Reject::TooManyPeers => self.pool_full(PoolName::Inbound),
            Reject::TooManyHandshakes => {
                let handshakes = self.index.usage.handshakes;
                self.counted(Rule::Handshakes, handshakes, Some(self.config.max_inbound_handshakes))
            }
            Reject::GroupFull => {
                let count = group.map_or(0, |group| self.index.groups.connected(group, Direction::Inbound));
                self.counted(Rule::GroupFull, count, groups.max_inbound.number())
            }
            Reject::GroupRate => {
                let begun = group.map(|group| self.index.groups.begun(group, self.now, groups.window));
                let (count, until) = begun.unwrap_or_default();
                self.counted(Rule::GroupRate, count, groups.max_handshakes.number()).with_until(until)
            }
            Reject::Banned => {
                let ban = ip.and_then(|ip| self.bans.of_ip(ip));
                let rule = if ban.is_some() { Rule::BannedPrefix } else { Rule::Banned };
                self.rule(rule).with_until(ban.and_then(|ban| ban.until))
            }
            Reject::StoreFull => self.counted(Rule::StoreFull, self.peers.len(), Some(self.config.max_peers)),
            Reject::AlreadyConnected(_) => self.rule(Rule::AlreadyConnected),
            Reject::Evicting(_) => self.rule(Rule::Evicting),
            Reject::SelfConnection => self.rule(Rule::SelfId),
            Reject::UnknownConnection => self.rule(Rule::UnknownAttempt),
        }
    }

    /// Why this dial is made.
    pub(super) fn because_dialled(&self, peer: &Peer, place: Place) -> Because {
        if peer.roles.seed {
            return self.rule(Rule::Seed);
        }
        let grade = |peer: &Peer| i64::from(peer.rank.merit.grade);
        match place.ground {
            Ground::Unconditional => self.rule(Rule::Unconditional),
            Ground::Free => {
                let (used, limit) = (self.index.usage.outbound.settled(), self.config.max_outbound.number());
                self.counted(Rule::FreeSlot, used, limit)
            }
            Ground::Upgrade => {
                let worst = place.victim.and_then(|victim| self.peers.get(victim)).map(grade);
                self.rule(Rule::Upgrade).with_count(grade(peer), worst)
            }
            Ground::Quota(quota) => self.quota(quota),
            Ground::Rotation | Ground::Age => self.rule(Rule::Rotation),
        }
    }

    /// Why a connection has to go for another one.
    pub(super) fn because_displaced(&self, victim: Key, ground: Ground, newcomer: Key) -> Because {
        match ground {
            Ground::Quota(quota) => self.quota(quota),
            Ground::Rotation => self.rule(Rule::Rotation),
            Ground::Age => {
                let live = self.peers.get(victim).and_then(Peer::live);
                let age = live.map_or(Duration::ZERO, |live| self.now.saturating_duration_since(live.since));
                self.rule(Rule::Age).with_count(seconds(age), self.config.inbound_max_age.map(seconds))
            }
            Ground::Upgrade | Ground::Free | Ground::Unconditional => {
                let grade = |key| self.peers.get(key).map(|peer| i64::from(peer.rank.merit.grade));
                self.rule(Rule::Upgrade).with_count(grade(newcomer).unwrap_or(0), grade(victim))
            }
        }
    }

    /// What an idle peer waits for that is under no hold and has an address.
    fn waiting(&self, key: Key, peer: &Peer) -> Because {
        if let Err(blockers) = self.dialable(peer) {
            return blockers.first().map_or(self.rule(Rule::NoAddress), |blocker| self.blocked(*blocker));
        }
        if let Some(full) = self.all_dials() {
            return full;
        }
        if peer.roles.seed && !self.index.due.is_empty() {
            return self.rule(Rule::SeedNotNeeded);
        }
        let newcomer = Newcomer::of(peer);
        match self.place_for(newcomer, PoolName::Outbound, self.now) {
            Some(_) if self.next_to_dial() == Some(key) => self.rule(Rule::NextInLine),
            Some(_) => self.rule(Rule::OthersFirst),
            None if newcomer.seed => self.pool_full(PoolName::Outbound),
            None => self.no_place(newcomer),
        }
    }

    /// Why nobody gives way to a newcomer in the full outbound pool.
    fn no_place(&self, newcomer: Newcomer) -> Because {
        let (pool, slots) = (PoolName::Outbound, self.config.upgrade_slots);
        let upgrades = self.index.usage.pool(pool).upgrades;
        if slots == 0 {
            return self.pool_full(pool);
        }
        if upgrades >= slots {
            return self.counted(Rule::UpgradesInUse, upgrades, Some(slots));
        }
        if !self.may_take_over(pool, self.now) {
            return self.rule(Rule::UpgradeTooSoon).with_until(self.next_upgrade[pool as usize]);
        }
        let Some((worst, _)) = self.worst_of(pool) else {
            let young = self.index.outbound.young.first().map(|(until, _)| *until);
            return self.rule(Rule::NobodyOldEnough).with_until(young);
        };
        let rotates = |at: &Instant| newcomer.merit.class >= worst.class && *at > self.now;
        self.rule(Rule::NobodyWorse)
            .with_count(newcomer.merit.grade.into(), Some(worst.grade.into()))
            .with_until(self.next_rotation.filter(rotates))
    }

    fn all_dials(&self) -> Option<Because> {
        let (dials, limit) = (self.index.usage.dials, self.config.max_dials_in_flight);
        (dials >= limit).then(|| self.counted(Rule::DialsInFlight, dials, Some(limit)))
    }

    fn held(&self, peer: &Peer, hold: &Hold) -> Because {
        let rule = match hold.why {
            HoldReason::Cooldown => Rule::Cooldown,
            HoldReason::Backoff => Rule::Backoff,
            HoldReason::Busy => Rule::Busy,
            HoldReason::Incompatible => Rule::Incompatible,
            HoldReason::Ourselves => Rule::Ourselves,
            HoldReason::SeedRest => Rule::SeedRest,
        };
        self.rule(rule).with_count(peer.failures.into(), None).with_until(Some(hold.until))
    }

    fn blocked(&self, blocker: Blocker) -> Because {
        match blocker {
            Blocker::Ban(serial) => {
                let ban = self.bans.by_serial(serial);
                let rule = match ban {
                    Some((BanTarget::Peer(_), _)) => Rule::Banned,
                    _ => Rule::BannedPrefix,
                };
                self.rule(rule).with_until(ban.and_then(|(_, ban)| ban.until))
            }
            Blocker::Group(group) => {
                let connected = self.index.groups.connected(group, Direction::Outbound);
                self.counted(Rule::GroupFull, connected, self.config.groups.max_outbound.number())
            }
        }
    }

    fn pool_full(&self, pool: PoolName) -> Because {
        let rule = match pool {
            PoolName::Outbound => Rule::OutboundFull,
            PoolName::Inbound => Rule::InboundFull,
        };
        self.counted(rule, self.index.usage.pool(pool).used, self.config.limit(pool).number())
    }

    pub(super) fn quota(&self, quota: usize) -> Because {
        let count = self.index.up_offering[quota] + self.index.dialing_offering[quota];
        let asked = self.config.quotas.get(quota).map(|quota| quota.at_least);
        self.counted(Rule::Quota, count, asked)
    }

    pub(super) fn counted(&self, rule: Rule, count: usize, limit: Option<usize>) -> Because {
        self.rule(rule).with_count(number(count), limit.map(number))
    }

    fn rule(&self, rule: Rule) -> Because {
        Because::new(rule, self.now)
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A length in whole seconds.
pub(super) fn seconds(length: Duration) -> i64 {
    i64::try_from(length.as_secs()).unwrap_or(i64::MAX)
}
