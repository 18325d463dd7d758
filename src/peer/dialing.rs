//! Outgoing connections: whom to dial, and how a dial ends.

use std::time::Instant;

use super::PeerManager;
use super::answer::{Admitted, Dial, Reject, Report};
use super::backoff::{Verdict, later};
use super::manager::Entry;
use super::order::{Class, Rank};
use super::pools::{PoolName, Slot};
use super::state::{Attempt, Remote, Seat, State};
use crate::event::{Because, Closed, Rule};
use crate::id::{ConnId, Direction, NodeId};

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
        let &(rank, id) = self.index.due.last()?;
        let (slot, victim) = self.seat_for(rank, PoolName::Outbound, now)?;
        let address = self.peers.get(&id)?.next_address()?.clone();
        let conn = self.mint();
        let seat = Seat { conn, slot, victim };
        if let Some(victim) = victim {
            self.claim(&victim, conn, PoolName::Outbound, now);
        }
        self.conns.insert(conn, Entry::Dial(id));
        self.update(&id, |peer| {
            peer.state = State::Dialing(Attempt { seat, address: address.clone() });
        });
        let because = Because::new(Rule::FreeSlot, now);
        Some(Dial { conn, address, because })
    }

    /// A dial became a connection to the peer that its address names: admits it.
    ///
    /// It never fails for lack of room, since the dial had reserved its slot.
    ///
    /// # Errors
    ///
    /// [`Reject`], after which the dial is still in flight: close it and report `dial_failed`.
    pub fn dialed(&mut self, conn: ConnId, now: Instant) -> Result<Admitted, Reject> {
        let id = self.dial_of(conn).ok_or(Reject::UnknownConnection)?;
        self.may_connect(&id, Direction::Outbound)?;
        let now = self.tick(now);
        let Some(attempt) = self.peers.get(&id).and_then(|peer| peer.dial().cloned()) else {
            return Err(Reject::UnknownConnection);
        };
        let victim = self.settle_upgrade(&id, attempt.seat);
        let seat = Seat { victim, ..attempt.seat };
        let replaces = self.replace(&id, None);
        self.connect(&id, seat, Direction::Outbound, Remote::Address(attempt.address), now);
        Ok(Admitted { replaces })
    }

    /// A dial failed, or its connection was rejected.
    pub fn dial_failed(&mut self, conn: ConnId, closed: &Closed, now: Instant) -> Report {
        let Some(id) = self.dial_of(conn) else { return self.late() };
        let now = self.tick(now);
        let Some(attempt) = self.peers.get(&id).and_then(|peer| peer.dial().cloned()) else {
            return self.late();
        };
        self.conns.remove(&conn);
        if self.peers.get(&id).is_some_and(|peer| peer.live().is_some()) {
            // It is connected all the same: whatever befell the second attempt says nothing against it.
            self.update(&id, |peer| peer.end_dial(None));
        } else {
            self.charge_dial(&id, &attempt, closed, now);
        }
        self.unlink(attempt.seat, None);
        self.forget_if_hopeless(&id);
        Report::Applied
    }

    fn charge_dial(&mut self, id: &NodeId, attempt: &Attempt, closed: &Closed, now: Instant) {
        let verdict = Verdict::of(closed);
        let Some(peer) = self.peers.get(id) else { return };
        let mut failures = peer.failures;
        if verdict != Verdict::Innocent {
            failures = failures.saturating_add(1);
        }
        let hold = self.backoff().after_dial(id, verdict, failures, now);
        self.update(id, |peer| {
            let untried = verdict == Verdict::Failure && peer.charge_address(&attempt.address);
            peer.incompatible |= verdict == Verdict::Incompatible;
            if !untried {
                peer.failures = failures;
            }
            peer.end_dial((!untried).then_some(hold));
        });
        self.touch(id);
    }

    pub(super) fn dial_of(&self, conn: ConnId) -> Option<NodeId> {
        match self.conns.get(&conn) {
            Some(Entry::Dial(id)) => Some(*id),
            _ => None,
        }
    }

    /// Where a newcomer of this rank would sit: a free slot, or that of somebody worse.
    pub(super) fn seat_for(
        &self,
        rank: Rank,
        pool: PoolName,
        now: Instant,
    ) -> Option<(Slot, Option<NodeId>)> {
        if rank.merit.class == Class::Unconditional {
            return Some((Slot::Unconditional, None));
        }
        let usage = self.index.usage.pool(pool);
        if usage.has_room(self.config.limit(pool)) {
            return Some((Slot::Limited(pool), None));
        }
        let (worst, victim) = self.index.candidates(pool).victims.first()?;
        let allowed = usage.upgrades < self.config.upgrade_slots
            && self.next_upgrade[pool as usize].is_none_or(|at| at <= now)
            && worst.merit < rank.merit;
        allowed.then_some((Slot::Limited(pool), Some(*victim)))
    }

    /// Marks a victim as claimed, and charges the rate limit.
    pub(super) fn claim(&mut self, victim: &NodeId, by: ConnId, pool: PoolName, now: Instant) {
        self.next_upgrade[pool as usize] = Some(later(now, self.config.upgrade_interval));
        self.update_live(victim, |live| live.claimant = Some(by));
    }

    /// Decides, now that the newcomer is there, whose place it takes: nobody's if a slot came free, else that of
    /// the worst. Answers with the victim, doomed.
    fn settle_upgrade(&mut self, id: &NodeId, seat: Seat) -> Option<NodeId> {
        let claimed = seat.victim?;
        let pool = seat.slot.pool()?;
        if self.index.usage.pool(pool).fits_without_upgrade(self.config.limit(pool)) {
            self.unlink(seat, None);
            return None;
        }
        let victim = self.worse_victim(id, &claimed, pool).unwrap_or(claimed);
        if victim != claimed {
            self.unlink(seat, None);
            self.update_live(&victim, |live| live.claimant = Some(seat.conn));
        }
        self.doom_for_upgrade(&victim);
        Some(victim)
    }

    /// Somebody worse than the victim claimed, unless that one is doomed already.
    fn worse_victim(&self, id: &NodeId, claimed: &NodeId, pool: PoolName) -> Option<NodeId> {
        let claimed = self.peers.get(claimed)?;
        let newcomer = self.peers.get(id)?;
        let (worst, victim) = self.index.candidates(pool).victims.first()?;
        let spared = claimed.live().is_some_and(|live| live.doom.is_none());
        (spared && *worst < claimed.rank && worst.merit < newcomer.rank.merit).then_some(*victim)
    }
}
