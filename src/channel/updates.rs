//! Who comes and who goes, for reactors.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::peer::{Cursor, PeerUpdate, UpdateLog};

/// The node's log of peers, shared by the peer manager and every subscriber.
#[derive(Default)]
pub(crate) struct SharedUpdates {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    log: UpdateLog,
    closed: bool,
}

impl SharedUpdates {
    /// Records an update and wakes the subscribers. Never waits for one.
    pub(crate) fn apply(&self, update: PeerUpdate) {
        self.lock().log.apply(update);
        self.changed.notify_waiters();
    }

    /// Nothing more comes.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The log panics only on a bug of ours, and then before it changes anything.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reactor's view of who is connected.
///
/// Updates never queue: a subscriber reads the difference between what it was told last and what is so
/// now. For each peer it sees [`PeerUpdate::Up`] and [`PeerUpdate::Down`] in turn, and a peer that went and
/// came back between two reads is seen to have done so, by its connection's number. A subscriber that
/// never reads costs nothing. When `Up` is seen, sending to the peer already works, and the `Up` says all that a reactor
/// needs of the peer: its connection's number, by which it is reported, who opened it, the channels agreed with their
/// versions, and the services and capabilities that the peer announced.
pub struct PeerUpdates {
    shared: Arc<SharedUpdates>,
    cursor: Cursor,
}

impl fmt::Debug for PeerUpdates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerUpdates").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

impl PeerUpdates {
    pub(crate) fn new(shared: Arc<SharedUpdates>) -> Self {
        let cursor = shared.lock().log.subscribe();
        Self { shared, cursor }
    }

    /// Waits for the next change; `None` once the node has shut down.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: no change is lost.
    pub async fn next(&mut self) -> Option<PeerUpdate> {
        loop {
            let shared = Arc::clone(&self.shared);
            let mut changed = std::pin::pin!(shared.changed.notified());
            changed.as_mut().enable();
            if let Some(update) = self.try_next() {
                return Some(update);
            }
            if self.shared.lock().closed {
                return None;
            }
            changed.await;
        }
    }

    /// The next change, if there is one.
    pub fn try_next(&mut self) -> Option<PeerUpdate> {
        self.shared.lock().log.next(&mut self.cursor)
    }
}

impl Clone for PeerUpdates {
    /// A clone starts where this subscriber stands.
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), cursor: self.cursor.clone() }
    }
}
