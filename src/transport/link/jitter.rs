//! Delays that vary.

use std::time::Duration;

/// Draws delays from zero to a limit, each as likely as another. The same seed draws the same.
pub(super) struct Jitter {
    state: u64,
    most_nanos: u64,
}

impl Jitter {
    pub(super) fn new(most: Duration, seed: u64) -> Self {
        Self { state: seed, most_nanos: u64::try_from(most.as_nanos()).unwrap_or(u64::MAX) }
    }

    pub(super) fn draw(&mut self) -> Duration {
        if self.most_nanos == 0 {
            return Duration::ZERO;
        }
        // SplitMix64: eight bytes of state for a line, and no pattern that a delay could show.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.state;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^= drawn >> 31;
        // The high half of the product is below the second factor: no division, and no bias worth a draw.
        let share = (u128::from(drawn) * (u128::from(self.most_nanos) + 1)) >> 64;
        Duration::from_nanos(u64::try_from(share).unwrap_or(self.most_nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_fill_their_range_and_follow_from_the_seed() {
        let most = Duration::from_micros(10);
        let (mut one, mut same, mut other) =
            (Jitter::new(most, 7), Jitter::new(most, 7), Jitter::new(most, 8));
        let draws: Vec<Duration> = (0..1000).map(|_| one.draw()).collect();
        assert_eq!(draws, (0..1000).map(|_| same.draw()).collect::<Vec<_>>());
        assert_ne!(draws, (0..1000).map(|_| other.draw()).collect::<Vec<_>>());
        assert!(draws.iter().all(|drawn| *drawn <= most));
        for tenth in 0..10 {
            let (from, to) = (most * tenth / 10, most * (tenth + 1) / 10);
            let count = draws.iter().filter(|drawn| (from..to).contains(drawn)).count();
            assert!((60..140).contains(&count), "{count} of 1000 from {from:?} to {to:?}");
        }
    }

    #[test]
    fn without_a_limit_there_is_no_delay() {
        assert_eq!(Jitter::new(Duration::ZERO, 3).draw(), Duration::ZERO);
    }
}
