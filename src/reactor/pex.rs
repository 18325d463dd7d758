//! Exchanges addresses: asks peers whom else they know, and tells them.
//!
//! Each peer is asked when it comes up, and then from time to time. What it answers goes to the node's
//! [`AddressBook`], which decides what to take up; what others are told comes from there. No peer is answered more often
//! than it is due, so that nobody reads the whole book by asking.
//!
//! A peer that answers with more than it was asked for, or with what is no address, is reported. Whether an address leads
//! to the node that it names, only a dial can tell: limits by source and by range of addresses
//! ([`Config`](crate::peer::Config)) are what holds against lies.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::{Outbox, Reactor, SendId};
use crate::address::NodeAddress;
use crate::channel::{AddressBook, Envelope, Refusal, RequestError};
use crate::event::Misbehaviour;
use crate::id::{ConnId, NodeId};
use crate::message::Message;
use crate::peer::PeerUpdate;

crate::protocol! {
    /// What exchangers say.
    #[derive(Debug)]
    pub enum Exchange: "pex" / 1, max 16_384 {
        /// Wants addresses.
        0 = WhoElse -> Known,
        /// Addresses as URLs, at most [`MAX_TOLD`].
        1 = answer Known { addresses: Vec<String> },
    }
}

/// Most addresses in an answer.
pub const MAX_TOLD: usize = 32;

/// Longest address in an answer, in bytes. Longer ones are not told.
pub const MAX_ADDRESS_BYTES: usize = 400;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an exchanger needs of the node that it is part of.
pub trait Book: Send + 'static {
    /// Takes up what `from` tells, as far as it can be used.
    fn learn(&mut self, from: NodeId, addresses: Vec<NodeAddress>);

    /// Chooses at most `most` addresses for `to`, and gives them to `then`, now or soon. May drop it if too busy.
    fn choose(&mut self, to: NodeId, most: usize, then: Box<dyn FnOnce(Vec<NodeAddress>) + Send>);
}

impl Book for AddressBook {
    fn learn(&mut self, from: NodeId, addresses: Vec<NodeAddress>) {
        // A node that is too busy to listen will hear of them another time.
        let _ = AddressBook::learn(self, from, addresses);
    }

    fn choose(&mut self, to: NodeId, most: usize, then: Box<dyn FnOnce(Vec<NodeAddress>) + Send>) {
        // Then the responder is dropped, and the peer hears that it is refused.
        let _ = AddressBook::choose(self, to, most, then);
    }
}

/// What became of a question of an exchanger.
#[derive(Debug)]
pub struct Answered {
    peer: NodeId,
    conn: ConnId,
    answer: Result<Known, RequestError>,
}

/// Asks peers for addresses, and tells them some.
pub struct Exchanger<B> {
    book: B,
    every: Duration,
    peers: BTreeMap<NodeId, Acquaintance>,
}

/// A peer that has the channel.
#[derive(Debug, Clone, Copy)]
struct Acquaintance {
    conn: ConnId,
    /// When it is asked next.
    ask: Instant,
    /// From when on it is answered again.
    tell: Instant,
}

impl<B> fmt::Debug for Exchanger<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanger")
            .field("every", &self.every)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

impl<B: Book> Exchanger<B> {
    /// Makes one that asks each peer each `every` (at least a second), and answers each twice as often at most.
    pub fn new(book: B, every: Duration) -> Self {
        Self { book, every: every.max(Duration::from_secs(1)), peers: BTreeMap::new() }
    }

    /// The addresses of an answer that can be used; whether all can.
    fn read(known: Known) -> (Vec<NodeAddress>, bool) {
        let told = known.addresses.len();
        let addresses: Vec<NodeAddress> = known
            .addresses
            .into_iter()
            .take(MAX_TOLD)
            .filter(|text| text.len() <= MAX_ADDRESS_BYTES)
            .filter_map(|text| text.parse().ok())
            .collect();
        let sound = addresses.len() == told;
        (addresses, sound)
    }
}

impl<B: Book> Reactor for Exchanger<B> {
    type Message = Exchange;
    type Event = Answered;

    fn on_peer(&mut self, now: Instant, update: &PeerUpdate, _out: &mut Outbox<Self>) {
        match update {
            PeerUpdate::Up { peer, conn, .. } if update.version_of(Exchange::CHANNEL).is_some() => {
                self.peers.insert(*peer, Acquaintance { conn: *conn, ask: now, tell: now });
            }
            PeerUpdate::Up { .. } => {}
            PeerUpdate::Down { peer, .. } => {
                self.peers.remove(peer);
            }
        }
    }

    fn on_message(&mut self, now: Instant, envelope: Envelope<Exchange>, _out: &mut Outbox<Self>) {
        let Exchange::WhoElse(request) = envelope.message;
        let Some(peer) = self.peers.get_mut(&envelope.from).filter(|peer| peer.tell <= now) else {
            // Not yet known to be up, gone, or asking too often: it may ask again.
            return;
        };
        peer.tell = now.checked_add(self.every / 2).unwrap_or(now);
        let responder = request.responder;
        let then = move |chosen: Vec<NodeAddress>| {
            let texts = chosen.iter().map(ToString::to_string);
            let addresses = texts.filter(|text| text.len() <= MAX_ADDRESS_BYTES).collect();
            // If it finds no room, the peer hears that it is refused.
            let _ = responder.try_answer(Known { addresses });
        };
        self.book.choose(envelope.from, MAX_TOLD, Box::new(then));
    }

    fn on_event(&mut self, _now: Instant, event: Answered, out: &mut Outbox<Self>) {
        let Answered { peer, conn, answer: Ok(known) } = event else { return };
        let (addresses, sound) = Self::read(known);
        if !sound {
            out.report(
                peer,
                conn,
                Misbehaviour::Nuisance,
                "told more than it was asked for, or no addresses",
            );
        }
        if !addresses.is_empty() {
            self.book.learn(peer, addresses);
        }
    }

    fn on_timeout(&mut self, now: Instant, out: &mut Outbox<Self>) {
        for (&peer, known) in self.peers.iter_mut().filter(|(_, known)| known.ask <= now) {
            let conn = known.conn;
            out.request(peer, WhoElse, PATIENCE, move |answer| Answered { peer, conn, answer });
            known.ask = now.checked_add(self.every).unwrap_or(now);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.peers.values().map(|peer| peer.ask).min()
    }

    fn on_refused(&mut self, _: Instant, _: SendId, _: NodeId, _: Refusal, _: &mut Outbox<Self>) {
        // It sends nothing but questions and answers.
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::id::NodeKey;
    use crate::reactor::testing;

    const EVERY: Duration = Duration::from_secs(60);

    /// A book that holds two addresses, and takes note of what it learns.
    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Learned>>);

    type Learned = Vec<(NodeId, Vec<NodeAddress>)>;

    impl Book for Notes {
        fn learn(&mut self, from: NodeId, addresses: Vec<NodeAddress>) {
            self.0.lock().unwrap().push((from, addresses));
        }

        fn choose(&mut self, _: NodeId, most: usize, then: Box<dyn FnOnce(Vec<NodeAddress>) + Send>) {
            assert_eq!(most, MAX_TOLD);
            then(vec![address(8), address(9)]);
        }
    }

    fn id(seed: u64) -> NodeId {
        NodeKey::insecure_from_seed(seed).id()
    }

    fn address(seed: u64) -> NodeAddress {
        NodeAddress::rlpx(id(seed), ([9, 8, 7, 6], 30_303).into())
    }

    #[allow(clippy::disallowed_methods, reason = "there is no other way to make an instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn exchanger() -> (Exchanger<Notes>, Notes, Outbox<Exchanger<Notes>>) {
        let notes = Notes::default();
        (Exchanger::new(notes.clone(), EVERY), notes, Outbox::new())
    }

    #[test]
    fn a_peer_is_asked_at_once_and_then_from_time_to_time() {
        let ((mut core, _, mut out), t) = (exchanger(), start());
        core.on_peer(t, &testing::up::<crate::reactor::chat::Chat>(id(3), 3), &mut out);
        assert_eq!(core.next_timeout(), None, "it lacks the channel");
        core.on_peer(t, &testing::up::<Exchange>(id(1), 1), &mut out);
        assert_eq!(core.next_timeout(), Some(t));
        core.on_timeout(t, &mut out);
        assert!(out.take_request::<WhoElse>().is_some());
        assert_eq!(core.next_timeout(), Some(t + EVERY));
        core.on_timeout(t + EVERY / 2, &mut out);
        assert!(out.take_request::<WhoElse>().is_none());
        core.on_peer(t, &testing::down(id(1), 1), &mut out);
        assert_eq!(core.next_timeout(), None);
    }

    #[test]
    fn what_it_answers_is_learned_and_what_is_no_address_reported() {
        let ((mut core, notes, mut out), t) = (exchanger(), start());
        core.on_peer(t, &testing::up::<Exchange>(id(1), 1), &mut out);
        let mut answer = |addresses: Vec<String>| {
            core.on_timeout(t + EVERY * 9, &mut out);
            core.peers.get_mut(&id(1)).unwrap().ask = t;
            let asked = out.take_request::<WhoElse>().unwrap();
            let event = asked.answer(id(1), Known { addresses });
            core.on_event(t, event, &mut out);
            let learned = std::mem::take(&mut *notes.0.lock().unwrap());
            (learned, out.take_reports().len())
        };
        let two = vec![address(2), address(3)];
        let texts: Vec<String> = two.iter().map(ToString::to_string).collect();
        assert_eq!(answer(texts.clone()), (vec![(id(1), two.clone())], 0));
        assert_eq!(answer(vec![]), (vec![], 0));
        let with_nonsense = [texts.clone(), vec!["nonsense".into()]].concat();
        assert_eq!(answer(with_nonsense), (vec![(id(1), two)], 1));
        assert_eq!(answer(vec!["x".repeat(500)]), (vec![], 1));
        let many = vec![texts[0].clone(); MAX_TOLD + 1];
        assert_eq!(answer(many), (vec![(id(1), vec![address(2); MAX_TOLD])], 1));
    }

    #[test]
    fn nobody_is_answered_more_often_than_it_is_due_and_strangers_not_at_all() {
        let ((mut core, _, mut out), t) = (exchanger(), start());
        core.on_peer(t, &testing::up::<Exchange>(id(1), 1), &mut out);
        let mut ask = |from, at| {
            let (envelope, reply) = testing::question(id(from), from, WhoElse);
            core.on_message(at, envelope, &mut out);
            (reply.take().map(|known| known.addresses.len()), reply.is_refused())
        };
        assert_eq!(ask(1, t), (Some(2), false));
        assert_eq!(ask(1, t + EVERY / 2 - Duration::from_millis(1)), (None, true));
        assert_eq!(ask(1, t + EVERY / 2), (Some(2), false));
        assert_eq!(ask(2, t), (None, true));
    }
}
