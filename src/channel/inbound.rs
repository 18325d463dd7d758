//! What stands between all peers and one receiver.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;

use super::config::Limits;
use super::counters::{ChannelCounters, DropReason};
use crate::id::{ConnId, NodeId};
use crate::message::{ChannelSpec, DecodeError, Message};
use crate::queue::{FairQueue, FlowConfig, Meta, Overflow, Pushed};

/// A message and who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<M> {
    /// The peer that sent it, as its handshake proved.
    pub from: NodeId,
    /// The connection that it came on.
    pub conn: ConnId,
    /// The message.
    pub message: M,
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
    /// It is no message of the channel.
    Malformed(DecodeError),
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
    /// Decodes and queues a payload.
    fn deliver(
        &self,
        now: Instant,
        from: NodeId,
        conn: ConnId,
        version: u32,
        code: u8,
        payload: &Bytes,
    ) -> Delivery;
    /// Completes when there may be room again. Take it before trying to deliver.
    fn room(&self) -> tokio::sync::futures::Notified<'_>;
    /// Nothing more comes: the receiver ends when all is read.
    fn close(&self);
    /// Messages that wait for the receiver.
    fn depth(&self) -> usize;
}

/// The queue of one receiver: a flow for each peer.
pub(crate) struct InboundQueue<M> {
    outbound: FlowConfig,
    counters: Arc<ChannelCounters>,
    flow: FlowConfig,
    state: Mutex<State<M>>,
    readable: Notify,
    room: Notify,
}

struct State<M> {
    queue: FairQueue<NodeId, Envelope<M>>,
    /// Peers that are gone but have messages queued.
    leaving: BTreeSet<NodeId>,
    receiver_waits: bool,
    receiver_gone: bool,
    closed: bool,
}

impl<M: Message> InboundQueue<M> {
    pub(crate) fn new(limits: Limits, counters: Arc<ChannelCounters>) -> Self {
        let Limits { outbound, inbound: flow, total } = limits;
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
            state: Mutex::new(state),
            readable: Notify::new(),
            room: Notify::new(),
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
        Ok(Some(popped.item))
    }
}

impl<M> InboundQueue<M> {
    /// The receiver was dropped: what waits is lost, and so is all that comes.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.receiver_gone = true;
        let lost = state.queue.drain_all();
        drop(state);
        self.counters.add_dropped(DropReason::NoReceiver, lost.messages);
        self.room.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        // The queue panics only on a bug of ours, and then before it changes anything.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn deliver(
        &self,
        now: Instant,
        from: NodeId,
        conn: ConnId,
        version: u32,
        code: u8,
        payload: &Bytes,
    ) -> Delivery {
        let message = match M::decode(version, code, payload) {
            Ok(message) => message,
            Err(error) => {
                self.counters.add_dropped(DropReason::Malformed, 1);
                return Delivery::Malformed(error);
            }
        };
        let mut state = self.lock();
        if state.receiver_gone {
            self.counters.add_dropped(DropReason::NoReceiver, 1);
            return Delivery::Done;
        }
        let meta = Meta::new(payload.len());
        match state.queue.push(now, from, Envelope { from, conn, message }, meta) {
            Pushed::Queued => {}
            Pushed::Evicted { messages, .. } => {
                self.counters.add_dropped(DropReason::InboundEvicted, messages as u64);
            }
            Pushed::Replaced { .. } => self.counters.add_dropped(DropReason::InboundEvicted, 1),
            Pushed::Full(_) => return Delivery::Full,
            Pushed::Disconnect(_) => {
                self.counters.add_dropped(DropReason::InboundFull, 1);
                return Delivery::Disconnect;
            }
            Pushed::DroppedNewest(_) | Pushed::TooLarge(_) | Pushed::NoFlow(_) | Pushed::Closed(_) => {
                self.counters.add_dropped(DropReason::InboundFull, 1);
                return Delivery::Done;
            }
        }
        self.counters.add_received(payload.len());
        if state.receiver_waits {
            state.receiver_waits = false;
            drop(state);
            self.readable.notify_one();
        }
        Delivery::Done
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

    fn depth(&self) -> usize {
        self.len()
    }
}
