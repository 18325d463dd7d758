//! Declares a node: its transports, channels, reactors and peers.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::{ConfigError, RouterConfig};
use super::erased::AnyTransport;
use super::events::{About, Events};
use super::manager::{Mailbox, ManagerActor};
use super::recording::{Recorded, Recorder};
use super::shutdown::Ending;
use super::{AddressFilter, IdentityFilter, MemoryStore, Router, Shared};
use crate::address::{BoxFuture, Endpoint, LiteralResolver, NodeAddress, Resolver};
use crate::channel::{
    AddressBook, BehaviourReport, BookRequest, Channel, ChannelConfig, ChannelConfigError, ChannelCounters,
    Clock, Inbound, InboundQueue, Outbox, PeerUpdates, Receiver, Registry, Sender, SharedUpdates,
};
use crate::event::{EventKind, Observer};
use crate::id::NodeId;
use crate::message::{ChannelSpec, Message};
use crate::peer::{self, AddError, Answer, BanError, BanTarget, Op, Source, Store, StoreError, WallTime};
use crate::queue::charge;
use crate::rlpx::{CapabilityError, INFO_CHANNEL, check_channels};
use crate::transport::{Offer, Transport};

/// How many reactors' reports wait for the peer manager.
const REPORTS: usize = 1024;

/// Why a node cannot be built as declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Two channels have one name, or a channel has the name of a capability of ours.
    #[error("the channel name `{0}` is taken")]
    ChannelTaken(crate::id::ChannelId),
    /// A channel's limits do not hold together.
    #[error(transparent)]
    Channel(#[from] ChannelConfigError),
    /// The channels together do not fit a connection.
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    /// A setting of the router is out of bounds.
    #[error("router configuration: {0}")]
    Config(#[from] ConfigError),
    /// A setting of the peer manager is out of bounds.
    #[error("peer configuration: {0}")]
    Peers(#[from] peer::ConfigError),
    /// The store of peers cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A given address cannot be used.
    #[error("address {address}: {error}")]
    Address {
        /// The address.
        address: Box<NodeAddress>,
        /// What is wrong with it.
        error: AddError,
    },
    /// A ban makes no sense, or finds no room.
    #[error("ban of {target}: {error}")]
    Ban {
        /// Who was to be banned.
        target: BanTarget,
        /// What is wrong with it.
        error: BanError,
    },
    /// Two reactors have one name, so that events and the report could not tell them apart.
    #[error("the reactor name `{0}` is taken")]
    ReactorTaken(String),
    /// A transport proves another identity than the node's.
    #[error("a transport proves the identity {0}, which is not the node's")]
    WrongIdentity(NodeId),
    /// There is no transport.
    #[error("a node needs at least one transport, unless it says that it is `local_only`")]
    NoTransport,
    /// The system gave no randomness for the node's seed.
    #[error("the system gave no randomness: {0}")]
    NoRandomness(String),
}

/// Declares a node. What is declared here is sealed before it starts: no channel can join later, so no
/// message can arrive for one that is not there yet. The [crate's example](crate#a-node) shows one whole.
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    id: NodeId,
    config: RouterConfig,
    seed: Option<u64>,
    wall: Option<WallTime>,
    local_only: bool,
    inbounds: Vec<Arc<dyn Inbound>>,
    transports: Vec<Box<dyn AnyTransport>>,
    peers: Vec<NodeAddress>,
    unbans: Vec<BanTarget>,
    bans: Vec<(BanTarget, Option<Duration>, String)>,
    reactors: Vec<(String, BoxFuture<'static, ()>)>,
    observers: Vec<Box<dyn Observer>>,
    resolver: Box<dyn Resolver>,
    store: Box<dyn Store>,
    recorder: Option<Box<dyn Recorder>>,
    address_filter: Option<AddressFilter>,
    identity_filter: Option<IdentityFilter>,
    outbox: Outbox,
    reports: mpsc::Receiver<BehaviourReport>,
    updates: Arc<SharedUpdates>,
    book: (AddressBook, mpsc::Receiver<BookRequest>),
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("id", &self.id)
            .field("config", &self.config)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(super) fn new(id: NodeId, clock: Clock) -> Self {
        let (reports_sender, reports) = mpsc::channel(REPORTS);
        let outbox = Outbox {
            me: id,
            registry: Arc::new(Registry::default()),
            reports: reports_sender,
            seed: Arc::default(),
            cancellations: Arc::default(),
            clock,
        };
        Self {
            id,
            config: RouterConfig::new(id),
            seed: None,
            wall: None,
            local_only: false,
            inbounds: Vec::new(),
            transports: Vec::new(),
            peers: Vec::new(),
            unbans: Vec::new(),
            bans: Vec::new(),
            reactors: Vec::new(),
            observers: Vec::new(),
            resolver: Box::new(LiteralResolver),
            store: Box::new(MemoryStore::new()),
            recorder: None,
            address_filter: None,
            identity_filter: None,
            outbox,
            reports,
            updates: Arc::default(),
            book: AddressBook::new(),
        }
    }

    /// Changes settings; they are checked by [`Builder::build`].
    pub fn configure(&mut self, change: impl FnOnce(&mut RouterConfig)) -> &mut Self {
        change(&mut self.config);
        self
    }

    /// Fixes the seed of the peer manager's choices. Without it the system gives one.
    pub fn seed(&mut self, seed: u64) -> &mut Self {
        self.seed = Some(seed);
        self
    }

    /// Fixes what the wall's clock says when the node is built, by which records of times are written and read. Without it
    /// the system says.
    pub fn wall_time(&mut self, wall: WallTime) -> &mut Self {
        self.wall = Some(wall);
        self
    }

    /// Adds a transport. The node proves its identity by the transport's key, which must belong to the identity given
    /// to [`Router::builder`]. Of several for one [protocol](Transport::protocol) all accept, and the first dials.
    pub fn transport(&mut self, transport: impl Transport) -> &mut Self {
        self.transports.push(Box::new(transport));
        self
    }

    /// Lets the node do without transports: its reactors then talk to each other and to nobody else.
    pub fn local_only(&mut self) -> &mut Self {
        self.local_only = true;
        self
    }

    /// Opens the channel of `M` with [default limits](ChannelConfig::for_messages_of).
    ///
    /// # Errors
    ///
    /// As for [`Builder::channel_with`].
    pub fn channel<M: Message>(&mut self) -> Result<Channel<M>, BuildError> {
        self.channel_with(&ChannelConfig::for_messages_of(M::MAX_BYTES))
    }

    /// Opens the channel of `M`.
    ///
    /// # Errors
    ///
    /// [`BuildError::ChannelTaken`] if its name is; [`BuildError::Channel`] if the limits do not hold
    /// together; [`BuildError::Capability`] if the channels together do not fit a connection.
    pub fn channel_with<M: Message>(&mut self, config: &ChannelConfig) -> Result<Channel<M>, BuildError> {
        let spec = ChannelSpec::of::<M>();
        let taken =
            spec.id == INFO_CHANNEL.id || self.inbounds.iter().any(|known| known.spec().id == spec.id);
        if taken {
            return Err(BuildError::ChannelTaken(spec.id));
        }
        let limits = config.limits(&spec)?;
        let mut specs: Vec<ChannelSpec> = self.inbounds.iter().map(|known| known.spec()).collect();
        specs.extend([spec, INFO_CHANNEL]);
        check_channels(&specs)?;
        let counters = Arc::new(ChannelCounters::default());
        let queue = Arc::new(InboundQueue::<M>::new(limits, Arc::clone(&counters), self.outbox.clock));
        self.inbounds.push(Arc::clone(&queue) as Arc<dyn Inbound>);
        let sender = Sender::new(self.outbox.clone(), counters, Arc::clone(&queue));
        Ok(Channel::new(sender, Receiver::new(queue)))
    }

    /// A subscription to peers' comings and goings, from the start on.
    #[must_use]
    pub fn updates(&self) -> PeerUpdates {
        PeerUpdates::new(Arc::clone(&self.updates))
    }

    /// The addresses that the node knows, for a reactor that exchanges them with peers, as [`pex`](crate::reactor::pex) does.
    #[must_use]
    pub fn addresses(&self) -> AddressBook {
        self.book.0.clone()
    }

    /// Gives the node an address to dial.
    pub fn peer(&mut self, address: NodeAddress) -> &mut Self {
        self.peers.push(address);
        self
    }

    /// Bans a peer, or a range of addresses, before anybody is dialled or accepted: for `length`, or until it is lifted. As
    /// [`RouterHandle::ban`](super::RouterHandle::ban), it is stored, and takes the place of an earlier one. One that makes
    /// no sense fails [`build`](Self::build).
    pub fn ban(&mut self, target: BanTarget, length: Option<Duration>, why: impl Into<String>) -> &mut Self {
        self.bans.push((target, length, why.into()));
        self
    }

    /// Lifts a ban that the store remembers, before those of [`ban`](Self::ban) and before the addresses to dial are taken up:
    /// an address that is banned would fail [`build`](Self::build). One that is not there is no mistake.
    pub fn unban(&mut self, target: BanTarget) -> &mut Self {
        self.unbans.push(target);
        self
    }

    /// Runs `reactor` beside the router, under a name of its own for events and the report. Its panic ends it alone; what it returns is dropped.
    ///
    /// It should return when its channel or its updates end: one that has not by the drain timeout after the last
    /// connection is dropped. [`Report`](super::Report) names it, and those that panicked.
    pub fn reactor(&mut self, name: impl Into<String>, reactor: impl Future + Send + 'static) -> &mut Self {
        self.reactors.push((name.into(), Box::pin(async move { drop(reactor.await) })));
        self
    }

    /// Adds an observer of the node's events.
    pub fn observer(&mut self, observer: impl Observer) -> &mut Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Resolves names in addresses. Without it, only literal addresses are dialled.
    pub fn resolver(&mut self, resolver: impl Resolver) -> &mut Self {
        self.resolver = Box::new(resolver);
        self
    }

    /// Keeps what the node learns of its peers. Without it, a store in memory ends with the node.
    pub fn store(&mut self, store: impl Store) -> &mut Self {
        self.store = Box::new(store);
        self
    }

    /// Has `recorder` take note of every input of the peer manager, from the addresses given here on.
    pub fn record_inputs(&mut self, recorder: impl Recorder) -> &mut Self {
        self.recorder = Some(Box::new(recorder));
        self
    }

    /// Refuses incoming peers by address, before any cryptography.
    pub fn address_filter(
        &mut self,
        admits: impl Fn(&Endpoint) -> bool + Send + Sync + 'static,
    ) -> &mut Self {
        self.address_filter = Some(Box::new(admits));
        self
    }

    /// Refuses peers by identity, once it is proved.
    pub fn identity_filter(&mut self, admits: impl Fn(&NodeId) -> bool + Send + Sync + 'static) -> &mut Self {
        self.identity_filter = Some(Box::new(admits));
        self
    }

    /// Checks what was declared, and seals it.
    ///
    /// # Errors
    ///
    /// [`BuildError`] names what is wrong.
    pub fn build(mut self) -> Result<Router, BuildError> {
        let largest = self.inbounds.iter().map(|inbound| charge(inbound.spec().max_bytes)).max();
        let link_limits = self.config.check(largest.unwrap_or(0))?;
        if self.transports.is_empty() && !self.local_only {
            return Err(BuildError::NoTransport);
        }
        if let Some(found) = self.transports.iter().filter_map(|t| t.identity()).find(|id| *id != self.id) {
            return Err(BuildError::WrongIdentity(found));
        }
        let names: Vec<&String> = self.reactors.iter().map(|(name, _)| name).collect();
        if let Some(taken) = (1..names.len()).find(|&at| names[..at].contains(&names[at])) {
            return Err(BuildError::ReactorTaken(names[taken].clone()));
        }
        let seed = match self.seed {
            Some(seed) => seed,
            None => getrandom::u64().map_err(|error| BuildError::NoRandomness(error.to_string()))?,
        };
        // A builder is built once, so nobody has set it.
        let _ = self.outbox.seed.set(seed);
        let clock = self.outbox.clock;
        let now = clock.now();
        let mut peers = self.config.peers.clone();
        peers.self_id = self.id;
        let loaded = self.store.load()?;
        let wall = self.wall.unwrap_or_else(wall_clock);
        let mut manager = Recorded::new((peers, seed), (now, wall), loaded.records, self.recorder)?;
        instruct(&mut manager, (self.unbans, self.bans, self.peers), now)?;
        let (mailbox, requests) = Mailbox::new();
        let offer = Offer {
            client: self.config.client.clone(),
            network: self.config.network.clone(),
            services: self.config.services.clone(),
            channels: self.inbounds.iter().map(|inbound| inbound.spec()).collect(),
            needs_common_channel: true,
        };
        let shared = Shared {
            id: self.id,
            clock,
            config: self.config,
            link_limits,
            offer: Arc::new(offer),
            registry: self.outbox.registry,
            updates: self.updates,
            inbounds: self.inbounds,
            transports: self.transports,
            resolver: self.resolver,
            address_filter: self.address_filter,
            identity_filter: self.identity_filter,
            events: Events::new(self.observers, clock),
            mailbox,
            connections: TaskTracker::new(),
            stopping: CancellationToken::new(),
            kill: CancellationToken::new(),
        };
        if loaded.skipped > 0 {
            let skipped = EventKind::StoreSkipped { count: loaded.skipped, faults: loaded.faults };
            shared.events.emit(About::default(), skipped);
        }
        let actor = ManagerActor::new(manager, self.store, requests, self.reports, self.book.1);
        let shared = Arc::new(shared);
        let ending = Ending::new(Arc::clone(&shared));
        Ok(Router { shared, actor, reactors: self.reactors, ending })
    }
}

/// Bans that the operator lifts, bans that it makes, and addresses that it gives.
type Instructions = (Vec<BanTarget>, Vec<(BanTarget, Option<Duration>, String)>, Vec<NodeAddress>);

/// Tells a new manager what the operator wants, in an order in which no address is refused for a ban that is lifted.
fn instruct(
    manager: &mut Recorded,
    (unbans, bans, peers): Instructions,
    now: std::time::Instant,
) -> Result<(), BuildError> {
    for target in unbans {
        manager.apply(Op::Unban { target }, now);
    }
    for (target, length, why) in bans {
        let op = Op::Ban { target, length, why: why.into() };
        if let Answer::Ban(Err(error)) = manager.apply(op, now) {
            return Err(BuildError::Ban { target, error });
        }
    }
    for address in peers {
        let op = Op::Add { address: address.clone(), source: Source::Operator };
        if let Answer::Added(Err(error)) = manager.apply(op, now) {
            return Err(BuildError::Address { address: Box::new(address), error });
        }
    }
    Ok(())
}

/// What the wall's clock says; a time before 1970 counts as 1970. Records alone are written by it; nothing is timed by it.
#[allow(clippy::disallowed_methods)]
fn wall_clock() -> WallTime {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    WallTime::from_unix_ms(u64::try_from(since_1970.unwrap_or_default().as_millis()).unwrap_or(u64::MAX))
}
