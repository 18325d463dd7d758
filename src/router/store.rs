//! A store of peers in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::id::NodeId;
use crate::peer::{PeerRecord, Store};

/// Keeps records for as long as the process lives. Clones are the same store: a node that is built again with
/// it redials the peers that it knew.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    records: Arc<Mutex<BTreeMap<NodeId, PeerRecord>>>,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The records, by identity.
    #[must_use]
    pub fn records(&self) -> Vec<PeerRecord> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, PeerRecord>> {
        // Each change is one call on the map: a poisoned one is still whole.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Vec<PeerRecord> {
        self.records()
    }

    fn persist(&mut self, record: PeerRecord) {
        self.lock().insert(record.id, record);
    }

    fn forget(&mut self, peer: &NodeId) {
        self.lock().remove(peer);
    }
}
