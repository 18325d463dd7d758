//! `kill -9` at any moment.
//!
//! The test runs itself again as a child that writes numbered batches and says which it has flushed. It is killed on one of
//! those lines, by when it is at work on a later batch, of which there are at most [`AHEAD`].

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use peerage::peer::{Record, RecordKey, Store};
use peerage::store::{SqliteConfig, SqliteStore};

use super::drive::{held, keys, lazy, record};
use super::place;

const PATH: &str = "PEERAGE_TEST_STORE";
const BATCH_RECORDS: &str = "PEERAGE_TEST_BATCH_RECORDS";

/// How many batches the child may be ahead of the lines that were read.
const AHEAD: u32 = 32;

/// Changes of each batch. They fall on few keys, so that batches replace and delete what earlier ones wrote.
fn batch(number: u32) -> impl Iterator<Item = (RecordKey, Option<Record>)> {
    (0..40_u32).map(move |nth| {
        let draw = (number * 40 + nth).wrapping_mul(0x9e37_79b1).to_be_bytes();
        let record = record(draw[0], draw[1]);
        (record.key(), (!draw[2].is_multiple_of(4)).then_some(record))
    })
}

fn apply(model: &mut BTreeMap<RecordKey, Record>, (key, change): (RecordKey, Option<Record>)) {
    match change {
        Some(record) => model.insert(key, record),
        None => model.remove(&key),
    };
}

#[test]
#[ignore = "the child of the tests below"]
fn child() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let batch_records = std::env::var(BATCH_RECORDS).unwrap().parse().unwrap();
    let config = SqliteConfig { batch_records, ..lazy() };
    let mut store = SqliteStore::open(PathBuf::from(path), config).unwrap();
    for number in 0.. {
        if number >= AHEAD {
            std::io::stdin().read_exact(&mut [0]).unwrap();
        }
        for (key, change) in batch(number) {
            match change {
                Some(record) => store.persist(record),
                None => store.forget(&key),
            }
        }
        store.flush().unwrap();
        println!("\nflushed {number}");
    }
}

/// Runs the child on `path`, and kills it on the line that says `last`.
fn kill_after(last: u32, path: &Path, batch_records: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::kill::child", "--ignored", "--nocapture"])
        .env(PATH, path)
        .env(BATCH_RECORDS, batch_records.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut read = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let wanted = format!("flushed {last}");
    let found = lines.any(|line| {
        let line = line.unwrap();
        if line.starts_with("flushed ") {
            read.write_all(&[0]).unwrap();
        }
        line == wanted
    });
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(found, "the child ended by itself: {status}");
}

#[test]
fn a_killed_process_leaves_whole_batches_and_loses_none_that_was_flushed() {
    for last in [0, 1, 2, 7, 19, 40, 83, 150] {
        let (_directory, path) = place();
        kill_after(last, &path, usize::MAX);
        let held = held(&mut SqliteStore::open(&path, lazy()).unwrap());
        let mut model = BTreeMap::new();
        (0..=last).flat_map(batch).for_each(|change| apply(&mut model, change));
        // It went on until the signal came.
        let mut later = last + 1..=last + AHEAD + 1;
        while held != model {
            let number = later.next().unwrap_or_else(|| panic!("not as after any batch from {last} on"));
            batch(number).for_each(|change| apply(&mut model, change));
        }
    }
}

#[test]
fn a_process_killed_between_its_own_batches_leaves_nothing_older_than_it_flushed_and_nothing_invented() {
    for last in [3, 17, 60] {
        let (_directory, path) = place();
        kill_after(last, &path, 3);
        let held = held(&mut SqliteStore::open(&path, lazy()).unwrap());
        let mut flushed = BTreeMap::new();
        (0..=last).flat_map(batch).for_each(|change| apply(&mut flushed, change));
        let mut allowed: BTreeMap<_, Vec<_>> =
            keys().into_iter().map(|key| (key, vec![flushed.get(&key).cloned()])).collect();
        for (key, change) in (last + 1..=last + AHEAD + 1).flat_map(batch) {
            allowed.get_mut(&key).unwrap().push(change);
        }
        for (key, allowed) in allowed {
            assert!(
                allowed.contains(&held.get(&key).cloned()),
                "{key:?} is as it never was since batch {last}"
            );
        }
    }
}
