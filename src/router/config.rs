//! The router's own settings.

use std::time::Duration;

use crate::peer;
use crate::queue::QueueConfig;
use crate::rlpx::keepalive::KeepaliveConfig;

/// Settings of a node. [`RouterConfig::new`] gives the defaults, of which none means "for ever".
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// What a node says it is, in Hello. Default: `peerage/` and the version.
    pub client: String,
    /// The network; peers that name another are refused. At most 64 bytes. Default: `peerage`.
    pub network: String,
    /// Services announced to peers: at most 16 of at most 32 bytes.
    pub services: Vec<String>,
    /// Time from the first byte of an attempt to Up. Default: 5 s.
    pub handshake_timeout: Duration,
    /// Time within which a connection must take some of what is written to it. Default: 20 s.
    pub write_stall: Duration,
    /// Time that a shutdown gives queued messages. Default: 5 s.
    pub drain_timeout: Duration,
    /// Signs of life on a connection.
    pub keepalive: KeepaliveConfig,
    /// Bounds of what may wait for one peer, over all channels. Default: 16,384 messages, 64 MiB.
    pub peer_queue: QueueConfig,
    /// Whom to dial, admit and evict.
    pub peers: peer::Config,
}

impl RouterConfig {
    /// The defaults for a node of this identity.
    #[must_use]
    pub fn new(id: crate::id::NodeId) -> Self {
        Self {
            client: concat!("peerage/", env!("CARGO_PKG_VERSION")).into(),
            network: "peerage".into(),
            services: Vec::new(),
            handshake_timeout: Duration::from_secs(5),
            write_stall: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(5),
            keepalive: KeepaliveConfig::default(),
            peer_queue: QueueConfig { max_messages: 16 * 1024, max_bytes: 64 << 20 },
            peers: peer::Config::new(id),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let fault = |field, why| Err(ConfigError { field, why });
        let times = [
            ("handshake_timeout", self.handshake_timeout),
            ("write_stall", self.write_stall),
            ("drain_timeout", self.drain_timeout),
        ];
        for (field, time) in times {
            if time.is_zero() || time > MAX_TIME {
                return fault(field, "must be above zero and at most one hour");
            }
        }
        if self.network.len() > 64 {
            return fault("network", "has more than 64 bytes");
        }
        if self.services.len() > 16 || self.services.iter().any(|service| service.len() > 32) {
            return fault("services", "has more than 16 names, or one of more than 32 bytes");
        }
        if self.peer_queue.max_messages == 0 || self.peer_queue.max_bytes == 0 {
            return fault("peer_queue", "must have room for at least one message");
        }
        Ok(())
    }
}

const MAX_TIME: Duration = Duration::from_secs(3600);

/// A setting is out of its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {why}")]
pub struct ConfigError {
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}
