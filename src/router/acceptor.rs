//! Accepts what a transport brings, for as long as the node runs.

use std::sync::Arc;
use std::time::Duration;

use super::connection::{Attempt, FilterLabels, filtered, run_attempt};
use super::erased::{AnyIncoming, AnyTransport};
use super::events::About;
use super::{AcceptError, Direction, Shared};
use crate::event::EventKind;

/// First and longest pause after the system failed to accept.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

const ADDRESS_LABELS: FilterLabels =
    FilterLabels { refused: "address_filtered", panicked: "address_filter_panicked" };

/// Accepts until the transport is closed. No error ends it: after one it pauses, longer each time.
pub(super) async fn run(shared: Arc<Shared>, transport_index: usize) {
    let Some(transport) = shared.transports.get(transport_index) else { return };
    let mut pause = PAUSE.0;
    while let Some(accepted) = next(&shared, transport.as_ref()).await {
        match accepted {
            Ok(incoming) => {
                pause = PAUSE.0;
                on_incoming(&shared, incoming).await;
            }
            Err(error) => {
                shared.events.emit(About::default(), EventKind::AcceptFailed { error: error.to_string() });
                tokio::select! {
                    biased;
                    () = shared.stopping.cancelled() => return,
                    () = shared.clock.sleep(pause) => {}
                }
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

async fn next(
    shared: &Shared,
    transport: &dyn AnyTransport,
) -> Option<Result<Box<dyn AnyIncoming>, AcceptError>> {
    tokio::select! {
        biased;
        () = shared.stopping.cancelled() => None,
        accepted = transport.accept() => match accepted {
            Err(AcceptError::Closed) => None,
            accepted => Some(accepted),
        },
    }
}

/// Checks what costs nothing, asks for a slot, and lets the handshake run in a task of its own.
async fn on_incoming(shared: &Arc<Shared>, incoming: Box<dyn AnyIncoming>) {
    let endpoint = incoming.remote();
    let direction = Direction::Inbound;
    let admitted = match filtered(shared.address_filter.as_deref(), &endpoint, &ADDRESS_LABELS) {
        Ok(()) => shared.mailbox.incoming(endpoint.clone()).await,
        Err(closed) => Err(closed),
    };
    match admitted {
        Ok(conn) => {
            let attempt = Attempt { conn, direction, peer: None };
            shared.events.emit(attempt.about(), EventKind::Incoming { endpoint });
            let task = run_attempt(Arc::clone(shared), attempt, |handshake| incoming.handshake(handshake));
            shared.connections.spawn(task);
        }
        // Nothing was proved yet, so nothing is said: the stream is simply closed.
        Err(closed) => {
            let about = About { direction: Some(direction), ..About::default() };
            shared.events.emit(about, EventKind::Failed { closed });
        }
    }
}
