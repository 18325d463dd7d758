//! How long a line is, how fast, and how much waits before it.

use std::time::Duration;

/// What a pipe holds that takes no time, and a line with a rate beyond what is on it, in bytes.
pub const PIPE_BYTES: usize = 64 * 1024;

/// The coarseness of tokio's timer, twice: a wait ends up to one millisecond late for the rounding of its deadline, and
/// up to one more where the clock itself stands between two milliseconds.
pub(super) const GRANULARITY: Duration = Duration::from_millis(2);

/// What a line without a rate holds between writer and reader. It has no product of bandwidth and delay to take.
const UNLIMITED_WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// One line between two nodes, the same in both directions.
///
/// In each direction a writer has at most [`buffer_bytes`](Self::buffer_bytes) that have not left; they leave one
/// after another at [`bytes_per_second`](Self::bytes_per_second), and each arrives [`latency`](Self::latency) after it
/// left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkConfig {
    latency: Duration,
    bytes_per_second: Option<u64>,
    buffer_bytes: usize,
    window_bytes: usize,
    jitter: Duration,
}

/// Why a [`LinkConfig`] is refused. Names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkConfigError {
    /// A number must not be zero.
    #[error("`{field}` must be at least 1")]
    Zero {
        /// The field.
        field: &'static str,
    },
    /// A number exceeds its limit.
    #[error("`{field}` must not exceed {max}")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// The limit.
        max: u64,
    },
    /// The latency exceeds [`LinkConfig::MAX_LATENCY`].
    #[error("`{field}` must not exceed one minute")]
    TooLong {
        /// The field.
        field: &'static str,
    },
    /// The line would hold more than [`LinkConfig::MAX_WINDOW_BYTES`] at once.
    #[error("`latency` times `bytes_per_second` asks for a window of {bytes} bytes, the limit is 1 GiB")]
    Window {
        /// What the line would hold.
        bytes: u64,
    },
}

impl LinkConfig {
    /// The longest latency, and the greatest jitter.
    pub const MAX_LATENCY: Duration = Duration::from_secs(60);
    /// The highest rate, in bytes per second: 1 Tbit/s.
    pub const MAX_BYTES_PER_SECOND: u64 = 125_000_000_000;
    /// The largest buffer of a writer, in bytes.
    pub const MAX_BUFFER_BYTES: usize = 1 << 30;
    /// The largest [window](Self::window_bytes), in bytes.
    pub const MAX_WINDOW_BYTES: usize = 1 << 30;

    /// Describes a line of one `latency`, zero included, and a rate: `None` is no limit.
    ///
    /// # Errors
    ///
    /// [`LinkConfigError`] names the first field that is out of bounds: a rate or a buffer of zero, or anything above
    /// the constants here.
    pub fn new(
        latency: Duration,
        bytes_per_second: Option<u64>,
        buffer_bytes: usize,
    ) -> Result<Self, LinkConfigError> {
        if latency > Self::MAX_LATENCY {
            return Err(LinkConfigError::TooLong { field: "latency" });
        }
        if let Some(rate) = bytes_per_second {
            check("bytes_per_second", rate, Self::MAX_BYTES_PER_SECOND)?;
        }
        check("buffer_bytes", buffer_bytes as u64, Self::MAX_BUFFER_BYTES as u64)?;
        let window_bytes = window(latency, bytes_per_second)?;
        Ok(Self { latency, bytes_per_second, buffer_bytes, window_bytes, jitter: Duration::ZERO })
    }

    /// Lets bytes be on their way for up to `most` longer than the latency: whatever leaves after a pause is late by a
    /// time that is drawn for it, each as likely as another, but never overtakes what left before. While a line with a
    /// rate is busy it stays as late as it was.
    ///
    /// # Errors
    ///
    /// [`LinkConfigError`] if it exceeds [`Self::MAX_LATENCY`], or the window that the line then needs is too large.
    pub fn with_jitter(self, most: Duration) -> Result<Self, LinkConfigError> {
        if most > Self::MAX_LATENCY {
            return Err(LinkConfigError::TooLong { field: "jitter" });
        }
        let window_bytes = window(self.latency + most, self.bytes_per_second)?;
        Ok(Self { jitter: most, window_bytes, ..self })
    }

    /// The same line with another rate.
    pub(super) fn with_rate(self, bytes_per_second: Option<u64>) -> Result<Self, LinkConfigError> {
        Self::new(self.latency, bytes_per_second, self.buffer_bytes)?.with_jitter(self.jitter)
    }

    /// How much longer than the latency bytes may be on their way.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        self.jitter
    }

    /// From a byte's leaving to its arrival.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.latency
    }

    /// How many bytes leave in a second; `None` if all leave at once.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<u64> {
        self.bytes_per_second
    }

    /// How many bytes a writer may have that have not left.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// How many bytes may be on the line and unread at its end together; while there are so many, none leaves.
    ///
    /// With a rate it is what the line carries in its latency and 2 ms (the timer's coarseness, for which a reader
    /// may come late), and [`PIPE_BYTES`]: whoever reads what is there never closes it. Without a rate it is 4 MiB.
    #[must_use]
    pub fn window_bytes(&self) -> usize {
        self.window_bytes
    }
}

fn check(field: &'static str, value: u64, max: u64) -> Result<(), LinkConfigError> {
    match value {
        0 => Err(LinkConfigError::Zero { field }),
        value if value > max => Err(LinkConfigError::TooLarge { field, max }),
        _ => Ok(()),
    }
}

fn window(latency: Duration, bytes_per_second: Option<u64>) -> Result<usize, LinkConfigError> {
    let Some(rate) = bytes_per_second else { return Ok(UNLIMITED_WINDOW_BYTES) };
    // At most 62 s at 1 Tbit/s: far within both types.
    let on_the_line = ((latency + GRANULARITY).as_nanos() * u128::from(rate)).div_ceil(1_000_000_000);
    let bytes = u64::try_from(on_the_line).unwrap_or(u64::MAX).saturating_add(PIPE_BYTES as u64);
    let window = usize::try_from(bytes).ok().filter(|window| *window <= LinkConfig::MAX_WINDOW_BYTES);
    window.ok_or(LinkConfigError::Window { bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_out_of_bounds_is_refused_by_name() {
        let refused = |latency, rate, buffer| LinkConfig::new(latency, rate, buffer).unwrap_err().to_string();
        assert_eq!(refused(MS, Some(0), 1), "`bytes_per_second` must be at least 1");
        assert_eq!(refused(MS, None, 0), "`buffer_bytes` must be at least 1");
        assert_eq!(refused(LinkConfig::MAX_LATENCY + MS, None, 1), "`latency` must not exceed one minute");
        let fast = LinkConfig::MAX_BYTES_PER_SECOND;
        assert_eq!(refused(MS, Some(fast + 1), 1), format!("`bytes_per_second` must not exceed {fast}"));
        let large = LinkConfig::MAX_BUFFER_BYTES;
        assert_eq!(refused(MS, None, large + 1), format!("`buffer_bytes` must not exceed {large}"));
        assert!(refused(MS * 1000, Some(fast), 1).starts_with("`latency` times `bytes_per_second`"));
    }

    #[test]
    fn the_bounds_themselves_are_allowed() {
        let widest = LinkConfig::new(LinkConfig::MAX_LATENCY, Some(1), LinkConfig::MAX_BUFFER_BYTES).unwrap();
        assert_eq!(widest.latency(), LinkConfig::MAX_LATENCY);
        assert_eq!(widest.buffer_bytes(), LinkConfig::MAX_BUFFER_BYTES);
        let fastest = LinkConfig::new(Duration::ZERO, Some(LinkConfig::MAX_BYTES_PER_SECOND), 1).unwrap();
        assert_eq!(fastest.bytes_per_second(), Some(LinkConfig::MAX_BYTES_PER_SECOND));
    }

    #[test]
    fn the_window_fills_the_line() {
        let line = LinkConfig::new(98 * MS, Some(1_000_000), 1).unwrap();
        assert_eq!(line.window_bytes(), 100_000 + PIPE_BYTES);
        assert_eq!(LinkConfig::new(98 * MS, None, 1).unwrap().window_bytes(), UNLIMITED_WINDOW_BYTES);
    }
}
