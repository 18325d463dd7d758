//! Measures the round trip to every peer: a question and its answer over a channel of their own.
//!
//! Each peer has at most one question in flight, since a question waits no longer than until the next one. What
//! became of each is told; an answer that nobody asked for is the connection's business, and reported by it.
//!
//! Each round trip is reported to the peer manager, which prefers near peers. No connection ends for a lost answer: the
//! keep-alive of the connection does that.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::{Outbox, Reactor, SendId};
use crate::channel::{Envelope, Refusal};
use crate::id::{ConnId, NodeId};
use crate::message::Message;
use crate::peer::PeerUpdate;

crate::protocol! {
    /// What ping reactors say.
    #[derive(Debug)]
    pub enum Ping: "ping" / 1, max 64 {
        /// Wants an answer and nothing else.
        0 = Question -> Answer,
        /// Answers.
        1 = answer Answer,
    }
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// It was answered after this time.
    RoundTrip(Duration),
    /// It was not answered before the next was due, could not be sent, or its peer went.
    Lost,
}

/// What a pinger is told beside messages and peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// From the application: ask no more, but go on answering.
    Quiet,
    /// A question ended.
    Ended {
        /// Who was asked.
        peer: NodeId,
        /// On which connection.
        conn: ConnId,
        /// When.
        asked: Instant,
        /// Whether there was an answer.
        answered: bool,
    },
}

/// Asks every peer in turn, answers their questions, and tells what it finds.
pub struct Pinger<F> {
    every: Duration,
    measured: F,
    /// Those who are up and have the channel, with their connections.
    peers: BTreeMap<NodeId, ConnId>,
    /// When to ask them next. Kept when all have gone, so that one who comes back at once is not asked sooner.
    next: Option<Instant>,
    quiet: bool,
}

impl<F> fmt::Debug for Pinger<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinger")
            .field("every", &self.every)
            .field("peers", &self.peers)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl<F: FnMut(NodeId, Measured) + Send + 'static> Pinger<F> {
    /// Makes one that asks each peer each `every` (at least 1 ms) and tells `measured` what became of it.
    pub fn new(every: Duration, measured: F) -> Self {
        let every = every.max(Duration::from_millis(1));
        Self { every, measured, peers: BTreeMap::new(), next: None, quiet: false }
    }
}

impl<F: FnMut(NodeId, Measured) + Send + 'static> Reactor for Pinger<F> {
    type Message = Ping;
    type Event = Event;

    fn on_peer(&mut self, now: Instant, update: &PeerUpdate, _out: &mut Outbox<Self>) {
        match update {
            PeerUpdate::Up { peer, conn, .. } if update.version_of(Ping::CHANNEL).is_some() => {
                self.peers.insert(*peer, *conn);
                self.next.get_or_insert(now);
            }
            PeerUpdate::Up { .. } => {}
            PeerUpdate::Down { peer, .. } => {
                self.peers.remove(peer);
            }
        }
    }

    fn on_message(&mut self, _now: Instant, envelope: Envelope<Ping>, _out: &mut Outbox<Self>) {
        match envelope.message {
            Ping::Question(request) => {
                // A peer that cannot take our answer counts its question as lost.
                let _ = request.responder.try_answer(Answer);
            }
        }
    }

    fn on_event(&mut self, now: Instant, event: Event, out: &mut Outbox<Self>) {
        match event {
            Event::Quiet => self.quiet = true,
            Event::Ended { peer, conn, asked, answered: true } => {
                let took = now.saturating_duration_since(asked);
                out.measure(peer, conn, took);
                (self.measured)(peer, Measured::RoundTrip(took));
            }
            Event::Ended { peer, answered: false, .. } => (self.measured)(peer, Measured::Lost),
        }
    }

    fn on_timeout(&mut self, now: Instant, out: &mut Outbox<Self>) {
        for (&peer, &conn) in &self.peers {
            out.request(peer, Question, self.every, move |answer| Event::Ended {
                peer,
                conn,
                asked: now,
                answered: answer.is_ok(),
            });
        }
        self.next = now.checked_add(self.every);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next.filter(|_| !self.quiet && !self.peers.is_empty())
    }

    fn on_refused(&mut self, _: Instant, _: SendId, _: NodeId, _: Refusal, _: &mut Outbox<Self>) {
        // It sends nothing but questions and answers, and what becomes of those is known elsewhere.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Recipients, RequestError};
    use crate::event::Act;
    use crate::id::NodeKey;
    use crate::reactor::testing;

    const EVERY: Duration = Duration::from_millis(50);

    type Told = std::sync::Arc<std::sync::Mutex<Vec<(NodeId, Measured)>>>;

    fn id(seed: u64) -> NodeId {
        NodeKey::insecure_from_seed(seed).id()
    }

    #[allow(clippy::disallowed_methods, reason = "there is no other way to make an instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn pinger() -> (Pinger<impl FnMut(NodeId, Measured) + Send + 'static>, Told) {
        let told = Told::default();
        let tell = Told::clone(&told);
        (Pinger::new(EVERY, move |peer, what| tell.lock().unwrap().push((peer, what))), told)
    }

    #[test]
    fn each_peer_with_the_channel_is_asked_at_once_and_then_in_time() {
        let ((mut core, told), mut out, t) = (pinger(), Outbox::new(), start());
        assert_eq!(core.next_timeout(), None);
        core.on_peer(t, &testing::up::<crate::reactor::chat::Chat>(id(3), 3), &mut out);
        assert_eq!(core.next_timeout(), None, "it lacks the channel");
        core.on_peer(t, &testing::up::<Ping>(id(1), 1), &mut out);
        core.on_peer(t, &testing::up::<Ping>(id(2), 2), &mut out);
        assert!(out.is_empty());
        assert_eq!(core.next_timeout(), Some(t));

        core.on_timeout(t, &mut out);
        let first = out.take_request::<Question>().unwrap();
        let second = out.take_request::<Question>().unwrap();
        assert!(out.is_empty());
        let mut asked = [id(1), id(2)];
        asked.sort();
        assert_eq!([&first.to, &second.to], [&Recipients::from(asked[0]), &Recipients::from(asked[1])]);
        assert_eq!(first.within, EVERY, "no longer than until the next question");
        assert_eq!(core.next_timeout(), Some(t + EVERY));

        let later = t + Duration::from_millis(7);
        core.on_event(later, first.answer(asked[0], Answer), &mut out);
        core.on_event(later, second.fail(RequestError::PeerGone), &mut out);
        let measured = [Measured::RoundTrip(Duration::from_millis(7)), Measured::Lost];
        assert_eq!(*told.lock().unwrap(), [(asked[0], measured[0]), (asked[1], measured[1])]);
        let told: Vec<_> = out.take_reports().into_iter().map(|it| (it.peer, it.conn, it.what)).collect();
        let conn = ConnId::new(if asked[0] == id(1) { 1 } else { 2 });
        assert_eq!(told, [(asked[0], conn, Act::Took(Duration::from_millis(7)))], "and to the peer manager");
    }

    #[test]
    fn it_answers_and_goes_quiet_but_answers_still() {
        let ((mut core, _told), mut out, t) = (pinger(), Outbox::new(), start());
        core.on_peer(t, &testing::up::<Ping>(id(1), 1), &mut out);
        core.on_event(t, Event::Quiet, &mut out);
        assert_eq!(core.next_timeout(), None);
        let (envelope, reply) = testing::question(id(1), 1, Question);
        core.on_message(t, envelope, &mut out);
        assert_eq!(reply.take(), Some(Answer));
        assert!(out.is_empty());
    }

    #[test]
    fn nobody_is_asked_who_has_gone() {
        let ((mut core, _told), mut out, t) = (pinger(), Outbox::new(), start());
        core.on_peer(t, &testing::up::<Ping>(id(1), 1), &mut out);
        core.on_timeout(t, &mut out);
        assert!(out.take_request::<Question>().is_some());
        core.on_peer(t, &testing::down(id(1), 1), &mut out);
        assert_eq!(core.next_timeout(), None);
        core.on_peer(t, &testing::up::<Ping>(id(1), 2), &mut out);
        assert_eq!(core.next_timeout(), Some(t + EVERY), "not sooner for having been away");
    }
}
