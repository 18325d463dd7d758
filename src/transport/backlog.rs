//! Who has connected within this process and was not accepted yet.

use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::AcceptError;

/// How many connections wait to be accepted before the next is refused.
pub const BACKLOG: usize = 128;

/// The connections that wait to be accepted, as a system keeps them for a listening socket.
pub(crate) struct Backlog<T> {
    entrance: mpsc::Sender<T>,
    waiting: AsyncMutex<mpsc::Receiver<T>>,
    closed: CancellationToken,
}

impl<T> Backlog<T> {
    pub(crate) fn new() -> Self {
        let (entrance, waiting) = mpsc::channel(BACKLOG);
        Self { entrance, waiting: AsyncMutex::new(waiting), closed: CancellationToken::new() }
    }

    /// Where connections come in; a network knows the listener by it.
    pub(crate) fn entrance(&self) -> &mpsc::Sender<T> {
        &self.entrance
    }

    /// Waits for the next connection. Cancel-safe.
    pub(crate) async fn accept(&self) -> Result<T, AcceptError> {
        let next = async { self.waiting.lock().await.recv().await };
        // Closed first, and for ever; then whoever waits.
        tokio::select! {
            biased;
            () = self.closed.cancelled() => {
                refuse_all(&mut *self.waiting.lock().await);
                Err(AcceptError::Closed)
            }
            next = next => next.ok_or(AcceptError::Closed),
        }
    }

    /// Accepts nobody any more.
    pub(crate) fn close(&self) {
        self.closed.cancel();
        // Where an accept holds the receiver, that accept is about to end, and empties it then.
        if let Ok(mut waiting) = self.waiting.try_lock() {
            refuse_all(&mut waiting);
        }
    }
}

/// Ends the streams of those that nobody will accept, as a system does when a listening socket is closed.
fn refuse_all<T>(waiting: &mut mpsc::Receiver<T>) {
    waiting.close();
    while waiting.try_recv().is_ok() {}
}
