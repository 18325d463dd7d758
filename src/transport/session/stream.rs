//! A byte stream with a codec and a buffer on each half.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{Decode, Encode};
use crate::event::{Closed, DisconnectReason};
use crate::rlpx::{Disconnect, p2p};

/// What an idle connection asks the system for at once, in bytes.
const SMALL_READ_BYTES: usize = 4 * 1024;
/// What a busy one asks for.
const LARGE_READ_BYTES: usize = 64 * 1024;
/// Buffers that once held more than this are given back in any case when they are empty: one large message must not cost
/// every idle connection its size for ever. (`BytesMut::capacity` does not tell: it leaves out what was consumed,
/// which the next reservation takes back.)
const KEPT_BUFFER_BYTES: usize = 256 * 1024;

/// The half of a stream that reads messages.
pub(in crate::transport) struct Input<R, D> {
    io: R,
    codec: D,
    buffer: BytesMut,
    /// The most that this buffer has held.
    peak_bytes: usize,
    next_read_bytes: usize,
}

impl<R: AsyncRead + Unpin + Send, D: Decode> Input<R, D> {
    pub(in crate::transport) fn new(io: R, codec: D) -> Self {
        Self { io, codec, buffer: BytesMut::new(), peak_bytes: 0, next_read_bytes: SMALL_READ_BYTES }
    }

    pub(super) fn hello_done(&mut self, p2p_version: u32) {
        self.codec.hello_done(p2p_version);
    }

    pub(super) fn agreed(&mut self, largest_payload_bytes: usize) {
        self.codec.agreed(largest_payload_bytes);
    }

    /// Waits for the next message. Cancel-safe: bytes already read stay in the buffer.
    pub(super) async fn next(
        &mut self,
        max_payload: impl Fn(u8) -> Option<usize>,
    ) -> Result<(u8, Bytes), Closed> {
        loop {
            if let Some(message) = self.codec.decode(&mut self.buffer, &max_payload)? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }

    /// Reads and throws away until the peer closes its end.
    pub(super) async fn drain(&mut self) {
        loop {
            self.buffer.clear();
            if self.fill().await.is_err() {
                return;
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Closed> {
        let is_small = self.next_read_bytes == SMALL_READ_BYTES;
        let kept = if is_small { SMALL_READ_BYTES } else { KEPT_BUFFER_BYTES };
        give_back(&mut self.buffer, &mut self.peak_bytes, kept);
        // Never more than one step beyond what is buffered: a frame in progress is bounded by its codec.
        let read = if is_small {
            read_small(&mut self.io, &mut self.buffer).await
        } else {
            self.buffer.reserve(self.next_read_bytes);
            self.peak_bytes = self.peak_bytes.max(self.next_read_bytes);
            self.io.read_buf(&mut self.buffer).await
        };
        let read = read.map_err(|error| stream_broke(&error))?;
        if read == 0 {
            return Err(ended(!self.buffer.is_empty()));
        }
        self.peak_bytes = self.peak_bytes.max(self.buffer.len());
        // One that comes to rest is an idle one again, and holds nothing while it waits.
        self.next_read_bytes = if read >= SMALL_READ_BYTES { LARGE_READ_BYTES } else { SMALL_READ_BYTES };
        Ok(())
    }
}

/// Reads by way of the stack, so that whoever waits holds no memory: most connections are idle most of the time.
async fn read_small(io: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut bytes = [MaybeUninit::uninit(); SMALL_READ_BYTES];
        let mut into = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *io).poll_read(cx, &mut into))?;
        buffer.extend_from_slice(into.filled());
        Poll::Ready(Ok(into.filled().len()))
    })
    .await
}

/// The half of a stream that writes messages.
pub(in crate::transport) struct Output<W, E> {
    io: W,
    codec: E,
    buffer: BytesMut,
    /// The most that this buffer has held.
    peak_bytes: usize,
}

impl<W: AsyncWrite + Unpin + Send, E: Encode> Output<W, E> {
    pub(in crate::transport) fn new(io: W, codec: E) -> Self {
        Self { io, codec, buffer: BytesMut::new(), peak_bytes: 0 }
    }

    pub(super) fn hello_done(&mut self, p2p_version: u32) {
        self.codec.hello_done(p2p_version);
    }

    pub(super) fn put(&mut self, id: u8, payload: &[u8]) -> Result<(), Closed> {
        self.codec.encode(id, payload, &mut self.buffer)?;
        self.peak_bytes = self.peak_bytes.max(self.buffer.len());
        Ok(())
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Writes what is buffered. Cancel-safe: what was written has left the buffer.
    pub(super) async fn flush(&mut self) -> Result<(), Closed> {
        let needed = self.buffer.len();
        while self.buffer.has_remaining() {
            let written = self.io.write_buf(&mut self.buffer).await.map_err(|error| stream_broke(&error))?;
            if written == 0 {
                return Err(ended(true));
            }
        }
        // One that is much larger than what it is for now was for something that is over.
        let kept = needed.saturating_mul(4).clamp(SMALL_READ_BYTES, KEPT_BUFFER_BYTES);
        give_back(&mut self.buffer, &mut self.peak_bytes, kept);
        self.io.flush().await.map_err(|error| stream_broke(&error))
    }

    /// Flushes, says Disconnect if there is a reason, and closes this half.
    pub(super) async fn finish(&mut self, reason: Option<DisconnectReason>) -> Result<(), Closed> {
        if let Some(reason) = reason {
            let mut payload = BytesMut::new();
            Disconnect::encode(reason, &mut payload);
            self.put(p2p::DISCONNECT, &payload)?;
        }
        self.flush().await?;
        self.io.shutdown().await.map_err(|error| stream_broke(&error))
    }
}

/// Frees a buffer that is empty and was larger than what is kept.
fn give_back(buffer: &mut BytesMut, peak_bytes: &mut usize, kept: usize) {
    if buffer.is_empty() && *peak_bytes > kept {
        *buffer = BytesMut::new();
        *peak_bytes = 0;
    }
}

/// The system's word for a broken stream, kept in the layer where it belongs.
pub(in crate::transport) fn stream_broke(error: &io::Error) -> Closed {
    let label = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection_refused",
        // Not connected is what a socket says of itself once the peer's reset has been read.
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::NotConnected => "connection_reset",
        io::ErrorKind::TimedOut => "connection_timed_out",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
        io::ErrorKind::UnexpectedEof => "truncated",
        _ => return Closed::stream("io_error", error.to_string()),
    };
    // The label says it all; the system's own words would only repeat it.
    Closed::stream(label, "")
}

/// The peer closed its end: in the middle of a message, or between two.
fn ended(truncated: bool) -> Closed {
    if truncated {
        Closed::stream("truncated", "the stream ended in the middle of a message")
    } else {
        Closed::stream("closed", "the peer closed the stream without a reason")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    /// Messages are lengths of four bytes, and then as many bytes.
    struct Plain;

    impl Encode for Plain {
        fn encode(&mut self, _id: u8, payload: &[u8], out: &mut BytesMut) -> Result<(), Closed> {
            out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
            out.extend_from_slice(payload);
            Ok(())
        }

        fn hello_done(&mut self, _p2p_version: u32) {}
    }

    impl Decode for Plain {
        fn decode(
            &mut self,
            input: &mut BytesMut,
            _max_payload: impl Fn(u8) -> Option<usize>,
        ) -> Result<Option<(u8, Bytes)>, Closed> {
            let Some(&length) = input.first_chunk() else { return Ok(None) };
            let length = u32::from_be_bytes(length) as usize;
            if input.len() < 4 + length {
                return Ok(None);
            }
            input.advance(4);
            let payload = Bytes::copy_from_slice(&input[..length]);
            input.advance(length);
            Ok(Some((0, payload)))
        }

        fn hello_done(&mut self, _p2p_version: u32) {}

        fn agreed(&mut self, _largest_payload_bytes: usize) {}
    }

    /// What a buffer costs, whatever was consumed of it.
    fn held_bytes(buffer: &mut BytesMut) -> usize {
        buffer.reserve(buffer.capacity() + 1);
        buffer.capacity()
    }

    #[tokio::test]
    async fn a_connection_that_comes_to_rest_gives_back_what_it_was_busy_with() {
        let (near, far) = duplex(256 * 1024);
        let (mut output, mut input) = (Output::new(near, Plain), Input::new(far, Plain));
        for bytes in [100 * 1024, 5 * 1024, 10] {
            output.put(0, &vec![7; bytes]).unwrap();
            output.flush().await.unwrap();
            assert_eq!(input.next(|_| None).await.unwrap().1.len(), bytes);
        }
        assert!(held_bytes(&mut output.buffer) <= 2 * SMALL_READ_BYTES);
        assert!(futures::FutureExt::now_or_never(input.next(|_| None)).is_none());
        assert!(held_bytes(&mut input.buffer) <= 2 * SMALL_READ_BYTES);
    }

    #[tokio::test]
    async fn a_large_message_does_not_cost_an_idle_connection_its_size() {
        let (near, far) = duplex(64 * 1024);
        let (mut output, mut input) = (Output::new(near, Plain), Input::new(far, Plain));
        let payload = vec![7; 4 * KEPT_BUFFER_BYTES];
        for _ in 0..3 {
            output.put(0, &payload).unwrap();
            let (flushed, read) = tokio::join!(output.flush(), input.next(|_| None));
            flushed.unwrap();
            assert!(read.unwrap().1 == payload);
        }
        assert!(held_bytes(&mut output.buffer) < KEPT_BUFFER_BYTES);
        // The reader gives back when it begins to wait.
        {
            let mut waiting = std::pin::pin!(input.next(|_| None));
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
        }
        assert!(held_bytes(&mut input.buffer) < KEPT_BUFFER_BYTES);
    }
}
