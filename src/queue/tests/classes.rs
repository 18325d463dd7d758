//! Priority classes: who is next, and what keeps the lower class alive.

use super::*;

const MIB: usize = 1 << 20;
const VOTES: u8 = 100;

fn open_in(queue: &mut FairQueue<u8, u32>, key: u8, priority: Priority) {
    let config = FlowConfig::new(1, 1000, 1 << 26, Overflow::Wait).unwrap().with_priority(priority);
    queue.open_flow(key, config).unwrap();
}

/// Bulk flows of 1 MiB messages that never run dry, and a flow of votes of 100 B.
struct Busy {
    queue: FairQueue<u8, u32>,
    bulk: u8,
    now: Instant,
}

impl Busy {
    fn new(bulk: u8, votes: Priority) -> Self {
        let mut queue = queue(1000, 1 << 28);
        for key in 0..bulk {
            open_in(&mut queue, key, Priority::Normal);
        }
        open_in(&mut queue, VOTES, votes);
        Self { queue, bulk, now: epoch() }
    }

    fn pop(&mut self) -> u8 {
        for key in 0..self.bulk {
            while self.queue.flow_len(key) < 2 {
                assert_eq!(self.queue.push(self.now, key, 0, Meta::new(MIB)), Pushed::Queued);
            }
        }
        self.queue.pop(self.now).unwrap().key.unwrap()
    }

    fn vote(&mut self) {
        assert_eq!(self.queue.push(self.now, VOTES, 0, Meta::new(100)), Pushed::Queued);
    }

    /// How many bulk messages go before the vote that joins now.
    fn wait(&mut self) -> usize {
        self.vote();
        (0..).take_while(|_| self.pop() != VOTES).count()
    }
}

#[test]
fn a_vote_in_the_high_class_is_the_very_next_pop() {
    let mut busy = Busy::new(8, Priority::High);
    for round in 0..200 {
        for _ in 0..round % 11 {
            assert_ne!(busy.pop(), VOTES);
        }
        assert_eq!(busy.wait(), 0, "round {round}");
    }
    busy.queue.check_invariants();
}

#[test]
fn a_large_message_that_is_left_goes_after_a_vote_that_joins() {
    for votes in [Priority::High, Priority::Normal] {
        let mut busy = Busy::new(1, votes);
        assert_eq!(busy.pop(), 0);
        assert_eq!(busy.queue.pop_within(busy.now, MIB - 1), None);
        assert_eq!(busy.queue.len(), 1, "it is left, not lost");
        busy.vote();
        let popped = busy.queue.pop_within(busy.now, MIB - 1);
        // A class goes first at any time. Among equals the turn that was found stays with the large one.
        assert_eq!(popped.is_some(), votes == Priority::High);
        while busy.queue.pop_within(busy.now, MIB).is_some() {}
        assert!(busy.queue.is_empty());
        busy.queue.check_invariants();
    }
}

#[test]
fn in_one_class_a_vote_can_wait_for_a_message_of_each_bulk_flow() {
    let mut busy = Busy::new(8, Priority::Normal);
    let waits: Vec<usize> = (0..200)
        .map(|round| {
            (0..round % 11).for_each(|_| assert_ne!(busy.pop(), VOTES));
            busy.wait()
        })
        .collect();
    // One of the eight has had its turn just before: its message is the one being written.
    assert_eq!(waits.iter().max(), Some(&7), "{waits:?}");
}

#[test]
fn votes_beyond_the_budget_wait_for_one_message_and_no_more() {
    let mut busy = Busy::new(8, Priority::High);
    let (mut run, mut bulk) = (0, 0);
    for _ in 0..20_000 {
        while busy.queue.flow_len(VOTES) < 3 {
            busy.vote();
        }
        if busy.pop() == VOTES {
            run += 1;
        } else {
            // A message of 1 MiB pays off whatever the votes are ahead.
            assert_eq!(run, HIGH_BURST_BYTES.div_ceil(100), "votes between two bulk messages");
            (run, bulk) = (0, bulk + 1);
        }
    }
    assert_eq!(bulk, 7);
}

/// Pops from one flow of each class that never run dry; (high, normal) bytes of each pop.
fn contend(high: usize, normal: usize, pops: usize) -> Vec<(usize, usize)> {
    let (mut queue, now) = (queue(100, 1 << 26), epoch());
    open_in(&mut queue, 0, Priority::High);
    open_in(&mut queue, 1, Priority::Normal);
    let mut sent = Vec::new();
    for _ in 0..pops {
        for (key, bytes) in [(0, high), (1, normal)] {
            while queue.flow_len(key) < 3 {
                assert_eq!(queue.push(now, key, 0, Meta::new(bytes)), Pushed::Queued);
            }
        }
        sent.push(match queue.pop(now).unwrap().key {
            Some(0) => (charge(high), 0),
            _ => (0, charge(normal)),
        });
    }
    queue.check_invariants();
    sent
}

fn sum(sent: &[(usize, usize)]) -> (usize, usize) {
    sent.iter().fold((0, 0), |sum, bytes| (sum.0 + bytes.0, sum.1 + bytes.1))
}

#[test]
fn the_lower_class_gets_a_sixteenth_of_the_bytes() {
    for (high, normal) in [(100, 100), (100, 5000), (60_000, 100), (200_000, 9000)] {
        let (high_sent, normal_sent) = sum(&contend(high, normal, 60_000));
        let due = HIGH_SHARE * normal_sent + HIGH_BURST_BYTES;
        assert!(high_sent.abs_diff(due) <= high + HIGH_SHARE * normal, "{high_sent} of {due}");
        assert!(normal_sent > 0);
    }
}

#[test]
fn what_the_high_class_sends_while_nobody_waits_is_free() {
    let (mut queue, now) = (queue(100, 1 << 26), epoch());
    open_in(&mut queue, 0, Priority::High);
    open_in(&mut queue, 1, Priority::Normal);
    for _ in 0..100 {
        assert_eq!(queue.push(now, 0, 0, Meta::new(MIB)), Pushed::Queued);
        assert_eq!(queue.pop(now).unwrap().key, Some(0));
    }
    assert_eq!(queue.push(now, 1, 0, Meta::new(MIB)), Pushed::Queued);
    assert_eq!(queue.push(now, 0, 0, Meta::new(100)), Pushed::Queued);
    assert_eq!(queue.pop(now).unwrap().key, Some(0));
}

#[test]
fn a_class_that_holds_only_stale_messages_gives_way() {
    for (stale, fresh) in [(Priority::High, Priority::Normal), (Priority::Normal, Priority::High)] {
        let (mut queue, now) = (queue(100, 1 << 26), epoch());
        open_in(&mut queue, 0, stale);
        open_in(&mut queue, 1, fresh);
        let soon = now + Duration::from_millis(1);
        assert!(queue.push(now, 0, 1, Meta::new(MIB).with_deadline(soon)).is_queued());
        assert!(queue.push(now, 1, 2, Meta::new(MIB)).is_queued());
        assert_eq!(queue.pop(soon).map(|popped| popped.item), Some(2));
        queue.drain_all();
        assert!(queue.is_empty() && queue.stats().is_conserved());
    }
}

#[test]
fn weights_hold_within_a_class() {
    let (mut queue, now) = (queue(1000, 1 << 26), epoch());
    let mut sent = [0_usize; 6];
    for key in 0..6 {
        let priority = if key < 3 { Priority::High } else { Priority::Normal };
        let config = FlowConfig::new(1 + u32::from(key % 3), 10, 1 << 20, Overflow::Wait).unwrap();
        queue.open_flow(key, config.with_priority(priority)).unwrap();
    }
    for _ in 0..50_000 {
        for key in 0..6 {
            while queue.flow_len(key) < 2 {
                assert!(queue.push(now, key, 0, Meta::new(3000)).is_queued());
            }
        }
        sent[usize::from(queue.pop(now).unwrap().key.unwrap())] += 3000;
    }
    for class in [0, 3] {
        let one = (sent[class] + sent[class + 1] + sent[class + 2]) / 6;
        for (at, weight) in (class..).zip(1..=3) {
            assert!(sent[at].abs_diff(one * weight) <= 3 * (3000 + 3 * QUANTUM_BYTES), "{sent:?}");
        }
    }
}

proptest! {
    #[test]
    fn no_window_gives_the_high_class_more_than_its_share_and_burst(
        high in 64_usize..400_000,
        normal in 64_usize..400_000,
        from in 0_usize..1000,
        len in 1_usize..1000,
    ) {
        let sent = contend(high, normal, from + len);
        let (high_sent, normal_sent) = sum(&sent[from..]);
        prop_assert!(high_sent < HIGH_SHARE * normal_sent + HIGH_BURST_BYTES + high);
    }
}
