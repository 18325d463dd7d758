//! "What is stored", the records, and what is told.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::state::{Ban, Class, Live, Model, Peer, Points, address_ip, is_kept};
use crate::address::{NodeAddress, Scope};
use crate::id::NodeId;
use crate::peer::{
    AddError, AddressRecord, BanRecord, BanTarget, Hold, HoldReason, HoldRecord, PeerRecord, PointsRecord,
    Record, Remote, Source, StandingRecord, WallTime,
};

/// The less, the sooner the store gives it up: whether it has an address and then its merit, failures, drawn order.
pub(super) type Worth = (Option<(Class, i8)>, bool, Reverse<u32>, u64);

// What is stored: `add`.

impl Model {
    pub(super) fn add(&mut self, address: &NodeAddress, source: Source) -> Result<bool, AddError> {
        let id = address.id();
        let by_operator = source == Source::Operator;
        if id == self.config.self_id {
            return Err(AddError::SelfAddress);
        }
        let ip = address_ip(address);
        if self.check_ban(&id, ip).is_err() {
            return Err(AddError::Banned);
        }
        let known = self.peers.get_mut(&id).into_iter().flat_map(|peer| &mut peer.addresses);
        if let Some(known) = known.into_iter().find(|known| known.address == *address) {
            known.source = if by_operator { source } else { known.source };
            return Ok(false);
        }
        let known = self.peers.get(&id);
        let gives_way = known.map_or(Ok(None), |peer| self.address_that_gives_way(peer))?;
        let group = self.group(ip).filter(|_| !by_operator);
        if group.is_some_and(|group| {
            let in_group = |known: &&AddressRecord| self.group(address_ip(&known.address)) == Some(group);
            let counted = self.addresses().filter(|known| known.source != Source::Operator);
            !self.config.groups.max_stored.is_above(counted.filter(in_group).count())
        }) {
            return Err(AddError::GroupFull);
        }
        if matches!(source, Source::Gossip { .. }) {
            let told = self.addresses().filter(|known| known.source == source).count();
            if !self.config.max_addresses_per_source.is_above(told) {
                return Err(AddError::SourceFull);
            }
        }
        if known.is_none() {
            self.make_room_for(&id)?;
            let stranger = self.stranger(id);
            self.peers.insert(id, stranger);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return Ok(true) };
        gives_way.into_iter().for_each(|position| drop(peer.addresses.remove(position)));
        peer.addresses.push(AddressRecord { address: address.clone(), source, failures: 0 });
        if by_operator {
            peer.hold = peer.hold.filter(|hold| hold.why == HoldReason::Cooldown);
        }
        Ok(true)
    }

    fn addresses(&self) -> impl Iterator<Item = &AddressRecord> {
        self.peers.values().flat_map(|peer| &peer.addresses)
    }

    /// In a full list the address that failed most gives way, the latest of those, but never the operator's.
    fn address_that_gives_way(&self, peer: &Peer) -> Result<Option<usize>, AddError> {
        if peer.addresses.len() < self.config.max_addresses_per_peer {
            return Ok(None);
        }
        let addresses = peer.addresses.iter().enumerate();
        let failed = addresses.filter(|(_, known)| known.failures > 0 && known.source != Source::Operator);
        let most = failed.map(|(position, known)| (known.failures, position)).max();
        most.map(|(_, position)| Some(position)).ok_or(AddError::TooManyAddresses)
    }

    fn make_room_for(&mut self, id: &NodeId) -> Result<(), AddError> {
        if self.peers.len() < self.config.max_peers {
            return Ok(());
        }
        let (worth, worst) = self.worst_idle().ok_or(AddError::StoreFull)?;
        if !is_kept(&self.config, id) && (worth, worst) >= (self.worth(id), *id) {
            return Err(AddError::StoreFull);
        }
        self.peers.remove(&worst);
        Ok(())
    }

    pub(super) fn worth(&self, id: &NodeId) -> Worth {
        let (class, grade, order, _) = self.rank(id);
        let known = self.peers.get(id);
        // A newcomer comes with its first.
        let has_address = known.is_none_or(|peer| !peer.addresses.is_empty());
        let failures = known.map_or(0, |peer| peer.failures);
        let reached = known.is_some_and(|peer| peer.reached);
        (has_address.then_some((class, grade)), reached, Reverse(failures), order)
    }
}

// Records.

impl Model {
    pub(super) fn wall(&self, at: Instant) -> WallTime {
        let (start, wall) = self.anchor;
        match at.checked_duration_since(start) {
            Some(passed) => wall.plus(passed),
            None => WallTime::from_unix_ms(wall.as_unix_ms().saturating_sub(as_ms(start - at))),
        }
    }

    fn instant(&self, at: WallTime) -> Instant {
        let (start, wall) = self.anchor;
        let ahead = start.checked_add(at.since(wall)).unwrap_or(start);
        ahead.checked_sub(wall.since(at)).unwrap_or(start)
    }

    /// What is to be remembered of a peer; `None` if it is not stored.
    #[must_use]
    pub fn record(&self, id: &NodeId) -> Option<PeerRecord> {
        let peer = self.peers.get(id)?;
        let every = self.config.behaviour.halves_every;
        let points = |points: Points| {
            let left = points.at(self.now, every);
            Some(PointsRecord { points: left.points, since: self.wall(left.since?) })
        };
        let hold = peer.hold.map(|hold| HoldRecord { until: self.wall(hold.until), why: hold.why });
        let uptime = Duration::from_millis(as_ms(peer.uptime));
        let (bad, good) = (points(peer.bad), points(peer.good));
        Some(PeerRecord {
            id: *id,
            addresses: peer.addresses.clone(),
            failures: peer.failures,
            incompatible: peer.incompatible,
            hold,
            standing: StandingRecord { bad, good, uptime, latency: peer.latency },
            offers: peer.offers.clone(),
        })
    }

    /// The bans in force, by target.
    #[must_use]
    pub fn ban_records(&self) -> Vec<BanRecord> {
        let record = |(target, ban): (&BanTarget, &Ban)| BanRecord {
            target: *target,
            until: ban.until.map(|until| self.wall(until)),
            why: ban.why.clone(),
        };
        self.bans.iter().map(record).collect()
    }

    /// Takes a record up, as [`Model::new`] does. One that is of no use is skipped.
    pub(super) fn restore(&mut self, record: Record) {
        match record {
            Record::Ban(BanRecord { target, until, why }) => {
                let until = until.map(|until| self.instant(until));
                if until.is_none_or(|until| until > self.now) && self.bans.len() < self.config.max_bans {
                    self.bans.insert(target, Ban { until, why });
                }
            }
            Record::Peer(record) => self.restore_peer(record),
        }
    }

    fn restore_peer(&mut self, mut record: PeerRecord) {
        let id = record.id;
        record.addresses.retain(|known| known.address.id() == id);
        record.addresses.truncate(self.config.max_addresses_per_peer);
        let unusable = id == self.config.self_id || record.addresses.is_empty();
        if unusable || self.peers.contains_key(&id) || self.make_room_for(&id).is_err() {
            return;
        }
        let mut peer = self.stranger(id);
        let points = |record: Option<PointsRecord>| {
            record.map_or(Points::default(), |PointsRecord { points, since }| Points {
                points,
                since: (points > 0).then_some(self.instant(since).min(self.now)),
            })
        };
        let hold = record.hold.map(|hold| Hold { until: self.instant(hold.until), why: hold.why });
        peer.hold = hold.filter(|hold| hold.until > self.now);
        peer.addresses = record.addresses;
        peer.failures = record.failures;
        peer.incompatible = record.incompatible;
        (peer.bad, peer.good) = (points(record.standing.bad), points(record.standing.good));
        peer.uptime = record.standing.uptime;
        peer.latency = record.standing.latency;
        peer.offers = record.offers;
        self.peers.insert(id, peer);
    }
}

fn as_ms(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

// What is told.

impl Model {
    /// All that a peer, or a stranger, may be told, in no order: nothing of whoever is private, incompatible, banned or
    /// asks, no address that failed when last dialled, and none that reaches less far than the asker's own.
    #[must_use]
    pub fn tellable(&self, to: Option<NodeId>) -> Vec<NodeAddress> {
        let scope = to.map_or(Scope::Public, |to| self.scope(&to));
        let own = self.config.own_addresses.iter().filter(|address| address.scope() >= scope).cloned();
        let may_be_told = |peer: &&Peer| {
            let banned = self.bans.contains_key(&BanTarget::Peer(peer.id));
            !(Some(peer.id) == to || peer.incompatible || banned || self.config.private.contains(&peer.id))
        };
        let peers = self.peers.values().filter(may_be_told);
        let addresses = peers.flat_map(|peer| peer.addresses.iter().map(move |known| (peer, known)));
        let open = addresses.filter(|(peer, known)| {
            let address = &known.address;
            let through = |live: &Live| live.remote == Remote::Address(address.clone());
            (known.failures == 0 || peer.live.as_ref().is_some_and(through))
                && address.scope() >= scope
                && self.check_ban(&address.id(), address_ip(address)).is_ok()
        });
        own.chain(open.map(|(_, known)| known.address.clone())).collect()
    }

    /// How far a peer's own address reaches: that of its connection, else the widest known.
    fn scope(&self, id: &NodeId) -> Scope {
        let Some(peer) = self.peers.get(id) else { return Scope::Public };
        let live = peer.live.as_ref().map(|live| match &live.remote {
            Remote::Address(address) => address.scope(),
            Remote::Endpoint(endpoint) => endpoint.scope(),
        });
        let widest = peer.addresses.iter().map(|known| known.address.scope()).max();
        live.or(widest).unwrap_or(Scope::Public)
    }
}
