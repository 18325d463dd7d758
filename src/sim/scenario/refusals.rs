//! Each kind of text that cannot be used is refused with its place.

use super::Scenario;

/// A scenario that can be used: 16 lines, to which tests add theirs.
const BASE: &str = r#"name = "base"
duration = "1m"

[[group]]
name = "a"
count = 4

[[group]]
name = "b"
count = 2
region = "west"

[[group]]
name = "bad"
count = 1
byzantine = { misdeed = "mute" }
"#;

/// The line after [`BASE`].
const NEXT: usize = 17;

/// What is said to a text.
fn refused(text: &str) -> String {
    Scenario::parse(text).map(|_| ()).unwrap_err().to_string()
}

/// What is said to some lines behind [`BASE`], with their own numbers.
fn refused_behind(lines: &str) -> String {
    let error = Scenario::parse(&format!("{BASE}{lines}")).map(|_| ()).unwrap_err();
    assert!(error.line() >= NEXT, "{error}");
    format!("{}:{} {}", error.line() - NEXT + 1, error.column(), error.why())
}

/// Asserts that all of some lines are refused with these words, or, of words that end with a blank, so that they begin
/// with them.
fn all_are_refused<L: AsRef<str>, W: AsRef<str>>(cases: &[(L, W)]) {
    let is_said =
        |found: &str, wanted: &str| found == wanted || wanted.ends_with(' ') && found.starts_with(wanted);
    let wrong: Vec<String> = cases
        .iter()
        .map(|(lines, wanted)| (refused_behind(lines.as_ref()), wanted.as_ref()))
        .filter(|(found, wanted)| !is_said(found, wanted))
        .map(|(found, wanted)| format!("\n  {found}\n  instead of\n  {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn the_base_can_be_used() {
    let scenario = Scenario::parse(BASE).unwrap();
    assert_eq!(BASE.lines().count() + 1, NEXT);
    assert_eq!((scenario.name(), scenario.about(), scenario.duration().as_secs()), ("base", "", 60));
}

#[test]
fn what_is_no_toml_is_refused_where_it_ends_to_be() {
    let error = Scenario::parse("name = \"x\"\nduration = = 3\n").unwrap_err();
    assert_eq!((error.line(), error.column()), (2, 12), "{error}");
    let error = Scenario::parse("name = \"x\"\nname = \"y\"\n").unwrap_err();
    assert_eq!((error.line(), error.column()), (2, 1), "{error}");
    assert!(Scenario::parse("\u{0}").is_err());
}

#[test]
fn a_key_that_is_not_known_is_refused_wherever_it_is() {
    let error = refused("name = \"x\"\nduration = \"1m\"\n[[group]]\nname = \"a\"\nnods = 3\n");
    assert!(
        error.starts_with("line 5, column 1: unknown key `nods`; known are `name`, `count`, "),
        "{error}"
    );
    all_are_refused(&[
        ("[line]\nlatncy = \"1s\"", "2:1 unknown key `latncy`; known are "),
        ("[opening]\nlate = \"1s\"", "2:1 unknown key `late`; known are "),
        ("[churn]\nshare = 0.1\nrate = 1", "3:1 unknown key `rate`; known are "),
        ("[faults]\nnumber = 1", "2:1 unknown key `number`; known are "),
        ("[[act]]\nat = \"1s\"\nwhat = \"kill\"\nnode = \"a\"", "4:1 unknown key `node`; known are "),
        ("[[act]]\nat = \"1s\"\nwhat = \"heal_all\"\nnodes = \"a\"", "4:1 unknown key `nodes`; known are "),
        ("[[expect]]\nwhat = \"recovered\"\nfrom = \"1s\"", "3:1 unknown key `from`; known are "),
        ("[[region_line]]\nfrom = \"west\"\nvia = \"west\"", "3:1 unknown key `via`; known are "),
        (
            "[[group]]\nname = \"c\"\ncount = 1\nlimits = { max_out = 3 }",
            "4:12 unknown key `max_out`; known are ",
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 1\ntalk = { evry = \"1s\" }",
            "4:10 unknown key `evry`; known are ",
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 1\nchannel = { inbund = 1 }",
            "4:13 unknown key `inbund`; known are ",
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 2\ntopology = { kind = \"regular\", degre = 2 }",
            "4:32 unknown key `degre`; known are ",
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 1\ntalk = { every = \"1s\" }\nbyzantine = { misdeed = \"mute\" }",
            "4:1 unknown key `talk`; known are ",
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 1\nbyzantine = { misdead = \"mute\" }",
            "4:15 unknown key `misdead`; known are ",
        ),
    ]);
}

#[test]
fn what_must_be_there_is_missed_where_its_table_begins() {
    assert_eq!(refused("duration = \"1m\"\n"), "line 1, column 1: a scenario must have `name`");
    assert_eq!(refused("name = \"x\"\n"), "line 1, column 1: a scenario must have `duration`");
    assert_eq!(
        refused("name = \"x\"\nduration = \"1m\"\n"),
        "line 1, column 1: a scenario must have a `group`"
    );
    all_are_refused(&[
        ("[[group]]\nname = \"c\"", "1:1 a group must have `count`"),
        ("[[act]]\nat = \"1s\"", "1:1 an act must have `what`"),
        ("[[act]]\nwhat = \"heal_all\"", "1:1 an act must have `at`"),
        ("[[act]]\nat = \"1s\"\nwhat = \"kill\"", "1:1 an act must have `nodes`"),
        ("[churn]", "1:1 `churn` must have `share`"),
        ("[[expect]]\nwhat = \"queued\"", "1:1 an expectation must have `at_most`"),
        ("[[expect]]\nwhat = \"not_surrounded\"", "1:1 an expectation must have `by`"),
    ]);
}

#[test]
fn numbers_that_cannot_be_are_refused_with_what_can() {
    let group = |line: &str| format!("[[group]]\nname = \"c\"\n{line}");
    all_are_refused(&[
        (group("count = 0"), "3:9 `count` is 0; it must be 1 to 10000"),
        (group("count = 10_001"), "3:9 `count` is 10001; it must be 1 to 10000"),
        (group("count = -3"), "3:9 `count` is -3; it must be 1 to 10000"),
        (group("count = 9_994"), "3:9 with these there are 10001 nodes; at most 10000"),
        (group("count = 1.5"), "3:9 `count` is of type float; it must be a whole number"),
        (group("count = 1\nstart = \"2m\""), "4:9 `start` is 2m; it must be 0s to 1m"),
        (
            group("count = 3\nstagger = \"31s\""),
            "4:11 with this the last node starts after the run has ended",
        ),
        (group("count = 1\npex = \"500ms\""), "4:7 `pex` is 500ms; it must be 1s to 1m"),
        (group("count = 1\nknows = { a = 5 }"), "4:15 `a` is 5; it must be 0 to 4"),
        (group("count = 3\nties = { c = 3 }"), "4:14 `c` is 3; it must be 0 to 2"),
        (
            group("count = 30\ntopology = \"full\""),
            "1:1 a node of this group is tied to 29 others and may dial 25 (`max_outbound`)",
        ),
        (group("count = 1\nchannel = { inbound = 0 }"), "4:23 `inbound` is 0; it must be 1 to 1000000"),
        (group("count = 1\nlimits = { max_outbound = 10_001 }"), "4:27 `max_outbound` is 10001; it must be 0 to 10000"),
        (
            group("count = 1\nlimits = { backoff_min = \"5m\", backoff_max = \"1m\" }"),
            "4:10 no node can have these limits: `backoff.max` must not be below `backoff.min`",
        ),
        ("[line]\nlatency = \"61s\"".into(), "2:11 `latency` is 61s; it must be 0s to 1m"),
        ("[line]\nrate = 0".into(), "2:8 `rate` is 0; it must be 1 to 125000000000"),
        ("[opening]\nduplicated = 1.5".into(), "2:14 `duplicated` is 1.5; it must be 0 to 1"),
        ("[churn]\nshare = 1.01".into(), "2:9 `share` is 1.01; it must be 0 to 1"),
        ("[churn]\nshare = -0.5".into(), "2:9 `share` is -0.5; it must be 0 to 1"),
        ("[churn]\nshare = 0.5\nfrom = \"20s\"\nuntil = \"10s\"".into(), "4:9 `until` is 10s; it must be 20s to 1m"),
        ("[churn]\nshare = 0.5\ndown_for = [\"20s\", \"10s\"]".into(), "3:20 `down_for` is 10s; it must be 20s to 1m"),
        ("[faults]\ncount = 0".into(), "2:9 `count` is 0; it must be 1 to 10000"),
        ("[faults]\ncount = 1\nfrom = \"50s\"\nwithin = \"20s\"".into(), "4:10 `within` is 20s; it must be 0s to 10s"),
        ("[[act]]\nwhat = \"heal_all\"\nat = \"70s\"".into(), "3:6 `at` is 70s; it must be 0s to 1m"),
        (
            "[[act]]\nwhat = \"rolling_restart\"\nat = \"10s\"\nnodes = \"a\"\nevery = \"20s\"\ndown_for = \"1s\"".into(),
            "5:9 with this the last node comes back after the run has ended",
        ),
        (
            "[[act]]\nwhat = \"kill\"\nat = \"10s\"\nnodes = \"a\"\n[[expect]]\nwhat = \"recovered\"\nwithin = \"51s\"".into(),
            "7:10 the last act may be at 10s: 50s are left of the run",
        ),
        (
            "[[expect]]\nwhat = \"pairs_restored\"\nwithin = \"1s\"".into(),
            "1:1 nothing is done to this network that could part a pair",
        ),
        ("[[expect]]\nwhat = \"delivered\"\nfrom_group = \"a\"\nto_group = \"b\"\nshare = 2".into(), "5:9 `share` is 2; it must be 0 to 1"),
        ("[[expect]]\nwhat = \"connected\"\nexcept = [[\"2s\", \"1s\"]]".into(), "3:18 `except` is 1s; it must be 2s to 1m"),
    ]);
    let error = refused("name = \"x\"\nduration = \"25h\"\n");
    assert_eq!(error, "line 2, column 12: `duration` is 1500m; it must be 1s to 1440m");
}

#[test]
fn values_of_another_kind_are_refused() {
    all_are_refused(&[
        (
            "[line]\nlatency = 5",
            "2:11 `latency` is of type integer; it must be a time as in \"500ms\", \"10s\", \"2m\" or \"1h\"",
        ),
        (
            "[line]\nlatency = \"5\"",
            "2:11 `latency` is \"5\"; it must be a time as in \"500ms\", \"10s\", \"2m\" or \"1h\"",
        ),
        ("[churn]\nshare = \"much\"", "2:9 `share` is of type string; it must be a number from 0 to 1"),
        ("[[churn]]\nshare = 0.1", "1:1 `churn` is of type array; it must be a table"),
        ("[act]\nat = \"1s\"", "1:1 `act` is of type table; it must be a list of tables, as in [[act]]"),
        (
            "[[act]]\nat = \"1s\"\nwhat = \"kill\"\nnodes = 3",
            "4:9 `nodes` is of type integer; it must be a text",
        ),
        ("[[act]]\nat = \"1s\"\nwhat = \"kill\"\nnodes = []", "4:9 `nodes` names nobody"),
        (
            "[[expect]]\nwhat = \"connected\"\nexcept = \"1s\"",
            "3:10 `except` is of type string; it must be a list of pairs of times",
        ),
        (
            "[[expect]]\nwhat = \"connected\"\nexcept = [[\"1s\"]]",
            "3:11 `except` is a list of pairs of times",
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 1\nlimits = { max_inbound = \"all\" }",
            "4:26 `max_inbound` is of type string; it must be a whole number or \"unlimited\"",
        ),
    ]);
    assert_eq!(
        refused("name = \"x\"\nduration = \"1m\"\ninterleaved = 1\n[[group]]\nname = \"a\"\ncount = 1\n"),
        "line 3, column 15: `interleaved` is of type integer; it must be true or false"
    );
}

#[test]
fn words_that_are_not_known_are_refused_with_those_that_are() {
    all_are_refused(&[
        (
            "[[act]]\nat = \"1s\"\nwhat = \"explode\"",
            "3:8 `what` is \"explode\"; it must be one of `start`, `kill`, ",
        ),
        ("[[expect]]\nwhat = \"joy\"", "2:8 `what` is \"joy\"; it must be one of `connected`, "),
        (
            "[churn]\nshare = 0.1\nwhat = [\"kill\", \"maim\"]",
            "3:17 `what` is \"maim\"; it must be one of `kill`, ",
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 1\ntopology = \"tree\"",
            "4:12 `topology` is \"tree\"; it must be one of `line`, ",
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 1\nbyzantine = { misdeed = \"sing\" }",
            "4:25 `misdeed` is \"sing\"; it must be one of `garbage`, ",
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 1\nbyzantine = { misdeed = \"mute\", bytes = 3 }",
            "4:41 only a `flood` has `bytes`",
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 1\nbyzantine = { misdeed = \"flood\", tells = \"swaps\" }",
            "4:42 only a `lie` has `tells`",
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 2\ntopology = { kind = \"regular\", degree = 2, bridges = 1 }",
            "4:54 only `clusters` have this",
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 1\nchannel = { inbound_overflow = \"spill\" }",
            "4:32 `inbound_overflow` is \"spill\"; it must be one of `wait`, ",
        ),
    ]);
    let error = refused("name = \"x\"\ndepth = \"deep\"\nduration = \"1m\"\n");
    assert_eq!(error, "line 2, column 9: `depth` is \"deep\"; it must be one of `plain`, `rlpx`");
}

#[test]
fn nodes_groups_and_names_that_are_not_there_or_twice_are_refused() {
    const KNOWN: &str = "there are `a`, `b`, `bad`";
    all_are_refused(&[
        (
            "[[act]]\nat = \"1s\"\nwhat = \"kill\"\nnodes = \"c\"",
            format!("4:9 there is no group `c`; {KNOWN}"),
        ),
        (
            "[[act]]\nat = \"1s\"\nwhat = \"kill\"\nnodes = [\"a\", \"b[2]\"]",
            "4:15 `b` has nodes 0 to 1; \"b[2]\" is not within".into(),
        ),
        (
            "[[act]]\nat = \"1s\"\nwhat = \"cut\"\nfrom = \"a[0]\"\nto = \"a[0]\"",
            "5:6 `to` names the same node as `from`".into(),
        ),
        (
            "[[act]]\nat = \"1s\"\nwhat = \"heal\"\nname = \"ocean\"",
            "4:8 there is no partition `ocean`".into(),
        ),
        (
            "[[act]]\nat = \"1s\"\nwhat = \"partition\"\nname = \"x\"\nparts = [\"a\", [\"b\", \"a[1]\"]]",
            "5:15 node 1 is in two parts".into(),
        ),
        (
            "[[act]]\nat = \"1s\"\nwhat = \"partition\"\nname = \"x\"\nparts = [\"a\"]",
            "5:9 a partition has two parts or more".into(),
        ),
        (
            "[churn]\nshare = 0.1\ngroups = [\"a\", \"c\"]",
            "3:16 there is no group `c`; there are `a`, `b`, `bad`".into(),
        ),
        (
            "[[expect]]\nwhat = \"connected\"\ngroups = \"bad\"",
            "3:10 the nodes of `bad` are byzantine: nobody looks into them".into(),
        ),
        (
            "[[expect]]\nwhat = \"latency\"\np99 = \"1s\"\nto_group = \"c\"",
            format!("4:12 there is no group `c`; {KNOWN}"),
        ),
        ("[[region_line]]\nfrom = \"west\"\nto = \"east\"", "3:6 no group is in a region `east`".into()),
        ("[[group]]\nname = \"a\"\ncount = 1", "2:8 there is a group `a` already".into()),
        (
            "[[group]]\nname = \"a b\"\ncount = 1",
            "2:8 \"a b\" is no name of a group: letters, digits, - and _".into(),
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 1\nknows = { d = 1 }",
            "4:11 there is no group `d`; there are `a`, `b`, `bad`, `c`".into(),
        ),
        (
            "[[group]]\nname = \"c\"\ncount = 1\nbyzantine = { misdeed = \"mute\", victims = [\"a\", \"d\"] }",
            "4:49 there is no group `d`; there are `a`, `b`, `bad`, `c`".into(),
        ),
    ]);
}

#[test]
fn subnets_that_have_no_room_or_belong_to_others_are_refused() {
    let group = |lines: &str| refused_behind(&format!("[[group]]\nname = \"c\"\n{lines}"));
    assert_eq!(
        group("count = 1\nsubnets = \"99.1.0.0/16\""),
        "4:11 \"99.1.0.0/16\" is no subnet, as in \"99.1.0.0/24\""
    );
    assert_eq!(
        group("count = 1\nsubnets = [\"99.1.0.0/24\", \"here\"]"),
        "4:27 \"here\" is no subnet, as in \"99.1.0.0/24\""
    );
    assert_eq!(
        group("count = 255\nsubnets = [\"99.1.0.0/24\"]"),
        "4:11 1 subnets have room for 254 nodes, not for 255"
    );
    assert_eq!(
        group("count = 1\nsubnets = \"60.1.0.0/24\""),
        "4:11 nodes without subnets are there; take another"
    );
    let twice =
        "count = 1\nsubnets = \"99.1.0.0/24\"\n[[group]]\nname = \"d\"\ncount = 1\nsubnets = \"99.1.0.0/24\"";
    assert_eq!(group(twice), "8:11 \"99.1.0.0/24\" is named twice");
}

#[test]
fn what_would_take_more_room_than_its_text_is_refused() {
    let long = format!("{BASE}# {}\n", "x".repeat(Scenario::MAX_BYTES));
    assert_eq!(refused(&long), "line 1, column 1: a scenario has at most 1048576 bytes");
    let expects = "[[expect]]\nwhat = \"connected\"\n";
    assert!(Scenario::parse(&format!("{BASE}{}", expects.repeat(1_000))).is_ok());
    assert_eq!(refused_behind(&expects.repeat(1_001)), "2001:1 a scenario has at most 1000 expectations");
    // Each of these names all of ten thousand nodes, and comes before the one before it.
    let crowd = "[[group]]\nname = \"c\"\ncount = 9_993\n";
    let many = |tables: usize| {
        let table =
            |at: usize| format!("[[act]]\nat = \"{}s\"\nwhat = \"kill\"\nnodes = \"c\"\n", 59 - at % 60);
        crowd.to_owned() + &(0..tables).map(table).collect::<String>()
    };
    let parted = "[[act]]\nat = \"1s\"\nwhat = \"partition\"\nname = \"p\"\nparts = [\"a\", \"c\"]\n";
    assert_eq!(refused_behind(&many(101)), "404:1 with this the acts name more than 1000000 nodes");
    let parted = crowd.to_owned() + &parted.repeat(101);
    assert_eq!(refused_behind(&parted), "504:1 with this the acts name more than 1000000 nodes");
    let scenario = Scenario::parse(&format!("{BASE}{}", many(30))).unwrap();
    let script = scenario.script(1);
    assert!(script.steps().is_sorted_by_key(|(at, _)| *at) && script.steps().len() == 30 * 9_993);
    let day = BASE.replace("1m", "24h");
    let churn = refused(&format!("{day}{crowd}[churn]\nshare = 1.0\n"));
    assert_eq!(churn, "line 21, column 9: with this nodes go 14398560 times; at most 100000");
}

#[test]
fn a_node_that_is_named_very_often_is_named_once() {
    let nodes = ["\"a\"", "\"a[1..3]\"", "\"b[1]\"", "\"a\""].join(", ");
    let act = format!("[[act]]\nat = \"1s\"\nwhat = \"kill\"\nnodes = [{nodes}]\n");
    let scenario = Scenario::parse(&format!("{BASE}{act}")).unwrap();
    let acts: Vec<String> = scenario.script(1).steps().iter().map(|(_, act)| act.to_string()).collect();
    assert_eq!(acts, ["kill node 0", "kill node 1", "kill node 2", "kill node 3", "kill node 5"]);
}
