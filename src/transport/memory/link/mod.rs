//! Lines with a latency and a rate between the nodes of one process.
//!
//! A [`Line`] is one direction of a connection: synchronous, told the time, it says what may be written and read
//! now, and when to ask again. A [`LinkStream`] is one end of two lines; it does the locking, waking and waiting.
//! What a simulator adds later (loss of the line, delay that varies) changes when bytes leave and arrive, and so
//! belongs into [`Line`].

mod config;
mod line;
mod stream;

pub use config::{LinkConfig, LinkConfigError};
pub(super) use stream::{LinkStream, link};

use line::{Line, Turn};
