//! One seed in many processes: each is to tell the same.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

use super::Stage;
use super::facts::depth;
use super::progress::Progress;
use crate::output::{Failure, Output};

/// Runs a seed in so many processes, as many at once as there are processors, and compares the hashes of what happened.
pub(super) fn all(output: &Output, stage: &Stage<'_>, seed: u64, processes: u32) -> Result<(), Failure> {
    // What can be read once alone, such as a pipe, would keep a process waiting for ever.
    if !std::fs::metadata(stage.file).is_ok_and(|file| file.is_file()) {
        let name = stage.file.display();
        return Err(Failure::usage(format!("{name} is no file that each process can read anew")));
    }
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    let template = "{bar:30} {pos} of {len} processes, {eta} left";
    let mut progress = Progress::new(!output.is_json(), u64::from(processes), template);
    let left = Mutex::new(processes);
    let take = || {
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        left.checked_sub(1).map(|fewer| *left = fewer)
    };
    let mut hashes: BTreeMap<String, u32> = BTreeMap::new();
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(at_once);
        for _ in 0..at_once {
            let (sender, take) = (sender.clone(), &take);
            scope.spawn(move || while take().is_some() && sender.send(ran(stage, seed)).is_ok() {});
        }
        drop(sender);
        for ran in receiver {
            *hashes.entry(ran?).or_default() += 1;
            progress.reached(u64::from(hashes.values().sum::<u32>()));
        }
        Ok::<(), Failure>(())
    })?;
    let wall = progress.finish();
    output.text(format!("{processes} processes in {:.1} s", wall.as_secs_f64()));
    for (hash, count) in &hashes {
        output.text(format!("trace          {hash} in {count} of {processes}"));
    }
    let depth = depth(stage.scenario.depth()).0;
    output.object(&json!({
        "event": "repeated", "seed": seed, "depth": depth, "processes": processes, "hashes": hashes,
    }));
    if hashes.len() > 1 {
        let why = "seed {} did not give the same run in each process: something of it follows from the system's clock, its \
                   randomness, or an order that is not fixed; `peerage::sim::assert_repeatable` finds where runs part";
        return Err(Failure::shown(why.replace("{}", &seed.to_string())));
    }
    Ok(())
}

/// Runs a seed in a process of its own: the hash of what happened.
fn ran(stage: &Stage<'_>, seed: u64) -> Result<String, Failure> {
    let failed = |why: String| Failure::failed(format!("a process of seed {seed}: {why}"));
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    command.arg("--json").arg("sim").arg("--seed").arg(seed.to_string());
    command.arg("--depth").arg(depth(stage.scenario.depth()).0).arg("--").arg(stage.file);
    let told = command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    // What did not hold is told by a run without `--repeat`; that it does not hold each time is all that matters here.
    let last = String::from_utf8_lossy(&told.stdout).lines().last().map(str::to_owned).unwrap_or_default();
    let hash = serde_json::from_str::<Value>(&last).ok();
    let hash = hash.and_then(|told| told.get("trace_hash")?.as_str().map(str::to_owned));
    hash.ok_or_else(|| failed(format!("{}: {}", told.status, String::from_utf8_lossy(&told.stderr).trim())))
}
