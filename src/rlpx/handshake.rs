//! The encrypted handshake: `auth` from the initiator, `ack` from the recipient (rlpx.md, "Initial
//! Handshake"), in the format of EIP-8 only.
//!
//! Each step consumes the state before it:
//!
//! ```text
//! Initiator::new -> (AwaitAck, auth)      auth ->      Recipient::on_auth -> Accepted { ack, secrets, .. }
//! AwaitAck::on_ack -> Secrets             <- ack
//! ```
//!
//! Read two bytes, ask [`packet_len`] how many follow, read those, and pass both together. As EIP-8 wants,
//! the version, further list elements and whatever follows the list are ignored.
//!
//! It does not notice a connection to oneself: compare [`Accepted::remote`] with the own id. It has no
//! deadline and counts no attempts: the caller refuses by address and number *before* calling, since one
//! `auth` costs the recipient some 170 microseconds.

use std::fmt;

use alloy_rlp::{Encodable, Header};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SecretKey};
use sha3::{Digest, Keccak256};

use super::ecies::{self, NotAuthentic, OVERHEAD_BYTES, PREFIX_BYTES};
use super::secrets::Secrets;
use crate::event::{Blame, DisconnectReason, Fault, Layer};
use crate::id::{NodeId, NodeKey};

/// Largest handshake packet, in bytes after the size prefix. Known clients send at most about 500.
pub const MAX_PACKET_BYTES: usize = 2048;
/// Smallest handshake packet, in bytes after the size prefix: an ack of two elements, without padding.
pub const MIN_PACKET_BYTES: usize = OVERHEAD_BYTES + 101;
/// Random bytes that we append inside the encryption, at least. ethereumjs waits for 307 bytes of auth and 210 of
/// ack before it parses either, and EIP-8 asks for 100 so that new packets differ from the old in size.
pub const MIN_PADDING_BYTES: usize = 100;

/// The version that we put in auth and ack (EIP-8). Nobody acts on it.
const AUTH_VERSION: u8 = 4;
const SIGNATURE_BYTES: usize = 65;

/// Says how many bytes follow the two bytes of a handshake packet's size prefix.
///
/// # Errors
///
/// [`HandshakeError::TooLarge`] and [`HandshakeError::TooShort`], before anything is allocated.
pub fn packet_len(prefix: [u8; 2]) -> Result<usize, HandshakeError> {
    match usize::from(u16::from_be_bytes(prefix)) {
        found_bytes if found_bytes > MAX_PACKET_BYTES => Err(HandshakeError::TooLarge { found_bytes }),
        found_bytes if found_bytes < MIN_PACKET_BYTES => Err(HandshakeError::TooShort { found_bytes }),
        len => Ok(len),
    }
}

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The packet announces more than [`MAX_PACKET_BYTES`].
    #[error("the handshake packet announces {found_bytes} bytes; at most {MAX_PACKET_BYTES} are read")]
    TooLarge {
        /// What it announces.
        found_bytes: usize,
    },
    /// The packet announces less than any handshake needs.
    #[error("the handshake packet announces {found_bytes} bytes; none has fewer than {MIN_PACKET_BYTES}")]
    TooShort {
        /// What it announces.
        found_bytes: usize,
    },
    /// The packet does not have the length that it announces.
    #[error(
        "the handshake packet has {found_bytes} bytes after its prefix, which announces {announced_bytes}"
    )]
    Length {
        /// What the prefix announces.
        announced_bytes: usize,
        /// How many there are.
        found_bytes: usize,
    },
    /// A point, a tag or the signature is bad. Which one is never told (CVE-2026-26315).
    #[error("the handshake packet is not authentic; is the dialled id the peer's?")]
    NotAuthentic,
    /// The packet is authentic, but its content is not the list that it must be.
    #[error("the handshake packet holds bad RLP: {0}")]
    Malformed(alloy_rlp::Error),
}

impl Fault for HandshakeError {
    fn layer(&self) -> Layer {
        Layer::Ecies
    }

    fn blame(&self) -> Blame {
        Blame::Protocol
    }

    fn label(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "handshake_too_large",
            Self::TooShort { .. } => "handshake_too_short",
            Self::Length { .. } => "handshake_length",
            Self::NotAuthentic => "handshake_not_authentic",
            Self::Malformed(_) => "handshake_malformed",
        }
    }

    fn reason(&self) -> DisconnectReason {
        DisconnectReason::Breach
    }
}

impl From<NotAuthentic> for HandshakeError {
    fn from(NotAuthentic: NotAuthentic) -> Self {
        Self::NotAuthentic
    }
}

/// 32 secret, uniformly random bytes, for one handshake only. Everything random in it is expanded from
/// them by ChaCha20. Using them twice reuses keys.
pub struct Entropy([u8; 32]);

impl Entropy {
    /// Takes bytes that the caller drew from the system.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(..)")
    }
}

/// What one side draws for one handshake.
pub(crate) struct Draws {
    pub(crate) ephemeral: SecretKey,
    pub(crate) nonce: [u8; 32],
    ecies: SecretKey,
    iv: [u8; 16],
    padding: Vec<u8>,
}

impl From<Entropy> for Draws {
    fn from(entropy: Entropy) -> Self {
        let mut rng = ChaCha20Rng::from_seed(entropy.0);
        let ephemeral = draw_key(&mut rng);
        let ecies = draw_key(&mut rng);
        let nonce = draw(&mut rng);
        let iv = draw(&mut rng);
        let [extra] = draw(&mut rng);
        let mut padding = vec![0; MIN_PADDING_BYTES + usize::from(extra)];
        rng.fill_bytes(&mut padding);
        Self { ephemeral, nonce, ecies, iv, padding }
    }
}

fn draw<const N: usize>(rng: &mut ChaCha20Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Draws again where the bytes are no scalar, which happens once in 2^128.
fn draw_key(rng: &mut ChaCha20Rng) -> SecretKey {
    loop {
        if let Ok(key) = SecretKey::from_secret_bytes(draw(rng)) {
            return key;
        }
    }
}

/// The side that dialled.
#[derive(Debug)]
pub struct Initiator;

impl Initiator {
    /// Begins a handshake with `remote`: the state, and the auth packet to send.
    #[allow(clippy::needless_pass_by_value, reason = "one entropy, one handshake: it is consumed on purpose")]
    #[allow(clippy::new_ret_no_self, reason = "the first step already leaves the state that waits for ack")]
    #[must_use]
    pub fn new(key: &NodeKey, remote: NodeId, entropy: Entropy) -> (AwaitAck, Vec<u8>) {
        let draws = Draws::from(entropy);
        let remote = remote.to_public();
        let auth = seal_auth(key, &remote, &draws);
        let state =
            AwaitAck { key: key.clone(), ephemeral: draws.ephemeral, nonce: draws.nonce, auth: auth.clone() };
        (state, auth)
    }
}

/// The initiator that has sent auth.
pub struct AwaitAck {
    key: NodeKey,
    ephemeral: SecretKey,
    nonce: [u8; 32],
    auth: Vec<u8>,
}

impl fmt::Debug for AwaitAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitAck").field("key", &self.key).finish_non_exhaustive()
    }
}

impl AwaitAck {
    /// Takes the recipient's packet, size prefix included, and ends the handshake.
    ///
    /// The recipient has proved its identity only with its first frame: whoever reads only the ack knows
    /// no more than that somebody knows our id.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`].
    pub fn on_ack(self, packet: &[u8]) -> Result<Secrets, HandshakeError> {
        let ack = Ack::open(&self.key, packet)?;
        let shared = ecies::agree(&ack.ephemeral, &self.ephemeral);
        let agreed = Agreed { shared, initiator_nonce: self.nonce, recipient_nonce: ack.nonce };
        Ok(agreed.initiator_secrets(&self.auth, packet))
    }
}

/// The side that was dialled.
#[derive(Debug)]
pub struct Recipient;

/// What the recipient has after auth.
#[derive(Debug)]
pub struct Accepted {
    /// The identity that the initiator proved. It may be our own: the caller checks.
    pub remote: NodeId,
    /// The packet to send back.
    pub ack: Vec<u8>,
    /// The secrets of the connection.
    pub secrets: Secrets,
}

impl Recipient {
    /// Takes the initiator's packet, size prefix included, and ends the handshake.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`].
    #[allow(clippy::needless_pass_by_value, reason = "one entropy, one handshake: it is consumed on purpose")]
    pub fn on_auth(key: &NodeKey, packet: &[u8], entropy: Entropy) -> Result<Accepted, HandshakeError> {
        let auth = Auth::open(key, packet)?;
        let draws = Draws::from(entropy);
        let ack = seal_ack(&auth.remote, &draws);
        let secrets = auth.agreed(&draws).recipient_secrets(packet, &ack);
        Ok(Accepted { remote: NodeId::from_public(&auth.remote), ack, secrets })
    }
}

/// What an auth packet says.
struct Auth {
    remote: PublicKey,
    ephemeral: PublicKey,
    nonce: [u8; 32],
}

impl Auth {
    fn open(key: &NodeKey, packet: &[u8]) -> Result<Self, HandshakeError> {
        let plain = open_packet(key, packet)?;
        let mut list = Header::decode_bytes(&mut &plain[..], true).map_err(HandshakeError::Malformed)?;
        let signature: [u8; SIGNATURE_BYTES] = fixed(&mut list)?;
        let id: [u8; 64] = fixed(&mut list)?;
        let nonce: [u8; 32] = fixed(&mut list)?;

        // Both are tried whatever the first gives, so that each failure costs the same.
        let (remote, remote_ok) = ecies::point_or_substitute(&tagged(&id));
        let digest = xor(&ecies::agree(&remote, key.secret()), &nonce);
        match recover(&signature, digest) {
            Some(ephemeral) if bool::from(remote_ok) => Ok(Self { remote, ephemeral, nonce }),
            _ => Err(HandshakeError::NotAuthentic),
        }
    }

    fn agreed(&self, draws: &Draws) -> Agreed {
        Agreed {
            shared: ecies::agree(&self.ephemeral, &draws.ephemeral),
            initiator_nonce: self.nonce,
            recipient_nonce: draws.nonce,
        }
    }
}

/// What an ack packet says.
struct Ack {
    ephemeral: PublicKey,
    nonce: [u8; 32],
}

impl Ack {
    fn open(key: &NodeKey, packet: &[u8]) -> Result<Self, HandshakeError> {
        let plain = open_packet(key, packet)?;
        let mut list = Header::decode_bytes(&mut &plain[..], true).map_err(HandshakeError::Malformed)?;
        let point: [u8; 64] = fixed(&mut list)?;
        let nonce = fixed(&mut list)?;
        match ecies::point_or_substitute(&tagged(&point)) {
            (ephemeral, ok) if bool::from(ok) => Ok(Self { ephemeral, nonce }),
            _ => Err(HandshakeError::NotAuthentic),
        }
    }
}

/// Checks the length against the prefix, then opens.
fn open_packet(key: &NodeKey, packet: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let Some((prefix, rest)) = packet.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(HandshakeError::Length { announced_bytes: 0, found_bytes: 0 });
    };
    let announced_bytes = packet_len(*prefix)?;
    if rest.len() != announced_bytes {
        return Err(HandshakeError::Length { announced_bytes, found_bytes: rest.len() });
    }
    Ok(ecies::open(key.secret(), packet)?)
}

fn fixed<const N: usize>(list: &mut &[u8]) -> Result<[u8; N], HandshakeError> {
    let bytes = Header::decode_bytes(list, false).map_err(HandshakeError::Malformed)?;
    bytes.try_into().map_err(|_| HandshakeError::Malformed(alloy_rlp::Error::UnexpectedLength))
}

/// `[signature, initiator id, nonce, version]`, then padding. The signature is by the ephemeral key over
/// the static shared secret XOR the nonce.
fn seal_auth(key: &NodeKey, remote: &PublicKey, draws: &Draws) -> Vec<u8> {
    let digest = xor(&ecies::agree(remote, key.secret()), &draws.nonce);
    let signature = sign(&draws.ephemeral, digest);
    let plain = plain_packet(&[&signature, key.id().as_bytes(), &draws.nonce], draws);
    ecies::seal(remote, &draws.ecies, draws.iv, &plain)
}

/// `[ephemeral key, nonce, version]`, then padding.
fn seal_ack(remote: &PublicKey, draws: &Draws) -> Vec<u8> {
    let plain = plain_packet(&[&ecies::public_bytes(&draws.ephemeral), &draws.nonce], draws);
    ecies::seal(remote, &draws.ecies, draws.iv, &plain)
}

fn plain_packet(elements: &[&[u8]], draws: &Draws) -> Vec<u8> {
    let payload_length = elements.iter().map(Encodable::length).sum::<usize>() + AUTH_VERSION.length();
    let mut plain = Vec::with_capacity(payload_length + 4 + draws.padding.len());
    Header { list: true, payload_length }.encode(&mut plain);
    for element in elements {
        element.encode(&mut plain);
    }
    AUTH_VERSION.encode(&mut plain);
    plain.extend_from_slice(&draws.padding);
    plain
}

fn sign(secret: &SecretKey, digest: [u8; 32]) -> [u8; SIGNATURE_BYTES] {
    let (id, compact) = RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(digest), secret)
        .serialize_compact();
    let mut bytes = [0; SIGNATURE_BYTES];
    bytes[..64].copy_from_slice(&compact);
    bytes[64] = id.to_u8();
    bytes
}

fn recover(signature: &[u8; SIGNATURE_BYTES], digest: [u8; 32]) -> Option<PublicKey> {
    let id = RecoveryId::try_from(i32::from(signature[64])).ok()?;
    let signature = RecoverableSignature::from_compact(&signature[..64], id).ok()?;
    signature.recover_ecdsa(Message::from_digest(digest)).ok()
}

/// What both sides know once auth and ack are exchanged.
struct Agreed {
    /// The shared secret of the ephemeral keys.
    shared: [u8; 32],
    initiator_nonce: [u8; 32],
    recipient_nonce: [u8; 32],
}

impl Agreed {
    fn initiator_secrets(&self, auth: &[u8], ack: &[u8]) -> Secrets {
        let (aes, mac) = self.keys();
        let egress = mac_state(&mac, &self.recipient_nonce, auth);
        let ingress = mac_state(&mac, &self.initiator_nonce, ack);
        Secrets { aes, mac, egress, ingress }
    }

    fn recipient_secrets(&self, auth: &[u8], ack: &[u8]) -> Secrets {
        let (aes, mac) = self.keys();
        let egress = mac_state(&mac, &self.initiator_nonce, ack);
        let ingress = mac_state(&mac, &self.recipient_nonce, auth);
        Secrets { aes, mac, egress, ingress }
    }

    fn keys(&self) -> ([u8; 32], [u8; 32]) {
        let nonces = keccak(&self.recipient_nonce, &self.initiator_nonce);
        let shared = keccak(&self.shared, &nonces);
        let aes = keccak(&self.shared, &shared);
        let mac = keccak(&self.shared, &aes);
        (aes, mac)
    }
}

/// A running MAC begins with the MAC key XOR a nonce, then the whole handshake packet, prefix included.
fn mac_state(mac: &[u8; 32], nonce: &[u8; 32], packet: &[u8]) -> Keccak256 {
    Keccak256::new().chain_update(xor(mac, nonce)).chain_update(packet)
}

fn keccak(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    Keccak256::new().chain_update(a).chain_update(b).finalize().into()
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

fn tagged(point: &[u8; 64]) -> [u8; 65] {
    let mut bytes = [4; 65];
    bytes[1..].copy_from_slice(point);
    bytes
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
