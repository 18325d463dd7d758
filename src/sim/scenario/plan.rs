//! What a scenario's text says, as data.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::de::DeTable;

use super::Scenario;
use super::acts::read_acts;
use super::error::Fault;
use super::expect::{Expect, Given};
use super::group::{Around, Group, take_census};
use super::lines::{LINE_KEYS, OPENING_KEYS, read_line, read_opening};
use super::names::Census;
use super::section::{At, Section};
use super::weather::{CHURN_KEYS, Churn, FAULT_KEYS, Faults};
use crate::sim::Depth;
use crate::sim::fabric::Opening;
use crate::sim::lines::Line;
use crate::sim::script::Script;

pub(super) const KEYS: &[&str] = &[
    "name",
    "about",
    "depth",
    "duration",
    "interleaved",
    "line",
    "region_line",
    "opening",
    "group",
    "act",
    "churn",
    "faults",
    "expect",
];
pub(super) const REGION_LINE_KEYS: &[&str] =
    &["from", "to", "both_ways", "latency", "spread", "jitter", "rate", "buffer"];

/// Longest run.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

/// Most expectations of a scenario: each keeps the nodes that it is about.
const MAX_EXPECTS: usize = 1_000;

/// All that a scenario's text says.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) depth: Depth,
    pub(super) duration: Duration,
    pub(super) interleaved: bool,
    pub(super) line: Line,
    pub(super) region_lines: Vec<(u16, u16, Line)>,
    pub(super) opening: Opening,
    pub(super) census: Census,
    pub(super) groups: Vec<Group>,
    /// The acts that are written.
    pub(super) acts: Script,
    pub(super) churn: Option<Churn>,
    pub(super) faults: Option<Faults>,
    pub(super) expects: Vec<Expect>,
}

impl Plan {
    pub(super) fn read(text: &str) -> Result<Self, Fault> {
        if text.len() > Scenario::MAX_BYTES {
            return Err(Fault::new(0, format!("a scenario has at most {} bytes", Scenario::MAX_BYTES)));
        }
        let document = DeTable::parse(text).map_err(|error| {
            Fault::new(error.span().map_or(0, |span| span.start), error.message().to_owned())
        })?;
        let top = Section::new("a scenario", document.get_ref(), 0, KEYS)?;
        let name = top.must("name", top.text("name")?)?;
        if name.value.is_empty() || name.value.contains(char::is_control) {
            return Err(name.fault("`name` must be words"));
        }
        let depth = top.one_of("depth", &[("plain", Depth::Plain), ("rlpx", Depth::Rlpx)])?;
        let duration = top.time("duration", Duration::from_secs(1)..=MAX_DURATION)?;
        let duration = top.must("duration", duration)?.value;
        let tables = top.tables("group")?;
        if tables.is_empty() {
            return Err(Fault::new(0, "a scenario must have a `group`"));
        }
        let census = take_census(&tables)?;
        let regions = Vec::new();
        let mut around = Around { census: &census, duration, regions, subnets: BTreeSet::new() };
        let groups: Vec<Group> = tables
            .iter()
            .enumerate()
            .map(|(number, table)| around.read(number, *table))
            .collect::<Result<_, Fault>>()?;
        let region_lines = read_region_lines(&top, &around.regions)?;
        let acts = read_acts(&top.tables("act")?, &census, duration)?;
        let churn = top.table("churn", "`churn`", CHURN_KEYS)?;
        let churn = churn.map(|section| Churn::read(&section, &census, duration)).transpose()?;
        let faults = top.table("faults", "`faults`", FAULT_KEYS)?;
        let faults = faults.map(|section| Faults::read(&section, &census, duration)).transpose()?;
        let written = acts.steps().last().map_or(Duration::ZERO, |(at, _)| *at);
        let drawn = churn.iter().map(Churn::ends).chain(faults.iter().map(Faults::ends));
        let acts_end = drawn.chain([written]).max().unwrap_or_default();
        let is_anything_done = !acts.steps().is_empty() || churn.is_some() || faults.is_some();
        let given = Given { census: &census, duration, acts_end, is_anything_done };
        let expects = top.tables("expect")?;
        if let Some(beyond) = expects.get(MAX_EXPECTS) {
            return Err(beyond.fault(format!("a scenario has at most {MAX_EXPECTS} expectations")));
        }
        let expects = expects.into_iter().map(|table| given.read(table)).collect::<Result<_, Fault>>()?;
        let line = top.table("line", "a line", LINE_KEYS)?;
        let opening = top.table("opening", "`opening`", OPENING_KEYS)?;
        Ok(Self {
            name: name.value.to_owned(),
            about: top.text("about")?.map_or_else(String::new, |about| about.value.to_owned()),
            depth: depth.unwrap_or(Depth::Plain),
            duration,
            interleaved: top.yes("interleaved")?.unwrap_or(false),
            line: line.map(|section| read_line(&section)).transpose()?.unwrap_or_default(),
            region_lines,
            opening: opening.map(|section| read_opening(&section)).transpose()?.unwrap_or_default(),
            groups,
            acts,
            churn,
            faults,
            expects,
            census,
        })
    }
}

/// What leads from one region to another.
fn read_region_lines(top: &Section<'_>, regions: &[String]) -> Result<Vec<(u16, u16, Line)>, Fault> {
    let number = |said: At<&str>| {
        let known = regions.iter().position(|region| region == said.value);
        let known = known.and_then(|at| u16::try_from(at + 1).ok());
        known.ok_or_else(|| said.fault(format!("no group is in a region `{}`", said.value)))
    };
    let mut lines = Vec::new();
    for table in top.tables("region_line")? {
        let section = Section::new("a line between regions", table.value, table.at, REGION_LINE_KEYS)?;
        let from = number(section.must("from", section.text("from")?)?)?;
        let to = number(section.must("to", section.text("to")?)?)?;
        let line = read_line(&section)?;
        lines.push((from, to, line));
        if section.yes("both_ways")?.unwrap_or(true) && from != to {
            lines.push((to, from, line));
        }
    }
    Ok(lines)
}
