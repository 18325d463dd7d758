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

/// Of so many forgotten peers it is kept, while nothing can be written, that their rows are to be deleted. A row that
/// stays is that of a peer which the next start judges anew: not worth memory without a bound.
const MAX_FORGOTTEN: usize = 1 << 14;

/// Changes by key: a record to store, or `None` to delete it. The newest wins, so that there are never more than
/// records, and than were forgotten since the last batch.
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
    /// How many of those that wait, and of those in hand, are forgotten peers.
    forgotten: usize,
    forgotten_in_hand: usize,
    /// Transactions that failed.
    failures: u64,
    /// Whether the latest did.
    failing: bool,
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
        state.put(key, change);
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
        state.forgotten_in_hand = std::mem::take(&mut state.forgotten);
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
        // What was given since may have been dropped.
        let through = if state.pending.is_empty() { state.given } else { through };
        (state.written, state.in_hand) = (through, 0);
        (state.forgotten_in_hand, state.failing) = (0, false);
        self.tried.notify_all();
    }

    /// Takes back what could not be written, except for what is newer. Returns whether to try again.
    fn failed(&self, changes: Changes, why: StoreError) -> bool {
        let mut state = self.lock();
        (state.in_hand, state.forgotten_in_hand) = (0, 0);
        for (key, change) in changes {
            state.pending.entry(key).or_insert(change);
        }
        state.forgotten = state.pending.iter().filter(|(key, change)| forgets_peer(key, change)).count();
        state.failures += 1;
        state.failing = true;
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

impl State {
    /// Puts a change in place of an older one of its key.
    fn put(&mut self, key: RecordKey, change: Option<Record>) {
        let forgets = forgets_peer(&key, &change);
        if let Some(old) = self.pending.remove(&key) {
            self.forgotten -= usize::from(forgets_peer(&key, &old));
        }
        let full = self.forgotten + self.forgotten_in_hand >= MAX_FORGOTTEN;
        if forgets && full && (self.failing || self.ended) {
            return;
        }
        self.forgotten += usize::from(forgets);
        self.pending.insert(key, change);
    }
}

fn forgets_peer(key: &RecordKey, change: &Option<Record>) -> bool {
    matches!((key, change), (RecordKey::Peer(_), None))
}

/// Lets nobody wait for a thread that is gone, whatever ended it.
struct Ending(Arc<Desk>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        if !state.closing {
            let why = StoreError::new("can no longer be written: its thread has ended");
            (state.last_fault, state.fault) = (Some(why.clone()), Some(why));
        }
        drop(state);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeKey;

    fn forget(desk: &Desk, peers: std::ops::Range<usize>) {
        for peer in peers {
            let id = NodeKey::insecure_from_seed(peer as u64).id();
            desk.give(RecordKey::Peer(id), None, usize::MAX);
        }
    }

    #[test]
    fn peers_that_come_and_go_while_nothing_can_be_written_take_bounded_memory() {
        let desk = Desk::default();
        forget(&desk, 0..1);
        let config = SqliteConfig::default();
        desk.lock().flushing = true;
        let (changes, _) = desk.take(&config, None).unwrap();
        assert!(desk.failed(changes, StoreError::new("has no room")));
        forget(&desk, 0..MAX_FORGOTTEN + 100);
        assert_eq!(desk.left().0, MAX_FORGOTTEN);
        desk.lock().flushing = true;
        let (changes, _) = desk.take(&config, None).unwrap();
        forget(&desk, 0..MAX_FORGOTTEN + 100);
        assert_eq!(desk.left().0, MAX_FORGOTTEN, "what is being tried again counts");
        assert!(desk.failed(changes, StoreError::new("has no room")));
        desk.lock().flushing = true;
        let (_, through) = desk.take(&config, None).unwrap();
        forget(&desk, MAX_FORGOTTEN..MAX_FORGOTTEN + 1);
        desk.written(through);
        assert_eq!(desk.flush(), Ok(()), "nobody waits for what was dropped");
        forget(&desk, 0..MAX_FORGOTTEN + 100);
        assert_eq!(desk.left().0, MAX_FORGOTTEN + 100, "what can be written is kept until then");
    }

    #[test]
    fn a_thread_that_panics_is_a_fault_that_is_told() {
        let desk = Arc::new(Desk::default());
        let ending = Ending(Arc::clone(&desk));
        let thread = std::panic::AssertUnwindSafe(|| {
            let _ending = ending;
            panic!("a bug");
        });
        assert!(std::panic::catch_unwind(thread).is_err());
        let fault = desk.take_fault().map(|why| why.to_string());
        assert_eq!(fault.as_deref(), Some("the peer store can no longer be written: its thread has ended"));
    }
}
