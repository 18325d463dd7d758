//! How the nodes of a group choose their peers.

use std::fmt;
use std::time::Duration;

use toml::de::DeValue;

use super::error::Fault;
use super::section::{Section, Value, whole, wrong_kind};
use crate::id::NodeKey;
use crate::peer::{Config, Limit};

type SetLimit = fn(&mut Config, Limit);
type SetNumber = fn(&mut Config, usize);
type SetTime = fn(&mut Config, Duration);

const LIMITS: &[(&str, SetLimit)] = &[
    ("max_outbound", |peers, limit| peers.max_outbound = limit),
    ("max_inbound", |peers, limit| peers.max_inbound = limit),
    ("range_outbound", |peers, limit| peers.groups.max_outbound = limit),
    ("range_inbound", |peers, limit| peers.groups.max_inbound = limit),
    ("range_stored", |peers, limit| peers.groups.max_stored = limit),
    ("range_handshakes", |peers, limit| peers.groups.max_handshakes = limit),
    ("source_stored", |peers, limit| peers.max_addresses_per_source = limit),
];

const NUMBERS: &[(&str, SetNumber)] = &[("max_stored", |peers, number| peers.max_peers = number)];

const TIMES: &[(&str, SetTime)] = &[
    ("lets_go_after", |peers, time| peers.seeds.mode = Some(time)),
    ("rotate_every", |peers, time| peers.rotate_every = Some(time)),
    ("cooldown", |peers, time| peers.cooldown = time),
    ("backoff_min", |peers, time| peers.backoff.min = time),
    ("backoff_max", |peers, time| peers.backoff.max = time),
    ("backoff_max_tied", |peers, time| peers.backoff.max_persistent = time),
];

/// The keys of a group's limits.
pub(super) const LIMIT_KEYS: &[&str] = &[
    "max_outbound",
    "max_inbound",
    "range_outbound",
    "range_inbound",
    "range_stored",
    "range_handshakes",
    "source_stored",
    "max_stored",
    "lets_go_after",
    "rotate_every",
    "cooldown",
    "backoff_min",
    "backoff_max",
    "backoff_max_tied",
];

const LONGEST: Duration = Duration::from_secs(24 * 3600);
const SHORTEST: Duration = Duration::from_millis(1);

/// What a group's nodes differ in from the defaults of a peer manager.
#[derive(Clone, Default)]
pub(super) struct Limits {
    limits: Vec<(SetLimit, Limit)>,
    numbers: Vec<(SetNumber, usize)>,
    times: Vec<(SetTime, Duration)>,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = self.limits.iter().map(|(_, limit)| limit.to_string());
        f.debug_list()
            .entries(limits)
            .entries(self.numbers.iter().map(|(_, number)| number))
            .entries(self.times.iter().map(|(_, time)| time))
            .finish()
    }
}

impl Limits {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, Fault> {
        let mut read = Self::default();
        for (key, set) in LIMITS {
            if let Some(value) = section.value(key) {
                read.limits.push((*set, read_limit(key, value)?));
            }
        }
        for (key, set) in NUMBERS {
            if let Some(value) = section.value(key) {
                let number = whole(key, value, &(1..=1_000_000))?.value;
                read.numbers.push((*set, usize::try_from(number).unwrap_or(usize::MAX)));
            }
        }
        for (key, set) in TIMES {
            if let Some(time) = section.time(key, SHORTEST..=LONGEST)? {
                read.times.push((*set, time.value));
            }
        }
        read.config()
            .validate()
            .map_err(|error| Fault::new(section.at, format!("no node can have these limits: {error}")))?;
        Ok(read)
    }

    /// Changes what differs.
    pub(super) fn apply(&self, peers: &mut Config) {
        self.limits.iter().for_each(|(set, limit)| set(peers, *limit));
        self.numbers.iter().for_each(|(set, number)| set(peers, *number));
        self.times.iter().for_each(|(set, time)| set(peers, *time));
    }

    /// How many peers a node may dial.
    pub(super) fn max_outbound(&self) -> Limit {
        self.config().max_outbound
    }

    /// The policy of some node that has these limits.
    fn config(&self) -> Config {
        let mut config = Config::new(NodeKey::insecure_from_seed(0).id());
        self.apply(&mut config);
        config
    }
}

/// A number, or the word that there is none.
fn read_limit(key: &str, value: Value<'_>) -> Result<Limit, Fault> {
    match value.get_ref() {
        DeValue::String(text) if text == "unlimited" => Ok(Limit::Unlimited),
        DeValue::Integer(_) => {
            let number = whole(key, value, &(0..=10_000))?.value;
            Ok(Limit::AtMost(usize::try_from(number).unwrap_or(usize::MAX)))
        }
        _ => Err(wrong_kind(key, value, "a whole number or \"unlimited\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_key_sets_something_and_nothing_else_does() {
        let limits = LIMITS.iter().map(|(key, _)| *key).chain(NUMBERS.iter().map(|(key, _)| *key));
        let set: Vec<&str> = limits.chain(TIMES.iter().map(|(key, _)| *key)).collect();
        assert_eq!(set, LIMIT_KEYS);
        let default = Limits::default().config();
        for (key, set) in LIMITS {
            let mut config = default.clone();
            set(&mut config, Limit::AtMost(3));
            assert_ne!(config, default, "{key}");
        }
        for (key, set) in NUMBERS {
            let mut config = default.clone();
            set(&mut config, 7);
            assert_ne!(config, default, "{key}");
        }
        for (key, set) in TIMES {
            let mut config = default.clone();
            set(&mut config, Duration::from_millis(7));
            assert_ne!(config, default, "{key}");
        }
    }
}
