//! What the manager's inputs answer.

use std::sync::Arc;
use std::time::Instant;

use super::record::{BanTarget, Record, RecordKey};
use super::state::{EvictReason, Remote};
use crate::address::NodeAddress;
use crate::event::{Because, Blame, Closed, DisconnectReason, Layer};
use crate::id::{ChannelId, ConnId, Direction, NodeId};
use crate::message::{AgreedChannel, Capability};

/// A dial to make. Report its end with `dialed` or `dial_failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Dial {
    /// The epoch of the attempt, and of the connection that it may become.
    pub conn: ConnId,
    /// Where, and who must be there.
    pub address: NodeAddress,
    /// Why this peer, and why now.
    pub because: Because,
}

/// A connection was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Admitted {
    /// The connection to the same peer that it replaces. To the manager that one is gone: close it with
    /// [`DisconnectReason::AlreadyConnected`]; reports about it are late.
    pub replaces: Option<ConnId>,
}

/// A connection to end. Report its end with `disconnected`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Eviction {
    /// Which one.
    pub conn: ConnId,
    /// Its peer.
    pub peer: NodeId,
    /// Why.
    pub why: EvictReason,
    /// How to end it. What a report blamed is kept, with its layer.
    pub closed: Closed,
    /// Why, with the numbers that decided.
    pub because: Because,
}

impl Eviction {
    /// What to tell the peer.
    #[must_use]
    pub fn reason(&self) -> DisconnectReason {
        self.closed.reason
    }
}

/// Whether a report was about something that is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[must_use]
pub enum Report {
    /// It was, and has been taken in.
    Applied,
    /// It was about a connection that is gone, unknown, or in another phase. Counted and ignored.
    Late,
}

/// Why a connection is not admitted. The call that returns it changed nothing: end the connection, and report
/// that with `dial_failed` or `incoming_failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reject {
    /// No room in the pool, and nobody worse to take the place of.
    #[error("no free slot")]
    TooManyPeers,
    /// The peer, or the address it calls from, is banned.
    #[error("banned")]
    Banned,
    /// Too many connections and handshakes of its address group.
    #[error("too many connections of one address group")]
    GroupFull,
    /// Too many handshakes of its address group in a short time.
    #[error("too many handshakes of one address group in a short time")]
    GroupRate,
    /// Too many handshakes are in progress.
    #[error("too many handshakes in progress")]
    TooManyHandshakes,
    /// The store is full of peers that cannot be dropped.
    #[error("the store is full")]
    StoreFull,
    /// There is a connection to this peer that wins by the rule both sides share.
    #[error("there is a connection {0} already")]
    AlreadyConnected(ConnId),
    /// The peer is being evicted.
    #[error("the peer is being evicted: {0}")]
    Evicting(DisconnectReason),
    /// The peer is this node itself.
    #[error("the peer is this node itself")]
    SelfConnection,
    /// No such attempt: a late report. There is nothing to report back.
    #[error("no attempt has this epoch")]
    UnknownConnection,
}

impl Reject {
    /// What to tell the peer.
    #[must_use]
    pub fn reason(self) -> DisconnectReason {
        match self {
            Self::TooManyPeers
            | Self::TooManyHandshakes
            | Self::GroupFull
            | Self::GroupRate
            | Self::StoreFull => DisconnectReason::TooManyPeers,
            Self::AlreadyConnected(_) => DisconnectReason::AlreadyConnected,
            Self::Evicting(reason) => reason,
            Self::SelfConnection => DisconnectReason::SelfConnection,
            Self::UnknownConnection | Self::Banned => DisconnectReason::Requested,
        }
    }

    /// A stable snake-case label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::TooManyPeers => "too_many_peers",
            Self::Banned => "banned",
            Self::GroupFull => "group_full",
            Self::GroupRate => "group_rate",
            Self::TooManyHandshakes => "too_many_handshakes",
            Self::StoreFull => "store_full",
            Self::AlreadyConnected(_) => "already_connected",
            Self::Evicting(_) => "evicting",
            Self::SelfConnection => "self_connection",
            Self::UnknownConnection => "unknown_connection",
        }
    }

    /// The rejection as the end of a connection.
    #[must_use]
    pub fn closed(self) -> Closed {
        let blame = match self {
            Self::TooManyPeers
            | Self::TooManyHandshakes
            | Self::GroupFull
            | Self::GroupRate
            | Self::StoreFull => Blame::Overload,
            Self::AlreadyConnected(_) | Self::Evicting(_) | Self::UnknownConnection | Self::Banned => {
                Blame::Nobody
            }
            Self::SelfConnection => Blame::Incompatible,
        };
        Closed::local(Layer::PeerManager, blame, self.reason(), self.label())
    }
}

/// Why an address is not taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AddError {
    /// It is this node's own identity.
    #[error("the address is this node's own")]
    SelfAddress,
    /// The store is full of peers that go first.
    #[error("the store is full of better peers")]
    StoreFull,
    /// The peer, or its IP, is banned.
    #[error("the peer or its address is banned")]
    Banned,
    /// As many addresses of its group are stored as may be.
    #[error("enough addresses of its /24 or /64 are known")]
    GroupFull,
    /// Whoever told us has told as many addresses as are kept of one peer.
    #[error("the peer that told us has told enough")]
    SourceFull,
    /// The peer has as many addresses as are kept, and none of them has failed.
    #[error("the peer has enough addresses")]
    TooManyAddresses,
}

/// A peer came up or went down, as reactors see it.
///
/// What is up has passed every check: its identity is proved, a channel at least is agreed (unless the node was told
/// to do without), and its network is this node's, if it named one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum PeerUpdate {
    /// Sending to the peer works.
    #[non_exhaustive]
    Up {
        /// The peer.
        peer: NodeId,
        /// The epoch: each connection has another, greater one. Whatever is reported about the peer names it, so that
        /// a late word about this connection never harms the next.
        conn: ConnId,
        /// Who opened the connection.
        direction: Direction,
        /// The channels agreed, with the version in use of each. They stay as they are as long as this epoch lasts.
        channels: Arc<[AgreedChannel]>,
        /// The services that the peer announced, unverified; empty if it cannot announce any, as Ethereum clients
        /// cannot.
        services: Arc<[String]>,
        /// Every capability that the peer announced, shared or not.
        capabilities: Arc<[Capability]>,
        /// The far end.
        remote: Remote,
    },
    /// The connection is gone.
    Down {
        /// The peer.
        peer: NodeId,
        /// The epoch of the `Up` that this ends.
        conn: ConnId,
        /// How it ended.
        closed: Closed,
    },
}

impl PeerUpdate {
    /// The peer concerned.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        match self {
            Self::Up { peer, .. } | Self::Down { peer, .. } => *peer,
        }
    }

    /// The version of a channel in use with a peer that comes up; `None` if it was not agreed, and for a `Down`.
    #[must_use]
    pub fn version_of(&self, channel: ChannelId) -> Option<u32> {
        let Self::Up { channels, .. } = self else { return None };
        channels.iter().find(|agreed| agreed.id == channel).map(|agreed| agreed.version)
    }

    /// The epoch concerned.
    #[must_use]
    pub fn conn(&self) -> ConnId {
        match self {
            Self::Up { conn, .. } | Self::Down { conn, .. } => *conn,
        }
    }
}

/// Something for the shell to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Output {
    /// Apply it to the [`UpdateLog`](super::UpdateLog).
    Update(PeerUpdate),
    /// Store the record in place of an earlier one.
    Persist(Record),
    /// Delete the record, if there is one.
    Forget(RecordKey),
}

/// When to look again, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wakeup {
    /// When. If it has passed, there is something to do now.
    pub at: Instant,
    /// Why.
    pub why: WakeReason,
}

/// What there will be to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WakeReason {
    /// An eviction is to be taken.
    Evict,
    /// A dial is to be taken.
    Dial,
    /// The hold on a peer ends; it may be dialled then.
    HoldEnds(NodeId),
    /// A peer may take the place of another one.
    Upgrade,
    /// The time of a connection is up.
    TimeIsUp(ConnId),
    /// A ban ends.
    BanEnds(BanTarget),
    /// A peer's grade changes as time passes.
    Regrade(NodeId),
}

/// What a ban did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Banned {
    /// Connections that will be evicted for it.
    pub evicts: usize,
    /// Whether the same target was banned already.
    pub renewed: bool,
}

/// Why a ban is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BanError {
    /// It is this node itself.
    #[error("a node cannot ban itself")]
    OwnId,
    /// It would end at once.
    #[error("a ban must last for some time")]
    NoLength,
    /// It would last longer than [`MAX_DURATION`](super::MAX_DURATION).
    #[error("a ban lasts one year at most; leave its length out to ban until it is lifted")]
    TooLong,
    /// The reason is longer than [`MAX_BAN_TEXT_BYTES`](super::MAX_BAN_TEXT_BYTES).
    #[error("the reason of a ban has at most {max} bytes; this has {found_bytes}", max = super::MAX_BAN_TEXT_BYTES)]
    TextTooLong {
        /// Its length in bytes.
        found_bytes: usize,
    },
    /// The table of bans is full of the operator's.
    #[error("{max_bans} bans are in force, and `max_bans` allows no more")]
    TooMany {
        /// The limit.
        max_bans: usize,
    },
}
