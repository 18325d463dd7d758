//! Peerage: an actor-based peer-to-peer router.

pub mod address;
pub mod event;
pub mod id;
pub mod message;
pub mod peer;
pub mod queue;
pub mod rlpx;

pub use address::NodeAddress;
pub use id::{NodeId, NodeKey};
pub use message::Message;
