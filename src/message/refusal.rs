//! Why a message was not queued, told to whoever sent it.

/// Why a message was not queued for a recipient: a peer, or another reactor of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The recipient's queue has no room for this channel.
    #[error("the recipient's queue is full")]
    Full,
    /// There is no connection to the peer, or it is closing; for an answer, nobody waits for it any longer.
    #[error("the peer is not connected")]
    NotConnected,
    /// The peer did not announce the channel.
    #[error("the peer does not have the channel")]
    NoChannel,
    /// The encoded message is above the channel's limit.
    #[error("the message has {bytes} bytes, above the channel's limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The node shuts down.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// Nobody in this node receives on the channel any more.
    #[error("the channel's receiver in this node is gone")]
    NoReceiver,
}
