//! A message and its payloads, one for each version of the protocol in use.

use bytes::{Bytes, BytesMut};

use crate::message::{Message, Refusal};

/// Encodes a message at most once for each version.
pub(super) struct Encoder<'a, M> {
    pub(super) message: &'a M,
    /// Nearly always the only one.
    first: Option<(u32, Result<Bytes, Refusal>)>,
    others: Vec<(u32, Result<Bytes, Refusal>)>,
}

impl<'a, M: Message> Encoder<'a, M> {
    pub(super) fn new(message: &'a M) -> Self {
        Self { message, first: None, others: Vec::new() }
    }

    pub(super) fn payload(&mut self, version: u32) -> Result<Bytes, Refusal> {
        let mut encoded = self.first.iter().chain(&self.others);
        if let Some((_, payload)) = encoded.find(|(known, _)| *known == version) {
            return payload.clone();
        }
        let mut out = BytesMut::new();
        self.message.encode(version, &mut out);
        let payload = match out.len() {
            bytes if bytes > M::MAX_BYTES => Err(Refusal::TooLarge { bytes, limit: M::MAX_BYTES }),
            _ => Ok(out.freeze()),
        };
        match &self.first {
            None => self.first = Some((version, payload.clone())),
            Some(_) => self.others.push((version, payload.clone())),
        }
        payload
    }
}
