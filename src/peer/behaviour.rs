//! What misbehaviour weighs, and how it is forgiven.

use std::time::Duration;

use super::config::{ConfigError, MAX_DURATION};
use crate::event::{GoodAct, Misbehaviour};

/// When a peer that misbehaves is evicted.
///
/// Each report adds the points of its kind to the peer's bad points. At `limit` its connection ends, and they stop. Each
/// `halves_every` they are halved, rounded down, so that what happens now and then is forgiven and what goes on is not. Good
/// points are halved likewise; with uptime and latency they make the peer's grade.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct BehaviourConfig {
    /// The bad points at which a connection ends. Default 100, so that a weight reads as a percentage. At least 1.
    pub limit: u32,
    /// How often points are halved, counted from the first. Default 10 min, which forgives 100 in about
    /// an hour: longer than a peer's hiccup, shorter than an operator's patience. Above zero.
    pub halves_every: Duration,
    /// The bad points of each kind of report.
    pub weights: BehaviourWeights,
    /// What the bad points of a [trusted](super::Config::trusted) peer stop at. Default 50, which costs it two grades and
    /// no connection. Below `limit`.
    pub trusted_cap: u32,
    /// How long a peer is banned whose bad points reach the limit. Default 1 h: it comes back when they are forgiven.
    /// `None` to evict it only. Protected peers are never banned for it. Above zero.
    pub ban_for: Option<Duration>,
    /// The good points of each kind of act.
    pub good: GoodWeights,
    /// How many good points make a peer a grade better, two grades, three. Default 10, 100, 1,000: halved as they are, the
    /// last takes some fifty answers a minute. Rising, above zero.
    pub useful_levels: [u32; 3],
    /// How long a peer must have been connected, all in all, to be a grade better, two, three. Default 10 min, 6 h, 3
    /// days: peers that stayed are likely to stay. Rising, above zero.
    pub uptime_levels: [Duration; 3],
    /// Below or at which latency a peer is a grade better, and two. Default 500 ms, which most of the world keeps, and
    /// 100 ms, which a continent does. Falling.
    pub latency_levels: [Duration; 2],
}

/// The points of one good act, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct GoodWeights {
    /// Default 1.
    pub served: u32,
    /// Default 2: new things are rarer than answers.
    pub novel: u32,
    /// Default 10: a reactor that says so has its reasons.
    pub helpful: u32,
}

impl Default for GoodWeights {
    fn default() -> Self {
        Self { served: 1, novel: 2, helpful: 10 }
    }
}

impl GoodWeights {
    /// The points of one act of this kind.
    #[must_use]
    pub fn of(&self, what: GoodAct) -> u32 {
        match what {
            GoodAct::Served => self.served,
            GoodAct::Novel => self.novel,
            GoodAct::Helpful => self.helpful,
        }
    }
}

/// The points of one report, by kind. Zero for a kind that is counted but not held against the peer.
///
/// What honest software never does reaches the default limit at once; what can come of a race or of haste adds up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct BehaviourWeights {
    /// Default 100: whoever cannot encode its protocol will not learn it. The connection ends at any weight.
    pub malformed_message: u32,
    /// Default 100: both ends computed the same table of channels. The connection ends at any weight.
    pub unshared_channel: u32,
    /// Default 1: a burst is haste, a flood is a hundred of them.
    pub over_quota: u32,
    /// Default 100: nobody answers by mistake what was never asked.
    pub unasked_answer: u32,
    /// Default 20: a peer may answer again after a doubt, five times.
    pub duplicate_answer: u32,
    /// Default 100: it answers something else than was asked, to see what happens.
    pub foreign_answer: u32,
    /// Default 100: as a malformed message.
    pub malformed_answer: u32,
    /// Default 100: the reactor says that going on makes no sense. At least `limit`.
    pub breach: u32,
    /// Default 10: ten of them in the time of one halving are too many.
    pub nuisance: u32,
}

impl Default for BehaviourConfig {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Self {
            limit: 100,
            halves_every: minutes(10),
            weights: BehaviourWeights::default(),
            trusted_cap: 50,
            ban_for: Some(minutes(60)),
            good: GoodWeights::default(),
            useful_levels: [10, 100, 1_000],
            uptime_levels: [minutes(10), minutes(6 * 60), minutes(3 * 24 * 60)],
            latency_levels: [Duration::from_millis(500), Duration::from_millis(100)],
        }
    }
}

impl Default for BehaviourWeights {
    fn default() -> Self {
        Self {
            malformed_message: 100,
            unshared_channel: 100,
            over_quota: 1,
            unasked_answer: 100,
            duplicate_answer: 20,
            foreign_answer: 100,
            malformed_answer: 100,
            breach: 100,
            nuisance: 10,
        }
    }
}

impl BehaviourWeights {
    /// The points of one report of this kind.
    #[must_use]
    pub fn of(&self, what: Misbehaviour) -> u32 {
        match what {
            Misbehaviour::MalformedMessage => self.malformed_message,
            Misbehaviour::UnsharedChannel => self.unshared_channel,
            Misbehaviour::OverQuota => self.over_quota,
            Misbehaviour::UnaskedAnswer => self.unasked_answer,
            Misbehaviour::DuplicateAnswer => self.duplicate_answer,
            Misbehaviour::ForeignAnswer => self.foreign_answer,
            Misbehaviour::MalformedAnswer => self.malformed_answer,
            Misbehaviour::Breach => self.breach,
            Misbehaviour::Nuisance => self.nuisance,
        }
    }
}

impl BehaviourConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.limit == 0 {
            return Err(ConfigError::Zero { field: "behaviour.limit" });
        }
        if self.halves_every.is_zero() {
            return Err(ConfigError::Zero { field: "behaviour.halves_every" });
        }
        if self.halves_every > MAX_DURATION {
            return Err(ConfigError::TooLong { field: "behaviour.halves_every" });
        }
        if self.weights.breach < self.limit {
            return Err(ConfigError::Below { field: "behaviour.weights.breach", than: "behaviour.limit" });
        }
        if self.trusted_cap >= self.limit {
            return Err(ConfigError::Below { field: "behaviour.limit", than: "behaviour.trusted_cap + 1" });
        }
        match self.ban_for {
            Some(Duration::ZERO) => return Err(ConfigError::Zero { field: "behaviour.ban_for" }),
            Some(length) if length > MAX_DURATION => {
                return Err(ConfigError::TooLong { field: "behaviour.ban_for" });
            }
            _ => {}
        }
        self.validate_levels()
    }

    /// A level of zero would be everybody's.
    fn validate_levels(&self) -> Result<(), ConfigError> {
        if self.useful_levels[0] == 0 || !self.useful_levels.is_sorted_by(|low, high| low < high) {
            return Err(ConfigError::Unordered { field: "behaviour.useful_levels" });
        }
        if self.uptime_levels[0].is_zero() || !self.uptime_levels.is_sorted_by(|low, high| low < high) {
            return Err(ConfigError::Unordered { field: "behaviour.uptime_levels" });
        }
        if self.uptime_levels[2] > MAX_DURATION {
            return Err(ConfigError::TooLong { field: "behaviour.uptime_levels" });
        }
        if !self.latency_levels.is_sorted_by(|high, low| high > low) {
            return Err(ConfigError::Unordered { field: "behaviour.latency_levels" });
        }
        Ok(())
    }
}
