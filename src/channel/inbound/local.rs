//! What other reactors of the same node send to the receiver.

use std::time::Instant;

use super::{Envelope, InboundQueue};
use crate::channel::counters::DropReason;
use crate::channel::outcome::Fate;
use crate::id::{ConnId, NodeId};
use crate::message::{Message, Refusal};
use crate::queue::{CancelId, Meta, Pushed};

impl<M: Message> InboundQueue<M> {
    /// How many local requests may wait for an answer: as many as the queue holds from one sender.
    pub(in crate::channel) fn request_limit(&self) -> usize {
        self.flow.max_messages()
    }

    /// Queues a message of another reactor in this node, and takes it out of `message` unless it refuses it.
    ///
    /// It has no encoded size: it is charged the size of its Rust type, without what that points to.
    pub(in crate::channel) fn push_local(
        &self,
        now: Instant,
        me: NodeId,
        message: &mut Option<M::Received>,
        mut meta: Meta,
    ) -> Fate {
        meta.bytes = size_of::<Envelope<M>>();
        let lost: Vec<Envelope<M>>;
        let mut state = self.lock();
        if state.receiver_gone {
            return Fate::Refused(Refusal::NoReceiver);
        }
        let Some(taken) = message.take() else { return Fate::Refused(Refusal::NotConnected) };
        let before = state.queue.len();
        let envelope = Envelope { from: me, conn: ConnId::LOCAL, message: taken };
        let mut pushed = state.queue.push(now, me, envelope, meta);
        if let Pushed::NoFlow(envelope) = pushed {
            // Opened by the first local message: channels without any keep the whole queue for their peers.
            let _ = state.queue.open_flow(me, self.flow);
            pushed = state.queue.push(now, me, envelope, meta);
        }
        lost = state.queue.take_lost();
        let mut evicted = 0;
        let fate = match &pushed {
            Pushed::Queued => Fate::Queued,
            Pushed::Replaced { .. } => Fate::Replaced,
            Pushed::Evicted { messages, .. } => {
                evicted = *messages;
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
        // No local message has a key that replaces, so what is neither here nor evicted was stale.
        let stale = before + usize::from(fate.is_queued()) - evicted - state.queue.len();
        self.counters.add_dropped(DropReason::InboundEvicted, evicted as u64);
        self.counters.add_dropped(DropReason::Stale, stale as u64);
        if fate.is_queued() {
            self.counters.add_local();
            // There is no payload to count.
            self.received(state, 0);
        } else {
            state.local_waits |= fate == Fate::Refused(Refusal::Full);
            drop(state);
        }
        drop(lost);
        *message = pushed.into_refused().map(|envelope| envelope.message);
        fate
    }

    /// Completes when a local message that found no room may find some. Take it before trying.
    pub(in crate::channel) fn local_room(&self) -> tokio::sync::futures::Notified<'_> {
        self.local_room.notified()
    }

    /// Drops the queued messages of this name, and says how many there were.
    pub(in crate::channel) fn cancel(&self, id: CancelId) -> usize {
        let mut state = self.lock();
        let cancelled = state.queue.cancel(id);
        if cancelled > 0 {
            let lost = state.queue.take_lost();
            self.counters.add_dropped(DropReason::Cancelled, cancelled as u64);
            self.freed(state);
            drop(lost);
        }
        cancelled
    }
}
