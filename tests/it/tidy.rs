//! The laws of the source that no compiler checks: who may name whom, and what is said nowhere.
//!
//! Each law is a function in [`laws`]; what they read is a file cut into tokens by [`lex`] and understood
//! just far enough by [`source`]. [`samples`] shows each of them red. There is no way around a law in the
//! code itself: an exception is an entry in a table here, with its reason, where a reviewer sees it.
//!
//! [`manifest`] holds the dependencies to the record that explains them, [`conformance`] the list of behaviours to
//! the tests that it names.
//!
//! Macros are not expanded and types are not resolved. A module that wants to lie to this test can.

mod conformance;
mod laws;
mod lex;
mod manifest;
mod samples;
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use source::Source;

/// The modules of the library, and the layer that each belongs to (L0 is the ground).
const LAYERS: &[(&str, u8)] = &[
    ("id", 0),
    ("address", 0),
    ("message", 1),
    ("event", 1),
    ("peer", WALL),
    ("queue", WALL),
    ("rlpx", WALL),
    ("request", WALL),
    ("broadcast", WALL),
    ("pex", WALL),
    ("transport", 3),
    ("channel", 3),
    ("router", 4),
    ("reactor", 5),
    ("discovery", 5),
    ("observe", 5),
    ("admin", 5),
    ("store", 5),
    ("sim", 6),
];

/// The highest layer that is built without tokio, clocks, randomness, sockets and logs.
const WALL: u8 = 2;

/// Who may name a module of its own layer: an address contains an id.
const NEIGHBOURS: &[(&str, &str)] = &[("address", "id")];

/// Macros that live at the crate's root, and the module they belong to.
const ROOT_MACROS: &[(&str, &str)] = &[("protocol", "message")];

/// The transports: modules below `transport` that must not know of each other.
const TRANSPORTS: &[&str] = &["memory", "plain", "rlpx", "tcp", "quic", "mconn"];

/// Files of a node that go by tokio's time and not by the node's clock, each with the reason.
const ON_TOKIOS_TIME: &[(&str, &str)] = &[
    ("src/channel/clock.rs", "it is the clock"),
    ("src/router/store.rs", "it waits for a thread, which no simulation has"),
];

/// Files that may use `HashMap` and `HashSet`, each with the reason why its order reaches no output.
const HASHED: &[(&str, &str)] = &[];

/// More lines than this and a file is split.
const MAX_LINES: usize = 600;

/// One breach of one law.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Breach {
    file: String,
    line: usize,
    law: &'static str,
    /// What is wrong, and how to mend it.
    text: String,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.file, self.line, self.law, self.text)
    }
}

/// Reads every Rust file of `area`, relative to the crate's root. A missing area is an empty one.
fn read(area: &Path, into: &mut Vec<(String, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Ok(entries) = fs::read_dir(root.join(area)) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let path = area.join(entry.file_name());
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            if !["node_modules", "target", "corpus", "artifacts"].contains(&name.as_str()) {
                read(&path, into);
            }
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "rs") {
            let file = path.to_str().unwrap().replace('\\', "/");
            into.push((file, fs::read_to_string(root.join(&path)).unwrap()));
        }
    }
}

#[test]
fn the_source_keeps_its_laws() {
    let mut files = Vec::new();
    for area in ["src", "tests", "examples", "benches", "fuzz"] {
        read(Path::new(area), &mut files);
    }
    assert!(files.iter().any(|(file, _)| file == "src/lib.rs"), "the scanner found no source");

    let mut breaches: BTreeSet<Breach> = BTreeSet::new();
    for (file, text) in &files {
        breaches.extend(laws::check(&Source::new(file, text)));
    }
    breaches.extend(laws::stale_exceptions(&files));
    let list: String = breaches.iter().map(|breach| format!("\n  {breach}")).collect();
    assert!(
        breaches.is_empty(),
        "{} breaches of the source's laws (tests/it/tidy.rs):{list}",
        breaches.len()
    );
}
