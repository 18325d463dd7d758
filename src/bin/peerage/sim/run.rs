//! One run of a scenario, and what is said of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use peerage::channel::DropReason;
use peerage::sim::{Outcome, Relapse, SimError, Violation};
use serde_json::{Value, json};

use super::Stage;
use super::facts::{Facts, depth, max_rss_bytes, replay};
use super::progress::{Progress, now};
use super::report::{self, grouped, time};
use crate::output::{Failure, Output, by_label, printable};

/// A run that came to its end.
pub(super) struct Ran {
    pub(super) outcome: Outcome,
    pub(super) facts: Facts,
}

impl Stage<'_> {
    /// The command that runs a seed alone.
    pub(super) fn replay(&self, seed: u64) -> String {
        replay(self.file, seed, self.depth)
    }

    /// Runs a seed. It fails if the network cannot be made or the simulation itself panics.
    pub(super) fn ran(&self, seed: u64, progress: &mut dyn FnMut(Duration)) -> Result<Ran, Failure> {
        let began = now();
        let run = AssertUnwindSafe(|| self.scenario.run(seed, progress));
        let outcome = catch_unwind(run)
            .map_err(|_| Failure::failed(format!("the simulation panicked; replay: {}", self.replay(seed))))?
            .map_err(|error| self.unusable(seed, &error))?;
        let facts = Facts {
            about: self.scenario.about().to_owned(),
            wall: began.elapsed(),
            max_rss_bytes: max_rss_bytes(),
            replay: self.replay(seed),
        };
        Ok(Ran { outcome, facts })
    }

    /// What stands in the way of a run: the system, or what the scenario asks for.
    pub(super) fn unusable(&self, seed: u64, error: &SimError) -> Failure {
        let why = format!("{}: seed {seed}: {error}", self.file.display());
        match error {
            SimError::Runtime(_) | SimError::Deadline { .. } => Failure::failed(why),
            _ => Failure::usage(why),
        }
    }
}

/// Runs one seed, and says what came of it.
pub(super) fn one(output: &Output, stage: &Stage<'_>, seed: u64) -> Result<(), Failure> {
    let length = stage.scenario.duration();
    let template = "{bar:30} {percent} % of {msg} of virtual time, {eta} left";
    let mut progress = Progress::new(!output.is_json(), millis(length), template);
    progress.says(time(length));
    let ran = stage.ran(seed, &mut |virtual_time| progress.reached(millis(virtual_time)));
    progress.finish();
    let ran = ran?;
    output.text(summary(&ran));
    violated(output, &ran);
    if let Some(page) = &stage.page {
        page.write(&report::render(&ran.outcome, &ran.facts, None))?;
        output.text(format!("report         {}", page.file().display()));
    }
    output.object(&object(&ran));
    match ran.outcome.violations.len() {
        0 => Ok(()),
        1 => Err(Failure::shown("something did not hold")),
        more => Err(Failure::shown(format!("{more} things did not hold"))),
    }
}

/// What came of a run, but for what did not hold.
fn summary(ran: &Ran) -> String {
    let Ran { outcome, facts } = ran;
    let cost = facts.wall_ms_per_virtual_s(outcome.virtual_time);
    let cost = cost.map(|ms| format!(", {ms} ms for each virtual second")).unwrap_or_default();
    let memory =
        facts.max_rss_bytes.map(|bytes| format!("\nmemory         {} MB at most", bytes / 1_000_000));
    let about = if facts.about.is_empty() { String::new() } else { printable(&facts.about) + "\n" };
    format!(
        "{}, seed {}, {} ({})\n{about}\
         virtual time   {}\n\
         wall time      {:.3} s{cost}\n\
         nodes          {}\n\
         connections    {} came up\n\
         messages       {} sent, {} received\n\
         dropped        {}\n\
         trace          {:016x}{}",
        printable(&outcome.scenario),
        outcome.seed,
        depth(outcome.depth).0,
        depth(outcome.depth).1,
        time(outcome.virtual_time),
        facts.wall.as_secs_f64(),
        grouped(outcome.nodes as u64),
        grouped(outcome.connections),
        grouped(sent(outcome)),
        grouped(outcome.messages),
        by_label(&dropped(outcome)),
        outcome.trace_hash,
        memory.unwrap_or_default(),
    )
}

/// Says what did not hold, and how to see it again; or that all held.
pub(super) fn violated(output: &Output, ran: &Ran) {
    let violations = &ran.outcome.violations;
    if violations.is_empty() {
        return output.text("violated       nothing");
    }
    for (at, violation) in violations {
        output.text(format!("violated       at {}: {}", time(*at), printable(&violation.to_string())));
    }
    output.text(format!("replay         {}", ran.facts.replay));
}

/// What came of a run, for programs.
pub(super) fn object(ran: &Ran) -> Value {
    let Ran { outcome, facts } = ran;
    json!({
        "event": "ran", "scenario": outcome.scenario, "seed": outcome.seed, "depth": depth(outcome.depth).0,
        "trace_hash": format!("{:016x}", outcome.trace_hash), "nodes": outcome.nodes,
        "connections": outcome.connections, "sent": sent(outcome), "messages": outcome.messages,
        "dropped": dropped(outcome),
        "virtual_s": outcome.virtual_time.as_secs_f64(),
        "wall_ms_per_virtual_s": facts.wall_ms_per_virtual_s(outcome.virtual_time),
        "max_rss_bytes": facts.max_rss_bytes,
        "violations": outcome.violations.iter().map(seen).collect::<Vec<_>>(), "replay": facts.replay,
    })
}

fn seen((at, violation): &(Duration, Violation)) -> Value {
    json!({ "at_s": at.as_secs_f64(), "violation": violation.to_string() })
}

/// What was left of a script, for programs.
pub(super) fn relapse_object(relapse: &Relapse, replay: &str) -> Value {
    let acts = relapse.script.steps().iter();
    let acts = acts.map(|(at, act)| json!({ "at_s": at.as_secs_f64(), "act": act.to_string() }));
    let violations = relapse.violations.iter().map(ToString::to_string);
    json!({
        "event": "relapse", "seed": relapse.seed, "drawn": relapse.drawn, "script": acts.collect::<Vec<_>>(),
        "violations": violations.collect::<Vec<_>>(), "replay": replay,
    })
}

fn dropped(outcome: &Outcome) -> BTreeMap<&'static str, u64> {
    let mut sums: BTreeMap<DropReason, u64> = BTreeMap::new();
    for (reason, count) in outcome.samples.iter().flat_map(|sample| &sample.dropped) {
        *sums.entry(*reason).or_default() += count;
    }
    sums.into_iter().filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.as_str(), count)).collect()
}

/// Messages written to connections; those of byzantine nodes are counted nowhere.
fn sent(outcome: &Outcome) -> u64 {
    outcome.samples.iter().map(|sample| sample.sent).sum()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
