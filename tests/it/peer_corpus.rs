//! Replays the committed corpus of the fuzz target `peer_manager`.

use std::path::Path;
use std::time::Instant;

use peerage::peer::model::drive_bytes;

#[test]
#[ignore = "until the machine knows the full policy"]
#[allow(clippy::disallowed_methods, reason = "the manager needs some instant to count from")]
fn the_corpus_of_peer_manager_passes() {
    let start = Instant::now();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/peer_manager");
    let mut paths: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        println!("{}", path.display());
        drive_bytes(start, &std::fs::read(path).unwrap());
    }
}
