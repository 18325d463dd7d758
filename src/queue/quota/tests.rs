use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
fn epoch() -> Instant {
    Instant::now()
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn nothing_is_zero() {
    assert_eq!(Quota::new(0, 1), Err(QuotaError::Rate));
    assert_eq!(Quota::new(1, 0), Err(QuotaError::Burst));
    let quota = Quota::new(1, 1).unwrap();
    assert_eq!(quota.with_bytes(0, 1), Err(QuotaError::Rate));
    assert_eq!(quota.with_bytes(1, 0), Err(QuotaError::Burst));
    assert_ne!(quota.with_bytes(1, 1).unwrap(), quota);
}

#[test]
fn takes_follow_the_table() {
    // (at ms, bytes, passes), under 10 messages/s, burst 3; 1000 bytes/s, burst 500.
    let table = [
        (0, 100, true),
        (0, 0, true),
        (0, 399, true),
        // One byte is left, but no message.
        (0, 1, false),
        (99, 1, false),
        // One message again. 101 bytes and more: any size passes, and 900 bytes of debt are left.
        (100, 1001, true),
        (900, 0, false),
        (1000, 0, false),
        (1001, 0, true),
        (1001, 700, true),
        // All or nothing: the refused takes cost no message.
        (1500, 1, false),
        (1699, 1, false),
        (1701, 1, true),
        (1701, 0, false),
        (1702, 0, true),
        (1702, 0, true),
        (1702, 0, false),
    ];
    let start = epoch();
    let quota = Quota::new(10, 3).unwrap().with_bytes(1000, 500).unwrap();
    let mut bucket = TokenBucket::new(quota, start);
    for (line, (at, bytes, passes)) in table.into_iter().enumerate() {
        let now = start + millis(at);
        assert_eq!(bucket.ready_in(now).is_zero(), passes, "line {line}: ready");
        assert_eq!(bucket.take(now, bytes), passes, "line {line}: {bytes} bytes at {at} ms");
    }
}

#[test]
fn a_rate_that_divides_no_nanosecond_does_not_drift() {
    let start = epoch();
    for (per_second, step) in [(3, 1), (7, 1_000_003), (999_983, 977), (u32::MAX, 1)] {
        let mut bucket = TokenBucket::new(Quota::new(per_second, u32::MAX).unwrap(), start);
        bucket.messages.missing = bucket.messages.capacity();
        let mut now = start;
        let mut nanos = 0_u128;
        for _ in 0..100_000 {
            now += Duration::from_nanos(step);
            nanos += u128::from(step);
            bucket.gain(now);
        }
        let gained = bucket.messages.capacity() - bucket.messages.missing;
        assert_eq!(gained, nanos * u128::from(per_second), "{per_second} a second by {step} ns");
    }
}

#[test]
fn a_clock_that_stands_or_goes_back_grants_nothing_and_costs_nothing() {
    let start = epoch() + Duration::from_secs(100);
    let mut bucket = TokenBucket::new(Quota::new(10, 1).unwrap(), start);
    assert!(bucket.take(start, 1));
    for back in [0, 1, 50_000, 0] {
        let now = start - millis(back);
        assert!(!bucket.take(now, 1));
        assert_eq!(bucket.ready_in(now), millis(100 + back));
    }
    assert!(!bucket.take(start + millis(99), 1));
    assert!(bucket.take(start + millis(100), 1));
}

#[test]
fn small_messages_do_not_starve_one_that_is_larger_than_the_burst() {
    let start = epoch();
    let quota = Quota::new(1_000_000, 1_000_000).unwrap().with_bytes(1000, 500).unwrap();
    let mut bucket = TokenBucket::new(quota, start);
    let mut small = 0;
    for ms in 0..100_000 {
        let now = start + millis(ms);
        // 500 bytes a second; and every 20 s, just after one of them, 5000 bytes that are tried once.
        small += u32::from(ms % 2 == 0 && bucket.take(now, 1));
        if ms % 20_000 == 19_998 {
            assert!(bucket.take(now, 5000), "at {ms} ms");
        }
    }
    assert!((35_000..50_000).contains(&small), "{small}");
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let start = epoch();
    let quota = Quota::new(u32::MAX, u32::MAX).unwrap().with_bytes(u64::MAX, u64::MAX).unwrap();
    let mut bucket = TokenBucket::new(quota, start);
    assert!(bucket.take(start, usize::MAX));
    assert!(!bucket.take(start, usize::MAX));
    assert!(bucket.take(start + Duration::from_secs(1 << 33), usize::MAX));
    let slow = Quota::new(1, 1).unwrap().with_bytes(1, 1).unwrap();
    let mut bucket = TokenBucket::new(slow, start);
    assert!(bucket.take(start, usize::MAX));
    assert_eq!(bucket.ready_in(start), Duration::from_nanos(u64::MAX));
}

/// Tries at steps of so many nanoseconds, of so many bytes: when and how much passed.
fn passed(quota: Quota, tries: &[(u64, usize)]) -> Vec<(u128, u128)> {
    let start = epoch();
    let (mut bucket, mut at) = (TokenBucket::new(quota, start), 0_u64);
    let mut passed = Vec::new();
    for &(step, bytes) in tries {
        at += step;
        let now = start + Duration::from_nanos(at);
        let ready = bucket.ready_in(now);
        if !ready.is_zero() {
            assert!(!bucket.clone().take(now + ready - Duration::from_nanos(1), bytes), "not earlier");
        }
        assert!(bucket.clone().take(now + ready, bytes), "then");
        let [small, large] = [0, usize::MAX].map(|bytes| bucket.clone().take(now, bytes));
        assert_eq!(small, large, "its size decides nothing");
        if bucket.take(now, bytes) {
            passed.push((u128::from(at), bytes as u128));
        }
    }
    passed
}

proptest! {
    #[test]
    fn no_window_lets_more_pass_than_burst_and_rate(
        (per_second, burst) in (1_u32..3000, 1_u32..20),
        bytes in option::of((1_u64..5_000_000, 1_u64..50_000)),
        tries in vec((prop_oneof![Just(0), 0_u64..400_000, 0_u64..40_000_000], 0_usize..20_000), 1..200),
    ) {
        let mut quota = Quota::new(per_second, burst).unwrap();
        if let Some((per_second, burst)) = bytes {
            quota = quota.with_bytes(per_second, burst).unwrap();
        }
        let passed = passed(quota, &tries);
        for (first, &(from, _)) in passed.iter().enumerate() {
            let mut sum = 0;
            for (count, &(to, size)) in (1..).zip(&passed[first..]) {
                let most = |limit: Limit| u128::from(limit.burst) * NANOS_PER_SECOND + u128::from(limit.per_second) * (to - from);
                prop_assert!(count * NANOS_PER_SECOND <= most(quota.messages), "messages");
                if let Some(limit) = quota.bytes {
                    prop_assert!(sum * NANOS_PER_SECOND < most(limit), "bytes before the last message");
                }
                sum += size;
            }
        }
    }

    /// What is offered slowly enough always passes.
    #[test]
    fn what_keeps_to_the_rate_passes(per_second in 1_u32..100_000, burst in 1_u32..10) {
        let quota = Quota::new(per_second, burst).unwrap();
        let gap = 1_000_000_000_u64.div_ceil(per_second.into());
        let tries = vec![(gap, 1); 1000];
        prop_assert_eq!(passed(quota, &tries).len(), 1000);
    }
}
