//! "Behaviour", "Bans" and "Live changes".

use std::net::IpAddr;
use std::time::Duration;

use super::state::{Ban, Live, Model, Peer, Pool, Slot, is_kept};
use crate::event::{Closed, GoodAct, Misbehaviour};
use crate::id::{ConnId, NodeId};
use crate::peer::{
    BanError, BanReason, BanTarget, Banned, Change, ConfigError, EvictReason, Limit, MAX_BAN_TEXT_BYTES,
    MAX_DURATION, Report,
};

// Behaviour.

impl Model {
    pub(super) fn reported(&mut self, conn: ConnId, what: Misbehaviour, count: u32) -> Report {
        let Some(id) = self.connected(conn) else { return Report::Late };
        let (now, policy) = (self.now, self.config.behaviour.clone());
        let points = policy.weights.of(what).saturating_mul(count);
        let Some(peer) = self.peers.get_mut(&id) else { return Report::Late };
        if points == 0 {
            return Report::Applied;
        }
        peer.bad = peer.bad.plus(points, now, policy.halves_every);
        let trusted = self.config.trusted.contains(&id);
        peer.bad.points = peer.bad.points.min(if trusted { policy.trusted_cap } else { policy.limit });
        if peer.bad.points >= policy.limit {
            self.order_out(&id, EvictReason::Misbehaved);
            if let Some(length) = policy.ban_for.filter(|_| !self.config.is_protected(&id)) {
                self.ban_by_itself(id, length, what);
            }
        }
        Report::Applied
    }

    pub(super) fn praised(&mut self, conn: ConnId, what: GoodAct, count: u32) -> Report {
        let Some(id) = self.connected(conn) else { return Report::Late };
        let (now, every) = (self.now, self.config.behaviour.halves_every);
        let points = self.config.behaviour.good.of(what).saturating_mul(count);
        let Some(peer) = self.peers.get_mut(&id) else { return Report::Late };
        peer.good = peer.good.plus(points, now, every);
        Report::Applied
    }

    pub(super) fn measured(&mut self, conn: ConnId, latency: Duration) -> Report {
        let Some(id) = self.connected(conn) else { return Report::Late };
        let Some(peer) = self.peers.get_mut(&id) else { return Report::Late };
        let new = latency.as_micros();
        let smoothed = peer.latency.map_or(new, |old| (7 * old.as_micros() + new) / 8);
        peer.latency = Some(Duration::from_micros(u64::try_from(smoothed).unwrap_or(u64::MAX)));
        Report::Applied
    }

    pub(super) fn errored(&mut self, conn: ConnId, closed: &Closed) -> Report {
        let Some(id) = self.connected(conn) else { return Report::Late };
        self.order_out_as(&id, EvictReason::Errored, closed.clone());
        Report::Applied
    }

    pub(super) fn disconnect(&mut self, id: &NodeId) -> bool {
        self.order_out(id, EvictReason::Operator);
        self.live(id).is_some()
    }
}

// Bans.

impl Model {
    pub(super) fn is_banned_ip(&self, ip: Option<IpAddr>) -> bool {
        self.bans.keys().any(|target| match target {
            BanTarget::Prefix(prefix) => ip.is_some_and(|ip| prefix.contains(ip)),
            BanTarget::Peer(_) => false,
        })
    }

    pub(super) fn ban(
        &mut self,
        target: BanTarget,
        length: Option<Duration>,
        why: &str,
    ) -> Result<Banned, BanError> {
        if target == BanTarget::Peer(self.config.self_id) {
            return Err(BanError::OwnId);
        }
        if length == Some(Duration::ZERO) {
            return Err(BanError::NoLength);
        }
        if length.is_some_and(|length| length > MAX_DURATION) {
            return Err(BanError::TooLong);
        }
        if why.len() > MAX_BAN_TEXT_BYTES {
            return Err(BanError::TextTooLong { found_bytes: why.len() });
        }
        let renewed = self.bans.contains_key(&target);
        let max_bans = self.config.max_bans;
        if !renewed && self.bans.len() >= max_bans {
            let first = self.first_automatic_ban().ok_or(BanError::TooMany { max_bans })?;
            self.bans.remove(&first);
        }
        let until = length.and_then(|length| self.now.checked_add(length));
        self.bans.insert(target, Ban { until, why: BanReason::Operator(why.into()) });
        let covered: Vec<NodeId> = self
            .lives()
            .filter(|(peer, live)| live.doom.is_none() && self.covers(&target, peer, live))
            .map(|(peer, _)| peer.id)
            .collect();
        covered.iter().for_each(|id| self.order_out(id, EvictReason::Banned));
        Ok(Banned { evicts: covered.len(), renewed })
    }

    fn covers(&self, target: &BanTarget, peer: &Peer, live: &Live) -> bool {
        match target {
            BanTarget::Peer(id) => peer.id == *id,
            BanTarget::Prefix(prefix) => {
                !self.is_unconditional(&peer.id) && live.ip().is_some_and(|ip| prefix.contains(ip))
            }
        }
    }

    /// The ban of a peer that misbehaved. A ban that is in force stays as it is.
    fn ban_by_itself(&mut self, id: NodeId, length: Duration, what: Misbehaviour) {
        let target = BanTarget::Peer(id);
        if self.bans.contains_key(&target) {
            return;
        }
        if self.bans.len() >= self.config.max_bans {
            let Some(first) = self.first_automatic_ban() else { return };
            self.bans.remove(&first);
        }
        let until = self.now.checked_add(length);
        self.bans.insert(target, Ban { until, why: BanReason::Misbehaved(what) });
    }

    fn first_automatic_ban(&self) -> Option<BanTarget> {
        let automatic = self.bans.iter().filter(|(_, ban)| matches!(ban.why, BanReason::Misbehaved(_)));
        automatic.map(|(target, ban)| (ban.until, *target)).min().map(|(_, target)| target)
    }

    pub(super) fn unban(&mut self, target: &BanTarget) -> bool {
        self.bans.remove(target).is_some()
    }
}

// Live changes.

impl Model {
    pub(super) fn reconfigure(&mut self, change: &Change) -> Result<bool, ConfigError> {
        let mut config = self.config.clone();
        if !change.apply_to(&mut config) {
            return Ok(false);
        }
        config.validate()?;
        self.config = config;
        change.peer().into_iter().for_each(|id| self.shorten_hold(&id));
        self.lower(Pool::Outbound);
        self.lower(Pool::Inbound);
        self.forget_the_unreachable();
        Ok(true)
    }

    /// Orders out the worst connections of a pool until no more than its limit stay, protected ones last.
    fn lower(&mut self, pool: Pool) {
        let Limit::AtMost(limit) = self.limit(pool) else { return };
        loop {
            let in_pool = self.lives().filter(|(_, live)| live.slot == Slot::Limited(pool));
            let stay = in_pool.filter(|(_, live)| live.doom.is_none());
            let key = |peer: &Peer| (self.config.is_protected(&peer.id), self.rank(&peer.id));
            let mut stay: Vec<_> = stay.map(|(peer, _)| key(peer)).collect();
            if stay.len() <= limit {
                return;
            }
            stay.sort_unstable();
            if let Some((_, (.., worst))) = stay.first().copied() {
                self.order_out(&worst, EvictReason::LimitLowered);
            }
        }
    }

    /// Whether a peer is never forgotten.
    #[must_use]
    pub fn keeps(&self, id: &NodeId) -> bool {
        is_kept(&self.config, id)
    }
}
