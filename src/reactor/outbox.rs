//! What a core wants done, as data.

use std::any::Any;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::contract::Reactor;
use crate::address::BoxFuture;
use crate::channel::{CancelId, Cancellations, Destination, Recipients, RequestError, SendOptions, Sender};
use crate::event::{Act, GoodAct, Misbehaviour};
use crate::id::{ConnId, NodeId};
use crate::message::Question;

/// Names one message of a core, from [`Outbox::send`] to [`Reactor::on_refused`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SendId(u64);

/// What a core wants done: messages to send or take back, questions to ask, peers to report.
///
/// Nothing happens before the core returns; then [`drive`](super::drive()) carries it out in order. In a test nobody
/// does, and the second half of the methods shows what is there.
pub struct Outbox<R: Reactor> {
    effects: VecDeque<Effect<R>>,
    sends: u64,
    /// Of the node, or in a test of nobody else.
    cancellations: Arc<Cancellations>,
}

/// A message that a core wants sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sending<M> {
    /// Its name.
    pub id: SendId,
    /// To whom it goes.
    pub to: Recipients,
    /// The message.
    pub message: M,
    /// What it carries beside itself.
    pub options: SendOptions,
}

/// A report that a core wants made; see [`Sender::report`], [`Sender::praise`] and [`Sender::measure`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reported {
    /// The peer.
    pub peer: NodeId,
    /// The connection on which it behaved so.
    pub conn: ConnId,
    /// What it did.
    pub what: Act,
    /// How often. 1 for a latency.
    pub count: u32,
    /// The circumstances in words.
    pub detail: Cow<'static, str>,
}

pub(super) enum Effect<R: Reactor> {
    Send(Sending<R::Message>),
    Ask(Box<dyn Ask<R>>),
    Cancel(CancelId),
    Report(Reported),
}

impl<R: Reactor> fmt::Debug for Outbox<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.effects.iter().map(|effect| match effect {
            Effect::Send(_) => "send",
            Effect::Ask(_) => "ask",
            Effect::Cancel(_) => "cancel",
            Effect::Report(_) => "report",
        });
        f.debug_list().entries(kinds).finish()
    }
}

impl<R: Reactor> Outbox<R> {
    /// Makes one that holds nothing, for a test.
    #[must_use]
    pub fn new() -> Self {
        Self::minting(Arc::default())
    }

    /// Makes one whose names for what may be taken back are those of a node.
    pub(super) fn minting(cancellations: Arc<Cancellations>) -> Self {
        Self { effects: VecDeque::new(), sends: 0, cancellations }
    }

    /// Sends a message. For each recipient whose queue does not take it, [`Reactor::on_refused`] is told.
    ///
    /// A group may be empty; then nobody gets it, and nobody refused it.
    pub fn send(&mut self, to: impl Into<Recipients>, message: R::Message) -> SendId {
        self.send_with(to, message, SendOptions::new())
    }

    /// As [`Outbox::send`], for a message that carries more than itself.
    pub fn send_with(
        &mut self,
        to: impl Into<Recipients>,
        message: R::Message,
        options: SendOptions,
    ) -> SendId {
        let id = SendId(self.sends);
        self.sends += 1;
        self.effects.push_back(Effect::Send(Sending { id, to: to.into(), message, options }));
        id
    }

    /// Mints a name for messages and questions that may be taken back. It is at once as good as one of
    /// [`Sender::cancel_id`].
    ///
    /// In a test, names are minted in the same order each time, and are meant for this outbox alone.
    #[must_use]
    pub fn cancel_id(&mut self) -> CancelId {
        self.cancellations.name()
    }

    /// Takes back what was sent under `id` and is still queued, and ends the questions under `id` with
    /// [`RequestError::Cancelled`]; see [`Sender::cancel`].
    ///
    /// It keeps its place: it concerns what this core has put here before, in this call or in earlier ones, and
    /// nothing that it puts here later under the same name.
    pub fn cancel(&mut self, id: CancelId) {
        self.effects.push_back(Effect::Cancel(id));
    }

    /// Asks one peer, or this node's own receiver, and waits at most `within` for the answer; see
    /// [`Sender::request`]. What became of it comes to
    /// [`Reactor::on_event`] as the event that `then` makes of it, exactly once, unless the node ends before.
    ///
    /// How many questions wait for their answers is bounded by the limits of each connection; one more than those ends
    /// at once, as [`RequestError::NoCapacity`].
    pub fn request<Q: Question<Protocol = R::Message>>(
        &mut self,
        to: impl Into<Destination>,
        question: Q,
        within: Duration,
        then: impl FnOnce(Result<Q::Answer, RequestError>) -> R::Event + Send + 'static,
    ) {
        self.request_any(to.into(), question, within, |answered| then(answered.map(|(_, answer)| answer)));
    }

    /// As [`Outbox::request`], for the best of a group, and tells who answered; see [`Sender::request_any`].
    pub fn request_any<Q: Question<Protocol = R::Message>>(
        &mut self,
        to: impl Into<Recipients>,
        question: Q,
        within: Duration,
        then: impl FnOnce(Result<(NodeId, Q::Answer), RequestError>) -> R::Event + Send + 'static,
    ) {
        self.ask(Asked { to: to.into(), question, within, cancel: None, then: Box::new(then) });
    }

    /// As [`Outbox::request_any`], for a question that [`Outbox::cancel`] can take back under this name; see
    /// [`Sender::request_any_as`].
    pub fn request_any_as<Q: Question<Protocol = R::Message>>(
        &mut self,
        id: CancelId,
        to: impl Into<Recipients>,
        question: Q,
        within: Duration,
        then: impl FnOnce(Result<(NodeId, Q::Answer), RequestError>) -> R::Event + Send + 'static,
    ) {
        self.ask(Asked { to: to.into(), question, within, cancel: Some(id), then: Box::new(then) });
    }

    fn ask<Q: Question<Protocol = R::Message>>(&mut self, asked: Asked<R, Q>) {
        self.effects.push_back(Effect::Ask(Box::new(asked)));
    }

    /// Reports that a peer misbehaved on the connection `conn`; see [`Sender::report`].
    ///
    /// A report for which the peer manager has no room is dropped: if the peer goes on, the next one makes up for it.
    pub fn report(
        &mut self,
        peer: NodeId,
        conn: ConnId,
        what: Misbehaviour,
        detail: impl Into<Cow<'static, str>>,
    ) {
        self.tell(peer, conn, what.into(), 1, detail.into());
    }

    /// Reports that a peer was of use on the connection `conn`, `count` times; see [`Sender::praise`]. Dropped as
    /// [`Outbox::report`] is.
    pub fn praise(&mut self, peer: NodeId, conn: ConnId, what: GoodAct, count: u32) {
        self.tell(peer, conn, what.into(), count, Cow::Borrowed(""));
    }

    /// Reports how long an exchange with a peer took on the connection `conn`; see [`Sender::measure`]. Dropped as
    /// [`Outbox::report`] is.
    pub fn measure(&mut self, peer: NodeId, conn: ConnId, latency: Duration) {
        self.tell(peer, conn, Act::Took(latency), 1, Cow::Borrowed(""));
    }

    fn tell(&mut self, peer: NodeId, conn: ConnId, what: Act, count: u32, detail: Cow<'static, str>) {
        self.effects.push_back(Effect::Report(Reported { peer, conn, what, count, detail }));
    }

    /// Whether nothing is left to do: a test that has taken all that it expects asks this last.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// The messages to be sent, in order.
    pub fn sent(&self) -> impl Iterator<Item = &Sending<R::Message>> + '_ {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Send(sending) => Some(sending),
            _ => None,
        })
    }

    /// Takes the messages to be sent, in order.
    pub fn take_sent(&mut self) -> Vec<Sending<R::Message>> {
        self.take(|effect| match effect {
            Effect::Send(sending) => ControlFlow::Break(sending),
            other => ControlFlow::Continue(other),
        })
    }

    /// Takes the reports to be made, in order.
    pub fn take_reports(&mut self) -> Vec<Reported> {
        self.take(|effect| match effect {
            Effect::Report(reported) => ControlFlow::Break(reported),
            other => ControlFlow::Continue(other),
        })
    }

    /// Takes the names under which something is to be taken back, in order. The messages sent under them stay in
    /// [`Outbox::sent`]: without [`drive`](super::drive()) nothing is carried out.
    pub fn take_cancelled(&mut self) -> Vec<CancelId> {
        self.take(|effect| match effect {
            Effect::Cancel(id) => ControlFlow::Break(id),
            other => ControlFlow::Continue(other),
        })
    }

    /// Takes the first question of this type to be asked.
    pub fn take_request<Q: Question<Protocol = R::Message>>(&mut self) -> Option<Asked<R, Q>> {
        let asks = |effect: &Effect<R>| match effect {
            Effect::Ask(ask) => (&**ask as &dyn Any).is::<Asked<R, Q>>(),
            _ => false,
        };
        let at = self.effects.iter().position(asks)?;
        match self.effects.remove(at)? {
            Effect::Ask(ask) => (ask as Box<dyn Any>).downcast().ok().map(|asked| *asked),
            _ => None,
        }
    }

    pub(super) fn next(&mut self) -> Option<Effect<R>> {
        self.effects.pop_front()
    }

    /// Takes what `wanted` breaks out; the rest stays. All keep their order.
    fn take<T>(&mut self, wanted: impl Fn(Effect<R>) -> ControlFlow<T, Effect<R>>) -> Vec<T> {
        let mut taken = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            match wanted(effect) {
                ControlFlow::Break(found) => taken.push(found),
                ControlFlow::Continue(other) => self.effects.push_back(other),
            }
        }
        taken
    }
}

impl<R: Reactor> Default for Outbox<R> {
    fn default() -> Self {
        Self::new()
    }
}

/// A question that a core wants asked. A test takes it from the outbox and plays whoever answers.
#[must_use = "a core that asked waits for the event that comes of it"]
pub struct Asked<R: Reactor, Q: Question> {
    /// Whom it is for.
    pub to: Recipients,
    /// What is asked.
    pub question: Q,
    /// How long the core is willing to wait.
    pub within: Duration,
    /// Under which name it may be taken back.
    pub cancel: Option<CancelId>,
    then: Then<R, Q>,
}

type Then<R, Q> =
    Box<dyn FnOnce(Result<(NodeId, <Q as Question>::Answer), RequestError>) -> <R as Reactor>::Event + Send>;

impl<R: Reactor, Q: Question> Asked<R, Q> {
    /// Answers as `from`, and returns the event for [`Reactor::on_event`].
    #[must_use = "the core learns of it by `on_event`"]
    pub fn answer(self, from: NodeId, answer: Q::Answer) -> R::Event {
        (self.then)(Ok((from, answer)))
    }

    /// Leaves it without an answer, and returns the event for [`Reactor::on_event`].
    #[must_use = "the core learns of it by `on_event`"]
    pub fn fail(self, why: RequestError) -> R::Event {
        (self.then)(Err(why))
    }
}

impl<R: Reactor, Q: Question> fmt::Debug for Asked<R, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, question, within, cancel, .. } = self;
        f.debug_struct("Asked")
            .field("to", to)
            .field("question", question)
            .field("within", within)
            .field("cancel", cancel)
            .finish_non_exhaustive()
    }
}

/// A question whose type is forgotten, on its way to be asked.
pub(super) trait Ask<R: Reactor>: Any + Send {
    /// Asks; completes with the event that comes of it.
    fn ask(self: Box<Self>, sender: Sender<R::Message>) -> BoxFuture<'static, R::Event>;
}

impl<R: Reactor, Q: Question<Protocol = R::Message>> Ask<R> for Asked<R, Q> {
    fn ask(self: Box<Self>, sender: Sender<R::Message>) -> BoxFuture<'static, R::Event> {
        let Self { to, question, within, cancel, then } = *self;
        Box::pin(async move {
            then(match cancel {
                Some(id) => sender.request_any_as(id, to, question, within).await,
                None => sender.request_any(to, question, within).await,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeKey;
    use crate::reactor::ping::{Measured, Pinger, Question};

    #[test]
    fn what_is_taken_back_and_under_which_name_is_seen_without_a_runtime() {
        let mut out = Outbox::<Pinger<fn(NodeId, Measured)>>::new();
        let (first, second) = (out.cancel_id(), out.cancel_id());
        assert_ne!(first, second);
        let again = Outbox::<Pinger<fn(NodeId, Measured)>>::new().cancel_id();
        assert_eq!(first, again, "the same in each test");

        let peer = NodeKey::insecure_from_seed(1).id();
        let ended = |_| crate::reactor::ping::Event::Quiet;
        out.request_any_as(first, peer, Question, Duration::ZERO, ended);
        out.cancel(first);
        out.request_any(peer, Question, Duration::ZERO, ended);
        out.cancel(second);
        assert_eq!(format!("{out:?}"), r#"["ask", "cancel", "ask", "cancel"]"#);
        assert_eq!(out.take_cancelled(), [first, second]);
        let asked = [out.take_request::<Question>(), out.take_request::<Question>()];
        assert_eq!(asked.map(|asked| asked.unwrap().cancel), [Some(first), None]);
        assert!(out.is_empty());
    }
}
