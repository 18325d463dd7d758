//! Replays the committed corpus of the fuzz target `rlpx_bytes`.

use crate::corpus::replay;
use crate::rlpx_bytes::drive;

#[test]
fn the_corpus_of_rlpx_bytes_passes() {
    replay("rlpx_bytes", drive);
}
