//! What each set of the operator does.

use super::*;

fn seeds(peers: &[NodeId]) -> SeedConfig {
    SeedConfig { peers: peers.iter().copied().collect(), stay: ms(300), rest: ms(5_000), mode: None }
}

#[test]
fn a_priority_outranks_the_class_that_being_persistent_gives() {
    let config = Config {
        persistent: [id(1), id(3)].into(),
        priorities: [(id(1), 3), (id(2), 254)].into(),
        ..quick()
    };
    let mut bench = Bench::new(config);
    bench.know(&[id(1), id(2), id(3), id(4)]);
    for peer in [3, 2, 1, 4] {
        bench.dial_to(id(peer));
    }
}

#[test]
fn an_unconditional_peer_goes_before_every_class() {
    let config = Config { unconditional: [id(1)].into(), priorities: [(id(2), 255)].into(), ..quick() };
    let mut bench = Bench::new(config);
    bench.know(&[id(1), id(2)]);
    bench.dial_to(id(1));
}

#[test]
fn an_unconditional_peer_knows_no_prefix_ban_and_no_group_limit() {
    let mut config = Config { unconditional: [id(1), id(2)].into(), ..quick() };
    config.groups.max_outbound = Limit::AtMost(0);
    let mut bench = Bench::new(config);
    assert!(bench.ban(prefix("8.0.0.0/8"), None).is_ok() && bench.ban(prefix("9.0.0.0/8"), None).is_ok());
    bench.know(&[id(1)]);
    assert_eq!(bench.add(address(id(5))), Err(AddError::Banned));
    bench.connect_to(id(1));
    bench.accept(id(2)).unwrap();
    assert_eq!(bench.accept(id(3)), Err(Reject::Banned));
    assert_eq!(bench.evict(), None);
}

#[test]
fn connections_of_unconditional_peers_count_towards_no_group() {
    let mut config = Config { unconditional: [id(1)].into(), ..quick() };
    config.groups.max_outbound = Limit::AtMost(1);
    let mut bench = Bench::new(config);
    bench.know(&[id(1), id(2)]);
    bench.connect_to(id(1));
    bench.dial_to(id(2));
}

#[test]
fn the_bad_points_of_a_trusted_peer_stop_below_the_limit() {
    let mut config = Config { trusted: [id(1)].into(), ..quick() };
    config.behaviour.ban_for = Some(ms(1_000));
    let mut bench = Bench::new(config);
    let conn = bench.up_to(id(1));
    assert_eq!(bench.reported(conn, Misbehaviour::Breach, 9), Report::Applied);
    assert!(matches!(bench.manager.status(&id(1)), Some(Status::Connected { bad_points: 50, .. })));
    assert_eq!((bench.evict(), bench.manager.bans().count()), (None, 0));
    assert_eq!(bench.grade(id(1)), -2);
}

#[test]
fn a_seed_is_dialled_when_nobody_else_can_be_and_let_go_after_its_stay() {
    let mut bench = Bench::new(Config { seeds: seeds(&[id(1)]), ..quick() });
    bench.know(&[id(1), id(2), id(3)]);
    let others = [bench.dial().unwrap(), bench.dial().unwrap()];
    assert!(others.iter().all(|dial| dial.address.id() != id(1)));
    let conn = bench.connect_to(id(1));
    bench.pass(ms(1_000));
    assert_eq!(bench.evict(), None, "its stay begins when it is up");
    assert_eq!(bench.ready(conn), Report::Applied);
    assert_eq!(bench.wakeup(), Some((ms(300), WakeReason::TimeIsUp(conn))));
    bench.advance(ms(299));
    assert_eq!(bench.evict(), None);
    bench.advance(ms(1));
    let eviction = bench.carry_out();
    assert_eq!((eviction.why, eviction.reason()), (EvictReason::SeedDone, DisconnectReason::Requested));
    let Some(Status::Idle { hold: Some(hold), .. }) = bench.manager.status(&id(1)) else { panic!() };
    assert_eq!((hold.why, hold.until - bench.now), (HoldReason::SeedRest, ms(5_000)));
    bench.advance(ms(4_999));
    assert_eq!(bench.dial(), None);
    bench.advance(ms(1));
    bench.dial_to(id(1));
}

#[test]
fn a_seed_rests_for_the_cooldown_if_that_is_longer() {
    let mut bench = Bench::new(Config { seeds: seeds(&[id(1)]), cooldown: ms(7_000), ..quick() });
    bench.up_to(id(1));
    bench.advance(ms(300));
    bench.carry_out();
    assert_eq!(bench.wakeup(), Some((ms(7_000), WakeReason::HoldEnds(id(1)))));
}

#[test]
fn a_seed_that_called_us_is_not_let_go() {
    let mut bench = Bench::new(Config { seeds: seeds(&[id(1)]), ..quick() });
    let conn = bench.accept(id(1)).unwrap();
    assert_eq!(bench.ready(conn), Report::Applied);
    bench.advance(ms(1_000_000));
    assert_eq!(bench.evict(), None);
}

#[test]
fn a_seed_that_is_persistent_or_unconditional_is_an_ordinary_peer() {
    for config in [
        Config { persistent: [id(1)].into(), ..quick() },
        Config { unconditional: [id(1)].into(), ..quick() },
    ] {
        let mut bench = Bench::new(Config { seeds: seeds(&[id(1)]), ..config });
        bench.know(&[id(1), id(2)]);
        let conn = bench.connect_to(id(1));
        assert_eq!(bench.ready(conn), Report::Applied);
        bench.advance(ms(1_000_000));
        assert_eq!(bench.evict(), None);
    }
}

#[test]
fn a_seed_takes_nobodys_place() {
    let config = Config {
        seeds: seeds(&[id(1)]),
        priorities: [(id(1), 200)].into(),
        max_outbound: Limit::AtMost(1),
        upgrade_slots: 1,
        rotate_every: Some(ms(10)),
        ..quick()
    };
    let mut bench = Bench::new(config);
    bench.up_to(id(2));
    bench.know(&[id(1)]);
    bench.advance(ms(1_000));
    assert_eq!(bench.dial(), None);
}

#[test]
fn a_seed_that_calls_takes_nobodys_place_whom_a_stranger_would_displace() {
    let mut config = Config { max_inbound: Limit::AtMost(1), upgrade_slots: 1, ..quick() };
    config.seeds = seeds(&[id(2)]);
    config.inbound_max_age = Some(ms(1_000));
    let mut bench = Bench::new(config);
    bench.accept(id(1)).unwrap();
    bench.advance(ms(1_000));
    assert_eq!(bench.accept(id(2)), Err(Reject::TooManyPeers));
    assert!(bench.accept(id(3)).is_ok());
}

#[test]
fn a_seed_is_neither_forgotten_nor_pruned() {
    let config = Config {
        seeds: seeds(&[id(1)]),
        forget_after: Limit::AtMost(1),
        max_peers: 3,
        max_outbound: Limit::AtMost(1),
        max_inbound: Limit::AtMost(1),
        ..quick()
    };
    let mut bench = Bench::new(config);
    bench.know(&[id(1)]);
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    bench.know(&[id(2), id(3)]);
    let _ = bench.add(address(id(4)));
    assert!(bench.manager.knows(&id(1)));
}

#[test]
fn a_node_that_is_a_seed_lets_everybody_go_but_the_protected() {
    let mut config = Config { persistent: [id(1)].into(), ..quick() };
    config.seeds.mode = Some(ms(1_000));
    let mut bench = Bench::new(config);
    bench.up_to(id(1));
    let called = bench.accept(id(2)).unwrap();
    bench.up_to(id(3));
    bench.advance(ms(999));
    assert_eq!(bench.evict(), None);
    assert_eq!(bench.manager.next_wakeup().map(|wakeup| wakeup.at - bench.now), Some(ms(1)));
    bench.advance(ms(1));
    let gone = [bench.carry_out(), bench.carry_out()];
    assert_eq!(gone.each_ref().map(|eviction| eviction.peer), [id(2), id(3)]);
    assert!(gone.iter().all(|eviction| eviction.why == EvictReason::SeedMode));
    assert_eq!((gone[0].conn, gone[0].reason()), (called, DisconnectReason::TooManyPeers));
    assert_eq!(bench.evict(), None);
}

#[test]
fn who_is_protected_when_the_time_is_up_decides_in_seed_mode() {
    let mut config = Config { persistent: [id(1)].into(), ..quick() };
    config.seeds.mode = Some(ms(1_000));
    let mut bench = Bench::new(config);
    bench.up_to(id(1));
    bench.up_to(id(2));
    bench.pass(ms(500));
    bench.member(PeerSet::Persistent, id(1), false);
    bench.member(PeerSet::Persistent, id(2), true);
    bench.pass(ms(500));
    assert_eq!(bench.carry_out().peer, id(1));
    assert_eq!(bench.evict(), None);
}
