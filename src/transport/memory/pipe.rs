//! The writing half of a stream, which ends the stream when it is dropped, as that of a socket does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncWrite, ReadHalf, WriteHalf};

use super::MemoryStream;

/// Splits a stream so that each half behaves as a socket's.
pub(super) fn split(stream: MemoryStream) -> (ReadHalf<MemoryStream>, PipeWriter) {
    let (read, write) = tokio::io::split(stream);
    (read, PipeWriter(write))
}

/// The half that writes.
#[derive(Debug)]
pub struct PipeWriter(WriteHalf<MemoryStream>);

impl AsyncWrite for PipeWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        // Shutting down never waits: the other end reads what is in it, and then its end.
        let _ = Pin::new(&mut self.0).poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }
}
