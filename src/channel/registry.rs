//! Who is connected: what senders look up.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;

use super::link::Link;
use crate::id::{ConnId, NodeId};

/// The live links. Look-ups go to a map; a broadcast walks an immutable snapshot in the order of identities,
/// so that it is the same on every run and waits for nobody.
#[derive(Default)]
pub(crate) struct Registry {
    by_peer: DashMap<NodeId, Arc<Link>>,
    snapshot: Mutex<Arc<Vec<Arc<Link>>>>,
    sealed: AtomicBool,
}

impl Registry {
    /// Adds a link, in place of an earlier one to the same peer; says whether the registry still takes any.
    pub(crate) fn insert(&self, link: Arc<Link>) -> bool {
        let mut snapshot = self.lock();
        if self.is_sealed() {
            return false;
        }
        self.by_peer.insert(link.peer(), Arc::clone(&link));
        let mut links: Vec<_> = snapshot.iter().filter(|old| old.peer() != link.peer()).cloned().collect();
        let at = links.partition_point(|old| old.peer() < link.peer());
        links.insert(at, link);
        *snapshot = Arc::new(links);
        true
    }

    /// Removes the link of this connection, and says whether it was there; one that has taken its place stays.
    pub(crate) fn remove(&self, peer: NodeId, conn: ConnId) -> bool {
        let mut snapshot = self.lock();
        let removed = self.by_peer.remove_if(&peer, |_, link| link.conn == conn).is_some();
        if removed {
            *snapshot = Arc::new(snapshot.iter().filter(|link| link.conn != conn).cloned().collect());
        }
        removed
    }

    pub(crate) fn get(&self, peer: &NodeId) -> Option<Arc<Link>> {
        self.by_peer.get(peer).map(|link| Arc::clone(&link))
    }

    /// All links, by identity.
    pub(crate) fn all(&self) -> Arc<Vec<Arc<Link>>> {
        Arc::clone(&self.lock())
    }

    /// Refuses every send and every new link from now on; returns the links that there are.
    pub(crate) fn seal(&self) -> Arc<Vec<Arc<Link>>> {
        let snapshot = self.lock();
        self.sealed.store(true, SeqCst);
        Arc::clone(&snapshot)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Vec<Arc<Link>>>> {
        // A snapshot is replaced in one step: a poisoned one is still whole.
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
