//! What connects the nodes of a scenario: its lines, and how connections are opened.

use std::time::Duration;

use super::error::Fault;
use super::section::Section;
use crate::sim::fabric::Opening;
use crate::sim::lines::Line;
use crate::transport::link::LinkConfig;

/// The keys of a line.
pub(super) const LINE_KEYS: &[&str] = &["latency", "spread", "jitter", "rate", "buffer"];

/// The keys of an opening.
pub(super) const OPENING_KEYS: &[&str] = &["reorder", "duplicated"];

/// Longest time by which attempts may be late.
const MAX_REORDER: Duration = Duration::from_secs(60);

/// Reads the line of a table that has its keys, as far as it differs from the default.
pub(super) fn read_line(section: &Section<'_>) -> Result<Line, Fault> {
    let mut line = Line::default();
    let times = Duration::ZERO..=LinkConfig::MAX_LATENCY;
    for (key, field) in
        [("latency", &mut line.latency), ("spread", &mut line.spread), ("jitter", &mut line.jitter)]
    {
        *field = section.time_or(key, times.clone(), *field)?;
    }
    let rate = section.whole("rate", 1..=LinkConfig::MAX_BYTES_PER_SECOND)?;
    line.bytes_per_second = rate.map(|rate| rate.value);
    if let Some(buffer) = section.size("buffer", 1..=LinkConfig::MAX_BUFFER_BYTES)? {
        line.buffer_bytes = buffer.value;
    }
    // Each for itself is possible; together they may not be.
    line.check()
        .map_err(|error| Fault::new(section.at, format!("no connection can have this line: {error}")))?;
    Ok(line)
}

pub(super) fn read_opening(section: &Section<'_>) -> Result<Opening, Fault> {
    let reorder = section.time_or("reorder", Duration::ZERO..=MAX_REORDER, Duration::ZERO)?;
    let duplicated = section.per_mille("duplicated")?;
    Ok(Opening { reorder, duplicated_per_mille: duplicated.map_or(0, |share| share.value) })
}
