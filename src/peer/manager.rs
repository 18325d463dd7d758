//! The state machine: its data, its time, and the drain.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::answer::{Output, PeerUpdate, Report, WakeReason, Wakeup};
use super::arena::{Arena, Key};
use super::backoff::{Backoff, later};
use super::bans::Bans;
use super::groups::Group;
use super::index::{Index, Keys};
use super::order::order_of;
use super::parking::Blocker;
use super::pools::{PoolName, Usage};
use super::record::{Record, RecordKey, WallTime};
use super::sources::Sources;
use super::state::{Live, Peer, Seat, State, Wait};
use super::{Config, ConfigError};
use crate::address::Endpoint;
use crate::id::{ConnId, NodeId};

/// Decides whom to dial, whom to admit and whom to evict. See the [module](super) for how to drive it.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerManager {
    pub(super) config: Config,
    pub(super) seed: u64,
    /// The latest instant seen. An earlier one given to an input counts as this.
    pub(super) now: Instant,
    /// An instant, and what the wall's clock said then. Records alone are written by it.
    anchor: (Instant, WallTime),
    pub(super) peers: Arena<Peer>,
    pub(super) conns: BTreeMap<ConnId, Entry>,
    pub(super) index: Index,
    /// What is gone, of which some who were parked for it are not back in the line yet.
    pub(super) lifted: BTreeSet<Blocker>,
    pub(super) bans: Bans,
    pub(super) sources: Sources,
    pub(super) last_conn: u64,
    /// When the next place of each pool may be taken over; `None` for at any time.
    pub(super) next_upgrade: [Option<Instant>; 2],
    /// When a place of the outbound pool is given anew.
    pub(super) next_rotation: Option<Instant>,
    /// The most upgrade slots there ever were: what began with them may still go on.
    pub(super) most_upgrade_slots: usize,
    /// At most two for each input since the last drain.
    updates: VecDeque<PeerUpdate>,
    /// Records that changed since the last drain.
    dirty: BTreeSet<RecordKey>,
    late_reports: u64,
    pub(super) skipped_records: u64,
}

/// What an epoch stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entry {
    /// A dial in flight.
    Dial(Key),
    /// A handshake in progress.
    Incoming(Incoming),
    /// A connection.
    Live(Key),
}

/// An incoming connection whose peer has not proved its identity yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Incoming {
    pub(super) endpoint: Endpoint,
    /// Whether it holds a slot of the inbound pool.
    pub(super) reserved: bool,
    pub(super) group: Option<Group>,
}

impl Incoming {
    pub(super) fn usage(&self) -> Usage {
        let mut usage = Usage { handshakes: 1, excess: usize::from(!self.reserved), ..Usage::default() };
        usage.inbound.used = usize::from(self.reserved);
        usage
    }
}

impl PeerManager {
    /// Starts from a configuration, a seed, what two clocks say, and the records that [`Output::Persist`] left in a
    /// store.
    ///
    /// `wall` is the wall's clock at `now`: records tell times by it, and nothing else is timed by it. Skipped, counted
    /// ([`skipped_records`](Self::skipped_records)) and forgotten are a record of this node itself, one without a usable
    /// address, the second of one peer, a ban that is over, and whatever is beyond a bound: of too many peers the worst
    /// go. Surplus addresses are cut. Classes follow the new configuration.
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
            seed,
            now,
            anchor: (now, wall),
            peers: Arena::default(),
            conns: BTreeMap::new(),
            index: Index::default(),
            lifted: BTreeSet::new(),
            bans: Bans::default(),
            sources: Sources::default(),
            last_conn: 0,
            next_upgrade: [None; 2],
            next_rotation: config.rotate_every.map(|every| later(now, every)),
            most_upgrade_slots: config.upgrade_slots,
            updates: VecDeque::new(),
            dirty: BTreeSet::new(),
            late_reports: 0,
            skipped_records: 0,
            config,
        };
        manager.restore(stored);
        Ok(manager)
    }

    /// Brings time up to `now`: holds, bans and stays end, grades change. Every input does that by itself; a failing
    /// one changes nothing but that.
    pub fn advance(&mut self, now: Instant) {
        self.mature(now);
    }

    /// Takes the next thing to carry out. Drain it after each input: updates come first, in order, then one
    /// change for each record that changed, however often it did.
    ///
    /// An input adds at most two updates and, unless it moves time or changes a ban, marks at most three records, so
    /// what is held between two drains is bounded by the inputs between them; records also by the size of the store.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(update) = self.updates.pop_front() {
            return Some(Output::Update(update));
        }
        let key = self.dirty.pop_first()?;
        let record = match &key {
            RecordKey::Peer(id) => {
                self.record(id).filter(|record| !record.addresses.is_empty()).map(Record::Peer)
            }
            RecordKey::Ban(target) => {
                self.bans.get(target).map(|ban| Record::Ban(self.ban_record(*target, ban)))
            }
        };
        Some(record.map_or(Output::Forget(key), Output::Persist))
    }

    /// When to look again, and why; `None` if only an input can change anything.
    ///
    /// Meant for after a drain. Before it, `at` is an instant that has passed: there is something to do now. It may
    /// come early, and nothing be to do then: each time at which something could come free is one.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Wakeup> {
        if !self.index.evictions.is_empty() {
            return Some(Wakeup { at: self.now, why: WakeReason::Evict });
        }
        let leaving =
            self.index.leaving.first().map(|&(at, conn)| Wakeup { at, why: WakeReason::TimeIsUp(conn) });
        let ban = self.bans.next_end().map(|(at, target)| Wakeup { at, why: WakeReason::BanEnds(target) });
        let regrade = self.index.regrades.first().map(|&(at, key)| (at, key));
        let regrade = regrade
            .and_then(|(at, key)| Some(Wakeup { at, why: WakeReason::Regrade(self.peers.get(key)?.id) }));
        let timers = [leaving, ban, regrade, self.wake_to_dial()];
        timers.into_iter().flatten().min_by_key(|wakeup| wakeup.at)
    }

    /// When somebody may be dialled.
    fn wake_to_dial(&self) -> Option<Wakeup> {
        if self.index.usage.dials >= self.config.max_dials_in_flight {
            return None;
        }
        if self.next_to_dial().is_some() || !self.lifted.is_empty() {
            return Some(Wakeup { at: self.now, why: WakeReason::Dial });
        }
        let hold =
            self.index.held.first().and_then(|&(at, key)| {
                Some(Wakeup { at, why: WakeReason::HoldEnds(self.peers.get(key)?.id) })
            });
        let waiting = !self.index.due.is_empty();
        let young = self.index.outbound.young.first().map(|(until, _)| *until);
        let permit = self.next_upgrade[PoolName::Outbound as usize];
        let instants = [young, permit, self.next_rotation].into_iter().flatten();
        let place = instants.filter(|at| waiting && *at > self.now).min();
        let place = place.map(|at| Wakeup { at, why: WakeReason::Upgrade });
        [hold, place].into_iter().flatten().min_by_key(|wakeup| wakeup.at)
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

    /// Moves time on, and with it whatever waited for that: each entry costs O(log n), once. Time never runs backwards
    /// here.
    pub(super) fn mature(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        let now = self.now;
        while let Some(&(until, key)) = self.index.held.first()
            && until <= now
        {
            self.update(key, |peer| peer.state = State::Idle(Wait::Due));
        }
        self.mature_bans(now);
        for pool in [PoolName::Outbound, PoolName::Inbound] {
            while let Some(&(until, key)) = self.index.candidates(pool).young.first()
                && until <= now
            {
                self.update_live(key, |live| live.young_until = None);
            }
        }
        self.mature_stays(now);
        while let Some(&(at, key)) = self.index.regrades.first()
            && at <= now
        {
            self.regrade(key);
            self.forget_if_unreachable(key);
        }
        now
    }

    /// Works out a peer's grade anew, and when that may change by itself.
    pub(super) fn regrade(&mut self, key: Key) {
        let (now, behaviour) = (self.now, self.config.behaviour.clone());
        self.update(key, |peer| {
            let since = peer.live().map(|live| live.since);
            let standing = peer.standing();
            peer.rank.merit.grade = standing.grade(since, now, &behaviour);
            if let Some(history) = &mut peer.history {
                history.regrade_at = standing.next_change(since, now, &behaviour);
            }
        });
    }

    /// The wall's clock at an instant. It moves as time does here, so it never leaps.
    pub(super) fn wall_at(&self, at: Instant) -> WallTime {
        let (anchor, wall) = self.anchor;
        match at.checked_duration_since(anchor) {
            Some(after) => wall.plus(after),
            None => wall.minus(anchor.saturating_duration_since(at)),
        }
    }

    /// How long it is until a time on the wall's clock; zero if it has passed.
    pub(super) fn until_wall(&self, at: WallTime) -> Duration {
        at.since(self.wall_at(self.now))
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

    /// Has a record written, or deleted, at the next drain.
    pub(super) fn mark(&mut self, key: RecordKey) {
        self.dirty.insert(key);
    }

    /// Has the record of a peer written. One without an address is not worth a row.
    pub(super) fn touch(&mut self, key: Key) {
        if let Some(peer) = self.peers.get(key).filter(|peer| !peer.addresses.is_empty()) {
            self.dirty.insert(RecordKey::Peer(peer.id));
        }
    }

    /// Where a peer is stored.
    pub(super) fn find(&self, id: &NodeId) -> Option<Key> {
        self.find_ordered(id, order_of(id, self.seed))
    }

    /// The same, if its place in the drawn order is known already.
    pub(super) fn find_ordered(&self, id: &NodeId, order: u64) -> Option<Key> {
        let mut found = self.index.by_order.range((order, Key::FIRST)..=(order, Key::LAST));
        found.find(|(_, key)| self.peers.get(*key).is_some_and(|peer| peer.id == *id)).map(|(_, key)| *key)
    }

    pub(super) fn peer(&self, id: &NodeId) -> Option<&Peer> {
        self.find(id).and_then(|key| self.peers.get(key))
    }

    /// All connections, oldest first.
    pub(super) fn live_peers(&self) -> impl Iterator<Item = (Key, &Peer, &Live)> {
        self.conns.values().filter_map(|entry| match entry {
            Entry::Live(key) => self.peers.get(*key).and_then(|peer| Some((*key, peer, peer.live()?))),
            Entry::Dial(_) | Entry::Incoming(_) => None,
        })
    }

    /// Changes a peer, and the index with it. The only way to change one.
    pub(super) fn update<T>(&mut self, key: Key, change: impl FnOnce(&mut Peer) -> T) -> Option<T> {
        let peer = self.peers.get_mut(key)?;
        let old = Keys::of(key, peer);
        let answer = change(peer);
        if let Some(live) = peer.live_mut() {
            // Its youth may have ended while it was claimed or protected, and no index held it.
            live.young_until = live.young_until.filter(|until| *until > self.now);
        }
        let new = Keys::of(key, peer);
        self.index.change(&old, &new);
        self.release_groups(&old);
        Some(answer)
    }

    pub(super) fn update_live<T>(&mut self, key: Key, change: impl FnOnce(&mut Live) -> T) -> Option<T> {
        self.update(key, |peer| peer.live_mut().map(change)).flatten()
    }

    /// Changes the seat of a connection or a dial that has the epoch `conn`.
    pub(super) fn update_seat(&mut self, conn: ConnId, change: impl FnOnce(&mut Seat)) {
        if let Some(Entry::Dial(key) | Entry::Live(key)) = self.conns.get(&conn) {
            self.update(*key, |peer| peer.seat_mut(conn).map(change));
        }
    }

    /// A connection may have left its address group: whoever waited for that is back in the line.
    pub(super) fn release_groups(&mut self, old: &Keys) {
        for group in old.outbound_groups().into_iter().flatten() {
            if self.has_outbound_room(group) {
                self.lift_blocker(Blocker::Group(group));
                self.release();
            }
        }
    }
}
