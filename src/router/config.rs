//! The router's own settings.

use std::time::Duration;

use crate::channel::{LinkLimits, Share};
use crate::peer;
use crate::queue::QueueConfig;
use crate::request;
use crate::rlpx::p2p::MAX_CLIENT_BYTES;
use crate::rlpx::{KeepaliveConfig, MAX_NETWORK_BYTES, MAX_SERVICE_BYTES, MAX_SERVICES};

/// No setting may be longer, so that sums of times stay far from overflow.
const MAX_TIME: Duration = Duration::from_secs(3600);

/// Settings of a node. [`RouterConfig::new`] gives the defaults, of which none means "for ever".
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// What a node says it is, in Hello: at most 256 bytes, without control characters. Default: `peerage/` and the
    /// version.
    pub client: String,
    /// The network; peers that name another are refused. 1 to 64 bytes, without spaces and control
    /// characters. Default: `peerage`.
    pub network: String,
    /// Services announced to peers: at most 16 different ones of 1 to 32 bytes, without spaces and control characters.
    /// Default: none.
    pub services: Vec<String>,
    /// Time from the beginning of an attempt, its dial included, to a finished handshake. Default: 5 s. Above zero, at
    /// most one hour, as are the two below.
    pub handshake_timeout: Duration,
    /// Time within which a connection must take some of what is written to it. Default: 20 s.
    pub write_stall: Duration,
    /// Time that a shutdown gives queued messages, and then, and a second more, the store. Default: 5 s.
    pub drain_timeout: Duration,
    /// Signs of life on a connection. Default: a ping every 15 s, an end after 30 s of silence.
    pub keepalive: KeepaliveConfig,
    /// Bounds of what may wait for one peer, over all channels: room at least for the largest message of each.
    /// Default: 16,384 messages, 64 MiB.
    pub peer_queue: Share,
    /// Questions to one peer that are on their way or wait to be answered, over all channels. Further ones wait for
    /// their turn. 1 to [`MAX_IN_FLIGHT`](request::MAX_IN_FLIGHT). Default: 256.
    pub requests_in_flight: usize,
    /// Questions to one peer that wait for their turn, on each channel. Further ones are refused. 1 to
    /// [`MAX_WAITING`](request::MAX_WAITING). Default: 1,024.
    pub requests_waiting: usize,
    /// Questions of one peer that this node holds at a time, in queues and with reactors. Further ones are refused.
    /// Above zero. Default: 1,024.
    pub requests_answering: usize,
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
            requests_in_flight: 256,
            requests_waiting: 1024,
            requests_answering: 1024,
            peers: peer::Config::new(id),
        }
    }

    /// Checks the numbers; gives the limits of a connection, whose queue must hold a message that is charged
    /// `largest` bytes.
    pub(super) fn check(&self, largest: usize) -> Result<LinkLimits, ConfigError> {
        let fault = |field, why| ConfigError { field, why };
        let times = [
            ("handshake_timeout", self.handshake_timeout),
            ("write_stall", self.write_stall),
            ("drain_timeout", self.drain_timeout),
        ];
        for (field, time) in times {
            if time.is_zero() || time > MAX_TIME {
                return Err(fault(field, "must be above zero and at most one hour".into()));
            }
        }
        self.check_names()?;
        if self.peer_queue.bytes < largest {
            let why = format!("{} bytes do not hold the largest message, {largest}", self.peer_queue.bytes);
            return Err(fault("peer_queue", why));
        }
        let queue = QueueConfig::new(self.peer_queue.messages, self.peer_queue.bytes)
            .map_err(|error| fault("peer_queue", error.to_string()))?;
        let asking = request::Limits::new(self.requests_in_flight, self.requests_waiting);
        let asking = asking.map_err(|error| {
            let field = match error {
                request::ConfigError::InFlight(_) => "requests_in_flight",
                request::ConfigError::Waiting(_) => "requests_waiting",
            };
            fault(field, error.to_string())
        })?;
        if self.requests_answering == 0 {
            return Err(fault("requests_answering", "must be above zero".into()));
        }
        Ok(LinkLimits { queue, asking, answering: self.requests_answering })
    }
}

impl RouterConfig {
    /// Checks what the node says of itself. What peers say of themselves is read more leniently.
    fn check_names(&self) -> Result<(), ConfigError> {
        let fault = |field, why| ConfigError { field, why };
        if self.client.len() > MAX_CLIENT_BYTES {
            let why = format!("{} bytes; at most {MAX_CLIENT_BYTES} are sent", self.client.len());
            return Err(fault("client", why));
        }
        if self.client.contains(char::is_control) {
            return Err(fault("client", format!("{:?} has a control character", self.client)));
        }
        check_name("a network name", &self.network, MAX_NETWORK_BYTES)
            .map_err(|why| fault("network", why))?;
        if self.services.len() > MAX_SERVICES {
            let why = format!("{} services; at most {MAX_SERVICES}", self.services.len());
            return Err(fault("services", why));
        }
        for (at, service) in self.services.iter().enumerate() {
            check_name("a service name", service, MAX_SERVICE_BYTES).map_err(|why| fault("services", why))?;
            if self.services[..at].contains(service) {
                return Err(fault("services", format!("`{service}` is there twice")));
            }
        }
        Ok(())
    }
}

fn check_name(what: &str, name: &str, most_bytes: usize) -> Result<(), String> {
    match name.len() {
        0 => Err(format!("{what} that is empty")),
        bytes if bytes > most_bytes => Err(format!("{what} of {bytes} bytes; at most {most_bytes}")),
        _ if name.contains(|c: char| c.is_control() || c.is_whitespace()) => {
            Err(format!("{what} with a space or a control character: {name:?}"))
        }
        _ => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeKey;

    fn field_at_fault(change: impl FnOnce(&mut RouterConfig)) -> Option<&'static str> {
        let mut config = RouterConfig::new(NodeKey::insecure_from_seed(1).id());
        change(&mut config);
        config.check(1024).err().map(|error| error.field)
    }

    #[test]
    fn an_error_names_the_one_field_at_fault() {
        assert_eq!(field_at_fault(|_| {}), None);
        type Change = fn(&mut RouterConfig);
        let faults: [(&str, Change); 17] = [
            ("network", |config| config.network = "n".repeat(65)),
            ("services", |config| config.services = vec!["s".repeat(33)]),
            ("services", |config| config.services = (0..17).map(|number| number.to_string()).collect()),
            ("services", |config| config.services = vec!["blob".into(), String::new()]),
            ("services", |config| config.services = vec!["blob".into(), "blob".into()]),
            ("services", |config| config.services = vec!["a blob".into()]),
            ("network", |config| config.network = String::new()),
            ("network", |config| config.network = "main\u{1b}[2J".into()),
            ("client", |config| config.client = "c".repeat(257)),
            ("client", |config| config.client = "c\n".into()),
            ("handshake_timeout", |config| config.handshake_timeout = Duration::ZERO),
            ("drain_timeout", |config| config.drain_timeout = MAX_TIME + Duration::from_nanos(1)),
            ("peer_queue", |config| config.peer_queue.bytes = 1023),
            ("peer_queue", |config| config.peer_queue.messages = 0),
            ("requests_in_flight", |config| config.requests_in_flight = request::MAX_IN_FLIGHT + 1),
            ("requests_waiting", |config| config.requests_waiting = 0),
            ("requests_answering", |config| config.requests_answering = 0),
        ];
        for (field, change) in faults {
            assert_eq!(field_at_fault(change), Some(field));
        }
    }

    #[test]
    fn an_error_says_what_is_too_long_and_in_what_unit() {
        let mut config = RouterConfig::new(NodeKey::insecure_from_seed(1).id());
        config.services = vec!["s".repeat(33)];
        let error = config.check(1024).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("`services`: a service name of 33 bytes; at most 32"));
    }
}
