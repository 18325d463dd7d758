//! The peer manager: whom to dial, whom to admit, whom to evict.
//!
//! [`PeerManager`] is a synchronous, deterministic state machine. It never reads a clock, draws randomness,
//! spawns, locks, logs or does I/O: time and a seed come in, decisions come out. The same inputs at the same times
//! from the same seed give the same outputs.
//!
//! # The drain contract
//!
//! After each input, and whenever [`next_wakeup`](PeerManager::next_wakeup) says so, the shell
//!
//! 1. takes [`poll_output`](PeerManager::poll_output) until it is empty, and carries it out: applies updates to the
//!    [`UpdateLog`], writes and deletes records;
//! 2. takes [`try_evict_next`](PeerManager::try_evict_next) until it is empty, and ends those connections;
//! 3. takes [`try_dial_next`](PeerManager::try_dial_next) until it is empty, and begins those dials;
//! 4. asks [`next_wakeup`](PeerManager::next_wakeup), and sleeps until then or until the next input.
//!
//! After that, `next_wakeup` lies in the future, or there is none.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::time::{Duration, Instant};
//!
//! use peerage::peer::{Config, Output, PeerManager, Record, RecordKey, Source, WallTime};
//! use peerage::{NodeAddress, NodeKey};
//!
//! let [ours, theirs] = [1, 2].map(|seed| NodeKey::insecure_from_seed(seed).id());
//! let (now, wall) = (Instant::now(), WallTime::from_unix_ms(1_700_000_000_000));
//! let mut manager = PeerManager::new(Config::new(ours), 7, now, wall, [])?;
//!
//! // What is persisted, by key: enough to begin again with.
//! let mut stored: BTreeMap<RecordKey, Record> = BTreeMap::new();
//! let mut keep = |manager: &mut PeerManager| {
//!     while let Some(output) = manager.poll_output() {
//!         match output {
//!             Output::Persist(record) => drop(stored.insert(record.key(), record)),
//!             Output::Forget(key) => drop(stored.remove(&key)),
//!             Output::Update(update) => println!("{update:?}"),
//!         }
//!     }
//! };
//!
//! assert_eq!(manager.why_not_dialling().to_string(), "no peer that could be dialled is known");
//! manager.add(&NodeAddress::rlpx(theirs, ([192, 0, 2, 1], 30303).into()), Source::Operator, now)?;
//! keep(&mut manager);
//! assert!(manager.try_evict_next(now).is_none());
//! let dial = manager.try_dial_next(now).unwrap();
//! assert_eq!(dial.because.to_string(), "a slot was free: 0 of 25 were in use");
//! assert_eq!(manager.why(&theirs).to_string(), "a dial to it is in flight");
//! manager.dialed(dial.conn, now)?;
//! keep(&mut manager);
//!
//! // After a restart it knows the peer, and why it is the next or is not.
//! let later = now + Duration::from_secs(60);
//! let wall = WallTime::from_unix_ms(1_700_000_060_000);
//! let manager = PeerManager::new(Config::new(ours), 7, later, wall, stored.into_values())?;
//! assert_eq!(manager.why(&theirs).to_string(), "it is the next to be dialled");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The life of a connection
//!
//! The manager mints every [`ConnId`](crate::id::ConnId), and every report is keyed by it. A report about one that
//! is gone, or in another phase, is [late](Report::Late): counted and ignored.
//!
//! ```text
//! try_dial_next --> dialed ----+--> ready --> disconnected
//!             |       rejected |
//!             +--> dial_failed |
//! incoming ------> accepted ---+
//!             |       rejected
//!             +--> incoming_failed
//! ```
//!
//! Whatever begins must end: each dial in `dialed` (admitted) or `dial_failed`, each incoming connection in `accepted`
//! (admitted) or `incoming_failed`, each admitted connection in `disconnected`, unless another one
//! [replaced](Admitted::replaces) it. **A call that fails changes nothing**, to the bit: after a [`Reject`] the
//! slot is held until the shell has closed the connection and says so, with [`Reject::closed`] as the reason.
//!
//! # Two connections to one peer
//!
//! Of two connections of opposite directions between the same two nodes, the one dialled by the greater
//! [`NodeId`](crate::id::NodeId) wins; of two in the same direction, the earlier. Both sides compute the same, so
//! exactly one is left whatever the order of events. The winner never lacks a slot: a dial had reserved one, an
//! incoming connection had, or it inherits that of the loser.
//!
//! # Policy
//!
//! *Eligibility* is apart from *priority*. A peer is eligible when it has an address, is idle, is under no [`Hold`] and
//! nothing else is in the way: a ban, or too many connections of its address group. Holds and bans end with time, and
//! `next_wakeup` waits for them. Among the eligible, the operator's class goes first, then behaviour, then an order
//! that each node draws for itself. Only class, behaviour, a quota, age, or one place now and then given anew justify
//! an eviction. `docs/peer-manager.md` in the repository states the whole policy on one page,
//! `docs/peer-states.md` the answer to each input in each state, filled in by the machine.
//!
//! # Behaviour
//!
//! A connection whose stream fails is reported by [`errored`](PeerManager::errored), and evicted. What its peer does
//! wrong above the stream is [`reported`](PeerManager::reported), what it does well is
//! [`praised`](PeerManager::praised), by kind and count; its latency is [`measured`](PeerManager::measured). Points
//! ([`BehaviourConfig`]) are halved as time passes. At the limit of bad ones the connection is evicted, with the
//! blame on the peer, and the peer is banned for a while. Points, uptime and latency persist.
//!
//! # Bans
//!
//! A peer, or a range of addresses, is [banned](PeerManager::ban) for a time or until the ban is
//! [lifted](PeerManager::unban). Bans persist. None of the peers that a ban covers is looked at when it is imposed, but
//! for those connected: the others meet it when their turn comes.
//!
//! # Explanations
//!
//! [`why`](PeerManager::why) and [`why_not_dialling`](PeerManager::why_not_dialling) answer with a
//! [`Because`](crate::event::Because): the rule, the numbers it was applied to, and when it ceases to hold. Each dial,
//! each eviction, and each rejection on request, carries the same.
//!
//! # Cost
//!
//! O(log n) for each input in the number of stored peers: every order is an index, moved along with the peer that
//! changes. Time that passes costs O(log n) once for each hold or ban that ended meanwhile; points are halved when they
//! are looked at. A change of the configuration and a ban look at each connection. Of peers that cannot be dialled at
//! most a thousand are moved aside in one call, and as many are put back when a ban or a connection in their way ends: the
//! others follow in the next calls, for which [`next_wakeup`](PeerManager::next_wakeup) asks at once.
//!
//! # What is where
//!
//! | files | what |
//! |---|---|
//! | `manager` | the data, time, the drain; every change of a peer goes through `PeerManager::update` |
//! | `state`, `standing` | one peer: its one state, and how it behaved |
//! | `dialing`, `accepting`, `leaving` | the inputs in the order of a connection's life: begun, admitted, ended |
//! | `storing`, `restoring`, `bans`, `changing` | the inputs of gossip and operator: addresses and records, bans, a changed configuration |
//! | `order`, `seating`, `pools`, `backoff`, `groups`, `sources` | the rules: who goes first, who has a place, when again, how many of one kind |
//! | `parking` | who cannot be dialled for now, and what brings it back into the line |
//! | `arena`, `index` | where peers live, and every order that is kept of them |
//! | `explain`, `telling` | questions: why, who, how many, which addresses |
//! | `config`, `behaviour`, `change` | what an operator decides, with defaults and their reasons |
//! | `answer`, `record`, `ops`, `updates`, `store` | what comes in and goes out, as data |
//! | `invariants` | the laws, recomputed from scratch |
//! | `model` | the same policy written as plainly as can be, and what drives both |
//!
//! Begin with `state`, then `manager`, then `dialing`.
//!
//! # Not here
//!
//! Timeouts of dials and handshakes, which belong to the shell; the store itself ([`Store`] is what it must do).

mod accepting;
mod answer;
mod arena;
mod backoff;
mod bans;
mod behaviour;
mod change;
mod changing;
mod config;
mod dialing;
mod explain;
mod groups;
mod index;
mod invariants;
mod leaving;
mod manager;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod ops;
mod order;
mod parking;
mod pools;
mod record;
mod restoring;
mod seating;
mod sources;
mod standing;
mod state;
mod store;
mod storing;
mod telling;
mod updates;

#[cfg(test)]
mod tests;

pub use answer::{
    AddError, Admitted, BanError, Banned, Dial, Eviction, Output, PeerUpdate, Reject, Report, WakeReason,
    Wakeup,
};
pub use backoff::{Hold, HoldReason};
pub use behaviour::{BehaviourConfig, BehaviourWeights, GoodWeights};
pub use change::{Change, PeerSet};
pub use config::{
    BackoffConfig, Config, ConfigError, GroupConfig, Limit, MAX_DURATION, MAX_QUOTAS, Quota, SeedConfig, Want,
};
pub use invariants::InvariantViolation;
pub use manager::PeerManager;
pub use ops::{Answer, Op};
pub use record::{
    AddressRecord, BanReason, BanRecord, BanTarget, HoldRecord, PeerRecord, PointsRecord, Record, RecordKey,
    Source, StandingRecord, WallTime,
};
pub use state::{EvictReason, Introduction, Remote};
pub use store::{Loaded, Store, StoreError};
pub use telling::{Counts, Status};
pub use updates::{Cursor, UpdateLog};

/// Longest reason of a ban, in bytes.
pub const MAX_BAN_TEXT_BYTES: usize = 200;
