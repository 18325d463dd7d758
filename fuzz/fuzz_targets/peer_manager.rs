//! Any operations on the peer manager, beside its model.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use peerage::peer::model::drive_bytes;

fuzz_target!(|bytes: &[u8]| drop(drive_bytes(Instant::now(), bytes)));
