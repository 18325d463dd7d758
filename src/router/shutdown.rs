//! The life of a running node, and its ordered end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{AbortHandle, Abortable, Aborted};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{FAREWELL, quitting};
use super::events::About;
use super::{Router, Shared, acceptor};
use crate::address::BoxFuture;
use crate::event::EventKind;
use crate::peer::StoreError;

/// What a shutdown did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Connections that were up when the shutdown began.
    pub connections: usize,
    /// Messages that were queued for them then.
    pub queued: u64,
    /// How many of those were written.
    pub drained: u64,
    /// How many were dropped, each also counted at its channel.
    pub dropped: u64,
    /// Whether every task ended by itself within its time, no reactor ever panicked, and the store was closed with all
    /// that it was given.
    pub clean: bool,
    /// The reactors that panicked, whenever that was, in the order of their declaration.
    pub panicked: Vec<String>,
    /// The reactors that had not returned in time and were dropped, in the order of their declaration.
    pub unfinished: Vec<String>,
    /// Why the store of peers could not be closed in order, and how many records may be lost.
    pub store: Option<StoreError>,
    /// How long the shutdown took.
    pub took: Duration,
}

/// Ends whatever is left of a node when it is dropped, so that neither a run that is dropped nor a router that
/// never runs leaves a task alive or a reactor waiting. After an ordered shutdown it finds nothing to do.
pub(super) struct Ending {
    shared: Arc<Shared>,
    /// The peer manager has nothing more to hear.
    finish: CancellationToken,
    stop_reactors: Vec<AbortHandle>,
}

impl Ending {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, finish: CancellationToken::new(), stop_reactors: Vec::new() }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Self { shared, finish, stop_reactors } = self;
        shared.stopping.cancel();
        shared.transports.iter().for_each(|transport| transport.close());
        for link in shared.registry.seal().iter() {
            link.close(quitting());
        }
        shared.kill.cancel();
        finish.cancel();
        shared.updates.close();
        shared.inbounds.iter().for_each(|inbound| inbound.close());
        stop_reactors.iter().for_each(AbortHandle::abort);
    }
}

/// Runs the node from start to end.
pub(super) async fn run(router: Router) -> Report {
    let Router { shared, actor, reactors, mut ending } = router;
    let acceptors = TaskTracker::new();
    for (index, transport) in shared.transports.iter().enumerate() {
        for endpoint in transport.local_endpoints() {
            shared.events.emit(About::default(), EventKind::Listening { endpoint });
        }
        acceptors.spawn(acceptor::run(Arc::clone(&shared), index));
    }
    let manager = TaskTracker::new();
    let deciding = manager.spawn({
        // Without its peer manager, which only a bug or a store that panics can end, a node decides nothing more.
        let stop = shared.stopping.clone().drop_guard();
        let deciding = actor.run(Arc::clone(&shared), ending.finish.clone());
        async move {
            let _stop = stop;
            deciding.await
        }
    });
    let supervised = TaskTracker::new();
    let mut watched = Vec::with_capacity(reactors.len());
    for (name, reactor) in reactors {
        let (stop, stopped) = AbortHandle::new_pair();
        ending.stop_reactors.push(stop);
        let work = supervise(Arc::clone(&shared), name.clone(), Abortable::new(reactor, stopped));
        watched.push((name, supervised.spawn(work)));
    }

    shared.stopping.cancelled().await;
    let (clock, began) = (shared.clock, shared.clock.now());
    shared.events.emit(About::default(), EventKind::ShuttingDown);
    acceptors.close();
    acceptors.wait().await;
    shared.transports.iter().for_each(|transport| transport.close());
    let (connections, queued) = drain(&shared, began);

    shared.connections.close();
    // The writers keep the drain deadline themselves. After it they have one time for their farewells, and the
    // readers another to see the peer close; whoever takes longer than both is ended.
    let deadline = began + shared.config.drain_timeout + FAREWELL * 3;
    let mut clean = clock.timeout_at(deadline, shared.connections.wait()).await.is_ok();
    shared.kill.cancel();
    shared.connections.wait().await;
    ending.finish.cancel();
    let decided = deciding.await;
    clean &= decided.is_ok();
    let tally = decided.unwrap_or_default();
    clean &= tally.store.is_none();

    shared.updates.close();
    shared.inbounds.iter().for_each(|inbound| inbound.close());
    supervised.close();
    // Those that have not ended say so below.
    let _ = clock.timeout(shared.config.drain_timeout, supervised.wait()).await;
    ending.stop_reactors.iter().for_each(AbortHandle::abort);
    let (panicked, unfinished) = failures(watched).await;
    clean &= panicked.is_empty() && unfinished.is_empty();
    let dropped = tally.lost.min(queued);
    let (drained, took) = (queued - dropped, clock.now().saturating_duration_since(began));
    Report { connections, queued, drained, dropped, clean, panicked, unfinished, store: tally.store, took }
}

/// How a reactor came to its end.
enum End {
    Returned,
    Panicked,
    Stopped,
}

/// Waits for the reactors' ends; the names of those that panicked, and of those that had to be stopped.
async fn failures(watched: Vec<(String, JoinHandle<End>)>) -> (Vec<String>, Vec<String>) {
    let (mut panicked, mut unfinished) = (Vec::new(), Vec::new());
    for (name, reactor) in watched {
        match reactor.await {
            Ok(End::Returned) => {}
            // A reactor that panics once more while it is dropped fails its task.
            Ok(End::Panicked) | Err(_) => panicked.push(name),
            Ok(End::Stopped) => unfinished.push(name),
        }
    }
    (panicked, unfinished)
}

/// Refuses sends, and lets every connection write what it has until the deadline.
fn drain(shared: &Shared, began: Instant) -> (usize, u64) {
    let links = shared.registry.seal();
    let until = began + shared.config.drain_timeout;
    let mut queued = 0;
    for link in links.iter() {
        link.close_after_drain(quitting(), until);
        queued += link.unwritten();
    }
    (links.len(), queued)
}

/// Runs a reactor; its panic is an event, and ends nothing but itself.
async fn supervise(shared: Arc<Shared>, reactor: String, work: Abortable<BoxFuture<'static, ()>>) -> End {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(())) => End::Returned,
        Ok(Err(Aborted)) => End::Stopped,
        Err(_panic) => {
            shared.events.emit(About::default(), EventKind::ReactorPanicked { reactor });
            End::Panicked
        }
    }
}
