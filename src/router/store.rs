//! A store of peers in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::peer::{Loaded, Record, RecordKey, Store, StoreError};

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
}
