//! What is told: addresses to other peers, and the state of things to the operator.

use std::cmp::Reverse;
use std::time::Instant;

use super::PeerManager;
use super::backoff::Hold;
use super::index::ToldKey;
use super::manager::Entry;
use super::order::{Merit, draw};
use super::pools::PoolName;
use super::state::{EvictReason, Live, Peer, State};
use crate::address::{NodeAddress, Scope};
use crate::id::{ConnId, Direction, NodeId};

/// How many peers [`PeerManager::advertise`] looks at beyond its limit, at most, for others to tell of.
const SURPLUS_VISITS: usize = 64;

/// Where a peer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Neither connected nor dialled.
    Idle {
        /// What it did wrong, in points of its [`BehaviourConfig`](super::BehaviourConfig).
        score: u32,
        /// How long it is left alone, if it is.
        hold: Option<Hold>,
    },
    /// A dial is in flight.
    Dialing {
        /// What it did wrong, in points.
        score: u32,
        /// Which.
        conn: ConnId,
    },
    /// It is connected.
    Connected {
        /// What it did wrong, in points. At the limit it is evicted.
        score: u32,
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
    /// Not told: private peers, incompatible ones, addresses that failed when last dialled, and the asker's own.
    #[must_use]
    pub fn advertise(&self, to: Option<NodeId>, limit: usize) -> Vec<NodeAddress> {
        let scope = to.map_or(Scope::Public, |to| self.scope_of(&to));
        let pivot = to.map_or(0, |to| draw(self.seed, "advertise", &to, 0));
        let mut told: Vec<NodeAddress> = Vec::new();
        let own = self.config.own_addresses.iter().filter(|address| address.scope() >= scope);
        told.extend(own.take(limit).cloned());
        for id in self.rotation(pivot).take(limit.saturating_add(SURPLUS_VISITS)) {
            if told.len() >= limit {
                break;
            }
            let known = self.peers.get(&id).filter(|peer| Some(peer.id) != to);
            let addresses = known.into_iter().flat_map(|peer| &peer.addresses);
            let tellable = addresses.filter(|known| known.failures == 0 && known.address.scope() >= scope);
            told.extend(tellable.map(|known| known.address.clone()).take(limit - told.len()));
        }
        told
    }

    /// All peers that may be told: by class, and within a class in a circle that begins at `pivot`.
    fn rotation(&self, pivot: u64) -> impl Iterator<Item = NodeId> + '_ {
        let first = self.index.told.first().map(|key| key.0);
        let classes = std::iter::successors(first, |merit| {
            let merit = *merit;
            self.told_from(merit, u64::MAX).map(|key| key.0).find(|next| *next != merit)
        });
        classes.flat_map(move |merit| {
            let upper = self.told_from(merit, pivot).take_while(move |key| key.0 == merit);
            let lower = self.told_from(merit, 0).take_while(move |key| key.0 == merit && key.1 < pivot);
            upper.chain(lower).filter_map(|key| key.2)
        })
    }

    /// Where a peer stood at the latest input; `None` if it is not stored.
    #[must_use]
    pub fn status(&self, peer: &NodeId) -> Option<Status> {
        let peer = self.peers.get(peer)?;
        let score = peer.score.at(self.now, self.config.behaviour.halves_every);
        Some(match &peer.state {
            State::Idle { hold } => Status::Idle { score, hold: hold.filter(|hold| hold.until > self.now) },
            State::Dialing(attempt) => Status::Dialing { score, conn: attempt.seat.conn },
            State::Connected { live, dial } => Status::Connected {
                score,
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
        self.peers.get(peer)?.live().map(|live| live.seat.conn)
    }

    /// All connections, oldest first, with their peers.
    pub fn connections(&self) -> impl Iterator<Item = (ConnId, NodeId)> + '_ {
        self.conns.iter().filter_map(|(conn, entry)| match entry {
            Entry::Live(id) => Some((*conn, *id)),
            Entry::Dial(_) | Entry::Incoming(_) => None,
        })
    }

    /// Whether a peer is stored.
    #[must_use]
    pub fn knows(&self, peer: &NodeId) -> bool {
        self.peers.contains_key(peer)
    }

    /// The addresses known of a peer, oldest first.
    pub fn addresses(&self, peer: &NodeId) -> impl Iterator<Item = &NodeAddress> + '_ {
        self.peers.get(peer).into_iter().flat_map(|peer| &peer.addresses).map(|known| &known.address)
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
        self.index.told.range((merit, order, None)..)
    }

    /// How far a peer's own address reaches: that of its connection, else the widest known.
    fn scope_of(&self, peer: &NodeId) -> Scope {
        let Some(peer) = self.peers.get(peer) else { return Scope::Public };
        let known = |peer: &Peer| peer.addresses.iter().map(|known| known.address.scope()).max();
        let live = |live: &Live| live.remote.scope();
        peer.live().map(live).or_else(|| known(peer)).unwrap_or(Scope::Public)
    }
}
