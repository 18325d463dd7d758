//! Small worlds in which everything collides: a few peers, addresses and groups, tight configurations, and operations
//! from bytes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use crate::address::{Endpoint, IpPrefix, NodeAddress};
use crate::event::{Blame, Closed, DisconnectReason, GoodAct, Layer, Misbehaviour};
use crate::id::{ChannelId, ConnId, NodeId, NodeKey};
use crate::message::{AgreedChannel, Capability};
use crate::peer::{
    BackoffConfig, BanTarget, Change, Config, Introduction, Limit, MAX_DURATION, Op, PeerSet, Quota, Source,
    Want,
};

/// How many identities there are. The first is that of the node itself.
pub const IDENTITIES: usize = 14;

const ETH: ChannelId = ChannelId::from_static("eth");
const SNAP: ChannelId = ChannelId::from_static("snap");
const ARCHIVE: &str = "archive";

/// A configuration, and what happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// The policy.
    pub config: Config,
    /// What happens.
    pub ops: Vec<Op>,
}

impl World {
    /// Makes a world of any bytes: the first chooses the configuration, the others are operations and their arguments.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut bytes = Bytes(bytes);
        let config = config(bytes.next().into());
        let mut ops = Vec::new();
        while !bytes.0.is_empty() && ops.len() < MAX_OPS {
            ops.push(op(&mut bytes));
        }
        Self { config, ops }
    }
}

/// Longer inputs find nothing that shorter ones do not, and take longer.
const MAX_OPS: usize = 512;

/// One of the identities; numbers beyond them begin anew.
#[must_use]
pub fn identity(n: usize) -> NodeId {
    // Deriving a public key costs more than a whole run.
    static KNOWN: OnceLock<Vec<NodeId>> = OnceLock::new();
    let known = KNOWN
        .get_or_init(|| (0..IDENTITIES as u64).map(|seed| NodeKey::insecure_from_seed(seed).id()).collect());
    known[n % known.len()]
}

/// One of nine places: two in each of three networks of version 4, one in a private network, two in one /64.
fn ip(n: usize) -> IpAddr {
    let n = u8::try_from(n % 9).unwrap_or(0);
    match n {
        0..6 => IpAddr::from([8, 8, 10 * (n / 2), n]),
        6 => IpAddr::from([10, 0, 0, n]),
        _ => IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0, 0, 0, 0, 0, n.into())),
    }
}

/// One of a peer's addresses. Two of eleven have no IP.
#[must_use]
pub fn address(peer: NodeId, n: usize) -> NodeAddress {
    match n % 11 {
        9 => NodeAddress::memory(peer),
        10 => format!("enode://{peer}@node.example.org:30303")
            .parse()
            .unwrap_or_else(|_| NodeAddress::memory(peer)),
        n => NodeAddress::rlpx(peer, SocketAddr::new(ip(n), 30303)),
    }
}

/// One of the places from which somebody calls.
#[must_use]
pub fn endpoint(n: usize) -> Endpoint {
    match n % 10 {
        9 => Endpoint::Memory(identity(1)),
        n => Endpoint::Tcp(SocketAddr::new(ip(n), 40000)),
    }
}

/// One of some ranges that the places lie in.
#[must_use]
pub fn prefix(n: usize) -> IpPrefix {
    let bits = [24, 16, 32, 24, 24, 8, 8, 64, 128][n % 9];
    IpPrefix::new(ip(n), bits).unwrap_or_else(|_| IpPrefix::single(ip(n)))
}

/// What a peer says that it offers, a bit for each thing.
#[must_use]
pub fn introduction(bits: u8) -> Introduction {
    let names = [(1, ETH), (2, SNAP)].into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| name);
    let names: Vec<ChannelId> = names.collect();
    Introduction {
        channels: names.iter().map(|id| AgreedChannel { id: *id, version: 1 }).collect(),
        services: if bits & 4 == 0 { [].into() } else { [ARCHIVE.to_owned()].into() },
        capabilities: names.iter().map(|name| Capability { name: *name, version: 1 }).collect(),
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// All configurations, each with its name.
#[must_use]
pub fn configs() -> Vec<(&'static str, Config)> {
    let names = [
        "tight",
        "hasty",
        "small_store",
        "quotas",
        "seeds",
        "seed_mode",
        "groups",
        "rotation",
        "bans",
        "trusted",
        "everything",
        "unlimited",
    ];
    names.into_iter().enumerate().map(|(n, name)| (name, config(n))).collect()
}

/// One of the configurations; numbers beyond them begin anew.
#[must_use]
pub fn config(n: usize) -> Config {
    let mut config = tight();
    match n % 12 {
        1 => hasty(&mut config),
        2 => small_store(&mut config),
        3 => quotas(&mut config),
        4 => seeds(&mut config),
        5 => seed_mode(&mut config),
        6 => groups(&mut config),
        7 => rotation(&mut config),
        8 => config.max_bans = 2,
        9 => config.trusted = [identity(7), identity(8)].into(),
        10 => everything(&mut config),
        11 => unlimited(&mut config),
        _ => {}
    }
    config
}

/// Tight pools, and everything in milliseconds.
fn tight() -> Config {
    let mut config = Config::new(identity(0));
    config.max_outbound = Limit::AtMost(3);
    config.max_inbound = Limit::AtMost(2);
    config.max_inbound_handshakes = 4;
    config.max_excess_handshakes = 2;
    config.max_dials_in_flight = 3;
    config.upgrade_slots = 2;
    config.upgrade_min_age = ms(300);
    config.upgrade_interval = ms(50);
    config.rotate_every = None;
    config.inbound_max_age = None;
    config.groups.max_outbound = Limit::Unlimited;
    config.groups.max_inbound = Limit::Unlimited;
    config.groups.max_handshakes = Limit::Unlimited;
    config.groups.max_stored = Limit::Unlimited;
    config.cooldown = ms(50);
    config.forget_after = Limit::AtMost(4);
    config.backoff = BackoffConfig {
        min: ms(100),
        max: ms(500),
        max_persistent: ms(200),
        jitter: ms(30),
        busy: ms(1_000),
        incompatible: ms(60_000),
        survival: ms(1_000),
    };
    config.behaviour.halves_every = ms(150);
    config.behaviour.ban_for = Some(ms(700));
    config.behaviour.useful_levels = [5, 20, 60];
    config.behaviour.uptime_levels = [ms(400), ms(2_000), ms(9_000)];
    config.max_peers = 12;
    config.max_addresses_per_peer = 2;
    config.persistent = [identity(1)].into();
    config.unconditional = [identity(2), identity(3)].into();
    config.private = [identity(4)].into();
    config.priorities = [(5, 9), (6, 5), (7, 5), (8, 3)].map(|(peer, class)| (identity(peer), class)).into();
    config.own_addresses = vec![address(identity(0), 0)];
    config
}

/// Nearly everybody outranks somebody at once, by one grade: upgrades of upgrades are common.
fn hasty(config: &mut Config) {
    config.max_outbound = Limit::AtMost(2);
    config.upgrade_min_age = ms(0);
    config.upgrade_interval = ms(0);
    config.upgrade_margin = 1;
    config.unconditional = [identity(2)].into();
    config.priorities = (6u8..10).map(|peer| (identity(peer.into()), peer)).collect();
}

fn small_store(config: &mut Config) {
    config.upgrade_slots = 0;
    config.max_outbound = Limit::AtMost(1);
    config.max_inbound = Limit::AtMost(1);
    config.max_peers = 4;
    config.max_addresses_per_source = Limit::AtMost(2);
}

fn quotas(config: &mut Config) {
    config.upgrade_min_age = ms(100);
    let wants = [Want::Capability(SNAP), Want::Service(ARCHIVE.to_owned())];
    config.quotas =
        wants.into_iter().zip([2, 1]).map(|(wants, at_least)| Quota { wants, at_least }).collect();
}

fn seeds(config: &mut Config) {
    config.seeds.peers = [identity(9), identity(10), identity(1)].into();
    config.seeds.stay = ms(200);
    config.seeds.rest = ms(800);
    config.max_peers = 14;
}

fn seed_mode(config: &mut Config) {
    config.seeds.mode = Some(ms(250));
    config.cooldown = ms(200);
}

fn groups(config: &mut Config) {
    config.groups.max_outbound = Limit::AtMost(1);
    config.groups.max_inbound = Limit::AtMost(1);
    config.groups.max_handshakes = Limit::AtMost(2);
    config.groups.max_stored = Limit::AtMost(3);
    config.groups.window = ms(300);
}

fn rotation(config: &mut Config) {
    config.rotate_every = Some(ms(400));
    config.upgrade_min_age = ms(50);
    config.inbound_max_age = Some(ms(500));
    config.upgrade_slots = 1;
}

fn everything(config: &mut Config) {
    quotas(config);
    seeds(config);
    groups(config);
    rotation(config);
    config.groups.max_outbound = Limit::AtMost(2);
    config.groups.max_inbound = Limit::AtMost(2);
    config.groups.max_handshakes = Limit::AtMost(3);
    config.groups.private_too = true;
    config.max_bans = 3;
    config.trusted = [identity(7)].into();
    config.max_addresses_per_source = Limit::AtMost(3);
    config.upgrade_margin = 1;
}

fn unlimited(config: &mut Config) {
    config.max_outbound = Limit::Unlimited;
    config.max_inbound = Limit::Unlimited;
    config.forget_after = Limit::Unlimited;
    config.behaviour.ban_for = None;
    config.backoff.jitter = ms(0);
}

/// Bytes to make things of; zeros when there are no more.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.next()) % bound
    }

    fn peer(&mut self) -> NodeId {
        identity(self.next().into())
    }

    /// How long ago a connection was begun: mostly not long.
    fn conn(&mut self) -> ConnId {
        ConnId::new([0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 7, 9][self.below(12)])
    }

    fn length(&mut self) -> Duration {
        match u64::from(self.next()) {
            short @ 0..200 => ms(short * 4),
            long @ 200..240 => ms((long - 199) * 5_000),
            days => ms((days - 239) * 43_200_000),
        }
    }
}

/// One operation.
fn op(bytes: &mut Bytes<'_>) -> Op {
    match bytes.below(64) {
        0..6 => Op::Advance(bytes.length()),
        6..13 => {
            let peer = bytes.peer();
            Op::Add { address: address(peer, bytes.next().into()), source: source(bytes) }
        }
        13..21 => Op::TryDialNext,
        21..26 => Op::Dialed { conn: bytes.conn() },
        26..29 => Op::DialFailed { conn: bytes.conn(), closed: closed(bytes) },
        29..35 => Op::Incoming { endpoint: endpoint(bytes.next().into()) },
        35 => Op::IncomingFailed { conn: bytes.conn(), closed: closed(bytes) },
        36..42 => Op::Accepted { conn: bytes.conn(), id: bytes.peer() },
        42..47 => Op::Ready { conn: bytes.conn(), introduction: introduction(bytes.next()) },
        47..50 => Op::TryEvictNext,
        50..53 => Op::Disconnected { conn: bytes.conn(), closed: closed(bytes) },
        53 => {
            let what = Misbehaviour::ALL[bytes.below(Misbehaviour::ALL.len())];
            Op::Reported { conn: bytes.conn(), what, count: u32::from(bytes.next() % 5) }
        }
        54 => {
            let what = GoodAct::ALL[bytes.below(GoodAct::ALL.len())];
            Op::Praised { conn: bytes.conn(), what, count: u32::from(bytes.next() % 9) }
        }
        55 => {
            let latency = Duration::from_micros(u64::from(bytes.next()) * 4_001);
            Op::Measured { conn: bytes.conn(), latency }
        }
        56..58 => ban(bytes),
        58 => Op::Unban { target: target(bytes) },
        59..61 => Op::Reconfigure(change(bytes)),
        61 => Op::Errored { conn: bytes.conn(), closed: closed(bytes) },
        62 => Op::Disconnect { peer: bytes.peer() },
        _ => Op::PollOutput,
    }
}

fn source(bytes: &mut Bytes<'_>) -> Source {
    match bytes.below(6) {
        0 => Source::Operator,
        1 | 2 => Source::Discovery,
        from => Source::Gossip { from: identity(from) },
    }
}

fn closed(bytes: &mut Bytes<'_>) -> Closed {
    let local = |layer, blame, reason| Closed::local(layer, blame, reason, "fuzzed");
    match bytes.below(8) {
        0 | 1 => Closed::stream("connection_refused", ""),
        2 => local(Layer::Capability, Blame::Incompatible, DisconnectReason::Useless),
        3 => local(Layer::Channel, Blame::Protocol, DisconnectReason::Breach),
        4 => local(Layer::Node, Blame::Ourselves, DisconnectReason::Requested),
        5 => local(Layer::PeerManager, Blame::Overload, DisconnectReason::TooManyPeers),
        6 => Closed::remote(DisconnectReason::TooManyPeers),
        _ => Closed::remote(DisconnectReason::from_code(bytes.next() % 17)),
    }
}

fn target(bytes: &mut Bytes<'_>) -> BanTarget {
    match bytes.next() {
        peer @ 0..128 => BanTarget::Peer(identity(peer.into())),
        place => BanTarget::Prefix(prefix(place.into())),
    }
}

fn ban(bytes: &mut Bytes<'_>) -> Op {
    let target = target(bytes);
    let (length, why) = match bytes.next() {
        0 => (None, "x".repeat(201)),
        1 => (Some(MAX_DURATION + ms(1)), String::new()),
        2..40 => (None, "for good".to_owned()),
        length => (Some(ms(u64::from(length - 40) * 9)), "for a while".to_owned()),
    };
    Op::Ban { target, length, why: why.into() }
}

fn change(bytes: &mut Bytes<'_>) -> Change {
    let limit = |n: usize| if n < 6 { Limit::AtMost(n) } else { Limit::Unlimited };
    match bytes.below(10) {
        0 | 1 => Change::MaxOutbound(limit(bytes.below(7))),
        2 | 3 => Change::MaxInbound(limit(bytes.below(7))),
        4 => Change::UpgradeSlots(bytes.below(20)),
        5 => {
            let class = bytes.next();
            Change::Priority {
                peer: bytes.peer(),
                class: Some(class).filter(|class| !class.is_multiple_of(3)),
            }
        }
        set => {
            let sets = [PeerSet::Persistent, PeerSet::Unconditional, PeerSet::Private, PeerSet::Trusted];
            let number = bytes.next();
            let set = if set == 9 { PeerSet::Seeds } else { sets[usize::from(number / 2) % 4] };
            Change::Member { set, peer: bytes.peer(), member: number.is_multiple_of(2) }
        }
    }
}
