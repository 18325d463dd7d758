//! `peer/1`: a small capability of our own, in which peers tell their network and services.
//!
//! Its one message, code 0, is `[network, [service, ...], ...]`. Its name sorts before `snap`, so it is never out of
//! step with besu (see the capability table), and Ethereum clients, which do not have it, never see it.

use alloy_rlp::{Encodable, Header};
use bytes::BytesMut;

use crate::event::{Blame, DisconnectReason, Fault, Layer};
use crate::id::ChannelId;
use crate::message::{ChannelSpec, Version};

/// The capability `peer/1`.
pub const INFO_CHANNEL: ChannelSpec = ChannelSpec {
    id: ChannelId::from_static("peer"),
    versions: &[Version { number: 1, codes: 1 }],
    max_bytes: 2048,
};

/// Longest name of a network in bytes.
pub const MAX_NETWORK_BYTES: usize = 64;
/// Most services of a peer.
pub const MAX_SERVICES: usize = 16;
/// Longest name of a service in bytes.
pub const MAX_SERVICE_BYTES: usize = 32;

/// What a peer tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// The network it belongs to. Peers of different networks part.
    pub network: String,
    /// The services it offers.
    pub services: Vec<String>,
}

/// Why a payload, or a value of ours, is no [`Info`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InfoError {
    /// It is not the RLP that it must be.
    #[error("the peer's info holds bad RLP: {0}")]
    Malformed(#[from] alloy_rlp::Error),
    /// A length or count is above its limit.
    #[error("{what} of {found} is above its limit of {limit}")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// Its value.
        found: usize,
        /// The most that is allowed.
        limit: usize,
    },
}

impl Fault for InfoError {
    fn layer(&self) -> Layer {
        Layer::Capability
    }

    fn blame(&self) -> Blame {
        Blame::Protocol
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "info_malformed",
            Self::TooLarge { .. } => "info_too_large",
        }
    }

    fn reason(&self) -> DisconnectReason {
        DisconnectReason::Breach
    }
}

impl Info {
    /// The code of the message.
    pub const CODE: u8 = 0;

    /// Checks that peers will accept it. To be called on what the configuration says.
    ///
    /// # Errors
    ///
    /// [`InfoError::TooLarge`].
    pub fn check(&self) -> Result<(), InfoError> {
        at_most("a network name", self.network.len(), MAX_NETWORK_BYTES)?;
        at_most("a service count", self.services.len(), MAX_SERVICES)?;
        self.services
            .iter()
            .try_for_each(|service| at_most("a service name", service.len(), MAX_SERVICE_BYTES))
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        let services = self.services.iter().map(Encodable::length).sum();
        let services = Header { list: true, payload_length: services };
        let payload_length = self.network.length() + services.length_with_payload();
        Header { list: true, payload_length }.encode(out);
        self.network.encode(out);
        services.encode(out);
        for service in &self.services {
            service.encode(out);
        }
    }

    /// Reads a payload. Further elements are ignored.
    ///
    /// # Errors
    ///
    /// See [`InfoError`].
    pub fn decode(mut payload: &[u8]) -> Result<Self, InfoError> {
        let mut list = Header::decode_bytes(&mut payload, true)?;
        let network = text("a network name", &mut list, MAX_NETWORK_BYTES)?;
        let mut rest = Header::decode_bytes(&mut list, true)?;
        let mut services = Vec::new();
        while !rest.is_empty() {
            at_most("a service count", services.len() + 1, MAX_SERVICES)?;
            services.push(text("a service name", &mut rest, MAX_SERVICE_BYTES)?);
        }
        Ok(Self { network, services })
    }
}

fn text(what: &'static str, input: &mut &[u8], limit: usize) -> Result<String, InfoError> {
    let text = Header::decode_str(input)?;
    at_most(what, text.len(), limit)?;
    Ok(text.to_owned())
}

fn at_most(what: &'static str, found: usize, limit: usize) -> Result<(), InfoError> {
    if found > limit { Err(InfoError::TooLarge { what, found, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(info: &Info) -> BytesMut {
        let mut out = BytesMut::new();
        info.encode(&mut out);
        out
    }

    #[test]
    fn the_capability_sorts_before_snap_and_is_sound() {
        assert!(INFO_CHANNEL.id < ChannelId::from_static("snap"));
        assert_eq!(super::super::check_channels(&[INFO_CHANNEL]), Ok(()));
    }

    #[test]
    fn the_encoding_is_fixed_and_the_largest_fits_its_limit() {
        let info = Info { network: "main".into(), services: vec!["full".into()] };
        assert_eq!(encoded(&info)[..], *b"\xcb\x84main\xc5\x84full");
        let largest = Info { network: "n".repeat(64), services: vec!["s".repeat(32); 16] };
        assert_eq!(largest.check(), Ok(()));
        assert!(encoded(&largest).len() <= INFO_CHANNEL.max_bytes);
        assert_eq!(Info::decode(&encoded(&largest)), Ok(largest));
    }

    #[test]
    fn trailing_elements_are_ignored() {
        let info = Info::decode(b"\xce\x84main\xc5\x84full\x01\xc1\x02").unwrap();
        assert_eq!(info.services, ["full"]);
    }

    #[test]
    fn cve_2024_32972_counts_and_lengths_are_bounded_at_decode() {
        let table = [
            (Info { network: "n".repeat(65), services: vec![] }, 65),
            (Info { network: String::new(), services: vec![String::new(); 17] }, 17),
            (Info { network: String::new(), services: vec!["s".repeat(33)] }, 33),
        ];
        for (info, expected) in table {
            for result in [Info::decode(&encoded(&info)).map(drop), info.check()] {
                assert!(
                    matches!(result, Err(InfoError::TooLarge { found, .. }) if found == expected),
                    "{result:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn info_round_trips_and_no_truncation_decodes(
            network in "[a-z]{0,64}",
            services in prop::collection::vec("[a-z]{0,32}", 0..16),
        ) {
            let info = Info { network, services };
            let bytes = encoded(&info);
            for len in 0..bytes.len() {
                prop_assert!(Info::decode(&bytes[..len]).is_err());
            }
            prop_assert_eq!(Info::decode(&bytes), Ok(info));
        }

        #[test]
        fn no_payload_panics(payload: Vec<u8>) {
            let _ = Info::decode(&payload);
        }
    }
}
