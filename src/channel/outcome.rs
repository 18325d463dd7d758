//! What became of a message.

use std::fmt;

use crate::id::NodeId;
use crate::message::Refusal;

/// What became of a message for one recipient, at the moment of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It is queued.
    Queued,
    /// It is queued, and so many older messages of the channel were dropped for it.
    Evicted(usize),
    /// It is queued in the place of an older one of the same key.
    Replaced,
    /// It is not queued.
    Refused(Refusal),
}

impl Fate {
    /// Whether the message is queued.
    #[must_use]
    pub fn is_queued(self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// What became of a message for each of its recipients, at the moment of sending.
///
/// A message that is queued may still be lost with its connection, by a newer one, or by its age: such losses are
/// counted by [`DropReason`](super::DropReason).
#[must_use = "a refused message is lost unless somebody acts on it; `ignore` says that nobody needs to"]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Most sends have one recipient, and need no allocation for it.
    first: Option<(NodeId, Fate)>,
    rest: Vec<(NodeId, Fate)>,
}

impl Outcome {
    pub(super) fn add(&mut self, recipient: NodeId, fate: Fate) {
        match self.first {
            None => self.first = Some((recipient, fate)),
            Some(_) => self.rest.push((recipient, fate)),
        }
    }

    /// Every recipient and what became of the message for it, in the order of sending. A local delivery is under this
    /// node's own identity.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, Fate)> + '_ {
        self.first.iter().chain(&self.rest).copied()
    }

    /// For how many recipients the message was queued.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.iter().filter(|(_, fate)| fate.is_queued()).count()
    }

    /// How many older messages were dropped for it, or replaced by it.
    #[must_use]
    pub fn evicted(&self) -> usize {
        let evicted = self.iter().map(|(_, fate)| match fate {
            Fate::Evicted(messages) => messages,
            Fate::Replaced => 1,
            Fate::Queued | Fate::Refused(_) => 0,
        });
        evicted.sum()
    }

    /// Who did not get it, and why.
    #[must_use]
    pub fn refused(&self) -> Vec<(NodeId, Refusal)> {
        let refused = self.iter().filter_map(|(recipient, fate)| match fate {
            Fate::Refused(why) => Some((recipient, why)),
            _ => None,
        });
        refused.collect()
    }

    /// For how many recipients it met exactly this fate.
    #[must_use]
    pub fn count(&self, fate: Fate) -> usize {
        self.iter().filter(|(_, met)| *met == fate).count()
    }

    /// Succeeds if nobody was refused, and says for how many it was queued. A broadcast to nobody succeeds with 0.
    ///
    /// # Errors
    ///
    /// The first refusal.
    pub fn ok(self) -> Result<usize, Refusal> {
        match self.refused().first() {
            None => Ok(self.queued()),
            Some((_, why)) => Err(*why),
        }
    }

    /// States that a refusal changes nothing for the sender. Refusals are counted all the same, as
    /// [`ChannelCounters::refused`](super::ChannelCounters::refused).
    pub fn ignore(self) {}
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queued for {}", self.queued())?;
        for (recipient, why) in self.refused() {
            write!(f, ", not for {}: {why}", recipient.short())?;
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
    #[error("the queue had no room in time")]
    TimedOut,
}
