//! The same seed gives the same run.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use peerage::sim::{Depth, Line, SimNet, Topology, assert_repeatable, check_repeatable};

use super::{MS, SECOND, Talk};

/// Nodes that come and go and are parted while all talk.
fn restless(net: &mut SimNet) {
    let talk = Talk::default();
    let declaring = talk.clone();
    let nodes = net.add_many(12, move |node| declaring.declare(node));
    net.set_line(Line::of(20 * MS).spread(60 * MS).jitter(15 * MS).rate(200_000)).unwrap();
    net.tie_all(&nodes, Topology::Regular { degree: 4 });
    net.start_all().unwrap();
    for round in 0..6_u64 {
        let turn = usize::try_from(round).unwrap();
        net.run_for(2 * SECOND);
        for node in net.running() {
            talk.say_much(node, round, 2_000);
        }
        net.kill(nodes[turn]);
        net.partition("ocean", &[&nodes[..6], &nodes[6..]]);
        net.run_for(3 * SECOND);
        net.start(nodes[turn]).unwrap();
        net.heal("ocean");
        net.reset(nodes[turn + 1], nodes[turn + 2]);
    }
    net.run_for(10 * SECOND);
}

#[test]
fn a_restless_network_repeats_on_every_thread_and_in_every_process() {
    assert_repeatable(Depth::Plain, 0..32, restless);
}

#[test]
fn a_restless_network_repeats_with_cryptography() {
    assert_repeatable(Depth::Rlpx, 0..3, restless);
}

#[test]
fn what_differs_from_process_to_process_is_found_and_the_first_difference_is_shown() {
    let here = AtomicU64::new(0);
    let scenario = |net: &mut SimNet| {
        let talk = Talk::default();
        let declaring = talk.clone();
        let nodes = net.add_many(2, move |node| declaring.declare(node));
        net.tie(nodes[0], nodes[1]);
        net.start_all().unwrap();
        net.run_for(SECOND);
        talk.say(nodes[0], u64::from(std::process::id()));
        net.run_for(SECOND);
        here.fetch_add(1, Relaxed);
    };
    if std::env::var_os("PEERAGE_SIM_CHILD").is_some() {
        assert_repeatable(Depth::Plain, [5], scenario);
    }
    let words = check_repeatable(Depth::Plain, [5], scenario).unwrap_err().to_string();
    assert!(words.starts_with("seed 5 does not repeat: a run in another process differs"), "{words}");
    assert!(words.contains("first 1.0") && words.contains("node 0 -> 1  wrote"), "{words}");
    assert_eq!(here.load(Relaxed), 3, "two to be compared, and one of which all records are");
}

#[test]
fn interleavings_that_are_drawn_repeat_and_differ_from_the_one_that_is_not() {
    let hash = |interleaved| {
        let mut net = SimNet::new(1, Depth::Plain).unwrap();
        net.set_interleaved(interleaved);
        restless(&mut net);
        (net.trace_hash(), net.violations())
    };
    let (drawn, plain) = (hash(true), hash(false));
    assert_eq!(drawn, hash(true));
    assert_ne!(drawn, plain);
    assert!(drawn.1.is_empty());
}

#[test]
fn another_seed_is_another_run() {
    let hash = |seed| {
        let mut net = SimNet::new(seed, Depth::Plain).unwrap();
        restless(&mut net);
        (net.trace_hash(), net.trace_len())
    };
    let (one, other) = (hash(1), hash(2));
    assert!(one.1 > 500 && other.1 > 500, "{one:?} {other:?}");
    assert_ne!(one.0, other.0);
}

#[test]
fn a_reactor_that_does_not_repeat_is_found_and_the_first_difference_is_shown() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let error = check_repeatable(Depth::Plain, [5], |net| {
        let (net, talk) = (net, Talk::default());
        let declaring = talk.clone();
        let nodes = net.add_many(2, move |node| declaring.declare(node));
        net.tie(nodes[0], nodes[1]);
        net.start_all().unwrap();
        net.run_for(SECOND);
        // What a clock or a random number would do.
        talk.say(nodes[0], CALLS.fetch_add(1, Relaxed));
        net.run_for(SECOND);
    });
    let parting = error.unwrap_err();
    let words = parting.to_string();
    assert!(words.starts_with(
        "seed 5 does not repeat: a run on another thread differs from the first run\nthe first "
    ));
    assert!(words.contains("first 1.0") && words.contains("node 0 -> 1  wrote"), "{words}");
    assert!(words.contains("HashMap"), "{words}");
    assert_eq!(parting.before.len(), 3);
}
