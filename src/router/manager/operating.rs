//! What an operator asks of the actor, and what it tells of its decisions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::actor::ManagerActor;
use super::ingress::Command;
use crate::address::Endpoint;
use crate::channel::BookRequest;
use crate::event::{Closed, EventKind, Rule};
use crate::id::Direction;
use crate::peer::{Answer, BanReason, BanRecord, BanTarget, Op, Record, RecordKey, Reject, Source};
use crate::router::Shared;
use crate::router::events::About;

impl ManagerActor {
    /// Carries a command out. What follows from it is done before the next request is taken.
    pub(super) fn on_command(&mut self, command: Command, now: Instant) {
        // Whoever asked may have stopped waiting; the command stands all the same.
        match command {
            Command::Add { address, reply } => {
                let op = Op::Add { address, source: Source::Operator };
                if let Answer::Added(added) = self.manager.apply(op, now) {
                    let _ = reply.send(added);
                }
            }
            Command::Disconnect { peer, reply } => {
                if let Answer::Disconnect(connected) = self.manager.apply(Op::Disconnect { peer }, now) {
                    let _ = reply.send(connected);
                }
            }
            Command::Ban { target, length, why, reply } => {
                if let Answer::Ban(banned) = self.manager.apply(Op::Ban { target, length, why }, now) {
                    let _ = reply.send(banned);
                }
            }
            Command::Unban { target, reply } => {
                if let Answer::Unban(lifted) = self.manager.apply(Op::Unban { target }, now) {
                    let _ = reply.send(lifted);
                }
            }
            Command::Reconfigure { change, reply } => {
                if let Answer::Reconfigured(changed) = self.manager.apply(Op::Reconfigure(change), now) {
                    let _ = reply.send(changed);
                }
            }
            Command::Look(look) => {
                // What is seen is the state as of the latest input, which may be long ago.
                self.manager.apply(Op::Advance(Duration::ZERO), now);
                look(self.manager.manager());
            }
        }
    }

    /// Does what a reactor asks that exchanges addresses.
    pub(super) fn on_book(&mut self, request: BookRequest, now: Instant) {
        match request {
            BookRequest::Learn { from, addresses } => {
                for address in addresses {
                    // What cannot be used, or is one too many, is passed over.
                    self.manager.apply(Op::Add { address, source: Source::Gossip { from } }, now);
                }
            }
            BookRequest::Choose { to, most, then } => {
                self.manager.apply(Op::Advance(Duration::ZERO), now);
                let chosen = self.manager.manager().advertise(Some(to), most);
                // It is a reactor's own, as that reactor's panic would be.
                let _ = catch_unwind(AssertUnwindSafe(|| then(chosen)));
            }
        }
    }

    /// Tells why a connection is not admitted, right after the call that said so; and how it is to be ended.
    pub(super) fn refuse(
        &self,
        shared: &Shared,
        about: About,
        reject: Reject,
        endpoint: Option<&Endpoint>,
    ) -> Closed {
        // A dial that finds no room lacks an outgoing slot; its endpoint matters to a ban alone.
        let came_in = about.direction == Some(Direction::Inbound);
        let endpoint = endpoint.filter(|_| came_in || reject == Reject::Banned);
        let banned = |peer| self.manager.manager().why(peer);
        let by_id = about.peer.as_ref().filter(|_| reject == Reject::Banned).map(banned);
        let because = by_id
            .filter(|because| because.rule == Rule::Banned)
            .unwrap_or_else(|| self.manager.manager().why_rejected(reject, endpoint));
        shared.events.emit(about, EventKind::Refused { because });
        reject.closed()
    }

    /// Tells of a ban that is to be stored: every new one is.
    pub(super) fn tell_ban(&self, shared: &Shared, record: &Record) {
        let Record::Ban(BanRecord { target, why, .. }) = record else { return };
        // A ban that ended before it was stored is not told.
        let Some(because) = self.manager.manager().why_banned(target) else { return };
        let automatic = matches!(why, BanReason::Misbehaved(_));
        let (text, why) = (target.to_string(), why.to_string());
        let ban = EventKind::Banned { target: text, why, automatic, because };
        shared.events.emit(about(target), ban);
    }
}

/// Tells of a ban whose record is to be deleted.
pub(super) fn tell_unban(shared: &Shared, key: &RecordKey) {
    let RecordKey::Ban(target) = key else { return };
    shared.events.emit(about(target), EventKind::Unbanned { target: target.to_string() });
}

fn about(target: &BanTarget) -> About {
    let peer = match target {
        BanTarget::Peer(id) => Some(*id),
        BanTarget::Prefix(_) => None,
    };
    About { peer, ..About::default() }
}
