//! The questions of one connection that wait for an answer.
//!
//! [`Waiters`] is a table. It decides when a question goes on the wire and under which id, finds the question
//! that an answer belongs to, and says whose fault it is when there is none. With each question it keeps a
//! *waiter*, whatever the shell needs to send it and to tell its asker, and never looks at it. It never
//! waits, reads a clock, spawns, logs, or drops a waiter: each is handed back exactly once.
//!
//! # How to drive it
//!
//! ```
//! use peerage::id::ChannelId;
//! use peerage::request::{Asked, Limits, Verdict, Waiters};
//! # let now = std::time::Instant::now();
//! const ETH: ChannelId = ChannelId::from_static("eth");
//! const BLOCK_HEADERS: u8 = 4;
//!
//! let mut waiters = Waiters::new(Limits::new(64, 256)?, [ETH]);
//! let Asked::Waiting(ticket) = waiters.ask(ETH, BLOCK_HEADERS, "which headers?") else {
//!     panic!("there is room");
//! };
//! while let Some(out) = waiters.poll_send(now) {
//!     assert_eq!((out.ticket, out.id), (ticket, 1)); // put the question on the wire under this id
//! }
//! match waiters.answered(now, ETH, BLOCK_HEADERS, 1) {
//!     Verdict::Matched { waiter, .. } => assert_eq!(waiter, "which headers?"), // only now decode the answer
//!     verdict if verdict.is_peers_fault() => panic!("end the connection"),
//!     _ => {} // too late: drop the answer
//! }
//! assert_eq!(waiters.give_up(ticket), None, "nothing is left to give up");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! 1. After **each** input (`ask`, `answered`, `refused`, `give_up`) drain [`Waiters::poll_send`] until it says
//!    `None`, with a `now` that never goes back. What waits between two inputs then waits for a slot, not for
//!    the caller.
//! 2. The asker's deadline is the caller's: when it passes, or the asker is dropped, call [`Waiters::give_up`].
//!    So does a question that could not be put on the wire after all; its id is spent.
//! 3. When the connection ends call [`Waiters::close`], and tell all that it hands back.
//!
//! # How an answer is judged
//!
//! Ids count up from 1 on each connection, are given at the moment of sending, and are never used again. An
//! answer, or a refusal, that comes with an id is
//!
//! | if the id | it is | the fault |
//! |---|---|---|
//! | is in flight, and channel and code are those asked for | [`Verdict::Matched`] | |
//! | is in flight, but channel or code is another | [`Verdict::Foreign`], and the question stays | the peer's |
//! | was never given to a question (0 never is) | [`Verdict::Unasked`] | the peer's |
//! | was answered or refused before | [`Verdict::Duplicate`] | the peer's |
//! | was given up by its asker | [`Verdict::Late`], and the next for it is a duplicate | nobody's |
//! | is too long ago to tell | [`Verdict::Late`], as often as there are such ids | nobody's |
//! | is, and that was used up | [`Verdict::Duplicate`] | the peer's |
//!
//! Remembered are the latest [`Limits::remembered`] ids that were given, and all that are in flight however
//! old. A refusal has no code to compare. A peer that answers each question at most once is never at fault, and
//! none can answer without end.
//!
//! # Who may send
//!
//! So many questions may be in flight on the connection; the others wait, first in, first out within their
//! channel, in turn between channels: of those that may send, the one served longest ago sends next. A
//! channel may send if
//!
//! - it has fewer questions in flight than there are free slots; or
//! - it is the only one that the connection has, and a slot is free.
//!
//! This is the dynamic threshold of Choudhury and Hahne (1998), as for the messages of a queue. A channel
//! whose questions are answered slowly, or never, takes half of the slots (rounded up) and no more, and never
//! the last free one unless it has none; `n` such channels settle at about `1/(n+1)` each. A slot that comes
//! free then goes to a channel that has fewer. So as long as askers give up in finite time, no channel shuts
//! out another for ever, and one that has none in flight is never kept waiting by another's second. Its
//! price: with two or more channels, one that asks alone has half of the slots. Set [`Limits`] for that.
//!
//! # Cost
//!
//! Each input and each question sent is O(log n) in the numbers of questions and of channels (the row of
//! turns is closed up now and then, which amortises to O(1)); `close` is O(n). Memory is bounded by
//! [`Limits::in_flight`] + channels x [`Limits::waiting_per_channel`] questions, and one byte for each
//! remembered id.
//!
//! # What this does not provide
//!
//! Timers and deadlines, decoding, and waking (the shell's); a bound on the bytes of waiters (whoever asks has
//! them); repetition of a question to another peer.

mod answer;
mod config;
mod invariants;
mod past;
mod stats;
mod turns;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use answer::{Asked, Outgoing, Ticket, Verdict};
pub use config::{ConfigError, Limits, MAX_IN_FLIGHT, MAX_WAITING, REMEMBERED_PER_SLOT};
pub use stats::Stats;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::id::ChannelId;
use past::Past;
use turns::{IDLE, Turns};

/// The questions of one connection that wait for an answer. See [the module](self).
#[derive(Debug)]
pub struct Waiters<T> {
    limits: Limits,
    /// Sorted by name; everything below names a channel by its index here.
    lines: Vec<Line>,
    turns: Turns,
    /// All that wait and all that are in flight, in the order they were asked.
    questions: BTreeMap<Ticket, Question<T>>,
    /// Those in flight, by id.
    in_flight: BTreeMap<u64, Ticket>,
    past: Past,
    last_ticket: u64,
    round_trip: Option<Duration>,
    /// Without its two gauges, which [`Waiters::stats`] reads off the table.
    counts: Stats,
    closed: bool,
}

/// One channel.
#[derive(Debug)]
struct Line {
    channel: ChannelId,
    /// In the order they were asked.
    waiting: BTreeSet<Ticket>,
    in_flight: usize,
}

#[derive(Debug)]
struct Question<T> {
    line: usize,
    answer_code: u8,
    waiter: T,
    /// `None` while it waits.
    sent: Option<Sent>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    id: u64,
    at: Instant,
}

impl<T> Waiters<T> {
    /// Makes an empty table for a connection that carries these channels.
    ///
    /// The first turns are in the order of the channels' names. A channel named twice counts once.
    #[must_use]
    pub fn new(limits: Limits, channels: impl IntoIterator<Item = ChannelId>) -> Self {
        let names: BTreeSet<ChannelId> = channels.into_iter().collect();
        Self {
            limits,
            turns: Turns::new(names.len()),
            lines: names.into_iter().map(Line::new).collect(),
            questions: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            past: Past::new(limits.remembered()),
            last_ticket: 0,
            round_trip: None,
            counts: Stats::default(),
            closed: false,
        }
    }

    /// Registers a question on `channel` whose answer has the code `answer_code`, or says why not.
    ///
    /// It waits until [`Waiters::poll_send`] gives it its turn.
    pub fn ask(&mut self, channel: ChannelId, answer_code: u8, waiter: T) -> Asked<T> {
        if self.closed {
            self.counts.after_close += 1;
            return Asked::Closed(waiter);
        }
        let Some(line) = self.line(channel) else {
            self.counts.no_channel += 1;
            return Asked::NoChannel(waiter);
        };
        if self.lines[line].waiting.len() == self.limits.waiting_per_channel() {
            self.counts.full += 1;
            return Asked::Full(waiter);
        }
        self.counts.asked += 1;
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.questions.insert(ticket, Question { line, answer_code, waiter, sent: None });
        self.lines[line].waiting.insert(ticket);
        self.weigh(line);
        Asked::Waiting(ticket)
    }

    /// Gives the next question its turn: it gets its id and is in flight from `now` on.
    ///
    /// `None` means that nothing waits, or that what waits has no slot. Drain it after every input.
    pub fn poll_send(&mut self, now: Instant) -> Option<Outgoing<'_, T>> {
        let index = self.turns.first_below(self.free())?;
        let line = &mut self.lines[index];
        let (channel, Some(ticket)) = (line.channel, line.waiting.pop_first()) else {
            unreachable!("a channel where nothing waits has no turn")
        };
        line.in_flight += 1;
        self.turns.pass(index);
        self.weigh(index);
        let id = self.past.next_id();
        self.in_flight.insert(id, ticket);
        let Some(question) = self.questions.get_mut(&ticket) else {
            unreachable!("what waits is in the table")
        };
        question.sent = Some(Sent { id, at: now });
        Some(Outgoing { ticket, id, channel, waiter: &mut question.waiter })
    }

    /// Judges an answer with this id that came on this channel with this code.
    ///
    /// See [how](self#how-an-answer-is-judged). Decode the answer only if it matched.
    pub fn answered(&mut self, now: Instant, channel: ChannelId, code: u8, id: u64) -> Verdict<T> {
        let verdict = self.judge(now, channel, Some(code), id);
        if let Verdict::Matched { round_trip, .. } = verdict {
            self.counts.answered += 1;
            self.smooth(round_trip);
        }
        verdict
    }

    /// Judges the peer's word that it will not answer the question with this id.
    ///
    /// The same as for an answer, save that there is no code to compare. It leaves
    /// [`Waiters::round_trip`] alone, because to refuse is quick.
    pub fn refused(&mut self, now: Instant, channel: ChannelId, id: u64) -> Verdict<T> {
        let verdict = self.judge(now, channel, None, id);
        if matches!(verdict, Verdict::Matched { .. }) {
            self.counts.refused += 1;
        }
        verdict
    }

    /// Takes out a question whose asker has timed out or was dropped, and frees its slot.
    ///
    /// `None` if it has left the table already; so it may be called at any time, and again.
    pub fn give_up(&mut self, ticket: Ticket) -> Option<T> {
        let question = self.remove(ticket)?;
        self.counts.given_up += 1;
        Some(question.waiter)
    }

    /// Ends the connection: hands back every question, in the order they were asked.
    ///
    /// Later asks get [`Asked::Closed`]. Answers that still come are judged as if all had given up. Closing
    /// again hands back nothing.
    pub fn close(&mut self) -> Vec<T> {
        self.closed = true;
        self.in_flight.clear();
        for index in 0..self.lines.len() {
            let line = &mut self.lines[index];
            line.waiting.clear();
            line.in_flight = 0;
            self.weigh(index);
        }
        let waiters: Vec<T> =
            std::mem::take(&mut self.questions).into_values().map(|question| question.waiter).collect();
        self.counts.closed += waiters.len() as u64;
        waiters
    }

    /// The limits that the table was made with.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether [`Waiters::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many questions are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many of a channel's questions are in flight; 0 if there is no such channel.
    #[must_use]
    pub fn in_flight_of(&self, channel: ChannelId) -> usize {
        self.line(channel).map_or(0, |line| self.lines[line].in_flight)
    }

    /// How many questions wait for their turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.questions.len() - self.in_flight.len()
    }

    /// How many of a channel's questions wait for their turn; 0 if there is no such channel.
    #[must_use]
    pub fn waiting_of(&self, channel: ChannelId) -> usize {
        self.line(channel).map_or(0, |line| self.lines[line].waiting.len())
    }

    /// The smoothed time from a question's turn to its answer; `None` before the first answer.
    ///
    /// As in RFC 6298, section 2: the first answer's time, and from then on 7/8 of it and 1/8 of the next. It
    /// includes the time that a question spends in queues on this side after its turn.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The counts since the table was made.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { in_flight: self.in_flight() as u64, waiting: self.waiting() as u64, ..self.counts }
    }

    fn line(&self, channel: ChannelId) -> Option<usize> {
        self.lines.binary_search_by_key(&channel, |line| line.channel).ok()
    }

    /// How many more questions may be in flight.
    fn free(&self) -> usize {
        self.limits.in_flight() - self.in_flight.len()
    }

    fn judge(&mut self, now: Instant, channel: ChannelId, code: Option<u8>, id: u64) -> Verdict<T> {
        if let Some(&ticket) = self.in_flight.get(&id) {
            return self.judge_in_flight(now, channel, code, ticket);
        }
        if !self.past.knows(id) {
            self.counts.unasked += 1;
            return Verdict::Unasked;
        }
        if !self.past.may_speak(id) {
            self.counts.duplicate += 1;
            return Verdict::Duplicate;
        }
        self.past.spoke(id);
        self.counts.late += 1;
        Verdict::Late
    }

    fn judge_in_flight(
        &mut self,
        now: Instant,
        channel: ChannelId,
        code: Option<u8>,
        ticket: Ticket,
    ) -> Verdict<T> {
        let asked_for = |question: &Question<T>| {
            self.lines[question.line].channel == channel
                && code.is_none_or(|code| code == question.answer_code)
        };
        if !self.questions.get(&ticket).is_some_and(asked_for) {
            self.counts.foreign += 1;
            return Verdict::Foreign;
        }
        match self.remove(ticket) {
            Some(Question { waiter, sent: Some(Sent { id, at }), .. }) => {
                self.past.spoke(id);
                Verdict::Matched { waiter, round_trip: now.saturating_duration_since(at) }
            }
            _ => unreachable!("what is in flight is in the table, and was sent"),
        }
    }

    /// Takes a question out of the table and of all indices.
    fn remove(&mut self, ticket: Ticket) -> Option<Question<T>> {
        let question = self.questions.remove(&ticket)?;
        let line = &mut self.lines[question.line];
        match question.sent {
            None => {
                line.waiting.remove(&ticket);
            }
            Some(Sent { id, .. }) => {
                line.in_flight -= 1;
                self.in_flight.remove(&id);
            }
        }
        self.weigh(question.line);
        Some(question)
    }

    /// Tells the turns what a channel has come to hold.
    fn weigh(&mut self, line: usize) {
        let load = self.load(line);
        self.turns.set(line, load);
    }

    fn load(&self, line: usize) -> usize {
        match &self.lines[line] {
            line if line.waiting.is_empty() => IDLE,
            // Nobody is there to leave slots to.
            _ if self.lines.len() == 1 => 0,
            line => line.in_flight,
        }
    }

    fn smooth(&mut self, round_trip: Duration) {
        let smoothed = |past: Duration| past - past / 8 + round_trip / 8;
        self.round_trip = Some(self.round_trip.map_or(round_trip, smoothed));
    }
}

impl Line {
    fn new(channel: ChannelId) -> Self {
        Self { channel, waiting: BTreeSet::new(), in_flight: 0 }
    }
}
