//! What peers announce to each other, and what they agree on.

use std::fmt;
use std::str::FromStr;

use crate::id::ChannelId;

/// A capability as a peer announces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability {
    /// Its name.
    pub name: ChannelId,
    /// Its version.
    pub version: u32,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// Text is not a [`Capability`]: a channel's name, a slash, and a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a capability is a name of 1 to 8 printable ASCII characters, a slash, and a version, as in `snap/1`"
)]
pub struct CapabilityNameError;

#[cfg(feature = "serde")]
crate::id::as_text!(Capability);

impl FromStr for Capability {
    type Err = CapabilityNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, version) = text.rsplit_once('/').ok_or(CapabilityNameError)?;
        // `parse` alone would take a plus sign.
        if !version.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CapabilityNameError);
        }
        let name = name.parse().map_err(|_| CapabilityNameError)?;
        let version = version.parse().map_err(|_| CapabilityNameError)?;
        Ok(Self { name, version })
    }
}

/// A channel that both ends of a connection have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct AgreedChannel {
    /// Its name.
    pub id: ChannelId,
    /// The version in use: the highest that both have.
    pub version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_written_and_read_as_name_and_version() {
        for text in ["snap/1", "eth/69", "a/b/7", "peer/4294967295"] {
            assert_eq!(text.parse::<Capability>().map(|read| read.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["", "snap", "snap/", "/1", "snap/+1", "snap/-1", "snap/x", "muchtoolong/1", "snap/4294967296"]
        {
            assert_eq!(text.parse::<Capability>(), Err(CapabilityNameError), "{text}");
        }
    }
}
