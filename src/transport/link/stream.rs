//! One end of a link: a byte stream over two lines.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, Join, ReadBuf, join};
use tokio::time::{Instant, Sleep, sleep_until};

use super::timetable::{Due, Half, Timetable};
use super::{Line, LinkConfig, LinkConfigError, Turn};

/// Makes the two ends of a link, and what cuts it. The first line leads from the first end to the second, the other one
/// back; `seed` fixes their jitter.
#[must_use]
pub fn pair(lines: [LinkConfig; 2], seed: u64) -> (LinkStream, LinkStream, LinkHandle) {
    make(lines, seed, None)
}

/// As [`pair`], for one of very many links: nothing arrives unless the timetable [runs](Timetable::run).
#[cfg(any(feature = "sim", test))]
pub(crate) fn pair_by(
    timetable: &Arc<Timetable>,
    lines: [LinkConfig; 2],
    seed: u64,
) -> (LinkStream, LinkStream, LinkHandle) {
    make(lines, seed, Some(timetable))
}

fn make(
    lines: [LinkConfig; 2],
    seed: u64,
    timetable: Option<&Arc<Timetable>>,
) -> (LinkStream, LinkStream, LinkHandle) {
    let there = Shared::new(Line::new(lines[0], seed), timetable);
    let back = Shared::new(Line::new(lines[1], !seed), timetable);
    let handle = LinkHandle { there: Arc::downgrade(&there), back: Arc::downgrade(&back) };
    let near = end(Arc::clone(&there), Arc::clone(&back));
    (near, end(back, there), handle)
}

/// One end of a link. Dropping it closes both of its directions.
///
/// No task of its own drives it. Whoever waits for the line's time waits on a timer of its own, or in a simulation has
/// the timetable of all links tell it; whoever waits for the other end leaves its waker.
pub type LinkStream = Join<LinkReader, LinkWriter>;

/// The half of an end that reads. Dropping it alone tells the other end nothing, as with a socket.
pub struct LinkReader {
    inlet: Arc<Inlet>,
    alarm: Alarm,
}

/// The half of an end that writes. Dropping it ends what the other end reads.
pub struct LinkWriter {
    outbound: Arc<Shared>,
    /// Once both halves are gone nobody reads.
    _inlet: Arc<Inlet>,
    alarm: Alarm,
}

/// Cuts a link, heals it, slows it, breaks it. Does nothing to one whose ends are gone.
#[derive(Clone)]
pub struct LinkHandle {
    there: Weak<Shared>,
    back: Weak<Shared>,
}

/// A line, and who waits at it.
struct Shared {
    ends: Mutex<Ends>,
    timetable: Option<Arc<Timetable>>,
}

/// The line that an end reads: once it is dropped, nobody does.
struct Inlet(Arc<Shared>);

struct Ends {
    line: Line,
    writer: Option<Waiting>,
    reader: Option<Waiting>,
    /// When the timetable tells the writer and the reader next: no earlier time is in it.
    booked: Booked,
}

#[derive(Default)]
struct Booked {
    writer: Option<Instant>,
    reader: Option<Instant>,
}

struct Waiting {
    waker: Waker,
    /// Whether it will come back by itself.
    timed: bool,
}

fn end(outbound: Arc<Shared>, inbound: Arc<Shared>) -> LinkStream {
    let inlet = Arc::new(Inlet(inbound));
    let reader = LinkReader { inlet: Arc::clone(&inlet), alarm: Alarm::default() };
    join(reader, LinkWriter { outbound, _inlet: inlet, alarm: Alarm::default() })
}

impl LinkHandle {
    /// Cuts or heals the way from the first end to the second (`forth`), or the other: while it is cut nothing arrives,
    /// not even the end, and nothing is lost. What is due arrives when it is healed.
    pub fn set_cut(&self, forth: bool, cut: bool) {
        let (Some(there), Some(back)) = (self.there.upgrade(), self.back.upgrade()) else { return };
        let (data, news) = if forth { (there, back) } else { (back, there) };
        data.change(|line| if cut { line.hold(Instant::now()) } else { line.release() });
        // That nobody reads at the second end would be told on the way that is cut.
        news.change(|line| line.set_deaf(cut));
    }

    /// Lets bytes leave at another rate from now on, on the way from the first end to the second (`forth`) or the
    /// other; `None` is no limit. What has left is on its way as before.
    ///
    /// # Errors
    ///
    /// [`LinkConfigError`] if no link can have that rate; nothing changed then.
    pub fn set_rate(&self, forth: bool, bytes_per_second: Option<u64>) -> Result<(), LinkConfigError> {
        let line = if forth { &self.there } else { &self.back };
        let Some(line) = line.upgrade() else { return Ok(()) };
        line.change(|line| line.set_rate(Instant::now(), bytes_per_second))
    }

    /// Breaks the link for both ends at once, as a reset from between them does. What is on its way is lost.
    pub fn reset(&self) {
        for line in [&self.there, &self.back].into_iter().filter_map(Weak::upgrade) {
            line.change(Line::reset);
        }
    }

    /// Whether both ends are gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.there.strong_count() == 0 && self.back.strong_count() == 0
    }
}

macro_rules! debug {
    ($($type:ident)*) => {$(
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        }
    )*};
}
debug!(LinkReader LinkWriter LinkHandle);

impl AsyncWrite for LinkWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let progress = ready!(tokio::task::coop::poll_proceed(cx));
        loop {
            match self.outbound.write(bytes, cx) {
                Turn::Done(written) => {
                    progress.made_progress();
                    return Poll::Ready(written);
                }
                Turn::Wait(_) if self.outbound.timetable.is_some() => return Poll::Pending,
                Turn::Wait(due) => ready!(self.alarm.poll(due, cx)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // As a socket: what is in its buffer is on its way.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbound.end();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for LinkReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let progress = ready!(tokio::task::coop::poll_proceed(cx));
        loop {
            match self.inlet.0.read(into, cx) {
                Turn::Done(read) => {
                    progress.made_progress();
                    return Poll::Ready(read);
                }
                Turn::Wait(_) if self.inlet.0.timetable.is_some() => return Poll::Pending,
                Turn::Wait(due) => ready!(self.alarm.poll(due, cx)),
            }
        }
    }
}

impl Drop for LinkWriter {
    fn drop(&mut self) {
        self.outbound.end();
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Shared {
    fn new(line: Line, timetable: Option<&Arc<Timetable>>) -> Arc<Self> {
        let ends = Ends { line, writer: None, reader: None, booked: Booked::default() };
        Arc::new(Self { ends: Mutex::new(ends), timetable: timetable.map(Arc::clone) })
    }

    fn write(self: &Arc<Self>, bytes: &[u8], cx: &Context<'_>) -> Turn<io::Result<usize>> {
        let mut ends = self.lock();
        let turn = ends.line.write(Instant::now(), bytes);
        ends.writer = Waiting::after(&turn, cx);
        let reader = match turn {
            Turn::Done(_) => self.something_came(&mut ends),
            Turn::Wait(due) => {
                self.book(&mut ends.booked, Half::Writer, due);
                None
            }
        };
        drop(ends);
        wake(reader);
        turn
    }

    fn read(self: &Arc<Self>, into: &mut ReadBuf<'_>, cx: &Context<'_>) -> Turn<io::Result<()>> {
        let mut ends = self.lock();
        let turn = ends.line.read(Instant::now(), into);
        ends.reader = Waiting::after(&turn, cx);
        let writer = match turn {
            Turn::Done(_) => woken(&mut ends.writer),
            Turn::Wait(due) => {
                self.book(&mut ends.booked, Half::Reader, due);
                None
            }
        };
        drop(ends);
        wake(writer);
        turn
    }

    fn end(self: &Arc<Self>) {
        let mut ends = self.lock();
        ends.line.end(Instant::now());
        let reader = self.something_came(&mut ends);
        drop(ends);
        wake(reader);
    }

    /// The reader's waker, if it is to look when what has just come is due; a timetable wakes it then.
    fn something_came(self: &Arc<Self>, ends: &mut Ends) -> Option<Waker> {
        if self.timetable.is_none() {
            return woken(&mut ends.reader);
        }
        let due = ends.line.next_arrival();
        if let (Some(waiting), Some(_)) = (&mut ends.reader, due)
            && !waiting.timed
        {
            waiting.timed = true;
            self.book(&mut ends.booked, Half::Reader, due);
        }
        None
    }

    /// Has the timetable tell a half when it is due, unless it does so earlier.
    fn book(self: &Arc<Self>, booked: &mut Booked, half: Half, due: Option<Instant>) {
        let (Some(timetable), Some(due)) = (&self.timetable, due) else { return };
        let booked = booked.of(half);
        if booked.is_none_or(|at| due < at) {
            *booked = Some(due);
            let line: Weak<Self> = Arc::downgrade(self);
            timetable.add(due, line, half);
        }
    }

    fn abandon(&self) {
        let mut ends = self.lock();
        ends.line.abandon(Instant::now());
        // Its room may be due much later than the news.
        let writer = ends.writer.take().map(|writer| writer.waker);
        drop(ends);
        wake(writer);
    }

    /// Changes the line from outside: both ends look again.
    fn change<T>(&self, change: impl FnOnce(&mut Line) -> T) -> T {
        let mut ends = self.lock();
        let answer = change(&mut ends.line);
        let waiting = [ends.writer.take(), ends.reader.take()];
        drop(ends);
        waiting.into_iter().flatten().for_each(|waiting| waiting.waker.wake());
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Ends> {
        // The line panics nowhere between two writes: a poisoned one is still whole.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Booked {
    fn of(&mut self, half: Half) -> &mut Option<Instant> {
        match half {
            Half::Writer => &mut self.writer,
            Half::Reader => &mut self.reader,
        }
    }
}

impl Due for Shared {
    fn due(&self, half: Half) {
        let mut ends = self.lock();
        *ends.booked.of(half) = None;
        let waiting = match half {
            Half::Writer => ends.writer.take(),
            Half::Reader => ends.reader.take(),
        };
        drop(ends);
        wake(waiting.map(|waiting| waiting.waker));
    }
}

impl Waiting {
    fn after<T>(turn: &Turn<T>, cx: &Context<'_>) -> Option<Self> {
        match turn {
            Turn::Done(_) => None,
            Turn::Wait(due) => Some(Self { waker: cx.waker().clone(), timed: due.is_some() }),
        }
    }
}

/// The waker of an end that waits for the other one. What the other does brings no timed wait forward.
fn woken(waiting: &mut Option<Waiting>) -> Option<Waker> {
    waiting.take_if(|waiting| !waiting.timed).map(|waiting| waiting.waker)
}

/// Wakes, with no lock held: a waker is somebody else's code.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A timer that is kept from one wait to the next.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Waits until `due`; for ever if there is none.
    fn poll(&mut self, due: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = due else { return Poll::Pending };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        sleep.as_mut().poll(cx)
    }
}
