//! Integration tests: one binary, one module for each subject.

mod rlpx_bytes;
mod rlpx_corpus;
