//! "Who may come in", "Two connections to one peer", and `ready`.

use std::net::IpAddr;

use super::dialing::Seat;
use super::ending::clear_address;
use super::state::{Claim, Doom, Handshake, Live, Model, Pool, is_kept};
use crate::address::{Endpoint, IpPrefix};
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::id::{ConnId, Direction, NodeId};
use crate::peer::{Admitted, BanTarget, EvictReason, Introduction, PeerUpdate, Reject, Remote, Report};

// Who may come in: `incoming`, `accepted`.

impl Model {
    pub(super) fn incoming(&mut self, endpoint: &Endpoint) -> Result<ConnId, Reject> {
        let groups = &self.config.groups;
        let ip = endpoint.ip();
        if self.handshakes.len() >= self.config.max_inbound_handshakes {
            return Err(Reject::TooManyHandshakes);
        }
        if self.is_banned_ip(ip) && self.config.unconditional.is_empty() {
            return Err(Reject::Banned);
        }
        let group = self.group(ip);
        if group.is_some_and(|group| !groups.max_inbound.is_above(self.inbound_of(group))) {
            return Err(Reject::GroupFull);
        }
        let begun = group.map_or(0, |group| self.begun_in_window(group));
        if group.is_some() && !groups.max_handshakes.is_above(begun) {
            return Err(Reject::GroupRate);
        }
        let reserved = self.has_room(Pool::Inbound, 0);
        if !reserved && !self.may_exceed() {
            return Err(Reject::TooManyPeers);
        }
        if let Some(group) = group {
            let began = self.windows.get(&group).map_or(self.now, |(began, _)| *began);
            let began = if begun == 0 { self.now } else { began };
            self.windows.insert(group, (began, begun + 1));
        }
        let conn = self.mint();
        self.handshakes.insert(conn, Handshake { endpoint: endpoint.clone(), reserved });
        Ok(conn)
    }

    /// Connections in inbound slots, and handshakes, of a group.
    fn inbound_of(&self, group: IpPrefix) -> usize {
        let here = |endpoint: &Endpoint| self.group(endpoint.ip()) == Some(group);
        let handshakes = self.handshakes.values().filter(|handshake| here(&handshake.endpoint));
        self.lives_of(Pool::Inbound, group) + handshakes.count()
    }

    /// Handshakes that a group began in its window, if that is not over.
    fn begun_in_window(&self, group: IpPrefix) -> usize {
        let Some((began, count)) = self.windows.get(&group) else { return 0 };
        if self.now - *began < self.config.groups.window { *count } else { 0 }
    }

    /// Whether a handshake may begin that has no slot.
    fn may_exceed(&self) -> bool {
        let excess = self.handshakes.values().filter(|handshake| !handshake.reserved).count();
        excess < self.config.max_excess_handshakes
            && (self.takings(Pool::Inbound) < self.config.upgrade_slots
                || !self.config.unconditional.is_empty())
    }

    pub(super) fn incoming_failed(&mut self, conn: ConnId) -> Report {
        match self.handshakes.remove(&conn) {
            Some(_) => Report::Applied,
            None => Report::Late,
        }
    }

    pub(super) fn accepted(&mut self, conn: ConnId, id: NodeId) -> Result<Admitted, Reject> {
        let handshake = self.handshakes.get(&conn).cloned().ok_or(Reject::UnknownConnection)?;
        if id == self.config.self_id {
            return Err(Reject::SelfConnection);
        }
        self.check_ban(&id, handshake.endpoint.ip())?;
        self.check_two(&id, Direction::Inbound)?;
        let own = usize::from(handshake.reserved);
        let unconditional = self.is_unconditional(&id);
        let old = self.live(&id).cloned().filter(|_| !unconditional && !self.has_room(Pool::Inbound, own));
        let seat = match &old {
            // It has no slot of its own, and inherits that of the connection that it replaces.
            Some(old) => Seat { slot: old.slot, takes: None },
            None => self.seat(&id, Pool::Inbound, own).ok_or(Reject::TooManyPeers)?,
        };
        if !self.peers.contains_key(&id) {
            self.make_room_for_the_connected()?;
            let stranger = self.stranger(id);
            self.peers.insert(id, stranger);
        }
        self.handshakes.remove(&conn);
        if let Some((victim, why)) = seat.takes {
            self.take(conn, victim, why, Pool::Inbound);
            self.connected(victim).into_iter().for_each(|peer| self.order_out(&peer, why));
        }
        if let Some(old) = &old {
            self.inherit_claims(old.conn, conn);
        }
        let replaces = self.replace(&id);
        self.connect(&id, conn, seat.slot, Direction::Inbound, Remote::Endpoint(handshake.endpoint));
        if let (Some(old), Some(live)) = (old, self.live_mut(&id)) {
            live.counts_by = old.counts_by;
        }
        Ok(Admitted { replaces })
    }

    /// In a full store the worst idle peer gives way to whoever is connected.
    fn make_room_for_the_connected(&mut self) -> Result<(), Reject> {
        if self.peers.len() < self.config.max_peers {
            return Ok(());
        }
        let (_, worst) = self.worst_idle().ok_or(Reject::StoreFull)?;
        self.peers.remove(&worst);
        Ok(())
    }

    fn inherit_claims(&mut self, old: ConnId, heir: ConnId) {
        for Claim { by, of, .. } in &mut self.claims {
            *by = if *by == old { heir } else { *by };
            *of = if *of == old { heir } else { *of };
        }
    }

    /// A ban of the id; a ban of the prefix, unless the peer is unconditional.
    pub(super) fn check_ban(&self, id: &NodeId, ip: Option<IpAddr>) -> Result<(), Reject> {
        let by_prefix = self.is_banned_ip(ip) && !self.is_unconditional(id);
        let banned = by_prefix || self.bans.contains_key(&BanTarget::Peer(*id));
        if banned { Err(Reject::Banned) } else { Ok(()) }
    }
}

// Two connections to one peer.

impl Model {
    pub(super) fn check_two(&self, id: &NodeId, direction: Direction) -> Result<(), Reject> {
        let Some(live) = self.live(id) else { return Ok(()) };
        if let Some(Doom { closed, .. }) = &live.doom {
            return Err(Reject::Evicting(closed.reason));
        }
        let dialler = match direction {
            Direction::Outbound => self.config.self_id,
            Direction::Inbound => *id,
        };
        let wins = live.direction != direction && dialler == self.config.self_id.max(*id);
        if wins { Ok(()) } else { Err(Reject::AlreadyConnected(live.conn)) }
    }

    /// Takes the connection to a peer away for another one.
    pub(super) fn replace(&mut self, id: &NodeId) -> Option<ConnId> {
        let peer = self.peers.get_mut(id)?;
        let Live { conn, up, since, remote, .. } = peer.live.take()?;
        let lived = self.now - since;
        peer.uptime += lived;
        if lived >= self.config.backoff.survival {
            peer.failures = 0;
            clear_address(peer, &remote);
        }
        self.leave_seat(conn);
        if up {
            let reason = DisconnectReason::AlreadyConnected;
            let closed = Closed::local(Layer::PeerManager, Blame::Nobody, reason, "replaced");
            self.updates.push(PeerUpdate::Down { peer: *id, conn, closed });
        }
        Some(conn)
    }

    pub(super) fn ready(&mut self, conn: ConnId, introduction: &Introduction) -> Report {
        let now = self.now;
        let Some(id) = self.connected(conn) else { return Report::Late };
        let is_seed = self.config.is_seed(&id);
        let wanted = self.config.quotas.iter().map(|quota| &quota.wants);
        let offers = wanted.filter(|wants| wants.is_met_by(introduction)).cloned().collect();
        let stay = now.checked_add(self.config.seeds.stay);
        let Some(peer) = self.peers.get_mut(&id) else { return Report::Late };
        let Some(live) = peer.live.as_mut().filter(|live| !live.up) else { return Report::Late };
        peer.incompatible = false;
        peer.reached |= live.direction == Direction::Outbound;
        peer.offers = Some(offers);
        if live.doom.is_some() {
            return Report::Applied;
        }
        live.up = true;
        if is_seed && live.direction == Direction::Outbound {
            let done = stay.map(|at| (at, EvictReason::SeedDone));
            live.time_is_up = done.into_iter().chain(live.time_is_up).min();
        }
        let Introduction { channels, services, capabilities } = introduction.clone();
        let (direction, remote) = (live.direction, live.remote.clone());
        let peer = id;
        self.updates.push(PeerUpdate::Up { peer, conn, direction, channels, services, capabilities, remote });
        Report::Applied
    }

    /// Whom the store gives up first: idle and not kept, of least merit, then not reached, then of most failures,
    /// then by the drawn order.
    pub(super) fn worst_idle(&self) -> Option<(super::storing::Worth, NodeId)> {
        let idle = self.peers.values().filter(|peer| peer.is_idle() && !is_kept(&self.config, &peer.id));
        idle.map(|peer| (self.worth(&peer.id), peer.id)).min()
    }
}
