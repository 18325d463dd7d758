//! A node of a simulated network, through all of its lives.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::byzantine::Byzantine;
use super::clocks::HostClock;
use super::fabric::Fabric;
use super::lines::HostId;
use super::seed::derive;
use super::wire::Wire;
use super::{Depth, events};
use crate::address::{IpPrefix, NodeAddress};
use crate::channel::Clock;
use crate::event::Event;
use crate::id::{NodeId, NodeKey};
use crate::peer::Limit;
use crate::router::{BuildError, Builder, MemoryStore, Report, Router, RouterHandle};
use crate::transport::plain::PlainOver;
use crate::transport::rlpx::RlpxOver;

/// The port at which nodes listen.
const PORT: u16 = 30_303;

/// A node of a [`SimNet`](super::SimNet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub(super) HostId);

impl Node {
    /// Its place among the nodes of its network, from 0 on.
    #[must_use]
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// Where a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The region, which lines between regions are given by. Default 0.
    pub region: u16,
    /// Its IP address. Default: a public one in a /24 of its own.
    pub ip: Option<IpAddr>,
}

impl Place {
    /// Makes `count` places with addresses in few ranges, as those of an attacker are who has many identities and few
    /// networks. They are dealt to the ranges in turn, from the second address of each on; once a range has no more,
    /// addresses come again, and a network does not take them.
    ///
    /// ```
    /// # use peerage::sim::Place;
    /// let places = Place::within(&["99.1.0.0/24".parse()?, "99.1.1.0/24".parse()?], 200);
    /// assert_eq!(places[2].ip, Some([99, 1, 0, 2].into()));
    /// # Ok::<(), peerage::address::IpPrefixError>(())
    /// ```
    #[must_use]
    pub fn within(ranges: &[IpPrefix], count: usize) -> Vec<Self> {
        let rounds = (1_u32..).flat_map(|round| ranges.iter().map(move |range| (round, range)));
        rounds
            .take(if ranges.is_empty() { 0 } else { count })
            .map(|(round, range)| Self::nth(range, round))
            .collect()
    }

    fn nth(range: &IpPrefix, number: u32) -> Self {
        let ip = match range.first() {
            IpAddr::V4(first) => {
                let mask = u32::MAX.checked_shr(range.bits().into()).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() | number & mask))
            }
            IpAddr::V6(first) => {
                let mask = u128::MAX.checked_shr(range.bits().into()).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() | u128::from(number) & mask))
            }
        };
        Self { ip: Some(ip), ..Self::default() }
    }
}

/// Declares a node each time that it is started.
pub(super) type Declare = Rc<dyn Fn(&mut Setup<'_>) -> Result<(), BuildError>>;

/// A node that is being declared: its builder, and who it is.
///
/// Transport, key, seed, store, peers and wall time are set already.
#[derive(Debug)]
pub struct Setup<'a> {
    builder: &'a mut Builder,
    node: Node,
    id: NodeId,
    life: u32,
    seed: u64,
}

impl Setup<'_> {
    /// What the node is built by: channels, reactors, settings.
    pub fn builder(&mut self) -> &mut Builder {
        self.builder
    }

    /// Which node it is.
    #[must_use]
    pub fn node(&self) -> Node {
        self.node
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// How often it was started before: 0 at first.
    #[must_use]
    pub fn life(&self) -> u32 {
        self.life
    }

    /// A seed for one use in this life of this node. What draws from it repeats with the network's seed.
    #[must_use]
    pub fn seed(&self, purpose: &str) -> u64 {
        derive(self.seed, purpose, u64::from(self.life))
    }
}

/// A node and what is left of its earlier lives.
pub(super) struct Host {
    pub(super) key: NodeKey,
    pub(super) address: SocketAddr,
    pub(super) character: Character,
    /// Whom it is told of at each start, and whether it keeps a connection to them.
    pub(super) known: Vec<(NodeAddress, bool)>,
    pub(super) clock: HostClock,
    pub(super) store: MemoryStore,
    pub(super) lives: u32,
    pub(super) running: Option<Running>,
    /// Its last life, while it ends in order.
    pub(super) leaving: Option<JoinHandle<Report>>,
    /// Handles of the lives that are over, for what they counted.
    pub(super) past: Vec<RouterHandle>,
}

/// What a node is.
pub(super) enum Character {
    /// A node as in production.
    Proper(Declare),
    Byzantine(Byzantine),
}

pub(super) enum Running {
    Proper {
        handle: RouterHandle,
        task: JoinHandle<Report>,
        /// Of connections that it dials, and of those that dial it.
        limits: [Limit; 2],
    },
    Byzantine(JoinHandle<()>),
}

impl Running {
    pub(super) fn handle(&self) -> Option<&RouterHandle> {
        match self {
            Self::Proper { handle, .. } => Some(handle),
            Self::Byzantine(_) => None,
        }
    }
}

impl Host {
    pub(super) fn new(key: NodeKey, ip: IpAddr, character: Character) -> Self {
        Self {
            key,
            address: SocketAddr::new(ip, PORT),
            character,
            known: Vec::new(),
            clock: HostClock::default(),
            store: MemoryStore::new(),
            lives: 0,
            running: None,
            leaving: None,
            past: Vec::new(),
        }
    }

    pub(super) fn is_byzantine(&self) -> bool {
        matches!(self.character, Character::Byzantine(_))
    }

    pub(super) fn node_address(&self) -> NodeAddress {
        NodeAddress::rlpx(self.key.id(), self.address)
    }

    /// Builds a proper node for its next life.
    pub(super) fn build(
        &self,
        declare: &Declare,
        host: HostId,
        (seed, depth): (u64, Depth),
        fabric: &Arc<Fabric>,
    ) -> Result<(Router, [Limit; 2]), BuildError> {
        let id = self.key.id();
        let life = self.lives;
        let seed = derive(seed, "node", u64::from(host));
        let setup_seed = |purpose: &str| derive(seed, purpose, u64::from(life));
        let mut builder = Router::builder_by(id, Clock::drifting(Instant::now(), self.clock.ppm()));
        let wire = Wire::listen(fabric, host, self.address);
        match depth {
            Depth::Plain => builder.transport(PlainOver::insecure(id, wire)),
            Depth::Rlpx => {
                let seed = setup_seed("handshakes");
                builder.transport(RlpxOver::insecure_with_seed(self.key.clone(), wire, seed))
            }
        };
        builder
            .seed(setup_seed("peers"))
            .wall_time(self.clock.wall_time(fabric.elapsed()))
            .store(self.store.clone());
        let observing = Arc::clone(fabric);
        builder.observer(move |event: &Event| {
            observing.note(Some(host), event.kind.label(), event.seq, events::digest(event));
        });
        let own = self.node_address();
        builder.configure(|config| config.peers.own_addresses = vec![own]);
        for (address, keep) in &self.known {
            builder.peer(address.clone());
            if *keep {
                builder.configure(|config| {
                    config.peers.persistent.insert(address.id());
                });
            }
        }
        let mut setup = Setup { builder: &mut builder, node: Node(host), id, life, seed };
        declare(&mut setup)?;
        let mut limits = [Limit::Unlimited; 2];
        builder.configure(|config| limits = [config.peers.max_outbound, config.peers.max_inbound]);
        Ok((builder.build()?, limits))
    }
}
