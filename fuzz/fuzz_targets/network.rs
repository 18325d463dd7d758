//! Any operations on a simulated network of whole nodes, and what must hold of it.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/network/drive/mod.rs"]
mod drive;

fuzz_target!(|bytes: &[u8]| drive::drive(bytes));
