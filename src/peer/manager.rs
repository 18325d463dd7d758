//! The state machine: its data, the store, and the drain.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::answer::{AddError, Output, PeerUpdate, Report, WakeReason, Wakeup};
use super::backoff::{Backoff, Hold, HoldReason};
use super::behaviour::Score;
use super::index::{Index, Keys, prune_key};
use super::order::Rank;
use super::pools::{PoolName, Usage};
use super::record::{AddressRecord, PeerRecord, Record, RecordKey, Source, WallTime};
use super::state::{Live, Peer, Seat, State};
use super::{Config, ConfigError};
use crate::address::{Endpoint, NodeAddress};
use crate::id::{ConnId, NodeId};

/// Decides whom to dial, whom to admit and whom to evict. See the [module](super) for how to drive it.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerManager {
    pub(super) config: Config,
    pub(super) seed: u64,
    /// The latest instant seen. An earlier one given to an input counts as this.
    pub(super) now: Instant,
    /// An instant, and the wall's clock at it.
    anchor: (Instant, WallTime),
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) conns: BTreeMap<ConnId, Entry>,
    pub(super) index: Index,
    pub(super) last_conn: u64,
    /// When the next upgrade of each pool may begin; `None` for at any time.
    pub(super) next_upgrade: [Option<Instant>; 2],
    /// At most two for each input since the last drain.
    updates: VecDeque<PeerUpdate>,
    /// Peers whose record changed since the last drain.
    dirty: BTreeSet<NodeId>,
    late_reports: u64,
    skipped_records: u64,
}

/// What an epoch stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entry {
    /// A dial in flight.
    Dial(NodeId),
    /// A handshake in progress.
    Incoming(Incoming),
    /// A connection.
    Live(NodeId),
}

/// An incoming connection whose peer has not proved its identity yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Incoming {
    pub(super) endpoint: Endpoint,
    /// Whether it holds a slot of the inbound pool.
    pub(super) reserved: bool,
}

impl Incoming {
    pub(super) fn usage(&self) -> Usage {
        let mut usage = Usage { handshakes: 1, excess: usize::from(!self.reserved), ..Usage::default() };
        usage.inbound.used = usize::from(self.reserved);
        usage
    }
}

impl PeerManager {
    /// Starts from a configuration, a seed, and the records that [`Output::Persist`] left in a store.
    ///
    /// A record of this node itself, one without a usable address, and one beyond the store's bound is skipped,
    /// counted ([`skipped_records`](Self::skipped_records)) and forgotten; surplus addresses are cut. Classes
    /// follow the new configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field that does not fit.
    pub fn new(
        config: Config,
        seed: u64,
        now: Instant,
        wall: WallTime,
        stored: impl IntoIterator<Item = Record>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut manager = Self {
            config,
            seed,
            now,
            anchor: (now, wall),
            peers: BTreeMap::new(),
            conns: BTreeMap::new(),
            index: Index::default(),
            last_conn: 0,
            next_upgrade: [None; 2],
            updates: VecDeque::new(),
            dirty: BTreeSet::new(),
            late_reports: 0,
            skipped_records: 0,
        };
        for record in stored {
            if let Record::Peer(record) = record {
                manager.restore(record);
            }
        }
        Ok(manager)
    }

    /// Takes up an address. Answers whether it is new.
    ///
    /// A full store gives up its worst idle peer for a better one, and a full list of addresses the one that
    /// failed most.
    ///
    /// # Errors
    ///
    /// [`AddError`]; nothing changed then.
    pub fn add(&mut self, address: NodeAddress, source: Source, now: Instant) -> Result<bool, AddError> {
        let id = address.id();
        if id == self.config.self_id {
            return Err(AddError::SelfAddress);
        }
        match self.peers.get(&id) {
            Some(peer) if peer.addresses.iter().any(|known| known.address == address) => return Ok(false),
            Some(peer) => {
                let gives_way = self.address_to_give_up(peer)?;
                self.tick(now);
                self.add_address(&id, AddressRecord { address, source, failures: 0 }, gives_way);
            }
            None => {
                let rank = Rank::of(&id, &self.config, self.seed);
                let gives_way = self.peer_to_give_up(&id, rank, 0)?;
                self.tick(now);
                gives_way.iter().for_each(|worst| self.forget(worst));
                self.store(id, rank);
                self.add_address(&id, AddressRecord { address, source, failures: 0 }, None);
            }
        }
        Ok(true)
    }

    /// Takes the next thing to carry out. Drain it after each input: updates come first, in order, then one
    /// change for each record that changed, however often it did.
    ///
    /// An input adds at most two updates and marks at most three records, so what is held between two
    /// drains is bounded by the inputs between them; records also by the size of the store.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(update) = self.updates.pop_front() {
            return Some(Output::Update(update));
        }
        let id = self.dirty.pop_first()?;
        Some(match self.peers.get(&id) {
            Some(peer) => Output::Persist(Record::Peer(peer.record())),
            None => Output::Forget(RecordKey::Peer(id)),
        })
    }

    /// When to look again, and why; `None` if only an input can change anything.
    ///
    /// Meant for after a drain. Before it, `at` is an instant that has passed: there is something to do now.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Wakeup> {
        if !self.index.evictions.is_empty() {
            return Some(Wakeup { at: self.now, why: WakeReason::Evict });
        }
        if self.index.usage.dials >= self.config.max_dials_in_flight {
            return None;
        }
        let hold = self.index.held.first().map(|&(at, id)| Wakeup { at, why: WakeReason::HoldEnds(id) });
        let dial = self.wake_for_due();
        [dial, hold].into_iter().flatten().min_by_key(|wakeup| wakeup.at)
    }

    /// When the best peer that is not under hold can be dialled.
    fn wake_for_due(&self) -> Option<Wakeup> {
        let pool = PoolName::Outbound;
        let (rank, _) = self.index.due.last()?;
        if self.seat_for(*rank, pool, self.now).is_some() {
            return Some(Wakeup { at: self.now, why: WakeReason::Dial });
        }
        if self.index.usage.pool(pool).upgrades >= self.config.upgrade_slots {
            return None;
        }
        let candidates = self.index.candidates(pool);
        let worst = candidates.victims.first().filter(|(worst, _)| worst.merit < rank.merit);
        let earliest = self.next_upgrade[pool as usize].unwrap_or(self.now);
        let at = match (worst, candidates.young.first()) {
            (Some(_), _) => earliest,
            (None, Some((until, _))) => earliest.max(*until),
            (None, None) => return None,
        };
        Some(Wakeup { at, why: WakeReason::Upgrade })
    }

    /// Reports about connections that were gone.
    #[must_use]
    pub fn late_reports(&self) -> u64 {
        self.late_reports
    }

    /// Stored records that could not be used.
    #[must_use]
    pub fn skipped_records(&self) -> u64 {
        self.skipped_records
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Moves time on, and with it whatever waited for that: each entry costs O(log n), once.
    pub(super) fn mature(&mut self, now: Instant) -> Instant {
        let now = self.tick(now);
        while let Some(&(until, id)) = self.index.held.first()
            && until <= now
        {
            self.update(&id, |peer| peer.state = State::Idle { hold: None });
        }
        for pool in [PoolName::Outbound, PoolName::Inbound] {
            while let Some(&(until, id)) = self.index.candidates(pool).young.first()
                && until <= now
            {
                self.update_live(&id, |live| live.young_until = None);
            }
        }
        now
    }

    /// Time never runs backwards here.
    pub(super) fn tick(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    pub(super) fn mint(&mut self) -> ConnId {
        self.last_conn += 1;
        ConnId::new(self.last_conn)
    }

    pub(super) fn backoff(&self) -> Backoff<'_> {
        Backoff { config: &self.config, seed: self.seed }
    }

    pub(super) fn late(&mut self) -> Report {
        self.late_reports = self.late_reports.saturating_add(1);
        Report::Late
    }

    pub(super) fn emit(&mut self, update: PeerUpdate) {
        debug_assert!(self.updates.len() < 1 << 16, "the drain contract: poll_output after each input");
        self.updates.push_back(update);
    }

    /// Has the record of a peer written at the next drain. One without an address is not worth a row.
    pub(super) fn touch(&mut self, id: &NodeId) {
        if self.peers.get(id).is_some_and(|peer| !peer.addresses.is_empty()) {
            self.dirty.insert(*id);
        }
    }

    /// Changes a peer, and the index with it. The only way to change one.
    pub(super) fn update<T>(&mut self, id: &NodeId, change: impl FnOnce(&mut Peer) -> T) -> Option<T> {
        let peer = self.peers.get_mut(id)?;
        let old = Keys::of(peer);
        let answer = change(peer);
        let new = Keys::of(peer);
        self.index.change(&old, &new);
        Some(answer)
    }

    pub(super) fn update_live<T>(&mut self, id: &NodeId, change: impl FnOnce(&mut Live) -> T) -> Option<T> {
        self.update(id, |peer| peer.live_mut().map(change)).flatten()
    }

    /// Changes the seat of a connection or a dial that has the epoch `conn`.
    pub(super) fn update_seat(&mut self, conn: ConnId, change: impl FnOnce(&mut Seat)) {
        if let Some(Entry::Dial(id) | Entry::Live(id)) = self.conns.get(&conn).cloned() {
            self.update(&id, |peer| peer.seat_mut(conn).map(change));
        }
    }

    /// Stores a peer of which nothing is known. The caller has made room.
    pub(super) fn store(&mut self, id: NodeId, rank: Rank) {
        let peer = Peer {
            id,
            rank,
            protected: self.config.is_protected(&id),
            private: self.config.private.contains(&id),
            addresses: Vec::new(),
            failures: 0,
            incompatible: false,
            score: Score::default(),
            state: State::Idle { hold: None },
        };
        self.index.change(&Keys::default(), &Keys::of(&peer));
        self.peers.insert(id, peer);
    }

    /// Drops an idle peer.
    pub(super) fn forget(&mut self, id: &NodeId) {
        self.touch(id);
        if let Some(peer) = self.peers.remove(id) {
            self.index.change(&Keys::of(&peer), &Keys::default());
        }
    }

    /// Whom a full store would drop for a newcomer of this rank; `None` if there is room.
    fn peer_to_give_up(&self, id: &NodeId, rank: Rank, failures: u32) -> Result<Option<NodeId>, AddError> {
        if self.peers.len() < self.config.max_peers {
            return Ok(None);
        }
        let worst = self.index.prunable.first().ok_or(AddError::StoreFull)?;
        let newcomer = prune_key(rank, failures, *id);
        let wanted = self.config.is_protected(id) || *worst < newcomer;
        if wanted { Ok(Some(worst.3)) } else { Err(AddError::StoreFull) }
    }

    /// Which address of a peer gives way to a new one; `None` if there is room.
    fn address_to_give_up(&self, peer: &Peer) -> Result<Option<usize>, AddError> {
        if peer.addresses.len() < self.config.max_addresses_per_peer {
            return Ok(None);
        }
        let failed = |known: &AddressRecord| known.failures > 0 && known.source != Source::Operator;
        let candidates = peer.addresses.iter().enumerate().filter(|(_, known)| failed(known));
        candidates
            .max_by_key(|(_, known)| known.failures)
            .map(|(position, _)| Some(position))
            .ok_or(AddError::TooManyAddresses)
    }

    fn add_address(&mut self, id: &NodeId, record: AddressRecord, gives_way: Option<usize>) {
        self.update(id, |peer| {
            if let Some(position) = gives_way {
                peer.addresses.remove(position);
            }
            let by_operator = record.source == Source::Operator;
            peer.addresses.push(record);
            if let State::Idle { hold } = &mut peer.state
                && by_operator
            {
                *hold = hold.filter(|hold| hold.why == HoldReason::Cooldown);
            }
        });
        self.touch(id);
    }

    fn restore(&mut self, mut record: PeerRecord) {
        let id = record.id;
        record.addresses.retain(|known| known.address.id() == id);
        record.addresses.truncate(self.config.max_addresses_per_peer);
        let rank = Rank::of(&id, &self.config, self.seed);
        let unusable =
            id == self.config.self_id || record.addresses.is_empty() || self.peers.contains_key(&id);
        let room = if unusable {
            Err(AddError::StoreFull)
        } else {
            self.peer_to_give_up(&id, rank, record.failures)
        };
        let Ok(gives_way) = room else {
            self.skipped_records = self.skipped_records.saturating_add(1);
            self.dirty.insert(id);
            return;
        };
        gives_way.iter().for_each(|worst| self.forget(worst));
        self.store(id, rank);
        let hold = record.incompatible.then(|| self.restored_hold(&id, record.failures));
        self.update(&id, |peer| {
            peer.addresses = record.addresses;
            peer.failures = record.failures;
            peer.incompatible = record.incompatible;
            peer.state = State::Idle { hold };
        });
    }

    fn restored_hold(&self, id: &NodeId, failures: u32) -> Hold {
        self.backoff().restored(id, failures, self.now)
    }
}
