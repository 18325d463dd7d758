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
use tokio::io::{AsyncRead, AsyncWrite, Join, ReadBuf, join};
use tokio::time::sleep;

use super::fabric::{Arrival, Fabric, LinkEnd};
use super::lines::HostId;
use crate::address::Endpoint;
use crate::event::Closed;
use crate::id::Protocol;
use crate::transport::backlog::Backlog;
use crate::transport::link::{LinkReader, LinkStream, LinkWriter};
use crate::transport::{AcceptError, ByteStream, ByteTransport};

/// How long an attempt waits for an answer before it is sent again; each time twice as long, up to the longest.
const RETRANSMIT: Duration = Duration::from_secs(1);
const LONGEST_RETRANSMIT: Duration = Duration::from_secs(64);

/// A host's place in the network: listens at one address, and dials from it.
pub(super) struct Wire {
    fabric: Arc<Fabric>,
    host: HostId,
    address: SocketAddr,
    backlog: Backlog<Box<Arrival>>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn listen(fabric: &Arc<Fabric>, host: HostId, address: SocketAddr) -> Self {
        let backlog = Backlog::new();
        fabric.listen(address, backlog.entrance().clone());
        Self { fabric: Arc::clone(fabric), host, address, backlog }
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
        Ok(*self.backlog.accept().await?)
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
        self.fabric.unlisten(self.address, self.backlog.entrance());
        self.backlog.close();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.close();
    }
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
pub(super) type SimStream = Join<SimReader, SimWriter>;

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
    local: SocketAddr,
    _link: Arc<LinkEnd>,
}

pub(super) fn sim_stream(stream: LinkStream, end: End, fabric: &Arc<Fabric>) -> SimStream {
    let End { host, peer, local, link, yields: [reading, writing] } = end;
    let (reader, writer) = stream.into_inner();
    let fabric = Arc::clone(fabric);
    let reader = SimReader { line: reader, yields: reading, _link: Arc::clone(&link) };
    join(reader, SimWriter { line: writer, yields: writing, fabric, host, peer, local, _link: link })
}

impl ByteStream for SimStream {
    type Reader = SimReader;
    type Writer = SimWriter;

    fn local(&self) -> io::Result<Endpoint> {
        Ok(Endpoint::Tcp(self.writer().local))
    }

    fn into_halves(self) -> (SimReader, SimWriter) {
        self.into_inner()
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
