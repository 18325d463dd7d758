//! Bytes that a peer may send, against the whole RLPx core.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/rlpx_bytes.rs"]
mod rlpx_bytes;

fuzz_target!(|bytes: &[u8]| rlpx_bytes::drive(bytes));
