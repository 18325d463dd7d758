//! Whose place a newcomer takes: the grounds, their order, their rates, and who is spared.

use super::*;
use crate::event::Rule;

fn service(name: &str, at_least: usize) -> Quota {
    Quota { wants: Want::Service(name.to_owned()), at_least }
}

fn snap() -> Introduction {
    Introduction { services: ["snap".to_owned()].into(), ..introduction() }
}

/// One outgoing place, which may be taken over.
fn one_place() -> Config {
    Config { max_outbound: Limit::AtMost(1), max_inbound: Limit::AtMost(1), upgrade_slots: 1, ..quick() }
}

#[test]
fn a_free_slot_is_taken_before_anybody_has_to_go() {
    let mut bench = Bench::new(Config { max_outbound: Limit::AtMost(2), ..one_place() });
    bench.up_to(id(1));
    bench.know(&[id(2)]);
    assert_eq!(bench.dial().map(|dial| dial.because.rule), Some(Rule::FreeSlot));
    assert_eq!(bench.manager.counts().upgrades, 0);
}

#[test]
fn a_peer_that_a_short_quota_wants_takes_the_place_of_one_of_its_class() {
    let mut bench = Bench::new(Config { quotas: vec![service("snap", 1)], ..one_place() });
    bench.up_to(id(1));
    bench.met(id(2), "snap", 0);
    let dial = bench.dial().unwrap();
    assert_eq!((dial.address.id(), dial.because.rule), (id(2), Rule::Quota));
    assert_eq!((dial.because.value, dial.because.threshold), (Some(0), Some(1)));
    bench.dialed(dial.conn).unwrap();
    let eviction = bench.carry_out();
    assert_eq!((eviction.peer, eviction.why), (id(1), EvictReason::Quota));
    assert_eq!(eviction.closed.label, "quota");
}

#[test]
fn a_quota_moves_nobody_of_a_greater_class() {
    let quotas = vec![service("snap", 1)];
    let mut bench = Bench::new(Config { quotas, priorities: [(id(1), 1)].into(), ..one_place() });
    bench.up_to(id(1));
    bench.met(id(2), "snap", 0);
    assert_eq!(bench.dial(), None);
}

#[test]
fn a_better_peer_has_its_place_for_that_even_if_a_quota_wants_it() {
    let quotas = vec![service("snap", 1)];
    let mut bench = Bench::new(Config { quotas, priorities: [(id(2), 1)].into(), ..one_place() });
    bench.up_to(id(1));
    bench.met(id(2), "snap", 0);
    let dial = bench.dial().unwrap();
    assert_eq!(dial.because.rule, Rule::Upgrade);
    bench.dialed(dial.conn).unwrap();
    assert_eq!(bench.carry_out().why, EvictReason::Upgrade);
}

#[test]
fn one_place_is_given_anew_each_time_that_the_rotation_is_due() {
    let mut bench = Bench::new(Config { rotate_every: Some(ms(1_000)), ..one_place() });
    let first = bench.up_to(id(1));
    bench.know(&[id(2)]);
    bench.advance(ms(999));
    assert_eq!(bench.dial(), None);
    assert_eq!(bench.wakeup(), Some((ms(1), WakeReason::Upgrade)));
    bench.advance(ms(1));
    let dial = bench.dial().unwrap();
    assert_eq!(dial.because.rule, Rule::Rotation);
    bench.dialed(dial.conn).unwrap();
    let eviction = bench.carry_out();
    assert_eq!(
        (eviction.conn, eviction.why, eviction.because.rule),
        (first, EvictReason::Rotation, Rule::Rotation)
    );
    bench.advance(ms(999));
    assert_eq!(bench.dial(), None, "the next is due a whole interval after the last began");
    bench.advance(ms(1));
    bench.dial_to(id(1));
}

#[test]
fn the_rotation_moves_nobody_of_a_greater_class_and_waits_for_room_to_be_short() {
    let config = Config { rotate_every: Some(ms(10)), priorities: [(id(1), 1)].into(), ..one_place() };
    let mut bench = Bench::new(config);
    bench.up_to(id(1));
    bench.know(&[id(2)]);
    bench.advance(ms(10_000));
    assert_eq!(bench.dial(), None);
}

#[test]
fn an_old_incoming_connection_gives_way_on_the_instant_and_the_oldest_first() {
    let config = Config {
        max_inbound: Limit::AtMost(2),
        max_excess_handshakes: 1,
        inbound_max_age: Some(ms(2_000)),
        ..one_place()
    };
    let mut bench = Bench::new(config);
    let oldest = bench.accept(id(1)).unwrap();
    bench.advance(ms(500));
    bench.accept(id(2)).unwrap();
    bench.advance(ms(1_499));
    assert_eq!(bench.accept(id(3)), Err(Reject::TooManyPeers));
    bench.advance(ms(1));
    bench.accept(id(3)).unwrap();
    let eviction = bench.carry_out();
    assert_eq!((eviction.conn, eviction.why), (oldest, EvictReason::Age));
    let because = eviction.because;
    assert_eq!((because.rule, because.value, because.threshold), (Rule::Age, Some(2), Some(2)));
}

#[test]
fn age_moves_nobody_of_a_greater_class_than_the_newcomer() {
    let config = Config {
        inbound_max_age: Some(ms(2_000)),
        priorities: [(id(1), 2), (id(3), 2)].into(),
        ..one_place()
    };
    let mut bench = Bench::new(config);
    bench.accept(id(1)).unwrap();
    bench.advance(ms(5_000));
    assert_eq!(bench.accept(id(2)), Err(Reject::TooManyPeers));
    bench.accept(id(3)).unwrap();
}

#[test]
fn neither_quota_nor_rotation_moves_incoming_and_age_moves_no_outgoing_connection() {
    let config = Config {
        quotas: vec![service("snap", 1)],
        rotate_every: Some(ms(10)),
        inbound_max_age: Some(ms(60_000)),
        ..one_place()
    };
    let mut bench = Bench::new(config.clone());
    bench.met(id(2), "snap", 0);
    bench.accept(id(1)).unwrap();
    bench.advance(ms(1_000));
    assert_eq!(bench.accept(id(2)), Err(Reject::TooManyPeers));

    let config = Config { rotate_every: None, quotas: vec![], inbound_max_age: Some(ms(10)), ..config };
    let mut bench = Bench::new(config);
    bench.up_to(id(1));
    bench.know(&[id(2)]);
    bench.advance(ms(1_000));
    assert_eq!(bench.dial(), None);
}

#[test]
fn every_ground_keeps_the_rate_of_its_pool_and_leaves_that_of_the_other() {
    let config = Config {
        upgrade_slots: 2,
        upgrade_interval: ms(900),
        rotate_every: Some(ms(100)),
        quotas: vec![service("snap", 1)],
        priorities: [(id(7), 7), (id(8), 8)].into(),
        max_outbound: Limit::AtMost(2),
        ..one_place()
    };
    let mut bench = Bench::new(config);
    bench.accept(id(9)).unwrap();
    bench.up_to(id(1));
    bench.up_to(id(2));
    bench.advance(ms(100));
    bench.know(&[id(3)]);
    assert_eq!(bench.dial().map(|dial| dial.because.rule), Some(Rule::Rotation));
    bench.know(&[id(8)]);
    assert_eq!(bench.dial(), None, "a rotation charges the rate of upgrades");
    bench.accept(id(7)).expect("in the other pool");
    bench.advance(ms(899));
    assert_eq!(bench.dial(), None);
    bench.advance(ms(1));
    bench.dial_to(id(8));
}

#[test]
fn a_taking_over_that_failed_still_counts_towards_the_rate() {
    let config =
        Config { upgrade_interval: ms(900), priorities: [(id(2), 2), (id(3), 3)].into(), ..one_place() };
    let mut bench = Bench::new(config);
    bench.up_to(id(1));
    bench.know(&[id(2), id(3)]);
    let conn = bench.dial_to(id(3));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    assert_eq!(bench.dial(), None);
    bench.advance(ms(900));
    assert!(bench.dial().is_some());
}

#[test]
fn a_young_connection_is_spared_on_every_ground() {
    let config = Config {
        upgrade_min_age: ms(5_000),
        inbound_max_age: Some(ms(5_000)),
        rotate_every: Some(ms(10)),
        quotas: vec![service("snap", 1)],
        ..one_place()
    };
    let mut bench = Bench::new(config);
    bench.met(id(2), "snap", 0);
    bench.ban(BanTarget::Peer(id(2)), None).unwrap();
    bench.up_to(id(1));
    bench.accept(id(4)).unwrap();
    bench.unban(BanTarget::Peer(id(2)));
    bench.advance(ms(4_999));
    assert_eq!((bench.dial(), bench.accept(id(5))), (None, Err(Reject::TooManyPeers)));
    bench.advance(ms(1));
    bench.dial_to(id(2));
    bench.accept(id(5)).unwrap();
}

#[test]
fn a_peer_that_a_quota_needs_gives_way_to_nobody_and_a_surplus_one_does() {
    let config = Config {
        quotas: vec![service("snap", 1)],
        max_outbound: Limit::AtMost(2),
        priorities: [(id(1), 0), (id(2), 1), (id(7), 7), (id(8), 8)].into(),
        ..one_place()
    };
    let mut bench = Bench::new(config);
    for (peer, introduction) in [(1, snap()), (2, introduction())] {
        bench.know(&[id(peer)]);
        let conn = bench.connect_to(id(peer));
        bench.ready_with(conn, introduction);
    }
    bench.know(&[id(7)]);
    let dial = bench.dial_to(id(7));
    bench.dialed(dial).unwrap();
    bench.ready_with(dial, snap());
    assert_eq!(bench.carry_out().peer, id(2), "the worst that nothing needs");
    bench.know(&[id(8)]);
    let dial = bench.dial_to(id(8));
    bench.dialed(dial).unwrap();
    assert_eq!(bench.carry_out().peer, id(1), "two offer it now, and one is enough");
}

#[test]
fn somebody_is_needed_only_while_up_and_while_no_more_than_enough_are() {
    let config = Config { quotas: vec![service("snap", 1)], priorities: [(id(9), 9)].into(), ..one_place() };
    let mut bench = Bench::new(config);
    bench.met(id(1), "snap", 0);
    let conn = bench.connect_to(id(1));
    bench.know(&[id(9)]);
    bench.ready_with(conn, snap());
    assert_eq!(bench.dial(), None, "it is needed");
    let second = bench.accept(id(2)).unwrap();
    bench.ready_with(second, snap());
    bench.dial_to(id(9));
}

#[test]
fn in_each_pool_so_many_places_are_taken_over_at_a_time() {
    for slots in [1, 2] {
        let priorities = (1..=9).map(|class| (id(u64::from(class)), class)).collect();
        let config = Config {
            upgrade_slots: slots,
            max_outbound: Limit::AtMost(3),
            max_inbound: Limit::AtMost(3),
            priorities,
            ..one_place()
        };
        let mut bench = Bench::new(config);
        for peer in [1, 2, 3] {
            bench.up_to(id(peer));
        }
        bench.know(&[id(7), id(8), id(9)]);
        assert_eq!(std::iter::from_fn(|| bench.dial()).count(), slots);
        assert_eq!(bench.manager.counts().upgrades, slots);
    }
}
