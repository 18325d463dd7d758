//! What a handshake leaves behind.

use std::fmt;

use sha3::Keccak256;

use super::frame::{Opener, Sealer};

/// The secrets of one connection, as one side holds them (rlpx.md, "Initial Handshake").
pub struct Secrets {
    pub(super) aes: [u8; 32],
    pub(super) mac: [u8; 32],
    pub(super) egress: Keccak256,
    pub(super) ingress: Keccak256,
}

impl Secrets {
    /// Makes the two halves of the frame codec. The opener accepts frames of at most `max_frame_bytes`
    /// (message id and payload as they are on the wire, compressed or not; the first frame has its own
    /// limit). [`frame_limit`](super::frame_limit) works it out from the largest payload.
    #[must_use]
    pub fn into_codec(self, max_frame_bytes: usize) -> (Sealer, Opener) {
        let sealer = Sealer::new(&self.aes, &self.mac, self.egress);
        let opener = Opener::new(&self.aes, &self.mac, self.ingress, max_frame_bytes);
        (sealer, opener)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}
