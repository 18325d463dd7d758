//! Whole networks in one process, on virtual time.
//!
//! A [`SimNet`] runs nodes as they are in production: the same router, peer manager, queues and reactors, over links
//! whose latency, rate and faults are simulated. Time is virtual: an hour of a quiet network takes as long as its work
//! does. All that is drawn follows from one seed, so the same seed gives the same run, to the byte, and a failure is
//! there again when it is looked at.
//!
//! ```
//! use std::time::Duration;
//!
//! use peerage::sim::{Depth, SimNet, Topology};
//! # use peerage::channel::Channel;
//! # peerage::protocol! {
//! #     pub enum Echo: "echo" / 1, max 4096 { 0 = Say { text: String } }
//! # }
//! # async fn echo(mut channel: Channel<Echo>) { while channel.recv().await.is_some() {} }
//!
//! let mut net = SimNet::new(7, Depth::Plain)?;
//! let nodes = net.add_many(5, |node| {
//!     let channel = node.builder().channel::<Echo>()?;
//!     node.builder().reactor("echo", echo(channel));
//!     Ok(())
//! });
//! net.tie_all(&nodes, Topology::Ring);
//! net.start_all()?;
//! net.run_until(SimNet::is_connected, Duration::from_secs(5))?;
//!
//! net.partition("ocean", &[&nodes[..2], &nodes[2..]]);
//! net.run_until(|net| !net.is_connected(), Duration::from_secs(120))?;
//! net.heal("ocean");
//! net.run_until(SimNet::is_connected, Duration::from_secs(120))?;
//! # Ok::<(), peerage::sim::SimError>(())
//! ```
//!
//! # What can be done to it
//!
//! | to | what |
//! |---|---|
//! | lines | latency, spread, jitter and rate: [`Line`], [`SimNet::set_line`], also by region and by pair |
//! | connections | broken: [`SimNet::reset`]; neither broken nor closed, but nothing arrives: [`SimNet::stall`] |
//! | ways | nothing arrives in one direction, or between parts, until it is mended: [`SimNet::cut`], [`SimNet::partition`] |
//! | attempts to connect | late, so that they overtake each other, and doubled: [`Opening`] |
//! | nodes | killed, shut down, without power, without their stores, slow: [`SimNet::kill`] and what follows it, [`SimNet::slow`] |
//! | clocks | fast or slow: [`SimNet::drift`]; set forward or back: [`SimNet::turn_clock`] |
//! | everybody | peers that break the rules: [`Misdeed`], [`SimNet::add_byzantine`] |
//!
//! [`Act`] is each of these as a value, and a [`Script`] does them at their times.
//!
//! # What makes a run repeat
//!
//! [`assert_repeatable`] runs a scenario several times and finds the first thing that differs. A reactor repeats if it
//! takes time from tokio's clock and draws from [`Setup::seed`] alone, has no tasks on other threads, and iterates over
//! nothing whose order is random.
//!
//! # Scenarios
//!
//! With the feature `scenario`, a `Scenario` is all of this as text: nodes, what is done to them, and what must hold.
//! `docs/scenarios.md` has every key, and `peerage sim` runs such a text.
//!
//! # Fuzzing
//!
//! The fuzz target `network` makes of bytes a network of two to four nodes with queues of a few messages, and what is
//! done to it: messages, questions, cuts, resets, crashes, bans, receivers that do not read. All messages are numbered,
//! and what is read is held against what was sent; in the end the faults cease, and the network must recover. What is
//! asked of it is in `tests/it/network/drive/mod.rs`. `cargo test` replays the corpus, and
//! `fuzz/explore.sh network 600` looks for more.
//!
//! # What is not simulated
//!
//! Below a byte stream nothing is: loss, reordering and congestion show as delay alone. Processors are endless: a task
//! takes no virtual time but that which it sleeps. What runs on another thread, as an SQLite store does, is outside
//! of virtual time, and a run that waits for it does not repeat.

mod byzantine;
mod check;
mod clocks;
mod cuts;
mod events;
mod fabric;
mod faults;
mod lies;
mod lines;
mod net;
mod node;
mod outcome;
mod repeat;
#[cfg(feature = "scenario")]
mod scenario;
mod script;
mod search;
mod seed;
mod topology;
mod trace;
mod wire;

pub use byzantine::{Byzantine, Misdeed};
pub use check::{Flow, Violation};
pub use fabric::Opening;
pub use lies::Lie;
pub use lines::Line;
pub use net::{SimError, SimNet};
pub use node::{Node, Place, Setup};
pub use outcome::{Outcome, Picture, Sample, Spread};
pub use repeat::{Parting, assert_repeatable, check_repeatable};
#[cfg(feature = "scenario")]
pub use scenario::{Scenario, ScenarioError};
pub use script::{Act, Script};
pub use search::{Relapse, find_relapse};
pub use topology::Topology;
pub use trace::Record;

/// How much of a node is under a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Depth {
    /// All but cryptography and compression: for large networks.
    Plain,
    /// RLPx as over TCP: handshake, encryption, frames. Its randomness follows from the seed.
    Rlpx,
}
