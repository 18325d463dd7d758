//! What stands between all peers and one receiver.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;

use super::Fate;
use super::answering::Back;
use super::asking::AnswerFault;
use super::config::Limits;
use super::counters::{ChannelCounters, DropReason};
use super::link::Link;
use crate::event::Misbehaviour;
use crate::id::{ConnId, NodeId};
use crate::message::{ChannelSpec, DecodeError, Head, Kind, Message, Refusal};
use crate::queue::{CancelId, FairQueue, FlowConfig, Meta, Overflow, Pushed, Quota};

/// A message and who sent it.
pub struct Envelope<M: Message> {
    /// The peer that sent it, as its handshake proved; this node itself for a local delivery.
    pub from: NodeId,
    /// The connection that it came on; [`ConnId::LOCAL`] for a local delivery.
    pub conn: ConnId,
    /// The message. A question comes with its responder.
    pub message: M::Received,
}

impl<M: Message> Envelope<M> {
    /// Whether another reactor of this node sent it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.conn == ConnId::LOCAL
    }
}

impl<M: Message<Received: fmt::Debug>> fmt::Debug for Envelope<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, conn, message } = self;
        f.debug_struct("Envelope").field("from", from).field("conn", conn).field("message", message).finish()
    }
}

impl<M: Message<Received: Clone>> Clone for Envelope<M> {
    fn clone(&self) -> Self {
        Self { from: self.from, conn: self.conn, message: self.message.clone() }
    }
}

impl<M: Message<Received: PartialEq>> PartialEq for Envelope<M> {
    fn eq(&self, other: &Self) -> bool {
        (self.from, self.conn) == (other.from, other.conn) && self.message == other.message
    }
}

/// What became of a payload that a connection delivered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Queued, or dropped and counted as the channel's policy says.
    Done,
    /// There is no room, and the policy is to wait for it: deliver again after [`Inbound::room`].
    Full,
    /// There is no room, and the policy is to end the connection.
    Disconnect,
    /// The peer did what it must not, and the payload was dropped and counted.
    Misbehaved { what: Misbehaviour, detail: String },
}

/// The inbound side of a channel, whatever its message type.
pub(crate) trait Inbound: Send + Sync {
    fn spec(&self) -> ChannelSpec;
    /// The channel's flow on a connection.
    fn outbound_flow(&self) -> FlowConfig;
    fn counters(&self) -> &Arc<ChannelCounters>;
    /// Makes room for a peer. A peer that reconnects keeps what it had queued.
    fn peer_up(&self, peer: NodeId);
    /// The peer sends nothing more; what it has queued is still received.
    fn peer_down(&self, peer: NodeId);
    /// How fast a peer may send, if there is a limit.
    fn quota(&self) -> Option<Quota>;
    /// Decodes a payload and queues it, or takes it to whoever asked for it.
    fn deliver(&self, now: Instant, link: &Arc<Link>, version: u32, code: u8, payload: &Bytes) -> Delivery;
    /// Completes when there may be room again. Take it before trying to deliver.
    fn room(&self) -> tokio::sync::futures::Notified<'_>;
    /// Nothing more comes: the receiver ends when all is read.
    fn close(&self);
    /// Messages that wait for the receiver, and their charged bytes.
    fn depth(&self) -> (usize, usize);
}

/// The queue of one receiver: a flow for each peer.
pub(crate) struct InboundQueue<M: Message> {
    outbound: FlowConfig,
    counters: Arc<ChannelCounters>,
    flow: FlowConfig,
    quota: Option<Quota>,
    state: Mutex<State<M>>,
    readable: Notify,
    room: Notify,
    local_room: Notify,
}

struct State<M: Message> {
    queue: FairQueue<NodeId, Envelope<M>>,
    /// Peers that are gone but have messages queued.
    leaving: BTreeSet<NodeId>,
    receiver_waits: bool,
    receiver_gone: bool,
    closed: bool,
}

impl<M: Message> InboundQueue<M> {
    pub(crate) fn new(limits: Limits, counters: Arc<ChannelCounters>) -> Self {
        let Limits { outbound, inbound: flow, total, quota } = limits;
        let state = State {
            queue: FairQueue::new(total),
            leaving: BTreeSet::new(),
            receiver_waits: false,
            receiver_gone: false,
            closed: false,
        };
        Self {
            outbound,
            counters,
            flow,
            quota,
            state: Mutex::new(state),
            readable: Notify::new(),
            room: Notify::new(),
            local_room: Notify::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().queue.len()
    }

    pub(super) fn try_recv(&self) -> Option<Envelope<M>> {
        self.next().ok().flatten()
    }

    pub(super) async fn recv(&self) -> Option<Envelope<M>> {
        // A queue that is never empty must not keep its reader from giving way to other tasks.
        consume_budget().await;
        loop {
            match self.next() {
                Ok(found) => return found,
                Err(Empty) => self.readable.notified().await,
            }
        }
    }

    fn next(&self) -> Result<Option<Envelope<M>>, Empty> {
        let now = tokio::time::Instant::now().into_std();
        let mut state = self.lock();
        let Some(popped) = state.queue.pop(now) else {
            if state.closed {
                return Ok(None);
            }
            state.receiver_waits = true;
            return Err(Empty);
        };
        let peer = popped.item.from;
        if state.leaving.contains(&peer) && state.queue.flow_len(peer) == 0 {
            state.leaving.remove(&peer);
            let _ = state.queue.close_flow(peer);
        }
        drop(state);
        if self.flow.overflow() == Overflow::Wait {
            self.room.notify_waiters();
        }
        if popped.item.is_local() {
            self.local_room.notify_waiters();
        }
        Ok(Some(popped.item))
    }
}

impl<M: Message> InboundQueue<M> {
    /// How many local requests may wait for an answer: as many as the queue holds from one sender.
    pub(super) fn request_limit(&self) -> usize {
        self.flow.max_messages()
    }

    /// Queues a message of another reactor in this node, and takes it out of `message` unless it refuses it.
    ///
    /// It has no encoded size: it is charged the size of its Rust type, without what that points to.
    pub(super) fn push_local(
        &self,
        now: Instant,
        me: NodeId,
        message: &mut Option<M::Received>,
        mut meta: Meta,
    ) -> Fate {
        let Some(taken) = message.take() else { return Fate::Refused(Refusal::NotConnected) };
        meta.bytes = size_of::<Envelope<M>>();
        let mut state = self.lock();
        if state.receiver_gone {
            return Fate::Refused(Refusal::NoReceiver);
        }
        let envelope = Envelope { from: me, conn: ConnId::LOCAL, message: taken };
        let mut pushed = state.queue.push(now, me, envelope, meta);
        if let Pushed::NoFlow(envelope) = pushed {
            // Opened by the first local message: channels without any keep the whole queue for their peers.
            let _ = state.queue.open_flow(me, self.flow);
            pushed = state.queue.push(now, me, envelope, meta);
        }
        let fate = match &pushed {
            Pushed::Queued => Fate::Queued,
            Pushed::Replaced { .. } => Fate::Replaced,
            Pushed::Evicted { messages, .. } => {
                self.counters.add_dropped(DropReason::InboundEvicted, *messages as u64);
                Fate::Evicted(*messages)
            }
            Pushed::Full(_) | Pushed::DroppedNewest(_) | Pushed::Disconnect(_) => {
                Fate::Refused(Refusal::Full)
            }
            Pushed::TooLarge(_) => {
                Fate::Refused(Refusal::TooLarge { bytes: meta.bytes, limit: self.flow.max_bytes() })
            }
            Pushed::NoFlow(_) | Pushed::Closed(_) => Fate::Refused(Refusal::ShuttingDown),
        };
        if fate.is_queued() {
            self.received(state, meta.bytes);
        }
        *message = pushed.into_refused().map(|envelope| envelope.message);
        fate
    }

    /// Completes when a local message that found no room may find some. Take it before trying.
    pub(super) fn local_room(&self) -> tokio::sync::futures::Notified<'_> {
        self.local_room.notified()
    }

    /// Drops the queued messages of this name, and says how many there were.
    pub(super) fn cancel(&self, id: CancelId) -> usize {
        let cancelled = self.lock().queue.cancel(id);
        self.counters.add_dropped(DropReason::Cancelled, cancelled as u64);
        cancelled
    }

    /// Counts a message that was queued, and wakes the receiver if it waits.
    fn received(&self, mut state: MutexGuard<'_, State<M>>, bytes: usize) {
        self.counters.add_received(bytes);
        if state.receiver_waits {
            state.receiver_waits = false;
            drop(state);
            self.readable.notify_one();
        }
    }

    /// The receiver was dropped: what waits is lost, and so is all that comes.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.receiver_gone = true;
        let lost = state.queue.drain_all();
        drop(state);
        self.counters.add_dropped(DropReason::NoReceiver, lost.messages);
        self.room.notify_waiters();
        self.local_room.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        // The queue panics only on a bug of ours, and then before it changes anything.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Message> InboundQueue<M> {
    /// Whether a message would be queued now. One for which nobody is there to read needs none.
    fn has_room(&self, from: NodeId, bytes: usize) -> bool {
        let state = self.lock();
        state.receiver_gone || state.queue.is_closed() || state.queue.has_room(from, bytes)
    }

    fn deliver_question(
        &self,
        now: Instant,
        link: &Arc<Link>,
        version: u32,
        code: u8,
        payload: &Bytes,
    ) -> Delivery {
        let id = match Head::peek(payload) {
            Ok(Head::Body(id) | Head::Refusal(id)) => id,
            Err(error) => return self.malformed(code, &error),
        };
        let Some(back) = Back::new(link, M::CHANNEL, code, id, version) else {
            link.refuse_question(M::CHANNEL, code, id);
            return Delivery::Done;
        };
        let request = match M::decode_question(version, code, payload, Arc::clone(&back)) {
            Ok(request) => request,
            Err(error) => return self.malformed(code, &error),
        };
        self.enqueue_with(now, link, request, payload.len(), || back.accept())
    }

    fn malformed(&self, code: u8, error: &DecodeError) -> Delivery {
        self.counters.add_dropped(DropReason::Malformed, 1);
        let detail = format!("channel `{}`, code {code}: {error}", M::CHANNEL);
        Delivery::Misbehaved { what: Misbehaviour::MalformedMessage, detail }
    }

    fn enqueue(&self, now: Instant, link: &Link, message: M::Received, bytes: usize) -> Delivery {
        self.enqueue_with(now, link, message, bytes, || ())
    }

    /// Queues a message; tells `settled` before it can be seen that it will not be put off.
    fn enqueue_with(
        &self,
        now: Instant,
        link: &Link,
        message: M::Received,
        bytes: usize,
        settled: impl FnOnce(),
    ) -> Delivery {
        let (from, conn) = (link.peer(), link.conn);
        let mut state = self.lock();
        if state.receiver_gone {
            settled();
            drop(state);
            self.counters.add_dropped(DropReason::NoReceiver, 1);
            return Delivery::Done;
        }
        let pushed = state.queue.push(now, from, Envelope { from, conn, message }, Meta::new(bytes));
        if let Pushed::Full(_) = pushed {
            return Delivery::Full;
        }
        settled();
        let evicted = match &pushed {
            Pushed::Evicted { messages, .. } => *messages as u64,
            _ => 0,
        };
        self.counters.add_dropped(DropReason::InboundEvicted, evicted);
        if pushed.is_queued() {
            self.received(state, bytes);
            return Delivery::Done;
        }
        drop(state);
        self.counters.add_dropped(DropReason::InboundFull, 1);
        match pushed {
            Pushed::Disconnect(_) => Delivery::Disconnect,
            _ => Delivery::Done,
        }
    }
}

/// Nothing waits now.
struct Empty;

impl<M: Message> Inbound for InboundQueue<M> {
    fn spec(&self) -> ChannelSpec {
        ChannelSpec::of::<M>()
    }

    fn outbound_flow(&self) -> FlowConfig {
        self.outbound
    }

    fn counters(&self) -> &Arc<ChannelCounters> {
        &self.counters
    }

    fn peer_up(&self, peer: NodeId) {
        let mut state = self.lock();
        if !state.leaving.remove(&peer) {
            // Already open only while a connection takes the place of another: then it is the same flow.
            let _ = state.queue.open_flow(peer, self.flow);
        }
    }

    fn peer_down(&self, peer: NodeId) {
        let mut state = self.lock();
        if state.queue.flow_len(peer) == 0 {
            let _ = state.queue.close_flow(peer);
        } else {
            state.leaving.insert(peer);
        }
    }

    fn quota(&self) -> Option<Quota> {
        self.quota
    }

    fn deliver(&self, now: Instant, link: &Arc<Link>, version: u32, code: u8, payload: &Bytes) -> Delivery {
        let kind = M::kind(code);
        let refusal = kind == Kind::Question && matches!(Head::peek(payload), Ok(Head::Refusal(_)));
        if kind == Kind::Answer || refusal {
            return match link.answered(now, M::CHANNEL, code, payload) {
                Ok(()) => Delivery::Done,
                Err(AnswerFault { what, detail }) => Delivery::Misbehaved { what, detail },
            };
        }
        // Looked at before the work of decoding, and before the quota is charged for a message that is put off.
        if self.flow.overflow() == Overflow::Wait && !self.has_room(link.peer(), payload.len()) {
            return Delivery::Full;
        }
        if link.channel(M::CHANNEL).is_some_and(|channel| !channel.is_within_quota(now, payload.len())) {
            self.counters.add_dropped(DropReason::OverQuota, 1);
            let detail = format!("channel `{}`", M::CHANNEL);
            return Delivery::Misbehaved { what: Misbehaviour::OverQuota, detail };
        }
        match kind {
            Kind::Question => self.deliver_question(now, link, version, code, payload),
            Kind::Message | Kind::Answer => match M::decode(version, code, payload) {
                Ok(message) => self.enqueue(now, link, message.received(), payload.len()),
                Err(error) => self.malformed(code, &error),
            },
        }
    }

    fn room(&self) -> tokio::sync::futures::Notified<'_> {
        self.room.notified()
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.queue.close();
        drop(state);
        self.readable.notify_one();
        self.room.notify_waiters();
    }

    fn depth(&self) -> (usize, usize) {
        let state = self.lock();
        (state.queue.len(), state.queue.bytes())
    }
}
