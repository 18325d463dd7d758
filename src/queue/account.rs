//! How far the high class may run ahead of the normal one.
//!
//! One number: what the high class sent while the normal one waited, less [`HIGH_SHARE`] times what the
//! normal one sent, and never below zero. While it is less than [`HIGH_BURST_BYTES`], the high class goes
//! first. It may overdraw by the one message with which it reaches that; the next normal messages pay.
//! So over any time in which the normal class waits, with `L` the largest high message:
//!
//! `high bytes < HIGH_SHARE * normal bytes + HIGH_BURST_BYTES + L`
//!
//! What the high class sends while nobody waits is free.

use super::{HIGH_BURST_BYTES, HIGH_SHARE};

#[derive(Debug)]
pub(super) struct Account {
    ahead: usize,
}

impl Account {
    pub(super) const fn new() -> Self {
        Self { ahead: 0 }
    }

    /// Whether the high class goes first although the normal one waits.
    pub(super) const fn high_may_send(&self) -> bool {
        self.ahead < HIGH_BURST_BYTES
    }

    /// Books what the high class sent while the normal one waited.
    pub(super) const fn high_sent(&mut self, charge: usize) {
        debug_assert!(self.high_may_send(), "the normal class was passed over");
        self.ahead += charge;
    }

    pub(super) const fn normal_sent(&mut self, charge: usize) {
        if self.ahead > 0 {
            self.ahead = self.ahead.saturating_sub(charge.saturating_mul(HIGH_SHARE));
        }
    }

    /// By how many bytes the high class is ahead of its share.
    pub(super) const fn ahead(&self) -> usize {
        self.ahead
    }
}
