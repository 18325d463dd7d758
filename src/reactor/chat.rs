//! Spreads lines of text to every node of a network: a small flood with de-duplication.
//!
//! A node sends each line that it sees for the first time to all its peers but the one it came from. A line
//! is known by its origin's identity and a number that the origin chose. The last [`REMEMBERED`] lines are
//! remembered, so a line that is older than that could be seen again.
//!
//! The origin is a claim: only the peer that a line came from is proved. Chat does not sign, keeps no history for
//! those who come later, and sends no line twice to a peer that missed it.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Instant;

use super::{Outbox, Reactor, SendId};
use crate::channel::{Envelope, Recipients, Refusal};
use crate::event::Misbehaviour;
use crate::id::NodeId;

/// Longest line in bytes.
pub const MAX_LINE_BYTES: usize = 4 * 1024;

/// How many lines are remembered, to know them again.
pub const REMEMBERED: usize = 8 * 1024;

crate::protocol! {
    /// What chat reactors say.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Chat: "chat" / 1, max 5 * 1024 {
        /// A line of text, from whoever wrote it first.
        0 = Line { origin: [u8; 64], number: u64, text: String },
    }
}

/// A line that was heard for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Who is said to have written it.
    pub origin: NodeId,
    /// The text, as it was sent: whoever shows it must strip control characters.
    pub text: String,
}

/// Says what it is given to say (its events are lines), passes on what peers say, and tells each new line.
pub struct Flood<F> {
    me: NodeId,
    next_number: u64,
    seen: BTreeSet<([u8; 64], u64)>,
    order: VecDeque<([u8; 64], u64)>,
    heard: F,
}

impl<F> fmt::Debug for Flood<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flood")
            .field("me", &self.me)
            .field("next_number", &self.next_number)
            .field("seen", &self.seen.len())
            .finish_non_exhaustive()
    }
}

impl<F: FnMut(Heard) + Send + 'static> Flood<F> {
    /// Makes one that speaks for `me`, and tells `heard` of each line of others.
    ///
    /// `first_number` must be above every number that this node used before: a random one will do.
    pub fn new(me: NodeId, first_number: u64, heard: F) -> Self {
        Self { me, next_number: first_number, seen: BTreeSet::new(), order: VecDeque::new(), heard }
    }

    /// Whether a line is seen for the first time; remembers it.
    fn is_new(&mut self, origin: [u8; 64], number: u64) -> bool {
        if !self.seen.insert((origin, number)) {
            return false;
        }
        self.order.push_back((origin, number));
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

impl<F: FnMut(Heard) + Send + 'static> Reactor for Flood<F> {
    type Message = Chat;
    /// A line to say. Above [`MAX_LINE_BYTES`] it is cut at a character.
    type Event = String;

    fn on_message(&mut self, _now: Instant, envelope: Envelope<Chat>, out: &mut Outbox<Self>) {
        let Envelope { from, conn, message: Chat::Line { origin, number, text } } = envelope;
        let Ok(writer) = NodeId::from_bytes(origin) else {
            return out.report(from, conn, Misbehaviour::Breach, "an origin that is no identity");
        };
        if text.len() > MAX_LINE_BYTES || !self.is_new(origin, number) {
            return;
        }
        (self.heard)(Heard { origin: writer, text: text.clone() });
        out.send(Recipients::all().but(from), Chat::Line { origin, number, text });
    }

    fn on_event(&mut self, _now: Instant, mut text: String, out: &mut Outbox<Self>) {
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        text.truncate(text.floor_char_boundary(MAX_LINE_BYTES));
        let origin = *self.me.as_bytes();
        self.is_new(origin, number);
        out.send(Recipients::all(), Chat::Line { origin, number, text });
    }

    fn on_refused(&mut self, _: Instant, _: SendId, _: NodeId, _: Refusal, _: &mut Outbox<Self>) {
        // A peer whose queue is full misses the line; others may pass it on.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ConnId, NodeKey};
    use crate::reactor::testing;
    use std::sync::{Arc, Mutex};

    type Told = Arc<Mutex<Vec<String>>>;

    fn id(seed: u64) -> NodeId {
        NodeKey::insecure_from_seed(seed).id()
    }

    #[allow(clippy::disallowed_methods, reason = "there is no other way to make an instant")]
    fn now() -> Instant {
        Instant::now()
    }

    fn flood() -> (Flood<impl FnMut(Heard) + Send + 'static>, Told) {
        let told = Told::default();
        let tell = Arc::clone(&told);
        (Flood::new(id(1), 7, move |line: Heard| tell.lock().unwrap().push(line.text)), told)
    }

    fn line(origin: NodeId, number: u64, text: &str) -> Chat {
        Chat::Line { origin: *origin.as_bytes(), number, text: text.into() }
    }

    #[test]
    fn a_line_is_told_once_and_goes_to_all_but_whence_it_came() {
        let ((mut core, told), mut out) = (flood(), Outbox::new());
        for from in [id(2), id(3)] {
            core.on_message(now(), testing::message(from, 1, line(id(4), 1, "hello")), &mut out);
        }
        let sent = out.take_sent();
        assert_eq!(sent.len(), 1);
        assert_eq!(
            (&sent[0].to, &sent[0].message),
            (&Recipients::all().but(id(2)), &line(id(4), 1, "hello"))
        );
        assert_eq!(*told.lock().unwrap(), ["hello"]);
    }

    #[test]
    fn lines_of_its_own_are_numbered_and_not_heard_when_they_come_back() {
        let ((mut core, told), mut out) = (flood(), Outbox::new());
        core.on_event(now(), "one".into(), &mut out);
        core.on_event(now(), "ä".repeat(MAX_LINE_BYTES), &mut out);
        let sent = out.take_sent();
        assert_eq!(sent[0].message, line(id(1), 7, "one"));
        let Chat::Line { number, text, .. } = &sent[1].message;
        assert_eq!((*number, text.len()), (8, MAX_LINE_BYTES));
        core.on_message(now(), testing::message(id(2), 1, sent[0].message.clone()), &mut out);
        assert!(out.is_empty() && told.lock().unwrap().is_empty());
    }

    #[test]
    fn a_false_origin_is_reported_and_goes_no_further() {
        let ((mut core, _told), mut out) = (flood(), Outbox::new());
        let lie = Chat::Line { origin: [0; 64], number: 1, text: "hello".into() };
        core.on_message(now(), testing::message(id(2), 5, lie), &mut out);
        let reports = out.take_reports();
        assert_eq!((reports[0].peer, reports[0].conn), (id(2), ConnId::new(5)));
        assert_eq!((reports.len(), reports[0].what), (1, Misbehaviour::Breach.into()));
        assert!(out.is_empty());
    }

    #[test]
    fn the_oldest_line_is_forgotten() {
        let ((mut core, told), mut out) = (flood(), Outbox::new());
        let numbers = (0..=REMEMBERED as u64).chain([REMEMBERED as u64, 0]);
        for number in numbers {
            core.on_message(now(), testing::message(id(2), 1, line(id(4), number, "")), &mut out);
        }
        assert_eq!(told.lock().unwrap().len(), REMEMBERED + 2);
    }
}
