//! Whether a connection is alive: when to ping, when to answer, when to give up (rlpx.md, "Ping (0x02)").
//!
//! Feed it what arrives ([`Keepalive::on_received`] for every frame, and then [`Keepalive::on_ping`] or
//! [`Keepalive::on_pong`]); wake it at [`Keepalive::next_timeout`] and do what [`Keepalive::on_timeout`] says. It
//! never spawns and never queues: pings beyond a token bucket are not answered (CVE-2023-40591).

use std::time::{Duration, Instant};

/// Most pings answered at once.
const BUCKET_PINGS: u32 = 16;
/// One more answer becomes due in this time: two per second.
const REFILL: Duration = Duration::from_millis(500);
/// No interval may be shorter: peers see more than one ping per second as an attack.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// No setting may be longer, so that adding one to an instant never overflows.
const MAX_IDLE: Duration = Duration::from_secs(24 * 60 * 60);

/// When to ping and when to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepaliveConfig {
    interval: Duration,
    idle: Duration,
}

/// Why a [`KeepaliveConfig`] will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeepaliveConfigError {
    /// Pings would be more often than one per second.
    #[error("the ping interval is {found:?}; it needs at least {MIN_INTERVAL:?}")]
    Interval {
        /// The interval.
        found: Duration,
    },
    /// No ping would go out before the connection is given up, or the limit is above a day.
    #[error("the idle limit is {found:?}; it needs more than the ping interval, at most {MAX_IDLE:?}")]
    Idle {
        /// The limit.
        found: Duration,
    },
}

impl KeepaliveConfig {
    /// A ping every `interval`, and an end after `idle` without any frame.
    ///
    /// # Errors
    ///
    /// See [`KeepaliveConfigError`]. Zero means zero, and is refused.
    pub fn new(interval: Duration, idle: Duration) -> Result<Self, KeepaliveConfigError> {
        if interval < MIN_INTERVAL {
            return Err(KeepaliveConfigError::Interval { found: interval });
        }
        if idle <= interval || idle > MAX_IDLE {
            return Err(KeepaliveConfigError::Idle { found: idle });
        }
        Ok(Self { interval, idle })
    }

    /// Time between two pings of ours.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Silence after which a connection is given up.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.idle
    }
}

impl Default for KeepaliveConfig {
    /// A ping every 15 s, an end after 30 s of silence.
    fn default() -> Self {
        Self { interval: Duration::from_secs(15), idle: Duration::from_secs(30) }
    }
}

/// What to do about a peer's ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingAnswer {
    /// Send one Pong.
    Pong,
    /// Send nothing: the peer pings too fast.
    Ignore,
}

/// What to do when the time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepaliveAction {
    /// Send a Ping now. It is counted as sent.
    SendPing,
    /// Close: nothing came for the idle limit. The reason is a ping timeout.
    Idle,
    /// It is not yet time.
    Nothing,
}

/// The liveness of one connection.
#[derive(Debug, Clone)]
pub struct Keepalive {
    config: KeepaliveConfig,
    last_received: Instant,
    last_ping: Instant,
    /// When the ping left whose pong is outstanding.
    awaited_since: Option<Instant>,
    answers: u32,
    refilled_at: Instant,
}

impl Keepalive {
    /// Begins at `now`, as if a frame had just come and a ping had just left.
    #[must_use]
    pub fn new(config: KeepaliveConfig, now: Instant) -> Self {
        Self {
            config,
            last_received: now,
            last_ping: now,
            awaited_since: None,
            answers: BUCKET_PINGS,
            refilled_at: now,
        }
    }

    /// A frame came, of whatever kind.
    pub fn on_received(&mut self, now: Instant) {
        self.last_received = self.last_received.max(now);
    }

    /// A Ping came.
    #[must_use]
    pub fn on_ping(&mut self, now: Instant) -> PingAnswer {
        self.refill(now);
        match self.answers.checked_sub(1) {
            Some(left) => {
                self.answers = left;
                PingAnswer::Pong
            }
            None => PingAnswer::Ignore,
        }
    }

    /// A Pong came: the round trip time, or `None` if nobody asked.
    #[must_use]
    pub fn on_pong(&mut self, now: Instant) -> Option<Duration> {
        let since = self.awaited_since.take()?;
        Some(now.saturating_duration_since(since))
    }

    /// When [`Keepalive::on_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Instant {
        self.ping_at().min(self.idle_at())
    }

    /// The time has come, or may have.
    #[must_use]
    pub fn on_timeout(&mut self, now: Instant) -> KeepaliveAction {
        if now >= self.idle_at() {
            return KeepaliveAction::Idle;
        }
        if now < self.ping_at() {
            return KeepaliveAction::Nothing;
        }
        self.last_ping = now;
        self.awaited_since.get_or_insert(now);
        KeepaliveAction::SendPing
    }

    fn ping_at(&self) -> Instant {
        after(self.last_ping, self.config.interval)
    }

    fn idle_at(&self) -> Instant {
        after(self.last_received, self.config.idle)
    }

    fn refill(&mut self, now: Instant) {
        let due = now.saturating_duration_since(self.refilled_at).as_millis() / REFILL.as_millis();
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        if due >= BUCKET_PINGS - self.answers {
            self.answers = BUCKET_PINGS;
            self.refilled_at = self.refilled_at.max(now);
        } else {
            self.answers += due;
            self.refilled_at = after(self.refilled_at, REFILL * due);
        }
    }
}

/// Adds without a panic. The settings are a day at most, so it is exact on every system's clock.
fn after(at: Instant, duration: Duration) -> Instant {
    at.checked_add(duration).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_silent_peer_is_pinged_and_then_given_up() {
        let t = start();
        let mut alive = Keepalive::new(KeepaliveConfig::default(), t);
        assert_eq!(alive.next_timeout(), t + secs(15));
        assert_eq!(alive.on_timeout(t + secs(14)), KeepaliveAction::Nothing);
        assert_eq!(alive.on_timeout(t + secs(15)), KeepaliveAction::SendPing);
        assert_eq!(alive.on_timeout(t + secs(15)), KeepaliveAction::Nothing);
        assert_eq!(alive.next_timeout(), t + secs(30));
        assert_eq!(alive.on_timeout(t + secs(30)), KeepaliveAction::Idle);
    }

    #[test]
    fn a_pong_gives_the_round_trip_and_keeps_the_connection() {
        let t = start();
        let mut alive = Keepalive::new(KeepaliveConfig::default(), t);
        assert_eq!(alive.on_pong(t), None);
        assert_eq!(alive.on_timeout(t + secs(15)), KeepaliveAction::SendPing);
        alive.on_received(t + secs(16));
        assert_eq!(alive.on_pong(t + secs(16)), Some(secs(1)));
        assert_eq!(alive.on_pong(t + secs(16)), None);
        assert_eq!(alive.on_timeout(t + secs(30)), KeepaliveAction::SendPing);
        assert_eq!(alive.on_timeout(t + secs(46)), KeepaliveAction::Idle);
    }

    #[test]
    fn cve_2023_40591_a_flood_of_pings_is_answered_from_a_bucket() {
        let t = start();
        let mut alive = Keepalive::new(KeepaliveConfig::default(), t);
        let mut pongs = |at| (0..100).filter(|_| alive.on_ping(at) == PingAnswer::Pong).count();
        assert_eq!(pongs(t), 16);
        assert_eq!(pongs(t + Duration::from_millis(499)), 0);
        assert_eq!(pongs(t + Duration::from_millis(1250)), 2);
        assert_eq!(pongs(t + Duration::from_millis(1500)), 1);
        assert_eq!(pongs(t + secs(3600)), 16);
        assert_eq!(pongs(t), 0);
    }

    #[test]
    fn settings_that_mean_for_ever_or_too_often_are_refused() {
        assert!(KeepaliveConfig::new(secs(1), secs(2)).is_ok());
        for (interval, idle) in [(0, 30), (15, 0), (15, 15), (15, 86_401)] {
            assert!(KeepaliveConfig::new(secs(interval), secs(idle)).is_err(), "{interval} {idle}");
        }
        assert!(KeepaliveConfig::new(Duration::MAX, Duration::MAX).is_err());
        assert!(KeepaliveConfig::new(Duration::from_millis(999), secs(30)).is_err());
    }

    proptest! {
        #[test]
        fn waking_when_told_always_makes_progress_and_never_pings_more_than_once_a_second(
            steps in prop::collection::vec((0_u64..40_000, 0..4), 1..60),
        ) {
            let t = start();
            let config = KeepaliveConfig::new(secs(1), secs(30)).unwrap();
            let mut alive = Keepalive::new(config, t);
            let mut now = t;
            let mut last_ping: Option<Instant> = None;
            for (millis, what) in steps {
                match what {
                    0 => now += Duration::from_millis(millis),
                    1 => alive.on_received(now),
                    2 => drop(alive.on_ping(now)),
                    _ => {
                        now = now.max(alive.next_timeout());
                        match alive.on_timeout(now) {
                            KeepaliveAction::SendPing => {
                                prop_assert!(last_ping.is_none_or(|last| now - last >= secs(1)));
                                last_ping = Some(now);
                            }
                            KeepaliveAction::Idle => break,
                            KeepaliveAction::Nothing => prop_assert!(false, "woken for nothing"),
                        }
                    }
                }
            }
        }
    }
}
