//! The router's own settings.

use std::time::Duration;

use crate::channel::Share;
use crate::peer;
use crate::queue::QueueConfig;
use crate::rlpx::{Info, KeepaliveConfig};

/// No setting may be longer, so that sums of times stay far from overflow.
const MAX_TIME: Duration = Duration::from_secs(3600);

/// Settings of a node. [`RouterConfig::new`] gives the defaults, of which none means "for ever".
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// What a node says it is, in Hello. Default: `peerage/` and the version.
    pub client: String,
    /// The network; peers that name another are refused. At most 64 bytes. Default: `peerage`.
    pub network: String,
    /// Services announced to peers: at most 16 of at most 32 bytes. Default: none.
    pub services: Vec<String>,
    /// Time from the beginning of an attempt, its dial included, to a finished handshake. Default: 5 s. Above zero, at
    /// most one hour, as are the two below.
    pub handshake_timeout: Duration,
    /// Time within which a connection must take some of what is written to it. Default: 20 s.
    pub write_stall: Duration,
    /// Time that a shutdown gives queued messages. Default: 5 s.
    pub drain_timeout: Duration,
    /// Signs of life on a connection. Default: a ping every 15 s, an end after 30 s of silence.
    pub keepalive: KeepaliveConfig,
    /// Bounds of what may wait for one peer, over all channels. Default: 16,384 messages, 64 MiB.
    pub peer_queue: Share,
    /// Whom to dial, admit and evict. Its `self_id` is the node's own, whatever is put there.
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
            peer_queue: Share { messages: 16 * 1024, bytes: 64 << 20 },
            peers: peer::Config::new(id),
        }
    }

    /// Checks the numbers; gives the bounds of a peer's queue, which must hold a message that is charged
    /// `largest` bytes.
    pub(super) fn check(&self, largest: usize) -> Result<QueueConfig, ConfigError> {
        let times = [
            ("handshake_timeout", self.handshake_timeout),
            ("write_stall", self.write_stall),
            ("drain_timeout", self.drain_timeout),
        ];
        for (field, time) in times {
            if time.is_zero() || time > MAX_TIME {
                let why = "must be above zero and at most one hour".into();
                return Err(ConfigError { field, why });
            }
        }
        let info = Info { network: self.network.clone(), services: self.services.clone() };
        info.check().map_err(|error| ConfigError { field: "network or services", why: error.to_string() })?;
        if self.peer_queue.bytes < largest {
            let why = format!("{} bytes do not hold the largest message, {largest}", self.peer_queue.bytes);
            return Err(ConfigError { field: "peer_queue", why });
        }
        QueueConfig::new(self.peer_queue.messages, self.peer_queue.bytes)
            .map_err(|error| ConfigError { field: "peer_queue", why: error.to_string() })
    }
}

/// A setting is out of its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {why}")]
pub struct ConfigError {
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}
