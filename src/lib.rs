//! Peerage: an actor-based peer-to-peer router, in the style of Tendermint's ADR-062, that speaks Ethereum's
//! RLPx.
//!
//! A node is built of **reactors**: independent actors that exchange typed messages with their like on other
//! nodes over [`channel::Channel`]s, and know nothing of sockets, handshakes or addresses. A [`Router`] carries
//! the messages over [`transport::Transport`]s; a synchronous [`peer::PeerManager`] decides whom to dial, admit
//! and evict.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use peerage::NodeId;
//! use peerage::channel::{Envelope, Refusal, RequestError};
//! use peerage::peer::PeerUpdate;
//! use peerage::reactor::{Outbox, Reactor, SendId};
//!
//! peerage::protocol! {
//!     /// What greeters say.
//!     pub enum Greeting: "greeting" / 1, max 4096 {
//!         0 = Name -> IsCalled,
//!         1 = answer IsCalled { name: String },
//!     }
//! }
//!
//! /// Asks each peer for its name.
//! struct Greeter { name: String }
//!
//! impl Reactor for Greeter {
//!     type Message = Greeting;
//!     type Event = (NodeId, Result<IsCalled, RequestError>);
//!
//!     fn on_peer(&mut self, _now: Instant, update: &PeerUpdate, out: &mut Outbox<Self>) {
//!         if let PeerUpdate::Up { peer, .. } = *update {
//!             out.request(peer, Name, Duration::from_secs(5), move |answer| (peer, answer));
//!         }
//!     }
//!
//!     fn on_message(&mut self, _now: Instant, envelope: Envelope<Greeting>, _out: &mut Outbox<Self>) {
//!         match envelope.message {
//!             // If the answer finds no room, the peer hears that it is refused.
//!             Greeting::Name(request) => {
//!                 let _ = request.responder.try_answer(IsCalled { name: self.name.clone() });
//!             }
//!         }
//!     }
//!
//!     fn on_event(&mut self, _now: Instant, (peer, answer): Self::Event, _out: &mut Outbox<Self>) {
//!         match answer {
//!             Ok(IsCalled { name }) => println!("{} is called {name}", peer.short()),
//!             Err(why) => println!("{} did not say its name: {why}", peer.short()),
//!         }
//!     }
//!
//!     fn on_refused(&mut self, _: Instant, _: SendId, _: NodeId, _: Refusal, _: &mut Outbox<Self>) {
//!         // It sends no messages, only questions.
//!     }
//! }
//! ```
//!
//! This is the recommended shape of a [`reactor`]: a synchronous core, which is tested without a runtime and run by
//! [`drive`](reactor::drive()). The [`tutorial`] builds one from nothing. Any async function that owns a channel is a
//! reactor as well. Whole networks of either are tested on virtual time by `sim` (feature `sim`).
//!
//! # A node
//!
//! Everything is declared on a [builder](router::Builder), sealed by `build`, and then run: channels and the reactors
//! that own them, one transport at least, and addresses to dial. `run` returns when every task has ended. Here two
//! nodes of one process meet:
//!
//! ```
//! use peerage::transport::memory::MemoryNetwork;
//! use peerage::{NodeAddress, NodeKey, Router};
//! # use peerage::channel::Channel;
//! # peerage::protocol! {
//! #     pub enum Echo: "echo" / 1, max 4096 { 0 = Say { text: String } }
//! # }
//! # async fn echo(mut channel: Channel<Echo>) { while channel.recv().await.is_some() {} }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let network = MemoryNetwork::new();
//! let (alice, bob) = (NodeKey::insecure_from_seed(1).id(), NodeKey::insecure_from_seed(2).id());
//!
//! let mut builder = Router::builder(alice);
//! builder.transport(network.listen(alice));
//! let channel = builder.channel::<Echo>()?;
//! builder.reactor("echo", echo(channel));
//! let first = builder.build()?;
//!
//! let mut builder = Router::builder(bob);
//! builder.transport(network.listen(bob)).peer(NodeAddress::memory(alice));
//! let (channel, mut updates) = (builder.channel::<Echo>()?, builder.updates());
//! builder.reactor("echo", echo(channel));
//! let second = builder.build()?;
//!
//! let handles = [first.handle(), second.handle()];
//! let met = async {
//!     let update = updates.next().await; // `Up`: sending to the peer works now
//!     handles.iter().for_each(|handle| handle.shutdown());
//!     update
//! };
//! let (update, first, second) = tokio::join!(met, first.run(), second.run());
//! assert!(update.is_some() && first.clean && second.clean);
//! # Ok(())
//! # }
//! ```
//!
//! Over TCP the transport is [`RlpxTransport`](transport::rlpx::RlpxTransport) and an address is an enode URL; nothing
//! else changes.
//!
//! # Layers
//!
//! A module names only modules of a lower layer, or itself. Everything above the wall is plain synchronous Rust:
//! it takes the time and a seed, returns data, and names no runtime, clock, randomness, socket or log. Built
//! with `--no-default-features`, the crate is those cores alone.
//!
//! | layer | modules |
//! |---|---|
//! | L0 | [`id`], [`address`] |
//! | L1 | [`message`], [`event`] |
//! | L2 | [`peer`], [`queue`], [`request`], [`rlpx`] |
//! | — | the wall |
//! | L3 | [`transport`], [`channel`] |
//! | L4 | [`router`] |
//! | L5 | [`reactor`], [`observe`], `store` (feature `sqlite`) |
//! | L6 | `sim` (feature `sim`) |
//!
//! # What is not provided
//!
//! Delivery is at most once. RLPx gives integrity and identity, not confidentiality against every observer (see
//! [`rlpx`]). There is no discovery beyond peers' own word yet: a node dials the addresses that it is given, and those that
//! [`reactor::pex`] learns.

pub mod address;
pub mod event;
pub mod id;
pub mod message;
pub mod peer;
pub mod queue;
pub mod request;
pub mod rlpx;

#[cfg(feature = "net")]
pub mod channel;
#[cfg(feature = "net")]
pub mod observe;
#[cfg(feature = "net")]
pub mod reactor;
#[cfg(feature = "net")]
pub mod router;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "sqlite")]
pub mod store;
#[cfg(feature = "net")]
pub mod transport;
#[cfg(all(feature = "net", any(doc, doctest)))]
#[doc = include_str!("../docs/tutorial.md")]
pub mod tutorial {}
/// Compiles the README's blocks of Rust.
#[cfg(all(feature = "net", doctest))]
#[doc = include_str!("../README.md")]
mod readme {}

pub use address::NodeAddress;
pub use id::{NodeId, NodeKey};
pub use message::Message;
#[cfg(feature = "net")]
pub use router::Router;
