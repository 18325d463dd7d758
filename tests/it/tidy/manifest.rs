//! Every dependency has its line in the record that gives its reason, and no line is left over.

use std::collections::BTreeSet;

const MANIFEST: &str = include_str!("../../../Cargo.toml");
const RECORD: &str = include_str!("../../../docs/adr/0001-dependencies.md");

/// The crates that the dependency tables of a manifest name.
fn declared(manifest: &str) -> BTreeSet<&str> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            inside = table.trim_end().ends_with("dependencies]");
            let alone = table.trim_end().trim_end_matches(']').split_once("dependencies.");
            names.extend(alone.map(|(_, name)| name));
        } else if inside && !line.starts_with(['#', ' ']) {
            names.extend(line.split_once('=').map(|(name, _)| name.trim()));
        }
    }
    names
}

/// The crates that have a row in the record.
fn explained(record: &str) -> BTreeSet<&str> {
    let rows = record.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`')).map(|(name, _)| name).collect()
}

#[test]
fn every_dependency_has_its_reason() {
    let (declared, explained) = (declared(MANIFEST), explained(RECORD));
    let bare: Vec<_> = declared.difference(&explained).collect();
    assert!(bare.is_empty(), "give each of these its row in docs/adr/0001-dependencies.md: {bare:?}");
    let left: Vec<_> = explained.difference(&declared).collect();
    assert!(left.is_empty(), "Cargo.toml no longer names these; remove them from the record: {left:?}");
}

#[test]
fn all_forms_of_a_dependency_are_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# c = 1\na = \"1\"\nb = { version = \"1\", features = [\n  \
                    \"d\" ] }\n[dev-dependencies.e]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\nf = \"1\"\n";
    assert_eq!(declared(manifest), BTreeSet::from(["a", "b", "e", "f"]));
    assert_eq!(explained("| crate | x |\n|---|---|\n| `a` | y |\nsome `b`"), BTreeSet::from(["a"]));
}
