//! What stands between all peers and one receiver.
//!
//! [`deliver`] is the way in for connections, [`local`] for other reactors of the node; here is the queue itself, and
//! the way out.
//!
//! Only local messages can be stale or cancelled: what a peer's message carries beside itself stays with the peer.

mod deliver;
mod local;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;

use super::clock::Clock;
use super::config::Limits;
use super::counters::{ChannelCounters, DropReason};
use super::link::Link;
use crate::event::Misbehaviour;
use crate::id::{ConnId, NodeId};
use crate::message::{ChannelSpec, Message};
use crate::queue::{FairQueue, FlowConfig, Overflow, Quota};

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
    Misbehaved { what: Misbehaviour, detail: Cow<'static, str> },
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
    clock: Clock,
    flow: FlowConfig,
    quota: Option<Quota>,
    state: Mutex<State<M>>,
    room: Notify,
    local_room: Notify,
}

struct State<M: Message> {
    queue: FairQueue<NodeId, Envelope<M>>,
    /// Peers that are gone but have messages queued.
    leaving: BTreeSet<NodeId>,
    /// The receiver, while it waits. Kept under the lock that whoever delivers holds anyway.
    receiver: Option<Waker>,
    /// Whether a local message found no room since room was last made.
    local_waits: bool,
    receiver_gone: bool,
    closed: bool,
}

impl<M: Message> InboundQueue<M> {
    pub(crate) fn new(limits: Limits, counters: Arc<ChannelCounters>, clock: Clock) -> Self {
        let Limits { outbound, inbound: flow, total, quota } = limits;
        let state = State {
            // A message is a user's type: it is dropped when nothing is locked.
            queue: FairQueue::keeping_lost(total),
            leaving: BTreeSet::new(),
            receiver: None,
            local_waits: false,
            receiver_gone: false,
            closed: false,
        };
        Self {
            outbound,
            counters,
            clock,
            flow,
            quota,
            state: Mutex::new(state),
            room: Notify::new(),
            local_room: Notify::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().queue.len()
    }

    pub(super) fn try_recv(&self) -> Option<Envelope<M>> {
        match self.next(None) {
            Poll::Ready(found) => found,
            Poll::Pending => None,
        }
    }

    pub(super) async fn recv(&self) -> Option<Envelope<M>> {
        // A queue that is never empty must not keep its reader from giving way to other tasks.
        consume_budget().await;
        poll_fn(|cx| self.next(Some(cx))).await
    }

    /// The next message, or `None` if no more comes. If there is none, `waiting` is woken when there is.
    fn next(&self, waiting: Option<&Context<'_>>) -> Poll<Option<Envelope<M>>> {
        let lost: Vec<Envelope<M>>;
        let mut state = self.lock();
        if state.queue.is_empty() && !state.closed {
            // A receiver looks once more after each message; what time it is matters to what is queued alone.
            state.receiver = waiting.map(|cx| cx.waker().clone());
            return Poll::Pending;
        }
        let now = self.clock.now();
        let before = state.queue.len();
        let popped = state.queue.pop(now);
        lost = state.queue.take_lost();
        let stale = before - state.queue.len() - usize::from(popped.is_some());
        self.counters.add_dropped(DropReason::Stale, stale as u64);
        let Some(popped) = popped else {
            if state.closed {
                return Poll::Ready(None);
            }
            state.receiver = waiting.map(|cx| cx.waker().clone());
            if stale > 0 {
                self.freed(state);
            }
            return Poll::Pending;
        };
        let peer = popped.item.from;
        if state.leaving.contains(&peer) && state.queue.flow_len(peer) == 0 {
            state.leaving.remove(&peer);
            let _ = state.queue.close_flow(peer);
        }
        self.freed(state);
        drop(lost);
        Poll::Ready(Some(popped.item))
    }

    /// Messages have left the queue: wakes whoever waits for room. It may have been another's messages that stood in
    /// the way, so all are woken.
    fn freed(&self, mut state: MutexGuard<'_, State<M>>) {
        let local = std::mem::take(&mut state.local_waits);
        drop(state);
        if self.flow.overflow() == Overflow::Wait {
            self.room.notify_waiters();
        }
        if local {
            self.local_room.notify_waiters();
        }
    }

    /// Counts a message that was queued, and wakes the receiver if it waits.
    fn received(&self, mut state: MutexGuard<'_, State<M>>, bytes: usize) {
        self.counters.add_received(bytes);
        if let Some(receiver) = state.receiver.take() {
            drop(state);
            receiver.wake();
        }
    }

    /// The receiver was dropped: what waits is lost, and so is all that comes.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.receiver_gone = true;
        let count = state.queue.drain_all().messages;
        let lost = state.queue.take_lost();
        self.counters.add_dropped(DropReason::NoReceiver, count);
        self.freed(state);
        drop(lost);
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        // The queue panics only on a bug of ours, and then before it changes anything; messages are dropped elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        self.take_in(now, link, version, code, payload)
    }

    fn room(&self) -> tokio::sync::futures::Notified<'_> {
        self.room.notified()
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.queue.close();
        let receiver = state.receiver.take();
        // Whoever waits for room is to hear that none comes.
        self.freed(state);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    fn depth(&self) -> (usize, usize) {
        let state = self.lock();
        (state.queue.len(), state.queue.bytes())
    }
}

#[cfg(test)]
mod tests;
