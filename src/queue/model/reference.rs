//! The reference: slow, short, and unlike the machine wherever it can be.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{
    CONTROL_MAX_BYTES, CONTROL_MAX_MESSAGES, CancelId, DropReason, FlowConfig, HIGH_BURST_BYTES, HIGH_SHARE,
    Meta, Overflow, Popped, Priority, Pushed, QUANTUM_BYTES, QueueConfig, RefuseReason, Stats, Tally, charge,
};

#[derive(Debug, Clone)]
struct Item {
    serial: u64,
    meta: Meta,
    pushed_at: Instant,
}

/// What went in, came out and was lost, as the model saw it.
#[derive(Debug, Default, Clone)]
pub(super) struct Ledger {
    pushed: Tally,
    popped: Tally,
    dropped: BTreeMap<DropReason, Tally>,
    refused: BTreeMap<RefuseReason, Tally>,
}

fn count(tally: &mut Tally, bytes: usize) {
    tally.messages += 1;
    tally.bytes += charge(bytes) as u64;
}

impl Ledger {
    /// Compares every count, and checks that none is missing: pushed = popped + dropped + queued.
    pub(super) fn compare(&self, stats: &Stats, queued: Tally, whose: &str) {
        assert_eq!((stats.pushed, stats.popped), (self.pushed, self.popped), "{whose}: in and out");
        assert_eq!(stats.queued, queued, "{whose}: queued");
        for reason in DropReason::ALL {
            let ours = self.dropped.get(&reason).copied().unwrap_or_default();
            assert_eq!(stats.dropped(reason), ours, "{whose}: {reason}");
        }
        for reason in RefuseReason::ALL {
            let ours = self.refused.get(&reason).copied().unwrap_or_default();
            assert_eq!(stats.refused(reason), ours, "{whose}: {reason}");
        }
        assert!(stats.is_conserved(), "{whose}: the law");
        let out: Tally = self.dropped.values().copied().chain([self.popped, queued]).sum();
        assert_eq!(self.pushed, out, "{whose}: the law of the model");
    }
}

#[derive(Debug)]
struct Flow {
    key: u8,
    config: FlowConfig,
    items: Vec<Item>,
    ledger: Ledger,
    deficit: usize,
    credited: bool,
}

impl Flow {
    fn bytes(&self) -> usize {
        self.items.iter().map(|item| charge(item.meta.bytes)).sum()
    }

    fn held(&self) -> Tally {
        Tally { messages: self.items.len() as u64, bytes: self.bytes() as u64 }
    }

    /// Where the message stands that one of this `meta` replaces.
    fn older(&self, meta: &Meta) -> Option<usize> {
        let alike = |item: &Item| item.meta.key.is_some() && item.meta.key == meta.key;
        (self.config.overflow() == Overflow::ReplaceByKey).then(|| self.items.iter().position(alike))?
    }
}

#[derive(Debug)]
pub(super) struct Model {
    config: QueueConfig,
    flows: BTreeMap<u8, Flow>,
    /// Keys of flows with messages, in the order of their turns; those of both classes.
    ring: Vec<u8>,
    /// What the high class may still send before a normal message that waits; below zero it owes.
    credit: i64,
    control: Vec<Item>,
    ledger: Ledger,
    closed: bool,
}

impl Model {
    pub(super) fn new(config: QueueConfig) -> Self {
        Self {
            config,
            flows: BTreeMap::new(),
            ring: Vec::new(),
            credit: i64::try_from(HIGH_BURST_BYTES).unwrap(),
            control: Vec::new(),
            ledger: Ledger::default(),
            closed: false,
        }
    }

    pub(super) fn open(&mut self, key: u8, config: FlowConfig) -> bool {
        let fits = !self.closed && !self.flows.contains_key(&key);
        if fits {
            let (items, ledger) = (Vec::new(), Ledger::default());
            self.flows.insert(key, Flow { key, config, items, ledger, deficit: 0, credited: false });
        }
        fits
    }

    pub(super) fn close_flow(&mut self, key: u8) -> Option<Ledger> {
        let lost = std::mem::take(&mut self.flow(key)?.items);
        self.lose(key, DropReason::FlowClosed, &lost);
        self.flows.remove(&key).map(|flow| flow.ledger)
    }

    pub(super) fn push(&mut self, now: Instant, key: u8, serial: u64, meta: Meta) -> Pushed<u64> {
        let outcome = self.try_push(now, key, Item { serial, meta, pushed_at: now });
        let reason = match outcome {
            Pushed::Queued | Pushed::Evicted { .. } | Pushed::Replaced { .. } => {
                count(&mut self.ledger.pushed, meta.bytes);
                count(&mut self.flow(key).unwrap().ledger.pushed, meta.bytes);
                return outcome;
            }
            Pushed::Full(_) => RefuseReason::Full,
            Pushed::DroppedNewest(_) => RefuseReason::Newest,
            Pushed::Disconnect(_) => RefuseReason::Disconnect,
            Pushed::NoFlow(_) => RefuseReason::NoFlow,
            Pushed::TooLarge(_) => RefuseReason::TooLarge,
            Pushed::Closed(_) => RefuseReason::Closed,
        };
        count(self.ledger.refused.entry(reason).or_default(), meta.bytes);
        if let Some(flow) = self.flow(key).filter(|_| reason != RefuseReason::Closed) {
            count(flow.ledger.refused.entry(reason).or_default(), meta.bytes);
        }
        outcome
    }

    pub(super) fn control(&mut self, now: Instant, serial: u64, bytes: usize) -> Pushed<u64> {
        let held: usize = self.control.iter().map(|item| charge(item.meta.bytes)).sum();
        let (reason, outcome) = if self.closed {
            (RefuseReason::Closed, Pushed::Closed(serial))
        } else if charge(bytes) > CONTROL_MAX_BYTES {
            (RefuseReason::TooLarge, Pushed::TooLarge(serial))
        } else if self.control.len() >= CONTROL_MAX_MESSAGES || held + charge(bytes) > CONTROL_MAX_BYTES {
            (RefuseReason::Full, Pushed::Full(serial))
        } else {
            self.control.push(Item { serial, meta: Meta::new(bytes), pushed_at: now });
            count(&mut self.ledger.pushed, bytes);
            return Pushed::Queued;
        };
        count(self.ledger.refused.entry(reason).or_default(), bytes);
        outcome
    }

    /// Deficit round robin as in the paper: one turn after another, however many it takes.
    pub(super) fn pop(&mut self, now: Instant, max_bytes: usize) -> Option<Popped<u8, u64>> {
        if !self.control.is_empty() {
            let item = self.control.remove(0);
            return Some(self.popped(now, None, &item));
        }
        let mut class = self.first_class();
        loop {
            let Some(at) = self.ring.iter().position(|key| self.class(*key) == class) else {
                // All that the first class held was stale.
                class = self.ring.first().map(|key| self.class(*key))?;
                continue;
            };
            let key = self.ring[at];
            self.drop_stale_head(now, key);
            let flow = self.flow(key)?;
            let Some(head) = flow.items.first().cloned() else { continue };
            if !flow.credited {
                flow.credited = true;
                flow.deficit += QUANTUM_BYTES * flow.config.weight() as usize;
            }
            if charge(head.meta.bytes) <= flow.deficit {
                if charge(head.meta.bytes) > max_bytes {
                    return None;
                }
                flow.deficit -= charge(head.meta.bytes);
                flow.items.remove(0);
                self.settle();
                self.book(class, charge(head.meta.bytes));
                return Some(self.popped(now, Some(key), &head));
            }
            flow.credited = false;
            self.ring.remove(at);
            self.ring.push(key);
        }
    }

    pub(super) fn cancel(&mut self, id: CancelId) -> usize {
        let mut cancelled = 0;
        for key in self.flow_keys().collect::<Vec<_>>() {
            let items = &mut self.flow(key).unwrap().items;
            let lost: Vec<Item> = items.extract_if(.., |item| item.meta.cancel == Some(id)).collect();
            cancelled += lost.len();
            self.lose(key, DropReason::Cancelled, &lost);
        }
        cancelled
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn drain_all(&mut self) -> Tally {
        let held = self.held();
        for item in std::mem::take(&mut self.control) {
            count(self.ledger.dropped.entry(DropReason::Shutdown).or_default(), item.meta.bytes);
        }
        for key in self.flow_keys().collect::<Vec<_>>() {
            let lost = std::mem::take(&mut self.flow(key).unwrap().items);
            self.lose(key, DropReason::Shutdown, &lost);
        }
        held
    }

    pub(super) fn has_room(&self, key: u8, cost: usize) -> bool {
        !self.closed && self.admits(key, cost)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held().messages == 0
    }

    /// All that is queued, control included.
    pub(super) fn held(&self) -> Tally {
        let mut held: Tally = self.flows.values().map(Flow::held).sum();
        for item in &self.control {
            count(&mut held, item.meta.bytes);
        }
        held
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn flow_keys(&self) -> impl Iterator<Item = u8> {
        self.flows.keys().copied()
    }

    /// Each flow's key, counts, and what it holds.
    pub(super) fn flows(&self) -> impl Iterator<Item = (u8, &Ledger, Tally)> {
        self.flows.values().map(|flow| (flow.key, &flow.ledger, flow.held()))
    }

    fn flow(&mut self, key: u8) -> Option<&mut Flow> {
        self.flows.get_mut(&key)
    }

    fn class(&self, key: u8) -> Priority {
        self.flows[&key].config.priority()
    }

    fn waits(&self, class: Priority) -> bool {
        self.ring.iter().any(|key| self.class(*key) == class)
    }

    fn first_class(&self) -> Priority {
        match (self.waits(Priority::High), self.waits(Priority::Normal)) {
            (true, true) if self.credit <= 0 => Priority::Normal,
            (true, _) => Priority::High,
            _ => Priority::Normal,
        }
    }

    fn book(&mut self, class: Priority, cost: usize) {
        let (cost, share) = (i64::try_from(cost).unwrap(), i64::try_from(HIGH_SHARE).unwrap());
        if class == Priority::Normal {
            self.credit = (self.credit + share * cost).min(i64::try_from(HIGH_BURST_BYTES).unwrap());
        } else if self.waits(Priority::Normal) {
            self.credit -= cost;
        }
    }

    fn popped(&mut self, now: Instant, key: Option<u8>, item: &Item) -> Popped<u8, u64> {
        count(&mut self.ledger.popped, item.meta.bytes);
        if let Some(flow) = key.and_then(|key| self.flow(key)) {
            count(&mut flow.ledger.popped, item.meta.bytes);
        }
        Popped { key, item: item.serial, bytes: item.meta.bytes, waited: now - item.pushed_at }
    }

    /// Counts drops and takes flows that became empty out of the ring.
    fn lose(&mut self, key: u8, reason: DropReason, lost: &[Item]) {
        for item in lost {
            count(self.ledger.dropped.entry(reason).or_default(), item.meta.bytes);
            count(self.flow(key).unwrap().ledger.dropped.entry(reason).or_default(), item.meta.bytes);
        }
        self.settle();
    }

    fn settle(&mut self) {
        for flow in self.flows.values_mut().filter(|flow| flow.items.is_empty()) {
            (flow.deficit, flow.credited) = (0, false);
            self.ring.retain(|&key| key != flow.key);
        }
    }

    fn admits(&self, key: u8, cost: usize) -> bool {
        let Some(own) = self.flows.get(&key) else { return false };
        let messages: usize = self.flows.values().map(|flow| flow.items.len()).sum();
        let bytes: usize = self.flows.values().map(Flow::bytes).sum();
        let (own_messages, own_bytes) = (own.items.len() + 1, own.bytes() + cost);
        let within_flow = own_messages <= own.config.max_messages() && own_bytes <= own.config.max_bytes();
        let within_queue = messages < self.config.max_messages() && bytes + cost <= self.config.max_bytes();
        let exempt = own.items.is_empty() || self.flows.len() == 1;
        within_flow
            && within_queue
            && (exempt
                || (own_messages < self.config.max_messages() - messages
                    && own_bytes <= self.config.max_bytes() - bytes - cost))
    }

    fn try_push(&mut self, now: Instant, key: u8, item: Item) -> Pushed<u64> {
        let (queue, closed, serial, cost) = (self.config, self.closed, item.serial, charge(item.meta.bytes));
        let Some(flow) = self.flow(key) else {
            return if closed { Pushed::Closed(serial) } else { Pushed::NoFlow(serial) };
        };
        if closed {
            return Pushed::Closed(serial);
        }
        let config = flow.config;
        if cost > config.max_bytes().min(queue.max_bytes()) {
            return Pushed::TooLarge(serial);
        }
        if let Some(outcome) = self.enter(key, &item) {
            return outcome;
        }
        self.drop_stale_head(now, key);
        if let Some(outcome) = self.enter(key, &item) {
            return outcome;
        }
        let empty = self.flow(key).unwrap().items.is_empty();
        match config.overflow() {
            Overflow::Wait => Pushed::Full(serial),
            Overflow::DropOldest => self.push_evicting(key, item),
            Overflow::Disconnect if !empty => Pushed::Disconnect(serial),
            _ => Pushed::DroppedNewest(serial),
        }
    }

    /// Appends a message or puts it in the place of the older one of its key; `None` if neither goes.
    fn enter(&mut self, key: u8, item: &Item) -> Option<Pushed<u64>> {
        let cost = charge(item.meta.bytes);
        if let Some(at) = self.flow(key)?.older(&item.meta) {
            let older = self.flow(key)?.items.remove(at);
            let gone = charge(older.meta.bytes);
            if cost > gone && !self.admits(key, cost) {
                self.flow(key)?.items.insert(at, older);
                return None;
            }
            self.flow(key)?.items.insert(at, item.clone());
            self.lose(key, DropReason::Replaced, &[older]);
            return Some(Pushed::Replaced { bytes: gone });
        }
        self.admits(key, cost).then(|| self.append(key, item.clone()))
    }

    fn append(&mut self, key: u8, item: Item) -> Pushed<u64> {
        self.flow(key).unwrap().items.push(item);
        if !self.ring.contains(&key) {
            self.ring.push(key);
        }
        Pushed::Queued
    }

    /// Tries without each number of oldest messages in turn, and undoes it all if none helps.
    fn push_evicting(&mut self, key: u8, item: Item) -> Pushed<u64> {
        let all = self.flow(key).unwrap().items.clone();
        for evicted in 1..=all.len() {
            self.flow(key).unwrap().items = all[evicted..].to_vec();
            if self.admits(key, charge(item.meta.bytes)) {
                self.lose(key, DropReason::Evicted, &all[..evicted]);
                let _ = self.append(key, item);
                let bytes = all[..evicted].iter().map(|item| charge(item.meta.bytes)).sum();
                return Pushed::Evicted { messages: evicted, bytes };
            }
        }
        self.flow(key).unwrap().items = all;
        Pushed::DroppedNewest(item.serial)
    }

    fn drop_stale_head(&mut self, now: Instant, key: u8) {
        let items = &mut self.flow(key).unwrap().items;
        let stale = items.iter().take_while(|item| item.meta.deadline.is_some_and(|d| d <= now)).count();
        let lost: Vec<Item> = items.drain(..stale).collect();
        self.lose(key, DropReason::Stale, &lost);
    }
}
