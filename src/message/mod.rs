//! What reactors say to each other: the [`Message`] trait and its limits.
//!
//! A channel's protocol is one Rust enum. The [`protocol!`](crate::protocol) macro writes the trait for
//! it, with RLP as the encoding; a type that needs another encoding implements [`Message`] by hand.
//! On the wire a channel is a devp2p capability: a name of at most eight characters, versions, and for
//! each version a number of message codes that the connection maps to a block of message ids.
//!
//!
//! A protocol may have questions: a [`Question`] names the type of its [`Answer`], and comes to a receiver as a
//! [`Request`] with the [`Responder`] that takes the answer. [`Refusal`] says why a message was not queued,
//! [`Capability`] and [`AgreedChannel`] what peers announce and agree on.
//!
//! Nothing here knows connections, offsets or compression: those belong to the transport. Nor does anything here match
//! answers to questions: [`crate::request`] does.

mod capability;
#[cfg(doctest)]
mod mistakes;
mod protocol;
mod refusal;
mod request;

pub use capability::{AgreedChannel, Capability, CapabilityNameError};

#[doc(hidden)]
pub use protocol::support as __support;
pub use refusal::Refusal;
pub use request::{
    Answer, AskedNotSent, Head, Port, Question, Received, Request, Responder, Role, Sent, Template, Wire,
};

use bytes::{Bytes, BytesMut};

use crate::id::ChannelId;

/// The largest payload that every RLPx client accepts, in bytes (24-bit frame size, less the message id).
pub const MAX_PAYLOAD_BYTES: usize = 16_777_214;

/// One version of a channel's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// The capability version, as announced in Hello.
    pub number: u32,
    /// How many message codes the version has: codes run from 0 to `codes - 1`. At least 1.
    pub codes: u8,
}

/// The protocol of a channel: an enum with a code for each variant, and its encoding.
///
/// Prefer [`protocol!`](crate::protocol) over writing it by hand.
///
/// An implementation must decode what it encodes (`decode(v, m.code(), m.encode(v)) == m`), must never
/// panic on any payload, and must check every length and count before it allocates for it. Queues charge a message the
/// bytes of its payload; what it takes once decoded can be more, by 24 to 32 times for a list of many short byte strings.
/// Where that matters, [`Message::MAX_BYTES`] and the channel's shares have to allow for it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the protocol of a channel",
    label = "not a protocol",
    note = "declare an enum with `protocol!`; a question or an answer is a part of one, and is asked with `request` or answered with its responder"
)]
pub trait Message: Sized + Send + 'static {
    /// The channel's name: 1 to 8 printable ASCII characters.
    const CHANNEL: ChannelId;

    /// The versions spoken, in ascending order. Each connection uses the highest that both sides have.
    const VERSIONS: &'static [Version];

    /// Largest encoded payload in bytes, at most [`MAX_PAYLOAD_BYTES`]. Larger ones are refused on both
    /// sides: on receipt before any memory is set aside for them.
    const MAX_BYTES: usize;

    /// What the channel's receiver is given: `Self`, or for a protocol with questions the form of it in which
    /// they come with their responders.
    type Received: Send + 'static;

    /// What the codes of the protocol stand for. Without questions all are [`Kind::Message`].
    #[must_use]
    fn kind(code: u8) -> Kind {
        let _ = code;
        Kind::Message
    }

    /// The code of this variant, below the number of codes of the version in use.
    fn code(&self) -> u8;

    /// Appends the payload to `out`.
    fn encode(&self, version: u32, out: &mut BytesMut);

    /// Reads a payload of at most [`Message::MAX_BYTES`] bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says what is wrong with it; the peer is held to account for that.
    fn decode(version: u32, code: u8, payload: &Bytes) -> Result<Self, DecodeError>;

    /// Reads a question, which is answered over `wire`.
    ///
    /// # Errors
    ///
    /// As for [`Message::decode`]; a protocol without questions knows none of their codes.
    fn decode_question(
        version: u32,
        code: u8,
        payload: &Bytes,
        wire: impl Wire,
    ) -> Result<Self::Received, DecodeError> {
        let _ = (version, payload, wire);
        Err(DecodeError::UnknownCode { code })
    }

    /// The message as a receiver in the same node is given it: by value, never encoded.
    fn received(self) -> Self::Received;
}

/// What a code of a protocol stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A message that asks nothing.
    Message,
    /// A question, which comes with an id.
    Question,
    /// An answer, which comes with the id of its question.
    Answer,
}

/// Why a payload is not a message of its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No variant has this code.
    #[error("no message has code {code}")]
    UnknownCode {
        /// The code received.
        code: u8,
    },
    /// The payload is not the RLP that the variant needs.
    #[error("bad RLP: {0}")]
    Rlp(#[from] alloy_rlp::Error),
    /// Bytes follow the message.
    #[error("{extra_bytes} bytes follow the message")]
    Trailing {
        /// How many.
        extra_bytes: usize,
    },
    /// A length or count is above the protocol's limit.
    #[error("{what} is {found}, above its limit of {limit}")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// Its value.
        found: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// A rule of the protocol is broken.
    #[error("{0}")]
    Invalid(&'static str),
}

/// What a connection needs to know of a channel's protocol; a [`Message`] without its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelSpec {
    /// The channel's name.
    pub id: ChannelId,
    /// Its versions, ascending.
    pub versions: &'static [Version],
    /// Largest payload in bytes.
    pub max_bytes: usize,
}

impl ChannelSpec {
    /// The specification of `M`'s channel.
    #[must_use]
    pub const fn of<M: Message>() -> Self {
        Self { id: M::CHANNEL, versions: M::VERSIONS, max_bytes: M::MAX_BYTES }
    }
}

/// A message as connections carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The channel.
    pub channel: ChannelId,
    /// The message's code within it.
    pub code: u8,
    /// The encoded message.
    pub payload: Bytes,
}

/// What travels on a connection once it is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// A channel's message.
    Frame(Frame),
    /// Asks for a sign of life. Transports that have their own neither send nor deliver it.
    Ping,
    /// Gives it.
    Pong,
}
