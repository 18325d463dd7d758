//! One seed, and a stream of its own for each use.

use std::hash::Hasher;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use siphasher::sip::SipHasher13;

/// The seed for one use of one thing: a new draw somewhere shifts nothing elsewhere.
pub(super) fn derive(seed: u64, purpose: &str, number: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed, number);
    hasher.write(purpose.as_bytes());
    hasher.finish()
}

/// The draws for one use of one thing.
pub(super) fn draws(seed: u64, purpose: &str, number: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(derive(seed, purpose, number))
}

/// The delay from zero to `most` for one use of one thing.
pub(super) fn delay(most: Duration, seed: u64, purpose: &str, number: u64) -> Duration {
    match u64::try_from(most.as_nanos()).unwrap_or(u64::MAX) {
        0 => Duration::ZERO,
        most => Duration::from_nanos(draws(seed, purpose, number).next_u64() % most.saturating_add(1)),
    }
}

/// A number below `count`, or 0.
pub(super) fn below(count: usize, draws: &mut ChaCha8Rng) -> usize {
    usize::try_from(draws.next_u64() % (count as u64).max(1)).unwrap_or(0)
}

/// At most `count` of some things, each once, in the order in which they are drawn.
pub(super) fn sample<T>(mut all: Vec<T>, count: usize, draws: &mut ChaCha8Rng) -> Vec<T> {
    let count = count.min(all.len());
    for at in 0..count {
        let other = at + below(all.len() - at, draws);
        all.swap(at, other);
    }
    all.truncate(count);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_each_thing_once_and_no_more_than_there_are() {
        let mut draws = draws(1, "sample", 0);
        let drawn = sample((0..20).collect(), 8, &mut draws);
        let distinct: std::collections::BTreeSet<i32> = drawn.iter().copied().collect();
        assert!(distinct.len() == 8 && distinct.iter().all(|number| (0..20).contains(number)), "{drawn:?}");
        assert_ne!(drawn, sample((0..20).collect(), 8, &mut draws));
        let mut all = sample(vec![1, 2, 3], 9, &mut draws);
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
    }

    #[test]
    fn each_use_of_each_thing_has_a_seed_of_its_own() {
        let seeds = [derive(1, "key", 0), derive(1, "key", 1), derive(1, "link", 0), derive(2, "key", 0)];
        let distinct: std::collections::BTreeSet<u64> = seeds.into();
        assert_eq!(distinct.len(), seeds.len());
        assert_eq!(derive(1, "key", 0), seeds[0]);
    }
}
