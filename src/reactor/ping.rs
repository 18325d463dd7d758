//! Measures the round trip to every peer: a question and its answer over a channel of their own.
//!
//! Each peer has at most one question in flight, so the reactor's memory is bounded by the peers. A
//! question that is not answered before the next is due is reported as lost; an answer to no question is
//! reported to the peer manager.
//!
//! It judges nobody by the time that an answer took, and ends no connection for a lost one: the keep-alive of the
//! connection does that.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::channel::{Channel, Envelope, PeerUpdates};
use crate::event::Misbehaviour;
use crate::id::NodeId;
use crate::message::Message;
use crate::peer::PeerUpdate;

crate::protocol! {
    /// What ping reactors say.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Ping: "ping" / 1, max 64 {
        /// Asks for a [`Ping::Answer`] with the same id.
        0 = Question { id: u64 },
        /// Answers the question with this id.
        1 = Answer { id: u64 },
    }
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// It was answered after this time.
    RoundTrip(Duration),
    /// It was not answered before the next was due, or could not be sent.
    Lost,
}

/// The reactor's state: whom it asks, and what it waits for.
struct Pinger<F> {
    channel: Channel<Ping>,
    /// Peers that are up, each with its open question.
    peers: BTreeMap<NodeId, Option<(u64, Instant)>>,
    next_id: u64,
    measured: F,
}

/// Asks every peer each `every` (at least 1 ms), answers their questions, and tells `measured` what it finds.
///
/// Once `quiet` is cancelled it asks no more, but goes on answering. Ends with the node.
///
/// # Cancel safety
///
/// Dropping it forgets the questions in flight and nothing else.
pub async fn run(
    channel: Channel<Ping>,
    mut updates: PeerUpdates,
    every: Duration,
    quiet: CancellationToken,
    measured: impl FnMut(NodeId, Measured) + Send,
) {
    let mut pinger = Pinger { channel, peers: BTreeMap::new(), next_id: 0, measured };
    let mut tick = interval(every.max(Duration::from_millis(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            update = updates.next() => match update {
                Some(update) => pinger.on_update(&update),
                None => return,
            },
            _ = tick.tick(), if !quiet.is_cancelled() => pinger.on_tick(Instant::now()),
            message = pinger.channel.recv() => match message {
                Some(message) => pinger.on_message(message, Instant::now()),
                None => return,
            },
        }
    }
}

impl<F: FnMut(NodeId, Measured) + Send> Pinger<F> {
    fn on_update(&mut self, update: &PeerUpdate) {
        match update {
            PeerUpdate::Up { peer, .. } => {
                if update.version_of(Ping::CHANNEL).is_some() {
                    self.peers.insert(*peer, None);
                }
            }
            PeerUpdate::Down { peer, .. } => {
                self.peers.remove(peer);
            }
        }
    }

    fn on_tick(&mut self, now: Instant) {
        for (peer, open) in &mut self.peers {
            if open.take().is_some() {
                (self.measured)(*peer, Measured::Lost);
            }
            self.next_id += 1;
            match self.channel.try_send(*peer, Ping::Question { id: self.next_id }).ok() {
                Ok(_) => *open = Some((self.next_id, now)),
                Err(_) => (self.measured)(*peer, Measured::Lost),
            }
        }
    }

    fn on_message(&mut self, Envelope { from, conn, message }: Envelope<Ping>, now: Instant) {
        match message {
            // A peer that cannot take our answer will count its question as lost.
            Ping::Question { id } => self.channel.try_send(from, Ping::Answer { id }).ignore(),
            Ping::Answer { id } => match self.peers.get_mut(&from) {
                Some(open) if open.is_some_and(|(asked, _)| asked == id) => {
                    if let Some((_, asked_at)) = open.take() {
                        (self.measured)(from, Measured::RoundTrip(now - asked_at));
                    }
                }
                // Late by one question, or from a peer that has just gone: nobody's fault.
                _ if id <= self.next_id => {}
                _ => {
                    // If the report finds no room, the next such answer makes another.
                    let what = Misbehaviour::UnaskedAnswer;
                    let _ = self.channel.sender().report(from, conn, what, "its id was never used");
                }
            },
        }
    }
}
