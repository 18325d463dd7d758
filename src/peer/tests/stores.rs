//! What the store takes up, and what it gives up for that.

use super::*;

fn gossip(from: u64) -> Source {
    Source::Gossip { from: id(from) }
}

#[test]
fn a_group_has_so_many_addresses_stored_beside_those_of_the_operator() {
    let mut config = quick();
    config.groups.max_stored = Limit::AtMost(2);
    let mut bench = Bench::new(config);
    bench.know(&[id(1), id(2)]);
    assert_eq!(bench.add(address(id(3))), Err(AddError::GroupFull));
    assert_eq!(bench.add_from(address(id(3)), gossip(9)), Err(AddError::GroupFull));
    assert_eq!(bench.add(at(id(3), [8, 8, 9, 8])), Ok(true), "another group");
    assert_eq!(bench.add(at(id(3), [10, 8, 9, 8])), Ok(true), "no group at all");
    assert_eq!(bench.add_from(address(id(4)), Source::Operator), Ok(true));
}

#[test]
fn a_forgotten_address_makes_room_in_its_group_and_at_its_source() {
    let mut config = Config { forget_after: Limit::AtMost(1), ..quick() };
    config.groups.max_stored = Limit::AtMost(1);
    config.max_addresses_per_source = Limit::AtMost(1);
    let mut bench = Bench::new(config);
    assert_eq!(bench.add_from(address(id(1)), gossip(9)), Ok(true));
    assert_eq!(bench.add_from(address(id(2)), gossip(8)), Err(AddError::GroupFull));
    assert_eq!(bench.add_from(at(id(2), [7, 7, 7, 7]), gossip(9)), Err(AddError::SourceFull));
    bench.accept(id(5)).unwrap();
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    assert!(!bench.manager.knows(&id(1)));
    assert_eq!(bench.add_from(address(id(2)), gossip(9)), Ok(true));
}

#[test]
fn a_source_of_gossip_has_so_many_addresses_stored_and_others_are_not_bound_by_that() {
    let mut bench = Bench::new(Config { max_addresses_per_source: Limit::AtMost(2), ..quick() });
    for peer in [1, 2] {
        assert_eq!(bench.add_from(address(id(peer)), gossip(9)), Ok(true));
    }
    assert_eq!(bench.add_from(address(id(3)), gossip(9)), Err(AddError::SourceFull));
    assert_eq!(bench.add_from(address(id(3)), gossip(8)), Ok(true));
    assert_eq!(bench.add_from(address(id(4)), Source::Discovery), Ok(true));
    assert_eq!(bench.add_from(address(id(5)), Source::Operator), Ok(true));
    assert_eq!(bench.add_from(address(id(3)), gossip(9)), Ok(false), "known already, whoever told it");
}

#[test]
fn an_address_is_refused_for_the_first_reason_in_the_stated_order() {
    let mut config = Config {
        max_addresses_per_peer: 1,
        max_addresses_per_source: Limit::AtMost(1),
        max_peers: 2,
        max_outbound: Limit::AtMost(1),
        max_inbound: Limit::AtMost(1),
        ..quick()
    };
    config.groups.max_stored = Limit::AtMost(1);
    let mut bench = Bench::new(config);
    bench.ban(prefix("8.8.8.0/24"), None).unwrap();
    assert_eq!(bench.add(address(id(SELF))), Err(AddError::SelfAddress));
    assert_eq!(bench.add(address(id(1))), Err(AddError::Banned));
    bench.unban(prefix("8.8.8.0/24"));
    assert_eq!(bench.add_from(address(id(1)), gossip(9)), Ok(true));
    assert_eq!(bench.add_from(address_at(id(1), 9), gossip(9)), Err(AddError::TooManyAddresses));
    assert_eq!(bench.add_from(address(id(2)), gossip(9)), Err(AddError::GroupFull));
    assert_eq!(bench.add_from(at(id(2), [7, 7, 7, 7]), Source::Discovery), Ok(true));
    bench.dial().unwrap();
    bench.accept(id(1)).or_else(|_| bench.accept(id(2))).unwrap();
    assert_eq!(bench.add_from(at(id(3), [6, 6, 6, 6]), gossip(9)), Err(AddError::SourceFull));
    let full = bench.add_from(at(id(3), [6, 6, 6, 6]), gossip(8));
    assert!(full.is_err() || full == Ok(true));
}

#[test]
fn an_address_gives_way_that_failed_most_the_latest_of_those_but_none_of_the_operator() {
    let mut bench = Bench::new(Config { max_addresses_per_peer: 3, ..quick() });
    assert_eq!(bench.add_from(address_at(id(1), 1), Source::Operator), Ok(true));
    for host in [2, 3] {
        assert_eq!(bench.add(address_at(id(1), host)), Ok(true));
    }
    for _ in 0..3 {
        let dial = bench.dial().unwrap();
        assert_eq!(bench.dial_failed(dial.conn, &refused()), Report::Applied);
    }
    assert_eq!(bench.add(address_at(id(1), 4)), Ok(true));
    let hosts = [1, 2, 4].map(|host| address_at(id(1), host));
    assert!(bench.manager.addresses(&id(1)).eq(hosts), "the latest of those that failed once");
    assert_eq!(bench.add(address_at(id(1), 5)), Ok(true));
    assert_eq!(
        bench.add(address_at(id(1), 6)),
        Err(AddError::TooManyAddresses),
        "only the operator's failed"
    );
}

#[test]
fn a_full_store_drops_the_less_meritorious_then_who_failed_more_and_anybody_for_a_kept_one() {
    let config = Config {
        max_peers: 3,
        max_outbound: Limit::AtMost(1),
        max_inbound: Limit::AtMost(0),
        priorities: [(id(1), 1)].into(),
        ..quick()
    };
    let mut bench = Bench::new(config);
    bench.know(&[id(1), id(2), id(3)]);
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    let failed = bench.dial().unwrap();
    assert_eq!(bench.dial_failed(failed.conn, &refused()), Report::Applied);
    assert_eq!(bench.add(address(id(4))), Ok(true));
    assert!(!bench.manager.knows(&failed.address.id()), "of one merit, who failed more");
    assert!(bench.manager.knows(&id(1)), "failures count less than merit");
    bench.member(PeerSet::Seeds, id(5), true);
    assert_eq!(bench.add(address(id(5))), Ok(true), "a kept one is always better");
    bench.member(PeerSet::Seeds, id(6), true);
    assert_eq!(bench.manager.counts().stored, 3);
}

#[test]
fn a_full_store_keeps_whom_it_reached_however_many_it_is_told_of() {
    let config = Config {
        max_peers: 8,
        max_addresses_per_source: Limit::Unlimited,
        max_outbound: Limit::AtMost(2),
        max_inbound: Limit::AtMost(2),
        ..quick()
    };
    let mut bench = Bench::new(config);
    let conns = [1, 2].map(|reached| bench.up_to(id(reached)));
    conns.into_iter().for_each(|conn| bench.part(conn));
    // Both are away for a while.
    bench.advance(ms(60_000));
    for _ in 0..2 {
        let dial = bench.dial().unwrap();
        assert_eq!(bench.dial_failed(dial.conn, &refused()), Report::Applied);
    }
    for told in 10..200 {
        let _ = bench.add_from(address(id(told)), Source::Gossip { from: id(2) });
    }
    assert_eq!(bench.manager.counts().stored, 8);
    assert!(bench.manager.knows(&id(1)) && bench.manager.knows(&id(2)), "anybody can tell of any number");
}

#[test]
fn between_equals_the_drawn_order_decides_who_stays_whoever_came_first() {
    let config =
        Config { max_peers: 2, max_outbound: Limit::AtMost(1), max_inbound: Limit::AtMost(1), ..quick() };
    let mut orders = Vec::new();
    for turn in 0..4 {
        let mut bench = Bench::new(config.clone());
        let mut peers = [1, 2, 3, 4];
        peers.rotate_left(turn);
        for peer in peers {
            let _ = bench.add(address(id(peer)));
        }
        let stored: Vec<NodeId> = bench.stored.keys().copied().collect();
        assert_eq!(stored.len(), 2);
        orders.push(stored);
    }
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]), "{orders:?}");
}

#[test]
fn an_operators_new_address_ends_every_hold_but_a_cooldown() {
    let mut bench = Bench::new(Config { cooldown: ms(500), ..quick() });
    let conn = bench.up_to(id(1));
    bench.part(conn);
    assert_eq!(bench.add_from(address_at(id(1), 7), Source::Operator), Ok(true));
    assert_eq!(bench.dial(), None);
    bench.advance(ms(500));
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &incompatible()), Report::Applied);
    assert_eq!(bench.add_from(address_at(id(1), 7), Source::Operator), Ok(false));
    assert_eq!(bench.dial(), None, "an address that is known is no news");
    assert_eq!(bench.add_from(address_at(id(1), 6), Source::Operator), Ok(true));
    bench.dial_to(id(1));
}

#[test]
fn a_restart_under_lower_limits_keeps_to_them_within_one_record_too() {
    let mut bench = Bench::new(quick());
    for host in [1, 2, 3] {
        assert_eq!(bench.add_from(address_at(id(1), host), gossip(9)), Ok(true));
    }
    let stored: Vec<PeerRecord> = bench.stored.values().cloned().collect();
    let mut config = quick();
    config.groups.max_stored = Limit::AtMost(2);
    let restarted = Bench::restart(config, stored.clone());
    assert_eq!(restarted.manager.addresses(&id(1)).count(), 2);
    let config = Config { max_addresses_per_source: Limit::AtMost(1), ..quick() };
    let restarted = Bench::restart(config, stored);
    assert_eq!(restarted.manager.addresses(&id(1)).count(), 1);
}
