//! One end of a link: a byte stream over two lines.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Line, LinkConfig, Turn};

/// Makes the two ends of a link.
pub(in crate::transport::memory) fn link(config: LinkConfig) -> (LinkStream, LinkStream) {
    let (there, back) = (Shared::new(config), Shared::new(config));
    (LinkStream::new(Arc::clone(&there), Arc::clone(&back)), LinkStream::new(back, there))
}

/// One end of a link.
///
/// No task drives it. Whoever waits for the line's time waits on a timer of its own; whoever waits for the other end
/// leaves its waker.
pub(in crate::transport::memory) struct LinkStream {
    outbound: Arc<Shared>,
    inbound: Arc<Shared>,
    write_alarm: Alarm,
    read_alarm: Alarm,
}

/// A line, and who waits at it.
struct Shared(Mutex<Ends>);

struct Ends {
    line: Line,
    writer: Option<Waiting>,
    reader: Option<Waiting>,
}

struct Waiting {
    waker: Waker,
    /// Whether it will come back by itself.
    timed: bool,
}

impl LinkStream {
    fn new(outbound: Arc<Shared>, inbound: Arc<Shared>) -> Self {
        Self { outbound, inbound, write_alarm: Alarm::default(), read_alarm: Alarm::default() }
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let progress = ready!(tokio::task::coop::poll_proceed(cx));
        loop {
            match self.outbound.write(bytes, cx) {
                Turn::Done(written) => {
                    progress.made_progress();
                    return Poll::Ready(written);
                }
                Turn::Wait(due) => ready!(self.write_alarm.poll(due, cx)),
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

impl AsyncRead for LinkStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let progress = ready!(tokio::task::coop::poll_proceed(cx));
        loop {
            match self.inbound.read(into, cx) {
                Turn::Done(()) => {
                    progress.made_progress();
                    return Poll::Ready(Ok(()));
                }
                Turn::Wait(due) => ready!(self.read_alarm.poll(due, cx)),
            }
        }
    }
}

impl Drop for LinkStream {
    fn drop(&mut self) {
        self.outbound.end();
        self.inbound.abandon();
    }
}

impl Shared {
    fn new(config: LinkConfig) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Ends { line: Line::new(config), writer: None, reader: None })))
    }

    fn write(&self, bytes: &[u8], cx: &Context<'_>) -> Turn<io::Result<usize>> {
        let mut ends = self.lock();
        let turn = ends.line.write(Instant::now(), bytes);
        ends.writer = Waiting::after(&turn, cx);
        let reader = if let Turn::Done(_) = turn { woken(&mut ends.reader) } else { None };
        drop(ends);
        wake(reader);
        turn
    }

    fn read(&self, into: &mut ReadBuf<'_>, cx: &Context<'_>) -> Turn<()> {
        let mut ends = self.lock();
        let turn = ends.line.read(Instant::now(), into);
        ends.reader = Waiting::after(&turn, cx);
        let writer = if let Turn::Done(()) = turn { woken(&mut ends.writer) } else { None };
        drop(ends);
        wake(writer);
        turn
    }

    fn end(&self) {
        let mut ends = self.lock();
        ends.line.end(Instant::now());
        let reader = woken(&mut ends.reader);
        drop(ends);
        wake(reader);
    }

    fn abandon(&self) {
        let mut ends = self.lock();
        ends.line.abandon(Instant::now());
        // Its room may be due much later than the news.
        let writer = ends.writer.take().map(|writer| writer.waker);
        drop(ends);
        wake(writer);
    }

    fn lock(&self) -> MutexGuard<'_, Ends> {
        // The line panics nowhere between two writes: a poisoned one is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
