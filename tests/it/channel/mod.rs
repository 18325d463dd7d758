//! Channels as reactors use them, on whole nodes: over the memory transport on virtual time, and over TCP-RLPx.

mod drops;
mod groups;
mod local;
mod qos;
mod quotas;
mod requests;
mod sending;
