//! What of a node's events goes into the trace.

use super::trace::digest_of;
use crate::event::{Event, EventKind};

/// A digest of all that an event says, but for instants, which mean nothing in another run.
pub(super) fn digest(event: &Event) -> u64 {
    let Event { seq, at, conn, peer, direction, kind } = event;
    let about = digest_of(format_args!("{seq} {at:?} {conn:?} {peer:?} {direction:?}"));
    let words = match kind {
        EventKind::Listening { endpoint } | EventKind::Incoming { endpoint } => {
            digest_of(format_args!("{endpoint}"))
        }
        EventKind::Dialing { endpoint, because } => digest_of(format_args!("{endpoint} {because}")),
        EventKind::Stage { stage, took } => digest_of(format_args!("{stage} {took:?}")),
        EventKind::Failed { closed } | EventKind::Down { closed } => digest_of(format_args!("{closed}")),
        EventKind::Refused { because } => digest_of(format_args!("{because}")),
        EventKind::Evicting { why, because } => digest_of(format_args!("{why} {because}")),
        EventKind::Banned { target, why, automatic, because } => {
            digest_of(format_args!("{target} {why} {automatic} {because}"))
        }
        // None of the others holds an instant.
        kind => digest_of(format_args!("{kind:?}")),
    };
    about ^ words.rotate_left(1)
}
