//! RLPx without I/O: bytes in, messages and bytes out (devp2p, rlpx.md).
//!
//! In the order in which a connection meets them:
//!
//! 1. [`Initiator`] and [`Recipient`] exchange the encrypted handshake and leave [`Secrets`].
//! 2. [`Secrets::into_codec`] gives a [`Sealer`] and an [`Opener`] of frames; [`Encoder`] and [`Decoder`] put message ids,
//!    limits and snappy on them.
//! 3. [`Hello`] is the first message of both sides. [`negotiate`] makes [`Shared`] of the two capability
//!    lists: which message id means which channel and code.
//! 4. [`Info`] is a small capability of our own; [`Keepalive`] watches over the silence.
//!
//! Everything is a plain value. Randomness comes in as [`Entropy`], time as `now`. Whatever a peer sends
//! is an error or a message, never a panic; every error implements [`Fault`](crate::event::Fault), which says whose
//! it is. All lengths are checked before memory is set aside for them.
//!
//! # What RLPx does not give
//!
//! The handshake proves identities, and the MACs keep what was sent from being changed, dropped within a
//! stream or replayed. Confidentiality is weak. Both directions are encrypted with AES-256-CTR under the *same*
//! key and the same zero iv (CVE-2015-20112): an observer who knows or guesses what one side said reads what the
//! other said at the same position of its stream. One side cannot mend that and still interoperate. Do not send secrets over
//! RLPx. Nor does it hide the lengths of messages, or who talks to whom.
//!
//! # What this module does not provide
//!
//! Sockets, deadlines, the order of Hello and Disconnect, the comparison of identities (of Hello's with the
//! proved one, and of the peer's with our own), and flow control: the RLPx transport does. Nor the handshake
//! from before EIP-8, `p2p` versions before 4, or chunked frames: no live client speaks them.

mod capability;
mod ecies;
mod frame;
mod handshake;
mod info;
mod keepalive;
mod message;
pub mod p2p;
mod secrets;

pub use crate::message::Capability;
pub use capability::{
    CapabilityError, MAX_CODES, Negotiated, Shared, SharedChannel, check_channels, negotiate,
};
pub use frame::{FIRST_FRAME_BYTES, FrameError, MAX_FRAME_BYTES, Opener, SealError, Sealer, frame_limit};
pub use handshake::{
    Accepted, AwaitAck, Entropy, HandshakeError, Initiator, MAX_PACKET_BYTES, MIN_PACKET_BYTES,
    MIN_PADDING_BYTES, Recipient, packet_len,
};
pub use info::{INFO_CHANNEL, Info, InfoError, MAX_NETWORK_BYTES, MAX_SERVICE_BYTES, MAX_SERVICES};
pub use keepalive::{Keepalive, KeepaliveAction, KeepaliveConfig, KeepaliveConfigError, PingAnswer};
pub use message::{Decoder, Encoder};
pub use p2p::{Disconnect, Hello, HelloError};
pub use secrets::Secrets;
