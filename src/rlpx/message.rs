//! Messages in frames: ids, limits and snappy (rlpx.md, "Capability Messaging"; EIP-706).
//!
//! A decoder refuses in the order of cost: the frame's length, its MAC, an id that nobody agreed to, the
//! length that the compressed payload announces, and only then decompresses into memory of that length.

use bytes::{Buf, Bytes, BytesMut};
use std::fmt;

use super::frame::{FrameError, Opener, SealError, Sealer};
use super::p2p;
use crate::message::MAX_PAYLOAD_BYTES;

/// Decompressed payloads up to this size share blocks of memory; larger ones have their own.
const SHARED_BLOCK_BYTES: usize = 16 * 1024;

/// Turns messages into frames.
pub struct Encoder {
    sealer: Sealer,
    snappy: Option<Box<snap::raw::Encoder>>,
}

impl Encoder {
    /// An encoder that does not compress yet.
    #[must_use]
    pub fn new(sealer: Sealer) -> Self {
        Self { sealer, snappy: None }
    }

    /// Compresses every later payload. To be called once Hello is sent, if both sides speak `p2p` version 5.
    pub fn enable_snappy(&mut self) {
        self.snappy.get_or_insert_with(|| Box::new(snap::raw::Encoder::new()));
    }

    /// Appends the frame of one message to `out`.
    ///
    /// # Errors
    ///
    /// See [`SealError`]; `out` is then as it was, and the encoder still works.
    pub fn encode(&mut self, id: u8, payload: &[u8], out: &mut BytesMut) -> Result<(), SealError> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(SealError::TooLarge { found_bytes: payload.len(), limit_bytes: MAX_PAYLOAD_BYTES });
        }
        match &mut self.snappy {
            None => self.sealer.seal(id, payload, out),
            Some(snappy) => self.sealer.seal_with(id, out, |out| compress(snappy, payload, out)),
        }
    }
}

/// Appends the snappy block of `payload`.
fn compress(snappy: &mut snap::raw::Encoder, payload: &[u8], out: &mut BytesMut) {
    let start = out.len();
    out.resize(start + snap::raw::max_compress_len(payload.len()), 0);
    let compressed = snappy.compress(payload, &mut out[start..]);
    debug_assert!(compressed.is_ok(), "the output has the length that snappy asks for");
    out.truncate(start + compressed.unwrap_or(0));
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("snappy", &self.snappy.is_some()).finish_non_exhaustive()
    }
}

/// Turns frames into messages.
pub struct Decoder {
    opener: Opener,
    snappy: Option<snap::raw::Decoder>,
    block: BytesMut,
}

impl Decoder {
    /// A decoder that does not decompress yet.
    #[must_use]
    pub fn new(opener: Opener) -> Self {
        Self { opener, snappy: None, block: BytesMut::new() }
    }

    /// Decompresses every later payload. To be called once the peer's Hello is read, if both sides speak
    /// `p2p` version 5.
    pub fn enable_snappy(&mut self) {
        self.snappy.get_or_insert_with(snap::raw::Decoder::new);
    }

    /// See [`Opener::set_max_frame_bytes`].
    pub fn set_max_frame_bytes(&mut self, max_frame_bytes: usize) {
        self.opener.set_max_frame_bytes(max_frame_bytes);
    }

    /// See [`Opener::missing_bytes`].
    #[must_use]
    pub fn missing_bytes(&self, have: usize) -> usize {
        self.opener.missing_bytes(have)
    }

    /// Takes the next message, id and payload, from the front of `input`; `None` until all of it is there.
    ///
    /// `max_payload` gives the largest payload of an id, or `None` for an id that is not agreed.
    /// A Disconnect that was not compressed though it should be is passed on as it came.
    ///
    /// # Errors
    ///
    /// See [`FrameError`]. The first error is final.
    pub fn decode(
        &mut self,
        input: &mut BytesMut,
        max_payload: impl Fn(u8) -> Option<usize>,
    ) -> Result<Option<(u8, Bytes)>, FrameError> {
        let Some(opened) = self.opener.open_in_place(input)? else { return Ok(None) };
        let message = match &mut self.snappy {
            None => {
                let mut body = input.split_to(opened.frame_bytes).freeze();
                body.truncate(opened.body_bytes);
                plain(body, max_payload)
            }
            Some(snappy) => {
                let message = decompress(snappy, &mut self.block, &input[..opened.body_bytes], max_payload);
                input.advance(opened.frame_bytes);
                message
            }
        };
        message.map(Some).map_err(|error| self.opener.fail(error))
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("opener", &self.opener)
            .field("snappy", &self.snappy.is_some())
            .finish_non_exhaustive()
    }
}

fn plain(mut body: Bytes, max_payload: impl Fn(u8) -> Option<usize>) -> Result<(u8, Bytes), FrameError> {
    let (id, limit_bytes) = agreed_id(&body, max_payload)?;
    body.advance(1);
    within(id, body.len(), limit_bytes)?;
    Ok((id, body))
}

fn decompress(
    snappy: &mut snap::raw::Decoder,
    block: &mut BytesMut,
    body: &[u8],
    max_payload: impl Fn(u8) -> Option<usize>,
) -> Result<(u8, Bytes), FrameError> {
    let (id, limit_bytes) = agreed_id(body, max_payload)?;
    let compressed = &body[1..];
    match snappy_payload(snappy, block, id, compressed, limit_bytes) {
        // Some clients never compress it, and what it says matters more than how.
        Err(_) if id == p2p::DISCONNECT => {
            within(id, compressed.len(), limit_bytes)?;
            Ok((id, Bytes::copy_from_slice(compressed)))
        }
        payload => Ok((id, payload?)),
    }
}

fn snappy_payload(
    snappy: &mut snap::raw::Decoder,
    block: &mut BytesMut,
    id: u8,
    compressed: &[u8],
    limit_bytes: usize,
) -> Result<Bytes, FrameError> {
    let bad = |_| FrameError::Snappy { id };
    if compressed.is_empty() {
        return Err(FrameError::Snappy { id });
    }
    let len = snap::raw::decompress_len(compressed).map_err(bad)?;
    within(id, len, limit_bytes)?;
    if len > SHARED_BLOCK_BYTES {
        let mut own = BytesMut::zeroed(len);
        let written = snappy.decompress(compressed, &mut own).map_err(bad)?;
        own.truncate(written);
        return Ok(own.freeze());
    }
    if block.capacity() < len {
        block.reserve(SHARED_BLOCK_BYTES);
    }
    block.resize(len, 0);
    match snappy.decompress(compressed, block) {
        Ok(written) => {
            block.truncate(written);
            Ok(block.split().freeze())
        }
        Err(error) => {
            block.clear();
            Err(bad(error))
        }
    }
}

/// Reads the id, one byte as an RLP integer, and asks for its limit.
fn agreed_id(body: &[u8], max_payload: impl Fn(u8) -> Option<usize>) -> Result<(u8, usize), FrameError> {
    let id = match body.first() {
        Some(0x80) => 0,
        Some(&id @ 1..=0x7f) => id,
        _ => {
            let id = <u64 as alloy_rlp::Decodable>::decode(&mut &*body).map_err(|_| FrameError::BadId)?;
            return Err(FrameError::UnknownId { id });
        }
    };
    let limit_bytes = max_payload(id).ok_or(FrameError::UnknownId { id: id.into() })?;
    Ok((id, limit_bytes))
}

fn within(id: u8, found_bytes: usize, limit_bytes: usize) -> Result<(), FrameError> {
    let limit_bytes = limit_bytes.min(MAX_PAYLOAD_BYTES);
    if found_bytes > limit_bytes {
        return Err(FrameError::PayloadTooLarge { id, found_bytes, limit_bytes });
    }
    Ok(())
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
