//! Explanations: a situation for each rule, with its numbers, its end and its sentence.

use super::*;
use crate::event::{Because, Rule};

/// An explanation, as a row of a table.
type Row = (Because, Option<i64>, Option<i64>, Option<u64>, &'static str);

fn check(rows: &[Row]) -> Vec<Rule> {
    for (because, value, threshold, until_ms, sentence) in rows {
        let told = (because.value, because.threshold, because.remaining());
        assert_eq!(told, (*value, *threshold, until_ms.map(ms)), "{because}");
        assert_eq!(because.to_string(), *sentence);
    }
    rows.iter().map(|row| row.0.rule).collect()
}

fn why(bench: &Bench, peer: u64) -> Because {
    bench.manager.why(&id(peer))
}

fn full(limit: usize) -> Config {
    Config { max_outbound: Limit::AtMost(limit), max_inbound: Limit::AtMost(limit), ..quick() }
}

fn states() -> Vec<Rule> {
    let mut bench = Bench::new(full(3));
    let mut rows: Vec<Row> = vec![
        (why(&bench, SELF), None, None, None, "it is this node itself"),
        (why(&bench, 1), None, None, None, "nothing is known of it"),
        (bench.manager.why_not_dialling(), None, None, None, "no peer that could be dialled is known"),
    ];
    bench.know(&[id(1)]);
    rows.push((why(&bench, 1), None, None, None, "it is the next to be dialled"));
    let conn = bench.dial_to(id(1));
    rows.push((why(&bench, 1), None, None, None, "a dial to it is in flight"));
    bench.dialed(conn).unwrap();
    rows.push((why(&bench, 1), None, None, None, "it is connected"));
    let caller = bench.accept(id(2)).unwrap();
    assert_eq!(bench.reported(caller, Misbehaviour::Nuisance, 1), Report::Applied);
    bench.part(caller);
    bench.pass(ms(1));
    rows.push((why(&bench, 2), None, None, None, "it came to us, and no address of it is known"));
    bench.ban(BanTarget::Peer(id(1)), Some(ms(90_000))).unwrap();
    rows.push((why(&bench, 1), None, None, Some(90_000), "it is banned; this holds for another 1 min 30 s"));
    bench.ban(BanTarget::Peer(id(1)), None).unwrap();
    rows.push((why(&bench, 1), None, None, None, "it is banned"));
    check(&rows)
}

fn holds() -> Vec<Rule> {
    let mut config = Config { cooldown: ms(34_000), ..quick() };
    config.seeds = SeedConfig { peers: [id(6)].into(), stay: ms(0), rest: ms(600_000), mode: None };
    let mut rows: Vec<Row> = Vec::new();
    let ours = Closed::local(Layer::Node, Blame::Ourselves, DisconnectReason::Requested, "no_sockets");
    let cases: [(Closed, i64, u64, &'static str); 4] = [
        (refused(), 1, 100, "it failed 1 time in a row; this holds for another 100 ms"),
        (
            Closed::remote(DisconnectReason::TooManyPeers),
            1,
            1_000,
            "it said that it has no room; this holds for another 1 s",
        ),
        (
            incompatible(),
            1,
            60_000,
            "it is of another network, or useless to us; this holds for another 1 min 0 s",
        ),
        (ours, 0, 100, "we could not dial, through no fault of its own; this holds for another 100 ms"),
    ];
    for (closed, failures, until, sentence) in cases {
        let mut bench = Bench::new(config.clone());
        bench.know(&[id(1)]);
        let conn = bench.dial_to(id(1));
        assert_eq!(bench.dial_failed(conn, &closed), Report::Applied);
        rows.push((why(&bench, 1), Some(failures), None, Some(until), sentence));
        assert_eq!(bench.manager.why_not_dialling(), why(&bench, 1));
    }
    let mut bench = Bench::new(config.clone());
    let conn = bench.up_to(id(1));
    bench.part(conn);
    bench.pass(ms(4_000));
    let sentence = "its last connection ended a moment ago; this holds for another 30 s";
    rows.push((why(&bench, 1), Some(0), None, Some(30_000), sentence));
    let mut bench = Bench::new(config);
    bench.up_to(id(6));
    bench.carry_out();
    let sentence = "it is a seed that was asked not long ago; this holds for another 10 min 0 s";
    rows.push((why(&bench, 6), Some(0), None, Some(600_000), sentence));
    check(&rows)
}

fn lines() -> Vec<Rule> {
    let mut config = Config { max_dials_in_flight: 1, priorities: [(id(1), 1)].into(), ..quick() };
    config.seeds.peers = [id(6)].into();
    config.groups.max_outbound = Limit::AtMost(1);
    let mut bench = Bench::new(config);
    bench.know(&[id(1), id(2), id(6)]);
    let mut rows: Vec<Row> = vec![
        (why(&bench, 2), None, None, None, "others go first"),
        (why(&bench, 6), None, None, None, "it is a seed, and others can be dialled"),
    ];
    let conn = bench.dial_to(id(1));
    let sentence = "dials in flight: 1 of at most 1";
    rows.push((bench.manager.why_not_dialling(), Some(1), Some(1), None, sentence));
    bench.add(at(id(7), [7, 7, 7, 7])).unwrap();
    rows.push((why(&bench, 7), Some(1), Some(1), None, sentence));
    let sentence = "connections and dials in its /24 or /64: 1 of at most 1";
    rows.push((why(&bench, 2), Some(1), Some(1), None, sentence));
    bench.dialed(conn).unwrap();
    bench.ban(prefix("7.0.0.0/8"), Some(ms(3_600_000))).unwrap();
    assert_eq!(bench.dial(), None);
    let sentence = "its address lies in a banned range; this holds for another 1 h 0 min";
    rows.push((why(&bench, 7), None, None, Some(3_600_000), sentence));
    check(&rows)
}

/// A full pool of one, and a newcomer that waits.
fn waiting(edit: impl FnOnce(&mut Config)) -> Bench {
    let mut config = full(1);
    config.upgrade_slots = 1;
    edit(&mut config);
    let mut bench = Bench::new(config);
    bench.up_to(id(1));
    bench.know(&[id(2)]);
    bench
}

fn full_pools() -> Vec<Rule> {
    let bench = waiting(|config| config.upgrade_slots = 0);
    let mut rows: Vec<Row> = vec![(
        bench.manager.why_not_dialling(),
        Some(1),
        Some(1),
        None,
        "all outgoing slots are in use: 1 of 1",
    )];
    let worse = "all slots are in use, and nobody there ranks low enough to go for it (its grade is 0, that of \
                 the lowest 0)";
    rows.push((why(&waiting(|_| ()), 2), Some(0), Some(0), None, worse));
    let mut bench = waiting(|config| config.rotate_every = Some(ms(2_000)));
    let until = "all slots are in use, and nobody there ranks low enough to go for it (its grade is 0, that of \
                 the lowest 0); this holds for another 2 s";
    rows.push((why(&bench, 2), Some(0), Some(0), Some(2_000), until));
    bench.change(&Change::Priority { peer: id(1), class: Some(1) }).unwrap();
    rows.push((why(&bench, 2), Some(0), Some(0), None, worse));
    let bench = waiting(|config| config.upgrade_min_age = ms(5_000));
    let young = "all slots are in use, and nobody there may be replaced; this holds for another 5 s";
    rows.push((why(&bench, 2), None, None, Some(5_000), young));
    let mut bench = waiting(|config| {
        config.priorities = [(id(2), 2), (id(3), 3)].into();
        config.upgrade_interval = ms(7_000);
    });
    let dial = bench.dial_to(id(2));
    bench.know(&[id(3)]);
    let used = "all slots are in use, and as many places as may be are being taken over already: 1 of 1";
    rows.push((why(&bench, 3), Some(1), Some(1), None, used));
    assert_eq!(bench.dial_failed(dial, &refused()), Report::Applied);
    let soon = "all slots are in use, and a place was taken over not long ago; this holds for another 7 s";
    rows.push((why(&bench, 3), None, None, Some(7_000), soon));
    assert_eq!(bench.manager.why_not_dialling(), why(&bench, 3));
    check(&rows)
}

fn dials() -> Vec<Rule> {
    let mut rows: Vec<Row> = Vec::new();
    let mut take = |bench: &mut Bench, value, threshold, sentence| {
        let because = bench.dial().unwrap().because;
        rows.push((because, value, threshold, None, sentence));
    };
    let mut bench = Bench::new(Config { unconditional: [id(1)].into(), ..full(2) });
    bench.know(&[id(1), id(2)]);
    take(&mut bench, None, None, "the operator wants it unconditionally");
    take(&mut bench, Some(0), Some(2), "a slot was free: 0 of 2 were in use");
    let mut bench = Bench::new(Config { max_outbound: Limit::Unlimited, ..quick() });
    bench.know(&[id(1)]);
    take(&mut bench, Some(0), None, "slots are unlimited: 0 were in use");
    let mut config = quick();
    config.seeds.peers = [id(1)].into();
    let mut bench = Bench::new(config);
    bench.know(&[id(1)]);
    take(&mut bench, None, None, "nobody but seeds could be dialled");
    let mut bench = waiting(|config| config.priorities = [(id(2), 2)].into());
    take(&mut bench, Some(0), Some(0), "a better peer takes the place of a worse one");
    let mut bench = waiting(|config| config.rotate_every = Some(ms(10)));
    bench.advance(ms(10));
    take(&mut bench, None, None, "one place of a full pool is given anew from time to time");
    let mut bench = waiting(|config| {
        config.quotas = vec![Quota { wants: Want::Service("snap".to_owned()), at_least: 1 }];
    });
    bench.met(id(2), "snap", 0);
    take(&mut bench, Some(0), Some(1), "too few peers offer what a quota asks for: 0 of at least 1");
    check(&rows)
}

fn evictions() -> Vec<Rule> {
    let mut rows: Vec<Row> = Vec::new();
    let mut bench = Bench::new(full(9));
    let conns: Vec<ConnId> = (1..=4).map(|peer| bench.up_to(id(peer))).collect();
    assert_eq!(bench.errored(conns[0]), Report::Applied);
    rows.push((why(&bench, 1), None, None, None, "its connection failed"));
    assert_eq!(bench.reported(conns[1], Misbehaviour::Breach, 2), Report::Applied);
    rows.push((why(&bench, 2), Some(100), Some(100), None, "it has 100 bad points, and is sent away at 100"));
    assert!(bench.act(|manager, now| manager.disconnect(&id(3), now)));
    rows.push((why(&bench, 3), None, None, None, "the operator asked for it"));
    bench.change(&Change::MaxOutbound(Limit::AtMost(0))).unwrap();
    rows.push((why(&bench, 4), Some(1), Some(0), None, "its pool has 1 connections, and the limit is 0 now"));
    let told: Vec<Because> = std::iter::from_fn(|| bench.evict()).map(|eviction| eviction.because).collect();
    assert!(told.iter().eq(rows.iter().map(|row| &row.0)), "an eviction carries the same");

    let mut config = full(9);
    config.seeds = SeedConfig { peers: [id(1)].into(), stay: ms(9_000), rest: ms(0), mode: None };
    let mut bench = Bench::new(config);
    bench.up_to(id(1));
    bench.advance(ms(9_000));
    let because = bench.evict().unwrap().because;
    rows.push((because, Some(9), Some(9), None, "it is a seed that has been asked"));
    let mut config = full(9);
    config.seeds.mode = Some(ms(60_000));
    let mut bench = Bench::new(config);
    bench.up_to(id(1));
    bench.advance(ms(60_000));
    let because = bench.evict().unwrap().because;
    rows.push((because, Some(60), Some(60), None, "this node is a seed, and lets peers go after 60 s"));
    let mut bench = Bench::new(Config { inbound_max_age: Some(ms(3_000)), upgrade_slots: 1, ..full(1) });
    bench.accept(id(1)).unwrap();
    bench.advance(ms(5_000));
    bench.accept(id(2)).unwrap();
    let sentence = "the connection is 5 s old, and may be replaced after 3 s";
    rows.push((why(&bench, 1), Some(5), Some(3), None, sentence));
    check(&rows)
}

fn rejections() -> Vec<Rule> {
    let mut config = Config { max_inbound_handshakes: 1, max_excess_handshakes: 0, ..full(1) };
    config.groups.max_inbound = Limit::AtMost(5);
    config.groups.max_handshakes = Limit::AtMost(1);
    let mut bench = Bench::new(config);
    let rejected = |bench: &Bench, reject| bench.manager.why_rejected(reject, Some(&endpoint()));
    let pending = bench.incoming().unwrap();
    let reject = bench.incoming().unwrap_err();
    let because = rejected(&bench, reject);
    let mut rows: Vec<Row> =
        vec![(because, Some(1), Some(1), None, "handshakes in progress: 1 of at most 1")];
    bench.accepted(pending, id(1)).unwrap();
    let reject = bench.incoming().unwrap_err();
    let because = rejected(&bench, reject);
    let sentence = "its /24 or /64 began 1 handshakes of at most 1 within the present window; this holds for \
                    another 1 min 0 s";
    rows.push((because, Some(1), Some(1), Some(60_000), sentence));
    let reject = bench.incoming_from([9, 9, 8, 9]).unwrap_err();
    let because = rejected(&bench, reject);
    rows.push((because, Some(1), Some(1), None, "all incoming slots are in use: 1 of 1"));
    let sentence = "connections and dials in its /24 or /64: 1 of at most 5";
    rows.push((rejected(&bench, Reject::GroupFull), Some(1), Some(5), None, sentence));
    bench.ban(prefix("9.0.0.0/8"), Some(ms(2_000))).unwrap();
    let reject = bench.incoming().unwrap_err();
    let because = rejected(&bench, reject);
    rows.push((
        because,
        None,
        None,
        Some(2_000),
        "its address lies in a banned range; this holds for another 2 s",
    ));
    let because = bench.manager.why_rejected(Reject::TooManyPeers, None);
    rows.push((because, Some(0), Some(1), None, "all outgoing slots are in use: 0 of 1"));
    let conn = ConnId::new(1);
    for (reject, sentence) in [
        (Reject::AlreadyConnected(conn), "there is a connection to it that stays"),
        (Reject::Evicting(DisconnectReason::Requested), "its connection is being ended"),
        (Reject::SelfConnection, "it is this node itself"),
        (Reject::UnknownConnection, "no attempt has this number"),
    ] {
        rows.push((rejected(&bench, reject), None, None, None, sentence));
    }
    let sentence = "the store is full, and nobody in it can go: 1 peers of at most 10000";
    rows.push((rejected(&bench, Reject::StoreFull), Some(1), Some(10_000), None, sentence));
    check(&rows)
}

#[test]
fn a_peers_state_is_told_with_its_numbers_and_its_end() {
    states();
    lines();
}

#[test]
fn each_hold_is_told_with_the_failures_before_it_and_its_end() {
    holds();
}

#[test]
fn a_full_pool_says_why_nobody_gives_way_and_until_when() {
    full_pools();
}

#[test]
fn every_dial_says_on_which_ground_it_is_made() {
    dials();
}

#[test]
fn every_eviction_says_what_it_is_for_and_so_does_its_peer() {
    evictions();
}

#[test]
fn every_rejection_says_what_was_in_the_way() {
    rejections();
}

#[test]
fn there_is_a_situation_for_every_rule() {
    let all = [states(), holds(), lines(), full_pools(), dials(), evictions(), rejections()];
    let given: std::collections::BTreeSet<Rule> = all.into_iter().flatten().collect();
    let never: Vec<_> = Rule::ALL.iter().filter(|rule| !given.contains(rule)).collect();
    assert!(never.is_empty(), "nothing here gives {never:?}");
}

#[test]
fn who_a_quota_wants_is_next_in_line_and_the_full_pool_is_no_reason() {
    let mut bench = waiting(|config| {
        config.quotas = vec![Quota { wants: Want::Service("snap".to_owned()), at_least: 1 }];
        config.upgrade_margin = 9;
    });
    bench.met(id(3), "snap", 0);
    bench.met(id(2), "", 1_000);
    assert_eq!(why(&bench, 3).rule, Rule::NextInLine);
    assert_eq!(bench.manager.why_not_dialling().rule, Rule::NextInLine);
    assert_eq!(why(&bench, 2).rule, Rule::NobodyWorse);
    bench.dial_to(id(3));
}

#[test]
fn whoever_is_banned_by_its_name_is_not_said_to_lie_in_a_banned_range() {
    for (target, rule) in [(BanTarget::Peer(id(1)), Rule::Banned), (prefix("8.8.8.0/24"), Rule::BannedPrefix)]
    {
        let mut bench = Bench::new(quick());
        bench.know(&[id(1)]);
        bench.ban(target, None).unwrap();
        assert_eq!(bench.dial(), None);
        assert_eq!(bench.manager.why_not_dialling().rule, rule);
        assert_eq!(why(&bench, 1).rule, rule);
    }
}
