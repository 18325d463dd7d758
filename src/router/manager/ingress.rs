//! What the actor is told and asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::address::{Endpoint, NodeAddress};
use crate::channel::{BehaviourReport, Link};
use crate::event::Closed;
use crate::id::{ConnId, Direction, NodeId};
use crate::peer::{AddError, BanError, BanTarget, Banned, Change, ConfigError, PeerManager};
use crate::router::connection::quitting;

/// How many requests wait for the actor; who sends more waits.
const MAILBOX: usize = 1024;

/// What happened, or is asked.
pub(in crate::router) enum Request {
    /// A peer has connected; may it begin its handshake?
    Incoming { endpoint: Endpoint, reply: oneshot::Sender<Result<ConnId, Closed>> },
    /// A handshake is complete; may the peer stay? On yes it is up.
    Established { link: Arc<Link>, reply: oneshot::Sender<Result<(), Closed>> },
    /// An attempt ended before the peer was up.
    Failed { conn: ConnId, direction: Direction, closed: Closed },
    /// A connection noticed how its peer behaves. In this mailbox, so that it is heard before the end.
    Behaved(Box<BehaviourReport>),
    /// A connection ended; this many messages were still queued for it.
    Disconnected { conn: ConnId, closed: Closed, lost: u64 },
    /// An operator's command.
    Command(Command),
}

/// What an operator may ask of a running node.
pub(in crate::router) enum Command {
    /// Learn an address; says whether it was new.
    Add { address: NodeAddress, reply: oneshot::Sender<Result<bool, AddError>> },
    /// Disconnect a peer; says whether it was connected.
    Disconnect { peer: NodeId, reply: oneshot::Sender<bool> },
    /// Ban a peer or a range of addresses.
    Ban {
        target: BanTarget,
        length: Option<Duration>,
        why: Box<str>,
        reply: oneshot::Sender<Result<Banned, BanError>>,
    },
    /// Lift a ban; says whether there was one.
    Unban { target: BanTarget, reply: oneshot::Sender<bool> },
    /// Change the configuration in force; says whether anything is different then.
    Reconfigure { change: Change, reply: oneshot::Sender<Result<bool, ConfigError>> },
    /// Look at the peer manager as it is now.
    Look(Look),
}

/// Reads what it wants from the peer manager, and tells whoever asked.
pub(in crate::router) type Look = Box<dyn FnOnce(&PeerManager) + Send>;

/// Where requests are put.
#[derive(Clone)]
pub(in crate::router) struct Mailbox(mpsc::Sender<Request>);

impl Mailbox {
    pub(in crate::router) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(MAILBOX);
        (Self(sender), receiver)
    }

    /// Tells the actor; waits while the mailbox is full. Once the actor has ended nobody needs to know.
    pub(in crate::router) async fn tell(&self, request: Request) {
        let _ = self.0.send(request).await;
    }

    /// Tells the actor if that needs no waiting; gives the request back if the mailbox is full. As `tell`, it is
    /// content once the actor has ended.
    pub(in crate::router) fn try_tell(&self, request: Request) -> Result<(), Request> {
        match self.0.try_send(request) {
            Err(mpsc::error::TrySendError::Full(request)) => Err(request),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    pub(in crate::router) async fn incoming(&self, endpoint: Endpoint) -> Result<ConnId, Closed> {
        self.ask(|reply| Request::Incoming { endpoint, reply }).await.unwrap_or_else(|| Err(quitting()))
    }

    pub(in crate::router) async fn establish(&self, link: Arc<Link>) -> Result<(), Closed> {
        self.ask(|reply| Request::Established { link, reply }).await.unwrap_or_else(|| Err(quitting()))
    }

    /// Asks the actor; `None` once it has ended.
    pub(in crate::router) async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.0.send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}
