//! Whole routers over simulated networks, as the fuzzer drives them.

mod drive;
mod oracle;

use drive::drive;

use crate::corpus::replay;

/// Replays the committed corpus of the fuzz target `network`.
#[test]
fn the_corpus_of_network_passes() {
    replay("network", drive);
}
