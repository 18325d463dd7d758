//! What a table of questions counts.

/// What was asked, what became of it, and what answers came, since the table was made.
///
/// The law: `asked = answered + refused + given_up + closed + in_flight + waiting`. What was turned away
/// (`full`, `no_channel`, `after_close`) was never asked and stands apart. So do answers that match nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Questions accepted by ask.
    pub asked: u64,
    /// Of these, answered by the peer.
    pub answered: u64,
    /// Of these, refused by the peer.
    pub refused: u64,
    /// Of these, given up by the asker.
    pub given_up: u64,
    /// Of these, failed because the connection ended.
    pub closed: u64,
    /// Of these, in flight now.
    pub in_flight: u64,
    /// Of these, waiting for their turn now.
    pub waiting: u64,
    /// Questions turned away because as many of the channel waited as may.
    pub full: u64,
    /// Questions turned away because the connection lacks the channel.
    pub no_channel: u64,
    /// Questions turned away because the connection had ended.
    pub after_close: u64,
    /// Answers and refusals that came after their asker had given up.
    pub late: u64,
    /// Answers and refusals to what had been answered.
    pub duplicate: u64,
    /// Answers and refusals on another channel, or of another kind, than was asked for.
    pub foreign: u64,
    /// Answers and refusals to what was never asked.
    pub unasked: u64,
}

impl Stats {
    /// Whether the law holds.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        let ended = self.answered + self.refused + self.given_up + self.closed;
        self.asked == ended + self.in_flight + self.waiting
    }

    /// Answers and refusals that were the peer's fault.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.duplicate + self.foreign + self.unasked
    }
}
