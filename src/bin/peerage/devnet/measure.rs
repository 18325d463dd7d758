//! What a devnet counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;
use peerage::channel::DropReason;
use peerage::reactor::ping;
use peerage::router::RouterHandle;

use super::nodes::Network;

/// What the reactors of all nodes measure.
pub(super) struct Measured {
    round_trips_us: Mutex<Histogram<u64>>,
    lines_said: AtomicU64,
    lines_heard: AtomicU64,
}

/// Longest round trip that is told apart, in microseconds.
const LONGEST_US: u64 = 60_000_000;

impl Default for Measured {
    #[allow(clippy::expect_used, reason = "the bounds are constants, and valid")]
    fn default() -> Self {
        let histogram = Histogram::new_with_max(LONGEST_US, 3).expect("the bounds are valid");
        Self {
            round_trips_us: Mutex::new(histogram),
            lines_said: AtomicU64::new(0),
            lines_heard: AtomicU64::new(0),
        }
    }
}

impl Measured {
    pub(super) fn ping(&self, result: ping::Measured) {
        if let ping::Measured::RoundTrip(time) = result {
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).clamp(1, LONGEST_US);
            self.round_trips_us.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
        }
    }

    pub(super) fn said_line(&self) {
        self.lines_said.fetch_add(1, Relaxed);
    }

    pub(super) fn heard_line(&self) {
        self.lines_heard.fetch_add(1, Relaxed);
    }
}

/// The counters of all nodes, added up.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) queued: usize,
    pub(super) dropped: BTreeMap<&'static str, u64>,
    /// Of those dropped, the ones that had come to a peer and were not received: late answers above all.
    pub(super) dropped_on_arrival: u64,
    /// Of those dropped, the ones that nobody gave up of his own accord.
    pub(super) dropped_against_will: u64,
    pub(super) rtt_p50_us: u64,
    pub(super) rtt_p99_us: u64,
    pub(super) pings: u64,
    pub(super) lines_said: u64,
    pub(super) lines_heard: u64,
}

impl Totals {
    pub(super) fn of(network: &Network, measured: &Measured) -> Self {
        let mut totals = Self::default();
        for handle in network.handles() {
            totals.queued += handle.peers().iter().map(|peer| peer.queued_messages).sum::<usize>();
            totals.queued += handle.channels().iter().map(|channel| channel.waiting).sum::<usize>();
        }
        // What a node that was killed had counted was sent and received all the same.
        for channel in network.handles().chain(network.killed()).flat_map(RouterHandle::channels) {
            // Received before sent: a message in flight between the two readings is not taken for lost.
            totals.received += channel.received;
            totals.sent += channel.sent;
            for (reason, count) in channel.dropped {
                totals.count(reason, count);
            }
        }
        let round_trips = measured.round_trips_us.lock().unwrap_or_else(PoisonError::into_inner);
        totals.rtt_p50_us = round_trips.value_at_quantile(0.5);
        totals.rtt_p99_us = round_trips.value_at_quantile(0.99);
        totals.pings = round_trips.len();
        totals.lines_said = measured.lines_said.load(Relaxed);
        totals.lines_heard = measured.lines_heard.load(Relaxed);
        totals
    }

    fn count(&mut self, reason: DropReason, count: u64) {
        *self.dropped.entry(reason.as_str()).or_default() += count;
        self.dropped_on_arrival += if reason.is_on_arrival() { count } else { 0 };
        self.dropped_against_will += if is_given_up(reason) { 0 } else { count };
    }

    /// Messages that were written and never came to their peer: sent = received + dropped on arrival + these.
    pub(super) fn missing(&self) -> u64 {
        self.sent.saturating_sub(self.received + self.dropped_on_arrival)
    }

    /// What is lost of what was sent since `earlier`, when nothing was on its way.
    pub(super) fn lost_since(&self, earlier: &Self) -> u64 {
        self.lost().saturating_sub(earlier.lost())
    }

    /// How often a line said since `earlier`, when `nodes` nodes were one network, was not heard by one of them.
    pub(super) fn unheard_since(&self, earlier: &Self, nodes: usize) -> u64 {
        let due = (self.lines_said - earlier.lines_said) * (nodes as u64).saturating_sub(1);
        due.saturating_sub(self.lines_heard - earlier.lines_heard)
    }

    /// Messages that should have come to a reactor and did not.
    pub(super) fn lost(&self) -> u64 {
        // What came and was dropped against its sender's will is not missing, so nothing is in both.
        self.missing() + self.dropped_against_will
    }
}

/// Whether its sender or its asker gave a message so dropped up, by a deadline or by an order: a late answer has
/// arrived, but the asker waits no more. Under load that is what a deadline is for, and no loss.
fn is_given_up(reason: DropReason) -> bool {
    matches!(reason, DropReason::LateAnswer | DropReason::Stale | DropReason::Cancelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_not_lost_and_what_is_missing_is() {
        let mut totals = Totals { sent: 135_224, received: 135_212, ..Totals::default() };
        totals.count(DropReason::LateAnswer, 12);
        totals.count(DropReason::Stale, 2);
        assert_eq!((totals.dropped_on_arrival, totals.missing(), totals.lost()), (12, 0, 0));
        totals.sent += 3;
        assert_eq!((totals.missing(), totals.lost()), (3, 3));
        totals.count(DropReason::InboundFull, 1);
        assert_eq!((totals.missing(), totals.lost()), (2, 3), "one of the three has come and was dropped");
        totals.count(DropReason::OutboundEvicted, 1);
        assert_eq!((totals.missing(), totals.lost()), (2, 4), "one more was never written");
    }
}
