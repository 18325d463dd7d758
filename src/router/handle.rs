//! Watches and commands a running node.

use std::fmt;
use std::sync::Arc;

use super::events::Ends;
use super::manager::{Command, Request};
use super::{Direction, Endpoint, NodeId, Shared};
use crate::address::NodeAddress;
use crate::channel::{DropReason, PeerUpdates};
use crate::event::Misbehaviour;
use crate::id::{ChannelId, ConnId};
use crate::peer::AddError;

/// The node has ended: nobody is there to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node has ended")]
pub struct Stopped;

/// Why a running node does not take up an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAdded {
    /// It cannot be used, or there is no room for it.
    #[error(transparent)]
    Address(#[from] AddError),
    /// The node shuts down or has ended: it dials no more.
    #[error("the node dials no more: it was shut down")]
    Stopped,
}

/// A peer that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// Its identity.
    pub id: NodeId,
    /// The connection's number.
    pub conn: ConnId,
    /// Who opened it.
    pub direction: Direction,
    /// Where the peer is.
    pub remote: Endpoint,
    /// What it calls its software.
    pub client: String,
    /// The channels in common.
    pub channels: Vec<ChannelId>,
    /// The services that it announced, unverified; empty if it cannot announce any.
    pub services: Arc<[String]>,
    /// Messages that wait to be written to it.
    pub queued_messages: usize,
    /// Their bytes, as the queue [charges](crate::queue::charge) them.
    pub queued_bytes: usize,
}

/// A channel's state and counters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStatus {
    /// Its name.
    pub id: ChannelId,
    /// Messages queued for a peer when they were sent, each recipient counted.
    pub accepted: u64,
    /// Messages refused to a recipient when they were sent.
    pub refused: u64,
    /// Messages written to connections.
    pub sent: u64,
    /// Messages queued for the receiver, and answers taken to whoever asked.
    pub received: u64,
    /// Of these, the messages that came from this node itself.
    pub local: u64,
    /// Messages that wait for the receiver.
    pub waiting: usize,
    /// Their bytes, as the queue [charges](crate::queue::charge) them.
    pub waiting_bytes: usize,
    /// Messages lost, by reason.
    pub dropped: Vec<(DropReason, u64)>,
}

/// A handle to a node. Clones are handles to the same node.
#[derive(Clone)]
pub struct RouterHandle {
    pub(super) shared: Arc<Shared>,
}

impl fmt::Debug for RouterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterHandle").field("id", &self.shared.id).finish_non_exhaustive()
    }
}

impl RouterHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The node's identity.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.shared.id
    }

    /// Where the node listens, as addresses that peers can dial. A node that listens on every interface
    /// (`0.0.0.0`) says so: which of them a peer can reach, it cannot know.
    #[must_use]
    pub fn addresses(&self) -> Vec<NodeAddress> {
        let endpoints = self.shared.transports.iter().flat_map(|transport| transport.local_endpoints());
        let address = |endpoint| match endpoint {
            Endpoint::Tcp(socket) => Some(NodeAddress::rlpx(self.shared.id, socket)),
            Endpoint::Memory(id) => Some(NodeAddress::memory(id)),
            Endpoint::Other { .. } => None,
        };
        endpoints.filter_map(address).collect()
    }

    /// The peers that are up, by identity.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let links = self.shared.registry.all();
        let status = |link: &Arc<crate::channel::Link>| {
            let (queued_messages, queued_bytes) = link.depth();
            PeerStatus {
                id: link.peer(),
                conn: link.conn,
                direction: link.direction,
                remote: link.far_end.remote.clone(),
                client: link.far_end.client.clone(),
                channels: link.channel_ids(),
                services: Arc::clone(&link.far_end.introduction.services),
                queued_messages,
                queued_bytes,
            }
        };
        links.iter().map(status).collect()
    }

    /// Tells each peer that is up, by identity, who dialled, and how many messages wait to be written to it. Costs less
    /// than [`Self::peers`].
    #[cfg(feature = "scenario")]
    pub(crate) fn for_each_peer(&self, mut tell: impl FnMut(NodeId, Direction, usize)) {
        let links = self.shared.registry.all();
        links.iter().for_each(|link| tell(link.peer(), link.direction, link.depth().0));
    }

    /// How many messages wait for the receivers of all channels.
    #[cfg(feature = "scenario")]
    pub(crate) fn waiting(&self) -> usize {
        self.shared.inbounds.iter().map(|inbound| inbound.depth().0).sum()
    }

    /// The channels, in the order of their declaration.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelStatus> {
        let status = |inbound: &Arc<dyn crate::channel::Inbound>| {
            let (waiting, waiting_bytes) = inbound.depth();
            ChannelStatus {
                id: inbound.spec().id,
                accepted: inbound.counters().accepted(),
                refused: inbound.counters().refused(),
                sent: inbound.counters().sent(),
                received: inbound.counters().received(),
                local: inbound.counters().local(),
                waiting,
                waiting_bytes,
                dropped: inbound.counters().drops().collect(),
            }
        };
        self.shared.inbounds.iter().map(status).collect()
    }

    /// How connections and attempts ended so far, by layer and cause.
    #[must_use]
    pub fn ends(&self) -> Ends {
        self.shared.events.ends()
    }

    /// How often peers misbehaved so far, by kind; none that never happened. Reports that came too late to be held
    /// against anybody are counted as well.
    #[must_use]
    pub fn misbehaviour(&self) -> Vec<(Misbehaviour, u64)> {
        self.shared.events.misbehaviour()
    }

    /// A new subscription to peers' comings and goings. It begins with the peers that are up.
    #[must_use]
    pub fn updates(&self) -> PeerUpdates {
        PeerUpdates::new(Arc::clone(&self.shared.updates))
    }

    /// Learns an address, to dial when there is a slot. Says whether it was new.
    ///
    /// # Errors
    ///
    /// [`NotAdded::Address`] if it cannot be used; [`NotAdded::Stopped`] from [`RouterHandle::shutdown`] on.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have been carried out.
    pub async fn add(&self, address: NodeAddress) -> Result<bool, NotAdded> {
        if self.shared.stopping.is_cancelled() {
            return Err(NotAdded::Stopped);
        }
        let asked = self.shared.mailbox.ask(|reply| Request::Command(Command::Add { address, reply })).await;
        Ok(asked.ok_or(NotAdded::Stopped)??)
    }

    /// Disconnects a peer. Says whether it was connected.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the node has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have been carried out.
    pub async fn disconnect(&self, peer: NodeId) -> Result<bool, Stopped> {
        let asked =
            self.shared.mailbox.ask(|reply| Request::Command(Command::Disconnect { peer, reply })).await;
        asked.ok_or(Stopped)
    }

    /// Asks the node to shut down. [`super::Router::run`] returns when it has.
    pub fn shutdown(&self) {
        self.shared.stopping.cancel();
    }
}
