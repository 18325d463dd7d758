//! What the table answers to each input.

use std::time::Duration;

use crate::id::ChannelId;

/// Names one question of one connection, from the moment it is asked.
///
/// Never reused; tickets ascend in the order of asking. It means nothing to another connection's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// What became of a question that was to be asked.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a question that does not wait is never answered"]
pub enum Asked<T> {
    /// It waits for its turn: see [`Waiters::poll_send`](super::Waiters::poll_send).
    Waiting(Ticket),
    /// As many of its channel wait as may.
    Full(T),
    /// The connection does not carry its channel.
    NoChannel(T),
    /// The connection has ended.
    Closed(T),
}

impl<T> Asked<T> {
    /// The waiter, if it was handed back.
    #[must_use]
    pub fn into_refused(self) -> Option<T> {
        match self {
            Self::Waiting(_) => None,
            Self::Full(waiter) | Self::NoChannel(waiter) | Self::Closed(waiter) => Some(waiter),
        }
    }
}

/// A question that has its turn: it counts as in flight from now on.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outgoing<'a, T> {
    /// The question's name on this side.
    pub ticket: Ticket,
    /// Its name on the wire.
    pub id: u64,
    /// The channel it goes out on.
    pub channel: ChannelId,
    /// What was given with it; it stays in the table.
    pub waiter: &'a mut T,
}

/// How an answer is judged, by [the stated rule](super#how-an-answer-is-judged).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a waiter that is not told waits for ever, and a peer at fault goes on"]
pub enum Verdict<T> {
    /// It is the answer to a question in flight, which has left the table.
    Matched {
        /// What was given with the question.
        waiter: T,
        /// The time since the question had its turn.
        round_trip: Duration,
    },
    /// Its asker has given up, or it is too long ago to tell. Nobody's fault.
    Late,
    /// The question had its answer before. The peer's fault.
    Duplicate,
    /// A question in flight has this id, but on another channel or with another code for its answer. The
    /// peer's fault; the question stays in flight.
    Foreign,
    /// No question ever had this id. The peer's fault.
    Unasked,
}

impl<T> Verdict<T> {
    /// Whether the peer broke the protocol.
    #[must_use]
    pub fn is_peers_fault(&self) -> bool {
        matches!(self, Self::Duplicate | Self::Foreign | Self::Unasked)
    }
}
