//! The scenarios that ship keep what they promise, and a promise that is broken is seen.

use peerage::sim::{Depth, Outcome, Scenario};

/// A scenario that ships.
fn shipped(name: &str) -> Scenario {
    let path = format!("{}/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let scenario = Scenario::parse(&std::fs::read_to_string(&path).unwrap());
    let scenario = scenario.unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(scenario.name(), name);
    scenario
}

/// Runs a scenario that must keep its promises.
fn keeps(scenario: &Scenario, seed: u64) -> Outcome {
    let outcome = scenario.run(seed, &mut |_| {}).unwrap();
    let script = &outcome.script;
    assert_eq!(outcome.violations, [], "{} at seed {seed}:\n{script}", scenario.name());
    outcome
}

#[test]
fn steady() {
    let scenario = shipped("steady");
    for (depth, seed) in [(Depth::Plain, 1), (Depth::Rlpx, 2)] {
        keeps(&scenario.clone().with_depth(depth), seed);
    }
}

#[test]
fn partition_and_heal() {
    let scenario = shipped("partition-and-heal");
    for (depth, seed) in [(Depth::Plain, 1), (Depth::Plain, 2), (Depth::Rlpx, 3)] {
        keeps(&scenario.clone().with_depth(depth), seed);
    }
}

#[test]
fn churn() {
    let scenario = shipped("churn");
    for seed in 1..3 {
        keeps(&scenario, seed);
    }
}
