//! The life of a running node, and its ordered end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{FAREWELL, quitting};
use super::events::About;
use super::{Router, Shared, acceptor};
use crate::address::BoxFuture;
use crate::event::EventKind;

/// What a shutdown did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Connections that were up when the shutdown began.
    pub connections: usize,
    /// Messages that were queued for them then.
    pub queued: u64,
    /// How many of those were written.
    pub drained: u64,
    /// How many were dropped, each also counted at its channel.
    pub dropped: u64,
    /// Whether every task ended by itself within its time.
    pub clean: bool,
    /// How long the shutdown took.
    pub took: Duration,
}

/// Runs the node from start to end.
pub(super) async fn run(router: Router) -> Report {
    let Router { shared, actor, reactors } = router;
    let acceptors = TaskTracker::new();
    for (index, transport) in shared.transports.iter().enumerate() {
        for endpoint in transport.local_endpoints() {
            shared.events.emit(About::default(), EventKind::Listening { endpoint });
        }
        acceptors.spawn(acceptor::run(Arc::clone(&shared), index));
    }
    let finish = CancellationToken::new();
    let manager = TaskTracker::new();
    let deciding = manager.spawn(actor.run(Arc::clone(&shared), finish.clone()));
    let (supervised, stop_reactors) = (TaskTracker::new(), CancellationToken::new());
    for (name, reactor) in reactors {
        supervised.spawn(supervise(Arc::clone(&shared), name, reactor, stop_reactors.clone()));
    }

    shared.stopping.cancelled().await;
    let began = Instant::now();
    shared.events.emit(About::default(), EventKind::ShuttingDown);
    acceptors.close();
    acceptors.wait().await;
    shared.transports.iter().for_each(|transport| transport.close());
    let (connections, queued) = drain(&shared, began);

    shared.connections.close();
    // The writers keep the drain deadline themselves. After it they have one time for their farewells, and the
    // readers another to see the peer close; whoever takes longer than both is ended.
    let deadline = began + shared.config.drain_timeout + FAREWELL * 3;
    let mut clean = timeout_at(deadline, shared.connections.wait()).await.is_ok();
    shared.kill.cancel();
    shared.connections.wait().await;
    finish.cancel();
    let tally = deciding.await.unwrap_or_default();

    shared.updates.close();
    shared.inbounds.iter().for_each(|inbound| inbound.close());
    supervised.close();
    let deadline = Instant::now() + shared.config.drain_timeout;
    clean &= timeout_at(deadline, supervised.wait()).await.is_ok();
    stop_reactors.cancel();
    supervised.wait().await;
    let dropped = tally.lost.min(queued);
    Report { connections, queued, drained: queued - dropped, dropped, clean, took: began.elapsed() }
}

/// Refuses sends, and lets every connection write what it has until the deadline.
fn drain(shared: &Shared, began: Instant) -> (usize, u64) {
    let links = shared.registry.seal();
    let until = (began + shared.config.drain_timeout).into_std();
    let mut queued = 0;
    for link in links.iter() {
        link.close_after_drain(quitting(), until);
        queued += link.unwritten();
    }
    (links.len(), queued)
}

/// Runs a reactor; its panic is an event, and ends nothing but itself.
async fn supervise(
    shared: Arc<Shared>,
    reactor: String,
    work: BoxFuture<'static, ()>,
    stop: CancellationToken,
) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        ended = AssertUnwindSafe(work).catch_unwind() => {
            if ended.is_err() {
                shared.events.emit(About::default(), EventKind::ReactorPanicked { reactor });
            }
        }
    }
}
