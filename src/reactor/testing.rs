//! Inputs for tests of cores: peers, messages and questions, made without a network.
//!
//! What a core does with them is seen in its [`Outbox`](super::Outbox). Not provided: time, which a test counts from
//! any `Instant` of its own.

use std::sync::{Arc, Mutex, PoisonError};

use crate::address::{BoxFuture, NodeAddress};
use crate::channel::Envelope;
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::id::{ConnId, Direction, NodeId};
use crate::message::{AgreedChannel, Answer, Message, Port, Question, Refusal, Request, Responder};
use crate::peer::{PeerUpdate, Remote};

/// `peer` comes up on the connection `conn`, with the latest version of the channel of `M`.
#[must_use]
pub fn up<M: Message>(peer: NodeId, conn: u64) -> PeerUpdate {
    let version = M::VERSIONS.last().map_or(0, |version| version.number);
    PeerUpdate::Up {
        peer,
        conn: ConnId::new(conn),
        direction: Direction::Outbound,
        channels: Arc::new([AgreedChannel { id: M::CHANNEL, version }]),
        services: Arc::new([]),
        capabilities: Arc::new([]),
        remote: Remote::Address(NodeAddress::memory(peer)),
    }
}

/// The connection `conn` of `peer` is gone.
#[must_use]
pub fn down(peer: NodeId, conn: u64) -> PeerUpdate {
    let closed = Closed::local(Layer::Node, Blame::Nobody, DisconnectReason::Requested, "test");
    PeerUpdate::Down { peer, conn: ConnId::new(conn), closed }
}

/// A message from `peer` on the connection `conn`.
#[must_use]
pub fn message<M: Message>(peer: NodeId, conn: u64, message: M) -> Envelope<M> {
    Envelope { from: peer, conn: ConnId::new(conn), message: message.received() }
}

/// A question of `peer` on the connection `conn`, and the place where its answer will be.
#[must_use]
pub fn question<Q: Question>(
    peer: NodeId,
    conn: u64,
    question: Q,
) -> (Envelope<Q::Protocol>, Reply<Q::Answer>) {
    let reply = Reply { state: Arc::new(Mutex::new(State::Waiting)) };
    let responder = Responder::new(ReplyPort(Arc::clone(&reply.state)));
    let message = Q::received(Request { question, responder });
    (Envelope { from: peer, conn: ConnId::new(conn), message }, reply)
}

/// Where the answer to a question of a test appears.
#[derive(Debug)]
pub struct Reply<A> {
    state: Arc<Mutex<State<A>>>,
}

#[derive(Debug)]
enum State<A> {
    Waiting,
    Answered(A),
    Refused,
}

impl<A> Reply<A> {
    /// Takes the answer, if there is one.
    pub fn take(&self) -> Option<A> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Waiting) {
            State::Answered(answer) => Some(answer),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Whether the core said that there will be no answer, or dropped the responder.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Refused)
    }
}

struct ReplyPort<A>(Arc<Mutex<State<A>>>);

impl<A: Answer> Port<A> for ReplyPort<A> {
    fn put(&mut self, answer: &mut Option<A>) -> Result<(), Refusal> {
        if let Some(answer) = answer.take() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Answered(answer);
        }
        Ok(())
    }

    fn room(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn refuse(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Refused;
    }
}
