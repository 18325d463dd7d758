//! The session without cryptography, above whatever carries bytes.
//!
//! Whoever dials says who it is and whom it wants, and is believed: **never for a real network**. A simulation of
//! many nodes uses it, where RLPx would cost most of the time and prove nothing new. The session above it is that of every
//! transport.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::session::{
    Ends, Input, Output, PlainDecoder, PlainEncoder, SessionConnection, establish, stream_broke,
};
use super::{AcceptError, ByteStream, ByteTransport, Handshake, Incoming, Target, Transport, port};
use crate::address::Endpoint;
use crate::event::{Blame, Closed, DisconnectReason, Layer, Stage};
use crate::id::{NodeId, Protocol};

/// Bytes of an identity.
const ID_BYTES: usize = 64;

/// Plain messages over whatever carries bytes.
#[derive(Debug)]
pub struct PlainOver<B> {
    id: NodeId,
    bytes: B,
}

/// A connection over a byte stream, plain.
pub type PlainConnectionOver<S> =
    SessionConnection<<S as ByteStream>::Reader, <S as ByteStream>::Writer, PlainDecoder, PlainEncoder>;

impl<B: ByteTransport> PlainOver<B> {
    /// Says to be `id` above `bytes`.
    pub fn insecure(id: NodeId, bytes: B) -> Self {
        Self { id, bytes }
    }
}

impl<B: ByteTransport> Transport for PlainOver<B> {
    type Incoming = PlainIncomingOver<B::Stream>;
    type Connection = PlainConnectionOver<B::Stream>;

    fn protocol(&self) -> Protocol {
        self.bytes.protocol()
    }

    fn identity(&self) -> Option<NodeId> {
        Some(self.id)
    }

    fn local_endpoints(&self) -> Vec<Endpoint> {
        self.bytes.local_endpoints()
    }

    async fn accept(&self) -> Result<Self::Incoming, AcceptError> {
        let (stream, remote) = self.bytes.accept().await?;
        Ok(PlainIncomingOver { id: self.id, stream, remote })
    }

    async fn dial(&self, target: Target, handshake: Handshake) -> Result<Self::Connection, Closed> {
        let mut stream = self.bytes.connect(&target.endpoint).await?;
        handshake.progress.reached(Stage::Tcp);
        for id in [&self.id, &target.id] {
            stream.write_all(id.as_bytes()).await.map_err(|error| stream_broke(&error))?;
        }
        session(stream, (self.id, target.id), target.endpoint, &handshake).await
    }

    fn close(&self) {
        self.bytes.close();
    }
}

/// A peer that has connected over a byte stream.
#[derive(Debug)]
pub struct PlainIncomingOver<S> {
    id: NodeId,
    stream: S,
    remote: Endpoint,
}

impl<S: ByteStream> Incoming for PlainIncomingOver<S> {
    type Connection = PlainConnectionOver<S>;

    fn remote(&self) -> Endpoint {
        self.remote.clone()
    }

    async fn handshake(mut self, handshake: Handshake) -> Result<Self::Connection, Closed> {
        handshake.progress.reached(Stage::Tcp);
        let mut ids = [[0; ID_BYTES]; 2];
        for id in &mut ids {
            self.stream.read_exact(id).await.map_err(|error| stream_broke(&error))?;
        }
        let [peer, wanted] = ids;
        // As over RLPx, where it could not read our first packet: whoever dialled sees the stream end.
        if wanted != *self.id.as_bytes() {
            return Err(claim_fault("unexpected_identity"));
        }
        let peer = NodeId::from_bytes(peer).map_err(|_| claim_fault("invalid_identity"))?;
        session(self.stream, (self.id, peer), self.remote, &handshake).await
    }
}

fn claim_fault(label: &'static str) -> Closed {
    Closed::local(Layer::Ecies, Blame::Incompatible, DisconnectReason::UnexpectedIdentity, label)
}

async fn session<S: ByteStream>(
    stream: S,
    (local_id, peer): (NodeId, NodeId),
    remote: Endpoint,
    handshake: &Handshake,
) -> Result<PlainConnectionOver<S>, Closed> {
    handshake.progress.identified(peer);
    let local = stream.local().map_err(|error| stream_broke(&error))?;
    let listen_port = port(&local);
    let (read, write) = stream.into_halves();
    let ends = Ends { local_id, peer, local, remote, listen_port };
    establish(Input::new(read, PlainDecoder), Output::new(write, PlainEncoder), ends, handshake).await
}
