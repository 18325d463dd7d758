//! A network of whole nodes on virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::byzantine::{Byzantine, Villain, target};
use super::fabric::Fabric;
use super::lines::HostId;
use super::node::{Character, Declare, Host, Node, Place, Running, Setup};
use super::seed::derive;
use super::trace::{Keep, Record};
use super::wire::Wire;
use super::{Depth, Topology};
use crate::address::NodeAddress;
use crate::id::{NodeId, NodeKey};
use crate::peer::Limit;
use crate::router::{BuildError, Report, RouterHandle};
use crate::transport::link::LinkConfigError;

/// How often [`SimNet::run_until`] looks at its condition, in virtual time.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How many records are kept, if nobody says how many.
const KEPT: usize = 4096;

/// Why a simulated network does not do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A node cannot be built as declared.
    #[error("{node}: {error}")]
    Build {
        /// The node.
        node: Node,
        /// What is wrong.
        error: BuildError,
    },
    /// Two nodes cannot have one address.
    #[error("the address {0} is taken")]
    AddressTaken(IpAddr),
    /// No connection can have such a line.
    #[error("line: {0}")]
    Line(#[from] LinkConfigError),
    /// The system gave no runtime.
    #[error("cannot start a runtime: {0}")]
    Runtime(#[from] std::io::Error),
    /// No clock of a simulation runs so fast or so slow.
    #[error("a drift of {ppm} millionths; at most 500,000 either way")]
    Drift {
        /// By how many millionths.
        ppm: i32,
    },
    /// What was waited for did not come.
    #[error("seed {seed}: after {waited:?} of virtual time the condition did not hold")]
    Deadline {
        /// The seed, at which it does not hold again.
        seed: u64,
        /// How long it was waited for.
        waited: Duration,
    },
}

/// A network of whole nodes in one process, on virtual time. See the [module](super).
///
/// It has a runtime of its own, and is driven from outside of any other.
///
/// # Panics
///
/// Whatever lets time pass, or ends a node, panics within a runtime, such as an `async` test: use a plain `#[test]`.
pub struct SimNet {
    seed: u64,
    depth: Depth,
    pub(super) fabric: Arc<Fabric>,
    hosts: Vec<Host>,
    by_id: BTreeMap<NodeId, Node>,
    pub(super) runtime: Runtime,
}

impl fmt::Debug for SimNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimNet")
            .field("seed", &self.seed)
            .field("depth", &self.depth)
            .field("nodes", &self.hosts.len())
            .field("elapsed", &self.elapsed())
            .finish_non_exhaustive()
    }
}

/// What a network is made with.
impl SimNet {
    /// Makes a network without nodes. Everything that is drawn in it follows from `seed`.
    ///
    /// # Errors
    ///
    /// [`SimError::Runtime`] if the system gives no runtime.
    pub fn new(seed: u64, depth: Depth) -> Result<Self, SimError> {
        Self::keeping(seed, depth, Keep::Last(KEPT))
    }

    pub(super) fn keeping(seed: u64, depth: Depth, keep: Keep) -> Result<Self, SimError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let fabric = {
            let _time = runtime.enter();
            Arc::new(Fabric::new(seed, keep))
        };
        runtime.spawn(fabric.timetable().run());
        Ok(Self { seed, depth, fabric, hosts: Vec::new(), by_id: BTreeMap::new(), runtime })
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Adds a node, which is not started yet. `declare` is called at each of its starts, with a builder that has all
    /// but channels, reactors and settings.
    pub fn add(&mut self, declare: impl Fn(&mut Setup<'_>) -> Result<(), BuildError> + 'static) -> Node {
        self.add_somewhere(0, Character::Proper(Rc::new(declare)))
    }

    /// Adds `count` nodes that are declared alike.
    pub fn add_many(
        &mut self,
        count: usize,
        declare: impl Fn(&mut Setup<'_>) -> Result<(), BuildError> + 'static,
    ) -> Vec<Node> {
        let declare: Declare = Rc::new(declare);
        (0..count).map(|_| self.add_somewhere(0, Character::Proper(Rc::clone(&declare)))).collect()
    }

    /// Adds a node at a place.
    ///
    /// # Errors
    ///
    /// [`SimError::AddressTaken`] if another node has its address.
    pub fn add_at(
        &mut self,
        place: Place,
        declare: impl Fn(&mut Setup<'_>) -> Result<(), BuildError> + 'static,
    ) -> Result<Node, SimError> {
        self.add_character(place, Character::Proper(Rc::new(declare)))
    }

    /// Adds a node that breaks the rules, which is not started yet.
    ///
    /// # Errors
    ///
    /// As for [`Self::add_at`].
    pub fn add_byzantine(&mut self, place: Place, character: Byzantine) -> Result<Node, SimError> {
        self.add_character(place, Character::Byzantine(character))
    }

    /// Adds nodes that break the rules alike, one at each of these places: an attacker with many identities.
    /// [`Place::within`] makes places in few ranges of addresses.
    ///
    /// # Errors
    ///
    /// As for [`Self::add_at`]; those before it are added.
    pub fn add_many_byzantine(
        &mut self,
        places: impl IntoIterator<Item = Place>,
        character: &Byzantine,
    ) -> Result<Vec<Node>, SimError> {
        places.into_iter().map(|place| self.add_byzantine(place, character.clone())).collect()
    }

    fn add_character(&mut self, place: Place, character: Character) -> Result<Node, SimError> {
        let Some(ip) = place.ip else { return Ok(self.add_somewhere(place.region, character)) };
        let host = self.fabric.add_host(ip, place.region).ok_or(SimError::AddressTaken(ip))?;
        Ok(self.settle(host, ip, character))
    }

    /// Adds a node at the first address that is free, in a /24 of its own.
    fn add_somewhere(&mut self, region: u16, character: Character) -> Node {
        let mut number = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        loop {
            let [_, a, b, c] = number.to_be_bytes();
            let ip = IpAddr::V4(Ipv4Addr::new(60 + a % 40, b, c, 1));
            if let Some(host) = self.fabric.add_host(ip, region) {
                return self.settle(host, ip, character);
            }
            number = number.wrapping_add(1);
        }
    }

    fn settle(&mut self, host: HostId, ip: IpAddr, character: Character) -> Node {
        let key = NodeKey::insecure_from_seed(derive(self.seed, "key", u64::from(host)));
        self.by_id.insert(key.id(), Node(host));
        let new = Host::new(key, ip, character);
        self.fabric.list(new.key.id(), new.address, new.is_byzantine());
        self.hosts.push(new);
        Node(host)
    }

    /// Tells `node` the address of `other`, at each of its starts.
    ///
    /// # Panics
    ///
    /// As for [`Self::id`], of `other`.
    pub fn introduce(&mut self, node: Node, other: Node) {
        self.know(node, other, false);
    }

    /// Has `node` dial `other`, and keep the connection: it is a [persistent](crate::peer::Config::persistent) peer.
    ///
    /// # Panics
    ///
    /// As for [`Self::id`], of `other`.
    pub fn tie(&mut self, node: Node, other: Node) {
        self.know(node, other, true);
    }

    /// Ties nodes to each other. Who is tied to whom in a random topology follows from the network's seed.
    ///
    /// # Panics
    ///
    /// As for [`Self::id`], of any of them.
    pub fn tie_all(&mut self, nodes: &[Node], topology: Topology) {
        for (from, to) in topology.edges(nodes.len(), derive(self.seed, "topology", 0)) {
            if let (Some(from), Some(to)) = (nodes.get(from), nodes.get(to)) {
                self.tie(*from, *to);
            }
        }
    }

    fn know(&mut self, node: Node, other: Node, keep: bool) {
        let address = self.address(other);
        if let Some(host) = self.hosts.get_mut(node.number()) {
            host.known.push((address, keep));
        }
    }
}

/// The lives of nodes.
impl SimNet {
    /// Starts a node: for the first time, or again after it was killed, with what it had stored. Does nothing to one
    /// that runs.
    ///
    /// # Errors
    ///
    /// [`SimError::Build`] if it cannot be built as declared.
    pub fn start(&mut self, node: Node) -> Result<(), SimError> {
        self.end_leaving(node);
        let Some(host) = self.hosts.get(node.number()).filter(|host| host.running.is_none()) else {
            return Ok(());
        };
        let _time = self.runtime.enter();
        let running = match &host.character {
            Character::Proper(declare) => {
                let built = host.build(declare, node.0, (self.seed, self.depth), &self.fabric);
                let (router, limits) = built.map_err(|error| SimError::Build { node, error })?;
                let handle = router.handle();
                Running::Proper { handle, task: self.runtime.spawn(router.run()), limits }
            }
            Character::Byzantine(character) => {
                Running::Byzantine(self.runtime.spawn(self.villain(node, host, character).run()))
            }
        };
        self.fabric.note(Some(node.0), "started", u64::from(host.lives), 0);
        if let Some(host) = self.hosts.get_mut(node.number()) {
            host.running = Some(running);
            host.lives += 1;
        }
        Ok(())
    }

    fn villain(&self, node: Node, host: &Host, character: &Byzantine) -> Villain {
        let victims = character.victims.iter().filter_map(|victim| self.hosts.get(victim.number()));
        Villain {
            key: host.key.clone(),
            depth: self.depth,
            seed: derive(derive(self.seed, "node", u64::from(node.0)), "villain", u64::from(host.lives)),
            wire: Wire::listen(&self.fabric, node.0, host.address),
            fabric: Arc::clone(&self.fabric),
            victims: victims.map(|victim| target(victim.key.id(), victim.address)).collect(),
            character: character.clone(),
        }
    }

    /// Starts all nodes that do not run, in their order.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`]; those before it run.
    pub fn start_all(&mut self) -> Result<(), SimError> {
        self.nodes().into_iter().try_for_each(|node| self.start(node))
    }

    /// Ends a node at once, as a crash of its process would: the system closes its connections. What it had stored
    /// stays. Says whether it ran.
    pub fn kill(&mut self, node: Node) -> bool {
        let Some(running) = self.hosts.get_mut(node.number()).and_then(|host| host.running.take()) else {
            return false;
        };
        self.note(Some(node), "killed", (0, 0));
        // Each panicked, or was cancelled just now.
        match running {
            Running::Byzantine(task) => {
                task.abort();
                let _ = self.runtime.block_on(task);
            }
            Running::Proper { handle, task, .. } => {
                task.abort();
                let _ = self.runtime.block_on(task);
                if let Some(host) = self.hosts.get_mut(node.number()) {
                    host.past.push(handle);
                }
            }
        }
        true
    }

    /// Ends a node at once and takes its host off the network, as a power failure would: nobody is told. Says whether
    /// it ran. [`Self::power_on`] brings it back.
    pub fn power_off(&mut self, node: Node) -> bool {
        self.note(Some(node), "powered_off", (0, 0));
        self.change_cuts(|cuts| cuts.set_dark(node.0, true));
        self.kill(node)
    }

    /// Brings the host of a node back and starts it. Whoever still holds a connection to its earlier life learns now
    /// that it is gone.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`].
    pub fn power_on(&mut self, node: Node) -> Result<(), SimError> {
        self.note(Some(node), "powered_on", (0, 0));
        self.change_cuts(|cuts| cuts.set_dark(node.0, false));
        self.start(node)
    }

    /// Loses what a node has stored. One that runs goes on writing into what is then empty.
    pub fn wipe_store(&mut self, node: Node) {
        if let Some(host) = self.hosts.get_mut(node.number()) {
            host.store = crate::router::MemoryStore::new();
        }
    }

    /// Begins to shut a node down in order: it ends while time passes, within its drain timeout. It does not count as
    /// running from now on. A byzantine one is killed. Says whether it ran.
    pub(super) fn begin_shut_down(&mut self, node: Node) -> bool {
        if self.handle(node).is_none() {
            return self.kill(node);
        }
        self.note(Some(node), "shut_down", (0, 0));
        self.end_leaving(node);
        let task = self.leave(node);
        if let Some(host) = self.hosts.get_mut(node.number()) {
            host.leaving = task;
        }
        true
    }

    /// Tells a proper node that runs to shut down; its task, which is to be waited for.
    fn leave(&mut self, node: Node) -> Option<JoinHandle<Report>> {
        let host = self.hosts.get_mut(node.number())?;
        let Some(Running::Proper { handle, task, .. }) = host.running.take() else { return None };
        handle.shutdown();
        host.past.push(handle);
        Some(task)
    }

    /// Ends a node that is shutting down, if it has not ended yet.
    fn end_leaving(&mut self, node: Node) {
        let leaving = self.hosts.get_mut(node.number()).and_then(|host| host.leaving.take());
        if let Some(task) = leaving {
            task.abort();
            // It panicked, has ended, or was cancelled just now.
            let _ = self.runtime.block_on(task);
        }
    }

    /// Shuts a node down in order, and runs the network until it has ended, within its
    /// [drain timeout](crate::router::RouterConfig::drain_timeout). `None` if it did not run, panicked, or is byzantine:
    /// such a one is killed.
    pub fn shut_down(&mut self, node: Node) -> Option<Report> {
        if self.handle(node).is_none() {
            self.kill(node);
            return None;
        }
        let task = self.leave(node)?;
        let report = self.runtime.block_on(task).ok();
        self.note(Some(node), "shut_down", (0, 0));
        report
    }
}

/// Time.
impl SimNet {
    /// Virtual time since the network began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let _time = self.runtime.enter();
        self.fabric.elapsed()
    }

    /// Lets so much virtual time pass.
    pub fn run_for(&self, time: Duration) {
        self.runtime.block_on(async { sleep(time).await });
    }

    /// Lets virtual time pass until `condition` holds, and answers how much. It is looked at each 50 ms of virtual
    /// time, beginning now.
    ///
    /// # Errors
    ///
    /// [`SimError::Deadline`] if it does not hold `within` that time.
    pub fn run_until(
        &self,
        condition: impl Fn(&Self) -> bool,
        within: Duration,
    ) -> Result<Duration, SimError> {
        let began = self.elapsed();
        loop {
            let waited = self.elapsed().saturating_sub(began);
            if condition(self) {
                return Ok(waited);
            }
            if waited >= within {
                return Err(SimError::Deadline { seed: self.seed, waited });
            }
            self.run_for(LOOK_EVERY.min(within - waited));
        }
    }

    /// Runs a future within the network's time, as a test's own part in it. Virtual time passes while it waits.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

/// What is to be seen.
impl SimNet {
    /// All nodes, in the order in which they were added.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        (0..self.hosts.len()).filter_map(|number| HostId::try_from(number).ok()).map(Node).collect()
    }

    /// The proper nodes that run.
    #[must_use]
    pub fn running(&self) -> Vec<Node> {
        self.nodes().into_iter().filter(|node| self.handle(*node).is_some()).collect()
    }

    /// A node's handle, if it runs and is no byzantine one.
    #[must_use]
    pub fn handle(&self, node: Node) -> Option<&RouterHandle> {
        self.hosts.get(node.number())?.running.as_ref()?.handle()
    }

    /// Whether some of its nodes break the rules.
    pub(super) fn has_byzantine(&self) -> bool {
        self.hosts.iter().any(Host::is_byzantine)
    }

    /// The handles of lives that are over.
    pub(super) fn past_handles(&self) -> impl Iterator<Item = &RouterHandle> {
        self.hosts.iter().flat_map(|host| &host.past)
    }

    /// Whether a node is up, byzantine ones as well.
    #[cfg(feature = "scenario")]
    pub(super) fn is_up(&self, node: Node) -> bool {
        self.hosts.get(node.number()).is_some_and(|host| host.running.is_some())
    }

    /// Whether a node has ended by itself.
    pub(super) fn has_ended(&self, node: Node) -> bool {
        let running = self.hosts.get(node.number()).and_then(|host| host.running.as_ref());
        matches!(running, Some(Running::Proper { task, .. }) if task.is_finished())
    }

    /// How many connections a node may hold that it dialled, and that dialled it.
    pub(super) fn limits(&self, node: Node) -> Option<[Limit; 2]> {
        match self.hosts.get(node.number())?.running.as_ref()? {
            Running::Proper { limits, .. } => Some(*limits),
            Running::Byzantine(_) => None,
        }
    }

    /// A node's identity.
    ///
    /// # Panics
    ///
    /// If it is a node of another network, which has more of them.
    #[must_use]
    pub fn id(&self, node: Node) -> NodeId {
        self.host(node).key.id()
    }

    /// A node's address.
    ///
    /// # Panics
    ///
    /// As for [`Self::id`].
    #[must_use]
    pub fn address(&self, node: Node) -> NodeAddress {
        self.host(node).node_address()
    }

    pub(super) fn host(&self, node: Node) -> &Host {
        &self.hosts[node.number()]
    }

    pub(super) fn host_mut(&mut self, node: Node) -> Option<&mut Host> {
        self.hosts.get_mut(node.number())
    }

    /// The node that has an identity.
    #[must_use]
    pub fn node_of(&self, id: &NodeId) -> Option<Node> {
        self.by_id.get(id).copied()
    }

    /// The connections that both ends have up, each once, the lower number first.
    #[must_use]
    pub fn connections(&self) -> BTreeSet<(Node, Node)> {
        let mut halves = BTreeSet::new();
        for node in self.running() {
            let peers = self.handle(node).into_iter().flat_map(RouterHandle::peers);
            halves.extend(peers.filter_map(|peer| self.node_of(&peer.id)).map(|peer| (node, peer)));
        }
        let whole = |&(a, b): &(Node, Node)| a < b && halves.contains(&(b, a));
        halves.iter().copied().filter(whole).collect()
    }

    /// The hash of all that has happened: the same for the same seed and the same calls.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.fabric.trace().hash()
    }

    /// How many things have happened.
    #[must_use]
    pub fn trace_len(&self) -> u64 {
        self.fabric.trace().count()
    }

    /// The latest things that happened, at most 4,096.
    #[must_use]
    pub fn recent(&self) -> Vec<Record> {
        self.fabric.trace().kept().copied().collect()
    }
}
