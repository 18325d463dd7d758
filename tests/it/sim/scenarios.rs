//! The scenarios that ship keep what they promise, and a promise that is broken is seen.

use peerage::sim::{Act, Depth, Outcome, Scenario, Script, Violation};

use super::SECOND;

/// The text of a scenario that ships.
fn text(name: &str) -> String {
    let path = format!("{}/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A text with one part in the place of another, which must be there.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not there");
    text.replace(from, to)
}

fn parsed(text: &str) -> Scenario {
    Scenario::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a scenario that must keep its promises.
fn keeps(scenario: &Scenario, seed: u64) -> Outcome {
    let outcome = scenario.run(seed, &mut |_| {}).unwrap();
    let script = &outcome.script;
    assert_eq!(outcome.violations, [], "{} at seed {seed}:\n{script}", scenario.name());
    outcome
}

/// Runs one that ships, at several seeds.
fn ships(name: &str, runs: &[(Depth, u64)]) {
    let scenario = parsed(&text(name));
    assert_eq!(scenario.name(), name);
    for (depth, seed) in runs {
        keeps(&scenario.clone().with_depth(*depth), *seed);
    }
}

/// What is violated in a run, without the times.
fn broken(scenario: &Scenario, seed: u64) -> Vec<Violation> {
    let outcome = scenario.run(seed, &mut |_| {}).unwrap();
    outcome.violations.into_iter().map(|(_, violation)| violation).collect()
}

#[test]
fn all_that_ship_can_be_read_are_named_as_their_files_and_are_on_the_page() {
    const PAGE: &str = include_str!("../../../docs/scenarios.md");
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
    let names: Vec<String> = files
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .inspect(|name| assert_eq!(parsed(&text(name)).name(), name))
        .inspect(|name| assert!(PAGE.contains(&format!("\n| `{name}` |")), "docs/scenarios.md lacks {name}"))
        .collect();
    assert!(names.len() >= 9, "{names:?}");
}

#[test]
fn steady_keeps_its_promises() {
    ships("steady", &[(Depth::Plain, 1), (Depth::Rlpx, 2)]);
}

#[test]
fn churn_keeps_its_promises() {
    ships("churn", &[(Depth::Plain, 1), (Depth::Plain, 2)]);
}

#[test]
fn partition_and_heal_keeps_its_promises() {
    ships("partition-and-heal", &[(Depth::Plain, 1), (Depth::Plain, 2), (Depth::Plain, 3), (Depth::Rlpx, 4)]);
}

#[test]
fn eclipse_keeps_its_promises() {
    ships("eclipse", &[(Depth::Plain, 1), (Depth::Plain, 2)]);
}

#[test]
fn flood_keeps_its_promises() {
    ships("flood", &[(Depth::Plain, 1), (Depth::Rlpx, 2)]);
}

#[test]
fn slow_reader_keeps_its_promises() {
    ships("slow-reader", &[(Depth::Plain, 1), (Depth::Rlpx, 2)]);
}

#[test]
fn rolling_restart_keeps_its_promises() {
    ships("rolling-restart", &[(Depth::Plain, 1), (Depth::Plain, 2), (Depth::Rlpx, 3)]);
}

#[test]
fn thousand_from_one_keeps_its_promises_with_a_fifth_of_its_nodes() {
    let fewer = changed(&text("thousand-from-one"), "count = 999", "count = 199");
    let outcome = keeps(&parsed(&changed(&fewer, "stagger = \"50ms\"", "stagger = \"250ms\"")), 1);
    assert_eq!((outcome.nodes, outcome.before.connections.len()), (200, 0));
}

#[test]
#[ignore = "takes minutes without optimisation; run it with --release"]
fn thousand_from_one_keeps_its_promises() {
    ships("thousand-from-one", &[(Depth::Plain, 0), (Depth::Plain, 1)]);
}

#[test]
#[ignore = "takes minutes without optimisation; run it with --release"]
fn storm_keeps_its_promises() {
    ships("storm", &[(Depth::Plain, 1), (Depth::Rlpx, 2)]);
}

#[test]
fn a_run_is_told_in_samples_at_regular_times_and_repeats() {
    let scenario = parsed(&text("rolling-restart"));
    let mut told = Vec::new();
    let outcome = scenario.run(9, &mut |time| told.push(time)).unwrap();
    let times: Vec<_> = outcome.samples.iter().map(|sample| sample.at).collect();
    assert_eq!(times, (1..=240).map(|number| number * 2 * SECOND).collect::<Vec<_>>());
    assert_eq!((told, outcome.virtual_time), (times, scenario.duration()));
    let up: u64 = outcome.samples.iter().map(|sample| sample.up).sum();
    // Each connection that came up at both ends is counted at both.
    assert!(outcome.connections * 2 <= up && outcome.connections > 200, "{} {up}", outcome.connections);
    let received: u64 = outcome.samples.iter().map(|sample| sample.received).sum();
    assert_eq!((received, outcome.nodes, outcome.script.steps().len()), (outcome.messages, 30, 60));
    assert_eq!(outcome.before.connections, outcome.after.connections, "all ties are there again");
    assert!(outcome.samples.iter().any(|sample| sample.running == 29));
    let late = outcome.samples.iter().filter_map(|sample| sample.latency).map(|spread| spread.least);
    assert_eq!(late.min().map(|least| (30_000..=31_000).contains(&least)), Some(true));
    assert_eq!(scenario.run(9, &mut |_| {}).unwrap(), outcome);
}

#[test]
fn all_that_a_scenario_draws_follows_from_its_seed() {
    let scenario = parsed(&text("churn"));
    let script = scenario.script(3);
    assert_eq!(scenario.script(3), script);
    assert_ne!(scenario.script(4), script);
    // One of ten of 50 nodes, for 26 minutes, and each comes back.
    assert_eq!(script.steps().len(), 2 * 130);
    assert!(script.steps().iter().all(|(at, _)| (120 * SECOND..=1_800 * SECOND).contains(at)));
    let faulty =
        changed(&text("steady"), "[line]", "[faults]\ncount = 10\nfrom = \"1m\"\nwithin = \"1m\"\n\n[line]");
    let script = parsed(&faulty).script(1);
    assert!(script.steps().len() >= 10);
    assert!(script.steps().iter().all(|(at, _)| (60 * SECOND..=120 * SECOND).contains(at)));
}

#[test]
fn a_partition_that_is_not_healed_breaks_what_is_promised() {
    let scenario = parsed(&text("partition-and-heal"));
    let (at, first) = scenario.script(1).steps()[0].clone();
    assert!(matches!(first, Act::Partition(..)));
    let outcome = scenario.run_script(1, &Script::new().at(at, first), &mut |_| {}).unwrap();
    let found: Vec<_> = outcome.violations.iter().map(|(at, violation)| (at.as_secs(), violation)).collect();
    // Two minutes after the partition, which now is the last act.
    assert!(
        matches!(
            found[..],
            [(150, Violation::PairsLost { missing: 40.., .. }), (150, Violation::Parted { networks: 2 })]
        ),
        "{found:?}"
    );
}

/// With few places, so that it comes to that soon.
#[test]
fn without_limits_by_range_an_attacker_surrounds_its_victim() {
    let limits =
        "limits = { max_outbound = 4, range_outbound = \"unlimited\", range_stored = \"unlimited\" }";
    let open = changed(&text("eclipse"), "name = \"victim\"", &format!("name = \"victim\"\n{limits}"));
    let open = changed(&open, "duration = \"30m\"", "duration = \"10m\"");
    let found = broken(&parsed(&changed(&open, "until = \"28m\"", "until = \"9m\"")), 2);
    assert!(matches!(found[..], [Violation::Surrounded { held: 4, .. }]), "{found:?}");
}

#[test]
fn each_promise_can_be_broken() {
    let steady = text("steady");
    let found = |from: &str, to: &str| broken(&parsed(&changed(&steady, from, to)), 1);
    // Nobody is tied to, or knows, anybody of the other region.
    let west = "topology = { kind = \"regular\", degree = 6 }\nknows = { east = 4 }\n";
    let parted = changed(&steady, "knows = { west = 4 }\n", "");
    let parted = broken(&parsed(&changed(&parted, west, "topology = \"ring\"\n")), 1);
    assert!(
        matches!(
            parted[..],
            [Violation::Parted { networks: 2 }, Violation::Undelivered { said: 0, heard: 0, .. }]
        ),
        "{parted:?}"
    );
    assert!(matches!(found("p99 = \"60ms\"", "p99 = \"45ms\"")[..], [Violation::Late { .. }]));
    let slow = "talk = { every = \"1s\", bytes = 200 }\nhandles_in = \"1s\"";
    let full = found("talk = { every = \"1s\", bytes = 200 }", slow);
    assert!(
        full.iter().any(|found| matches!(found, Violation::Queued { found: 101.., most: 100, .. })),
        "{full:?}"
    );
    assert!(
        full.iter().any(|found| matches!(found, Violation::Undelivered { said: 1_000.., .. })),
        "{full:?}"
    );
    let many = "[[expect]]\nwhat = \"peers\"\nat_least = 30\nof = \"east[3]\"\nfrom = \"1m\"\n\n[[expect]]\nwhat = \"queued\"";
    let few = found("[[expect]]\nwhat = \"queued\"", many);
    assert!(matches!(few[..], [Violation::FewPeers { wanted: 30, .. }]), "{few:?}");
}

#[test]
fn a_scenario_that_does_not_recover_is_told_with_what_breaks_it() {
    let fatal = r#"
        name = "fatal"
        duration = "4m"

        [[group]]
        name = "town"
        count = 4
        topology = "ring"

        [[act]]
        at = "10s"
        what = "reset"
        from = "town[0]"
        to = "town[1]"

        [[act]]
        at = "20s"
        what = "partition"
        name = "ocean"
        parts = ["town[0]", "town[1..4]"]

        [[act]]
        at = "30s"
        what = "heal"
        name = "ocean"

        [[act]]
        at = "40s"
        what = "power_off"
        nodes = "town[2]"

        [[act]]
        at = "50s"
        what = "cut"
        from = "town[0]"
        to = ["town[1]", "town[3]"]

        [[expect]]
        what = "recovered"
        within = "2m"
    "#;
    let relapse = parsed(fatal).find_relapse(5).unwrap().unwrap();
    assert_eq!((relapse.seed, relapse.drawn), (5, 6));
    let acts: Vec<String> = relapse.script.steps().iter().map(|(_, act)| act.to_string()).collect();
    assert_eq!(acts, ["cut node 0 -> node 1", "cut node 0 -> node 3"]);
    assert_eq!(relapse.violations, [Violation::Parted { networks: 2 }]);
    assert!(parsed(&changed(fatal, "what = \"cut\"", "what = \"reset\"")).find_relapse(5).unwrap().is_none());
}

#[test]
fn a_scenario_repeats_on_another_thread() {
    let scenario = parsed(&changed(
        &text("partition-and-heal"),
        "duration = \"8m\"",
        "duration = \"8m\"\ninterleaved = true",
    ));
    let run = || scenario.run(6, &mut |_| {}).unwrap().trace_hash;
    let other = std::thread::scope(|scope| scope.spawn(run).join().unwrap());
    assert_eq!(run(), other);
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
