//! Runs a node: dials and accepts, carries packets between connections and channels, and shuts down in order.
//!
//! ```text
//! builder ──build──> Router ──run──> Report
//!                      └─ handle: add, disconnect and ban peers, change limits, look, ask why, shut down
//! ```
//!
//! Few tasks: the peer manager's actor, an acceptor for each transport, a task for each attempt and then for
//! each connection's reader, and one for its writer. Reactors run beside them and are supervised too: a panic
//! ends the reactor, a peer's malice ends that peer, neither ends the node.
//!
//! The actor alone decides: it owns the synchronous [`crate::peer::PeerManager`], hands out attempts, admits
//! what they bring and evicts. Every other task reports to it by connection number.
//!
//! Shutdown is ordered: accept and dial no more; refuse sends; write what is queued, until a deadline; say
//! Disconnect with its reason; close; close the store; join every task; report what was written and what was dropped.
//!
//! What the router does not do: it writes nothing to a disk, discovers nobody, and knows no channel's meaning.

mod acceptor;
mod builder;
mod config;
mod connection;
mod dialer;
mod erased;
mod events;
mod handle;
mod manager;
mod operating;
mod recording;
mod shutdown;
mod store;

pub use builder::{BuildError, Builder};
pub use config::{ConfigError, RouterConfig};
pub use events::Ends;
pub use handle::{ChannelStatus, NotAdded, PeerStatus, RouterHandle, Stopped};
pub use operating::{KnownPeer, NotBanned, NotChanged};
pub use recording::{Recorder, Start};
pub use shutdown::Report;
pub use store::MemoryStore;

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::{BoxFuture, Endpoint, Resolver};
use crate::channel::{Clock, Inbound, LinkLimits, Registry, SharedUpdates};
use crate::event::{Closed, DisconnectReason};
use crate::id::{ConnId, Direction, NodeId};
use crate::transport::{AcceptError, Offer};

use self::erased::AnyTransport;
use self::events::Events;
use self::manager::{Mailbox, ManagerActor};
use self::shutdown::Ending;

/// Decides by address whether a peer may connect; asked before any cryptography.
type AddressFilter = Box<dyn Fn(&Endpoint) -> bool + Send + Sync>;

/// Decides by proved identity whether a peer may stay connected.
type IdentityFilter = Box<dyn Fn(&NodeId) -> bool + Send + Sync>;

/// What all tasks of a node share.
struct Shared {
    id: NodeId,
    clock: Clock,
    config: RouterConfig,
    link_limits: LinkLimits,
    offer: Arc<Offer>,
    registry: Arc<Registry>,
    updates: Arc<SharedUpdates>,
    inbounds: Vec<Arc<dyn Inbound>>,
    transports: Vec<Box<dyn AnyTransport>>,
    resolver: Box<dyn Resolver>,
    address_filter: Option<AddressFilter>,
    identity_filter: Option<IdentityFilter>,
    events: Events,
    mailbox: Mailbox,
    /// Attempts and connections.
    connections: TaskTracker,
    /// Accept and dial no more.
    stopping: CancellationToken,
    /// The deadline of the shutdown has passed.
    kill: CancellationToken,
}

/// A node that is ready to run.
#[must_use = "a router does nothing until it is run"]
pub struct Router {
    shared: Arc<Shared>,
    actor: ManagerActor,
    reactors: Vec<(String, BoxFuture<'static, ()>)>,
    ending: Ending,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("id", &self.shared.id)
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Router {
    /// Begins a node of this identity, which its transports must be able to prove.
    pub fn builder(id: NodeId) -> Builder {
        Builder::new(id, Clock::default())
    }

    /// As [`Self::builder`], for a node that goes by that clock.
    #[cfg(feature = "sim")]
    pub(crate) fn builder_by(id: NodeId, clock: Clock) -> Builder {
        Builder::new(id, clock)
    }

    /// A handle by which the running node is watched and commanded. It does not keep the node alive.
    #[must_use]
    pub fn handle(&self) -> RouterHandle {
        RouterHandle::new(Arc::clone(&self.shared))
    }

    /// Runs the node until [`RouterHandle::shutdown`], and returns when every task of it has ended.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: dropping the future ends the node at once, as dropping the router does, and drops what is
    /// queued; its tasks end soon after by themselves. Ask for shutdown and wait instead.
    pub async fn run(self) -> Report {
        shutdown::run(self).await
    }
}
