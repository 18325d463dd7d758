//! Every input as data: what a fuzzer makes up, a model test shrinks, and a journal replays.

use std::time::{Duration, Instant};

use super::PeerManager;
use super::answer::{AddError, Admitted, BanError, Banned, Dial, Eviction, Output, Reject, Report};
use super::change::Change;
use super::config::ConfigError;
use super::record::{BanTarget, Source};
use super::state::Introduction;
use crate::address::{Endpoint, NodeAddress};
use crate::event::{Closed, GoodAct, Misbehaviour};
use crate::id::{ConnId, NodeId};

/// One input. With the feature `serde` it can be written and read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
#[allow(missing_docs)] // Fields are the arguments of the method of the same name.
pub enum Op {
    /// Time passes: whoever drives moves its clock by so much, and then calls [`PeerManager::advance`].
    Advance(Duration),
    /// [`PeerManager::add`].
    Add { address: NodeAddress, source: Source },
    /// [`PeerManager::try_dial_next`].
    TryDialNext,
    /// [`PeerManager::dialed`].
    Dialed { conn: ConnId },
    /// [`PeerManager::dial_failed`].
    DialFailed { conn: ConnId, closed: Closed },
    /// [`PeerManager::incoming`].
    Incoming { endpoint: Endpoint },
    /// [`PeerManager::incoming_failed`].
    IncomingFailed { conn: ConnId, closed: Closed },
    /// [`PeerManager::accepted`].
    Accepted { conn: ConnId, id: NodeId },
    /// [`PeerManager::ready`].
    Ready { conn: ConnId, introduction: Introduction },
    /// [`PeerManager::try_evict_next`].
    TryEvictNext,
    /// [`PeerManager::disconnected`].
    Disconnected { conn: ConnId, closed: Closed },
    /// [`PeerManager::reported`].
    Reported { conn: ConnId, what: Misbehaviour, count: u32 },
    /// [`PeerManager::praised`].
    Praised { conn: ConnId, what: GoodAct, count: u32 },
    /// [`PeerManager::measured`].
    Measured { conn: ConnId, latency: Duration },
    /// [`PeerManager::ban`].
    Ban { target: BanTarget, length: Option<Duration>, why: Box<str> },
    /// [`PeerManager::unban`].
    Unban { target: BanTarget },
    /// [`PeerManager::reconfigure`].
    Reconfigure(Change),
    /// [`PeerManager::errored`].
    Errored { conn: ConnId, closed: Closed },
    /// [`PeerManager::disconnect`].
    Disconnect { peer: NodeId },
    /// [`PeerManager::poll_output`].
    PollOutput,
}

/// What an [`Op`] was answered.
///
/// With the feature `serde` it can be written and not read: instants in it are told as the time left until then.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[allow(missing_docs)] // Each holds what the method of that name returns.
pub enum Answer {
    Advanced,
    Added(Result<bool, AddError>),
    Dial(Option<Dial>),
    Admitted(Result<Admitted, Reject>),
    Incoming(Result<ConnId, Reject>),
    Report(Report),
    Eviction(Option<Eviction>),
    Disconnect(bool),
    Ban(Result<Banned, BanError>),
    Unban(bool),
    Reconfigured(Result<bool, ConfigError>),
    Output(Option<Output>),
}

impl Answer {
    /// Whether the call failed, and so must have changed nothing.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(
            self,
            Self::Added(Err(_))
                | Self::Admitted(Err(_))
                | Self::Incoming(Err(_))
                | Self::Ban(Err(_))
                | Self::Reconfigured(Err(_))
        )
    }
}

impl PeerManager {
    /// Applies one input at `now`.
    pub fn apply(&mut self, op: Op, now: Instant) -> Answer {
        match op {
            Op::Advance(_) => {
                self.advance(now);
                Answer::Advanced
            }
            Op::Add { address, source } => Answer::Added(self.add(&address, source, now)),
            Op::TryDialNext => Answer::Dial(self.try_dial_next(now)),
            Op::Dialed { conn } => Answer::Admitted(self.dialed(conn, now)),
            Op::DialFailed { conn, closed } => Answer::Report(self.dial_failed(conn, &closed, now)),
            Op::Incoming { endpoint } => Answer::Incoming(self.incoming(&endpoint, now)),
            Op::IncomingFailed { conn, closed } => Answer::Report(self.incoming_failed(conn, &closed, now)),
            Op::Accepted { conn, id } => Answer::Admitted(self.accepted(conn, id, now)),
            Op::Ready { conn, introduction } => Answer::Report(self.ready(conn, introduction, now)),
            Op::TryEvictNext => Answer::Eviction(self.try_evict_next(now)),
            Op::Disconnected { conn, closed } => Answer::Report(self.disconnected(conn, &closed, now)),
            Op::Reported { conn, what, count } => Answer::Report(self.reported(conn, what, count, now)),
            Op::Praised { conn, what, count } => Answer::Report(self.praised(conn, what, count, now)),
            Op::Measured { conn, latency } => Answer::Report(self.measured(conn, latency, now)),
            Op::Ban { target, length, why } => Answer::Ban(self.ban(target, length, &why, now)),
            Op::Unban { target } => Answer::Unban(self.unban(&target, now)),
            Op::Reconfigure(change) => Answer::Reconfigured(self.reconfigure(&change, now)),
            Op::Errored { conn, closed } => Answer::Report(self.errored(conn, &closed, now)),
            Op::Disconnect { peer } => Answer::Disconnect(self.disconnect(&peer, now)),
            Op::PollOutput => Answer::Output(self.poll_output()),
        }
    }
}
