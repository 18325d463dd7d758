//! Many seeds of a scenario, and what a network does not recover from.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::Range;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

use super::progress::Progress;
use super::report::{self, grouped, time};
use super::run::{Ran, object, relapse_object, violated};
use super::{Seeds, Stage};
use crate::output::{Failure, Output, printable};

/// What came of a seed: of one of which all held, no more than is told.
enum Judged {
    Held(Value),
    Violated(Box<Ran>),
}

/// Runs all seeds, as many at once as there are processors, and tells of them in their order. Ends with the first of
/// which something did not hold, unless it is to go on.
pub(super) fn all(
    output: &Output,
    stage: &Stage<'_>,
    seeds: &Seeds,
    keep_going: bool,
) -> Result<(), Failure> {
    let left = Mutex::new(seeds.range());
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    let template = "{bar:30} {pos} of {len} seeds, {eta} left {msg}";
    let mut progress = Progress::new(!output.is_json(), seeds.count(), template);
    let mut tally = Tally::default();
    let told = thread::scope(|scope| {
        let (sender, receiver) = sync_channel(at_once);
        for _ in 0..at_once {
            let (sender, left) = (sender.clone(), &left);
            scope.spawn(move || work(stage, left, &sender));
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut next = seeds.range().start;
        for (seed, judged) in receiver {
            early.insert(seed, judged);
            while let Some(judged) = early.remove(&next) {
                next += 1;
                tally.ran += 1;
                let told = tally.tell(output, stage, &progress, judged);
                if told.is_err() || (tally.failed > 0 && !keep_going) {
                    // Whoever works ends with the run that it is at.
                    none(&left);
                    return told;
                }
                progress.reached(tally.ran);
            }
        }
        Ok(())
    });
    let wall = progress.finish();
    told?;
    let Tally { ran, failed, first_failed } = tally;
    let held = grouped(ran - failed);
    output.text(format!("{held} of {} seeds held in {:.1} s", grouped(ran), wall.as_secs_f64()));
    output.object(&json!({
        "event": "searched", "from": seeds.range().start, "seeds": ran, "failed": failed,
        "first_failed": first_failed,
    }));
    match (failed, first_failed) {
        (0, _) => Ok(()),
        (1, Some(seed)) => Err(Failure::shown(format!("seed {seed} did not hold"))),
        _ => Err(Failure::shown(format!("{} seeds of {seeds} did not hold", grouped(failed)))),
    }
}

/// Runs seeds until none is left, or nobody listens.
fn work(stage: &Stage<'_>, left: &Mutex<Range<u64>>, sender: &SyncSender<(u64, Result<Judged, Failure>)>) {
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    while let Some(seed) = next() {
        let ran = stage.ran(seed, &mut |_| {});
        let judged = ran.map(|ran| match ran.outcome.violations.is_empty() {
            true => Judged::Held(object(&ran)),
            false => Judged::Violated(Box::new(ran)),
        });
        if sender.send((seed, judged)).is_err() {
            return;
        }
    }
}

/// Leaves no seed to be run.
fn none(left: &Mutex<Range<u64>>) {
    *left.lock().unwrap_or_else(PoisonError::into_inner) = 0..0;
}

/// What came of the seeds so far.
#[derive(Default)]
struct Tally {
    ran: u64,
    failed: u64,
    first_failed: Option<u64>,
}

impl Tally {
    fn tell(
        &mut self,
        output: &Output,
        stage: &Stage<'_>,
        progress: &Progress,
        judged: Result<Judged, Failure>,
    ) -> Result<(), Failure> {
        match judged? {
            Judged::Held(object) => {
                output.object(&object);
                Ok(())
            }
            Judged::Violated(ran) => {
                self.failed += 1;
                let seed = ran.outcome.seed;
                let is_first = self.first_failed.replace(self.first_failed.unwrap_or(seed)).is_none();
                progress.says(format!("(leaving out what seed {seed} does not need)"));
                let told = shrink(output, stage, progress, &ran, is_first);
                progress.says("");
                told
            }
        }
    }
}

/// Tells of a seed of which something did not hold, with as few acts as are needed for that.
fn shrink(
    output: &Output,
    stage: &Stage<'_>,
    progress: &Progress,
    ran: &Ran,
    is_first: bool,
) -> Result<(), Failure> {
    let seed = ran.outcome.seed;
    progress.aside(|| {
        output.text(format!("seed {seed}"));
        output.object(&object(ran));
        violated(output, ran);
    });
    let relapse = stage.scenario.find_relapse(seed).map_err(|error| stage.unusable(seed, &error))?;
    progress.aside(|| match &relapse {
        Some(relapse) => {
            let kept = relapse.script.steps().len();
            output.text(format!("needs          {kept} of {} acts", relapse.drawn));
            for (at, act) in relapse.script.steps() {
                output.text(format!("               at {}: {}", time(*at), printable(&act.to_string())));
            }
            output.object(&relapse_object(relapse, &ran.facts.replay));
        }
        // The same seed gives the same run, unless something of it does not follow from the seed.
        None => {
            output.text("needs          nothing that is known: run again, it held; the run does not repeat");
        }
    });
    if let Some(page) = stage.page.as_ref().filter(|_| is_first) {
        page.write(&report::render(&ran.outcome, &ran.facts, relapse.as_deref()))?;
        progress.aside(|| output.text(format!("report         {}", page.file().display())));
    }
    Ok(())
}
