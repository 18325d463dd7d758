//! Typed channels: how a reactor talks to the same reactor on other nodes, and to other reactors of its own node.
//!
//! A [`Channel<M>`] carries one protocol, `M`, and nothing else compiles. It splits into a [`Sender`], which
//! clones freely, and the one [`Receiver`]. Channels are declared on the router's builder, before it starts.
//!
//! ```text
//! send ──encode once for each version──┐
//! request ──> questions of the Link ───┴─> queue of the Link (bounded, fair between channels) ──> its writer task
//!             (so many in flight)
//!
//! reader task of each peer ─┬─ messages, questions ──decode─┐
//!                           │                               ├─> Inbound (bounded, fair between peers) ──> Receiver
//!   Senders of this node ───│──────────────── by value ─────┘
//!                           └─ answers ──match──decode──> whoever asked
//! ```
//!
//! - A message: [`Sender::try_send`] queues it for any [`Recipients`] and never waits; [`Sender::send`] waits for room
//!   at one [`Destination`]. [`SendOptions`] give it an age, a key, or a name to take it back by.
//! - A question: [`Sender::request`] asks one, [`Sender::request_any`] the best of several, and both return the typed
//!   answer or a [`RequestError`]. A receiver is given it with its [`Responder`](crate::message::Responder).
//! - A peer that misbehaves, is of use, or is near: [`Sender::report`], [`Sender::praise`], [`Sender::measure`].
//!
//! Promises: delivery at most once, in order within one peer and channel. Every send says what became of it
//! ([`Outcome`]); what is lost later is counted by [`DropReason`]. Every request ends within its caller's time. A
//! receiver that never reads fills its own queue and harms no other channel, unless its
//! [policy](ChannelConfig::inbound_overflow) is to wait.
//!
//! What a channel refuses at compile time is shown, each case beside its correct twin, in the
//! [tutorial](crate::tutorial#what-the-compiler-refuses).
//!
//! Not provided: delivery receipts, retransmission, order between channels, and questions that are carried out once
//! for certain: one whose answer does not come may have been carried out.

mod answering;
mod asking;
mod book;
mod cancellation;
mod clock;
mod config;
mod counters;
mod encoder;
mod inbound;
mod link;
mod options;
mod outcome;
mod receiver;
mod recipients;
mod registry;
mod reporting;
mod request;
mod selecting;
mod sender;
mod updates;

pub use crate::message::Refusal;
pub use book::{AddressBook, Busy};
pub use config::{ChannelConfig, ChannelConfigError, Share};
pub use counters::{ChannelCounters, DropReason};
pub use inbound::Envelope;
pub use options::{CancelId, SendOptions};
pub use outcome::{Fate, Outcome, SendError};
pub use receiver::Receiver;
pub use recipients::{Destination, Recipients};
pub use reporting::BehaviourReport;
pub use request::RequestError;
pub use sender::Sender;
pub use updates::PeerUpdates;

pub(crate) use book::BookRequest;
pub(crate) use cancellation::Cancellations;
pub(crate) use clock::Clock;
pub(crate) use inbound::{Delivery, Inbound, InboundQueue};
pub(crate) use link::{Batch, FarEnd, Link, LinkChannel, LinkLimits, Meter};
pub(crate) use registry::Registry;
pub(crate) use sender::Outbox;
pub(crate) use updates::SharedUpdates;

use std::fmt;

use crate::message::Message;

/// Both ends of a reactor's conversation with its like on other nodes.
///
/// Made by the router's builder, once for each protocol.
pub struct Channel<M: Message> {
    sender: Sender<M>,
    receiver: Receiver<M>,
}

impl<M: Message> fmt::Debug for Channel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("sender", &self.sender).field("receiver", &self.receiver).finish()
    }
}

impl<M: Message> Channel<M> {
    pub(crate) fn new(sender: Sender<M>, receiver: Receiver<M>) -> Self {
        Self { sender, receiver }
    }

    /// The sending end; clone it for other tasks.
    #[must_use]
    pub fn sender(&self) -> &Sender<M> {
        &self.sender
    }

    /// Takes the ends apart, so that two tasks can own them.
    #[must_use]
    pub fn split(self) -> (Sender<M>, Receiver<M>) {
        (self.sender, self.receiver)
    }

    /// Waits for the next message; see [`Receiver::recv`].
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: no message is lost.
    pub async fn recv(&mut self) -> Option<Envelope<M>> {
        self.receiver.recv().await
    }

    /// Whether no message waits; see [`Receiver::is_empty`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Queues `message` without waiting; see [`Sender::try_send`].
    pub fn try_send(&self, to: impl Into<Recipients>, message: M) -> Outcome {
        self.sender.try_send(to, message)
    }
}
