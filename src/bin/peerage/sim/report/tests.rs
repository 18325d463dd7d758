use std::collections::BTreeMap;
use std::time::Duration;

use peerage::channel::DropReason;
use peerage::sim::{Act, Depth, Node, Outcome, Picture, Sample, Scenario, Script, SimNet, Spread, Violation};

use super::chart::Layer;
use super::{figures, render};
use crate::sim::facts::Facts;

const SECOND: Duration = Duration::from_secs(1);

/// A run to make others of.
fn outcome() -> Outcome {
    let scenario = Scenario::parse(include_str!("small.toml")).unwrap();
    scenario.run(3, &mut |_| {}).unwrap()
}

fn facts() -> Facts {
    let replay = "peerage sim 'a <b>.toml' --seed 3".into();
    Facts { about: "a & b".into(), wall: SECOND, max_rss_bytes: Some(5_000_000), replay }
}

fn page(outcome: &Outcome) -> String {
    let page = render(outcome, &facts(), None);
    check(&page);
    page
}

/// Checks that every element ends where it must, and that nothing is fetched or run.
fn check(page: &str) {
    let mut open = Vec::new();
    let body = page.strip_prefix("<!DOCTYPE html>").unwrap();
    for piece in body.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').unwrap_or_else(|| panic!("a tag does not end: {piece}"));
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "before </{name}>");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        assert!(tag.matches('"').count().is_multiple_of(2), "quotes of <{tag}>");
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    for word in [
        "http:",
        "https:",
        "//",
        "<script",
        "<link",
        "<img",
        "src=",
        "href",
        "url(",
        "@import",
        "javascript:",
    ] {
        assert!(!page.contains(word), "{word} is in the page");
    }
    assert!(!page.contains("NaN") && !page.contains("inf"), "a number is none");
}

/// Nodes of a network that is never started.
fn nodes(count: usize) -> Vec<Node> {
    SimNet::new(1, Depth::Plain).unwrap().add_many(count, |_| Ok(()))
}

fn sample(at: u64, change: impl FnOnce(&mut Sample)) -> Sample {
    let mut sample = Sample::default();
    sample.at = Duration::from_secs(at);
    change(&mut sample);
    sample
}

fn chart_layers(samples: &[Sample], title: &str) -> Vec<Layer> {
    let charts = figures::charts(samples);
    charts.into_iter().find(|chart| chart.title == title).unwrap().layers
}

/// From when to when, and the lower and the upper value.
fn steps(layer: &Layer) -> Vec<(f64, f64, f64, f64)> {
    let points = layer.runs.concat();
    points.chunks(2).map(|pair| (pair[0].at, pair[1].at, pair[1].low, pair[1].high)).collect()
}

#[test]
fn the_page_of_a_run_shows_what_there_was() {
    let outcome = outcome();
    let page = page(&outcome);
    for part in [
        "<p>a &amp; b</p>",
        "Nothing was violated.",
        "Peers of a node",
        "Nodes that run",
        "Connections that come and go",
        "Messages dropped",
        "Messages that wait",
        "Latency",
        "At the end",
        "virtual time, s",
        "prefers-color-scheme: dark",
        "peerage sim &#39;a &lt;b&gt;.toml&#39; --seed 3",
        &format!("{:016x}", outcome.trace_hash),
    ] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    // Seven plots, of which that of drops may be empty, and two pictures.
    assert!(page.matches("<svg ").count() >= 8, "{}", page.matches("<svg ").count());
    let dots = page.matches("<circle class=\"dot ink").count();
    assert_eq!(dots, 2 * outcome.nodes, "each node in both pictures");
}

#[test]
fn names_from_files_are_text() {
    let mut outcome = outcome();
    let hostile = "</title><script>alert(\"x\")</script>";
    outcome.scenario = hostile.into();
    outcome.before.groups[0].0 = hostile.into();
    let parts = vec![Vec::new(), Vec::new()];
    outcome.script = Script::new()
        .at(SECOND, Act::Partition(hostile.into(), parts))
        .at(2 * SECOND, Act::Heal(hostile.into()));
    let page = page(&outcome);
    assert!(page.matches("&lt;script&gt;").count() >= 5, "its name, its group and its acts are shown");
}

#[test]
fn what_did_not_hold_comes_first_and_is_marked_in_every_plot() {
    let mut outcome = outcome();
    outcome.violations = vec![(2 * SECOND, Violation::Parted { networks: 2 })];
    let page = page(&outcome);
    let says = "<li>At 2 s: the nodes are 2 networks that do not reach each other.</li>";
    assert!(page.find(says).unwrap() < page.find("<dl>").unwrap());
    let plots = page.matches("virtual time, s</text>").count();
    assert_eq!(page.matches("<path class=\"mark violation\"").count(), plots);
    assert!(plots >= 6 && !page.contains("Nothing was violated"), "{plots} plots");
}

#[test]
fn a_run_of_which_little_is_known_has_a_page() {
    let mut bare = outcome();
    bare.samples.truncate(1);
    assert!(page(&bare).contains("<svg "));
    bare.samples[0].at = Duration::ZERO;
    page(&bare);
    bare.samples.clear();
    (bare.before, bare.after) = (Picture::default(), Picture::default());
    (bare.script, bare.virtual_time) = (Script::new(), Duration::ZERO);
    let page = page(&bare);
    assert!(page.contains("No samples were taken.") && !page.contains("<svg "));
    assert!(page.contains("the network was left alone"));
}

#[test]
fn a_large_network_is_a_table_of_shares() {
    let mut outcome = outcome();
    let nodes = nodes(400);
    let groups =
        vec![("some".to_owned(), nodes[..100].to_vec()), ("others".to_owned(), nodes[100..].to_vec())];
    let ring = |nodes: &[Node]| nodes.windows(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>();
    let mut picture = Picture::default();
    picture.groups.clone_from(&groups);
    picture.connections = ring(&nodes);
    outcome.before = picture.clone();
    picture.connections = [ring(&nodes[..200]), ring(&nodes[200..399])].concat();
    picture.stopped = vec![nodes[399]];
    outcome.after = picture;
    let page = page(&outcome);
    assert!(page.contains("400 of 400 nodes up, 399 connections.</p>"));
    let words = "399 of 400 nodes up, 397 connections. They are 2 parts that do not reach each other, of 200, 199 nodes.";
    assert!(page.contains(words));
    assert!(page.contains("<path class=\"share\"") && !page.contains("<path class=\"edge"));
    assert!(page.len() < 200_000, "{} bytes", page.len());
}

#[test]
fn what_is_counted_is_shown_for_each_second_of_its_interval() {
    let samples =
        [sample(1, |sample| sample.up = 10), sample(3, |sample| (sample.up, sample.down) = (10, 4))];
    let layers = chart_layers(&samples, "Connections that come and go");
    assert_eq!(steps(&layers[1]), [(0.0, 1.0, 0.0, 10.0), (1.0, 3.0, 0.0, 5.0)]);
    assert_eq!(steps(&layers[0]), [(0.0, 1.0, 0.0, 0.0), (1.0, 3.0, -2.0, 0.0)]);
}

#[test]
fn drops_stand_on_each_other_by_reason_and_the_rare_ones_together() {
    let dropped: BTreeMap<DropReason, u64> =
        DropReason::ALL.into_iter().zip((1..).map(|count| count * 2)).collect();
    let total: u64 = dropped.values().sum();
    let samples = [sample(2, |sample| sample.dropped = dropped)];
    let layers = chart_layers(&samples, "Messages dropped");
    assert_eq!(layers.len(), 7);
    assert_eq!((layers[0].name.as_str(), layers[6].name.as_str()), ("unanswered (28)", "others (72)"));
    let mut floor = 0.0;
    for layer in &layers {
        let [(_, _, low, high)] = steps(layer)[..] else { panic!("{layer:?}") };
        assert!((low - floor).abs() < 1e-9 && high > low, "{layer:?} on {floor}");
        floor = high;
    }
    assert!((floor - total as f64 / 2.0).abs() < 1e-9);
}

#[test]
fn latency_is_shown_where_something_came() {
    let spread = |micros: u64| Some(Spread::of(vec![micros]));
    let mut samples: Vec<Sample> =
        (1..=5).map(|at| sample(at, |sample| sample.latency = spread(40_000))).collect();
    samples[2].latency = None;
    let layers = chart_layers(&samples, "Latency");
    assert!(layers.iter().all(|layer| layer.runs.len() == 2 && layer.runs[0][0].high == 40.0), "{layers:?}");
    let is_logarithmic = |samples: &[Sample]| figures::charts(samples).last().unwrap().logarithmic;
    assert!(!is_logarithmic(&samples));
    samples[4].latency = spread(8_000_000);
    assert!(is_logarithmic(&samples), "one pause does not hide the rest");
}
