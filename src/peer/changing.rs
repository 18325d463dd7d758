//! Changes of the configuration in force.

use std::cmp::Reverse;
use std::time::Instant;

use super::PeerManager;
use super::arena::Key;
use super::backoff::{Hold, later};
use super::change::Change;
use super::config::ConfigError;
use super::leaving::displaced;
use super::order::Class;
use super::pools::PoolName;
use super::state::{EvictReason, Roles, State, Wait};
use crate::event::Rule;
use crate::id::NodeId;

impl PeerManager {
    /// Changes a limit, or what the operator says of a peer. Answers whether anything is different now.
    ///
    /// If a pool then holds more than its limit allows, its worst connections will be evicted, those of protected peers
    /// last; dials in flight that find no room are rejected. A connection keeps the slot that it has. Costs a look
    /// at each connection.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], as for a configuration that says the same from the start; nothing changed then.
    pub fn reconfigure(&mut self, change: &Change, now: Instant) -> Result<bool, ConfigError> {
        self.mature(now);
        let mut config = self.config.clone();
        if !change.apply_to(&mut config) {
            return Ok(false);
        }
        config.validate()?;
        self.config = config;
        self.most_upgrade_slots = self.most_upgrade_slots.max(self.config.upgrade_slots);
        if let Some(peer) = change.peer() {
            self.adopt(&peer);
        }
        self.enforce(PoolName::Outbound);
        self.enforce(PoolName::Inbound);
        Ok(true)
    }

    /// Has a peer be what the operator says of it now.
    fn adopt(&mut self, id: &NodeId) {
        let Some(key) = self.find(id) else { return };
        // It may be in another line now, or have nothing in its way.
        self.unpark(key);
        let (roles, class) = (Roles::of(id, &self.config), Class::of(id, &self.config));
        self.update(key, |peer| {
            peer.roles = roles;
            peer.rank.merit.class = class;
        });
        self.shorten_hold(key);
        self.forget_if_unreachable(key);
    }

    /// Lets a peer be left alone no longer than it would be if its hold began now.
    fn shorten_hold(&mut self, key: Key) {
        let Some(peer) = self.peers.get(key) else { return };
        let State::Idle(Wait::Held(hold)) = &peer.state else { return };
        let most = later(self.now, self.backoff().longest(&peer.id, peer.failures, hold.why));
        if hold.until > most {
            let hold = Hold { until: most, ..*hold };
            self.update(key, |peer| peer.state = State::Idle(Wait::Held(hold)));
            self.touch(key);
        }
    }

    /// Orders out what a pool holds beyond its limit.
    fn enforce(&mut self, pool: PoolName) {
        let Some(limit) = self.config.limit(pool).number() else { return };
        let mut staying: Vec<_> = self
            .live_peers()
            .filter(|(_, _, live)| live.seat.slot.pool() == Some(pool) && live.doom.is_none())
            .map(|(key, peer, _)| (peer.roles.protected, peer.rank, key))
            .collect();
        staying.sort_by_key(|staying| Reverse(*staying));
        let because = self.counted(Rule::LimitLowered, staying.len(), Some(limit));
        let surplus: Vec<Key> = staying.into_iter().skip(limit).map(|(.., key)| key).collect();
        for key in surplus.into_iter().rev() {
            self.doom(key, EvictReason::LimitLowered, displaced(EvictReason::LimitLowered), because);
        }
    }
}
