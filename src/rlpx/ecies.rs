//! ECIES on secp256k1, as RLPx uses it (rlpx.md, "ECIES Encryption").
//!
//! A sealed packet is `size || 04 R || iv || ciphertext || tag`: a big-endian u16 that counts what follows it, a
//! fresh point, AES-128-CTR, HMAC-SHA-256 over `iv || ciphertext || size`.
//!
//! [`open`] fails in one way only, after the same work: a point off the curve is replaced by one that is
//! on it, and the packet is refused after the key agreement and the tag. An opener that told a bad point
//! from a bad tag, by its answer or by its time, has leaked bits of the static key (CVE-2026-26315).

use aes::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use secp256k1::ecdh::shared_secret_point;
use secp256k1::{PublicKey, SecretKey, constants};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Bytes of the size prefix.
pub(crate) const PREFIX_BYTES: usize = 2;
/// What sealing adds after the prefix: point 65, iv 16, tag 32.
pub(crate) const OVERHEAD_BYTES: usize = POINT_BYTES + IV_BYTES + TAG_BYTES;

const POINT_BYTES: usize = 65;
const IV_BYTES: usize = 16;
const TAG_BYTES: usize = 32;

type Aes128Ctr = ctr::Ctr128BE<aes::Aes128>;

/// The packet was not sealed for this key, or not by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

/// Seals `plain` for `to`: the packet with its size prefix. `plain` fits a u16 with the overhead.
pub(crate) fn seal(to: &PublicKey, ephemeral: &SecretKey, iv: [u8; 16], plain: &[u8]) -> Vec<u8> {
    let size = OVERHEAD_BYTES + plain.len();
    debug_assert!(size <= usize::from(u16::MAX), "a handshake packet counts its bytes in a u16");
    #[allow(
        clippy::cast_possible_truncation,
        reason = "asserted above; the handshake's packets are under 1 KiB"
    )]
    let prefix = (size as u16).to_be_bytes();

    let mut packet = Vec::with_capacity(PREFIX_BYTES + size);
    packet.extend_from_slice(&prefix);
    packet.push(4);
    packet.extend_from_slice(&public_bytes(ephemeral));
    packet.extend_from_slice(&iv);
    let text_at = packet.len();
    packet.extend_from_slice(plain);

    let keys = Keys::agree(to, ephemeral);
    keys.cipher(&iv).apply_keystream(&mut packet[text_at..]);
    let tag = keys.tag(&packet[PREFIX_BYTES + POINT_BYTES..], prefix);
    packet.extend_from_slice(&tag);
    packet
}

/// Opens a whole packet, size prefix included.
pub(crate) fn open(key: &SecretKey, packet: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
    let (prefix, rest) = packet.split_first_chunk::<PREFIX_BYTES>().ok_or(NotAuthentic)?;
    let (point, rest) = rest.split_first_chunk::<POINT_BYTES>().ok_or(NotAuthentic)?;
    let (sealed, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(NotAuthentic)?;
    let (iv, text) = sealed.split_first_chunk::<IV_BYTES>().ok_or(NotAuthentic)?;

    let (point, point_ok) = point_or_substitute(point);
    let keys = Keys::agree(&point, key);
    let tag_ok = keys.tag(sealed, *prefix).ct_eq(tag);
    if !bool::from(tag_ok & point_ok) {
        return Err(NotAuthentic);
    }
    let mut plain = text.to_vec();
    keys.cipher(iv).apply_keystream(&mut plain);
    Ok(plain)
}

/// The point of 65 tagged bytes, or another one and `0` where they are none. Only the uncompressed form is
/// a point here: libsecp256k1's hybrid tags 06 and 07 are not.
pub(crate) fn point_or_substitute(bytes: &[u8; 65]) -> (PublicKey, Choice) {
    match PublicKey::from_slice(bytes) {
        Ok(point) if bytes[0] == 4 => (point, Choice::from(1)),
        _ => (generator(), Choice::from(0)),
    }
}

/// The x coordinate of `scalar * point`: the spec's `ecdh.agree`.
pub(crate) fn agree(point: &PublicKey, scalar: &SecretKey) -> [u8; 32] {
    let mut x = [0; 32];
    x.copy_from_slice(&shared_secret_point(point, scalar)[..32]);
    x
}

/// The 64 untagged bytes of the public key.
///
/// By multiplication of the generator in constant time, which needs no context and so does not pay for
/// re-randomising one after use: 24 instead of 30 microseconds.
pub(crate) fn public_bytes(secret: &SecretKey) -> [u8; 64] {
    shared_secret_point(&generator(), secret)
}

#[allow(clippy::expect_used, reason = "a constant of the curve")]
fn generator() -> PublicKey {
    let mut bytes = [4; 65];
    bytes[1..33].copy_from_slice(&constants::GENERATOR_X);
    bytes[33..].copy_from_slice(&constants::GENERATOR_Y);
    PublicKey::from_slice(&bytes).expect("the generator is on its curve")
}

/// The keys of one packet: kE, and SHA-256 of kM.
struct Keys {
    encryption: [u8; 16],
    mac: [u8; 32],
}

impl Keys {
    /// NIST SP 800-56 concatenation KDF on SHA-256, one block of it.
    fn agree(point: &PublicKey, scalar: &SecretKey) -> Self {
        let block =
            Sha256::new().chain_update(1_u32.to_be_bytes()).chain_update(agree(point, scalar)).finalize();
        let mut encryption = [0; 16];
        encryption.copy_from_slice(&block[..16]);
        Self { encryption, mac: Sha256::digest(&block[16..]).into() }
    }

    fn cipher(&self, iv: &[u8; 16]) -> Aes128Ctr {
        Aes128Ctr::new(&self.encryption.into(), &(*iv).into())
    }

    /// Over iv and ciphertext, and the prefix as shared data.
    #[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn tag(&self, sealed: &[u8], prefix: [u8; 2]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.mac).expect("HMAC takes keys of any length");
        mac.update(sealed);
        mac.update(&prefix);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeKey;

    fn sealed(to: &NodeKey, plain: &[u8]) -> Vec<u8> {
        let ephemeral = NodeKey::insecure_from_seed(99);
        seal(&to.id().to_public(), ephemeral.secret(), [7; 16], plain)
    }

    #[test]
    fn what_is_sealed_opens_for_its_recipient_alone() {
        let key = NodeKey::insecure_from_seed(1);
        let packet = sealed(&key, b"to be read by one");
        assert_eq!(packet.len(), PREFIX_BYTES + OVERHEAD_BYTES + 17);
        assert_eq!(open(key.secret(), &packet).unwrap(), b"to be read by one");
        assert_eq!(open(NodeKey::insecure_from_seed(2).secret(), &packet), Err(NotAuthentic));
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let key = NodeKey::insecure_from_seed(1);
        let packet = sealed(&key, b"plain");
        for bit in 0..packet.len() * 8 {
            let mut bad = packet.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(key.secret(), &bad), Err(NotAuthentic), "bit {bit}");
        }
        for len in 0..packet.len() {
            assert_eq!(open(key.secret(), &packet[..len]), Err(NotAuthentic), "{len} bytes");
        }
    }

    #[test]
    fn public_bytes_are_the_public_key() {
        let key = NodeKey::insecure_from_seed(3);
        assert_eq!(&public_bytes(key.secret()), key.id().as_bytes());
    }

    #[test]
    fn cve_2026_26315_a_bad_point_fails_like_a_bad_tag_even_if_sealed_for_the_substitute() {
        let key = NodeKey::insecure_from_seed(1);
        let mut packet = sealed(&key, b"plain");
        packet[3..67].fill(0xff);
        // The attacker knows the substitute and so can make a tag that fits it.
        let keys = Keys::agree(&generator(), key.secret());
        let end = packet.len() - TAG_BYTES;
        let tag = keys.tag(&packet[PREFIX_BYTES + POINT_BYTES..end], [packet[0], packet[1]]);
        packet[end..].copy_from_slice(&tag);
        assert_eq!(open(key.secret(), &packet), Err(NotAuthentic));
    }

    #[test]
    fn cve_2025_24883_a_point_off_the_curve_is_an_error_and_no_crash() {
        for fill in [0, 1, 0x7f, 0xff] {
            let mut bytes = [fill; 65];
            for tag in [0, 2, 3, 4, 5, 6, 7, 0xff] {
                bytes[0] = tag;
                assert!(!bool::from(point_or_substitute(&bytes).1), "{tag} {fill}");
            }
        }
    }
}
