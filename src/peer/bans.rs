//! Who is banned, and until when.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::answer::{BanError, Banned};
use super::backoff::later;
use super::leaving::displaced;
use super::parking::Blocker;
use super::record::{BanReason, BanRecord, BanTarget, RecordKey};
use super::state::{EvictReason, Live, Peer};
use super::{MAX_BAN_TEXT_BYTES, MAX_DURATION, PeerManager};
use crate::address::IpPrefix;
use crate::event::{Because, Misbehaviour, Rule};
use crate::id::NodeId;

/// The bans in force. A query costs O(log n) for each length of prefix in use.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Bans {
    bans: BTreeMap<BanTarget, Ban>,
    ends: BTreeSet<(Instant, BanTarget)>,
    /// The ends of automatic bans: a full table gives up the first.
    automatic: BTreeSet<(Instant, BanTarget)>,
    by_serial: BTreeMap<u64, BanTarget>,
    /// How many bans there are of each length of prefix, version 6 apart.
    lengths: BTreeMap<(bool, u8), usize>,
    last_serial: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ban {
    /// `None` until it is lifted.
    pub(super) until: Option<Instant>,
    pub(super) why: BanReason,
    /// Another one for each ban, so that whoever waits for its end has a small name for it.
    pub(super) serial: u64,
}

impl Bans {
    pub(super) fn len(&self) -> usize {
        self.bans.len()
    }

    pub(super) fn get(&self, target: &BanTarget) -> Option<&Ban> {
        self.bans.get(target)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&BanTarget, &Ban)> {
        self.bans.iter()
    }

    pub(super) fn of_peer(&self, id: &NodeId) -> Option<&Ban> {
        // Most nodes have no bans at all.
        if self.bans.is_empty() { None } else { self.bans.get(&BanTarget::Peer(*id)) }
    }

    /// The widest ban that covers an address.
    pub(super) fn of_ip(&self, ip: IpAddr) -> Option<&Ban> {
        let ip = ip.to_canonical();
        let lengths = self.lengths.range((ip.is_ipv6(), 0)..=(ip.is_ipv6(), u8::MAX));
        lengths
            .filter_map(|((_, bits), _)| IpPrefix::new(ip, *bits).ok())
            .find_map(|prefix| self.bans.get(&BanTarget::Prefix(prefix)))
    }

    pub(super) fn by_serial(&self, serial: u64) -> Option<(&BanTarget, &Ban)> {
        self.bans.get_key_value(self.by_serial.get(&serial)?)
    }

    /// The ban that ends first.
    pub(super) fn next_end(&self) -> Option<(Instant, BanTarget)> {
        self.ends.first().copied()
    }

    /// The automatic ban that ends first.
    fn expendable(&self) -> Option<(Instant, BanTarget)> {
        self.automatic.first().copied()
    }

    pub(super) fn insert(&mut self, target: BanTarget, until: Option<Instant>, why: BanReason) {
        self.remove(&target);
        self.last_serial += 1;
        if let Some(until) = until {
            self.ends.insert((until, target));
            if matches!(why, BanReason::Misbehaved(_)) {
                self.automatic.insert((until, target));
            }
        }
        if let BanTarget::Prefix(prefix) = &target {
            *self.lengths.entry((prefix.first().is_ipv6(), prefix.bits())).or_default() += 1;
        }
        self.by_serial.insert(self.last_serial, target);
        self.bans.insert(target, Ban { until, why, serial: self.last_serial });
    }

    pub(super) fn remove(&mut self, target: &BanTarget) -> Option<Ban> {
        let ban = self.bans.remove(target)?;
        self.by_serial.remove(&ban.serial);
        if let Some(until) = ban.until {
            self.ends.remove(&(until, *target));
            self.automatic.remove(&(until, *target));
        }
        if let BanTarget::Prefix(prefix) = target {
            let length = (prefix.first().is_ipv6(), prefix.bits());
            if let Some(count) = self.lengths.get_mut(&length) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&length);
                }
            }
        }
        Some(ban)
    }
}

impl PeerManager {
    /// Bans a peer, or a range of addresses, for a time or until the ban is lifted. It takes the place of an earlier
    /// ban of the same target, and outlives the process.
    ///
    /// Connections that it covers will be evicted, dials in flight rejected. An unconditional peer is covered by a ban
    /// of its identity alone. Costs a look at each connection.
    ///
    /// # Errors
    ///
    /// [`BanError`]; nothing changed then.
    pub fn ban(
        &mut self,
        target: BanTarget,
        length: Option<Duration>,
        why: &str,
        now: Instant,
    ) -> Result<Banned, BanError> {
        let now = self.mature(now);
        if target == BanTarget::Peer(self.config.self_id) {
            return Err(BanError::OwnId);
        }
        match length {
            Some(Duration::ZERO) => return Err(BanError::NoLength),
            Some(length) if length > MAX_DURATION => return Err(BanError::TooLong),
            _ => {}
        }
        if why.len() > MAX_BAN_TEXT_BYTES {
            return Err(BanError::TextTooLong { found_bytes: why.len() });
        }
        let renewed = self.bans.get(&target).is_some();
        if !renewed && self.bans.len() >= self.config.max_bans {
            let expendable = self.bans.expendable();
            let (_, expendable) = expendable.ok_or(BanError::TooMany { max_bans: self.config.max_bans })?;
            self.lift(&expendable);
        }
        let until = length.map(|length| later(now, length));
        Ok(Banned { evicts: self.impose(target, until, BanReason::Operator(why.into())), renewed })
    }

    /// Lifts a ban. Answers whether there was one.
    pub fn unban(&mut self, target: &BanTarget, now: Instant) -> bool {
        self.mature(now);
        let lifted = self.lift(target);
        self.release();
        lifted
    }

    /// The bans in force, in the form in which they are stored.
    pub fn bans(&self) -> impl Iterator<Item = BanRecord> + '_ {
        self.bans.iter().map(|(target, ban)| self.ban_record(*target, ban))
    }

    /// Bans a peer for what it did, if there is room for that.
    pub(super) fn ban_for(&mut self, id: NodeId, what: Misbehaviour, length: Duration) {
        let target = BanTarget::Peer(id);
        if self.bans.get(&target).is_some() {
            return;
        }
        if self.bans.len() >= self.config.max_bans {
            let Some((_, expendable)) = self.bans.expendable() else { return };
            self.lift(&expendable);
        }
        self.impose(target, Some(later(self.now, length)), BanReason::Misbehaved(what));
    }

    /// Ends the bans whose time is up, and goes on with releasing those who waited for the end of others.
    pub(super) fn mature_bans(&mut self, now: Instant) {
        while let Some((until, target)) = self.bans.next_end()
            && until <= now
        {
            self.lift(&target);
        }
        self.release();
    }

    pub(super) fn ban_record(&self, target: BanTarget, ban: &Ban) -> BanRecord {
        BanRecord { target, until: ban.until.map(|until| self.wall_at(until)), why: ban.why.clone() }
    }

    /// Takes up a ban that a store remembers. Answers whether it is still in force.
    pub(super) fn restore_ban(&mut self, record: &BanRecord) -> bool {
        let most = match record.why {
            BanReason::Misbehaved(_) => self.config.behaviour.ban_for,
            BanReason::Operator(_) => None,
        };
        let left = record.until.map(|until| self.until_wall(until).min(most.unwrap_or(MAX_DURATION)));
        // One that is imposed without an operator ends.
        let left = left.or(most);
        let own = record.target == BanTarget::Peer(self.config.self_id);
        let too_long = matches!(&record.why, BanReason::Operator(text) if text.len() > MAX_BAN_TEXT_BYTES);
        if own || too_long || left == Some(Duration::ZERO) {
            return false;
        }
        let until = left.map(|left| later(self.now, left));
        if self.bans.len() >= self.config.max_bans && self.bans.get(&record.target).is_none() {
            let by_operator = matches!(record.why, BanReason::Operator(_));
            let least = self.bans.expendable().filter(|least| by_operator || until > Some(least.0));
            let Some((_, expendable)) = least else { return false };
            self.skipped_records = self.skipped_records.saturating_add(1);
            self.lift(&expendable);
        }
        self.bans.insert(record.target, until, record.why.clone());
        true
    }

    /// Whether the peer of a connection is banned, given where it is.
    pub(super) fn is_banned(&self, id: &NodeId, ip: Option<IpAddr>) -> bool {
        self.bans.of_peer(id).is_some()
            || (!self.config.unconditional.contains(id) && ip.is_some_and(|ip| self.bans.of_ip(ip).is_some()))
    }

    fn impose(&mut self, target: BanTarget, until: Option<Instant>, why: BanReason) -> usize {
        if let Some(old) = self.bans.remove(&target) {
            self.lift_blocker(Blocker::Ban(old.serial));
        }
        self.release();
        self.bans.insert(target, until, why);
        self.mark(RecordKey::Ban(target));
        let covered: Vec<_> = self
            .live_peers()
            .filter(|(_, peer, live)| live.doom.is_none() && covers(&target, peer, live))
            .map(|(key, ..)| key)
            .collect();
        let because = Because::new(Rule::Banned, self.now).with_until(until);
        for key in &covered {
            self.doom(*key, EvictReason::Banned, displaced(EvictReason::Banned), because);
        }
        covered.len()
    }

    fn lift(&mut self, target: &BanTarget) -> bool {
        let Some(ban) = self.bans.remove(target) else { return false };
        self.lift_blocker(Blocker::Ban(ban.serial));
        self.mark(RecordKey::Ban(*target));
        true
    }
}

fn covers(target: &BanTarget, peer: &Peer, live: &Live) -> bool {
    match target {
        BanTarget::Peer(id) => peer.id == *id,
        BanTarget::Prefix(prefix) => {
            !peer.is_unconditional() && live.remote.ip().is_some_and(|ip| prefix.contains(ip))
        }
    }
}
