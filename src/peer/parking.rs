//! Peers that may not be dialled until something ends: a ban, or a connection of their address group.
//!
//! A ban may cover a million peers. None of them is looked at when it is imposed: whoever comes to the head of the line
//! and cannot be dialled is parked then, under everything that is in its way, and returns to the line when the first
//! of that ends. So each pays once for being parked and once for being released, and no input pays for more than
//! [`MAX_RELEASED`] of them: what is left is released by the next ones, which `next_wakeup` asks for at once.

use std::collections::BTreeSet;

use super::PeerManager;
use super::arena::Key;
use super::groups::Group;
use super::state::{Peer, State, Wait};
use crate::id::Direction;

/// How many peers one input puts back into the line, at most, for each thing that ended with it.
pub(super) const MAX_RELEASED: usize = 1024;

/// What is in the way of a dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Blocker {
    /// The ban with this serial number.
    Ban(u64),
    /// Too many outgoing connections of this group.
    Group(Group),
}

impl PeerManager {
    /// The place among its addresses of the one to dial: not blocked, and failed least, the oldest of those.
    ///
    /// # Errors
    ///
    /// Everything that is in the way of its addresses.
    pub(super) fn dialable(&self, peer: &Peer) -> Result<usize, Vec<Blocker>> {
        if let Some(ban) = self.bans.of_peer(&peer.id) {
            return Err(vec![Blocker::Ban(ban.serial)]);
        }
        let mut blockers = Vec::new();
        let mut best: Option<(u32, usize)> = None;
        for (at, known) in peer.addresses.iter().enumerate() {
            match self.blocker_of(peer, known.place.ip()) {
                Some(blocker) => blockers.push(blocker),
                None if best.is_none_or(|(failures, _)| known.failures < failures) => {
                    best = Some((known.failures, at));
                }
                None => {}
            }
        }
        best.map(|(_, at)| at).ok_or(blockers)
    }

    pub(super) fn blocker_of(&self, peer: &Peer, ip: Option<std::net::IpAddr>) -> Option<Blocker> {
        let ip = ip.filter(|_| !peer.is_unconditional())?;
        if let Some(ban) = self.bans.of_ip(ip) {
            return Some(Blocker::Ban(ban.serial));
        }
        let group = Group::of(ip, &self.config.groups)?;
        (!self.has_outbound_room(group)).then_some(Blocker::Group(group))
    }

    /// Takes an idle peer out of the line.
    pub(super) fn park(&mut self, key: Key, blockers: Vec<Blocker>) {
        self.index.parked.extend(blockers.iter().map(|blocker| (*blocker, key)));
        self.update(key, |peer| peer.state = State::Idle(Wait::Parked(blockers.into())));
    }

    /// Puts a parked peer back into the line.
    pub(super) fn unpark(&mut self, key: Key) {
        let Some(State::Idle(Wait::Parked(blockers))) = self.peers.get(key).map(|peer| peer.state.clone())
        else {
            return;
        };
        for blocker in &*blockers {
            self.index.parked.remove(&(*blocker, key));
        }
        self.update(key, |peer| peer.state = State::Idle(Wait::Due));
    }

    /// Notes that this is in nobody's way any more.
    pub(super) fn lift_blocker(&mut self, blocker: Blocker) {
        if self.parked_by(blocker).is_some() {
            self.lifted.insert(blocker);
        }
    }

    /// Puts those back into the line in whose way something was that is gone: so many of them that it takes no
    /// noticeable time.
    pub(super) fn release(&mut self) {
        for _ in 0..MAX_RELEASED {
            let Some(&blocker) = self.lifted.first() else { return };
            match self.parked_by(blocker).filter(|_| !self.is_in_the_way(blocker)) {
                Some(key) => self.unpark(key),
                None => _ = self.lifted.remove(&blocker),
            }
        }
    }

    /// Whether it is in the way of anybody now. A ban that has ended never is: one that follows has a number of its own.
    pub(super) fn is_in_the_way(&self, blocker: Blocker) -> bool {
        match blocker {
            Blocker::Ban(serial) => self.bans.by_serial(serial).is_some(),
            Blocker::Group(group) => !self.has_outbound_room(group),
        }
    }

    /// Whether one more of a group may be dialled.
    pub(super) fn has_outbound_room(&self, group: Group) -> bool {
        let connected = self.index.groups.connected(group, Direction::Outbound);
        self.config.groups.max_outbound.is_above(connected)
    }

    fn parked_by(&self, blocker: Blocker) -> Option<Key> {
        let mut parked = self.index.parked.range((blocker, Key::FIRST)..=(blocker, Key::LAST));
        parked.next().map(|(_, key)| *key)
    }
}

/// What the index of parked peers must be, recomputed from one peer.
pub(super) fn parked_keys(key: Key, peer: &Peer) -> BTreeSet<(Blocker, Key)> {
    match &peer.state {
        State::Idle(Wait::Parked(blockers)) => blockers.iter().map(|blocker| (*blocker, key)).collect(),
        _ => BTreeSet::new(),
    }
}
