//! Questions to peers, and to other reactors of the node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::answering::Slots;
use super::asking::{Answered, Reply, Waiter};
use super::link::Link;
use super::options::CancelId;
use super::outcome::Fate;
use super::recipients::{Base, Conditions, Destination, Recipients};
use super::sender::Sender;
use crate::address::BoxFuture;
use crate::id::NodeId;
use crate::message::{Answer, DecodeError, Message, Port, Question, Refusal, Request, Responder, Template};
use crate::queue::Meta;

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There was no answer within the caller's time.
    #[error("there was no answer in time")]
    TimedOut,
    /// The connection ended before the answer came.
    #[error("the peer's connection ended before it answered")]
    PeerGone,
    /// The question could not be sent.
    #[error("the question was not sent: {0}")]
    Refused(#[from] Refusal),
    /// As many questions to this peer, or to this node's own receiver, wait as may.
    #[error("too many questions wait for their turn")]
    NoCapacity,
    /// Whoever was asked refused to answer: it has no capacity, or dropped the question.
    #[error("the question was refused")]
    Declined,
    /// The answer could not be decoded. The peer is held to account for it.
    #[error("the answer is malformed: {0}")]
    Malformed(#[source] DecodeError),
    /// It was taken back by [`Sender::cancel`].
    #[error("the request was cancelled")]
    Cancelled,
    /// Nobody fulfils the conditions.
    #[error("no peer fulfils the conditions")]
    NobodyToAsk,
}

impl RequestError {
    /// Whether it makes sense to ask another peer in the caller's remaining time.
    fn leaves_hope(self) -> bool {
        match self {
            Self::PeerGone | Self::NoCapacity | Self::Declined => true,
            Self::Refused(why) => matches!(why, Refusal::Full | Refusal::NotConnected | Refusal::NoChannel),
            Self::TimedOut | Self::Malformed(_) | Self::Cancelled | Self::NobodyToAsk => false,
        }
    }
}

impl<M: Message> Sender<M> {
    /// Asks one peer, or this node's own receiver ([`Destination::Local`]), and waits at most `within` for the answer.
    ///
    /// It is asked once, and nobody else is: a question that changes something is safe with it. To ask the best of a
    /// group there is [`Sender::request_any`].
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the question up: it is taken out of the queue if it was not written yet, and an
    /// answer that still comes is counted as late.
    pub async fn request<Q: Question<Protocol = M>>(
        &self,
        to: impl Into<Destination>,
        question: Q,
        within: Duration,
    ) -> Result<Q::Answer, RequestError> {
        self.request_any(to.into(), question, within).await.map(|(_, answer)| answer)
    }

    /// Asks one of `to`: of the peers that fulfil its conditions, the one with the fewest questions of this node to
    /// answer, and of those the one whose answers take the shortest time; then the next, as long as there is time, if
    /// that one goes, refuses, or has no room. Returns who answered.
    ///
    /// A question that was not refused may have been carried out, even if no answer came: one that must not be asked
    /// twice is for [`Sender::request`]. An answer does not pass through the channel's receiver, so a reactor may wait for it
    /// without reading; but where its inbound policy is to wait, a full queue keeps answers from being read as well.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: of the last one that was asked.
    ///
    /// # Cancel safety
    ///
    /// As for [`Sender::request`].
    pub async fn request_any<Q: Question<Protocol = M>>(
        &self,
        to: impl Into<Recipients>,
        question: Q,
        within: Duration,
    ) -> Result<(NodeId, Q::Answer), RequestError> {
        // A time beyond the clock's range is no limit.
        let deadline = self.outbox.clock.after(within);
        match to.into() {
            Recipients { base: Base::Local, .. } => {
                let answer = self.ask_locally(question, deadline).await?;
                Ok((self.outbox.me, answer))
            }
            to => self.ask_in_turn(to, question, deadline).await,
        }
    }

    /// As [`Sender::request_any`], for a question that [`Sender::cancel`] can take back under this name: it then ends
    /// with [`RequestError::Cancelled`].
    ///
    /// # Errors
    ///
    /// [`RequestError`]: of the last one that was asked.
    ///
    /// # Cancel safety
    ///
    /// As for [`Sender::request`].
    pub async fn request_any_as<Q: Question<Protocol = M>>(
        &self,
        id: CancelId,
        to: impl Into<Recipients>,
        question: Q,
        within: Duration,
    ) -> Result<(NodeId, Q::Answer), RequestError> {
        let cancellable = self.outbox.cancellations.watch(id);
        tokio::select! {
            biased;
            () = cancellable.cancelled() => Err(RequestError::Cancelled),
            answered = self.request_any(to, question, within) => answered,
        }
    }

    async fn ask_in_turn<Q: Question<Protocol = M>>(
        &self,
        to: Recipients,
        question: Q,
        deadline: Instant,
    ) -> Result<(NodeId, Q::Answer), RequestError> {
        if let Recipients { base: Base::One(peer), conditions: None } = to {
            let asked = async { self.ask_peer(&self.link(peer)?, &question, deadline).await };
            return asked.await.map(|answer| (peer, answer)).map_err(|why| self.not_asked(why));
        }
        if self.outbox.registry.is_sealed() {
            return Err(self.not_asked(Refusal::ShuttingDown.into()));
        }
        let mut last = RequestError::NobodyToAsk;
        for candidate in self.candidates(to) {
            let asked = match candidate {
                Ok(link) => {
                    self.ask_peer(&link, &question, deadline).await.map(|answer| (link.peer(), answer))
                }
                Err(why) => Err(why.into()),
            };
            match asked.map_err(|why| self.not_asked(why)) {
                Err(why) if why.leaves_hope() => last = why,
                settled => return settled,
            }
        }
        Err(last)
    }

    /// Counts a question that was refused to be sent, and tells a closing connection from a closing node.
    fn not_asked(&self, why: RequestError) -> RequestError {
        if matches!(why, RequestError::Refused(_) | RequestError::NoCapacity) {
            self.counters.add_refused();
        }
        match why {
            RequestError::Refused(Refusal::NotConnected) => self.not_connected().into(),
            why => why,
        }
    }

    /// Whom to ask, in that order; those who cannot be reached come last.
    fn candidates(&self, to: Recipients) -> Vec<Result<Arc<Link>, Refusal>> {
        let found = match to {
            Recipients { base, conditions: None } => self.select(base, &Conditions::default()),
            Recipients { base, conditions: Some(conditions) } => self.select(base, &conditions),
        };
        let mut found: Vec<_> = found.into_iter().map(|(_, link)| link).collect();
        found.sort_by_cached_key(|link| match link {
            // Nobody knows how long the answers of one take that was never asked: it is worth a try.
            Ok(link) => (false, link.load()),
            Err(_) => (true, (0, None)),
        });
        found
    }

    async fn ask_peer<Q: Question<Protocol = M>>(
        &self,
        link: &Arc<Link>,
        question: &Q,
        deadline: Instant,
    ) -> Result<Q::Answer, RequestError> {
        if self.outbox.registry.is_sealed() {
            return Err(Refusal::ShuttingDown.into());
        }
        let channel = link.channel(M::CHANNEL).ok_or(Refusal::NoChannel)?;
        let template = Template::of(question, channel.version);
        if template.max_bytes() > M::MAX_BYTES {
            let too_large = Refusal::TooLarge { bytes: template.max_bytes(), limit: M::MAX_BYTES };
            return Err(too_large.into());
        }
        let (sender, answer) = oneshot::channel();
        let waiter = Waiter {
            code: Q::CODE,
            template,
            deadline,
            cancel: self.outbox.cancellations.mint(),
            reply: reply_to(sender),
        };
        let now = self.outbox.clock.now();
        // Given up when this future is dropped or returns.
        let _question = link.ask(now, M::CHANNEL, Q::Answer::CODE, waiter)?;
        match self.outbox.clock.timeout_at(deadline, answer).await {
            Ok(Ok(answered)) => answered,
            // The waiter never goes without telling.
            Ok(Err(_)) => Err(RequestError::PeerGone),
            Err(_) => Err(RequestError::TimedOut),
        }
    }

    async fn ask_locally<Q: Question<Protocol = M>>(
        &self,
        question: Q,
        deadline: Instant,
    ) -> Result<Q::Answer, RequestError> {
        let _slot = LocalSlot::take(&self.local_requests)?;
        let (reply, answer) = oneshot::channel();
        let responder = Responder::new(LocalPort { reply: Some(reply) });
        let now = self.outbox.clock.now();
        let mut message = Some(Q::received(Request { question, responder }));
        let meta = Meta::new(0).with_deadline(deadline);
        if let Fate::Refused(why) = self.local.push_local(now, self.outbox.me, &mut message, meta) {
            return Err(why.into());
        }
        match self.outbox.clock.timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(RequestError::Declined),
            Err(_) => Err(RequestError::TimedOut),
        }
    }
}

/// Decodes the answer when it has come, and hands it to the asker.
fn reply_to<A: Answer>(asker: oneshot::Sender<Result<A, RequestError>>) -> Reply {
    Box::new(move |answered| {
        let (told, fault) = match answered {
            Answered::With { version, payload } => match A::decode(version, payload) {
                Ok(answer) => (Ok(answer), Ok(())),
                Err(error) => (Err(RequestError::Malformed(error)), Err(error)),
            },
            Answered::Not(why) => (Err(why), Ok(())),
        };
        // Whoever stopped waiting in this very moment needs to know nothing.
        let _ = asker.send(told);
        fault
    })
}

/// One of the local requests that may wait at a time.
struct LocalSlot<'a>(&'a Slots);

impl<'a> LocalSlot<'a> {
    fn take(slots: &'a Slots) -> Result<Self, RequestError> {
        if slots.take() { Ok(Self(slots)) } else { Err(RequestError::NoCapacity) }
    }
}

impl Drop for LocalSlot<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// The way back to a reactor of the same node: by value.
struct LocalPort<A> {
    reply: Option<oneshot::Sender<A>>,
}

impl<A: Answer> Port<A> for LocalPort<A> {
    fn put(&mut self, answer: &mut Option<A>) -> Result<(), Refusal> {
        let (Some(reply), Some(answer)) = (self.reply.take(), answer.take()) else {
            return Err(Refusal::NotConnected);
        };
        reply.send(answer).map_err(|_gone| Refusal::NotConnected)
    }

    fn room(&self) -> BoxFuture<'static, ()> {
        // One answer always has room.
        Box::pin(std::future::ready(()))
    }

    fn refuse(&mut self) {
        self.reply = None;
    }
}
