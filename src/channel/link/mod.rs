//! What stands between all channels and one connection.
//!
//! Here is the outbound queue: senders put frames in, the connection's writer takes them out. [`channel`] is the
//! connection's half of a channel, and [`ending`] how a link ends.

mod channel;
mod ending;
mod flag;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::sync::Notify;

pub(crate) use self::channel::{LinkChannel, Meter};
use self::ending::End;
use self::flag::Flag;
use super::Fate;
use super::answering::Slots;
use super::asking::Asking;
use super::clock::Clock;
use super::counters::{ChannelCounters, DropReason};
use crate::address::Endpoint;
use crate::id::{ChannelId, ConnId, Direction, NodeId};
use crate::message::{Frame, Packet, Refusal};
use crate::peer::Introduction;
use crate::queue::{self, CancelId, FairQueue, Meta, Pushed, QueueConfig, charge};
use crate::request;

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
    /// The node's.
    pub(crate) clock: Clock,
    channels: Box<[LinkChannel]>,
    state: Mutex<State>,
    /// Locked before `state` where both are.
    pub(in crate::channel) asking: Asking,
    pub(in crate::channel) answering: Slots,
    room: Notify,
    closing: Flag,
    dropped: Flag,
    written: Flag,
    /// Dropped or written: one thing to wait for, since each message looks at it.
    finished: Flag,
}

struct State {
    queue: FairQueue<ChannelId, Packet>,
    /// One for each channel.
    tallies: Vec<Tally>,
    /// Refusals of the peer's questions that found no room; they are queued as soon as there is some.
    held: VecDeque<Frame>,
    settled: bool,
    /// The writer, while it waits. Kept under the lock that everybody holds who has something to write.
    writer: Option<Waker>,
    end: Option<End>,
}

/// What a link keeps count of for one channel.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    /// Frames that the writer has taken and not yet written.
    taken: u64,
    /// Stale ones that the channel's counters know of.
    stale: u64,
    /// Cancelled ones that they know of.
    cancelled: u64,
}

/// What the writer finds when it asks for more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// Packets were appended.
    Some,
    /// The link is closing and nothing is left to write.
    Closing,
}

impl Tally {
    /// Tells a channel's counters what its flow has dropped as stale or cancelled since the last time.
    fn count_losses(&mut self, flow: &queue::Stats, counters: &ChannelCounters) {
        use queue::DropReason::{Cancelled, Stale};
        let (stale, cancelled) = (flow.dropped(Stale).messages, flow.dropped(Cancelled).messages);
        counters.add_dropped(DropReason::Stale, stale - self.stale);
        counters.add_dropped(DropReason::Cancelled, cancelled - self.cancelled);
        (self.stale, self.cancelled) = (stale, cancelled);
    }
}

impl Link {
    pub(crate) fn new(
        conn: ConnId,
        direction: Direction,
        far_end: FarEnd,
        clock: Clock,
        limits: LinkLimits,
        channels: Box<[LinkChannel]>,
    ) -> Self {
        let mut queue = FairQueue::new(limits.queue);
        for channel in &channels {
            // Channel names are unique within a router, so no flow is opened twice.
            let opened = queue.open_flow(channel.id, channel.flow);
            debug_assert!(opened.is_ok(), "channel {} declared twice", channel.id);
        }
        let tallies = vec![Tally::default(); channels.len()];
        let held = VecDeque::new();
        let state = State { queue, tallies, held, settled: false, writer: None, end: None };
        Self {
            conn,
            direction,
            far_end,
            clock,
            asking: Asking::new(limits.asking, channels.iter().map(|channel| channel.id)),
            answering: Slots::new(limits.answering),
            channels,
            state: Mutex::new(state),
            room: Notify::new(),
            closing: Flag::default(),
            dropped: Flag::default(),
            written: Flag::default(),
            finished: Flag::default(),
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
        queued.sum::<u64>() + state.tallies.iter().map(|tally| tally.taken).sum::<u64>()
    }

    /// Queues a frame and counts what became of it. Never waits. Ends the connection if that is the channel's policy.
    pub(in crate::channel) fn offer(&self, now: Instant, frame: Frame, meta: Meta) -> Fate {
        let (fate, overflow) = self.push(now, frame, meta);
        if overflow {
            self.close_for_overflow();
        }
        fate
    }

    /// As [`Link::offer`], but leaves it to the caller to end the connection if this says so.
    pub(in crate::channel) fn push(&self, now: Instant, frame: Frame, meta: Meta) -> (Fate, bool) {
        let id = frame.channel;
        let Some(channel) = self.channel(id) else { return (Fate::Refused(Refusal::NoChannel), false) };
        let mut state = self.lock();
        let before = state.queue.len();
        let pushed = state.queue.push(now, id, Packet::Frame(frame), meta);
        let expected = match pushed {
            Pushed::Queued => before + 1,
            Pushed::Evicted { messages, .. } => before + 1 - messages,
            _ => before,
        };
        if state.queue.len() < expected {
            self.count_losses(&mut state);
        }
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

    /// Queues a frame of a few bytes, or holds it until there is room, whatever the channel's policy; never evicts
    /// another. Of those that are held there are at most `most`; what goes beyond is lost.
    pub(in crate::channel) fn push_or_hold(&self, now: Instant, frame: Frame, most: usize) {
        let mut state = self.lock();
        if state.held.len() < most {
            state.held.push_back(frame);
            self.release(now, &mut state);
            self.wake_writer(state);
        }
    }

    /// Queues what was held, in its order, as far as there is room.
    fn release(&self, now: Instant, state: &mut State) {
        if state.queue.is_closed() {
            state.held.clear();
        }
        while let Some(Frame { channel, payload, .. }) = state.held.front()
            && state.queue.has_room(*channel, payload.len())
            && let Some(frame) = state.held.pop_front()
        {
            let (id, meta) = (frame.channel, Meta::new(frame.payload.len()));
            let pushed = state.queue.push(now, id, Packet::Frame(frame), meta);
            if let (true, Some(channel)) = (pushed.is_queued(), self.channel(id)) {
                channel.counters.add_accepted();
            }
        }
    }

    /// Drops the queued messages of this name, and says how many there were.
    pub(in crate::channel) fn cancel(&self, id: CancelId) -> usize {
        let mut state = self.lock();
        let cancelled = state.queue.cancel(id);
        if cancelled > 0 {
            self.count_losses(&mut state);
            drop(state);
            self.room.notify_waiters();
        }
        cancelled
    }

    /// Brings the channels' counters up to date with what the queue dropped as stale or cancelled.
    fn count_losses(&self, state: &mut State) {
        for (channel, tally) in self.channels.iter().zip(&mut state.tallies) {
            if let Some(stats) = state.queue.stats_of(channel.id) {
                tally.count_losses(&stats, &channel.counters);
            }
        }
    }

    /// Queues a control packet ahead of all frames; says whether there was room.
    pub(crate) fn push_control(&self, packet: Packet) -> bool {
        let mut state = self.lock();
        let now = self.clock.now();
        let pushed = state.queue.push_control(now, packet, 0);
        self.wake_writer(state);
        pushed.is_queued()
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        // Waking costs far more than pushing: only a writer that waits is woken.
        if !state.queue.is_empty()
            && let Some(writer) = state.writer.take()
        {
            drop(state);
            writer.wake();
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
        poll_fn(|cx| self.poll_batch(cx, batch, max_bytes)).await
    }

    fn poll_batch(&self, cx: &Context<'_>, batch: &mut Vec<Packet>, max_bytes: usize) -> Poll<Batch> {
        let mut state = self.lock();
        if state.queue.is_empty() && state.held.is_empty() && state.end.is_none() {
            // The writer looks once more after each batch; what time it is matters to what is queued alone.
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let now = self.clock.now();
        self.release(now, &mut state);
        let (before, mut bytes) = (state.queue.len(), 0);
        let drained = match &state.end {
            Some(End { drain_until: None, .. }) => false,
            Some(End { drain_until: Some(until), .. }) => now < *until,
            None => true,
        };
        let mut taken = 0;
        while drained && bytes < max_bytes {
            let room = if batch.is_empty() { usize::MAX } else { max_bytes - bytes };
            let Some(popped) = state.queue.pop_within(now, room) else { break };
            bytes += charge(popped.bytes);
            if let Packet::Frame(Frame { channel, .. }) = &popped.item
                && let Some(at) = self.position(*channel)
            {
                state.tallies[at].taken += 1;
            }
            taken += 1;
            if batch.capacity() == 0 {
                // Most batches are of one, and a vector begins with four.
                batch.reserve_exact(1);
            }
            batch.push(popped.item);
        }
        let has_stale = before - taken > state.queue.len();
        if has_stale {
            self.count_losses(&mut state);
        }
        if has_stale && taken == 0 && !state.held.is_empty() {
            // All that stood in the way of these was stale, and nobody else will wake the writer for them.
            self.release(now, &mut state);
            drop(state);
            self.room.notify_waiters();
            return self.poll_batch(cx, batch, max_bytes);
        }
        if taken > 0 {
            drop(state);
            self.room.notify_waiters();
            return Poll::Ready(Batch::Some);
        }
        if has_stale {
            self.room.notify_waiters();
        }
        if state.end.is_some() {
            return Poll::Ready(Batch::Closing);
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
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
            state.tallies[at].taken -= 1;
            self.channels[at].counters.add_sent(frame.payload.len());
        }
    }

    fn position(&self, id: ChannelId) -> Option<usize> {
        self.channels.iter().position(|channel| channel.id == id)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The queue panics only on a bug of ours, and then before it changes anything.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::queue::{FlowConfig, Overflow};

    const NOTE: ChannelId = ChannelId::from_static("note");

    /// A link whose peer takes one message at a time.
    fn narrow() -> Link {
        let peer = crate::id::NodeKey::insecure_from_seed(1).id();
        let introduction =
            Introduction { channels: Arc::new([]), services: Arc::new([]), capabilities: Arc::new([]) };
        let (remote, client) = (Endpoint::Memory(peer), String::new());
        let far_end = FarEnd { peer, remote, client, introduction, understands_refusals: true };
        let limits = LinkLimits {
            queue: QueueConfig::new(64, 1 << 16).unwrap(),
            asking: request::Limits::new(1, 1).unwrap(),
            answering: 4,
        };
        let flow = FlowConfig::new(1, 1, 1024, Overflow::Wait).unwrap();
        let channel = LinkChannel { id: NOTE, version: 1, flow, counters: Arc::default(), quota: None };
        Link::new(ConnId::new(1), Direction::Inbound, far_end, Clock::default(), limits, [channel].into())
    }

    #[test]
    fn a_refusal_that_was_held_goes_when_what_stood_in_its_way_was_stale() {
        let (link, now) = (narrow(), tokio::time::Instant::now().into_std());
        let frame = |code| Frame { channel: NOTE, code, payload: bytes::Bytes::from_static(&[1]) };
        let stale = Meta::new(1).with_deadline(now);
        assert_eq!(link.offer(now, frame(0), stale), Fate::Queued);
        link.push_or_hold(now, frame(1), 4);
        link.push_or_hold(now, frame(2), 4);
        for code in 1..3 {
            let mut batch = Vec::new();
            let found = link.next_batch(&mut batch, 1 << 16).now_or_never();
            assert_eq!(found, Some(Batch::Some), "the writer would wait");
            assert_eq!(batch, [Packet::Frame(frame(code))]);
        }
        assert_eq!(link.next_batch(&mut Vec::new(), 1 << 16).now_or_never(), None);
    }

    /// Offers so many frames, one after another, whenever there is room.
    async fn fill(link: Arc<Link>, count: u64) {
        for number in 0..count {
            let payload = bytes::Bytes::copy_from_slice(&number.to_be_bytes());
            loop {
                let mut room = std::pin::pin!(link.room());
                room.as_mut().enable();
                let frame = Frame { channel: NOTE, code: 0, payload: payload.clone() };
                match link.offer(link.clock.now(), frame, Meta::new(payload.len())) {
                    Fate::Refused(Refusal::Full) => room.await,
                    fate => break assert_eq!(fate, Fate::Queued),
                }
            }
        }
    }

    /// The next batch, in a task that may have polled for it before and dropped that future.
    async fn taken(link: Arc<Link>, twice: bool) -> (Vec<Packet>, Batch) {
        let mut batch = Vec::new();
        let early = match twice {
            true => link.next_batch(&mut batch, 1 << 16).now_or_never(),
            false => None,
        };
        let found = match early {
            Some(found) => found,
            None => link.next_batch(&mut batch, 1 << 16).await,
        };
        (batch, found)
    }

    #[test]
    fn a_writer_that_moves_between_tasks_sleeps_through_nothing_and_hears_of_the_end() {
        const SENDERS: u64 = 3;
        const EACH: u64 = 3_000;
        const PINGS: u64 = 500;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build();
        runtime.unwrap().block_on(async {
            let link = Arc::new(narrow());
            for _ in 0..SENDERS {
                TaskTracker::new().spawn(fill(Arc::clone(&link), EACH));
            }
            let pinging = Arc::clone(&link);
            TaskTracker::new().spawn(async move {
                for _ in 0..PINGS {
                    while !pinging.push_control(Packet::Ping) {
                        tokio::task::yield_now().await;
                    }
                }
            });
            let (mut frames, mut pings, mut turn) = (0, 0, 0_u64);
            while frames < SENDERS * EACH || pings < PINGS {
                let (batch, found) =
                    TaskTracker::new().spawn(taken(Arc::clone(&link), turn % 2 == 0)).await.unwrap();
                assert_eq!(found, Batch::Some);
                let controls = batch.iter().filter(|packet| **packet == Packet::Ping).count() as u64;
                pings += controls;
                frames += batch.len() as u64 - controls;
                link.wrote(&batch);
                turn += 1;
            }
            assert_eq!((frames, pings, link.unwritten()), (SENDERS * EACH, PINGS, 0));
            let writer = TaskTracker::new().spawn(taken(Arc::clone(&link), true));
            tokio::task::yield_now().await;
            link.close_for_overflow();
            assert_eq!(writer.await.unwrap(), (Vec::new(), Batch::Closing));
            assert!(link.is_closing());
            tokio::join!(link.closing(), link.dropped(), link.finished());
        });
    }
}
