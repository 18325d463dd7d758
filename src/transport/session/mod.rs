//! The devp2p session above a byte stream: Hello, capabilities, network and services, then packets.
//!
//! Every transport that carries bytes uses it, with its own [`Encode`] and [`Decode`] (RLPx frames over
//! TCP, plain lengths in memory), so that none of them is kinder than another. [`establish`] runs after the
//! stream has proved who is at its other end, and refuses whoever claims to be somebody else.

mod establish;
mod halves;
mod plain;
mod stream;

pub(super) use establish::{Ends, establish};
pub(super) use halves::SessionConnection;
pub(super) use plain::{PlainDecoder, PlainEncoder};
pub(super) use stream::{Input, Output, stream_broke};

use bytes::{Bytes, BytesMut};

use crate::event::Closed;

/// Turns messages into the bytes of a stream.
pub(super) trait Encode: Send + 'static {
    /// Appends the message `id` with `payload` to `out`.
    fn encode(&mut self, id: u8, payload: &[u8], out: &mut BytesMut) -> Result<(), Closed>;

    /// Hello was exchanged with this `p2p` version: what follows may be encoded in another way.
    fn hello_done(&mut self, p2p_version: u32);
}

/// Turns the bytes of a stream into messages.
pub(super) trait Decode: Send + 'static {
    /// Takes the next message off `input`, or `None` if it is not complete yet. `max_payload` gives the
    /// largest payload of a message id in bytes, `None` for an id that must not occur; it is asked before
    /// any memory is set aside.
    fn decode(
        &mut self,
        input: &mut BytesMut,
        max_payload: impl Fn(u8) -> Option<usize>,
    ) -> Result<Option<(u8, Bytes)>, Closed>;

    /// Hello was exchanged with this `p2p` version: what follows may be encoded in another way. Until the session is
    /// agreed on, only small messages come.
    fn hello_done(&mut self, p2p_version: u32);

    /// The session is agreed on: channels' messages follow, none with a payload above `largest_payload_bytes`.
    fn agreed(&mut self, largest_payload_bytes: usize);
}
