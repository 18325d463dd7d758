//! How much a channel may hold, and what happens when it is full.

use crate::message::ChannelSpec;
use crate::queue::Overflow;

/// Bounds of one queue or of one flow's share in it, in messages and in bytes. Neither may be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Most messages.
    pub messages: usize,
    /// Most bytes.
    pub bytes: usize,
}

/// How a channel queues. Every number has a default that suits a channel of moderate traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelConfig {
    /// Weight among the channels of a connection: twice the weight, twice the bytes under load. 1 to 1024.
    pub weight: u32,
    /// What may wait for one peer.
    pub outbound: Share,
    /// What happens when that is full. `Wait` refuses a `try_send` and lets a `send` wait.
    pub outbound_overflow: Overflow,
    /// What may wait for the receiver from one peer.
    pub inbound: Share,
    /// What may wait for the receiver from all peers together.
    pub inbound_total: Share,
    /// What happens when a peer's share is full. `Wait` stops reading from that peer, on all channels, until
    /// there is room; the default drops the newest, so that a receiver that sleeps harms no other channel.
    pub inbound_overflow: Overflow,
}

impl ChannelConfig {
    /// The default for a channel whose messages have at most `max_bytes` bytes: 1,024 messages a peer, and
    /// room for at least four of the largest.
    #[must_use]
    pub fn for_messages_of(max_bytes: usize) -> Self {
        let bytes = (4 * (max_bytes + 1024)).max(4 << 20);
        let share = Share { messages: 1024, bytes };
        Self {
            weight: 1,
            outbound: share,
            outbound_overflow: Overflow::Wait,
            inbound: share,
            inbound_total: Share { messages: 16 * 1024, bytes: 16 * bytes },
            inbound_overflow: Overflow::DropNewest,
        }
    }

    pub(crate) fn check(&self, spec: &ChannelSpec) -> Result<(), ChannelConfigError> {
        let fault = |field, why| Err(ChannelConfigError { channel: spec.id.to_string(), field, why });
        if !(1..=1024).contains(&self.weight) {
            return fault("weight", "must be from 1 to 1024");
        }
        let shares =
            [("outbound", self.outbound), ("inbound", self.inbound), ("inbound_total", self.inbound_total)];
        for (field, share) in shares {
            if share.messages == 0 {
                return fault(field, "must have room for at least one message");
            }
            if share.bytes < spec.max_bytes + crate::queue::OVERHEAD_BYTES {
                return fault(field, "must have room for the channel's largest message");
            }
        }
        Ok(())
    }
}

/// A [`ChannelConfig`] does not hold together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("channel `{channel}`: `{field}` {why}")]
pub struct ChannelConfigError {
    /// The channel.
    pub channel: String,
    /// The field at fault.
    pub field: &'static str,
    /// What it must be.
    pub why: &'static str,
}
