//! What must hold after every operation, recomputed from scratch.
//!
//! 1. Every epoch stands for one dial, handshake or connection; no peer is connected and dialled, but for an
//!    incoming connection while its dial is in flight.
//! 2. No more connections stay than their pool's limit allows; dials and handshakes keep their limits.
//! 3. Whatever is connected, or to be evicted, is a live connection.
//! 4. Each upgrade has one claimant and one connected victim.
//! 6. This node itself is not stored, so it is never dialled. (That nobody is dialled too early, and nobody banned is
//!    told, `model::drive` checks.)
//! 7. The store, the bans and each list of addresses keep their bounds.
//! 8. Indexes and counts equal what the peers alone give, and whatever a peer is parked for is there or noted as gone.
//!
//! The others are about sequences of calls; `model::drive` holds the manager to them:
//!
//! 5. Of each peer, up and down alternate; the updates from the start on give who is up.
//! 9. A call that failed changed nothing but time.
//! 10. With a free slot and somebody to dial, a dial is dispensed at once, and nothing comes due before the next wake-up.
//! 11. The same inputs at the same times from the same seed give the same outputs.
//! 12. No input panics, in any order.

use std::collections::BTreeMap;

use super::PeerManager;
use super::arena::Key;
use super::index::{Index, Keys};
use super::manager::Entry;
use super::parking::parked_keys;
use super::pools::PoolName;
use super::record::Source;
use super::state::{Live, Peer, Seat, State};
use crate::id::{ConnId, Direction, NodeId};

/// A law is broken: a fault of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant {number} is broken: {what}")]
pub struct InvariantViolation {
    /// Its number in the list above the code.
    pub number: u8,
    /// What was found.
    pub what: String,
}

fn law(number: u8, holds: bool, what: impl FnOnce() -> String) -> Result<(), InvariantViolation> {
    if holds { Ok(()) } else { Err(InvariantViolation { number, what: what() }) }
}

impl PeerManager {
    /// Checks every law that a state can be held to. Costs a full scan: for tests and fuzzers.
    ///
    /// # Errors
    ///
    /// [`InvariantViolation`] names the first law that is broken.
    pub fn check_invariants(&self) -> Result<(), InvariantViolation> {
        self.check_index()?;
        self.check_pools()?;
        self.check_store()?;
        self.check_parked()?;
        for (conn, entry) in &self.conns {
            self.check_entry(*conn, entry)?;
        }
        self.peers.iter().try_for_each(|(key, peer)| self.check_peer(key, peer))
    }

    fn check_index(&self) -> Result<(), InvariantViolation> {
        let mut fresh = Index::default();
        for (key, peer) in self.peers.iter() {
            fresh.change(&Keys::default(), &Keys::of(key, peer));
            fresh.parked.extend(parked_keys(key, peer));
            for known in &peer.addresses {
                fresh.groups.count_stored(self.group_of(known), true);
            }
        }
        for entry in self.conns.values() {
            if let Entry::Incoming(incoming) = entry {
                fresh.usage.add(&incoming.usage());
                fresh.groups.count_connected(incoming.group, Direction::Inbound, true);
            }
        }
        law(8, fresh.groups.agrees(&self.index.groups), || "the counts of groups are wrong".into())?;
        fresh.groups.clone_from(&self.index.groups);
        law(8, fresh == self.index, || format!("the index is {:?}, not {fresh:?}", self.index))
    }

    fn check_pools(&self) -> Result<(), InvariantViolation> {
        let usage = &self.index.usage;
        for pool in [PoolName::Outbound, PoolName::Inbound] {
            let staying = self
                .live_peers()
                .filter(|(_, _, live)| live.seat.slot.pool() == Some(pool) && live.doom.is_none());
            let staying = staying.count();
            let within = self.config.limit(pool).number().is_none_or(|limit| staying <= limit);
            law(2, within, || format!("{pool:?}: {staying} connections stay"))?;
            let upgrades = usage.pool(pool).upgrades;
            law(2, upgrades <= self.most_upgrade_slots, || format!("{pool:?}: {upgrades} upgrades"))?;
        }
        law(2, usage.dials <= self.config.max_dials_in_flight, || format!("{} dials", usage.dials))?;
        let handshakes = usage.handshakes <= self.config.max_inbound_handshakes
            && usage.excess <= self.config.max_excess_handshakes;
        law(2, handshakes, || format!("{} handshakes", usage.handshakes))
    }

    fn check_store(&self) -> Result<(), InvariantViolation> {
        law(7, self.peers.len() <= self.config.max_peers, || format!("{} peers", self.peers.len()))?;
        law(6, !self.knows(&self.config.self_id), || "this node is stored".into())?;
        law(7, self.bans.len() <= self.config.max_bans, || format!("{} bans", self.bans.len()))?;
        let mut told: BTreeMap<NodeId, usize> = BTreeMap::new();
        for known in self.peers.values().flat_map(|peer| &peer.addresses) {
            if let Source::Gossip { from } = self.sources.source(known.source) {
                *told.entry(from).or_default() += 1;
            }
        }
        let counted: BTreeMap<NodeId, usize> = self.sources.counts().collect();
        law(8, counted == told, || format!("sources told {told:?}, not {counted:?}"))
    }

    fn check_parked(&self) -> Result<(), InvariantViolation> {
        let mut parked = self.index.parked.iter().map(|(blocker, _)| *blocker);
        let unfounded =
            parked.find(|blocker| !self.is_in_the_way(*blocker) && !self.lifted.contains(blocker));
        law(8, unfounded.is_none(), || format!("somebody is parked for {unfounded:?}"))
    }

    /// Every epoch stands for what its peer says.
    fn check_entry(&self, conn: ConnId, entry: &Entry) -> Result<(), InvariantViolation> {
        let found = match entry {
            Entry::Incoming(_) => true,
            Entry::Dial(key) => {
                self.peers.get(*key).and_then(Peer::dial).is_some_and(|dial| dial.seat.conn == conn)
            }
            Entry::Live(key) => {
                self.peers.get(*key).and_then(Peer::live).is_some_and(|live| live.seat.conn == conn)
            }
        };
        let minted = conn.as_u64() <= self.last_conn;
        law(1, found && minted, || format!("{conn} stands for nothing: {entry:?}"))
    }

    fn check_peer(&self, key: Key, peer: &Peer) -> Result<(), InvariantViolation> {
        let bounded = peer.addresses.len() <= self.config.max_addresses_per_peer;
        law(7, bounded, || format!("addresses of {:?}", peer.id))?;
        law(8, self.find(&peer.id) == Some(key), || format!("{:?} is not found", peer.id))?;
        if let Some(dial) = peer.dial() {
            let known = self.conns.get(&dial.seat.conn) == Some(&Entry::Dial(key));
            law(1, known, || format!("{} is no dial", dial.seat.conn))?;
            self.check_claim(dial.seat)?;
        }
        if let Some(live) = peer.live() {
            let known = self.conns.get(&live.seat.conn) == Some(&Entry::Live(key));
            law(3, known, || format!("{} is no connection", live.seat.conn))?;
            self.check_claim(live.seat)?;
            self.check_victim(key, peer, live)?;
        }
        if let State::Connected { live, dial: Some(dial) } = &peer.state {
            let stated = live.direction == Direction::Inbound && live.seat.conn != dial.seat.conn;
            law(1, stated, || format!("{:?} is connected and dialled", peer.id))?;
        }
        Ok(())
    }

    /// Whose place a seat takes, that one knows it.
    fn check_claim(&self, seat: Seat) -> Result<(), InvariantViolation> {
        let Some(victim) = seat.victim else { return Ok(()) };
        let live = self.peers.get(victim).and_then(Peer::live);
        let mutual = live.is_some_and(|live| live.claimant == Some(seat.conn) && live.seat.slot == seat.slot);
        law(4, mutual, || format!("{} claims {victim:?}, which is not so", seat.conn))
    }

    /// Who takes the place of a connection still means to.
    fn check_victim(&self, key: Key, peer: &Peer, live: &Live) -> Result<(), InvariantViolation> {
        let Some(claimant) = live.claimant else { return Ok(()) };
        let by = match self.conns.get(&claimant) {
            Some(Entry::Dial(by) | Entry::Live(by)) => self.peers.get(*by).cloned(),
            _ => None,
        };
        let seat = by.and_then(|mut by| by.seat_mut(claimant).copied());
        let mutual = seat.is_some_and(|seat| seat.victim == Some(key));
        law(4, mutual, || format!("{:?} is claimed by nobody", peer.id))
    }
}
