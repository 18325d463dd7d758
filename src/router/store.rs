//! A store of peers in memory, and how the router closes a store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use crate::peer::{Loaded, Record, RecordKey, Store, StoreError};

/// How much longer than it is told a store may take to be closed, before nobody waits for it any more.
const GRACE: Duration = Duration::from_secs(1);

/// Closes a store, on a thread that may wait unless it needs none: some `within`, and twice [`GRACE`] at most.
#[allow(
    clippy::disallowed_methods,
    reason = "the last that a node does: nothing comes before or after it by chance"
)]
pub(super) async fn close(store: Box<dyn Store>, within: Duration) -> Result<(), StoreError> {
    if store.closes_at_once() {
        return store.close(within);
    }
    // A store that waits for a lock for as long as that then still has time to say so.
    let within = within + GRACE;
    match timeout(within + GRACE, tokio::task::spawn_blocking(move || store.close(within))).await {
        Ok(Ok(closed)) => closed,
        Ok(Err(_)) => Err(StoreError::new("panicked while it was closed: records may be lost")),
        Err(_) => Err(StoreError::new("is still being closed: records may be lost")),
    }
}

/// Keeps records for as long as the process lives. Clones are the same store: a node that is built again with
/// it redials the peers that it knew.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    records: Arc<Mutex<BTreeMap<RecordKey, Record>>>,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The records, by key.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RecordKey, Record>> {
        // Each change is one call on the map: a poisoned one is still whole.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        Ok(Loaded { records: self.records(), ..Loaded::default() })
    }

    fn persist(&mut self, record: Record) {
        self.lock().insert(record.key(), record);
    }

    fn forget(&mut self, key: &RecordKey) {
        self.lock().remove(key);
    }

    fn closes_at_once(&self) -> bool {
        true
    }

    fn close(self: Box<Self>, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }
}
