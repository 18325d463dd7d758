//! What a peer can do well, and all that can be said of it.

use std::fmt;
use std::time::Duration;

use super::Misbehaviour;

/// What is said of a peer: by its connection, or by a reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// It did something wrong.
    Bad(Misbehaviour),
    /// It did something well.
    Good(GoodAct),
    /// An exchange with it took so long.
    Took(Duration),
}

impl From<Misbehaviour> for Act {
    fn from(what: Misbehaviour) -> Self {
        Self::Bad(what)
    }
}

impl From<GoodAct> for Act {
    fn from(what: GoodAct) -> Self {
        Self::Good(what)
    }
}

/// What a peer did well, as a reactor sees it: only the reactor knows what is of use to its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum GoodAct {
    /// It answered a question, in time and to the point.
    Served,
    /// It brought something that nobody had brought before.
    Novel,
    /// It did something else that helps; how much is the weight's affair.
    Helpful,
}

impl GoodAct {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Served, Self::Novel, Self::Helpful];

    /// A stable snake-case label; counters are keyed by it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Novel => "novel",
            Self::Helpful => "helpful",
        }
    }
}

impl fmt::Display for GoodAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
