//! How a link ends: at once or after what is queued has been written, and what is lost with it.

use std::time::{Duration, Instant};

use super::Link;
use crate::channel::counters::DropReason;
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::queue;

/// That a link ends, and why.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) closed: Closed,
    /// What is queued is still written until then; `None` drops it at once.
    pub(super) drain_until: Option<Instant>,
}

impl Link {
    /// Ends the link. The first end counts; returns whether this was it. What is queued is dropped.
    pub(crate) fn close(&self, closed: Closed) -> bool {
        self.end(End { closed, drain_until: None })
    }

    /// Ends the link after what is queued has been written, or at `until`. New pushes are refused.
    pub(crate) fn close_after_drain(&self, closed: Closed, until: Instant) -> bool {
        self.end(End { closed, drain_until: Some(until) })
    }

    fn end(&self, end: End) -> bool {
        let mut state = self.lock();
        let first = state.end.is_none();
        let drop_queued = end.drain_until.is_none();
        match &mut state.end {
            // A link that fails while it drains drops the rest, but keeps the reason it was closed for.
            Some(earlier) if drop_queued => earlier.drain_until = None,
            Some(_) => {}
            none => *none = Some(end),
        }
        state.queue.close();
        let writer = state.writer.take();
        drop(state);
        self.closing.raise();
        if drop_queued {
            self.dropped.raise();
            self.finished.raise();
        }
        if let Some(writer) = writer {
            writer.wake();
        }
        self.room.notify_waiters();
        self.fail_questions();
        first
    }

    /// Completes when the link is closing.
    pub(crate) async fn closing(&self) {
        self.closing.raised().await;
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_raised()
    }

    /// Completes when the link is closing and what was queued is dropped.
    pub(crate) async fn dropped(&self) {
        self.dropped.raised().await;
    }

    /// How long a closing link may still write.
    pub(crate) fn drain_left(&self) -> Option<Duration> {
        let until = self.lock().end.as_ref()?.drain_until?;
        Some(until.saturating_duration_since(self.clock.now()))
    }

    /// The writer has written its last.
    pub(crate) fn written(&self) {
        self.written.raise();
        self.finished.raise();
    }

    /// Completes when the writer has written its last.
    pub(crate) async fn all_written(&self) {
        self.written.raised().await;
    }

    /// Completes when the writer has written its last, or what was queued is dropped.
    pub(crate) async fn finished(&self) {
        self.finished.raised().await;
    }

    /// How the link ended, once it has.
    pub(crate) fn closed(&self) -> Option<Closed> {
        self.lock().end.as_ref().map(|end| end.closed.clone())
    }

    /// Drops what is left and counts all that was lost on this link. Call it once, at the very end.
    pub(crate) fn settle(&self, reason: DropReason) -> u64 {
        let mut state = self.lock();
        state.settled = true;
        let mut lost = 0;
        for (at, channel) in self.channels.iter().enumerate() {
            let Some(stats) = state.queue.close_flow(channel.id) else { continue };
            let tally = &mut state.tallies[at];
            let unwritten = stats.dropped(queue::DropReason::FlowClosed).messages + tally.taken;
            lost += unwritten;
            channel.counters.add_dropped(reason, unwritten);
            tally.count_losses(&stats, &channel.counters);
        }
        lost
    }

    /// Ends a connection whose peer takes too little of a channel with that policy.
    pub(in crate::channel) fn close_for_overflow(&self) {
        let reason = DisconnectReason::PingTimeout;
        self.close(Closed::local(Layer::Channel, Blame::Overload, reason, "outbound_overflow"));
    }
}
