//! How bytes reach a peer: the [`Transport`] trait and what it hands out.
//!
//! A transport listens from its construction on. [`Transport::accept`] gives an [`Incoming`] at once, before
//! anything was read from it; [`Incoming::handshake`] consumes it and gives a [`Connection`], which therefore
//! exists only authenticated. A connection splits into a reader and a writer half that two tasks own.
//!
//! ```text
//! accept ──> Incoming ──handshake──> Connection ──split──> PacketReader, PacketWriter
//! dial ─────────────────────────────────^
//! ```
//!
//! Two transports are here: [`rlpx`] (TCP and Ethereum's RLPx) and [`memory`] (nodes of one process). Both
//! speak the same session above their byte stream: Hello, capabilities, network and services. One
//! conformance suite runs over every transport.
//!
//! What this module does not do: it sets no deadline on a handshake (whoever calls does, over all of it),
//! decides about no peer, and queues nothing but the bytes of one batch.

pub(crate) mod backlog;
mod bytes;
pub mod link;
pub mod memory;
pub mod plain;
mod resolver;
pub mod rlpx;
mod session;

pub use self::bytes::{ByteStream, ByteTransport};
pub use crate::message::AgreedChannel;
pub use resolver::DnsResolver;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::address::Endpoint;
use crate::event::{Blame, Closed, DisconnectReason, Layer, Stage};
use crate::id::{NodeId, Protocol};
use crate::message::{Capability, ChannelSpec, Packet};

/// Connects to peers and lets them connect.
///
/// Every future may be dropped at any await; the router does so when a deadline passes or it shuts down.
pub trait Transport: Send + Sync + 'static {
    /// A peer that has connected and has not been heard yet.
    type Incoming: Incoming<Connection = Self::Connection>;
    /// An authenticated connection.
    type Connection: Connection;

    /// The kind of address that it dials.
    fn protocol(&self) -> Protocol;

    /// The identity that it proves to peers, if it has one of its own and tells. A node whose identity is another
    /// cannot be built with it. Default: none is told.
    fn identity(&self) -> Option<NodeId> {
        None
    }

    /// Where it listens; empty if it only dials.
    fn local_endpoints(&self) -> Vec<Endpoint>;

    /// Waits for the next peer that connects.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Closed`] after [`Transport::close`], for ever; [`AcceptError::System`] says that this
    /// attempt failed and the next may not.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a peer that has connected is returned by the next call.
    fn accept(&self) -> impl Future<Output = Result<Self::Incoming, AcceptError>> + Send;

    /// Connects to `target` and authenticates it.
    ///
    /// # Errors
    ///
    /// [`Closed`] says in which layer it ended, and whose fault that is: nobody listens, another identity
    /// answered, nothing is shared, another network.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what it had opened.
    fn dial(
        &self,
        target: Target,
        handshake: Handshake,
    ) -> impl Future<Output = Result<Self::Connection, Closed>> + Send;

    /// Stops listening. Connections that exist live on.
    fn close(&self);
}

/// A peer that has connected and has not been heard yet.
pub trait Incoming: Send + 'static {
    /// The connection that it becomes.
    type Connection: Connection;

    /// Where it connects from. Checked against limits before any cryptography.
    fn remote(&self) -> Endpoint;

    /// Authenticates the peer and agrees on channels.
    ///
    /// # Errors
    ///
    /// [`Closed`], as for [`Transport::dial`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream.
    fn handshake(self, handshake: Handshake)
    -> impl Future<Output = Result<Self::Connection, Closed>> + Send;
}

/// An authenticated connection.
pub trait Connection: Send + 'static {
    /// The half that reads.
    type Reader: PacketReader;
    /// The half that writes.
    type Writer: PacketWriter;

    /// Who is at the other end, and what was agreed.
    fn info(&self) -> &ConnectionInfo;

    /// Gives the halves to their tasks. Dropping both closes the connection.
    fn split(self) -> (Self::Reader, Self::Writer);
}

/// The half of a connection that reads.
pub trait PacketReader: Send + 'static {
    /// Waits for the next packet.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the peer disconnected, closed the stream or broke the protocol. Nothing more comes after
    /// it.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a packet read in part is kept for the next call.
    fn read(&mut self) -> impl Future<Output = Result<Packet, Closed>> + Send;
}

/// The half of a connection that writes.
pub trait PacketWriter: Send + 'static {
    /// Puts a packet behind those already buffered. Does not wait, and writes nothing yet: the caller bounds
    /// the buffer by flushing whenever [`PacketWriter::buffered_bytes`] is large enough for one write.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the connection cannot carry the packet: its channel is not shared, its code or size is
    /// above the protocol's. The connection is not harmed.
    fn write(&mut self, packet: &Packet) -> Result<(), Closed>;

    /// How many bytes wait for [`PacketWriter::flush`].
    fn buffered_bytes(&self) -> usize;

    /// Writes what is buffered.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the stream broke.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: what was written is gone from the buffer, the rest stays.
    fn flush(&mut self) -> impl Future<Output = Result<(), Closed>> + Send;

    /// Flushes, says goodbye with `reason` if there is one, and tells the peer that nothing more comes. The
    /// reader half may still read.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the stream broke.
    ///
    /// # Cancel safety
    ///
    /// As for [`PacketWriter::flush`]; calling it again may say goodbye twice, which harms nobody.
    fn finish(&mut self, reason: Option<DisconnectReason>)
    -> impl Future<Output = Result<(), Closed>> + Send;
}

/// Whom to dial, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The identity that must answer.
    pub id: NodeId,
    /// Where it is said to be.
    pub endpoint: Endpoint,
}

/// What a handshake needs to know of this node.
#[derive(Clone)]
pub struct Handshake {
    /// What this node offers to every peer.
    pub offer: Arc<Offer>,
    /// Told of each stage as it is passed.
    pub progress: Arc<dyn Progress>,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("offer", &self.offer).finish_non_exhaustive()
    }
}

/// What a node tells its peers about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The name and version of the software, for people; at most 256 bytes are sent.
    pub client: String,
    /// The network it belongs to. Peers that name another are refused; peers that cannot name any are not.
    pub network: String,
    /// The services it announces.
    pub services: Vec<String>,
    /// Its channels.
    pub channels: Vec<ChannelSpec>,
    /// Whether a peer with which no channel is shared is refused. A probe says no.
    pub needs_common_channel: bool,
}

/// Hears how a handshake goes on. All methods do nothing unless they are written.
pub trait Progress: Send + Sync + 'static {
    /// A stage is complete.
    fn reached(&self, stage: Stage) {
        let _ = stage;
    }

    /// The handshake has proved the peer's identity.
    fn identified(&self, peer: NodeId) {
        let _ = peer;
    }

    /// The peer has said Hello. Comes before anything in it is judged.
    fn hello(&self, client: &str, p2p_version: u32, capabilities: &[Capability]) {
        let _ = (client, p2p_version, capabilities);
    }
}

impl Progress for () {}

/// Who is at the other end of a connection, and what was agreed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The proved identity.
    pub peer: NodeId,
    /// Our end.
    pub local: Endpoint,
    /// Its end.
    pub remote: Endpoint,
    /// What the peer calls its software.
    pub client: String,
    /// Every capability that the peer announced.
    pub capabilities: Vec<Capability>,
    /// The channels in common, by name.
    pub channels: Vec<AgreedChannel>,
    /// The peer's network, if it could name one.
    pub network: Option<String>,
    /// The services that the peer announced.
    pub services: Vec<String>,
}

/// The port of an endpoint, as Hello announces it; 0 if it has none.
fn port(endpoint: &Endpoint) -> u16 {
    match endpoint {
        Endpoint::Tcp(address) => address.port(),
        _ => 0,
    }
}

/// The end of a dial whose target belongs to another transport than this one, called `transport`.
fn wrong_endpoint(transport: &str, endpoint: &Endpoint) -> Closed {
    Closed::local(Layer::Node, Blame::Ourselves, DisconnectReason::Requested, "wrong_endpoint")
        .with_detail(format!("the {transport} transport cannot dial {endpoint}"))
}

/// Why no peer was accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The transport was closed.
    #[error("the transport is closed")]
    Closed,
    /// The system failed this attempt.
    #[error("the system could not accept: {0}")]
    System(#[from] std::io::Error),
}
