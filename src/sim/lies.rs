//! What a node tells that lies about whom it knows.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::BytesMut;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::fabric::Fabric;
use super::seed::sample;
use crate::address::NodeAddress;
use crate::id::{NodeId, NodeKey};
use crate::message::{Answer, ChannelSpec, Frame, Head, Message, Packet, Question};
use crate::reactor::pex::{Exchange, Known, WhoElse};
use crate::transport::{PacketReader, PacketWriter};

/// What a node that lies tells peers that ask it for addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lie {
    /// Those of all nodes that break the rules, and nobody else's: honest ones are to be crowded out.
    Accomplices,
    /// Identities that nobody has, at addresses where nobody is: a new one each time.
    Phantoms,
    /// Identities that nobody has, at the addresses of proper nodes: a new one each time.
    Impostors,
    /// The identities of proper nodes, each at the address of another.
    Swaps,
}

/// What is on the channel on which nodes exchange addresses.
pub(super) const CHANNEL: ChannelSpec = ChannelSpec::of::<Exchange>();

/// How many bytes of an answer its header and the request's id take at most, and the header of each address.
const ENVELOPE_BYTES: usize = 16;
const HEADER_BYTES: usize = 3;

/// An identity, and where it is said to be.
type Claim = (NodeId, SocketAddr);

impl Lie {
    /// Draws at most `most` addresses to tell.
    fn draw(self, most: usize, fabric: &Fabric, draws: &mut ChaCha8Rng) -> Vec<Claim> {
        match self {
            Self::Accomplices => sample(fabric.listed(true), most, draws),
            Self::Phantoms => (0..most).map(|_| (nobody(draws), nowhere(fabric, draws))).collect(),
            Self::Impostors => {
                let places = sample(fabric.listed(false), most, draws);
                places.into_iter().map(|(_, place)| (nobody(draws), place)).collect()
            }
            Self::Swaps => {
                let told = sample(fabric.listed(false), most, draws);
                let places = told.iter().cycle().skip(1).map(|(_, place)| *place);
                let names = told.iter().map(|(id, _)| *id);
                names.zip(places).collect()
            }
        }
    }
}

/// An identity whose key nobody has.
fn nobody(draws: &mut ChaCha8Rng) -> NodeId {
    NodeKey::insecure_from_seed(draws.next_u64()).id()
}

/// A public address at which no host is.
fn nowhere(fabric: &Fabric, draws: &mut ChaCha8Rng) -> SocketAddr {
    loop {
        let [port, port_too, a, b, c, d, ..] = draws.next_u64().to_be_bytes();
        let ip = IpAddr::V4(Ipv4Addr::new(130 + a % 32, b, c, d));
        if fabric.host_at(ip).is_none() {
            return SocketAddr::new(ip, u16::from_be_bytes([port, port_too]).max(1));
        }
    }
}

/// Is a proper peer that lies, until the connection ends: answers pings, and questions for other peers with at most
/// `most` addresses.
pub(super) async fn lie(
    (mut reader, mut writer): (impl PacketReader, impl PacketWriter),
    (lie, most): (Lie, usize),
    fabric: &Fabric,
    version: u32,
    draws: &mut ChaCha8Rng,
) {
    while let Ok(packet) = reader.read().await {
        let reply = match packet {
            Packet::Ping => Packet::Pong,
            Packet::Frame(Frame { channel, code, payload })
                if channel == CHANNEL.id && code == WhoElse::CODE =>
            {
                let Ok(Head::Body(id)) = Head::peek(&payload) else { continue };
                let claims = lie.draw(most, fabric, draws);
                let known = Known { addresses: fitting(claims) };
                let mut payload = BytesMut::new();
                known.encode(id, version, &mut payload);
                Packet::Frame(Frame { channel, code: Known::CODE, payload: payload.freeze() })
            }
            Packet::Pong | Packet::Frame(_) => continue,
        };
        if writer.write(&reply).is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

/// The claims as they are told, as many as fit into an answer.
fn fitting(claims: Vec<Claim>) -> Vec<String> {
    let mut room = Exchange::MAX_BYTES - ENVELOPE_BYTES;
    let texts = claims.into_iter().map(|(id, place)| NodeAddress::rlpx(id, place).to_string());
    let fits = |text: &String| match room.checked_sub(text.len() + HEADER_BYTES) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    texts.take_while(fits).collect()
}
