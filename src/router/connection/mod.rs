//! From an attempt to its end: handshake under one deadline, admission, then a reader and a writer.

mod progress;
mod reader;
mod writer;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::timeout;

use super::erased::AnyConnection;
use super::events::About;
use super::manager::Request;
use super::{Closed, ConnId, Direction, DisconnectReason, NodeId, Shared};
use crate::channel::{DropReason, FarEnd, Inbound, Link, LinkChannel};
use crate::event::{Blame, EventKind, Layer};
use crate::id::ChannelId;
use crate::transport::{ConnectionInfo, Handshake, PacketReader, PacketWriter};

use self::progress::Trace;

/// How long a peer may take to read why it is disconnected.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// What a connection's tasks work on.
pub(super) struct Task {
    shared: Arc<Shared>,
    link: Arc<Link>,
    inbounds: Vec<BoundChannel>,
}

/// A channel as the reader needs it.
struct BoundChannel {
    id: ChannelId,
    version: u32,
    inbound: Arc<dyn Inbound>,
}

/// Runs one attempt: `connect` under the handshake's deadline, and then the connection until it ends.
///
/// Reports to the peer manager exactly once how it ended.
pub(super) async fn attempt<F>(shared: Arc<Shared>, about: About, connect: impl FnOnce(Handshake) -> F)
where
    F: Future<Output = Result<Box<dyn AnyConnection>, Closed>>,
{
    let (Some(conn), Some(direction)) = (about.conn, about.direction) else { return };
    let trace = Arc::new(Trace::new(Arc::clone(&shared), about));
    let handshake = Handshake { offer: Arc::clone(&shared.offer), progress: Arc::clone(&trace) as _ };
    let connecting = AssertUnwindSafe(connect(handshake)).catch_unwind();
    let connected = tokio::select! {
        biased;
        () = shared.stopping.cancelled() => Err(quitting()),
        connected = timeout(shared.config.handshake_timeout, connecting) => match connected {
            Ok(Ok(connected)) => connected,
            Ok(Err(_panic)) => Err(bug("handshake_panicked")),
            Err(_) => Err(trace.timed_out()),
        },
    };
    let about = About { peer: trace.peer().or(about.peer), ..about };
    match connected {
        Ok(connection) => admit(shared, conn, direction, connection).await,
        Err(closed) => fail(&shared, about, closed).await,
    }
}

/// Reports an attempt that did not become a connection.
async fn fail(shared: &Shared, about: About, closed: Closed) {
    let (Some(conn), Some(direction)) = (about.conn, about.direction) else { return };
    shared.events.emit(about, EventKind::Failed { closed: closed.clone() });
    shared.mailbox.tell(Request::Failed { conn, direction, closed }).await;
}

/// Asks the peer manager whether an authenticated peer may stay, and carries its packets if so.
async fn admit(shared: Arc<Shared>, conn: ConnId, direction: Direction, connection: Box<dyn AnyConnection>) {
    let info = connection.info().clone();
    let about = About { conn: Some(conn), peer: Some(info.peer), direction: Some(direction) };
    if let Err(closed) = filter(&shared, &info.peer) {
        fail(&shared, about, closed.clone()).await;
        return connection.refuse(closed.reason).await;
    }
    let link = Arc::new(new_link(&shared, conn, direction, info));
    match shared.mailbox.establish(Arc::clone(&link)).await {
        Ok(()) => {
            let inbounds = bound_channels(&shared, &link);
            connection.run(Task { shared, link, inbounds }).await;
        }
        Err(closed) => {
            shared.events.emit(about, EventKind::Failed { closed: closed.clone() });
            connection.refuse(closed.reason).await;
        }
    }
}

/// Asks the user's filter, whose panic ends this connection and nothing else.
fn filter(shared: &Shared, peer: &NodeId) -> Result<(), Closed> {
    let Some(filter) = &shared.identity_filter else { return Ok(()) };
    match std::panic::catch_unwind(AssertUnwindSafe(|| filter(peer))) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Closed::local(
            Layer::PeerManager,
            Blame::Incompatible,
            DisconnectReason::Useless,
            "identity_filtered",
        )),
        Err(_panic) => Err(bug("identity_filter_panicked")),
    }
}

fn new_link(shared: &Shared, conn: ConnId, direction: Direction, info: ConnectionInfo) -> Link {
    let channels = info.channels.iter().filter_map(|agreed| {
        let inbound = shared.inbounds.iter().find(|inbound| inbound.spec().id == agreed.id)?;
        let flow = inbound.outbound_flow();
        let counters = Arc::clone(inbound.counters());
        Some(LinkChannel { id: agreed.id, version: agreed.version, flow, counters })
    });
    let channels = channels.collect();
    let far_end = FarEnd { peer: info.peer, remote: info.remote, client: info.client };
    Link::new(conn, direction, far_end, shared.peer_queue, channels)
}

fn bound_channels(shared: &Shared, link: &Link) -> Vec<BoundChannel> {
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
    let reading = AssertUnwindSafe(reader::run(&mut reader, &shared, &link, &inbounds)).catch_unwind();
    if reading.await.is_err() {
        link.close(bug("reader_panicked"));
    }
    // The writer says farewell; meanwhile and shortly after, what the peer still sends is thrown away, since
    // closing a socket with unread data would reset the stream under the farewell.
    let farewell = async {
        let discard = async { while reader.read().await.is_ok() {} };
        let mut discard = std::pin::pin!(discard);
        tokio::select! {
            biased;
            _ = writing => { let _ = timeout(FAREWELL, discard).await; }
            () = &mut discard => { link.all_written().await; }
        }
    };
    tokio::select! {
        biased;
        () = shared.kill.cancelled() => {}
        () = farewell => {}
    }
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
