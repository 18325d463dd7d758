//! Behaviours that a peer manager of this design is known by, and that no other module tests.
//!
//! `docs/conformance-peer-manager.md` says which test stands for which of them.

use super::*;

/// Priorities 1, 2, 3, ... of peers 1, 2, 3, ...
fn ranked(limit: usize, upgrade_slots: usize) -> Config {
    Config {
        max_outbound: Limit::AtMost(limit),
        max_inbound: Limit::AtMost(limit),
        upgrade_slots,
        priorities: (1..=9u8).map(|class| (id(u64::from(class)), class)).collect(),
        ..quick()
    }
}

#[test]
fn an_address_that_is_added_wakes_whoever_waited_for_a_hold() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    assert_eq!(bench.wakeup(), Some((ms(100), WakeReason::HoldEnds(id(1)))));
    bench.know(&[id(2)]);
    assert_eq!(bench.wakeup(), Some((ms(0), WakeReason::Dial)));
    bench.dial_to(id(2));
}

#[test]
fn an_upgrade_in_use_withholds_better_peers_and_an_equal_of_the_worst_gets_none() {
    let config =
        Config { priorities: [(id(1), 1), (id(2), 2), (id(3), 3), (id(4), 4)].into(), ..ranked(2, 1) };
    let mut bench = Bench::new(config);
    let first = bench.up_to(id(1));
    bench.up_to(id(2));
    bench.know(&[id(3)]);
    let dial = bench.dial_to(id(3));
    bench.know(&[id(4)]);
    assert_eq!(bench.dial(), None);
    bench.dialed(dial).unwrap();
    assert_eq!(bench.dial(), None);
    assert_eq!(bench.dialed(ConnId::new(99)), Err(Reject::UnknownConnection), "nobody else may come instead");
    assert_eq!(bench.carry_out().conn, first);
    let dial = bench.dial_to(id(4));
    bench.dialed(dial).unwrap();
    assert_eq!(bench.carry_out().peer, id(2));
    bench.change(&Change::Priority { peer: id(5), class: Some(3) }).unwrap();
    bench.know(&[id(5)]);
    assert_eq!(bench.dial(), None, "an equal of the worst");
}

#[test]
fn a_dial_of_an_address_that_was_given_up_meanwhile_stores_nothing_when_it_fails() {
    let mut bench = Bench::new(Config { max_addresses_per_peer: 1, ..quick() });
    bench.know(&[id(1)]);
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    bench.advance(ms(100));
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.add(address_at(id(1), 9)), Ok(true), "the one that is dialled has failed before");
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Late);
    assert!(bench.manager.addresses(&id(1)).eq([address_at(id(1), 9)]));
    assert_eq!(bench.stored[&id(1)].addresses[0].failures, 0);
}

#[test]
fn nothing_that_was_never_dispensed_can_be_dialled_whoever_it_is() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    bench.pass(ms(1));
    let before = bench.manager.clone();
    for conn in [0, 1, u64::MAX] {
        assert_eq!(bench.dialed(ConnId::new(conn)), Err(Reject::UnknownConnection));
    }
    assert_eq!(bench.add(address(id(SELF))), Err(AddError::SelfAddress));
    assert_eq!(bench.manager, before, "our own identity is never stored, so never dispensed");
}

#[test]
fn an_equal_of_whoever_took_a_place_is_refused_before_and_after_the_victim_left() {
    let config = Config { priorities: [(id(2), 2), (id(3), 2)].into(), ..ranked(1, 2) };
    let mut bench = Bench::new(config);
    let first = bench.accept(id(1)).unwrap();
    assert_eq!(bench.accept(id(4)), Err(Reject::TooManyPeers), "an equal");
    bench.accept(id(2)).unwrap();
    assert_eq!(bench.accept(id(3)), Err(Reject::TooManyPeers));
    assert_eq!(bench.carry_out().conn, first);
    assert_eq!(bench.accept(id(3)), Err(Reject::TooManyPeers));
}

#[test]
fn an_eviction_wakes_the_shell_whether_a_fault_a_dial_or_a_call_caused_it() {
    let wakes = |bench: &Bench| bench.wakeup();
    let evict = Some((ms(0), WakeReason::Evict));

    let mut bench = Bench::new(ranked(1, 1));
    let conn = bench.up_to(id(1));
    assert!(wakes(&bench) != evict);
    assert_eq!(bench.errored(conn), Report::Applied);
    assert_eq!(wakes(&bench), evict);
    assert_eq!(bench.carry_out().peer, id(1));
    assert!(wakes(&bench) != evict);

    bench.up_to(id(2));
    bench.know(&[id(3)]);
    let dial = bench.dial_to(id(3));
    assert!(wakes(&bench) != evict);
    bench.dialed(dial).unwrap();
    assert_eq!(wakes(&bench), evict);
    assert_eq!(bench.carry_out().peer, id(2));

    bench.accept(id(4)).unwrap();
    bench.accept(id(5)).unwrap();
    assert_eq!(wakes(&bench), evict);
    assert_eq!(bench.carry_out().peer, id(4));
    assert_eq!(bench.evict(), None, "healthy peers stay");
}

#[test]
fn a_fault_of_a_peer_that_is_not_connected_is_late_and_does_not_meet_the_next_connection() {
    let mut bench = Bench::new(quick());
    assert_eq!(bench.errored(ConnId::new(1)), Report::Late);
    assert_eq!(bench.manager.counts().stored, 0);
    bench.know(&[id(1)]);
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.errored(conn), Report::Late, "a dial is no connection yet");
    bench.dialed(conn).unwrap();
    assert_eq!(bench.evict(), None);
}

#[test]
fn an_accepted_peer_is_dialled_again_at_once_when_it_left_after_it_lived() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    let conn = bench.accept(id(1)).unwrap();
    assert_eq!(bench.dial(), None);
    bench.advance(ms(1_000));
    bench.leave(conn);
    assert!(bench.wakeup().is_some_and(|(wait, _)| wait.is_zero()));
    bench.dial_to(id(1));
}

#[test]
fn a_report_about_an_old_connection_is_late_for_every_input() {
    let mut bench = Bench::new(quick());
    let conn = bench.up_to(id(1));
    bench.part(conn);
    bench.pass(ms(1));
    let ops = [
        Op::DialFailed { conn, closed: refused() },
        Op::IncomingFailed { conn, closed: refused() },
        Op::Ready { conn, introduction: introduction() },
        Op::Disconnected { conn, closed: refused() },
        Op::Reported { conn, what: Misbehaviour::Breach, count: 1 },
        Op::Praised { conn, what: GoodAct::Helpful, count: 1 },
        Op::Measured { conn, latency: ms(1) },
        Op::Errored { conn, closed: breach() },
    ];
    let record = bench.manager.record(&id(1));
    for (late, op) in (1..).zip(ops) {
        assert_eq!(bench.act(|manager, now| manager.apply(op, now)), Answer::Report(Report::Late));
        assert_eq!(bench.manager.late_reports(), late);
    }
    assert_eq!(bench.manager.record(&id(1)), record);
    for op in [Op::Dialed { conn }, Op::Accepted { conn, id: id(2) }] {
        let answer = bench.act(|manager, now| manager.apply(op, now));
        assert_eq!(answer, Answer::Admitted(Err(Reject::UnknownConnection)));
    }
}
