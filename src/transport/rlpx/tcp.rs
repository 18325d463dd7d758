//! TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::address::Endpoint;
use crate::event::Closed;
use crate::id::Protocol;
use crate::transport::session::stream_broke;
use crate::transport::{AcceptError, ByteStream, ByteTransport, wrong_endpoint};

/// The system's TCP.
#[derive(Debug)]
pub struct Tcp {
    /// `None` once closed, and always in one that only dials.
    listener: Mutex<Option<Arc<TcpListener>>>,
    local: Option<SocketAddr>,
    closed: CancellationToken,
}

impl Tcp {
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok(Self::new(Some((listener, local))))
    }

    pub(super) fn dial_only() -> Self {
        Self::new(None)
    }

    fn new(listening: Option<(TcpListener, SocketAddr)>) -> Self {
        let (listener, local) = listening.unzip();
        let listener = Mutex::new(listener.map(Arc::new));
        Self { listener, local, closed: CancellationToken::new() }
    }

    fn listener(&self) -> MutexGuard<'_, Option<Arc<TcpListener>>> {
        // Taken or not: a poisoned option is still whole.
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ByteTransport for Tcp {
    type Stream = TcpStream;

    fn protocol(&self) -> Protocol {
        Protocol::RLPX
    }

    fn local_endpoints(&self) -> Vec<Endpoint> {
        self.local.map(Endpoint::Tcp).into_iter().collect()
    }

    async fn accept(&self) -> Result<(TcpStream, Endpoint), AcceptError> {
        let listener = self.listener().clone();
        let Some(listener) = listener else {
            // One that only dials has nobody to accept, until it is closed.
            self.closed.cancelled().await;
            return Err(AcceptError::Closed);
        };
        let (stream, remote) = tokio::select! {
            biased;
            () = self.closed.cancelled() => return Err(AcceptError::Closed),
            accepted = listener.accept() => accepted?,
        };
        Ok((stream, Endpoint::Tcp(remote)))
    }

    async fn connect(&self, remote: &Endpoint) -> Result<TcpStream, Closed> {
        let Endpoint::Tcp(remote) = remote else { return Err(wrong_endpoint("TCP", remote)) };
        TcpStream::connect(remote).await.map_err(|error| stream_broke(&error))
    }

    fn close(&self) {
        self.closed.cancel();
        self.listener().take();
    }
}

impl ByteStream for TcpStream {
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    fn local(&self) -> io::Result<Endpoint> {
        self.local_addr().map(Endpoint::Tcp)
    }

    fn prepare(&self) -> io::Result<()> {
        // Two small writes cost 43 ms against some peers if Nagle's algorithm waits for the first's answer.
        self.set_nodelay(true)
    }

    fn into_halves(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.into_split()
    }
}
