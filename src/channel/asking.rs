//! This node's questions on one connection: who waits for what, and the peer's answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::counters::DropReason;
use super::link::Link;
use super::request::RequestError;
use crate::event::Misbehaviour;
use crate::id::ChannelId;
use crate::message::{DecodeError, Frame, Head, Refusal, Template};
use crate::queue::{CancelId, Meta};
use crate::request::{Asked, Limits, Ticket, Verdict, Waiters};

/// What is kept with a question until it is answered.
pub(crate) struct Waiter {
    pub(super) code: u8,
    pub(super) template: Template,
    /// Nobody listens from then on.
    pub(super) deadline: Instant,
    /// Takes the question out of the outbound queue if it is given up before it was written.
    pub(super) cancel: CancelId,
    pub(super) reply: Reply,
}

/// Tells the asker; says what is wrong with the answer if it cannot be decoded.
pub(super) type Reply = Box<dyn FnOnce(Answered<'_>) -> Result<(), DecodeError> + Send>;

/// How a question ended.
pub(super) enum Answered<'a> {
    /// With this payload.
    With { version: u32, payload: &'a Bytes },
    /// Without an answer.
    Not(RequestError),
}

impl Waiter {
    fn fail(self, why: RequestError) {
        // Only an answer can be malformed.
        let _ = (self.reply)(Answered::Not(why));
    }
}

/// The questions of one link.
pub(super) struct Asking(Mutex<Waiters<Waiter>>);

impl Asking {
    pub(super) fn new(limits: Limits, channels: impl IntoIterator<Item = ChannelId>) -> Self {
        Self(Mutex::new(Waiters::new(limits, channels)))
    }

    fn lock(&self) -> MutexGuard<'_, Waiters<Waiter>> {
        // The table panics only on a bug of ours, and then before it changes anything.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question in the table. Dropping it gives the question up, unless it has been answered.
pub(super) struct Question {
    link: Arc<Link>,
    ticket: Ticket,
}

impl Drop for Question {
    fn drop(&mut self) {
        self.link.give_up(self.ticket);
    }
}

/// A fault found in an answer, and what is wrong with it.
pub(crate) struct AnswerFault {
    pub(crate) what: Misbehaviour,
    pub(crate) detail: String,
}

impl Link {
    /// Registers a question; it is queued for the peer as soon as it is its turn.
    pub(super) fn ask(
        self: &Arc<Self>,
        now: Instant,
        channel: ChannelId,
        answer_code: u8,
        waiter: Waiter,
    ) -> Result<Question, RequestError> {
        let mut asking = self.asking.lock();
        let ticket = match asking.ask(channel, answer_code, waiter) {
            Asked::Waiting(ticket) => ticket,
            Asked::Full(_) => return Err(RequestError::NoCapacity),
            Asked::NoChannel(_) => return Err(Refusal::NoChannel.into()),
            Asked::Closed(_) => return Err(Refusal::NotConnected.into()),
        };
        self.send_questions(asking, now);
        Ok(Question { link: Arc::clone(self), ticket })
    }

    /// Questions in flight and waiting, and the smoothed round trip of those that were answered.
    pub(super) fn load(&self) -> (usize, Option<Duration>) {
        let asking = self.asking.lock();
        (asking.in_flight() + asking.waiting(), asking.round_trip())
    }

    /// Takes the payload of an answer to whoever asked; if it `may_refuse`, a refusal as well.
    pub(super) fn answered(
        &self,
        now: Instant,
        channel: ChannelId,
        code: u8,
        payload: &Bytes,
        may_refuse: bool,
    ) -> Result<(), AnswerFault> {
        let Some(state) = self.channel(channel) else { return Ok(()) };
        let malformed = |what, error: DecodeError| {
            state.counters.add_dropped(DropReason::Malformed, 1);
            AnswerFault { what, detail: format!("channel `{channel}`, code {code}: {error}") }
        };
        let head = match Head::peek(payload) {
            Ok(Head::Refusal(_)) if !may_refuse => Err(DecodeError::Invalid("an answer is a list")),
            head => head,
        };
        let head = head.map_err(|error| malformed(Misbehaviour::MalformedMessage, error))?;
        let mut asking = self.asking.lock();
        let (verdict, refused) = match head {
            Head::Body(id) => (asking.answered(now, channel, code, id), false),
            Head::Refusal(id) => (asking.refused(now, channel, id), true),
        };
        self.send_questions(asking, now);
        let (what, reason) = match verdict {
            Verdict::Matched { waiter, .. } if refused => {
                state.counters.add_received(payload.len());
                waiter.fail(RequestError::Declined);
                return Ok(());
            }
            // Decoded only now that somebody waits for it.
            Verdict::Matched { waiter, .. } => {
                let told = (waiter.reply)(Answered::With { version: state.version, payload });
                told.map_err(|error| malformed(Misbehaviour::MalformedAnswer, error))?;
                state.counters.add_received(payload.len());
                return Ok(());
            }
            Verdict::Late => {
                state.counters.add_dropped(DropReason::LateAnswer, 1);
                return Ok(());
            }
            Verdict::Duplicate => (Misbehaviour::DuplicateAnswer, DropReason::UnaskedAnswer),
            Verdict::Foreign => (Misbehaviour::ForeignAnswer, DropReason::UnaskedAnswer),
            Verdict::Unasked => (Misbehaviour::UnaskedAnswer, DropReason::UnaskedAnswer),
        };
        state.counters.add_dropped(reason, 1);
        Err(AnswerFault { what, detail: format!("channel `{channel}`, code {code}, {head:?}") })
    }

    fn give_up(&self, ticket: Ticket) {
        let mut asking = self.asking.lock();
        if let Some(waiter) = asking.give_up(ticket) {
            self.cancel(waiter.cancel);
            self.send_questions(asking, self.clock.now());
        }
    }

    /// The connection ends: nobody waits any longer.
    pub(super) fn fail_questions(&self) {
        let waiters = self.asking.lock().close();
        waiters.into_iter().for_each(|waiter| waiter.fail(RequestError::PeerGone));
    }

    /// Queues the questions whose turn it is. They keep their order, since the table stays locked meanwhile.
    fn send_questions(&self, mut asking: MutexGuard<'_, Waiters<Waiter>>, now: Instant) {
        let mut failed = Vec::new();
        let mut overflow = false;
        while let Some(out) = asking.poll_send(now) {
            let Waiter { code, template, deadline, cancel, .. } = &*out.waiter;
            let frame = Frame { channel: out.channel, code: *code, payload: template.with_id(out.id) };
            let meta = Meta::new(frame.payload.len()).with_deadline(*deadline).with_cancel(*cancel);
            let (fate, disconnect) = self.push(now, frame, meta);
            overflow |= disconnect;
            if let super::Fate::Refused(why) = fate {
                let ticket = out.ticket;
                failed.extend(asking.give_up(ticket).map(|waiter| (waiter, why)));
            }
        }
        drop(asking);
        failed.into_iter().for_each(|(waiter, why)| waiter.fail(why.into()));
        if overflow {
            self.close_for_overflow();
        }
    }
}
