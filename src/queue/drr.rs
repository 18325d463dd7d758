//! Deficit round robin (Shreedhar and Varghese, 1996), with idle rounds computed instead of run.
//!
//! The front of the ring has the turn. Its quantum is added once per turn; while its deficit covers its
//! head, it sends; else the turn passes on and the deficit stays. With quanta smaller than messages, whole
//! rounds may send nothing: after one such round, the least number of rounds that lets some flow send is credited to
//! all at once. That is exactly what running them would have done.
//!
//! Each class has a ring of its own, which rests while the other is served; the [`account`](super::account)
//! says which.

use std::time::Instant;

use super::{FairQueue, Priority};

impl<K: Ord + Copy, T> FairQueue<K, T> {
    /// Finds the flow whose turn it is and its head, which is fresh and covered by its deficit.
    pub(super) fn next_turn(&mut self, now: Instant) -> Option<(u32, u32)> {
        let mut turns_in_vain = 0;
        loop {
            // The class changes only if all that it held was stale; then no turn was in vain.
            let ring = self.first_class() as usize;
            let at = self.busy[ring].front()?;
            self.drop_stale_head(now, at);
            let flow = &mut self.flows[at];
            let Some(head) = flow.entries.front() else { continue };
            if !flow.credited {
                flow.credited = true;
                flow.deficit += flow.config.quantum();
            }
            if self.entries[head].charge() <= flow.deficit {
                return Some((at, head));
            }
            flow.credited = false;
            self.flows.rotate(&mut self.busy[ring]);
            turns_in_vain += 1;
            if turns_in_vain >= self.busy[ring].len() {
                self.skip_idle_rounds(ring);
                turns_in_vain = 0;
            }
        }
    }

    /// The class that goes first, of those that hold anything.
    fn first_class(&self) -> Priority {
        let waits = |class: Priority| self.busy[class as usize].front().is_some();
        if !waits(Priority::High) || (waits(Priority::Normal) && !self.account.high_may_send()) {
            Priority::Normal
        } else {
            Priority::High
        }
    }

    /// Books what a class has just sent.
    pub(super) fn settle_account(&mut self, class: Priority, charge: usize) {
        match class {
            Priority::Normal => self.account.normal_sent(charge),
            Priority::High if self.busy[Priority::Normal as usize].front().is_some() => {
                self.account.high_sent(charge);
            }
            Priority::High => {}
        }
    }

    /// Credits every busy flow of a class with the rounds in which none of them could send.
    ///
    /// Called after a whole round in vain, so that every head is fresh and above its flow's deficit.
    #[cold]
    fn skip_idle_rounds(&mut self, ring: usize) {
        let rounds = self.flows.places(&self.busy[ring]).map(|at| self.rounds_to_send(at)).min();
        let idle = rounds.unwrap_or(1).saturating_sub(1);
        let mut next = self.busy[ring].front();
        while let Some(at) = next {
            let flow = &mut self.flows[at];
            flow.deficit += flow.config.quantum() * idle;
            next = self.flows.next(at);
        }
    }

    fn rounds_to_send(&self, at: u32) -> usize {
        let flow = &self.flows[at];
        let head = flow.entries.front().map_or(0, |head| self.entries[head].charge());
        head.saturating_sub(flow.deficit).div_ceil(flow.config.quantum())
    }
}
