//! The policy in its plainest form, and what holds a [`PeerManager`](super::PeerManager) to it.
//!
//! [`Model`] is `docs/peer-manager.md` written as code: plain data, no index, nothing remembered that can be worked out
//! by scanning everything. Its files have the headings of that page as comments, and are meant to be checked against it
//! sentence by sentence. [`drive`] applies the same operations to the model and to the machine, compares all that can be
//! seen, and checks the laws that no comparison shows. [`World`] makes small configurations and operations from bytes,
//! for a fuzzer. It all comes with the feature `model`.
//!
//! # Fuzzing a policy of your own
//!
//! A policy is a [`Config`], and what happens to it is a list of [`Op`]s. Connections are named by how
//! long ago they were begun, so that any number is likely to mean something: `ConnId::new(0)` is the latest.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use peerage::id::ConnId;
//! use peerage::peer::model::{World, drive, identity};
//! use peerage::peer::{Config, Limit, Op, Source};
//! use peerage::NodeAddress;
//!
//! let mut config = Config::new(identity(0));
//! config.max_outbound = Limit::AtMost(1);
//! config.persistent = [identity(1)].into();
//!
//! // By hand: the machine must decide what the model decides, or `drive` panics and says where they part.
//! let add = |peer: usize| Op::Add {
//!     address: NodeAddress::rlpx(identity(peer), ([8, 8, 8, 8], 30303).into()),
//!     source: Source::Discovery,
//! };
//! let ops = [
//!     add(1),
//!     add(2),
//!     Op::TryDialNext,
//!     Op::Dialed { conn: ConnId::new(0) },
//!     Op::Advance(Duration::from_secs(60)),
//! ];
//! drive(&config, Instant::now(), &ops);
//!
//! // From a fuzzer's bytes: the same, with your configuration in place of the world's.
//! let world = World::from_bytes(b"any bytes");
//! drive(&config, Instant::now(), &world.ops);
//! ```
//!
//! A libFuzzer target is one line over [`drive_bytes`]; see `fuzz/fuzz_targets/peer_manager.rs`, and `fuzz/explore.sh`,
//! which runs it for a time and keeps what it finds. To see your own conditions hold, look at the [`Trace`]: what was
//! answered and put out, in order. [`Machine::step`] goes one operation at a time.
//!
//! # Not here
//!
//! Times of fractions of a millisecond are not told from whole ones in records. The order in which addresses are told, the
//! numbers in a [`Because`](crate::event::Because) and the words of a [`Closed`](crate::event::Closed) that the manager
//! makes up are not compared.

mod accepting;
mod behaving;
mod compare;
mod dialing;
mod drive;
mod ending;
mod reasons;
mod state;
mod storing;
mod worlds;

use std::collections::BTreeMap;
use std::time::Instant;

pub use drive::{Machine, Reference, Trace, drive, drive_bytes};
pub use state::Model;
pub use worlds::{IDENTITIES, World, address, config, configs, endpoint, identity, introduction, prefix};

use super::{Answer, Config, ConfigError, Counts, Op, PeerUpdate, Record, Status, WallTime};
use crate::id::{ConnId, NodeId};
use state::{Pool, Slot};

impl Model {
    /// Starts where [`PeerManager::new`](super::PeerManager::new) starts.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], as there.
    pub fn new(
        config: Config,
        seed: u64,
        now: Instant,
        wall: WallTime,
        stored: impl IntoIterator<Item = Record>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut model = Self {
            config,
            seed,
            now,
            anchor: (now, wall),
            peers: BTreeMap::new(),
            handshakes: BTreeMap::new(),
            claims: Vec::new(),
            bans: BTreeMap::new(),
            windows: BTreeMap::new(),
            last_conn: 0,
            last_taking: [None; 2],
            last_rotation: now,
            updates: Vec::new(),
        };
        stored.into_iter().for_each(|record| model.restore(record));
        Ok(model)
    }

    /// What the machine must answer. Nothing changes if that is an error, but for time.
    pub fn apply(&mut self, op: &Op, now: Instant) -> Answer {
        if *op == Op::PollOutput {
            return Answer::Output(None);
        }
        self.advance(now);
        match op {
            Op::Advance(_) => Answer::Advanced,
            Op::Add { address, source } => Answer::Added(self.add(address, *source)),
            Op::TryDialNext => Answer::Dial(self.try_dial_next()),
            Op::Dialed { conn } => Answer::Admitted(self.dialed(*conn)),
            Op::DialFailed { conn, closed } => Answer::Report(self.dial_failed(*conn, closed)),
            Op::Incoming { endpoint } => Answer::Incoming(self.incoming(endpoint)),
            Op::IncomingFailed { conn, .. } => Answer::Report(self.incoming_failed(*conn)),
            Op::Accepted { conn, id } => Answer::Admitted(self.accepted(*conn, *id)),
            Op::Ready { conn, introduction } => Answer::Report(self.ready(*conn, introduction)),
            Op::TryEvictNext => Answer::Eviction(self.try_evict_next()),
            Op::Disconnected { conn, closed } => Answer::Report(self.disconnected(*conn, closed)),
            Op::Reported { conn, what, count } => Answer::Report(self.reported(*conn, *what, *count)),
            Op::Praised { conn, what, count } => Answer::Report(self.praised(*conn, *what, *count)),
            Op::Measured { conn, latency } => Answer::Report(self.measured(*conn, *latency)),
            Op::Ban { target, length, why } => Answer::Ban(self.ban(*target, *length, why)),
            Op::Unban { target } => Answer::Unban(self.unban(target)),
            Op::Reconfigure(change) => Answer::Reconfigured(self.reconfigure(change)),
            Op::Errored { conn, closed } => Answer::Report(self.errored(*conn, closed)),
            Op::Disconnect { peer } => Answer::Disconnect(self.disconnect(peer)),
            Op::PollOutput => Answer::Output(None),
        }
    }

    /// The updates that the machine must have put out since this was last asked, in order.
    pub fn take_updates(&mut self) -> Vec<PeerUpdate> {
        std::mem::take(&mut self.updates)
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Everybody who is stored.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.peers.keys().copied()
    }

    /// Where a peer stands.
    #[must_use]
    pub fn status(&self, id: &NodeId) -> Option<Status> {
        let peer = self.peers.get(id)?;
        let bad_points = peer.bad.at(self.now, self.config.behaviour.halves_every).points;
        let dialing = peer.dial.as_ref().map(|dial| dial.conn);
        Some(match (&peer.live, dialing) {
            (None, None) => Status::Idle { bad_points, hold: peer.hold },
            (None, Some(conn)) => Status::Dialing { bad_points, conn },
            (Some(live), dialing) => Status::Connected {
                bad_points,
                conn: live.conn,
                direction: live.direction,
                since: live.since,
                up: live.up,
                evicting: live.doom.as_ref().map(|doom| doom.why),
                dialing,
            },
        })
    }

    /// The grade of a peer that is stored.
    #[must_use]
    pub fn grade(&self, id: &NodeId) -> Option<i8> {
        self.peers.get(id).map(|peer| self.grade_of(peer))
    }

    /// Connections, oldest first, with their peers.
    #[must_use]
    pub fn connections(&self) -> BTreeMap<ConnId, NodeId> {
        self.lives().map(|(peer, live)| (live.conn, peer.id)).collect()
    }

    /// Dials in flight, oldest first, with their peers.
    #[must_use]
    pub fn dialing(&self) -> BTreeMap<ConnId, NodeId> {
        self.dials().map(|(peer, dial)| (dial.conn, peer.id)).collect()
    }

    /// Incoming handshakes in progress, oldest first.
    #[must_use]
    pub fn handshaking(&self) -> Vec<ConnId> {
        self.handshakes.keys().copied().collect()
    }

    /// The latest epoch.
    #[must_use]
    pub fn last_conn(&self) -> ConnId {
        ConnId::new(self.last_conn)
    }

    /// What is in use.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let lives = self.lives().filter(|(_, live)| live.slot == Slot::Unconditional).count();
        let dials = self.dials().filter(|(_, dial)| dial.slot == Slot::Unconditional).count();
        Counts {
            outbound: self.used(Pool::Outbound),
            inbound: self.used(Pool::Inbound),
            unconditional: lives + dials,
            connected: self.lives().count(),
            dialing: self.dials().count(),
            handshakes: self.handshakes.len(),
            upgrades: self.takings(Pool::Outbound) + self.takings(Pool::Inbound),
            stored: self.peers.len(),
        }
    }
}
