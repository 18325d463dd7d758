//! The transports under test.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use peerage::address::Endpoint;
use peerage::transport::Transport;
use peerage::transport::link::LinkConfig;
use peerage::transport::memory::{MemoryNetwork, MemoryStream, MemoryTransport};
use peerage::transport::rlpx::RlpxTransport;
use peerage::{NodeId, NodeKey};
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
    type Raw = MemoryStream;
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

    async fn connect(&self, from: NodeId, to: &Endpoint) -> MemoryStream {
        let Endpoint::Memory(to) = to else { panic!("no node: {to}") };
        self.0.connect(from, *to).unwrap()
    }

    async fn speak(&self, key: &NodeKey, _to: NodeId, endpoint: &Endpoint) -> Wire<MemoryStream> {
        Wire::plain(self.connect(key.id(), endpoint).await)
    }

    /// The dialler lives on a network of its own, where the relay bears the listener's name.
    async fn relay(&self, dialler: &NodeKey, to: (NodeId, &Endpoint)) -> (MemoryTransport, MemoryRelay) {
        let near = MemoryNetwork::new();
        (near.listen(dialler.id()), MemoryRelay::new(&near, &self.0, dialler.id(), to.0))
    }
}

pub(crate) struct MemoryRelay {
    near: MemoryTransport,
    far: MemoryNetwork,
    from: NodeId,
    to: NodeId,
}

impl MemoryRelay {
    fn new(near: &MemoryNetwork, far: &MemoryNetwork, from: NodeId, to: NodeId) -> Self {
        Self { near: near.listen(to), far: far.clone(), from, to }
    }
}

impl Relay for MemoryRelay {
    type Raw = MemoryStream;

    fn endpoint(&self) -> Endpoint {
        Endpoint::Memory(self.to)
    }

    async fn link(&self) -> (MemoryStream, MemoryStream) {
        let near = self.near.accept().await.unwrap().into_stream();
        (near, self.far.connect(self.from, self.to).unwrap())
    }
}

/// Nodes of one process, with a line between any two.
pub(crate) struct Linked(Memory);

impl Linked {
    /// Short enough for the deadlines of the cases, slow enough that all of them wait for the line.
    fn config() -> LinkConfig {
        LinkConfig::new(Duration::from_micros(2_300), Some(12_500_000), 48 * 1024).unwrap()
    }
}

impl Kit for Linked {
    type Transport = MemoryTransport;
    type Raw = MemoryStream;
    type Relay = MemoryRelay;

    fn new() -> Self {
        Self(Memory(MemoryNetwork::with_link(Self::config())))
    }

    async fn listen(&self, key: &NodeKey) -> MemoryTransport {
        self.0.listen(key).await
    }

    async fn vacant(&self, id: NodeId) -> Endpoint {
        self.0.vacant(id).await
    }

    fn known_endpoint(id: NodeId) -> Option<Endpoint> {
        Memory::known_endpoint(id)
    }

    async fn connect(&self, from: NodeId, to: &Endpoint) -> MemoryStream {
        self.0.connect(from, to).await
    }

    async fn speak(&self, key: &NodeKey, to: NodeId, endpoint: &Endpoint) -> Wire<MemoryStream> {
        self.0.speak(key, to, endpoint).await
    }

    async fn relay(&self, dialler: &NodeKey, to: (NodeId, &Endpoint)) -> (MemoryTransport, MemoryRelay) {
        let near = MemoryNetwork::with_link(Self::config());
        (near.listen(dialler.id()), MemoryRelay::new(&near, &self.0.0, dialler.id(), to.0))
    }

    /// A paused clock stands still while anybody is busy, and so would the line.
    async fn pass() {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
}
