//! Tests of the peer manager, in virtual time.

mod admission;
mod attacks;
mod bans;
mod behaviour;
mod changes;
mod configs;
mod conformance;
mod dials;
mod incoming;
mod lines;
mod model;
mod ranking;
mod reasons;
mod restarts;
mod seats;
mod sets;
mod simultaneous;
mod store;
mod stores;
mod updates;
mod upgrades;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::address::{Endpoint, NodeAddress};
use crate::event::{Blame, Closed, DisconnectReason, GoodAct, Layer, Misbehaviour};
use crate::id::{ChannelId, ConnId, NodeId, NodeKey};
use crate::message::{AgreedChannel, Capability};

const ETH: ChannelId = ChannelId::from_static("eth");

/// Somewhere for virtual time to begin.
#[allow(clippy::disallowed_methods)]
fn epoch() -> Instant {
    Instant::now()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn id(seed: u64) -> NodeId {
    NodeKey::insecure_from_seed(seed).id()
}

/// This node.
const SELF: u64 = 0;

/// The n-th peer whose identity is below that of this node, or above it.
fn lesser(n: usize) -> NodeId {
    (1..).map(id).filter(|peer| *peer < id(SELF)).nth(n).unwrap()
}

fn greater(n: usize) -> NodeId {
    (1..).map(id).filter(|peer| *peer > id(SELF)).nth(n).unwrap()
}

fn address_at(peer: NodeId, host: u8) -> NodeAddress {
    NodeAddress::rlpx(peer, SocketAddr::from(([8, 8, 8, host], 30303)))
}

fn address(peer: NodeId) -> NodeAddress {
    address_at(peer, 8)
}

fn endpoint() -> Endpoint {
    Endpoint::Tcp(SocketAddr::from(([9, 9, 9, 9], 40000)))
}

/// An address of a peer, given the bytes of its IP.
fn at(peer: NodeId, ip: [u8; 4]) -> NodeAddress {
    NodeAddress::rlpx(peer, SocketAddr::from((ip, 30303)))
}

fn endpoint_at(ip: [u8; 4]) -> Endpoint {
    Endpoint::Tcp(SocketAddr::from((ip, 40000)))
}

fn prefix(text: &str) -> BanTarget {
    BanTarget::Prefix(text.parse().unwrap())
}

/// An end that we chose and that says nothing against the peer.
fn parted() -> Closed {
    Closed::local(Layer::PeerManager, Blame::Nobody, DisconnectReason::Requested, "parted")
}

fn refused() -> Closed {
    Closed::local(Layer::Tcp, Blame::System, DisconnectReason::TcpError, "connection_refused")
}

fn incompatible() -> Closed {
    Closed::local(Layer::Capability, Blame::Incompatible, DisconnectReason::Useless, "wrong_network")
}

fn breach() -> Closed {
    Closed::local(Layer::Channel, Blame::Protocol, DisconnectReason::Breach, "bad_message")
}

fn introduction() -> Introduction {
    Introduction {
        channels: [AgreedChannel { id: ETH, version: 68 }].into(),
        services: ["archive".to_owned()].into(),
        capabilities: [67, 68].map(|version| Capability { name: ETH, version }).into(),
    }
}

/// A configuration in milliseconds, without jitter, upgrades, a cooldown, automatic bans or limits of groups.
fn quick() -> Config {
    let mut config = Config::new(id(SELF));
    config.backoff = BackoffConfig {
        min: ms(100),
        max: ms(500),
        max_persistent: ms(200),
        jitter: ms(0),
        busy: ms(1_000),
        incompatible: ms(60_000),
        survival: ms(1_000),
    };
    config.cooldown = ms(0);
    config.upgrade_slots = 0;
    config.upgrade_min_age = ms(0);
    config.upgrade_interval = ms(0);
    config.forget_after = Limit::Unlimited;
    config.upgrade_margin = 1;
    config.rotate_every = None;
    config.inbound_max_age = None;
    config.groups.max_outbound = Limit::Unlimited;
    config.groups.max_inbound = Limit::Unlimited;
    config.groups.max_handshakes = Limit::Unlimited;
    config.behaviour.ban_for = None;
    config
}

/// A manager with its clock, which checks the invariants after every step.
struct Bench {
    manager: PeerManager,
    began: Instant,
    now: Instant,
    log: UpdateLog,
    stored: std::collections::BTreeMap<NodeId, PeerRecord>,
    banned: std::collections::BTreeMap<BanTarget, BanRecord>,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self::restart(config, Vec::new())
    }

    fn restart(config: Config, stored: Vec<PeerRecord>) -> Self {
        let now = epoch();
        let records = stored.iter().map(|record| (record.id, record.clone())).collect();
        let wall = WallTime::from_unix_ms(1_700_000_000_000);
        let manager = PeerManager::new(config, 1, now, wall, stored.into_iter().map(Record::Peer)).unwrap();
        Self {
            manager,
            began: now,
            now,
            log: UpdateLog::new(),
            stored: records,
            banned: std::collections::BTreeMap::new(),
        }
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut PeerManager, Instant) -> T) -> T {
        let answer = act(&mut self.manager, self.now);
        self.manager.check_invariants().unwrap();
        while let Some(output) = self.manager.poll_output() {
            match output {
                Output::Update(update) => assert!(self.log.apply(update), "updates alternate"),
                Output::Persist(Record::Peer(record)) => drop(self.stored.insert(record.id, record)),
                Output::Forget(RecordKey::Peer(id)) => drop(self.stored.remove(&id)),
                Output::Persist(Record::Ban(record)) => drop(self.banned.insert(record.target, record)),
                Output::Forget(RecordKey::Ban(target)) => drop(self.banned.remove(&target)),
            }
        }
        answer
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
    }

    #[allow(clippy::needless_pass_by_value)] // What a test adds it has just made.
    fn add(&mut self, address: NodeAddress) -> Result<bool, AddError> {
        self.add_from(address, Source::Discovery)
    }

    fn know(&mut self, peers: &[NodeId]) {
        for peer in peers {
            assert_eq!(self.add(address(*peer)), Ok(true));
        }
    }

    fn dial(&mut self) -> Option<Dial> {
        self.act(PeerManager::try_dial_next)
    }

    /// The next dial, which must be to `peer`.
    fn dial_to(&mut self, peer: NodeId) -> ConnId {
        let dial = self.dial().expect("a dial is due");
        assert_eq!(dial.address.id(), peer);
        dial.conn
    }

    fn dialed(&mut self, conn: ConnId) -> Result<Admitted, Reject> {
        self.act(|manager, now| manager.dialed(conn, now))
    }

    fn connect_to(&mut self, peer: NodeId) -> ConnId {
        let conn = self.dial_to(peer);
        assert_eq!(self.dialed(conn), Ok(Admitted { replaces: None }));
        conn
    }

    fn dial_failed(&mut self, conn: ConnId, closed: &Closed) -> Report {
        self.act(|manager, now| manager.dial_failed(conn, closed, now))
    }

    fn incoming(&mut self) -> Result<ConnId, Reject> {
        self.act(|manager, now| manager.incoming(&endpoint(), now))
    }

    fn accepted(&mut self, conn: ConnId, peer: NodeId) -> Result<Admitted, Reject> {
        self.act(|manager, now| manager.accepted(conn, peer, now))
    }

    /// A whole incoming connection; one that is rejected is reported closed.
    fn accept(&mut self, peer: NodeId) -> Result<ConnId, Reject> {
        let conn = self.incoming()?;
        match self.accepted(conn, peer) {
            Ok(_) => Ok(conn),
            Err(reject) => {
                let report = self.act(|manager, now| manager.incoming_failed(conn, &reject.closed(), now));
                assert_eq!(report, Report::Applied);
                Err(reject)
            }
        }
    }

    fn ready(&mut self, conn: ConnId) -> Report {
        self.act(|manager, now| manager.ready(conn, introduction(), now))
    }

    fn evict(&mut self) -> Option<Eviction> {
        self.act(PeerManager::try_evict_next)
    }

    fn reported(&mut self, conn: ConnId, what: Misbehaviour, count: u32) -> Report {
        self.act(|manager, now| manager.reported(conn, what, count, now))
    }

    fn errored(&mut self, conn: ConnId) -> Report {
        self.act(|manager, now| manager.errored(conn, &breach(), now))
    }

    fn disconnected(&mut self, conn: ConnId, closed: &Closed) -> Report {
        self.act(|manager, now| manager.disconnected(conn, closed, now))
    }

    fn leave(&mut self, conn: ConnId) {
        let report = self.disconnected(conn, &Closed::remote(DisconnectReason::Requested));
        assert_eq!(report, Report::Applied);
    }

    fn up(&self) -> Vec<NodeId> {
        self.log.snapshot().map(PeerUpdate::peer).collect()
    }

    /// Moves the clock on, and has the manager know.
    fn pass(&mut self, by: Duration) {
        self.advance(by);
        self.act(PeerManager::advance);
    }

    fn add_from(&mut self, address: NodeAddress, source: Source) -> Result<bool, AddError> {
        match self.act(|manager, now| manager.apply(Op::Add { address, source }, now)) {
            Answer::Added(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn incoming_from(&mut self, ip: [u8; 4]) -> Result<ConnId, Reject> {
        self.act(|manager, now| manager.incoming(&endpoint_at(ip), now))
    }

    fn incoming_failed(&mut self, conn: ConnId) {
        let report = self.act(|manager, now| manager.incoming_failed(conn, &refused(), now));
        assert_eq!(report, Report::Applied);
    }

    /// A peer that is known, dialled and up. Nobody may stand before it in the line.
    fn up_to(&mut self, peer: NodeId) -> ConnId {
        self.know(&[peer]);
        let conn = self.connect_to(peer);
        assert_eq!(self.ready(conn), Report::Applied);
        conn
    }

    fn ready_with(&mut self, conn: ConnId, introduction: Introduction) {
        let report = self.act(|manager, now| manager.ready(conn, introduction, now));
        assert_eq!(report, Report::Applied);
    }

    /// Lets a peer be known and have called once, offering this service and having done so much good.
    fn met(&mut self, peer: NodeId, service: &str, good: u32) {
        if !self.manager.knows(&peer) {
            self.know(&[peer]);
        }
        let conn = self.accept(peer).unwrap();
        self.ready_with(conn, Introduction { services: [service.to_owned()].into(), ..introduction() });
        self.praised(conn, GoodAct::Served, good);
        self.part(conn);
    }

    /// Ends a connection of our own accord.
    fn part(&mut self, conn: ConnId) {
        assert_eq!(self.disconnected(conn, &parted()), Report::Applied);
    }

    /// Carries out the next eviction, and tells what it was.
    fn carry_out(&mut self) -> Eviction {
        let eviction = self.evict().expect("an eviction is ordered");
        assert_eq!(self.disconnected(eviction.conn, &eviction.closed), Report::Applied);
        eviction
    }

    fn praised(&mut self, conn: ConnId, what: GoodAct, count: u32) {
        let report = self.act(|manager, now| manager.praised(conn, what, count, now));
        assert_eq!(report, Report::Applied);
    }

    fn measured(&mut self, conn: ConnId, latency: Duration) {
        let report = self.act(|manager, now| manager.measured(conn, latency, now));
        assert_eq!(report, Report::Applied);
    }

    fn ban(&mut self, target: BanTarget, length: Option<Duration>) -> Result<Banned, BanError> {
        self.act(|manager, now| manager.ban(target, length, "test", now))
    }

    fn unban(&mut self, target: BanTarget) -> bool {
        self.act(|manager, now| manager.unban(&target, now))
    }

    fn change(&mut self, change: &Change) -> Result<bool, ConfigError> {
        self.act(|manager, now| manager.reconfigure(change, now))
    }

    fn member(&mut self, set: PeerSet, peer: NodeId, member: bool) {
        assert_eq!(self.change(&Change::Member { set, peer, member }), Ok(true));
    }

    fn wakeup(&self) -> Option<(Duration, WakeReason)> {
        self.manager.next_wakeup().map(|wakeup| (wakeup.at - self.now, wakeup.why))
    }

    fn grade(&self, peer: NodeId) -> i8 {
        self.manager.grade(&peer).unwrap()
    }
}
