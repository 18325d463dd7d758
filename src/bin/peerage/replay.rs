//! `peerage replay`: feeds a journal to a fresh peer manager, and says whether it decides the same.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::{Duration, Instant};

use peerage::observe::journal::{Ending, Header, JournalError, Replay, Step};
use peerage::peer::{Answer, Output as Decided, Report};
use serde_json::{Value, json};

use crate::output::{Failure, Output, by_label, printable};

pub(crate) struct Settings<'a> {
    pub(crate) file: &'a Path,
    /// The last line to feed.
    pub(crate) until: Option<u64>,
    pub(crate) verbose: bool,
}

pub(crate) fn run(output: &Output, settings: &Settings<'_>) -> Result<(), Failure> {
    let file = settings.file.display();
    let opened =
        File::open(settings.file).map_err(|error| Failure::usage(format!("cannot read {file}: {error}")))?;
    let bad = |error: JournalError| Failure::usage(format!("{file}: {error}"));
    let mut replay = Replay::open(BufReader::new(opened), now()).map_err(bad)?;
    introduce(output, replay.header());
    let mut sums = Sums::default();
    while let Some(step) = replay.step().map_err(bad)? {
        if settings.until.is_some_and(|last| step.line > last) {
            break;
        }
        sums.count(&step);
        if settings.verbose {
            show(output, &step);
        }
        if !step.agrees() {
            sums.show(output, false);
            return Err(differs(output, settings.file, &step));
        }
    }
    if let Err(violation) = replay.check_invariants() {
        return Err(Failure::failed(format!("the replayed peer manager is at fault: {violation}")));
    }
    sums.show(output, true);
    ending(output, replay.ending());
    output.text("decides the same");
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "the journal's time needs somewhere to begin")]
fn now() -> Instant {
    Instant::now()
}

fn introduce(output: &Output, header: &Header) {
    let ours = env!("CARGO_PKG_VERSION");
    let id = header.config.self_id;
    let version = printable(&header.version);
    output.line(
        format!(
            "journal of node {}, seed {}, made with {} stored records",
            id.short(),
            header.seed,
            header.records
        ),
        &json!({
            "event": "journal", "node": id.to_string(), "version": header.version, "seed": header.seed,
            "records": header.records,
        }),
    );
    if header.version != ours {
        output.text(format!(
            "written by version {version}, replayed by {ours}: another policy may decide otherwise"
        ));
    }
}

/// Prints an input and what was decided on it.
fn show(output: &Output, step: &Step) {
    let op = value(&step.op);
    output.line(
        format!(
            "{:>6} {:>12.6} s  {} -> {}",
            step.line,
            step.at.as_secs_f64(),
            words(&op),
            words(&step.replayed)
        ),
        &json!({
            "event": "input", "line": step.line, "at_ns": nanos(step.at), "op": op, "answer": step.replayed,
        }),
    );
}

/// Says which decision differs first.
fn differs(output: &Output, file: &Path, step: &Step) -> Failure {
    let op = value(&step.op);
    output.object(&json!({
        "event": "differs", "line": step.line, "at_ns": nanos(step.at), "op": op, "recorded": step.recorded,
        "replayed": step.replayed,
    }));
    let (at, recorded, replayed) = (step.at.as_secs_f64(), words(&step.recorded), words(&step.replayed));
    Failure::failed(format!(
        "{}: line {}, {at:.6} s after the start: on `{}` it was decided `{recorded}`, and now `{replayed}`",
        file.display(),
        step.line,
        words(&op)
    ))
}

fn ending(output: &Output, ending: Option<&Ending>) {
    let (label, note) = match ending {
        Some(Ending::Whole) => ("whole", None),
        Some(Ending::Truncated(why)) => {
            let why = printable(why);
            ("truncated", Some(format!("recording stopped here although the node went on: {why}")))
        }
        Some(Ending::Torn { line }) => (
            "torn",
            Some(format!("line {line}, the last, breaks off and was left out: the node was killed, or runs")),
        ),
        Some(_) => ("open", Some("the journal has no last line: the node was killed, or runs".into())),
        None => ("until", None),
    };
    if let Some(note) = note {
        output.text(format!("note           {note}"));
    }
    output.object(&json!({ "event": "same", "ending": label }));
}

/// What was decided, by kind.
#[derive(Default)]
struct Sums {
    inputs: u64,
    last: Duration,
    dials: u64,
    admitted: u64,
    handshakes: u64,
    rejected: BTreeMap<&'static str, u64>,
    evicted: BTreeMap<String, u64>,
    updates: u64,
    persisted: u64,
    forgotten: u64,
    late: u64,
}

impl Sums {
    fn count(&mut self, step: &Step) {
        self.inputs += 1;
        self.last = self.last.max(step.at);
        match &step.answer {
            Answer::Dial(Some(_)) => self.dials += 1,
            Answer::Admitted(Ok(_)) => self.admitted += 1,
            Answer::Incoming(Ok(_)) => self.handshakes += 1,
            Answer::Admitted(Err(reject)) | Answer::Incoming(Err(reject)) => {
                *self.rejected.entry(reject.label()).or_default() += 1;
            }
            Answer::Eviction(Some(eviction)) => {
                let why = value(&eviction.why).as_str().unwrap_or_default().to_owned();
                *self.evicted.entry(why).or_default() += 1;
            }
            Answer::Output(Some(Decided::Update(_))) => self.updates += 1,
            Answer::Output(Some(Decided::Persist(_))) => self.persisted += 1,
            Answer::Output(Some(Decided::Forget(_))) => self.forgotten += 1,
            Answer::Report(Report::Late) => self.late += 1,
            _ => {}
        }
    }

    fn show(&self, output: &Output, same: bool) {
        let seconds = self.last.as_secs_f64();
        output.text(format!(
            "inputs         {} over {seconds:.3} s, {} of them late reports\n\
             dials          {} begun\n\
             incoming       {} handshakes begun\n\
             admitted       {} connections\n\
             rejected       {}\n\
             evicted        {}\n\
             outputs        {} updates, {} records written, {} forgotten",
            self.inputs,
            self.late,
            self.dials,
            self.handshakes,
            self.admitted,
            by_label(&self.rejected),
            by_label(&self.evicted),
            self.updates,
            self.persisted,
            self.forgotten,
        ));
        output.object(&json!({
            "event": "replayed", "inputs": self.inputs, "until_ns": nanos(self.last), "late": self.late,
            "dials": self.dials, "handshakes": self.handshakes, "admitted": self.admitted, "rejected": self.rejected,
            "evicted": self.evicted, "updates": self.updates, "persisted": self.persisted,
            "forgotten": self.forgotten, "same": same,
        }));
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A value as it is written. What a journal holds can be.
fn value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// A value for people, on one line: without quotes, with identities cut short.
fn words(value: &Value) -> String {
    let mut text = String::new();
    say(value, false, &mut text);
    printable(&text)
}

fn say(value: &Value, nested: bool, text: &mut String) {
    let (open, close) = if nested { ("(", ")") } else { ("", "") };
    match value {
        Value::Null => text.push_str("none"),
        Value::Object(fields) => {
            text.push_str(open);
            for (at, (name, field)) in fields.iter().enumerate() {
                // It cannot fail: the text grows in memory.
                let _ = write!(
                    text,
                    "{}{}: ",
                    if at > 0 { ", " } else { "" },
                    shortened(&name.replace('_', " "))
                );
                say(field, nested || fields.len() > 1, text);
            }
            text.push_str(close);
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                say(item, true, text);
            }
            text.push(']');
        }
        Value::String(words) => text.push_str(&shortened(&words.replace('_', " "))),
        plain => {
            let _ = write!(text, "{plain}");
        }
    }
}

/// Cuts each node id in a text down to the eight digits that logs show.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let end = rest[start..].find(|c: char| !c.is_ascii_hexdigit()).map_or(rest.len(), |end| start + end);
        let shown = if end - start == 128 { start + 8 } else { end };
        short.push_str(&rest[..shown]);
        rest = &rest[end..];
    }
    short + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_said_on_one_line_with_identities_cut_short() {
        let id = "ab".repeat(64);
        let dial = json!({ "dial": {
            "address": format!("memory:{id}"), "because": { "rule": "free_slot", "value": 0 }, "conn": 3,
        } });
        assert_eq!(
            words(&dial),
            "dial: address: memory:abababab, because: (rule: free slot, value: 0), conn: 3"
        );
        assert_eq!(words(&json!({ "output": null })), "output: none");
        assert_eq!(words(&json!("poll_output")), "poll output");
        assert_eq!(words(&json!({ "x": ["a\u{1b}", { "b": 1 }] })), "x: [a\u{fffd}, (b: 1)]");
    }
}
