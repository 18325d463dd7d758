//! Reactors: the recommended shape of one, what runs it, and two of our own to learn from.
//!
//! A [`Reactor`] is a synchronous core. It is told what happens (a peer comes, a message arrives, a time is
//! reached) and the time at which it happens, changes its state, and puts what it wants done into an [`Outbox`]:
//! messages, questions, reports. [`drive()`] stands between it and the network: it brings the inputs and carries out
//! what the outbox holds. So a core is tested as plain data is, without a runtime, a network or a clock; [`testing`]
//! makes the inputs for that. The [tutorial](crate::tutorial) builds one from nothing.
//!
//! ```text
//! peers, answers, timer, events, messages ──drive──> core ──Outbox──> drive ──> Channel
//!                                            ^                          │
//!                                            └── refusals, answers ─────┘
//! ```
//!
//! [`ping`] asks and answers; [`chat`] floods with de-duplication. Neither is run unless it is declared on the
//! [builder](crate::router::Builder). A reactor may as well be any async function that owns a
//! [`Channel`](crate::channel::Channel): the router asks no more of it than to end with the node.
//!
//! Not provided: more than one channel for a core. Two protocols are two cores, which talk by events or by
//! [local](crate::channel::Recipients::local) messages.

mod contract;
mod drive;
mod outbox;

pub mod chat;
pub mod ping;
pub mod testing;

pub use contract::Reactor;
pub use drive::drive;
pub use outbox::{Asked, Outbox, Reported, SendId, Sending};
