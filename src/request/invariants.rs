//! The laws that hold between two calls.

use std::collections::BTreeSet;

use super::{Sent, Ticket, Waiters};

impl<T> Waiters<T> {
    /// Checks every law that must hold between two calls. For tests and fuzzing: O(everything).
    ///
    /// # Panics
    ///
    /// If one is broken, which is a defect of this module.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        assert!(self.stats().is_conserved(), "the law");
        assert!(self.in_flight.len() <= self.limits.in_flight(), "in flight");
        assert!(self.past.len() <= self.limits.remembered(), "the past is bounded");
        assert!(!self.closed || self.questions.is_empty(), "a closed table is empty");
        assert!(
            self.questions.last_key_value().is_none_or(|(last, _)| last.0 <= self.last_ticket),
            "tickets"
        );
        self.check_questions();
        for index in 0..self.lines.len() {
            self.check_line(index);
        }
    }

    fn check_questions(&self) {
        let mut sent = 0;
        for (ticket, question) in &self.questions {
            let waits = self.lines[question.line].waiting.contains(ticket);
            assert_eq!(waits, question.sent.is_none(), "a question waits or was sent");
            if let Some(Sent { id, .. }) = question.sent {
                sent += 1;
                assert_eq!(self.in_flight.get(&id), Some(ticket), "what was sent is found by its id");
                assert!(self.past.knows(id), "an id in flight was given");
                assert!(!self.past.has_spoken(id), "and the peer has not spoken on it");
            }
        }
        assert_eq!(sent, self.in_flight.len(), "all that is in flight is in the table");
        let waiting: usize = self.lines.iter().map(|line| line.waiting.len()).sum();
        assert_eq!(waiting, self.waiting(), "all that waits is in the table");
    }

    fn check_line(&self, index: usize) {
        let line = &self.lines[index];
        let sent = |ticket: &&Ticket| self.questions[ticket].line == index;
        assert_eq!(line.in_flight, self.in_flight.values().filter(sent).count(), "a channel in flight");
        assert!(line.waiting.len() <= self.limits.waiting_per_channel(), "a channel's waiting");
        let own: BTreeSet<usize> = line.waiting.iter().map(|ticket| self.questions[ticket].line).collect();
        assert!(own.iter().all(|&of| of == index), "a channel's questions are its own");
        assert_eq!(self.turns.load(index), self.load(index), "the turns know what a channel holds");
    }
}
