//! How connections end: evictions, faults, and what the end says about the peer.

use std::time::{Duration, Instant};

use super::PeerManager;
use super::answer::{Eviction, PeerUpdate, Report};
use super::arena::Key;
use super::backoff::{Hold, HoldReason, Verdict, later};
use super::explain::seconds;
use super::state::{Doom, EvictReason, Live, Seat};
use crate::event::{Because, Blame, Closed, DisconnectReason, GoodAct, Layer, Misbehaviour, Rule};
use crate::id::{ConnId, NodeId};

impl PeerManager {
    /// Takes the next connection to end, each one once. Call it until it answers `None`.
    pub fn try_evict_next(&mut self, now: Instant) -> Option<Eviction> {
        self.mature(now);
        let conn = *self.index.evictions.first()?;
        let key = self.live_of(conn)?;
        let peer = self.peers.get(key)?.id;
        let doom = self.update_live(key, |live| {
            let doom = live.doom.as_mut()?;
            doom.dispensed = true;
            Some(doom.clone())
        })??;
        Some(Eviction { conn, peer, why: doom.why, closed: doom.closed, because: doom.because })
    }

    /// A connection ended, whoever ended it.
    pub fn disconnected(&mut self, conn: ConnId, closed: &Closed, now: Instant) -> Report {
        let now = self.mature(now);
        let Some(key) = self.live_of(conn) else { return self.late() };
        let Some(peer) = self.peers.get(key) else { return self.late() };
        let (id, Some(live)) = (peer.id, peer.live().cloned()) else { return self.late() };
        self.conns.remove(&conn);
        self.settle_end(key, &live, closed, now);
        self.unlink(live.seat, live.claimant);
        if live.up {
            self.emit(PeerUpdate::Down { peer: id, conn, closed: closed.clone() });
        }
        self.forget_if_hopeless(key);
        Report::Applied
    }

    /// The peer of a connection misbehaved, `count` times: it gets bad points, and at the limit the connection will be
    /// evicted and the peer banned.
    ///
    /// The points are the peer's and outlive the connection, as long as the peer is stored.
    pub fn reported(&mut self, conn: ConnId, what: Misbehaviour, count: u32, now: Instant) -> Report {
        let now = self.mature(now);
        let Some(key) = self.live_of(conn) else { return self.late() };
        let behaviour = &self.config.behaviour;
        let (limit, halves_every, ban_for) = (behaviour.limit, behaviour.halves_every, behaviour.ban_for);
        let trusted_cap = behaviour.trusted_cap;
        let given = behaviour.weights.of(what).saturating_mul(count);
        let points = self.update(key, |peer| {
            let cap = if peer.roles.trusted { trusted_cap } else { limit };
            let cap = if given > 0 { cap } else { u32::MAX };
            peer.standing_mut().bad.add(given, cap, now, halves_every)
        });
        self.regrade(key);
        self.touch(key);
        if given > 0
            && let Some(points) = points.filter(|points| *points >= limit)
        {
            let because = Because::new(Rule::Misbehaved, now).with_count(points.into(), Some(limit.into()));
            self.doom(key, EvictReason::Misbehaved, misbehaved(what, points), because);
            let banned = self.peers.get(key).filter(|peer| !peer.roles.protected).map(|peer| peer.id);
            if let (Some(id), Some(length)) = (banned, ban_for) {
                self.ban_for(id, what, length);
            }
        }
        Report::Applied
    }

    /// The peer of a connection was of use, `count` times: it gets good points.
    pub fn praised(&mut self, conn: ConnId, what: GoodAct, count: u32, now: Instant) -> Report {
        let now = self.mature(now);
        let Some(key) = self.live_of(conn) else { return self.late() };
        let behaviour = &self.config.behaviour;
        let (points, halves_every) = (behaviour.good.of(what).saturating_mul(count), behaviour.halves_every);
        self.update(key, |peer| peer.standing_mut().good.add(points, u32::MAX, now, halves_every));
        self.regrade(key);
        self.touch(key);
        Report::Applied
    }

    /// An exchange with the peer of a connection took so long: its smoothed latency moves by an eighth of the
    /// difference. Counted in whole microseconds, up to an hour.
    pub fn measured(&mut self, conn: ConnId, latency: Duration, now: Instant) -> Report {
        self.mature(now);
        let Some(key) = self.live_of(conn) else { return self.late() };
        self.update(key, |peer| peer.standing_mut().measure(latency));
        self.regrade(key);
        self.touch(key);
        Report::Applied
    }

    /// A connection failed in another way than by what is [`reported`](Self::reported), as by a fault of its stream:
    /// it will be evicted.
    pub fn errored(&mut self, conn: ConnId, closed: &Closed, now: Instant) -> Report {
        let now = self.mature(now);
        let Some(key) = self.live_of(conn) else { return self.late() };
        self.doom(key, EvictReason::Errored, closed.clone(), Because::new(Rule::Errored, now));
        Report::Applied
    }

    /// The operator wants the connection to a peer ended. Answers whether there is one.
    ///
    /// The peer may come back after its cooldown.
    pub fn disconnect(&mut self, peer: &NodeId, now: Instant) -> bool {
        let now = self.mature(now);
        let key =
            self.find(peer).filter(|key| self.peers.get(*key).is_some_and(|peer| peer.live().is_some()));
        let Some(key) = key else { return false };
        let reason = DisconnectReason::Requested;
        let closed = Closed::local(Layer::PeerManager, Blame::Nobody, reason, "operator");
        self.doom(key, EvictReason::Operator, closed, Because::new(Rule::Operator, now));
        true
    }

    /// Orders an eviction, unless one is ordered already.
    pub(super) fn doom(&mut self, key: Key, why: EvictReason, closed: Closed, because: Because) {
        self.update_live(key, |live| {
            live.doom.get_or_insert(Doom { why, closed, because, dispensed: false });
        });
    }

    /// Orders out whose time is up.
    pub(super) fn mature_stays(&mut self, now: Instant) {
        while let Some(&(at, conn)) = self.index.leaving.first()
            && at <= now
        {
            let Some(key) = self.live_of(conn) else { return };
            let why = self.update_live(key, |live| live.leaves.take()).flatten();
            let Some((_, why)) = why else { return };
            if self.peers.get(key).is_some_and(|peer| peer.roles.protected) {
                continue;
            }
            let seeds = &self.config.seeds;
            let (rule, stay) = match why {
                EvictReason::SeedMode => (Rule::SeedMode, seeds.mode.unwrap_or_default()),
                _ => (Rule::SeedDone, seeds.stay),
            };
            let because = Because::new(rule, now).with_count(seconds(stay), Some(seconds(stay)));
            self.doom(key, why, displaced(why), because);
        }
    }

    /// Dissolves the upgrades of a seat that is given up: the one it makes, and the one made of it.
    ///
    /// Whoever claimed it keeps its place: the slot that came free is the claimant's. If the seat itself stood in for
    /// a victim that has not left, no slot came free yet, and the claimant waits for that victim in its stead.
    pub(super) fn unlink(&mut self, seat: Seat, claimant: Option<ConnId>) {
        if let Some(victim) = seat.victim {
            self.update_live(victim, |live| live.claimant = claimant);
        }
        if let Some(claimant) = claimant {
            self.update_seat(claimant, |claiming| claiming.victim = seat.victim);
        }
    }

    fn settle_end(&mut self, key: Key, live: &Live, closed: &Closed, now: Instant) {
        let lived = now.saturating_duration_since(live.since) >= self.config.backoff.survival;
        let ended_by_us = live.doom.as_ref().filter(|doom| doom.dispensed).map(|doom| doom.why);
        let verdict = match ended_by_us {
            None | Some(EvictReason::Errored | EvictReason::Misbehaved) => Verdict::of(closed),
            Some(_) => Verdict::Innocent,
        };
        let Some(peer) = self.peers.get(key) else { return };
        let before = if lived { 0 } else { peer.failures };
        let charged = match verdict {
            Verdict::Innocent => false,
            Verdict::Incompatible => true,
            Verdict::Failure | Verdict::Busy => !lived || closed.blame == Blame::Protocol,
        };
        let failures = before.saturating_add(u32::from(charged));
        let hold = match ended_by_us {
            Some(EvictReason::SeedDone) => self.rest(now),
            _ => self.backoff().after_connection(&peer.id, verdict, failures, now),
        };
        self.update(key, |peer| {
            peer.failures = failures;
            peer.incompatible |= verdict == Verdict::Incompatible;
            peer.standing_mut().settle_uptime(live.since, now);
            if lived {
                peer.clear_address(&live.remote);
            }
            peer.end_live(hold);
        });
        self.regrade(key);
        self.touch(key);
    }

    /// The hold of a seed that was let go.
    fn rest(&self, now: Instant) -> Hold {
        let (rest, cooldown) = (self.config.seeds.rest, self.config.cooldown);
        if cooldown > rest {
            return Hold { until: later(now, cooldown), why: HoldReason::Cooldown };
        }
        Hold { until: later(now, rest), why: HoldReason::SeedRest }
    }
}

fn misbehaved(what: Misbehaviour, points: u32) -> Closed {
    Closed::local(Layer::Channel, Blame::Protocol, DisconnectReason::Subprotocol, "misbehaved")
        .with_detail(format!("{what}, bad points: {points}"))
}

/// How a connection is ended that is sound, but not wanted any longer.
pub(super) fn displaced(why: EvictReason) -> Closed {
    let (blame, reason) = match why {
        EvictReason::SeedDone | EvictReason::Banned => (Blame::Nobody, DisconnectReason::Requested),
        _ => (Blame::Overload, DisconnectReason::TooManyPeers),
    };
    Closed::local(Layer::PeerManager, blame, reason, why.label())
}
