//! Reactors of our own, small enough to learn from.
//!
//! A reactor is an async function that owns a [`Channel`](crate::channel::Channel) and reads
//! [`PeerUpdates`](crate::channel::PeerUpdates). It knows no sockets, handshakes or addresses. [`ping`]
//! asks and answers; [`chat`] floods with de-duplication. Neither is run unless it is declared on the
//! [builder](crate::router::Builder).

pub mod chat;
pub mod ping;
