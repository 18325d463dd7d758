//! Projections of a node's events: what operators read.
//!
//! [`LogObserver`] writes each event as one `tracing` record whose fields are the event's own, so that a log
//! can be searched by layer and label. Nothing here decides anything.
//!
//! With the feature `journal`, `observe::journal` keeps all that the peer manager is told and decides, and replays it.
//!
//! Metrics are not here: write an [`Observer`] for them, or read the counters of
//! [`RouterHandle`](crate::router::RouterHandle).

#[cfg(feature = "journal")]
pub mod journal;

use crate::event::{Event, EventKind, Observer};
use crate::id::{ChannelId, ConnId, Direction, NodeId, ShortId};

/// Writes events to `tracing`, under the target `peerage`.
///
/// A reactor's panic is an error; a failure to accept, a peer's misbehaviour and a store that cannot read or write are
/// warnings; connections that are refused, come up, are evicted, fail and end are information, and so are bans; dials and
/// the stages of handshakes are for debugging. Decisions tell their reason, as a rule and as a sentence.
#[derive(Debug, Clone, Copy)]
pub struct LogObserver {
    node: ShortId,
}

impl LogObserver {
    /// An observer of this node, which every record names: several nodes may share one log.
    #[must_use]
    pub fn of(node: NodeId) -> Self {
        Self { node: node.short() }
    }
}

impl Observer for LogObserver {
    fn observe(&self, event: &Event) {
        let conn = event.conn.map_or(0, ConnId::as_u64);
        let peer = event.peer.map(|peer| peer.short().to_string()).unwrap_or_default();
        let direction = event.direction.map_or("", Direction::as_str);
        let (node, seq, kind) = (self.node, event.seq, event.kind.label());
        match &event.kind {
            EventKind::Failed { closed } | EventKind::Down { closed } => tracing::info!(
                target: "peerage", %node, seq, kind, conn, peer, direction,
                layer = closed.layer.as_str(), label = closed.label, reason = closed.reason.as_str(),
                blame = closed.blame.as_str(), by = %closed.by, detail = %closed.detail
            ),
            EventKind::AcceptFailed { error } => tracing::warn!(target: "peerage", %node, seq, kind, %error),
            EventKind::ReactorPanicked { reactor } => {
                tracing::error!(target: "peerage", %node, seq, kind, %reactor);
            }
            EventKind::Misbehaved { channel, what, count, detail } => tracing::warn!(
                target: "peerage", %node, seq, kind, conn, peer, direction,
                channel = channel.as_ref().map_or("", ChannelId::as_str), what = what.as_str(), count, %detail
            ),
            EventKind::Stage { stage, took } => tracing::debug!(
                target: "peerage", %node, seq, kind, conn, peer, direction,
                stage = stage.as_str(), took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
            ),
            EventKind::Dialing { endpoint, because } => tracing::debug!(
                target: "peerage", %node, seq, kind, conn, peer, %endpoint, rule = because.rule.as_str(), %because
            ),
            EventKind::Refused { because } => tracing::info!(
                target: "peerage", %node, seq, kind, conn, peer, direction, rule = because.rule.as_str(), %because
            ),
            EventKind::Evicting { why, because } => tracing::info!(
                target: "peerage", %node, seq, kind, conn, peer, direction, why, rule = because.rule.as_str(),
                %because
            ),
            EventKind::Banned { target: banned, why, automatic, because } => tracing::info!(
                target: "peerage", %node, seq, kind, banned, why, automatic, %because
            ),
            EventKind::Unbanned { target: banned } => {
                tracing::info!(target: "peerage", %node, seq, kind, banned);
            }
            EventKind::StoreSkipped { count, faults } => tracing::warn!(
                target: "peerage", %node, seq, kind, count, faults = faults.join("; ")
            ),
            EventKind::StoreFailed { error, again } => {
                tracing::warn!(target: "peerage", %node, seq, kind, %error, again);
            }
            EventKind::Incoming { endpoint } | EventKind::Listening { endpoint } => {
                tracing::debug!(target: "peerage", %node, seq, kind, conn, peer, %endpoint);
            }
            _ => tracing::info!(target: "peerage", %node, seq, kind, conn, peer, direction),
        }
    }
}
