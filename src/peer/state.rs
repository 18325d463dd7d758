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
//! Within `Connected` a connection is held, then up; at any time it may be doomed, and then waits for its end.

use std::sync::Arc;
use std::time::Instant;

use super::backoff::Hold;
use super::behaviour::Score;
use super::order::Rank;
use super::pools::Slot;
use super::record::{AddressRecord, PeerRecord, StandingRecord};
use crate::address::{Endpoint, NodeAddress, Scope};
use crate::event::Closed;
use crate::id::{ConnId, Direction, NodeId};
use crate::message::{AgreedChannel, Capability};

/// The far end of a connection, as far as we know it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// What a handshake has told of a peer. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[non_exhaustive]
pub enum EvictReason {
    /// Something above found fault with the peer.
    Errored,
    /// The score of its peer's misbehaviour reached the limit.
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

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Peer {
    pub(super) id: NodeId,
    pub(super) rank: Rank,
    /// Persistent or unconditional.
    pub(super) protected: bool,
    pub(super) private: bool,
    pub(super) addresses: Vec<AddressRecord>,
    pub(super) failures: u32,
    pub(super) incompatible: bool,
    /// What it did wrong. It outlives connections, as long as the peer is stored.
    pub(super) score: Score,
    pub(super) state: State,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    Idle { hold: Option<Hold> },
    Dialing(Attempt),
    Connected { live: Box<Live>, dial: Option<Attempt> },
}

/// What a connection, or a dial, occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) conn: ConnId,
    pub(super) slot: Slot,
    /// The peer whose place it takes, until that one is gone.
    pub(super) victim: Option<NodeId>,
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
    /// When it may first be evicted for a better one; `None` once that is past.
    pub(super) young_until: Option<Instant>,
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
    /// Whether `try_evict_next` has returned it.
    pub(super) dispensed: bool,
}

impl Peer {
    pub(super) fn live(&self) -> Option<&Live> {
        match &self.state {
            State::Connected { live, .. } => Some(live),
            State::Idle { .. } | State::Dialing(_) => None,
        }
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.state {
            State::Connected { live, .. } => Some(live),
            State::Idle { .. } | State::Dialing(_) => None,
        }
    }

    pub(super) fn dial(&self) -> Option<&Attempt> {
        match &self.state {
            State::Idle { .. } => None,
            State::Dialing(attempt) => Some(attempt),
            State::Connected { dial, .. } => dial.as_ref(),
        }
    }

    /// The seat of its connection or dial that has the epoch `conn`.
    pub(super) fn seat_mut(&mut self, conn: ConnId) -> Option<&mut Seat> {
        let (live, dial) = match &mut self.state {
            State::Idle { .. } => (None, None),
            State::Dialing(attempt) => (None, Some(attempt)),
            State::Connected { live, dial } => (Some(live), dial.as_mut()),
        };
        let seats = live.map(|live| &mut live.seat).into_iter().chain(dial.map(|dial| &mut dial.seat));
        seats.into_iter().find(|seat| seat.conn == conn)
    }

    /// Puts a new connection in place, beside a dial that goes on.
    pub(super) fn connect(&mut self, live: Live) {
        let old = std::mem::replace(&mut self.state, State::Idle { hold: None });
        let dial = match old {
            State::Idle { .. } => None,
            State::Dialing(attempt) => Some(attempt),
            State::Connected { dial, .. } => dial,
        };
        let dial = dial.filter(|dial| dial.seat.conn != live.seat.conn);
        self.state = State::Connected { live: Box::new(live), dial };
    }

    /// Takes the dial away; without a connection the peer is then idle under `hold`.
    pub(super) fn end_dial(&mut self, hold: Option<Hold>) {
        match &mut self.state {
            State::Idle { .. } => {}
            State::Dialing(_) => self.state = State::Idle { hold },
            State::Connected { dial, .. } => *dial = None,
        }
    }

    /// Takes the connection away; without a dial the peer is then idle under `hold`.
    pub(super) fn end_live(&mut self, hold: Hold) {
        let old = std::mem::replace(&mut self.state, State::Idle { hold: Some(hold) });
        if let State::Dialing(attempt) | State::Connected { dial: Some(attempt), .. } = old {
            self.state = State::Dialing(attempt);
        }
    }

    /// The address to dial next: the one that failed least, the oldest of those.
    pub(super) fn next_address(&self) -> Option<&NodeAddress> {
        self.addresses.iter().min_by_key(|known| known.failures).map(|known| &known.address)
    }

    /// Charges a failure to an address. Answers whether another one has failed less and is to be tried at once.
    pub(super) fn charge_address(&mut self, address: &NodeAddress) -> bool {
        let Some(known) = self.addresses.iter_mut().find(|known| known.address == *address) else {
            return false;
        };
        known.failures = known.failures.saturating_add(1);
        let failures = known.failures;
        self.addresses.iter().any(|known| known.failures < failures)
    }

    pub(super) fn record(&self) -> PeerRecord {
        PeerRecord {
            id: self.id,
            addresses: self.addresses.clone(),
            failures: self.failures,
            incompatible: self.incompatible,
            hold: None,
            standing: StandingRecord::default(),
            offers: None,
        }
    }
}
