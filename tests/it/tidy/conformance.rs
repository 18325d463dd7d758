//! Every test that the list of behaviours names is there, and every behaviour names one.

use std::collections::BTreeSet;
use std::path::Path;

const LIST: &str = include_str!("../../../docs/conformance-peer-manager.md");

/// The names in backquotes in the last column of each row, with the first column.
fn rows(list: &'static str) -> Vec<(&'static str, Vec<&'static str>)> {
    let rows = list.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    let cells = rows.filter_map(|row| row.trim_matches('|').rsplit_once('|'));
    let named = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect();
    let rows = cells.map(|(first, last)| (first.split('|').next().unwrap_or(first).trim(), named(last)));
    rows.filter(|(first, _)| *first != "case" && *first != "behaviour").collect()
}

/// The functions that are tests, in one file; also those that a suite runs over every wire.
fn tests_of(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim_start);
    let functions = lines.scan(false, |marked, line| {
        let marks = line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let of_suite = line.contains("<W: Wire>(");
        let name = line.trim_start_matches("async ").strip_prefix("fn ").filter(|_| *marked || of_suite);
        *marked = marks || (*marked && name.is_none());
        Some(name.and_then(|name| name.split(['(', '<']).next()))
    });
    functions.flatten()
}

#[test]
fn every_behaviour_of_the_peer_manager_names_tests_that_exist() {
    let mut files = Vec::new();
    for area in ["src", "tests"] {
        super::read(Path::new(area), &mut files);
    }
    let tests: BTreeSet<&str> = files.iter().flat_map(|(_, text)| tests_of(text)).collect();
    let rows = rows(LIST);
    for (case, named) in &rows {
        assert!(!named.is_empty(), "{case} names no test");
        let missing: Vec<_> = named.iter().filter(|name| !tests.contains(*name)).collect();
        assert!(missing.is_empty(), "{case} names tests that do not exist: {missing:?}");
    }
    let numbers: BTreeSet<u32> = rows.iter().filter_map(|(case, _)| case.parse().ok()).collect();
    assert!(numbers.into_iter().eq(1..=46), "one row for each case");
}

#[test]
fn rows_and_tests_are_found() {
    let list = "| case | tests |\n|---|---|\n| 1 | `a`, `b` |\n| two | none |\n";
    assert_eq!(rows(list), [("1", vec!["a", "b"]), ("two", vec![])]);
    let text = "#[test]\nfn a() {}\nfn b() {}\n    #[test]\n    #[ignore]\n    fn c(x: u8) {}\n#[tokio::test]\nasync fn d() {}";
    assert!(tests_of(text).eq(["a", "c", "d"]));
}
