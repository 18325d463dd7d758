//! The ids handed out so far, and what became of the latest of them.

use std::collections::VecDeque;

/// What became of an id that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The peer may still answer it.
    InFlight,
    /// The peer has spoken: a second word is one too many.
    Answered,
    /// The asker is gone: the peer may still speak, once.
    GivenUp,
}

/// A counter of ids, and a window of fates that ends at its latest: one byte each, `keep` at most.
#[derive(Debug)]
pub(super) struct Past {
    /// How many ids were handed out, and so the latest of them.
    latest: u64,
    keep: usize,
    fates: VecDeque<Fate>,
}

impl Past {
    pub(super) fn new(keep: usize) -> Self {
        Self { latest: 0, keep, fates: VecDeque::new() }
    }

    /// Hands out an id that was never handed out before.
    pub(super) fn next_id(&mut self) -> u64 {
        if self.fates.len() == self.keep {
            self.fates.pop_front();
        }
        self.fates.push_back(Fate::InFlight);
        self.latest += 1;
        self.latest
    }

    /// Whether the id was handed out: 0 never is.
    pub(super) fn knows(&self, id: u64) -> bool {
        (1..=self.latest).contains(&id)
    }

    /// What became of an id; `None` if that is forgotten, or it was not handed out.
    pub(super) fn fate(&self, id: u64) -> Option<Fate> {
        self.fates.get(self.place(id)?).copied()
    }

    /// Notes what became of an id, unless it is forgotten.
    pub(super) fn settle(&mut self, id: u64, fate: Fate) {
        if let Some(place) = self.place(id) {
            self.fates[place] = fate;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.fates.len()
    }

    fn place(&self, id: u64) -> Option<usize> {
        let age = usize::try_from(self.latest.checked_sub(id)?).ok()?;
        self.fates.len().checked_sub(age.checked_add(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_ids_are_remembered() {
        let mut past = Past::new(4);
        assert!((0..3).all(|id| !past.knows(id) && past.fate(id).is_none()));
        assert!((1..=10).all(|id| past.next_id() == id));
        past.settle(7, Fate::GivenUp);
        past.settle(10, Fate::Answered);
        for (forgotten, unknown) in [(6, 11), (1, u64::MAX), (0, 12)] {
            past.settle(forgotten, Fate::Answered);
            past.settle(unknown, Fate::Answered);
            assert_eq!((past.fate(forgotten), past.fate(unknown)), (None, None));
            assert!(!past.knows(unknown));
        }
        let fates: Vec<Fate> = (7..=10).filter_map(|id| past.fate(id)).collect();
        assert_eq!(fates, [Fate::GivenUp, Fate::InFlight, Fate::InFlight, Fate::Answered]);
        assert!(past.knows(1) && !past.knows(0) && past.len() == 4);
    }
}
