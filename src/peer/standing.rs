//! How a peer behaved, and the grade that this is worth.

use std::time::{Duration, Instant};

use super::behaviour::BehaviourConfig;
use super::config::MAX_DURATION;

/// What is remembered of a peer that was met.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Standing {
    pub(super) bad: Points,
    pub(super) good: Points,
    /// Time connected, without the present connection.
    pub(super) uptime: Duration,
    /// Smoothed latency, in microseconds.
    pub(super) latency_us: Option<u32>,
    /// Of what there are quotas for, what it offered when last met: a bit for each quota. `None` if it was never met.
    pub(super) offers: Option<u16>,
}

impl Standing {
    /// How much better than an unknown peer it is, or worse. `since` when it is connected.
    pub(super) fn grade(&self, since: Option<Instant>, now: Instant, config: &BehaviourConfig) -> i8 {
        let good = self.good.at(now, config.halves_every);
        let useful = config.useful_levels.iter().filter(|level| good >= **level).count();
        let uptime = self.uptime_at(since, now);
        let up = config.uptime_levels.iter().filter(|level| uptime >= **level).count();
        let latency = self.latency_us.map(|us| Duration::from_micros(u64::from(us)));
        let near =
            config.latency_levels.iter().filter(|level| latency.is_some_and(|took| took <= **level)).count();
        let bad = u64::from(self.bad.at(now, config.halves_every));
        let bad = (4 * bad / u64::from(config.limit.max(1))).min(4);
        // At most 3 + 3 + 2, and at least -4.
        i8::try_from(useful + up + near).unwrap_or(i8::MAX) - i8::try_from(bad).unwrap_or(4)
    }

    /// When time alone may change the grade next.
    pub(super) fn next_change(
        &self,
        since: Option<Instant>,
        now: Instant,
        config: &BehaviourConfig,
    ) -> Option<Instant> {
        let halving = [self.bad, self.good].map(|points| points.next_halving(now, config.halves_every));
        let level = since.and_then(|since| {
            let uptime = self.uptime_at(Some(since), now);
            let next = config.uptime_levels.iter().find(|level| uptime < **level)?;
            since.checked_add(next.saturating_sub(self.uptime))
        });
        halving.into_iter().chain([level]).flatten().min()
    }

    pub(super) fn measure(&mut self, latency: Duration) {
        let new = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        let smoothed =
            self.latency_us.map_or(u64::from(new), |old| (7 * u64::from(old) + u64::from(new)) / 8);
        self.latency_us = Some(u32::try_from(smoothed).unwrap_or(u32::MAX));
    }

    /// Takes up the time of a connection that ended.
    pub(super) fn settle_uptime(&mut self, since: Instant, now: Instant) {
        self.uptime = self.uptime_at(Some(since), now);
    }

    fn uptime_at(&self, since: Option<Instant>, now: Instant) -> Duration {
        let present = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.uptime.saturating_add(present).min(MAX_DURATION)
    }
}

/// Points that are halved as time passes, as they were at an instant. Nothing ticks: whoever looks works out the
/// halvings since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Points {
    points: u32,
    /// When they were last halved, or else the first was given; `None` only without points.
    since: Option<Instant>,
}

impl Points {
    /// Points whose time to the next halving began `age` before `now`.
    ///
    /// Whole halvings are taken off first: an instant may not reach back further than the machine is up.
    pub(super) fn aged(points: u32, age: Duration, now: Instant, halves_every: Duration) -> Self {
        let every = halves_every.as_nanos().max(1);
        let halvings = u32::try_from(age.as_nanos() / every).unwrap_or(u32::MAX);
        let rest = Duration::from_nanos(u64::try_from(age.as_nanos() % every).unwrap_or(u64::MAX));
        match points.checked_shr(halvings).unwrap_or(0) {
            0 => Self::default(),
            points => Self { points, since: Some(now.checked_sub(rest).unwrap_or(now)) },
        }
    }

    /// The points left at `now`.
    pub(super) fn at(self, now: Instant, halves_every: Duration) -> u32 {
        self.decayed(now, halves_every).points
    }

    /// The points left at `now`, and from when on their time to the next halving counts.
    pub(super) fn parts(self, now: Instant, halves_every: Duration) -> Option<(u32, Instant)> {
        let left = self.decayed(now, halves_every);
        left.since.map(|since| (left.points, since))
    }

    /// Adds points to those left at `now`, stops at `cap`, and says how many there are then.
    pub(super) fn add(&mut self, points: u32, cap: u32, now: Instant, halves_every: Duration) -> u32 {
        let left = self.decayed(now, halves_every);
        let points = left.points.saturating_add(points).min(cap);
        *self = Self { points, since: left.since.or(Some(now)).filter(|_| points > 0) };
        points
    }

    fn next_halving(self, now: Instant, halves_every: Duration) -> Option<Instant> {
        let left = self.decayed(now, halves_every);
        left.since?.checked_add(halves_every)
    }

    /// Halving n times at once is the same as one by one, so it does not matter who looks when.
    fn decayed(self, now: Instant, halves_every: Duration) -> Self {
        let Some(since) = self.since else { return self };
        let passed = now.saturating_duration_since(since).as_nanos();
        // A `halves_every` of zero is refused by the configuration.
        let halvings = u32::try_from(passed / halves_every.as_nanos().max(1)).unwrap_or(u32::MAX);
        match self.points.checked_shr(halvings).unwrap_or(0) {
            0 => Self::default(),
            points => Self { points, since: since.checked_add(halves_every * halvings) },
        }
    }
}
