//! What is known of peers: addresses taken up, records restored, the worst forgotten.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::PeerManager;
use super::answer::AddError;
use super::arena::Key;
use super::backoff::HoldReason;
use super::groups::Group;
use super::index::{Keys, prune_key};
use super::order::order_of;
use super::record::{AddressRecord, HoldRecord, PeerRecord, PointsRecord, Source, StandingRecord};
use super::sources::SourceKey;
use super::standing::{Points, Standing};
use super::state::{Address, Peer, State, Wait};
use crate::address::NodeAddress;
use crate::id::NodeId;

impl PeerManager {
    /// Takes up an address. Answers whether it is new.
    ///
    /// A full store gives up its worst idle peer for a better one, and a full list of addresses the one that
    /// failed most. An address that the operator names counts towards no limit but those two, even if somebody else
    /// named it first.
    ///
    /// # Errors
    ///
    /// [`AddError`]; nothing changed then.
    pub fn add(&mut self, address: &NodeAddress, source: Source, now: Instant) -> Result<bool, AddError> {
        self.mature(now);
        let id = address.id();
        if id == self.config.self_id {
            return Err(AddError::SelfAddress);
        }
        let ip = address.place().ip();
        if self.is_banned(&id, ip) {
            return Err(AddError::Banned);
        }
        let order = order_of(&id, self.seed);
        let found = self.find_ordered(&id, order);
        let known = found.and_then(|key| self.peers.get(key));
        if let Some(key) = found
            && known.is_some_and(|peer| peer.knows_address(address))
        {
            if source == Source::Operator {
                self.vouch_for(key, address);
            }
            return Ok(false);
        }
        let address_gives_way = known.map_or(Ok(None), |peer| self.address_to_give_up(peer))?;
        self.check_limits(ip, source)?;
        let key = match found {
            Some(key) => key,
            None => self.store(Peer::new(id, order, &self.config))?,
        };
        self.add_address(key, address, source, address_gives_way);
        Ok(true)
    }

    /// Stores a peer; a full store gives up another one for it.
    fn store(&mut self, peer: Peer) -> Result<Key, AddError> {
        let gives_way = self.peer_to_give_up(&peer)?;
        gives_way.into_iter().for_each(|worst| self.forget(worst));
        Ok(self.insert(peer))
    }

    /// Stores a peer for which there is room.
    pub(super) fn insert(&mut self, peer: Peer) -> Key {
        let key = self.peers.insert(peer);
        if let Some(peer) = self.peers.get(key) {
            self.index.change(&Keys::default(), &Keys::of(key, peer));
        }
        key
    }

    /// Drops an idle peer.
    pub(super) fn forget(&mut self, key: Key) {
        self.unpark(key);
        self.touch(key);
        let Some(peer) = self.peers.remove(key) else { return };
        self.index.change(&Keys::of(key, &peer), &Keys::default());
        peer.addresses.iter().for_each(|known| self.discount(known));
    }

    /// Whom a full store would drop for a newcomer; `None` if there is room.
    fn peer_to_give_up(&self, newcomer: &Peer) -> Result<Option<Key>, AddError> {
        if self.peers.len() < self.config.max_peers {
            return Ok(None);
        }
        let worst = self.index.most_prunable().ok_or(AddError::StoreFull)?;
        // It comes with its first address.
        let place = prune_key(Key::LAST, newcomer, true);
        if newcomer.roles.kept || worst < place { Ok(Some(worst.4)) } else { Err(AddError::StoreFull) }
    }

    /// Whom a full store drops for somebody who is connected: the worst idle peer, whoever that is.
    pub(super) fn stranger_to_give_up(&self) -> Option<Option<Key>> {
        if self.peers.len() < self.config.max_peers {
            return Some(None);
        }
        self.index.most_prunable().map(|worst| Some(worst.4))
    }

    /// Which address of a peer gives way to a new one; `None` if there is room.
    fn address_to_give_up(&self, peer: &Peer) -> Result<Option<usize>, AddError> {
        if peer.addresses.len() < self.config.max_addresses_per_peer {
            return Ok(None);
        }
        let source = |known: &Address| self.sources.source(known.source);
        let failed = |known: &Address| known.failures > 0 && source(known) != Source::Operator;
        let candidates = peer.addresses.iter().enumerate().filter(|(_, known)| failed(known));
        candidates
            .max_by_key(|(_, known)| known.failures)
            .map(|(position, _)| Some(position))
            .ok_or(AddError::TooManyAddresses)
    }

    /// Whether a group of addresses and a source of gossip may have one more stored.
    fn check_limits(&self, ip: Option<IpAddr>, source: Source) -> Result<(), AddError> {
        if source == Source::Operator {
            return Ok(());
        }
        let group = ip.and_then(|ip| Group::of(ip, &self.config.groups));
        let stored = group.map(|group| self.index.groups.stored(group));
        if stored.is_some_and(|stored| !self.config.groups.max_stored.is_above(stored)) {
            return Err(AddError::GroupFull);
        }
        let Source::Gossip { from } = source else { return Ok(()) };
        let told = self.sources.told_by(&from);
        if self.config.max_addresses_per_source.is_above(told) { Ok(()) } else { Err(AddError::SourceFull) }
    }

    fn add_address(&mut self, key: Key, address: &NodeAddress, source: Source, gives_way: Option<usize>) {
        self.unpark(key);
        let new = self.count(address, source, 0);
        let gone = self.update(key, |peer| {
            let gone = gives_way.map(|position| peer.addresses.remove(position));
            peer.addresses.reserve_exact(1);
            peer.addresses.push(new);
            if let State::Idle(wait) = &mut peer.state
                && let Wait::Held(hold) = wait
                && source == Source::Operator
                && hold.why != HoldReason::Cooldown
            {
                *wait = Wait::Due;
            }
            gone
        });
        if let Some(gone) = gone.flatten() {
            self.discount(&gone);
        }
        self.touch(key);
    }

    /// Makes a known address the operator's: whoever told it first has no say in it any longer.
    fn vouch_for(&mut self, key: Key, address: &NodeAddress) {
        let old = self.update(key, |peer| {
            let known = peer.addresses.iter_mut().find(|known| known.place == *address.place())?;
            let old = known.clone();
            known.source = SourceKey::Operator;
            Some(old).filter(|old| old.source != SourceKey::Operator)
        });
        if let Some(old) = old.flatten() {
            self.discount(&old);
            self.touch(key);
        }
    }

    /// An address in the form in which it is kept, counted with its group and its source.
    fn count(&mut self, address: &NodeAddress, source: Source, failures: u32) -> Address {
        let known = Address { place: address.place().clone(), source: self.sources.add(source), failures };
        self.index.groups.count_stored(self.group_of(&known), true);
        known
    }

    pub(super) fn discount(&mut self, known: &Address) {
        self.index.groups.count_stored(self.group_of(known), false);
        self.sources.remove(known.source);
    }

    /// The group towards whose stored addresses one counts: those that the operator named count towards none.
    pub(super) fn group_of(&self, known: &Address) -> Option<Group> {
        let ip = known.place.ip().filter(|_| known.source != SourceKey::Operator);
        ip.and_then(|ip| Group::of(ip, &self.config.groups))
    }

    /// What there is to store of a peer, as of the latest input; `None` if it is not known. Without an address it is not
    /// worth a row.
    #[must_use]
    pub fn record(&self, peer: &NodeId) -> Option<PeerRecord> {
        let peer = self.peer(peer)?;
        let address = |known: &Address| AddressRecord {
            address: NodeAddress::new(peer.id, known.place.clone()),
            source: self.sources.source(known.source),
            failures: known.failures,
        };
        let hold = match &peer.state {
            State::Idle(Wait::Held(hold)) => {
                Some(HoldRecord { until: self.wall_at(hold.until), why: hold.why })
            }
            _ => None,
        };
        Some(PeerRecord {
            id: peer.id,
            addresses: peer.addresses.iter().map(address).collect(),
            failures: peer.failures,
            incompatible: peer.incompatible,
            hold,
            standing: self.standing_record(&peer.standing()),
            offers: peer.standing().offers.map(|mask| self.offered(mask)),
        })
    }

    fn standing_record(&self, standing: &Standing) -> StandingRecord {
        let points = |points: Points| {
            let (points, since) = points.parts(self.now, self.config.behaviour.halves_every)?;
            Some(PointsRecord { points, since: self.wall_at(since) })
        };
        let whole_ms = u64::try_from(standing.uptime.as_millis()).unwrap_or(u64::MAX);
        StandingRecord {
            bad: points(standing.bad),
            good: points(standing.good),
            uptime: Duration::from_millis(whole_ms),
            latency: standing.latency_us.map(|us| Duration::from_micros(u64::from(us))),
        }
    }

    /// A peer that cannot be dialled, or failed too often, is not worth its place in the store.
    pub(super) fn forget_if_hopeless(&mut self, key: Key) {
        let Some(peer) = self.peers.get(key) else { return };
        let failures = usize::try_from(peer.failures).unwrap_or(usize::MAX);
        // One of another network is remembered, or gossip would bring it back as new. One that is full is alive.
        let excused = peer.incompatible || peer.is_busy();
        // While nobody is connected it may be our own network that fails, and they are all that we know.
        let alone = self.index.usage.live == 0;
        let failed = !self.config.forget_after.is_above(failures) && !excused && !alone;
        if failed && peer.is_idle() && !peer.roles.kept {
            self.forget(key);
        } else {
            self.forget_if_unreachable(key);
        }
    }

    /// A stranger that misbehaved is remembered as long as that counts, or it would only have to call again.
    pub(super) fn forget_if_unreachable(&mut self, key: Key) {
        let Some(peer) = self.peers.get(key).filter(|peer| peer.addresses.is_empty()) else { return };
        let bad = peer.standing().bad.at(self.now, self.config.behaviour.halves_every);
        if bad == 0 && peer.is_idle() && !peer.roles.kept {
            self.forget(key);
        }
    }
}
