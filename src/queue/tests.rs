use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::model::{Op, Spec, drive, drive_bytes};
use super::*;

mod classes;
mod conflation;

/// Some instant; all others are counted from it.
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
fn epoch() -> Instant {
    Instant::now()
}

fn queue(max_messages: usize, max_bytes: usize) -> FairQueue<u8, u32> {
    FairQueue::new(QueueConfig::new(max_messages, max_bytes).unwrap())
}

fn open(queue: &mut FairQueue<u8, u32>, key: u8, weight: u32, max_messages: usize, overflow: Overflow) {
    queue.open_flow(key, FlowConfig::new(weight, max_messages, 1 << 24, overflow).unwrap()).unwrap();
}

fn drain(queue: &mut FairQueue<u8, u32>, now: Instant) -> Vec<u32> {
    std::iter::from_fn(|| queue.pop(now)).map(|popped| popped.item).collect()
}

/// Pops `bytes` in all, refilling each flow with what `size` says so that none runs dry; bytes by flow.
fn serve(
    queue: &mut FairQueue<u8, u32>,
    flows: &[u8],
    size: impl Fn(u8) -> usize,
    bytes: usize,
) -> Vec<usize> {
    let now = epoch();
    let mut sent = vec![0; flows.len()];
    while sent.iter().sum::<usize>() < bytes {
        for &key in flows {
            while queue.flow_len(key) < 3 {
                assert_eq!(queue.push(now, key, 0, Meta::new(size(key))), Pushed::Queued);
            }
        }
        let popped = queue.pop(now).unwrap();
        sent[flows.iter().position(|&key| Some(key) == popped.key).unwrap()] += charge(popped.bytes);
    }
    queue.check_invariants();
    sent
}

#[test]
fn limits_out_of_range_are_refused() {
    assert_eq!(QueueConfig::new(0, 1024), Err(ConfigError::Messages(0)));
    assert_eq!(QueueConfig::new(1, 63), Err(ConfigError::Bytes(63)));
    assert_eq!(QueueConfig::new(1, usize::MAX), Err(ConfigError::Bytes(usize::MAX)));
    assert_eq!(QueueConfig::new(usize::MAX, 64), Err(ConfigError::Messages(usize::MAX)));
    for weight in [0, MAX_WEIGHT + 1] {
        assert_eq!(FlowConfig::new(weight, 1, 64, Overflow::Wait), Err(ConfigError::Weight(weight)));
    }
    assert!(QueueConfig::new(1, 64).is_ok() && FlowConfig::new(MAX_WEIGHT, 1, 64, Overflow::Wait).is_ok());
}

#[test]
fn each_policy_answers_a_full_flow_in_its_way() {
    let table: [(Overflow, Pushed<u32>, [u32; 2]); 5] = [
        (Overflow::Wait, Pushed::Full(3), [1, 2]),
        (Overflow::DropOldest, Pushed::Evicted { messages: 1, bytes: 100 }, [2, 3]),
        (Overflow::DropNewest, Pushed::DroppedNewest(3), [1, 2]),
        (Overflow::Disconnect, Pushed::Disconnect(3), [1, 2]),
        (Overflow::ReplaceByKey, Pushed::DroppedNewest(3), [1, 2]),
    ];
    for (overflow, expected, left) in table {
        let (mut queue, now) = (queue(100, 1 << 20), epoch());
        open(&mut queue, 7, 1, 2, overflow);
        for item in [1, 2] {
            assert_eq!(queue.push(now, 7, item, Meta::new(100)), Pushed::Queued);
        }
        assert_eq!(queue.push(now, 7, 3, Meta::new(100)), expected, "{overflow:?}");
        assert_eq!(drain(&mut queue, now), left, "{overflow:?}");
        queue.check_invariants();
    }
}

#[test]
fn what_can_never_be_queued_is_handed_back() {
    let (mut queue, now) = (queue(10, 2048), epoch());
    queue.open_flow(1, FlowConfig::new(1, 10, 1024, Overflow::DropOldest).unwrap()).unwrap();
    assert_eq!(
        queue.open_flow(1, FlowConfig::new(1, 1, 64, Overflow::Wait).unwrap()),
        Err(OpenError::AlreadyOpen)
    );
    assert_eq!(queue.push(now, 1, 5, Meta::new(1025)), Pushed::TooLarge(5));
    assert_eq!(queue.push(now, 1, 5, Meta::new(usize::MAX)), Pushed::TooLarge(5));
    assert_eq!(queue.push(now, 2, 5, Meta::new(1)), Pushed::NoFlow(5));
    assert_eq!(queue.push(now, 1, 4, Meta::new(1024)), Pushed::Queued);
    queue.close();
    assert_eq!(queue.push(now, 1, 5, Meta::new(1)), Pushed::Closed(5));
    assert_eq!(queue.push_control(now, 5, 1), Pushed::Closed(5));
    assert_eq!(
        queue.open_flow(2, FlowConfig::new(1, 1, 64, Overflow::Wait).unwrap()),
        Err(OpenError::Closed)
    );
    assert_eq!(drain(&mut queue, now), [4]);
    for reason in RefuseReason::ALL {
        let expected = match reason {
            RefuseReason::TooLarge | RefuseReason::Closed => 2,
            RefuseReason::NoFlow => 1,
            _ => 0,
        };
        assert_eq!(queue.stats().refused(reason).messages, expected, "{reason}");
    }
}

#[test]
fn control_is_first_and_bounded() {
    let (mut queue, now) = (queue(1, 64), epoch());
    open(&mut queue, 1, 1, 1, Overflow::Wait);
    assert!(queue.push(now, 1, 1000, Meta::new(1)).is_queued());
    assert_eq!(queue.push_control(now, 1, CONTROL_MAX_BYTES + 1), Pushed::TooLarge(1));
    for item in 0..64 {
        assert!(queue.push_control(now, item, 8).is_queued());
    }
    assert_eq!(queue.push_control(now, 64, 8), Pushed::Full(64));
    let order: Vec<u32> = (0..64).chain([1000]).collect();
    assert_eq!(drain(&mut queue, now), order);
}

#[test]
fn stale_messages_are_dropped_and_counted() {
    let (mut queue, now) = (queue(10, 4096), epoch());
    open(&mut queue, 1, 1, 3, Overflow::Wait);
    let soon = Meta::new(10).with_deadline(now + Duration::from_millis(5));
    for item in [1, 2] {
        assert!(queue.push(now, 1, item, soon).is_queued());
    }
    assert!(queue.push(now, 1, 3, Meta::new(10)).is_queued());
    assert_eq!(queue.push(now, 1, 4, Meta::new(10)), Pushed::Full(4));
    let later = now + Duration::from_millis(5);
    assert_eq!(queue.push(later, 1, 4, Meta::new(10)), Pushed::Queued, "stale ones make room");
    let popped = queue.pop(later).unwrap();
    assert_eq!((popped.item, popped.waited), (3, Duration::from_millis(5)));
    assert_eq!(queue.stats().dropped(DropReason::Stale), Tally { messages: 2, bytes: 128 });
}

#[test]
fn cancelling_and_closing_a_flow_drop_and_count() {
    let (mut queue, now) = (queue(100, 1 << 16), epoch());
    for key in [1, 2] {
        open(&mut queue, key, 1, 10, Overflow::Wait);
        for item in 0..4 {
            let meta = Meta::new(100).with_cancel(CancelId(u64::from(item % 2)));
            assert!(queue.push(now, key, item, meta).is_queued());
        }
    }
    assert_eq!((queue.cancel(CancelId(1)), queue.cancel(CancelId(1))), (4, 0));
    let closed = queue.close_flow(2).unwrap();
    assert_eq!(closed.dropped(DropReason::FlowClosed), Tally { messages: 2, bytes: 200 });
    assert_eq!(queue.close_flow(2), None);
    assert!(queue.push_control(now, 9, 1).is_queued());
    assert_eq!(queue.drain_all(), Tally { messages: 3, bytes: 264 });
    assert!(queue.is_empty() && queue.pop(now).is_none());
    queue.check_invariants();
}

#[test]
fn a_hog_leaves_room_for_newcomers() {
    let (mut queue, now) = (queue(100, 1 << 20), epoch());
    for key in 0..4 {
        open(&mut queue, key, 1, 100, Overflow::Wait);
    }
    while queue.push(now, 0, 0, Meta::new(1)).is_queued() {}
    assert_eq!(queue.flow_len(0), 50);
    for key in 1..4 {
        assert!(queue.push(now, key, 0, Meta::new(1000)).is_queued(), "{key}");
    }
}

#[test]
fn room_freed_by_a_hog_goes_to_those_below_their_share() {
    let (mut queue, now) = (queue(100, 1 << 20), epoch());
    open(&mut queue, 0, 1, 100, Overflow::Wait);
    while queue.push(now, 0, 0, Meta::new(1)).is_queued() {}
    assert_eq!(queue.flow_len(0), 100, "alone, a flow may fill the queue");
    open(&mut queue, 1, 1, 100, Overflow::Wait);
    assert_eq!(queue.push(now, 1, 1, Meta::new(1)), Pushed::Full(1));
    for _ in 0..200 {
        let _ = queue.pop(now).unwrap();
        let _ = queue.push(now, 0, 0, Meta::new(1));
        let _ = queue.push(now, 1, 1, Meta::new(1));
    }
    assert!((30..=36).contains(&queue.flow_len(0)), "{}", queue.flow_len(0));
    assert!((30..=36).contains(&queue.flow_len(1)), "{}", queue.flow_len(1));
}

#[test]
fn a_flow_that_holds_nothing_is_never_disconnected_for_others() {
    let (mut queue, now) = (queue(4, 4096), epoch());
    open(&mut queue, 0, 1, 4, Overflow::Wait);
    while queue.push(now, 0, 0, Meta::new(1)).is_queued() {}
    for (key, overflow) in [(1, Overflow::Disconnect), (2, Overflow::DropOldest), (3, Overflow::DropNewest)] {
        open(&mut queue, key, 1, 4, overflow);
        assert_eq!(queue.push(now, key, 9, Meta::new(1)), Pushed::DroppedNewest(9), "{overflow:?}");
    }
}

#[test]
fn one_flow_pushing_a_hundredfold_costs_the_others_nothing() {
    let (mut queue, now) = (queue(1000, 1 << 20), epoch());
    let mut sent = [0_u32; 10];
    for key in 0..10 {
        open(&mut queue, key, 1, 1000, Overflow::Wait);
    }
    // Each step, flow 0 offers 100 messages and the others 1 each, which is their fair share of 10 pops.
    for _ in 0..2000 {
        for key in 0..10 {
            for _ in 0..if key == 0 { 100 } else { 1 } {
                let _ = queue.push(now, key, 0, Meta::new(200));
            }
        }
        for _ in 0..10 {
            sent[usize::from(queue.pop(now).unwrap().key.unwrap())] += 1;
        }
    }
    for (key, &sent) in sent.iter().enumerate() {
        assert!(sent >= 1800, "flow {key} sent {sent} of a fair 2000");
    }
}

#[test]
fn equal_weights_send_equal_bytes_whatever_the_sizes() {
    let mut queue = queue(1000, 1 << 26);
    let sizes = [64, 1000, 4096, 70_000, 1 << 20];
    let flows: Vec<u8> = (0..5).collect();
    for &key in &flows {
        open(&mut queue, key, 1, 10, Overflow::Wait);
    }
    let sent = serve(&mut queue, &flows, |key| sizes[usize::from(key)], 50 << 20);
    for (key, sent) in sent.iter().enumerate() {
        let gap = sent.abs_diff(10 << 20);
        assert!(gap <= (1 << 20) + QUANTUM_BYTES, "flow {key} sent {sent}");
    }
}

#[test]
fn bytes_follow_the_weights() {
    let mut queue = queue(1000, 1 << 24);
    let flows = [1, 2, 5];
    for key in flows {
        open(&mut queue, key, key.into(), 10, Overflow::Wait);
    }
    let sent = serve(&mut queue, &flows, |key| if key == 5 { 9000 } else { 300 }, 8 << 20);
    for (key, sent) in flows.into_iter().zip(sent) {
        let due = usize::from(key) << 20;
        assert!(sent.abs_diff(due) <= 5 * QUANTUM_BYTES + 9000, "weight {key}: {sent} of {due}");
    }
}

#[test]
fn a_small_message_waits_for_one_bulk_message_at_most() {
    let (mut queue, now) = (queue(100, 1 << 26), epoch());
    open(&mut queue, 0, 16, 100, Overflow::Wait);
    open(&mut queue, 1, 1, 100, Overflow::Wait);
    for round in 0..20 {
        while queue.flow_len(0) < 8 {
            assert!(queue.push(now, 0, 0, Meta::new(1 << 20)).is_queued());
        }
        assert_eq!(queue.pop(now).unwrap().key, Some(0));
        assert!(queue.push(now, 1, 1, Meta::new(100)).is_queued());
        let bulk_first = std::iter::from_fn(|| queue.pop(now)).take_while(|p| p.key == Some(0)).count();
        assert!(bulk_first <= 1, "round {round}: {bulk_first} bulk messages went first");
    }
}

#[test]
fn a_huge_message_is_not_starved_by_small_ones() {
    let (mut queue, now) = (queue(100, 1 << 26), epoch());
    open(&mut queue, 0, 1, 100, Overflow::Wait);
    open(&mut queue, 1, MAX_WEIGHT, 100, Overflow::Wait);
    assert!(queue.push(now, 0, 7, Meta::new(4 << 20)).is_queued());
    let mut small = 0;
    loop {
        while queue.flow_len(1) < 10 {
            assert!(queue.push(now, 1, 1, Meta::new(64 << 10)).is_queued());
        }
        match queue.pop(now).unwrap().item {
            7 => break,
            _ => small += 1,
        }
    }
    // 1024 rounds of 4 MiB each for the other flow, by its weight.
    assert!(small <= 1024 * 64, "{small}");
}

#[test]
fn counts_of_flows_add_up_to_those_of_the_queue() {
    let (mut queue, now) = (queue(100, 1 << 20), epoch());
    for key in 0..3 {
        open(&mut queue, key, 1, 2, Overflow::DropOldest);
        for _ in 0..4 {
            assert!(queue.push(now, key, 0, Meta::new(500)).is_queued());
        }
    }
    let _ = queue.pop(now).unwrap();
    let sum =
        queue.flow_keys().map(|key| queue.stats_of(key).unwrap()).fold(Stats::default(), |a, b| a.plus(&b));
    assert_eq!(sum, queue.stats());
    assert_eq!(sum.dropped_total().messages, 6);
}

fn op() -> impl Strategy<Value = Op> {
    let flow = || 0_u8..6;
    let bytes = || prop_oneof![4 => 0_u32..200, 2 => 0_u32..9000, 1 => 0_u32..140_000];
    let names =
        (option::weighted(0.2, 0_u8..20), option::weighted(0.2, 0_u8..5), option::weighted(0.6, 0_u8..6));
    let spec = (1_u8..8, 1_u8..40, 1_u8..=255, 0_u8..5, any::<bool>());
    prop_oneof![
        60 => (flow(), bytes(), names).prop_map(|(flow, bytes, (ttl_ms, cancel, key))| {
            Op::Push { flow, bytes, ttl_ms, cancel, key }
        }),
        30 => Just(Op::Pop { max_bytes: None }),
        10 => bytes().prop_map(|most| Op::Pop { max_bytes: Some(most) }),
        12 => (flow(), spec).prop_map(|(flow, (weight, messages, kib, overflow, high))| {
            Op::Open { flow, spec: Spec { weight, messages, kib, overflow, high } }
        }),
        4 => flow().prop_map(|flow| Op::CloseFlow { flow }),
        6 => (0_u8..5).prop_map(|id| Op::Cancel { id }),
        8 => (0_u8..10).prop_map(|ms| Op::Advance { ms }),
        4 => bytes().prop_map(|bytes| Op::Control { bytes }),
        1 => Just(Op::DrainAll),
    ]
}

/// A flow of each policy that is open from the start, so that most operations do something.
fn opened(ops: Vec<Op>) -> Vec<Op> {
    let open = |flow: u8| {
        let spec = Spec { weight: 1 + flow, messages: 30, kib: 200, overflow: flow, high: flow >= 3 };
        Op::Open { flow, spec }
    };
    (0..5).map(open).chain(ops).collect()
}

proptest! {
    #[test]
    fn machine_and_model_agree(
        max_messages in 1_usize..80,
        max_bytes in 64_usize..400_000,
        ops in vec(op(), 0..300),
        close in any::<bool>(),
    ) {
        let mut ops = opened(ops);
        if close {
            ops.insert(ops.len() * 3 / 4, Op::Close);
        }
        let config = QueueConfig::new(max_messages, max_bytes).unwrap();
        let queue = drive(config, epoch(), &ops);
        prop_assert!(queue.is_empty() && queue.stats().is_conserved());
    }

    #[test]
    fn bytes_of_the_fuzzer_make_model_and_machine_agree(bytes in vec(any::<u8>(), 0..600)) {
        drive_bytes(epoch(), &bytes);
    }

    #[test]
    fn flows_keep_their_order(pushes in vec((0_u8..4, 0_usize..20_000), 1..200), pops in 1_usize..4) {
        let (mut queue, now) = (queue(64, 1 << 20), epoch());
        let mut last = [None; 4];
        for key in 0..4 {
            open(&mut queue, key, 1 + u32::from(key), 16, Overflow::DropOldest);
        }
        for (serial, (key, bytes)) in (0..).zip(pushes) {
            let _ = queue.push(now, key, serial, Meta::new(bytes));
            if (serial as usize).is_multiple_of(pops + 1) {
                let popped = queue.pop(now).unwrap();
                let last = &mut last[usize::from(popped.key.unwrap())];
                prop_assert!(*last < Some(popped.item));
                *last = Some(popped.item);
            }
        }
    }

    #[test]
    fn backlogged_flows_never_differ_by_more_than_a_message_and_a_quantum(
        sizes in vec(64_usize..60_000, 2..8),
        bytes in 1_usize..2_000_000,
    ) {
        let mut queue = queue(100, 1 << 26);
        let flows: Vec<u8> = (0..).take(sizes.len()).collect();
        for &key in &flows {
            open(&mut queue, key, 1, 10, Overflow::Wait);
        }
        let sent = serve(&mut queue, &flows, |key| sizes[usize::from(key)], bytes);
        let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
        prop_assert!(most - least <= sizes.iter().max().unwrap() + QUANTUM_BYTES, "{:?}", sent);
    }
}
