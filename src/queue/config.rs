//! Limits of a queue and of its flows, and what travels beside a message.

use std::time::Instant;

use super::arena::Arena;

/// What a message counts at least, in bytes: about what the queue itself spends on one.
///
/// Without it a million empty messages would weigh nothing.
pub const MIN_CHARGE_BYTES: usize = 64;

/// What a flow of weight 1 may send each round, in bytes.
pub const QUANTUM_BYTES: usize = 4096;

/// The bytes that the [`Priority::High`] class may send for each byte of the normal class that waits.
///
/// So it takes at most 15 of 16 bytes in the long run.
pub const HIGH_SHARE: usize = 15;

/// The bytes that the [`Priority::High`] class may send ahead of that share, before one normal message has to go.
///
/// About a thousand votes; 21 ms of a line of 100 Mbit/s.
pub const HIGH_BURST_BYTES: usize = 256 * 1024;

/// The largest weight of a flow.
pub const MAX_WEIGHT: u32 = 1024;

/// How many messages the control lane holds.
pub const CONTROL_MAX_MESSAGES: usize = 64;

/// How many bytes the control lane holds.
pub const CONTROL_MAX_BYTES: usize = 64 * 1024;

/// What `bytes` of payload are charged: the bytes, at least [`MIN_CHARGE_BYTES`].
#[must_use]
pub const fn charge(bytes: usize) -> usize {
    if bytes < MIN_CHARGE_BYTES { MIN_CHARGE_BYTES } else { bytes }
}

/// Limits of a whole queue, checked when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueConfig {
    pub(super) max_messages: usize,
    pub(super) max_bytes: usize,
}

/// Weight, limits and policy of one flow, checked when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowConfig {
    pub(super) weight: u32,
    pub(super) max_messages: usize,
    pub(super) max_bytes: usize,
    pub(super) overflow: Overflow,
    pub(super) priority: Priority,
}

/// Which flows are served first. See [the module](super#classes).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// Before all others, within a budget: for what is small, rare and urgent, such as votes.
    High,
    /// By weight, with what the other class leaves, which is one byte in 16 at the least.
    #[default]
    Normal,
}

/// What becomes of a message that finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// It goes back to the caller, who tries again when there is room. Nothing is lost.
    Wait,
    /// The flow's oldest messages make room for it.
    DropOldest,
    /// It is lost; what is queued stays.
    DropNewest,
    /// It is lost, and the caller should end the connection: the peer is too slow for this flow.
    Disconnect,
    /// Conflation: it takes the place of the queued message of its [`Meta::key`], full or not; else it is lost.
    ///
    /// For state of which only the newest counts. The place in the line is kept, so that a key which
    /// changes faster than the queue drains is still sent.
    ReplaceByKey,
}

/// A limit or a weight is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The number of messages is zero, or more than a queue can number.
    #[error("a queue holds between 1 and {MAX_MESSAGES} messages, not {0}")]
    Messages(usize),
    /// The number of bytes is below [`MIN_CHARGE_BYTES`], or so large that sums could overflow.
    #[error("a queue holds between {MIN_CHARGE_BYTES} and {MAX_BYTES} bytes, not {0}")]
    Bytes(usize),
    /// The weight is not between 1 and [`MAX_WEIGHT`].
    #[error("a weight is between 1 and {MAX_WEIGHT}, not {0}")]
    Weight(u32),
}

const MAX_MESSAGES: usize = Arena::<()>::MAX - 1;

/// Leaves room to add two charges and a deficit without overflow.
const MAX_BYTES: usize = usize::MAX / 4;

impl QueueConfig {
    /// Limits a queue to so many messages and so many charged bytes.
    ///
    /// The control lane comes on top. Choose about twice what the busiest flow needs: see
    /// [the rule for a full queue](super#when-there-is-no-room).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if no message would fit, or if a limit is beyond what the queue can count.
    pub fn new(max_messages: usize, max_bytes: usize) -> Result<Self, ConfigError> {
        check(max_messages, max_bytes)?;
        Ok(Self { max_messages, max_bytes })
    }

    /// The most messages held, without the control lane.
    #[must_use]
    pub fn max_messages(&self) -> usize {
        self.max_messages
    }

    /// The most charged bytes held, without the control lane.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }
}

impl FlowConfig {
    /// Gives a flow its weight, its limits and what happens beyond them.
    ///
    /// The limits of the whole queue hold as well; a flow's may be larger and then never bind.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the weight is not in `1..=MAX_WEIGHT` or no message would fit.
    pub fn new(
        weight: u32,
        max_messages: usize,
        max_bytes: usize,
        overflow: Overflow,
    ) -> Result<Self, ConfigError> {
        check(max_messages, max_bytes)?;
        if !(1..=MAX_WEIGHT).contains(&weight) {
            return Err(ConfigError::Weight(weight));
        }
        Ok(Self { weight, max_messages, max_bytes, overflow, priority: Priority::Normal })
    }

    /// Puts the flow into a class; [`Priority::Normal`] if this is not called.
    #[must_use]
    pub const fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The share of the bytes sent, relative to the other flows' weights.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The most messages held.
    #[must_use]
    pub fn max_messages(&self) -> usize {
        self.max_messages
    }

    /// The most charged bytes held.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// What becomes of a message that finds no room.
    #[must_use]
    pub fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// The class that it is served in.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// The bytes added to the deficit each round.
    pub(super) fn quantum(&self) -> usize {
        QUANTUM_BYTES * self.weight as usize
    }
}

fn check(max_messages: usize, max_bytes: usize) -> Result<(), ConfigError> {
    if !(1..=MAX_MESSAGES).contains(&max_messages) {
        return Err(ConfigError::Messages(max_messages));
    }
    if !(MIN_CHARGE_BYTES..=MAX_BYTES).contains(&max_bytes) {
        return Err(ConfigError::Bytes(max_bytes));
    }
    Ok(())
}

/// Names messages that may be cancelled together. The caller chooses the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CancelId(pub u64);

/// What the queue needs to know about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// Size of the payload in bytes; charged as [`charge`] says.
    pub bytes: usize,
    /// From this instant on the message is stale: it is dropped and counted instead of popped.
    pub deadline: Option<Instant>,
    /// The name to cancel it by. Costs an index entry, O(log n).
    pub cancel: Option<CancelId>,
    /// What it is the newest state of, within its flow. Costs an index entry, O(log n), under
    /// [`Overflow::ReplaceByKey`]; ignored under any other policy.
    pub key: Option<u64>,
}

impl Meta {
    /// Describes a message of `bytes` that is never stale, cannot be cancelled and replaces none.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        Self { bytes, deadline: None, cancel: None, key: None }
    }

    /// Makes the message stale from `deadline` on.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Makes the message subject to cancellation as `id`.
    #[must_use]
    pub const fn with_cancel(mut self, id: CancelId) -> Self {
        self.cancel = Some(id);
        self
    }

    /// Makes the message replace, and be replaced by, others of this key in its flow.
    #[must_use]
    pub const fn with_key(mut self, key: u64) -> Self {
        self.key = Some(key);
        self
    }
}
