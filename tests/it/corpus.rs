//! The committed corpora of the fuzz targets.

use std::path::{Path, PathBuf};

/// Where the corpus of a target is.
pub(crate) fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Gives a target each input of its corpus, by name. An empty corpus is a failure.
pub(crate) fn replay(target: &str, drive: impl Fn(&[u8])) {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        println!("{}", path.display());
        drive(&std::fs::read(path).unwrap());
    }
}
