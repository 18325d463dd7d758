//! What outlives the process: the form in which a store keeps a peer.

use crate::address::NodeAddress;
use crate::id::NodeId;

/// Where an address came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Source {
    /// The operator named it. It ends the peer's back-off if it is new, and gives way to no other source.
    Operator,
    /// A discovery protocol or a DNS list found it.
    Discovery,
    /// A peer told us.
    Gossip {
        /// Which one.
        from: NodeId,
    },
}

/// An address with its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRecord {
    /// The address.
    pub address: NodeAddress,
    /// Where it came from first.
    pub source: Source,
    /// Dials to it that failed in a row.
    pub failures: u32,
}

/// What is stored of a peer. Holds no instants: those mean nothing to another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRecord {
    /// Who it is.
    pub id: NodeId,
    /// Its addresses, oldest first.
    pub addresses: Vec<AddressRecord>,
    /// Failures in a row.
    pub failures: u32,
    /// Whether it proved to be of another network, or useless to us, when last heard of.
    pub incompatible: bool,
}
