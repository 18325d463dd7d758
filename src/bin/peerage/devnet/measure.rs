//! What a devnet counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;
use peerage::channel::DropReason;
use peerage::reactor::ping;
use peerage::router::RouterHandle;

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
    /// Dropped before they were written, or after they were received.
    lost_at_ends: u64,
    pub(super) rtt_p50_us: u64,
    pub(super) rtt_p99_us: u64,
    pub(super) pings: u64,
    pub(super) lines_said: u64,
    pub(super) lines_heard: u64,
}

impl Totals {
    pub(super) fn of(handles: &[RouterHandle], measured: &Measured) -> Self {
        let mut totals = Self::default();
        for handle in handles {
            totals.queued += handle.peers().iter().map(|peer| peer.queued_messages).sum::<usize>();
            for channel in handle.channels() {
                // Received before sent: a message in flight between the two readings is not taken for lost.
                totals.received += channel.received;
                totals.sent += channel.sent;
                totals.queued += channel.waiting;
                for (reason, count) in channel.dropped {
                    *totals.dropped.entry(reason.as_str()).or_default() += count;
                    totals.lost_at_ends += if is_in_transit(reason) { 0 } else { count };
                }
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

    /// Messages that were accepted for sending and never came to a reactor.
    pub(super) fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received) + self.lost_at_ends
    }
}

/// Whether a message so dropped was sent but not received: it is in the difference of the two already.
fn is_in_transit(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::InboundFull
            | DropReason::Malformed
            | DropReason::NoReceiver
            | DropReason::OverQuota
            | DropReason::LateAnswer
            | DropReason::UnaskedAnswer
    )
}
