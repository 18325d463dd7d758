//! The thread that writes, and what it is given.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::file::Owned;
use super::{SqliteConfig, rows};
use crate::peer::{Record, RecordKey, StoreError};

/// The wait after a failure, doubled by each further one.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Changes by key: a record to store, or `None` to delete it. The newest wins, so that there are never more than
/// records.
type Changes = BTreeMap<RecordKey, Option<Record>>;

/// What the store and its thread share.
#[derive(Debug, Default)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// The thread has something to do.
    work: Condvar,
    /// The thread has tried, or has ended.
    tried: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: Changes,
    /// How many more the thread is writing.
    in_hand: usize,
    /// How many changes were given so far, and how many of those are in the file.
    given: u64,
    written: u64,
    /// Transactions that failed.
    failures: u64,
    last_fault: Option<StoreError>,
    /// The fault that was not yet taken.
    fault: Option<StoreError>,
    flushing: bool,
    closing: bool,
    ended: bool,
}

impl Desk {
    /// Puts a change on the desk. Waits for nothing but another such call.
    pub(super) fn give(&self, key: RecordKey, change: Option<Record>, batch_records: usize) {
        let mut state = self.lock();
        let was_empty = state.pending.is_empty();
        state.pending.insert(key, change);
        state.given += 1;
        if was_empty || state.pending.len() >= batch_records {
            self.work.notify_one();
        }
    }

    /// Waits until everything given so far is in the file, or writing fails.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let mut state = self.lock();
        let (target, failures) = (state.given, state.failures);
        if state.written >= target {
            return Ok(());
        }
        state.flushing = true;
        self.work.notify_one();
        let waits = |state: &mut State| state.written < target && state.failures == failures && !state.ended;
        let state = self.tried.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        if state.written >= target {
            return Ok(());
        }
        let ended = || StoreError::new("can no longer be written: its thread has ended");
        Err(state.last_fault.clone().unwrap_or_else(ended))
    }

    pub(super) fn take_fault(&self) -> Option<StoreError> {
        self.lock().fault.take()
    }

    /// Tells the thread to write what is left and end, and waits until it has. Says whether it has `within` that time.
    pub(super) fn close(&self, within: Option<Duration>) -> bool {
        let mut state = self.lock();
        state.closing = true;
        self.work.notify_one();
        let runs = |state: &mut State| !state.ended;
        match within {
            None => self.tried.wait_while(state, runs).unwrap_or_else(PoisonError::into_inner).ended,
            Some(within) => {
                let waited = self.tried.wait_timeout_while(state, within, runs);
                waited.unwrap_or_else(PoisonError::into_inner).0.ended
            }
        }
    }

    /// How many changes are not written, and why the last attempt failed.
    pub(super) fn left(&self) -> (usize, Option<StoreError>) {
        let state = self.lock();
        (state.pending.len() + state.in_hand, state.last_fault.clone())
    }

    /// Waits until there is a reason to write, and takes everything. `None` at the end.
    fn take(&self, config: &SqliteConfig, backoff: Option<Duration>) -> Option<(Changes, u64)> {
        let mut state = self.lock();
        if let Some(backoff) = backoff {
            let calm = |state: &mut State| !state.flushing && !state.closing;
            state = self.wait(state, backoff, calm);
        }
        let idle = |state: &mut State| state.pending.is_empty() && !state.closing;
        state = self.work.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let early = |state: &mut State| {
            state.pending.len() < config.batch_records && !state.flushing && !state.closing
        };
        if backoff.is_none() {
            state = self.wait(state, config.batch_interval, early);
        }
        state.flushing = false;
        let changes = std::mem::take(&mut state.pending);
        state.in_hand = changes.len();
        (!changes.is_empty()).then_some((changes, state.given))
    }

    fn wait<'g>(
        &'g self,
        state: MutexGuard<'g, State>,
        at_most: Duration,
        condition: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'g, State> {
        self.work.wait_timeout_while(state, at_most, condition).unwrap_or_else(PoisonError::into_inner).0
    }

    fn written(&self, through: u64) {
        let mut state = self.lock();
        (state.written, state.in_hand) = (through, 0);
        self.tried.notify_all();
    }

    /// Takes back what could not be written, except for what is newer. Returns whether to try again.
    fn failed(&self, changes: Changes, why: StoreError) -> bool {
        let mut state = self.lock();
        state.in_hand = 0;
        for (key, change) in changes {
            state.pending.entry(key).or_insert(change);
        }
        state.failures += 1;
        state.last_fault = Some(why.clone());
        state.fault = Some(why);
        self.tried.notify_all();
        !state.closing
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No change of the state is left half-done by a panic: a poisoned one is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets nobody wait for a thread that is gone, whatever ended it.
struct Ending(Arc<Desk>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.tried.notify_all();
    }
}

/// Writes until the desk is closed. Every call of the store is answered meanwhile.
pub(super) fn run(desk: Arc<Desk>, mut connection: Connection, file: &Owned, config: &SqliteConfig) {
    let ending = Ending(desk);
    let desk = &ending.0;
    let mut backoff = None;
    while let Some((changes, through)) = desk.take(config, backoff) {
        match rows::write(&mut connection, &changes) {
            Ok(()) => {
                backoff = None;
                desk.written(through);
            }
            Err(why) => {
                let again = desk.failed(changes, file.failed("cannot be written", &why));
                if !again {
                    break;
                }
                backoff = Some(backoff.map_or(MIN_BACKOFF, |last: Duration| (2 * last).min(MAX_BACKOFF)));
            }
        }
    }
    drop(connection);
}
