//! In which order peers are dialled, and what blocks their addresses.

use super::*;

fn service(name: &str, at_least: usize) -> Quota {
    Quota { wants: Want::Service(name.to_owned()), at_least }
}

#[test]
fn a_peer_that_a_short_quota_wants_is_dialled_before_better_ones() {
    let config = Config { quotas: vec![service("snap", 1)], priorities: [(id(1), 9)].into(), ..quick() };
    let mut bench = Bench::new(config);
    bench.met(id(2), "snap", 0);
    bench.met(id(3), "snap", 0);
    bench.know(&[id(1)]);
    let dial = bench.dial().unwrap();
    assert!(dial.address.id() != id(1), "the quota goes first");
    bench.dial_to(id(1));
    bench.dial().expect("the other one, in its turn");
}

#[test]
fn quotas_are_met_in_their_order_and_the_best_of_those_that_offer_goes_first() {
    let config = Config {
        quotas: vec![service("snap", 1), service("archive", 2)],
        priorities: [(id(4), 5), (id(1), 9)].into(),
        ..quick()
    };
    let mut bench = Bench::new(config);
    for (peer, offer) in [(2, "snap"), (3, "archive"), (4, "archive")] {
        bench.met(id(peer), offer, 0);
    }
    bench.know(&[id(1)]);
    for peer in [2, 4, 3, 1] {
        bench.dial_to(id(peer));
    }
}

#[test]
fn a_capability_of_any_version_meets_a_quota() {
    let quota = Quota { wants: Want::Capability(ETH), at_least: 1 };
    let mut bench = Bench::new(Config { quotas: vec![quota], priorities: [(id(1), 9)].into(), ..quick() });
    bench.met(id(2), "", 0);
    bench.know(&[id(1)]);
    bench.dial_to(id(2));
}

#[test]
fn a_quota_counts_who_is_up_and_who_is_dialled_but_nobody_that_is_ordered_out() {
    let priorities = [(id(1), 9), (id(5), 9)].into();
    let mut bench = Bench::new(Config { quotas: vec![service("snap", 1)], priorities, ..quick() });
    bench.met(id(2), "snap", 0);
    let conn = bench.connect_to(id(2));
    bench.ready_with(conn, Introduction { services: ["snap".to_owned()].into(), ..introduction() });
    bench.met(id(3), "snap", 0);
    bench.know(&[id(1)]);
    bench.dial_to(id(1));
    bench.know(&[id(5)]);
    assert_eq!(bench.errored(conn), Report::Applied);
    let conn = bench.dial_to(id(3));
    bench.dialed(conn).unwrap();
    bench.dial_to(id(5));
}

#[test]
fn what_a_peer_offers_is_what_it_said_last() {
    let config = Config { quotas: vec![service("snap", 1)], priorities: [(id(1), 9)].into(), ..quick() };
    let mut bench = Bench::new(config);
    bench.met(id(2), "snap", 0);
    bench.met(id(2), "archive", 0);
    bench.know(&[id(1)]);
    bench.dial_to(id(1));
}

#[test]
fn a_peer_in_a_banned_range_is_dialled_when_the_ban_ends_or_is_lifted() {
    for lifted in [true, false] {
        let mut bench = Bench::new(quick());
        bench.know(&[id(1)]);
        bench.ban(prefix("8.8.8.0/24"), Some(ms(400))).unwrap();
        assert_eq!(bench.dial(), None);
        assert_eq!(bench.wakeup(), Some((ms(400), WakeReason::BanEnds(prefix("8.8.8.0/24")))));
        if lifted {
            assert!(bench.unban(prefix("8.8.8.0/24")));
        } else {
            bench.advance(ms(399));
            assert_eq!(bench.dial(), None);
            bench.advance(ms(1));
        }
        bench.dial_to(id(1));
    }
}

#[test]
fn a_banned_peer_is_dialled_at_none_of_its_addresses_and_one_in_a_banned_range_at_another() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1), id(2)]);
    assert_eq!(bench.add(at(id(2), [7, 7, 7, 7])), Ok(true));
    assert_eq!(bench.add(at(id(1), [7, 7, 7, 7])), Ok(true));
    bench.ban(BanTarget::Peer(id(1)), None).unwrap();
    bench.ban(prefix("8.8.8.8/32"), None).unwrap();
    assert_eq!(bench.dial().map(|dial| dial.address), Some(at(id(2), [7, 7, 7, 7])));
    assert_eq!(bench.dial(), None);
    assert!(bench.unban(BanTarget::Peer(id(1))));
    assert_eq!(bench.dial().map(|dial| dial.address), Some(at(id(1), [7, 7, 7, 7])));
}

#[test]
fn of_two_bans_that_cover_an_address_both_must_end() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    bench.ban(prefix("8.0.0.0/8"), Some(ms(100))).unwrap();
    bench.ban(prefix("8.8.8.8/32"), Some(ms(300))).unwrap();
    assert_eq!(bench.dial(), None);
    bench.advance(ms(100));
    assert_eq!(bench.dial(), None);
    bench.advance(ms(200));
    bench.dial_to(id(1));
}

fn one_of_a_group() -> Bench {
    let mut config = quick();
    config.groups.max_outbound = Limit::AtMost(1);
    Bench::new(config)
}

#[test]
fn a_dial_and_a_connection_block_their_group_until_they_end() {
    let mut bench = one_of_a_group();
    bench.know(&[id(1), id(2)]);
    let first = bench.dial().unwrap();
    assert_eq!(bench.dial(), None, "a dial counts");
    bench.dialed(first.conn).unwrap();
    assert_eq!(bench.dial(), None, "and so does a connection");
    bench.part(first.conn);
    bench.ban(BanTarget::Peer(first.address.id()), None).unwrap();
    let second = bench.dial().unwrap();
    assert!(second.address.id() != first.address.id());
    bench.ban(BanTarget::Peer(second.address.id()), None).unwrap();
    assert!(bench.unban(BanTarget::Peer(first.address.id())));
    assert_eq!(bench.dial(), None);
    assert_eq!(bench.dial_failed(second.conn, &refused()), Report::Applied);
    bench.dial_to(first.address.id());
}

#[test]
fn a_new_address_in_another_group_is_dialled_at_once() {
    let mut bench = one_of_a_group();
    bench.know(&[id(1), id(2)]);
    let first = bench.dial().unwrap();
    assert_eq!(bench.dial(), None);
    let other = [id(1), id(2)].into_iter().find(|peer| *peer != first.address.id()).unwrap();
    assert_eq!(bench.add(at(other, [8, 8, 9, 8])), Ok(true));
    assert_eq!(bench.dial().map(|dial| dial.address), Some(at(other, [8, 8, 9, 8])));
}

#[test]
fn private_addresses_make_a_group_on_request_and_calls_never_count_towards_outgoing_ones() {
    for (private_too, dials) in [(false, 2), (true, 1)] {
        let mut config = quick();
        config.groups.max_outbound = Limit::AtMost(1);
        config.groups.private_too = private_too;
        let mut bench = Bench::new(config);
        let caller = bench.incoming_from([10, 0, 0, 9]).unwrap();
        bench.accepted(caller, id(9)).unwrap();
        for peer in [1, 2] {
            assert_eq!(bench.add(at(id(peer), [10, 0, 0, 1])), Ok(true));
        }
        assert_eq!(std::iter::from_fn(|| bench.dial()).count(), dials);
    }
}

#[test]
fn the_address_that_failed_least_is_dialled_and_of_equals_the_oldest() {
    let mut bench = Bench::new(quick());
    for host in [1, 2, 3] {
        assert_eq!(bench.add(address_at(id(1), host)), Ok(true));
    }
    for host in [1, 2, 3, 1] {
        let dial = bench.dial().unwrap();
        assert_eq!(dial.address, address_at(id(1), host));
        assert_eq!(bench.dial_failed(dial.conn, &refused()), Report::Applied);
        if host == 3 {
            assert_eq!(bench.dial(), None, "all have failed once");
            bench.advance(ms(100));
        }
    }
    let dial = bench.dial().unwrap();
    assert_eq!(dial.address, address_at(id(1), 2));
    bench.dialed(dial.conn).unwrap();
    bench.advance(ms(1_000));
    bench.part(dial.conn);
    assert_eq!(bench.dial().map(|dial| dial.address), Some(address_at(id(1), 2)), "it is forgiven");
}

#[test]
fn an_address_that_is_blocked_gives_nobody_another_try_at_once() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    assert_eq!(bench.add(at(id(1), [7, 7, 7, 7])), Ok(true));
    bench.ban(prefix("7.0.0.0/8"), None).unwrap();
    for wait in [100, 200] {
        let conn = bench.dial_to(id(1));
        assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
        assert_eq!(bench.wakeup(), Some((ms(wait), WakeReason::HoldEnds(id(1)))));
        bench.advance(ms(wait));
    }
}

#[test]
fn an_address_that_only_its_own_dial_blocked_is_tried_at_once() {
    let mut bench = one_of_a_group();
    bench.know(&[id(1)]);
    assert_eq!(bench.add(address_at(id(1), 9)), Ok(true));
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    assert_eq!(bench.dial().map(|dial| dial.address), Some(address_at(id(1), 9)));
}

#[test]
fn other_classes_wait_while_a_quota_has_no_seat_and_a_free_seat_goes_to_the_best() {
    let config = Config {
        quotas: vec![service("snap", 1)],
        priorities: [(id(1), 9), (id(2), 5)].into(),
        max_outbound: Limit::AtMost(1),
        ..quick()
    };
    let mut bench = Bench::new(config);
    bench.know(&[id(2)]);
    let holder = bench.connect_to(id(2));
    bench.met(id(3), "snap", 0);
    assert_eq!(bench.dial(), None, "no upgrade slots, no seat");
    bench.know(&[id(1)]);
    bench.part(holder);
    bench.dial_to(id(3));
}
