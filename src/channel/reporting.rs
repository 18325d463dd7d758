//! What reactors say of peers.

use std::borrow::Cow;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;

use super::Sender;
use crate::event::{Act, GoodAct, Misbehaviour};
use crate::id::{ChannelId, ConnId, NodeId};
use crate::message::Message;

/// A report of how a peer behaves: from a reactor, or from the connection that noticed it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BehaviourReport {
    /// The peer.
    pub peer: NodeId,
    /// The connection on which it behaved so.
    pub conn: ConnId,
    /// The channel; `None` for a message that belongs to no channel.
    pub channel: Option<ChannelId>,
    /// What it did.
    pub what: Act,
    /// How often. 1 for a latency.
    pub count: u32,
    /// The circumstances in words, for people. May be empty.
    pub detail: Cow<'static, str>,
}

/// Reports to the peer manager. None of them waits, and each names the connection `conn`, as an envelope or an update
/// does: if that one has ended already the report is counted, and the one that took its place is neither harmed nor
/// favoured.
impl<M: Message> Sender<M> {
    /// Reports that `peer` misbehaved on this channel.
    ///
    /// The peer manager weighs it by its kind ([`BehaviourConfig`](crate::peer::BehaviourConfig)):
    /// [`Misbehaviour::Breach`] ends the connection, unless the operator [trusts](crate::peer::Config::trusted) the peer; a
    /// [`Misbehaviour::Nuisance`] adds up. `detail` is for people.
    ///
    /// # Errors
    ///
    /// Gives the report back if the mailbox for reports is full or the node is shutting down.
    pub fn report(
        &self,
        peer: NodeId,
        conn: ConnId,
        what: Misbehaviour,
        detail: impl Into<Cow<'static, str>>,
    ) -> Result<(), Box<BehaviourReport>> {
        self.tell(peer, conn, what.into(), 1, detail.into())
    }

    /// Reports that `peer` was of use on this channel, `count` times. Good points make it a better peer, which is dialled
    /// before others and keeps its place
    /// ([`BehaviourConfig::useful_levels`](crate::peer::BehaviourConfig::useful_levels)).
    ///
    /// # Errors
    ///
    /// As for [`Sender::report`].
    pub fn praise(
        &self,
        peer: NodeId,
        conn: ConnId,
        what: GoodAct,
        count: u32,
    ) -> Result<(), Box<BehaviourReport>> {
        self.tell(peer, conn, what.into(), count, Cow::Borrowed(""))
    }

    /// Reports how long an exchange with `peer` took. The peer manager smooths it; a near peer is a better one
    /// ([`BehaviourConfig::latency_levels`](crate::peer::BehaviourConfig::latency_levels)).
    ///
    /// # Errors
    ///
    /// As for [`Sender::report`].
    pub fn measure(&self, peer: NodeId, conn: ConnId, latency: Duration) -> Result<(), Box<BehaviourReport>> {
        self.tell(peer, conn, Act::Took(latency), 1, Cow::Borrowed(""))
    }

    /// Tells anything of a peer.
    pub(crate) fn tell(
        &self,
        peer: NodeId,
        conn: ConnId,
        what: Act,
        count: u32,
        detail: Cow<'static, str>,
    ) -> Result<(), Box<BehaviourReport>> {
        let report = BehaviourReport { peer, conn, channel: Some(M::CHANNEL), what, count, detail };
        self.outbox.reports.try_send(report).map_err(|error| match error {
            TrySendError::Full(report) | TrySendError::Closed(report) => Box::new(report),
        })
    }
}
