//! Rate quotas: how many messages, and how many bytes, may pass in a time.
//!
//! A [`TokenBucket`] starts full, with a burst of tokens, and gains tokens at its rate until it is full
//! again. A message passes if there is
//!
//! - one whole token for a message; and
//! - **any** token for a byte, if the quota limits bytes. It takes one for each of its bytes, and may so
//!   leave the bucket in debt, in which nothing passes.
//!
//! It takes from both or from none. The rule for bytes never asks how large the message is: what passes
//! depends on what passed before, and a message larger than the burst passes whenever a small one would. So
//! small ones that keep to the rate cannot starve it, as they would if it had to find the bucket full; and
//! if messages are tried in their order, each until it passes, each does, after no more than the size of the
//! one before divided by the rate. The price: over any time `t`, at most `burst + rate * t` messages pass,
//! but of bytes that and the last message.
//!
//! Amounts are kept in tokens times nanoseconds per second, so that every instant is exact: nothing is
//! divided, rounded, or lost over the years.

use std::time::{Duration, Instant};

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// How much may pass in a time, checked when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    messages: Limit,
    bytes: Option<Limit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    per_second: u64,
    burst: u64,
}

/// A rate or a burst of a quota is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// Nothing would ever pass again after the first burst.
    #[error("the rate of a quota is at least 1 a second")]
    Rate,
    /// Nothing would ever pass.
    #[error("the burst of a quota is at least 1")]
    Burst,
}

impl Quota {
    /// Lets so many messages pass each second, and so many at once after a pause.
    ///
    /// # Errors
    ///
    /// [`QuotaError`] if either is zero.
    pub fn new(messages_per_second: u32, burst_messages: u32) -> Result<Self, QuotaError> {
        let messages = Limit::new(messages_per_second.into(), burst_messages.into())?;
        Ok(Self { messages, bytes: None })
    }

    /// Limits the bytes as well: so many each second, and so many at once after a pause.
    ///
    /// A message larger than the burst passes too, and is paid for afterwards: see the rule at
    /// [`TokenBucket`].
    ///
    /// # Errors
    ///
    /// [`QuotaError`] if either is zero.
    pub fn with_bytes(mut self, bytes_per_second: u64, burst_bytes: u64) -> Result<Self, QuotaError> {
        self.bytes = Some(Limit::new(bytes_per_second, burst_bytes)?);
        Ok(self)
    }
}

impl Limit {
    fn new(per_second: u64, burst: u64) -> Result<Self, QuotaError> {
        match (per_second, burst) {
            (0, _) => Err(QuotaError::Rate),
            (_, 0) => Err(QuotaError::Burst),
            _ => Ok(Self { per_second, burst }),
        }
    }
}

/// Says whether a message keeps within a [`Quota`].
///
/// A message passes if the bucket has one whole token for messages, and is not in debt for bytes; then it
/// pays for itself and for all its bytes, and may leave a debt of bytes, in which nothing passes. So its own
/// size never decides whether a message passes, be it larger than the burst; and one that is tried again at
/// [`TokenBucket::ready_in`], before any other, passes then.
///
/// Over any time `t`, at most `burst + rate * t` messages pass, and fewer bytes than `burst + rate * t` and
/// those of one message. The arithmetic is exact. A clock that stands still or goes back grants nothing, and
/// costs nothing once it has come forward again. O(1).
///
/// ```
/// use peerage::queue::{Quota, TokenBucket};
/// # let now = std::time::Instant::now();
/// let mut bucket = TokenBucket::new(Quota::new(10, 2)?, now);
/// assert!(bucket.take(now, 100) && bucket.take(now, 100));
/// assert!(!bucket.take(now, 100));
/// assert!(bucket.take(now + bucket.ready_in(now), 100));
/// # Ok::<(), peerage::queue::QuotaError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TokenBucket {
    messages: Level,
    bytes: Option<Level>,
    /// The latest instant that it was told.
    now: Instant,
}

impl TokenBucket {
    /// Makes a full bucket.
    #[must_use]
    pub fn new(quota: Quota, now: Instant) -> Self {
        Self { messages: Level::full(quota.messages), bytes: quota.bytes.map(Level::full), now }
    }

    /// Takes what a message of `bytes` costs, or nothing if it exceeds the quota.
    #[must_use = "a message that exceeds the quota should not pass"]
    pub fn take(&mut self, now: Instant, bytes: usize) -> bool {
        self.gain(now);
        let passes = self.messages.has_token() && self.bytes.as_ref().is_none_or(Level::is_solvent);
        if passes {
            self.messages.pay(1);
            if let Some(level) = &mut self.bytes {
                level.pay(bytes as u64);
            }
        }
        passes
    }

    /// How long after `now` a message may pass, of whatever size; zero if one may pass now.
    ///
    /// To the nanosecond: one passes then and none passes earlier. At most 584 years.
    #[must_use]
    pub fn ready_in(&self, now: Instant) -> Duration {
        let wait = self.messages.until_token().max(self.bytes.as_ref().map_or(0, Level::until_solvent));
        let wait = Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
        match now.checked_duration_since(self.now) {
            Some(gone) => wait.saturating_sub(gone),
            None => wait + self.now.duration_since(now),
        }
    }

    fn gain(&mut self, now: Instant) {
        let nanos = now.saturating_duration_since(self.now).as_nanos();
        self.now = self.now.max(now);
        self.messages.gain(nanos);
        if let Some(level) = &mut self.bytes {
            level.gain(nanos);
        }
    }
}

/// The tokens of one kind.
#[derive(Debug, Clone)]
struct Level {
    limit: Limit,
    /// What is missing to a full bucket, in tokens times [`NANOS_PER_SECOND`]; more than a burst is debt.
    missing: u128,
}

impl Level {
    const fn full(limit: Limit) -> Self {
        Self { limit, missing: 0 }
    }

    fn gain(&mut self, nanos: u128) {
        self.missing = self.missing.saturating_sub(nanos.saturating_mul(self.limit.per_second.into()));
    }

    fn pay(&mut self, tokens: u64) {
        // Below 2^95: it was below a burst of 2^64 tokens, of 2^30 each.
        self.missing += u128::from(tokens) * NANOS_PER_SECOND;
    }

    fn capacity(&self) -> u128 {
        u128::from(self.limit.burst) * NANOS_PER_SECOND
    }

    fn has_token(&self) -> bool {
        self.missing + NANOS_PER_SECOND <= self.capacity()
    }

    fn is_solvent(&self) -> bool {
        self.missing < self.capacity()
    }

    fn until_token(&self) -> u128 {
        self.until((self.missing + NANOS_PER_SECOND).saturating_sub(self.capacity()))
    }

    fn until_solvent(&self) -> u128 {
        self.until((self.missing + 1).saturating_sub(self.capacity()))
    }

    /// The nanoseconds in which so much is gained.
    fn until(&self, lacking: u128) -> u128 {
        lacking.div_ceil(self.limit.per_second.into())
    }
}

#[cfg(test)]
mod tests;
