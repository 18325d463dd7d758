//! Text for people, or one JSON object per line.

use std::collections::BTreeMap;
use std::io::{self, Write};

use peerage::event::{Blame, Closed, Side};
use serde_json::{Value, json};

/// Where results go. Failures go to standard error, in text and in JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What the operator gave cannot be used: exit code 2.
    Usage(String),
    /// It was tried and failed: exit code 1.
    Failed(String),
    /// It failed, and the last object printed tells so: exit code 1.
    Shown(String),
}

impl Failure {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    pub(crate) fn shown(text: impl Into<String>) -> Self {
        Self::Shown(text.into())
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Shown(_) => 1,
            Self::Usage(_) => 2,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Usage(text) | Self::Failed(text) | Self::Shown(text) => text,
        }
    }
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read it.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints `text` for people, or `value` for programs.
    pub(crate) fn line(&self, text: impl AsRef<str>, value: &Value) {
        let line = if self.json { value.to_string() } else { text.as_ref().to_owned() };
        print(&line);
    }

    /// Prints text that has no place in JSON.
    pub(crate) fn text(&self, text: impl AsRef<str>) {
        if !self.json {
            print(text.as_ref());
        }
    }

    /// Prints a JSON object that has no place in text.
    pub(crate) fn object(&self, value: &Value) {
        if self.json {
            print(&value.to_string());
        }
    }

    /// Tells that something the operator asked for was not done; the command goes on.
    pub(crate) fn refusal(&self, why: &str) {
        self.object(&json!({ "event": "refused", "error": why }));
        let _ = writeln!(io::stderr(), "not sent: {why}");
    }

    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json && !matches!(failure, Failure::Shown(_)) {
            print(&json!({ "event": "error", "error": failure.text() }).to_string());
        }
        // Standard error may be closed; then nobody reads it.
        let _ = writeln!(io::stderr(), "error: {}", failure.text());
    }
}

fn print(line: &str) {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => {}
        // Whoever read us is gone, as with `| head`: there is nobody left to serve.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            // A full disk: what is told is lost, and nobody is to take that for success.
            let _ = writeln!(io::stderr(), "error: cannot write: {error}");
            std::process::exit(1);
        }
    }
}

/// How a connection ended, for people: the layer is named only where something went wrong in it.
pub(crate) fn in_words(closed: &Closed) -> String {
    if !matches!(closed.blame, Blame::Nobody | Blame::Overload) {
        return closed.to_string();
    }
    let by = match closed.by {
        Side::Local => "by us",
        Side::Remote => "by the peer",
    };
    let detail = if closed.detail.is_empty() { String::new() } else { format!(" ({})", closed.detail) };
    format!("closed {by}: {}{detail}", closed.label.replace('_', " "))
}

/// Counts by label, for people.
pub(crate) fn by_label<K: AsRef<str>>(counts: &BTreeMap<K, u64>) -> String {
    let each: Vec<String> =
        counts.iter().map(|(label, count)| format!("{count} {}", label.as_ref().replace('_', " "))).collect();
    if each.is_empty() { "none".into() } else { each.join(", ") }
}

/// Text from elsewhere, made safe for a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use peerage::event::{DisconnectReason, Layer};

    use super::*;

    #[test]
    fn a_layer_is_named_only_with_a_fault() {
        let goodbye = Closed::remote(DisconnectReason::Quitting);
        assert_eq!(in_words(&goodbye), "closed by the peer: quitting");
        let fault = Closed::local(Layer::Frame, Blame::Protocol, DisconnectReason::Breach, "bad_mac");
        assert_eq!(in_words(&fault), "closed by us, frame layer: bad mac");
    }
}
