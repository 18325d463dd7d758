//! Where a node is: addresses as people write them, and the endpoints they resolve to.
//!
//! A [`NodeAddress`] is a URL that always carries the identity (`enode://ID@HOST:PORT`, `memory:ID`, or
//! `SCHEME://ID@REST` for a transport brought by a user); it round-trips through `FromStr` and `Display`.
//! An [`Endpoint`] is what a transport can dial. A [`Resolver`] turns one into the other and is injected,
//! since only the shell may ask DNS.

mod prefix;

pub use prefix::{IpPrefix, IpPrefixError};

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;

use crate::id::{NodeId, NodeIdError, Protocol};

/// Longest address accepted as text, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 512;

/// The address of a node: its identity and where to find it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeAddress {
    id: NodeId,
    place: Place,
}

/// An address without its identity: what a table of many addresses keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// TCP port, then the UDP port of discovery.
    Net {
        host: Host,
        tcp_port: u16,
        udp_port: u16,
    },
    Memory,
    Other {
        protocol: Protocol,
        rest: Box<str>,
    },
}

/// A host as an address names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A literal IP address.
    Ip(IpAddr),
    /// A DNS name, in lower case.
    Dns(Box<str>),
}

/// Why text is not a [`NodeAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Longer than [`MAX_ADDRESS_BYTES`].
    #[error("an address has at most {MAX_ADDRESS_BYTES} bytes; this has {found_bytes}")]
    TooLong {
        /// Length of the text in bytes.
        found_bytes: usize,
    },
    /// No scheme, or one that is not 1 to 8 lower-case letters or digits.
    #[error("an address begins with its scheme, as in enode://ID@HOST:PORT or memory:ID")]
    Scheme,
    /// An enode URL without `ID@`.
    #[error("the address has no node id before an `@`")]
    NoId,
    /// The identity is malformed.
    #[error("the address has a bad node id: {0}")]
    Id(#[from] NodeIdError),
    /// The host is neither an IP address nor a DNS name.
    #[error("the address has a bad host `{0}`")]
    Host(String),
    /// Nothing follows the host.
    #[error("the address has no port; it ends in HOST:PORT")]
    NoPort,
    /// The port is no number, zero or above 65535.
    #[error("the address has a bad port `{0}`; it needs 1 to 65535")]
    Port(String),
    /// Something follows the port that is not `?discport=N`.
    #[error("the address ends in `{0}`, which is not understood")]
    Tail(String),
}

impl NodeAddress {
    /// The address of an RLPx node on TCP (and discovery on the same UDP port).
    #[must_use]
    pub fn rlpx(id: NodeId, socket: SocketAddr) -> Self {
        let host = Host::Ip(socket.ip().to_canonical());
        Self { id, place: Place::Net { host, tcp_port: socket.port(), udp_port: socket.port() } }
    }

    /// The address of a node in this process's memory network.
    #[must_use]
    pub fn memory(id: NodeId) -> Self {
        Self { id, place: Place::Memory }
    }

    /// The identity that a connection to this address must prove.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The kind of transport that can dial it.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match &self.place {
            Place::Net { .. } => Protocol::RLPX,
            Place::Memory => Protocol::MEMORY,
            Place::Other { protocol, .. } => *protocol,
        }
    }

    /// Host and TCP port, where the address has them.
    #[must_use]
    pub fn host(&self) -> Option<(&Host, u16)> {
        match &self.place {
            Place::Net { host, tcp_port, .. } => Some((host, *tcp_port)),
            Place::Memory | Place::Other { .. } => None,
        }
    }

    /// UDP port of discovery, where the address has one.
    #[must_use]
    pub fn udp_port(&self) -> Option<u16> {
        match &self.place {
            Place::Net { udp_port, .. } => Some(*udp_port),
            Place::Memory | Place::Other { .. } => None,
        }
    }

    /// What the address resolves to without asking anybody: everything but a DNS name.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        match &self.place {
            Place::Net { host: Host::Ip(ip), tcp_port, .. } => {
                Some(Endpoint::Tcp(SocketAddr::new(*ip, *tcp_port)))
            }
            Place::Net { .. } => None,
            Place::Memory => Some(Endpoint::Memory(self.id)),
            Place::Other { protocol, rest } => {
                Some(Endpoint::Other { protocol: *protocol, rest: rest.clone() })
            }
        }
    }

    /// How far the address reaches. A DNS name counts as public; a user's own scheme as process-wide.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.place.scope()
    }

    /// The address of `id` in a place.
    pub(crate) fn new(id: NodeId, place: Place) -> Self {
        Self { id, place }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl Place {
    /// The literal IP address, if there is one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Net { host: Host::Ip(ip), .. } => Some(*ip),
            Self::Net { .. } | Self::Memory | Self::Other { .. } => None,
        }
    }

    /// As [`NodeAddress::scope`].
    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::Net { host: Host::Ip(ip), .. } => Scope::of_ip(*ip),
            Self::Net { .. } => Scope::Public,
            Self::Memory | Self::Other { .. } => Scope::Process,
        }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Net { host, tcp_port, udp_port } => {
                write!(f, "enode://{}@{host}:{tcp_port}", self.id)?;
                if udp_port != tcp_port {
                    write!(f, "?discport={udp_port}")?;
                }
                Ok(())
            }
            Place::Memory => write!(f, "memory:{}", self.id),
            Place::Other { protocol, rest } => write!(f, "{protocol}://{}@{rest}", self.id),
        }
    }
}

impl fmt::Debug for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.endpoint() {
            Some(endpoint) => write!(f, "NodeAddress({} at {endpoint})", self.id.short()),
            None => write!(f, "NodeAddress({self})"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Dns(name) => f.write_str(name),
        }
    }
}

#[cfg(feature = "serde")]
crate::id::as_text!(NodeAddress, IpPrefix);

impl FromStr for NodeAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_ADDRESS_BYTES {
            return Err(AddressError::TooLong { found_bytes: text.len() });
        }
        let (scheme, rest) = text.split_once(':').ok_or(AddressError::Scheme)?;
        match scheme {
            "memory" => Ok(Self::memory(rest.parse()?)),
            "enode" => parse_enode(rest.strip_prefix("//").ok_or(AddressError::Scheme)?),
            _ => parse_other(scheme, rest.strip_prefix("//").ok_or(AddressError::Scheme)?),
        }
    }
}

fn parse_enode(rest: &str) -> Result<NodeAddress, AddressError> {
    let (id, place) = rest.split_once('@').ok_or(AddressError::NoId)?;
    let id = id.parse()?;
    let (place, query) = match place.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (place, None),
    };
    let (host, port) = place.rsplit_once(':').ok_or(AddressError::NoPort)?;
    let tcp_port = parse_port(port)?;
    let udp_port = match query {
        None => tcp_port,
        Some(query) => match query.strip_prefix("discport=") {
            Some("0") => 0,
            Some(port) => parse_port(port)?,
            None => return Err(AddressError::Tail(format!("?{query}"))),
        },
    };
    Ok(NodeAddress { id, place: Place::Net { host: parse_host(host)?, tcp_port, udp_port } })
}

fn parse_other(scheme: &str, rest: &str) -> Result<NodeAddress, AddressError> {
    let protocol = Protocol::from_scheme(scheme).ok_or(AddressError::Scheme)?;
    let (id, rest) = rest.split_once('@').ok_or(AddressError::NoId)?;
    if rest.is_empty() || rest.bytes().any(|b| !b.is_ascii_graphic()) {
        return Err(AddressError::Host(rest.into()));
    }
    Ok(NodeAddress { id: id.parse()?, place: Place::Other { protocol, rest: rest.into() } })
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    let bad = || AddressError::Port(text.to_owned());
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(bad()),
        Ok(port) => Ok(port),
    }
}

fn parse_host(text: &str) -> Result<Host, AddressError> {
    let bad = || AddressError::Host(text.to_owned());
    if let Some(inner) = text.strip_prefix('[') {
        let ip: Ipv6Addr = inner.strip_suffix(']').ok_or_else(bad)?.parse().map_err(|_| bad())?;
        return Ok(Host::Ip(IpAddr::V6(ip).to_canonical()));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        // Without brackets a colon could belong to the port: only version 4 may stand bare.
        return if ip.is_ipv4() { Ok(Host::Ip(ip)) } else { Err(bad()) };
    }
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let all_digits_and_dots = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if text.len() > 253 || all_digits_and_dots || !text.split('.').all(label_ok) {
        return Err(bad());
    }
    Ok(Host::Dns(text.to_ascii_lowercase().into()))
}

/// What an address resolves to: something that a transport can dial.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Endpoint {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A node of this process's memory network.
    Memory(NodeId),
    /// Whatever a transport brought by a user understands.
    Other {
        /// The transport's scheme.
        protocol: Protocol,
        /// The part of the address after the identity.
        rest: Box<str>,
    },
}

impl Endpoint {
    /// The IP address, where the endpoint has one. Limits per address prefix use it.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(socket) => Some(socket.ip().to_canonical()),
            Self::Memory(_) | Self::Other { .. } => None,
        }
    }

    /// How far the endpoint reaches.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.ip().map_or(Scope::Process, Scope::of_ip)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(socket) => write!(f, "{socket}"),
            Self::Memory(id) => write!(f, "memory:{}", id.short()),
            Self::Other { protocol, rest } => write!(f, "{protocol}://{rest}"),
        }
    }
}

/// How far an address reaches. An address is told only to peers whose own address has the same scope or a
/// narrower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Only within this process.
    Process,
    /// Only within this machine.
    Loopback,
    /// Only within a private network (RFC 1918, RFC 4193, link-local, carrier-grade NAT).
    Private,
    /// Everywhere.
    Public,
}

impl Scope {
    /// The scope of an IP address.
    #[must_use]
    pub fn of_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) => {
                let carrier_nat = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
                if ip.is_private() || ip.is_link_local() || ip.is_unspecified() || carrier_nat {
                    Self::Private
                } else {
                    Self::Public
                }
            }
            IpAddr::V6(ip) => {
                if ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified() {
                    Self::Private
                } else {
                    Self::Public
                }
            }
        }
    }
}

/// A future that a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Turns an address into endpoints. Injected, so that a core never asks DNS and a test can answer for it.
pub trait Resolver: Send + Sync + 'static {
    /// Resolves `address` to the endpoints to try, best first, at most eight.
    ///
    /// # Errors
    ///
    /// [`ResolveError`] if there is none.
    ///
    /// # Cancel safety
    ///
    /// Implementations must tolerate being dropped at any await.
    fn resolve<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Vec<Endpoint>, ResolveError>>;
}

/// An address has no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot resolve `{host}`: {why}")]
pub struct ResolveError {
    /// The host that was asked for.
    pub host: String,
    /// What the resolver said.
    pub why: String,
}

/// Resolves literal addresses only. A DNS name is an error: right for simulations and closed networks.
#[derive(Debug, Clone, Copy, Default)]
pub struct LiteralResolver;

impl Resolver for LiteralResolver {
    fn resolve<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Vec<Endpoint>, ResolveError>> {
        let found = address.endpoint().map(|endpoint| vec![endpoint]).ok_or_else(|| ResolveError {
            host: address.to_string(),
            why: "only literal addresses are resolved here".into(),
        });
        Box::pin(std::future::ready(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeKey;
    use proptest::prelude::*;

    fn id() -> NodeId {
        NodeKey::insecure_from_seed(1).id()
    }

    #[test]
    fn addresses_round_trip() {
        for rest in [
            "127.0.0.1:30303",
            "[::1]:1",
            "[2001:db8::7]:65535?discport=30301",
            "node-1.example.org:30303",
            "10.0.0.1:5?discport=0",
        ] {
            let text = format!("enode://{}@{rest}", id());
            let address: NodeAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.protocol(), Protocol::RLPX);
        }
        for text in [format!("memory:{}", id()), format!("quic://{}@10.0.0.1:7/x?y", id())] {
            assert_eq!(text.parse::<NodeAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_addresses_name_what_is_wrong() {
        let id = id();
        let parse = |text: &str| text.parse::<NodeAddress>().unwrap_err();
        assert_eq!(parse(""), AddressError::Scheme);
        assert_eq!(parse("enode:x"), AddressError::Scheme);
        assert_eq!(parse("enode://127.0.0.1:30303"), AddressError::NoId);
        assert!(matches!(
            parse("enode://abcd@127.0.0.1:30303"),
            AddressError::Id(NodeIdError::NotHex { .. })
        ));
        assert_eq!(parse(&format!("enode://{id}@127.0.0.1")), AddressError::NoPort);
        for port in ["0", "65536", "-1", "+1", "x", ""] {
            assert_eq!(parse(&format!("enode://{id}@1.2.3.4:{port}")), AddressError::Port(port.into()));
        }
        for host in ["", "::1", "256.1.1.1", "a..b", "-a", "a b", "[1.2.3.4]", "[::1"] {
            assert_eq!(parse(&format!("enode://{id}@{host}:1")), AddressError::Host(host.into()), "{host}");
        }
        assert_eq!(parse(&format!("enode://{id}@1.2.3.4:1?x=2")), AddressError::Tail("?x=2".into()));
        assert_eq!(parse("memory:bob"), AddressError::Id(NodeIdError::NotHex { found_chars: 3 }));
        assert_eq!(parse(&"x".repeat(513)), AddressError::TooLong { found_bytes: 513 });
    }

    #[test]
    fn scopes_follow_the_reserved_ranges() {
        let scope = |ip: &str| Scope::of_ip(ip.parse().unwrap());
        assert_eq!(scope("127.0.0.1"), Scope::Loopback);
        assert_eq!(scope("::ffff:127.0.0.1"), Scope::Loopback);
        for ip in ["10.1.1.1", "172.16.0.1", "192.168.1.1", "169.254.0.1", "100.64.0.1", "fd00::1", "fe80::1"]
        {
            assert_eq!(scope(ip), Scope::Private, "{ip}");
        }
        for ip in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2001:4860::1"] {
            assert_eq!(scope(ip), Scope::Public, "{ip}");
        }
    }

    proptest! {
        #[test]
        fn every_socket_address_round_trips(ip: IpAddr, port in 1u16..) {
            let address = NodeAddress::rlpx(id(), SocketAddr::new(ip, port));
            prop_assert_eq!(address.to_string().parse::<NodeAddress>().unwrap(), address);
        }

        #[test]
        fn no_text_panics_and_what_parses_round_trips(tail in "[ -~]{0,40}") {
            for text in [tail.clone(), format!("enode://{}@{tail}", id()), format!("x://{}@{tail}", id())] {
                if let Ok(address) = text.parse::<NodeAddress>() {
                    prop_assert_eq!(address.to_string().parse::<NodeAddress>().unwrap(), address);
                }
            }
        }
    }
}
