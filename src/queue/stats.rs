//! What a queue counts.

use std::fmt;

/// A number of messages and their charged bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many messages.
    pub messages: u64,
    /// Their bytes, as charged.
    pub bytes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, charge: usize) {
        self.messages += 1;
        // Saturating, because what is refused may claim any size.
        self.bytes = self.bytes.saturating_add(charge as u64);
    }

    /// What is left without one message, which must be among these.
    pub(super) fn without(self, charge: usize) -> Self {
        Self { messages: self.messages - 1, bytes: self.bytes - charge as u64 }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { messages: self.messages + other.messages, bytes: self.bytes.saturating_add(other.bytes) }
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::plus)
    }
}

/// Why a queued message was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DropReason {
    /// Its deadline passed.
    Stale,
    /// A newer message of its flow took its room.
    Evicted,
    /// A newer message of its key took its place.
    Replaced,
    /// It was cancelled.
    Cancelled,
    /// Its flow was closed.
    FlowClosed,
    /// The queue was emptied at the end.
    Shutdown,
}

/// Why a message was handed back and never entered the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RefuseReason {
    /// No room; the caller may try again, so this counts attempts rather than losses.
    Full,
    /// No room, and the policy or a full queue loses the newest.
    Newest,
    /// No room, and the policy ends the connection.
    Disconnect,
    /// It could not fit into an empty queue.
    TooLarge,
    /// There is no such flow.
    NoFlow,
    /// The queue is closed.
    Closed,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Stale, Self::Evicted, Self::Replaced, Self::Cancelled, Self::FlowClosed, Self::Shutdown];

    /// A stable snake-case label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Evicted => "evicted",
            Self::Replaced => "replaced",
            Self::Cancelled => "cancelled",
            Self::FlowClosed => "flow_closed",
            Self::Shutdown => "shutdown",
        }
    }
}

impl RefuseReason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Full, Self::Newest, Self::Disconnect, Self::TooLarge, Self::NoFlow, Self::Closed];

    /// A stable snake-case label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Newest => "newest",
            Self::Disconnect => "disconnect",
            Self::TooLarge => "too_large",
            Self::NoFlow => "no_flow",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for RefuseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What went in, what came out, and what was lost on the way; of a queue or of one flow.
///
/// The law: `pushed = popped + dropped + queued`, in messages and in bytes. What was refused never
/// entered and stands apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Accepted by push.
    pub pushed: Tally,
    /// Handed out by pop.
    pub popped: Tally,
    /// There now.
    pub queued: Tally,
    pub(super) dropped: [Tally; DropReason::ALL.len()],
    pub(super) refused: [Tally; RefuseReason::ALL.len()],
}

impl Stats {
    /// Accepted, and then lost for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> Tally {
        self.dropped[reason as usize]
    }

    /// Accepted, and then lost, for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> Tally {
        self.dropped.into_iter().sum()
    }

    /// Handed back for this reason.
    #[must_use]
    pub fn refused(&self, reason: RefuseReason) -> Tally {
        self.refused[reason as usize]
    }

    /// Whether the law holds.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        self.pushed == self.popped.plus(self.dropped_total()).plus(self.queued)
    }

    /// Adds another's counts to these.
    pub(super) fn plus(mut self, other: &Self) -> Self {
        self.pushed = self.pushed.plus(other.pushed);
        self.popped = self.popped.plus(other.popped);
        self.queued = self.queued.plus(other.queued);
        for (sum, add) in self.dropped.iter_mut().zip(other.dropped) {
            *sum = sum.plus(add);
        }
        for (sum, add) in self.refused.iter_mut().zip(other.refused) {
            *sum = sum.plus(add);
        }
        self
    }

    pub(super) fn on_pushed(&mut self, charge: usize) {
        self.pushed.add(charge);
        self.queued.add(charge);
    }

    pub(super) fn on_popped(&mut self, charge: usize) {
        self.popped.add(charge);
        self.leave(charge);
    }

    pub(super) fn on_dropped(&mut self, reason: DropReason, charge: usize) {
        self.dropped[reason as usize].add(charge);
        self.leave(charge);
    }

    pub(super) fn on_refused(&mut self, reason: RefuseReason, charge: usize) {
        self.refused[reason as usize].add(charge);
    }

    fn leave(&mut self, charge: usize) {
        self.queued.messages -= 1;
        self.queued.bytes -= charge as u64;
    }
}
