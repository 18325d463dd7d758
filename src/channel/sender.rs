//! The sending end of a channel.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::counters::{ChannelCounters, DropReason};
use super::link::Link;
use super::outcome::{Outcome, Recipients, Refusal, SendError};
use super::registry::Registry;
use crate::event::{Blame, Closed, DisconnectReason, Layer, Misbehaviour};
use crate::id::{ChannelId, ConnId, NodeId};
use crate::message::{Frame, Message};
use crate::queue::Pushed;

/// A report that a peer misbehaved: from a reactor, or from the connection that noticed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BehaviourReport {
    /// The peer.
    pub peer: NodeId,
    /// The connection on which it misbehaved.
    pub conn: ConnId,
    /// The channel; `None` for a message that belongs to no channel.
    pub channel: Option<ChannelId>,
    /// What it did.
    pub what: Misbehaviour,
    /// How often.
    pub count: u32,
    /// The circumstances in words, for people. May be empty.
    pub detail: Cow<'static, str>,
}

/// What all senders of a node share.
#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) registry: Arc<Registry>,
    pub(crate) reports: mpsc::Sender<BehaviourReport>,
}

/// Sends the messages of one channel. Clones send on the same channel.
pub struct Sender<M> {
    outbox: Outbox,
    counters: Arc<ChannelCounters>,
    // A sender holds no message, so it may cross threads whatever `M` is.
    protocol: PhantomData<fn(M)>,
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self { outbox: self.outbox.clone(), counters: Arc::clone(&self.counters), protocol: PhantomData }
    }
}

impl<M: Message> Sender<M> {
    pub(crate) fn new(outbox: Outbox, counters: Arc<ChannelCounters>) -> Self {
        Self { outbox, counters, protocol: PhantomData }
    }

    /// Queues `message` for each recipient without waiting, and says what became of it for each.
    ///
    /// It is encoded once for each version of the protocol in use among them. A broadcast reaches the peers
    /// that have the channel; peers that lack it are no recipients of it. Nobody is connected to itself: a
    /// message to this node's own identity is refused as [`Refusal::NotConnected`].
    #[allow(clippy::needless_pass_by_value, reason = "a message is given away: who sends it is done with it")]
    pub fn try_send(&self, to: impl Into<Recipients>, message: M) -> Outcome {
        let now = tokio::time::Instant::now().into_std();
        let mut encoder = Encoder::new(&message);
        let mut outcome = Outcome::default();
        match to.into() {
            Recipients::One(peer) => self.queue_for(now, peer, &mut encoder, &mut outcome),
            Recipients::Some(peers) => {
                for peer in peers {
                    self.queue_for(now, peer, &mut encoder, &mut outcome);
                }
            }
            Recipients::All => self.broadcast(now, None, &mut encoder, &mut outcome),
            Recipients::AllBut(peer) => self.broadcast(now, Some(peer), &mut encoder, &mut outcome),
        }
        outcome
    }

    /// Queues `message` for `peer`, waiting at most `within` for room.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`] if there was no room in time; [`SendError::Refused`] if waiting cannot help.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future means the message was not queued; it is lost with the future.
    pub async fn send(&self, peer: NodeId, message: M, within: Duration) -> Result<(), SendError> {
        let mut encoder = Encoder::new(&message);
        // Encoded before the first await, so that the future holds bytes and not the message.
        let (link, frame) = self.prepare(peer, &mut encoder)?;
        let push = || {
            let pushed = link.push(tokio::time::Instant::now().into_std(), frame.clone());
            self.settle(&link, &pushed)
        };
        match push() {
            Err(Refusal::Full) => {}
            settled => return settled.map(|_| ()).map_err(SendError::Refused),
        }
        let queued = async {
            loop {
                // Listening for room before trying, lest it comes in between.
                let mut room = std::pin::pin!(link.room());
                room.as_mut().enable();
                match push() {
                    Err(Refusal::Full) => room.await,
                    settled => return settled.map(|_| ()),
                }
            }
        };
        match timeout(within, queued).await {
            Ok(queued) => queued.map_err(SendError::Refused),
            Err(_) => Err(SendError::TimedOut),
        }
    }

    /// The peers that have this channel now, by identity.
    #[must_use]
    pub fn peers(&self) -> Vec<NodeId> {
        self.outbox.registry.all().iter().filter(|link| has::<M>(link)).map(|link| link.peer()).collect()
    }

    /// This channel's counters.
    #[must_use]
    pub fn counters(&self) -> &ChannelCounters {
        &self.counters
    }

    /// Reports that `peer` misbehaved on this channel and the connection `conn`, as an envelope or an update
    /// names them. Never waits.
    ///
    /// The peer manager weighs it by its kind ([`BehaviourConfig`](crate::peer::BehaviourConfig)):
    /// [`Misbehaviour::Breach`] ends the connection, a [`Misbehaviour::Nuisance`] adds up. If that connection has
    /// ended already the report is counted, and the one that took its place is not harmed. `detail` is for people.
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
    ) -> Result<(), BehaviourReport> {
        let (channel, detail) = (Some(M::CHANNEL), detail.into());
        let report = BehaviourReport { peer, conn, channel, what, count: 1, detail };
        self.outbox.reports.try_send(report).map_err(|error| match error {
            mpsc::error::TrySendError::Full(report) | mpsc::error::TrySendError::Closed(report) => report,
        })
    }

    fn broadcast(
        &self,
        now: Instant,
        but: Option<NodeId>,
        encoder: &mut Encoder<'_, M>,
        outcome: &mut Outcome,
    ) {
        for link in self.outbox.registry.all().iter() {
            if Some(link.peer()) != but && has::<M>(link) {
                self.queue_on(now, link, encoder, outcome);
            }
        }
    }

    fn queue_for(&self, now: Instant, peer: NodeId, encoder: &mut Encoder<'_, M>, outcome: &mut Outcome) {
        match self.outbox.registry.get(&peer) {
            Some(link) => self.queue_on(now, &link, encoder, outcome),
            None => outcome.refused.push((peer, self.not_connected())),
        }
    }

    fn queue_on(&self, now: Instant, link: &Link, encoder: &mut Encoder<'_, M>, outcome: &mut Outcome) {
        let settled = self.frame(link, encoder).and_then(|frame| {
            let pushed = link.push(now, frame);
            if matches!(pushed, Pushed::DroppedNewest(_) | Pushed::Disconnect(_)) {
                self.counters.add_dropped(DropReason::OutboundFull, 1);
            }
            self.settle(link, &pushed)
        });
        match settled {
            Ok(evicted) => {
                outcome.queued += 1;
                outcome.evicted += evicted;
            }
            Err(why) => outcome.refused.push((link.peer(), why)),
        }
    }

    fn prepare(&self, peer: NodeId, encoder: &mut Encoder<'_, M>) -> Result<(Arc<Link>, Frame), Refusal> {
        let link = self.outbox.registry.get(&peer).ok_or_else(|| self.not_connected())?;
        let frame = self.frame(&link, encoder)?;
        Ok((link, frame))
    }

    fn frame(&self, link: &Link, encoder: &mut Encoder<'_, M>) -> Result<Frame, Refusal> {
        if self.outbox.registry.is_sealed() {
            return Err(Refusal::ShuttingDown);
        }
        let channel = link.channel(M::CHANNEL).ok_or(Refusal::NoChannel)?;
        let payload = encoder.payload(channel.version)?;
        Ok(Frame { channel: M::CHANNEL, code: encoder.message.code(), payload })
    }

    fn not_connected(&self) -> Refusal {
        if self.outbox.registry.is_sealed() { Refusal::ShuttingDown } else { Refusal::NotConnected }
    }

    /// Turns the queue's word into the sender's; on success, how many older messages were pushed out.
    fn settle<T>(&self, link: &Link, pushed: &Pushed<T>) -> Result<usize, Refusal> {
        match pushed {
            Pushed::Queued => Ok(0),
            Pushed::Evicted { messages, .. } => {
                self.counters.add_dropped(DropReason::OutboundEvicted, *messages as u64);
                Ok(*messages)
            }
            Pushed::Replaced { .. } => {
                self.counters.add_dropped(DropReason::OutboundEvicted, 1);
                Ok(1)
            }
            Pushed::Full(_) | Pushed::DroppedNewest(_) => Err(Refusal::Full),
            Pushed::Disconnect(_) => {
                link.close(overflow(M::CHANNEL));
                Err(Refusal::Full)
            }
            Pushed::NoFlow(_) => Err(Refusal::NoChannel),
            // The builder has checked that the largest message fits, so only a hand-written limit gets here.
            Pushed::TooLarge(_) => Err(Refusal::TooLarge { bytes: M::MAX_BYTES, limit: M::MAX_BYTES }),
            Pushed::Closed(_) => Err(self.not_connected()),
        }
    }
}

/// The end of a connection whose peer takes too little of a channel with that policy.
fn overflow(channel: ChannelId) -> Closed {
    let reason = DisconnectReason::PingTimeout;
    Closed::local(Layer::Channel, Blame::Overload, reason, "outbound_overflow")
        .with_detail(channel.to_string())
}

fn has<M: Message>(link: &Link) -> bool {
    link.channel(M::CHANNEL).is_some()
}

/// Encodes a message at most once for each version.
struct Encoder<'a, M> {
    message: &'a M,
    /// Nearly always one element.
    encoded: Vec<(u32, Bytes)>,
}

impl<'a, M: Message> Encoder<'a, M> {
    fn new(message: &'a M) -> Self {
        Self { message, encoded: Vec::new() }
    }

    fn payload(&mut self, version: u32) -> Result<Bytes, Refusal> {
        if let Some((_, payload)) = self.encoded.iter().find(|(known, _)| *known == version) {
            return Ok(payload.clone());
        }
        let mut out = BytesMut::new();
        self.message.encode(version, &mut out);
        if out.len() > M::MAX_BYTES {
            return Err(Refusal::TooLarge { bytes: out.len(), limit: M::MAX_BYTES });
        }
        let payload = out.freeze();
        self.encoded.push((version, payload.clone()));
        Ok(payload)
    }
}
