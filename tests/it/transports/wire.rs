//! A peer that speaks for itself: what it says is up to the case, and need not be allowed.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use peerage::event::DisconnectReason;
use peerage::message::MAX_PAYLOAD_BYTES;
use peerage::rlpx::{
    Capability, Decoder, Disconnect, Encoder, Entropy, Hello, INFO_CHANNEL, Info, Initiator, MAX_FRAME_BYTES,
    Secrets, p2p, packet_len,
};
use peerage::{NodeId, NodeKey};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{TRIAL, TRIAL_SPEC};

/// The message id of `peer/1`, which sorts before `trial/1`.
pub(crate) const INFO: u8 = p2p::BASE_OFFSET;
/// The message id of the trial channel's code 0.
pub(crate) const TRIAL_0: u8 = p2p::BASE_OFFSET + 1;

/// One end of a stream, without a session's rules.
pub(crate) struct Wire<S> {
    pub(crate) io: S,
    codec: Codec,
    /// Compression is done here, and not by the codec: what is no block can be sent, and none but a block is read.
    compresses: bool,
    received: BytesMut,
}

enum Codec {
    Plain,
    Rlpx(Box<(Encoder, Decoder)>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn plain(io: S) -> Self {
        Self { io, codec: Codec::Plain, compresses: false, received: BytesMut::new() }
    }

    pub(crate) fn rlpx(io: S, secrets: Secrets) -> Self {
        let (sealer, opener) = secrets.into_codec(MAX_FRAME_BYTES);
        let codec = Codec::Rlpx(Box::new((Encoder::new(sealer), Decoder::new(opener))));
        Self { io, codec, compresses: false, received: BytesMut::new() }
    }

    /// Dials as RLPx does, up to the first frame.
    pub(crate) async fn initiate(mut io: S, key: &NodeKey, to: NodeId) -> Self {
        let (state, auth) = Initiator::new(key, to, Entropy::from_bytes([7; 32]));
        io.write_all(&auth).await.unwrap();
        let ack = read_packet(&mut io).await;
        Self::rlpx(io, state.on_ack(&ack).unwrap())
    }

    /// The bytes of a message.
    pub(crate) fn encode(&mut self, id: u8, payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        match &mut self.codec {
            Codec::Plain => {
                out.put_u32(u32::try_from(payload.len()).unwrap());
                out.put_u8(id);
                out.put_slice(payload);
            }
            Codec::Rlpx(codec) if self.compresses => {
                let block = snap::raw::Encoder::new().compress_vec(payload).unwrap();
                codec.0.encode(id, &block, &mut out).unwrap();
            }
            Codec::Rlpx(codec) => codec.0.encode(id, payload, &mut out).unwrap(),
        }
        out
    }

    /// The bytes of a message whose payload is what the other end is to take for compressed.
    pub(crate) fn encode_compressed(&mut self, id: u8, block: &[u8]) -> BytesMut {
        let Codec::Rlpx(codec) = &mut self.codec else { return self.encode(id, block) };
        let mut out = BytesMut::new();
        codec.0.encode(id, block, &mut out).unwrap();
        out
    }

    /// The bytes that announce a message of a payload that does not compress, and nothing of it.
    pub(crate) fn announcement(&mut self, id: u8, payload: &[u8]) -> BytesMut {
        let mut bytes = self.encode(id, payload);
        bytes.truncate(match &self.codec {
            Codec::Plain => 5,
            Codec::Rlpx(_) => 32,
        });
        bytes
    }

    pub(crate) async fn send(&mut self, id: u8, payload: &[u8]) {
        let bytes = self.encode(id, payload);
        self.io.write_all(&bytes).await.unwrap();
    }

    /// Sends Hello, reads the other's, and compresses from then on.
    pub(crate) async fn greet(&mut self, hello: &Hello) -> Hello {
        let mut payload = BytesMut::new();
        hello.encode(&mut payload);
        self.send(p2p::HELLO, &payload).await;
        let (id, payload) = self.receive().await.unwrap();
        assert_eq!(id, p2p::HELLO);
        self.compresses = true;
        Hello::decode(&payload).unwrap()
    }

    pub(crate) async fn send_info(&mut self, network: &str) {
        let mut payload = BytesMut::new();
        Info { network: network.into(), services: Vec::new() }.encode(&mut payload);
        self.send(INFO, &payload).await;
    }

    /// Does all that an honest peer does.
    pub(crate) async fn establish(&mut self, key: &NodeKey) {
        self.greet(&hello(key.id())).await;
        self.send_info("trials").await;
        let (id, _) = self.receive().await.unwrap();
        assert_eq!(id, INFO);
    }

    /// The next message, or `None` where the stream ends or breaks.
    pub(crate) async fn receive(&mut self) -> Option<(u8, Bytes)> {
        loop {
            if let Some(message) = self.decode() {
                return Some(message);
            }
            if self.io.read_buf(&mut self.received).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Reads on until Disconnect, and says why; `None` where the stream ends without one.
    pub(crate) async fn farewell(&mut self) -> Option<DisconnectReason> {
        loop {
            match self.receive().await? {
                (p2p::DISCONNECT, payload) => return Some(Disconnect::decode(&payload)),
                _ => continue,
            }
        }
    }

    fn decode(&mut self) -> Option<(u8, Bytes)> {
        match &mut self.codec {
            Codec::Plain => {
                let &[a, b, c, d, id] = self.received.first_chunk()?;
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if self.received.len() < 5 + length {
                    return None;
                }
                self.received.advance(5);
                Some((id, self.received.split_to(length).freeze()))
            }
            Codec::Rlpx(codec) => {
                let decoded = codec.1.decode(&mut self.received, |_| Some(MAX_PAYLOAD_BYTES));
                let (id, payload) = decoded.unwrap()?;
                let payload = if self.compresses {
                    snap::raw::Decoder::new().decompress_vec(&payload).unwrap().into()
                } else {
                    payload
                };
                Some((id, payload))
            }
        }
    }
}

/// Reads an auth or ack packet, prefix included.
pub(crate) async fn read_packet(io: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut packet = vec![0; 2];
    io.read_exact(&mut packet).await.unwrap();
    packet.resize(2 + packet_len([packet[0], packet[1]]).unwrap(), 0);
    io.read_exact(&mut packet[2..]).await.unwrap();
    packet
}

/// An honest Hello that offers the trial channel and `peer/1`.
pub(crate) fn hello(id: NodeId) -> Hello {
    let capabilities = vec![
        Capability { name: INFO_CHANNEL.id, version: INFO_CHANNEL.versions[0].number },
        Capability { name: TRIAL, version: TRIAL_SPEC.versions[0].number },
    ];
    Hello { version: p2p::VERSION, client: "hostile/1".into(), capabilities, listen_port: 0, id }
}
