//! Replays the committed corpus of the fuzz target `rlpx_bytes`.

use std::path::Path;

use crate::rlpx_bytes::drive;

#[test]
fn the_corpus_of_rlpx_bytes_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/rlpx_bytes");
    let mut paths: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        println!("{}", path.display());
        drive(&std::fs::read(path).unwrap());
    }
}
