//! Any bytes as operations: what the fuzzer mutates, and its corpus replays.
//!
//! Three bytes of limits come first. Then each operation is a byte that chooses it, and the bytes of its
//! numbers. The choice is weighted towards push and pop; bytes that are missing at the end are zero.

use std::time::Instant;

use super::{Op, QueueConfig, Spec, drive};

/// Operations beyond this many are left out, since the model's cost grows with the square.
const MAX_OPS: usize = 2000;

/// Drives model and machine by `bytes`.
///
/// # Panics
///
/// Only for a bug of the queue.
pub(in super::super) fn drive_bytes(start: Instant, bytes: &[u8]) {
    let mut input = Input(bytes);
    let (messages, kib) = (1 + usize::from(input.byte() % 128), 1 + usize::from(input.number()) % 2048);
    // The smallest of queues as well: 64 bytes and up.
    let bytes = if kib == 1 { 64 + messages } else { kib << 10 };
    let Ok(config) = QueueConfig::new(messages, bytes) else { return };
    let ops: Vec<Op> = std::iter::from_fn(|| input.op()).take(MAX_OPS).collect();
    drive(config, start, &ops);
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A size: small, or up to 192 KiB.
    fn size(&mut self) -> u32 {
        match self.byte() {
            small @ 0..200 => small.into(),
            _ => u32::from(self.number()) * 3,
        }
    }

    /// A number below `n`, or nothing as often as each of them.
    fn maybe(&mut self, n: u8) -> Option<u8> {
        let byte = self.byte() % (n + 1);
        byte.checked_sub(1)
    }

    fn op(&mut self) -> Option<Op> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.byte() {
            0..90 => {
                Op::Push { flow: self.flow(), bytes: self.size(), ttl_ms: None, cancel: None, key: None }
            }
            90..130 => Op::Push {
                flow: self.flow(),
                bytes: self.size(),
                ttl_ms: self.maybe(20),
                cancel: self.maybe(4),
                key: self.maybe(4),
            },
            130..200 => Op::Pop { max_bytes: None },
            255 => Op::Pop { max_bytes: Some(self.size()) },
            200..220 => Op::Open { flow: self.flow(), spec: self.spec() },
            220..226 => Op::CloseFlow { flow: self.flow() },
            226..236 => Op::Control { bytes: self.size() },
            236..242 => Op::Cancel { id: self.byte() % 4 },
            242..252 => Op::Advance { ms: self.byte() % 16 },
            252..254 => Op::DrainAll,
            254 => Op::Close,
        })
    }

    fn flow(&mut self) -> u8 {
        self.byte() % 6
    }

    fn spec(&mut self) -> Spec {
        let [weight, messages, kib, overflow, class] = std::array::from_fn(|_| self.byte());
        Spec { weight, messages, kib, overflow, high: class % 3 == 0 }
    }
}
