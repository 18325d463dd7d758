//! The `p2p` capability: Hello, Disconnect, Ping and Pong (rlpx.md, "p2p Capability").
//!
//! Its messages have the ids below [`BASE_OFFSET`]. Reading is lenient wherever clients differ, because a
//! peer that says an odd Disconnect must still be understood; writing is exact, because reth closes on an
//! odd Ping.
//!
//! It does not compare the identity in Hello with the one that the handshake proved: the session does.

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::BytesMut;

use super::frame::FIRST_FRAME_BYTES;
use crate::event::{Blame, DisconnectReason, Fault, Layer};
use crate::id::NodeId;
use crate::message::Capability;

/// Message id of Hello.
pub const HELLO: u8 = 0;
/// Message id of Disconnect.
pub const DISCONNECT: u8 = 1;
/// Message id of Ping.
pub const PING: u8 = 2;
/// Message id of Pong.
pub const PONG: u8 = 3;
/// The first message id of the shared capabilities (rlpx.md, "Message ID-based Multiplexing").
pub const BASE_OFFSET: u8 = 0x10;

/// The version of `p2p` that we speak, with snappy (EIP-706).
pub const VERSION: u32 = 5;
/// Payload of our Ping and Pong, before compression: the empty list.
pub const PING_PAYLOAD: [u8; 1] = [0xc0];

/// Most capabilities read from one Hello.
pub const MAX_CAPABILITIES: usize = 128;
/// Most bytes kept of a client's name.
pub const MAX_CLIENT_BYTES: usize = 256;

/// The largest payload of a `p2p` message in bytes, or `None` where the id is none of them. It fits
/// [`Decoder::decode`](super::Decoder::decode) until the capabilities are negotiated.
#[must_use]
pub fn max_payload(id: u8) -> Option<usize> {
    matches!(id, HELLO | DISCONNECT | PING | PONG).then_some(FIRST_FRAME_BYTES)
}

/// Whether `payload`, uncompressed, is a Ping's or a Pong's: an empty list, an empty string, or nothing.
#[must_use]
pub fn is_ping_payload(payload: &[u8]) -> bool {
    matches!(payload, [] | [0xc0 | 0x80])
}

/// The first message of both sides (rlpx.md, "Hello (0x00)").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Version of `p2p`; snappy is used if both sides have 5 or more.
    pub version: u32,
    /// What the client calls itself. Printable, at most [`MAX_CLIENT_BYTES`] when read.
    pub client: String,
    /// The capabilities it speaks.
    pub capabilities: Vec<Capability>,
    /// The port it listens on, 0 if none. Legacy: nobody relies on it.
    pub listen_port: u16,
    /// The identity it claims.
    pub id: NodeId,
}

/// Why a payload is no Hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// It is not the RLP that it must be.
    #[error("Hello holds bad RLP: {0}")]
    Malformed(#[from] alloy_rlp::Error),
    /// The identity is no public key.
    #[error("the id in Hello is no public key")]
    Identity,
    /// More than [`MAX_CAPABILITIES`].
    #[error("Hello names more than {MAX_CAPABILITIES} capabilities")]
    TooManyCapabilities,
}

impl Fault for HelloError {
    fn layer(&self) -> Layer {
        Layer::Hello
    }

    fn blame(&self) -> Blame {
        Blame::Protocol
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "hello_malformed",
            Self::Identity => "hello_identity",
            Self::TooManyCapabilities => "hello_capabilities",
        }
    }

    fn reason(&self) -> DisconnectReason {
        match self {
            Self::Identity => DisconnectReason::NullIdentity,
            Self::Malformed(_) | Self::TooManyCapabilities => DisconnectReason::Breach,
        }
    }
}

impl Hello {
    /// Appends the payload to `out`. The name is cut at [`MAX_CLIENT_BYTES`].
    pub fn encode(&self, out: &mut BytesMut) {
        let client = &self.client[..self.client.floor_char_boundary(MAX_CLIENT_BYTES)];
        let capabilities = self.capabilities.iter().map(Encodable::length).sum();
        let capabilities = Header { list: true, payload_length: capabilities };
        let payload_length = self.version.length()
            + client.length()
            + capabilities.length_with_payload()
            + self.listen_port.length()
            + self.id.as_bytes()[..].length();
        Header { list: true, payload_length }.encode(out);
        self.version.encode(out);
        client.encode(out);
        capabilities.encode(out);
        for capability in &self.capabilities {
            capability.encode(out);
        }
        self.listen_port.encode(out);
        self.id.as_bytes()[..].encode(out);
    }

    /// Reads a payload.
    ///
    /// Ignored are: further elements, capabilities whose name is not 1 to 8 printable ASCII characters or whose
    /// version exceeds 32 bits, and a port that is none.
    ///
    /// # Errors
    ///
    /// See [`HelloError`].
    pub fn decode(mut payload: &[u8]) -> Result<Self, HelloError> {
        let mut list = Header::decode_bytes(&mut payload, true)?;
        let version = u32::try_from(u64::decode(&mut list)?).unwrap_or(u32::MAX);
        let client = printable(Header::decode_bytes(&mut list, false)?);
        let capabilities = decode_capabilities(Header::decode_bytes(&mut list, true)?)?;
        let listen_port = u16::try_from(u64::decode(&mut list)?).unwrap_or(0);
        let id = Header::decode_bytes(&mut list, false)?.try_into().map_err(|_| HelloError::Identity)?;
        let id = NodeId::from_bytes(id).map_err(|_| HelloError::Identity)?;
        Ok(Self { version, client, capabilities, listen_port, id })
    }
}

/// The header of a capability's pair.
fn pair_header(capability: &Capability) -> Header {
    let payload_length = capability.name.as_str().length() + capability.version.length();
    Header { list: true, payload_length }
}

impl Encodable for Capability {
    fn length(&self) -> usize {
        pair_header(self).length_with_payload()
    }

    fn encode(&self, out: &mut dyn bytes::BufMut) {
        pair_header(self).encode(out);
        self.name.as_str().encode(out);
        self.version.encode(out);
    }
}

fn decode_capabilities(mut list: &[u8]) -> Result<Vec<Capability>, HelloError> {
    let mut capabilities = Vec::new();
    let mut seen = 0;
    while !list.is_empty() {
        seen += 1;
        if seen > MAX_CAPABILITIES {
            return Err(HelloError::TooManyCapabilities);
        }
        let mut pair = Header::decode_bytes(&mut list, true)?;
        let name = Header::decode_bytes(&mut pair, false)?;
        let version = Header::decode_bytes(&mut pair, false)?;
        capabilities.extend(capability(name, version));
    }
    Ok(capabilities)
}

/// A capability that we could ever share, or nothing.
fn capability(name: &[u8], version: &[u8]) -> Option<Capability> {
    let name = std::str::from_utf8(name).ok()?.parse().ok()?;
    let version = match version {
        [] => 0,
        // Not minimal, so not an integer.
        [0, ..] => return None,
        bytes if bytes.len() <= 4 => bytes.iter().fold(0, |sum, &b| (sum << 8) | u32::from(b)),
        _ => return None,
    };
    Some(Capability { name, version })
}

/// Text for people from bytes that anybody chose.
fn printable(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(MAX_CLIENT_BYTES)];
    let text = String::from_utf8_lossy(cut);
    let mut text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    text.truncate(text.floor_char_boundary(MAX_CLIENT_BYTES));
    text
}

/// The message that ends a connection (rlpx.md, "Disconnect (0x01)").
#[derive(Debug)]
pub struct Disconnect;

impl Disconnect {
    /// The payload: a list of the one number.
    pub fn encode(reason: DisconnectReason, out: &mut BytesMut) {
        let code = reason.code();
        Header { list: true, payload_length: code.length() }.encode(out);
        code.encode(out);
    }

    /// Reads a payload, whatever it looks like: a list or a bare number, 0x80 or 0x00 for zero, or nothing.
    /// What cannot be read is [`DisconnectReason::Requested`]: the peer leaves in any case.
    #[must_use]
    pub fn decode(payload: &[u8]) -> DisconnectReason {
        let mut input = payload;
        let inner = match Header::decode_bytes(&mut input, true) {
            Ok(list) => list,
            Err(_) => payload,
        };
        match *inner {
            [code @ 0..=0x7f, ..] | [0x81, code, ..] => DisconnectReason::from_code(code),
            _ => DisconnectReason::Requested,
        }
    }
}

#[cfg(test)]
#[path = "p2p_tests.rs"]
mod tests;
