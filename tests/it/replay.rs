//! Journals, as the users of the command line meet them: what a live network recorded is decided the same again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::child::{Ended, object, peerage};

async fn run(arguments: &[&str]) -> Ended {
    peerage(arguments).end().await
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Runs a small network under churn, and returns its journals in order.
async fn recorded(folder: &TempDir, more: &[&str]) -> (Value, Vec<PathBuf>) {
    let journals = folder.path().join("journals");
    let place = text(&journals);
    let arguments = ["devnet", "--nodes", "4", "--for", "2s", "--json", "--journal", &place];
    let ended = run(&[&arguments, more].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let mut files: Vec<PathBuf> =
        fs::read_dir(journals).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    (object(ended.stdout.last().unwrap()), files)
}

/// The end of `peerage replay FILE --json`, and the object of that name in what it printed.
async fn replayed(file: &Path, event: &str) -> (Ended, Value) {
    let ended = run(&["replay", &text(file), "--json"]).await;
    let found = ended.stdout.iter().map(|line| object(line)).find(|object| object["event"] == event);
    let found = found.unwrap_or_else(|| panic!("no {event} in {ended:?}"));
    (ended, found)
}

/// Checks that a file is refused with exit code 2 and one sentence that contains `part`.
async fn refused(file: &Path, part: &str) {
    let ended = run(&["replay", &text(file)]).await;
    assert_eq!((ended.code, ended.stderr.len()), (Some(2), 1), "{ended:?}");
    assert!(ended.stderr[0].starts_with("error: ") && ended.stderr[0].contains(part), "{part}: {ended:?}");
}

#[tokio::test]
async fn every_node_of_a_devnet_under_churn_is_replayed_to_the_same_decisions() {
    for transport in ["memory", "rlpx"] {
        let folder = TempDir::new().unwrap();
        let (summary, files) =
            recorded(&folder, &["--transport", transport, "--churn", "240", "--seed", "5"]).await;
        let killed = summary["killed"].as_u64().unwrap();
        assert!(killed >= 4, "{summary}");
        assert_eq!(
            (&summary["messages_lost"], &summary["connected"]),
            (&0.into(), &true.into()),
            "{summary}"
        );
        assert_eq!(files.len() as u64, 4 + killed, "a journal for each life");
        let mut admitted = 0;
        for file in &files {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
            let (ended, sums) = replayed(file, "replayed").await;
            assert_eq!((ended.code, &sums["same"]), (Some(0), &true.into()), "{file:?}: {ended:?}");
            assert_eq!(object(ended.stdout.last().unwrap())["ending"], "whole", "{ended:?}");
            admitted += sums["admitted"].as_u64().unwrap();
        }
        // Each connection of four nodes in a row is in the journals of both its ends.
        assert!(admitted >= 2 * (3 + killed), "{admitted} admitted");
    }
}

#[tokio::test]
async fn the_first_decision_that_differs_is_named_with_its_line() {
    let folder = TempDir::new().unwrap();
    let (_, files) = recorded(&folder, &["--transport", "memory"]).await;
    let good = fs::read_to_string(&files[1]).unwrap();
    let line = good.lines().position(|line| line.contains(r#""answer":{"dial":{"#)).unwrap();
    let changed: Vec<String> = good
        .lines()
        .enumerate()
        .map(|(at, text)| match at == line {
            true => text.replace(r#""conn":"#, r#""conn":7"#),
            false => text.to_owned(),
        })
        .collect();
    let bad = folder.path().join("changed");
    fs::write(&bad, changed.join("\n") + "\n").unwrap();

    let (ended, differs) = replayed(&bad, "differs").await;
    assert_eq!((ended.code, &differs["line"]), (Some(1), &(line as u64 + 1).into()), "{ended:?}");
    assert_eq!(differs["recorded"]["dial"]["conn"].as_u64().map(|conn| conn / 10), Some(7));
    let words = ended.stderr.join(" ");
    for part in [&format!("changed: line {}, ", line + 1), "on `try dial next`", "conn: 7", "and now `dial: "]
    {
        assert!(words.contains(part), "{part} is not in {words}");
    }
    // What stands before that line is decided the same.
    let before = run(&["replay", &text(&bad), "--until", &line.to_string()]).await;
    assert_eq!((before.code, before.stdout.last().unwrap().as_str()), (Some(0), "decides the same"));
}

#[tokio::test]
async fn a_replay_tells_people_what_was_decided() {
    let folder = TempDir::new().unwrap();
    let (_, files) = recorded(&folder, &["--transport", "memory"]).await;
    let ended = run(&["replay", &text(&files[1]), "-v"]).await;
    let inputs = fs::read_to_string(&files[1]).unwrap().matches(r#"{"input""#).count();
    assert_eq!(
        ended.stdout.iter().filter(|line| line.contains(" -> ")).count(),
        inputs,
        "a line for each input"
    );
    let shown = ended.stdout.join("\n");
    for part in [
        "journal of node ",
        "dials          1 begun",
        "admitted       ",
        &format!("inputs         {inputs} over"),
    ] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    assert!(shown.ends_with("decides the same"), "{shown}");
}

#[tokio::test]
async fn a_journal_that_is_no_journal_or_damaged_is_refused_in_one_sentence() {
    let folder = TempDir::new().unwrap();
    let (_, files) = recorded(&folder, &["--transport", "memory"]).await;
    let good = fs::read_to_string(&files[0]).unwrap();
    let file = folder.path().join("bad");
    let middle = good.lines().position(|line| line.contains(r#""accepted""#)).unwrap();
    let torn: String = good
        .lines()
        .enumerate()
        .map(|(at, line)| format!("{}\n", &line[..if at == middle { 20 } else { line.len() }]))
        .collect();
    for (content, part) in [
        (String::new(), "line 1: the file is empty".to_owned()),
        ("\u{0}garbage\n".into(), "line 1, column 1: this is no journal".into()),
        (good[..100].into(), "line 1: breaks off".into()),
        (
            good.replacen(r#""peerage_journal":1"#, r#""peerage_journal":99"#, 1),
            "format is version 99".into(),
        ),
        (torn, format!("line {}, column 20: ", middle + 1)),
    ] {
        fs::write(&file, content).unwrap();
        refused(&file, &part).await;
    }
    refused(&folder.path().join("none"), "cannot read").await;

    // Only the last line may be torn, as it is when a node is killed.
    fs::write(&file, good.trim_end()).unwrap();
    let ended = run(&["replay", &text(&file)]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.join("\n").contains("the last, breaks off"), "{ended:?}");
}

#[tokio::test]
async fn a_node_keeps_a_journal_and_never_writes_over_one() {
    let folder = TempDir::new().unwrap();
    let (key, journal) = (text(&folder.path().join("key")), text(&folder.path().join("journal")));
    let arguments = ["node", "--json", "--listen", "127.0.0.1:0", "--key", &key, "--journal", &journal];
    let mut node = peerage(&arguments);
    node.event("listening").await;
    node.signal("TERM");
    let recorded = node.event("recorded").await;
    assert_eq!((&recorded["missed"], &recorded["shortfall"]), (&0.into(), &Value::Null));
    assert_eq!(node.end().await.code, Some(0));
    let (ended, sums) = replayed(Path::new(&journal), "replayed").await;
    assert_eq!((ended.code, &sums["inputs"]), (Some(0), &recorded["inputs"]));

    let again = run(&arguments).await;
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr[0].contains("it exists already"), "{again:?}");
}
