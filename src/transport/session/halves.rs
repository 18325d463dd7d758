//! An established session, whole and in halves.

use std::fmt;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::stream::{Input, Output};
use super::{Decode, Encode};
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::message::{Frame, MAX_PAYLOAD_BYTES, Packet};
use crate::rlpx::{Disconnect, INFO_CHANNEL, Shared, p2p};
use crate::transport::{Connection, ConnectionInfo, PacketReader, PacketWriter};

/// A session with an authenticated peer.
pub struct SessionConnection<R, W, D, E> {
    pub(super) input: Input<R, D>,
    pub(super) output: Output<W, E>,
    pub(super) info: ConnectionInfo,
    pub(super) shared: Shared,
}

impl<R, W, D, E> fmt::Debug for SessionConnection<R, W, D, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionConnection").field("info", &self.info).finish_non_exhaustive()
    }
}

impl<R, W, D, E> Connection for SessionConnection<R, W, D, E>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
    D: Decode,
    E: Encode,
{
    type Reader = SessionReader<R, D>;
    type Writer = SessionWriter<W, E>;

    fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    fn split(self) -> (Self::Reader, Self::Writer) {
        let shared = Arc::new(self.shared);
        let reader = SessionReader { input: self.input, shared: Arc::clone(&shared) };
        (reader, SessionWriter { output: self.output, shared })
    }
}

/// The reading half of a session.
pub struct SessionReader<R, D> {
    input: Input<R, D>,
    shared: Arc<Shared>,
}

impl<R, D> fmt::Debug for SessionReader<R, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionReader").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl<R, D> PacketReader for SessionReader<R, D>
where
    R: AsyncRead + Unpin + Send + 'static,
    D: Decode,
{
    async fn read(&mut self) -> Result<Packet, Closed> {
        let shared = &self.shared;
        let (id, payload) = self.input.next(|id| shared.max_payload(id)).await?;
        match id {
            p2p::DISCONNECT => return Err(Closed::remote(Disconnect::decode(&payload))),
            p2p::PING => return Ok(Packet::Ping),
            p2p::PONG => return Ok(Packet::Pong),
            _ => {}
        }
        match shared.from_wire(id) {
            Some(found) if found.channel != INFO_CHANNEL.id => {
                Ok(Packet::Frame(Frame { channel: found.channel, code: found.code, payload }))
            }
            // The codec has refused the ids of no block; what is left is a second Info.
            _ => Err(Closed::local(
                Layer::Capability,
                Blame::Protocol,
                DisconnectReason::Breach,
                "second_info",
            )),
        }
    }
}

/// The writing half of a session.
pub struct SessionWriter<W, E> {
    output: Output<W, E>,
    shared: Arc<Shared>,
}

impl<W, E> fmt::Debug for SessionWriter<W, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionWriter").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl<W, E> PacketWriter for SessionWriter<W, E>
where
    W: AsyncWrite + Unpin + Send + 'static,
    E: Encode,
{
    fn write(&mut self, packet: &Packet) -> Result<(), Closed> {
        match packet {
            Packet::Frame(frame) => {
                let refuse = |label| {
                    Closed::local(Layer::Channel, Blame::Ourselves, DisconnectReason::Subprotocol, label)
                };
                let channel = self.shared.channel(frame.channel);
                let channel = channel.ok_or_else(|| refuse("channel_not_shared"))?;
                let id = channel.to_wire(frame.code).ok_or_else(|| refuse("code_not_shared"))?;
                // The peer would refuse it, and us with it.
                let (found, limit) = (frame.payload.len(), channel.max_bytes.min(MAX_PAYLOAD_BYTES));
                if found > limit {
                    let fault = refuse("message_too_large");
                    return Err(fault.with_detail(format!("{found} bytes, the limit is {limit}")));
                }
                self.output.put(id, &frame.payload)
            }
            Packet::Ping => self.output.put(p2p::PING, &p2p::PING_PAYLOAD),
            Packet::Pong => self.output.put(p2p::PONG, &p2p::PING_PAYLOAD),
        }
    }

    fn buffered_bytes(&self) -> usize {
        self.output.buffered_bytes()
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        self.output.flush().await
    }

    async fn finish(&mut self, reason: Option<DisconnectReason>) -> Result<(), Closed> {
        self.output.finish(reason).await
    }
}
