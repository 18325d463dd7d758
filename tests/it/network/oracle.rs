//! That the ledger refuses what must not be.

use peerage::id::ConnId;

use super::drive::ledger::{Ledger, Life, Place, Unread, Word};
use super::drive::ops::Lane;

const A: Life = (0, 0);
const B: Life = (1, 0);

/// What the first node sends to the second on its connection of that number.
fn word(conn: u64) -> Word {
    Word { from: A, conn: ConnId::new(conn), to: 1, lane: Lane::Bulk, bytes: 8 }
}

/// A ledger in which the first node has sent these numbers to the second, on these connections.
fn sent(words: &[(u64, u64)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (number, conn) in words {
        ledger.said(*number, word(*conn), Place::Last, None);
    }
    ledger
}

/// The second node reads a number on its connection of that number.
fn reads(ledger: &mut Ledger, number: u64, conn: u64) {
    ledger.heard(B, number, &word(conn));
}

#[test]
fn what_is_read_in_order_is_no_fault_and_what_is_left_out_is_unread() {
    let mut ledger = sent(&[(1, 5), (2, 5), (3, 6)]);
    reads(&mut ledger, 1, 9);
    reads(&mut ledger, 3, 10);
    assert_eq!(ledger.fault(), None);
    let unread = ledger.unread(|_, conn| conn == ConnId::new(6));
    assert_eq!(unread[&Lane::Bulk], Unread { all: 1, live: 0 });
    assert_eq!(ledger.other_end((B, ConnId::new(9))), Some((A, ConnId::new(5))));
}

#[test]
fn an_invention_is_a_fault() {
    let mut ledger = sent(&[(1, 5)]);
    reads(&mut ledger, 2, 9);
    assert!(ledger.fault().unwrap().contains("nobody sent"));
}

#[test]
fn a_duplicate_is_a_fault_on_any_connection() {
    for again in [9, 10] {
        let mut ledger = sent(&[(1, 5)]);
        reads(&mut ledger, 1, 9);
        reads(&mut ledger, 1, again);
        assert!(ledger.fault().unwrap().contains("twice"));
    }
}

#[test]
fn two_that_change_places_are_a_fault_even_over_two_connections() {
    for conns in [[5, 5], [5, 6]] {
        let mut ledger = sent(&[(1, conns[0]), (2, conns[1])]);
        reads(&mut ledger, 2, conns[1] + 4);
        reads(&mut ledger, 1, conns[0] + 4);
        assert!(ledger.fault().unwrap().contains("of place 1 after 2"));
    }
}

#[test]
fn what_takes_the_place_of_another_is_read_in_that_place() {
    for (order, fits) in [([3, 2], true), ([2, 3], false)] {
        let mut ledger = Ledger::default();
        ledger.said(1, word(5), Place::Last, Some(7));
        ledger.said(2, word(5), Place::Last, None);
        ledger.said(3, word(5), Place::Of(7), Some(7));
        order.into_iter().for_each(|number| reads(&mut ledger, number, 9));
        assert_eq!(ledger.fault().is_none(), fits, "{:?}", ledger.fault());
    }
}

#[test]
fn a_key_that_nobody_queued_has_no_place() {
    let mut ledger = Ledger::default();
    ledger.said(1, word(5), Place::Of(7), Some(7));
    assert!(ledger.fault().unwrap().contains("was not there"));
}

#[test]
fn a_message_of_another_connection_peer_channel_or_length_is_a_fault() {
    let mut ledger = sent(&[(1, 5), (2, 6)]);
    reads(&mut ledger, 1, 9);
    reads(&mut ledger, 2, 9);
    assert!(ledger.fault().unwrap().contains("belong to"), "two connections cannot end in one");
    let others = [
        Word { from: (2, 0), ..word(9) },
        Word { lane: Lane::Vote, ..word(9) },
        Word { bytes: 7, ..word(9) },
        Word { conn: ConnId::LOCAL, ..word(9) },
    ];
    for heard in others {
        let mut ledger = sent(&[(1, 5)]);
        ledger.heard(B, 1, &heard);
        assert!(ledger.fault().is_some(), "{heard:?}");
    }
}

#[test]
fn a_question_ends_once_and_with_no_answer_that_nobody_gave() {
    let asked = || {
        let mut ledger = Ledger::default();
        ledger.asks(1, A);
        ledger.was_asked(B, 1, A.0);
        ledger
    };
    let mut ledger = asked();
    assert_eq!(ledger.open_questions(), [1]);
    ledger.answers(1, B.0);
    ledger.ends(1, Some((1, B.0)));
    assert_eq!((ledger.fault(), ledger.open_questions().len()), (None, 0));
    ledger.ends(1, None);
    assert!(ledger.fault().unwrap().contains("ends twice"));

    let ends = |answered: bool, answer| {
        let mut ledger = asked();
        if answered {
            ledger.answers(1, B.0);
        }
        ledger.ends(1, answer);
        ledger.fault().is_some()
    };
    assert!(ends(false, Some((1, B.0))) && ends(true, Some((2, B.0))) && ends(true, Some((1, 2))));
    assert!(!ends(false, None) && !ends(true, None));
}

#[test]
fn a_question_that_nobody_asked_or_that_comes_twice_is_a_fault() {
    let faulty = |act: fn(&mut Ledger)| {
        let mut ledger = Ledger::default();
        ledger.asks(1, A);
        act(&mut ledger);
        ledger.fault().is_some()
    };
    assert!(!faulty(|ledger| ledger.was_asked(B, 1, A.0)));
    assert!(faulty(|ledger| ledger.was_asked(B, 2, A.0)));
    assert!(faulty(|ledger| ledger.was_asked(B, 1, 2)), "another asked it");
    assert!(faulty(|ledger| (0..2).for_each(|_| ledger.was_asked(B, 1, A.0))));
    assert!(faulty(|ledger| ledger.ends(3, None)));
}
