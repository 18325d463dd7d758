//! Connects nodes of one process: the same session as over TCP, without its cryptography.
//!
//! A [`MemoryNetwork`] is where nodes find each other by identity. A connection is a pair of byte pipes of
//! bounded size, so a reader that stops holds its writer back, and messages arrive split and joined as on
//! a real stream. The network vouches for who dials, as ECIES does over TCP.
//!
//! It has no clock and draws no randomness: on a paused runtime of one thread it is deterministic. It adds no
//! delay and no faults; [`MemoryNetwork::connect`] and [`MemoryIncoming::into_stream`] let a test stand between
//! two nodes and do so.

mod codec;
mod pipe;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{DuplexStream, ReadHalf, duplex};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_util::sync::CancellationToken;

use self::codec::{PlainDecoder, PlainEncoder};
use self::pipe::PipeWriter;
use super::session::{Ends, Input, Output, SessionConnection, establish};
use super::{AcceptError, Handshake, Incoming, Target, Transport, wrong_endpoint};
use crate::address::Endpoint;
use crate::event::{Blame, Closed, DisconnectReason, Layer, Stage};
use crate::id::{NodeId, Protocol};

/// Capacity of each direction of a connection, in bytes.
pub const PIPE_BYTES: usize = 64 * 1024;

/// How many connections wait to be accepted before the next is refused.
pub const BACKLOG: usize = 128;

/// Nodes of one process that can reach each other. Clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    listeners: Arc<Mutex<BTreeMap<NodeId, mpsc::Sender<Pipe>>>>,
}

/// One end of a new connection, and who is at the other.
struct Pipe {
    from: NodeId,
    stream: DuplexStream,
}

impl MemoryNetwork {
    /// Makes a network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node that listens under its identity. A node of the same identity is replaced: the older
    /// transport accepts nothing more.
    #[must_use]
    pub fn listen(&self, id: NodeId) -> MemoryTransport {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.table().insert(id, sender.clone());
        MemoryTransport {
            network: self.clone(),
            id,
            listener: sender,
            backlog: AsyncMutex::new(receiver),
            closed: CancellationToken::new(),
        }
    }

    /// Opens a bare byte stream from `from` to the node `to`, on which the caller speaks for itself. Tests
    /// use it to be a peer that breaks the protocol.
    ///
    /// # Errors
    ///
    /// [`Closed`] if nobody listens there or its backlog is full.
    pub fn connect(&self, from: NodeId, to: NodeId) -> Result<DuplexStream, Closed> {
        let refused = |detail: &'static str| Closed::stream("connection_refused", detail);
        let (ours, theirs) = duplex(PIPE_BYTES);
        let listener = self.table().get(&to).cloned();
        let listener = listener.ok_or_else(|| refused("no node of that identity listens"))?;
        match listener.try_send(Pipe { from, stream: theirs }) {
            Ok(()) => Ok(ours),
            Err(mpsc::error::TrySendError::Full(_)) => Err(refused("the backlog of that node is full")),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(refused("that node has closed its transport")),
        }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<NodeId, mpsc::Sender<Pipe>>> {
        // No code that holds this lock can panic between two writes: a poisoned table is still whole.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node's place in a [`MemoryNetwork`].
pub struct MemoryTransport {
    network: MemoryNetwork,
    id: NodeId,
    /// What the network's table has of this node, to know it again.
    listener: mpsc::Sender<Pipe>,
    backlog: AsyncMutex<mpsc::Receiver<Pipe>>,
    closed: CancellationToken,
}

/// A connection over memory.
pub type MemoryConnection = SessionConnection<ReadHalf<DuplexStream>, PipeWriter, PlainDecoder, PlainEncoder>;

impl Transport for MemoryTransport {
    type Incoming = MemoryIncoming;
    type Connection = MemoryConnection;

    fn protocol(&self) -> Protocol {
        Protocol::MEMORY
    }

    fn local_endpoints(&self) -> Vec<Endpoint> {
        vec![Endpoint::Memory(self.id)]
    }

    async fn accept(&self) -> Result<MemoryIncoming, AcceptError> {
        let next = async { self.backlog.lock().await.recv().await };
        // Closed first, and for ever; then whoever waits.
        tokio::select! {
            biased;
            () = self.closed.cancelled() => {
                refuse_all(&mut *self.backlog.lock().await);
                Err(AcceptError::Closed)
            }
            pipe = next => {
                let pipe = pipe.ok_or(AcceptError::Closed)?;
                Ok(MemoryIncoming { local_id: self.id, pipe })
            }
        }
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
        self.closed.cancel();
        let mut table = self.network.table();
        // Only our own entry: a node of the same identity may have taken its place.
        if table.get(&self.id).is_some_and(|listener| listener.same_channel(&self.listener)) {
            table.remove(&self.id);
        }
        // Where an accept holds the backlog, that accept is about to end, and empties it then.
        if let Ok(mut backlog) = self.backlog.try_lock() {
            refuse_all(&mut backlog);
        }
    }
}

/// Ends the streams of those that nobody will accept, as a system does when a listening socket is closed.
fn refuse_all(backlog: &mut mpsc::Receiver<Pipe>) {
    backlog.close();
    while backlog.try_recv().is_ok() {}
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

impl MemoryIncoming {
    /// Gives up the session for the bare byte stream, on which the caller speaks for itself. Tests use it to be a
    /// peer that breaks the protocol, or to stand between two that do not.
    #[must_use]
    pub fn into_stream(self) -> DuplexStream {
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
    stream: DuplexStream,
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
