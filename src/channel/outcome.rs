//! To whom a message goes, and what became of it.

use std::fmt;

use crate::id::NodeId;

/// To whom a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recipients {
    /// One peer.
    One(NodeId),
    /// These peers, in this order; one named twice gets it twice.
    Some(Vec<NodeId>),
    /// Every peer that has the channel.
    All,
    /// Every peer that has the channel, but this one: as when passing on what it said.
    AllBut(NodeId),
}

impl From<NodeId> for Recipients {
    fn from(peer: NodeId) -> Self {
        Self::One(peer)
    }
}

impl From<Vec<NodeId>> for Recipients {
    fn from(peers: Vec<NodeId>) -> Self {
        Self::Some(peers)
    }
}

/// Why a message was not queued for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer's queue has no room for this channel.
    #[error("the peer's queue is full")]
    Full,
    /// There is no connection to the peer, or it is closing.
    #[error("the peer is not connected")]
    NotConnected,
    /// The peer did not announce the channel.
    #[error("the peer does not have the channel")]
    NoChannel,
    /// The encoded message is above the channel's limit.
    #[error("the message has {bytes} bytes, above the channel's limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The node shuts down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

/// What became of a message for each of its recipients, at the moment of sending.
#[must_use = "a refused message is lost unless somebody acts on it; `ignore` says that nobody needs to"]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    pub(super) queued: usize,
    pub(super) evicted: usize,
    pub(super) refused: Vec<(NodeId, Refusal)>,
}

impl Outcome {
    /// For how many peers the message was queued.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// How many older messages it pushed out of full queues.
    #[must_use]
    pub fn evicted(&self) -> usize {
        self.evicted
    }

    /// Who did not get it, and why.
    #[must_use]
    pub fn refused(&self) -> &[(NodeId, Refusal)] {
        &self.refused
    }

    /// Succeeds if nobody was refused. A broadcast to nobody succeeds with 0.
    ///
    /// # Errors
    ///
    /// The first refusal.
    pub fn ok(self) -> Result<usize, Refusal> {
        match self.refused.first() {
            None => Ok(self.queued),
            Some((_, why)) => Err(*why),
        }
    }

    /// States that a refusal changes nothing for the sender. Nothing else remembers it: only what was queued and then
    /// lost is counted.
    pub fn ignore(self) {}
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queued for {}", self.queued)?;
        for (peer, why) in &self.refused {
            write!(f, ", not for {}: {why}", peer.short())?;
        }
        Ok(())
    }
}

/// Why a message that was waited for was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Refused at once, or while waiting.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There was no room within the caller's time.
    #[error("the peer's queue had no room in time")]
    TimedOut,
}
