//! Stand-ins for inputs and getters that follow. To be dropped with the machine that has them.

#![allow(missing_docs, clippy::unused_self, clippy::needless_pass_by_value)]

use std::time::{Duration, Instant};

use super::{BanError, BanRecord, BanTarget, Banned, Change, ConfigError, PeerManager, PeerRecord, Report};
use crate::event::GoodAct;
use crate::id::{ConnId, NodeId};

impl PeerManager {
    pub fn advance(&mut self, now: Instant) {
        self.mature(now);
    }

    pub fn praised(&mut self, _conn: ConnId, _what: GoodAct, _count: u32, _now: Instant) -> Report {
        self.late()
    }

    pub fn measured(&mut self, _conn: ConnId, _latency: Duration, _now: Instant) -> Report {
        self.late()
    }

    pub fn ban(
        &mut self,
        _target: BanTarget,
        _length: Option<Duration>,
        _why: &str,
        _now: Instant,
    ) -> Result<Banned, BanError> {
        Err(BanError::NoLength)
    }

    pub fn unban(&mut self, _target: &BanTarget, _now: Instant) -> bool {
        false
    }

    pub fn reconfigure(&mut self, _change: &Change, _now: Instant) -> Result<bool, ConfigError> {
        Ok(false)
    }

    pub fn bans(&self) -> impl Iterator<Item = BanRecord> + '_ {
        std::iter::empty()
    }

    #[must_use]
    pub fn record(&self, id: &NodeId) -> Option<PeerRecord> {
        self.peers.get(id).map(super::state::Peer::record)
    }

    #[must_use]
    pub fn grade(&self, id: &NodeId) -> Option<i8> {
        self.peers.get(id).map(|_| 0)
    }
}
