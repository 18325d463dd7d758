//! Outgoing connections: whom to dial, and how a dial ends.

use std::time::Instant;

use super::PeerManager;
use super::answer::{Admitted, Dial, Reject, Report};
use super::arena::Key;
use super::backoff::Verdict;
use super::groups::Group;
use super::manager::Entry;
use super::pools::{Ground, PoolName, Slot};
use super::seating::{Newcomer, Place};
use super::state::{Address, Attempt, Peer, Remote, Seat, State, Wait};
use crate::address::NodeAddress;
use crate::event::Closed;
use crate::id::{ConnId, Direction};

/// How many peers that cannot be dialled one call parks, at most. What is left is parked by the next call, which
/// `next_wakeup` asks for at once.
const MAX_PARKED: usize = 1024;

/// A line of peers that wait to be dialled.
#[derive(Debug, Clone, Copy)]
enum Line {
    Due,
    Offering(usize),
    Seeds,
}

/// Whom to dial, and where.
struct Choice {
    line: Line,
    key: Key,
    address: usize,
    place: Place,
}

impl PeerManager {
    /// Takes the next dial to make, and reserves its slot. Call it until it answers `None`.
    ///
    /// Every dial must end in [`dialed`](Self::dialed) or [`dial_failed`](Self::dial_failed): the manager has no
    /// timeout of its own.
    pub fn try_dial_next(&mut self, now: Instant) -> Option<Dial> {
        let now = self.mature(now);
        if self.index.usage.dials >= self.config.max_dials_in_flight {
            return None;
        }
        let Choice { line, key, address, place } = self.choose(now)?;
        let peer = self.peers.get(key)?;
        let address = peer.address_at(address)?;
        let because = match line {
            Line::Offering(quota) if place.ground == Ground::Free => self.quota(quota),
            _ => self.because_dialled(peer, place),
        };
        let conn = self.mint();
        self.claim(place, conn, now);
        self.conns.insert(conn, Entry::Dial(key));
        let ip = address.place().ip().filter(|_| place.slot != Slot::Unconditional);
        let group = ip.and_then(|ip| Group::of(ip, &self.config.groups));
        let seat = Seat { conn, slot: place.slot, ground: place.ground, victim: place.victim, group };
        let attempt = Attempt { seat, address: address.clone() };
        self.update(key, |peer| peer.state = State::Dialing(Box::new(attempt)));
        Some(Dial { conn, address, because })
    }

    /// Who is at the head of the line and would have a place, as far as can be told without parking anybody.
    pub(super) fn next_to_dial(&self) -> Option<Key> {
        let quotas = (0..self.config.quotas.len()).filter(|quota| self.is_short(*quota));
        let seeds = (self.index.due.is_empty() && self.lifted.is_empty()).then_some(Line::Seeds);
        let mut lines = quotas.map(Line::Offering).chain([Line::Due]).chain(seeds);
        lines.find_map(|line| {
            self.head(line).filter(|key| self.outbound_place(line, *key, self.now).is_some())
        })
    }

    fn choose(&mut self, now: Instant) -> Option<Choice> {
        let mut budget = MAX_PARKED;
        for quota in 0..self.config.quotas.len() {
            if self.is_short(quota)
                && let Some((key, address)) = self.next_in(Line::Offering(quota), &mut budget)
                && let Some(place) = self.outbound_place(Line::Offering(quota), key, now)
            {
                return Some(Choice { line: Line::Offering(quota), key, address, place });
            }
        }
        let due = self.next_in(Line::Due, &mut budget).map(|next| (Line::Due, next));
        let seed = |manager: &mut Self, budget: &mut usize| {
            let nobody = manager.index.due.is_empty() && manager.lifted.is_empty();
            nobody.then(|| manager.next_in(Line::Seeds, budget)).flatten().map(|next| (Line::Seeds, next))
        };
        let (line, (key, address)) = due.or_else(|| seed(self, &mut budget))?;
        let place = self.outbound_place(line, key, now)?;
        Some(Choice { line, key, address, place })
    }

    fn outbound_place(&self, line: Line, key: Key, now: Instant) -> Option<Place> {
        let place = self.place_for(Newcomer::of(self.peers.get(key)?), PoolName::Outbound, now)?;
        let free = place.victim.is_none();
        Some(place).filter(|_| free || !matches!(line, Line::Seeds))
    }

    /// The first of a line that can be dialled, with the place of the address among its addresses. Whoever stands before it is
    /// parked.
    fn next_in(&mut self, line: Line, budget: &mut usize) -> Option<(Key, usize)> {
        while *budget > 0 {
            let key = self.head(line)?;
            match self.dialable(self.peers.get(key)?) {
                Ok(address) => return Some((key, address)),
                Err(blockers) => self.park(key, blockers),
            }
            *budget -= 1;
        }
        None
    }

    fn head(&self, line: Line) -> Option<Key> {
        let line = match line {
            Line::Due => &self.index.due,
            Line::Offering(quota) => self.index.offering.get(quota)?,
            Line::Seeds => &self.index.seeds,
        };
        line.last().map(|(_, key)| *key)
    }

    /// A dial became a connection to the peer that its address names: admits it.
    ///
    /// A dial has reserved its slot; it fails for lack of room only if a limit was lowered meanwhile, or if whoever
    /// was to go for it may not be evicted any more.
    ///
    /// # Errors
    ///
    /// [`Reject`], after which the dial is still in flight: close it and report `dial_failed`.
    pub fn dialed(&mut self, conn: ConnId, now: Instant) -> Result<Admitted, Reject> {
        let now = self.mature(now);
        let key = self.dial_of(conn).ok_or(Reject::UnknownConnection)?;
        let peer = self.peers.get(key).ok_or(Reject::UnknownConnection)?;
        let attempt = peer.dial().cloned().ok_or(Reject::UnknownConnection)?;
        if self.is_banned(&peer.id, attempt.address.place().ip()) {
            return Err(Reject::Banned);
        }
        self.may_connect(&peer.id, peer.live(), Direction::Outbound)?;
        let victim = self.settled_victim(key, attempt.seat)?;
        if attempt.seat.victim != victim {
            self.unlink(attempt.seat, None);
            victim.map(|victim| self.update_live(victim, |live| live.claimant = Some(conn)));
        }
        if let Some(victim) = victim {
            self.doom_for(victim, attempt.seat.ground, key);
        }
        let seat = Seat { victim, ..attempt.seat };
        let replaces = self.replace(key, None);
        self.connect(key, seat, Direction::Outbound, Remote::Address(attempt.address), now);
        Ok(Admitted { replaces })
    }

    /// A dial failed, or its connection was rejected.
    pub fn dial_failed(&mut self, conn: ConnId, closed: &Closed, now: Instant) -> Report {
        let now = self.mature(now);
        let Some(key) = self.dial_of(conn) else { return self.late() };
        let Some(attempt) = self.peers.get(key).and_then(|peer| peer.dial().cloned()) else {
            return self.late();
        };
        self.conns.remove(&conn);
        if self.peers.get(key).is_some_and(|peer| peer.live().is_some()) {
            // It is connected all the same: whatever befell the second attempt says nothing against it.
            self.update(key, Peer::end_dial);
        } else {
            self.charge_dial(key, &attempt, closed, now);
        }
        self.unlink(attempt.seat, None);
        self.forget_if_hopeless(key);
        Report::Applied
    }

    fn charge_dial(&mut self, key: Key, attempt: &Attempt, closed: &Closed, now: Instant) {
        let verdict = Verdict::of(closed);
        let Some(peer) = self.peers.get(key) else { return };
        let failures = peer.failures.saturating_add(u32::from(verdict != Verdict::Innocent));
        let hold = self.backoff().after_dial(&peer.id, verdict, failures, now);
        self.update(key, |peer| {
            if verdict == Verdict::Failure {
                peer.charge_address(&attempt.address);
            }
            peer.incompatible |= verdict == Verdict::Incompatible;
            peer.end_dial();
        });
        // Looked at without the dial that ended: that one is in the way of nothing any longer.
        if verdict != Verdict::Failure || !self.has_fresher_address(key, &attempt.address) {
            self.update(key, |peer| {
                peer.failures = failures;
                peer.state = State::Idle(Wait::Held(hold));
            });
        }
        self.touch(key);
    }

    /// Whether another address of a peer failed less than this one and is not blocked.
    fn has_fresher_address(&self, key: Key, failed: &NodeAddress) -> bool {
        let Some(peer) = self.peers.get(key) else { return false };
        let charged = peer.addresses.iter().find(|known| known.place == *failed.place());
        let fresher = |known: &Address| charged.is_some_and(|charged| known.failures < charged.failures);
        let open = |known: &Address| self.blocker_of(peer, known.place.ip()).is_none();
        peer.addresses.iter().any(|known| fresher(known) && open(known))
    }

    pub(super) fn dial_of(&self, conn: ConnId) -> Option<Key> {
        match self.conns.get(&conn) {
            Some(Entry::Dial(key)) => Some(*key),
            _ => None,
        }
    }

    /// Decides, now that the newcomer is there, whose place it takes: nobody's if a slot came free, else that of
    /// whom it claimed, or of somebody still worse.
    fn settled_victim(&self, key: Key, seat: Seat) -> Result<Option<Key>, Reject> {
        let Some(pool) = seat.slot.pool() else { return Ok(None) };
        let (usage, limit) = (self.index.usage.pool(pool), self.config.limit(pool));
        if usage.is_over(limit) {
            return Err(Reject::TooManyPeers);
        }
        let Some(claimed) = seat.victim else { return Ok(None) };
        if usage.has_room(limit) {
            return Ok(None);
        }
        let Some(victim) = self.peers.get(claimed) else { return Ok(None) };
        if victim.live().is_some_and(|live| live.doom.is_some()) {
            return Ok(Some(claimed));
        }
        let worst = self.worst_of(pool);
        if victim.roles.protected {
            let newcomer = self.peers.get(key).map(|peer| peer.rank.merit);
            let outranks =
                |merit| newcomer.is_some_and(|new| new.outranks(merit, self.config.upgrade_margin));
            let worst = worst.filter(|(merit, _)| outranks(*merit));
            return worst.map(|(_, worst)| Some(worst)).ok_or(Reject::TooManyPeers);
        }
        let rank = |key| self.peers.get(key).map(|peer| peer.rank);
        let worse = worst.map(|(_, worst)| worst).filter(|worst| rank(*worst) < rank(claimed));
        Ok(Some(worse.unwrap_or(claimed)))
    }

    /// Orders the eviction of whoever gives way to a newcomer.
    pub(super) fn doom_for(&mut self, victim: Key, ground: Ground, newcomer: Key) {
        let because = self.because_displaced(victim, ground, newcomer);
        self.doom(victim, ground.evicts(), super::leaving::displaced(ground.evicts()), because);
    }
}
