//! The clocks of nodes: how fast they run, and what the wall's clock says where they are.

use std::time::Duration;

use super::net::{SimError, SimNet};
use super::node::Node;
use crate::peer::WallTime;

/// By how many millionths a clock may be fast or slow.
pub(super) const MOST_PPM: u32 = 500_000;

/// What the wall's clock says when a network begins.
const BEGAN: WallTime = WallTime::from_unix_ms(1_767_225_600_000);

/// The clock of a host, which runs whether or not its node does.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostClock {
    /// By how many millionths it is fast; below zero, slow.
    ppm: i32,
    /// What it said, and when by the network's time.
    said: WallTime,
    at: Duration,
}

impl Default for HostClock {
    fn default() -> Self {
        Self { ppm: 0, said: BEGAN, at: Duration::ZERO }
    }
}

impl HostClock {
    pub(super) fn ppm(&self) -> i32 {
        self.ppm
    }

    /// What it says, by the network's time.
    pub(super) fn wall_time(&self, at: Duration) -> WallTime {
        let true_ms = i128::try_from(at.saturating_sub(self.at).as_millis()).unwrap_or(i128::MAX);
        let ms = true_ms.saturating_mul(1_000_000 + i128::from(self.ppm)) / 1_000_000;
        later(self.said, ms)
    }

    /// Lets it run otherwise from now on.
    fn drift(&mut self, ppm: i32, now: Duration) {
        *self = Self { ppm, said: self.wall_time(now), at: now };
    }

    /// Turns it forward, or back.
    fn turn(&mut self, by_seconds: i64) {
        self.said = later(self.said, i128::from(by_seconds) * 1_000);
    }
}

/// A reading so many milliseconds later, or earlier; 1970 at the earliest.
fn later(wall: WallTime, by_ms: i128) -> WallTime {
    let ms = i128::from(wall.as_unix_ms()).saturating_add(by_ms).max(0);
    WallTime::from_unix_ms(u64::try_from(ms).unwrap_or(u64::MAX))
}

/// Clocks.
///
/// All of a node goes by its own clock: timers and time limits, pings, the peer manager, the `now` of
/// [reactors](crate::reactor) and when they are woken, the times of events, and the wall's clock in what it stores.
/// Three things go by the network's time: lines, what a reactor takes from tokio itself, and the second that a
/// handshake that failed has to say so.
impl SimNet {
    /// Lets a node's clock run fast by so many millionths, or slow if that is below zero, until it is told otherwise:
    /// by 50,000 it makes 105 minutes of 100. A node that runs takes it up at its next start.
    ///
    /// # Errors
    ///
    /// [`SimError::Drift`] if it is more than 500,000 either way; nothing changed then.
    pub fn drift(&mut self, node: Node, ppm: i32) -> Result<(), SimError> {
        if ppm.unsigned_abs() > MOST_PPM {
            return Err(SimError::Drift { ppm });
        }
        self.note(Some(node), "drift", (u64::from(ppm.unsigned_abs()), u64::from(ppm < 0)));
        let now = self.elapsed();
        if let Some(host) = self.host_mut(node) {
            host.clock.drift(ppm, now);
        }
        Ok(())
    }

    /// Turns a node's wall clock forward by so many seconds, or back if that is below zero; 1970 at the earliest. A
    /// node reads that clock when it starts, so one that runs does not notice before its next life.
    pub fn turn_clock(&mut self, node: Node, by_seconds: i64) {
        self.note(Some(node), "clock_turned", (by_seconds.unsigned_abs(), u64::from(by_seconds < 0)));
        if let Some(host) = self.host_mut(node) {
            host.clock.turn(by_seconds);
        }
    }

    /// What the wall's clock says at a node: 2026-01-01 00:00 UTC and the time since the network began, if it neither
    /// drifts nor was turned.
    ///
    /// # Panics
    ///
    /// As for [`Self::id`].
    #[must_use]
    pub fn wall_time(&self, node: Node) -> WallTime {
        self.host(node).clock.wall_time(self.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_clock_that_drifts_goes_on_from_what_it_says() {
        let mut clock = HostClock::default();
        let since_began = |clock: &HostClock, at| clock.wall_time(at).as_unix_ms() - BEGAN.as_unix_ms();
        assert_eq!(since_began(&clock, HOUR), 3_600_000);
        clock.drift(100_000, HOUR);
        assert_eq!(since_began(&clock, HOUR), 3_600_000);
        assert_eq!(since_began(&clock, 2 * HOUR), 7_560_000);
        clock.drift(-500_000, 2 * HOUR);
        assert_eq!(since_began(&clock, 3 * HOUR), 9_360_000);
        clock.turn(-60);
        assert_eq!(since_began(&clock, 3 * HOUR), 9_300_000);
        clock.turn(i64::MIN);
        assert_eq!(clock.wall_time(Duration::ZERO), WallTime::from_unix_ms(0));
    }
}
