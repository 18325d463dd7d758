//! From an authenticated byte stream to an agreed connection.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::halves::SessionConnection;
use super::stream::{Input, Output};
use super::{Decode, Encode};
use crate::address::Endpoint;
use crate::event::{Blame, Closed, DisconnectReason, Fault, Layer, Side, Stage};
use crate::id::NodeId;
use crate::message::ChannelSpec;
use crate::rlpx::{self, Capability, Disconnect, Hello, INFO_CHANNEL, Info, Shared, p2p};
use crate::transport::{AgreedChannel, ConnectionInfo, Handshake, Offer};

/// How long a refused peer may take to read why, and to close.
const FAREWELL: Duration = Duration::from_secs(1);

/// Most pings and pongs accepted before the peer's information.
const MAX_CONTROL_BEFORE_INFO: usize = 16;

/// Who and where the two ends of a stream are.
#[derive(Debug, Clone)]
pub(in crate::transport) struct Ends {
    pub(in crate::transport) local_id: NodeId,
    /// The identity that the stream below has proved.
    pub(in crate::transport) peer: NodeId,
    pub(in crate::transport) local: Endpoint,
    pub(in crate::transport) remote: Endpoint,
    /// Where we listen, as Hello announces it; 0 if nowhere.
    pub(in crate::transport) listen_port: u16,
}

/// Exchanges Hello, agrees on channels, and exchanges network and services with peers that can.
///
/// A refusal of ours is told to the peer before the stream is dropped, within one second.
///
/// # Cancel safety
///
/// Dropping the future closes the stream.
pub(in crate::transport) async fn establish<R, W, D, E>(
    mut input: Input<R, D>,
    mut output: Output<W, E>,
    ends: Ends,
    handshake: &Handshake,
) -> Result<SessionConnection<R, W, D, E>, Closed>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
    D: Decode,
    E: Encode,
{
    let specs = specs_of(&handshake.offer);
    match agree(&mut input, &mut output, &ends, handshake, &specs).await {
        Ok((info, shared)) => Ok(SessionConnection { input, output, info, shared }),
        Err(closed) => {
            if closed.by == Side::Local {
                let farewell = async {
                    output.finish(Some(closed.reason)).await?;
                    input.drain().await;
                    Ok::<(), Closed>(())
                };
                // Best effort: the end is reported whether or not the peer could be told.
                let _ = timeout(FAREWELL, farewell).await;
            }
            Err(closed)
        }
    }
}

fn specs_of(offer: &Offer) -> Vec<ChannelSpec> {
    let mut specs = offer.channels.clone();
    specs.push(INFO_CHANNEL);
    specs
}

async fn agree<R, W, D, E>(
    input: &mut Input<R, D>,
    output: &mut Output<W, E>,
    ends: &Ends,
    handshake: &Handshake,
    specs: &[ChannelSpec],
) -> Result<(ConnectionInfo, Shared), Closed>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
    D: Decode,
    E: Encode,
{
    let Handshake { offer, progress } = handshake;
    if ends.peer == ends.local_id {
        return Err(hello_fault(DisconnectReason::SelfConnection, "self_connection", Blame::Incompatible));
    }
    let mut payload = BytesMut::new();
    our_hello(offer, ends, specs).encode(&mut payload);
    output.put(p2p::HELLO, &payload)?;
    output.flush().await?;
    let hello = read_hello(input).await?;
    progress.hello(&hello.client, hello.version, &hello.capabilities);
    let shared = rlpx::negotiate(specs, &hello.capabilities);
    // Before anything is judged: what we say from here on, a refusal too, the peer takes for compressed.
    let version = hello.version.min(p2p::VERSION);
    input.hello_done(version);
    output.hello_done(version);
    if hello.id != ends.peer {
        let fault = hello_fault(DisconnectReason::UnexpectedIdentity, "spoofed_hello_id", Blame::Protocol);
        return Err(
            fault.with_detail(format!("Hello claims {}, the handshake proved {}", hello.id, ends.peer))
        );
    }
    progress.reached(Stage::Hello);

    let channels: Vec<AgreedChannel> = shared
        .channels()
        .iter()
        .filter(|channel| channel.id != INFO_CHANNEL.id)
        .map(|channel| AgreedChannel { id: channel.id, version: channel.version })
        .collect();
    if channels.is_empty() && offer.needs_common_channel {
        let theirs: Vec<String> = hello.capabilities.iter().map(ToString::to_string).collect();
        return Err(Closed::local(
            Layer::Capability,
            Blame::Incompatible,
            DisconnectReason::Useless,
            "no_common_channel",
        )
        .with_detail(format!("the peer offers {}", theirs.join(", "))));
    }
    let their_info = exchange_info(input, output, offer, &shared).await?;
    input.agreed(shared.largest_payload());
    if their_info.is_some() {
        progress.reached(Stage::Info);
    }
    let (network, services) = their_info.map(|info| (info.network, info.services)).unzip();
    let info = ConnectionInfo {
        peer: ends.peer,
        local: ends.local.clone(),
        remote: ends.remote.clone(),
        client: hello.client,
        capabilities: hello.capabilities,
        channels,
        network,
        services: services.unwrap_or_default(),
    };
    Ok((info, shared))
}

fn our_hello(offer: &Offer, ends: &Ends, specs: &[ChannelSpec]) -> Hello {
    let announce = |spec: &ChannelSpec| {
        let name = spec.id;
        spec.versions.iter().map(move |version| Capability { name, version: version.number })
    };
    let mut capabilities: Vec<Capability> = specs.iter().flat_map(announce).collect();
    capabilities.sort_unstable();
    Hello {
        version: p2p::VERSION,
        client: offer.client.clone(),
        capabilities,
        listen_port: ends.listen_port,
        id: ends.local_id,
    }
}

async fn read_hello<R, D>(input: &mut Input<R, D>) -> Result<Hello, Closed>
where
    R: AsyncRead + Unpin + Send + 'static,
    D: Decode,
{
    let only_first = |id| p2p::max_payload(id).filter(|_| matches!(id, p2p::HELLO | p2p::DISCONNECT));
    let (id, payload) = input.next(only_first).await?;
    if id == p2p::DISCONNECT {
        return Err(Closed::remote(Disconnect::decode(&payload)));
    }
    Hello::decode(&payload).map_err(|error| error.closed())
}

/// Sends ours and waits for theirs, where the peer has the capability. A peer sends it first of all, so any
/// other message of a channel before it is a breach.
async fn exchange_info<R, W, D, E>(
    input: &mut Input<R, D>,
    output: &mut Output<W, E>,
    offer: &Offer,
    shared: &Shared,
) -> Result<Option<Info>, Closed>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
    D: Decode,
    E: Encode,
{
    let Some(info_id) = shared.to_wire(INFO_CHANNEL.id, Info::CODE) else { return Ok(None) };
    let ours = Info { network: offer.network.clone(), services: offer.services.clone() };
    let mut payload = BytesMut::new();
    ours.encode(&mut payload);
    output.put(info_id, &payload)?;
    output.flush().await?;
    let expected = |id| match id {
        id if id == info_id || id < p2p::BASE_OFFSET => shared.max_payload(id),
        _ => None,
    };
    // A peer may ping while it waits for us, but not for ever: the count bounds it, as the deadline does.
    for _ in 0..MAX_CONTROL_BEFORE_INFO {
        let (id, payload) = input.next(expected).await?;
        match id {
            p2p::DISCONNECT => return Err(Closed::remote(Disconnect::decode(&payload))),
            p2p::PING => {
                output.put(p2p::PONG, &p2p::PING_PAYLOAD)?;
                output.flush().await?;
            }
            p2p::PONG => {}
            _ => {
                let theirs = Info::decode(&payload).map_err(|error| error.closed())?;
                return check_network(offer, theirs).map(Some);
            }
        }
    }
    Err(Closed::local(Layer::Capability, Blame::Protocol, DisconnectReason::Breach, "no_info"))
}

fn check_network(offer: &Offer, theirs: Info) -> Result<Info, Closed> {
    if theirs.network == offer.network {
        return Ok(theirs);
    }
    let detail = format!("ours is `{}`, the peer's `{}`", offer.network, theirs.network);
    let fault =
        Closed::local(Layer::Capability, Blame::Incompatible, DisconnectReason::Useless, "other_network");
    Err(fault.with_detail(detail))
}

fn hello_fault(reason: DisconnectReason, label: &'static str, blame: Blame) -> Closed {
    Closed::local(Layer::Hello, blame, reason, label)
}
