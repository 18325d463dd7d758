//! One direction of a line, told the time.
//!
//! Bytes are numbered from the first that is written. Between two calls nothing happens that is not known
//! beforehand, so the line keeps no events, but runs: bytes that leave without a pause from an instant on. When a
//! byte of a run leaves follows from the run's start by one multiplication, exactly; nothing is added up, so nothing
//! drifts, and instants are rounded up, so no byte is early. With jitter each run is late by a time of its own, and no
//! run overtakes the one before it.
//!
//! ```text
//! 0 ....... read ............ arrived ........ departed ........ scheduled ........ written
//!            └── unread ───────┴── on the line ──┴── in the buffer ─┴── the window is closed to them
//!            └─────────────── at most the window ───────────────────┘
//!                                                └───────── at most the buffer ──────────────┘
//! ```
//!
//! Contract: `now` never runs backwards. Whoever is told to wait asks again at the instant that it was given, or
//! after the other end's next call if there is none.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::config::{GRANULARITY, LinkConfig, LinkConfigError};
use super::jitter::Jitter;

/// What a line that carries nothing keeps for what comes.
const IDLE_BYTES: usize = 4096;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// One direction of a line.
pub(super) struct Line {
    config: LinkConfig,
    /// Written and unread, unless nobody will read it.
    bytes: VecDeque<u8>,
    written: u64,
    /// How many bytes belong to runs.
    scheduled: u64,
    read: u64,
    /// All that is not read yet, and the last one.
    runs: VecDeque<Run>,
    /// When a full window last got room: no byte leaves before.
    opened: Option<Instant>,
    wait: Option<Wait>,
    /// When the writer said that nothing more comes.
    ended: Option<Instant>,
    /// When the reader went away.
    abandoned: Option<Instant>,
    jitter: Jitter,
    /// Since when nothing arrives.
    held: Option<Instant>,
    /// Whether the writer learns nothing of the reader: the way back is held.
    deaf: bool,
    /// Whether the connection was reset.
    reset: bool,
}

/// What a half is told.
#[derive(Debug)]
pub(super) enum Turn<T> {
    /// It is done.
    Done(T),
    /// Ask again then; `None`: when the other half has done something.
    Wait(Option<Instant>),
}

/// Bytes that leave one after another.
struct Run {
    /// The number of its first byte.
    first: u64,
    count: u64,
    start: Instant,
    rate: Option<u64>,
    /// How much longer than the latency its bytes are on their way.
    late: Duration,
}

/// A writer that waits for room, which comes at `due`.
struct Wait {
    due: Instant,
    /// When it came back, once it has.
    woken: Option<Instant>,
}

impl Line {
    /// `seed` fixes the jitter.
    pub(super) fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            bytes: VecDeque::new(),
            written: 0,
            scheduled: 0,
            read: 0,
            runs: VecDeque::new(),
            opened: None,
            wait: None,
            ended: None,
            abandoned: None,
            jitter: Jitter::new(config.jitter(), seed),
            held: None,
            deaf: false,
            reset: false,
        }
    }

    /// Lets nothing arrive any more, until [`release`](Self::release). What is written waits as on a line that is cut:
    /// it is not lost, since whoever carries a byte stream sends again what was lost below it.
    pub(super) fn hold(&mut self, now: Instant) {
        self.held.get_or_insert(now);
    }

    /// Lets all arrive that is due. The reader asks again after it.
    pub(super) fn release(&mut self) {
        self.held = None;
    }

    /// Has the writer learn nothing of the reader's end, or learn it again.
    pub(super) fn set_deaf(&mut self, deaf: bool) {
        self.deaf = deaf;
    }

    /// Breaks the connection, for both of its ends at once. What is on its way is lost.
    pub(super) fn reset(&mut self) {
        self.reset = true;
        self.bytes = VecDeque::new();
    }

    /// Lets bytes that have not left yet leave at another rate from now on. One that was about to begins anew.
    pub(super) fn set_rate(
        &mut self,
        now: Instant,
        bytes_per_second: Option<u64>,
    ) -> Result<(), LinkConfigError> {
        self.config = self.config.with_rate(bytes_per_second)?;
        self.wait = None;
        let departed = self.departed(now);
        if let Some(run) = self.runs.back_mut().filter(|run| departed < run.end()) {
            let rest = Run {
                first: departed,
                count: run.end() - departed,
                start: now,
                rate: bytes_per_second,
                ..*run
            };
            run.count = departed - run.first;
            if run.count == 0 {
                *run = rest;
            } else {
                self.runs.push_back(rest);
            }
        }
        // A faster line holds more.
        self.schedule(now);
        Ok(())
    }

    /// Takes as many of `bytes` as the buffer has room for: how many.
    pub(super) fn write(&mut self, now: Instant, bytes: &[u8]) -> Turn<io::Result<usize>> {
        if self.reset {
            return Turn::Done(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let broken = self.abandoned.filter(|_| !self.deaf).map(|at| at + self.config.latency());
        if self.ended.is_some() || broken.is_some_and(|at| at <= now) {
            return Turn::Done(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let unsent = self.written - self.departed(now);
        let count = bytes.len().min(self.config.buffer_bytes().saturating_sub(capped(unsent)));
        if count == 0 && !bytes.is_empty() {
            let due = self.next_departure(now);
            self.wait = due.map(|due| Wait { due, woken: None });
            return Turn::Wait(earliest(due, broken));
        }
        if self.abandoned.is_none() {
            self.bytes.extend(&bytes[..count]);
        }
        self.written += count as u64;
        let at = self.written_at(now);
        self.schedule(at);
        Turn::Done(Ok(count))
    }

    /// Says that nothing more is written. The end is no byte and takes no time to leave: it arrives with the last byte,
    /// or a latency from now.
    pub(super) fn end(&mut self, now: Instant) {
        self.ended.get_or_insert(now);
    }

    /// Puts what has arrived into `into`; nothing, if it has room, is the end.
    pub(super) fn read(&mut self, now: Instant, into: &mut ReadBuf<'_>) -> Turn<io::Result<()>> {
        if self.reset {
            return Turn::Done(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let (room, unread) = (into.remaining(), self.read);
        while let count @ 1.. = capped(self.arrived(now)).min(into.remaining()) {
            self.take(count, into);
            self.make_room(now, count as u64);
        }
        // Nothing has arrived: what comes next is a byte that is not due yet, or the end.
        let next = self.next_arrival();
        if room > 0 && self.read == unread && next.is_none_or(|due| now < due) {
            return Turn::Wait(next);
        }
        Turn::Done(Ok(()))
    }

    /// Says that nothing more is read. What was written is lost, and a latency from now the writer learns of it.
    pub(super) fn abandon(&mut self, now: Instant) {
        self.abandoned.get_or_insert(now);
        self.bytes = VecDeque::new();
    }

    /// How many bytes have left.
    fn departed(&self, now: Instant) -> u64 {
        // A run starts when the one before it is over.
        self.runs.back().map_or(0, |run| run.first + run.passed(now, Duration::ZERO))
    }

    /// When the next byte leaves that belongs to a run.
    fn next_departure(&self, now: Instant) -> Option<Instant> {
        let departed = self.departed(now);
        let run = self.runs.back().filter(|_| departed < self.scheduled)?;
        Some(run.departure(departed))
    }

    /// How many bytes have arrived and are unread, as far as they are of one run.
    fn arrived(&self, now: Instant) -> u64 {
        let now = self.held.map_or(now, |held| held.min(now));
        let arrived = |run: &Run| run.first + run.passed(now, self.config.latency() + run.late);
        self.next_run().map_or(0, |run| arrived(run).saturating_sub(self.read))
    }

    /// When the next byte arrives, or the end; `None` if it is not known yet.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        let departure = match self.next_run() {
            Some(run) => run.departure(self.read) + run.late,
            // Whatever was written has arrived and was read.
            None => self.ended?,
        };
        let due = departure + self.config.latency();
        self.held.is_none_or(|held| due <= held).then_some(due)
    }

    /// The run of the next byte to be read.
    fn next_run(&self) -> Option<&Run> {
        self.runs.iter().find(|run| self.read < run.end())
    }

    /// When bytes count as written that are written now.
    ///
    /// A timer wakes a writer late. If it had to wait for room and writes as soon as it wakes, its bytes leave as if it
    /// had been woken in time, or by the timer's coarseness before now; else a buffer that empties within a
    /// millisecond would let the line stand idle for the rest of it.
    fn written_at(&mut self, now: Instant) -> Instant {
        let Some(wait) = &mut self.wait else { return now };
        let late = now.saturating_duration_since(wait.due).min(GRANULARITY);
        if *wait.woken.get_or_insert(now) == now {
            return now - late;
        }
        self.wait = None;
        now
    }

    /// Lets bytes leave that are written, as far as the window is open, the first of them not before `at`.
    fn schedule(&mut self, at: Instant) {
        // A line that was slowed may hold more than it now takes.
        let open = (self.config.window_bytes() as u64).saturating_sub(self.scheduled - self.read);
        let count = open.min(self.written - self.scheduled);
        if count == 0 {
            return;
        }
        let at = self.opened.map_or(at, |opened| at.max(opened));
        let rate = self.config.bytes_per_second();
        match self.runs.back_mut().filter(|run| run.rate == rate && !run.is_over(at)) {
            Some(run) => run.count += count,
            None => {
                let mut run = Run { first: self.scheduled, count, start: at, rate, late: self.jitter.draw() };
                if let Some(before) = self.runs.back() {
                    let arrived = before.departure(before.end() - 1) + before.late;
                    run.late = run.late.max(arrived.saturating_duration_since(run.departure(self.scheduled)));
                }
                if self.runs.capacity() == 0 {
                    // The one that is over and the one that is on its way: more is rare, and lines are many.
                    self.runs.reserve_exact(2);
                }
                self.runs.push_back(run);
            }
        }
        self.scheduled += count;
    }

    fn take(&mut self, count: usize, into: &mut ReadBuf<'_>) {
        let (front, back) = self.bytes.as_slices();
        let from_front = count.min(front.len());
        into.put_slice(&front[..from_front]);
        into.put_slice(&back[..count - from_front]);
        self.bytes.drain(..count);
        if self.bytes.is_empty() && self.bytes.capacity() > IDLE_BYTES {
            // An idle line does not keep what a busy one needed.
            self.bytes = VecDeque::new();
        }
    }

    fn make_room(&mut self, now: Instant, count: u64) {
        if self.scheduled - self.read >= self.config.window_bytes() as u64 {
            self.opened = Some(now);
        }
        self.read += count;
        self.schedule(now);
        while self.runs.len() > 1 && self.runs.front().is_some_and(|run| run.end() <= self.read) {
            self.runs.pop_front();
        }
    }
}

impl Run {
    /// The number of the byte after its last.
    fn end(&self) -> u64 {
        self.first + self.count
    }

    /// How many of its bytes were, at `now`, at the place that a byte reaches `after` it left.
    fn passed(&self, now: Instant, after: Duration) -> u64 {
        let elapsed = now.checked_duration_since(self.start).and_then(|elapsed| elapsed.checked_sub(after));
        let Some(elapsed) = elapsed else { return 0 };
        let Some(rate) = self.rate else { return self.count };
        let passed = elapsed.as_nanos() * u128::from(rate) / NANOS_PER_SECOND;
        u64::try_from(passed).map_or(self.count, |passed| passed.min(self.count))
    }

    /// When the byte of that number has left: rounded up, by less than a nanosecond.
    fn departure(&self, number: u64) -> Instant {
        let Some(rate) = self.rate else { return self.start };
        let before = u128::from(number - self.first + 1);
        let nanos = (before * NANOS_PER_SECOND).div_ceil(u128::from(rate));
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Whether a byte that may leave from `at` on no longer follows the last one without a pause.
    fn is_over(&self, at: Instant) -> bool {
        match self.rate {
            Some(_) => self.passed(at, Duration::ZERO) == self.count,
            None => self.start < at,
        }
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

/// What memory can hold of so many bytes.
fn capped(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
