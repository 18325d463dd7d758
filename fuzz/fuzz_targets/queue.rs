//! Any operations on the bounded queue, beside its model.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use peerage::queue::{
    CONTROL_MAX_BYTES, CONTROL_MAX_MESSAGES, CancelId, DropReason, FairQueue, FlowConfig, HIGH_BURST_BYTES,
    HIGH_SHARE, Meta, Overflow, Popped, Priority, Pushed, QUANTUM_BYTES, QueueConfig, RefuseReason, Stats,
    Tally, charge,
};

#[path = "../../src/queue/model/mod.rs"]
mod model;

fuzz_target!(|bytes: &[u8]| model::drive_bytes(Instant::now(), bytes));
