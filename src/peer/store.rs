//! What a store of peers must do.

use super::record::PeerRecord;
use crate::id::NodeId;

/// Where the records of a [`PeerManager`](super::PeerManager) outlive it.
///
/// The shell loads it once, before the manager is made, and then carries out each
/// [`Output::Persist`](super::Output::Persist) and [`Output::Forget`](super::Output::Forget) in order. The manager
/// never reads it. The calls must not block: a store that writes to a disk hands over to whoever may wait.
pub trait Store: Send + 'static {
    /// Every record, in any order.
    fn load(&mut self) -> Vec<PeerRecord>;

    /// Stores a record in place of an earlier one of the same peer.
    fn persist(&mut self, record: PeerRecord);

    /// Deletes the record of a peer, if there is one.
    fn forget(&mut self, peer: &NodeId);
}
