//! `Overflow::ReplaceByKey`.

use super::*;

/// One flow 0 that replaces by key, among so many messages and bytes of its own.
fn conflating(max_messages: usize, max_bytes: usize) -> FairQueue<u8, u32> {
    let mut queue = queue(100, 1 << 20);
    let config = FlowConfig::new(1, max_messages, max_bytes, Overflow::ReplaceByKey).unwrap();
    queue.open_flow(0, config).unwrap();
    queue
}

fn state(key: u64, bytes: usize) -> Meta {
    Meta::new(bytes).with_key(key)
}

#[test]
fn a_newer_message_takes_the_place_of_the_one_of_its_key() {
    let (mut queue, now) = (conflating(100, 1 << 20), epoch());
    for (item, meta) in [(1, state(1, 100)), (2, state(2, 100)), (3, Meta::new(100)), (4, Meta::new(100))] {
        assert_eq!(queue.push(now, 0, item, meta), Pushed::Queued, "those without a key stay apart");
    }
    let later = now + Duration::from_millis(5);
    let replaced = queue.push(later, 0, 11, state(1, 300));
    assert_eq!(replaced, Pushed::Replaced { bytes: 100 });
    assert!(replaced.is_queued() && replaced.into_refused().is_none());
    assert_eq!(queue.push(later, 0, 21, state(1, 64)), Pushed::Replaced { bytes: 300 });
    queue.check_invariants();
    assert_eq!(queue.stats().dropped(DropReason::Replaced), Tally { messages: 2, bytes: 400 });
    assert_eq!(queue.stats().pushed, Tally { messages: 6, bytes: 764 });
    let first = queue.pop(later).unwrap();
    assert_eq!(
        (first.item, first.bytes, first.waited),
        (21, 64, Duration::ZERO),
        "it waited for itself only"
    );
    assert_eq!(queue.push(later, 0, 31, state(1, 64)), Pushed::Queued, "what was popped is not replaced");
    assert_eq!(drain(&mut queue, later), [2, 3, 4, 31]);
}

#[test]
fn a_key_updated_faster_than_the_queue_drains_is_not_starved() {
    let (mut queue, now) = (conflating(10, 1 << 20), epoch());
    for key in 0..10 {
        assert_eq!(queue.push(now, 0, 0, state(key, 100)), Pushed::Queued);
    }
    for step in 0..10 {
        assert!(queue.push(now, 0, step, state(9, 100)).is_queued());
        let popped = queue.pop(now).unwrap();
        assert_eq!(popped.item, if step == 9 { 9 } else { 0 }, "step {step}");
    }
}

#[test]
fn a_full_flow_still_replaces_what_fits_and_changes_nothing_else() {
    let (mut queue, now) = (conflating(2, 1000), epoch());
    assert_eq!(queue.push(now, 0, 1, state(1, 400)), Pushed::Queued);
    assert_eq!(queue.push(now, 0, 2, state(2, 500)), Pushed::Queued);
    let table = [
        (state(1, 501), Pushed::DroppedNewest(9)),
        (state(3, 64), Pushed::DroppedNewest(9)),
        (Meta::new(64), Pushed::DroppedNewest(9)),
        (state(1, 1001), Pushed::TooLarge(9)),
    ];
    for (meta, expected) in table {
        let before = queue.stats().queued;
        assert_eq!(queue.push(now, 0, 9, meta), expected, "{meta:?}");
        assert_eq!(queue.stats().queued, before, "{meta:?}");
        assert_eq!(queue.stats().dropped_total(), Tally::default(), "{meta:?}");
        queue.check_invariants();
    }
    assert_eq!(queue.push(now, 0, 3, state(1, 500)), Pushed::Replaced { bytes: 400 }, "to the last byte");
    assert_eq!(drain(&mut queue, now), [3, 2]);
}

#[test]
fn a_flow_above_its_share_still_replaces_what_needs_no_more_room() {
    let (mut queue, now) = (conflating(100, 1 << 20), epoch());
    for key in 0..100 {
        assert_eq!(queue.push(now, 0, 0, state(key, 100)), Pushed::Queued);
    }
    open(&mut queue, 1, 1, 100, Overflow::Wait);
    assert!(!queue.has_room(0, 100), "its share is half of the queue now");
    assert_eq!(queue.push(now, 0, 1, state(7, 100)), Pushed::Replaced { bytes: 100 });
    assert_eq!(queue.push(now, 0, 1, state(7, 101)), Pushed::DroppedNewest(1));
    queue.check_invariants();
}

#[test]
fn the_newer_message_brings_its_own_deadline_and_name() {
    let (mut queue, now) = (conflating(100, 1 << 20), epoch());
    let soon = now + Duration::from_millis(5);
    let (old, new) = (CancelId(1), CancelId(2));
    assert!(queue.push(now, 0, 1, state(1, 100).with_deadline(soon).with_cancel(old)).is_queued());
    assert!(queue.push(now, 0, 2, state(1, 100).with_cancel(new)).is_queued());
    assert_eq!(queue.cancel(old), 0);
    assert_eq!(queue.pop(soon).map(|popped| popped.item), Some(2), "the older one's deadline is gone");
    assert!(queue.push(now, 0, 3, state(1, 100)).is_queued());
    assert!(queue.push(now, 0, 4, state(1, 100).with_deadline(soon).with_cancel(new)).is_queued());
    assert_eq!(queue.push(soon, 0, 5, state(1, 100).with_cancel(old)), Pushed::Replaced { bytes: 100 });
    assert_eq!((queue.cancel(new), queue.cancel(old)), (0, 1));
    assert_eq!(queue.push(soon, 0, 6, state(1, 100)), Pushed::Queued, "what was cancelled is not replaced");
    queue.check_invariants();
}

#[test]
fn stale_messages_at_the_head_make_room_for_a_newer_one_of_another_key() {
    let (mut queue, now) = (conflating(2, 1000), epoch());
    let soon = now + Duration::from_millis(5);
    assert!(queue.push(now, 0, 1, state(1, 500).with_deadline(soon)).is_queued());
    assert!(queue.push(now, 0, 2, state(2, 400)).is_queued());
    assert_eq!(queue.push(soon, 0, 3, state(2, 900)), Pushed::Replaced { bytes: 400 });
    assert_eq!(queue.stats().dropped(DropReason::Stale).messages, 1);
    let stale = state(2, 900).with_deadline(soon);
    assert!(queue.push(soon, 0, 4, stale).is_queued());
    assert_eq!(queue.push(soon, 0, 5, Meta::new(500)), Pushed::Queued, "no message is left to stand behind");
    assert_eq!(drain(&mut queue, soon), [5]);
}

#[test]
fn keys_are_of_one_flow_and_of_no_other_policy() {
    let (mut queue, now) = (conflating(100, 1 << 20), epoch());
    let config = FlowConfig::new(1, 100, 1 << 20, Overflow::ReplaceByKey).unwrap();
    queue.open_flow(1, config).unwrap();
    open(&mut queue, 2, 1, 100, Overflow::DropOldest);
    for flow in [0, 1, 2, 2] {
        assert_eq!(queue.push(now, flow, 0, state(1, 100)), Pushed::Queued, "{flow}");
    }
    let _ = queue.close_flow(1);
    queue.open_flow(1, config).unwrap();
    assert_eq!(queue.push(now, 1, 0, state(1, 100)), Pushed::Queued, "a closed flow leaves no keys");
    queue.check_invariants();
}
