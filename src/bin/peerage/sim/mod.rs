//! `peerage sim`: a whole network on virtual time, as a scenario file says.

mod facts;
mod page;
mod progress;
mod repeat;
mod report;
mod run;
mod search;
mod seeds;

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use peerage::sim::{Depth, Scenario};

use self::page::Page;
pub(crate) use self::seeds::{Seeds, seeds};
use crate::output::{Failure, Output, printable};

/// What a command is to do.
pub(crate) struct Settings {
    pub(crate) file: PathBuf,
    pub(crate) seed: u64,
    /// In how many processes the seed is to give the same.
    pub(crate) repeat: Option<u32>,
    /// Many seeds instead of one.
    pub(crate) seeds: Option<Seeds>,
    /// Whether seeds are run behind one that fails.
    pub(crate) keep_going: bool,
    /// Instead of the one that the scenario names.
    pub(crate) depth: Option<DepthKind>,
    /// The folder of the page.
    pub(crate) report: Option<PathBuf>,
}

/// How much of a node is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DepthKind {
    /// All but cryptography and compression.
    Plain,
    /// RLPx as over TCP.
    Rlpx,
}

impl From<DepthKind> for Depth {
    fn from(kind: DepthKind) -> Self {
        match kind {
            DepthKind::Plain => Self::Plain,
            DepthKind::Rlpx => Self::Rlpx,
        }
    }
}

/// A scenario, and where it and its page are.
struct Stage<'a> {
    file: &'a Path,
    scenario: Scenario,
    /// The depth that was asked for, if any.
    depth: Option<Depth>,
    page: Option<Page>,
}

pub(crate) fn run(output: &Output, settings: &Settings) -> Result<(), Failure> {
    let (file, depth) = (settings.file.as_path(), settings.depth.map(Depth::from));
    let scenario = read(file)?;
    let scenario = match depth {
        Some(depth) => scenario.with_depth(depth),
        None => scenario,
    };
    let page = settings.report.as_deref().map(Page::prepare).transpose()?;
    let stage = Stage { file, scenario, depth, page };
    match (&settings.seeds, settings.repeat) {
        (None, None) => run::one(output, &stage, settings.seed),
        (None, Some(processes)) => repeat::all(output, &stage, settings.seed, processes),
        (Some(seeds), _) => search::all(output, &stage, seeds, settings.keep_going),
    }
}

fn read(file: &Path) -> Result<Scenario, Failure> {
    let name = file.display();
    let mut text = Vec::new();
    // One byte more than can be used is enough to be refused.
    std::fs::File::open(file)
        .and_then(|file| file.take(Scenario::MAX_BYTES as u64 + 1).read_to_end(&mut text))
        .map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    let text = String::from_utf8(text).map_err(|error| {
        Failure::usage(format!("{name}: byte {} is no UTF-8", error.utf8_error().valid_up_to()))
    })?;
    Scenario::parse(&text).map_err(|error| {
        Failure::usage(format!("{name}:{}:{}: {}", error.line(), error.column(), printable(error.why())))
    })
}
