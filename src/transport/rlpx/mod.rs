//! RLPx: Ethereum's transport, over TCP or over whatever carries bytes.
//!
//! [`RlpxTransport::bind`] listens on TCP from then on; [`RlpxTransport::dial_only`] never does. [`RlpxOver`] puts the same
//! handshake and session above another [`ByteTransport`]. What a handshake proves, what it costs, and what RLPx does not
//! give (confidentiality against an observer who knows one direction) is said in [`crate::rlpx`].
//!
//! It maps no ports, limits nobody's rate, and asks no resolver: the router counts and refuses before the handshake.

mod codec;
mod handshake;
mod randomness;
mod tcp;

pub use tcp::Tcp;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use self::codec::{RlpxDecoder, RlpxEncoder};
use self::randomness::Randomness;
use super::session::{Ends, Input, Output, SessionConnection, establish, stream_broke};
use super::{AcceptError, ByteStream, ByteTransport, Handshake, Incoming, Target, Transport, port};
use crate::address::Endpoint;
use crate::event::{Blame, Closed, DisconnectReason, Layer, Stage};
use crate::id::{NodeId, NodeKey, Protocol};
use crate::rlpx::Secrets;

/// TCP with RLPx.
pub type RlpxTransport = RlpxOver<Tcp>;

/// A peer that has connected over TCP.
pub type RlpxIncoming = IncomingOver<TcpStream>;

/// A connection over TCP and RLPx.
pub type RlpxConnection = RlpxConnectionOver<TcpStream>;

/// A connection over a byte stream and RLPx.
pub type RlpxConnectionOver<S> =
    SessionConnection<<S as ByteStream>::Reader, <S as ByteStream>::Writer, RlpxDecoder, RlpxEncoder>;

/// RLPx over whatever carries bytes.
#[derive(Debug)]
pub struct RlpxOver<B> {
    identity: Arc<Identity>,
    bytes: B,
}

/// What the handshakes of a node need of it.
#[derive(Debug)]
struct Identity {
    key: NodeKey,
    id: NodeId,
    randomness: Randomness,
}

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
        Ok(Self::new(key, Tcp::bind(address).await?))
    }

    /// Makes a transport that only dials.
    #[must_use]
    pub fn dial_only(key: NodeKey) -> Self {
        Self::new(key, Tcp::dial_only())
    }
}

impl<B: ByteTransport> RlpxOver<B> {
    /// Puts RLPx above `bytes`. The randomness of handshakes is the system's.
    #[must_use]
    pub fn new(key: NodeKey, bytes: B) -> Self {
        Self::with_randomness(key, bytes, Randomness::System)
    }

    /// Puts RLPx above `bytes`, with ephemeral keys and nonces that follow from `seed`. **Never for a real network**:
    /// whoever knows the seed reads all that is said. For simulations, which must repeat to the byte.
    #[must_use]
    pub fn insecure_with_seed(key: NodeKey, bytes: B, seed: u64) -> Self {
        Self::with_randomness(key, bytes, Randomness::insecure_from_seed(seed))
    }

    fn with_randomness(key: NodeKey, bytes: B, randomness: Randomness) -> Self {
        let identity = Arc::new(Identity { id: key.id(), key, randomness });
        Self { identity, bytes }
    }
}

impl<B> RlpxOver<B> {
    /// The identity that it proves.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.identity.id
    }
}

impl<B: ByteTransport> Transport for RlpxOver<B> {
    type Incoming = IncomingOver<B::Stream>;
    type Connection = RlpxConnectionOver<B::Stream>;

    fn protocol(&self) -> Protocol {
        self.bytes.protocol()
    }

    fn identity(&self) -> Option<NodeId> {
        Some(self.id())
    }

    fn local_endpoints(&self) -> Vec<Endpoint> {
        self.bytes.local_endpoints()
    }

    async fn accept(&self) -> Result<Self::Incoming, AcceptError> {
        let (stream, remote) = self.bytes.accept().await?;
        Ok(IncomingOver { identity: Arc::clone(&self.identity), stream, remote })
    }

    async fn dial(&self, target: Target, handshake: Handshake) -> Result<Self::Connection, Closed> {
        let id = self.id();
        if target.id == id {
            return Err(Closed::local(
                Layer::Ecies,
                Blame::Incompatible,
                DisconnectReason::SelfConnection,
                "self_connection",
            ));
        }
        let mut stream = self.bytes.connect(&target.endpoint).await?;
        stream.prepare().map_err(|error| stream_broke(&error))?;
        handshake.progress.reached(Stage::Tcp);
        let Identity { key, randomness, .. } = &*self.identity;
        let entropy = randomness.draw()?;
        let secrets = handshake::initiate(key, target.id, entropy, &mut stream, &*handshake.progress).await?;
        handshake.progress.identified(target.id);
        // What Hello announces is where we listen, not the port that this connection happens to have.
        let listen_port = self.bytes.local_endpoints().first().map_or(0, port);
        session(stream, (id, target.id), (target.endpoint, listen_port), secrets, &handshake).await
    }

    fn close(&self) {
        self.bytes.close();
    }
}

/// A peer that has connected over a byte stream.
#[derive(Debug)]
pub struct IncomingOver<S> {
    identity: Arc<Identity>,
    stream: S,
    remote: Endpoint,
}

impl<S: ByteStream> Incoming for IncomingOver<S> {
    type Connection = RlpxConnectionOver<S>;

    fn remote(&self) -> Endpoint {
        self.remote.clone()
    }

    async fn handshake(mut self, handshake: Handshake) -> Result<Self::Connection, Closed> {
        self.stream.prepare().map_err(|error| stream_broke(&error))?;
        handshake.progress.reached(Stage::Tcp);
        let Identity { key, id, randomness } = &*self.identity;
        let entropy = randomness.draw()?;
        let responding = handshake::respond(key, entropy, &mut self.stream, &*handshake.progress);
        let (peer, secrets) = responding.await?;
        handshake.progress.identified(peer);
        let listen_port = self.stream.local().map_or(0, |local| port(&local));
        session(self.stream, (*id, peer), (self.remote, listen_port), secrets, &handshake).await
    }
}

async fn session<S: ByteStream>(
    stream: S,
    (local_id, peer): (NodeId, NodeId),
    (remote, listen_port): (Endpoint, u16),
    secrets: Secrets,
    handshake: &Handshake,
) -> Result<RlpxConnectionOver<S>, Closed> {
    let local = stream.local().map_err(|error| stream_broke(&error))?;
    let (encoder, decoder) = codec::new(secrets);
    let (read, write) = stream.into_halves();
    let ends = Ends { local_id, peer, local, remote, listen_port };
    establish(Input::new(read, decoder), Output::new(write, encoder), ends, handshake).await
}
