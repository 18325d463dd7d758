//! The page on scenarios has every key, and its example can be used.

use super::Scenario;
use super::{acts, expect, group, limits, lines, plan, weather};

const PAGE: &str = include_str!("../../../docs/scenarios.md");

#[test]
fn every_key_and_every_word_is_on_the_page() {
    let tables = [
        plan::KEYS,
        plan::REGION_LINE_KEYS,
        lines::LINE_KEYS,
        lines::OPENING_KEYS,
        group::PROPER_KEYS,
        group::BYZANTINE_KEYS,
        limits::LIMIT_KEYS,
        weather::CHURN_KEYS,
        weather::FAULT_KEYS,
    ];
    let kinds = acts::KINDS.iter().map(|(word, _, keys)| (*word, *keys));
    let kinds = kinds.chain(expect::KINDS.iter().map(|(word, _, keys)| (*word, *keys)));
    let (words, keys): (Vec<&str>, Vec<&[&str]>) = kinds.unzip();
    let known = tables.into_iter().chain(keys).flatten().chain(&words);
    let is_there = |word: &str| {
        ["`WORD`", "`[WORD]`", "`[[WORD]]`", "`WORD = "]
            .iter()
            .any(|form| PAGE.contains(&form.replace("WORD", word)))
    };
    let missing: Vec<_> = known.filter(|word| !is_there(word)).collect();
    assert!(missing.is_empty(), "docs/scenarios.md lacks {missing:?}");
}

#[test]
fn the_example_on_the_page_can_be_used() {
    let example = PAGE.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```"));
    let scenario = Scenario::parse(example.unwrap().0).unwrap();
    assert_eq!((scenario.name(), scenario.script(1).steps().len()), ("crossing", 2));
}
