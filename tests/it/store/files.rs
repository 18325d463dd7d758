//! Opening: who may, what is made, what is refused and how that reads, and older versions.

use std::fs;
use std::path::Path;
use std::time::Duration;

use peerage::peer::{Record, Store};
use peerage::store::{SqliteConfig, SqliteStore};
use peerage::{NodeAddress, NodeKey};
use rusqlite::Connection;

use super::drive::{held, id, lazy, record};
use super::{ask, open, place, refusal, shell};

#[test]
#[cfg(unix)]
fn a_new_file_and_those_beside_it_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let (directory, path) = place();
    let mut store = open(&path);
    store.persist(record(1, 1));
    store.flush().unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["peers.db", "peers.db-lock", "peers.db-shm", "peers.db-wal"]);
}

#[test]
fn a_file_has_one_owner_by_whatever_name_until_it_is_closed() {
    let (directory, path) = place();
    let store = open(&path);
    let why = refusal(&path);
    assert!(why.ends_with("is in use by another node; stop it, or give this one a file of its own"), "{why}");
    #[cfg(unix)]
    {
        let link = directory.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(refusal(&link), why);
    }
    store.close().unwrap();
    drop(open(&path));
    open(&path).close().unwrap();
    drop(directory);
}

#[test]
fn an_operator_reads_while_the_node_runs_and_sees_what_the_documentation_says() {
    let (_directory, path) = place();
    let mut store = open(&path);
    (0..12).for_each(|key| store.persist(record(key, 0xfe)));
    store.flush().unwrap();
    assert_eq!(ask::<u32>(&path, "PRAGMA application_id"), 0x5065_6572);
    assert_eq!(ask::<u32>(&path, "PRAGMA user_version"), 2);
    assert_eq!(ask::<String>(&path, "PRAGMA journal_mode"), "wal");
    let docs = include_str!("../../../src/store/mod.rs");
    let queries: String = docs
        .lines()
        .skip_while(|line| !line.contains("-- sqlite3 -readonly"))
        .skip(1)
        .take_while(|line| !line.contains("```"))
        .map(|line| line.trim_start_matches("//!"))
        .collect();
    let (held, banned) = queries.split_once(';').unwrap();
    assert!(ask::<String>(&path, held).len() == 8);
    assert!(ask::<String>(&path, banned).len() > 8);
}

#[test]
fn a_file_that_is_no_store_is_refused_with_what_to_do_and_not_touched() {
    let sqlite = |sql: &str| {
        let (_directory, path) = place();
        shell(&path, sql);
        fs::read(path).unwrap()
    };
    let ours = {
        let (_directory, path) = place();
        open(&path).close().unwrap();
        fs::read(path).unwrap()
    };
    let newer = sqlite("PRAGMA application_id = 0x50656572; PRAGMA user_version = 7; CREATE TABLE x (y);");
    let cases: [(Vec<u8>, &str); 8] = [
        (vec![], "is empty; remove it, and a new one is made"),
        (b"{}".repeat(500), "is no SQLite file; name another"),
        (ours[..50].to_vec(), "is no SQLite file"),
        (ours[..ours.len() - 1].to_vec(), "is truncated to"),
        (ours[..4096].to_vec(), "is truncated to 4096 of"),
        (sqlite("CREATE TABLE x (y);"), "belongs to another program (its application id is 0x00000000"),
        (newer, "is of version 7, and this program knows versions up to 2; run the newer program again"),
        (
            sqlite("PRAGMA application_id = 0x50656572; PRAGMA user_version = 2; CREATE TABLE x (y);"),
            "has no table `peers`",
        ),
    ];
    for (bytes, expected) in cases {
        let (_directory, path) = place();
        fs::write(&path, &bytes).unwrap();
        let why = refusal(&path);
        assert!(why.starts_with(&format!("the peer store `{}` {expected}", path.display())), "{why}");
        assert!(fs::read(&path).unwrap() == bytes, "touched: {why}");
    }
}

#[test]
fn a_damaged_page_is_an_error_that_says_so() {
    let (_directory, path) = place();
    let mut store = open(&path);
    (0..12).for_each(|key| store.persist(record(key, 9)));
    store.close().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let why = match SqliteStore::open(&path, lazy()) {
        Ok(mut store) => store.load().unwrap_err(),
        Err(why) => why,
    };
    assert!(why.to_string().contains("it is damaged: move it away"), "{why}");
}

#[test]
fn places_where_no_file_can_be_are_refused() {
    let (directory, path) = place();
    assert!(refusal(directory.path()).contains("is a directory"));
    assert!(refusal(&path.join("peers.db")).contains("has no directory to be in"));
    assert!(
        refusal("/".as_ref()).contains("is a directory") && refusal("".as_ref()).contains("names no file")
    );
}

#[test]
fn a_start_that_was_cut_short_leaves_nothing_in_the_way_of_the_next() {
    let (_directory, path) = place();
    fs::write(path.with_extension("db-new"), "half a file").unwrap();
    fs::write(path.with_extension("db-wal"), "the log of a file that was taken away").unwrap();
    assert!(held(&mut open(&path)).is_empty());
}

#[test]
fn a_newer_version_that_is_only_in_the_log_is_refused_and_not_touched() {
    let (_directory, path) = place();
    open(&path).close().unwrap();
    let newer = Connection::open(&path).unwrap();
    newer.execute_batch("PRAGMA user_version = 3").unwrap();
    let (_other, copy) = place();
    for end in ["db", "db-wal"] {
        fs::copy(path.with_extension(end), copy.with_extension(end)).unwrap();
    }
    let files = || ["db", "db-wal"].map(|end| fs::read(copy.with_extension(end)).unwrap());
    let before = files();
    assert!(refusal(&copy).contains("is of version 3"));
    assert!(before == files());
}

/// The tables as they were before standing and bans, and two peers in them.
fn first_version() -> String {
    let (one, two) = (id(1), id(2));
    format!(
        "PRAGMA application_id = 0x50656572;
         PRAGMA user_version = 1;
         CREATE TABLE peers (id TEXT NOT NULL PRIMARY KEY, failures INTEGER NOT NULL,
                             incompatible INTEGER NOT NULL) STRICT, WITHOUT ROWID;
         CREATE TABLE addresses (peer TEXT NOT NULL, position INTEGER NOT NULL, url TEXT NOT NULL,
                                 source TEXT NOT NULL, failures INTEGER NOT NULL,
                                 PRIMARY KEY (peer, position)) STRICT, WITHOUT ROWID;
         INSERT INTO peers VALUES ('{one}', 3, 1), ('{two}', 0, 0);
         INSERT INTO addresses VALUES ('{one}', 0, 'enode://{one}@192.0.2.1:30303', 'operator', 2),
                                      ('{one}', 1, 'enode://{one}@[2001:db8::1]:1?discport=2', 'gossip:{two}', 0);"
    )
}

#[test]
fn the_first_version_becomes_the_second_with_all_that_it_held() {
    let (_directory, path) = place();
    shell(&path, &first_version());
    let mut store = open(&path);
    let held = held(&mut store);
    assert_eq!(held.len(), 2);
    let records: Vec<_> = held.into_values().collect();
    let Some(Record::Peer(one)) = records.iter().find(|record| record.key() == self::record(1, 0).key())
    else {
        panic!("the first peer is gone: {records:?}")
    };
    assert_eq!((one.failures, one.incompatible, one.hold, one.offers.as_ref()), (3, true, None, None));
    assert_eq!(one.standing, Default::default());
    let urls: Vec<_> =
        one.addresses.iter().map(|address| (address.address.to_string(), address.failures)).collect();
    let url = |rest: &str| format!("enode://{}@{rest}", id(1));
    assert_eq!(urls, [(url("192.0.2.1:30303"), 2), (url("[2001:db8::1]:1?discport=2"), 0)]);
    // What the new version added works, and another start changes nothing.
    (0..12).for_each(|key| store.persist(record(key, 0xff)));
    store.close().unwrap();
    assert_eq!(ask::<u32>(&path, "PRAGMA user_version"), 2);
    assert_eq!(super::drive::held(&mut open(&path)).len(), 12);
}

#[test]
fn a_new_file_and_a_migrated_one_have_the_same_tables() {
    let columns = "SELECT group_concat(m.name || '.' || c.name || ' ' || c.type || c.\"notnull\" || c.pk)
                   FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c ORDER BY m.name, c.cid";
    let ((_one, new), (_two, old)) = (place(), place());
    shell(&old, &first_version());
    drop((open(&new), open(&old)));
    assert_eq!(ask::<String>(&new, columns), ask::<String>(&old, columns));
}

#[test]
fn the_tables_explain_every_column_that_is_added_to_them() {
    let (_directory, path) = place();
    drop(open(&path));
    let peers: String = ask(&path, "SELECT sql FROM sqlite_schema WHERE name = 'peers'");
    let added: Vec<&str> = peers.lines().last().unwrap().split(", hold_until").collect();
    assert_eq!((added.len(), peers.matches("/*").count()), (2, 9), "{peers}");
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let (_directory, path) = place();
    shell(&path, &format!("{} CREATE TABLE bans (x);", first_version()));
    let before = fs::read(&path).unwrap();
    let why = refusal(&path);
    assert!(why.contains("cannot be opened: table bans already exists"), "{why}");
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_by_field() {
    let (_directory, path) = place();
    let wrong = |change: fn(&mut SqliteConfig)| {
        let mut config = SqliteConfig::default();
        config.validate().unwrap();
        change(&mut config);
        SqliteStore::open(&path, config).unwrap_err().to_string()
    };
    assert!(wrong(|config| config.batch_interval = Duration::ZERO).contains("`batch_interval`"));
    assert!(wrong(|config| config.batch_interval = Duration::MAX).contains("`batch_interval`"));
    assert!(wrong(|config| config.batch_records = 0).contains("`batch_records`"));
    assert!(wrong(|config| config.busy_timeout = Duration::MAX).contains("`busy_timeout`"));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_node_that_is_built_with_a_store_writes_what_it_learns() {
    use peerage::Router;
    use peerage::transport::memory::MemoryNetwork;
    let (_directory, path) = place();
    let (network, own) = (MemoryNetwork::new(), NodeKey::insecure_from_seed(100).id());
    let mut builder = Router::builder(own);
    builder.transport(network.listen(own)).peer(NodeAddress::memory(id(1))).store(open(&path));
    let router = builder.build().unwrap();
    router.handle().shutdown();
    assert!(router.run().await.clean);
    let held = held(&mut open(&path));
    let Some(Record::Peer(peer)) = held.get(&record(1, 0).key()) else { panic!("not stored: {held:?}") };
    assert_eq!(peer.addresses[0].address, NodeAddress::memory(id(1)));
}

/// What stands in a store's directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_closed_store_is_one_file_and_its_lock_whether_or_not_anything_was_written() {
    for (read, written) in [(false, 0), (true, 0), (false, 12), (true, 12)] {
        let (directory, path) = place();
        // New, and known.
        for round in 0..2 {
            let mut store = open(&path);
            if read {
                store.load().unwrap();
            }
            (0..written).for_each(|key| store.persist(record(key, 1)));
            store.close().unwrap();
            let case = format!("round {round}, read {read}, written {written}");
            assert_eq!(names(directory.path()), ["peers.db", "peers.db-lock"], "{case}");
        }
    }
}
