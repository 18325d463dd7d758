//! The ids handed out so far, and on which of the latest the peer has spoken.

use std::collections::VecDeque;

/// A counter of ids, and a window that ends at its latest: one byte for each, `keep` at most.
#[derive(Debug)]
pub(super) struct Past {
    /// How many ids were handed out, and so the latest of them.
    latest: u64,
    keep: usize,
    /// Whether the peer has answered or refused; a second word is one too many.
    spoken: VecDeque<bool>,
    /// How many ids were forgotten, and how many words the peer has had on all of them together: of which it was on
    /// is forgotten, but not that it may have no more words than there are ids.
    forgotten: u64,
    words_on_forgotten: u64,
}

impl Past {
    pub(super) fn new(keep: usize) -> Self {
        Self { latest: 0, keep, spoken: VecDeque::new(), forgotten: 0, words_on_forgotten: 0 }
    }

    /// Hands out an id that was never handed out before.
    pub(super) fn next_id(&mut self) -> u64 {
        if self.spoken.len() == self.keep
            && let Some(spoken) = self.spoken.pop_front()
        {
            self.forgotten += 1;
            self.words_on_forgotten += u64::from(spoken);
        }
        self.spoken.push_back(false);
        self.latest += 1;
        self.latest
    }

    /// Whether the id was handed out: 0 never is.
    pub(super) fn knows(&self, id: u64) -> bool {
        (1..=self.latest).contains(&id)
    }

    /// Whether the peer is known to have spoken on an id; false if that is forgotten.
    pub(super) fn has_spoken(&self, id: u64) -> bool {
        self.place(id).is_some_and(|place| self.spoken[place])
    }

    /// Whether the peer may have a word on an id that was handed out. One that is forgotten has the benefit of the
    /// doubt, as often as there are such ids.
    pub(super) fn may_speak(&self, id: u64) -> bool {
        match self.place(id) {
            Some(place) => !self.spoken[place],
            None => self.words_on_forgotten < self.forgotten,
        }
    }

    /// Notes that the peer has spoken on an id.
    pub(super) fn spoke(&mut self, id: u64) {
        match self.place(id) {
            Some(place) => self.spoken[place] = true,
            None if self.knows(id) => self.words_on_forgotten += 1,
            None => {}
        }
    }

    pub(super) fn len(&self) -> usize {
        self.spoken.len()
    }

    fn place(&self, id: u64) -> Option<usize> {
        let age = usize::try_from(self.latest.checked_sub(id)?).ok()?;
        self.spoken.len().checked_sub(age.checked_add(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_ids_are_remembered() {
        let mut past = Past::new(4);
        assert!((0..3).all(|id| !past.knows(id) && !past.has_spoken(id)));
        assert!((1..=10).all(|id| past.next_id() == id));
        for id in [0, 1, 6, 7, 10, 11, u64::MAX] {
            past.spoke(id);
        }
        let spoken: Vec<u64> = (0..20).filter(|&id| past.has_spoken(id)).collect();
        assert_eq!(spoken, [7, 10], "6 is forgotten, and 11 unknown");
        let known: Vec<u64> = (0..20).filter(|&id| past.knows(id)).collect();
        assert_eq!(known, (1..=10).collect::<Vec<u64>>());
        assert_eq!(past.len(), 4);
    }

    #[test]
    fn on_what_is_forgotten_there_is_one_word_for_each_id() {
        let mut past = Past::new(2);
        assert_eq!(past.next_id(), 1);
        past.spoke(1);
        assert!((2..=5).all(|id| past.next_id() == id));
        // 1 to 3 are forgotten, and one of them was answered; which one, nobody can tell.
        for id in [1, 3] {
            assert!(past.may_speak(id));
            past.spoke(id);
        }
        assert!((1..=3).all(|id| !past.may_speak(id)));
        assert!((4..=5).all(|id| past.may_speak(id)));
        past.next_id();
        assert!(past.may_speak(1), "4 was forgotten, and never answered");
    }
}
