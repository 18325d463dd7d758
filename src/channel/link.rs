//! What stands between all channels and one connection: its outbound queue, and how it ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Fate;
use super::answering::Slots;
use super::asking::Asking;
use super::counters::{ChannelCounters, DropReason};
use crate::address::Endpoint;
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::id::{ChannelId, ConnId, Direction, NodeId};
use crate::message::{Frame, Packet, Refusal};
use crate::peer::Introduction;
use crate::queue::{self, CancelId, FairQueue, FlowConfig, Meta, Pushed, QueueConfig, TokenBucket, charge};
use crate::request;

/// The connection's half of a channel: version in use, and where it is counted.
pub(crate) struct LinkChannel {
    pub(crate) id: ChannelId,
    pub(crate) version: u32,
    pub(crate) flow: FlowConfig,
    pub(crate) counters: Arc<ChannelCounters>,
    /// How fast the peer may send, if there is a limit.
    pub(crate) quota: Option<Mutex<TokenBucket>>,
}

impl LinkChannel {
    /// Whether the peer may send a message of so many bytes now; counts it if so.
    pub(super) fn is_within_quota(&self, now: Instant, bytes: usize) -> bool {
        let Some(quota) = &self.quota else { return true };
        quota.lock().unwrap_or_else(PoisonError::into_inner).take(now, bytes)
    }
}

/// Who and where the other end of a link is.
#[derive(Debug, Clone)]
pub(crate) struct FarEnd {
    pub(crate) peer: NodeId,
    pub(crate) remote: Endpoint,
    pub(crate) client: String,
    /// What it told of itself, and what was agreed.
    pub(crate) introduction: Introduction,
    /// Whether it is a node of our kind: others would take a refusal for a malformed answer.
    pub(crate) understands_refusals: bool,
}

/// Limits of one link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkLimits {
    /// What waits to be written.
    pub(crate) queue: QueueConfig,
    /// This node's questions.
    pub(crate) asking: request::Limits,
    /// The peer's questions that are not answered yet.
    pub(crate) answering: usize,
}

/// A live connection as senders and the router see it.
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    pub(crate) direction: Direction,
    pub(crate) far_end: FarEnd,
    channels: Vec<LinkChannel>,
    state: Mutex<State>,
    /// Locked before `state` where both are.
    pub(super) asking: Asking,
    pub(super) answering: Slots,
    writable: Notify,
    room: Notify,
    closing: CancellationToken,
    dropped: CancellationToken,
    written: CancellationToken,
}

struct State {
    queue: FairQueue<ChannelId, Packet>,
    /// For each channel, how many frames the writer has taken and not yet written.
    taken: Vec<u64>,
    settled: bool,
    writer_waits: bool,
    end: Option<End>,
}

#[derive(Debug, Clone)]
struct End {
    closed: Closed,
    /// What is queued is still written until then; `None` drops it at once.
    drain_until: Option<Instant>,
}

/// What the writer finds when it asks for more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// Packets were appended.
    Some,
    /// The link is closing and nothing is left to write.
    Closing,
}

impl Link {
    pub(crate) fn new(
        conn: ConnId,
        direction: Direction,
        far_end: FarEnd,
        limits: LinkLimits,
        channels: Vec<LinkChannel>,
    ) -> Self {
        let mut queue = FairQueue::new(limits.queue);
        for channel in &channels {
            // Channel names are unique within a router, so no flow is opened twice.
            let opened = queue.open_flow(channel.id, channel.flow);
            debug_assert!(opened.is_ok(), "channel {} declared twice", channel.id);
        }
        let taken = vec![0; channels.len()];
        let state = State { queue, taken, settled: false, writer_waits: false, end: None };
        Self {
            conn,
            direction,
            far_end,
            asking: Asking::new(limits.asking, channels.iter().map(|channel| channel.id)),
            answering: Slots::new(limits.answering),
            channels,
            state: Mutex::new(state),
            writable: Notify::new(),
            room: Notify::new(),
            closing: CancellationToken::new(),
            dropped: CancellationToken::new(),
            written: CancellationToken::new(),
        }
    }

    pub(crate) fn peer(&self) -> NodeId {
        self.far_end.peer
    }

    pub(crate) fn channel(&self, id: ChannelId) -> Option<&LinkChannel> {
        self.channels.iter().find(|channel| channel.id == id)
    }

    pub(crate) fn channel_ids(&self) -> Vec<ChannelId> {
        self.channels.iter().map(|channel| channel.id).collect()
    }

    /// Messages and bytes that wait to be written.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let state = self.lock();
        (state.queue.len(), state.queue.bytes())
    }

    /// Frames that were accepted and are neither written nor lost.
    pub(crate) fn unwritten(&self) -> u64 {
        let state = self.lock();
        let queued = self.channels.iter().map(|channel| state.queue.flow_len(channel.id) as u64);
        queued.sum::<u64>() + state.taken.iter().sum::<u64>()
    }

    /// Queues a frame and counts what became of it. Never waits. Ends the connection if that is the channel's policy.
    pub(super) fn offer(&self, now: Instant, frame: Frame, meta: Meta) -> Fate {
        let (fate, overflow) = self.push(now, frame, meta);
        if overflow {
            self.close_for_overflow();
        }
        fate
    }

    /// As [`Link::offer`], but leaves it to the caller to end the connection if this says so.
    pub(super) fn push(&self, now: Instant, frame: Frame, meta: Meta) -> (Fate, bool) {
        let id = frame.channel;
        let Some(channel) = self.channel(id) else { return (Fate::Refused(Refusal::NoChannel), false) };
        let mut state = self.lock();
        let pushed = state.queue.push(now, id, Packet::Frame(frame), meta);
        self.wake_writer(state);
        let counters = &channel.counters;
        let fate = match &pushed {
            Pushed::Queued => Fate::Queued,
            Pushed::Evicted { messages, .. } => {
                counters.add_dropped(DropReason::OutboundEvicted, *messages as u64);
                Fate::Evicted(*messages)
            }
            Pushed::Replaced { .. } => {
                counters.add_dropped(DropReason::Replaced, 1);
                Fate::Replaced
            }
            Pushed::Full(_) | Pushed::DroppedNewest(_) | Pushed::Disconnect(_) => {
                Fate::Refused(Refusal::Full)
            }
            Pushed::NoFlow(_) => Fate::Refused(Refusal::NoChannel),
            // The builder has checked that the largest message fits, so only a hand-written limit gets here.
            Pushed::TooLarge(_) => {
                let limit = channel.flow.max_bytes();
                Fate::Refused(Refusal::TooLarge { bytes: meta.bytes, limit })
            }
            Pushed::Closed(_) => Fate::Refused(Refusal::NotConnected),
        };
        if fate.is_queued() {
            counters.add_accepted();
        }
        (fate, matches!(pushed, Pushed::Disconnect(_)))
    }

    /// Ends a connection whose peer takes too little of a channel with that policy.
    pub(super) fn close_for_overflow(&self) {
        let reason = DisconnectReason::PingTimeout;
        self.close(Closed::local(Layer::Channel, Blame::Overload, reason, "outbound_overflow"));
    }

    /// Drops the queued messages of this name, and says how many there were.
    pub(super) fn cancel(&self, id: CancelId) -> usize {
        let cancelled = self.lock().queue.cancel(id);
        if cancelled > 0 {
            self.room.notify_waiters();
        }
        cancelled
    }

    /// Queues a control packet ahead of all frames; says whether there was room.
    pub(crate) fn push_control(&self, packet: Packet) -> bool {
        let mut state = self.lock();
        let now = tokio::time::Instant::now().into_std();
        let pushed = state.queue.push_control(now, packet, 0);
        self.wake_writer(state);
        pushed.is_queued()
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        // Waking costs far more than pushing: only a writer that waits is woken.
        if state.writer_waits && !state.queue.is_empty() {
            state.writer_waits = false;
            drop(state);
            self.writable.notify_one();
        }
    }

    /// Completes when there may be room again, or the link closes. Take it before trying to push.
    pub(crate) fn room(&self) -> tokio::sync::futures::Notified<'_> {
        self.room.notified()
    }

    /// Waits for packets to write, and appends them to `batch`: one, or as many as `max_bytes` hold.
    ///
    /// A larger one is never taken behind others. Until they are written, what is urgent goes before it.
    ///
    /// Cancel-safe: packets are taken only when the future completes.
    pub(crate) async fn next_batch(&self, batch: &mut Vec<Packet>, max_bytes: usize) -> Batch {
        loop {
            if let Some(found) = self.try_batch(batch, max_bytes) {
                return found;
            }
            self.writable.notified().await;
        }
    }

    fn try_batch(&self, batch: &mut Vec<Packet>, max_bytes: usize) -> Option<Batch> {
        let now = tokio::time::Instant::now().into_std();
        let mut state = self.lock();
        let mut bytes = 0;
        let drained = match &state.end {
            Some(End { drain_until: None, .. }) => false,
            Some(End { drain_until: Some(until), .. }) => now < *until,
            None => true,
        };
        while drained && bytes < max_bytes {
            let room = if batch.is_empty() { usize::MAX } else { max_bytes - bytes };
            let Some(popped) = state.queue.pop_within(now, room) else { break };
            bytes += charge(popped.bytes);
            if let Packet::Frame(Frame { channel, .. }) = &popped.item
                && let Some(at) = self.position(*channel)
            {
                state.taken[at] += 1;
            }
            batch.push(popped.item);
        }
        if !batch.is_empty() {
            drop(state);
            self.room.notify_waiters();
            return Some(Batch::Some);
        }
        if state.end.is_some() {
            return Some(Batch::Closing);
        }
        state.writer_waits = true;
        None
    }

    /// Counts a batch as written. Of a batch that broke, part may have arrived; it is not counted here, and so
    /// [`Link::settle`] counts all of it as lost, which errs on the honest side.
    pub(crate) fn wrote(&self, batch: &[Packet]) {
        let mut state = self.lock();
        if state.settled {
            return;
        }
        for packet in batch {
            let Packet::Frame(frame) = packet else { continue };
            let Some(at) = self.position(frame.channel) else { continue };
            state.taken[at] -= 1;
            self.channels[at].counters.add_sent(frame.payload.len());
        }
    }

    fn position(&self, id: ChannelId) -> Option<usize> {
        self.channels.iter().position(|channel| channel.id == id)
    }

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
        state.writer_waits = false;
        drop(state);
        self.closing.cancel();
        if drop_queued {
            self.dropped.cancel();
        }
        self.writable.notify_one();
        self.room.notify_waiters();
        self.fail_questions();
        first
    }

    /// Completes when the link is closing.
    pub(crate) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Completes when the link is closing and what was queued is dropped.
    pub(crate) async fn dropped(&self) {
        self.dropped.cancelled().await;
    }

    /// How long a closing link may still write.
    pub(crate) fn drain_left(&self) -> Option<Duration> {
        let until = self.lock().end.as_ref()?.drain_until?;
        Some(until.saturating_duration_since(tokio::time::Instant::now().into_std()))
    }

    /// The writer has written its last.
    pub(crate) fn written(&self) {
        self.written.cancel();
    }

    /// Completes when the writer has written its last.
    pub(crate) async fn all_written(&self) {
        self.written.cancelled().await;
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
            let unwritten = stats.dropped(queue::DropReason::FlowClosed).messages + state.taken[at];
            lost += unwritten;
            channel.counters.add_dropped(reason, unwritten);
            let stale = stats.dropped(queue::DropReason::Stale).messages;
            channel.counters.add_dropped(DropReason::Stale, stale);
            let cancelled = stats.dropped(queue::DropReason::Cancelled).messages;
            channel.counters.add_dropped(DropReason::Cancelled, cancelled);
        }
        lost
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The queue panics only on a bug of ours, and then before it changes anything.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
