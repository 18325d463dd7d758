//! Turns a decision to dial into an attempt.

use std::sync::Arc;

use super::connection::{Attempt, run_attempt};
use super::erased::AnyConnection;
use super::{Closed, Direction, DisconnectReason, Shared};
use crate::event::{Blame, EventKind, Layer, Side};
use crate::peer::Dial;
use crate::transport::{Handshake, Target};

/// Most endpoints tried for one address.
const MAX_ENDPOINTS: usize = 8;

/// Begins an attempt, in a task of its own: a slow peer delays no other.
pub(super) fn spawn(shared: &Arc<Shared>, dial: Dial) {
    let attempt = Attempt { conn: dial.conn, direction: Direction::Outbound, peer: Some(dial.address.id()) };
    let shared = Arc::clone(shared);
    shared.connections.clone().spawn(async move {
        let dialling = Arc::clone(&shared);
        run_attempt(shared, attempt, |handshake| connect(dialling, attempt, dial, handshake)).await;
    });
}

/// Tries each endpoint of the address in turn, all under the one deadline of the attempt.
async fn connect(
    shared: Arc<Shared>,
    attempt: Attempt,
    Dial { address, because, .. }: Dial,
    handshake: Handshake,
) -> Result<Box<dyn AnyConnection>, Closed> {
    let protocol = address.protocol();
    let transport = shared.transports.iter().find(|transport| transport.protocol() == protocol);
    let transport = transport.ok_or_else(|| {
        Closed::local(Layer::Node, Blame::Ourselves, DisconnectReason::Requested, "no_transport")
            .with_detail(format!("no transport dials {protocol} addresses"))
    })?;
    let endpoints = match shared.resolver.resolve(&address).await {
        Ok(endpoints) => endpoints,
        Err(error) => return Err(unresolved(error.to_string())),
    };
    let mut last = unresolved(format!("{address} has no endpoint"));
    for endpoint in endpoints.into_iter().take(MAX_ENDPOINTS) {
        shared.events.emit(attempt.about(), EventKind::Dialing { endpoint: endpoint.clone(), because });
        let target = Target { id: address.id(), endpoint };
        match transport.dial(target, handshake.clone()).await {
            Ok(connection) => return Ok(connection),
            // Only a stream that never stood is worth another try elsewhere: whoever answered has answered.
            Err(closed) if closed.layer == Layer::Tcp => last = closed,
            Err(closed) => return Err(closed),
        }
    }
    Err(last)
}

fn unresolved(detail: String) -> Closed {
    Closed { by: Side::Local, ..Closed::stream("unresolved", detail) }
}
