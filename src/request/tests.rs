use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::model::{Op, channel, drive};
use super::*;

const A: ChannelId = ChannelId::from_static("a");
const B: ChannelId = ChannelId::from_static("b");

/// Some instant; all others are counted from it.
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
fn epoch() -> Instant {
    Instant::now()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A table with the first `channels` channels.
fn table(in_flight: usize, waiting: usize, channels: u8) -> Waiters<u32> {
    Waiters::new(Limits::new(in_flight, waiting).unwrap(), (0..channels).map(channel))
}

/// Asks for an answer of code 1, and expects to be let in.
fn ask(table: &mut Waiters<u32>, channel: ChannelId, waiter: u32) -> Ticket {
    match table.ask(channel, 1, waiter) {
        Asked::Waiting(ticket) => ticket,
        turned_away => panic!("{turned_away:?}"),
    }
}

/// All that may be sent now: channel, id and waiter.
fn send(table: &mut Waiters<u32>, now: Instant) -> Vec<(ChannelId, u64, u32)> {
    let mut sent = Vec::new();
    while let Some(out) = table.poll_send(now) {
        sent.push((out.channel, out.id, *out.waiter));
    }
    table.check_invariants();
    sent
}

fn matched(waiter: u32, round_trip: Duration) -> Verdict<u32> {
    Verdict::Matched { waiter, round_trip }
}

#[test]
fn limits_out_of_range_are_refused() {
    for bad in [0, MAX_IN_FLIGHT + 1] {
        assert_eq!(Limits::new(bad, 1), Err(ConfigError::InFlight(bad)));
    }
    for bad in [0, MAX_WAITING + 1] {
        assert_eq!(Limits::new(1, bad), Err(ConfigError::Waiting(bad)));
    }
    let limits = Limits::new(MAX_IN_FLIGHT, MAX_WAITING).unwrap();
    assert_eq!((limits.in_flight(), limits.waiting_per_channel()), (MAX_IN_FLIGHT, MAX_WAITING));
}

#[test]
fn what_cannot_be_asked_is_handed_back() {
    let (mut table, now) = (table(1, 2, 1), epoch());
    assert_eq!(table.ask(B, 1, 9), Asked::NoChannel(9));
    for waiter in [1, 2] {
        ask(&mut table, A, waiter);
    }
    assert_eq!(table.ask(A, 1, 3), Asked::Full(3));
    assert_eq!(send(&mut table, now), [(A, 1, 1)]);
    ask(&mut table, A, 3);
    assert_eq!(table.ask(A, 1, 4).into_refused(), Some(4));
    assert_eq!(table.close(), [1, 2, 3]);
    assert_eq!(table.ask(A, 1, 5), Asked::Closed(5));
    assert_eq!(table.ask(B, 1, 5), Asked::Closed(5));
    let stats = table.stats();
    assert_eq!((stats.full, stats.no_channel, stats.after_close), (2, 1, 2));
    assert_eq!((stats.asked, stats.closed), (3, 3));
}

#[test]
fn a_connection_without_channels_has_no_questions() {
    let (mut table, now) = (table(1, 1, 0), epoch());
    assert_eq!(table.ask(A, 1, 1), Asked::NoChannel(1));
    assert_eq!(table.answered(now, A, 1, 1), Verdict::Unasked);
    assert!(send(&mut table, now).is_empty() && table.close().is_empty());
}

/// The stated rule, line by line: 1 is in flight, 2 was answered, 3 refused, 4 given up, and 5 was never asked.
#[test]
fn an_answer_is_judged_by_the_stated_rule() {
    let table_of_five = |now| {
        let mut table = table(8, 8, 2);
        let tickets: Vec<Ticket> = (1..=4).map(|waiter| ask(&mut table, A, waiter)).collect();
        assert_eq!(send(&mut table, now).len(), 4);
        assert_eq!(table.answered(now, A, 1, 2), matched(2, ms(0)));
        assert_eq!(table.refused(now, A, 3), matched(3, ms(0)));
        assert_eq!(table.give_up(tickets[3]), Some(4));
        table
    };
    let cases: [(ChannelId, Option<u8>, u64, Verdict<u32>); 16] = [
        (A, Some(1), 1, matched(1, ms(7))),
        (A, None, 1, matched(1, ms(7))),
        (B, Some(1), 1, Verdict::Foreign),
        (B, None, 1, Verdict::Foreign),
        (A, Some(2), 1, Verdict::Foreign),
        (channel(5), Some(1), 1, Verdict::Foreign),
        (A, Some(1), 2, Verdict::Duplicate),
        (A, None, 2, Verdict::Duplicate),
        (A, Some(1), 3, Verdict::Duplicate),
        (A, None, 3, Verdict::Duplicate),
        (A, Some(1), 4, Verdict::Late),
        (A, None, 4, Verdict::Late),
        (A, Some(1), 5, Verdict::Unasked),
        (A, None, 5, Verdict::Unasked),
        (A, Some(1), 0, Verdict::Unasked),
        (A, Some(1), u64::MAX, Verdict::Unasked),
    ];
    for (on, code, id, expected) in cases {
        let now = epoch();
        let mut table = table_of_five(now);
        let verdict = match code {
            Some(code) => table.answered(now + ms(7), on, code, id),
            None => table.refused(now + ms(7), on, id),
        };
        assert_eq!(verdict, expected, "{on} {code:?} {id}");
        assert_eq!(table.stats().faults(), u64::from(verdict.is_peers_fault()), "{on} {code:?} {id}");
        let kept = !matches!(expected, Verdict::Matched { .. });
        assert_eq!(table.in_flight(), usize::from(kept), "{on} {code:?} {id}: the question in flight stays");
        table.check_invariants();
    }
}

#[test]
fn a_foreign_answer_leaves_the_question_to_its_true_answer() {
    let (mut table, now) = (table(1, 1, 2), epoch());
    ask(&mut table, A, 1);
    assert_eq!(send(&mut table, now).len(), 1);
    assert_eq!(table.answered(now, B, 1, 1), Verdict::Foreign);
    assert_eq!(table.answered(now + ms(5), A, 1, 1), matched(1, ms(5)));
}

#[test]
fn an_asker_who_gave_up_hears_once_that_the_answer_was_late() {
    let (mut table, now) = (table(1, 1, 1), epoch());
    let ticket = ask(&mut table, A, 1);
    assert_eq!(send(&mut table, now).len(), 1);
    assert_eq!((table.give_up(ticket), table.give_up(ticket)), (Some(1), None));
    assert_eq!(table.answered(now, A, 1, 1), Verdict::Late);
    assert_eq!(table.answered(now, A, 1, 1), Verdict::Duplicate);
    assert_eq!(table.refused(now, A, 1), Verdict::Duplicate);
}

#[test]
fn what_is_long_past_has_the_benefit_of_the_doubt_and_not_without_end() {
    let (mut table, now) = (table(2, 1, 1), epoch());
    let slow = ask(&mut table, A, 0);
    for id in 1..=10 {
        assert!(send(&mut table, now).iter().any(|sent| sent.1 == id));
        if id > 1 {
            assert_eq!(table.answered(now, A, 1, id), matched(1, ms(0)));
        }
        ask(&mut table, A, 1);
    }
    // Eight are remembered: 3 to 10. Of the two others one was answered.
    for (id, expected) in [(3, Verdict::Duplicate), (2, Verdict::Late), (2, Verdict::Duplicate)] {
        assert_eq!(table.answered(now, A, 1, id), expected, "{id}");
    }
    assert_eq!(table.answered(now, B, 1, 1), Verdict::Foreign, "what is in flight is never forgotten");
    assert_eq!(table.answered(now, A, 1, 1), matched(0, ms(0)));
    assert_eq!(table.give_up(slow), None);
    assert_eq!(table.answered(now, A, 1, 1), Verdict::Duplicate);
}

#[test]
fn a_question_that_is_given_up_while_it_waits_is_never_sent() {
    let (mut table, now) = (table(1, 4, 1), epoch());
    let tickets: Vec<Ticket> = (1..=3).map(|waiter| ask(&mut table, A, waiter)).collect();
    assert_eq!(send(&mut table, now), [(A, 1, 1)]);
    assert_eq!(table.give_up(tickets[1]), Some(2));
    assert_eq!(table.answered(now, A, 1, 2), Verdict::Unasked, "it had no id");
    assert!(send(&mut table, now).is_empty());
    assert_eq!(table.give_up(tickets[0]), Some(1));
    assert_eq!(send(&mut table, now), [(A, 2, 3)], "the slot is free, the id is spent");
}

#[test]
fn closing_fails_all_at_once_in_the_order_they_were_asked() {
    let (mut table, now) = (table(2, 4, 2), epoch());
    for (on, waiter) in [(B, 1), (A, 2), (B, 3), (A, 4)] {
        ask(&mut table, on, waiter);
    }
    assert_eq!(send(&mut table, now), [(A, 1, 2), (B, 2, 1)]);
    assert_eq!(table.close(), [1, 2, 3, 4]);
    assert!(table.close().is_empty() && table.is_closed() && send(&mut table, now).is_empty());
    assert_eq!(table.answered(now, A, 1, 1), Verdict::Late);
    assert_eq!(table.answered(now, A, 1, 3), Verdict::Unasked);
}

#[test]
fn the_round_trip_is_smoothed_by_an_eighth_and_ignores_refusals() {
    let (mut table, start) = (table(1, 1, 1), epoch());
    let mut round = |took: u64, answered: bool| {
        ask(&mut table, A, 0);
        let id = send(&mut table, start)[0].1;
        let now = start + ms(took);
        let verdict = if answered { table.answered(now, A, 1, id) } else { table.refused(now, A, id) };
        assert_eq!(verdict, matched(0, ms(took)));
        table.round_trip()
    };
    assert_eq!(round(1, false), None);
    assert_eq!(round(800, true), Some(ms(800)));
    assert_eq!(round(1600, true), Some(ms(900)));
    assert_eq!(round(1, false), Some(ms(900)));
    assert_eq!(round(100, true), Some(ms(800)));
}

#[test]
fn a_thousand_questions_of_one_channel_do_not_delay_anothers_first() {
    let (mut table, now) = (table(10, 1000, 3), epoch());
    for waiter in 0..1000 {
        ask(&mut table, A, waiter);
    }
    assert_eq!(send(&mut table, now).len(), 5, "half of the slots");
    for on in [B, channel(2)] {
        ask(&mut table, on, 7777);
        let sent = send(&mut table, now);
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].0, sent[0].2), (on, 7777), "at once");
    }
}

#[test]
fn a_channel_that_is_never_answered_shuts_out_nobody() {
    // B and its like ask first, fill all that they may, and hear nothing.
    let (mut table, now) = (table(4, 100, 4), epoch());
    for waiter in 0..100 {
        ask(&mut table, B, waiter);
        ask(&mut table, channel(2), waiter);
    }
    assert_eq!(send(&mut table, now).len(), 3);
    for waiter in 0..100 {
        ask(&mut table, A, waiter);
        let sent = send(&mut table, now);
        assert_eq!(sent.len(), 1, "the last slot goes round among those that have none");
        assert_eq!(table.answered(now, A, 1, sent[0].1), matched(waiter, ms(0)));
        assert!(send(&mut table, now).is_empty(), "and those that have some may not take it");
    }
}

#[test]
fn a_connections_only_channel_has_all_slots() {
    for (channels, expected) in [(1, 7), (2, 4)] {
        let (mut table, now) = (table(7, 100, channels), epoch());
        for waiter in 0..100 {
            ask(&mut table, A, waiter);
        }
        assert_eq!(send(&mut table, now).len(), expected, "{channels} channels");
    }
}

#[test]
fn greedy_channels_have_equal_shares_in_the_long_run() {
    for (in_flight, channels) in [(1, 3), (2, 5), (7, 3), (16, 6)] {
        let (mut table, now) = (table(in_flight, 50, channels), epoch());
        let (mut sent, mut wire, mut random) = ([0_u32; 6], Vec::new(), 1_u64);
        for _ in 0..6000 {
            for n in 0..channels {
                // The first asks for much more than its share, and from the start.
                let most = if n == 0 { 50 } else { 2 };
                while table.waiting_of(channel(n)) < most {
                    ask(&mut table, channel(n), n.into());
                }
            }
            for (on, id, n) in send(&mut table, now) {
                sent[n as usize] += 1;
                wire.push((on, id));
            }
            // The peer answers in no order at all.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (on, id) = wire.remove((random >> 33) as usize % wire.len());
            assert!(matches!(table.answered(now, on, 1, id), Verdict::Matched { .. }));
        }
        let sent = &sent[..channels.into()];
        let fair = 6000 / u32::from(channels);
        assert!(sent.iter().all(|&sent| sent.abs_diff(fair) * 20 <= fair), "{in_flight} slots: {sent:?}");
    }
}

#[test]
fn memory_is_bounded_and_ids_are_never_reused() {
    let (mut table, now) = (table(4, 8, 3), epoch());
    let mut last = 0;
    for step in 0..20_000_u32 {
        for n in 0..9 {
            let _ = table.ask(channel(n % 3), 1, step);
        }
        for (on, id, waiter) in send(&mut table, now) {
            assert!(id > last, "{id} after {last}");
            last = id;
            match waiter % 3 {
                0 => assert!(!table.answered(now, on, 1, id).is_peers_fault()),
                1 => assert!(!table.refused(now, on, id).is_peers_fault()),
                _ => {}
            }
        }
        if let Some(oldest) = table.questions.keys().next().copied() {
            assert!(table.give_up(oldest).is_some());
        }
        assert!(table.questions.len() <= 4 + 3 * 8 && table.past.len() <= 4 * REMEMBERED_PER_SLOT);
    }
    let Stats { answered, refused, given_up, full, .. } = table.stats();
    assert!([answered, refused, given_up, full].iter().all(|&count| count > 1000), "{:?}", table.stats());
}

fn op() -> impl Strategy<Value = Op> {
    let other = || option::weighted(0.1, 0_u8..7);
    let back = || prop_oneof![8 => 0_u8..12, 1 => any::<u8>()];
    prop_oneof![
        40 => (0_u8..6, 0_u8..4).prop_map(|(channel, code)| Op::Ask { channel, code }),
        40 => Just(Op::PollSend),
        30 => (back(), other(), option::weighted(0.1, 0_u8..4))
            .prop_map(|(back, channel, code)| Op::Answered { back, channel, code }),
        6 => (back(), other()).prop_map(|(back, channel)| Op::Refused { back, channel }),
        12 => back().prop_map(|back| Op::GiveUp { back }),
        6 => any::<u8>().prop_map(|ms| Op::Advance { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn machine_and_model_agree(
        in_flight in 1_usize..12,
        waiting in 1_usize..8,
        channels in 0_u8..7,
        ops in vec(op(), 0..250),
        close in option::weighted(0.3, 0_usize..250),
    ) {
        let mut ops = ops;
        if let Some(at) = close {
            ops.insert(at.min(ops.len()), Op::Close);
        }
        ops.push(Op::Close);
        let table = drive(Limits::new(in_flight, waiting).unwrap(), channels, epoch(), &ops);
        let stats = table.stats();
        prop_assert!(stats.is_conserved() && stats.in_flight + stats.waiting == 0);
    }

    /// The law of fairness, for a caller that drains.
    #[test]
    fn who_has_none_in_flight_waits_for_nobodys_second(
        in_flight in 1_usize..12,
        channels in 2_u8..7,
        steps in vec((0_u8..6, any::<prop::sample::Index>(), any::<bool>()), 0..200),
    ) {
        let (mut table, now) = (table(in_flight, 4, channels), epoch());
        let mut wire: Vec<(ChannelId, u64)> = Vec::new();
        for (n, which, end) in steps {
            if end && !wire.is_empty() {
                let (on, id) = wire.remove(which.index(wire.len()));
                let verdict = table.answered(now, on, 1, id);
                let matched = matches!(verdict, Verdict::Matched { .. });
                prop_assert!(matched);
            } else {
                let _ = table.ask(channel(n), 1, 0);
            }
            let mut seconds = 0;
            while let Some(out) = table.poll_send(now) {
                let (on, id) = (out.channel, out.id);
                seconds += usize::from(table.in_flight_of(on) > 1);
                wire.push((on, id));
            }
            let has_none = |&name: &ChannelId| table.waiting_of(name) > 0 && table.in_flight_of(name) == 0;
            let starved: Vec<ChannelId> = (0..channels).map(channel).filter(has_none).collect();
            prop_assert!(starved.is_empty() || table.in_flight() == in_flight, "{starved:?} with free slots");
            prop_assert!(starved.is_empty() || seconds == 0, "{starved:?} behind {seconds} seconds");
        }
    }
}
