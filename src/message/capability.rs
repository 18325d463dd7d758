//! What peers announce to each other, and what they agree on.

use std::fmt;

use crate::id::ChannelId;

/// A capability as a peer announces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability {
    /// Its name.
    pub name: ChannelId,
    /// Its version.
    pub version: u32,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// A channel that both ends of a connection have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgreedChannel {
    /// Its name.
    pub id: ChannelId,
    /// The version in use: the highest that both have.
    pub version: u32,
}
