//! What a store of peers must do.

use std::time::Duration;

use super::record::{Record, RecordKey};

/// Where the records of a [`PeerManager`](super::PeerManager) outlive it.
///
/// The shell loads it once, before the manager is made, and then carries out each
/// [`Output::Persist`](super::Output::Persist) and [`Output::Forget`](super::Output::Forget) in order. The manager
/// never reads it. Only [`load`](Self::load) and [`close`](Self::close) may block: a store that writes to a disk hands the
/// other calls over to whoever may wait.
pub trait Store: Send + 'static {
    /// Every record, in any order.
    ///
    /// # Errors
    ///
    /// If nothing can be read at all, or must not be, as from a store that a newer version wrote. A bad record among
    /// good ones is no error: it is skipped, and [told](Loaded::skipped).
    fn load(&mut self) -> Result<Loaded, StoreError>;

    /// Stores a record in place of an earlier one of the same key.
    fn persist(&mut self, record: Record);

    /// Deletes a record, if there is one.
    fn forget(&mut self, key: &RecordKey);

    /// Why writing failed since this was last asked, if it did. What could not be written is tried again.
    fn take_fault(&mut self) -> Option<StoreError> {
        None
    }

    /// Whether [`close`](Self::close) waits for nothing, so that it needs no thread of its own. Default no.
    fn closes_at_once(&self) -> bool {
        false
    }

    /// Writes out what is left and lets go of the store, and takes no longer than `within`, or not much longer.
    ///
    /// The last call, for a thread that may wait unless it [needs none](Self::closes_at_once). The router makes it when its node shuts down.
    ///
    /// # Errors
    ///
    /// Why something was not written in time, and how many records may be lost with it.
    fn close(self: Box<Self>, within: Duration) -> Result<(), StoreError>;
}

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// The records that can be read.
    pub records: Vec<Record>,
    /// How many cannot.
    pub skipped: u64,
    /// What is wrong with some of those, at most [`Loaded::MAX_FAULTS`], each naming its row.
    pub faults: Vec<String>,
}

impl Loaded {
    /// Most faults told in words.
    pub const MAX_FAULTS: usize = 16;

    /// Takes note of a record that cannot be read.
    pub fn skip(&mut self, fault: impl FnOnce() -> String) {
        self.skipped += 1;
        if self.faults.len() < Self::MAX_FAULTS {
            self.faults.push(fault());
        }
    }
}

/// Why a store cannot be read or written. The text says which, and what to do where something can be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer store {what}")]
pub struct StoreError {
    what: String,
}

impl StoreError {
    /// An error that reads "the peer store `what`".
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}
