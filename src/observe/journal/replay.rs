//! Feeds a journal to a fresh peer manager.

use std::io::BufRead;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::lines::{Lines, Next};
use super::{FORMAT_VERSION, Header, JournalError, Line};
use crate::peer::{Answer, InvariantViolation, Op, PeerManager, Record};

/// Most inputs in a row after which the outputs were not taken to the last: no node leaves so many.
pub const MAX_UNDRAINED: u32 = 1 << 14;

/// Most addresses per peer of a node whose journal is replayed. The peer manager goes through those of a peer for each one
/// more: a journal that allows any number could have it busy for hours.
pub const MAX_ADDRESSES_PER_PEER: usize = 1024;

/// One input of a journal, and what is decided on it now.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its line, from 1 on.
    pub line: u64,
    /// How long after the manager was made.
    pub at: Duration,
    /// The input.
    pub op: Op,
    /// What is answered now.
    pub answer: Answer,
    /// That as it would be written.
    pub replayed: Value,
    /// What was written.
    pub recorded: Value,
}

impl Step {
    /// Whether the same is decided.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.recorded == self.replayed
    }
}

/// How a journal ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// With the node.
    Whole,
    /// Before the node, for this reason.
    Truncated(String),
    /// In the middle of this line, the last: whoever wrote it was killed, or is writing.
    Torn {
        /// The line.
        line: u64,
    },
    /// Without a last line: whoever wrote it was killed, or is writing.
    Open,
}

/// A journal that is replayed: memory for one line and for the manager, whatever its length.
#[derive(Debug)]
pub struct Replay<R> {
    lines: Lines<R>,
    header: Header,
    manager: PeerManager,
    start: Instant,
    inputs: u64,
    undrained: u32,
    ending: Option<Ending>,
}

/// Of the first line, what every version of the format has.
#[derive(Deserialize)]
struct Version {
    peerage_journal: u32,
}

impl<R: BufRead> Replay<R> {
    /// Reads the header and the records, and makes a manager of them that believes that it is `start`.
    ///
    /// # Errors
    ///
    /// [`JournalError`] if that is no journal, is of another version, breaks off before its first input, or is of a node
    /// that kept more than [`MAX_ADDRESSES_PER_PEER`].
    pub fn open(input: R, start: Instant) -> Result<Self, JournalError> {
        let mut lines = Lines::new(input);
        let header = header(&mut lines)?;
        let mut failed = None;
        let records =
            (0..header.records).map_while(|_| record(&mut lines).map_err(|error| failed = Some(error)).ok());
        let made = PeerManager::new(header.config.clone(), header.seed, start, header.wall_unix_ms, records);
        if let Some(error) = failed {
            return Err(error);
        }
        let manager = made.map_err(|error| JournalError {
            line: 1,
            column: None,
            what: format!("the configuration cannot be used: {error}"),
        })?;
        Ok(Self { lines, header, manager, start, inputs: 0, undrained: 0, ending: None })
    }

    /// The first line.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Feeds the next input; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`JournalError`] names what cannot be read. Nothing follows it.
    pub fn step(&mut self) -> Result<Option<Step>, JournalError> {
        if self.ending.is_some() {
            return Ok(None);
        }
        let (at, op, recorded) = match self.lines.next()? {
            Next::Line(Line::<Record, Op, Value>::Input { at, op, answer }) => (at, op, answer),
            Next::Line(Line::End { inputs, .. }) => return self.end(Some(inputs), Ending::Whole),
            Next::Line(Line::Truncated { inputs, why, .. }) => {
                return self.end(Some(inputs), Ending::Truncated(why));
            }
            Next::Line(Line::Record(_)) => return Err(self.lines.error("is a record among the inputs")),
            Next::Torn => return self.end(None, Ending::Torn { line: self.lines.number() }),
            Next::Nothing => return self.end(None, Ending::Open),
        };
        self.feed(Duration::from_nanos(at), op, recorded).map(Some)
    }

    /// How the journal ends, once it has.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Checks the manager's own laws. Costs a full scan.
    ///
    /// # Errors
    ///
    /// [`InvariantViolation`] names the law that is broken: a fault of this crate.
    pub fn check_invariants(&self) -> Result<(), InvariantViolation> {
        self.manager.check_invariants()
    }

    fn feed(&mut self, at: Duration, op: Op, recorded: Value) -> Result<Step, JournalError> {
        let now = self.start.checked_add(at).ok_or_else(|| self.lines.error("its time is out of bounds"))?;
        if self.undrained >= MAX_UNDRAINED {
            let what = format!("comes after {MAX_UNDRAINED} inputs whose outputs nobody took to the last");
            return Err(self.lines.error(what));
        }
        let answer = self.manager.apply(op.clone(), now);
        self.undrained = if matches!(answer, Answer::Output(None)) { 0 } else { self.undrained + 1 };
        self.inputs += 1;
        let replayed = serde_json::to_value(&answer).map_err(|error| self.lines.error(error.to_string()))?;
        Ok(Step { line: self.lines.number(), at, op, answer, replayed, recorded })
    }

    /// Ends the replay, if nothing is missing and nothing follows.
    fn end(&mut self, inputs: Option<u64>, ending: Ending) -> Result<Option<Step>, JournalError> {
        if inputs.is_some_and(|inputs| inputs != self.inputs) {
            let what =
                format!("says that there are {} inputs; {} are there", inputs.unwrap_or(0), self.inputs);
            return Err(self.lines.error(what));
        }
        if inputs.is_some() && !matches!(self.lines.read()?, Next::Nothing) {
            return Err(self.lines.error("follows the journal's last line"));
        }
        self.ending = Some(ending);
        Ok(None)
    }
}

fn header<R: BufRead>(lines: &mut Lines<R>) -> Result<Header, JournalError> {
    match lines.read()? {
        Next::Line(()) => {}
        Next::Torn => return Err(lines.error("breaks off; no journal begins so")),
        Next::Nothing => return Err(lines.error("the file is empty")),
    }
    let version: Version = lines.parse().map_err(|error| JournalError {
        what: format!("this is no journal of a peerage node: {}", error.what),
        ..error
    })?;
    if version.peerage_journal != FORMAT_VERSION {
        return Err(lines.error(format!(
            "the journal's format is version {}; this program reads version {FORMAT_VERSION}",
            version.peerage_journal
        )));
    }
    let header: Header = lines.parse()?;
    let most = header.config.max_addresses_per_peer;
    if most > MAX_ADDRESSES_PER_PEER {
        let what =
            format!("`max_addresses_per_peer` is {most}; at most {MAX_ADDRESSES_PER_PEER} are replayed");
        return Err(lines.error(what));
    }
    Ok(header)
}

fn record<R: BufRead>(lines: &mut Lines<R>) -> Result<Record, JournalError> {
    match lines.next()? {
        Next::Line(Line::<Record, Op, Value>::Record(record)) => Ok(record),
        Next::Line(Line::Truncated { why, .. }) => {
            Err(lines.error(format!("the journal was cut short before its first input: {why}")))
        }
        Next::Line(Line::Input { .. } | Line::End { .. }) => {
            Err(lines.error("fewer records are there than the header says"))
        }
        Next::Torn | Next::Nothing => Err(lines.error("the journal breaks off before its first input")),
    }
}
