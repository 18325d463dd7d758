//! Reactors: the recommended shape of one, what runs it, and some of our own to learn from.
//!
//! A [`Reactor`] is a synchronous core. It is told what happens (a peer comes, a message arrives, a time is
//! reached) and the time at which it happens, changes its state, and puts what it wants done into an [`Outbox`]:
//! messages, questions, reports. [`drive()`] stands between it and the network: it brings the inputs and carries out
//! what the outbox holds. So a core is tested as plain data is, without a runtime, a network or a clock; [`testing`]
//! makes the inputs for that. What it does among others is tested in a network on virtual time, by `peerage::sim` (feature
//! `sim`). The [tutorial](crate::tutorial) builds one from nothing, and tests it in both ways.
//!
//! ```text
//! peers, answers, timer, events, messages ──drive──> core ──Outbox──> drive ──> Channel
//!                                            ^                          │
//!                                            └── refusals, answers ─────┘
//! ```
//!
//! [`ping`] asks and answers; [`chat`] floods with de-duplication; [`pex`] exchanges addresses. None is run unless it is
//! declared on the [builder](crate::router::Builder). A reactor may as well be any async function that owns a
//! [`Channel`](crate::channel::Channel): the router asks no more of it than to end with the node.
//!
//! # Two cores of one node
//!
//! Two protocols are two cores. One reaches the other by a [`Sender`](crate::channel::Sender) of the **other's** channel,
//! which it keeps from the wiring of the node. For a core's own [`Outbox`], [`Recipients::local`] is that core itself,
//! since it is the receiver of the only channel that the outbox sends on.
//!
//! A message is one line, and bounded by the other's queue. A core does not wait, so for a question a task asks, and
//! brings the answer back as an event:
//!
//! ```
//! use std::time::Duration;
//!
//! use peerage::channel::{Destination, Recipients, RequestError, Sender};
//! use tokio::sync::mpsc;
//!
//! peerage::protocol! {
//!     /// What is said to the thermostat, which is another core.
//!     pub enum Heating: "heating" / 1, max 64 {
//!         0 = Measured { millidegrees: u32 },
//!         1 = IsOn -> State,
//!         2 = answer State { on: bool },
//!     }
//! }
//!
//! /// The events of a core that measures.
//! enum Event {
//!     Heating(Result<State, RequestError>),
//! }
//!
//! /// What that core keeps from the wiring.
//! struct Sensor {
//!     heating: Sender<Heating>,
//!     /// The other end of it is what the core's own `drive` was given.
//!     events: mpsc::Sender<Event>,
//! }
//!
//! impl Sensor {
//!     fn measured(&self, millidegrees: u32) {
//!         // The thermostat's queue may be full: the next measurement makes up for it.
//!         self.heating.try_send(Recipients::local(), Heating::Measured { millidegrees }).ignore();
//!         let (heating, events) = (self.heating.clone(), self.events.clone());
//!         tokio::spawn(async move {
//!             let state = heating.request(Destination::Local, IsOn, Duration::from_secs(1)).await;
//!             // The core may have ended.
//!             let _ = events.send(Event::Heating(state)).await;
//!         });
//!     }
//! }
//! # let _ = Sensor::measured;
//! ```
//!
//! The sender is `channel.sender().clone()`, taken from the thermostat's channel before `drive` gets it. A core that holds
//! a sender of its own events is not ended by the end of events, but by that of its channel.
//!
//! Not provided: more than one channel for a core.
//!
//! [`Recipients::local`]: crate::channel::Recipients::local

mod contract;
mod drive;
mod outbox;

pub mod chat;
pub mod pex;
pub mod ping;
pub mod testing;

pub use contract::Reactor;
pub use drive::drive;
pub use outbox::{Asked, Outbox, Reported, SendId, Sending};
