//! When a peer may be dialled again, and what the end of a connection says about it.

use std::time::{Duration, Instant};

use super::order::draw;
use super::{BackoffConfig, Config};
use crate::event::{Blame, Closed, DisconnectReason, Side};
use crate::id::NodeId;

/// Why a peer is left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum HoldReason {
    /// Its connection ended a moment ago.
    Cooldown,
    /// It could not be reached, or did not stay.
    Backoff,
    /// It said that it has no room.
    Busy,
    /// It is of another network, or useless to us.
    Incompatible,
    /// We could not dial, through no fault of the peer.
    Ourselves,
    /// It is a seed that was asked not long ago.
    SeedRest,
}

/// A time before which a peer is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// When it ends.
    pub until: Instant,
    /// What it is for.
    pub why: HoldReason,
}

/// What an end says about the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It failed, or broke the protocol.
    Failure,
    Busy,
    Incompatible,
    /// Nothing: we ended it, or are to blame for it.
    Innocent,
}

impl Verdict {
    pub(super) fn of(closed: &Closed) -> Self {
        let useless =
            matches!(closed.reason, DisconnectReason::Useless | DisconnectReason::IncompatibleVersion);
        match (closed.by, closed.blame) {
            (_, Blame::Incompatible) => Self::Incompatible,
            (_, Blame::Ourselves) | (Side::Local, Blame::Nobody | Blame::Overload) => Self::Innocent,
            (Side::Remote, _) if useless => Self::Incompatible,
            (Side::Remote, _) if closed.reason == DisconnectReason::TooManyPeers => Self::Busy,
            _ => Self::Failure,
        }
    }
}

/// Where delays come from: the configuration, and a stream for each peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff<'a> {
    pub(super) config: &'a Config,
    pub(super) seed: u64,
}

impl Backoff<'_> {
    /// The hold after a dial failed. `failures` counts this failure.
    pub(super) fn after_dial(&self, peer: &NodeId, verdict: Verdict, failures: u32, now: Instant) -> Hold {
        let exponential = self.exponential(peer, failures.max(1));
        let (why, delay) = match verdict {
            Verdict::Failure => (HoldReason::Backoff, exponential),
            Verdict::Busy => (HoldReason::Busy, exponential.max(self.busy(peer, failures))),
            Verdict::Incompatible => (HoldReason::Incompatible, self.incompatible(peer, failures)),
            Verdict::Innocent => (HoldReason::Ourselves, self.exponential(peer, 1)),
        };
        Hold { until: later(now, delay), why }
    }

    /// The hold after a connection ended: that of a failed dial if it counts as a failure, and never less than
    /// the cooldown.
    pub(super) fn after_connection(
        &self,
        peer: &NodeId,
        verdict: Verdict,
        failures: u32,
        now: Instant,
    ) -> Hold {
        let cooldown = Hold { until: later(now, self.config.cooldown), why: HoldReason::Cooldown };
        let quiet = verdict == Verdict::Innocent || (verdict == Verdict::Failure && failures == 0);
        if quiet {
            return cooldown;
        }
        let hold = self.after_dial(peer, verdict, failures, now);
        if hold.until < cooldown.until { cooldown } else { hold }
    }

    /// The longest hold that the policy gives for this reason: what a store says is believed no further.
    pub(super) fn longest(&self, peer: &NodeId, failures: u32, why: HoldReason) -> Duration {
        match why {
            HoldReason::Cooldown => self.config.cooldown,
            HoldReason::Backoff => self.exponential(peer, failures.max(1)),
            HoldReason::Busy => self.exponential(peer, failures.max(1)).max(self.busy(peer, failures)),
            HoldReason::Incompatible => self.incompatible(peer, failures),
            HoldReason::Ourselves => self.exponential(peer, 1),
            HoldReason::SeedRest => self.config.seeds.rest,
        }
    }

    /// `min * 2^(failures - 1)`, capped, plus jitter.
    fn exponential(&self, peer: &NodeId, failures: u32) -> Duration {
        let backoff = self.backoff();
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let cap = if self.config.is_protected(peer) { backoff.max_persistent } else { backoff.max };
        backoff.min.saturating_mul(factor).min(cap) + self.jitter(peer, failures)
    }

    fn busy(&self, peer: &NodeId, failures: u32) -> Duration {
        let backoff = self.backoff();
        let protected = self.config.is_protected(peer);
        let floor = if protected { backoff.busy.min(backoff.max_persistent) } else { backoff.busy };
        floor + self.jitter(peer, failures)
    }

    fn incompatible(&self, peer: &NodeId, failures: u32) -> Duration {
        self.backoff().incompatible + self.jitter(peer, failures)
    }

    /// A part of the configured jitter, fixed by seed, peer and count of failures.
    fn jitter(&self, peer: &NodeId, failures: u32) -> Duration {
        let drawn = draw(self.seed, "jitter", peer, u64::from(failures)) >> 32;
        let nanos = self.backoff().jitter.as_nanos() * u128::from(drawn) / u128::from(u32::MAX);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn backoff(&self) -> &BackoffConfig {
        &self.config.backoff
    }
}

/// The instant `delay` after `now`. At the end of representable time it stays where it is.
pub(super) fn later(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or(now)
}
