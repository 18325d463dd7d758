//! From an attempt to its end: handshake under one deadline, admission, then a reader and a writer.

mod conduct;
mod progress;
mod reader;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;

use super::erased::AnyConnection;
use super::events::About;
use super::manager::Request;
use super::{Closed, ConnId, Direction, DisconnectReason, NodeId, Shared};
use crate::channel::{DropReason, FarEnd, Inbound, Link, LinkChannel, Meter};
use crate::event::{Blame, EventKind, Layer};
use crate::id::ChannelId;
use crate::message::AgreedChannel;
use crate::peer::Introduction;
use crate::rlpx::INFO_CHANNEL;
use crate::transport::{ConnectionInfo, Handshake, PacketReader, PacketWriter};

use self::conduct::Conduct;
use self::progress::Trace;

/// How long a peer may take to read why it is disconnected.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// What a connection's tasks work on.
pub(super) struct Task {
    shared: Arc<Shared>,
    link: Arc<Link>,
    inbounds: Box<[BoundChannel]>,
}

/// An attempt at a connection, before anybody is admitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub(super) conn: ConnId,
    pub(super) direction: Direction,
    /// Whom we dial, or who has proved to be there; `None` as long as an incoming peer is unknown.
    pub(super) peer: Option<NodeId>,
}

impl Attempt {
    pub(super) fn about(self) -> About {
        About { conn: Some(self.conn), peer: self.peer, direction: Some(self.direction) }
    }
}

/// A channel as the reader needs it.
struct BoundChannel {
    id: ChannelId,
    version: u32,
    inbound: Arc<dyn Inbound>,
}

/// Runs one attempt: `connect` under the handshake's deadline. What it becomes is carried by another task until it ends.
///
/// One of the two reports to the peer manager, exactly once, how it ended.
pub(super) async fn run_attempt<F>(
    shared: Arc<Shared>,
    attempt: Attempt,
    connect: impl FnOnce(Handshake) -> F,
) where
    F: Future<Output = Result<Box<dyn AnyConnection>, Closed>>,
{
    let trace = Arc::new(Trace::new(Arc::clone(&shared), attempt.about()));
    let handshake = Handshake { offer: Arc::clone(&shared.offer), progress: Arc::clone(&trace) as _ };
    let connecting = AssertUnwindSafe(connect(handshake)).catch_unwind();
    let connected = tokio::select! {
        biased;
        () = shared.stopping.cancelled() => Err(quitting()),
        connected = shared.clock.timeout(shared.config.handshake_timeout, connecting) => match connected {
            Ok(Ok(connected)) => connected,
            Ok(Err(_panic)) => Err(bug("handshake_panicked")),
            Err(_) => Err(trace.timed_out()),
        },
    };
    match connected {
        Ok(connection) => admit(shared, attempt, connection).await,
        Err(closed) => {
            let attempt = Attempt { peer: trace.peer().or(attempt.peer), ..attempt };
            fail(&shared, attempt, closed).await;
        }
    }
}

/// Reports an attempt that did not become a connection.
async fn fail(shared: &Shared, attempt: Attempt, closed: Closed) {
    shared.events.emit(attempt.about(), EventKind::Failed { closed: closed.clone() });
    give_back(shared, attempt, closed).await;
}

/// Gives the slot of an attempt back to the peer manager.
async fn give_back(shared: &Shared, attempt: Attempt, closed: Closed) {
    let Attempt { conn, direction, .. } = attempt;
    shared.mailbox.tell(Request::Failed { conn, direction, closed }).await;
}

/// Asks the peer manager whether an authenticated peer may stay, and has its packets carried if so.
async fn admit(shared: Arc<Shared>, attempt: Attempt, connection: Box<dyn AnyConnection>) {
    let info = connection.info().clone();
    let attempt = Attempt { peer: Some(info.peer), ..attempt };
    if let Err(closed) = filtered(shared.identity_filter.as_deref(), &info.peer, &IDENTITY_LABELS) {
        return turn_away(&shared, attempt, connection, closed).await;
    }
    let link = Arc::new(new_link(&shared, attempt, info));
    match shared.mailbox.establish(Arc::clone(&link)).await {
        Ok(()) => {
            let inbounds = bound_channels(&shared, &link);
            // In a task of its own: this one is as large as a handshake needs, and would be kept as long as the connection.
            shared.connections.clone().spawn(connection.run(Task { shared, link, inbounds }));
        }
        Err(closed) => turn_away(&shared, attempt, connection, closed).await,
    }
}

/// Tells a peer why it may not stay. It keeps its slot until it is gone, so that those who are turned away are as
/// bounded in number as those who stay.
async fn turn_away(shared: &Shared, attempt: Attempt, connection: Box<dyn AnyConnection>, closed: Closed) {
    shared.events.emit(attempt.about(), EventKind::Failed { closed: closed.clone() });
    // A transport that panics in its farewell has lost the connection all the same.
    let _ = AssertUnwindSafe(connection.refuse(closed.reason, shared.clock)).catch_unwind().await;
    give_back(shared, attempt, closed).await;
}

/// What a filter's refusal and its panic are counted as.
pub(super) struct FilterLabels {
    pub(super) refused: &'static str,
    pub(super) panicked: &'static str,
}

const IDENTITY_LABELS: FilterLabels =
    FilterLabels { refused: "identity_filtered", panicked: "identity_filter_panicked" };

/// Asks the user's filter, if there is one. Its panic ends this connection and nothing else.
pub(super) fn filtered<T>(
    filter: Option<&(dyn Fn(&T) -> bool + Send + Sync)>,
    about: &T,
    labels: &FilterLabels,
) -> Result<(), Closed> {
    let Some(filter) = filter else { return Ok(()) };
    match catch_unwind(AssertUnwindSafe(|| filter(about))) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Closed::local(
            Layer::PeerManager,
            Blame::Incompatible,
            DisconnectReason::Useless,
            labels.refused,
        )),
        Err(_panic) => Err(bug(labels.panicked)),
    }
}

fn new_link(shared: &Shared, attempt: Attempt, info: ConnectionInfo) -> Link {
    let now = shared.clock.now();
    let channels = info.channels.iter().filter_map(|agreed| {
        let inbound = shared.inbounds.iter().find(|inbound| inbound.spec().id == agreed.id)?;
        let flow = inbound.outbound_flow();
        let counters = Arc::clone(inbound.counters());
        let quota = inbound.quota().map(|quota| Mutex::new(Meter::new(quota, now)));
        Some(LinkChannel { id: agreed.id, version: agreed.version, flow, counters, quota })
    });
    let channels: Box<[LinkChannel]> = channels.collect();
    let agreed = channels.iter().map(|channel| AgreedChannel { id: channel.id, version: channel.version });
    let introduction = Introduction {
        channels: agreed.collect(),
        services: info.services.into(),
        capabilities: info.capabilities.into(),
    };
    let far_end = FarEnd {
        peer: info.peer,
        remote: info.remote,
        client: info.client,
        // Whoever has our capability is a node of our kind.
        understands_refusals: introduction.capabilities.iter().any(|has| has.name == INFO_CHANNEL.id),
        introduction,
    };
    Link::new(attempt.conn, attempt.direction, far_end, shared.clock, shared.link_limits, channels)
}

fn bound_channels(shared: &Shared, link: &Link) -> Box<[BoundChannel]> {
    let bind = |inbound: &Arc<dyn Inbound>| {
        let channel = link.channel(inbound.spec().id)?;
        Some(BoundChannel { id: channel.id, version: channel.version, inbound: Arc::clone(inbound) })
    };
    shared.inbounds.iter().filter_map(bind).collect()
}

/// Carries packets until the connection ends, and reports how.
pub(super) async fn run<R: PacketReader, W: PacketWriter>(mut reader: R, writer: W, task: Task) {
    let Task { shared, link, inbounds } = task;
    let writing = {
        let (shared, link) = (Arc::clone(&shared), Arc::clone(&link));
        shared.connections.clone().spawn(async move {
            let writing = AssertUnwindSafe(writer::run(writer, &shared, &link)).catch_unwind();
            if writing.await.is_err() {
                link.close(bug("writer_panicked"));
            }
            link.written();
        })
    };
    let mut conduct = Conduct::new(shared.mailbox.clone(), link.peer(), link.conn);
    let reading = reader::run(&mut reader, &shared, &link, &inbounds, &mut conduct);
    let reading = AssertUnwindSafe(reading).catch_unwind();
    if reading.await.is_err() {
        link.close(bug("reader_panicked"));
    }
    conduct.flush();
    // The writer says farewell; meanwhile and shortly after, what the peer still sends is thrown away, since
    // closing a socket with unread data would reset the stream under the farewell.
    let farewell = async {
        let discard = async { while reader.read().await.is_ok() {} };
        let mut discard = std::pin::pin!(discard);
        tokio::select! {
            biased;
            _ = writing => { let _ = shared.clock.timeout(FAREWELL, discard).await; }
            () = &mut discard => { link.all_written().await; }
        }
    };
    tokio::select! {
        biased;
        () = shared.kill.cancelled() => {}
        () = farewell => {}
    }
    conduct.settle().await;
    finish(&shared, &link).await;
}

async fn finish(shared: &Shared, link: &Link) {
    let closed = link.closed().unwrap_or_else(|| bug("ended_without_reason"));
    let shutting_down = shared.stopping.is_cancelled();
    let lost = link.settle(if shutting_down { DropReason::Shutdown } else { DropReason::Disconnected });
    shared.mailbox.tell(Request::Disconnected { conn: link.conn, closed, lost }).await;
}

/// Our own fault, made visible instead of silent.
pub(super) fn bug(label: &'static str) -> Closed {
    Closed::local(Layer::Node, Blame::Ourselves, DisconnectReason::Requested, label)
}

/// The node shuts down.
pub(super) fn quitting() -> Closed {
    Closed::local(Layer::Node, Blame::Nobody, DisconnectReason::Quitting, "shutdown")
}
