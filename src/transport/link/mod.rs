//! Lines with a latency and a rate between the nodes of one process.
//!
//! A `Line` is one direction of a connection: synchronous, told the time, it says what may be written and read now, and
//! when to ask again. A [`LinkStream`] is one end of two lines; it does the locking, waking and waiting. A
//! [`LinkHandle`] breaks a link, or cuts one of its directions and heals it.

mod config;
mod jitter;
mod line;
mod stream;
#[cfg_attr(
    not(any(feature = "sim", test)),
    allow(dead_code, reason = "simulations alone have so many links")
)]
mod timetable;

pub use config::{LinkConfig, LinkConfigError, PIPE_BYTES};
#[cfg(any(feature = "sim", test))]
pub(crate) use stream::pair_by;
pub use stream::{LinkHandle, LinkReader, LinkStream, LinkWriter, pair};
#[cfg(feature = "sim")]
pub(crate) use timetable::Timetable;

use line::{Line, Turn};
