//! One peer: what is known of it, and the one state that it is in.
//!
//! ```text
//!            try_dial_next                 dialed
//!   Idle ------------------> Dialing -----------------> Connected { live, dial: None }
//!    ^  ^                      |  |                         |
//!    |  +---- dial_failed -----+  +-- accepted --> Connected { live, dial: Some } -- disconnected --> Dialing
//!    +---------------------------- disconnected ------------+
//! ```
//!
//! Within `Idle` a peer is due, under hold, or parked until something in its way is gone. Within `Connected` a connection
//! is held, then up; at any time it may be doomed, and then waits for its end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::arena::Key;
use super::backoff::{Hold, HoldReason};
use super::config::Config;
use super::groups::Group;
use super::order::{Class, Merit, Rank};
use super::parking::Blocker;
use super::pools::{Ground, Slot};
use super::sources::SourceKey;
use super::standing::Standing;
use crate::address::{Endpoint, NodeAddress, Place, Scope};
use crate::event::{Because, Closed};
use crate::id::{ConnId, Direction, NodeId};
use crate::message::{AgreedChannel, Capability};

/// The far end of a connection, as far as we know it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Remote {
    /// We dialled this.
    Address(NodeAddress),
    /// It called from here.
    Endpoint(Endpoint),
}

impl Remote {
    /// How far it reaches.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::Address(address) => address.scope(),
            Self::Endpoint(endpoint) => endpoint.scope(),
        }
    }

    /// Its literal IP address, if there is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => address.place().ip(),
            Self::Endpoint(endpoint) => endpoint.ip(),
        }
    }
}

/// What a handshake has told of a peer. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Introduction {
    /// The channels agreed, with the version in use of each.
    pub channels: Arc<[AgreedChannel]>,
    /// The services that the peer announced; empty if it cannot announce any.
    pub services: Arc<[String]>,
    /// Every capability that the peer announced, shared or not.
    pub capabilities: Arc<[Capability]>,
}

/// Why a connection is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EvictReason {
    /// Something above found fault with the peer.
    Errored,
    /// The bad points of its peer reached the limit.
    Misbehaved,
    /// A better peer takes its place.
    Upgrade,
    /// A peer that offers what a quota wants takes its place.
    Quota,
    /// Another peer takes its place for the sake of change.
    Rotation,
    /// It is old, and somebody else takes its place.
    Age,
    /// The operator asked for it.
    Operator,
    /// Its peer is banned.
    Banned,
    /// It is a seed that has been asked.
    SeedDone,
    /// This node is a seed, and its time is up.
    SeedMode,
    /// The limit of its pool was lowered.
    LimitLowered,
}

impl EvictReason {
    /// A stable snake-case label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Errored => "errored",
            Self::Misbehaved => "misbehaved",
            Self::Upgrade => "upgrade",
            Self::Quota => "quota",
            Self::Rotation => "rotation",
            Self::Age => "age",
            Self::Operator => "operator",
            Self::Banned => "banned",
            Self::SeedDone => "seed_done",
            Self::SeedMode => "seed_mode",
            Self::LimitLowered => "limit_lowered",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Peer {
    pub(super) id: NodeId,
    pub(super) rank: Rank,
    pub(super) roles: Roles,
    /// Oldest first.
    pub(super) addresses: Vec<Address>,
    pub(super) failures: u32,
    pub(super) incompatible: bool,
    /// Whether a dial of ours found it at an address of its own, since the manager began.
    pub(super) reached: bool,
    /// Of a peer that was met: what is remembered of it, as long as it is stored.
    pub(super) history: Option<Box<History>>,
    pub(super) state: State,
}

/// What the operator says of a peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Roles {
    /// Never evicted for another.
    pub(super) protected: bool,
    /// Never forgotten.
    pub(super) kept: bool,
    pub(super) private: bool,
    pub(super) trusted: bool,
    /// Dialled for its addresses only.
    pub(super) seed: bool,
}

impl Roles {
    pub(super) fn of(peer: &NodeId, config: &Config) -> Self {
        Self {
            protected: config.is_protected(peer),
            kept: config.is_kept(peer),
            private: config.private.contains(peer),
            trusted: config.trusted.contains(peer),
            seed: config.is_seed(peer),
        }
    }
}

/// An address of a peer, in little space.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Address {
    pub(super) place: Place,
    pub(super) source: SourceKey,
    /// Dials to it that failed in a row.
    pub(super) failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct History {
    pub(super) standing: Standing,
    /// When time alone may change the grade.
    pub(super) regrade_at: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    Idle(Wait),
    Dialing(Box<Attempt>),
    Connected { live: Box<Live>, dial: Option<Box<Attempt>> },
}

/// What an idle peer waits for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wait {
    /// Its turn.
    Due,
    /// A time.
    Held(Hold),
    /// The end of something that is in the way of every dial to it.
    Parked(Box<[Blocker]>),
}

/// What a connection, or a dial, occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) conn: ConnId,
    pub(super) slot: Slot,
    /// On which ground it has its place.
    pub(super) ground: Ground,
    /// The peer whose place it takes, until that one is gone.
    pub(super) victim: Option<Key>,
    /// The address group that it counts towards.
    pub(super) group: Option<Group>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attempt {
    pub(super) seat: Seat,
    pub(super) address: NodeAddress,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Live {
    pub(super) seat: Seat,
    pub(super) direction: Direction,
    pub(super) remote: Remote,
    pub(super) since: Instant,
    /// When it may first be evicted for another; `None` once that is past.
    pub(super) young_until: Option<Instant>,
    /// When its time is up, if it is limited.
    pub(super) leaves: Option<(Instant, EvictReason)>,
    /// Whether subscribers see it.
    pub(super) up: bool,
    /// The connection or dial that takes its place.
    pub(super) claimant: Option<ConnId>,
    pub(super) doom: Option<Doom>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doom {
    pub(super) why: EvictReason,
    pub(super) closed: Closed,
    pub(super) because: Because,
    /// Whether `try_evict_next` has returned it.
    pub(super) dispensed: bool,
}

impl Peer {
    /// A peer of which nothing is known.
    pub(super) fn new(id: NodeId, order: u64, config: &Config) -> Self {
        Self {
            id,
            rank: Rank { merit: Merit { class: Class::of(&id, config), grade: 0 }, order },
            roles: Roles::of(&id, config),
            addresses: Vec::new(),
            failures: 0,
            incompatible: false,
            reached: false,
            history: None,
            state: State::Idle(Wait::Due),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle(_))
    }

    /// Whether it is left alone for having too many peers.
    pub(super) fn is_busy(&self) -> bool {
        matches!(&self.state, State::Idle(Wait::Held(hold)) if hold.why == HoldReason::Busy)
    }

    pub(super) fn is_unconditional(&self) -> bool {
        self.rank.merit.class == Class::Unconditional
    }

    /// Whether it has the merit that nearly everybody has.
    pub(super) fn is_ordinary(&self) -> bool {
        self.rank.merit == Merit::ORDINARY
    }

    /// Whether others may be told of it.
    pub(super) fn may_be_told(&self) -> bool {
        !self.roles.private && !self.incompatible
    }

    pub(super) fn standing(&self) -> Standing {
        self.history.as_ref().map(|history| history.standing).unwrap_or_default()
    }

    pub(super) fn standing_mut(&mut self) -> &mut Standing {
        &mut self.history.get_or_insert_default().standing
    }

    /// Of what there are quotas for, what it offered when last met.
    pub(super) fn offers(&self) -> u16 {
        self.standing().offers.unwrap_or(0)
    }

    pub(super) fn live(&self) -> Option<&Live> {
        match &self.state {
            State::Connected { live, .. } => Some(live),
            State::Idle(_) | State::Dialing(_) => None,
        }
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.state {
            State::Connected { live, .. } => Some(live),
            State::Idle(_) | State::Dialing(_) => None,
        }
    }

    pub(super) fn dial(&self) -> Option<&Attempt> {
        match &self.state {
            State::Idle(_) => None,
            State::Dialing(attempt) => Some(attempt),
            State::Connected { dial, .. } => dial.as_deref(),
        }
    }

    /// The seat of its connection or dial that has the epoch `conn`.
    pub(super) fn seat_mut(&mut self, conn: ConnId) -> Option<&mut Seat> {
        let (live, dial) = match &mut self.state {
            State::Idle(_) => (None, None),
            State::Dialing(attempt) => (None, Some(attempt)),
            State::Connected { live, dial } => (Some(live), dial.as_mut()),
        };
        let seats = live.map(|live| &mut live.seat).into_iter().chain(dial.map(|dial| &mut dial.seat));
        seats.into_iter().find(|seat| seat.conn == conn)
    }

    /// Puts a new connection in place, beside a dial that goes on.
    pub(super) fn connect(&mut self, live: Live) {
        let dial = match std::mem::replace(&mut self.state, State::Idle(Wait::Due)) {
            State::Idle(_) => None,
            State::Dialing(attempt) => Some(attempt),
            State::Connected { dial, .. } => dial,
        };
        let dial = dial.filter(|dial| dial.seat.conn != live.seat.conn);
        self.state = State::Connected { live: Box::new(live), dial };
    }

    /// Takes the dial away; without a connection the peer is then due.
    pub(super) fn end_dial(&mut self) {
        match &mut self.state {
            State::Idle(_) => {}
            State::Dialing(_) => self.state = State::Idle(Wait::Due),
            State::Connected { dial, .. } => *dial = None,
        }
    }

    /// Takes the connection away; without a dial the peer is then idle under `hold`.
    pub(super) fn end_live(&mut self, hold: Hold) {
        let old = std::mem::replace(&mut self.state, State::Idle(Wait::Held(hold)));
        if let State::Dialing(attempt) | State::Connected { dial: Some(attempt), .. } = old {
            self.state = State::Dialing(attempt);
        }
    }

    pub(super) fn address_at(&self, at: usize) -> Option<NodeAddress> {
        self.addresses.get(at).map(|known| NodeAddress::new(self.id, known.place.clone()))
    }

    pub(super) fn knows_address(&self, address: &NodeAddress) -> bool {
        self.addresses.iter().any(|known| known.place == *address.place())
    }

    /// Whether it is connected through this address, which we dialled.
    pub(super) fn is_connected_at(&self, place: &Place) -> bool {
        let remote = self.live().map(|live| &live.remote);
        matches!(remote, Some(Remote::Address(address)) if address.place() == place)
    }

    /// Charges a failure to an address, if that is still known.
    pub(super) fn charge_address(&mut self, address: &NodeAddress) {
        let known = self.addresses.iter_mut().find(|known| known.place == *address.place());
        known.into_iter().for_each(|known| known.failures = known.failures.saturating_add(1));
    }

    /// Forgives an address that led to a connection which lived.
    pub(super) fn clear_address(&mut self, remote: &Remote) {
        let Remote::Address(address) = remote else { return };
        let known = self.addresses.iter_mut().find(|known| known.place == *address.place());
        known.into_iter().for_each(|known| known.failures = 0);
    }
}
