//! How much a channel may hold, and what happens when it is full.

use crate::id::ChannelId;
use crate::message::ChannelSpec;
use crate::queue::{self, FlowConfig, MAX_WEIGHT, Overflow, Priority, QueueConfig, Quota, charge};

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
    /// Whether it goes before the other channels of a connection, whatever their weights: for what is small, rare
    /// and urgent. The default is not.
    pub priority: Priority,
    /// What may wait for one peer.
    pub outbound: Share,
    /// What happens when that is full. `Wait` refuses a `try_send` and lets a `send` wait; `Disconnect` ends the
    /// connection; what is dropped is counted.
    pub outbound_overflow: Overflow,
    /// What may wait for the receiver from one peer.
    pub inbound: Share,
    /// What may wait for the receiver from all peers together.
    pub inbound_total: Share,
    /// What happens when a peer's share is full. `Wait` stops reading from that peer, on all channels, until
    /// there is room; the default drops the newest, so that a receiver that sleeps harms no other channel.
    pub inbound_overflow: Overflow,
    /// How fast one peer may send messages and questions; what goes beyond is dropped, counted and reported as
    /// misbehaviour. Answers are not counted, since they were asked for. The default is no limit.
    pub inbound_quota: Option<Quota>,
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
            priority: Priority::Normal,
            outbound: share,
            outbound_overflow: Overflow::Wait,
            inbound: share,
            inbound_total: Share { messages: 16 * 1024, bytes: 16 * bytes },
            inbound_overflow: Overflow::DropNewest,
            inbound_quota: None,
        }
    }

    /// Checks the numbers against the channel's protocol, and makes them limits.
    pub(crate) fn limits(&self, spec: &ChannelSpec) -> Result<Limits, ChannelConfigError> {
        let fault = |field, why| ChannelConfigError { channel: spec.id, field, why };
        let largest = charge(spec.max_bytes);
        let flow = |field, weight, share: Share, overflow| {
            if share.bytes < largest {
                return Err(fault(
                    field,
                    format!("{} bytes do not hold the largest message, {largest}", share.bytes),
                ));
            }
            FlowConfig::new(weight, share.messages, share.bytes, overflow)
                .map_err(|error| fault(field, error.to_string()))
        };
        if spec.versions.iter().any(|version| version.number == 0) {
            return Err(fault("VERSIONS", "a version's number is 1 or more; this is 0".to_owned()));
        }
        if self.inbound_overflow == Overflow::ReplaceByKey {
            // The key stays with the sender.
            return Err(fault(
                "inbound_overflow",
                "what comes from peers has no keys to replace by".to_owned(),
            ));
        }
        // Apart from the shares, whose checks would blame them for it.
        if !(1..=MAX_WEIGHT).contains(&self.weight) {
            return Err(fault("weight", queue::ConfigError::Weight(self.weight).to_string()));
        }
        let outbound = flow("outbound", self.weight, self.outbound, self.outbound_overflow)?;
        let outbound = outbound.with_priority(self.priority);
        let inbound = flow("inbound", 1, self.inbound, self.inbound_overflow)?;
        let total = flow("inbound_total", 1, self.inbound_total, self.inbound_overflow)?;
        let total = QueueConfig::new(total.max_messages(), total.max_bytes())
            .map_err(|error| fault("inbound_total", error.to_string()))?;
        Ok(Limits { outbound, inbound, total, quota: self.inbound_quota })
    }
}

/// A [`ChannelConfig`] that was checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The channel's flow on each connection.
    pub(crate) outbound: FlowConfig,
    /// Each peer's flow to the receiver.
    pub(crate) inbound: FlowConfig,
    /// All of those together.
    pub(crate) total: QueueConfig,
    /// How fast a peer may send.
    pub(crate) quota: Option<Quota>,
}

/// A [`ChannelConfig`] does not hold together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("channel `{channel}`: `{field}`: {why}")]
pub struct ChannelConfigError {
    /// The channel.
    pub channel: ChannelId,
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Version;

    #[test]
    fn a_protocol_of_version_zero_is_refused_by_that_name() {
        let spec = |number| {
            let versions: &'static [Version] = match number {
                0 => &[Version { number: 0, codes: 1 }],
                _ => &[Version { number: 1, codes: 1 }],
            };
            ChannelSpec { id: ChannelId::from_static("note"), versions, max_bytes: 10 }
        };
        let config = ChannelConfig::for_messages_of(10);
        assert!(config.limits(&spec(1)).is_ok());
        assert_eq!(config.limits(&spec(0)).map(drop).map_err(|error| error.field), Err("VERSIONS"));
    }
}
