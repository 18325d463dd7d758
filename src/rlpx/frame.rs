//! Frames: length, encryption and running MACs (rlpx.md, "Framing").
//!
//! ```text
//! header 16: 24-bit length, c2 80 80, zeros | MAC 16 | body, padded to 16 | MAC 16
//! ```
//!
//! [`Sealer`] writes a frame in place at the end of an output buffer; [`Opener`] takes frames from the front
//! of an input buffer, as far as it has grown. Each MAC is checked before what it covers is used, and the
//! length against its limit before anybody waits or allocates for it.
//!
//! Two things are left out because no client has them: header-data is never read, and a message is always one frame.

use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use bytes::{Buf, BufMut, BytesMut};
use sha3::{Digest, Keccak256};
use std::fmt;
use subtle::ConstantTimeEq;

use crate::event::{Blame, DisconnectReason, Fault, Layer};
use crate::message::MAX_PAYLOAD_BYTES;

/// Largest body of a frame in bytes: its length has 24 bits (rlpx.md, "Framing").
pub const MAX_FRAME_BYTES: usize = 0xff_ffff;
/// Largest body of the first frame after the handshake, in bytes. It is Hello or Disconnect.
pub const FIRST_FRAME_BYTES: usize = 2048;

const BLOCK_BYTES: usize = 16;
const MAC_BYTES: usize = 16;
const HEADER_BYTES: usize = BLOCK_BYTES + MAC_BYTES;
/// The RLP of `[0, 0]`: capability and context ids, which nobody uses.
const HEADER_DATA: [u8; 3] = [0xc2, 0x80, 0x80];

type Aes256Ctr = ctr::Ctr128BE<aes::Aes256>;

/// What a frame that carries a payload of `max_payload_bytes`, compressed at worst, may measure.
#[must_use]
pub fn frame_limit(max_payload_bytes: usize) -> usize {
    let payload = max_payload_bytes.min(MAX_PAYLOAD_BYTES);
    (1 + snap::raw::max_compress_len(payload)).min(MAX_FRAME_BYTES)
}

/// Why the peer's bytes are not a frame, or not a message that we agreed to.
///
/// After one of them the connection is over: the opener repeats the error for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The MAC of a header is wrong.
    #[error("the MAC of a frame header is wrong")]
    HeaderMac,
    /// The MAC of a body is wrong.
    #[error("the MAC of a frame body is wrong")]
    BodyMac,
    /// The header announces more than is allowed.
    #[error("a frame announces {found_bytes} bytes, above the limit of {limit_bytes}")]
    TooLarge {
        /// What it announces.
        found_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The frame has no body, so it has no message id.
    #[error("a frame is empty")]
    Empty,
    /// The body does not begin with an RLP integer.
    #[error("a frame begins with no message id")]
    BadId,
    /// No capability that both sides have uses the id.
    #[error("no shared capability has message id 0x{id:02x}")]
    UnknownId {
        /// The id received.
        id: u64,
    },
    /// The payload is not a snappy block.
    #[error("the payload of message 0x{id:02x} is no snappy block")]
    Snappy {
        /// The message id.
        id: u8,
    },
    /// The payload, uncompressed, is larger than its channel allows.
    #[error("the payload of message 0x{id:02x} has {found_bytes} bytes, above the limit of {limit_bytes}")]
    PayloadTooLarge {
        /// The message id.
        id: u8,
        /// Its length, or the length that its compressed form announces.
        found_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
}

impl Fault for FrameError {
    fn layer(&self) -> Layer {
        match self {
            Self::UnknownId { .. } => Layer::Capability,
            _ => Layer::Frame,
        }
    }

    fn blame(&self) -> Blame {
        Blame::Protocol
    }

    fn label(&self) -> &'static str {
        match self {
            Self::HeaderMac => "bad_header_mac",
            Self::BodyMac => "bad_body_mac",
            Self::TooLarge { .. } => "frame_too_large",
            Self::Empty => "empty_frame",
            Self::BadId => "bad_message_id",
            Self::UnknownId { .. } => "unknown_message_id",
            Self::Snappy { .. } => "bad_snappy",
            Self::PayloadTooLarge { .. } => "payload_too_large",
        }
    }

    fn reason(&self) -> DisconnectReason {
        DisconnectReason::Breach
    }
}

/// Why a message of ours cannot be sent. The output is as it was, and the connection still works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The payload or the frame around it exceeds what RLPx carries.
    #[error("a message of {found_bytes} bytes exceeds the {limit_bytes} that RLPx carries")]
    TooLarge {
        /// Its size.
        found_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The id is above 0x7f.
    #[error("message id 0x{id:02x} is above 0x7f and does not interoperate")]
    BadId {
        /// The id.
        id: u8,
    },
}

impl Fault for SealError {
    fn layer(&self) -> Layer {
        Layer::Frame
    }

    fn blame(&self) -> Blame {
        Blame::Ourselves
    }

    fn label(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "message_too_large",
            Self::BadId { .. } => "bad_own_message_id",
        }
    }

    fn reason(&self) -> DisconnectReason {
        DisconnectReason::Requested
    }
}

/// The sending half of the frame codec.
pub struct Sealer {
    stream: Aes256Ctr,
    mac: RunningMac,
}

impl Sealer {
    pub(super) fn new(aes: &[u8; 32], mac: &[u8; 32], egress: Keccak256) -> Self {
        Self { stream: stream(aes), mac: RunningMac::new(mac, egress) }
    }

    /// Appends a frame to `out`: the message id and `payload` as it is.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn seal(&mut self, id: u8, payload: &[u8], out: &mut BytesMut) -> Result<(), SealError> {
        out.reserve(2 * HEADER_BYTES + 1 + payload.len());
        self.seal_with(id, out, |out| out.put_slice(payload))
    }

    /// Appends a frame whose payload `write` appends. `write` must only append.
    pub(super) fn seal_with(
        &mut self,
        id: u8,
        out: &mut BytesMut,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<(), SealError> {
        if id > 0x7f {
            return Err(SealError::BadId { id });
        }
        let start = out.len();
        out.put_bytes(0, HEADER_BYTES);
        // As an RLP integer, in which zero is the empty string.
        out.put_u8(if id == 0 { 0x80 } else { id });
        write(out);
        let found_bytes = out.len() - start - HEADER_BYTES;
        if found_bytes > MAX_FRAME_BYTES {
            out.truncate(start);
            return Err(SealError::TooLarge { found_bytes, limit_bytes: MAX_FRAME_BYTES });
        }
        out.put_bytes(0, padded(found_bytes) - found_bytes + MAC_BYTES);
        self.close(&mut out[start..], found_bytes);
        Ok(())
    }

    /// Fills in header and MACs around a body that stands in its place.
    fn close(&mut self, frame: &mut [u8], body_bytes: usize) {
        let (header, rest) = frame.split_at_mut(HEADER_BYTES);
        let (header, header_mac) = header.split_at_mut(BLOCK_BYTES);
        let (body, body_mac) = rest.split_at_mut(padded(body_bytes));
        header[..3].copy_from_slice(&body_bytes.to_be_bytes()[size_of::<usize>() - 3..]);
        header[3..6].copy_from_slice(&HEADER_DATA);
        self.stream.apply_keystream(header);
        header_mac.copy_from_slice(&self.mac.header(header));
        self.stream.apply_keystream(body);
        body_mac.copy_from_slice(&self.mac.body(body));
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

/// The receiving half of the frame codec.
pub struct Opener {
    stream: Aes256Ctr,
    mac: RunningMac,
    awaits: Awaits,
    /// Whether the first frame is still to come: it has a limit of its own.
    is_first: bool,
    max_frame_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
enum Awaits {
    Header,
    Body { body_bytes: usize },
    Nothing(FrameError),
}

/// A body that was opened in place at the front of the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    /// Length of the body.
    pub(super) body_bytes: usize,
    /// How much of the input belongs to the frame.
    pub(super) frame_bytes: usize,
}

impl Opener {
    pub(super) fn new(aes: &[u8; 32], mac: &[u8; 32], ingress: Keccak256, max_frame_bytes: usize) -> Self {
        let max_frame_bytes = max_frame_bytes.min(MAX_FRAME_BYTES);
        Self {
            stream: stream(aes),
            mac: RunningMac::new(mac, ingress),
            awaits: Awaits::Header,
            is_first: true,
            max_frame_bytes,
        }
    }

    /// Changes the limit of later frames, for instance once the shared capabilities are known.
    pub fn set_max_frame_bytes(&mut self, max_frame_bytes: usize) {
        self.max_frame_bytes = max_frame_bytes.min(MAX_FRAME_BYTES);
    }

    /// How many bytes the input lacks, having `have`, before [`Opener::open`] can go on. A hint for the size of a
    /// read; a caller that sets memory aside for it should do so in steps, since a peer announces what it likes.
    #[must_use]
    pub fn missing_bytes(&self, have: usize) -> usize {
        let need = match self.awaits {
            Awaits::Header => HEADER_BYTES,
            Awaits::Body { body_bytes } => padded(body_bytes) + MAC_BYTES,
            Awaits::Nothing(_) => 0,
        };
        need.saturating_sub(have)
    }

    /// Takes the next frame's body, message id first, from the front of `input`; `None` until all of it is there.
    ///
    /// # Errors
    ///
    /// See [`FrameError`]. The first error is final.
    pub fn open(&mut self, input: &mut BytesMut) -> Result<Option<BytesMut>, FrameError> {
        let Some(opened) = self.open_in_place(input)? else { return Ok(None) };
        let mut body = input.split_to(opened.frame_bytes);
        body.truncate(opened.body_bytes);
        Ok(Some(body))
    }

    /// Like [`Opener::open`], but leaves the body at the front of the input. The caller takes all of
    /// `frame_bytes` away before the next call.
    pub(super) fn open_in_place(&mut self, input: &mut BytesMut) -> Result<Option<Opened>, FrameError> {
        match self.advance(input) {
            Ok(opened) => Ok(opened),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Makes `error` the answer to every later call.
    pub(super) fn fail(&mut self, error: FrameError) -> FrameError {
        self.awaits = Awaits::Nothing(error);
        error
    }

    fn advance(&mut self, input: &mut BytesMut) -> Result<Option<Opened>, FrameError> {
        let body_bytes = match self.awaits {
            Awaits::Nothing(error) => return Err(error),
            Awaits::Body { body_bytes } => body_bytes,
            Awaits::Header if input.len() < HEADER_BYTES => return Ok(None),
            Awaits::Header => self.open_header(input)?,
        };
        let padded_bytes = padded(body_bytes);
        let frame_bytes = padded_bytes + MAC_BYTES;
        if input.len() < frame_bytes {
            return Ok(None);
        }
        let (body, mac) = input[..frame_bytes].split_at_mut(padded_bytes);
        if !bool::from(self.mac.body(body).ct_eq(mac)) {
            return Err(FrameError::BodyMac);
        }
        self.stream.apply_keystream(body);
        self.awaits = Awaits::Header;
        self.is_first = false;
        Ok(Some(Opened { body_bytes, frame_bytes }))
    }

    fn open_header(&mut self, input: &mut BytesMut) -> Result<usize, FrameError> {
        let (header, mac) = input[..HEADER_BYTES].split_at_mut(BLOCK_BYTES);
        if !bool::from(self.mac.header(header).ct_eq(mac)) {
            return Err(FrameError::HeaderMac);
        }
        self.stream.apply_keystream(header);
        let found_bytes = header[..3].iter().fold(0, |sum, &b| (sum << 8) | usize::from(b));
        input.advance(HEADER_BYTES);
        if found_bytes == 0 {
            return Err(FrameError::Empty);
        }
        let first_limit = if self.is_first { FIRST_FRAME_BYTES } else { MAX_FRAME_BYTES };
        let limit_bytes = self.max_frame_bytes.min(first_limit);
        if found_bytes > limit_bytes {
            return Err(FrameError::TooLarge { found_bytes, limit_bytes });
        }
        self.awaits = Awaits::Body { body_bytes: found_bytes };
        Ok(found_bytes)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("awaits", &self.awaits).finish_non_exhaustive()
    }
}

/// One running stream per direction, both under the same key: CVE-2015-20112.
fn stream(aes: &[u8; 32]) -> Aes256Ctr {
    Aes256Ctr::new(aes.into(), &[0; BLOCK_BYTES].into())
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES)
}

/// The MAC state of one direction (rlpx.md, "MAC").
struct RunningMac {
    cipher: aes::Aes256,
    state: Keccak256,
    /// The digest of `state`. The one before a header is that after the body before it: remembering it saves a
    /// permutation of four.
    digest: [u8; MAC_BYTES],
}

impl RunningMac {
    fn new(key: &[u8; 32], state: Keccak256) -> Self {
        let mut mac = Self { cipher: aes::Aes256::new(key.into()), state, digest: [0; MAC_BYTES] };
        mac.digest();
        mac
    }

    /// Takes in a header's ciphertext, and gives its MAC.
    fn header(&mut self, header: &[u8]) -> [u8; MAC_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        block.copy_from_slice(header);
        self.mix(block)
    }

    /// Takes in a body's ciphertext, and gives its MAC.
    fn body(&mut self, body: &[u8]) -> [u8; MAC_BYTES] {
        self.state.update(body);
        self.digest();
        self.mix(self.digest)
    }

    fn mix(&mut self, block: [u8; BLOCK_BYTES]) -> [u8; MAC_BYTES] {
        let mut seed = self.digest.into();
        self.cipher.encrypt_block(&mut seed);
        for (seed, byte) in seed.iter_mut().zip(block) {
            *seed ^= byte;
        }
        self.state.update(seed);
        self.digest();
        self.digest
    }

    fn digest(&mut self) {
        let full: [u8; 32] = self.state.clone().finalize().into();
        self.digest.copy_from_slice(&full[..MAC_BYTES]);
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
