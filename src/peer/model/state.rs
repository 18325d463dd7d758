//! What the model knows, and "Time", "Sets of the operator" and "Rank" of the page.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::address::{Endpoint, IpPrefix, NodeAddress, Scope};
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::id::{ConnId, Direction, NodeId};
use crate::peer::order::draw;
use crate::peer::{
    AddressRecord, BanReason, BanTarget, Config, EvictReason, Hold, Limit, PeerUpdate, Remote, WallTime, Want,
};

/// The policy as code that scans everything. See the [module](super).
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub(super) config: Config,
    pub(super) seed: u64,
    /// The latest instant seen.
    pub(super) now: Instant,
    /// An instant, and the wall's clock at it.
    pub(super) anchor: (Instant, WallTime),
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) handshakes: BTreeMap<ConnId, Handshake>,
    pub(super) claims: Vec<Claim>,
    pub(super) bans: BTreeMap<BanTarget, Ban>,
    /// For each address group the beginning of its present window, and the handshakes begun in it.
    pub(super) windows: BTreeMap<IpPrefix, (Instant, usize)>,
    pub(super) last_conn: u64,
    /// When the last taking of a place began, in each pool.
    pub(super) last_taking: [Option<Instant>; 2],
    /// When the last rotation began, or the model.
    pub(super) last_rotation: Instant,
    pub(super) updates: Vec<PeerUpdate>,
}

/// A peer is idle if it has neither dial nor connection. Only then it may be under hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Peer {
    pub(super) id: NodeId,
    /// The drawn order.
    pub(super) order: u64,
    pub(super) addresses: Vec<AddressRecord>,
    pub(super) failures: u32,
    pub(super) incompatible: bool,
    /// Whether a dial found it, since the beginning.
    pub(super) reached: bool,
    pub(super) bad: Points,
    pub(super) good: Points,
    /// Time connected, without the present connection.
    pub(super) uptime: Duration,
    pub(super) latency: Option<Duration>,
    pub(super) offers: Option<Vec<Want>>,
    pub(super) hold: Option<Hold>,
    pub(super) dial: Option<Attempt>,
    pub(super) live: Option<Live>,
}

/// A dial in flight.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attempt {
    pub(super) conn: ConnId,
    pub(super) slot: Slot,
    pub(super) address: NodeAddress,
}

/// A connection.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Live {
    pub(super) conn: ConnId,
    pub(super) slot: Slot,
    pub(super) direction: Direction,
    pub(super) remote: Remote,
    /// By which it counts towards an address group: its own far end, or that of the connection whose slot it inherited.
    pub(super) counts_by: Remote,
    pub(super) since: Instant,
    pub(super) up: bool,
    /// When it is let go, if it is, and why.
    pub(super) time_is_up: Option<(Instant, EvictReason)>,
    pub(super) doom: Option<Doom>,
}

/// A connection is ordered out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Doom {
    pub(super) why: EvictReason,
    pub(super) closed: Closed,
    pub(super) dispensed: bool,
}

/// An incoming connection whose peer is not known yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Handshake {
    pub(super) endpoint: Endpoint,
    /// Whether it holds a slot of the inbound pool.
    pub(super) reserved: bool,
}

/// A dial or connection takes the place of a connection. It lasts until either is gone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Claim {
    pub(super) by: ConnId,
    pub(super) of: ConnId,
    pub(super) why: EvictReason,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ban {
    pub(super) until: Option<Instant>,
    pub(super) why: BanReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    Outbound,
    Inbound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Limited(Pool),
    Unconditional,
}

/// Points that are halved as time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Points {
    pub(super) points: u32,
    /// The first point, or the latest halving.
    pub(super) since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Given(u8),
    Unconditional,
}

/// Class, grade, and what the drawn order adds; the identity is for collisions of that.
pub(super) type Rank = (Class, i8, u64, NodeId);

// Time.

impl Model {
    /// Everything that time alone does. Every input begins with it.
    pub fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let now = self.now;
        // 1. Holds end.
        for peer in self.peers.values_mut() {
            peer.hold = peer.hold.filter(|hold| hold.until > now);
        }
        // 2. Bans end.
        self.bans.retain(|_, ban| ban.until.is_none_or(|until| until > now));
        // 3. The time of connections is up, once: whoever is protected then stays for good.
        for id in self.ids() {
            let due = self.live(&id).and_then(|live| live.time_is_up).filter(|(at, _)| *at <= now);
            if let Some((_, why)) = due {
                self.live_mut(&id).into_iter().for_each(|live| live.time_is_up = None);
                if !self.config.is_protected(&id) {
                    self.order_out(&id, why);
                }
            }
        }
        // 4. Grades are worked out where they are looked at.
        self.forget_the_unreachable();
    }

    /// Forgets every idle peer without an address whose bad points are gone, but for those that are kept.
    pub(super) fn forget_the_unreachable(&mut self) {
        let (now, every) = (self.now, self.config.behaviour.halves_every);
        let config = &self.config;
        self.peers.retain(|id, peer| {
            let gone = peer.is_idle() && peer.addresses.is_empty() && peer.bad.at(now, every).points == 0;
            !gone || is_kept(config, id)
        });
    }
}

impl Points {
    /// Halved once for each whole period that has passed.
    pub(super) fn at(mut self, now: Instant, every: Duration) -> Self {
        while let Some(next) = self.since.and_then(|since| since.checked_add(every))
            && next <= now
        {
            self.points /= 2;
            self.since = (self.points > 0).then_some(next);
        }
        self
    }

    pub(super) fn plus(self, more: u32, now: Instant, every: Duration) -> Self {
        let left = self.at(now, every);
        let points = left.points.saturating_add(more);
        Self { points, since: left.since.or((points > 0).then_some(now)) }
    }
}

// Sets of the operator.

/// Never forgotten and never pruned.
pub(super) fn is_kept(config: &Config, id: &NodeId) -> bool {
    config.is_protected(id) || config.seeds.peers.contains(id)
}

impl Model {
    pub(super) fn is_unconditional(&self, id: &NodeId) -> bool {
        self.config.unconditional.contains(id)
    }

    pub(super) fn class(&self, id: &NodeId) -> Class {
        match self.config.priorities.get(id) {
            _ if self.is_unconditional(id) => Class::Unconditional,
            Some(given) => Class::Given(*given),
            None if self.config.persistent.contains(id) => Class::Given(255),
            None => Class::Given(0),
        }
    }
}

// Rank.

impl Model {
    pub(super) fn grade_of(&self, peer: &Peer) -> i8 {
        let config = &self.config.behaviour;
        let every = config.halves_every;
        let count = |reached: usize| i8::try_from(reached).unwrap_or(i8::MAX);
        let good = peer.good.at(self.now, every).points;
        let bad = u64::from(peer.bad.at(self.now, every).points);
        let present = peer.live.as_ref().map_or(Duration::ZERO, |live| self.now - live.since);
        let connected = peer.uptime + present;
        let useful = config.useful_levels.iter().filter(|level| good >= **level).count();
        let up = config.uptime_levels.iter().filter(|level| connected >= **level).count();
        let levels = config.latency_levels.iter();
        let near = peer.latency.map_or(0, |latency| levels.filter(|level| **level >= latency).count());
        let bad = i8::try_from((4 * bad / u64::from(config.limit)).min(4)).unwrap_or(4);
        count(useful) + count(up) + count(near) - bad
    }

    /// The rank of a peer, known or not: a stranger has no grade yet.
    pub(super) fn rank(&self, id: &NodeId) -> Rank {
        let (grade, order) = match self.peers.get(id) {
            Some(peer) => (self.grade_of(peer), peer.order),
            None => (0, self.draw_order(id)),
        };
        (self.class(id), grade, order, *id)
    }

    pub(super) fn draw_order(&self, id: &NodeId) -> u64 {
        draw(self.seed, "order", id, 0)
    }

    pub(super) fn outranks(&self, newcomer: Rank, other: Rank) -> bool {
        let margin = i16::from(self.config.upgrade_margin);
        let by = i16::from(newcomer.1) - i16::from(other.1);
        newcomer.0 > other.0 || (newcomer.0 == other.0 && by >= margin)
    }
}

// Looking around.

impl Peer {
    pub(super) fn is_idle(&self) -> bool {
        self.dial.is_none() && self.live.is_none()
    }

    pub(super) fn offered(&self, wanted: &Want) -> bool {
        self.offers.iter().flatten().any(|offer| offer == wanted)
    }

    /// Up, and not ordered out.
    pub(super) fn stays_up(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.up && live.doom.is_none())
    }
}

impl Live {
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match &self.remote {
            Remote::Address(address) => address_ip(address),
            Remote::Endpoint(endpoint) => endpoint.ip(),
        }
    }
}

/// The literal IP of an address.
pub(super) fn address_ip(address: &NodeAddress) -> Option<IpAddr> {
    address.endpoint().and_then(|endpoint| endpoint.ip())
}

impl Model {
    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.peers.keys().copied().collect()
    }

    pub(super) fn live(&self, id: &NodeId) -> Option<&Live> {
        self.peers.get(id)?.live.as_ref()
    }

    pub(super) fn live_mut(&mut self, id: &NodeId) -> Option<&mut Live> {
        self.peers.get_mut(id)?.live.as_mut()
    }

    pub(super) fn lives(&self) -> impl Iterator<Item = (&Peer, &Live)> {
        self.peers.values().filter_map(|peer| Some((peer, peer.live.as_ref()?)))
    }

    pub(super) fn dials(&self) -> impl Iterator<Item = (&Peer, &Attempt)> {
        self.peers.values().filter_map(|peer| Some((peer, peer.dial.as_ref()?)))
    }

    /// Whose connection has this epoch.
    pub(super) fn connected(&self, conn: ConnId) -> Option<NodeId> {
        self.lives().find(|(_, live)| live.conn == conn).map(|(peer, _)| peer.id)
    }

    /// Whose dial has this epoch.
    pub(super) fn dialled(&self, conn: ConnId) -> Option<NodeId> {
        self.dials().find(|(_, dial)| dial.conn == conn).map(|(peer, _)| peer.id)
    }

    pub(super) fn mint(&mut self) -> ConnId {
        self.last_conn += 1;
        ConnId::new(self.last_conn)
    }

    pub(super) fn stranger(&self, id: NodeId) -> Peer {
        Peer {
            id,
            order: self.draw_order(&id),
            addresses: Vec::new(),
            failures: 0,
            incompatible: false,
            reached: false,
            bad: Points::default(),
            good: Points::default(),
            uptime: Duration::ZERO,
            latency: None,
            offers: None,
            hold: None,
            dial: None,
            live: None,
        }
    }

    pub(super) fn limit(&self, pool: Pool) -> Limit {
        match pool {
            Pool::Outbound => self.config.max_outbound,
            Pool::Inbound => self.config.max_inbound,
        }
    }

    /// Slots of a pool in use: by connections, by dials, and by handshakes that hold one.
    pub(super) fn used(&self, pool: Pool) -> usize {
        let slot = Slot::Limited(pool);
        let handshakes = self.handshakes.values().filter(|handshake| handshake.reserved);
        self.lives().filter(|(_, live)| live.slot == slot).count()
            + self.dials().filter(|(_, dial)| dial.slot == slot).count()
            + if pool == Pool::Inbound { handshakes.count() } else { 0 }
    }

    /// Places of a pool that are being taken.
    pub(super) fn takings(&self, pool: Pool) -> usize {
        let claimed = |conn: ConnId| self.claims.iter().any(|claim| claim.of == conn);
        self.lives().filter(|(_, live)| live.slot == Slot::Limited(pool) && claimed(live.conn)).count()
    }

    /// Connections in the slots of a pool that count towards an address group.
    pub(super) fn lives_of(&self, pool: Pool, group: IpPrefix) -> usize {
        let ours = self.lives().filter(|(_, live)| live.slot == Slot::Limited(pool));
        ours.filter(|(_, live)| self.group(live.counts_by.ip()) == Some(group)).count()
    }

    /// The address group of an IP: literal public ones have one, or all.
    pub(super) fn group(&self, ip: Option<IpAddr>) -> Option<IpPrefix> {
        let ip = ip?.to_canonical();
        let grouped = self.config.groups.private_too || Scope::of_ip(ip) == Scope::Public;
        let bits = if ip.is_ipv4() { 24 } else { 64 };
        if grouped { IpPrefix::new(ip, bits).ok() } else { None }
    }

    /// Orders a connection out, unless it is already.
    pub(super) fn order_out(&mut self, id: &NodeId, why: EvictReason) {
        let (blame, reason) = match why {
            EvictReason::Misbehaved => (Blame::Protocol, DisconnectReason::Subprotocol),
            EvictReason::Operator | EvictReason::Banned => (Blame::Nobody, DisconnectReason::Requested),
            _ => (Blame::Overload, DisconnectReason::TooManyPeers),
        };
        self.order_out_as(id, why, Closed::local(Layer::PeerManager, blame, reason, "model"));
    }

    pub(super) fn order_out_as(&mut self, id: &NodeId, why: EvictReason, closed: Closed) {
        if let Some(live) = self.live_mut(id) {
            live.doom.get_or_insert(Doom { why, closed, dispensed: false });
        }
    }

    /// A seat is given up. Whoever claimed it has its place; if it stood in for a connection that has not left, whoever
    /// claimed it waits for that one in its stead.
    pub(super) fn leave_seat(&mut self, conn: ConnId) {
        let made = self.claims.iter().find(|claim| claim.by == conn).copied();
        let suffered = self.claims.iter().find(|claim| claim.of == conn).copied();
        self.claims.retain(|claim| claim.by != conn && claim.of != conn);
        if let (Some(made), Some(suffered)) = (made, suffered) {
            self.claims.push(Claim { of: made.of, ..suffered });
        }
    }
}
