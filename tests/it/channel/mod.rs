//! Channels: what they promise, on whole nodes.

mod qos;
