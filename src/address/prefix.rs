//! Ranges of IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of IP addresses, as `192.0.2.0/24` or `2001:db8::/32`.
///
/// Bits behind the prefix are zero, and a version 4 address mapped into version 6 is one of version 4, so that equal
/// ranges are equal values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpPrefix {
    /// How many leading bits are fixed.
    bits: u8,
    /// The first address of the range.
    first: IpAddr,
}

/// Why text or a length is no [`IpPrefix`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IpPrefixError {
    /// What stands before the slash is no IP address.
    #[error("`{0}` is no IP address; a prefix reads as 192.0.2.0/24")]
    Address(String),
    /// The length is no number, or longer than the address.
    #[error("`{found}` is no length of a prefix; it is a number from 0 to {max}")]
    Bits {
        /// What was found.
        found: String,
        /// The longest, in bits: 32 or 128.
        max: u8,
    },
}

impl IpPrefix {
    /// The range of all addresses whose first `bits` bits are those of `ip`.
    ///
    /// # Errors
    ///
    /// [`IpPrefixError::Bits`] if an address has fewer bits than that.
    pub fn new(ip: IpAddr, bits: u8) -> Result<Self, IpPrefixError> {
        let ip = ip.to_canonical();
        let max = width(ip);
        if bits > max {
            return Err(IpPrefixError::Bits { found: bits.to_string(), max });
        }
        Ok(Self { bits, first: masked(ip, bits) })
    }

    /// The range that is this address alone.
    #[must_use]
    pub fn single(ip: IpAddr) -> Self {
        let first = ip.to_canonical();
        Self { bits: width(first), first }
    }

    /// The first address of the range.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// How many leading bits are fixed.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether the range has this address.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.first.is_ipv4() && masked(ip, self.bits) == self.first
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl fmt::Debug for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpPrefix({self})")
    }
}

/// Reads `192.0.2.0/24`; an address without a length is that address alone.
impl FromStr for IpPrefix {
    type Err = IpPrefixError;

    fn from_str(text: &str) -> Result<Self, IpPrefixError> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| IpPrefixError::Address(ip.to_owned()))?;
        let Some(bits) = bits else { return Ok(Self::single(ip)) };
        let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let wrong = || IpPrefixError::Bits { found: bits.to_owned(), max: width(ip.to_canonical()) };
        let bits = bits.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        Self::new(ip, bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> IpPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_are_written_as_they_are_read_with_the_rest_zeroed() {
        for (text, written) in [
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.77", "192.0.2.77/32"),
            ("1.2.3.4/0", "0.0.0.0/0"),
            ("2001:db8::7/32", "2001:db8::/32"),
            ("::ffff:10.0.0.1/8", "10.0.0.0/8"),
        ] {
            assert_eq!(prefix(text).to_string(), written);
            assert_eq!(prefix(written), prefix(text));
        }
    }

    #[test]
    fn a_prefix_has_its_own_addresses_and_no_others() {
        let has = |range: &str, ip: &str| prefix(range).contains(ip.parse().unwrap());
        assert!(has("192.0.2.0/24", "192.0.2.255") && !has("192.0.2.0/24", "192.0.3.0"));
        assert!(has("192.0.2.0/24", "::ffff:192.0.2.9"));
        assert!(has("0.0.0.0/0", "8.8.8.8") && !has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("2001:db8::/63", "2001:db8:0:1::1") && !has("2001:db8::/64", "2001:db8:0:1::1"));
    }

    #[test]
    fn malformed_prefixes_name_what_is_wrong() {
        let refusal = |text: &str| text.parse::<IpPrefix>().unwrap_err().to_string();
        assert_eq!(refusal("a/8"), "`a` is no IP address; a prefix reads as 192.0.2.0/24");
        for bits in ["33", "-1", "+8", "", "x"] {
            let message = format!("`{bits}` is no length of a prefix; it is a number from 0 to 32");
            assert_eq!(refusal(&format!("10.0.0.0/{bits}")), message);
        }
        assert!(refusal("::/129").ends_with("from 0 to 128"));
    }
}
