//! The addresses that a node knows, for a reactor that exchanges them with peers.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::manager::{Command, Mailbox, Request};
use crate::address::NodeAddress;
use crate::id::NodeId;

/// The addresses that a node knows: what peers tell goes in, and what peers are told comes out. Both by the rules of the
/// [peer manager](crate::peer), which says whose addresses are taken up, and which are told to whom.
///
/// Get one from [`Builder::addresses`](super::Builder::addresses). It never waits: if the peer manager is so busy that its
/// mailbox is full, it says so, and the occasion has passed. Clones are the same book.
#[derive(Clone)]
pub struct AddressBook(Mailbox);

impl fmt::Debug for AddressBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressBook").finish_non_exhaustive()
    }
}

/// The peer manager has too much to do to hear of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer manager is too busy")]
pub struct Busy;

impl AddressBook {
    pub(super) fn new(mailbox: Mailbox) -> Self {
        Self(mailbox)
    }

    /// Takes up what `from` tells. Addresses that cannot be used, or that are more than one peer may tell
    /// ([`Config::max_addresses_per_source`](crate::peer::Config::max_addresses_per_source)), are passed over.
    ///
    /// # Errors
    ///
    /// [`Busy`] if none was looked at.
    pub fn learn(&self, from: NodeId, addresses: Vec<NodeAddress>) -> Result<(), Busy> {
        self.tell(Command::Learn { from, addresses })
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
        self.tell(Command::Look(Box::new(move |manager| {
            let chosen = manager.advertise(Some(to), most);
            // It is a reactor's own, as that reactor's panic would be.
            let _ = catch_unwind(AssertUnwindSafe(|| then(chosen)));
        })))
    }

    fn tell(&self, command: Command) -> Result<(), Busy> {
        self.0.try_tell(Request::Command(command)).map_err(|_| Busy)
    }
}
