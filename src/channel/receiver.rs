//! The receiving end of a channel.

use std::fmt;
use std::sync::Arc;

use super::inbound::{Envelope, InboundQueue};
use crate::message::Message;

/// Receives the messages of one channel: in order from each peer, in turn between peers.
///
/// There is one for each channel. When it is dropped, what arrives is counted and thrown away.
pub struct Receiver<M: Message> {
    queue: Arc<InboundQueue<M>>,
}

impl<M: Message> fmt::Debug for Receiver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("channel", &M::CHANNEL)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<M: Message> Receiver<M> {
    pub(crate) fn new(queue: Arc<InboundQueue<M>>) -> Self {
        Self { queue }
    }

    /// Waits for the next message; `None` once the node has shut down and all is read.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: no message is lost.
    pub async fn recv(&mut self) -> Option<Envelope<M>> {
        self.queue.recv().await
    }

    /// The next message, if one is there.
    pub fn try_recv(&mut self) -> Option<Envelope<M>> {
        self.queue.try_recv()
    }

    /// How many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<M: Message> Drop for Receiver<M> {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}
