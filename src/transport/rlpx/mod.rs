//! RLPx over TCP: Ethereum's transport.
//!
//! [`RlpxTransport::bind`] listens from then on; [`RlpxTransport::dial_only`] never does. What a handshake
//! proves, what it costs, and what RLPx does not give (confidentiality against an observer who knows one
//! direction) is said in [`crate::rlpx`].
//!
//! It maps no ports, limits nobody's rate, and asks no resolver: the router counts and refuses before the handshake.

mod codec;
mod handshake;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use self::codec::{RlpxDecoder, RlpxEncoder};
use super::session::{Ends, Input, Output, SessionConnection, establish, stream_broke};
use super::{AcceptError, Handshake, Incoming, Target, Transport, wrong_endpoint};
use crate::address::Endpoint;
use crate::event::{Blame, Closed, DisconnectReason, Layer, Stage};
use crate::id::{NodeId, NodeKey, Protocol};
use crate::rlpx::Secrets;

/// TCP with RLPx.
#[derive(Debug)]
pub struct RlpxTransport {
    key: NodeKey,
    id: NodeId,
    /// `None` once closed, and always in one that only dials.
    listener: Mutex<Option<Arc<TcpListener>>>,
    local: Option<SocketAddr>,
    closed: CancellationToken,
}

/// A connection over TCP and RLPx.
pub type RlpxConnection = SessionConnection<OwnedReadHalf, OwnedWriteHalf, RlpxDecoder, RlpxEncoder>;

impl RlpxTransport {
    /// Listens on `address`; port 0 lets the system choose one, which [`Transport::local_endpoints`] tells.
    ///
    /// # Errors
    ///
    /// What the system says: the port is in use, or not allowed.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a socket that was bound is closed.
    pub async fn bind(key: NodeKey, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok(Self::new(key, Some((listener, local))))
    }

    /// Makes a transport that only dials.
    #[must_use]
    pub fn dial_only(key: NodeKey) -> Self {
        Self::new(key, None)
    }

    fn new(key: NodeKey, listening: Option<(TcpListener, SocketAddr)>) -> Self {
        let (listener, local) = listening.unzip();
        let listener = Mutex::new(listener.map(Arc::new));
        Self { id: key.id(), key, listener, local, closed: CancellationToken::new() }
    }

    /// The identity that it proves.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    fn listener(&self) -> MutexGuard<'_, Option<Arc<TcpListener>>> {
        // Taken or not: a poisoned option is still whole.
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for RlpxTransport {
    type Incoming = RlpxIncoming;
    type Connection = RlpxConnection;

    fn protocol(&self) -> Protocol {
        Protocol::RLPX
    }

    fn identity(&self) -> Option<NodeId> {
        Some(self.id)
    }

    fn local_endpoints(&self) -> Vec<Endpoint> {
        self.local.map(Endpoint::Tcp).into_iter().collect()
    }

    async fn accept(&self) -> Result<RlpxIncoming, AcceptError> {
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
        Ok(RlpxIncoming { key: self.key.clone(), stream, remote })
    }

    async fn dial(&self, target: Target, handshake: Handshake) -> Result<RlpxConnection, Closed> {
        let Endpoint::Tcp(remote) = target.endpoint else {
            return Err(wrong_endpoint("RLPx", &target.endpoint));
        };
        if target.id == self.id {
            return Err(Closed::local(
                Layer::Ecies,
                Blame::Incompatible,
                DisconnectReason::SelfConnection,
                "self_connection",
            ));
        }
        let mut stream = TcpStream::connect(remote).await.map_err(|error| stream_broke(&error))?;
        prepare(&stream)?;
        handshake.progress.reached(Stage::Tcp);
        let secrets = handshake::initiate(&self.key, target.id, &mut stream, &*handshake.progress).await?;
        handshake.progress.identified(target.id);
        // What Hello announces is where we listen, not the port that this connection happens to have.
        let listen_port = self.local.map_or(0, |local| local.port());
        session(stream, (self.id, target.id), listen_port, secrets, &handshake).await
    }

    fn close(&self) {
        self.closed.cancel();
        self.listener().take();
    }
}

/// A peer that has connected over TCP.
#[derive(Debug)]
pub struct RlpxIncoming {
    key: NodeKey,
    stream: TcpStream,
    remote: SocketAddr,
}

impl Incoming for RlpxIncoming {
    type Connection = RlpxConnection;

    fn remote(&self) -> Endpoint {
        Endpoint::Tcp(self.remote)
    }

    async fn handshake(mut self, handshake: Handshake) -> Result<RlpxConnection, Closed> {
        prepare(&self.stream)?;
        handshake.progress.reached(Stage::Tcp);
        let (peer, secrets) = handshake::respond(&self.key, &mut self.stream, &*handshake.progress).await?;
        handshake.progress.identified(peer);
        let listen_port = self.stream.local_addr().map_or(0, |local| local.port());
        session(self.stream, (self.key.id(), peer), listen_port, secrets, &handshake).await
    }
}

fn prepare(stream: &TcpStream) -> Result<(), Closed> {
    // Two small writes cost 43 ms against some peers if Nagle's algorithm waits for the first's answer.
    stream.set_nodelay(true).map_err(|error| stream_broke(&error))
}

async fn session(
    stream: TcpStream,
    (local_id, peer): (NodeId, NodeId),
    listen_port: u16,
    secrets: Secrets,
    handshake: &Handshake,
) -> Result<RlpxConnection, Closed> {
    let local = Endpoint::Tcp(stream.local_addr().map_err(|error| stream_broke(&error))?);
    let remote = Endpoint::Tcp(stream.peer_addr().map_err(|error| stream_broke(&error))?);
    let (encoder, decoder) = codec::new(secrets);
    let (read, write) = stream.into_split();
    let ends = Ends { local_id, peer, local, remote, listen_port };
    establish(Input::new(read, decoder), Output::new(write, encoder), ends, handshake).await
}
