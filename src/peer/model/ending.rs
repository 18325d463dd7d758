//! "How it ends: holds": evictions, failures, and how long a peer is left alone.

use std::time::{Duration, Instant};

use super::state::{Attempt, Doom, Live, Model, Peer, is_kept};
use crate::event::{Because, Blame, Closed, DisconnectReason, Rule, Side};
use crate::id::{ConnId, NodeId};
use crate::peer::order::draw;
use crate::peer::{EvictReason, Eviction, Hold, HoldReason, PeerUpdate, Remote, Report};

/// The rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It failed, or broke the protocol.
    Failed,
    /// The peer said: too many peers.
    Busy,
    /// Other network, useless, other version.
    Incompatible,
    /// We ended it, or could not dial.
    Ours,
    /// A seed was let go.
    SeedDone,
}

impl End {
    fn of(closed: &Closed) -> Self {
        use DisconnectReason::{IncompatibleVersion, TooManyPeers, Useless};
        let useless = matches!(closed.reason, Useless | IncompatibleVersion);
        match (closed.by, closed.blame) {
            (_, Blame::Incompatible) => Self::Incompatible,
            (_, Blame::Ourselves) | (Side::Local, Blame::Nobody | Blame::Overload) => Self::Ours,
            (Side::Remote, _) if useless => Self::Incompatible,
            (Side::Remote, _) if closed.reason == TooManyPeers => Self::Busy,
            _ => Self::Failed,
        }
    }

    /// What we decided counts for more than how the stream ended then, but for faults of the peer.
    fn of_connection(closed: &Closed, doom: Option<&Doom>) -> Self {
        match doom.filter(|doom| doom.dispensed).map(|doom| doom.why) {
            None | Some(EvictReason::Errored | EvictReason::Misbehaved) => Self::of(closed),
            Some(EvictReason::SeedDone) => Self::SeedDone,
            Some(_) => Self::Ours,
        }
    }
}

impl Model {
    pub(super) fn dial_failed(&mut self, conn: ConnId, closed: &Closed) -> Report {
        let Some(id) = self.dialled(conn) else { return Report::Late };
        let Some(attempt) = self.peers.get_mut(&id).and_then(|peer| peer.dial.take()) else {
            return Report::Late;
        };
        self.leave_seat(conn);
        // If it is connected all the same, whatever befell the dial says nothing against it.
        if self.live(&id).is_none() {
            self.charge_dial(&id, &attempt, closed);
            self.forget_the_hopeless(&id);
        }
        Report::Applied
    }

    fn charge_dial(&mut self, id: &NodeId, attempt: &Attempt, closed: &Closed) {
        let end = End::of(closed);
        let Some(peer) = self.peers.get_mut(id) else { return };
        let charged = peer.addresses.iter_mut().find(|known| known.address == attempt.address);
        if let Some(charged) = charged.filter(|_| end == End::Failed) {
            charged.failures = charged.failures.saturating_add(1);
            let failures = charged.failures;
            let others: Vec<_> =
                peer.addresses.iter().filter(|known| known.failures < failures).cloned().collect();
            if others.iter().any(|known| !self.is_blocked(id, &known.address)) {
                // Another address is tried at once.
                return;
            }
        }
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.failures = peer.failures.saturating_add(u32::from(end != End::Ours));
        peer.incompatible |= end == End::Incompatible;
        let hold = self.hold_after_dial(id, end);
        self.peers.get_mut(id).into_iter().for_each(|peer| peer.hold = Some(hold));
    }

    pub(super) fn disconnected(&mut self, conn: ConnId, closed: &Closed) -> Report {
        let Some(id) = self.connected(conn) else { return Report::Late };
        let Some(live) = self.peers.get_mut(&id).and_then(|peer| peer.live.take()) else {
            return Report::Late;
        };
        self.leave_seat(conn);
        self.settle(&id, &live, closed);
        if live.up {
            self.updates.push(PeerUpdate::Down { peer: id, conn, closed: closed.clone() });
        }
        self.forget_the_hopeless(&id);
        Report::Applied
    }

    fn settle(&mut self, id: &NodeId, live: &Live, closed: &Closed) {
        let end = End::of_connection(closed, live.doom.as_ref());
        let age = self.now - live.since;
        let lived = age >= self.config.backoff.survival;
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.uptime += age;
        if lived {
            peer.failures = 0;
            clear_address(peer, &live.remote);
        }
        let counts = match end {
            End::Failed | End::Busy => !lived || closed.blame == Blame::Protocol,
            End::Incompatible => true,
            End::Ours | End::SeedDone => false,
        };
        peer.failures = peer.failures.saturating_add(u32::from(counts));
        peer.incompatible |= end == End::Incompatible;
        let quiet = end == End::Failed && !counts;
        let hold = self.hold_after_connection(id, if quiet { End::Ours } else { end });
        if let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.dial.is_none()) {
            peer.hold = Some(hold);
        }
    }

    fn forget_the_hopeless(&mut self, id: &NodeId) {
        let Some(peer) = self.peers.get(id) else { return };
        let failures = usize::try_from(peer.failures).unwrap_or(usize::MAX);
        let busy = peer.hold.is_some_and(|hold| hold.why == HoldReason::Busy);
        let alone = self.lives().next().is_none();
        let failed = !self.config.forget_after.is_above(failures) && !peer.incompatible && !busy && !alone;
        if failed && peer.is_idle() && !is_kept(&self.config, id) {
            self.peers.remove(id);
        }
        self.forget_the_unreachable();
    }
}

// Holds. A hold of no length ends as it begins.

impl Model {
    fn hold_after_dial(&self, id: &NodeId, end: End) -> Hold {
        let backoff = &self.config.backoff;
        let failures = self.peers.get(id).map_or(0, |peer| peer.failures);
        let exponential = self.exponential(id, failures.max(1));
        let (why, length) = match end {
            End::Failed => (HoldReason::Backoff, exponential),
            End::Busy => {
                let protected = self.config.is_protected(id);
                let least = if protected { backoff.busy.min(backoff.max_persistent) } else { backoff.busy };
                (HoldReason::Busy, exponential.max(least + self.jitter(id, failures)))
            }
            End::Incompatible => (HoldReason::Incompatible, backoff.incompatible + self.jitter(id, failures)),
            End::SeedDone => (HoldReason::SeedRest, self.config.seeds.rest),
            End::Ours => (HoldReason::Ourselves, self.exponential(id, 1)),
        };
        Hold { until: later(self.now, length), why }
    }

    fn hold_after_connection(&self, id: &NodeId, end: End) -> Hold {
        let cooldown = Hold { until: later(self.now, self.config.cooldown), why: HoldReason::Cooldown };
        if end == End::Ours {
            return cooldown;
        }
        let hold = self.hold_after_dial(id, end);
        if hold.until < cooldown.until { cooldown } else { hold }
    }

    /// A peer whom the operator spoke of is left alone no longer than if its hold began now.
    pub(super) fn shorten_hold(&mut self, id: &NodeId) {
        let Some(hold) = self.peers.get(id).and_then(|peer| peer.hold) else { return };
        let end = match hold.why {
            HoldReason::Backoff => End::Failed,
            HoldReason::Busy => End::Busy,
            // The others are as long for everybody.
            _ => return,
        };
        let until = self.hold_after_dial(id, end).until.min(hold.until);
        self.peers.get_mut(id).into_iter().for_each(|peer| peer.hold = Some(Hold { until, ..hold }));
    }

    /// `min * 2^(n-1)`, capped, plus jitter.
    fn exponential(&self, id: &NodeId, n: u32) -> Duration {
        let backoff = &self.config.backoff;
        let cap = if self.config.is_protected(id) { backoff.max_persistent } else { backoff.max };
        let mut length = backoff.min;
        for _ in 1..n {
            length = (length * 2).min(cap);
            if length == cap {
                break;
            }
        }
        length.min(cap) + self.jitter(id, n)
    }

    /// A share of the jitter, drawn once for each count of failures.
    fn jitter(&self, id: &NodeId, failures: u32) -> Duration {
        let share = draw(self.seed, "jitter", id, u64::from(failures)) >> 32;
        let nanos = self.config.backoff.jitter.as_nanos() * u128::from(share) / u128::from(u32::MAX);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

fn later(now: Instant, length: Duration) -> Instant {
    now.checked_add(length).unwrap_or(now)
}

pub(super) fn clear_address(peer: &mut Peer, remote: &Remote) {
    let Remote::Address(address) = remote else { return };
    let used = peer.addresses.iter_mut().filter(|known| known.address == *address);
    used.for_each(|known| known.failures = 0);
}

// Evictions.

impl Model {
    /// The oldest connection that is ordered out and not dispensed yet.
    pub(super) fn try_evict_next(&mut self) -> Option<Eviction> {
        let waiting = self.peers.values_mut().filter_map(|peer| Some((peer.id, peer.live.as_mut()?)));
        let waiting = waiting.filter_map(|(peer, live)| Some((peer, live.conn, live.doom.as_mut()?)));
        let (peer, conn, doom) =
            waiting.filter(|(.., doom)| !doom.dispensed).min_by_key(|(_, conn, _)| *conn)?;
        doom.dispensed = true;
        let because = Because::new(rule_of(doom.why), self.now);
        Some(Eviction { conn, peer, why: doom.why, closed: doom.closed.clone(), because })
    }
}

fn rule_of(why: EvictReason) -> Rule {
    match why {
        EvictReason::Errored => Rule::Errored,
        EvictReason::Misbehaved => Rule::Misbehaved,
        EvictReason::Upgrade => Rule::Upgrade,
        EvictReason::Quota => Rule::Quota,
        EvictReason::Rotation => Rule::Rotation,
        EvictReason::Age => Rule::Age,
        EvictReason::Operator => Rule::Operator,
        EvictReason::Banned => Rule::Banned,
        EvictReason::SeedDone => Rule::SeedDone,
        EvictReason::SeedMode => Rule::SeedMode,
        EvictReason::LimitLowered => Rule::LimitLowered,
    }
}
