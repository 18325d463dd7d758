//! Stamps events and hands them to the observers.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::channel::Clock;
use crate::event::{Event, EventKind, Layer, Misbehaviour, Observer};
use crate::id::{ConnId, Direction, NodeId};

/// What an event is about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct About {
    pub(super) conn: Option<ConnId>,
    pub(super) peer: Option<NodeId>,
    pub(super) direction: Option<Direction>,
}

/// How many connections and attempts ended, by the layer in which and the cause for which they did.
pub type Ends = BTreeMap<(Layer, &'static str), u64>;

/// The node's stream of events.
pub(super) struct Events {
    clock: Clock,
    started: Instant,
    observers: Vec<Box<dyn Observer>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seq: u64,
    ends: Ends,
    misbehaviour: BTreeMap<Misbehaviour, u64>,
}

impl Events {
    pub(super) fn new(observers: Vec<Box<dyn Observer>>, clock: Clock) -> Self {
        Self { clock, started: clock.now(), observers, state: Mutex::default() }
    }

    /// Records an event. Observers are called in order, one event at a time.
    pub(super) fn emit(&self, about: About, kind: EventKind) {
        let mut state = self.lock();
        state.seq += 1;
        match &kind {
            EventKind::Failed { closed } | EventKind::Down { closed } => {
                *state.ends.entry((closed.layer, closed.label)).or_default() += 1;
            }
            EventKind::Misbehaved { what, count, .. } => {
                *state.misbehaviour.entry(*what).or_default() += u64::from(*count);
            }
            _ => {}
        }
        if self.observers.is_empty() {
            return;
        }
        let About { conn, peer, direction } = about;
        let at = self.clock.now().saturating_duration_since(self.started);
        let event = Event { seq: state.seq, at, conn, peer, direction, kind };
        for observer in &self.observers {
            // Its panic ends neither the task that has something to tell nor the observers after it.
            let _ = catch_unwind(AssertUnwindSafe(|| observer.observe(&event)));
        }
    }

    pub(super) fn ends(&self) -> Ends {
        self.lock().ends.clone()
    }

    pub(super) fn misbehaviour(&self) -> Vec<(Misbehaviour, u64)> {
        self.lock().misbehaviour.iter().map(|(what, count)| (*what, *count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panicking observer leaves the counters whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
