//! Replays the committed corpus of the fuzz target `queue`: the model that the unit tests use, by its path.

use std::time::Instant;

use peerage::queue::{
    CONTROL_MAX_BYTES, CONTROL_MAX_MESSAGES, CancelId, DropReason, FairQueue, FlowConfig, HIGH_BURST_BYTES,
    HIGH_SHARE, Meta, Overflow, Popped, Priority, Pushed, QUANTUM_BYTES, QueueConfig, RefuseReason, Stats,
    Tally, charge,
};

#[path = "../../src/queue/model/mod.rs"]
mod model;

#[test]
#[allow(clippy::disallowed_methods, reason = "the queue needs some instant to count from")]
fn the_corpus_of_queue_passes() {
    let start = Instant::now();
    crate::corpus::replay("queue", |bytes| model::drive_bytes(start, bytes));
}
