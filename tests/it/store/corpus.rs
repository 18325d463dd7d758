//! Replays the committed corpus of the fuzz target `peer_store`.

use super::drive::drive;
use crate::corpus::replay;

#[test]
fn the_corpus_of_peer_store_passes() {
    replay("peer_store", drive);
}
