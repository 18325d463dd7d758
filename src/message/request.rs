//! Questions and answers as data: their types, their place in a protocol, and the two ends of an answer.
//!
//! A protocol's enum has a type parameter, its [`Role`]: as a sender writes it ([`Sent`], the default) its
//! questions cannot be built, since a question is asked with `request` and not sent; as a receiver reads it
//! ([`Received`]) each is a [`Request`]: the question, and the [`Responder`] that it wants used. Answers are
//! types of their own and appear in neither: they go straight to whoever asked.
//!
//! On the wire a question or answer is an RLP list whose first item is the request's id, as in eth/66. A bare
//! integer under the question's code refuses the request of that id; only peers that have `peer/1` send or get one.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::{Buf, Bytes, BytesMut};

use super::{DecodeError, Message, Refusal};
use crate::address::BoxFuture;

/// What a protocol's enum is used for: to be sent, or as it was received. Sealed.
pub trait Role: sealed::Sealed + Send + 'static {
    /// What stands in the variant of the question `Q`.
    type Request<Q: Question>: Send + 'static;
}

/// The enum as it is sent: no value of it is a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sent {}

/// The enum as it is received: questions come with their responders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Received {}

/// What stands in the variant of a question where the enum is [`Sent`]: nothing, for there is no value of it.
///
/// Whoever meets it in an error message has tried to send a question as a mere message. A question is asked: by
/// [`Sender::request`](crate::channel::Sender::request), or in a core by
/// [`Outbox::request`](crate::reactor::Outbox::request), with the struct of the question's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AskedNotSent {}

impl Role for Sent {
    type Request<Q: Question> = AskedNotSent;
}

impl Role for Received {
    type Request<Q: Question> = Request<Q>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Sent {}
    impl Sealed for super::Received {}
}

/// A question of a protocol, and the type of its answer. Written by [`protocol!`](crate::protocol).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a question of a protocol",
    label = "not a question",
    note = "declare it with `-> Answer` in `protocol!`, or send it with `try_send` if it asks nothing"
)]
pub trait Question: fmt::Debug + Clone + Send + Sync + 'static {
    /// The protocol that it belongs to.
    type Protocol: Message;
    /// What answers it.
    type Answer: Answer<Protocol = Self::Protocol>;
    /// Its code in the protocol.
    const CODE: u8;

    /// Appends the payload of the request `id`.
    fn encode(&self, id: u64, version: u32, out: &mut BytesMut);

    /// The message that a receiver gets for it.
    fn received(request: Request<Self>) -> <Self::Protocol as Message>::Received;
}

/// An answer of a protocol. Written by [`protocol!`](crate::protocol).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an answer of a protocol",
    label = "not an answer",
    note = "declare it with `answer` before its name in `protocol!`"
)]
pub trait Answer: fmt::Debug + Clone + Send + Sync + 'static {
    /// The protocol that it belongs to.
    type Protocol: Message;
    /// Its code in the protocol.
    const CODE: u8;

    /// Appends the payload that answers the request `id`.
    fn encode(&self, id: u64, version: u32, out: &mut BytesMut);

    /// Reads a payload, whose id was matched already.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says what is wrong with it.
    fn decode(version: u32, payload: &Bytes) -> Result<Self, DecodeError>;
}

/// A question that somebody asked, and the means to answer it.
#[must_use = "whoever asked waits for an answer"]
pub struct Request<Q: Question> {
    /// What is asked.
    pub question: Q,
    /// Takes the answer, now or later and from any task.
    pub responder: Responder<Q::Answer>,
}

impl<Q: Question> fmt::Debug for Request<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("question", &self.question).finish_non_exhaustive()
    }
}

/// Takes the answer to one request.
///
/// One that is dropped unused refuses the request, so that nobody waits in vain: a reactor of this node hears
/// it, a peer hears it if it has `peer/1`, and any other peer will time out.
#[must_use = "whoever asked waits for an answer"]
pub struct Responder<A: Answer> {
    /// `None` once it was used.
    port: Option<Box<dyn Port<A>>>,
}

impl<A: Answer> Responder<A> {
    /// Makes a responder of the place where the answer goes.
    pub fn new(port: impl Port<A>) -> Self {
        Self { port: Some(Box::new(port)) }
    }

    /// Makes a responder that encodes the answer. Decoders of questions do so.
    pub fn over(wire: impl Wire) -> Self {
        Self::new(Encoded { wire, payload: None })
    }

    /// Queues the answer without waiting.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why it was not queued: it is lost, and the request is refused.
    pub fn try_answer(mut self, answer: A) -> Result<(), Refusal> {
        let Some(port) = &mut self.port else { return Err(Refusal::NotConnected) };
        port.put(&mut Some(answer))?;
        self.port = None;
        Ok(())
    }

    /// Queues the answer as soon as there is room for it on the way to whoever asked.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if waiting cannot help.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future refuses the request.
    pub async fn answer(mut self, answer: A) -> Result<(), Refusal> {
        let Some(port) = &mut self.port else { return Err(Refusal::NotConnected) };
        let mut answer = Some(answer);
        loop {
            // Listening for room before trying, lest it comes in between.
            let mut room = port.room();
            let listening = poll_fn(|cx| Poll::Ready(room.as_mut().poll(cx))).await;
            match port.put(&mut answer) {
                Err(Refusal::Full) if listening.is_pending() => room.await,
                Err(Refusal::Full) => {}
                Err(why) => return Err(why),
                Ok(()) => break,
            }
        }
        self.port = None;
        Ok(())
    }

    /// Says that there will be no answer.
    pub fn refuse(self) {}
}

impl<A: Answer> Drop for Responder<A> {
    fn drop(&mut self) {
        if let Some(mut port) = self.port.take() {
            port.refuse();
        }
    }
}

impl<A: Answer> fmt::Debug for Responder<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").finish_non_exhaustive()
    }
}

/// Where the answer to one request goes.
pub trait Port<A>: Send + 'static {
    /// Takes the answer out of `answer`, or says why not. Never waits. After [`Refusal::Full`] it may be called
    /// again with the same `answer`; once it was taken the port is done.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    fn put(&mut self, answer: &mut Option<A>) -> Result<(), Refusal>;

    /// Completes when there may be room again, counted from its first poll on.
    fn room(&self) -> BoxFuture<'static, ()>;

    /// There will be no answer. Called at most once, and never after an answer was taken.
    fn refuse(&mut self);
}

/// The way back to a peer, for encoded answers.
pub trait Wire: Send + 'static {
    /// The request's id.
    fn id(&self) -> u64;

    /// The version of the protocol in use with the peer.
    fn version(&self) -> u32;

    /// Queues a payload, or says why not. Never waits.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    fn push(&mut self, code: u8, payload: Bytes) -> Result<(), Refusal>;

    /// As [`Port::room`].
    fn room(&self) -> BoxFuture<'static, ()>;

    /// As [`Port::refuse`].
    fn refuse(&mut self);
}

/// A port that encodes the answer, once.
struct Encoded<W> {
    wire: W,
    payload: Option<Bytes>,
}

impl<A: Answer, W: Wire> Port<A> for Encoded<W> {
    fn put(&mut self, answer: &mut Option<A>) -> Result<(), Refusal> {
        if let Some(answer) = answer.take() {
            let mut out = BytesMut::new();
            answer.encode(self.wire.id(), self.wire.version(), &mut out);
            let limit = A::Protocol::MAX_BYTES;
            if out.len() > limit {
                return Err(Refusal::TooLarge { bytes: out.len(), limit });
            }
            self.payload = Some(out.freeze());
        }
        let payload = self.payload.clone().ok_or(Refusal::NotConnected)?;
        self.wire.push(A::CODE, payload)
    }

    fn room(&self) -> BoxFuture<'static, ()> {
        self.wire.room()
    }

    fn refuse(&mut self) {
        self.wire.refuse();
    }
}

/// What the payload of a question or an answer says before it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// It asks, or answers, the request of this id.
    Body(u64),
    /// Under a question's code: it refuses the request of this id, which went the other way.
    Refusal(u64),
}

impl Head {
    /// Reads the id and nothing else.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if there is none.
    pub fn peek(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut input = payload;
        if payload.first().is_some_and(|first| *first < EMPTY_LIST) {
            let id = u64::decode(&mut input)?;
            return match input.len() {
                0 => Ok(Self::Refusal(id)),
                extra_bytes => Err(DecodeError::Trailing { extra_bytes }),
            };
        }
        // What follows the list is the decoder's to find out.
        let mut body = Header::decode_bytes(&mut input, true)?;
        Ok(Self::Body(u64::decode(&mut body)?))
    }

    /// The payload that refuses the request `id`.
    #[must_use]
    pub fn refusal(id: u64) -> Bytes {
        let mut out = BytesMut::new();
        id.encode(&mut out);
        out.freeze()
    }
}

/// A question encoded for one version, to be sent under any id.
#[derive(Debug, Clone)]
pub struct Template {
    /// The items after the id.
    items: Bytes,
}

impl Template {
    /// Encodes a question once.
    #[must_use]
    pub fn of(question: &impl Question, version: u32) -> Self {
        let mut out = BytesMut::new();
        question.encode(0, version, &mut out);
        let mut input: &[u8] = &out;
        // What the question itself has encoded begins with a header and an id, or it is a bug of its encoder: it
        // is then sent as it is, and the peer refuses it.
        let items_bytes =
            Header::decode(&mut input).and_then(|_| u64::decode(&mut input)).map(|_| input.len());
        let start = out.len() - items_bytes.unwrap_or(out.len());
        let mut items = out.freeze();
        items.advance(start);
        Self { items }
    }

    /// The payload of the request `id`.
    #[must_use]
    pub fn with_id(&self, id: u64) -> Bytes {
        let payload_length = id.length() + self.items.len();
        let header = Header { list: true, payload_length };
        // Exact, so that freezing it needs no other allocation.
        let mut out = BytesMut::with_capacity(header.length() + payload_length);
        header.encode(&mut out);
        id.encode(&mut out);
        out.extend_from_slice(&self.items);
        out.freeze()
    }

    /// The most bytes that a payload of it has, whatever the id.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        let payload_length = u64::MAX.length() + self.items.len();
        Header { list: true, payload_length }.length() + payload_length
    }
}

/// The first byte of an RLP list is at least this.
const EMPTY_LIST: u8 = 0xc0;
