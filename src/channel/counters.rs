//! What a channel has carried and lost.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a message that had been accepted, here or by a peer, never came to a reactor.
///
/// What is refused at the moment of sending is not among these: its sender was told, and
/// [`ChannelCounters::refused`] counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(usize)]
pub enum DropReason {
    /// A newer message pushed it out of a full outbound queue.
    OutboundEvicted,
    /// A newer message of the same key took its place in the outbound queue.
    Replaced,
    /// It was older than its deadline.
    Stale,
    /// Its sender took it back.
    Cancelled,
    /// The connection ended before it was written.
    Disconnected,
    /// The node shut down before it was written.
    Shutdown,
    /// A newer message pushed it out of a full inbound queue.
    InboundEvicted,
    /// It came to a full inbound queue.
    InboundFull,
    /// It could not be decoded.
    Malformed,
    /// The receiver is gone.
    NoReceiver,
    /// It was beyond what the channel lets one peer send in a time.
    OverQuota,
    /// It was an answer that came after its asker had given up. Nobody's fault.
    LateAnswer,
    /// It was an answer that nobody asked for: unknown, a duplicate, or of another question. The peer's fault.
    UnaskedAnswer,
    /// It was a question that found no capacity, or whose responder was dropped. A question that was received, or
    /// lost in the inbound queue, is counted there as well: this says that it had no answer.
    Unanswered,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 14] = [
        Self::OutboundEvicted,
        Self::Replaced,
        Self::Stale,
        Self::Cancelled,
        Self::Disconnected,
        Self::Shutdown,
        Self::InboundEvicted,
        Self::InboundFull,
        Self::Malformed,
        Self::NoReceiver,
        Self::OverQuota,
        Self::LateAnswer,
        Self::UnaskedAnswer,
        Self::Unanswered,
    ];

    /// Whether the message had been sent and came to its peer, which did not receive it. So sent is received and so
    /// dropped, and what was lost on the way.
    #[must_use]
    pub fn is_on_arrival(self) -> bool {
        match self {
            Self::InboundFull
            | Self::Malformed
            | Self::NoReceiver
            | Self::OverQuota
            | Self::LateAnswer
            | Self::UnaskedAnswer
            | Self::Unanswered => true,
            Self::OutboundEvicted
            | Self::Replaced
            | Self::Stale
            | Self::Cancelled
            | Self::Disconnected
            | Self::Shutdown
            | Self::InboundEvicted => false,
        }
    }

    /// A stable snake-case label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutboundEvicted => "outbound_evicted",
            Self::Replaced => "replaced",
            Self::Stale => "stale",
            Self::Cancelled => "cancelled",
            Self::Disconnected => "disconnected",
            Self::Shutdown => "shutdown",
            Self::InboundEvicted => "inbound_evicted",
            Self::InboundFull => "inbound_full",
            Self::Malformed => "malformed",
            Self::NoReceiver => "no_receiver",
            Self::OverQuota => "over_quota",
            Self::LateAnswer => "late_answer",
            Self::UnaskedAnswer => "unasked_answer",
            Self::Unanswered => "unanswered",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Live counters of one channel, over all its peers since the node started.
///
/// For what goes to peers: accepted = sent + what is queued + what was lost as evicted, replaced, stale, cancelled,
/// disconnected or by shutdown. What the writer has taken and not yet written is none of these until it
/// is written, or lost with its connection. A stale message is counted when it is noticed.
///
/// For what comes to the receiver, local messages included: received = read + what waits + what was lost as evicted
/// inbound, stale, cancelled, or queued when the receiver went.
#[derive(Debug, Default)]
pub struct ChannelCounters {
    accepted: AtomicU64,
    refused: AtomicU64,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
    local: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
}

impl ChannelCounters {
    /// Messages queued for a recipient when they were sent, each recipient counted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Messages that were refused to a recipient when they were sent.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Messages written to a connection.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Payload bytes written to connections.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Relaxed)
    }

    /// Messages queued for the receiver, and answers taken to whoever asked.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Payload bytes of the messages queued for the receiver; local ones have none.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Relaxed)
    }

    /// Of the messages queued for the receiver, those that came from this node itself.
    #[must_use]
    pub fn local(&self) -> u64 {
        self.local.load(Relaxed)
    }

    /// Messages lost for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Relaxed)
    }

    /// The reasons for which messages were lost, with their numbers; none that is zero.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL
            .into_iter()
            .map(|reason| (reason, self.dropped(reason)))
            .filter(|(_, count)| *count > 0)
    }

    pub(crate) fn add_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(1, Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn add_received(&self, bytes: usize) {
        self.received.fetch_add(1, Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn add_local(&self) {
        self.local.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_dropped(&self, reason: DropReason, count: u64) {
        if count > 0 {
            self.dropped[reason as usize].fetch_add(count, Relaxed);
        }
    }
}
