//! Replays the committed corpus of the fuzz target `queue`: the model that the unit tests use, by its path.

use std::path::Path;
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
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/queue");
    let mut paths: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        println!("{}", path.display());
        model::drive_bytes(start, &std::fs::read(path).unwrap());
    }
}
