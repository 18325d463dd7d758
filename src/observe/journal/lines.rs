//! Reads the lines of a journal, one at a time.

use std::io::{BufRead, Read};

use serde::de::DeserializeOwned;

/// Longest line that is read, in bytes: a header whose configuration names a hundred thousand peers.
pub const MAX_LINE_BYTES: u64 = 16 << 20;

/// Why a journal cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {what}", column.map(|column| format!(", column {column}")).unwrap_or_default())]
#[non_exhaustive]
pub struct JournalError {
    /// The line, from 1 on.
    pub line: u64,
    /// The byte in it, from 1 on, where one can be named.
    pub column: Option<usize>,
    /// What is wrong.
    pub what: String,
}

/// The lines of a reader.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
}

/// What the next line is.
pub(super) enum Next<T> {
    Line(T),
    /// It has no end: whoever wrote it was killed.
    Torn,
    Nothing,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0 }
    }

    /// The number of the line that was read last.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Reads a line and takes it for a `T`.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Next<T>, JournalError> {
        match self.read()? {
            Next::Line(()) => self.parse().map(Next::Line),
            Next::Torn => Ok(Next::Torn),
            Next::Nothing => Ok(Next::Nothing),
        }
    }

    /// Reads a line.
    pub(super) fn read(&mut self) -> Result<Next<()>, JournalError> {
        self.number += 1;
        self.line.clear();
        let read = (&mut self.input).take(MAX_LINE_BYTES).read_until(b'\n', &mut self.line);
        if let Err(error) = read {
            return Err(self.error(format!("cannot be read: {error}")));
        }
        if self.line.is_empty() {
            return Ok(Next::Nothing);
        }
        if self.line.last() == Some(&b'\n') {
            return Ok(Next::Line(()));
        }
        if self.line.len() as u64 == MAX_LINE_BYTES {
            return Err(self.error(format!("is longer than {MAX_LINE_BYTES} bytes")));
        }
        Ok(Next::Torn)
    }

    /// Takes the line that was read last for a `T`.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, JournalError> {
        serde_json::from_slice(self.line.trim_ascii_end()).map_err(|error| {
            let text = error.to_string();
            let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned();
            JournalError {
                line: self.number,
                column: Some(error.column()).filter(|&column| column > 0),
                what,
            }
        })
    }

    pub(super) fn error(&self, what: impl Into<String>) -> JournalError {
        JournalError { line: self.number, column: None, what: what.into() }
    }
}
