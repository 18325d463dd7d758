//! The nodes of a devnet.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use peerage::address::Endpoint;
use peerage::id::NodeId;
use peerage::observe::journal::{Journal, Status};
use peerage::peer::Limit;
use peerage::reactor::{chat, drive, ping};
use peerage::router::{Builder, MemoryStore, Report, Router, RouterHandle};
use peerage::transport::memory::MemoryNetwork;
use peerage::transport::rlpx::RlpxTransport;
use peerage::{NodeAddress, NodeKey};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::measure::Measured;
use super::{Lines, Settings};
use crate::output::Failure;
use crate::{TransportKind, journal, key};

/// How often each node pings each peer.
const PING_EVERY: Duration = Duration::from_millis(100);

/// Nodes in the order in which they were started.
pub(super) struct Network {
    nodes: Vec<Node>,
    /// Those that were killed: what they counted still counts.
    killed: Vec<RouterHandle>,
    said: Mutex<u64>,
    measured: Arc<Measured>,
    running: JoinSet<Report>,
    memory: MemoryNetwork,
    settings: Settings,
    journals: Vec<Journal>,
}

/// One node, through all its lives.
struct Node {
    key: NodeKey,
    /// Lives before this one.
    lives: u64,
    store: MemoryStore,
    predecessor: Option<NodeAddress>,
    handle: RouterHandle,
    lines: Lines,
    pinger: mpsc::Sender<ping::Event>,
    /// `None` between two lives.
    task: Option<AbortHandle>,
}

/// What a node has before it runs.
struct Birth {
    key: NodeKey,
    lives: u64,
    store: MemoryStore,
    predecessor: Option<NodeAddress>,
    /// Where it listened before.
    listen: SocketAddr,
}

impl Network {
    /// Starts the nodes, each told only the address of the one before.
    pub(super) async fn start(settings: &Settings, measured: &Arc<Measured>) -> Result<Self, Failure> {
        if let Some(folder) = &settings.journal {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|error| Failure::usage(format!("cannot make {}: {error}", folder.display())))?;
        }
        let mut network = Self {
            nodes: Vec::with_capacity(settings.nodes),
            killed: Vec::new(),
            said: Mutex::new(0),
            measured: Arc::clone(measured),
            running: JoinSet::new(),
            memory: MemoryNetwork::new(),
            settings: settings.clone(),
            journals: Vec::new(),
        };
        let mut predecessor = None;
        for number in 0..settings.nodes {
            let birth = Birth {
                key: key::generate()?,
                lives: 0,
                store: MemoryStore::new(),
                predecessor: predecessor.take(),
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            };
            let node = network.launch(number, birth).await?;
            let address = node.handle.addresses().into_iter().next();
            network.nodes.push(node);
            predecessor = Some(address.ok_or_else(|| Failure::failed("a node has no address"))?);
        }
        Ok(network)
    }

    /// Starts one node.
    async fn launch(&mut self, number: usize, birth: Birth) -> Result<Node, Failure> {
        let Birth { key, lives, store, predecessor, listen } = birth;
        let id = key.id();
        let mut builder = Router::builder(id);
        match self.settings.transport {
            TransportKind::Rlpx => builder.transport(bind(&key, listen).await?),
            TransportKind::Memory => builder.transport(self.memory.listen(id)),
        };
        self.configure(&mut builder, predecessor.as_ref());
        builder.store(store.clone());
        let failed = |error: peerage::router::BuildError| Failure::failed(error.to_string());
        let (lines_sender, lines) = mpsc::channel(16);
        let measured = Arc::clone(&self.measured);
        let chat_channel = builder.channel().map_err(failed)?;
        // Above all numbers of the lives before.
        let flood = chat::Flood::new(id, lives << 32, move |_| measured.heard_line());
        let updates = builder.updates();
        builder.reactor("chat", drive(flood, chat_channel, updates, lines));
        let measured = Arc::clone(&self.measured);
        let (ping_channel, updates) = (builder.channel().map_err(failed)?, builder.updates());
        let pinger = ping::Pinger::new(PING_EVERY, move |_, result| measured.ping(result));
        let (orders_sender, orders) = mpsc::channel(1);
        builder.reactor("ping", drive(pinger, ping_channel, updates, orders));
        builder.observer(peerage::observe::LogObserver::of(id));
        if let Some(folder) = &self.settings.journal {
            let life = if lives == 0 { String::new() } else { format!(".{lives}") };
            let file = folder.join(format!("node-{number}{life}.jsonl"));
            self.journals.push(journal::begin(&mut builder, &file)?);
        }
        let router = builder.build().map_err(failed)?;
        let handle = router.handle();
        let task = Some(self.running.spawn(router.run()));
        Ok(Node { key, lives, store, predecessor, handle, lines: lines_sender, pinger: orders_sender, task })
    }

    fn configure(&self, builder: &mut Builder, predecessor: Option<&NodeAddress>) {
        builder.configure(|config| {
            config.network = "devnet".into();
            // On one machine a refused dial is a node that is still starting: try again soon.
            config.peers.backoff.min = Duration::from_millis(200);
            config.peers.cooldown = Duration::from_millis(200);
            config.peers.max_inbound = Limit::AtMost(16);
            config.peers.persistent.extend(predecessor.map(NodeAddress::id));
            if self.settings.churn.is_some() {
                config.peers.backoff.jitter = Duration::from_millis(200);
                config.peers.backoff.max_persistent = Duration::from_secs(1);
            }
        });
        if let Some(predecessor) = predecessor {
            builder.peer(predecessor.clone());
        }
    }

    /// Ends a node at once, as a crash would. Nothing happens to one that is down.
    pub(super) async fn kill(&mut self, number: usize) {
        let Some(node) = self.nodes.get_mut(number) else { return };
        let Some(task) = node.task.take() else { return };
        self.killed.push(node.handle.clone());
        task.abort();
        while !task.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Starts a node that was killed, with the key, the place and the store that it had.
    pub(super) async fn revive(&mut self, number: usize) -> Result<(), Failure> {
        let Some(node) = self.nodes.get(number).filter(|node| node.task.is_none()) else { return Ok(()) };
        let endpoint = node.handle.addresses().first().and_then(NodeAddress::endpoint);
        let listen = match endpoint {
            Some(Endpoint::Tcp(socket)) => socket,
            _ => SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let birth = Birth {
            key: node.key.clone(),
            lives: node.lives + 1,
            store: node.store.clone(),
            predecessor: node.predecessor.clone(),
            listen,
        };
        let node = self.launch(number, birth).await?;
        self.nodes[number] = node;
        Ok(())
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.task.is_some())
    }

    /// The nodes that run.
    pub(super) fn handles(&self) -> impl Iterator<Item = &RouterHandle> {
        self.running().map(|node| &node.handle)
    }

    /// The nodes that were killed, once for each life.
    pub(super) fn killed(&self) -> &[RouterHandle] {
        &self.killed
    }

    pub(super) fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Lets every node say a line.
    pub(super) fn say_lines(&self) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for node in self.running() {
            if node.lines.try_send(format!("line {said}")).is_ok() {
                *said += 1;
                self.measured.said_line();
            }
        }
    }

    /// Stops all questions and lines; answers still come.
    pub(super) fn quiet(&self) {
        for node in self.running() {
            // A pinger that has ended, or has its order already, is quiet.
            let _ = node.pinger.try_send(ping::Event::Quiet);
        }
    }

    /// Connections between the nodes, each counted once.
    pub(super) fn connections(&self) -> usize {
        self.edges().len()
    }

    pub(super) fn nodes_with_peers(&self) -> usize {
        let nodes: BTreeSet<NodeId> = self.edges().into_iter().flat_map(|(a, b)| [a, b]).collect();
        nodes.len()
    }

    /// Whether every node can be reached from every other.
    pub(super) fn is_connected(&self) -> bool {
        let mut neighbours: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        for (a, b) in self.edges() {
            neighbours.entry(a).or_default().push(b);
            neighbours.entry(b).or_default().push(a);
        }
        let Some(first) = self.nodes.first() else { return false };
        let (mut reached, mut open) = (BTreeSet::from([first.key.id()]), vec![first.key.id()]);
        while let Some(node) = open.pop() {
            for &next in neighbours.get(&node).into_iter().flatten() {
                if reached.insert(next) {
                    open.push(next);
                }
            }
        }
        reached.len() == self.nodes.len()
    }

    /// The connections that both ends have.
    fn edges(&self) -> BTreeSet<(NodeId, NodeId)> {
        let mut halves = BTreeSet::new();
        for handle in self.handles() {
            halves.extend(handle.peers().into_iter().map(|peer| (handle.id(), peer.id)));
        }
        let whole = |&(a, b): &(NodeId, NodeId)| a < b && halves.contains(&(b, a));
        halves.iter().copied().filter(whole).collect()
    }

    /// Shuts every node down. A node that panicked has no report. Says what became of the journals in sum, if there
    /// are any.
    pub(super) async fn stop(mut self) -> (Vec<Option<Report>>, Option<Status>) {
        self.handles().for_each(RouterHandle::shutdown);
        let mut reports = Vec::new();
        while let Some(ended) = self.running.join_next().await {
            match ended {
                Err(error) if error.is_cancelled() => {}
                ended => reports.push(ended.ok()),
            }
        }
        let journals = self.journals.into_iter().map(Journal::finish).reduce(|sum, one| Status {
            recorded: sum.recorded + one.recorded,
            missed: sum.missed + one.missed,
            shortfall: sum.shortfall.or(one.shortfall),
        });
        (reports, journals)
    }
}

/// Listens on loopback. A port that a node had which was killed is free a moment later.
async fn bind(node_key: &NodeKey, listen: SocketAddr) -> Result<RlpxTransport, Failure> {
    let mut patience = 100;
    loop {
        match RlpxTransport::bind(node_key.clone(), listen).await {
            Ok(transport) => return Ok(transport),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && patience > 0 => patience -= 1,
            Err(error) => return Err(Failure::failed(format!("cannot listen on loopback: {error}"))),
        }
        sleep(Duration::from_millis(20)).await;
    }
}
