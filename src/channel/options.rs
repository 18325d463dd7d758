//! What a message carries beside itself.

use std::time::{Duration, Instant};

use crate::queue::{self, Meta};

/// Names messages that can be taken back together, as long as they are queued. Minted by
/// [`Sender::cancel_id`](super::Sender::cancel_id), or in a core by
/// [`Outbox::cancel_id`](crate::reactor::Outbox::cancel_id), and different from every other of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CancelId(pub(super) queue::CancelId);

/// What a message carries beside itself. The default carries nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct SendOptions {
    pub(super) stale_after: Option<Duration>,
    pub(super) cancel: Option<CancelId>,
    pub(super) key: Option<u64>,
}

impl SendOptions {
    /// Carries nothing.
    pub const fn new() -> Self {
        Self { stale_after: None, cancel: None, key: None }
    }

    /// Makes the message stale when it has been queued for so long: it is then dropped and counted as
    /// [`DropReason::Stale`](super::DropReason::Stale), not sent. A stale message is noticed when its turn comes, or
    /// when room is needed.
    pub const fn stale_after(mut self, age: Duration) -> Self {
        self.stale_after = Some(age);
        self
    }

    /// Lets [`Sender::cancel`](super::Sender::cancel), or [`Outbox::cancel`](crate::reactor::Outbox::cancel) in a core,
    /// take the message back as long as it is queued.
    pub const fn cancel_by(mut self, id: CancelId) -> Self {
        self.cancel = Some(id);
        self
    }

    /// Names what the message is the latest word on. On a channel with
    /// [`Overflow::ReplaceByKey`](crate::queue::Overflow::ReplaceByKey) it takes the place of the queued message of
    /// the same key; on others a key means nothing.
    pub const fn key(mut self, key: u64) -> Self {
        self.key = Some(key);
        self
    }

    pub(super) fn meta(&self, now: Instant, bytes: usize) -> Meta {
        let mut meta = Meta::new(bytes);
        // An age beyond the clock's range is no limit.
        meta.deadline = self.stale_after.and_then(|age| now.checked_add(age));
        meta.cancel = self.cancel.map(|CancelId(id)| id);
        meta.key = self.key;
        meta
    }
}
