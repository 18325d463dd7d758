//! The addresses that a node knows, for a reactor that exchanges them with peers.

use std::fmt;

use tokio::sync::mpsc;

use crate::address::NodeAddress;
use crate::id::NodeId;

/// How many requests wait for the peer manager.
const WAITING: usize = 256;

/// The addresses that a node knows: what peers tell goes in, and what peers are told comes out. Both by the rules of the
/// [peer manager](crate::peer), which says whose addresses are taken up, and which are told to whom.
///
/// Get one from [`Builder::addresses`](crate::router::Builder::addresses). It never waits: if the peer manager has too much
/// to do, it says so, and the occasion has passed. Clones are the same book.
#[derive(Clone)]
pub struct AddressBook(mpsc::Sender<BookRequest>);

impl fmt::Debug for AddressBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressBook").finish_non_exhaustive()
    }
}

/// The peer manager has too much to do to hear of this, or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer manager is too busy")]
pub struct Busy;

/// What is asked of the peer manager.
pub(crate) enum BookRequest {
    /// Take up what a peer tells.
    Learn { from: NodeId, addresses: Vec<NodeAddress> },
    /// Choose at most so many to tell a peer.
    Choose { to: NodeId, most: usize, then: Box<dyn FnOnce(Vec<NodeAddress>) + Send> },
}

impl AddressBook {
    /// Makes one, and what the peer manager's actor reads.
    pub(crate) fn new() -> (Self, mpsc::Receiver<BookRequest>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Takes up what `from` tells. Addresses that cannot be used, or that are more than one peer may tell
    /// ([`Config::max_addresses_per_source`](crate::peer::Config::max_addresses_per_source)), are passed over.
    ///
    /// # Errors
    ///
    /// [`Busy`] if none was looked at.
    pub fn learn(&self, from: NodeId, addresses: Vec<NodeAddress>) -> Result<(), Busy> {
        self.0.try_send(BookRequest::Learn { from, addresses }).map_err(|_| Busy)
    }

    /// Chooses at most `most` addresses to tell the peer `to`, as
    /// [`PeerManager::advertise`](crate::peer::PeerManager::advertise) does, and gives them to `then`.
    ///
    /// `then` runs where the peer manager does: it must be quick, and not block. If it panics, that harms nobody else.
    ///
    /// # Errors
    ///
    /// [`Busy`] if it was not asked; `then` is dropped.
    pub fn choose(
        &self,
        to: NodeId,
        most: usize,
        then: impl FnOnce(Vec<NodeAddress>) + Send + 'static,
    ) -> Result<(), Busy> {
        self.0.try_send(BookRequest::Choose { to, most, then: Box::new(then) }).map_err(|_| Busy)
    }
}
