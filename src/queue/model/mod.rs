//! The queue in its plainest form, and the operations that drive both side by side.
//!
//! The [`reference`] keeps one `Vec` per flow, adds everything up anew, and runs every idle round. [`drive`]
//! applies each [`Op`] to the model and to the machine, compares all that is visible, and checks the
//! machine's invariants. The same enum serves the tables, the properties and the fuzzer, to which
//! [`bytes`] turns its input into operations.
//!
//! This folder names only what is public in `queue`, through `super`: the fuzz target and the replay of its
//! corpus include it by its path.

mod bytes;
mod reference;

use std::time::{Duration, Instant};

pub(super) use bytes::drive_bytes;
use reference::Model;

use super::{
    CONTROL_MAX_BYTES, CONTROL_MAX_MESSAGES, CancelId, DropReason, FairQueue, FlowConfig, HIGH_BURST_BYTES,
    HIGH_SHARE, Meta, Overflow, Popped, Priority, Pushed, QUANTUM_BYTES, QueueConfig, RefuseReason, Stats,
    Tally, charge,
};

/// One input. Keys and names are taken from small sets, so that they collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Open { flow: u8, spec: Spec },
    CloseFlow { flow: u8 },
    Push { flow: u8, bytes: u32, ttl_ms: Option<u8>, cancel: Option<u8>, key: Option<u8> },
    Control { bytes: u32 },
    Pop { max_bytes: Option<u32> },
    Cancel { id: u8 },
    Advance { ms: u8 },
    Close,
    DrainAll,
}

/// The flow that [`Op::Open`] asks for: any numbers make a valid one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) weight: u8,
    pub(super) messages: u8,
    pub(super) kib: u8,
    pub(super) overflow: u8,
    pub(super) high: bool,
}

/// Every policy.
pub(super) const POLICIES: [Overflow; 5] = [
    Overflow::Wait,
    Overflow::DropOldest,
    Overflow::DropNewest,
    Overflow::Disconnect,
    Overflow::ReplaceByKey,
];

impl Spec {
    fn config(self) -> FlowConfig {
        let Self { weight, messages, kib, overflow, high } = self;
        let overflow = POLICIES[overflow as usize % POLICIES.len()];
        let priority = if high { Priority::High } else { Priority::Normal };
        FlowConfig::new(weight.max(1).into(), messages.max(1).into(), usize::from(kib.max(1)) << 10, overflow)
            .unwrap()
            .with_priority(priority)
    }
}

/// Applies operations to model and machine, and pops what is left.
///
/// # Panics
///
/// At the first difference or broken law; the message has the operation's index.
pub(super) fn drive(config: QueueConfig, start: Instant, ops: &[Op]) -> FairQueue<u8, u64> {
    let mut pair = Pair { model: Model::new(config), queue: FairQueue::new(config), now: start };
    for (index, &op) in ops.iter().enumerate() {
        pair.apply(index as u64, op);
        pair.compare(index);
    }
    while !pair.queue.is_empty() || !pair.model.is_empty() {
        pair.apply(0, Op::Pop { max_bytes: None });
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
            Op::Open { flow, spec } => {
                let config = spec.config();
                assert_eq!(queue.open_flow(flow, config).is_ok(), model.open(flow, config), "{serial}: open");
            }
            Op::CloseFlow { flow } => {
                let (stats, ledger) = (queue.close_flow(flow), model.close_flow(flow));
                assert_eq!(stats.is_some(), ledger.is_some(), "{serial}: close flow");
                if let (Some(stats), Some(ledger)) = (stats, ledger) {
                    ledger.compare(&stats, Tally::default(), &format!("{serial}: closed flow {flow}"));
                }
            }
            Op::Push { flow, bytes, ttl_ms, cancel, key } => {
                let mut meta = Meta::new(bytes as usize);
                meta.deadline = ttl_ms.map(|ms| now + Duration::from_millis(ms.into()));
                meta.cancel = cancel.map(|id| CancelId(id.into()));
                meta.key = key.map(u64::from);
                let room = queue.has_room(flow, meta.bytes);
                assert_eq!(room, model.has_room(flow, charge(meta.bytes)), "{serial}: room");
                let outcome = queue.push(now, flow, serial, meta);
                let entered = matches!(outcome, Pushed::Queued | Pushed::Replaced { .. });
                assert!(!room || entered, "{serial}: room was promised");
                assert_eq!(outcome, model.push(now, flow, serial, meta), "{serial}: push");
            }
            Op::Control { bytes } => {
                let outcome = queue.push_control(now, serial, bytes as usize);
                assert_eq!(outcome, model.control(now, serial, bytes as usize), "{serial}: control");
            }
            Op::Pop { max_bytes: None } => {
                assert_eq!(queue.pop(now), model.pop(now, usize::MAX), "{serial}: pop");
            }
            Op::Pop { max_bytes: Some(most) } => {
                let most = most as usize;
                assert_eq!(queue.pop_within(now, most), model.pop(now, most), "{serial}: pop within {most}");
            }
            Op::Cancel { id } => {
                let id = CancelId(id.into());
                assert_eq!(queue.cancel(id), model.cancel(id), "{serial}: cancel");
            }
            Op::Advance { ms } => self.now += Duration::from_millis(ms.into()),
            Op::Close => {
                queue.close();
                model.close();
            }
            Op::DrainAll => assert_eq!(queue.drain_all(), model.drain_all(), "{serial}: drain"),
        }
    }

    /// All that can be seen, and the law: for each flow and for the whole, reason by reason.
    fn compare(&self, index: usize) {
        let Self { model, queue, .. } = self;
        queue.check_invariants();
        let held = model.held();
        model.ledger().compare(&queue.stats(), held, &format!("{index}: all"));
        assert_eq!((queue.len() as u64, queue.bytes() as u64), (held.messages, held.bytes), "{index}: size");
        assert!(queue.flow_keys().eq(model.flow_keys()), "{index}: flows");
        for (flow, ledger, held) in model.flows() {
            let stats = queue.stats_of(flow).unwrap();
            ledger.compare(&stats, held, &format!("{index}: flow {flow}"));
            assert_eq!(queue.flow_len(flow) as u64, held.messages, "{index}: flow {flow}");
            assert_eq!(queue.flow_bytes(flow) as u64, held.bytes, "{index}: flow {flow}");
        }
    }
}
