//! A store of peers in an SQLite file (feature `sqlite`).
//!
//! [`SqliteStore`] keeps what the [peer manager](crate::peer::PeerManager) wants kept: peers with their addresses and
//! standing, and bans. It is given to the router's builder, which loads it once and then hands it each change:
//!
//! ```
//! # #[cfg(feature = "net")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use peerage::store::{SqliteConfig, SqliteStore};
//! use peerage::{NodeKey, Router};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("peers.db");
//! let mut builder = Router::builder(NodeKey::insecure_from_seed(1).id());
//! builder.store(SqliteStore::open(&path, SqliteConfig::default())?);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "net"))]
//! # fn main() {}
//! ```
//!
//! # What is kept, and when
//!
//! Changes are gathered by record, the newest wins, and a thread of the store writes them in batches, each in one
//! transaction: after a [second](SqliteConfig::batch_interval), or [once there are
//! many](SqliteConfig::batch_records). So nobody waits for the disk, and memory is bounded by the number of records.
//! A process that is killed loses at most the batch that was not written. A machine that loses power may lose the
//! last few; the file stays whole. A batch that cannot be written is kept and tried again, at growing
//! intervals, and [`take_fault`](crate::peer::Store::take_fault) says why. Meanwhile it is remembered of so many forgotten peers
//! alone that their rows are to go; rows that stay are those of peers that the next start judges anew.
//!
//! One node at a time owns the file, by a lock on `FILE-lock` beside it, which stays there. `FILE-wal` and `FILE-shm`
//! belong to SQLite and go when the store is closed; a copy of a running node's file needs the first of them too, or is
//! made by `sqlite3 FILE ".backup COPY"`.
//!
//! # Looking into it
//!
//! Any `sqlite3` shell from version 3.37 on opens the file, also while the node runs; what it shows is the last batch. Tables
//! are `peers`, `addresses` and `bans`; `.schema` explains their columns. Times are milliseconds since 1970.
//!
//! ```sql
//! -- sqlite3 -readonly peers.db
//! SELECT substr(id, 1, 8) AS peer, hold_why, datetime(hold_until / 1000, 'unixepoch') AS until, url
//!   FROM peers JOIN addresses ON peer = id WHERE hold_until IS NOT NULL ORDER BY hold_until;
//! SELECT target, why, detail, ifnull(datetime(until / 1000, 'unixepoch'), 'for ever') AS until FROM bans;
//! ```
//!
//! Change it only while the node is stopped: a running one never reads it again, and writes over it. A row that makes
//! no sense is skipped when the file is loaded, and told by table, key and column; it stays in the file.
//!
//! # What it does not do
//!
//! It does not encrypt, and it holds numbers only up to `i64::MAX`, and texts only as long as the policy allows: what is longer is
//! cut when it is written. Tables, triggers and views that somebody adds are left alone and not run.

mod file;
mod rows;
mod schema;
mod sqlite;
mod text;
mod writer;

pub use sqlite::{SqliteConfig, SqliteStore};
