//! Spreads lines of text to every node of a network: a small flood with de-duplication.
//!
//! A node sends each line that it sees for the first time to all its peers but the one it came from. A line
//! is known by its origin's identity and a number that the origin chose. The last [`REMEMBERED`] lines are
//! remembered, so a line that is older than that could be seen again.
//!
//! The origin is a claim: only the peer that a line came from is proved. Chat does not sign, keeps no history for
//! those who come later, and sends no line twice to a peer that missed it.

use std::collections::{BTreeSet, VecDeque};

use tokio::sync::mpsc;

use crate::channel::{Channel, Envelope, Recipients};
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

struct Flood<F> {
    me: NodeId,
    next_number: u64,
    channel: Channel<Chat>,
    seen: BTreeSet<([u8; 64], u64)>,
    order: VecDeque<([u8; 64], u64)>,
    heard: F,
}

/// Sends what comes on `lines`, passes on what comes from peers, and tells `heard` of each new line. Ends
/// with the node; the end of `lines` does not end it.
///
/// `first_number` must be above every number that this node used before: a random one will do. Lines above
/// [`MAX_LINE_BYTES`] are cut at a character.
///
/// # Cancel safety
///
/// Dropping it loses no line but the one in hand.
pub async fn run(
    me: NodeId,
    first_number: u64,
    channel: Channel<Chat>,
    mut lines: mpsc::Receiver<String>,
    heard: impl FnMut(Heard) + Send,
) {
    let (seen, order) = (BTreeSet::new(), VecDeque::new());
    let mut flood = Flood { me, next_number: first_number, channel, seen, order, heard };
    let mut more_lines = true;
    loop {
        tokio::select! {
            biased;
            message = flood.channel.recv() => match message {
                Some(message) => {
                    flood.on_message(message);
                    // One line of ours for each of theirs: peers that never cease do not silence this node.
                    if let Ok(text) = lines.try_recv() {
                        flood.say(text);
                    }
                }
                None => return,
            },
            line = lines.recv(), if more_lines => match line {
                Some(text) => flood.say(text),
                None => more_lines = false,
            },
        }
    }
}

impl<F: FnMut(Heard) + Send> Flood<F> {
    fn say(&mut self, mut text: String) {
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        text.truncate(text.floor_char_boundary(MAX_LINE_BYTES));
        let origin = *self.me.as_bytes();
        self.is_new(origin, number);
        // A peer whose queue is full misses the line; others may pass it on.
        self.channel.try_send(Recipients::all(), Chat::Line { origin, number, text }).ignore();
    }

    fn on_message(&mut self, Envelope { from, conn, message }: Envelope<Chat>) {
        let Chat::Line { origin, number, text } = message;
        let Ok(writer) = NodeId::from_bytes(origin) else {
            // If the report finds no room, the next such line makes another.
            let _ = self.channel.sender().report(
                from,
                conn,
                Misbehaviour::Breach,
                "an origin that is no identity",
            );
            return;
        };
        if text.len() > MAX_LINE_BYTES || !self.is_new(origin, number) {
            return;
        }
        (self.heard)(Heard { origin: writer, text: text.clone() });
        self.channel.try_send(Recipients::all().but(from), Chat::Line { origin, number, text }).ignore();
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
