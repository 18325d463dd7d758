//! Peerage: an actor-based peer-to-peer router, in the style of Tendermint's ADR-062, that speaks Ethereum's
//! RLPx.
//!
//! A node is built of **reactors**: independent actors that exchange typed messages with their like on other
//! nodes over [`channel::Channel`]s, and know nothing of sockets, handshakes or addresses. A [`Router`] carries
//! the messages over [`transport::Transport`]s; a synchronous [`peer::PeerManager`] decides whom to dial, admit
//! and evict.
//!
//! ```
//! use peerage::channel::Channel;
//!
//! peerage::protocol! {
//!     /// What echo nodes say.
//!     pub enum Echo: "echo" / 1, max 4096 {
//!         0 = Say { text: String },
//!         1 = Back { text: String },
//!     }
//! }
//!
//! async fn echo(mut channel: Channel<Echo>) {
//!     while let Some(envelope) = channel.recv().await {
//!         match envelope.message {
//!             Echo::Say { text } => channel.try_send(envelope.from, Echo::Back { text }).ignore(),
//!             Echo::Back { text } => println!("{} answered: {text}", envelope.from.short()),
//!         }
//!     }
//! }
//! ```
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
//! | L5 | [`reactor`], [`observe`] |
//!
//! # What is not provided
//!
//! Delivery is at most once. RLPx gives integrity and identity, not confidentiality against every observer (see
//! [`rlpx`]). There is no discovery of peers yet: a node dials the addresses that it is given.

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
#[cfg(feature = "net")]
pub mod transport;
#[cfg(all(feature = "net", any(doc, doctest)))]
#[doc = include_str!("../docs/tutorial.md")]
pub mod tutorial {}

pub use address::NodeAddress;
pub use id::{NodeId, NodeKey};
pub use message::Message;
#[cfg(feature = "net")]
pub use router::Router;
