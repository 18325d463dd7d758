//! Messages on a plain stream: a big-endian length of four bytes, the message id, the payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Decode, Encode};
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::message::MAX_PAYLOAD_BYTES;

/// Length prefix and message id.
const HEADER_BYTES: usize = 5;

/// From this size on a payload is taken out of the read buffer without a copy.
const SPLIT_FROM_BYTES: usize = 16 * 1024;

/// Writes plain messages.
#[derive(Debug)]
pub struct PlainEncoder;

impl Encode for PlainEncoder {
    fn encode(&mut self, id: u8, payload: &[u8], out: &mut BytesMut) -> Result<(), Closed> {
        let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD_BYTES);
        let length = length.ok_or_else(|| {
            too_large("message_too_large", payload.len(), MAX_PAYLOAD_BYTES, Blame::Ourselves)
        })?;
        out.reserve(HEADER_BYTES + payload.len());
        out.put_u32(length);
        out.put_u8(id);
        out.put_slice(payload);
        Ok(())
    }

    fn hello_done(&mut self, _p2p_version: u32) {}
}

/// Reads plain messages.
#[derive(Debug)]
pub struct PlainDecoder;

impl Decode for PlainDecoder {
    fn decode(
        &mut self,
        input: &mut BytesMut,
        max_payload: impl Fn(u8) -> Option<usize>,
    ) -> Result<Option<(u8, Bytes)>, Closed> {
        let Some(&[a, b, c, d, id]) = input.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(limit) = max_payload(id) else {
            return Err(Closed::local(
                Layer::Capability,
                Blame::Protocol,
                DisconnectReason::Breach,
                "unknown_message_id",
            )
            .with_detail(format!("message id 0x{id:02x}")));
        };
        if length > limit {
            return Err(too_large("payload_too_large", length, limit, Blame::Protocol));
        }
        if input.len() < HEADER_BYTES + length {
            // The buffer grows with what arrives, not with what is announced.
            return Ok(None);
        }
        input.advance(HEADER_BYTES);
        // A small payload is copied out, lest it keep the whole read buffer alive for as long as it queues.
        let payload = if length < SPLIT_FROM_BYTES {
            let copy = Bytes::copy_from_slice(&input[..length]);
            input.advance(length);
            copy
        } else {
            input.split_to(length).freeze()
        };
        Ok(Some((id, payload)))
    }

    fn hello_done(&mut self, _p2p_version: u32) {}

    // The id stands in front of the length's payload, so each payload meets its own limit at once.
    fn agreed(&mut self, _largest_payload_bytes: usize) {}
}

/// With the labels that RLPx gives to the same faults.
fn too_large(label: &'static str, found: usize, limit: usize, blame: Blame) -> Closed {
    Closed::local(Layer::Frame, blame, DisconnectReason::Breach, label)
        .with_detail(format!("{found} bytes, the limit is {limit}"))
}
