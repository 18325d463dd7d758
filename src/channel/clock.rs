//! The clock that a node's tasks go by.

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use tokio::time::{Sleep, Timeout};

/// A node's clock: tokio's, or in a simulation one that runs faster or slower than that.
///
/// All instants of a node are readings of its clock, and all its durations are measured by it. What is below a node,
/// such as a transport, goes by tokio's own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock(Option<Drift>);

#[derive(Debug, Clone, Copy)]
struct Drift {
    /// When it read the same as tokio's.
    origin: Instant,
    /// By how many millionths it is fast; below zero, slow.
    ppm: i32,
}

/// About thirty years: as far as tokio looks ahead.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

const MILLION: u128 = 1_000_000;

impl Clock {
    /// Makes one that runs fast by so many millionths since `origin`, or slow: at most by half.
    #[cfg(feature = "sim")]
    pub(crate) fn drifting(origin: tokio::time::Instant, ppm: i32) -> Self {
        let ppm = ppm.clamp(-500_000, 500_000);
        Self((ppm != 0).then_some(Drift { origin: origin.into_std(), ppm }))
    }

    /// What it reads now.
    #[inline]
    pub(crate) fn now(self) -> Instant {
        let now = tokio::time::Instant::now().into_std();
        match self.0 {
            None => now,
            Some(drift) => drift.reading(now),
        }
    }

    /// What it reads in so long a time; about thirty years at most.
    pub(crate) fn after(self, time: Duration) -> Instant {
        let now = self.now();
        now.checked_add(time).or_else(|| now.checked_add(FAR)).unwrap_or(now)
    }

    /// When it reads `at`, by tokio's clock; not sooner.
    #[inline]
    pub(crate) fn due(self, at: Instant) -> tokio::time::Instant {
        match self.0 {
            None => at.into(),
            Some(drift) => drift.instant(at).into(),
        }
    }

    /// Completes when it reads `at`.
    pub(crate) fn sleep_until(self, at: Instant) -> Sleep {
        tokio::time::sleep_until(self.due(at))
    }

    /// Completes when so much time has passed by it.
    pub(crate) fn sleep(self, time: Duration) -> Sleep {
        tokio::time::sleep(self.span(time))
    }

    /// Gives `future` until it reads `deadline`.
    pub(crate) fn timeout_at<F: IntoFuture>(self, deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
        tokio::time::timeout_at(self.due(deadline), future)
    }

    /// Gives `future` so much time by it.
    pub(crate) fn timeout<F: IntoFuture>(self, within: Duration, future: F) -> Timeout<F::IntoFuture> {
        tokio::time::timeout(self.span(within), future)
    }

    /// How long tokio's clock takes while so much time passes by this one; not shorter.
    fn span(self, time: Duration) -> Duration {
        self.0.map_or(time, |drift| drift.span(time))
    }
}

impl Drift {
    fn rate(self) -> u128 {
        u128::try_from(1_000_000 + i64::from(self.ppm)).unwrap_or(MILLION)
    }

    fn reading(self, now: Instant) -> Instant {
        let elapsed = now.saturating_duration_since(self.origin).as_nanos();
        later(self.origin, nanos(elapsed * self.rate() / MILLION))
    }

    fn instant(self, at: Instant) -> Instant {
        later(self.origin, self.span(at.saturating_duration_since(self.origin)))
    }

    fn span(self, time: Duration) -> Duration {
        // Rounded up, so that it reads what was waited for when that is over.
        nanos(time.as_nanos().saturating_mul(MILLION).div_ceil(self.rate()))
    }
}

fn nanos(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX))
}

fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by).or_else(|| at.checked_add(FAR)).unwrap_or(at)
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start() -> tokio::time::Instant {
        tokio::time::Instant::now()
    }

    #[test]
    fn a_fast_clock_reads_more_and_waits_shorter_and_a_slow_one_the_reverse() {
        let (origin, second) = (start(), Duration::from_secs(1));
        for (ppm, reads, takes) in [(100_000, 1_100, 910), (-100_000, 900, 1_112), (0, 1_000, 1_000)] {
            let clock = Clock::drifting(origin, ppm);
            let ms = Duration::from_millis;
            if let Some(drift) = clock.0 {
                assert_eq!(drift.reading((origin + second).into()), (origin + ms(reads)).into_std());
            }
            let due = clock.due((origin + second).into()) - origin;
            assert!(due <= ms(takes) && due + ms(2) > ms(takes), "{due:?} of {ppm}");
            assert_eq!(clock.span(second), due);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_slept_for_has_come_by_the_same_clock() {
        let clock = Clock::drifting(start(), -300_000);
        let (began, true_time) = (clock.now(), start());
        clock.sleep_until(began + Duration::from_secs(7)).await;
        assert!(clock.now() >= began + Duration::from_secs(7));
        assert_eq!(true_time.elapsed().as_secs(), 10);
        clock.sleep(Duration::from_secs(7)).await;
        assert_eq!(true_time.elapsed().as_secs(), 20);
        let never = std::future::pending::<()>();
        assert!(clock.timeout(Duration::from_secs(7), never).await.is_err());
        assert_eq!(true_time.elapsed().as_secs(), 30);
        let never = std::future::pending::<()>();
        assert!(clock.timeout_at(clock.after(Duration::from_secs(7)), never).await.is_err());
        assert_eq!(true_time.elapsed().as_secs(), 40);
    }

    #[test]
    fn no_time_is_too_long() {
        let clock = Clock::drifting(start(), -500_000);
        assert!(clock.after(Duration::MAX) > clock.after(Duration::from_secs(86_400 * 365)));
        assert!(clock.due(clock.after(Duration::MAX)) > start());
    }

    proptest! {
        #[test]
        fn when_a_reading_is_due_it_reads_that_and_time_never_goes_back(
            ppm in -500_000..500_000_i32,
            at in 0..u64::MAX / 1_000,
            step in 0..u64::MAX / 1_000,
        ) {
            let origin = start().into_std();
            let drift = Drift { origin, ppm };
            let (at, step) = (Duration::from_nanos(at), Duration::from_nanos(step));
            prop_assert!(drift.reading(drift.instant(origin + at)) >= origin + at);
            prop_assert!(drift.reading(origin + at + step) >= drift.reading(origin + at));
        }
    }
}
