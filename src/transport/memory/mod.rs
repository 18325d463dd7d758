//! Connects nodes of one process: the same session as over TCP, without its cryptography.
//!
//! A [`MemoryNetwork`] is where nodes find each other by identity. A connection is a pair of byte pipes of
//! bounded size, so a reader that stops holds its writer back, and messages arrive split and joined as on
//! a real stream. The network vouches for who dials, as ECIES does over TCP.
//!
//! It draws no randomness: on a paused runtime of one thread it is deterministic.
//! [`MemoryNetwork::connect`] and [`MemoryIncoming::into_stream`] let a test stand between two nodes.
//!
//! # Links
//!
//! By default bytes arrive at once, and the transport has no clock. [`MemoryNetwork::set_link`] gives the connections
//! made from then on a [`LinkConfig`]: a latency, a rate and a buffer, for each of their two directions on its own.
//!
//! - What is written waits in the buffer, leaves byte after byte at the rate, and arrives a latency after it left. A
//!   write is done when its bytes are in the buffer, as with a socket. A buffer that is full holds the writer back.
//! - While as many bytes are on their way and unread as the [window](LinkConfig::window_bytes) has, none leaves: a
//!   reader that stops fills the window, then the buffer, and so holds the writer back. Memory is bounded by both.
//!   When the reader takes some, the line knows at once.
//! - The end of a direction arrives after its last byte, at the earliest a latency after it was said. A stream that
//!   is dropped ends its own direction so, and loses what comes to it; the other end may write until it can have
//!   learned of that, which is a latency later, and then its stream is broken. As over TCP, it is dropping both
//!   halves of a connection that does this: the other end of a reading half that is dropped alone learns nothing.
//! - Connecting takes no time. What the two ends then say to agree on a session does.
//!
//! Time is tokio's, so a paused clock moves it. Instants are computed to the nanosecond and never rounded in favour of
//! the rate, but tokio's timer wakes on whole milliseconds: whoever waits learns of its bytes, its room or the end up
//! to 2 ms late (1 ms where the clock stands at whole milliseconds), and then finds all that is due. The rate does
//! not suffer by that, since the window allows for it, and what a writer writes at once when it is woken late counts
//! as written when it should have been woken, by at most those 2 ms. (At once is at the same instant: where the clock
//! is not paused that is its first write alone, and a buffer should hold what leaves in 2 ms.)
//!
//! Not modelled: loss, reordering, congestion, the cost of headers and acknowledgements, lines that differ
//! between nodes or directions, or that several connections share.

mod pipe;
mod stream;

pub use super::backlog::BACKLOG;
pub use super::link::PIPE_BYTES;
pub use stream::MemoryStream;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::ReadHalf;
use tokio::sync::mpsc;

use self::pipe::PipeWriter;
use super::backlog::Backlog;
use super::link::LinkConfig;
use super::session::{Ends, Input, Output, PlainDecoder, PlainEncoder, SessionConnection, establish};
use super::{AcceptError, Handshake, Incoming, Target, Transport, wrong_endpoint};
use crate::address::Endpoint;
use crate::event::{Blame, Closed, DisconnectReason, Layer, Stage};
use crate::id::{NodeId, Protocol};

/// Nodes of one process that can reach each other. Clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    listeners: BTreeMap<NodeId, mpsc::Sender<Pipe>>,
    /// Of the connections to come.
    link: Option<LinkConfig>,
}

/// One end of a new connection, and who is at the other.
struct Pipe {
    from: NodeId,
    stream: MemoryStream,
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table();
        f.debug_struct("MemoryNetwork")
            .field("listening", &table.listeners.keys())
            .field("link", &table.link)
            .finish()
    }
}

impl MemoryNetwork {
    /// Makes a network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a network without nodes, whose connections have the link `config`.
    #[must_use]
    pub fn with_link(config: LinkConfig) -> Self {
        let network = Self::new();
        network.set_link(config);
        network
    }

    /// Gives the connections made from now on a link, or none. Those that exist keep what they have.
    pub fn set_link(&self, config: impl Into<Option<LinkConfig>>) {
        self.table().link = config.into();
    }

    /// Adds a node that listens under its identity. A node of the same identity is replaced: the older
    /// transport accepts nothing more.
    #[must_use]
    pub fn listen(&self, id: NodeId) -> MemoryTransport {
        let backlog = Backlog::new();
        self.table().listeners.insert(id, backlog.entrance().clone());
        MemoryTransport { network: self.clone(), id, backlog }
    }

    /// Opens a bare byte stream from `from` to the node `to`, on which the caller speaks for itself. Tests
    /// use it to be a peer that breaks the protocol.
    ///
    /// # Errors
    ///
    /// [`Closed`] if nobody listens there or its backlog is full.
    pub fn connect(&self, from: NodeId, to: NodeId) -> Result<MemoryStream, Closed> {
        let refused = |detail: &'static str| Closed::stream("connection_refused", detail);
        let (listener, link) = {
            let table = self.table();
            (table.listeners.get(&to).cloned(), table.link)
        };
        let (ours, theirs) = stream::pair(link);
        let listener = listener.ok_or_else(|| refused("no node of that identity listens"))?;
        match listener.try_send(Pipe { from, stream: theirs }) {
            Ok(()) => Ok(ours),
            Err(mpsc::error::TrySendError::Full(_)) => Err(refused("the backlog of that node is full")),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(refused("that node has closed its transport")),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code that holds this lock can panic between two writes: a poisoned table is still whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node's place in a [`MemoryNetwork`].
pub struct MemoryTransport {
    network: MemoryNetwork,
    id: NodeId,
    backlog: Backlog<Pipe>,
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A connection over memory.
pub type MemoryConnection = SessionConnection<ReadHalf<MemoryStream>, PipeWriter, PlainDecoder, PlainEncoder>;

impl Transport for MemoryTransport {
    type Incoming = MemoryIncoming;
    type Connection = MemoryConnection;

    fn protocol(&self) -> Protocol {
        Protocol::MEMORY
    }

    fn identity(&self) -> Option<NodeId> {
        Some(self.id)
    }

    fn local_endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint::Memory(self.id)]
    }

    async fn accept(&self) -> Result<MemoryIncoming, AcceptError> {
        let pipe = self.backlog.accept().await?;
        Ok(MemoryIncoming { local_id: self.id, pipe })
    }

    async fn dial(&self, target: Target, handshake: Handshake) -> Result<MemoryConnection, Closed> {
        let Endpoint::Memory(listener) = target.endpoint else {
            return Err(wrong_endpoint("memory", &target.endpoint));
        };
        let stream = self.network.connect(self.id, listener)?;
        handshake.progress.reached(Stage::Tcp);
        if listener != target.id {
            return Err(Closed::local(
                Layer::Ecies,
                Blame::Incompatible,
                DisconnectReason::UnexpectedIdentity,
                "unexpected_identity",
            ));
        }
        session(stream, self.id, listener, &handshake).await
    }

    fn close(&self) {
        let mut table = self.network.table();
        // Only our own entry: a node of the same identity may have taken its place.
        if table.listeners.get(&self.id).is_some_and(|known| known.same_channel(self.backlog.entrance())) {
            table.listeners.remove(&self.id);
        }
        drop(table);
        self.backlog.close();
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.close();
    }
}

/// A peer that has connected over memory.
pub struct MemoryIncoming {
    local_id: NodeId,
    pipe: Pipe,
}

impl fmt::Debug for MemoryIncoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryIncoming")
            .field("from", &self.pipe.from)
            .field("local_id", &self.local_id)
            .finish_non_exhaustive()
    }
}

impl MemoryIncoming {
    /// Gives up the session for the bare byte stream, on which the caller speaks for itself. Tests use it to be a
    /// peer that breaks the protocol, or to stand between two that do not.
    #[must_use]
    pub fn into_stream(self) -> MemoryStream {
        self.pipe.stream
    }
}

impl Incoming for MemoryIncoming {
    type Connection = MemoryConnection;

    fn remote(&self) -> Endpoint {
        Endpoint::Memory(self.pipe.from)
    }

    async fn handshake(self, handshake: Handshake) -> Result<MemoryConnection, Closed> {
        session(self.pipe.stream, self.local_id, self.pipe.from, &handshake).await
    }
}

async fn session(
    stream: MemoryStream,
    local_id: NodeId,
    peer: NodeId,
    handshake: &Handshake,
) -> Result<MemoryConnection, Closed> {
    handshake.progress.identified(peer);
    let (read, write) = pipe::split(stream);
    let ends = Ends {
        local_id,
        peer,
        local: Endpoint::Memory(local_id),
        remote: Endpoint::Memory(peer),
        listen_port: 0,
    };
    establish(Input::new(read, PlainDecoder), Output::new(write, PlainEncoder), ends, handshake).await
}
