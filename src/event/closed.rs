//! How a connection ended.

use std::borrow::Cow;
use std::fmt;

/// The layer in which something happened, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Layer {
    /// The byte stream: TCP, or the in-memory pipe that stands for it.
    Tcp,
    /// The encrypted handshake.
    Ecies,
    /// Frames: their MACs, sizes and compression.
    Frame,
    /// The exchange of Hello, and the `p2p` messages after it.
    Hello,
    /// Agreement on capabilities, networks and message ids.
    Capability,
    /// A channel's own messages.
    Channel,
    /// A decision of the peer manager.
    PeerManager,
    /// This node itself: its shutdown, its operator, its faults.
    Node,
}

impl Layer {
    /// A stable snake-case label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ecies => "ecies",
            Self::Frame => "frame",
            Self::Hello => "hello",
            Self::Capability => "capability",
            Self::Channel => "channel",
            Self::PeerManager => "peer_manager",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Side {
    /// We did.
    Local,
    /// The peer did, or the network between us.
    Remote,
}

impl Side {
    /// A stable snake-case label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whose fault an end is. The peer manager weighs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Blame {
    /// Nobody's: an orderly end.
    Nobody,
    /// The peer broke the protocol.
    Protocol,
    /// The peer cannot work with us: other network, nothing in common.
    Incompatible,
    /// The system or the network failed.
    System,
    /// We or the peer have no room.
    Overload,
    /// Our own fault or lag; the peer is not charged.
    Ourselves,
}

impl Blame {
    /// A stable snake-case label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Protocol => "protocol",
            Self::Incompatible => "incompatible",
            Self::System => "system",
            Self::Overload => "overload",
            Self::Ourselves => "ourselves",
        }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The reason of a devp2p Disconnect (RLPx, "Disconnect (0x01)"). Unknown numbers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum DisconnectReason {
    /// 0x00: somebody asked for it.
    Requested,
    /// 0x01: the byte stream failed.
    TcpError,
    /// 0x02: the protocol was broken.
    Breach,
    /// 0x03: nothing in common.
    Useless,
    /// 0x04: no room.
    TooManyPeers,
    /// 0x05: there is a connection already.
    AlreadyConnected,
    /// 0x06: the `p2p` version does not fit.
    IncompatibleVersion,
    /// 0x07: no identity was given.
    NullIdentity,
    /// 0x08: the node is shutting down.
    Quitting,
    /// 0x09: another identity than expected.
    UnexpectedIdentity,
    /// 0x0a: connected to oneself.
    SelfConnection,
    /// 0x0b: no sign of life in time.
    PingTimeout,
    /// 0x10: a reason of a capability.
    Subprotocol,
    /// Any other number.
    Other(u8),
}

impl DisconnectReason {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Requested => 0x00,
            Self::TcpError => 0x01,
            Self::Breach => 0x02,
            Self::Useless => 0x03,
            Self::TooManyPeers => 0x04,
            Self::AlreadyConnected => 0x05,
            Self::IncompatibleVersion => 0x06,
            Self::NullIdentity => 0x07,
            Self::Quitting => 0x08,
            Self::UnexpectedIdentity => 0x09,
            Self::SelfConnection => 0x0a,
            Self::PingTimeout => 0x0b,
            Self::Subprotocol => 0x10,
            Self::Other(code) => code,
        }
    }

    /// The reason of a number on the wire.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        match code {
            0x00 => Self::Requested,
            0x01 => Self::TcpError,
            0x02 => Self::Breach,
            0x03 => Self::Useless,
            0x04 => Self::TooManyPeers,
            0x05 => Self::AlreadyConnected,
            0x06 => Self::IncompatibleVersion,
            0x07 => Self::NullIdentity,
            0x08 => Self::Quitting,
            0x09 => Self::UnexpectedIdentity,
            0x0a => Self::SelfConnection,
            0x0b => Self::PingTimeout,
            0x10 => Self::Subprotocol,
            other => Self::Other(other),
        }
    }

    /// A stable snake-case label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::TcpError => "tcp_error",
            Self::Breach => "breach_of_protocol",
            Self::Useless => "useless_peer",
            Self::TooManyPeers => "too_many_peers",
            Self::AlreadyConnected => "already_connected",
            Self::IncompatibleVersion => "incompatible_version",
            Self::NullIdentity => "null_identity",
            Self::Quitting => "quitting",
            Self::UnexpectedIdentity => "unexpected_identity",
            Self::SelfConnection => "self_connection",
            Self::PingTimeout => "ping_timeout",
            Self::Subprotocol => "subprotocol",
            Self::Other(_) => "other",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(code) => write!(f, "reason 0x{code:02x}"),
            known => f.pad(&known.as_str().replace('_', " ")),
        }
    }
}

/// By a name of its own, since serde takes a field that is written as a reference for a part of its input.
type Label = &'static str;

/// How a connection, or the attempt at one, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Closed {
    /// Who ended it.
    pub by: Side,
    /// The layer in which the end arose.
    pub layer: Layer,
    /// Whose fault it is.
    pub blame: Blame,
    /// The reason as the wire has it: sent, received, or what would have been sent.
    pub reason: DisconnectReason,
    /// A stable snake-case label of the cause, finer than `reason`; counters are keyed by layer and label.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::label::deserialize"))]
    pub label: Label,
    /// The cause in words, for people. May be empty.
    pub detail: Cow<'static, str>,
}

impl Closed {
    /// An end that we chose.
    #[must_use]
    pub fn local(layer: Layer, blame: Blame, reason: DisconnectReason, label: &'static str) -> Self {
        Self { by: Side::Local, layer, blame, reason, label, detail: Cow::Borrowed("") }
    }

    /// The peer sent Disconnect.
    #[must_use]
    pub fn remote(reason: DisconnectReason) -> Self {
        let blame = match reason {
            DisconnectReason::TooManyPeers => Blame::Overload,
            DisconnectReason::Useless | DisconnectReason::IncompatibleVersion => Blame::Incompatible,
            _ => Blame::Nobody,
        };
        Self {
            by: Side::Remote,
            layer: Layer::Hello,
            blame,
            reason,
            label: reason.as_str(),
            detail: Cow::Borrowed(""),
        }
    }

    /// The byte stream failed, or never stood.
    #[must_use]
    pub fn stream(label: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            by: Side::Remote,
            layer: Layer::Tcp,
            blame: Blame::System,
            reason: DisconnectReason::TcpError,
            label,
            detail: detail.into(),
        }
    }

    /// Adds the cause in words. They may be a peer's: a control character becomes `?`, lest it reach a terminal.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = harmless(detail.into());
        self
    }
}

/// Text for people from words that may be a peer's: a control character becomes `?`.
pub(crate) fn harmless(words: Cow<'static, str>) -> Cow<'static, str> {
    if words.contains(char::is_control) { words.replace(char::is_control, "?").into() } else { words }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            Side::Local => "by us",
            Side::Remote => "by the peer",
        };
        write!(f, "closed {by}, {} layer: {}", self.layer, self.label.replace('_', " "))?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

/// An error that ends a connection, and can say whose it is.
///
/// Each layer's errors implement it beside their declaration; [`Fault::closed`] is the one way from an
/// error to a [`Closed`].
pub trait Fault: std::error::Error {
    /// The layer in which the fault arose.
    fn layer(&self) -> Layer;

    /// Whose fault it is.
    fn blame(&self) -> Blame;

    /// A stable snake-case label; counters are keyed by layer and label.
    fn label(&self) -> &'static str;

    /// What the peer is told.
    fn reason(&self) -> DisconnectReason;

    /// The end that we choose because of the fault, with the error's text as its detail.
    fn closed(&self) -> Closed {
        Closed::local(self.layer(), self.blame(), self.reason(), self.label()).with_detail(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_number_is_kept() {
        for code in 0..=u8::MAX {
            assert_eq!(DisconnectReason::from_code(code).code(), code);
        }
    }

    #[test]
    fn an_end_reads_as_a_sentence() {
        let closed = Closed::local(Layer::Frame, Blame::Protocol, DisconnectReason::Breach, "bad_mac")
            .with_detail("header MAC");
        assert_eq!(closed.to_string(), "closed by us, frame layer: bad mac (header MAC)");
    }
}
