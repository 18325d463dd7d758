//! What a peer can do wrong once it is connected.

use std::fmt;

/// What a peer did wrong on a connection whose stream is sound.
///
/// Faults of the stream itself (a bad MAC, a frame too large) are no misbehaviour in this sense: they are the end of
/// the connection, as a [`Closed`](super::Closed). Most kinds are noticed by the router; what the rules of a channel's
/// own protocol are only its reactor knows, and so the last two are for reactors to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
#[repr(usize)]
pub enum Misbehaviour {
    /// A message that cannot be decoded: bad RLP, an unknown code, a count or length above its limit. Noticed by the
    /// connection that reads it, which ends.
    MalformedMessage,
    /// A message of a channel that was not agreed; on the wire, a message id that belongs to none. Noticed by the
    /// connection that reads it, which ends.
    UnsharedChannel,
    /// A message beyond what its channel lets one peer send in a time. Noticed where messages are delivered; the
    /// message is dropped.
    OverQuota,
    /// An answer to a question that was never asked. Noticed where answers are matched, or by a reactor that matches
    /// its own.
    UnaskedAnswer,
    /// One more answer to a question that is answered. Noticed where answers are matched.
    DuplicateAnswer,
    /// An answer whose id belongs to a question of another type or channel. Noticed where answers are matched.
    ForeignAnswer,
    /// An answer to a question that we asked, and that cannot be decoded. Noticed where answers are matched.
    MalformedAnswer,
    /// It broke the rules of the channel's protocol, so that going on makes no sense. Noticed by the channel's
    /// reactor; ends the connection, unless the operator trusts the peer.
    Breach,
    /// It did something that can be borne, but not without end. Noticed by the channel's reactor.
    Nuisance,
}

impl Misbehaviour {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::MalformedMessage,
        Self::UnsharedChannel,
        Self::OverQuota,
        Self::UnaskedAnswer,
        Self::DuplicateAnswer,
        Self::ForeignAnswer,
        Self::MalformedAnswer,
        Self::Breach,
        Self::Nuisance,
    ];

    /// A stable snake-case label; counters are keyed by it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedMessage => "malformed_message",
            Self::UnsharedChannel => "unshared_channel",
            Self::OverQuota => "over_quota",
            Self::UnaskedAnswer => "unasked_answer",
            Self::DuplicateAnswer => "duplicate_answer",
            Self::ForeignAnswer => "foreign_answer",
            Self::MalformedAnswer => "malformed_answer",
            Self::Breach => "breach",
            Self::Nuisance => "nuisance",
        }
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_listed_once_in_order_with_a_label_of_its_own() {
        for (position, kind) in Misbehaviour::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, position);
        }
        let labels: BTreeSet<&str> = Misbehaviour::ALL.into_iter().map(Misbehaviour::as_str).collect();
        assert_eq!(labels.len(), Misbehaviour::ALL.len());
    }
}
