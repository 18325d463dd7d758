//! Any bytes as a store's file, and any operations on a store that crashes, beside a plain map.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/store/drive.rs"]
mod drive;

fuzz_target!(|bytes: &[u8]| drive::drive(bytes));
