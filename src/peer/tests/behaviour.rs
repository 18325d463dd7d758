//! What misbehaviour leads to, and how it is forgiven.

use proptest::prelude::*;

use super::*;
use crate::peer::standing::Points;

const EVERY: Duration = Duration::from_millis(1_000);

/// Nothing is forgiven sooner than after a second.
fn strict() -> Config {
    let mut config = quick();
    config.behaviour.halves_every = EVERY;
    config
}

fn bad_points(bench: &Bench, peer: NodeId) -> u32 {
    match bench.manager.status(&peer) {
        Some(
            Status::Idle { bad_points, .. }
            | Status::Dialing { bad_points, .. }
            | Status::Connected { bad_points, .. },
        ) => bad_points,
        None => panic!("{peer} is not stored"),
    }
}

/// A peer that is known, dialled and up.
fn connected(config: Config) -> (Bench, ConnId) {
    let mut bench = Bench::new(config);
    bench.know(&[id(1)]);
    let conn = bench.connect_to(id(1));
    assert_eq!(bench.ready(conn), Report::Applied);
    (bench, conn)
}

#[test]
fn by_default_what_no_honest_peer_does_ends_the_connection_at_once_and_the_rest_adds_up() {
    let table = [
        (Misbehaviour::MalformedMessage, 1),
        (Misbehaviour::UnsharedChannel, 1),
        (Misbehaviour::OverQuota, 100),
        (Misbehaviour::UnaskedAnswer, 1),
        (Misbehaviour::DuplicateAnswer, 5),
        (Misbehaviour::ForeignAnswer, 1),
        (Misbehaviour::MalformedAnswer, 1),
        (Misbehaviour::Breach, 1),
        (Misbehaviour::Nuisance, 10),
    ];
    assert_eq!(table.map(|(what, _)| what), Misbehaviour::ALL);
    for (what, needed) in table {
        let (mut bench, conn) = connected(quick());
        for _ in 1..needed {
            assert_eq!(bench.reported(conn, what, 1), Report::Applied);
            assert_eq!(bench.evict(), None, "{what}");
        }
        assert_eq!(bench.reported(conn, what, 1), Report::Applied);
        let eviction = bench.evict().unwrap_or_else(|| panic!("{needed} of {what}"));
        assert_eq!((eviction.conn, eviction.why), (conn, EvictReason::Misbehaved));
        let expected =
            Closed::local(Layer::Channel, Blame::Protocol, DisconnectReason::Subprotocol, "misbehaved")
                .with_detail(format!("{what}, bad points: 100"));
        assert_eq!(eviction.closed, expected);
    }
}

#[test]
fn a_count_weighs_as_much_as_so_many_reports() {
    let (mut bench, conn) = connected(strict());
    assert_eq!(bench.reported(conn, Misbehaviour::OverQuota, 99), Report::Applied);
    assert_eq!((bench.evict(), bad_points(&bench, id(1))), (None, 99));
    assert_eq!(bench.reported(conn, Misbehaviour::OverQuota, 0), Report::Applied);
    assert_eq!((bench.evict(), bad_points(&bench, id(1))), (None, 99));
    assert_eq!(bench.reported(conn, Misbehaviour::OverQuota, u32::MAX), Report::Applied);
    assert_eq!(bad_points(&bench, id(1)), 100, "it stops there");
    assert!(bench.evict().is_some());
}

#[test]
fn a_peer_is_evicted_once_and_blamed_and_on_probation_after() {
    let (mut bench, conn) = connected(strict());
    for _ in 0..3 {
        assert_eq!(bench.reported(conn, Misbehaviour::Breach, 1), Report::Applied);
    }
    let eviction = bench.evict().unwrap();
    assert_eq!(bench.evict(), None);
    assert_eq!(bench.reported(conn, Misbehaviour::Breach, 1), Report::Applied);
    assert_eq!(bench.evict(), None, "its end is on the way");
    assert_eq!(bench.disconnected(conn, &eviction.closed), Report::Applied);
    let Some(Status::Idle { hold: Some(hold), bad_points: 100 }) = bench.manager.status(&id(1)) else {
        panic!("{:?}", bench.manager.status(&id(1)));
    };
    assert_eq!((hold.why, hold.until), (HoldReason::Backoff, bench.now + ms(100)));

    bench.advance(ms(100));
    let next = bench.connect_to(id(1));
    assert_eq!(bench.ready(next), Report::Applied);
    assert_eq!(bench.reported(next, Misbehaviour::Breach, 0), Report::Applied);
    assert_eq!(bench.evict(), None, "what it did before does not end the next connection");
    assert_eq!(bench.reported(next, Misbehaviour::OverQuota, 1), Report::Applied);
    assert!(bench.evict().is_some(), "but one more deed does");
}

#[test]
fn a_late_report_is_counted_and_charged_to_nobody() {
    let (mut bench, conn) = connected(strict());
    bench.leave(conn);
    let late = bench.manager.late_reports();
    bench.advance(ms(100));
    let next = bench.connect_to(id(1));
    for gone in [conn, ConnId::new(44)] {
        assert_eq!(bench.reported(gone, Misbehaviour::Breach, 1), Report::Late);
    }
    assert_eq!(bench.manager.late_reports(), late + 2);
    assert_eq!((bench.evict(), bad_points(&bench, id(1))), (None, 0));
    assert_eq!(bench.manager.connection(&id(1)), Some(next));
}

#[test]
fn points_are_halved_as_time_passes_and_survive_a_reconnect() {
    let (mut bench, conn) = connected(strict());
    assert_eq!(bench.reported(conn, Misbehaviour::Nuisance, 9), Report::Applied);
    bench.leave(conn);
    for (after, expected) in [(999, 90), (1, 45), (1_000, 22), (3_000, 2), (1_000, 1), (1_000, 0)] {
        bench.advance(ms(after));
        // A status tells the time of the latest input.
        bench.act(PeerManager::try_evict_next);
        assert_eq!(bad_points(&bench, id(1)), expected);
    }
    let next = bench.connect_to(id(1));
    assert_eq!(bench.reported(next, Misbehaviour::Nuisance, 9), Report::Applied);
    bench.advance(ms(999));
    assert_eq!(bench.reported(next, Misbehaviour::Nuisance, 1), Report::Applied);
    assert!(bench.evict().is_some(), "no second has passed since its first point");
}

#[test]
fn a_weight_of_zero_is_held_against_nobody() {
    let mut config = strict();
    config.behaviour.weights.nuisance = 0;
    let (mut bench, conn) = connected(config);
    assert_eq!(bench.reported(conn, Misbehaviour::Nuisance, u32::MAX), Report::Applied);
    assert_eq!((bench.evict(), bad_points(&bench, id(1))), (None, 0));
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_by_its_field() {
    let zero = |field| ConfigError::Zero { field };
    type Change = fn(&mut BehaviourConfig);
    let table: [(Change, ConfigError); 4] = [
        (|behaviour| behaviour.limit = 0, zero("behaviour.limit")),
        (|behaviour| behaviour.halves_every = ms(0), zero("behaviour.halves_every")),
        (
            |behaviour| behaviour.halves_every = MAX_DURATION + ms(1),
            ConfigError::TooLong { field: "behaviour.halves_every" },
        ),
        (
            |behaviour| behaviour.limit = 101,
            ConfigError::Below { field: "behaviour.weights.breach", than: "behaviour.limit" },
        ),
    ];
    for (change, expected) in table {
        let mut config = quick();
        change(&mut config.behaviour);
        assert_eq!(config.validate(), Err(expected));
    }
}

proptest! {
    #[test]
    fn points_never_exceed_the_sum_and_are_forgiven_in_the_end(
        steps in prop::collection::vec((0u32..200, 0u64..5_000), 1..50),
    ) {
        let mut now = epoch();
        let (mut total, mut sum) = (Points::default(), 0);
        for (points, wait) in steps {
            let before = total.at(now, EVERY);
            sum += points;
            prop_assert_eq!(total.add(points, u32::MAX, now, EVERY), before + points);
            prop_assert!(total.at(now, EVERY) <= sum);
            now += ms(wait);
            prop_assert!(total.at(now, EVERY) <= before + points);
        }
        prop_assert_eq!(total.at(now + EVERY * 32, EVERY), 0);
    }

    /// Looking, or adding nothing, changes nothing.
    #[test]
    fn it_does_not_matter_who_looks_when(
        points in 1u32..5_000,
        looks in prop::collection::vec(0u64..700, 0..20),
        end in 0u64..20_000,
    ) {
        let start = epoch();
        let (mut watched, mut alone) = (Points::default(), Points::default());
        watched.add(points, u32::MAX, start, EVERY);
        alone.add(points, u32::MAX, start, EVERY);
        let mut now = start;
        for wait in looks {
            now += ms(wait);
            watched.add(0, u32::MAX, now, EVERY);
        }
        let end = now + ms(end);
        prop_assert_eq!(watched.at(end, EVERY), alone.at(end, EVERY));
    }
}
