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

const CLOCKS: &str = r#"
name = "clocks"
about = "a node is started again with another clock, and a connection stalls"
duration = "5m"

[[group]]
name = "town"
count = 6
topology = "ring"

[[act]]
at = "20s"
what = "drift"
nodes = "town[1]"
ppm = -50_000

[[act]]
at = "20s"
what = "turn_clock"
nodes = "town[1]"
seconds = -86_400

[[act]]
at = "30s"
what = "rolling_restart"
nodes = "town[1]"
every = "10s"
down_for = "5s"

[[act]]
at = "60s"
what = "stall"
from = "town[3]"
to = "town[4]"

[[expect]]
what = "recovered"
within = "2m"
"#;

#[test]
fn clocks_are_changed_and_connections_stall_where_a_scenario_says_so() {
    let outcome = keeps(&Scenario::parse(CLOCKS).unwrap(), 1);
    let words = outcome.script.to_string();
    for act in [
        "let the clock of node 1 run fast by -50000 ppm",
        "turn the clock of node 1 by -86400 s",
        "stall node 3 <-> node 4",
    ] {
        assert!(words.contains(act), "{words}");
    }
    for (from, to, why) in [
        ("-50_000", "-500_001", "`ppm` is -500001; it must be -500000 to 500000"),
        ("seconds = -86_400", "", "seconds"),
        ("ppm = -50_000", "ppm = 0.05", "`ppm`"),
    ] {
        let error = Scenario::parse(&CLOCKS.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
