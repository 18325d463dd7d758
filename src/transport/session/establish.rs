//! From an authenticated byte stream to an agreed connection.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::halves::SessionConnection;
use super::stream::{Input, Output};
use super::{Decode, Encode};
use crate::address::Endpoint;
use crate::event::{Blame, Closed, DisconnectReason, Fault, Layer, Side, Stage};
use crate::id::{ChannelId, NodeId};
use crate::message::ChannelSpec;
use crate::rlpx::capability::{self, Shared};
use crate::rlpx::info::{self, Info};
use crate::rlpx::p2p::{self, Hello};
use crate::transport::{AgreedChannel, ConnectionInfo, Handshake, Offer};

/// How long a refused peer may take to read why, and to close.
const FAREWELL: Duration = Duration::from_secs(1);

/// Most bytes of the client's name that are sent.
const MAX_CLIENT_BYTES: usize = 256;

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
                    output.put(p2p::DISCONNECT_ID, &p2p::encode_disconnect(closed.reason))?;
                    output.finish().await?;
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
    specs.push(info::CHANNEL);
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
    output.put(p2p::HELLO_ID, &our_hello(offer, ends, specs).encode())?;
    output.flush().await?;
    let hello = read_hello(input).await?;
    progress.hello(&hello.client, hello.version, &hello.capabilities);
    if hello.id != ends.peer {
        let fault = hello_fault(DisconnectReason::UnexpectedIdentity, "spoofed_hello_id", Blame::Protocol);
        return Err(fault.with_detail(format!("Hello claims {}, the handshake proved {}", hello.id, ends.peer)));
    }
    let version = hello.version.min(p2p::VERSION);
    input.hello_done(version);
    output.hello_done(version);
    progress.reached(Stage::Hello);

    let shared = capability::negotiate(specs, &hello.capabilities);
    let channels: Vec<AgreedChannel> = shared
        .iter()
        .filter(|channel| channel.id != info::CHANNEL.id)
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
    let mut client = offer.client.clone();
    while client.len() > MAX_CLIENT_BYTES {
        client.pop();
    }
    Hello {
        version: p2p::VERSION,
        client,
        capabilities: capability::announce(specs),
        listen_port: ends.listen_port,
        id: ends.local_id,
    }
}

async fn read_hello<R, D>(input: &mut Input<R, D>) -> Result<Hello, Closed>
where
    R: AsyncRead + Unpin + Send + 'static,
    D: Decode,
{
    let only_first = |id| matches!(id, p2p::HELLO_ID | p2p::DISCONNECT_ID).then_some(p2p::MAX_HELLO_BYTES);
    let (id, payload) = input.next(only_first).await?;
    if id == p2p::DISCONNECT_ID {
        return Err(Closed::remote(p2p::decode_disconnect(&payload)));
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
    let Some(info_id) = wire_id(shared, info::CHANNEL.id, 0) else { return Ok(None) };
    let ours = Info { network: offer.network.clone(), services: offer.services.clone() };
    output.put(info_id, &ours.encode())?;
    output.flush().await?;
    let expected = |id| match id {
        p2p::DISCONNECT_ID | p2p::PING_ID | p2p::PONG_ID => Some(p2p::MAX_CONTROL_BYTES),
        id if id == info_id => Some(info::CHANNEL.max_bytes),
        _ => None,
    };
    // A peer may ping while it waits for us, but not for ever: the count bounds it, as the deadline does.
    for _ in 0..MAX_CONTROL_BEFORE_INFO {
        let (id, payload) = input.next(expected).await?;
        match id {
            p2p::DISCONNECT_ID => return Err(Closed::remote(p2p::decode_disconnect(&payload))),
            p2p::PING_ID => {
                output.put(p2p::PONG_ID, p2p::PONG_PAYLOAD)?;
                output.flush().await?;
            }
            p2p::PONG_ID => {}
            _ => {
                let theirs = Info::decode(&payload).map_err(|error| error.closed())?;
                return check_network(offer, theirs).map(Some);
            }
        }
    }
    Err(Closed::local(Layer::Capability, Blame::Protocol, DisconnectReason::Breach, "no_info"))
}

/// Most pings and pongs accepted before the peer's information.
const MAX_CONTROL_BEFORE_INFO: usize = 16;

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

pub(super) fn wire_id(shared: &Shared, channel: ChannelId, code: u8) -> Option<u8> {
    shared.to_wire(channel, code)
}
