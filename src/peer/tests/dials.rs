//! Dialling: order, retries, holds, wake-ups.

use super::*;

fn full_of(outbound: usize) -> Config {
    Config { max_outbound: Limit::AtMost(outbound), ..quick() }
}

#[test]
fn an_added_address_is_dispensed_once() {
    let mut bench = Bench::new(quick());
    assert_eq!(bench.manager.next_wakeup(), None);
    bench.know(&[id(1)]);
    let wakeup = bench.manager.next_wakeup().unwrap();
    assert_eq!((wakeup.at, wakeup.why), (bench.now, WakeReason::Dial));
    bench.dial_to(id(1));
    assert_eq!(bench.dial(), None);
    assert_eq!(bench.manager.next_wakeup(), None);
}

#[test]
fn retries_double_within_both_bounds_up_to_the_cap() {
    let mut config = quick();
    config.backoff.jitter = ms(40);
    let mut bench = Bench::new(config);
    bench.know(&[id(1)]);
    for least in [100, 200, 400, 500, 500, 500] {
        let conn = bench.dial_to(id(1));
        assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
        let wakeup = bench.manager.next_wakeup().unwrap();
        assert_eq!(wakeup.why, WakeReason::HoldEnds(id(1)));
        let wait = wakeup.at - bench.now;
        assert!(wait >= ms(least) && wait <= ms(least + 40), "{wait:?}, not {least} ms");
        bench.advance(wait - Duration::from_nanos(1));
        assert_eq!(bench.dial(), None);
        bench.advance(Duration::from_nanos(1));
    }
    bench.dial_to(id(1));
}

#[test]
fn persistent_peers_are_retried_sooner_and_never_forgotten() {
    let config = Config { persistent: [id(1)].into(), forget_after: Limit::AtMost(2), ..quick() };
    let mut bench = Bench::new(config);
    bench.accept(id(9)).unwrap();
    bench.know(&[id(1), id(2)]);
    for _ in 0..4 {
        for _ in 0..2 {
            if let Some(dial) = bench.dial() {
                assert_eq!(bench.dial_failed(dial.conn, &refused()), Report::Applied);
            }
        }
        bench.advance(ms(200));
    }
    assert!(bench.manager.knows(&id(1)));
    assert!(!bench.manager.knows(&id(2)) && !bench.stored.contains_key(&id(2)));
}

#[test]
fn a_failed_dial_gives_its_slot_to_the_next_peer() {
    let mut bench = Bench::new(Config { priorities: [(id(1), 1)].into(), ..full_of(1) });
    bench.know(&[id(1), id(2)]);
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial(), None);
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    bench.dial_to(id(2));
}

#[test]
fn a_connected_peer_is_dispensed_again_only_after_its_end_and_the_cooldown() {
    let mut bench = Bench::new(Config { cooldown: ms(700), ..quick() });
    bench.know(&[id(1)]);
    let conn = bench.connect_to(id(1));
    assert_eq!(bench.dial(), None);
    bench.advance(ms(5_000));
    bench.leave(conn);
    assert_eq!(bench.manager.next_wakeup().map(|wakeup| wakeup.at - bench.now), Some(ms(700)));
    bench.advance(ms(699));
    assert_eq!(bench.dial(), None);
    bench.advance(ms(1));
    bench.dial_to(id(1));
}

#[test]
fn an_accepted_peer_is_not_dispensed_until_it_left() {
    let mut bench = Bench::new(quick());
    let conn = bench.accept(id(1)).unwrap();
    bench.know(&[id(1)]);
    assert_eq!(bench.add(address_at(id(1), 9)), Ok(true));
    assert_eq!(bench.dial(), None);
    bench.advance(ms(1_000));
    bench.leave(conn);
    bench.dial_to(id(1));
}

#[test]
fn a_dial_in_flight_counts_as_an_outgoing_connection() {
    let mut bench = Bench::new(full_of(2));
    bench.know(&[id(1), id(2), id(3)]);
    let first = bench.dial().unwrap();
    bench.dialed(first.conn).unwrap();
    assert!(bench.dial().is_some());
    assert_eq!(bench.dial(), None);
    assert_eq!(bench.manager.counts().outbound, 2);
}

#[test]
fn dials_in_flight_are_bounded() {
    let mut bench = Bench::new(Config { max_dials_in_flight: 1, ..quick() });
    bench.know(&[id(1), id(2)]);
    let first = bench.dial().unwrap();
    assert_eq!(bench.dial(), None);
    bench.dialed(first.conn).unwrap();
    assert!(bench.dial().is_some());
}

#[test]
fn other_addresses_of_a_dialling_or_connected_peer_are_not_dispensed() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.add(address_at(id(1), 9)), Ok(true));
    assert_eq!(bench.dial(), None);
    bench.dialed(conn).unwrap();
    assert_eq!(bench.dial(), None);
}

#[test]
fn every_address_is_tried_once_before_the_back_off() {
    let mut bench = Bench::new(quick());
    let mut tried = std::collections::BTreeSet::new();
    for (peer, host) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        assert_eq!(bench.add(address_at(id(peer), host)), Ok(true));
    }
    while let Some(dial) = bench.dial() {
        assert!(tried.insert(dial.address), "tried twice");
        assert_eq!(bench.dial_failed(dial.conn, &refused()), Report::Applied);
    }
    assert_eq!(tried.len(), 4);
}

#[test]
fn a_late_report_is_counted_and_changes_nothing() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    bench.advance(ms(100));
    let next = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Late);
    assert_eq!(bench.disconnected(next, &refused()), Report::Late, "a dial is no connection yet");
    assert_eq!(bench.dialed(conn), Err(Reject::UnknownConnection));
    assert_eq!(bench.manager.late_reports(), 2);
    assert_eq!(bench.manager.status(&id(1)), Some(Status::Dialing { bad_points: 0, conn: next }));
}

#[test]
fn a_dial_is_reported_only_once() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    let conn = bench.connect_to(id(1));
    assert_eq!(bench.dialed(conn), Err(Reject::UnknownConnection));
    assert_eq!(bench.dialed(ConnId::new(99)), Err(Reject::UnknownConnection));
}

#[test]
fn a_peer_that_accepts_and_closes_earns_a_growing_back_off() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    for wait in [100, 200, 400] {
        let conn = bench.connect_to(id(1));
        bench.advance(ms(999));
        bench.leave(conn);
        bench.advance(ms(wait - 1));
        assert_eq!(bench.dial(), None, "after {wait} ms");
        bench.advance(ms(1));
    }
    let conn = bench.connect_to(id(1));
    bench.advance(ms(1_000));
    bench.leave(conn);
    bench.dial_to(id(1));
}

#[test]
fn a_wrong_network_peer_is_left_alone_and_forgiven_once_it_is_ready() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &incompatible()), Report::Applied);
    assert!(bench.stored[&id(1)].incompatible);
    bench.advance(ms(59_999));
    assert_eq!(bench.dial(), None);
    assert_eq!(bench.manager.advertise(None, 9), []);
    bench.advance(ms(1));
    let conn = bench.connect_to(id(1));
    assert_eq!(bench.ready(conn), Report::Applied);
    assert!(!bench.stored[&id(1)].incompatible);
    assert_eq!(bench.manager.advertise(None, 9), [address(id(1))]);
}

#[test]
fn a_full_peer_is_left_alone_for_longer() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &Closed::remote(DisconnectReason::TooManyPeers)), Report::Applied);
    bench.advance(ms(999));
    assert_eq!(bench.dial(), None);
    bench.advance(ms(1));
    bench.dial_to(id(1));
}

#[test]
fn our_own_fault_is_not_charged_to_the_peer() {
    let mut bench = Bench::new(Config { forget_after: Limit::AtMost(1), ..quick() });
    bench.know(&[id(1)]);
    let ours = Closed::local(Layer::Node, Blame::Ourselves, DisconnectReason::Requested, "no_sockets");
    for _ in 0..3 {
        let conn = bench.dial_to(id(1));
        assert_eq!(bench.dial_failed(conn, &ours), Report::Applied);
        bench.advance(ms(100));
    }
    assert!(bench.manager.knows(&id(1)));
}

#[test]
fn a_clock_that_stands_still_or_runs_backwards_does_no_harm() {
    let mut bench = Bench::new(quick());
    bench.now += ms(1_000);
    bench.know(&[id(1)]);
    let conn = bench.dial_to(id(1));
    bench.now -= ms(1_000);
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    assert_eq!(bench.dial(), None);
    bench.advance(ms(1_099));
    assert_eq!(bench.dial(), None, "the hold counts from the latest instant seen");
    bench.advance(ms(1_000_000_000));
    bench.dial_to(id(1));
}

#[test]
fn an_operators_new_address_ends_a_back_off() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    assert_eq!(bench.add(address_at(id(1), 7)), Ok(true));
    assert_eq!(bench.dial(), None, "gossip does not end it");
    bench.act(|manager, now| manager.add(&address_at(id(1), 6), Source::Operator, now)).unwrap();
    bench.dial_to(id(1));
}

#[test]
fn the_operators_class_decides_who_is_dialled_first() {
    let config = Config {
        priorities: [(id(2), 7), (id(3), 2)].into(),
        persistent: [id(4)].into(),
        unconditional: [id(5)].into(),
        ..quick()
    };
    let mut bench = Bench::new(config);
    bench.know(&[id(1), id(2), id(3), id(4), id(5)]);
    for peer in [5, 4, 2, 3, 1] {
        bench.dial_to(id(peer));
    }
}

#[test]
fn each_node_draws_its_own_order_among_equals() {
    let orders: std::collections::BTreeSet<Vec<NodeId>> = (0..8)
        .map(|seed| {
            let now = epoch();
            let mut manager = PeerManager::new(quick(), seed, now, WallTime::default(), []).unwrap();
            for peer in 1..8 {
                manager.add(&address(id(peer)), Source::Discovery, now).unwrap();
            }
            std::iter::from_fn(|| manager.try_dial_next(now)).map(|dial| dial.address.id()).collect()
        })
        .collect();
    assert_eq!(orders.len(), 8);
}
