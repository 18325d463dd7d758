//! Replays the committed corpus of the fuzz target `peer_store`.

use std::path::Path;

use super::drive::drive;

#[test]
fn the_corpus_of_peer_store_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/peer_store");
    let mut paths: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        println!("{}", path.display());
        drive(&std::fs::read(path).unwrap());
    }
}
