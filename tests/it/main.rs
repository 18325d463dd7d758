//! The integration tests, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "where a test cannot go on, it fails"
)]

mod channel;
#[cfg(feature = "cli")]
mod child;
#[cfg(feature = "cli")]
mod cli;
mod corpus;
mod hostile;
#[cfg(feature = "cli")]
mod interop;
#[cfg(feature = "sim")]
mod network;
#[cfg(feature = "model")]
mod peer_corpus;
mod peer_states;
mod queue_corpus;
#[cfg(feature = "cli")]
mod replay;
mod rlpx_bytes;
mod rlpx_corpus;
mod router;
#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "cli")]
mod sim_command;
#[cfg(feature = "sqlite")]
mod store;
mod tidy;
mod transports;
mod tutorial;
