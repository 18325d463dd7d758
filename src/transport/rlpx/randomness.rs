//! Where the ephemeral keys and nonces of handshakes come from.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::rlpx::Entropy;

/// A source of randomness.
pub(super) enum Randomness {
    /// The operating system.
    System,
    /// Whoever knows the seed knows all that comes.
    Insecure(Box<Mutex<ChaCha20Rng>>),
}

impl fmt::Debug for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Insecure(_) => "Insecure",
        })
    }
}

impl Randomness {
    pub(super) fn insecure_from_seed(seed: u64) -> Self {
        Self::Insecure(Box::new(Mutex::new(ChaCha20Rng::seed_from_u64(seed))))
    }

    /// What one handshake needs.
    pub(super) fn draw(&self) -> Result<Entropy, Closed> {
        let mut bytes = [0; 32];
        match self {
            Self::System => getrandom::fill(&mut bytes).map_err(|error| {
                Closed::local(Layer::Node, Blame::Ourselves, DisconnectReason::Requested, "no_randomness")
                    .with_detail(error.to_string())
            })?,
            // Filling panics nowhere, so nobody has left it half done.
            Self::Insecure(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes),
        }
        Ok(Entropy::from_bytes(bytes))
    }
}
