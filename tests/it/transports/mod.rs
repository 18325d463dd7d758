//! One conformance suite, and every transport in it.
//!
//! A case is an async function that is generic over a [`Kit`], and is named after the behaviour that it shows;
//! [`conformance!`] makes of it one test for each transport. A case that only one transport can fail belongs
//! beside that transport.
//!
//! Nothing sleeps. Over memory the clock is paused, so that whoever waits for ever is found out at once; over
//! sockets a limit far above what is needed does the same.

mod cancellation;
mod closing;
mod endpoints;
mod handshakes;
pub(crate) mod kits;
mod links;
mod packets;
mod pressure;
mod refusals;
mod segments;
pub(crate) mod wire;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use peerage::address::Endpoint;
use peerage::event::{Blame, Closed, DisconnectReason, Layer, Side};
use peerage::id::ChannelId;
use peerage::message::{ChannelSpec, Frame, Packet, Version};
use peerage::transport::{
    Connection, Handshake, Incoming, Offer, PacketReader, PacketWriter, Target, Transport,
};
use peerage::{NodeId, NodeKey};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use self::wire::Wire;

/// Far above what any case needs.
const LIMIT: Duration = Duration::from_secs(60);

/// The channel of most cases: four codes, payloads of at most [`MAX_BYTES`].
const TRIAL: ChannelId = ChannelId::from_static("trial");
/// The largest payload of [`TRIAL`]. Not a power of two, and not within one frame's rounding of one.
const MAX_BYTES: usize = 1_000_003;
const TRIAL_SPEC: ChannelSpec =
    ChannelSpec { id: TRIAL, versions: &[Version { number: 1, codes: 4 }], max_bytes: MAX_BYTES };

/// Makes one transport's ends, and what stands between them.
pub(crate) trait Kit: Sized {
    type Transport: Transport;
    /// A bare byte stream.
    type Raw: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    type Relay: Relay<Raw = Self::Raw>;

    fn new() -> Self;

    /// A transport that listens and dials as `key`.
    async fn listen(&self, key: &NodeKey) -> Self::Transport;

    /// An endpoint where nobody listens as `id`.
    async fn vacant(&self, id: NodeId) -> Endpoint;

    /// Where a dialler is, if its endpoint can be known beforehand.
    fn known_endpoint(id: NodeId) -> Option<Endpoint>;

    /// A bare stream to a listener, opened by `from`.
    async fn connect(&self, from: NodeId, to: &Endpoint) -> Self::Raw;

    /// A session on a bare stream with the listener `to`, that has authenticated itself and has said nothing yet.
    async fn speak(&self, key: &NodeKey, to: NodeId, endpoint: &Endpoint) -> Wire<Self::Raw>;

    /// Somebody between a dialler and the listener `to`: the transport to dial with, and the relay, at whose
    /// endpoint it dials.
    async fn relay(&self, dialler: &NodeKey, to: (NodeId, &Endpoint)) -> (Self::Transport, Self::Relay);

    /// Lets the others go on: to be awaited by whoever tries again and again, and otherwise waits for nothing.
    async fn pass() {
        tokio::task::yield_now().await;
    }
}

/// Stands between a dialler and a listener.
pub(crate) trait Relay {
    type Raw;

    fn endpoint(&self) -> Endpoint;

    /// Waits for a dialler, and gives the streams to it and to the listener.
    async fn link(&self) -> (Self::Raw, Self::Raw);
}

/// Makes tests of cases: one over RLPx on loopback; on a paused clock, one over memory and one over memory with a link.
macro_rules! conformance {
    ($($case:ident),+ $(,)?) => {
        mod over_rlpx {
            $(
                #[tokio::test]
                async fn $case() {
                    $crate::transports::run(super::$case::<$crate::transports::kits::Rlpx>).await;
                }
            )+
        }

        mod over_memory {
            $(
                #[tokio::test(start_paused = true)]
                async fn $case() {
                    $crate::transports::run(super::$case::<$crate::transports::kits::Memory>).await;
                }
            )+
        }

        mod over_a_link {
            $(
                #[tokio::test(start_paused = true)]
                async fn $case() {
                    $crate::transports::run(super::$case::<$crate::transports::kits::Linked>).await;
                }
            )+
        }
    };
}
use conformance;

async fn run<K: Kit>(case: impl AsyncFnOnce(K)) {
    within(Box::pin(case(K::new()))).await;
}

/// Fails what takes longer than anything here may.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(LIMIT, future).await.expect("the case hangs")
}

pub(crate) fn key(seed: u64) -> NodeKey {
    NodeKey::insecure_from_seed(seed)
}

pub(crate) fn offer(channels: &[ChannelSpec]) -> Offer {
    Offer {
        client: "trial/1".into(),
        network: "trials".into(),
        services: vec!["light".into()],
        channels: channels.to_vec(),
        needs_common_channel: true,
    }
}

pub(crate) fn offering(offer: Offer) -> Handshake {
    Handshake { offer: Arc::new(offer), progress: Arc::new(()) }
}

/// What both ends offer in most cases.
pub(crate) fn plain_handshake() -> Handshake {
    offering(offer(&[TRIAL_SPEC]))
}

pub(crate) fn endpoint_of(transport: &impl Transport) -> Endpoint {
    transport.local_endpoints().remove(0)
}

fn target(id: NodeId, transport: &impl Transport) -> Target {
    Target { id, endpoint: endpoint_of(transport) }
}

/// Accepts one peer, and ends its handshake either way.
async fn accept<T: Transport>(transport: &T, handshake: Handshake) -> Result<T::Connection, Closed> {
    transport.accept().await.expect("an open transport accepts").handshake(handshake).await
}

/// A dials B: both outcomes.
async fn meet<T: Transport>(
    (a, dials): (&T, Handshake),
    (b, accepts): (&T, Handshake),
    to: Target,
) -> (Result<T::Connection, Closed>, Result<T::Connection, Closed>) {
    tokio::join!(a.dial(to, dials), accept(b, accepts))
}

/// A connection between two honest nodes that offer `channels`: the transports, the dialler's end, the acceptor's.
struct Pair<K: Kit> {
    kit: K,
    a: K::Transport,
    b: K::Transport,
    dialled: ConnectionOf<K>,
    accepted: ConnectionOf<K>,
}

type ConnectionOf<K> = <<K as Kit>::Transport as Transport>::Connection;
type ReaderOf<K> = <ConnectionOf<K> as Connection>::Reader;
type WriterOf<K> = <ConnectionOf<K> as Connection>::Writer;

impl<K: Kit> Pair<K> {
    async fn new(kit: K) -> Self {
        Self::offering(kit, &[TRIAL_SPEC]).await
    }

    async fn offering(kit: K, channels: &[ChannelSpec]) -> Self {
        let (a, b) = (kit.listen(&key(1)).await, kit.listen(&key(2)).await);
        let both = offering(offer(channels));
        let (dialled, accepted) =
            Box::pin(meet((&a, both.clone()), (&b, both), target(key(2).id(), &b))).await;
        Self { kit, a, b, dialled: dialled.unwrap(), accepted: accepted.unwrap() }
    }

    /// Whether the transports still do their work.
    async fn assert_can_meet_again(&self) {
        assert_meet::<K>(&self.a, &self.b).await;
    }
}

/// A fresh handshake of the nodes 1 and 2 works, and so does the connection that it gives. Others may still be in
/// the listener's backlog; they come to nothing.
async fn assert_meet<K: Kit>(a: &K::Transport, b: &K::Transport) {
    let token = frame(3, b"fresh".as_slice());
    let dial = async {
        let (_reader, mut writer) = a.dial(target(key(2).id(), b), plain_handshake()).await.unwrap().split();
        writer.write(&token).unwrap();
        writer.flush().await.unwrap();
        (_reader, writer)
    };
    let serve = async {
        loop {
            let Ok(connection) = accept(b, plain_handshake()).await else { continue };
            let (mut reader, _writer) = connection.split();
            if reader.read().await == Ok(token.clone()) {
                return;
            }
        }
    };
    Box::pin(async { tokio::join!(dial, serve) }).await;
}

fn frame(code: u8, payload: impl Into<Bytes>) -> Packet {
    Packet::Frame(Frame { channel: TRIAL, code, payload: payload.into() })
}

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, len: usize) -> Bytes {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// Writes and flushes each packet.
async fn send_all(writer: &mut impl PacketWriter, packets: &[Packet]) -> Result<(), Closed> {
    for packet in packets {
        writer.write(packet)?;
        writer.flush().await?;
    }
    Ok(())
}

/// Reads as many packets as are expected, and compares each.
async fn assert_reads(reader: &mut impl PacketReader, packets: &[Packet]) {
    for (i, packet) in packets.iter().enumerate() {
        // Not assert_eq: it would print a megabyte.
        assert!(&reader.read().await.unwrap() == packet, "packet {i} arrived otherwise than it was sent");
    }
}

/// What an end is, without its words for people.
pub(crate) fn told(closed: &Closed) -> (Layer, &'static str, Side, Blame, DisconnectReason) {
    (closed.layer, closed.label, closed.by, closed.blame, closed.reason)
}

/// The stream ended, for whatever reason a system gives.
fn assert_stream_ended(closed: &Closed) {
    assert_eq!(
        (closed.layer, closed.by, closed.blame),
        (Layer::Tcp, Side::Remote, Blame::System),
        "{closed}"
    );
    assert!(["closed", "truncated", "connection_reset"].contains(&closed.label), "{closed}");
}

fn failure<T>(outcome: Result<T, Closed>) -> Closed {
    match outcome {
        Ok(_) => panic!("it succeeded"),
        Err(closed) => closed,
    }
}

/// Polls a future at most `polls` times, then drops it at whatever await it is. `None` if it was not ready.
async fn cancelled_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut left = polls;
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
