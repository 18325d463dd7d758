//! The actor that owns the peer manager.
//!
//! It is the one place where decisions are made and the one task that owns the state machine. Everybody else
//! tells it what happened ([`Request`]) through a bounded mailbox and never holds a lock on it. Its handlers
//! are synchronous; it waits only for its mailbox and for the time that the machine names.

mod actor;
mod ingress;
mod operating;

pub(super) use actor::ManagerActor;
pub(super) use ingress::{Command, Mailbox, Request};
