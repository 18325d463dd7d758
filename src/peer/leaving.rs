//! How connections end: evictions, faults, and what the end says about the peer.

use std::time::Instant;

use super::PeerManager;
use super::answer::{Eviction, PeerUpdate, Report};
use super::backoff::Verdict;
use super::state::{Doom, EvictReason, Live, Remote, Seat, State};
use crate::event::{Because, Blame, Closed, DisconnectReason, Layer, Misbehaviour, Rule};
use crate::id::{ConnId, NodeId};

impl PeerManager {
    /// Takes the next connection to end, each one once. Call it until it answers `None`.
    pub fn try_evict_next(&mut self, now: Instant) -> Option<Eviction> {
        self.tick(now);
        let conn = *self.index.evictions.first()?;
        let peer = self.live_of(conn)?;
        let doom = self.update_live(&peer, |live| {
            let doom = live.doom.as_mut()?;
            doom.dispensed = true;
            Some(doom.clone())
        })??;
        let because = Because::new(Rule::Evicting, self.now);
        Some(Eviction { conn, peer, why: doom.why, closed: doom.closed, because })
    }

    /// A connection ended, whoever ended it.
    pub fn disconnected(&mut self, conn: ConnId, closed: &Closed, now: Instant) -> Report {
        let Some(id) = self.live_of(conn) else { return self.late() };
        let Some(live) = self.peers.get(&id).and_then(|peer| peer.live().cloned()) else {
            return self.late();
        };
        let now = self.tick(now);
        self.conns.remove(&conn);
        self.settle_end(&id, &live, closed, now);
        self.unlink(live.seat, live.claimant);
        if live.up {
            self.emit(PeerUpdate::Down { peer: id, conn, closed: closed.clone() });
        }
        self.forget_if_hopeless(&id);
        Report::Applied
    }

    /// The peer of a connection misbehaved, `count` times: its score grows, and at the limit the connection will be
    /// evicted.
    ///
    /// The score is the peer's and outlives the connection, as long as the peer is stored; so a peer that comes back
    /// after an eviction is on probation until half of its score is forgiven. It is not persisted.
    pub fn reported(&mut self, conn: ConnId, what: Misbehaviour, count: u32, now: Instant) -> Report {
        let Some(id) = self.live_of(conn) else { return self.late() };
        let now = self.tick(now);
        let behaviour = &self.config.behaviour;
        let (limit, halves_every) = (behaviour.limit, behaviour.halves_every);
        let points = behaviour.weights.of(what).saturating_mul(count);
        let score = self.update(&id, |peer| peer.score.add(points, now, halves_every));
        if points > 0
            && let Some(score) = score.filter(|score| *score >= limit)
        {
            self.doom(&id, EvictReason::Misbehaved, misbehaved(what, score));
        }
        Report::Applied
    }

    /// A connection failed in another way than by what is [`reported`](Self::reported), as by a fault of its stream:
    /// it will be evicted.
    pub fn errored(&mut self, conn: ConnId, closed: &Closed, now: Instant) -> Report {
        let Some(id) = self.live_of(conn) else { return self.late() };
        self.tick(now);
        self.doom(&id, EvictReason::Errored, closed.clone());
        Report::Applied
    }

    /// The operator wants the connection to a peer ended. Answers whether there is one.
    ///
    /// The peer may come back after its cooldown.
    pub fn disconnect(&mut self, peer: &NodeId, now: Instant) -> bool {
        if self.peers.get(peer).is_none_or(|peer| peer.live().is_none()) {
            return false;
        }
        self.tick(now);
        let reason = DisconnectReason::Requested;
        let closed = Closed::local(Layer::PeerManager, Blame::Nobody, reason, "operator");
        self.doom(peer, EvictReason::Operator, closed);
        true
    }

    /// Orders an eviction, unless one is ordered already.
    pub(super) fn doom(&mut self, id: &NodeId, why: EvictReason, closed: Closed) {
        self.update_live(id, |live| {
            live.doom.get_or_insert(Doom { why, closed, dispensed: false });
        });
    }

    /// Orders the eviction of whoever gives way to a better peer.
    pub(super) fn doom_for_upgrade(&mut self, victim: &NodeId) {
        let reason = DisconnectReason::TooManyPeers;
        let closed = Closed::local(Layer::PeerManager, Blame::Overload, reason, "upgrade");
        self.doom(victim, EvictReason::Upgrade, closed);
    }

    /// Dissolves the upgrades of a seat that is given up: the one it makes, and the one made of it.
    ///
    /// Whoever claimed it keeps its place: the slot that came free is the claimant's. If the seat itself stood in for
    /// a victim that has not left, no slot came free yet, and the claimant waits for that victim in its stead.
    pub(super) fn unlink(&mut self, seat: Seat, claimant: Option<ConnId>) {
        if let Some(victim) = seat.victim {
            self.update_live(&victim, |live| live.claimant = claimant);
        }
        if let Some(claimant) = claimant {
            self.update_seat(claimant, |claiming| claiming.victim = seat.victim);
        }
    }

    /// A peer that cannot be dialled, or failed too often, is not worth its place in the store.
    pub(super) fn forget_if_hopeless(&mut self, id: &NodeId) {
        let Some(peer) = self.peers.get(id) else { return };
        let idle = matches!(peer.state, State::Idle { .. });
        let failures = usize::try_from(peer.failures).unwrap_or(usize::MAX);
        // One of another network is remembered, or gossip would bring it back as new.
        let failed = !self.config.forget_after.is_above(failures) && !peer.incompatible;
        if idle && !peer.protected && (failed || peer.addresses.is_empty()) {
            self.forget(id);
        }
    }

    fn settle_end(&mut self, id: &NodeId, live: &Live, closed: &Closed, now: Instant) {
        let lived = now.saturating_duration_since(live.since) >= self.config.backoff.survival;
        let verdict = match live.doom {
            Some(Doom { why: EvictReason::Upgrade | EvictReason::Operator, dispensed: true, .. }) => {
                Verdict::Innocent
            }
            _ => Verdict::of(closed),
        };
        let Some(peer) = self.peers.get(id) else { return };
        let before = if lived { 0 } else { peer.failures };
        let charged = match verdict {
            Verdict::Innocent => false,
            Verdict::Incompatible => true,
            Verdict::Failure | Verdict::Busy => !lived || closed.blame == Blame::Protocol,
        };
        let failures = before.saturating_add(u32::from(charged));
        let hold = self.backoff().after_connection(id, verdict, failures, now);
        self.update(id, |peer| {
            peer.failures = failures;
            peer.incompatible |= verdict == Verdict::Incompatible;
            if lived {
                clear_address(peer, &live.remote);
            }
            peer.end_live(hold);
        });
        self.touch(id);
    }
}

fn misbehaved(what: Misbehaviour, score: u32) -> Closed {
    Closed::local(Layer::Channel, Blame::Protocol, DisconnectReason::Subprotocol, "misbehaved")
        .with_detail(format!("{what}, score {score}"))
}

fn clear_address(peer: &mut super::state::Peer, remote: &Remote) {
    let Remote::Address(address) = remote else { return };
    let known = peer.addresses.iter_mut().find(|known| known.address == *address);
    known.into_iter().for_each(|known| known.failures = 0);
}
