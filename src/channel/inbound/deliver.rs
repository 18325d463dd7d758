//! What connections deliver to the receiver.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::{Delivery, Envelope, InboundQueue};
use crate::channel::answering::Back;
use crate::channel::asking::AnswerFault;
use crate::channel::counters::DropReason;
use crate::channel::link::Link;
use crate::event::Misbehaviour;
use crate::id::NodeId;
use crate::message::{DecodeError, Head, Kind, Message};
use crate::queue::{Meta, Overflow, Pushed};

impl<M: Message> InboundQueue<M> {
    /// As [`Inbound::deliver`](super::Inbound::deliver).
    pub(super) fn take_in(
        &self,
        now: Instant,
        link: &Arc<Link>,
        version: u32,
        code: u8,
        payload: &Bytes,
    ) -> Delivery {
        let kind = M::kind(code);
        // From nodes of other kinds a bare integer is no refusal, but a question that cannot be decoded.
        let may_refuse = kind == Kind::Question && link.far_end.understands_refusals;
        let refusal = may_refuse && matches!(Head::peek(payload), Ok(Head::Refusal(_)));
        if kind == Kind::Answer || refusal {
            return match link.answered(now, M::CHANNEL, code, payload, refusal) {
                Ok(()) => Delivery::Done,
                Err(AnswerFault { what, detail }) => Delivery::Misbehaved { what, detail: detail.into() },
            };
        }
        // Looked at before the work of decoding, and before the quota is charged for a message that is put off.
        if self.flow.overflow() == Overflow::Wait && !self.has_room(link.peer(), payload.len()) {
            return Delivery::Full;
        }
        let channel = link.channel(M::CHANNEL);
        if channel.is_some_and(|channel| !channel.is_within_quota(now, payload.len())) {
            self.counters.add_dropped(DropReason::OverQuota, 1);
            // In a flood of them this is done for each: nothing is allocated. The report names the channel.
            return Delivery::Misbehaved { what: Misbehaviour::OverQuota, detail: "".into() };
        }
        let delivery = match kind {
            Kind::Question => self.deliver_question(now, link, version, code, payload),
            Kind::Message | Kind::Answer => match M::decode(version, code, payload) {
                Ok(message) => self.enqueue(now, link, message.received(), payload.len()),
                Err(error) => self.malformed(code, &error),
            },
        };
        // Another peer may have taken the room that was there a moment ago: then the message comes again, paid for.
        if let Some(channel) = channel.filter(|_| delivery != Delivery::Full) {
            channel.delivered();
        }
        delivery
    }

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
        Delivery::Misbehaved { what: Misbehaviour::MalformedMessage, detail: detail.into() }
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
        if let Pushed::Full(put_off) = pushed {
            drop(state);
            drop(put_off);
            return Delivery::Full;
        }
        settled();
        let lost = state.queue.take_lost();
        let evicted = match &pushed {
            Pushed::Evicted { messages, .. } => *messages as u64,
            _ => 0,
        };
        self.counters.add_dropped(DropReason::InboundEvicted, evicted);
        if pushed.is_queued() {
            self.received(state, bytes);
            drop(lost);
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
