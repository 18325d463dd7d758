//! RLPx frames as the session's codec.

use bytes::{Bytes, BytesMut};

use crate::event::{Closed, Fault};
use crate::rlpx::{Decoder, Encoder, FIRST_FRAME_BYTES, Secrets, frame_limit};
use crate::transport::session::{Decode, Encode};

/// The first version of `p2p` that compresses (EIP-706).
const SNAPPY_SINCE: u32 = 5;

/// Seals messages into frames.
#[derive(Debug)]
pub struct RlpxEncoder(Encoder);

/// Opens frames.
#[derive(Debug)]
pub struct RlpxDecoder(Decoder);

pub(super) fn new(secrets: Secrets) -> (RlpxEncoder, RlpxDecoder) {
    let (sealer, opener) = secrets.into_codec(FIRST_FRAME_BYTES);
    (RlpxEncoder(Encoder::new(sealer)), RlpxDecoder(Decoder::new(opener)))
}

impl Encode for RlpxEncoder {
    fn encode(&mut self, id: u8, payload: &[u8], out: &mut BytesMut) -> Result<(), Closed> {
        self.0.encode(id, payload, out).map_err(|error| error.closed())
    }

    fn hello_done(&mut self, p2p_version: u32) {
        if p2p_version >= SNAPPY_SINCE {
            self.0.enable_snappy();
        }
    }
}

impl Decode for RlpxDecoder {
    fn decode(
        &mut self,
        input: &mut BytesMut,
        max_payload: impl Fn(u8) -> Option<usize>,
    ) -> Result<Option<(u8, Bytes)>, Closed> {
        self.0.decode(input, max_payload).map_err(|error| error.closed())
    }

    fn hello_done(&mut self, p2p_version: u32) {
        // The peer is still a stranger, and what it sends until it is none is as small as Hello.
        self.0.set_max_frame_bytes(frame_limit(FIRST_FRAME_BYTES));
        if p2p_version >= SNAPPY_SINCE {
            self.0.enable_snappy();
        }
    }

    fn agreed(&mut self, largest_payload_bytes: usize) {
        // A frame is buffered whole before its id is known: it must not exceed what any shared channel allows.
        self.0.set_max_frame_bytes(frame_limit(largest_payload_bytes));
    }
}
