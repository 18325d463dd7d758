//! "Whom to dial", "Seats", and how a dial becomes a connection.

use std::time::Instant;

use super::state::{Attempt, Claim, Live, Model, Peer, Pool, Rank, Slot, address_ip};
use crate::address::NodeAddress;
use crate::event::{Because, Rule};
use crate::id::{ConnId, Direction, NodeId};
use crate::peer::{Admitted, BanTarget, Dial, EvictReason, Limit, Quota, Reject, Remote};

/// Where a newcomer sits, and whose place it takes for which reason.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    pub(super) slot: Slot,
    pub(super) takes: Option<(ConnId, EvictReason)>,
}

// Whom to dial: `try_dial_next`.

impl Model {
    pub(super) fn try_dial_next(&mut self) -> Option<Dial> {
        if self.dials().count() >= self.config.max_dials_in_flight {
            return None;
        }
        let (id, seat, rule) = self.choose()?;
        let address = self.address_to_dial(self.peers.get(&id)?)?.clone();
        let conn = self.mint();
        if let Some((victim, why)) = seat.takes {
            self.take(conn, victim, why, Pool::Outbound);
        }
        let peer = self.peers.get_mut(&id)?;
        peer.dial = Some(Attempt { conn, slot: seat.slot, address: address.clone() });
        Some(Dial { conn, address, because: Because::new(rule, self.now) })
    }

    fn choose(&self) -> Option<(NodeId, Seat, Rule)> {
        let dialable: Vec<&Peer> = self.peers.values().filter(|peer| self.is_dialable(peer)).collect();
        let (seeds, others): (Vec<&Peer>, Vec<&Peer>) =
            dialable.into_iter().partition(|peer| self.config.is_seed(&peer.id));
        // 1. Quotas, in order.
        for quota in self.config.quotas.iter().filter(|quota| self.is_short(quota)) {
            let offering = others.iter().filter(|peer| peer.offered(&quota.wants));
            if let Some(best) = offering.max_by_key(|peer| self.rank(&peer.id))
                && let Some(seat) = self.seat(&best.id, Pool::Outbound, 0)
            {
                return Some((best.id, seat, rule_of(seat, Rule::Quota)));
            }
        }
        // 2. The best that is no seed.
        if let Some(best) = others.iter().max_by_key(|peer| self.rank(&peer.id)) {
            let seat = self.seat(&best.id, Pool::Outbound, 0)?;
            return Some((best.id, seat, rule_of(seat, Rule::FreeSlot)));
        }
        // 3. The best seed, if nobody else is dialable. It takes nobody's place.
        let best = seeds.iter().max_by_key(|peer| self.rank(&peer.id))?;
        let seat = self.seat(&best.id, Pool::Outbound, 0)?;
        Some((best.id, seat, rule_of(seat, Rule::Seed)))
    }

    fn is_dialable(&self, peer: &Peer) -> bool {
        let banned = self.bans.contains_key(&BanTarget::Peer(peer.id));
        peer.is_idle() && peer.hold.is_none() && !banned && self.address_to_dial(peer).is_some()
    }

    /// The address that is not blocked and failed least, the oldest of those.
    fn address_to_dial<'a>(&self, peer: &'a Peer) -> Option<&'a NodeAddress> {
        let open = peer.addresses.iter().filter(|known| !self.is_blocked(&peer.id, &known.address));
        open.min_by_key(|known| known.failures).map(|known| &known.address)
    }

    pub(super) fn is_blocked(&self, id: &NodeId, address: &NodeAddress) -> bool {
        let ip = address_ip(address);
        let crowded = self.group(ip).is_some_and(|group| {
            let in_group = |address: &NodeAddress| self.group(address_ip(address)) == Some(group);
            let dials = self.dials().filter(|(_, dial)| dial.slot != Slot::Unconditional);
            let dials = dials.filter(|(_, dial)| in_group(&dial.address)).count();
            !self.config.groups.max_outbound.is_above(dials + self.lives_of(Pool::Outbound, group))
        });
        !self.is_unconditional(id) && (self.is_banned_ip(ip) || crowded)
    }

    pub(super) fn is_short(&self, quota: &Quota) -> bool {
        let up = self.up_and_offering(quota);
        let dialled = |peer: &&Peer| peer.dial.is_some() && peer.live.is_none();
        let coming = self.peers.values().filter(dialled).filter(|peer| peer.offered(&quota.wants));
        up + coming.count() < quota.at_least
    }

    fn up_and_offering(&self, quota: &Quota) -> usize {
        self.peers.values().filter(|peer| peer.stays_up() && peer.offered(&quota.wants)).count()
    }
}

fn rule_of(seat: Seat, otherwise: Rule) -> Rule {
    match seat.takes {
        Some((_, EvictReason::Quota)) => Rule::Quota,
        Some((_, EvictReason::Rotation)) => Rule::Rotation,
        Some(_) => Rule::Upgrade,
        None if seat.slot == Slot::Unconditional => Rule::Unconditional,
        None => otherwise,
    }
}

// Seats.

impl Model {
    /// Where a newcomer has a seat. `own` slots of the pool are its own already, and do not stand in its way.
    pub(super) fn seat(&self, newcomer: &NodeId, pool: Pool, own: usize) -> Option<Seat> {
        // 1.
        if self.is_unconditional(newcomer) {
            return Some(Seat { slot: Slot::Unconditional, takes: None });
        }
        let slot = Slot::Limited(pool);
        // 2.
        if self.has_room(pool, own) {
            return Some(Seat { slot, takes: None });
        }
        // 3.
        let interval = self.config.upgrade_interval;
        let last = self.last_taking[pool as usize];
        let too_soon = last.and_then(|last| last.checked_add(interval)).is_some_and(|next| next > self.now);
        if self.takings(pool) >= self.config.upgrade_slots || too_soon || self.config.is_seed(newcomer) {
            return None;
        }
        let takes = self.place_of(newcomer, pool)?;
        Some(Seat { slot, takes: Some(takes) })
    }

    /// Whether the pool has room beside `own` slots.
    pub(super) fn has_room(&self, pool: Pool, own: usize) -> bool {
        match self.limit(pool) {
            Limit::Unlimited => true,
            Limit::AtMost(limit) => self.used(pool) < limit + self.takings(pool) + own,
        }
    }

    /// Whose place a newcomer may take, and on what grounds.
    fn place_of(&self, newcomer: &NodeId, pool: Pool) -> Option<(ConnId, EvictReason)> {
        let (worst, worst_conn) = self.worst_victim(pool)?;
        let rank = self.rank(newcomer);
        if self.outranks(rank, worst) {
            return Some((worst_conn, EvictReason::Upgrade));
        }
        if pool == Pool::Inbound {
            return self.aged_victim(rank).map(|conn| (conn, EvictReason::Age));
        }
        let offered =
            |quota: &&Quota| self.peers.get(newcomer).is_some_and(|peer| peer.offered(&quota.wants));
        if rank.0 < worst.0 {
            return None;
        }
        if self.config.quotas.iter().filter(offered).any(|quota| self.is_short(quota)) {
            return Some((worst_conn, EvictReason::Quota));
        }
        let rotates = self.config.rotate_every.and_then(|every| self.last_rotation.checked_add(every));
        rotates.filter(|at| *at <= self.now).map(|_| (worst_conn, EvictReason::Rotation))
    }

    /// Of the victims that are old enough and of no greater class, the oldest.
    fn aged_victim(&self, newcomer: Rank) -> Option<ConnId> {
        let max_age = self.config.inbound_max_age?;
        let victims = self.lives().filter(|(peer, live)| self.is_victim(peer, live, Pool::Inbound));
        let old = victims.filter(|(_, live)| self.now - live.since >= max_age);
        let old = old.filter(|(peer, _)| self.class(&peer.id) <= newcomer.0);
        old.map(|(_, live)| (live.since, live.conn)).min().map(|(_, conn)| conn)
    }

    fn worst_victim(&self, pool: Pool) -> Option<(Rank, ConnId)> {
        let victims = self.lives().filter(|(peer, live)| self.is_victim(peer, live, pool));
        victims.map(|(peer, live)| (self.rank(&peer.id), live.conn)).min()
    }

    fn is_victim(&self, peer: &Peer, live: &Live, pool: Pool) -> bool {
        let claimed = self.claims.iter().any(|claim| claim.of == live.conn);
        let old_enough = self.now - live.since >= self.config.upgrade_min_age;
        let needed = self.config.quotas.iter().any(|quota| {
            live.up && peer.offered(&quota.wants) && self.up_and_offering(quota) <= quota.at_least
        });
        live.slot == Slot::Limited(pool)
            && live.doom.is_none()
            && !claimed
            && !self.config.is_protected(&peer.id)
            && old_enough
            && !needed
    }

    /// Begins to take a place.
    pub(super) fn take(&mut self, by: ConnId, of: ConnId, why: EvictReason, pool: Pool) {
        self.last_taking[pool as usize] = Some(self.now);
        if why == EvictReason::Rotation {
            self.last_rotation = self.now;
        }
        self.claims.push(Claim { by, of, why });
    }
}

// A dial is `dialed`.

impl Model {
    pub(super) fn dialed(&mut self, conn: ConnId) -> Result<Admitted, Reject> {
        let id = self.dialled(conn).ok_or(Reject::UnknownConnection)?;
        let attempt = self.peers.get(&id).and_then(|peer| peer.dial.clone());
        let attempt = attempt.ok_or(Reject::UnknownConnection)?;
        self.check_ban(&id, address_ip(&attempt.address))?;
        self.check_two(&id, Direction::Outbound)?;
        let goes = self.who_goes(&id, &attempt)?;
        self.claims.retain(|claim| claim.by != conn);
        if let Some((victim, why)) = goes
            && let Some(peer) = self.connected(victim)
        {
            self.claims.push(Claim { by: conn, of: victim, why });
            self.order_out(&peer, why);
        }
        let replaces = self.replace(&id);
        let remote = Remote::Address(attempt.address);
        self.connect(&id, conn, attempt.slot, Direction::Outbound, remote);
        Ok(Admitted { replaces })
    }

    /// Who has to go for a dial that became a connection.
    fn who_goes(&self, id: &NodeId, attempt: &Attempt) -> Result<Option<(ConnId, EvictReason)>, Reject> {
        let Slot::Limited(pool) = attempt.slot else { return Ok(None) };
        if !self.has_room(pool, 1) {
            return Err(Reject::TooManyPeers);
        }
        let Some(claim) = self.claims.iter().find(|claim| claim.by == attempt.conn) else { return Ok(None) };
        // Without the claim there is one taking less, and its victim's slot is in use for good.
        if self.has_room(pool, 0) {
            return Ok(None);
        }
        let claimed = Some((claim.of, claim.why));
        let Some(victim) = self.connected(claim.of) else { return Ok(None) };
        if self.live(&victim).is_some_and(|live| live.doom.is_some()) {
            return Ok(claimed);
        }
        let worst = self.worst_victim(pool);
        if self.config.is_protected(&victim) {
            let worse = worst.filter(|(worst, _)| self.outranks(self.rank(id), *worst));
            return worse.map(|(_, conn)| Some((conn, claim.why))).ok_or(Reject::TooManyPeers);
        }
        match worst {
            Some((rank, conn)) if rank < self.rank(&victim) => Ok(Some((conn, claim.why))),
            _ => Ok(claimed),
        }
    }

    /// Puts an admitted connection in place.
    pub(super) fn connect(
        &mut self,
        id: &NodeId,
        conn: ConnId,
        slot: Slot,
        direction: Direction,
        remote: Remote,
    ) {
        let since = self.now;
        let mode = self.config.seeds.mode.and_then(|mode| since.checked_add(mode));
        let time_is_up = mode.map(|at: Instant| (at, EvictReason::SeedMode));
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.hold = None;
        peer.dial = peer.dial.take().filter(|dial| dial.conn != conn);
        let counts_by = remote.clone();
        let (up, doom) = (false, None);
        peer.live = Some(Live { conn, slot, direction, remote, counts_by, since, up, time_is_up, doom });
    }
}
