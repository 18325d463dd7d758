//! The table in its plainest form, and the operations that drive both side by side.
//!
//! The model keeps every question that was ever asked in one `Vec` and scans it for everything. [`drive`]
//! applies each [`Op`] to the model and to the machine, compares all that is visible, and checks the machine's
//! invariants.

use std::time::{Duration, Instant};

use super::{Asked, Limits, Outgoing, Stats, Ticket, Verdict, Waiters};
use crate::id::ChannelId;

/// One input. Channels, ids and tickets are taken from small sets, so that they collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Ask {
        channel: u8,
        code: u8,
    },
    PollSend,
    /// The id is so many below the second that was not given yet; `None` is what was asked for.
    Answered {
        back: u8,
        channel: Option<u8>,
        code: Option<u8>,
    },
    Refused {
        back: u8,
        channel: Option<u8>,
    },
    /// The ticket is so many below the latest.
    GiveUp {
        back: u8,
    },
    Close,
    Advance {
        ms: u8,
    },
}

const NAMES: [ChannelId; 6] = [
    ChannelId::from_static("a"),
    ChannelId::from_static("b"),
    ChannelId::from_static("c"),
    ChannelId::from_static("d"),
    ChannelId::from_static("e"),
    ChannelId::from_static("f"),
];

/// The n-th channel, in the order of names.
pub(super) fn channel(n: u8) -> ChannelId {
    NAMES[usize::from(n) % NAMES.len()]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    InFlight,
    Answered,
    Refused,
    GivenUp,
    Closed,
}

#[derive(Debug)]
struct Question {
    serial: u64,
    channel: ChannelId,
    code: u8,
    state: State,
    /// The id, once it was sent, and when that was.
    sent: Option<(u64, Instant)>,
    /// How often the peer has answered or refused it, in time or late.
    words: u64,
}

/// The reference.
#[derive(Debug)]
struct Model {
    limits: Limits,
    /// The one served longest ago is first.
    channels: Vec<ChannelId>,
    /// Every question ever asked; a ticket is a place here, from 1.
    asked: Vec<Question>,
    round_trips: Vec<Duration>,
    /// Only what is not found in `asked`.
    counts: Stats,
    closed: bool,
}

impl Model {
    fn count(&self, state: State, channel: Option<ChannelId>) -> usize {
        let matches =
            |question: &&Question| question.state == state && channel.is_none_or(|c| c == question.channel);
        self.asked.iter().filter(matches).count()
    }

    fn ids_given(&self) -> u64 {
        self.asked.iter().filter(|question| question.sent.is_some()).count() as u64
    }

    fn by_id(&self, id: u64) -> Option<usize> {
        self.asked.iter().position(|question| question.sent.is_some_and(|(own, _)| own == id))
    }

    fn ask(&mut self, channel: ChannelId, code: u8, serial: u64) -> Asked<u64> {
        if self.closed {
            self.counts.after_close += 1;
            return Asked::Closed(serial);
        }
        if !self.channels.contains(&channel) {
            self.counts.no_channel += 1;
            return Asked::NoChannel(serial);
        }
        if self.count(State::Waiting, Some(channel)) >= self.limits.waiting_per_channel() {
            self.counts.full += 1;
            return Asked::Full(serial);
        }
        let state = State::Waiting;
        self.asked.push(Question { serial, channel, code, state, sent: None, words: 0 });
        Asked::Waiting(Ticket(self.asked.len() as u64))
    }

    fn may_send(&self, channel: ChannelId) -> bool {
        let free = self.limits.in_flight() - self.count(State::InFlight, None);
        let own = self.count(State::InFlight, Some(channel));
        let alone = self.channels.len() == 1;
        self.count(State::Waiting, Some(channel)) > 0 && free > 0 && (own == 0 || own < free || alone)
    }

    fn poll_send(&mut self, now: Instant) -> Option<(Ticket, u64, ChannelId, u64)> {
        let turn = (0..self.channels.len()).find(|&at| self.may_send(self.channels[at]))?;
        let channel = self.channels.remove(turn);
        self.channels.push(channel);
        let id = self.ids_given() + 1;
        let waits = |question: &Question| question.channel == channel && question.state == State::Waiting;
        let at = self.asked.iter().position(waits)?;
        let question = &mut self.asked[at];
        (question.state, question.sent) = (State::InFlight, Some((id, now)));
        Some((Ticket(at as u64 + 1), id, channel, question.serial))
    }

    /// `code` is `None` for a refusal.
    fn judge(&mut self, now: Instant, channel: ChannelId, code: Option<u8>, id: u64) -> Verdict<u64> {
        let forgotten = self.ids_given().saturating_sub(self.limits.remembered() as u64);
        let is_forgotten = |question: &&Question| question.sent.is_some_and(|(id, _)| id <= forgotten);
        let words_on_forgotten: u64 =
            self.asked.iter().filter(is_forgotten).map(|question| question.words).sum();
        let Some(at) = self.by_id(id) else {
            self.counts.unasked += 1;
            return Verdict::Unasked;
        };
        let question = &mut self.asked[at];
        if question.state == State::InFlight {
            if question.channel != channel || code.is_some_and(|code| code != question.code) {
                self.counts.foreign += 1;
                return Verdict::Foreign;
            }
            question.words += 1;
            question.state = if code.is_some() { State::Answered } else { State::Refused };
            let round_trip = question.sent.map_or(Duration::MAX, |(_, at)| now - at);
            if code.is_some() {
                self.round_trips.push(round_trip);
            }
            return Verdict::Matched { waiter: question.serial, round_trip };
        }
        let exhausted = if id > forgotten { question.words > 0 } else { words_on_forgotten >= forgotten };
        if exhausted {
            self.counts.duplicate += 1;
            return Verdict::Duplicate;
        }
        question.words += 1;
        self.counts.late += 1;
        Verdict::Late
    }

    fn give_up(&mut self, ticket: Ticket) -> Option<u64> {
        let question = self.asked.get_mut(usize::try_from(ticket.0).ok()?.checked_sub(1)?)?;
        if !matches!(question.state, State::Waiting | State::InFlight) {
            return None;
        }
        question.state = State::GivenUp;
        Some(question.serial)
    }

    fn close(&mut self) -> Vec<u64> {
        self.closed = true;
        let open = |question: &&mut Question| matches!(question.state, State::Waiting | State::InFlight);
        let fail = |question: &mut Question| {
            question.state = State::Closed;
            question.serial
        };
        self.asked.iter_mut().filter(open).map(fail).collect()
    }

    fn stats(&self) -> Stats {
        let count = |state| self.count(state, None) as u64;
        Stats {
            asked: self.asked.len() as u64,
            answered: count(State::Answered),
            refused: count(State::Refused),
            given_up: count(State::GivenUp),
            closed: count(State::Closed),
            in_flight: count(State::InFlight),
            waiting: count(State::Waiting),
            ..self.counts
        }
    }

    fn round_trip_secs(&self) -> Option<f64> {
        let smooth = |past: f64, next: f64| past + (next - past) / 8.0;
        self.round_trips.iter().map(Duration::as_secs_f64).reduce(smooth)
    }
}

struct Pair {
    model: Model,
    waiters: Waiters<u64>,
    now: Instant,
}

/// Applies operations to model and machine, for a connection with the first `channels` channels.
///
/// # Panics
///
/// At the first difference or broken law; the message has the operation's index.
pub(super) fn drive(limits: Limits, channels: u8, start: Instant, ops: &[Op]) -> Waiters<u64> {
    let names: Vec<ChannelId> = (0..channels).map(channel).collect();
    let waiters = Waiters::new(limits, names.iter().rev().copied());
    let model = Model {
        limits,
        channels: names,
        asked: Vec::new(),
        round_trips: Vec::new(),
        counts: Stats::default(),
        closed: false,
    };
    let mut pair = Pair { model, waiters, now: start };
    for (index, &op) in (0..).zip(ops) {
        pair.apply(index, op);
        pair.compare(index);
    }
    pair.waiters
}

impl Pair {
    fn apply(&mut self, serial: u64, op: Op) {
        let now = self.now;
        match op {
            Op::Ask { channel: n, code } => {
                let asked = self.waiters.ask(channel(n), code, serial);
                assert_eq!(asked, self.model.ask(channel(n), code, serial), "{serial}: ask");
            }
            Op::PollSend => {
                let out = self.waiters.poll_send(now);
                let out = out.map(|Outgoing { ticket, id, channel, waiter }| (ticket, id, channel, *waiter));
                assert_eq!(out, self.model.poll_send(now), "{serial}: poll");
            }
            Op::Answered { back, channel, code } => {
                let (id, channel, asked_for) = self.aim(back, channel);
                let code = code.unwrap_or(asked_for);
                let verdict = self.waiters.answered(now, channel, code, id);
                assert_eq!(
                    verdict,
                    self.model.judge(now, channel, Some(code), id),
                    "{serial}: answered {id}"
                );
            }
            Op::Refused { back, channel } => {
                let (id, channel, _) = self.aim(back, channel);
                let verdict = self.waiters.refused(now, channel, id);
                assert_eq!(verdict, self.model.judge(now, channel, None, id), "{serial}: refused {id}");
            }
            Op::GiveUp { back } => {
                let ticket = Ticket((self.model.asked.len() as u64).saturating_sub(back.into()));
                let waiter = self.waiters.give_up(ticket);
                assert_eq!(waiter, self.model.give_up(ticket), "{serial}: give up {ticket:?}");
            }
            Op::Close => assert_eq!(self.waiters.close(), self.model.close(), "{serial}: close"),
            Op::Advance { ms } => self.now += Duration::from_millis(ms.into()),
        }
    }

    /// The id that an answer names, and the channel and code that it should have.
    fn aim(&self, back: u8, other: Option<u8>) -> (u64, ChannelId, u8) {
        let id = (self.model.ids_given() + 2).saturating_sub(back.into());
        let (asked_on, code) = self
            .model
            .by_id(id)
            .map_or((channel(0), 0), |at| (self.model.asked[at].channel, self.model.asked[at].code));
        (id, other.map_or(asked_on, channel), code)
    }

    fn compare(&self, index: u64) {
        let Self { model, waiters, .. } = self;
        waiters.check_invariants();
        assert_eq!(waiters.stats(), model.stats(), "{index}: counts");
        assert_eq!(waiters.in_flight(), model.count(State::InFlight, None), "{index}: in flight");
        assert_eq!(waiters.waiting(), model.count(State::Waiting, None), "{index}: waiting");
        assert_eq!(waiters.is_closed(), model.closed, "{index}: closed");
        for name in NAMES {
            let (sent, waits) = (State::InFlight, State::Waiting);
            assert_eq!(waiters.in_flight_of(name), model.count(sent, Some(name)), "{index}: {name}");
            assert_eq!(waiters.waiting_of(name), model.count(waits, Some(name)), "{index}: {name}");
        }
        match (waiters.round_trip(), model.round_trip_secs()) {
            (None, None) => {}
            (Some(found), Some(secs)) => {
                assert!((found.as_secs_f64() - secs).abs() < 1e-6, "{index}: {found:?}, not {secs} s");
            }
            (found, expected) => panic!("{index}: {found:?}, not {expected:?} s"),
        }
    }
}
