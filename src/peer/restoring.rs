//! A manager taken up again from what its store remembers.
//!
//! Records are read once, in the order in which they come: a million of them lie in memory as the store read them, and
//! every other order would wait for memory at each. What needs an order of its own, the index, is built afterwards.

use std::time::Duration;

use super::PeerManager;
use super::arena::Key;
use super::backoff::{Hold, later};
use super::config::MAX_DURATION;
use super::groups::Group;
use super::index::Keys;
use super::order::order_of;
use super::record::{AddressRecord, HoldRecord, PeerRecord, PointsRecord, Record, Source};
use super::standing::{Points, Standing};
use super::state::{Address, Peer, State, Wait};
use crate::id::NodeId;

impl PeerManager {
    /// Takes up what a store remembers. Of two records of one peer the first counts; limits of groups and sources go by
    /// the order of the records, and a full store gives up the worst of all of them.
    pub(super) fn restore(&mut self, stored: impl IntoIterator<Item = Record>) {
        for record in stored {
            let key = record.key();
            let restored = match record {
                Record::Ban(record) => self.restore_ban(&record),
                Record::Peer(record) => self.restore_peer(&record),
            };
            if !restored {
                self.skipped_records = self.skipped_records.saturating_add(1);
                self.mark(key);
            }
        }
        self.index_restored();
        while self.peers.len() > self.config.max_peers
            && let Some(worst) = self.index.most_prunable()
        {
            self.skipped_records = self.skipped_records.saturating_add(1);
            self.forget(worst.4);
        }
    }

    /// Enters all peers into the index in the drawn order, which fills it from one end.
    fn index_restored(&mut self) {
        let mut line: Vec<(u64, Key)> = self.peers.iter().map(|(key, peer)| (peer.rank.order, key)).collect();
        line.sort_unstable();
        for (order, key) in line {
            let Some(peer) = self.peers.get(key) else { continue };
            if self.find_ordered(&peer.id, order).is_some() {
                self.drop_second(key);
                continue;
            }
            let met = peer.history.is_some();
            self.index.change(&Keys::default(), &Keys::of(key, peer));
            if met {
                self.regrade(key);
            }
        }
    }

    /// Drops what the second record of a peer said.
    fn drop_second(&mut self, key: Key) {
        self.touch(key);
        let Some(peer) = self.peers.remove(key) else { return };
        peer.addresses.iter().for_each(|known| self.discount(known));
        self.skipped_records = self.skipped_records.saturating_add(1);
    }

    /// Stores a peer that a store remembers, outside the index. Answers whether anything of it could be used.
    fn restore_peer(&mut self, record: &PeerRecord) -> bool {
        let id = record.id;
        if id == self.config.self_id {
            return false;
        }
        let mut peer = Peer::new(id, order_of(&id, self.seed), &self.config);
        peer.addresses = self.restored_addresses(&id, &record.addresses);
        if peer.addresses.is_empty() {
            return false;
        }
        peer.failures = record.failures;
        peer.incompatible = record.incompatible;
        let standing = self.restored_standing(record);
        if standing != Standing::default() {
            *peer.standing_mut() = standing;
            peer.rank.merit.grade = standing.grade(None, self.now, &self.config.behaviour);
        }
        if let Some(hold) = record.hold.and_then(|hold| self.restored_hold(&id, record.failures, hold)) {
            peer.state = State::Idle(Wait::Held(hold));
        }
        self.peers.insert(peer);
        true
    }

    /// The addresses of a record that are the peer's own and within all limits, counted.
    fn restored_addresses(&mut self, id: &NodeId, stored: &[AddressRecord]) -> Vec<Address> {
        let most = self.config.max_addresses_per_peer;
        let mut usable: Vec<Address> = Vec::with_capacity(stored.len().min(most));
        for known in stored {
            let place = known.address.place();
            let twice = usable.iter().any(|other| other.place == *place);
            if known.address.id() == *id && !twice && usable.len() < most {
                usable.extend(self.restored_address(known));
            }
        }
        usable
    }

    fn restored_address(&mut self, known: &AddressRecord) -> Option<Address> {
        if let Source::Gossip { from } = known.source
            && !self.config.max_addresses_per_source.is_above(self.sources.told_by(&from))
        {
            return None;
        }
        let (place, failures) = (known.address.place().clone(), known.failures);
        let ip = place.ip().filter(|_| known.source != Source::Operator);
        if let Some(group) = ip.and_then(|ip| Group::of(ip, &self.config.groups))
            && !self.index.groups.store_within(group, self.config.groups.max_stored)
        {
            return None;
        }
        Some(Address { place, source: self.sources.add(known.source), failures })
    }

    fn restored_standing(&self, record: &PeerRecord) -> Standing {
        let stored = &record.standing;
        let points = |stored: Option<PointsRecord>, most: u32| {
            let Some(PointsRecord { points, since }) = stored else { return Points::default() };
            let age = self.wall_at(self.now).since(since);
            Points::aged(points.min(most), age, self.now, self.config.behaviour.halves_every)
        };
        let latency = stored.latency.map(|took| u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        let offers = record.offers.as_ref().map(|offers| self.offers_mask(|wants| offers.contains(wants)));
        Standing {
            bad: points(stored.bad, self.config.behaviour.limit),
            good: points(stored.good, u32::MAX),
            uptime: stored.uptime.min(MAX_DURATION),
            latency_us: latency,
            offers,
        }
    }

    /// What is left of a hold: no more than the policy itself would give.
    fn restored_hold(&self, id: &NodeId, failures: u32, hold: HoldRecord) -> Option<Hold> {
        let left = self.until_wall(hold.until).min(self.backoff().longest(id, failures, hold.why));
        (left > Duration::ZERO).then(|| Hold { until: later(self.now, left), why: hold.why })
    }
}
