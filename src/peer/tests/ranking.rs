//! Rank and grade: what behaviour is worth, and when that changes.

use super::*;

/// Uptime in seconds, points halved every second.
fn graded() -> Config {
    let mut config = quick();
    config.behaviour.halves_every = ms(1_000);
    config.behaviour.uptime_levels = [ms(100_000), ms(200_000), ms(300_000)];
    config
}

#[test]
fn good_points_make_a_grade_at_each_level_and_not_before() {
    for (points, grade) in [(9, 0), (10, 1), (99, 1), (100, 2), (999, 2), (1_000, 3), (9_999, 3)] {
        let mut bench = Bench::new(graded());
        let conn = bench.up_to(id(1));
        bench.praised(conn, GoodAct::Served, points);
        assert_eq!(bench.grade(id(1)), grade, "{points} points");
    }
}

#[test]
fn each_good_act_weighs_what_the_configuration_says() {
    for (what, points) in [(GoodAct::Served, 1), (GoodAct::Novel, 2), (GoodAct::Helpful, 10)] {
        let mut bench = Bench::new(graded());
        let conn = bench.up_to(id(1));
        bench.praised(conn, what, 3);
        let record = bench.manager.record(&id(1)).unwrap();
        assert_eq!(record.standing.good.map(|good| good.points), Some(3 * points));
    }
}

#[test]
fn bad_points_cost_a_grade_for_each_quarter_of_the_limit_and_four_at_most() {
    for (points, grade) in [(24, 0), (25, -1), (49, -1), (50, -2), (75, -3), (99, -3), (100, -4), (900, -4)] {
        let mut bench = Bench::new(graded());
        let conn = bench.up_to(id(1));
        assert_eq!(bench.reported(conn, Misbehaviour::OverQuota, points), Report::Applied);
        assert_eq!(bench.grade(id(1)), grade, "{points} points");
    }
}

#[test]
fn a_latency_at_a_level_is_a_grade_and_one_never_measured_is_none() {
    for (latency, grade) in [(ms(501), 0), (ms(500), 1), (ms(101), 1), (ms(100), 2), (ms(0), 2)] {
        let mut bench = Bench::new(graded());
        let conn = bench.up_to(id(1));
        assert_eq!(bench.grade(id(1)), 0);
        bench.measured(conn, latency);
        assert_eq!(bench.grade(id(1)), grade, "{latency:?}");
    }
}

#[test]
fn latency_moves_by_an_eighth_of_the_difference_in_whole_microseconds() {
    let mut bench = Bench::new(graded());
    let conn = bench.up_to(id(1));
    for (measured, smoothed) in
        [(801, 801), (1, 701), (0, 613), (u64::MAX / 2, (7 * 613 + 4_294_967_295) / 8)]
    {
        bench.measured(conn, Duration::from_micros(measured));
        let latency = bench.manager.record(&id(1)).unwrap().standing.latency;
        assert_eq!(latency, Some(Duration::from_micros(smoothed)));
    }
}

#[test]
fn time_connected_adds_up_over_connections_and_changes_the_grade_on_the_instant() {
    let mut bench = Bench::new(graded());
    let conn = bench.up_to(id(1));
    assert_eq!(bench.wakeup(), Some((ms(100_000), WakeReason::Regrade(id(1)))));
    bench.pass(ms(99_999));
    assert_eq!(bench.grade(id(1)), 0);
    bench.pass(ms(1));
    assert_eq!((bench.grade(id(1)), bench.wakeup()), (1, Some((ms(100_000), WakeReason::Regrade(id(1))))));
    bench.pass(ms(99_999));
    bench.part(conn);
    bench.pass(ms(1_000_000));
    assert_eq!(bench.grade(id(1)), 1, "being away is no time connected");
    let uptime = bench.manager.record(&id(1)).unwrap().standing.uptime;
    assert_eq!(uptime, ms(199_999));
    bench.connect_to(id(1));
    assert_eq!(bench.wakeup(), Some((ms(1), WakeReason::Regrade(id(1)))));
    bench.pass(ms(1));
    assert_eq!(bench.grade(id(1)), 2);
}

#[test]
fn a_replaced_connection_counts_towards_the_time_connected() {
    let mut bench = Bench::new(graded());
    let peer = lesser(0);
    bench.know(&[peer]);
    let dial = bench.dial_to(peer);
    bench.accept(peer).unwrap();
    bench.pass(ms(60_000));
    assert!(bench.dialed(dial).unwrap().replaces.is_some());
    assert_eq!(bench.manager.record(&peer).unwrap().standing.uptime, ms(60_000));
    bench.pass(ms(40_000));
    assert_eq!(bench.grade(peer), 1);
}

#[test]
fn points_decay_rounded_down_and_the_grade_follows_on_the_instant() {
    let mut bench = Bench::new(graded());
    let conn = bench.up_to(id(1));
    assert_eq!(bench.reported(conn, Misbehaviour::OverQuota, 99), Report::Applied);
    bench.pass(ms(400));
    bench.praised(conn, GoodAct::Served, 20);
    assert_eq!(bench.grade(id(1)), 1 - 3);
    let mut grades = Vec::new();
    for _ in 0..4 {
        let (wait, why) = bench.wakeup().unwrap();
        assert_eq!(why, WakeReason::Regrade(id(1)));
        bench.pass(wait - ms(1));
        let before = bench.grade(id(1));
        bench.pass(ms(1));
        grades.push((wait.as_millis(), before, bench.grade(id(1))));
    }
    // Bad 99, 49, 24; good 20, 10, 5.
    assert_eq!(grades, [(600, -2, 0), (400, 0, 0), (600, 0, 1), (400, 1, 0)]);
}

#[test]
fn class_goes_before_grade_and_grade_before_the_drawn_order() {
    let mut bench = Bench::new(Config { priorities: [(id(3), 1)].into(), ..graded() });
    bench.know(&[id(4), id(5), id(6)]);
    bench.met(id(1), "", 10);
    bench.met(id(2), "", 100);
    bench.know(&[id(3)]);
    for peer in [3, 2, 1] {
        bench.dial_to(id(peer));
    }
}

/// Whether a peer of a grade and class is dialled for a place of another, by the margin given.
fn takes_the_place(margin: u8, newcomer: (u8, u32), holder: (u8, u32)) -> bool {
    let config = Config {
        priorities: [(id(1), newcomer.0), (id(2), holder.0)].into(),
        max_outbound: Limit::AtMost(1),
        upgrade_slots: 1,
        upgrade_margin: margin,
        ..graded()
    };
    let mut bench = Bench::new(config);
    let conn = bench.up_to(id(2));
    bench.praised(conn, GoodAct::Served, holder.1);
    bench.met(id(1), "", newcomer.1);
    bench.dial().is_some()
}

#[test]
fn a_newcomer_of_the_same_class_outranks_by_the_margin_and_of_a_greater_class_always() {
    assert!(!takes_the_place(2, (0, 10), (0, 0)));
    assert!(takes_the_place(2, (0, 100), (0, 0)));
    assert!(!takes_the_place(2, (0, 100), (0, 10)));
    assert!(takes_the_place(2, (0, 1_000), (0, 10)));
    assert!(!takes_the_place(1, (0, 10), (0, 10)));
    assert!(takes_the_place(200, (1, 0), (0, 1_000)));
    assert!(!takes_the_place(1, (0, 1_000), (1, 0)));
}
