//! Whole routers over a simulated network, driven by bytes: what the fuzzer mutates, and its corpus replays.
//!
//! [`ops`] makes a small network of bytes, with queues of a few messages, and what is done to it. [`node`] runs in each
//! node and reads only when it is let. [`ledger`] holds all that is read against all that was sent. [`run`] does the
//! operations, then ends all faults, and asks for the following.
//!
//! At every moment, and at each event:
//!
//! - What a reactor reads was sent to it, on this channel, on the other end of this connection, and comes once.
//! - What comes from a peer on a channel comes in the order in which it was queued, over all of its connections.
//! - No node ends by itself, exceeds the limits of connections or queues, or finds that a peer misbehaved: all are
//!   honest.
//! - Peers come up and go down in turn. A question ends once, in its time, and with no answer that nobody gave.
//!
//! In the end:
//!
//! - The network recovers [within two virtual minutes](RECOVERY): nodes that are tied are connected, each connection
//!   has two ends, and those who follow the comings and goings of peers know them.
//! - Queues are empty, questions have ended, and a message to each peer on each channel arrives.
//! - Accepted is sent and dropped by reason; received is read and dropped by reason; what was sent on a connection that
//!   is still there was read, or dropped and counted; and no more was dropped than was not read.
//! - Nodes shut down cleanly.

mod checks;
mod lanes;
pub(crate) mod ledger;
mod node;
pub(crate) mod ops;
mod run;

use std::time::Duration;

/// In that virtual time a network whose faults have ended is healthy.
const RECOVERY: Duration = Duration::from_secs(120);

/// Drives a network by `bytes`.
///
/// # Panics
///
/// Only for a bug of the router, or of the simulator.
pub(crate) fn drive(bytes: &[u8]) {
    let (world, ops) = ops::decode(bytes);
    let mut run = run::Run::new(world);
    for (at, op) in ops.iter().enumerate() {
        run.step(op);
        run.check_after(op, &format_args!("after operation {at}, {op:?}"));
    }
    run.finish();
}
