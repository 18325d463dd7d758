//! Whether a scenario repeats.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use super::trace::{Keep, Record};
use super::{Depth, SimNet};

/// How many records of a run are compared one by one; beyond them the hash alone tells.
const COMPARED: usize = 1 << 20;

/// How many records before the parting are shown.
const SHOWN: usize = 3;

/// Tells a child process where to write what its runs came to.
const CHILD: &str = "PEERAGE_SIM_CHILD";

/// The seed of which it is to write all records.
const WHOLE: &str = "PEERAGE_SIM_CHILD_SEED";

/// Two runs of one seed that are not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parting {
    /// The seed.
    pub seed: u64,
    /// Which run differs from the first.
    pub run: &'static str,
    /// How many records are the same; `None` if those that were compared all are.
    pub common: Option<usize>,
    /// The last records that are the same.
    pub before: Vec<String>,
    /// The first that differs, of the one run and of the other; `None` where a run has ended.
    pub records: [Option<String>; 2],
}

impl fmt::Display for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} does not repeat: {} differs from the first run", self.seed, self.run)?;
        match self.common {
            Some(common) => writeln!(f, "the first {common} records are the same, the last of them:")?,
            None => writeln!(f, "the records that were compared are the same; those behind them are not")?,
        }
        for record in &self.before {
            writeln!(f, "      {record}")?;
        }
        if self.common.is_some() {
            let [one, other] = self.records.each_ref().map(|record| record.as_deref().unwrap_or("(the end)"));
            writeln!(f, "first {one}\nthen  {other}")?;
        }
        f.write_str(
            "What usually causes it: std::time::Instant or SystemTime instead of tokio's clock, randomness that is not \
             drawn from the node's seed, the order of a HashMap, a task on another thread, an unbiased select!",
        )
    }
}

impl std::error::Error for Parting {}

/// Asserts that a scenario does the same each time that it runs: it is run on two threads, and in a child process.
///
/// Call it as the last thing in a test. The child process is the test again, of which the scenario alone is run.
///
/// # Panics
///
/// With the first record that differs, if there is one; or if the scenario panics.
#[allow(clippy::panic, reason = "it is an assertion")]
pub fn assert_repeatable(
    depth: Depth,
    seeds: impl IntoIterator<Item = u64>,
    scenario: impl Fn(&mut SimNet) + Sync,
) {
    let seeds: Vec<u64> = seeds.into_iter().collect();
    if let Some(path) = std::env::var_os(CHILD) {
        be_the_child(&PathBuf::from(path), depth, &seeds, &scenario);
    }
    if let Err(parting) = check_repeatable(depth, seeds, scenario) {
        panic!("{parting}");
    }
}

/// Whether a scenario does the same each time, as [`assert_repeatable`] asks.
///
/// # Errors
///
/// The first [`Parting`] of two runs.
///
/// # Panics
///
/// If the scenario panics, or if no process can be started.
pub fn check_repeatable(
    depth: Depth,
    seeds: impl IntoIterator<Item = u64>,
    scenario: impl Fn(&mut SimNet) + Sync,
) -> Result<(), Box<Parting>> {
    let seeds: Vec<u64> = seeds.into_iter().collect();
    let mut hashes = Vec::new();
    for seed in &seeds {
        let first = on_a_thread(depth, *seed, &scenario);
        let second = on_a_thread(depth, *seed, &scenario);
        hashes.push((*seed, first.hash));
        first.compare(&second, *seed, "a run on another thread")?;
    }
    let Some(lines) = in_a_child(None) else { return Ok(()) };
    let parted = lines.lines().zip(hashes).find(|(line, (seed, hash))| *line != told(*seed, *hash));
    let Some((_, (seed, _))) = parted else { return Ok(()) };
    // What differs from process to process does so again: now with all records.
    let ours = written(&on_a_thread(depth, seed, &scenario));
    let theirs = in_a_child(Some(seed)).unwrap_or_default();
    let [ours, theirs] = [&ours, &theirs].map(|records| records.lines().collect::<Vec<_>>());
    Err(part(&ours, &theirs, seed, "a run in another process"))
}

/// What a run came to.
struct Run {
    hash: u64,
    count: u64,
    records: Vec<Record>,
}

impl Run {
    fn of(depth: Depth, seed: u64, scenario: &(impl Fn(&mut SimNet) + Sync)) -> Self {
        #[allow(clippy::expect_used, reason = "a test without a runtime has failed")]
        let mut net =
            SimNet::keeping(seed, depth, Keep::First(COMPARED)).expect("the system gives a runtime");
        scenario(&mut net);
        Self { hash: net.trace_hash(), count: net.trace_len(), records: net.recent() }
    }

    fn compare(&self, other: &Self, seed: u64, run: &'static str) -> Result<(), Box<Parting>> {
        if (self.hash, self.count) == (other.hash, other.count) {
            return Ok(());
        }
        Err(part(&self.records, &other.records, seed, run))
    }
}

/// Where the records of two runs part.
fn part<R: PartialEq + fmt::Display>(ours: &[R], theirs: &[R], seed: u64, run: &'static str) -> Box<Parting> {
    let most = ours.len().max(theirs.len());
    let common = (0..most).find(|at| ours.get(*at) != theirs.get(*at));
    let shown = |record: Option<&R>| record.map(ToString::to_string);
    let end = common.unwrap_or(most);
    let before = ours.get(end.saturating_sub(SHOWN)..end).unwrap_or_default();
    Box::new(Parting {
        seed,
        run,
        common,
        before: before.iter().map(ToString::to_string).collect(),
        records: [shown(ours.get(end)), shown(theirs.get(end))],
    })
}

/// The records of a run, a line each.
fn written(run: &Run) -> String {
    run.records.iter().fold(String::new(), |text, record| text + &record.to_string() + "\n")
}

fn on_a_thread(depth: Depth, seed: u64, scenario: &(impl Fn(&mut SimNet) + Sync)) -> Run {
    let run = thread::scope(|scope| scope.spawn(|| Run::of(depth, seed, scenario)).join());
    run.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn told(seed: u64, hash: u64) -> String {
    format!("seed {seed}: {hash:016x}")
}

/// Runs this test again in another process; what it wrote: the hash of each seed, or all records of one. `None` if this is
/// that process, or no test of a harness.
#[allow(clippy::panic, reason = "a test that cannot start a process has failed")]
fn in_a_child(seed: Option<u64>) -> Option<String> {
    if std::env::var_os(CHILD).is_some() {
        return None;
    }
    let test = test_name()?;
    let path =
        std::env::temp_dir().join(format!("peerage-sim-{}-{}", std::process::id(), test.replace("::", "-")));
    let program = std::env::current_exe().unwrap_or_else(|error| panic!("which program is this? {error}"));
    let ran = Command::new(program)
        .args([test.as_str(), "--exact", "--nocapture", "--include-ignored"])
        .env(CHILD, &path)
        .env(WHOLE, seed.map(|seed| seed.to_string()).unwrap_or_default())
        .stdout(Stdio::null())
        .output();
    let output = ran.unwrap_or_else(|error| panic!("cannot run the test in another process: {error}"));
    let lines = fs::read_to_string(&path);
    // It may not have come to be written.
    let _ = fs::remove_file(&path);
    let said = String::from_utf8_lossy(&output.stderr);
    Some(lines.unwrap_or_else(|_| panic!("{test} ended in another process before its runs did:\n{said}")))
}

/// The test that runs on this thread, as its harness calls it.
fn test_name() -> Option<String> {
    match thread::current().name() {
        // A harness that runs one test alone runs it on the main thread.
        Some("main") | None => std::env::args().skip(1).find(|argument| !argument.starts_with('-')),
        Some(name) => Some(name.to_owned()),
    }
}

/// Runs the scenario for the process that started this one, and ends.
fn be_the_child(path: &PathBuf, depth: Depth, seeds: &[u64], scenario: &(impl Fn(&mut SimNet) + Sync)) -> ! {
    let whole = std::env::var(WHOLE).ok().and_then(|seed| seed.parse().ok());
    let lines: String = match whole {
        Some(seed) => written(&on_a_thread(depth, seed, scenario)),
        None => {
            seeds.iter().map(|seed| told(*seed, on_a_thread(depth, *seed, scenario).hash) + "\n").collect()
        }
    };
    let kept = fs::write(path, lines);
    std::process::exit(i32::from(kept.is_err()));
}
