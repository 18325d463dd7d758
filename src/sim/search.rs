//! Searching for faults that a network does not recover from.

use std::fmt;
use std::time::Duration;

use super::check::Violation;
use super::net::{SimError, SimNet};
use super::script::{Act, Script};

/// Faults that a network did not recover from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relapse {
    /// The seed of the network.
    pub seed: u64,
    /// The faults: as few as were found to do.
    pub script: Script,
    /// What does not hold.
    pub violations: Vec<Violation>,
    /// How many faults were drawn at first.
    pub drawn: usize,
}

impl fmt::Display for Relapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.script.steps().len();
        writeln!(
            f,
            "seed {}: the network does not recover from these {kept} of {} acts",
            self.seed, self.drawn
        )?;
        write!(f, "{}", self.script)?;
        for violation in &self.violations {
            writeln!(f, "then {violation}")?;
        }
        Ok(())
    }
}

/// Plays `script` to a network made by `make`, ends all faults, and looks whether the network recovers `within` a
/// virtual time. If it does not, leaves out what is not needed for that, and tells what is left.
///
/// # Errors
///
/// If a network cannot be made, or an act not be done.
pub fn find_relapse(
    make: impl Fn() -> Result<SimNet, SimError>,
    script: &Script,
    within: Duration,
) -> Result<Option<Box<Relapse>>, SimError> {
    let Some((seed, violations)) = try_out(&make, script, within)? else { return Ok(None) };
    let fails = |shorter: &Script| Ok(try_out(&make, shorter, within)?.map(|(_, violations)| violations));
    let steps = script.steps().iter().map(|step| vec![step.clone()]).collect();
    let (kept, violations) = leave_out(steps, violations, fails)?;
    Ok(Some(Box::new(Relapse { seed, script: kept, violations, drawn: script.steps().len() })))
}

/// Some acts with their times: what is left out together.
pub(super) type Unit = Vec<(Duration, Act)>;

/// Leaves out what is not needed for a script to fail, of the units that it is made of, and answers what is left.
/// `found` is what the whole script does; `fails` runs a shorter one and answers the same, or `None` if it does not
/// fail.
pub(super) fn leave_out<T>(
    mut units: Vec<Unit>,
    mut found: T,
    mut fails: impl FnMut(&Script) -> Result<Option<T>, SimError>,
) -> Result<(Script, T), SimError> {
    // Halves, then quarters, and at last single ones.
    let mut size = units.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < units.len() {
            let end = (at + size).min(units.len());
            let shorter = [&units[..at], &units[end..]].concat();
            match fails(&Script::of(&shorter))? {
                Some(still) => (units, found) = (shorter, still),
                None => at = end,
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    Ok((Script::of(&units), found))
}

/// What does not hold after a script, and the seed; `None` if all holds.
fn try_out(
    make: &impl Fn() -> Result<SimNet, SimError>,
    script: &Script,
    within: Duration,
) -> Result<Option<(u64, Vec<Violation>)>, SimError> {
    let mut net = make()?;
    net.play(script)?;
    // Whatever was begun and not ended, since its end was left out.
    net.act(&Act::HealAll)?;
    for node in net.nodes() {
        net.power_on(node)?;
    }
    Ok(net.recover(within).err().map(|violations| (net.seed(), violations)))
}
