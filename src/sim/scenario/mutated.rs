//! Texts that are nearly scenarios: none of them makes the reader panic, and those that can be read can be run.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use super::Scenario;
use crate::sim::script::Script;
use crate::sim::seed::{below, draws};

const TEXTS: [&str; 9] = [
    include_str!("../../../scenarios/churn.toml"),
    include_str!("../../../scenarios/eclipse.toml"),
    include_str!("../../../scenarios/flood.toml"),
    include_str!("../../../scenarios/partition-and-heal.toml"),
    include_str!("../../../scenarios/rolling-restart.toml"),
    include_str!("../../../scenarios/slow-reader.toml"),
    include_str!("../../../scenarios/steady.toml"),
    include_str!("../../../scenarios/storm.toml"),
    include_str!("../../../scenarios/thousand-from-one.toml"),
];

/// What stands in the place of a value, or anywhere.
const WORDS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "10000",
    "10001",
    "4294967295",
    "18446744073709551615",
    "99999999999999999999",
    "0x10",
    "1_0",
    "0.0",
    "1.0",
    "1.5",
    "nan",
    "-inf",
    "\"0s\"",
    "\"1ms\"",
    "\"24h\"",
    "\"25h\"",
    "\"18446744073709551615h\"",
    "\"\"",
    "\"ü\"",
    "\"\\u0000\"",
    "[]",
    "[[]]",
    "{}",
    "true",
    "\"all\"",
    "\"unlimited\"",
    "[0..1]",
    "[0]",
    "[9999]",
    "[4294967295]",
    "\u{feff}",
    "\r\n",
    "'''",
    "\"\"\"",
    "#",
    "=",
    "[[group]]",
    "[[act]]",
    "[[expect]]",
    "[churn]\nshare = 1.0",
    "[faults]\ncount = 3",
    "1979-05-27",
    "\"ring\"",
    "\"full\"",
    "{ kind = \"regular\", degree = 2 }",
];

/// Changes a text in some places.
fn mutated(text: &str, draws: &mut ChaCha8Rng) -> String {
    let mut text = text.to_owned();
    for _ in 0..=below(4, draws) {
        let word = WORDS[below(WORDS.len(), draws)];
        let lines: Vec<&str> = text.lines().collect();
        let (at, other) = (below(lines.len(), draws), below(lines.len(), draws));
        let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        if lines.is_empty() {
            break;
        }
        match below(6, draws) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(other, lines[at].clone()),
            2 => lines.swap(at, other),
            // Another value of the key, most often.
            3 | 4 => {
                let key = lines[at].split('=').next().unwrap_or_default().to_owned();
                lines[at] = format!("{key}= {word}");
            }
            _ => {
                let mut chars: Vec<char> = lines[at].chars().collect();
                let from = below(chars.len() + 1, draws);
                let to = from + below(chars.len() - from + 1, draws);
                chars.splice(from..to, word.chars());
                lines[at] = chars.into_iter().collect();
            }
        }
        text = lines.join("\n");
    }
    text
}

/// The same, over soon.
fn cut(mut scenario: Scenario) -> Scenario {
    let soon = Duration::from_secs(2);
    scenario.plan.duration = scenario.plan.duration.min(soon);
    for group in &mut scenario.plan.groups {
        (group.start, group.stagger) = (group.start.min(soon), Duration::ZERO);
    }
    scenario
}

#[test]
fn no_text_makes_the_reader_panic_and_what_it_takes_can_be_run() {
    const TRIES: u64 = 1_000;
    const RUNS: u64 = 20;
    let (mut taken, mut ran) = (0_u64, 0);
    for seed in 0..TRIES {
        let mut draws = draws(seed, "text", 0);
        let text = mutated(TEXTS[below(TEXTS.len(), &mut draws)], &mut draws);
        let Ok(scenario) = Scenario::parse(&text) else { continue };
        taken += 1;
        let script = scenario.script(seed);
        if ran == RUNS || scenario.plan.census.len() > 60 {
            continue;
        }
        let scenario = cut(scenario);
        let soon = script.steps().iter().filter(|(at, _)| *at <= scenario.duration());
        let script = Script::of(&[soon.cloned().collect()]);
        // A network may be more than the system has room for; that is no panic.
        let _ = scenario.run_script(seed, &script, &mut |_| {});
        ran += 1;
    }
    assert!(taken > TRIES / 50 && ran == RUNS, "{taken} of {TRIES} could be read, {ran} were run");
}
