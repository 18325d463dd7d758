//! The queue in its plainest form, and the operations that drive both side by side.
//!
//! The model keeps one `Vec` per flow, adds everything up anew, and runs every idle round. [`drive`]
//! applies each [`Op`] to the model and to the machine, compares all that is visible, and checks the
//! machine's invariants. The same enum serves the tables, the properties and a fuzzer.

use std::time::{Duration, Instant};

use super::{
    CONTROL_MAX_BYTES, CONTROL_MAX_MESSAGES, CancelId, DropReason, FairQueue, FlowConfig, Meta, Overflow,
    Popped, Pushed, QUANTUM_BYTES, QueueConfig, Tally, charge,
};

/// One input. Keys and names are taken from small sets, so that they collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Open { key: u8, weight: u8, messages: u8, kib: u8, overflow: u8 },
    CloseFlow { key: u8 },
    Push { key: u8, bytes: u32, ttl_ms: Option<u8>, cancel: Option<u8> },
    Control { bytes: u32 },
    Pop,
    Cancel { id: u8 },
    Advance { ms: u8 },
    Close,
    DrainAll,
}

const POLICIES: [Overflow; 4] =
    [Overflow::Wait, Overflow::DropOldest, Overflow::DropNewest, Overflow::Disconnect];

impl Op {
    /// The flow that `Open` asks for: any numbers make a valid one.
    fn flow_config(weight: u8, messages: u8, kib: u8, overflow: u8) -> FlowConfig {
        let overflow = POLICIES[overflow as usize % POLICIES.len()];
        FlowConfig::new(weight.max(1).into(), messages.max(1).into(), usize::from(kib.max(1)) << 10, overflow)
            .unwrap()
    }
}

#[derive(Debug, Clone)]
struct Item {
    serial: u64,
    meta: Meta,
    pushed_at: Instant,
}

#[derive(Debug)]
struct ModelFlow {
    key: u8,
    config: FlowConfig,
    items: Vec<Item>,
    deficit: usize,
    credited: bool,
}

impl ModelFlow {
    fn bytes(&self) -> usize {
        self.items.iter().map(|item| charge(item.meta.bytes)).sum()
    }
}

/// The reference.
#[derive(Debug)]
struct Model {
    config: QueueConfig,
    flows: Vec<ModelFlow>,
    /// Keys of flows with messages, in the order of their turns.
    ring: Vec<u8>,
    control: Vec<Item>,
    dropped: [Tally; DropReason::ALL.len()],
    closed: bool,
}

impl Model {
    fn flow(&mut self, key: u8) -> Option<&mut ModelFlow> {
        self.flows.iter_mut().find(|flow| flow.key == key)
    }

    /// Counts drops and takes flows that became empty out of the ring.
    fn lose(&mut self, reason: DropReason, lost: &[Item]) {
        for item in lost {
            self.dropped[reason as usize].add(charge(item.meta.bytes));
        }
        self.settle();
    }

    fn settle(&mut self) {
        for flow in self.flows.iter_mut().filter(|flow| flow.items.is_empty()) {
            (flow.deficit, flow.credited) = (0, false);
            self.ring.retain(|&key| key != flow.key);
        }
    }

    fn admits(&self, key: u8, cost: usize) -> bool {
        let Some(own) = self.flows.iter().find(|flow| flow.key == key) else { return false };
        let messages: usize = self.flows.iter().map(|flow| flow.items.len()).sum();
        let bytes: usize = self.flows.iter().map(ModelFlow::bytes).sum();
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

    fn push(&mut self, now: Instant, key: u8, serial: u64, meta: Meta) -> Pushed<u64> {
        let (queue, closed, cost) = (self.config, self.closed, charge(meta.bytes));
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
        if !self.admits(key, cost) {
            self.drop_stale_head(now, key);
        }
        let item = Item { serial, meta, pushed_at: now };
        if self.admits(key, cost) {
            self.append(key, item);
            return Pushed::Queued;
        }
        let empty = self.flow(key).unwrap().items.is_empty();
        match config.overflow() {
            Overflow::Wait => Pushed::Full(serial),
            Overflow::DropOldest => self.push_evicting(key, item),
            Overflow::Disconnect if !empty => Pushed::Disconnect(serial),
            Overflow::DropNewest | Overflow::Disconnect => Pushed::DroppedNewest(serial),
        }
    }

    fn append(&mut self, key: u8, item: Item) {
        self.flow(key).unwrap().items.push(item);
        if !self.ring.contains(&key) {
            self.ring.push(key);
        }
    }

    /// Tries without each number of oldest messages in turn, and undoes it all if none helps.
    fn push_evicting(&mut self, key: u8, item: Item) -> Pushed<u64> {
        let all = self.flow(key).unwrap().items.clone();
        for evicted in 1..=all.len() {
            self.flow(key).unwrap().items = all[evicted..].to_vec();
            if self.admits(key, charge(item.meta.bytes)) {
                self.lose(DropReason::Evicted, &all[..evicted]);
                self.append(key, item);
                let bytes = all[..evicted].iter().map(|item| charge(item.meta.bytes)).sum();
                return Pushed::Evicted { messages: evicted, bytes };
            }
        }
        self.flow(key).unwrap().items = all;
        Pushed::DroppedNewest(item.serial)
    }

    fn control(&mut self, now: Instant, serial: u64, bytes: usize) -> Pushed<u64> {
        let held: usize = self.control.iter().map(|item| charge(item.meta.bytes)).sum();
        if self.closed {
            return Pushed::Closed(serial);
        }
        if charge(bytes) > CONTROL_MAX_BYTES {
            return Pushed::TooLarge(serial);
        }
        if self.control.len() >= CONTROL_MAX_MESSAGES || held + charge(bytes) > CONTROL_MAX_BYTES {
            return Pushed::Full(serial);
        }
        self.control.push(Item { serial, meta: Meta::new(bytes), pushed_at: now });
        Pushed::Queued
    }

    fn drop_stale_head(&mut self, now: Instant, key: u8) {
        let items = &mut self.flow(key).unwrap().items;
        let stale = items.iter().take_while(|item| item.meta.deadline.is_some_and(|d| d <= now)).count();
        let lost: Vec<Item> = items.drain(..stale).collect();
        self.lose(DropReason::Stale, &lost);
    }

    /// Deficit round robin as in the paper: one turn after another, however many it takes.
    fn pop(&mut self, now: Instant) -> Option<Popped<u8, u64>> {
        if !self.control.is_empty() {
            return Some(popped(now, None, &self.control.remove(0)));
        }
        loop {
            let key = *self.ring.first()?;
            self.drop_stale_head(now, key);
            let flow = self.flow(key)?;
            let Some(head) = flow.items.first().cloned() else { continue };
            if !flow.credited {
                flow.credited = true;
                flow.deficit += QUANTUM_BYTES * flow.config.weight() as usize;
            }
            if charge(head.meta.bytes) <= flow.deficit {
                flow.deficit -= charge(head.meta.bytes);
                flow.items.remove(0);
                self.settle();
                return Some(popped(now, Some(key), &head));
            }
            flow.credited = false;
            self.ring.rotate_left(1);
        }
    }

    fn cancel(&mut self, id: CancelId) -> usize {
        let mut lost = Vec::new();
        for flow in &mut self.flows {
            lost.extend(flow.items.extract_if(.., |item| item.meta.cancel == Some(id)));
        }
        self.lose(DropReason::Cancelled, &lost);
        lost.len()
    }

    fn close_flow(&mut self, key: u8) {
        let Some(flow) = self.flow(key) else { return };
        let lost = std::mem::take(&mut flow.items);
        self.lose(DropReason::FlowClosed, &lost);
        self.flows.retain(|flow| flow.key != key);
    }

    fn drain_all(&mut self) {
        let mut lost = std::mem::take(&mut self.control);
        for flow in &mut self.flows {
            lost.append(&mut flow.items);
        }
        self.lose(DropReason::Shutdown, &lost);
    }
}

fn popped(now: Instant, key: Option<u8>, item: &Item) -> Popped<u8, u64> {
    Popped { key, item: item.serial, bytes: item.meta.bytes, waited: now - item.pushed_at }
}

/// Applies operations to model and machine.
///
/// # Panics
///
/// At the first difference or broken law; the message has the operation's index.
pub(super) fn drive(config: QueueConfig, start: Instant, ops: &[Op]) -> FairQueue<u8, u64> {
    let mut pair = Pair {
        model: Model {
            config,
            flows: Vec::new(),
            ring: Vec::new(),
            control: Vec::new(),
            dropped: Default::default(),
            closed: false,
        },
        queue: FairQueue::new(config),
        now: start,
    };
    for (index, &op) in ops.iter().enumerate() {
        pair.apply(index as u64, op);
        pair.compare(index);
    }
    while !pair.queue.is_empty() || !pair.model.ring.is_empty() {
        pair.apply(0, Op::Pop);
        pair.compare(ops.len());
    }
    pair.queue
}

struct Pair {
    model: Model,
    queue: FairQueue<u8, u64>,
    now: Instant,
}

impl Pair {
    fn apply(&mut self, serial: u64, op: Op) {
        let Self { model, queue, now } = self;
        let now = *now;
        match op {
            Op::Open { key, weight, messages, kib, overflow } => {
                let config = Op::flow_config(weight, messages, kib, overflow);
                let fits = !model.closed && model.flow(key).is_none();
                assert_eq!(queue.open_flow(key, config).is_ok(), fits, "{serial}: open");
                if fits {
                    let items = Vec::new();
                    model.flows.push(ModelFlow { key, config, items, deficit: 0, credited: false });
                }
            }
            Op::CloseFlow { key } => {
                assert_eq!(
                    queue.close_flow(key).is_some(),
                    model.flow(key).is_some(),
                    "{serial}: close flow"
                );
                model.close_flow(key);
            }
            Op::Push { key, bytes, ttl_ms, cancel } => {
                let mut meta = Meta::new(bytes as usize);
                meta.deadline = ttl_ms.map(|ms| now + Duration::from_millis(ms.into()));
                meta.cancel = cancel.map(|id| CancelId(id.into()));
                let room = queue.has_room(key, meta.bytes);
                assert_eq!(room, !model.closed && model.admits(key, charge(meta.bytes)), "{serial}: room");
                let outcome = queue.push(now, key, serial, meta);
                assert!(!room || outcome == Pushed::Queued, "{serial}: room was promised");
                assert_eq!(outcome, model.push(now, key, serial, meta), "{serial}: push");
            }
            Op::Control { bytes } => {
                let outcome = queue.push_control(now, serial, bytes as usize);
                assert_eq!(outcome, model.control(now, serial, bytes as usize), "{serial}: control");
            }
            Op::Pop => assert_eq!(queue.pop(now), model.pop(now), "{serial}: pop"),
            Op::Cancel { id } => {
                let id = CancelId(id.into());
                assert_eq!(queue.cancel(id), model.cancel(id), "{serial}: cancel");
            }
            Op::Advance { ms } => self.now += Duration::from_millis(ms.into()),
            Op::Close => {
                queue.close();
                model.closed = true;
            }
            Op::DrainAll => {
                queue.drain_all();
                model.drain_all();
            }
        }
    }

    fn compare(&self, index: usize) {
        let Self { model, queue, .. } = self;
        queue.check_invariants();
        assert!(queue.stats().is_conserved(), "{index}: the law");
        for reason in DropReason::ALL {
            assert_eq!(queue.stats().dropped(reason), model.dropped[reason as usize], "{index}: {reason}");
        }
        let control: usize = model.control.iter().map(|item| charge(item.meta.bytes)).sum();
        let flows: usize = model.flows.iter().map(|flow| flow.items.len()).sum();
        assert_eq!(queue.len(), flows + model.control.len(), "{index}: messages");
        assert_eq!(
            queue.bytes(),
            control + model.flows.iter().map(ModelFlow::bytes).sum::<usize>(),
            "{index}: bytes"
        );
        for flow in &model.flows {
            assert_eq!(queue.flow_len(flow.key), flow.items.len(), "{index}: flow {}", flow.key);
            assert_eq!(queue.flow_bytes(flow.key), flow.bytes(), "{index}: flow {}", flow.key);
        }
    }
}
