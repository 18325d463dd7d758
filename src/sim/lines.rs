//! How long and how fast the way is from one host to another.

use std::collections::BTreeMap;
use std::time::Duration;

use super::seed::delay;
use crate::transport::link::{LinkConfig, LinkConfigError};

/// A host's number.
pub(super) type HostId = u32;

/// What connects two nodes, in one direction.
///
/// Bytes wait at their sender for [`bytes_per_second`](Self::bytes_per_second), and are then on their way for
/// [`latency`](Self::latency), and up to [`spread`](Self::spread) more, drawn once for each connection, and up to
/// [`jitter`](Self::jitter) more, drawn for each time that bytes leave after a pause. They never overtake each other.
/// The bounds are those of a [`LinkConfig`], with the spread counted to the latency: see [`check`](Self::check).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// The shortest time on the way. Default 50 ms.
    pub latency: Duration,
    /// By how much the latency of connections differs. Default 0.
    pub spread: Duration,
    /// By how much the latency varies within a connection. Default 0.
    pub jitter: Duration,
    /// How many bytes leave in a second; `None`, the default, is no limit.
    pub bytes_per_second: Option<u64>,
    /// How many bytes wait at the sender before it must wait itself, as in a socket's buffer. Default 64 KiB.
    pub buffer_bytes: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(50),
            spread: Duration::ZERO,
            jitter: Duration::ZERO,
            bytes_per_second: None,
            buffer_bytes: 64 * 1024,
        }
    }
}

impl Line {
    /// A line of one latency, without limits.
    #[must_use]
    pub fn of(latency: Duration) -> Self {
        Self { latency, ..Self::default() }
    }

    /// With a spread.
    #[must_use]
    pub fn spread(self, spread: Duration) -> Self {
        Self { spread, ..self }
    }

    /// With a jitter.
    #[must_use]
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// With a rate.
    #[must_use]
    pub fn rate(self, bytes_per_second: u64) -> Self {
        Self { bytes_per_second: Some(bytes_per_second), ..self }
    }

    /// Whether connections can have such a line.
    ///
    /// # Errors
    ///
    /// [`LinkConfigError`] names the field that is out of bounds; a spread is counted to the latency.
    pub fn check(&self) -> Result<(), LinkConfigError> {
        self.config(self.spread).map(|_| ())
    }

    fn config(&self, more: Duration) -> Result<LinkConfig, LinkConfigError> {
        LinkConfig::new(self.latency.saturating_add(more), self.bytes_per_second, self.buffer_bytes)?
            .with_jitter(self.jitter)
    }

    /// The line of the connection that has `number`.
    pub(super) fn draw(&self, seed: u64, purpose: &str, number: u64) -> Result<LinkConfig, LinkConfigError> {
        self.config(delay(self.spread, seed, purpose, number))
    }
}

/// The lines of a network.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    default: Line,
    /// Between regions, from the first to the second.
    regions: BTreeMap<(u16, u16), Line>,
    /// Between two hosts, from the first to the second.
    pairs: BTreeMap<(HostId, HostId), Line>,
    /// Hosts that neither send nor receive faster, in bytes per second.
    slow: BTreeMap<HostId, u64>,
}

impl Lines {
    pub(super) fn set_default(&mut self, line: Line) {
        self.default = line;
    }

    pub(super) fn set_regions(&mut self, from: u16, to: u16, line: Line) {
        self.regions.insert((from, to), line);
    }

    pub(super) fn set_pair(&mut self, from: HostId, to: HostId, line: Line) {
        self.pairs.insert((from, to), line);
    }

    pub(super) fn set_slow(&mut self, host: HostId, bytes_per_second: Option<u64>) {
        match bytes_per_second {
            Some(rate) => self.slow.insert(host, rate),
            None => self.slow.remove(&host),
        };
    }

    /// The line from one host to another, of those regions, if neither is slow.
    pub(super) fn between(&self, (from, to): (HostId, HostId), regions: (u16, u16)) -> Line {
        let line = self.pairs.get(&(from, to)).or_else(|| self.regions.get(&regions));
        line.copied().unwrap_or(self.default)
    }

    /// The rate between two hosts whose line has that one.
    pub(super) fn slowest(&self, (from, to): (HostId, HostId), rate: Option<u64>) -> Option<u64> {
        let of_hosts = [from, to].into_iter().filter_map(|host| self.slow.get(&host).copied());
        rate.into_iter().chain(of_hosts).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_nearest_rule_says_what_the_line_is() {
        let mut lines = Lines::default();
        lines.set_default(Line::of(10 * MS));
        lines.set_regions(0, 1, Line::of(20 * MS));
        lines.set_pair(3, 4, Line::of(30 * MS));
        let latency = |hosts, regions| lines.between(hosts, regions).latency;
        assert_eq!(latency((1, 2), (0, 0)), 10 * MS);
        assert_eq!(latency((1, 2), (0, 1)), 20 * MS);
        assert_eq!(latency((1, 2), (1, 0)), 10 * MS, "the other direction has its own");
        assert_eq!(latency((3, 4), (0, 1)), 30 * MS);
        assert_eq!(latency((4, 3), (0, 1)), 20 * MS);
    }

    #[test]
    fn a_slow_host_slows_all_of_its_lines_and_no_line_is_faster_for_it() {
        let mut lines = Lines::default();
        lines.set_slow(1, Some(100));
        lines.set_slow(2, Some(5000));
        let rate = |from, to| lines.slowest((from, to), Some(1000));
        assert_eq!(
            (rate(1, 3), rate(3, 1), rate(2, 3), rate(1, 2)),
            (Some(100), Some(100), Some(1000), Some(100))
        );
        lines.set_slow(1, None);
        assert_eq!(
            (lines.slowest((1, 3), Some(1000)), lines.slowest((2, 3), None)),
            (Some(1000), Some(5000))
        );
    }

    #[test]
    fn a_spread_is_drawn_for_each_connection_and_by_its_number_alone() {
        let line = Line::of(10 * MS).spread(5 * MS);
        let latency = |number| line.draw(1, "line", number).unwrap().latency();
        let drawn: Vec<Duration> = (0..50).map(latency).collect();
        assert!(drawn.iter().all(|latency| (10 * MS..=15 * MS).contains(latency)));
        assert!(drawn.iter().max().unwrap().saturating_sub(*drawn.iter().min().unwrap()) > 3 * MS);
        assert_eq!(latency(7), drawn[7]);
    }

    #[test]
    fn what_no_connection_can_have_is_refused() {
        assert!(Line::of(Duration::from_secs(59)).spread(Duration::from_secs(2)).check().is_err());
        assert!(Line { buffer_bytes: 0, ..Line::default() }.check().is_err());
        assert!(Line::default().rate(0).check().is_err());
        assert_eq!(Line::default().jitter(MS).check(), Ok(()));
    }
}
