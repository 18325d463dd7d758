//! Who a node is, and which connection is meant.
//!
//! [`NodeId`] is an identity that a handshake has proved or that an address promises. [`NodeKey`] is the
//! secret half. [`ConnId`] is an epoch: a new number for every connection attempt, so that a late report
//! about an old connection is recognised and never applied to its successor. [`ChannelId`] names a
//! channel on the wire.
//!
//! Nothing here draws randomness: [`NodeKey::from_bytes`] takes bytes that the caller drew.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use secp256k1::{PublicKey, SecretKey};

#[cfg(feature = "serde")]
mod text;

#[cfg(feature = "serde")]
pub(crate) use text::{as_text, parsed};

/// Identifies a node: the 64-byte uncompressed secp256k1 public key without its `04` tag (the enode id).
///
/// A value of this type is always a point on the curve. Its representation is private, so that another
/// kind of key can join later. `Display` gives all 128 hex digits; [`NodeId::short`] suits a log line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodeId([u8; 64]);

/// Why bytes or text are not a [`NodeId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeIdError {
    /// The text is not exactly 128 lower-case hex digits.
    #[error("a node id is 128 lower-case hex digits; these {found_chars} characters are not")]
    NotHex {
        /// How many characters the text has.
        found_chars: usize,
    },
    /// The bytes are no point on secp256k1.
    #[error("a node id must be a point on secp256k1; these 64 bytes are none")]
    NotOnCurve,
}

impl NodeId {
    /// Length of the identity in bytes.
    pub const BYTES: usize = 64;

    /// Checks that `bytes` are a point on the curve and makes them an identity.
    ///
    /// # Errors
    ///
    /// [`NodeIdError::NotOnCurve`] if they are not.
    pub fn from_bytes(bytes: [u8; 64]) -> Result<Self, NodeIdError> {
        let id = Self(bytes);
        PublicKey::from_slice(&id.tagged()).map_err(|_| NodeIdError::NotOnCurve)?;
        Ok(id)
    }

    /// The 64 bytes, as they stand in an enode URL and in Hello.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// The first eight hex digits, for logs and tables. Not unique: never compare by it.
    #[must_use]
    pub fn short(&self) -> ShortId {
        let mut head = [0; 4];
        head.copy_from_slice(&self.0[..4]);
        ShortId(head)
    }

    pub(crate) fn from_public(key: &PublicKey) -> Self {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(&key.serialize_uncompressed()[1..]);
        Self(bytes)
    }

    fn tagged(&self) -> [u8; 65] {
        let mut bytes = [4; 65];
        bytes[1..].copy_from_slice(&self.0);
        bytes
    }

    /// The curve point.
    ///
    /// # Panics
    ///
    /// Never: every constructor has checked the point.
    #[allow(clippy::expect_used, reason = "every constructor has checked the point")]
    pub(crate) fn to_public(self) -> PublicKey {
        PublicKey::from_slice(&self.tagged()).expect("a NodeId is a checked point")
    }
}

impl Hash for NodeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A public key is uniform: sixteen bytes of it are as good a hash input as all 64.
        state.write(&self.0[..16]);
    }
}

impl Ord for NodeId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.short())
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let malformed = NodeIdError::NotHex { found_chars: text.chars().count() };
        if text.len() != 128 || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(malformed);
        }
        let mut bytes = [0; 64];
        const_hex::decode_to_slice(text, &mut bytes).map_err(|_| malformed)?;
        Self::from_bytes(bytes)
    }
}

/// The first four bytes of a [`NodeId`], displayed as eight hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortId([u8; 4]);

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&const_hex::encode(self.0))
    }
}

/// A node's secret key. `Debug` shows only the identity that belongs to it.
#[derive(Clone)]
pub struct NodeKey {
    secret: SecretKey,
    /// Worked out once: it costs as much as a whole key agreement.
    id: NodeId,
}

/// Why bytes or text are not a [`NodeKey`]. Never repeats the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeKeyError {
    /// The text is not exactly 64 hex digits.
    #[error("a node key is 64 hex digits; these {found_chars} characters are not")]
    NotHex {
        /// How many characters the text has.
        found_chars: usize,
    },
    /// The number is zero or not below the order of the curve.
    #[error("a node key must be between 1 and the order of secp256k1")]
    OutOfRange,
}

impl NodeKey {
    /// Makes a key of 32 big-endian bytes.
    ///
    /// # Errors
    ///
    /// [`NodeKeyError::OutOfRange`] if they are zero or at least the order of the curve; drawing again is
    /// the remedy (it happens once in 2^128 draws).
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, NodeKeyError> {
        let secret = SecretKey::from_secret_bytes(bytes).map_err(|_| NodeKeyError::OutOfRange)?;
        let id = NodeId::from_public(&PublicKey::from_secret_key(&secret));
        Ok(Self { secret, id })
    }

    /// Derives a key from a number, the same each time. **For tests and simulations only**: anybody can
    /// derive it too.
    ///
    /// # Panics
    ///
    /// If the digest of `seed` is no key, which no seed is known to do.
    #[must_use]
    #[allow(clippy::expect_used, reason = "one seed in 2^128 would fail, and only in a test")]
    pub fn insecure_from_seed(seed: u64) -> Self {
        use sha3::{Digest, Keccak256};
        let digest: [u8; 32] = Keccak256::new()
            .chain_update(b"peerage test key")
            .chain_update(seed.to_be_bytes())
            .finalize()
            .into();
        Self::from_bytes(digest).expect("no 64-bit seed is known to miss the group order")
    }

    /// The identity that this key proves.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The 32 secret bytes. Write them only where secrets belong.
    #[must_use]
    pub fn to_secret_bytes(&self) -> [u8; 32] {
        self.secret.to_secret_bytes()
    }

    pub(crate) fn secret(&self) -> &SecretKey {
        &self.secret
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey(of {})", self.id().short())
    }
}

impl FromStr for NodeKey {
    type Err = NodeKeyError;

    fn from_str(text: &str) -> Result<Self, NodeKeyError> {
        let malformed = NodeKeyError::NotHex { found_chars: text.chars().count() };
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return Err(malformed);
        }
        const_hex::decode_to_slice(text, &mut bytes).map_err(|_| malformed)?;
        Self::from_bytes(bytes)
    }
}

/// The epoch of a connection: new for each attempt, never reused within a node's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ConnId(u64);

impl ConnId {
    /// Stands for no connection: what one reactor of a node sends to another. No attempt has this number.
    pub const LOCAL: Self = Self(0);

    /// Makes an epoch of its number. Only the peer manager hands them out in a running node.
    #[must_use]
    pub const fn new(epoch: u64) -> Self {
        Self(epoch)
    }

    /// The number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Direction {
    /// The peer dialled us.
    Inbound,
    /// We dialled the peer.
    Outbound,
}

impl Direction {
    /// A stable snake-case label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Up to eight printable ASCII bytes, held inline and ordered as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Name([u8; 8]);

impl Name {
    const fn new(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > 8 {
            return None;
        }
        let mut name = [0; 8];
        let mut i = 0;
        while i < bytes.len() {
            if !bytes[i].is_ascii_graphic() {
                return None;
            }
            name[i] = bytes[i];
            i += 1;
        }
        Some(Self(name))
    }

    fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&b| b == 0).unwrap_or(8);
        // Never empty: `new` let only ASCII in.
        std::str::from_utf8(&self.0[..len]).unwrap_or_default()
    }
}

/// Names a channel: a devp2p capability name of 1 to 8 printable ASCII characters (RLPx, "Hello").
///
/// The order is that of the text, case-sensitive, as capability negotiation needs it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(Name);

/// A name is empty, longer than eight characters, or not printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no channel name: it needs 1 to 8 printable ASCII characters")]
pub struct ChannelIdError(String);

impl ChannelId {
    /// Makes a name known at compile time; use it in a `const` to have it checked there.
    ///
    /// # Panics
    ///
    /// If `name` is not 1 to 8 printable ASCII characters.
    #[must_use]
    #[allow(clippy::panic, reason = "the name is the caller's own, and in a `const` this fails the build")]
    pub const fn from_static(name: &'static str) -> Self {
        match Name::new(name) {
            Some(name) => Self(name),
            None => panic!("a channel name has 1 to 8 printable ASCII characters"),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for ChannelId {
    type Err = ChannelIdError;

    fn from_str(text: &str) -> Result<Self, ChannelIdError> {
        Name::new(text).map(Self).ok_or_else(|| ChannelIdError(text.chars().take(32).collect()))
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({})", self.as_str())
    }
}

/// Names a kind of transport, by the scheme of its addresses: 1 to 8 printable ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(Name);

impl Protocol {
    /// RLPx over TCP; its addresses are `enode://ID@HOST:PORT`.
    pub const RLPX: Self = Self::from_static("enode");
    /// Nodes of one process; its addresses are `memory:ID`.
    pub const MEMORY: Self = Self::from_static("memory");

    /// Makes a protocol of a scheme known at compile time.
    ///
    /// # Panics
    ///
    /// If `scheme` is not 1 to 8 printable ASCII characters.
    #[must_use]
    #[allow(clippy::panic, reason = "the name is the caller's own, and in a `const` this fails the build")]
    pub const fn from_static(scheme: &'static str) -> Self {
        match Name::new(scheme) {
            Some(name) => Self(name),
            None => panic!("a protocol name has 1 to 8 printable ASCII characters"),
        }
    }

    /// Makes a protocol of a scheme read from text: 1 to 8 lower-case letters or digits.
    #[must_use]
    pub fn from_scheme(scheme: &str) -> Option<Self> {
        let plain = scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        Name::new(scheme).filter(|_| plain).map(Self)
    }

    /// The scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_survives_text() {
        let id = NodeKey::insecure_from_seed(1).id();
        assert_eq!(id.to_string().parse::<NodeId>(), Ok(id));
        assert!(id.to_string().starts_with(&id.short().to_string()));
    }

    #[test]
    fn malformed_node_ids_are_refused() {
        let id = NodeKey::insecure_from_seed(1).id().to_string();
        for text in ["", "00", &id[1..], &id.to_uppercase(), &format!("{id}00"), &id.replace(&id[..1], "g")] {
            assert!(matches!(text.parse::<NodeId>(), Err(NodeIdError::NotHex { .. })), "{text}");
        }
        assert_eq!("0".repeat(128).parse::<NodeId>(), Err(NodeIdError::NotOnCurve));
    }

    #[test]
    fn a_key_never_prints_its_secret() {
        let key = NodeKey::insecure_from_seed(7);
        let secret = const_hex::encode(key.to_secret_bytes());
        assert!(!format!("{key:?}").contains(&secret[..8]));
        assert_eq!(secret.parse::<NodeKey>().unwrap().id(), key.id());
    }

    #[test]
    fn malformed_keys_are_refused() {
        assert_eq!("00".repeat(32).parse::<NodeKey>().unwrap_err(), NodeKeyError::OutOfRange);
        assert_eq!("ff".repeat(32).parse::<NodeKey>().unwrap_err(), NodeKeyError::OutOfRange);
        assert!(matches!("abc".parse::<NodeKey>(), Err(NodeKeyError::NotHex { found_chars: 3 })));
    }

    #[test]
    fn channel_names_are_ordered_as_text() {
        let mut names: Vec<ChannelId> =
            ["snap", "eth", "Eth", "ethx"].iter().map(|name| name.parse().unwrap()).collect();
        names.sort();
        let text: Vec<&str> = names.iter().map(ChannelId::as_str).collect();
        assert_eq!(text, ["Eth", "eth", "ethx", "snap"]);
        for bad in ["", "nine char", "123456789", "a b", "\u{e9}"] {
            assert!(bad.parse::<ChannelId>().is_err(), "{bad}");
        }
    }
}
