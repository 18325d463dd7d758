//! Nodes to test with: whole ones, and bare peers that a test plays itself.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use peerage::address::Endpoint;
use peerage::channel::{Channel, ChannelConfig, DropReason, PeerUpdates, Share};
use peerage::event::{Closed, Event, EventKind, Layer};
use peerage::id::{ConnId, Direction};
use peerage::message::{ChannelSpec, Message};
use peerage::peer::{Limit, PeerUpdate};
use peerage::queue::Overflow;
use peerage::router::{Builder, ChannelStatus, Report, Router, RouterConfig, RouterHandle};
use peerage::transport::memory::{MemoryNetwork, MemoryStream, MemoryTransport};
use peerage::transport::rlpx::RlpxTransport;
use peerage::transport::{Connection, Handshake, Offer, Target, Transport};
use peerage::{NodeAddress, NodeId, NodeKey};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

peerage::protocol! {
    /// What most tests say.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Note: "note" / 1, max 16 * 1024 {
        0 = Say { number: u64 },
        1 = Back { number: u64 },
        2 = Fill { filler: Bytes },
    }
}

peerage::protocol! {
    /// A second channel, to see that the first does not touch it.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Other: "other" / 1, max 1024 {
        0 = Say { number: u64 },
    }
}

/// The longest that a test may wait for anything. Real on TCP; on virtual time it costs nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// Runs each test over both transports.
macro_rules! over_both {
    ($($name:ident),* $(,)?) => {
        crate::router::kit::over_memory!($($name),*);
        mod tcp {
            $(#[test] fn $name() {
                crate::router::kit::real(super::$name(crate::router::kit::Net::new(crate::router::kit::Tcp)));
            })*
        }
    };
}

/// Runs each test over memory, on virtual time.
macro_rules! over_memory {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $name() {
                crate::router::kit::paused(super::$name(
                    crate::router::kit::Net::new(crate::router::kit::Memory::default()),
                ));
            })*
        }
    };
}

pub(crate) use {over_both, over_memory};

/// Runs a test on virtual time.
pub(crate) fn paused<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(async { timeout(PATIENCE * 4000, test).await.expect("the test hangs") })
}

/// Runs a test on real time.
pub(crate) fn real<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async { timeout(PATIENCE, test).await.expect("the test hangs") })
}

/// A kind of transport, as tests need it.
pub(crate) trait Wire: 'static {
    type Transport: Transport;
    type Raw: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Whether identities are proved by cryptography.
    const ENCRYPTED: bool;
    async fn listen(&self, key: &NodeKey) -> Self::Transport;
    fn dialer(&self, key: &NodeKey) -> Self::Transport;
    /// A byte stream to a node, on which nothing was said yet.
    async fn raw(&self, from: NodeId, to: &Endpoint) -> Self::Raw;
    fn address(id: NodeId, endpoint: &Endpoint) -> NodeAddress;
}

#[derive(Default)]
pub(crate) struct Memory(pub(super) MemoryNetwork);

impl Wire for Memory {
    type Transport = MemoryTransport;
    type Raw = MemoryStream;
    const ENCRYPTED: bool = false;

    async fn listen(&self, key: &NodeKey) -> MemoryTransport {
        self.0.listen(key.id())
    }

    fn dialer(&self, key: &NodeKey) -> MemoryTransport {
        self.0.listen(key.id())
    }

    async fn raw(&self, from: NodeId, to: &Endpoint) -> MemoryStream {
        let Endpoint::Memory(to) = to else { panic!("{to} is not in memory") };
        self.0.connect(from, *to).unwrap()
    }

    fn address(id: NodeId, _endpoint: &Endpoint) -> NodeAddress {
        NodeAddress::memory(id)
    }
}

pub(crate) struct Tcp;

impl Wire for Tcp {
    type Transport = RlpxTransport;
    type Raw = TcpStream;
    const ENCRYPTED: bool = true;

    async fn listen(&self, key: &NodeKey) -> RlpxTransport {
        RlpxTransport::bind(key.clone(), "127.0.0.1:0".parse().unwrap()).await.unwrap()
    }

    fn dialer(&self, key: &NodeKey) -> RlpxTransport {
        RlpxTransport::dial_only(key.clone())
    }

    async fn raw(&self, _from: NodeId, to: &Endpoint) -> TcpStream {
        let Endpoint::Tcp(to) = to else { panic!("{to} is not TCP") };
        TcpStream::connect(to).await.unwrap()
    }

    fn address(id: NodeId, endpoint: &Endpoint) -> NodeAddress {
        let Endpoint::Tcp(socket) = endpoint else { panic!("{endpoint} is not TCP") };
        NodeAddress::rlpx(id, *socket)
    }
}

/// A network of one test.
pub(crate) struct Net<W> {
    pub(crate) wire: W,
    tasks: TaskTracker,
}

pub(crate) fn key(seed: u64) -> NodeKey {
    NodeKey::insecure_from_seed(seed)
}

pub(crate) fn id(seed: u64) -> NodeId {
    key(seed).id()
}

impl<W: Wire> Net<W> {
    pub(crate) fn new(wire: W) -> Self {
        Self { wire, tasks: TaskTracker::new() }
    }

    /// A node that listens, with short waits and without bounds that a test would run into by chance.
    pub(crate) async fn builder(&self, seed: u64) -> Builder {
        let mut builder = Router::builder(id(seed));
        builder.transport(self.wire.listen(&key(seed)).await).seed(seed).configure(quick);
        builder
    }

    /// Starts a node that has the channel [`Note`], which the test holds.
    pub(crate) async fn node(&self, seed: u64) -> Node {
        self.node_to(seed, &[]).await
    }

    /// The same, with peers to dial.
    pub(crate) async fn node_to(&self, seed: u64, peers: &[NodeAddress]) -> Node {
        let mut builder = self.builder(seed).await;
        for peer in peers {
            builder.peer(peer.clone());
        }
        let channel = builder.channel::<Note>().unwrap();
        self.start(builder, channel)
    }

    /// Starts what was built.
    pub(crate) fn start<C>(&self, mut builder: Builder, channel: C) -> Node<C> {
        let log = Arc::new(Log::default());
        let observed = Arc::clone(&log);
        builder.observer(move |event: &Event| observed.add(event.clone()));
        let updates = builder.updates();
        let router = builder.build().unwrap();
        let handle = router.handle();
        let task = self.tasks.spawn(router.run());
        Node { id: handle.id(), handle, channel, updates, up: BTreeMap::new(), log, task }
    }

    /// Dials a node as `seed`, as a peer that the test plays from then on.
    pub(crate) async fn bare(&self, seed: u64, to: &NodeAddress) -> Result<Bare<W>, Closed> {
        self.bare_with(seed, to, offer()).await
    }

    pub(crate) async fn bare_with(
        &self,
        seed: u64,
        to: &NodeAddress,
        offer: Offer,
    ) -> Result<Bare<W>, Closed> {
        let transport = self.wire.dialer(&key(seed));
        let target = Target { id: to.id(), endpoint: to.endpoint().unwrap() };
        let handshake = Handshake { offer: Arc::new(offer), progress: Arc::new(()) };
        Ok(Bare::new(transport.dial(target, handshake).await?))
    }

    /// Runs something beside the test, until it ends.
    pub(crate) fn beside<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tasks.spawn(task)
    }
}

/// Short waits, wide bounds.
pub(crate) fn quick(config: &mut RouterConfig) {
    let peers = &mut config.peers;
    (peers.max_inbound, peers.max_outbound) = (Limit::Unlimited, Limit::Unlimited);
    peers.max_inbound_handshakes = 256;
    peers.forget_after = Limit::Unlimited;
    peers.cooldown = Duration::from_millis(20);
    peers.behaviour.ban_for = None;
    let backoff = &mut peers.backoff;
    backoff.min = Duration::from_millis(20);
    for longer in [&mut backoff.max, &mut backoff.max_persistent, &mut backoff.busy] {
        *longer = Duration::from_millis(80);
    }
    backoff.incompatible = Duration::from_millis(80);
    backoff.jitter = Duration::from_millis(10);
}

/// What a bare peer offers.
pub(crate) fn offer() -> Offer {
    Offer {
        client: "bare".into(),
        network: "peerage".into(),
        services: Vec::new(),
        channels: vec![ChannelSpec::of::<Note>()],
        needs_common_channel: false,
    }
}

/// An authenticated connection whose halves the test holds.
pub(crate) struct Bare<W: Wire> {
    pub(crate) reader: <<W::Transport as Transport>::Connection as Connection>::Reader,
    pub(crate) writer: <<W::Transport as Transport>::Connection as Connection>::Writer,
}

impl<W: Wire> Bare<W> {
    pub(crate) fn new(connection: <W::Transport as Transport>::Connection) -> Self {
        let (reader, writer) = connection.split();
        Self { reader, writer }
    }
}

/// The events of a node.
#[derive(Default)]
pub(crate) struct Log {
    events: Mutex<Vec<Event>>,
    changed: Notify,
}

impl Log {
    fn add(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.changed.notify_waiters();
    }

    /// Waits until `found` finds something in all that has happened.
    pub(crate) async fn wait<T>(&self, mut found: impl FnMut(&[Event]) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = found(&self.events.lock().unwrap_or_else(PoisonError::into_inner)) {
                return found;
            }
            changed.await;
        }
    }

    /// How many events are of a kind.
    pub(crate) fn count(&self, of: impl Fn(&EventKind) -> bool) -> usize {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter(|event| of(&event.kind)).count()
    }

    /// Waits for the first attempt that failed.
    pub(crate) async fn failed(&self) -> Closed {
        let failed = |event: &Event| match &event.kind {
            EventKind::Failed { closed } => Some(closed.clone()),
            _ => None,
        };
        self.wait(|events| events.iter().find_map(failed)).await
    }
}

/// A node that runs.
pub(crate) struct Node<C = Channel<Note>> {
    pub(crate) id: NodeId,
    pub(crate) handle: RouterHandle,
    pub(crate) channel: C,
    pub(crate) updates: PeerUpdates,
    /// Who is up, as the updates told so far.
    pub(crate) up: BTreeMap<NodeId, (ConnId, Direction)>,
    pub(crate) log: Arc<Log>,
    pub(crate) task: JoinHandle<Report>,
}

impl<C> Node<C> {
    pub(crate) fn address(&self) -> NodeAddress {
        self.handle.addresses().remove(0)
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.address().endpoint().unwrap()
    }

    /// Takes the next update.
    pub(crate) async fn update(&mut self) -> PeerUpdate {
        let update = self.updates.next().await.expect("the node has ended");
        match &update {
            PeerUpdate::Up { peer, conn, direction, .. } => self.up.insert(*peer, (*conn, *direction)),
            PeerUpdate::Down { peer, .. } => self.up.remove(peer),
        };
        update
    }

    /// Waits until `peer` is up.
    pub(crate) async fn up(&mut self, peer: NodeId) -> ConnId {
        loop {
            if let Some((conn, _)) = self.up.get(&peer) {
                return *conn;
            }
            self.update().await;
        }
    }

    /// Waits until so many peers are up.
    pub(crate) async fn up_count(&mut self, count: usize) {
        while self.up.len() < count {
            self.update().await;
        }
    }

    /// Waits until `peer`, which was up, goes down.
    pub(crate) async fn down(&mut self, peer: NodeId) -> Closed {
        loop {
            if let PeerUpdate::Down { peer: gone, closed, .. } = self.update().await
                && gone == peer
            {
                return closed;
            }
        }
    }

    /// Whether anybody ever came up.
    pub(crate) fn ever_up(&self) -> bool {
        self.log.count(|kind| matches!(kind, EventKind::Up { .. })) > 0
    }

    pub(crate) fn ended(&self, layer: Layer, label: &'static str) -> u64 {
        self.handle.ends().get(&(layer, label)).copied().unwrap_or(0)
    }

    /// Shuts down, and waits until it has.
    pub(crate) async fn stop(self) -> Report {
        self.handle.shutdown();
        self.task.await.unwrap()
    }
}

impl Node<Channel<Note>> {
    /// Waits for the next message, and says from whom it came.
    pub(crate) async fn hear(&mut self) -> (NodeId, Note) {
        let envelope = self.channel.recv().await.expect("the node has ended");
        (envelope.from, envelope.message)
    }
}

/// How many messages of a channel were lost for `reason`.
pub(crate) fn dropped(status: &ChannelStatus, reason: DropReason) -> u64 {
    status.dropped.iter().find(|(why, _)| *why == reason).map_or(0, |(_, count)| *count)
}

/// A channel of [`Note`]s that holds a peer back when its receiver has so many messages to read.
pub(crate) fn waiting(messages: usize) -> ChannelConfig {
    let share = Share { messages, bytes: 1 << 20 };
    ChannelConfig {
        inbound: share,
        inbound_total: share,
        inbound_overflow: Overflow::Wait,
        ..ChannelConfig::for_messages_of(Note::MAX_BYTES)
    }
}

/// How many were lost for any reason.
pub(crate) fn lost(status: &ChannelStatus) -> u64 {
    status.dropped.iter().map(|(_, count)| count).sum()
}

/// Answers each `Say` with a `Back`.
pub(crate) async fn echo(mut channel: Channel<Note>) {
    while let Some(envelope) = channel.recv().await {
        if let Note::Say { number } = envelope.message {
            channel.try_send(envelope.from, Note::Back { number }).ignore();
        }
    }
}

/// Two nodes that are up to each other; the second dialled.
pub(crate) async fn pair<W: Wire>(net: &Net<W>) -> (Node, Node) {
    let mut a = net.node(1).await;
    let mut b = net.node_to(2, &[a.address()]).await;
    a.up(b.id).await;
    b.up(a.id).await;
    (a, b)
}
