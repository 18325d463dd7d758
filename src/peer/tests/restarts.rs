//! What outlives a restart, and what a wall's clock may do to it.

use super::*;

const START_MS: u64 = 1_700_000_000_000;

/// A manager on what another one left, whose wall's clock stands so many milliseconds from where it should.
fn restarted(bench: &Bench, config: Config, seed: u64, wall_ms: u64) -> PeerManager {
    let peers = bench.stored.values().cloned().map(Record::Peer);
    let records: Vec<Record> = peers.chain(bench.banned.values().cloned().map(Record::Ban)).collect();
    PeerManager::new(config, seed, epoch(), WallTime::from_unix_ms(wall_ms), records).unwrap()
}

/// A manager that has met with everything that is stored.
fn eventful() -> (Bench, Config) {
    let mut config = quick();
    config.behaviour.halves_every = ms(10_000);
    config.behaviour.ban_for = Some(ms(50_000));
    config.quotas = vec![
        Quota { wants: Want::Service("archive".to_owned()), at_least: 1 },
        Quota { wants: Want::Capability(ChannelId::from_static("snap")), at_least: 1 },
    ];
    config.seeds.peers = [id(7)].into();
    config.seeds.stay = ms(100);
    config.backoff.jitter = ms(50);
    let mut bench = Bench::new(config.clone());
    for peer in 1..=6 {
        let from = Source::Gossip { from: id(40 + peer) };
        assert_eq!(bench.add_from(address_at(id(peer), 1), from), Ok(true));
        assert_eq!(bench.add_from(address_at(id(peer), 2), Source::Operator), Ok(true));
    }
    let closes =
        [refused(), incompatible(), Closed::remote(DisconnectReason::TooManyPeers), parted(), breach()];
    for closed in closes {
        let dial = bench.dial().unwrap();
        assert_eq!(bench.dial_failed(dial.conn, &closed), Report::Applied);
        bench.pass(ms(3));
    }
    for (peer, good) in [(11, 25), (12, 0)] {
        bench.met(id(peer), "archive", good);
    }
    let conn = bench.accept(id(6)).unwrap();
    assert_eq!(bench.ready(conn), Report::Applied);
    bench.measured(conn, Duration::from_micros(123_456));
    assert_eq!(bench.reported(conn, Misbehaviour::Nuisance, 4), Report::Applied);
    bench.pass(ms(1_234));
    bench.part(conn);
    let conn = bench.accept(id(5)).unwrap();
    assert_eq!(bench.reported(conn, Misbehaviour::Breach, 1), Report::Applied);
    bench.carry_out();
    bench.ban(prefix("7.0.0.0/8"), None).unwrap();
    bench.ban(BanTarget::Peer(id(33)), Some(ms(5_000))).unwrap();
    bench.pass(ms(1));
    (bench, config)
}

fn assert_same(old: &PeerManager, new: &PeerManager, peers: impl Iterator<Item = NodeId>) {
    for peer in peers {
        assert_eq!(old.record(&peer), new.record(&peer));
        assert_eq!(old.grade(&peer), new.grade(&peer));
        assert_eq!(old.why(&peer).to_string(), new.why(&peer).to_string());
    }
    assert!(old.bans().eq(new.bans()));
}

#[test]
fn a_restored_manager_equals_the_old_one_in_all_that_persists() {
    let (bench, config) = eventful();
    let elapsed = u64::try_from(bench.now.duration_since(bench.began).as_millis()).unwrap();
    let restored = restarted(&bench, config, 1, START_MS + elapsed);
    assert_eq!((restored.skipped_records(), restored.counts().stored), (0, bench.stored.len()));
    restored.check_invariants().unwrap();
    assert_same(&bench.manager, &restored, bench.stored.keys().copied());
    let holds = bench.stored.values().filter(|record| record.hold.is_some()).count();
    let points = bench.stored.values().filter(|record| record.standing.bad.is_some()).count();
    assert!(holds > 2 && points > 1 && bench.banned.len() == 3, "the case says something");
}

#[test]
fn nothing_that_is_stored_is_written_again_by_a_restart() {
    let (bench, config) = eventful();
    let mut restored = restarted(&bench, config, 1, START_MS);
    assert_eq!(restored.poll_output(), None);
}

/// A peer under a hold of 100 ms with 40 bad points, and bans of 400 ms and without an end.
fn held() -> (Bench, Config) {
    let mut config = quick();
    config.behaviour.halves_every = ms(1_000);
    let mut bench = Bench::new(config.clone());
    let conn = bench.up_to(id(1));
    assert_eq!(bench.reported(conn, Misbehaviour::Nuisance, 4), Report::Applied);
    assert_eq!(bench.disconnected(conn, &breach()), Report::Applied);
    bench.ban(BanTarget::Peer(id(2)), Some(ms(400))).unwrap();
    bench.ban(BanTarget::Peer(id(3)), None).unwrap();
    (bench, config)
}

/// What is left of the hold, the points and the timed ban after a restart with the wall's clock at `wall_ms`.
fn left(wall_ms: u64) -> (u64, u32, u64) {
    let (bench, config) = held();
    let restored = restarted(&bench, config, 1, wall_ms);
    let ends = |until: WallTime| until.as_unix_ms() - wall_ms;
    let record = restored.record(&id(1)).unwrap();
    let mut timed = restored.bans().filter_map(|ban| ban.until);
    assert!(restored.bans().any(|ban| ban.until.is_none()), "a ban without an end has none");
    let points = record.standing.bad.map_or(0, |bad| bad.points);
    (record.hold.map_or(0, |hold| ends(hold.until)), points, timed.next().map_or(0, ends))
}

#[test]
fn a_restart_takes_the_time_off_that_passed_on_the_wall() {
    assert_eq!(left(START_MS), (100, 40, 400));
    assert_eq!(left(START_MS + 99), (1, 40, 301));
    assert_eq!(left(START_MS + 100), (0, 40, 300));
    assert_eq!(left(START_MS + 399), (0, 40, 1));
    assert_eq!(left(START_MS + 400), (0, 40, 0));
    assert_eq!(left(START_MS + 999), (0, 40, 0));
    assert_eq!(left(START_MS + 1_000), (0, 20, 0));
}

#[test]
fn a_clock_that_went_back_holds_nobody_longer_than_the_policy_does() {
    let year_ms = u64::try_from(MAX_DURATION.as_millis()).unwrap();
    assert_eq!(left(START_MS - 50), (100, 40, 450));
    assert_eq!(left(START_MS - 3 * year_ms), (100, 40, year_ms), "a ban lasts a year at most");
    assert_eq!(left(0), (100, 40, year_ms));
}

#[test]
fn a_clock_that_went_far_forward_forgives_everything_but_what_has_no_end() {
    assert_eq!(left(u64::MAX), (0, 0, 0));
}

#[test]
fn a_ban_that_is_over_is_skipped_and_forgotten() {
    let (bench, config) = held();
    let mut restored = restarted(&bench, config, 1, START_MS + 400);
    assert_eq!(restored.skipped_records(), 1);
    assert_eq!(restored.poll_output(), Some(Output::Forget(RecordKey::Ban(BanTarget::Peer(id(2))))));
    assert_eq!(restored.poll_output(), None);
}

#[test]
fn three_peers_with_two_addresses_each_survive_under_the_classes_of_a_new_configuration() {
    let mut bench = Bench::new(Config { persistent: [id(1)].into(), ..quick() });
    for (peer, host) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)] {
        assert_eq!(bench.add(address_at(id(peer), host)), Ok(true));
    }
    let stored: Vec<_> = bench.stored.values().cloned().collect();
    let config = Config { persistent: [id(2)].into(), priorities: [(id(3), 7)].into(), ..quick() };
    let mut bench = Bench::restart(config, stored);
    assert!((1..=3).all(|peer| bench.manager.addresses(&id(peer)).count() == 2));
    for peer in [2, 3, 1] {
        bench.dial_to(id(peer));
    }
}

#[test]
fn a_node_that_took_the_identity_of_a_stored_peer_forgets_that_peer_alone() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1), id(2)]);
    let stored: Vec<_> = bench.stored.values().cloned().collect();
    let mut bench = Bench::restart(Config { self_id: id(1), ..quick() }, stored);
    bench.act(|_, _| ());
    assert!(!bench.manager.knows(&id(1)) && bench.manager.knows(&id(2)));
    assert!(bench.stored.keys().eq([&id(2)]));
}

#[test]
fn what_a_new_configuration_has_no_quota_for_is_offered_to_nobody() {
    let (bench, config) = eventful();
    let restored = restarted(&bench, Config { quotas: vec![], ..config }, 1, START_MS);
    assert_eq!(restored.record(&id(11)).unwrap().offers, Some(vec![]));
}

#[test]
fn an_automatic_ban_lasts_no_longer_after_a_restart_than_the_policy_bans() {
    let mut config = quick();
    config.behaviour.ban_for = Some(ms(50_000));
    let record = |peer, why| BanRecord { target: BanTarget::Peer(id(peer)), until: None, why };
    let far = WallTime::from_unix_ms(START_MS + 1_000_000_000);
    let records = [
        BanRecord { until: Some(far), ..record(1, BanReason::Misbehaved(Misbehaviour::Breach)) },
        record(2, BanReason::Misbehaved(Misbehaviour::Breach)),
        BanRecord { until: Some(far), ..record(3, BanReason::Operator("test".into())) },
    ];
    let wall = WallTime::from_unix_ms(START_MS);
    let restored =
        PeerManager::new(config.clone(), 1, epoch(), wall, records.clone().map(Record::Ban)).unwrap();
    let until = |manager: &PeerManager, peer| {
        manager.bans().find(|ban| ban.target == BanTarget::Peer(id(peer))).map(|ban| ban.until)
    };
    let most = WallTime::from_unix_ms(START_MS + 50_000);
    assert_eq!(until(&restored, 1), Some(Some(most)));
    assert_eq!(until(&restored, 2), Some(Some(most)));
    assert_eq!(until(&restored, 3), Some(Some(far)), "the operator's lasts as long as that one said");
    config.behaviour.ban_for = None;
    let restored = PeerManager::new(config, 1, epoch(), wall, records.map(Record::Ban)).unwrap();
    assert_eq!(until(&restored, 1), Some(Some(far)), "without a length in force nothing is taken off");
}

#[test]
fn restored_bad_points_stop_at_the_limit() {
    let mut config = quick();
    config.behaviour.halves_every = ms(1_000);
    let since = WallTime::from_unix_ms(START_MS);
    let mut record = PeerRecord::new(address(id(1)), Source::Operator);
    record.standing.bad = Some(PointsRecord { points: u32::MAX, since });
    let mut bench = Bench::restart(config, vec![record]);
    let points = |bench: &Bench| bench.manager.record(&id(1)).unwrap().standing.bad.map(|bad| bad.points);
    assert_eq!(points(&bench), Some(100));
    bench.pass(ms(7_000));
    assert_eq!(points(&bench), None, "forgiven as soon as anybody's");
}

#[test]
fn of_too_many_bans_the_operators_stay_and_the_automatic_ones_that_end_last() {
    let mut config = Config { max_bans: 2, ..quick() };
    config.behaviour.ban_for = Some(ms(10_000));
    let record = |peer, ends, why| BanRecord {
        target: BanTarget::Peer(id(peer)),
        until: Some(WallTime::from_unix_ms(START_MS + ends)),
        why,
    };
    let automatic = |peer, ends| record(peer, ends, BanReason::Misbehaved(Misbehaviour::Breach));
    let operators = record(4, 1, BanReason::Operator("test".into()));
    let records = [automatic(1, 500), automatic(2, 900), automatic(3, 700), operators].map(Record::Ban);
    for turn in 0..records.len() {
        let mut records = records.to_vec();
        records.rotate_left(turn);
        let wall = WallTime::from_unix_ms(START_MS);
        let mut restored = PeerManager::new(config.clone(), 1, epoch(), wall, records).unwrap();
        let mut left: Vec<_> = restored.bans().map(|ban| ban.target).collect();
        let mut best = [id(2), id(4)].map(BanTarget::Peer);
        left.sort();
        best.sort();
        assert_eq!(left, best, "turned by {turn}");
        assert_eq!(restored.skipped_records(), 2);
        restored.check_invariants().unwrap();
        let outputs: Vec<Output> = std::iter::from_fn(|| restored.poll_output()).collect();
        let deleted = [id(1), id(3)].map(|id| Output::Forget(RecordKey::Ban(BanTarget::Peer(id))));
        assert_eq!(outputs.len(), 2);
        assert!(deleted.iter().all(|deleted| outputs.contains(deleted)), "{outputs:?}");
    }
}
