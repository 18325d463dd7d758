//! What of a scenario's script is needed for a promise to be broken.

use std::mem::discriminant;

use super::Scenario;
use crate::sim::check::Violation;
use crate::sim::net::SimError;
use crate::sim::script::{Act, Script};
use crate::sim::search::{Relapse, Unit, leave_out};

/// Runs a scenario, and leaves out what is not needed for what is found.
pub(super) fn find(scenario: &Scenario, seed: u64) -> Result<Option<Box<Relapse>>, SimError> {
    let script = scenario.script(seed);
    let run = |script: &Script| -> Result<Vec<Violation>, SimError> {
        let outcome = scenario.run_script(seed, script, &mut |_| {})?;
        Ok(outcome.violations.into_iter().map(|(_, violation)| violation).collect())
    };
    let first = run(&script)?;
    if first.is_empty() {
        return Ok(None);
    }
    // Another kind of violation is another matter.
    let is_known = |found: &Violation| first.iter().any(|known| discriminant(known) == discriminant(found));
    let fails = |shorter: &Script| Ok(Some(run(shorter)?).filter(|found| found.iter().any(is_known)));
    let (kept, violations) = leave_out(units(&script), first.clone(), fails)?;
    Ok(Some(Box::new(Relapse { seed, script: kept, violations, drawn: script.steps().len() })))
}

/// The acts of a script, those that end a fault together with what begins it: a network that is parted and not healed
/// does not recover, which tells nothing.
fn units(script: &Script) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for (at, act) in script.steps() {
        let begun = |unit: &Unit| unit.last().is_some_and(|(_, last)| ends(last, act));
        if *act == Act::HealAll {
            // Ends all ways that are cut, and all partitions.
            let (open, others): (Vec<Unit>, Vec<Unit>) =
                std::mem::take(&mut units).into_iter().partition(begun);
            units = others;
            let mut unit = open.concat();
            unit.push((*at, act.clone()));
            units.push(unit);
        } else {
            match units.iter_mut().rev().find(|unit| begun(unit)) {
                Some(unit) => unit.push((*at, act.clone())),
                None => units.push(vec![(*at, act.clone())]),
            }
        }
    }
    units
}

/// Whether an act ends what another began.
fn ends(begin: &Act, end: &Act) -> bool {
    match (begin, end) {
        (Act::Kill(a) | Act::ShutDown(a), Act::Start(b) | Act::PowerOn(b))
        | (Act::PowerOff(a), Act::PowerOn(b))
        | (Act::Slow(a, Some(_)), Act::Slow(b, None)) => a == b,
        (Act::Cut(a, b), Act::Mend(c, d)) => (a, b) == (c, d),
        (Act::Partition(a, _), Act::Heal(b)) => a == b,
        (Act::Cut(..) | Act::Partition(..), Act::HealAll) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sim::node::Node;

    fn sizes(acts: &[Act]) -> Vec<usize> {
        let mut script = Script::new();
        for (at, act) in (0..).zip(acts) {
            script = script.at(Duration::from_secs(at), act.clone());
        }
        let units = units(&script);
        assert_eq!(Script::of(&units), script, "none is lost");
        units.iter().map(Vec::len).collect()
    }

    #[test]
    fn what_ends_a_fault_belongs_to_what_began_it() {
        let [a, b] = [Node(1), Node(2)];
        let part = |name: &str| Act::Partition(name.into(), vec![vec![a], vec![b]]);
        assert_eq!(sizes(&[Act::Kill(a), Act::Kill(b), Act::Start(b), Act::Start(a)]), [2, 2]);
        assert_eq!(sizes(&[Act::Kill(a), Act::Start(a), Act::Kill(a), Act::Start(a)]), [2, 2]);
        assert_eq!(sizes(&[Act::PowerOff(a), Act::Start(a), Act::PowerOn(a)]), [2, 1]);
        assert_eq!(sizes(&[Act::Cut(a, b), Act::Mend(b, a), Act::Mend(a, b)]), [2, 1]);
        assert_eq!(sizes(&[part("x"), part("y"), Act::Heal("x".into())]), [2, 1]);
        assert_eq!(sizes(&[part("x"), Act::Reset(a, b), Act::Cut(a, b), Act::HealAll]), [1, 3]);
        assert_eq!(sizes(&[Act::Slow(a, Some(9)), Act::Slow(a, None), Act::HealAll]), [2, 1]);
    }
}
