//! What is told: addresses to other peers, and the state of things to the operator.

use std::cmp::Reverse;
use std::time::Instant;

use super::PeerManager;
use super::arena::Key;
use super::backoff::Hold;
use super::index::ToldKey;
use super::order::{Merit, draw};
use super::pools::PoolName;
use super::state::{EvictReason, Live, Peer, State, Wait};
use crate::address::{NodeAddress, Scope};
use crate::id::{ConnId, Direction, NodeId};

/// How many peers [`PeerManager::advertise`] looks at beyond its limit, at most, for others to tell of.
const SURPLUS_VISITS: usize = 64;

/// How many peers it looks at, at most, for those of ordinary merit.
const MAX_LOOKS: usize = 1024;

/// Where a peer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Neither connected nor dialled.
    Idle {
        /// What it did wrong, in points of its [`BehaviourConfig`](super::BehaviourConfig).
        bad_points: u32,
        /// How long it is left alone, if it is.
        hold: Option<Hold>,
    },
    /// A dial is in flight.
    Dialing {
        /// What it did wrong, in points.
        bad_points: u32,
        /// Which.
        conn: ConnId,
    },
    /// It is connected.
    Connected {
        /// What it did wrong, in points. At the limit it is evicted.
        bad_points: u32,
        /// Which connection it is.
        conn: ConnId,
        /// Who opened it.
        direction: Direction,
        /// Since when.
        since: Instant,
        /// Whether reactors see it.
        up: bool,
        /// Why it is being ended, if it is.
        evicting: Option<EvictReason>,
        /// A dial to it that is in flight all the same.
        dialing: Option<ConnId>,
    },
}

/// What is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Slots of the outbound pool, dials in flight included.
    pub outbound: usize,
    /// Slots of the inbound pool, handshakes that hold one included.
    pub inbound: usize,
    /// Connections and dials of unconditional peers.
    pub unconditional: usize,
    /// Connections.
    pub connected: usize,
    /// Dials in flight.
    pub dialing: usize,
    /// Incoming handshakes in progress.
    pub handshakes: usize,
    /// Upgrades under way.
    pub upgrades: usize,
    /// Peers stored.
    pub stored: usize,
}

impl PeerManager {
    /// Chooses at most `limit` addresses to tell a peer, or a stranger: our own first, then those of the best
    /// class, from a place in the drawn order that depends on who asks.
    ///
    /// The same peer gets the same answer while the store is the same, so it learns no more by asking again. An
    /// address goes only to peers whose own has the same [`Scope`] or a narrower one; a stranger's counts as public.
    /// Not told: private peers, incompatible and banned ones, addresses that failed when last dialled (one through which we
    /// are connected did not), and the asker's own.
    #[must_use]
    pub fn advertise(&self, to: Option<NodeId>, limit: usize) -> Vec<NodeAddress> {
        let scope = to.map_or(Scope::Public, |to| self.scope_of(&to));
        let pivot = to.map_or(0, |to| draw(self.seed, "advertise", &to, 0));
        let mut told: Vec<NodeAddress> = Vec::new();
        let own = self.config.own_addresses.iter().filter(|address| address.scope() >= scope);
        told.extend(own.take(limit).cloned());
        for key in self.rotation(pivot).take(limit.saturating_add(SURPLUS_VISITS)) {
            if told.len() >= limit {
                break;
            }
            let Some(peer) = self.peers.get(key).filter(|peer| Some(peer.id) != to) else { continue };
            let tellable = peer.addresses.iter().filter(|known| {
                (known.failures == 0 || peer.is_connected_at(&known.place))
                    && known.place.scope() >= scope
                    && !self.is_banned(&peer.id, known.place.ip())
            });
            let addresses = tellable.map(|known| NodeAddress::new(peer.id, known.place.clone()));
            told.extend(addresses.take(limit - told.len()));
        }
        told
    }

    /// All peers that may be told: by merit, and within a merit in a circle that begins at `pivot`.
    ///
    /// The many of ordinary merit are found in the drawn order; the few others in an index of their own.
    fn rotation(&self, pivot: u64) -> impl Iterator<Item = Key> + '_ {
        let ordinary = Reverse(Merit::ORDINARY);
        let first = self.index.told.first().map(|key| key.0);
        let merits = std::iter::successors(first, |merit| {
            let merit = *merit;
            self.told_from(merit, u64::MAX).map(|key| key.0).find(|next| *next != merit)
        });
        let better = merits.clone().take_while(move |merit| *merit < ordinary);
        let worse = merits.skip_while(move |merit| *merit < ordinary);
        let of_merit = move |merit| {
            let upper = self.told_from(merit, pivot).take_while(move |key| key.0 == merit);
            let lower = self.told_from(merit, 0).take_while(move |key| key.0 == merit && key.1 < pivot);
            upper.chain(lower).map(|key| key.2)
        };
        better.flat_map(of_merit).chain(self.ordinary_from(pivot)).chain(worse.flat_map(of_merit))
    }

    /// Peers of ordinary merit that may be told, in a circle that begins at `pivot`.
    fn ordinary_from(&self, pivot: u64) -> impl Iterator<Item = Key> + '_ {
        let circle = self.index.by_order.range((pivot, Key::FIRST)..);
        let circle = circle.chain(self.index.by_order.range(..(pivot, Key::FIRST)));
        let tellable = |peer: &Peer| peer.is_ordinary() && peer.may_be_told();
        // Each look counts, or a store full of others would be walked through.
        let looks = circle.take(MAX_LOOKS).map(|(_, key)| *key);
        looks.filter(move |key| self.peers.get(*key).is_some_and(tellable))
    }

    /// Where a peer stood at the latest input; `None` if it is not stored.
    #[must_use]
    pub fn status(&self, peer: &NodeId) -> Option<Status> {
        let peer = self.peer(peer)?;
        let bad_points = peer.standing().bad.at(self.now, self.config.behaviour.halves_every);
        Some(match &peer.state {
            State::Idle(Wait::Held(hold)) => {
                Status::Idle { bad_points, hold: Some(*hold).filter(|hold| hold.until > self.now) }
            }
            State::Idle(Wait::Due | Wait::Parked(_)) => Status::Idle { bad_points, hold: None },
            State::Dialing(attempt) => Status::Dialing { bad_points, conn: attempt.seat.conn },
            State::Connected { live, dial } => Status::Connected {
                bad_points,
                conn: live.seat.conn,
                direction: live.direction,
                since: live.since,
                up: live.up,
                evicting: live.doom.as_ref().map(|doom| doom.why),
                dialing: dial.as_ref().map(|dial| dial.seat.conn),
            },
        })
    }

    /// The connection to a peer.
    #[must_use]
    pub fn connection(&self, peer: &NodeId) -> Option<ConnId> {
        self.peer(peer)?.live().map(|live| live.seat.conn)
    }

    /// All connections, oldest first, with their peers.
    pub fn connections(&self) -> impl Iterator<Item = (ConnId, NodeId)> + '_ {
        self.live_peers().map(|(_, peer, live)| (live.seat.conn, peer.id))
    }

    /// Whether a peer is stored.
    #[must_use]
    pub fn knows(&self, peer: &NodeId) -> bool {
        self.find(peer).is_some()
    }

    /// The addresses known of a peer, oldest first.
    pub fn addresses(&self, peer: &NodeId) -> impl Iterator<Item = NodeAddress> + '_ {
        let peer = self.peer(peer).into_iter();
        peer.flat_map(|peer| (0..peer.addresses.len()).filter_map(|at| peer.address_at(at)))
    }

    /// The grade of a peer: how much better than an unknown one it is, or worse. `None` if it is not stored.
    #[must_use]
    pub fn grade(&self, peer: &NodeId) -> Option<i8> {
        self.peer(peer).map(|peer| peer.rank.merit.grade)
    }

    /// What is in use.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let usage = &self.index.usage;
        let upgrades = |pool| usage.pool(pool).upgrades;
        Counts {
            outbound: usage.outbound.used,
            inbound: usage.inbound.used,
            unconditional: usage.unconditional,
            connected: usage.live,
            dialing: usage.dials,
            handshakes: usage.handshakes,
            upgrades: upgrades(PoolName::Outbound) + upgrades(PoolName::Inbound),
            stored: self.peers.len(),
        }
    }

    /// The index of peers that may be told, from a place on.
    fn told_from(&self, merit: Reverse<Merit>, order: u64) -> impl Iterator<Item = &ToldKey> {
        self.index.told.range((merit, order, Key::FIRST)..)
    }

    /// How far a peer's own address reaches: that of its connection, else the widest known.
    fn scope_of(&self, peer: &NodeId) -> Scope {
        let Some(peer) = self.peer(peer) else { return Scope::Public };
        let known = |peer: &Peer| peer.addresses.iter().map(|known| known.place.scope()).max();
        let live = |live: &Live| live.remote.scope();
        peer.live().map(live).or_else(|| known(peer)).unwrap_or(Scope::Public)
    }
}
