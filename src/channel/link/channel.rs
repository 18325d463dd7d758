//! One channel of a connection: its version, its counters, and how fast the peer may send on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::channel::counters::ChannelCounters;
use crate::id::ChannelId;
use crate::queue::{FlowConfig, Quota, TokenBucket};

/// The connection's half of a channel: version in use, and where it is counted.
pub(crate) struct LinkChannel {
    pub(crate) id: ChannelId,
    pub(crate) version: u32,
    pub(crate) flow: FlowConfig,
    pub(crate) counters: Arc<ChannelCounters>,
    /// How fast the peer may send, if there is a limit.
    pub(crate) quota: Option<Mutex<Meter>>,
}

/// How fast the peer of one link may send on one channel.
#[derive(Debug)]
pub(crate) struct Meter {
    bucket: TokenBucket,
    /// The message at hand was charged and then put off. It comes again before any other of its channel.
    charged: bool,
}

impl Meter {
    pub(crate) fn new(quota: Quota, now: Instant) -> Self {
        Self { bucket: TokenBucket::new(quota, now), charged: false }
    }
}

impl LinkChannel {
    /// Whether the peer may send a message of so many bytes now; charges it if so, and only once until
    /// [`LinkChannel::delivered`].
    pub(in crate::channel) fn is_within_quota(&self, now: Instant, bytes: usize) -> bool {
        let Some(quota) = &self.quota else { return true };
        let mut meter = quota.lock().unwrap_or_else(PoisonError::into_inner);
        meter.charged = meter.charged || meter.bucket.take(now, bytes);
        meter.charged
    }

    /// The message that was charged will not come again.
    pub(in crate::channel) fn delivered(&self) {
        if let Some(quota) = &self.quota {
            quota.lock().unwrap_or_else(PoisonError::into_inner).charged = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Overflow;

    #[test]
    fn a_message_that_is_put_off_is_charged_once() {
        let now = tokio::time::Instant::now().into_std();
        let flow = FlowConfig::new(1, 1, 1024, Overflow::Wait).unwrap();
        let meter = Meter::new(Quota::new(1, 2).unwrap(), now);
        let channel = LinkChannel {
            id: ChannelId::from_static("note"),
            version: 1,
            flow,
            counters: Arc::default(),
            quota: Some(Mutex::new(meter)),
        };
        for _ in 0..2 {
            for _ in 0..5 {
                assert!(channel.is_within_quota(now, 1), "however often it comes again");
            }
            channel.delivered();
        }
        assert!(!channel.is_within_quota(now, 1));
    }
}
