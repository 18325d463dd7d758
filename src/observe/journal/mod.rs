//! A journal of all that a node's peer manager is told and decides, and its replay.
//!
//! The peer manager decides by its configuration, its seed, its records, and its inputs with their times. A journal
//! holds those, and what was answered. [`create`] makes the file and a [`JournalRecorder`] for
//! [`Builder::record_inputs`](crate::router::Builder::record_inputs); [`Replay`] feeds a fresh
//! [`PeerManager`](crate::peer::PeerManager) from it, and compares each answer.
//!
//! # The format
//!
//! Lines of JSON, each complete when the next one begins:
//!
//! | line | holds |
//! |---|---|
//! | the first | a [`Header`]: `peerage_journal` (the format's version), the crate's version, seed, wall time, configuration, and how many records follow |
//! | `{"record":..}` | a record that the manager was made with, in order |
//! | `{"input":{"at":..,"op":..,"answer":..}}` | an input `at` so many ns after the manager was made, with its answer |
//! | `{"truncated":{"at":..,"inputs":..,"why":..}}` | the last: recording stopped although the node went on |
//! | `{"end":{"at":..,"inputs":..}}` | the last: the node ended |
//!
//! Outputs that the node took are inputs too (`"op":"poll_output"`), as is each question for the next dial and eviction,
//! answered with `null` where there is none: nothing that was decided is missing. An instant in an answer is told as the
//! time that is left until then. A journal without a last line is that of a node that was killed, or still runs.
//!
//! A journal names every peer and address that the node learned. It is made readable for its owner alone.
//!
//! It is no log for people, who read events, and no store: nothing reads it but a replay.

mod lines;
mod replay;
mod writer;

#[cfg(test)]
mod tests;

pub use lines::{JournalError, MAX_LINE_BYTES};
pub use replay::{Ending, MAX_ADDRESSES_PER_PEER, MAX_UNDRAINED, Replay, Step};
pub use writer::{Journal, JournalRecorder, Limits, Shortfall, Status, create};

use serde::{Deserialize, Serialize};

use crate::peer::{Config, WallTime};

/// The version of the format that is written, and the only one that is read.
pub const FORMAT_VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Header {
    /// The version of the format: [`FORMAT_VERSION`].
    pub peerage_journal: u32,
    /// The version of the crate that wrote it.
    pub version: String,
    /// The seed of the manager's choices.
    pub seed: u64,
    /// The wall's clock when the manager was made.
    pub wall_unix_ms: WallTime,
    /// How many records follow.
    pub records: u64,
    /// The policy.
    pub config: Config,
}

/// Any line but the first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line<R, O, A> {
    Record(R),
    Input { at: u64, op: O, answer: A },
    Truncated { at: u64, inputs: u64, why: String },
    End { at: u64, inputs: u64 },
}
