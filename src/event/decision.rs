//! Why something was decided: a rule, and the numbers it was applied to.

use std::fmt;
use std::time::{Duration, Instant};

/// Why the peer manager decided as it did: data, with a plain sentence as its `Display`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Because {
    /// The rule that decided.
    pub rule: Rule,
    /// What was counted or measured, where the rule counts.
    pub value: Option<i64>,
    /// What it was compared with. `None` beside a value if there is no limit.
    pub threshold: Option<i64>,
    /// When the rule ceases to hold, if time alone ends it.
    pub until: Option<Instant>,
    /// When this was said.
    pub at: Instant,
}

/// A rule of the peer manager. Each stands for one sentence of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Rule {
    /// It is this node itself.
    SelfId,
    /// Nothing is known of it.
    Unknown,
    /// It came to us, and no address of it is known.
    NoAddress,
    /// It is connected.
    Connected,
    /// There is a connection to it that stays.
    AlreadyConnected,
    /// A dial to it is in flight.
    Dialing,
    /// Its connection is being ended.
    Evicting,
    /// It is banned.
    Banned,
    /// Its address lies in a banned range.
    BannedPrefix,
    /// Its last connection ended a moment ago.
    Cooldown,
    /// It failed so many times in a row.
    Backoff,
    /// It said that it has no room.
    Busy,
    /// It is of another network, or useless to us.
    Incompatible,
    /// We could not dial, through no fault of its own.
    Ourselves,
    /// It is a seed that was asked not long ago.
    SeedRest,
    /// It is a seed, and others can be dialled.
    SeedNotNeeded,
    /// Its /24 or /64 has so many connections and dials of at most so many.
    GroupFull,
    /// Its /24 or /64 began so many handshakes of at most so many within the present window.
    GroupRate,
    /// So many dials of at most so many are in flight.
    DialsInFlight,
    /// All outgoing slots are in use: so many of so many.
    OutboundFull,
    /// All incoming slots are in use: so many of so many.
    InboundFull,
    /// So many handshakes of at most so many are in progress.
    Handshakes,
    /// The store is full, and nobody in it can go: so many peers of at most so many.
    StoreFull,
    /// The pool is full, and so many places of at most so many are being taken over already.
    UpgradesInUse,
    /// The pool is full, and a place was taken over not long ago.
    UpgradeTooSoon,
    /// The pool is full, and nobody in it is worse (its grade is so many, the worst has so many).
    NobodyWorse,
    /// The pool is full, and nobody in it may be replaced.
    NobodyOldEnough,
    /// Others go first.
    OthersFirst,
    /// It is the next to be dialled.
    NextInLine,
    /// No peer that could be dialled is known.
    NobodyKnown,
    /// A slot was free: so many of so many were in use.
    FreeSlot,
    /// The operator wants it unconditionally.
    Unconditional,
    /// Nobody but seeds could be dialled.
    Seed,
    /// A better peer takes the place of a worse one.
    Upgrade,
    /// Too few peers offer what a quota asks for: so many of at least so many.
    Quota,
    /// One place in a full pool is given anew from time to time.
    Rotation,
    /// The connection is so many s old, and may be replaced after so many s.
    Age,
    /// Its connection failed.
    Errored,
    /// It has so many bad points, and is sent away at so many.
    Misbehaved,
    /// The operator asked for it.
    Operator,
    /// It is a seed that has been asked.
    SeedDone,
    /// This node is a seed, and lets peers go after so many s.
    SeedMode,
    /// Its pool has so many connections, and the limit is so many now.
    LimitLowered,
    /// No attempt has this number.
    UnknownAttempt,
}

impl Because {
    /// A rule, applied now.
    #[must_use]
    pub fn new(rule: Rule, at: Instant) -> Self {
        Self { rule, value: None, threshold: None, until: None, at }
    }

    /// With what was counted and the limit it was compared with, if there is one.
    #[must_use]
    pub fn with_count(mut self, value: i64, threshold: Option<i64>) -> Self {
        (self.value, self.threshold) = (Some(value), threshold);
        self
    }

    /// With the instant at which the rule ceases to hold.
    #[must_use]
    pub fn with_until(mut self, until: Option<Instant>) -> Self {
        self.until = until;
        self
    }

    /// How long the rule still held when this was said; `None` if time alone does not end it.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(self.at))
    }
}

/// One sentence without a full stop, as `it said that it has no room; this holds for another 2 min 59 s`.
impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self.rule {
            Rule::FreeSlot if self.threshold.is_none() => "slots are unlimited: {v} were in use",
            rule => rule.sentence(),
        };
        let number = |number: Option<i64>| number.map_or("some".to_owned(), |n| n.to_string());
        let sentence = sentence.replace("{v}", &number(self.value)).replace("{t}", &number(self.threshold));
        f.write_str(&sentence.replace("{s}", if self.value == Some(1) { "" } else { "s" }))?;
        match self.remaining().filter(|left| !left.is_zero()) {
            Some(left) => write!(f, "; this holds for another {}", Spoken(left)),
            None => Ok(()),
        }
    }
}

/// Without the instants, which mean nothing outside the process: what is left of the time instead.
#[cfg(feature = "serde")]
impl serde::Serialize for Because {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let remaining = self.remaining().map(|left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX));
        let mut because = serializer.serialize_struct("Because", 4)?;
        because.serialize_field("rule", &self.rule)?;
        because.serialize_field("value", &self.value)?;
        because.serialize_field("threshold", &self.threshold)?;
        because.serialize_field("remaining_ns", &remaining)?;
        because.end()
    }
}

impl Rule {
    /// Every rule.
    pub const ALL: &'static [Self] = &[
        Self::SelfId,
        Self::Unknown,
        Self::NoAddress,
        Self::Connected,
        Self::AlreadyConnected,
        Self::Dialing,
        Self::Evicting,
        Self::Banned,
        Self::BannedPrefix,
        Self::Cooldown,
        Self::Backoff,
        Self::Busy,
        Self::Incompatible,
        Self::Ourselves,
        Self::SeedRest,
        Self::SeedNotNeeded,
        Self::GroupFull,
        Self::GroupRate,
        Self::DialsInFlight,
        Self::OutboundFull,
        Self::InboundFull,
        Self::Handshakes,
        Self::StoreFull,
        Self::UpgradesInUse,
        Self::UpgradeTooSoon,
        Self::NobodyWorse,
        Self::NobodyOldEnough,
        Self::OthersFirst,
        Self::NextInLine,
        Self::NobodyKnown,
        Self::FreeSlot,
        Self::Unconditional,
        Self::Seed,
        Self::Upgrade,
        Self::Quota,
        Self::Rotation,
        Self::Age,
        Self::Errored,
        Self::Misbehaved,
        Self::Operator,
        Self::SeedDone,
        Self::SeedMode,
        Self::LimitLowered,
        Self::UnknownAttempt,
    ];

    /// A stable snake-case label; counters are keyed by it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SelfId => "self_id",
            Self::Unknown => "unknown",
            Self::NoAddress => "no_address",
            Self::Connected => "connected",
            Self::AlreadyConnected => "already_connected",
            Self::Dialing => "dialing",
            Self::Evicting => "evicting",
            Self::Banned => "banned",
            Self::BannedPrefix => "banned_prefix",
            Self::Cooldown => "cooldown",
            Self::Backoff => "backoff",
            Self::Busy => "busy",
            Self::Incompatible => "incompatible",
            Self::Ourselves => "ourselves",
            Self::SeedRest => "seed_rest",
            Self::SeedNotNeeded => "seed_not_needed",
            Self::GroupFull => "group_full",
            Self::GroupRate => "group_rate",
            Self::DialsInFlight => "dials_in_flight",
            Self::OutboundFull => "outbound_full",
            Self::InboundFull => "inbound_full",
            Self::Handshakes => "handshakes",
            Self::StoreFull => "store_full",
            Self::UpgradesInUse => "upgrades_in_use",
            Self::UpgradeTooSoon => "upgrade_too_soon",
            Self::NobodyWorse => "nobody_worse",
            Self::NobodyOldEnough => "nobody_old_enough",
            Self::OthersFirst => "others_first",
            Self::NextInLine => "next_in_line",
            Self::NobodyKnown => "nobody_known",
            Self::FreeSlot => "free_slot",
            Self::Unconditional => "unconditional",
            Self::Seed => "seed",
            Self::Upgrade => "upgrade",
            Self::Quota => "quota",
            Self::Rotation => "rotation",
            Self::Age => "age",
            Self::Errored => "errored",
            Self::Misbehaved => "misbehaved",
            Self::Operator => "operator",
            Self::SeedDone => "seed_done",
            Self::SeedMode => "seed_mode",
            Self::LimitLowered => "limit_lowered",
            Self::UnknownAttempt => "unknown_attempt",
        }
    }

    /// The sentence, with `{v}` for the value, `{t}` for the threshold, and `{s}` for the plural of the value.
    fn sentence(self) -> &'static str {
        match self {
            Self::SelfId => "it is this node itself",
            Self::Unknown => "nothing is known of it",
            Self::NoAddress => "it came to us, and no address of it is known",
            Self::Connected => "it is connected",
            Self::AlreadyConnected => "there is a connection to it that stays",
            Self::Dialing => "a dial to it is in flight",
            Self::Evicting => "its connection is being ended",
            Self::Banned => "it is banned",
            Self::BannedPrefix => "its address lies in a banned range",
            Self::Cooldown => "its last connection ended a moment ago",
            Self::Backoff => "it failed {v} time{s} in a row",
            Self::Busy => "it said that it has no room",
            Self::Incompatible => "it is of another network, or useless to us",
            Self::Ourselves => "we could not dial, through no fault of its own",
            Self::SeedRest => "it is a seed that was asked not long ago",
            Self::SeedNotNeeded => "it is a seed, and others can be dialled",
            Self::GroupFull => "connections and dials in its /24 or /64: {v} of at most {t}",
            Self::GroupRate => "its /24 or /64 began {v} handshakes of at most {t} within the present window",
            Self::DialsInFlight => "dials in flight: {v} of at most {t}",
            Self::OutboundFull => "all outgoing slots are in use: {v} of {t}",
            Self::InboundFull => "all incoming slots are in use: {v} of {t}",
            Self::Handshakes => "handshakes in progress: {v} of at most {t}",
            Self::StoreFull => "the store is full, and nobody in it can go: {v} peers of at most {t}",
            Self::UpgradesInUse => {
                "all slots are in use, and as many places as may be are being taken over already: {v} of {t}"
            }
            Self::UpgradeTooSoon => "all slots are in use, and a place was taken over not long ago",
            Self::NobodyWorse => {
                "all slots are in use, and nobody there ranks low enough to go for it (its grade is {v}, that of the lowest {t})"
            }
            Self::NobodyOldEnough => "all slots are in use, and nobody there may be replaced",
            Self::OthersFirst => "others go first",
            Self::NextInLine => "it is the next to be dialled",
            Self::NobodyKnown => "no peer that could be dialled is known",
            Self::FreeSlot => "a slot was free: {v} of {t} were in use",
            Self::Unconditional => "the operator wants it unconditionally",
            Self::Seed => "nobody but seeds could be dialled",
            Self::Upgrade => "a better peer takes the place of a worse one",
            Self::Quota => "too few peers offer what a quota asks for: {v} of at least {t}",
            Self::Rotation => "one place of a full pool is given anew from time to time",
            Self::Age => "the connection is {v} s old, and may be replaced after {t} s",
            Self::Errored => "its connection failed",
            Self::Misbehaved => "it has {v} bad points, and is sent away at {t}",
            Self::Operator => "the operator asked for it",
            Self::SeedDone => "it is a seed that has been asked",
            Self::SeedMode => "this node is a seed, and lets peers go after {t} s",
            Self::LimitLowered => "its pool has {v} connections, and the limit is {t} now",
            Self::UnknownAttempt => "no attempt has this number",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A duration in its two greatest units, rounded down.
struct Spoken(Duration);

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) if seconds == 0 => write!(f, "{} ms", self.0.as_millis()),
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, ..) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[allow(clippy::disallowed_methods)] // Somewhere for virtual time to begin.
    fn epoch() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_reason_reads_as_a_sentence() {
        let now = epoch();
        let because = Because::new(Rule::OutboundFull, now).with_count(25, Some(25));
        assert_eq!(because.to_string(), "all outgoing slots are in use: 25 of 25");
        let busy = Because::new(Rule::Busy, now).with_until(Some(now + Duration::from_secs(179)));
        assert_eq!(busy.to_string(), "it said that it has no room; this holds for another 2 min 59 s");
        let unlimited = Because::new(Rule::FreeSlot, now).with_count(3, None);
        assert_eq!(unlimited.to_string(), "slots are unlimited: 3 were in use");
    }

    #[test]
    fn durations_are_spoken_in_their_two_greatest_units() {
        let spoken = |millis| Spoken(Duration::from_millis(millis)).to_string();
        assert_eq!([spoken(0), spoken(999), spoken(59_999)], ["0 ms", "999 ms", "59 s"]);
        assert_eq!([spoken(3_600_000), spoken(90_000_000)], ["1 h 0 min", "1 d 1 h"]);
    }

    #[test]
    fn every_rule_is_listed_once_with_a_label_of_its_own() {
        let listed: BTreeSet<Rule> = Rule::ALL.iter().copied().collect();
        let labels: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
        assert!(listed.len() == Rule::ALL.len() && labels.len() == Rule::ALL.len());
    }
}
