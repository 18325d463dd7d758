//! The integration tests, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "where a test cannot go on, it fails"
)]

mod router;
mod tidy;
