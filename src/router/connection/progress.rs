//! How far an attempt has come, for events and for the words of a timeout.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::event::{Blame, Closed, DisconnectReason, EventKind, Layer, Stage};
use crate::id::NodeId;
use crate::router::Shared;
use crate::router::events::About;
use crate::transport::Progress;

pub(super) struct Trace {
    shared: Arc<Shared>,
    about: About,
    state: Mutex<State>,
}

struct State {
    peer: Option<NodeId>,
    stage: Option<Stage>,
    since: Instant,
}

impl Trace {
    pub(super) fn new(shared: Arc<Shared>, about: About) -> Self {
        let state = State { peer: None, stage: None, since: shared.clock.now() };
        Self { shared, about, state: Mutex::new(state) }
    }

    /// The identity that the handshake has proved, if it came so far.
    pub(super) fn peer(&self) -> Option<NodeId> {
        self.lock().peer
    }

    /// The end of an attempt that took too long, in the layer that it was waiting in.
    pub(super) fn timed_out(&self) -> Closed {
        let layer = Stage::awaited_layer(self.lock().stage);
        let waited_for = match layer {
            Layer::Tcp => "the byte stream",
            Layer::Ecies => "the encrypted handshake",
            Layer::Hello => "Hello",
            _ => "the peer's information",
        };
        Closed::local(layer, Blame::System, DisconnectReason::PingTimeout, "handshake_timeout")
            .with_detail(format!("waited for {waited_for}"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change assigns whole values: a poisoned state is still one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Trace {
    fn reached(&self, stage: Stage) {
        let now = self.shared.clock.now();
        let mut state = self.lock();
        let took = now.saturating_duration_since(state.since);
        state.since = now;
        state.stage = Some(stage);
        let about = About { peer: state.peer.or(self.about.peer), ..self.about };
        drop(state);
        self.shared.events.emit(about, EventKind::Stage { stage, took });
    }

    fn identified(&self, peer: NodeId) {
        self.lock().peer = Some(peer);
    }
}
