//! The nodes of a devnet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use peerage::id::NodeId;
use peerage::peer::Limit;
use peerage::reactor::{chat, drive, ping};
use peerage::router::{Builder, Report, Router, RouterHandle};
use peerage::transport::memory::MemoryNetwork;
use peerage::transport::rlpx::RlpxTransport;
use peerage::{NodeAddress, NodeKey};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Lines;
use super::measure::Measured;
use crate::output::Failure;
use crate::{TransportKind, key};

/// How often each node pings each peer.
const PING_EVERY: Duration = Duration::from_millis(100);

/// Running nodes in the order in which they were started.
pub(super) struct Network {
    handles: Vec<RouterHandle>,
    lines: Vec<Lines>,
    said: Mutex<u64>,
    measured: Arc<Measured>,
    pingers: Vec<mpsc::Sender<ping::Event>>,
    running: JoinSet<Report>,
}

impl Network {
    /// Starts `count` nodes, each told only the address of the one before.
    pub(super) async fn start(
        count: usize,
        transport: TransportKind,
        measured: &Arc<Measured>,
    ) -> Result<Self, Failure> {
        let memory = MemoryNetwork::new();
        let mut network = Self {
            handles: Vec::with_capacity(count),
            lines: Vec::with_capacity(count),
            said: Mutex::new(0),
            measured: Arc::clone(measured),
            pingers: Vec::with_capacity(count),
            running: JoinSet::new(),
        };
        let mut predecessor = None;
        for _ in 0..count {
            let node_key = key::generate()?;
            let mut builder = Router::builder(node_key.id());
            match transport {
                TransportKind::Rlpx => builder.transport(bind(&node_key).await?),
                TransportKind::Memory => builder.transport(memory.listen(node_key.id())),
            };
            let address = network.launch(builder, node_key.id(), predecessor.take())?;
            predecessor = Some(address);
        }
        Ok(network)
    }

    /// Starts one node and tells its address.
    fn launch(
        &mut self,
        mut builder: Builder,
        id: NodeId,
        predecessor: Option<NodeAddress>,
    ) -> Result<NodeAddress, Failure> {
        builder.configure(|config| {
            config.network = "devnet".into();
            // On one machine a refused dial is a node that is still starting: try again soon.
            config.peers.backoff.min = Duration::from_millis(200);
            config.peers.cooldown = Duration::from_millis(200);
            config.peers.max_inbound = Limit::AtMost(16);
            config.peers.persistent.extend(predecessor.iter().map(NodeAddress::id));
        });
        if let Some(predecessor) = predecessor {
            builder.peer(predecessor);
        }
        let failed = |error: peerage::router::BuildError| Failure::failed(error.to_string());
        let (lines_sender, lines) = mpsc::channel(16);
        let measured = Arc::clone(&self.measured);
        let chat_channel = builder.channel().map_err(failed)?;
        let flood = chat::Flood::new(id, 0, move |_| measured.heard_line());
        let updates = builder.updates();
        builder.reactor("chat", drive(flood, chat_channel, updates, lines));
        let measured = Arc::clone(&self.measured);
        let (ping_channel, updates) = (builder.channel().map_err(failed)?, builder.updates());
        let pinger = ping::Pinger::new(PING_EVERY, move |_, result| measured.ping(result));
        let (orders_sender, orders) = mpsc::channel(1);
        builder.reactor("ping", drive(pinger, ping_channel, updates, orders));
        builder.observer(peerage::observe::LogObserver::of(id));
        let router = builder.build().map_err(failed)?;
        let handle = router.handle();
        let address = handle.addresses().into_iter().next();
        self.running.spawn(router.run());
        self.handles.push(handle);
        self.lines.push(lines_sender);
        self.pingers.push(orders_sender);
        address.ok_or_else(|| Failure::failed("a node has no address"))
    }

    pub(super) fn handles(&self) -> &[RouterHandle] {
        &self.handles
    }

    /// Lets every node say a line.
    pub(super) fn say_lines(&self) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for lines in &self.lines {
            if lines.try_send(format!("line {said}")).is_ok() {
                *said += 1;
                self.measured.said_line();
            }
        }
    }

    /// Stops all questions and lines; answers still come.
    pub(super) fn quiet(&self) {
        for pinger in &self.pingers {
            // It is the only order ever given, so there is room; a pinger that has ended is quiet.
            let _ = pinger.try_send(ping::Event::Quiet);
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
        let Some(first) = self.handles.first() else { return false };
        let (mut reached, mut open) = (BTreeSet::from([first.id()]), vec![first.id()]);
        while let Some(node) = open.pop() {
            for &next in neighbours.get(&node).into_iter().flatten() {
                if reached.insert(next) {
                    open.push(next);
                }
            }
        }
        reached.len() == self.handles.len()
    }

    /// The connections that both ends have.
    fn edges(&self) -> BTreeSet<(NodeId, NodeId)> {
        let mut halves = BTreeSet::new();
        for handle in &self.handles {
            halves.extend(handle.peers().into_iter().map(|peer| (handle.id(), peer.id)));
        }
        let whole = |&(a, b): &(NodeId, NodeId)| a < b && halves.contains(&(b, a));
        halves.iter().copied().filter(whole).collect()
    }

    /// Shuts every node down. A node that panicked has no report.
    pub(super) async fn stop(mut self) -> Vec<Option<Report>> {
        self.handles.iter().for_each(RouterHandle::shutdown);
        let mut reports = Vec::new();
        while let Some(ended) = self.running.join_next().await {
            reports.push(ended.ok());
        }
        reports
    }
}

async fn bind(node_key: &NodeKey) -> Result<RlpxTransport, Failure> {
    RlpxTransport::bind(node_key.clone(), std::net::SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .map_err(|error| Failure::failed(format!("cannot listen on loopback: {error}")))
}
