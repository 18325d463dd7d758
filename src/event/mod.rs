//! Everything observable, as data.
//!
//! [`Event`] is declared once, here. Log lines, counters, a journal and an operator's view are projections
//! of it; no module formats its own. [`Closed`] is how every connection ends: by whom, in which
//! [`Layer`], through whose [`Blame`], for what reason. A fault keeps the layer that it arose in, all the
//! way up: an RLPx fault never looks like a fault of the protocol above it.
//!
//! Nothing here reads a clock: whoever records an event stamps it. Single messages are no events: what became of
//! them is counted by their channel.

mod closed;
mod decision;
#[cfg(feature = "serde")]
mod label;
mod merit;
mod misbehaviour;

#[cfg(feature = "net")]
pub(crate) use closed::harmless;
pub use closed::{Blame, Closed, DisconnectReason, Fault, Layer, Side};
pub use decision::{Because, Rule};
pub use merit::{Act, GoodAct};
pub use misbehaviour::Misbehaviour;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::address::Endpoint;
use crate::id::{ChannelId, ConnId, Direction, NodeId};

/// One observed fact.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Position among this node's events, from 1 on, without gaps.
    pub seq: u64,
    /// Time since the node started.
    pub at: Duration,
    /// The connection concerned, if one is.
    pub conn: Option<ConnId>,
    /// The peer concerned, as far as it is known.
    pub peer: Option<NodeId>,
    /// Who opened the connection concerned.
    pub direction: Option<Direction>,
    /// What happened.
    pub kind: EventKind,
}

/// A stage that a new connection passes, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// The byte stream stands.
    Tcp,
    /// The initiator's handshake packet was sent or read.
    Auth,
    /// The recipient's handshake packet was sent or read.
    Ack,
    /// Both Hello messages were exchanged and capabilities agreed.
    Hello,
    /// The peers exchanged network and services, where both can.
    Info,
}

impl Stage {
    /// A short lower-case name, as `probe` prints it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Auth => "auth",
            Self::Ack => "ack",
            Self::Hello => "hello",
            Self::Info => "info",
        }
    }

    /// The layer that a new connection waits in once it has reached this stage, or none yet. An attempt that
    /// takes too long ended there.
    #[must_use]
    pub fn awaited_layer(reached: Option<Self>) -> Layer {
        match reached {
            None => Layer::Tcp,
            Some(Self::Tcp | Self::Auth) => Layer::Ecies,
            Some(Self::Ack) => Layer::Hello,
            Some(Self::Hello | Self::Info) => Layer::Capability,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A transport listens.
    Listening {
        /// Where.
        endpoint: Endpoint,
    },
    /// We begin to dial a peer.
    Dialing {
        /// Where.
        endpoint: Endpoint,
        /// Why this peer, and why now.
        because: Because,
    },
    /// A peer opened a connection; nothing has been read from it yet.
    Incoming {
        /// From where.
        endpoint: Endpoint,
    },
    /// A stage of the handshake is complete.
    Stage {
        /// Which one.
        stage: Stage,
        /// Time it took since the stage before.
        took: Duration,
    },
    /// A connection failed before it was up.
    Failed {
        /// How it ended.
        closed: Closed,
    },
    /// The peer manager does not admit a connection. [`Failed`](Self::Failed) follows.
    Refused {
        /// Why not.
        because: Because,
    },
    /// The peer is up: sending to it works.
    Up {
        /// The channels shared with it.
        channels: Vec<ChannelId>,
    },
    /// The peer is down.
    Down {
        /// How the connection ended.
        closed: Closed,
    },
    /// The peer manager orders a connection out. [`Down`](Self::Down) follows.
    Evicting {
        /// For what, as a stable snake-case label.
        why: &'static str,
        /// Why, with the numbers that decided.
        because: Because,
    },
    /// A peer or a range of addresses is banned from now on.
    Banned {
        /// Which: a short identity, or a range as in `192.0.2.0/24`.
        target: String,
        /// The operator's words, or what it did.
        why: String,
        /// Whether the peer manager did it by itself, and not the operator.
        automatic: bool,
        /// The ban, and when it ends if it does by itself.
        because: Because,
    },
    /// A ban is over: its time is up, or it was lifted.
    Unbanned {
        /// Which: a short identity, or a range as in `192.0.2.0/24`.
        target: String,
    },
    /// The store of peers held records that cannot be read. The node goes on without them.
    StoreSkipped {
        /// How many.
        count: u64,
        /// What is wrong with some of them.
        faults: Vec<String>,
    },
    /// The store of peers could not write.
    StoreFailed {
        /// Why not.
        error: String,
        /// Whether it tries again. If not, the node has shut down, and what was not written is lost.
        again: bool,
    },
    /// A transport could not accept; it goes on accepting.
    AcceptFailed {
        /// What the system said.
        error: String,
    },
    /// A reactor panicked; it alone is over.
    ReactorPanicked {
        /// The name it was given.
        reactor: String,
    },
    /// A peer misbehaved: the router noticed it, or a reactor said so. The peer manager weighs it, and ends the
    /// connection once it is too much.
    Misbehaved {
        /// The channel concerned; `None` for a message that belongs to no channel.
        channel: Option<ChannelId>,
        /// What it did.
        what: Misbehaviour,
        /// How often since the event before.
        count: u32,
        /// The circumstances in words, for people. May be empty.
        detail: Cow<'static, str>,
    },
    /// The node begins to shut down.
    ShuttingDown,
}

impl EventKind {
    /// A stable snake-case label: counters and logs are keyed by it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Listening { .. } => "listening",
            Self::Dialing { .. } => "dialing",
            Self::Incoming { .. } => "incoming",
            Self::Stage { .. } => "stage",
            Self::Failed { .. } => "failed",
            Self::Refused { .. } => "refused",
            Self::Up { .. } => "up",
            Self::Down { .. } => "down",
            Self::Evicting { .. } => "evicting",
            Self::Banned { .. } => "banned",
            Self::Unbanned { .. } => "unbanned",
            Self::StoreSkipped { .. } => "store_skipped",
            Self::StoreFailed { .. } => "store_failed",
            Self::AcceptFailed { .. } => "accept_failed",
            Self::ReactorPanicked { .. } => "reactor_panicked",
            Self::Misbehaved { .. } => "misbehaved",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// Sees every event of a node, in order. Log lines, metrics and journals are observers.
///
/// It is called with the event stream locked: it must be quick, and must not call the node back. Its panic harms
/// nobody else.
pub trait Observer: Send + Sync + 'static {
    /// Takes note of an event.
    fn observe(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}
