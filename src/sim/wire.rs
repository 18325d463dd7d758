//! What a host connects with: byte streams over the simulated network.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::fabric::{Arrival, Fabric, LinkEnd};
use super::lines::HostId;
use crate::address::Endpoint;
use crate::event::Closed;
use crate::id::Protocol;
use crate::transport::link::{LinkReader, LinkStream, LinkWriter};
use crate::transport::{AcceptError, ByteStream, ByteTransport};

/// How many connections wait to be accepted before the next is refused.
const BACKLOG: usize = 128;

/// How long an attempt waits for an answer before it is sent again; each time twice as long, up to the longest.
const RETRANSMIT: Duration = Duration::from_secs(1);
const LONGEST_RETRANSMIT: Duration = Duration::from_secs(64);

/// A host's place in the network: listens at one address, and dials from it.
pub(super) struct Wire {
    fabric: Arc<Fabric>,
    host: HostId,
    address: SocketAddr,
    /// What the network has of this listener, to know it again.
    listener: mpsc::Sender<Box<Arrival>>,
    backlog: AsyncMutex<mpsc::Receiver<Box<Arrival>>>,
    closed: CancellationToken,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn listen(fabric: &Arc<Fabric>, host: HostId, address: SocketAddr) -> Self {
        let (listener, backlog) = mpsc::channel(BACKLOG);
        fabric.listen(address, listener.clone());
        Self {
            fabric: Arc::clone(fabric),
            host,
            address,
            listener,
            backlog: AsyncMutex::new(backlog),
            closed: CancellationToken::new(),
        }
    }
}

impl ByteTransport for Wire {
    type Stream = SimStream;

    fn protocol(&self) -> Protocol {
        Protocol::RLPX
    }

    fn local_endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint::Tcp(self.address)]
    }

    async fn accept(&self) -> Result<Arrival, AcceptError> {
        let next = async { self.backlog.lock().await.recv().await };
        // Closed first, and for ever; then whoever waits.
        tokio::select! {
            biased;
            () = self.closed.cancelled() => {
                refuse_all(&mut *self.backlog.lock().await);
                Err(AcceptError::Closed)
            }
            arrival = next => arrival.map(|arrival| *arrival).ok_or(AcceptError::Closed),
        }
    }

    async fn connect(&self, remote: &Endpoint) -> Result<SimStream, Closed> {
        let Endpoint::Tcp(at) = *remote else {
            return Err(Closed::stream("unreachable", format!("{remote} is no address of this network")));
        };
        let mut wait = RETRANSMIT;
        loop {
            // Nothing comes back from where no host is; as from one that is cut off.
            if let Some(to) = self.fabric.host_at(at.ip()) {
                let attempt = self.fabric.attempt(self.host, to);
                sleep(attempt.there).await;
                if self.fabric.is_open(self.host, to) {
                    let from = (self.host, self.address.ip());
                    let opened = self.fabric.deliver(attempt, from, (to, at));
                    sleep(attempt.back).await;
                    return opened;
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_RETRANSMIT);
        }
    }

    fn close(&self) {
        self.closed.cancel();
        self.fabric.unlisten(self.address, &self.listener);
        // Where an accept holds the backlog, that accept is about to end, and empties it then.
        if let Ok(mut backlog) = self.backlog.try_lock() {
            refuse_all(&mut backlog);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.close();
    }
}

/// Ends the streams of those that nobody will accept, as a system does when a listening socket is closed.
fn refuse_all(backlog: &mut mpsc::Receiver<Box<Arrival>>) {
    backlog.close();
    while backlog.try_recv().is_ok() {}
}

/// Lets other tasks go first now and then, so that another seed gives another order of what happens at one instant.
#[derive(Default)]
pub(super) struct Yields {
    draws: Option<Box<ChaCha8Rng>>,
    left: u32,
}

impl Yields {
    /// None if there is no seed.
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self { draws: seed.map(|seed| Box::new(ChaCha8Rng::seed_from_u64(seed))), left: 0 }
    }

    /// Whether somebody else goes first.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.left == 0 {
            return Poll::Ready(());
        }
        self.left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Something was done: draws how often others go first the next time.
    fn done(&mut self) {
        if let Some(draws) = &mut self.draws {
            self.left = draws.next_u32() % 4;
        }
    }
}

/// Whose end of a link it is.
pub(super) struct End {
    pub(super) host: HostId,
    pub(super) peer: HostId,
    pub(super) local: SocketAddr,
    /// Keeps the link known to the network.
    pub(super) link: Arc<LinkEnd>,
    pub(super) yields: [Yields; 2],
}

/// One end of a connection over the simulated network.
pub(super) struct SimStream {
    reader: SimReader,
    writer: SimWriter,
    local: SocketAddr,
}

/// The half that reads.
pub(super) struct SimReader {
    line: LinkReader,
    yields: Yields,
    _link: Arc<LinkEnd>,
}

/// The half that writes, and takes note of all that it writes.
pub(super) struct SimWriter {
    line: LinkWriter,
    yields: Yields,
    fabric: Arc<Fabric>,
    host: HostId,
    peer: HostId,
    _link: Arc<LinkEnd>,
}

impl SimStream {
    pub(super) fn new(stream: LinkStream, end: End, fabric: &Arc<Fabric>) -> Self {
        let End { host, peer, local, link, yields: [reading, writing] } = end;
        let (reader, writer) = stream.into_halves();
        let fabric = Arc::clone(fabric);
        let reader = SimReader { line: reader, yields: reading, _link: Arc::clone(&link) };
        let writer = SimWriter { line: writer, yields: writing, fabric, host, peer, _link: link };
        Self { reader, writer, local }
    }
}

impl ByteStream for SimStream {
    type Reader = SimReader;
    type Writer = SimWriter;

    fn local(&self) -> io::Result<Endpoint> {
        Ok(Endpoint::Tcp(self.local))
    }

    fn into_halves(self) -> (SimReader, SimWriter) {
        (self.reader, self.writer)
    }
}

impl AsyncRead for SimReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.yields.poll(cx));
        let read = ready!(Pin::new(&mut self.line).poll_read(cx, into));
        self.yields.done();
        Poll::Ready(read)
    }
}

impl AsyncWrite for SimWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.yields.poll(cx));
        let written = ready!(Pin::new(&mut self.line).poll_write(cx, bytes));
        self.yields.done();
        if let Ok(count) = written {
            self.fabric.wrote(self.host, self.peer, &bytes[..count]);
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(cx)
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, into)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}
