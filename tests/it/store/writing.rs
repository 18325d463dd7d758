//! Writing: what is asked for is in the file, whatever gets in the way.

use std::collections::BTreeMap;
use std::time::Duration;

use peerage::peer::{Record, RecordKey, Store};
use peerage::store::{SqliteConfig, SqliteStore};
use rusqlite::Connection;

use super::drive::{held, lazy, record};
use super::{ask, open, place};

const COUNT: &str = "SELECT (SELECT count(*) FROM peers) * 10000 + (SELECT count(*) FROM addresses) * 100
                            + (SELECT count(*) FROM bans)";

fn model(records: impl IntoIterator<Item = Record>) -> BTreeMap<RecordKey, Record> {
    records.into_iter().map(|record| (record.key(), record)).collect()
}

#[test]
fn the_newest_of_each_record_is_kept_and_a_forgotten_one_leaves_nothing() {
    let (_directory, path) = place();
    let mut store = open(&path);
    for variant in [3, 2, 1] {
        (0..12).for_each(|key| store.persist(record(key, variant)));
        store.flush().unwrap();
    }
    assert_eq!(ask::<u32>(&path, COUNT), 8_08_04);
    (1..7).for_each(|key| store.forget(&record(key, 0).key()));
    (8..11).for_each(|key| store.forget(&record(key, 0).key()));
    store.persist(record(2, 3));
    assert_eq!(held(&mut store), model([record(0, 1), record(2, 3), record(7, 1), record(11, 1)]));
    assert_eq!(ask::<u32>(&path, COUNT), 3_05_01);
}

#[test]
fn nothing_is_written_before_its_time_and_everything_when_the_store_is_dropped() {
    let (_directory, path) = place();
    let mut store = open(&path);
    store.persist(record(0, 1));
    assert_eq!(ask::<u32>(&path, COUNT), 0);
    drop(store);
    assert_eq!(ask::<u32>(&path, COUNT), 1_01_00);
}

/// Waits until the file holds that many peers and bans, without a clock: the store has nothing else to wait for.
fn wait_for(path: &std::path::Path, count: u32) {
    let operator = Connection::open(path).unwrap();
    operator.busy_timeout(Duration::from_secs(5)).unwrap();
    while operator.query_row(COUNT, [], |row| row.get::<_, u32>(0)).unwrap() != count {
        std::thread::yield_now();
    }
}

#[test]
fn a_full_batch_is_written_without_being_asked_for() {
    let (_directory, path) = place();
    let mut store = SqliteStore::open(&path, SqliteConfig { batch_records: 3, ..lazy() }).unwrap();
    [0, 0, 1, 1].into_iter().for_each(|key| store.persist(record(key, 0)));
    assert_eq!(ask::<u32>(&path, COUNT), 0, "two records are no batch of three");
    store.persist(record(8, 0));
    wait_for(&path, 2_00_01);
}

#[test]
fn a_batch_is_written_when_its_interval_is_over() {
    let (_directory, path) = place();
    let config = SqliteConfig { batch_interval: Duration::from_millis(1), ..lazy() };
    let mut store = SqliteStore::open(&path, config).unwrap();
    store.persist(record(0, 0));
    wait_for(&path, 1_00_00);
    store.persist(record(1, 0));
    wait_for(&path, 2_00_00);
}

#[test]
fn what_cannot_be_written_is_told_kept_and_written_when_it_can() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let operator = Connection::open(&path).unwrap();
    operator.execute_batch("BEGIN IMMEDIATE").unwrap();
    (0..3).for_each(|key| store.persist(record(key, 1)));
    let why = store.flush().unwrap_err();
    let expected = "cannot be written: database is locked; another program has locked it";
    assert!(why.to_string().contains(expected), "{why}");
    assert_eq!((store.take_fault(), store.take_fault()), (Some(why), None));
    // What is newer than the failed batch wins over it.
    store.persist(record(1, 2));
    store.forget(&record(2, 0).key());
    assert!(store.load().is_err(), "the file is behind");
    operator.execute_batch("COMMIT").unwrap();
    store.flush().unwrap();
    assert_eq!(held(&mut store), model([record(0, 1), record(1, 2)]));
}

#[test]
fn closing_says_what_is_lost() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let operator = Connection::open(&path).unwrap();
    operator.execute_batch("BEGIN IMMEDIATE").unwrap();
    (0..3).for_each(|key| store.persist(record(key, 1)));
    let why = store.close().unwrap_err().to_string();
    assert!(why.starts_with("the peer store was closed without 3 changed records: "), "{why}");
    assert!(why.ends_with("let that end its transaction"), "{why}");
}

#[test]
fn closing_within_a_time_ends_while_another_program_holds_the_file_and_what_is_given_is_written_after_it() {
    let (_directory, path) = place();
    let config = SqliteConfig { busy_timeout: Duration::from_secs(60), ..lazy() };
    let mut store: Box<dyn Store> = Box::new(SqliteStore::open(&path, config).unwrap());
    let operator = Connection::open(&path).unwrap();
    operator.execute_batch("BEGIN IMMEDIATE").unwrap();
    (0..3).for_each(|key| store.persist(record(key, 1)));
    let why = store.close(Duration::from_millis(1)).unwrap_err().to_string();
    let path_shown = path.display();
    assert_eq!(
        why,
        format!(
            "the peer store was closed without 3 changed records: the peer store `{path_shown}` was not written in time"
        )
    );
    // Nothing was given up: its thread goes on.
    operator.execute_batch("COMMIT").unwrap();
    wait_for(&path, 3_03_00);
}

#[test]
fn closing_within_a_time_writes_what_is_left_and_lets_the_file_go() {
    let (_directory, path) = place();
    let mut store: Box<dyn Store> = Box::new(open(&path));
    store.persist(record(0, 1));
    store.close(Duration::from_secs(60)).unwrap();
    assert_eq!(held(&mut open(&path)), model([record(0, 1)]));
}

#[test]
fn flushing_a_store_with_nothing_to_write_ends() {
    let (_directory, path) = place();
    let store = open(&path);
    store.flush().unwrap();
    store.flush().unwrap();
    assert!(format!("{store:?}").contains("peers.db"));
    store.close().unwrap();
}
