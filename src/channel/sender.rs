//! The sending end of a channel.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::answering::Slots;
use super::cancellation::Cancellations;
use super::clock::Clock;
use super::counters::ChannelCounters;
use super::encoder::Encoder;
use super::inbound::InboundQueue;
use super::link::Link;
use super::options::{CancelId, SendOptions};
use super::outcome::{Fate, Outcome, SendError};
use super::recipients::{Base, Destination, Lots, Recipients};
use super::registry::Registry;
use super::reporting::BehaviourReport;
use super::selecting::has;
use crate::id::NodeId;
use crate::message::{Frame, Message, Refusal};

/// What all senders of a node share.
#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) me: NodeId,
    pub(crate) registry: Arc<Registry>,
    pub(crate) reports: mpsc::Sender<BehaviourReport>,
    /// Set when the node is built; nobody is connected before.
    pub(crate) seed: Arc<OnceLock<u64>>,
    pub(crate) cancellations: Arc<Cancellations>,
    pub(crate) clock: Clock,
}

/// Sends the messages of one channel. Clones send on the same channel, and may be given to other reactors of the
/// node, which then reach this channel's receiver as [`Recipients::local`].
pub struct Sender<M: Message> {
    pub(super) outbox: Outbox,
    pub(super) counters: Arc<ChannelCounters>,
    pub(super) local: Arc<InboundQueue<M>>,
    /// Local requests that are not answered yet.
    pub(super) local_requests: Arc<Slots>,
    pub(super) lots: Arc<Lots>,
}

impl<M: Message> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self {
            outbox: self.outbox.clone(),
            counters: Arc::clone(&self.counters),
            local: Arc::clone(&self.local),
            local_requests: Arc::clone(&self.local_requests),
            lots: Arc::clone(&self.lots),
        }
    }
}

impl<M: Message> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("channel", &M::CHANNEL)
            .field("me", &self.outbox.me)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl<M: Message> Sender<M> {
    pub(crate) fn new(outbox: Outbox, counters: Arc<ChannelCounters>, local: Arc<InboundQueue<M>>) -> Self {
        let local_requests = Arc::new(Slots::new(local.request_limit()));
        Self { outbox, counters, local, local_requests, lots: Arc::new(Lots::new()) }
    }

    /// Queues `message` for each recipient without waiting, and says what became of it for each.
    ///
    /// It is encoded once for each version of the protocol in use among them. Peers that lack the channel are no
    /// recipients of what goes to a group. Nobody is connected to itself: a message to this node's own
    /// identity is refused as [`Refusal::NotConnected`]; see [`Recipients::local`].
    pub fn try_send(&self, to: impl Into<Recipients>, message: M) -> Outcome {
        self.try_send_with(to, message, SendOptions::new())
    }

    /// As [`Sender::try_send`], for a message that carries more than itself.
    pub fn try_send_with(&self, to: impl Into<Recipients>, message: M, options: SendOptions) -> Outcome {
        let now = self.outbox.clock.now();
        let Recipients { base, conditions } = to.into();
        let mut outcome = Outcome::default();
        let mut put = |recipient, fate| {
            if !Fate::is_queued(fate) {
                self.counters.add_refused();
            }
            outcome.add(recipient, fate);
        };
        if let Base::Local = base {
            let me = self.outbox.me;
            put(me, self.local.push_local(now, me, &mut Some(message.received()), options.meta(now, 0)));
            return outcome;
        }
        let mut encoder = Encoder::new(&message);
        match (base, conditions.as_deref()) {
            (Base::One(peer), None) => put(peer, self.queue_for(now, peer, &mut encoder, options)),
            (Base::List(peers), None) => {
                for peer in peers {
                    put(peer, self.queue_for(now, peer, &mut encoder, options));
                }
            }
            (Base::All | Base::Local, None) => {
                for link in self.outbox.registry.all().iter().filter(|link| has::<M>(link)) {
                    put(link.peer(), self.queue_on(now, link, &mut encoder, options));
                }
            }
            (base, Some(conditions)) => {
                for (peer, link) in self.select(base, conditions) {
                    let fate = match link {
                        Ok(link) => self.queue_on(now, &link, &mut encoder, options),
                        Err(why) => Fate::Refused(why),
                    };
                    put(peer, fate);
                }
            }
        }
        outcome
    }

    /// Queues `message` for a peer, or for this node's own receiver, waiting at most `within` for room.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`] if there was no room in time; [`SendError::Refused`] if waiting cannot help.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future means the message was not queued; it is lost with the future.
    pub async fn send(
        &self,
        to: impl Into<Destination>,
        message: M,
        within: Duration,
    ) -> Result<(), SendError> {
        self.send_with(to, message, within, SendOptions::new()).await
    }

    /// As [`Sender::send`], for a message that carries more than itself. Its age counts from the moment when it is
    /// queued.
    ///
    /// # Errors
    ///
    /// As for [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// As for [`Sender::send`].
    pub async fn send_with(
        &self,
        to: impl Into<Destination>,
        message: M,
        within: Duration,
        options: SendOptions,
    ) -> Result<(), SendError> {
        let sent = match to.into() {
            Destination::Peer(peer) => self.send_to_peer(peer, message, within, options).await,
            Destination::Local => self.send_locally(message, within, options).await,
        };
        if sent.is_err() {
            self.counters.add_refused();
        }
        sent
    }

    /// Mints a name for messages and requests that may be taken back.
    #[must_use]
    pub fn cancel_id(&self) -> CancelId {
        self.outbox.cancellations.name()
    }

    /// Takes back what was sent under `id` and is still queued, for every peer and for this node's own receiver, and
    /// ends the requests under `id` with [`RequestError::Cancelled`](super::RequestError::Cancelled). Says how many
    /// messages and requests that were.
    ///
    /// It acts at once: a core, whose messages are sent when it returns, uses
    /// [`Outbox::cancel`](crate::reactor::Outbox::cancel), which keeps its place among them.
    ///
    /// O(peers x log of what is queued for each).
    pub fn cancel(&self, id: CancelId) -> usize {
        let requests = self.outbox.cancellations.cancel(id);
        let CancelId(id) = id;
        let from_links = self.outbox.registry.all().iter().map(|link| link.cancel(id)).sum::<usize>();
        requests + from_links + self.local.cancel(id)
    }

    pub(crate) fn clock(&self) -> Clock {
        self.outbox.clock
    }

    pub(crate) fn cancellations(&self) -> Arc<Cancellations> {
        Arc::clone(&self.outbox.cancellations)
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

    async fn send_to_peer(
        &self,
        peer: NodeId,
        message: M,
        within: Duration,
        options: SendOptions,
    ) -> Result<(), SendError> {
        let link = self.outbox.registry.get(&peer).ok_or_else(|| self.not_connected())?;
        // Encoded before the first await, so that the future holds bytes and not the message.
        let frame = self.frame(&link, &mut Encoder::new(&message))?;
        drop(message);
        let push = || {
            let now = self.outbox.clock.now();
            self.settled(link.offer(now, frame.clone(), options.meta(now, frame.payload.len())))
        };
        wait_for_room((self.outbox.clock, within), push, || link.room()).await
    }

    async fn send_locally(
        &self,
        message: M,
        within: Duration,
        options: SendOptions,
    ) -> Result<(), SendError> {
        let mut message = Some(message.received());
        let push = || {
            let now = self.outbox.clock.now();
            self.settled(self.local.push_local(now, self.outbox.me, &mut message, options.meta(now, 0)))
        };
        wait_for_room((self.outbox.clock, within), push, || self.local.local_room()).await
    }

    fn queue_for(
        &self,
        now: Instant,
        peer: NodeId,
        encoder: &mut Encoder<'_, M>,
        options: SendOptions,
    ) -> Fate {
        match self.outbox.registry.get(&peer) {
            Some(link) => self.queue_on(now, &link, encoder, options),
            None => Fate::Refused(self.not_connected()),
        }
    }

    fn queue_on(
        &self,
        now: Instant,
        link: &Link,
        encoder: &mut Encoder<'_, M>,
        options: SendOptions,
    ) -> Fate {
        let queued = self.frame(link, encoder).and_then(|frame| {
            let meta = options.meta(now, frame.payload.len());
            self.settled(link.offer(now, frame, meta))
        });
        queued.unwrap_or_else(Fate::Refused)
    }

    fn frame(&self, link: &Link, encoder: &mut Encoder<'_, M>) -> Result<Frame, Refusal> {
        if self.outbox.registry.is_sealed() {
            return Err(Refusal::ShuttingDown);
        }
        let channel = link.channel(M::CHANNEL).ok_or(Refusal::NoChannel)?;
        let payload = encoder.payload(channel.version)?;
        Ok(Frame { channel: M::CHANNEL, code: encoder.message.code(), payload })
    }

    /// Tells a closing connection from a closing node.
    fn settled(&self, fate: Fate) -> Result<Fate, Refusal> {
        match fate {
            Fate::Refused(Refusal::NotConnected) => Err(self.not_connected()),
            Fate::Refused(why) => Err(why),
            fate => Ok(fate),
        }
    }

    pub(super) fn not_connected(&self) -> Refusal {
        if self.outbox.registry.is_sealed() { Refusal::ShuttingDown } else { Refusal::NotConnected }
    }
}

/// Tries until there is room, or `within` has passed.
async fn wait_for_room<'a, T>(
    (clock, within): (Clock, Duration),
    mut push: impl FnMut() -> Result<T, Refusal>,
    room: impl Fn() -> tokio::sync::futures::Notified<'a>,
) -> Result<(), SendError> {
    match push() {
        Err(Refusal::Full) => {}
        settled => return settled.map(|_| ()).map_err(SendError::Refused),
    }
    let queued = async {
        loop {
            // Listening for room before trying, lest it comes in between.
            let mut room = std::pin::pin!(room());
            room.as_mut().enable();
            match push() {
                Err(Refusal::Full) => room.await,
                settled => return settled.map(|_| ()),
            }
        }
    };
    match clock.timeout(within, queued).await {
        Ok(queued) => queued.map_err(SendError::Refused),
        Err(_) => Err(SendError::TimedOut),
    }
}
