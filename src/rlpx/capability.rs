//! Which capabilities two peers share, and which message ids they have (rlpx.md, "Message ID-based
//! Multiplexing").
//!
//! Both sides compute the same table without a word: of the names that both have, each in the highest
//! version that both have, sorted by name in byte order, each takes a block of ids as long as its number of message
//! codes, from 0x10 on. Ids above 0x7f do not interoperate (three clients read one byte), so
//! [`check_channels`] refuses channels that could need them before there is any peer.
//!
//! besu reserves 17 ids for `snap`, whatever the version. A capability that sorts after `snap` is out of step with
//! besu if `snap` is shared too: name your own capabilities so that they sort before it.

use super::p2p::{self, BASE_OFFSET};
use crate::event::{Blame, DisconnectReason, Fault, Layer};
use crate::id::ChannelId;
use crate::message::{Capability, ChannelSpec, MAX_PAYLOAD_BYTES, Version};

/// Most message codes of all channels together: ids 0x10 to 0x7f.
pub const MAX_CODES: usize = 0x80 - BASE_OFFSET as usize;

/// Stands in the table for an id that nobody has.
const NOBODY: u8 = u8::MAX;

/// Why a set of channels, or a peer's capabilities, will not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapabilityError {
    /// Two channels have one name.
    #[error("channel `{channel}` is registered twice")]
    Duplicate {
        /// The name.
        channel: ChannelId,
    },
    /// A channel has no versions, or they do not ascend, or one has no codes.
    #[error("channel `{channel}` needs versions in ascending order, each with at least one code")]
    Versions {
        /// The channel.
        channel: ChannelId,
    },
    /// The largest payload is zero or above [`MAX_PAYLOAD_BYTES`].
    #[error("channel `{channel}` allows payloads of {found_bytes} bytes; it needs 1 to {MAX_PAYLOAD_BYTES}")]
    Limit {
        /// The channel.
        channel: ChannelId,
        /// Its limit.
        found_bytes: usize,
    },
    /// The channels could need ids above 0x7f.
    #[error("the channels need {found} message codes; at most {MAX_CODES} interoperate")]
    TooManyCodes {
        /// How many they need.
        found: usize,
    },
    /// The peer has nothing in common with us.
    #[error("the peer shares no capability with us")]
    NothingShared,
}

impl Fault for CapabilityError {
    fn layer(&self) -> Layer {
        Layer::Capability
    }

    fn blame(&self) -> Blame {
        match self {
            Self::NothingShared => Blame::Incompatible,
            _ => Blame::Ourselves,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Duplicate { .. } => "duplicate_channel",
            Self::Versions { .. } => "channel_versions",
            Self::Limit { .. } => "channel_limit",
            Self::TooManyCodes { .. } => "too_many_codes",
            Self::NothingShared => "nothing_shared",
        }
    }

    fn reason(&self) -> DisconnectReason {
        match self {
            Self::NothingShared => DisconnectReason::Useless,
            _ => DisconnectReason::Requested,
        }
    }
}

/// Checks that the channels can be negotiated with any peer. To be called once, at registration.
///
/// # Errors
///
/// See [`CapabilityError`]; never [`CapabilityError::NothingShared`].
pub fn check_channels(ours: &[ChannelSpec]) -> Result<(), CapabilityError> {
    for (i, spec) in ours.iter().enumerate() {
        let channel = spec.id;
        if ours[..i].iter().any(|other| other.id == channel) {
            return Err(CapabilityError::Duplicate { channel });
        }
        let ascending = spec.versions.windows(2).all(|pair| pair[0].number < pair[1].number);
        if spec.versions.is_empty() || !ascending || spec.versions.iter().any(|version| version.codes == 0) {
            return Err(CapabilityError::Versions { channel });
        }
        if !(1..=MAX_PAYLOAD_BYTES).contains(&spec.max_bytes) {
            return Err(CapabilityError::Limit { channel, found_bytes: spec.max_bytes });
        }
    }
    let codes = |spec: &ChannelSpec| spec.versions.iter().map(|version| usize::from(version.codes)).max();
    let found = ours.iter().filter_map(codes).sum();
    if found > MAX_CODES { Err(CapabilityError::TooManyCodes { found }) } else { Ok(()) }
}

/// A channel that both sides have, and its block of message ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedChannel {
    /// Its name.
    pub id: ChannelId,
    /// The version in use.
    pub version: u32,
    /// How many codes it has.
    pub codes: u8,
    /// The message id of code 0.
    pub offset: u8,
    /// Largest payload in bytes.
    pub max_bytes: usize,
}

impl SharedChannel {
    /// The message id of a code, or `None` if the version has no such code.
    #[must_use]
    pub fn to_wire(&self, code: u8) -> Option<u8> {
        (code < self.codes).then(|| self.offset + code)
    }
}

/// What a message id means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated {
    /// The channel's position in [`Shared::channels`].
    pub index: usize,
    /// The channel.
    pub channel: ChannelId,
    /// The version in use.
    pub version: u32,
    /// The message code within the channel.
    pub code: u8,
    /// Largest payload in bytes.
    pub max_bytes: usize,
}

/// The channels that two peers share, and the table of their message ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    channels: Vec<SharedChannel>,
    /// For each id from [`BASE_OFFSET`] on, the index of its channel.
    owners: [u8; MAX_CODES],
}

/// Works out what we share with a peer. May share nothing: see [`Shared::require_any`].
///
/// `ours` has passed [`check_channels`]; a channel that would not fit below 0x80 is left out, which is then impossible.
#[must_use]
pub fn negotiate(ours: &[ChannelSpec], theirs: &[Capability]) -> Shared {
    let mut ours: Vec<&ChannelSpec> = ours.iter().collect();
    ours.sort_unstable_by_key(|spec| spec.id);
    ours.dedup_by_key(|spec| spec.id);

    let mut shared = Shared { channels: Vec::new(), owners: [NOBODY; MAX_CODES] };
    for spec in ours {
        if let Some(version) = highest_common(spec, theirs) {
            shared.push(spec, version);
        }
    }
    shared
}

fn highest_common<'a>(spec: &'a ChannelSpec, theirs: &[Capability]) -> Option<&'a Version> {
    let theirs_has = |number| theirs.iter().any(|other| other.name == spec.id && other.version == number);
    spec.versions.iter().filter(|version| theirs_has(version.number)).max_by_key(|version| version.number)
}

impl Shared {
    fn push(&mut self, spec: &ChannelSpec, version: &Version) {
        let start =
            self.channels.last().map_or(0, |last| usize::from(last.offset - BASE_OFFSET + last.codes));
        let Some(block) = self.owners.get_mut(start..start + usize::from(version.codes)) else { return };
        let (Ok(index), Ok(start)) = (u8::try_from(self.channels.len()), u8::try_from(start)) else { return };
        block.fill(index);
        self.channels.push(SharedChannel {
            id: spec.id,
            version: version.number,
            codes: version.codes,
            offset: BASE_OFFSET + start,
            max_bytes: spec.max_bytes,
        });
    }

    /// Insists on one shared channel at least.
    ///
    /// # Errors
    ///
    /// [`CapabilityError::NothingShared`].
    pub fn require_any(self) -> Result<Self, CapabilityError> {
        if self.channels.is_empty() { Err(CapabilityError::NothingShared) } else { Ok(self) }
    }

    /// The shared channels, sorted by name.
    #[must_use]
    pub fn channels(&self) -> &[SharedChannel] {
        &self.channels
    }

    /// A shared channel by its name.
    #[must_use]
    pub fn channel(&self, id: ChannelId) -> Option<&SharedChannel> {
        self.channels.binary_search_by_key(&id, |channel| channel.id).ok().map(|index| &self.channels[index])
    }

    /// The message id of a channel's code, or `None` if the channel is not shared or has no such code.
    #[must_use]
    pub fn to_wire(&self, id: ChannelId, code: u8) -> Option<u8> {
        self.channel(id)?.to_wire(code)
    }

    /// What a message id means, or `None` where it lies outside every block: a breach.
    #[must_use]
    pub fn from_wire(&self, id: u8) -> Option<Negotiated> {
        let owner = self.owners.get(usize::from(id.checked_sub(BASE_OFFSET)?))?;
        let index = usize::from(*owner);
        let channel = self.channels.get(index)?;
        Some(Negotiated {
            index,
            channel: channel.id,
            version: channel.version,
            code: id - channel.offset,
            max_bytes: channel.max_bytes,
        })
    }

    /// The largest payload of a message id after Hello, for [`Decoder::decode`](super::Decoder::decode): that of its
    /// channel, or of Disconnect, Ping or Pong. A second Hello has none.
    #[must_use]
    pub fn max_payload(&self, id: u8) -> Option<usize> {
        match id {
            p2p::HELLO => None,
            id if id < BASE_OFFSET => p2p::max_payload(id),
            id => self.from_wire(id).map(|negotiated| negotiated.max_bytes),
        }
    }

    /// The largest payload of any shared channel in bytes, at least that of the `p2p` messages.
    #[must_use]
    pub fn largest_payload(&self) -> usize {
        let largest = self.channels.iter().map(|channel| channel.max_bytes).max();
        largest.unwrap_or(0).max(super::FIRST_FRAME_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec<const N: usize>(name: &'static str, versions: [Version; N]) -> ChannelSpec {
        ChannelSpec {
            id: ChannelId::from_static(name),
            versions: Box::leak(Box::new(versions)),
            max_bytes: 1000,
        }
    }

    const fn v(number: u32, codes: u8) -> Version {
        Version { number, codes }
    }

    fn cap(name: &str, version: u32) -> Capability {
        Capability { name: name.parse().unwrap(), version }
    }

    /// A peer's capabilities, and what is then shared: name, version, offset.
    type Row<'a> = (&'a [Capability], &'a [(&'a str, u32, u8)]);

    #[test]
    fn offsets_are_those_of_the_specification() {
        let ours = [
            spec("snap", [v(1, 8)]),
            spec("eth", [v(67, 17), v(68, 17), v(69, 18)]),
            spec("peer", [v(1, 1)]),
            spec("Zeta", [v(2, 3)]),
        ];
        let table: &[Row<'_>] = &[
            (&[], &[]),
            (&[cap("eth", 66)], &[]),
            (&[cap("eth", 68)], &[("eth", 68, 0x10)]),
            (&[cap("eth", 67), cap("eth", 69), cap("eth", 70)], &[("eth", 69, 0x10)]),
            (&[cap("snap", 1), cap("eth", 68)], &[("eth", 68, 0x10), ("snap", 1, 0x21)]),
            (&[cap("snap", 1), cap("eth", 69)], &[("eth", 69, 0x10), ("snap", 1, 0x22)]),
            // Case-sensitive: upper case sorts first, and names only one side has take no ids.
            (
                &[
                    cap("aaa", 1),
                    cap("snap", 1),
                    cap("zeta", 2),
                    cap("Zeta", 2),
                    cap("peer", 1),
                    cap("eth", 68),
                ],
                &[("Zeta", 2, 0x10), ("eth", 68, 0x13), ("peer", 1, 0x24), ("snap", 1, 0x25)],
            ),
        ];
        for (theirs, expected) in table {
            let shared = negotiate(&ours, theirs);
            let got: Vec<_> =
                shared.channels().iter().map(|c| (c.id.as_str(), c.version, c.offset)).collect();
            assert_eq!(got, *expected, "{theirs:?}");
        }
    }

    #[test]
    fn an_id_outside_every_block_means_nothing() {
        let shared = negotiate(&[spec("eth", [v(68, 17)])], &[cap("eth", 68)]);
        for id in 0..=u8::MAX {
            let inside = (0x10..0x21).contains(&id);
            assert_eq!(shared.from_wire(id).is_some(), inside, "{id}");
            assert_eq!(shared.max_payload(id).is_some(), inside || (1..=3).contains(&id), "{id}");
        }
        assert_eq!(shared.to_wire(ChannelId::from_static("eth"), 16), Some(0x20));
        assert_eq!(shared.to_wire(ChannelId::from_static("eth"), 17), None);
        assert_eq!(shared.to_wire(ChannelId::from_static("snap"), 0), None);
    }

    #[test]
    fn channels_that_could_not_interoperate_are_refused_at_registration() {
        let channel = ChannelId::from_static("a");
        assert_eq!(check_channels(&[spec("a", [v(1, 112)])]), Ok(()));
        assert_eq!(
            check_channels(&[spec("a", [v(1, 100), v(2, 1)]), spec("b", [v(1, 13)])]),
            Err(CapabilityError::TooManyCodes { found: 113 })
        );
        assert_eq!(
            check_channels(&[spec("a", [v(1, 1)]), spec("a", [v(2, 1)])]),
            Err(CapabilityError::Duplicate { channel })
        );
        for versions in [&[][..], &[v(1, 0)], &[v(2, 1), v(1, 1)], &[v(1, 1), v(1, 1)]] {
            let spec = ChannelSpec { id: channel, versions: Box::leak(versions.into()), max_bytes: 1 };
            assert_eq!(check_channels(&[spec]), Err(CapabilityError::Versions { channel }));
        }
        for max_bytes in [0, MAX_PAYLOAD_BYTES + 1] {
            let spec = ChannelSpec { max_bytes, ..spec("a", [v(1, 1)]) };
            assert_eq!(
                check_channels(&[spec]),
                Err(CapabilityError::Limit { channel, found_bytes: max_bytes })
            );
        }
    }

    #[test]
    fn sharing_nothing_is_incompatible_and_nobodys_breach() {
        let error = negotiate(&[], &[cap("eth", 68)]).require_any().unwrap_err();
        assert_eq!((error.blame(), error.reason()), (Blame::Incompatible, DisconnectReason::Useless));
    }

    #[test]
    fn channels_that_were_never_checked_do_not_overflow_the_table() {
        let shared = negotiate(
            &[spec("a", [v(1, 100)]), spec("b", [v(1, 255)]), spec("c", [v(1, 12)])],
            &[cap("a", 1), cap("b", 1), cap("c", 1)],
        );
        assert_eq!(shared.channels().len(), 2);
        assert_eq!(shared.from_wire(0x7f).unwrap().channel.as_str(), "c");
    }

    proptest! {
        #[test]
        fn ids_and_codes_are_inverse(mask in 0_u8..8) {
            let ours = [spec("a", [v(1, 3), v(2, 9)]), spec("b", [v(1, 1)]), spec("c", [v(7, 40)])];
            let all = [cap("c", 7), cap("a", 1), cap("b", 1)];
            let theirs: Vec<_> = (0..3).filter(|i| mask & (1 << i) != 0).map(|i| all[i]).collect();
            let shared = negotiate(&ours, &theirs);
            for channel in shared.channels() {
                for code in 0..channel.codes {
                    let back = shared.from_wire(channel.to_wire(code).unwrap()).unwrap();
                    prop_assert_eq!((back.channel, back.code, back.version), (channel.id, code, channel.version));
                }
            }
            let ids = (0..=u8::MAX).filter(|&id| shared.from_wire(id).is_some()).count();
            prop_assert_eq!(ids, shared.channels().iter().map(|c| usize::from(c.codes)).sum::<usize>());
        }
    }
}
