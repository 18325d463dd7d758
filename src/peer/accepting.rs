//! Incoming connections, and what both directions share: one connection for each peer.

use std::time::Instant;

use super::PeerManager;
use super::answer::{Admitted, PeerUpdate, Reject, Report};
use super::backoff::{Hold, HoldReason, later};
use super::manager::{Entry, Incoming};
use super::order::{Class, Rank};
use super::pools::{PoolName, Slot, Usage};
use super::state::{Introduction, Live, Remote, Seat};
use crate::address::Endpoint;
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::id::{ConnId, Direction, NodeId};

/// How an incoming connection would be admitted.
struct Plan {
    rank: Rank,
    seat: Seat,
    /// Whether it has no slot of its own and takes over that of the connection it replaces.
    inherits: bool,
    stored: bool,
    gives_way: Option<NodeId>,
    endpoint: Endpoint,
}

impl PeerManager {
    /// Somebody opened a connection to us: reserves a slot before any cryptography is done for it.
    ///
    /// When the inbound pool is full, a few handshakes may begin all the same if an unconditional or a better peer
    /// could be behind them.
    ///
    /// # Errors
    ///
    /// [`Reject`]; close the connection. There is nothing to report then.
    pub fn incoming(&mut self, endpoint: &Endpoint, now: Instant) -> Result<ConnId, Reject> {
        let usage = &self.index.usage;
        if usage.handshakes >= self.config.max_inbound_handshakes {
            return Err(Reject::TooManyHandshakes);
        }
        let reserved = usage.inbound.has_room(self.config.max_inbound);
        if !reserved && !self.may_exceed() {
            return Err(Reject::TooManyPeers);
        }
        self.mature(now);
        let conn = self.mint();
        let incoming = Incoming { endpoint: endpoint.clone(), reserved };
        self.index.usage.add(&incoming.usage());
        self.conns.insert(conn, Entry::Incoming(incoming));
        Ok(conn)
    }

    /// An incoming connection ended before its peer was admitted.
    pub fn incoming_failed(&mut self, conn: ConnId, _closed: &Closed, now: Instant) -> Report {
        let Some(usage) = self.incoming_usage(conn) else { return self.late() };
        self.tick(now);
        self.index.usage.subtract(&usage);
        self.conns.remove(&conn);
        Report::Applied
    }

    /// The peer of an incoming connection has proved to be `id`: admits it. An unknown peer is stored.
    ///
    /// # Errors
    ///
    /// [`Reject`], after which the handshake still counts: close the connection and report `incoming_failed`.
    pub fn accepted(&mut self, conn: ConnId, id: NodeId, now: Instant) -> Result<Admitted, Reject> {
        let plan = self.plan(conn, &id, now)?;
        let now = self.tick(now);
        if let Some(usage) = self.incoming_usage(conn) {
            self.index.usage.subtract(&usage);
        }
        plan.gives_way.iter().for_each(|worst| self.forget(worst));
        if !plan.stored {
            self.store(id, plan.rank);
        }
        if let Some(victim) = plan.seat.victim.filter(|_| !plan.inherits) {
            self.claim(&victim, conn, PoolName::Inbound, now);
            self.doom_for_upgrade(&victim);
        }
        let claimant = self.peers.get(&id).and_then(|peer| peer.live()?.claimant);
        let replaces = self.replace(&id, plan.inherits.then_some(conn));
        self.connect(&id, plan.seat, Direction::Inbound, Remote::Endpoint(plan.endpoint), now);
        if plan.inherits {
            self.update_live(&id, |live| live.claimant = claimant);
        }
        Ok(Admitted { replaces })
    }

    /// Sending to the peer works: makes it visible, unless it is about to be evicted.
    pub fn ready(&mut self, conn: ConnId, introduction: Introduction, now: Instant) -> Report {
        let Some(id) = self.live_of(conn) else { return self.late() };
        let Some(live) = self.peers.get(&id).and_then(|peer| peer.live().cloned()) else {
            return self.late();
        };
        if live.up {
            return self.late();
        }
        self.tick(now);
        // A peer that came so far is of our network.
        if self.update(&id, |peer| std::mem::take(&mut peer.incompatible)) == Some(true) {
            self.touch(&id);
        }
        if live.doom.is_some() {
            return Report::Applied;
        }
        self.update_live(&id, |live| live.up = true);
        let Live { direction, remote, .. } = live;
        let Introduction { channels, services, capabilities } = introduction;
        self.emit(PeerUpdate::Up { peer: id, conn, direction, channels, services, capabilities, remote });
        Report::Applied
    }

    pub(super) fn live_of(&self, conn: ConnId) -> Option<NodeId> {
        match self.conns.get(&conn) {
            Some(Entry::Live(id)) => Some(*id),
            _ => None,
        }
    }

    /// Whether a connection in this direction may stand beside, or in place of, what there is.
    ///
    /// Between two connections of opposite directions, the one dialled by the greater identity wins. Both sides
    /// compute the same.
    pub(super) fn may_connect(&self, id: &NodeId, direction: Direction) -> Result<(), Reject> {
        let Some(live) = self.peers.get(id).and_then(|peer| peer.live()) else { return Ok(()) };
        if let Some(doom) = &live.doom {
            return Err(Reject::Evicting(doom.closed.reason));
        }
        let dialled_by_the_greater = match direction {
            Direction::Outbound => self.config.self_id > *id,
            Direction::Inbound => *id > self.config.self_id,
        };
        if live.direction != direction && dialled_by_the_greater {
            return Ok(());
        }
        Err(Reject::AlreadyConnected(live.seat.conn))
    }

    /// Takes the connection to a peer away for another one. If that inherits the slot, it inherits the upgrade, too.
    pub(super) fn replace(&mut self, id: &NodeId, heir: Option<ConnId>) -> Option<ConnId> {
        let old = self.peers.get(id)?.live()?.clone();
        let conn = old.seat.conn;
        self.conns.remove(&conn);
        let hold = Hold { until: self.now, why: HoldReason::Cooldown };
        self.update(id, |peer| peer.end_live(hold));
        match (heir, old.seat.victim) {
            (None, _) => self.unlink(old.seat, old.claimant),
            (Some(heir), Some(victim)) => {
                self.update_live(&victim, |live| live.claimant = Some(heir));
            }
            (Some(_), None) => {}
        }
        if old.up {
            let reason = DisconnectReason::AlreadyConnected;
            let closed = Closed::local(Layer::PeerManager, Blame::Nobody, reason, "replaced");
            self.emit(PeerUpdate::Down { peer: *id, conn, closed });
        }
        Some(conn)
    }

    /// Puts an admitted connection in place.
    pub(super) fn connect(
        &mut self,
        id: &NodeId,
        seat: Seat,
        direction: Direction,
        remote: Remote,
        now: Instant,
    ) {
        let min_age = self.config.upgrade_min_age;
        let young_until = (!min_age.is_zero()).then(|| later(now, min_age));
        let live =
            Live { seat, direction, remote, since: now, young_until, up: false, claimant: None, doom: None };
        self.conns.insert(seat.conn, Entry::Live(*id));
        self.update(id, |peer| peer.connect(live));
    }

    fn may_exceed(&self) -> bool {
        let usage = &self.index.usage;
        let upgradable = usage.inbound.upgrades < self.config.upgrade_slots;
        usage.excess < self.config.max_excess_handshakes
            && (upgradable || !self.config.unconditional.is_empty())
    }

    fn incoming_usage(&self, conn: ConnId) -> Option<Usage> {
        match self.conns.get(&conn) {
            Some(Entry::Incoming(incoming)) => Some(incoming.usage()),
            _ => None,
        }
    }

    fn plan(&self, conn: ConnId, id: &NodeId, now: Instant) -> Result<Plan, Reject> {
        let Some(Entry::Incoming(incoming)) = self.conns.get(&conn) else {
            return Err(Reject::UnknownConnection);
        };
        if *id == self.config.self_id {
            return Err(Reject::SelfConnection);
        }
        self.may_connect(id, Direction::Inbound)?;
        let known = self.peers.get(id);
        let rank = known.map_or_else(|| Rank::of(id, &self.config, self.seed), |peer| peer.rank);
        let (slot, victim, inherits) = self.place(incoming, id, rank, now.max(self.now))?;
        let stored = known.is_some();
        let gives_way = if stored { None } else { self.stranger_to_give_up()? };
        let seat = Seat { conn, slot, victim };
        Ok(Plan { rank, seat, inherits, stored, gives_way, endpoint: incoming.endpoint.clone() })
    }

    /// The slot for an incoming connection, the peer whose place it takes, and whether it inherits both.
    fn place(
        &self,
        incoming: &Incoming,
        id: &NodeId,
        rank: Rank,
        now: Instant,
    ) -> Result<(Slot, Option<NodeId>, bool), Reject> {
        let pool = PoolName::Inbound;
        if rank.merit.class == Class::Unconditional {
            return Ok((Slot::Unconditional, None, false));
        }
        if incoming.reserved || self.index.usage.inbound.has_room(self.config.max_inbound) {
            return Ok((Slot::Limited(pool), None, false));
        }
        if let Some(old) = self.peers.get(id).and_then(|peer| peer.live()) {
            return Ok((old.seat.slot, old.seat.victim, true));
        }
        let (slot, victim) = self.seat_for(rank, pool, now).ok_or(Reject::TooManyPeers)?;
        Ok((slot, victim, false))
    }

    /// Whom a full store drops for somebody who is connected: the worst idle peer, whoever that is.
    fn stranger_to_give_up(&self) -> Result<Option<NodeId>, Reject> {
        if self.peers.len() < self.config.max_peers {
            return Ok(None);
        }
        self.index.prunable.first().map(|worst| Some(worst.3)).ok_or(Reject::StoreFull)
    }
}
