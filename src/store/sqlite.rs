//! The store, as its owner sees it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::file::Owned;
use super::rows;
use super::writer::{self, Desk};
use crate::peer::{Loaded, Record, RecordKey, Store, StoreError};

/// Longest interval between batches: more would be lost than an operator expects.
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// Longest wait for a lock.
const MAX_BUSY: Duration = Duration::from_secs(60);

/// How an [`SqliteStore`] writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteConfig {
    /// How long a change may wait for others before all are written as one batch. Default 1 s: a crash then costs a second
    /// of what a node learns anyway, and a peer that changes often is written once a second. Above zero, at most 1 h.
    pub batch_interval: Duration,
    /// So many changed records are written without waiting. Default 1024: about half a megabyte, which takes some ten
    /// milliseconds. At least 1.
    pub batch_records: usize,
    /// How long a batch waits for another program that has locked the file, such as an operator's shell, before it is
    /// a fault and put off. Default 5 s; at most 1 min. Closing may take as long, in a node that shuts down at most a second
    /// longer than its `drain_timeout`.
    pub busy_timeout: Duration,
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self {
            batch_interval: Duration::from_secs(1),
            batch_records: 1024,
            busy_timeout: Duration::from_secs(5),
        }
    }
}

impl SqliteConfig {
    /// Checks each field.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] that names the first field that is out of bounds.
    pub fn validate(&self) -> Result<(), StoreError> {
        let wrong = |what: &str| Err(StoreError::new(format!("has a bad configuration: {what}")));
        if self.batch_interval.is_zero() || self.batch_interval > MAX_INTERVAL {
            return wrong("`batch_interval` must be above zero and at most one hour");
        }
        if self.batch_records == 0 {
            return wrong("`batch_records` must be at least 1");
        }
        if self.busy_timeout > MAX_BUSY {
            return wrong("`busy_timeout` must be at most one minute");
        }
        Ok(())
    }
}

/// Peers and bans in an SQLite file; see the [module](super).
pub struct SqliteStore {
    config: SqliteConfig,
    file: Arc<Owned>,
    desk: Arc<Desk>,
    /// `None` once it is joined.
    thread: Option<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the store `path`, and makes it if there is no file: private to the user, where the system knows such.
    ///
    /// An older version is brought up to the present one. Blocks while it does.
    ///
    /// # Errors
    ///
    /// If the configuration makes no sense; if the file is in use by another node, empty, truncated, damaged, no store of
    /// peers, or of a newer version; or if the system refuses. The file is then as it was.
    pub fn open(path: impl AsRef<Path>, config: SqliteConfig) -> Result<Self, StoreError> {
        config.validate()?;
        let file = Arc::new(Owned::take(path.as_ref())?);
        let connection = file.open(config.busy_timeout)?;
        let desk = Arc::new(Desk::default());
        let run = {
            let (desk, file, config) = (Arc::clone(&desk), Arc::clone(&file), config.clone());
            move || writer::run(desk, connection, &file, &config)
        };
        let thread = std::thread::Builder::new().name("peer-store".to_owned()).spawn(run);
        let thread = thread.map_err(|why| StoreError::new(format!("has no thread to write with: {why}")))?;
        Ok(Self { config, file, desk, thread: Some(thread) })
    }

    /// Waits until everything given so far is in the file.
    ///
    /// # Errors
    ///
    /// Why it could not be written. It is kept, and tried again.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.desk.flush()
    }

    /// Writes what is left, and lets the file go. Dropping the store does the same, and does not say what went wrong.
    ///
    /// Waits for as long as that takes: for the [`busy_timeout`](SqliteConfig::busy_timeout), and for the disk.
    ///
    /// # Errors
    ///
    /// Why something could not be written, and how many records are lost with it.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.end(None)
    }

    fn end(&mut self, within: Option<Duration>) -> Result<(), StoreError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let ended = self.desk.close(within);
        let without = |records, why| {
            Err(StoreError::new(format!("was closed without {records} changed records: {why}")))
        };
        if !ended {
            // Whatever holds it up, the thread goes on alone, and may succeed yet.
            return without(self.desk.left().0, self.file.late());
        }
        let joined = thread.join();
        if let (records @ 1.., why) = self.desk.left() {
            let why = why.filter(|_| joined.is_ok()).unwrap_or_else(|| StoreError::new("lost its thread"));
            return without(records, why);
        }
        joined.map_err(|_| StoreError::new("lost what its thread was writing when it failed"))
    }
}

impl Store for SqliteStore {
    /// Reads the file, with all that was given so far. Blocks for some two seconds for each million peers.
    fn load(&mut self) -> Result<Loaded, StoreError> {
        self.flush()?;
        let connection = self.file.open_to_read(self.config.busy_timeout)?;
        rows::load(&connection).map_err(|why| self.file.failed("cannot be read", &why))
    }

    fn persist(&mut self, record: Record) {
        self.desk.give(record.key(), Some(record), self.config.batch_records);
    }

    fn forget(&mut self, key: &RecordKey) {
        self.desk.give(*key, None, self.config.batch_records);
    }

    fn take_fault(&mut self) -> Option<StoreError> {
        self.desk.take_fault()
    }

    /// Waits until all is written, writing has failed, or the time is over. What is still being written then goes on, and
    /// the file has its owner until it ends.
    fn close(mut self: Box<Self>, within: Duration) -> Result<(), StoreError> {
        self.end(Some(within))
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Nobody is left to be told; whoever wants to know calls `close`.
        let _ = self.end(None);
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, file, desk: _, thread: _ } = self;
        let path = file.path();
        f.debug_struct("SqliteStore").field("path", &path).field("config", config).finish_non_exhaustive()
    }
}
