//! What a replay makes of good journals and of bad ones.

use proptest::prelude::*;

use super::*;

/// The text with its n-th line, from 1 on, changed.
fn with_line(text: &str, number: usize, change: impl FnOnce(&str) -> String) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[number - 1] = change(&lines[number - 1]);
    lines.join("\n") + "\n"
}

fn number_of(text: &str, part: &str) -> usize {
    text.lines().position(|line| line.contains(part)).unwrap() + 1
}

/// The error that a text is refused with.
fn refusal(text: &str) -> String {
    replay(text).unwrap_err().to_string()
}

#[test]
fn a_manager_that_is_told_the_same_decides_the_same() {
    let (steps, ending) = replay(&sample()).unwrap();
    assert!(steps.len() > 20 && steps.iter().all(Step::agrees));
    assert!(steps.iter().any(|step| matches!(step.answer, Answer::Dial(Some(_)))));
    assert!(steps.iter().any(|step| matches!(step.answer, Answer::Eviction(Some(_)))));
    assert_eq!(ending, Ending::Whole);
}

#[test]
fn a_decision_that_was_changed_is_found_in_its_line() {
    let text = sample();
    let line = number_of(&text, r#""op":"try_dial_next""#);
    let changed = with_line(&text, line, |line| line.replace(r#""conn":1"#, r#""conn":2"#));
    let (steps, _) = replay(&changed).unwrap();
    let differing: Vec<u64> = steps.iter().filter(|step| !step.agrees()).map(|step| step.line).collect();
    assert_eq!(differing, [line as u64]);
}

#[test]
fn a_replay_of_other_records_decides_otherwise() {
    let text = sample();
    let other = with_line(&text, 2, |line| line.replace(&id(2).to_string(), &id(8).to_string()));
    assert!(replay(&other).unwrap().0.iter().any(|step| !step.agrees()));
}

#[test]
fn a_torn_last_line_is_left_out_and_told() {
    let text = sample();
    let (whole, _) = replay(&text).unwrap();
    let last = text.lines().count() as u64;
    let (steps, ending) = replay(text.trim_end()).unwrap();
    assert_eq!((steps.len(), ending), (whole.len(), Ending::Torn { line: last }));
    let without_end = text.rsplit_once(r#"{"end""#).unwrap().0;
    assert_eq!(replay(without_end).unwrap().1, Ending::Open);
    let torn = &without_end[..without_end.len() - 9];
    let (steps, ending) = replay(torn).unwrap();
    assert_eq!((steps.len(), ending), (whole.len() - 1, Ending::Torn { line: last - 1 }));
}

#[test]
fn a_journal_cut_at_any_byte_is_refused_or_replayed_as_far_as_it_goes() {
    let text = sample();
    let first_input = text.find(r#"{"input""#).unwrap();
    for at in (0..text.len()).step_by(7) {
        let Some(cut) = text.get(..at) else { continue };
        match replay(cut) {
            Ok((steps, _)) => assert!(at >= first_input && steps.iter().all(Step::agrees), "at {at}"),
            Err(error) => assert!(at < first_input, "at {at}: {error}"),
        }
    }
}

#[test]
fn what_cannot_be_read_is_named_with_line_and_column() {
    let text = sample();
    assert_eq!(refusal(""), "line 1: the file is empty");
    assert!(refusal("junk\n").starts_with("line 1, column 1: this is no journal of a peerage node: "));
    assert!(refusal("{\"a\":1}\n").contains("this is no journal"));
    assert!(refusal("\u{0}\u{1}").contains("no journal begins so"));
    let newer = with_line(&text, 1, |_| r#"{"peerage_journal":2,"what":"ever"}"#.into());
    assert_eq!(refusal(&newer), "line 1: the journal's format is version 2; this program reads version 1");
    let middle = number_of(&text, r#""dialed""#);
    let torn = with_line(&text, middle, |line| line[..30].into());
    assert!(refusal(&torn).starts_with(&format!("line {middle}, column 3")), "{}", refusal(&torn));
    let unknown = with_line(&text, middle, |line| line.replace("dialed", "dialled"));
    assert!(refusal(&unknown).contains("unknown variant `dialled`"), "{}", refusal(&unknown));
    let curve = with_line(&text, 2, |line| line.replace(&id(2).to_string(), &"0".repeat(128)));
    assert!(refusal(&curve).starts_with("line 2, column ") && refusal(&curve).contains("secp256k1"));
    let config = with_line(&text, 1, |line| line.replace(r#""max_bans":10000"#, r#""max_bans":0"#));
    assert!(refusal(&config).contains("`max_bans` must be at least 1"), "{}", refusal(&config));
}

#[test]
fn lines_that_are_missing_or_left_over_are_noticed() {
    let text = sample();
    let without = |number: usize| -> String {
        let kept = text.lines().enumerate().filter(|(at, _)| at + 1 != number);
        kept.map(|(_, line)| format!("{line}\n")).collect()
    };
    assert!(refusal(&without(2)).contains("fewer records"));
    // It changes no decision, and is missed all the same.
    let empty = text.lines().count() - 1;
    assert!(refusal(&without(empty)).contains("inputs;"), "{}", refusal(&without(empty)));
    assert!(refusal(&format!("{text}{text}")).contains("follows the journal's last line"));
    let record = text.lines().nth(1).unwrap();
    let double = with_line(&text, 2, |line| format!("{line}\n{record}"));
    assert!(refusal(&double).contains("is a record among the inputs"));
}

#[test]
fn a_journal_that_would_take_ever_more_memory_is_refused() {
    let text = sample();
    let head: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
    let dial = r#"{"input":{"at":0,"op":"try_evict_next","answer":{"eviction":null}}}"#;
    let endless = head.clone() + &format!("{dial}\n").repeat(MAX_UNDRAINED as usize + 1);
    assert!(refusal(&endless).contains("outputs nobody took"), "{}", refusal(&endless));
    let long = head + &" ".repeat(usize::try_from(MAX_LINE_BYTES).unwrap());
    assert_eq!(refusal(&long), format!("line 3: is longer than {MAX_LINE_BYTES} bytes"));
    let late = with_line(&text, 3, |line| line.replace(r#""at":0"#, &format!(r#""at":{}"#, u64::MAX)));
    // Whether an instant so late can be told depends on the system: it is refused, or replayed.
    let _ = replay(&late);
}

#[test]
fn a_journal_that_would_take_ever_more_time_is_refused() {
    let text = sample();
    let with = |most: usize| {
        let field = |most| format!(r#""max_addresses_per_peer":{most}"#);
        with_line(&text, 1, |line| {
            assert!(line.contains(&field(4)), "{line}");
            line.replace(&field(4), &field(most))
        })
    };
    assert!(replay(&with(MAX_ADDRESSES_PER_PEER)).is_ok());
    let expected = "line 1: `max_addresses_per_peer` is 1025; at most 1024 are replayed";
    assert_eq!(refusal(&with(MAX_ADDRESSES_PER_PEER + 1)), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any inputs in any order, with a clock that leaps in either direction.
    #[test]
    fn whatever_a_manager_was_told_is_replayed(told in prop::collection::vec((0..20usize, 0..100_000u64), 0..120)) {
        let file = Memory::default();
        let (recorder, journal) = writer::start(file.clone(), Limits::default()).unwrap();
        let mut config = Config::new(id(0));
        config.backoff.min = Duration::from_millis(5);
        let mut bench = Bench::new(recorder, config, &[]);
        let ops = forms::ops();
        for (op, at) in told {
            bench.apply(&ops[op], Duration::from_micros(at));
        }
        drop(bench);
        prop_assert_eq!(journal.finish().shortfall, None);
        let (steps, ending) = replay(&file.text()).unwrap();
        prop_assert!(steps.iter().all(Step::agrees));
        prop_assert_eq!(ending, Ending::Whole);
    }
}
