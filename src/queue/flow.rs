//! Flows and their messages: admission, entry, and every way out.

use std::time::Instant;

use super::arena::List;
use super::{
    DropReason, FairQueue, FlowConfig, Meta, Overflow, Popped, Pushed, RefuseReason, Stats, Tally, charge,
};

/// One key's messages and its standing in the ring.
#[derive(Debug)]
pub(super) struct Flow<K> {
    pub(super) key: K,
    pub(super) config: FlowConfig,
    pub(super) entries: List,
    pub(super) stats: Stats,
    /// Bytes that it may send now; 0 while it holds nothing.
    pub(super) deficit: usize,
    /// Whether its current turn has had its quantum.
    pub(super) credited: bool,
}

/// One queued message.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) item: T,
    /// With a key only under [`Overflow::ReplaceByKey`].
    pub(super) meta: Meta,
    pub(super) pushed_at: Instant,
    pub(super) flow: u32,
}

/// Where a message may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// At the end of its flow.
    New,
    /// In the place of this entry, which has its key.
    InPlaceOf(u32),
    /// Nowhere, as things are.
    None,
}

impl<K> Flow<K> {
    pub(super) fn new(key: K, config: FlowConfig) -> Self {
        Self { key, config, entries: List::new(), stats: Stats::default(), deficit: 0, credited: false }
    }
}

impl<T> Entry<T> {
    pub(super) fn charge(&self) -> usize {
        charge(self.meta.bytes)
    }

    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.meta.deadline.is_some_and(|deadline| deadline <= now)
    }
}

impl<K: Ord + Copy, T> FairQueue<K, T> {
    /// Where a message may enter without dropping any but the one that it replaces.
    pub(super) fn room(&self, at: u32, meta: &Meta) -> Room {
        let older = meta.key.and_then(|key| self.replaceable.get(&(at, key)));
        let cost = charge(meta.bytes);
        match older {
            Some(&older) if self.admits_instead(at, older, cost) => Room::InPlaceOf(older),
            None if self.admits(at, cost) => Room::New,
            _ => Room::None,
        }
    }

    /// Whether a message fits by the rule of the module's "When there is no room".
    pub(super) fn admits(&self, at: u32, charge: usize) -> bool {
        self.admits_beside(at, charge, self.flows[at].stats.queued, self.flow_stats.queued)
    }

    /// Whether a message fits once another of its flow is gone.
    fn admits_instead(&self, at: u32, older: u32, charge: usize) -> bool {
        let gone = self.entries[older].charge();
        let (own, all) = (self.flows[at].stats.queued, self.flow_stats.queued);
        charge <= gone || self.admits_beside(at, charge, own.without(gone), all.without(gone))
    }

    /// Whether a message fits if its flow held `own`, and all flows together `all`.
    #[inline]
    fn admits_beside(&self, at: u32, charge: usize, own: Tally, all: Tally) -> bool {
        let (config, charge) = (&self.flows[at].config, charge as u64);
        if own.messages >= config.max_messages as u64 || charge > config.max_bytes as u64 - own.bytes {
            return false;
        }
        let free_messages = self.config.max_messages as u64 - all.messages;
        let free_bytes = self.config.max_bytes as u64 - all.bytes;
        if free_messages == 0 || charge > free_bytes {
            return false;
        }
        own.messages == 0
            || self.by_key.len() == 1
            || (own.messages + 1 < free_messages && own.bytes + charge <= free_bytes - charge)
    }

    pub(super) fn append(&mut self, now: Instant, at: u32, item: T, meta: Meta) {
        let flow = &mut self.flows[at];
        let entry = self.entries.push_back(&mut flow.entries, Entry { item, meta, pushed_at: now, flow: at });
        flow.stats.on_pushed(charge(meta.bytes));
        self.flow_stats.on_pushed(charge(meta.bytes));
        if flow.entries.len() == 1 {
            let ring = flow.config.priority as usize;
            self.flows.transfer(&mut self.idle, &mut self.busy[ring], at);
        }
        if let Some(key) = meta.key {
            self.replaceable.insert((at, key), entry);
        }
        if let Some(id) = meta.cancel {
            self.cancellable.insert((id, entry));
        }
    }

    /// Puts a message where there is room for it.
    pub(super) fn enter(&mut self, now: Instant, at: u32, room: Room, item: T, meta: Meta) -> Pushed<T> {
        if let Room::InPlaceOf(older) = room {
            return self.replace(now, older, item, meta);
        }
        self.append(now, at, item, meta);
        Pushed::Queued
    }

    /// Puts a message into the place of an older one of the same key, whose index entry serves on.
    fn replace(&mut self, now: Instant, older: u32, item: T, meta: Meta) -> Pushed<T> {
        let entry = &mut self.entries[older];
        let (bytes, newer_bytes, flow) = (entry.charge(), charge(meta.bytes), entry.flow);
        if let Some(id) = entry.meta.cancel {
            self.cancellable.remove(&(id, older));
        }
        if let Some(id) = meta.cancel {
            self.cancellable.insert((id, older));
        }
        let gone = std::mem::replace(entry, Entry { item, meta, pushed_at: now, flow });
        for stats in [&mut self.flows[flow].stats, &mut self.flow_stats] {
            stats.on_dropped(DropReason::Replaced, bytes);
            stats.on_pushed(newer_bytes);
        }
        self.part_with(gone);
        Pushed::Replaced { bytes }
    }

    /// The rarer half of push: reclaims what is stale, then does as the policy says.
    #[cold]
    pub(super) fn push_without_room(&mut self, now: Instant, at: u32, item: T, meta: Meta) -> Pushed<T> {
        let config = self.flows[at].config;
        let cost = charge(meta.bytes);
        if cost > config.max_bytes.min(self.config.max_bytes) {
            return self.refuse(Some(at), RefuseReason::TooLarge, item, meta.bytes);
        }
        self.drop_stale_head(now, at);
        let room = self.room(at, &meta);
        if room != Room::None {
            return self.enter(now, at, room, item, meta);
        }
        let empty = self.flows[at].entries.len() == 0;
        let reason = match config.overflow {
            Overflow::Wait => RefuseReason::Full,
            Overflow::DropOldest if self.fits_without_own(at, cost) => {
                return self.push_evicting(now, at, item, meta);
            }
            Overflow::Disconnect if !empty => RefuseReason::Disconnect,
            Overflow::DropOldest | Overflow::DropNewest | Overflow::Disconnect | Overflow::ReplaceByKey => {
                RefuseReason::Newest
            }
        };
        self.refuse(Some(at), reason, item, meta.bytes)
    }

    pub(super) fn refuse(
        &mut self,
        at: Option<u32>,
        reason: RefuseReason,
        item: T,
        bytes: usize,
    ) -> Pushed<T> {
        self.flow_stats.on_refused(reason, charge(bytes));
        if let Some(at) = at {
            self.flows[at].stats.on_refused(reason, charge(bytes));
        }
        Pushed::refused(reason, item)
    }

    /// Whether a message would fit if its flow held nothing: only then does evicting help.
    fn fits_without_own(&self, at: u32, charge: usize) -> bool {
        let (own, all) = (self.flows[at].stats.queued, self.flow_stats.queued);
        all.messages - own.messages < self.config.max_messages as u64
            && all.bytes - own.bytes + charge as u64 <= self.config.max_bytes as u64
    }

    fn push_evicting(&mut self, now: Instant, at: u32, item: T, meta: Meta) -> Pushed<T> {
        let (mut messages, mut bytes) = (0, 0);
        while !self.admits(at, charge(meta.bytes)) {
            let Some(oldest) = self.flows[at].entries.front() else { break };
            messages += 1;
            bytes += self.discard(oldest, DropReason::Evicted);
        }
        self.append(now, at, item, meta);
        Pushed::Evicted { messages, bytes }
    }

    pub(super) fn drop_stale_head(&mut self, now: Instant, at: u32) {
        while let Some(head) = self.flows[at].entries.front() {
            if !self.entries[head].is_stale(now) {
                return;
            }
            self.discard(head, DropReason::Stale);
        }
    }

    pub(super) fn drop_flow_messages(&mut self, at: u32, reason: DropReason) {
        while let Some(head) = self.flows[at].entries.front() {
            self.discard(head, reason);
        }
    }

    /// Takes the head of a flow whose turn it is.
    pub(super) fn take(&mut self, now: Instant, at: u32, head: u32) -> Popped<K, T> {
        let Entry { item, meta, pushed_at, .. } = self.unlink(at, head);
        let cost = charge(meta.bytes);
        let flow = &mut self.flows[at];
        flow.stats.on_popped(cost);
        self.flow_stats.on_popped(cost);
        flow.deficit = flow.deficit.saturating_sub(cost);
        let (key, class) = (Some(flow.key), flow.config.priority);
        self.settle_account(class, cost);
        Popped { key, item, bytes: meta.bytes, waited: now.saturating_duration_since(pushed_at) }
    }

    /// Drops one message, wherever it stands, and returns its charge.
    pub(super) fn discard(&mut self, entry: u32, reason: DropReason) -> usize {
        let at = self.entries[entry].flow;
        let gone = self.unlink(at, entry);
        let cost = gone.charge();
        self.flows[at].stats.on_dropped(reason, cost);
        self.flow_stats.on_dropped(reason, cost);
        self.part_with(gone);
        cost
    }

    /// Drops what has left the queue and is counted, or keeps it for the caller to drop.
    fn part_with(&mut self, gone: Entry<T>) {
        if let Some(lost) = &mut self.lost {
            lost.push(gone.item);
        }
    }

    /// Removes an entry from all indices. A flow that becomes empty leaves the ring.
    fn unlink(&mut self, at: u32, place: u32) -> Entry<T> {
        let flow = &mut self.flows[at];
        let entry = self.entries.remove(&mut flow.entries, place);
        if flow.entries.len() == 0 {
            flow.deficit = 0;
            flow.credited = false;
            let ring = flow.config.priority as usize;
            self.flows.transfer(&mut self.busy[ring], &mut self.idle, at);
        }
        if let Some(key) = entry.meta.key {
            self.replaceable.remove(&(at, key));
        }
        if let Some(id) = entry.meta.cancel {
            self.cancellable.remove(&(id, place));
        }
        entry
    }

    /// Checks every law that must hold between two calls. For tests and fuzzing: O(everything).
    ///
    /// # Panics
    ///
    /// If one is broken, which is a defect of this module.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        let (mut queued, mut cancellable, mut replaceable) = (Tally::default(), 0, 0);
        for &at in self.by_key.values() {
            let flow = &self.flows[at];
            assert!(flow.stats.is_conserved(), "a flow's counts");
            assert!(flow.stats.queued.messages <= flow.config.max_messages as u64, "a flow's messages");
            assert!(flow.stats.queued.bytes <= flow.config.max_bytes as u64, "a flow's bytes");
            assert!(flow.entries.len() > 0 || (flow.deficit == 0 && !flow.credited), "an idle flow saves");
            let mut held = Tally::default();
            for place in self.entries.places(&flow.entries) {
                let entry = &self.entries[place];
                held.add(entry.charge());
                assert_eq!(entry.flow, at, "an entry knows its flow");
                assert!(entry.meta.cancel.is_none_or(|id| self.cancellable.contains(&(id, place))), "index");
                cancellable += usize::from(entry.meta.cancel.is_some());
                if let Some(key) = entry.meta.key {
                    assert_eq!(flow.config.overflow, Overflow::ReplaceByKey, "a key of use");
                    assert_eq!(self.replaceable.get(&(at, key)), Some(&place), "one message of a key");
                    replaceable += 1;
                }
            }
            assert_eq!(held, flow.stats.queued, "what a flow holds is what it counts");
            queued = queued.plus(held);
        }
        assert_eq!(queued, self.flow_stats.queued, "flows add up");
        assert!(self.flow_stats.is_conserved() && self.control_stats.is_conserved(), "the law");
        assert!(queued.messages <= self.config.max_messages as u64, "the queue's messages");
        assert!(queued.bytes <= self.config.max_bytes as u64, "the queue's bytes");
        let busy: usize = self.busy.iter().map(List::len).sum();
        assert_eq!(busy + self.idle.len(), self.by_key.len(), "a flow is busy or idle");
        for (class, ring) in self.busy.iter().enumerate() {
            for flow in self.flows.places(ring).map(|at| &self.flows[at]) {
                assert!(flow.entries.len() > 0 && flow.config.priority as usize == class, "the rings");
            }
        }
        assert!(self.account.ahead() < super::HIGH_BURST_BYTES + self.config.max_bytes, "the budget");
        assert_eq!(self.cancellable.len(), cancellable, "the index of what can be cancelled");
        assert_eq!(self.replaceable.len(), replaceable, "the index of what can be replaced");
    }
}
