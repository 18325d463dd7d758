//! What carries the bytes of a session.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::AcceptError;
use crate::address::Endpoint;
use crate::event::Closed;
use crate::id::Protocol;

/// Connects byte streams, and knows nothing of who is at their other end: TCP is one, a simulated network another.
///
/// A transport such as [`RlpxOver`](super::rlpx::RlpxOver) puts a handshake and a session above it. Every future may be
/// dropped at any await.
pub trait ByteTransport: Send + Sync + 'static {
    /// A connected stream.
    type Stream: ByteStream;

    /// The kind of address that it dials, once a session is above it.
    fn protocol(&self) -> Protocol;

    /// Where it listens; empty if it only dials.
    fn local_endpoints(&self) -> Vec<Endpoint>;

    /// Waits for the next stream that somebody opens to us, and says from where.
    ///
    /// # Errors
    ///
    /// As for [`Transport::accept`](super::Transport::accept).
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a stream that was opened is returned by the next call.
    fn accept(&self) -> impl Future<Output = Result<(Self::Stream, Endpoint), AcceptError>> + Send;

    /// Opens a stream to `remote`.
    ///
    /// # Errors
    ///
    /// [`Closed`] if nobody listens there, nothing leads there, or the address is not one of this transport's.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what it had opened.
    fn connect(&self, remote: &Endpoint) -> impl Future<Output = Result<Self::Stream, Closed>> + Send;

    /// Stops listening. Streams that are open stay so.
    fn close(&self);
}

/// A connected byte stream.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The half that reads.
    type Reader: AsyncRead + Unpin + Send + 'static;
    /// The half that writes. Dropping it ends the stream in this direction.
    type Writer: AsyncWrite + Unpin + Send + 'static;

    /// Our end.
    ///
    /// # Errors
    ///
    /// What the system says, if the stream is broken already.
    fn local(&self) -> io::Result<Endpoint>;

    /// Makes the stream ready for many small messages. Called once, before anything is written.
    ///
    /// # Errors
    ///
    /// What the system says, if the stream is broken already.
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    /// Gives the halves to their tasks. Dropping both closes the stream.
    fn into_halves(self) -> (Self::Reader, Self::Writer);
}

/// One that several transports share.
impl<B: ByteTransport> ByteTransport for Arc<B> {
    type Stream = B::Stream;

    fn protocol(&self) -> Protocol {
        (**self).protocol()
    }

    fn local_endpoints(&self) -> Vec<Endpoint> {
        (**self).local_endpoints()
    }

    async fn accept(&self) -> Result<(Self::Stream, Endpoint), AcceptError> {
        (**self).accept().await
    }

    async fn connect(&self, remote: &Endpoint) -> Result<Self::Stream, Closed> {
        (**self).connect(remote).await
    }

    fn close(&self) {
        (**self).close();
    }
}
