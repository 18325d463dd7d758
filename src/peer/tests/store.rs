//! Configuration, the store, restarts, and what is told to others.

use super::*;

fn refusal(change: impl FnOnce(&mut Config)) -> ConfigError {
    let mut config = quick();
    change(&mut config);
    config.validate().unwrap_err()
}

#[test]
fn the_defaults_and_every_boundary_are_valid() {
    assert_eq!(Config::new(id(SELF)).validate(), Ok(()));
    let mut config = quick();
    config.max_outbound = Limit::AtMost(1);
    config.max_inbound = Limit::AtMost(1);
    config.upgrade_slots = 1;
    config.persistent = [id(1)].into();
    config.max_peers = 4;
    config.backoff.max = config.backoff.min;
    config.backoff.max_persistent = config.backoff.min;
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn a_refused_configuration_names_the_field() {
    use ConfigError::{Below, NamesSelf, StoreTooSmall, TooLong, TooManyPersistent, Zero};
    let two = || [id(1), id(2)].into();
    let persistent = refusal(|config| {
        (config.persistent, config.max_outbound, config.upgrade_slots) = (two(), Limit::AtMost(1), 5);
    });
    assert_eq!(persistent, TooManyPersistent { persistent: 2, max_outbound: 1 });
    assert!(matches!(refusal(|config| config.max_peers = 49), StoreTooSmall { needed: 50, .. }));
    assert_eq!(refusal(|config| config.max_peers = 0), Zero { field: "max_peers" });
    assert_eq!(refusal(|config| config.backoff.min = ms(0)), Zero { field: "backoff.min" });
    assert_eq!(refusal(|config| config.forget_after = Limit::AtMost(0)), Zero { field: "forget_after" });
    let below = |field| Below { field, than: "backoff.min" };
    assert_eq!(refusal(|config| config.backoff.max = ms(99)), below("backoff.max"));
    assert_eq!(refusal(|config| config.backoff.max_persistent = ms(99)), below("backoff.max_persistent"));
    assert_eq!(refusal(|config| config.cooldown = Duration::MAX), TooLong { field: "cooldown" });
    let names_self = refusal(|config| config.persistent = [id(SELF)].into());
    assert_eq!(names_self, NamesSelf { field: "persistent" });
    let foreign = refusal(|config| config.own_addresses = vec![address(id(1))]);
    assert!(matches!(foreign, ConfigError::ForeignAddress { .. }));
}

#[test]
fn addresses_merge_repeats_change_nothing_and_our_own_is_refused() {
    let mut bench = Bench::new(quick());
    assert_eq!(bench.add(address_at(id(1), 1)), Ok(true));
    assert_eq!(bench.add(address_at(id(1), 2)), Ok(true));
    let before = bench.manager.clone();
    assert_eq!(bench.add(address_at(id(1), 1)), Ok(false));
    assert_eq!(bench.add(address(id(SELF))), Err(AddError::SelfAddress));
    assert_eq!(bench.manager, before);
    assert_eq!(bench.manager.addresses(&id(1)).count(), 2);
}

#[test]
fn a_full_list_gives_up_only_an_address_that_failed() {
    let mut bench = Bench::new(Config { max_addresses_per_peer: 1, ..quick() });
    bench.know(&[id(1)]);
    assert_eq!(bench.add(address_at(id(1), 1)), Err(AddError::TooManyAddresses));
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &refused()), Report::Applied);
    assert_eq!(bench.add(address_at(id(1), 1)), Ok(true));
    assert!(bench.manager.addresses(&id(1)).eq([address_at(id(1), 1)]));
}

fn small(max_peers: usize) -> Config {
    Config { max_peers, max_outbound: Limit::AtMost(1), max_inbound: Limit::AtMost(1), ..quick() }
}

#[test]
fn a_full_store_gives_up_its_worst_idle_peer_for_a_better_one() {
    let config = Config { priorities: [(id(1), 5), (id(2), 1), (id(4), 1)].into(), ..small(2) };
    let config = Config { persistent: [id(3)].into(), ..config };
    let mut bench = Bench::new(config);
    bench.know(&[id(1), id(2)]);
    assert_eq!(bench.add(address(id(7))), Err(AddError::StoreFull));
    assert_eq!(bench.add(address(id(3))), Ok(true));
    assert!(!bench.manager.knows(&id(2)) && bench.manager.knows(&id(1)));
    assert!(bench.stored.keys().all(|peer| bench.manager.knows(peer)) && bench.stored.len() == 2);
}

#[test]
fn pruning_spares_connected_dialling_and_persistent_peers() {
    let config = Config { persistent: [id(3)].into(), priorities: [(id(9), 200)].into(), ..small(3) };
    let mut bench = Bench::new(config);
    bench.accept(id(1)).unwrap();
    bench.know(&[id(2)]);
    bench.dial_to(id(2));
    bench.know(&[id(3)]);
    assert_eq!(bench.add(address(id(9))), Err(AddError::StoreFull));
    assert!([1, 2, 3].iter().all(|peer| bench.manager.knows(&id(*peer))));
}

#[test]
fn peers_and_failures_survive_a_restart_and_classes_follow_the_new_configuration() {
    let mut bench = Bench::new(Config { priorities: [(id(1), 9)].into(), ..quick() });
    bench.know(&[id(1), id(2)]);
    for peer in [1, 2] {
        assert_eq!(bench.add(address_at(id(peer), 4)), Ok(true));
    }
    let conn = bench.dial_to(id(1));
    assert_eq!(bench.dial_failed(conn, &incompatible()), Report::Applied);
    let stored: Vec<PeerRecord> = bench.stored.values().cloned().collect();
    let mut bench = Bench::restart(Config { priorities: [(id(2), 9)].into(), ..quick() }, stored.clone());
    assert_eq!(bench.stored.values().cloned().collect::<Vec<_>>(), stored);
    bench.dial_to(id(2));
    assert_eq!(bench.dial(), None, "it is still of another network");
    bench.advance(ms(60_000));
    bench.dial_to(id(1));
}

#[test]
fn a_bad_row_does_not_stop_the_start() {
    let row = |peer: NodeId, address: NodeAddress| PeerRecord {
        id: peer,
        ..PeerRecord::new(address, Source::Discovery)
    };
    let rows = vec![
        row(id(SELF), address(id(SELF))),
        row(id(1), address(id(2))),
        row(id(3), address(id(3))),
        row(id(3), address(id(3))),
    ];
    let mut bench = Bench::restart(quick(), rows);
    assert_eq!(bench.manager.skipped_records(), 3);
    bench.act(|_, _| ());
    assert!(!bench.stored.contains_key(&id(SELF)) && !bench.stored.contains_key(&id(1)));
    assert_eq!(bench.manager.counts().stored, 1);
    bench.dial_to(id(3));
}

#[test]
fn of_two_records_of_one_peer_the_first_counts_and_the_second_takes_no_room() {
    let mut config = quick();
    config.groups.max_stored = Limit::AtMost(2);
    let record = |peer, host| PeerRecord::new(address_at(id(peer), host), Source::Discovery);
    let second = PeerRecord { failures: 9, ..record(1, 5) };
    let mut bench = Bench::restart(config, vec![record(1, 1), second]);
    assert_eq!(bench.manager.skipped_records(), 1);
    let kept = bench.manager.record(&id(1)).unwrap();
    assert_eq!((kept.failures, kept.addresses), (0, record(1, 1).addresses));
    assert_eq!(bench.add(address(id(2))), Ok(true));
    assert_eq!(bench.add(address(id(3))), Err(AddError::GroupFull));
    bench.manager.check_invariants().unwrap();
}

#[test]
fn of_too_many_records_the_worst_are_given_up_whatever_their_order() {
    let config = Config {
        max_peers: 3,
        max_outbound: Limit::AtMost(1),
        max_inbound: Limit::AtMost(0),
        priorities: [(id(1), 1)].into(),
        seeds: crate::peer::SeedConfig { peers: [id(6)].into(), ..Default::default() },
        ..quick()
    };
    let record = |peer, failures| {
        let record = PeerRecord::new(address(id(peer)), Source::Discovery);
        PeerRecord { failures, ..record }
    };
    let records = [record(1, 2), record(2, 1), record(3, 0), record(4, 0), record(5, 3), record(6, 7)];
    let mut kept = Vec::new();
    for turn in 0..records.len() {
        let mut records = records.to_vec();
        records.rotate_left(turn);
        let mut bench = Bench::restart(config.clone(), records);
        assert_eq!((bench.manager.skipped_records(), bench.manager.counts().stored), (3, 3));
        bench.manager.check_invariants().unwrap();
        bench.act(|_, _| ());
        kept.push(bench.stored.keys().copied().collect::<Vec<NodeId>>());
    }
    assert!(kept.windows(2).all(|pair| pair[0] == pair[1]), "{kept:?}");
    assert!([id(1), id(6)].iter().all(|best| kept[0].contains(best)), "the operator's");
    assert!(kept[0].contains(&id(3)) != kept[0].contains(&id(4)), "who failed least");
}

#[test]
fn a_stranger_is_told_everything_and_a_peer_all_but_its_own() {
    let mut bench = Bench::new(quick());
    for (peer, host) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)] {
        assert_eq!(bench.add(address_at(id(peer), host)), Ok(true));
    }
    assert_eq!(bench.manager.advertise(None, 100).len(), 6);
    let told = bench.manager.advertise(Some(id(1)), 100);
    assert_eq!(told.len(), 4);
    assert!(told.iter().all(|address| address.id() != id(1)));
    assert_eq!(bench.manager.advertise(None, 0), []);
    assert_eq!(bench.manager.advertise(Some(id(1)), 100), told, "asking again tells nothing more");
}

#[test]
fn the_best_classes_are_told_first() {
    let mut bench = Bench::new(Config { priorities: [(id(1), 1), (id(2), 2), (id(3), 3)].into(), ..quick() });
    bench.know(&[id(1), id(2), id(3)]);
    assert_eq!(bench.manager.advertise(Some(id(9)), 2), [address(id(3)), address(id(2))]);
}

#[test]
fn our_own_address_is_told_even_with_an_empty_store() {
    let bench = Bench::new(Config { own_addresses: vec![address(id(SELF))], ..quick() });
    assert_eq!(bench.manager.advertise(None, 5), [address(id(SELF))]);
}

#[test]
fn private_peers_and_addresses_of_a_narrower_scope_are_not_told() {
    let near = |peer| NodeAddress::rlpx(peer, SocketAddr::from(([10, 0, 0, 1], 1)));
    let mut bench = Bench::new(Config { private: [id(1)].into(), ..quick() });
    bench.know(&[id(1)]);
    assert_eq!(bench.add(near(id(2))), Ok(true));
    assert_eq!(bench.add(near(id(3))), Ok(true));
    assert_eq!(bench.manager.advertise(None, 9), []);
    assert_eq!(bench.manager.advertise(Some(id(3)), 9), [near(id(2))], "on the same kind of network");
    bench.accept(id(3)).unwrap();
    assert_eq!(bench.manager.advertise(Some(id(3)), 9), [], "it called from a public address");
}
