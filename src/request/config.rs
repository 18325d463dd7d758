//! How many questions a connection may have, checked when made.

/// The most questions that can be allowed in flight.
pub const MAX_IN_FLIGHT: usize = 1 << 16;

/// The most questions of one channel that can be allowed to wait.
pub const MAX_WAITING: usize = 1 << 20;

/// How many past questions are remembered for each one allowed in flight.
pub const REMEMBERED_PER_SLOT: usize = 4;

/// Limits of the questions of one connection, checked when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    in_flight: usize,
    waiting_per_channel: usize,
}

/// A limit is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The number in flight is zero, or above [`MAX_IN_FLIGHT`].
    #[error("a connection has between 1 and {MAX_IN_FLIGHT} questions in flight, not {0}")]
    InFlight(usize),
    /// The number that may wait is zero, or above [`MAX_WAITING`].
    #[error("a channel has between 1 and {MAX_WAITING} questions waiting, not {0}")]
    Waiting(usize),
}

impl Limits {
    /// Allows so many questions in flight on the connection, and so many more waiting on each channel.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless they are in `1..=MAX_IN_FLIGHT` and `1..=MAX_WAITING`. None may be zero, because
    /// every question waits before it is sent, if only for a moment.
    pub fn new(in_flight: usize, waiting_per_channel: usize) -> Result<Self, ConfigError> {
        if !(1..=MAX_IN_FLIGHT).contains(&in_flight) {
            return Err(ConfigError::InFlight(in_flight));
        }
        if !(1..=MAX_WAITING).contains(&waiting_per_channel) {
            return Err(ConfigError::Waiting(waiting_per_channel));
        }
        Ok(Self { in_flight, waiting_per_channel })
    }

    /// The most questions in flight on the connection.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The most questions waiting on each channel.
    #[must_use]
    pub fn waiting_per_channel(&self) -> usize {
        self.waiting_per_channel
    }

    /// How many of the latest ids are remembered once they are settled.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.in_flight * REMEMBERED_PER_SLOT
    }
}
