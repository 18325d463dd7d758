//! Any bytes as a store's file, or as operations on a store: what the fuzzer mutates, and its corpus replays.
//!
//! The first byte chooses: the rest is the file itself, or bytes to change in a sound file, or operations, which are carried
//! out on a store and on a map. A crash is a copy of the file and its log, taken while the store has changes that
//! it has not written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use peerage::NodeKey;
use peerage::event::Misbehaviour;
use peerage::id::NodeId;
use peerage::peer::{
    AddressRecord, BanReason, BanRecord, BanTarget, HoldReason, HoldRecord, Loaded, PeerRecord, PointsRecord,
    Record, RecordKey, Source, StandingRecord, Store, WallTime, Want,
};
use peerage::store::{SqliteConfig, SqliteStore};
use tempfile::TempDir;

/// Operations beyond this many are left out, so that one run stays short.
const MAX_OPS: usize = 48;

/// Different records.
const KEYS: u8 = 12;

type Model = BTreeMap<RecordKey, Record>;

/// Drives a store by `bytes`.
///
/// # Panics
///
/// Only for a bug of the store.
pub(crate) fn drive(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    match choice % 4 {
        0 => open_whatever(rest),
        1 => open_whatever(&changed(rest)),
        _ => Machine::new().run(&mut Input(rest)),
    }
}

/// A configuration by which nothing is written before it is asked for.
pub(crate) fn lazy() -> SqliteConfig {
    let hour = Duration::from_secs(3600);
    SqliteConfig { batch_interval: hour, batch_records: usize::MAX, busy_timeout: Duration::ZERO }
}

/// A directory of our own, in memory where the system has such a place.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// What a store holds, by key.
pub(crate) fn held(store: &mut SqliteStore) -> Model {
    let loaded = store.load().unwrap();
    assert_eq!((loaded.skipped, &loaded.faults), (0, &Vec::new()));
    by_key(loaded)
}

fn by_key(loaded: Loaded) -> Model {
    let count = loaded.records.len();
    let model: Model = loaded.records.into_iter().map(|record| (record.key(), record)).collect();
    assert_eq!(model.len(), count, "two records of one key");
    model
}

/// A file that anybody may have written: it is opened or refused, read or refused, written or refused.
fn open_whatever(file: &[u8]) {
    let directory = scratch();
    let path = directory.path().join("peers.db");
    std::fs::write(&path, file).unwrap();
    let Ok(mut store) = SqliteStore::open(&path, lazy()) else {
        return assert_eq!(std::fs::read(&path).unwrap().len(), file.len(), "refused and yet changed");
    };
    if let Ok(loaded) = store.load() {
        assert!(loaded.skipped >= loaded.faults.len() as u64);
        by_key(loaded);
    }
    (0..KEYS).for_each(|key| store.persist(record(key, 7)));
    store.forget(&record(1, 0).key());
    let flushed = store.flush();
    if let Ok(loaded) = store.load() {
        assert!(flushed.is_ok());
        by_key(loaded);
    }
    let closed = store.close();
    assert!(closed.is_ok() || flushed.is_err());
}

/// A sound file, cut and with bytes changed. The first two bytes say where to cut it, if not at zero; each three that
/// follow name a place and a value.
fn changed(bytes: &[u8]) -> Vec<u8> {
    static SOUND: OnceLock<Vec<u8>> = OnceLock::new();
    let mut file = SOUND.get_or_init(sound).clone();
    let mut input = Input(bytes);
    let cut = usize::from(input.number()) % file.len();
    if cut > 0 {
        file.truncate(cut);
    }
    while !input.0.is_empty() {
        let at = usize::from(input.number()) % file.len();
        file[at] = input.byte();
    }
    file
}

fn sound() -> Vec<u8> {
    let directory = scratch();
    let path = directory.path().join("peers.db");
    let mut store = SqliteStore::open(&path, lazy()).unwrap();
    (0..KEYS).for_each(|key| store.persist(record(key, key.wrapping_mul(23))));
    store.close().unwrap();
    std::fs::read(path).unwrap()
}

/// A record of one of [`KEYS`] keys, with whatever `variant` gives it.
pub(crate) fn record(key: u8, variant: u8) -> Record {
    let (key, number) = (key % KEYS, u32::from(variant));
    let time = |n: u32| WallTime::from_unix_ms(u64::from(n) << 33);
    let target = match key {
        0..8 => return Record::Peer(peer(id(key), variant)),
        8 | 9 => BanTarget::Peer(id(key - 8)),
        10 => BanTarget::Prefix("192.0.2.0/24".parse().unwrap()),
        _ => BanTarget::Prefix("2001:db8::/32".parse().unwrap()),
    };
    let why = match variant % 3 {
        0 => BanReason::Misbehaved(Misbehaviour::ALL[usize::from(variant) % Misbehaviour::ALL.len()]),
        _ => BanReason::Operator("'; drop table peers; -- \u{e9}\n".repeat(usize::from(variant) % 6).into()),
    };
    Record::Ban(BanRecord { target, until: variant.is_multiple_of(2).then(|| time(number)), why })
}

fn peer(id: NodeId, variant: u8) -> PeerRecord {
    let (set, number) = (|bit: u8| variant >> bit & 1 == 1, u32::from(variant));
    let time = |n: u32| WallTime::from_unix_ms(u64::from(n) << 33);
    let points = |points| PointsRecord { points, since: time(points) };
    let sources = [Source::Operator, Source::Discovery, Source::Gossip { from: self::id(7) }];
    let address = |port: u8| AddressRecord {
        address: format!("enode://{id}@192.0.2.{variant}:{}", 1 + u16::from(port)).parse().unwrap(),
        source: sources[usize::from(port) % 3],
        failures: number,
    };
    PeerRecord {
        id,
        addresses: (0..variant % 4).map(address).collect(),
        failures: number,
        incompatible: set(2),
        hold: set(3).then(|| HoldRecord { until: time(number), why: HoldReason::Backoff }),
        standing: StandingRecord {
            bad: set(4).then(|| points(number)),
            good: set(5).then(|| points(number)),
            uptime: Duration::from_millis(number.into()),
            latency: set(6).then(|| Duration::from_micros(number.into())),
        },
        offers: set(7).then(|| vec![Want::Service(format!("a {variant}")); usize::from(variant % 3)]),
    }
}

/// The identity of that number.
pub(crate) fn id(number: u8) -> NodeId {
    static IDS: OnceLock<Vec<NodeId>> = OnceLock::new();
    IDS.get_or_init(|| (0..8).map(|seed| NodeKey::insecure_from_seed(seed).id()).collect())
        [usize::from(number)]
}

/// A store, and the map that it must equal.
struct Machine {
    directory: TempDir,
    store: Option<SqliteStore>,
    given: Model,
    /// What the file held after each flush since it was last closed in order.
    flushed: Vec<Model>,
}

impl Machine {
    fn new() -> Self {
        let directory = scratch();
        let store = SqliteStore::open(directory.path().join("peers.db"), lazy()).unwrap();
        Self { directory, store: Some(store), given: Model::new(), flushed: vec![Model::new()] }
    }

    fn store(&mut self) -> &mut SqliteStore {
        self.store.as_mut().unwrap()
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("peers.db")
    }

    fn run(mut self, input: &mut Input<'_>) {
        for _ in 0..MAX_OPS {
            if input.0.is_empty() {
                break;
            }
            self.step(input);
        }
        self.reopen();
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() {
            0..120 => {
                let record = record(input.byte(), input.byte());
                self.given.insert(record.key(), record.clone());
                self.store().persist(record);
            }
            120..160 => {
                let key = record(input.byte(), 0).key();
                self.given.remove(&key);
                self.store().forget(&key);
            }
            160..190 => {
                self.store().flush().unwrap();
                self.flushed.push(self.given.clone());
            }
            190..210 => self.crash(None),
            210..230 => self.crash(Some(input.number())),
            230..245 => self.reopen(),
            245.. => {
                let (held, given) = (held(self.store()), self.given.clone());
                assert_eq!(held, given);
                self.flushed.push(given);
            }
        }
    }

    /// Closes the store in order, and opens it again.
    fn reopen(&mut self) {
        self.store.take().unwrap().close().unwrap();
        let mut store = SqliteStore::open(self.path(), lazy()).unwrap();
        assert_eq!(held(&mut store), self.given);
        (self.store, self.flushed) = (Some(store), vec![self.given.clone()]);
    }

    /// Goes on with what a process that dies now would leave behind; with a log that ends early, one whose machine
    /// loses power.
    fn crash(&mut self, log_ends: Option<u16>) {
        let directory = scratch();
        let copy = directory.path().join("peers.db");
        std::fs::copy(self.path(), &copy).unwrap();
        let mut log = std::fs::read(log_of(&self.path())).unwrap_or_default();
        if let Some(end) = log_ends {
            log.truncate(usize::from(end) * 4 % (log.len() + 1));
        }
        std::fs::write(log_of(&copy), log).unwrap();
        let mut store = SqliteStore::open(&copy, lazy()).unwrap();
        let held = held(&mut store);
        let at = self.flushed.iter().rposition(|state| *state == held);
        let at = at.expect("a batch was written in part");
        assert!(log_ends.is_some() || at + 1 == self.flushed.len(), "a batch is lost");
        // What the log still holds may be lost later, unless the store is closed first.
        self.flushed.truncate(at + 1);
        self.store = Some(store);
        self.directory = directory;
        self.given = held;
    }
}

fn log_of(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
}

/// Every key that [`record`] makes.
#[allow(dead_code, reason = "the fuzz target takes this file by its path, and needs less of it")]
pub(crate) fn keys() -> BTreeSet<RecordKey> {
    (0..KEYS).map(|key| record(key, 0).key()).collect()
}
