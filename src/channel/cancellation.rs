//! What can be taken back, by name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::options::CancelId;
use crate::queue;

/// The node's names for what can be taken back, and the requests under way that have one. What is queued is known to
/// its queue.
#[derive(Default)]
pub(crate) struct Cancellations {
    last: AtomicU64,
    /// By name, and then by a number of their own.
    requests: Mutex<BTreeMap<(CancelId, u64), CancellationToken>>,
}

/// A request that can be cancelled, as long as this lives.
pub(super) struct Cancellable<'a> {
    cancellations: &'a Cancellations,
    key: (CancelId, u64),
    token: CancellationToken,
}

impl Cancellations {
    /// A name that no other has, as users hold it.
    pub(crate) fn name(&self) -> CancelId {
        CancelId(self.mint())
    }

    /// A name that no other has.
    pub(super) fn mint(&self) -> queue::CancelId {
        queue::CancelId(self.last.fetch_add(1, Relaxed))
    }

    pub(super) fn watch(&self, id: CancelId) -> Cancellable<'_> {
        let key = (id, self.last.fetch_add(1, Relaxed));
        let token = CancellationToken::new();
        self.lock().insert(key, token.clone());
        Cancellable { cancellations: self, key, token }
    }

    /// Cancels the requests of this name that are under way, and says how many there were. Later ones of the same name
    /// are not concerned.
    pub(super) fn cancel(&self, id: CancelId) -> usize {
        let mut requests = self.lock();
        let of_that_name = requests.extract_if((id, 0)..=(id, u64::MAX), |_, _| true);
        of_that_name.map(|(_, token)| token.cancel()).count()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(CancelId, u64), CancellationToken>> {
        // Every change is one step of a map: a poisoned one is still whole.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cancellable<'_> {
    /// Completes when the request is cancelled.
    pub(super) async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}

impl Drop for Cancellable<'_> {
    fn drop(&mut self) {
        self.cancellations.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cancels_what_is_under_way_and_nothing_later() {
        let cancellations = Cancellations::default();
        let (id, other) = (CancelId(cancellations.mint()), CancelId(cancellations.mint()));
        let (first, second, else_) =
            (cancellations.watch(id), cancellations.watch(id), cancellations.watch(other));
        assert_eq!(cancellations.cancel(id), 2);
        assert!(first.token.is_cancelled() && second.token.is_cancelled() && !else_.token.is_cancelled());
        let later = cancellations.watch(id);
        drop((first, second));
        assert!(!later.token.is_cancelled());
        assert_eq!(cancellations.cancel(id), 1);
        drop((later, else_));
        assert_eq!(cancellations.cancel(other), 0);
        assert!(cancellations.lock().is_empty(), "nothing is left of requests that are over");
    }
}
