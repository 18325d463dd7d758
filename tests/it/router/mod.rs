//! The router's contract, on whole nodes: over the memory transport on virtual time, and over TCP-RLPx on
//! loopback, where real time only bounds how long a test may hang.

mod admission;
mod conduct;
mod dialing;
mod driven;
mod faults;
mod hostility;
pub(crate) mod kit;
mod liveness;
mod network;
mod operating;
mod pressure;
mod reactors;
mod shutdown;
mod simultaneous;
mod storing;
mod traces;
