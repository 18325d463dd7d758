//! Nodes that break the rules.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::Depth;
use super::fabric::Fabric;
use super::lies::{self, Lie, lie};
use super::node::Node;
use super::seed::{derive, draws};
use super::wire::{SimStream, Wire};
use crate::address::{BoxFuture, Endpoint};
use crate::event::DisconnectReason;
use crate::id::{NodeId, NodeKey};
use crate::message::{ChannelSpec, Frame, Packet};
use crate::transport::plain::PlainOver;
use crate::transport::rlpx::RlpxOver;
use crate::transport::{
    ByteTransport, Connection, Handshake, Incoming, Offer, PacketReader, PacketWriter, Target, Transport,
};

/// What a node does to whoever is connected to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misdeed {
    /// Sends random bytes where a handshake is due.
    Garbage,
    /// Says nothing where a handshake is due, and keeps the stream open.
    Silence,
    /// Is a proper peer until the handshake is done, and then leaves at once, time and again.
    Leave,
    /// Is a proper peer until the handshake is done, and then never answers.
    Mute,
    /// Is a proper peer until the handshake is done, and then sends messages of random bytes as fast as they are taken.
    Flood {
        /// The size of each, at most what its channel allows.
        bytes: usize,
    },
    /// Is a proper peer, which keeps its connections and answers pings, and tells lies to whoever
    /// [exchanges addresses](crate::reactor::pex) with it. It offers that channel whether or not it is among its
    /// [channels](Byzantine::channels).
    Lie {
        /// What it tells.
        what: Lie,
        /// How many addresses it tells at a time, as far as it has them and they fit into an answer. Of more than
        /// [`MAX_TOLD`](crate::reactor::pex::MAX_TOLD) it is accused.
        addresses: usize,
    },
}

/// A node that breaks the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Byzantine {
    /// What it does.
    pub misdeed: Misdeed,
    /// The network that it names. Default: that of a node for which nothing else is said.
    pub network: String,
    /// The channels that it offers, and floods. Default: none, with which no proper peer keeps a connection.
    pub channels: Vec<ChannelSpec>,
    /// Whom it dials. It does the same to whoever dials it. Default: nobody.
    pub victims: Vec<Node>,
    /// How long it waits before it dials a victim again. Default 1 s.
    pub every: Duration,
}

impl Byzantine {
    /// One that offers `channels` and dials nobody.
    #[must_use]
    pub fn new(misdeed: Misdeed, channels: Vec<ChannelSpec>) -> Self {
        let network = "peerage".to_owned();
        Self { misdeed, network, channels, victims: Vec::new(), every: Duration::from_secs(1) }
    }

    /// With victims to dial.
    #[must_use]
    pub fn dialing(self, victims: &[Node]) -> Self {
        Self { victims: victims.to_vec(), ..self }
    }
}

/// How many peers it deals with at a time that came by themselves.
const MAX_GUESTS: usize = 256;

/// How many random bytes it sends at once.
const GARBAGE_BYTES: usize = 1024;

/// One life of such a node.
pub(super) struct Villain {
    pub(super) character: Byzantine,
    pub(super) key: NodeKey,
    pub(super) depth: Depth,
    pub(super) seed: u64,
    pub(super) wire: Wire,
    pub(super) fabric: Arc<Fabric>,
    pub(super) victims: Vec<Target>,
}

impl Villain {
    /// Does what it does until it is dropped.
    pub(super) async fn run(self) {
        let Self { character, key, depth, seed, wire, fabric, victims } = self;
        let wire = Arc::new(wire);
        let deeds = Deeds { offer: Arc::new(offer(&character)), character, seed, fabric };
        match depth {
            Depth::Plain => {
                let transport = PlainOver::insecure(key.id(), Arc::clone(&wire));
                deeds.run(&wire, &transport, victims).await;
            }
            Depth::Rlpx => {
                let seed = derive(seed, "handshakes", 0);
                let transport = RlpxOver::insecure_with_seed(key, Arc::clone(&wire), seed);
                deeds.run(&wire, &transport, victims).await;
            }
        }
    }
}

fn offer(character: &Byzantine) -> Offer {
    let mut channels = character.channels.clone();
    if matches!(character.misdeed, Misdeed::Lie { .. }) && !channels.contains(&lies::CHANNEL) {
        channels.push(lies::CHANNEL);
    }
    Offer {
        client: "villain".into(),
        network: character.network.clone(),
        services: Vec::new(),
        channels,
        needs_common_channel: false,
    }
}

struct Deeds {
    character: Byzantine,
    offer: Arc<Offer>,
    seed: u64,
    fabric: Arc<Fabric>,
}

impl Deeds {
    async fn run<T: Transport>(&self, wire: &Wire, transport: &T, victims: Vec<Target>) {
        let mut hunts: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        for (number, victim) in victims.into_iter().enumerate() {
            hunts.push(Box::pin(self.hunt(wire, transport, victim, number as u64)));
        }
        let mut guests: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut guests_so_far = 0;
        loop {
            tokio::select! {
                biased;
                Some(()) = hunts.next() => {}
                Some(()) = guests.next() => {}
                guest = self.guest(wire, transport, guests_so_far), if guests.len() < MAX_GUESTS => {
                    let Some(guest) = guest else { return };
                    guests_so_far += 1;
                    guests.push(guest);
                }
            }
        }
    }

    /// Dials a victim time and again.
    async fn hunt<T: Transport>(&self, wire: &Wire, transport: &T, victim: Target, number: u64) {
        let mut draws = draws(self.seed, "hunt", number);
        loop {
            if self.is_rude() {
                if let Ok(stream) = wire.connect(&victim.endpoint).await {
                    self.abuse(stream, &mut draws).await;
                }
            } else if let Ok(connection) = transport.dial(victim.clone(), self.handshake()).await {
                self.pretend(connection, &mut draws).await;
            }
            sleep(self.character.every).await;
        }
    }

    /// Waits for whoever comes; what is done to it. `None` once nobody can come.
    async fn guest<'a, T: Transport>(
        &'a self,
        wire: &Wire,
        transport: &T,
        number: u64,
    ) -> Option<BoxFuture<'a, ()>> {
        let mut draws = draws(self.seed, "guest", number);
        if self.is_rude() {
            let (stream, _) = wire.accept().await.ok()?;
            return Some(Box::pin(async move { self.abuse(stream, &mut draws).await }));
        }
        let incoming = transport.accept().await.ok()?;
        Some(Box::pin(async move {
            if let Ok(connection) = incoming.handshake(self.handshake()).await {
                self.pretend(connection, &mut draws).await;
            }
        }))
    }

    /// Whether it never gets as far as a handshake.
    fn is_rude(&self) -> bool {
        matches!(self.character.misdeed, Misdeed::Garbage | Misdeed::Silence)
    }

    fn handshake(&self) -> Handshake {
        Handshake { offer: Arc::clone(&self.offer), progress: Arc::new(()) }
    }

    /// What is done instead of a handshake, until the other end has enough.
    async fn abuse(&self, mut stream: SimStream, draws: &mut ChaCha8Rng) {
        if self.character.misdeed == Misdeed::Garbage {
            let mut garbage = [0; GARBAGE_BYTES];
            draws.fill_bytes(&mut garbage);
            if stream.write_all(&garbage).await.is_err() {
                return;
            }
        }
        let mut ignored = [0; GARBAGE_BYTES];
        while stream.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
    }

    /// What is done after a handshake, until the other end has enough.
    async fn pretend<C: Connection>(&self, connection: C, draws: &mut ChaCha8Rng) {
        let channels: Vec<_> = connection.info().channels.clone();
        let (mut reader, mut writer) = connection.split();
        let ignoring = async { while reader.read().await.is_ok() {} };
        match self.character.misdeed {
            Misdeed::Leave => {
                // It is gone, whether or not the goodbye was heard.
                let _ = writer.finish(Some(DisconnectReason::Requested)).await;
            }
            Misdeed::Flood { bytes } => {
                let specs = self.character.channels.iter();
                let shared = specs.filter(|spec| channels.iter().any(|agreed| agreed.id == spec.id));
                let flooding = flood(&mut writer, shared.collect(), bytes, draws);
                tokio::select! {
                    biased;
                    () = ignoring => {}
                    () = flooding => {}
                }
            }
            Misdeed::Lie { what, addresses } => {
                drop(ignoring);
                let agreed = channels.iter().find(|agreed| agreed.id == lies::CHANNEL.id);
                let version = agreed.map_or(1, |agreed| agreed.version);
                lie((reader, writer), (what, addresses), &self.fabric, version, draws).await;
            }
            Misdeed::Mute | Misdeed::Garbage | Misdeed::Silence => ignoring.await,
        }
    }
}

/// Writes until the connection breaks.
async fn flood(
    writer: &mut impl PacketWriter,
    channels: Vec<&ChannelSpec>,
    bytes: usize,
    draws: &mut ChaCha8Rng,
) {
    if channels.is_empty() {
        return std::future::pending().await;
    }
    loop {
        for spec in &channels {
            let mut payload = vec![0; bytes.min(spec.max_bytes)];
            draws.fill_bytes(&mut payload);
            let codes = spec.versions.first().map_or(1, |version| version.codes.max(1));
            let code = (draws.next_u32() % u32::from(codes)).to_be_bytes()[3];
            let frame = Frame { channel: spec.id, code, payload: Bytes::from(payload) };
            if writer.write(&Packet::Frame(frame)).is_err() || writer.flush().await.is_err() {
                return;
            }
        }
    }
}

/// Whom to dial.
pub(super) fn target(id: NodeId, address: std::net::SocketAddr) -> Target {
    Target { id, endpoint: Endpoint::Tcp(address) }
}
