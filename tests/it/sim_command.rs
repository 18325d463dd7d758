//! `peerage sim`, as its users meet it: what it says of a run, what it refuses, and how it ends.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::child::{Ended, object, peerage};

/// Six nodes that talk, of which one goes and comes back.
const RING: &str = r#"
name = "ring <of six>"
about = "one node goes and comes back"
duration = "60s"

[[group]]
name = "town"
count = 6
topology = "ring"
talk = { every = "1s" }

[[act]]
at = "3s"
what = "reset"
from = "town[4]"
to = "town[5]"

[[act]]
at = "5s"
what = "kill"
nodes = "town[2]"

[[act]]
at = "12s"
what = "start"
nodes = "town[2]"

[[expect]]
what = "recovered"
within = "45s"
"#;

/// The same, which promises more than it keeps.
fn hasty() -> String {
    RING.replace("45s", "1s")
}

async fn sim(arguments: &[&str]) -> Ended {
    peerage(&[&["sim"], arguments].concat()).end().await
}

/// Puts a scenario into a file.
fn file(folder: &TempDir, text: impl AsRef<[u8]>) -> String {
    let file = folder.path().join("scenario.toml");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn objects(ended: &Ended) -> Vec<Value> {
    ended.stdout.iter().map(|line| object(line)).collect()
}

/// The only object that a run prints.
fn only(ended: &Ended) -> Value {
    let [line] = &ended.stdout[..] else { panic!("{ended:?}") };
    object(line)
}

/// Checks that it is refused with exit code 2 and one sentence that contains `part`.
async fn refused(arguments: &[&str], part: &str) {
    let ended = sim(arguments).await;
    assert_eq!((ended.code, ended.stdout.len(), ended.stderr.len()), (Some(2), 0, 1), "{ended:?}");
    assert!(ended.stderr[0].starts_with("error: ") && ended.stderr[0].contains(part), "{part}: {ended:?}");
    let ended = sim(&[arguments, &["--json"]].concat()).await;
    assert!(ended.code == Some(2) && only(&ended)["error"].as_str().unwrap().contains(part), "{ended:?}");
}

#[tokio::test]
async fn a_run_that_holds_is_told_in_one_object_and_is_the_same_again() {
    let folder = TempDir::new().unwrap();
    let file = file(&folder, RING);
    let mut hashes = Vec::new();
    for more in
        [&["--seed", "7"][..], &["--seed", "7"], &["--seed", "8"], &["--seed", "7", "--depth", "rlpx"]]
    {
        let ended = sim(&[&[file.as_str(), "--json"], more].concat()).await;
        assert_eq!((ended.code, ended.stderr.len()), (Some(0), 0), "{ended:?}");
        let ran = only(&ended);
        for (key, value) in
            [("nodes", 6.into()), ("virtual_s", 60.0.into()), ("violations", Value::Array(vec![]))]
        {
            assert_eq!(ran[key], value, "{key} in {ran}");
        }
        for key in ["connections", "messages", "max_rss_bytes"] {
            assert!(ran[key].as_u64().is_some_and(|count| count > 0), "{key} in {ran}");
        }
        assert!(ran["wall_ms_per_virtual_s"].as_f64().is_some_and(|ms| ms > 0.0), "{ran}");
        assert_eq!(ran["seed"].to_string(), more[1], "{ran}");
        let hash = ran["trace_hash"].as_str().unwrap().to_owned();
        assert!(hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{ran}");
        hashes.push(hash);
    }
    assert_eq!(hashes[0], hashes[1]);
    assert!(hashes[2] != hashes[0] && hashes[3] != hashes[0] && hashes[3] != hashes[2], "{hashes:?}");
}

#[tokio::test]
async fn a_run_is_told_to_people_and_drawn_on_a_page_that_fetches_nothing() {
    let folder = TempDir::new().unwrap();
    let file = file(&folder, RING);
    let place = folder.path().join("deep/report");
    let index = place.join("index.html");
    // An earlier page makes room for the next.
    for seed in ["1", "2"] {
        let ended = sim(&[&file, "--seed", seed, "--report", place.to_str().unwrap()]).await;
        assert_eq!((ended.code, ended.stderr.len()), (Some(0), 0), "{ended:?}");
        let text = ended.stdout.join("\n");
        let report = format!("report         {}", index.display());
        for part in [
            &format!("ring <of six>, seed {seed}, plain"),
            "one node goes and comes back",
            "virtual time   1 min",
            "nodes          6",
            "violated       nothing",
            report.as_str(),
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        let page = fs::read_to_string(&index).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
        assert!(page.contains(&format!("<title>ring &lt;of six&gt;, seed {seed}</title>")));
        assert!(
            page.matches("<svg ").count() >= 8
                && page.matches("<svg ").count() == page.matches("</svg>").count()
        );
        for word in ["http://", "https://", "<script", "<link", "src=", "url(", "@import"] {
            assert!(!page.contains(word), "{word} is in the page");
        }
    }
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
}

#[tokio::test]
async fn a_page_takes_the_place_of_nothing_else() {
    let folder = TempDir::new().unwrap();
    let file = file(&folder, RING);
    let index = folder.path().join("index.html");
    fs::write(&index, "<title>mine</title>").unwrap();
    let place = folder.path().to_str().unwrap();
    refused(&[&file, "--report", place], "its index.html is something else").await;
    assert_eq!(fs::read_to_string(&index).unwrap(), "<title>mine</title>");
    refused(&[&file, "--report", &file], "it is no folder").await;
    fs::remove_file(&index).unwrap();
    // What has no end is not read to its end.
    std::os::unix::fs::symlink("/dev/zero", &index).unwrap();
    refused(&[&file, "--report", place], "its index.html is something else").await;
    assert_eq!(fs::read_to_string(&file).unwrap(), RING);
}

#[tokio::test]
async fn what_does_not_hold_is_a_sentence_with_a_line_to_replay_it() {
    let folder = TempDir::new().unwrap();
    let file = file(&folder, hasty());
    let ended = sim(&[&file, "--seed", "3", "--depth", "rlpx"]).await;
    assert_eq!((ended.code, ended.stderr.len()), (Some(1), 1), "{ended:?}");
    assert!(ended.stderr[0].starts_with("error: "), "{ended:?}");
    let violated = ended.stdout.iter().find(|line| line.starts_with("violated ")).unwrap();
    assert!(
        violated.contains("at 13 s: ") && violated.contains("networks that do not reach each other"),
        "{violated}"
    );
    let replay = format!("replay         peerage sim {file} --seed 3 --depth rlpx");
    assert!(ended.stdout.contains(&replay), "{ended:?}");

    // The last line for programs is the same object as ever, and its command does the same again.
    let ended = sim(&[&file, "--seed", "3", "--json"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let ran = only(&ended);
    assert_eq!(ran["violations"][0]["at_s"], 13.0, "{ran}");
    let command = ran["replay"].as_str().unwrap();
    let words: Vec<&str> = command.split(' ').skip(2).chain(["--json"]).collect();
    assert_eq!(only(&sim(&words).await)["trace_hash"], ran["trace_hash"], "{command}");
}

#[tokio::test]
async fn a_search_tells_of_each_seed_in_order() {
    let folder = TempDir::new().unwrap();
    let file = file(&folder, RING);
    let ended = sim(&[&file, "--seeds", "5..9", "--json"]).await;
    assert_eq!((ended.code, ended.stderr.len()), (Some(0), 0), "{ended:?}");
    let objects = objects(&ended);
    let seeds: Vec<u64> = objects.iter().filter_map(|object| object["seed"].as_u64()).collect();
    assert_eq!(seeds, [5, 6, 7, 8]);
    let last = objects.last().unwrap();
    assert_eq!((&last["seeds"], &last["failed"]), (&4.into(), &0.into()), "{last}");
    // A seed does the same among others as alone.
    let alone = only(&sim(&[&file, "--seed", "6", "--json"]).await);
    assert_eq!(objects[1]["trace_hash"], alone["trace_hash"]);
    let ended = sim(&[&file, "--seeds", "2"]).await;
    assert!(ended.stdout.last().unwrap().starts_with("2 of 2 seeds held in "), "{ended:?}");
}

#[tokio::test]
async fn a_search_ends_with_the_first_seed_that_fails_and_the_acts_that_it_needs() {
    let folder = TempDir::new().unwrap();
    let file = file(&folder, hasty());
    let place = folder.path().join("report");
    let ended = sim(&[&file, "--seeds", "10..1000", "--json", "--report", place.to_str().unwrap()]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let [ran, relapse, last] = &objects(&ended)[..] else { panic!("{ended:?}") };
    assert_eq!((&ran["seed"], &relapse["seed"], &relapse["drawn"]), (&10.into(), &10.into(), &3.into()));
    let acts: Vec<&str> =
        relapse["script"].as_array().unwrap().iter().map(|act| act["act"].as_str().unwrap()).collect();
    assert_eq!(acts, ["kill node 2", "start node 2"]);
    assert_eq!((&last["seeds"], &last["failed"], &last["first_failed"]), (&1.into(), &1.into(), &10.into()));
    let page = fs::read_to_string(place.join("index.html")).unwrap();
    assert!(page.contains("It takes no more than 2 acts of 3:"));

    let ended = sim(&[&file, "--seeds", "2", "--keep-going"]).await;
    assert_eq!((ended.code, ended.stderr.len()), (Some(1), 1), "{ended:?}");
    assert!(ended.stderr[0].contains("2 seeds of 0..2 did not hold"), "{ended:?}");
    let replays = ended.stdout.iter().filter(|line| line.starts_with("replay "));
    let asked = [0, 1].map(|seed| format!("replay         peerage sim {file} --seed {seed}"));
    assert_eq!(replays.collect::<Vec<_>>(), asked.each_ref());
    assert_eq!(ended.stdout.iter().filter(|line| line.contains("2 of 3 acts")).count(), 2, "{ended:?}");
}

#[tokio::test]
async fn a_file_that_is_no_scenario_is_refused_with_its_line_and_column() {
    let folder = TempDir::new().unwrap();
    for (from, to, place, part) in [
        ("talk =", "tolk =", ":10:1: ", "unknown key `tolk`"),
        ("count = 6", "count = 6 6", ":8:9: ", ""),
        ("count = 6", "count = -6", ":8:9: ", "count"),
        ("town[5]", "town[6]", ":16:6: ", "town[6]"),
        ("\"60s\"", "\"soon\"", ":4:12: ", "soon"),
    ] {
        let text = RING.replace(from, to);
        assert_ne!(text, RING, "{from} is in it");
        let file = file(&folder, text);
        refused(&[&file], &format!("{file}{place}")).await;
        refused(&[&file], part).await;
    }
    let bytes = file(&folder, b"name = \"\xff\"");
    refused(&[&bytes], "byte 8 is no UTF-8").await;
    refused(&["/dev/zero"], "a scenario has at most").await;
    refused(&["/dev/null", "--repeat", "2"], "must have `name`").await;
    let none = folder.path().join("none.toml");
    refused(&[none.to_str().unwrap()], "cannot read").await;
    assert!(!Path::new(&none).exists());
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused_in_one_sentence() {
    let folder = TempDir::new().unwrap();
    let file = file(&folder, RING);
    refused(&[&file, "--seeds", "0"], "there is no seed in 0..0").await;
    refused(&[&file, "--seeds", "9..7"], "there is no seed in 9..7").await;
    refused(&[&file, "--seeds", "many"], "as in 100..200").await;
    refused(&[&file, "--seeds", "2", "--seed", "1"], "--seeds").await;
    refused(&[&file, "--seed=-1"], "--seed").await;
    refused(&[&file, "--depth", "deep"], "plain, rlpx").await;
    refused(&[&file, "--keep-going"], "--seeds").await;
    refused(&[], "<SCENARIO>").await;
}
