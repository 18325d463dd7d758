//! Who is up: a versioned snapshot, and a cursor for each subscriber.
//!
//! The shell applies each [`PeerUpdate`] that the manager puts out, and wakes whoever waits. A subscriber holds a
//! [`Cursor`] and asks for the next update when it likes. Nothing is queued for it: the log keeps one entry for
//! each peer, its latest, ordered by version, and the cursor knows which peers its subscriber believes to be up. So
//! a subscriber that sleeps costs nothing, and misses nothing but flaps that are over; of those it still sees that
//! they happened, since an epoch changed.
//!
//! For each subscriber and peer, `Up` and `Down` alternate, and a `Down` names the epoch of the `Up` before it.
//!
//! Entries of peers that are down are bounded ([`UpdateLog::MAX_DOWN`]); a cursor that has not seen one before it
//! is dropped compares what it believes with the snapshot, once. Nothing here wakes anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::answer::PeerUpdate;
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::id::{ConnId, NodeId};

/// The latest update of each peer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UpdateLog {
    version: u64,
    peers: BTreeMap<NodeId, Entry>,
    by_version: BTreeMap<u64, NodeId>,
    /// Versions of the entries of peers that are down.
    down: BTreeSet<u64>,
    /// The latest version of an entry that was dropped.
    dropped: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    version: u64,
    latest: PeerUpdate,
    /// How the epoch before the latest `Up` ended, if that is remembered.
    before: Option<Box<(ConnId, Closed)>>,
}

/// How far a subscriber has read. Belongs to one [`UpdateLog`]; dropping it ends the subscription.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cursor {
    seen: u64,
    believed: BTreeMap<NodeId, ConnId>,
    /// Entries dropped up to this version have been made up for.
    compared: u64,
    resync: Option<Resync>,
}

/// A comparison of a subscriber's belief with the snapshot, under way.
#[derive(Debug, Clone, PartialEq)]
struct Resync {
    after: Bound<NodeId>,
    up_to: u64,
}

impl Cursor {
    /// The epoch that the subscriber must see end before it can see this entry.
    fn stale(&self, peer: &NodeId, entry: &Entry) -> Option<ConnId> {
        let believed = *self.believed.get(peer)?;
        let same = matches!(&entry.latest, PeerUpdate::Up { conn, .. } if *conn == believed);
        (!same).then_some(believed)
    }
}

impl Entry {
    /// The end of an epoch, with its cause if that is remembered.
    fn end_of(&self, peer: NodeId, conn: ConnId) -> PeerUpdate {
        let closed = match (&self.latest, &self.before) {
            (PeerUpdate::Down { conn: ended, closed, .. }, _) if *ended == conn => closed.clone(),
            (_, Some(before)) if before.0 == conn => before.1.clone(),
            _ => missed_end(),
        };
        PeerUpdate::Down { peer, conn, closed }
    }
}

impl UpdateLog {
    /// Entries of peers that are down, at most.
    pub const MAX_DOWN: usize = 1024;

    /// A log in which nobody is up.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in an update. Answers whether it changed anything; a `Down` of another epoch than the one up does not.
    pub fn apply(&mut self, update: PeerUpdate) -> bool {
        let peer = update.peer();
        let old = self.peers.get(&peer).map(|entry| &entry.latest);
        let before = match (&update, old) {
            (PeerUpdate::Down { conn, .. }, Some(PeerUpdate::Up { conn: up, .. })) if conn == up => None,
            (PeerUpdate::Down { .. }, _) => return false,
            (PeerUpdate::Up { .. }, Some(PeerUpdate::Down { conn, closed, .. })) => {
                Some(Box::new((*conn, closed.clone())))
            }
            (PeerUpdate::Up { .. }, _) => None,
        };
        self.version += 1;
        let version = self.version;
        let is_down = matches!(update, PeerUpdate::Down { .. });
        if let Some(old) = self.peers.insert(peer, Entry { version, latest: update, before }) {
            self.by_version.remove(&old.version);
            self.down.remove(&old.version);
        }
        self.by_version.insert(version, peer);
        if is_down {
            self.down.insert(version);
            self.drop_surplus();
        }
        true
    }

    /// Grows with every change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The `Up` of everybody who is up, by identity.
    pub fn snapshot(&self) -> impl Iterator<Item = &PeerUpdate> + '_ {
        self.peers
            .values()
            .map(|entry| &entry.latest)
            .filter(|update| matches!(update, PeerUpdate::Up { .. }))
    }

    /// Begins a subscription: its first updates are the `Up` of everybody who is up.
    #[must_use]
    pub fn subscribe(&self) -> Cursor {
        // It believes nothing, so it can have missed nothing that was dropped.
        Cursor { compared: self.dropped, ..Cursor::default() }
    }

    /// The next update for a subscriber; `None` until the version grows.
    ///
    /// O(log n), but for one pass over what the subscriber believes after it slept through more than
    /// [`UpdateLog::MAX_DOWN`] downs.
    pub fn next(&self, cursor: &mut Cursor) -> Option<PeerUpdate> {
        if cursor.resync.is_none() && cursor.seen.max(cursor.compared) < self.dropped {
            cursor.resync = Some(Resync { after: Bound::Unbounded, up_to: self.dropped });
        }
        if let Some(missed) = self.next_missed(cursor) {
            return Some(missed);
        }
        loop {
            let (&version, peer) =
                self.by_version.range((Bound::Excluded(cursor.seen), Bound::Unbounded)).next()?;
            let entry = self.peers.get(peer)?;
            if let Some(conn) = cursor.stale(peer, entry) {
                cursor.believed.remove(peer);
                return Some(entry.end_of(*peer, conn));
            }
            cursor.seen = version;
            match &entry.latest {
                PeerUpdate::Up { conn, .. } if cursor.believed.insert(*peer, *conn) != Some(*conn) => {
                    return Some(entry.latest.clone());
                }
                PeerUpdate::Up { .. } | PeerUpdate::Down { .. } => {}
            }
        }
    }

    /// The next peer that a subscriber believes to be up, and of which no entry is left.
    fn next_missed(&self, cursor: &mut Cursor) -> Option<PeerUpdate> {
        let resync = cursor.resync.as_ref()?;
        let rest = cursor.believed.range((resync.after, Bound::Unbounded));
        let missed = rest.into_iter().find(|(peer, _)| !self.peers.contains_key(peer));
        let Some((&peer, &conn)) = missed else {
            cursor.compared = resync.up_to;
            cursor.resync = None;
            return None;
        };
        cursor.believed.remove(&peer);
        cursor.resync = Some(Resync { after: Bound::Excluded(peer), up_to: resync.up_to });
        Some(PeerUpdate::Down { peer, conn, closed: missed_end() })
    }

    /// How many peers are remembered, up or down.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.peers.len()
    }

    fn drop_surplus(&mut self) {
        if self.down.len() > Self::MAX_DOWN
            && let Some(version) = self.down.pop_first()
            && let Some(peer) = self.by_version.remove(&version)
        {
            self.peers.remove(&peer);
            self.dropped = version;
        }
    }
}

/// Stands for a cause that a subscriber slept through.
fn missed_end() -> Closed {
    Closed::local(Layer::Node, Blame::Ourselves, DisconnectReason::Requested, "update_missed")
}
