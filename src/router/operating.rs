//! Commands and questions of an operator to a running node.

use std::time::Duration;

use tokio::sync::oneshot;

use super::handle::Stopped;
use super::manager::{Command, Request};
use super::{NodeId, RouterHandle};
use crate::address::NodeAddress;
use crate::event::Because;
use crate::peer::{BanError, BanRecord, BanTarget, Banned, Change, ConfigError, Counts, PeerManager, Status};

/// Why a running node does not ban somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotBanned {
    /// The ban makes no sense, or there is no room for it.
    #[error(transparent)]
    Ban(#[from] BanError),
    /// The node has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a running node does not take up a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotChanged {
    /// The configuration would not hold together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What is known of a peer, connected or not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownPeer {
    /// Where it stands: whether it is connected, dialled or left alone, and its bad points.
    pub status: Status,
    /// How much better than an unknown peer it is, or worse.
    pub grade: i8,
    /// Its addresses, oldest first.
    pub addresses: Vec<NodeAddress>,
    /// Why it stands there, and until when.
    pub because: Because,
}

/// What follows from a command (whom to end, whom to dial) follows at once, but need not have been done when it is answered.
impl RouterHandle {
    /// Bans a peer, or a range of addresses, for `length` or until it is [lifted](Self::unban); see
    /// [`PeerManager::ban`]. Says how many connections end for it, and whether the same target was banned already.
    ///
    /// `why` is stored with the ban, for people.
    ///
    /// # Errors
    ///
    /// [`NotBanned::Ban`] if the ban makes no sense or finds no room; [`NotBanned::Stopped`] if the node has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have been carried out.
    pub async fn ban(
        &self,
        target: BanTarget,
        length: Option<Duration>,
        why: impl Into<String>,
    ) -> Result<Banned, NotBanned> {
        let why = why.into().into_boxed_str();
        Ok(self.command(|reply| Command::Ban { target, length, why, reply }).await??)
    }

    /// Lifts a ban. Says whether there was one.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the node has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have been carried out.
    pub async fn unban(&self, target: BanTarget) -> Result<bool, Stopped> {
        self.command(|reply| Command::Unban { target, reply }).await
    }

    /// The bans in force, by target.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the node has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: it only reads.
    pub async fn bans(&self) -> Result<Vec<BanRecord>, Stopped> {
        self.look(|manager| manager.bans().collect()).await
    }

    /// Changes a limit, or what the operator says of a peer; see [`PeerManager::reconfigure`]. Says whether anything is
    /// different now. The change ends with the node: what is to outlive it belongs into its configuration.
    ///
    /// # Errors
    ///
    /// [`NotChanged::Config`] if the configuration would not hold together; nothing changed then.
    /// [`NotChanged::Stopped`] if the node has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have been carried out.
    pub async fn reconfigure(&self, change: Change) -> Result<bool, NotChanged> {
        Ok(self.command(|reply| Command::Reconfigure { change, reply }).await??)
    }

    /// Why a peer is not dialled, or not up, or what it waits for.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the node has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: it only reads.
    pub async fn why(&self, peer: NodeId) -> Result<Because, Stopped> {
        self.look(move |manager| manager.why(&peer)).await
    }

    /// Why nobody is dialled; or, if somebody will be, that there is one.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the node has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: it only reads.
    pub async fn why_not_dialling(&self) -> Result<Because, Stopped> {
        self.look(PeerManager::why_not_dialling).await
    }

    /// What is known of a peer; `None` if nothing is.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the node has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: it only reads.
    pub async fn peer_status(&self, peer: NodeId) -> Result<Option<KnownPeer>, Stopped> {
        self.look(move |manager| {
            let (status, grade) = (manager.status(&peer)?, manager.grade(&peer)?);
            let addresses = manager.addresses(&peer).collect();
            Some(KnownPeer { status, grade, addresses, because: manager.why(&peer) })
        })
        .await
    }

    /// How many slots, connections and dials are in use, and how many peers are stored.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the node has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: it only reads.
    pub async fn peer_counts(&self) -> Result<Counts, Stopped> {
        self.look(PeerManager::counts).await
    }

    /// The addresses that `to` would be told, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the node has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: it only reads.
    pub async fn advertise(&self, to: Option<NodeId>, limit: usize) -> Result<Vec<NodeAddress>, Stopped> {
        self.look(move |manager| manager.advertise(to, limit)).await
    }

    async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopped> {
        self.shared.mailbox.ask(|reply| Request::Command(command(reply))).await.ok_or(Stopped)
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&PeerManager) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        self.command(|reply: oneshot::Sender<T>| {
            Command::Look(Box::new(move |manager| {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(look(manager));
            }))
        })
        .await
    }
}
