//! Incoming connections, and what both directions share: one connection for each peer.

use std::time::Instant;

use super::PeerManager;
use super::answer::{Admitted, PeerUpdate, Reject, Report};
use super::arena::Key;
use super::backoff::{Hold, HoldReason, later};
use super::groups::Group;
use super::manager::{Entry, Incoming};
use super::order::{Class, order_of};
use super::pools::{Ground, PoolName, Slot};
use super::seating::{Newcomer, Place};
use super::state::{EvictReason, Introduction, Live, Peer, Remote, Seat, State, Wait};
use crate::address::Endpoint;
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::id::{ConnId, Direction, NodeId};

/// How an incoming connection would be admitted.
struct Plan {
    key: Option<Key>,
    seat: Seat,
    /// Whether it has no slot of its own and takes over that of the connection it replaces.
    inherits: bool,
    gives_way: Option<Key>,
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
        let now = self.mature(now);
        let usage = &self.index.usage;
        if usage.handshakes >= self.config.max_inbound_handshakes {
            return Err(Reject::TooManyHandshakes);
        }
        let group = self.check_endpoint(endpoint, now)?;
        let reserved = usage.inbound.has_room(self.config.max_inbound);
        if !reserved && !self.may_exceed() {
            return Err(Reject::TooManyPeers);
        }
        let conn = self.mint();
        let incoming = Incoming { endpoint: endpoint.clone(), reserved, group };
        self.index.usage.add(&incoming.usage());
        self.index.groups.count_connected(group, Direction::Inbound, true);
        self.index.groups.begin(group, now, self.config.groups.window);
        self.conns.insert(conn, Entry::Incoming(incoming));
        Ok(conn)
    }

    /// Whether anybody may call from there; answers with the group of addresses that it counts towards.
    fn check_endpoint(&self, endpoint: &Endpoint, now: Instant) -> Result<Option<Group>, Reject> {
        let Some(ip) = endpoint.ip() else { return Ok(None) };
        // Once somebody is unconditional, only the identity tells who a ban of a range covers.
        if self.bans.of_ip(ip).is_some() && self.config.unconditional.is_empty() {
            return Err(Reject::Banned);
        }
        let limits = &self.config.groups;
        let Some(group) = Group::of(ip, limits) else { return Ok(None) };
        if !limits.max_inbound.is_above(self.index.groups.connected(group, Direction::Inbound)) {
            return Err(Reject::GroupFull);
        }
        if !limits.max_handshakes.is_above(self.index.groups.begun(group, now, limits.window).0) {
            return Err(Reject::GroupRate);
        }
        Ok(Some(group))
    }

    /// An incoming connection ended before its peer was admitted.
    pub fn incoming_failed(&mut self, conn: ConnId, _closed: &Closed, now: Instant) -> Report {
        self.mature(now);
        if self.end_incoming(conn).is_none() {
            return self.late();
        }
        Report::Applied
    }

    /// The peer of an incoming connection has proved to be `id`: admits it. An unknown peer is stored.
    ///
    /// # Errors
    ///
    /// [`Reject`], after which the handshake still counts: close the connection and report `incoming_failed`.
    pub fn accepted(&mut self, conn: ConnId, id: NodeId, now: Instant) -> Result<Admitted, Reject> {
        let now = self.mature(now);
        let plan = self.plan(conn, &id, now)?;
        self.end_incoming(conn);
        plan.gives_way.into_iter().for_each(|worst| self.forget(worst));
        let key = plan.key.unwrap_or_else(|| {
            let order = order_of(&id, self.seed);
            self.insert(Peer::new(id, order, &self.config))
        });
        if plan.inherits {
            return Ok(self.inherit(key, plan, now));
        }
        let Seat { slot, ground, victim, .. } = plan.seat;
        self.claim(Place { slot, ground, victim }, conn, now);
        if let Some(victim) = victim {
            self.doom_for(victim, ground, key);
        }
        let replaces = self.replace(key, None);
        self.connect(key, plan.seat, Direction::Inbound, Remote::Endpoint(plan.endpoint), now);
        Ok(Admitted { replaces })
    }

    /// Puts a connection in the place of the one it replaces, with the claims on that and of that.
    fn inherit(&mut self, key: Key, plan: Plan, now: Instant) -> Admitted {
        let claimant = self.peers.get(key).and_then(|peer| peer.live()?.claimant);
        let replaces = self.replace(key, Some(plan.seat.conn));
        self.connect(key, plan.seat, Direction::Inbound, Remote::Endpoint(plan.endpoint), now);
        self.update_live(key, |live| live.claimant = claimant);
        Admitted { replaces }
    }

    /// Sending to the peer works: makes it visible, unless it is about to be evicted.
    pub fn ready(&mut self, conn: ConnId, introduction: Introduction, now: Instant) -> Report {
        let now = self.mature(now);
        let Some(key) = self.live_of(conn) else { return self.late() };
        let Some(live) = self.peers.get(key).and_then(|peer| peer.live().cloned()) else {
            return self.late();
        };
        if live.up {
            return self.late();
        }
        let offers = self.offers_mask(|wants| wants.is_met_by(&introduction));
        let changed = self.update(key, |peer| {
            // A peer that came so far is of our network.
            let forgiven = std::mem::take(&mut peer.incompatible);
            // Whoever dialled us may tell any address.
            peer.reached |= live.direction == Direction::Outbound;
            peer.standing_mut().offers.replace(offers) != Some(offers) || forgiven
        });
        if changed == Some(true) {
            self.touch(key);
        }
        if live.doom.is_some() {
            return Report::Applied;
        }
        let seeds = &self.config.seeds;
        let stay = (later(now, seeds.stay), EvictReason::SeedDone);
        self.update(key, |peer| {
            let asked = peer.roles.seed && live.direction == Direction::Outbound;
            let Some(live) = peer.live_mut() else { return };
            live.up = true;
            if asked {
                live.leaves = Some(live.leaves.map_or(stay, |leaves| leaves.min(stay)));
            }
        });
        let Live { direction, remote, .. } = live;
        let Some(peer) = self.peers.get(key).map(|peer| peer.id) else { return Report::Applied };
        let Introduction { channels, services, capabilities } = introduction;
        self.emit(PeerUpdate::Up { peer, conn, direction, channels, services, capabilities, remote });
        Report::Applied
    }

    pub(super) fn live_of(&self, conn: ConnId) -> Option<Key> {
        match self.conns.get(&conn) {
            Some(Entry::Live(key)) => Some(*key),
            _ => None,
        }
    }

    /// Whether a connection in this direction may stand beside, or in place of, what there is.
    ///
    /// Between two connections of opposite directions, the one dialled by the greater identity wins. Both sides
    /// compute the same.
    pub(super) fn may_connect(
        &self,
        id: &NodeId,
        live: Option<&Live>,
        direction: Direction,
    ) -> Result<(), Reject> {
        let Some(live) = live else { return Ok(()) };
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
    pub(super) fn replace(&mut self, key: Key, heir: Option<ConnId>) -> Option<ConnId> {
        let peer = self.peers.get(key)?;
        let (id, old) = (peer.id, peer.live()?.clone());
        let conn = old.seat.conn;
        self.conns.remove(&conn);
        let (now, hold) = (self.now, Hold { until: self.now, why: HoldReason::Cooldown });
        let lived = now.saturating_duration_since(old.since) >= self.config.backoff.survival;
        self.update(key, |peer| {
            if lived {
                peer.failures = 0;
                peer.clear_address(&old.remote);
            }
            peer.standing_mut().settle_uptime(old.since, now);
            peer.end_live(hold);
        });
        self.touch(key);
        match (heir, old.seat.victim) {
            (None, _) => self.unlink(old.seat, old.claimant),
            (Some(heir), Some(victim)) => {
                self.update_live(victim, |live| live.claimant = Some(heir));
            }
            (Some(_), None) => {}
        }
        if old.up {
            let reason = DisconnectReason::AlreadyConnected;
            let closed = Closed::local(Layer::PeerManager, Blame::Nobody, reason, "replaced");
            self.emit(PeerUpdate::Down { peer: id, conn, closed });
        }
        Some(conn)
    }

    /// Puts an admitted connection in place.
    pub(super) fn connect(
        &mut self,
        key: Key,
        seat: Seat,
        direction: Direction,
        remote: Remote,
        now: Instant,
    ) {
        let min_age = self.config.upgrade_min_age;
        let young_until = (!min_age.is_zero()).then(|| later(now, min_age));
        let leaves = self.config.seeds.mode.map(|stay| (later(now, stay), EvictReason::SeedMode));
        self.conns.insert(seat.conn, Entry::Live(key));
        self.unpark(key);
        if self.peers.get(key).is_some_and(|peer| matches!(peer.state, State::Idle(Wait::Held(_)))) {
            // The hold is over, and must not come back after a restart.
            self.touch(key);
        }
        self.update(key, |peer| {
            // From now on its time counts.
            peer.standing_mut();
            let (up, claimant, doom) = (false, None, None);
            let since = now;
            peer.connect(Live { seat, direction, remote, since, young_until, leaves, up, claimant, doom });
        });
        self.regrade(key);
    }

    /// Ends a handshake; answers what it was.
    fn end_incoming(&mut self, conn: ConnId) -> Option<Incoming> {
        let Some(Entry::Incoming(incoming)) = self.conns.get(&conn).cloned() else { return None };
        self.index.usage.subtract(&incoming.usage());
        self.index.groups.count_connected(incoming.group, Direction::Inbound, false);
        self.conns.remove(&conn);
        Some(incoming)
    }

    fn may_exceed(&self) -> bool {
        let usage = &self.index.usage;
        let upgradable = usage.inbound.upgrades < self.config.upgrade_slots;
        usage.excess < self.config.max_excess_handshakes
            && (upgradable || !self.config.unconditional.is_empty())
    }

    fn plan(&self, conn: ConnId, id: &NodeId, now: Instant) -> Result<Plan, Reject> {
        let Some(Entry::Incoming(incoming)) = self.conns.get(&conn) else {
            return Err(Reject::UnknownConnection);
        };
        if *id == self.config.self_id {
            return Err(Reject::SelfConnection);
        }
        if self.is_banned(id, incoming.endpoint.ip()) {
            return Err(Reject::Banned);
        }
        let order = order_of(id, self.seed);
        let key = self.find_ordered(id, order);
        let known = key.and_then(|key| self.peers.get(key));
        let live = known.and_then(Peer::live);
        self.may_connect(id, live, Direction::Inbound)?;
        let newcomer = match known {
            Some(peer) => Newcomer::of(peer),
            None => Newcomer::of(&Peer::new(*id, order, &self.config)),
        };
        let (place, inherits) = self.place(incoming, newcomer, live, now)?;
        let gives_way =
            if known.is_some() { None } else { self.stranger_to_give_up().ok_or(Reject::StoreFull)? };
        let group = match live.filter(|_| inherits) {
            Some(old) => old.seat.group,
            None => incoming.group.filter(|_| place.slot != Slot::Unconditional),
        };
        let seat = Seat { conn, slot: place.slot, ground: place.ground, victim: place.victim, group };
        Ok(Plan { key, seat, inherits, gives_way, endpoint: incoming.endpoint.clone() })
    }

    /// The place for an incoming connection, and whether it inherits that of the connection it replaces.
    fn place(
        &self,
        incoming: &Incoming,
        newcomer: Newcomer,
        old: Option<&Live>,
        now: Instant,
    ) -> Result<(Place, bool), Reject> {
        let pool = PoolName::Inbound;
        let (usage, limit) = (self.index.usage.inbound, self.config.max_inbound);
        let unconditional = newcomer.merit.class == Class::Unconditional;
        let over = incoming.reserved && usage.is_over(limit);
        if !unconditional && (incoming.reserved || usage.has_room(limit)) && !over {
            let slot = Slot::Limited(pool);
            return Ok((Place { slot, ground: Ground::Free, victim: None }, false));
        }
        if !unconditional && let Some(Live { seat, .. }) = old {
            return Ok((Place { slot: seat.slot, ground: seat.ground, victim: seat.victim }, true));
        }
        let place = self.place_for(newcomer, pool, now);
        Ok((place.ok_or(Reject::TooManyPeers)?, false))
    }
}
