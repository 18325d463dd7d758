//! The byte stream of a connection, over a pipe or a link.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use crate::transport::link::{self, LinkConfig, LinkStream, PIPE_BYTES};

/// One end of a connection's byte stream. Dropping it closes both of its directions.
pub struct MemoryStream(Way);

enum Way {
    Pipe(DuplexStream),
    Link(LinkStream),
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.0 {
            Way::Pipe(_) => "pipe",
            Way::Link(_) => "link",
        };
        f.debug_tuple("MemoryStream").field(&way).finish()
    }
}

/// Makes the two ends of a stream.
pub(super) fn pair(config: Option<LinkConfig>) -> (MemoryStream, MemoryStream) {
    match config {
        None => {
            let (near, far) = duplex(PIPE_BYTES);
            (MemoryStream(Way::Pipe(near)), MemoryStream(Way::Pipe(far)))
        }
        Some(config) => {
            let (near, far, _) = link::pair([config; 2], 0);
            (MemoryStream(Way::Link(near)), MemoryStream(Way::Link(far)))
        }
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Way::Pipe(pipe) => Pin::new(pipe).poll_read(cx, into),
            Way::Link(link) => Pin::new(link).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Way::Pipe(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            Way::Link(link) => Pin::new(link).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Way::Pipe(pipe) => Pin::new(pipe).poll_flush(cx),
            Way::Link(link) => Pin::new(link).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Way::Pipe(pipe) => Pin::new(pipe).poll_shutdown(cx),
            Way::Link(link) => Pin::new(link).poll_shutdown(cx),
        }
    }
}
