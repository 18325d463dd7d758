//! The transports under test.

use std::net::{Ipv4Addr, SocketAddr};

use peerage::address::Endpoint;
use peerage::transport::Transport;
use peerage::transport::memory::{MemoryNetwork, MemoryTransport};
use peerage::transport::rlpx::RlpxTransport;
use peerage::{NodeId, NodeKey};
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};

use super::wire::Wire;
use super::{Kit, Relay};

/// A loopback port of the system's choice.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// RLPx over TCP on loopback.
pub(crate) struct Rlpx;

impl Kit for Rlpx {
    type Transport = RlpxTransport;
    type Raw = TcpStream;
    type Relay = TcpRelay;

    fn new() -> Self {
        Self
    }

    async fn listen(&self, key: &NodeKey) -> RlpxTransport {
        RlpxTransport::bind(key.clone(), ANY_PORT).await.unwrap()
    }

    async fn vacant(&self, _id: NodeId) -> Endpoint {
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        Endpoint::Tcp(listener.local_addr().unwrap())
    }

    fn known_endpoint(_id: NodeId) -> Option<Endpoint> {
        None
    }

    async fn connect(&self, _from: NodeId, to: &Endpoint) -> TcpStream {
        let stream = TcpStream::connect(address(to)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    async fn speak(&self, key: &NodeKey, to: NodeId, endpoint: &Endpoint) -> Wire<TcpStream> {
        Wire::initiate(self.connect(key.id(), endpoint).await, key, to).await
    }

    async fn relay(&self, dialler: &NodeKey, to: (NodeId, &Endpoint)) -> (RlpxTransport, TcpRelay) {
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        (RlpxTransport::dial_only(dialler.clone()), TcpRelay { listener, to: address(to.1) })
    }
}

pub(crate) struct TcpRelay {
    listener: TcpListener,
    to: SocketAddr,
}

impl Relay for TcpRelay {
    type Raw = TcpStream;

    fn endpoint(&self) -> Endpoint {
        Endpoint::Tcp(self.listener.local_addr().unwrap())
    }

    async fn link(&self) -> (TcpStream, TcpStream) {
        let (near, _) = self.listener.accept().await.unwrap();
        let far = TcpStream::connect(self.to).await.unwrap();
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        (near, far)
    }
}

fn address(endpoint: &Endpoint) -> SocketAddr {
    match endpoint {
        Endpoint::Tcp(address) => *address,
        other => panic!("no socket: {other}"),
    }
}

/// Nodes of one process.
pub(crate) struct Memory(MemoryNetwork);

impl Kit for Memory {
    type Transport = MemoryTransport;
    type Raw = DuplexStream;
    type Relay = MemoryRelay;

    fn new() -> Self {
        Self(MemoryNetwork::new())
    }

    async fn listen(&self, key: &NodeKey) -> MemoryTransport {
        self.0.listen(key.id())
    }

    async fn vacant(&self, id: NodeId) -> Endpoint {
        Endpoint::Memory(id)
    }

    fn known_endpoint(id: NodeId) -> Option<Endpoint> {
        Some(Endpoint::Memory(id))
    }

    async fn connect(&self, from: NodeId, to: &Endpoint) -> DuplexStream {
        let Endpoint::Memory(to) = to else { panic!("no node: {to}") };
        self.0.connect(from, *to).unwrap()
    }

    async fn speak(&self, key: &NodeKey, _to: NodeId, endpoint: &Endpoint) -> Wire<DuplexStream> {
        Wire::plain(self.connect(key.id(), endpoint).await)
    }

    /// The dialler lives on a network of its own, where the relay bears the listener's name.
    async fn relay(&self, dialler: &NodeKey, to: (NodeId, &Endpoint)) -> (MemoryTransport, MemoryRelay) {
        let near = MemoryNetwork::new();
        let relay =
            MemoryRelay { near: near.listen(to.0), far: self.0.clone(), from: dialler.id(), to: to.0 };
        (near.listen(dialler.id()), relay)
    }
}

pub(crate) struct MemoryRelay {
    near: MemoryTransport,
    far: MemoryNetwork,
    from: NodeId,
    to: NodeId,
}

impl Relay for MemoryRelay {
    type Raw = DuplexStream;

    fn endpoint(&self) -> Endpoint {
        Endpoint::Memory(self.to)
    }

    async fn link(&self) -> (DuplexStream, DuplexStream) {
        let near = self.near.accept().await.unwrap().into_stream();
        (near, self.far.connect(self.from, self.to).unwrap())
    }
}
