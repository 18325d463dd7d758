//! What an attacker tries.

use super::*;
use crate::peer::parking::MAX_RELEASED;

fn gossip(from: u64) -> Source {
    Source::Gossip { from: id(from) }
}

#[test]
fn an_address_that_gossip_named_first_and_then_the_operator_gives_way_to_nobody() {
    let mut config = quick();
    config.max_addresses_per_peer = 2;
    config.persistent = [id(1)].into();
    let mut bench = Bench::new(config);
    let real = at(id(1), [8, 8, 8, 1]);
    assert_eq!(bench.add_from(real.clone(), gossip(9)), Ok(true));
    assert_eq!(bench.add_from(real.clone(), Source::Operator), Ok(false));
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    for host in 2..9 {
        let _ = bench.add_from(at(id(1), [8, 8, 8, host]), gossip(9));
    }
    assert!(bench.manager.addresses(&id(1)).any(|known| known == real), "the operator's address is gone");
    assert_eq!(bench.stored[&id(1)].addresses[0].source, Source::Operator);
}

#[test]
fn what_the_operator_names_counts_towards_no_source_and_no_group_any_longer() {
    let mut config = quick();
    config.groups.max_stored = Limit::AtMost(1);
    config.max_addresses_per_source = Limit::AtMost(1);
    let mut bench = Bench::new(config);
    assert_eq!(bench.add_from(at(id(1), [8, 8, 8, 1]), gossip(9)), Ok(true));
    assert_eq!(bench.add_from(at(id(1), [8, 8, 8, 1]), Source::Operator), Ok(false));
    assert_eq!(bench.add_from(at(id(2), [8, 8, 8, 2]), gossip(9)), Ok(true));
    assert_eq!(bench.add_from(at(id(2), [8, 8, 8, 2]), Source::Discovery), Ok(false));
    assert_eq!(bench.add_from(at(id(3), [8, 8, 9, 3]), gossip(9)), Err(AddError::SourceFull));
    assert_eq!(bench.add_from(at(id(3), [8, 8, 8, 3]), Source::Discovery), Err(AddError::GroupFull));
}

#[test]
fn one_old_connection_of_a_great_class_does_not_keep_all_others_from_giving_way_for_age() {
    let mut config = quick();
    config.max_inbound = Limit::AtMost(2);
    config.upgrade_slots = 1;
    config.inbound_max_age = Some(ms(1_000));
    config.priorities = [(id(1), 9)].into();
    let mut bench = Bench::new(config);
    bench.accept(id(1)).unwrap();
    bench.pass(ms(10));
    let second = bench.accept(id(2)).unwrap();
    bench.pass(ms(995));
    assert_eq!(bench.accept(id(3)), Err(Reject::TooManyPeers), "nobody it may displace is old enough");
    bench.pass(ms(10));
    bench.accept(id(3)).unwrap();
    let eviction = bench.evict().unwrap();
    assert_eq!((eviction.conn, eviction.why), (second, EvictReason::Age));
}

#[test]
fn calling_in_does_not_free_the_address_group_of_an_outbound_slot() {
    let mut config = quick();
    config.max_inbound = Limit::AtMost(1);
    config.upgrade_slots = 1;
    config.groups.max_outbound = Limit::AtMost(1);
    let mut bench = Bench::new(config);
    bench.accept(lesser(0)).unwrap();
    let (one, two) = (greater(0), greater(1));
    bench.add(at(one, [8, 8, 8, 1])).unwrap();
    bench.add(at(two, [8, 8, 8, 2])).unwrap();
    let dial = bench.dial().unwrap();
    bench.dialed(dial.conn).unwrap();
    assert_eq!(bench.dial(), None, "the group is full");
    bench.accept(dial.address.id()).unwrap();
    assert_eq!(bench.manager.counts().outbound, 1, "it took over the slot of the dial");
    assert_eq!(bench.dial(), None, "the group is full still");
}

#[test]
fn strangers_that_misbehaved_a_little_push_nobody_with_an_address_out_of_the_store() {
    let mut config = quick();
    config.max_inbound = Limit::AtMost(2);
    config.max_outbound = Limit::AtMost(2);
    config.max_peers = 10;
    let mut bench = Bench::new(config);
    let honest: Vec<NodeId> = (1..10).map(id).collect();
    bench.know(&honest);
    for stranger in 100..140 {
        let conn = bench.accept(id(stranger)).unwrap();
        bench.measured(conn, ms(1));
        assert_eq!(bench.reported(conn, Misbehaviour::OverQuota, 1), Report::Applied);
        bench.leave(conn);
    }
    let left = honest.iter().filter(|peer| bench.manager.knows(peer)).count();
    assert_eq!(left, honest.len());
}

#[test]
fn bad_points_without_end_are_forgiven_as_soon_as_all_bad_points_there_are() {
    let mut config = quick();
    config.persistent = [id(1)].into();
    let mut bench = Bench::new(config);
    let conn = bench.up_to(id(1));
    assert_eq!(bench.reported(conn, Misbehaviour::OverQuota, u32::MAX), Report::Applied);
    let eviction = bench.carry_out();
    assert_eq!(eviction.why, EvictReason::Misbehaved);
    bench.pass(Duration::from_secs(3600));
    let conn = bench.connect_to(id(1));
    assert_eq!(bench.reported(conn, Misbehaviour::OverQuota, 1), Report::Applied);
    assert_eq!(bench.evict(), None, "an hour forgives all there can be");
}

#[test]
fn the_end_of_a_ban_of_everybody_puts_so_many_back_into_the_line_in_each_input() {
    let mut config = Config { max_peers: 10_000, ..quick() };
    config.groups.max_outbound = Limit::Unlimited;
    let mut bench = Bench::new(config);
    let (now, peers) = (bench.now, 2 * MAX_RELEASED + 10);
    for (nth, host) in (0..peers).zip(0x0900_0000_u32..) {
        let ip = std::net::Ipv4Addr::from_bits(host << 8 >> 8 | 0x0900_0000).octets();
        let known = at(id(1_000 + nth as u64), [ip[0], ip[2], ip[3], 1]);
        assert_eq!(bench.manager.add(&known, Source::Discovery, now), Ok(true));
    }
    bench.manager.ban(prefix("9.0.0.0/8"), None, "test", now).unwrap();
    for _ in 0..3 {
        assert_eq!(bench.manager.next_wakeup().map(|wakeup| wakeup.at), Some(now), "there is more to park");
        assert_eq!(bench.manager.try_dial_next(now), None);
    }
    let parked = |bench: &Bench| (bench.manager.index.parked.len(), bench.manager.next_wakeup().is_some());
    assert_eq!(parked(&bench), (peers, false));
    bench.manager.check_invariants().unwrap();
    assert!(bench.manager.unban(&prefix("9.0.0.0/8"), now));
    assert_eq!(parked(&bench), (peers - MAX_RELEASED, true));
    bench.manager.check_invariants().unwrap();
    bench.manager.advance(now);
    assert_eq!(parked(&bench), (peers - 2 * MAX_RELEASED, true));
    bench.manager.ban(prefix("9.0.0.0/8"), None, "again", now).unwrap();
    assert_eq!(parked(&bench).0, 0);
    bench.manager.check_invariants().unwrap();
    assert!(bench.manager.lifted.len() <= 1);
    bench.manager.advance(now);
    assert!(bench.manager.lifted.is_empty());
}

#[test]
fn whoever_has_too_many_peers_again_and_again_is_not_forgotten_for_it() {
    let mut bench = Bench::new(Config { forget_after: Limit::AtMost(2), ..quick() });
    bench.accept(id(9)).unwrap();
    bench.know(&[id(1)]);
    for _ in 0..4 {
        let conn = bench.dial_to(id(1));
        let full = Closed::remote(DisconnectReason::TooManyPeers);
        assert_eq!(bench.dial_failed(conn, &full), Report::Applied);
        assert!(bench.manager.knows(&id(1)));
        bench.advance(ms(60_000));
    }
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    assert!(!bench.manager.knows(&id(1)), "now it does not answer");
}

#[test]
fn an_outage_of_our_own_network_empties_no_store() {
    let mut bench = Bench::new(Config { forget_after: Limit::AtMost(2), ..quick() });
    bench.know(&[id(2)]);
    let conn = bench.connect_to(id(2));
    bench.leave(conn);
    bench.know(&[id(1)]);
    for _ in 0..20 {
        while let Some(dial) = bench.dial() {
            assert_eq!(bench.dial_failed(dial.conn, &refused()), Report::Applied);
        }
        bench.advance(ms(1_000));
    }
    assert_eq!(bench.stored.len(), 2);
    // Somebody is there again: whoever does not answer now is at fault for that.
    bench.accept(id(3)).unwrap();
    while let Some(dial) = bench.dial() {
        assert_eq!(bench.dial_failed(dial.conn, &refused()), Report::Applied);
    }
    assert_eq!(bench.stored.len(), 0);
}

#[test]
fn a_table_full_of_automatic_bans_takes_the_operators() {
    let mut config = quick();
    config.max_bans = 2;
    config.behaviour.ban_for = Some(ms(1_000));
    let mut bench = Bench::new(config);
    for peer in [1, 2] {
        bench.advance(ms(1));
        let conn = bench.accept(id(peer)).unwrap();
        assert_eq!(bench.reported(conn, Misbehaviour::Breach, 1), Report::Applied);
    }
    for peer in [3, 4] {
        assert!(bench.ban(BanTarget::Peer(id(peer)), None).is_ok());
    }
    assert_eq!(bench.ban(BanTarget::Peer(id(5)), None), Err(BanError::TooMany { max_bans: 2 }));
    let mut left: Vec<_> = bench.manager.bans().map(|ban| ban.target).collect();
    left.sort();
    let mut operators = [id(3), id(4)].map(BanTarget::Peer);
    operators.sort();
    assert_eq!(left, operators);
    assert_eq!(bench.banned.len(), 2);
}

#[test]
fn an_address_that_we_are_connected_to_is_told_whatever_befell_dials_before() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    assert_eq!(bench.manager.advertise(None, 9), [], "the last dial to it failed");
    bench.pass(ms(100));
    let conn = bench.connect_to(id(1));
    assert_eq!(bench.manager.advertise(None, 9), [address(id(1))], "the last dial to it did not fail");
    assert_eq!(bench.disconnected(conn, &refused()), Report::Applied);
    assert_eq!(bench.manager.advertise(None, 9), [], "that connection did not live");
}

#[test]
fn a_connection_that_lived_clears_its_address_also_when_another_replaces_it() {
    let mut bench = Bench::new(quick());
    let peer = greater(0);
    bench.know(&[peer]);
    let conn = bench.dial_to(peer);
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    bench.pass(ms(100));
    let first = bench.connect_to(peer);
    bench.pass(ms(1_000));
    let conn = bench.incoming().unwrap();
    assert_eq!(bench.accepted(conn, peer), Ok(Admitted { replaces: Some(first) }));
    let record = bench.manager.record(&peer).unwrap();
    assert_eq!((record.failures, record.addresses[0].failures), (0, 0));
    assert_eq!(bench.stored[&peer], record);
}
