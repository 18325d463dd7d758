//! `peerage probe`: dials any RLPx node and says, stage by stage, what it finds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use peerage::NodeAddress;
use peerage::address::{Endpoint, Resolver};
use peerage::event::{Blame, Closed, DisconnectReason, Layer, Side, Stage};
use peerage::id::{ChannelId, Protocol};
use peerage::message::{ChannelSpec, Packet, Version};
use peerage::reactor::{chat::Chat, ping::Ping};
use peerage::rlpx::Capability;
use peerage::transport::rlpx::RlpxTransport;
use peerage::transport::{
    Connection, ConnectionInfo, DnsResolver, Handshake, Offer, PacketReader, PacketWriter, Progress, Target,
    Transport,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::key;
use crate::output::{Failure, Output, in_words, printable};

/// How long a probed node may take to say that it wants no more of us.
const LISTEN: Duration = Duration::from_millis(500);

/// A capability to offer beside our own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offered {
    name: ChannelId,
    version: u32,
}

/// Reads `NAME/VERSION`.
pub(crate) fn offered(text: &str) -> Result<Offered, String> {
    let (name, version) = text.split_once('/').ok_or("must be NAME/VERSION, as in eth/68")?;
    let name = name.parse().map_err(|error: peerage::id::ChannelIdError| error.to_string())?;
    let version = version.parse().map_err(|_| format!("`{version}` is no version number"))?;
    Ok(Offered { name, version })
}

pub(crate) async fn run(
    output: &Output,
    target: NodeAddress,
    limit: Duration,
    offers: &[Offered],
    network: String,
) -> Result<(), Failure> {
    if target.protocol() != Protocol::RLPX {
        return Err(Failure::usage("probe dials enode:// addresses only"));
    }
    let endpoints = timeout(limit, DnsResolver.resolve(&target)).await;
    let endpoint = match endpoints {
        Ok(Ok(endpoints)) => endpoints.into_iter().next(),
        Ok(Err(error)) => return Err(Failure::failed(unresolved(&target, &error.why))),
        Err(_) => None,
    };
    let endpoint = endpoint.ok_or_else(|| Failure::failed(unresolved(&target, "no answer in time")))?;
    output.line(
        format!("probing {} at {endpoint}", target.id().short()),
        &json!({ "event": "probe", "enode": target.to_string(), "endpoint": endpoint.to_string() }),
    );

    let stages = Arc::new(Stages::new(*output));
    let offer = Offer {
        client: concat!("peerage-probe/", env!("CARGO_PKG_VERSION")).into(),
        network,
        services: Vec::new(),
        channels: specs(offers),
        needs_common_channel: false,
    };
    let handshake = Handshake { offer: Arc::new(offer), progress: Arc::clone(&stages) as Arc<dyn Progress> };
    let transport = RlpxTransport::dial_only(key::generate()?);
    let dialling = transport.dial(Target { id: target.id(), endpoint: endpoint.clone() }, handshake);
    match timeout(limit, dialling).await {
        Ok(Ok(connection)) => {
            agreed(output, connection.info());
            let closed = part(connection).await;
            ended(output, &closed);
            Ok(())
        }
        Ok(Err(closed)) => Err(failed(output, &endpoint, &closed)),
        Err(_) => Err(failed(output, &endpoint, &stages.timed_out(limit))),
    }
}

/// Says in JSON how the attempt ended, and makes the failure that says it to people.
fn failed(output: &Output, endpoint: &Endpoint, closed: &Closed) -> Failure {
    output.object(&ended_object(closed));
    Failure::failed(format!("{endpoint}: {}", in_words(closed)))
}

fn unresolved(target: &NodeAddress, why: &str) -> String {
    let host = target.host().map(|(host, _)| host.to_string()).unwrap_or_default();
    format!("cannot find the address of {host}: {why}")
}

/// Our own channels, and what was offered beside them.
fn specs(offers: &[Offered]) -> Vec<ChannelSpec> {
    let mut specs = vec![ChannelSpec::of::<Chat>(), ChannelSpec::of::<Ping>()];
    for offer in offers {
        specs.retain(|spec| spec.id != offer.name);
        // A process that probes once leaks a few bytes once: versions are static everywhere else.
        let versions = Vec::leak(vec![Version { number: offer.version, codes: 1 }]);
        specs.push(ChannelSpec { id: offer.name, versions, max_bytes: 1 << 20 });
    }
    specs
}

/// Listens whether the peer wants no more of us, then says goodbye.
async fn part(connection: impl Connection) -> Closed {
    let (mut reader, mut writer) = connection.split();
    let refused = timeout(LISTEN, async {
        loop {
            match reader.read().await {
                Ok(Packet::Ping) => {
                    // If it cannot be answered, the next read says why.
                    let _ = writer.write(&Packet::Pong);
                    let _ = writer.flush().await;
                }
                Ok(_) => {}
                Err(closed) => return closed,
            }
        }
    });
    if let Ok(closed) = refused.await {
        return closed;
    }
    let goodbye = async {
        writer.finish(Some(DisconnectReason::Requested)).await?;
        while reader.read().await.is_ok() {}
        Ok::<(), Closed>(())
    };
    let _ = timeout(LISTEN, goodbye).await;
    Closed::local(Layer::Hello, Blame::Nobody, DisconnectReason::Requested, "requested")
}

fn agreed(output: &Output, info: &ConnectionInfo) {
    let shared: Vec<String> =
        info.channels.iter().map(|channel| format!("{}/{}", channel.id, channel.version)).collect();
    let shown = if shared.is_empty() { "none".to_owned() } else { shared.join(", ") };
    output.text(format!("  shared        {shown}"));
    if let Some(network) = &info.network {
        output.text(format!("  network       {}", printable(network)));
    }
    output.object(&json!({
        "event": "agreed", "shared": shared, "network": info.network, "services": info.services,
    }));
}

fn ended(output: &Output, closed: &Closed) {
    let text = match (closed.by, closed.label) {
        (Side::Local, "requested") => "the peer kept the connection, and we said goodbye".into(),
        _ => in_words(closed),
    };
    output.line(format!("ended: {text}"), &ended_object(closed));
}

fn ended_object(closed: &Closed) -> Value {
    json!({
        "event": "ended", "by": closed.by.to_string(), "layer": closed.layer.as_str(),
        "reason": closed.reason.as_str(), "label": closed.label, "detail": closed.detail,
    })
}

/// Prints each stage as it is passed.
struct Stages {
    output: Output,
    state: Mutex<(Instant, Option<Stage>)>,
}

impl Stages {
    #[allow(clippy::disallowed_methods, reason = "a person waits in real time")]
    fn new(output: Output) -> Self {
        Self { output, state: Mutex::new((Instant::now(), None)) }
    }

    fn timed_out(&self, limit: Duration) -> Closed {
        let reached = self.state.lock().unwrap_or_else(PoisonError::into_inner).1;
        let layer = Stage::awaited_layer(reached);
        let what = match layer {
            Layer::Tcp => "nothing accepted the connection",
            Layer::Ecies => "no answer to the encrypted handshake",
            Layer::Hello => "no Hello",
            _ => "no answer after Hello",
        };
        Closed::local(layer, Blame::System, DisconnectReason::TcpError, "timed_out")
            .with_detail(format!("{what} within {limit:?}"))
    }
}

impl Progress for Stages {
    fn reached(&self, stage: Stage) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let took = state.0.elapsed();
        *state = (state.0 + took, Some(stage));
        let millis = took.as_secs_f64() * 1e3;
        self.output.line(
            format!("  {:<7} {millis:>9.3} ms", stage.as_str()),
            &json!({ "event": "stage", "stage": stage.as_str(), "took_us": took.as_micros() }),
        );
    }

    fn hello(&self, client: &str, p2p_version: u32, capabilities: &[Capability]) {
        let names: Vec<String> = capabilities.iter().map(ToString::to_string).collect();
        self.output.text(format!("  client        {}", printable(client)));
        self.output.text(format!("  p2p version   {p2p_version}"));
        self.output.text(format!("  capabilities  {}", printable(&names.join(", "))));
        self.output.object(&hello_object(client, p2p_version, &names));
    }
}

fn hello_object(client: &str, p2p_version: u32, capabilities: &[String]) -> Value {
    json!({ "event": "hello", "client": client, "version": p2p_version, "capabilities": capabilities })
}
