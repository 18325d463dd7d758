//! A protocol written by hand: two versions, and an encoding that is not the macro's.

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::BytesMut;
use peerage::id::ChannelId;
use peerage::message::{self, Answer, DecodeError, Kind, Question, Request, Version};

use super::*;

over_both!(each_connection_asks_in_its_own_version);

/// The first version tells seconds, the second milliseconds and under another name.
#[derive(Debug)]
enum Clock {
    Ask(Request<Ask>),
}

#[derive(Debug, Clone)]
struct Ask;

#[derive(Debug, Clone, PartialEq)]
struct Told {
    ms: u64,
}

fn unit(version: u32) -> u64 {
    if version == 1 { 1000 } else { 1 }
}

fn list(id: u64, rest: &[u64], out: &mut BytesMut) {
    let payload_length = id.length() + rest.iter().map(Encodable::length).sum::<usize>();
    Header { list: true, payload_length }.encode(out);
    id.encode(out);
    rest.iter().for_each(|item| item.encode(out));
}

impl Message for Clock {
    const CHANNEL: ChannelId = ChannelId::from_static("clock");
    const VERSIONS: &'static [Version] = &[Version { number: 1, codes: 2 }, Version { number: 2, codes: 2 }];
    const MAX_BYTES: usize = 64;
    type Received = Self;

    fn kind(code: u8) -> Kind {
        if code == 0 { Kind::Question } else { Kind::Answer }
    }

    fn code(&self) -> u8 {
        0
    }

    fn encode(&self, _version: u32, _out: &mut BytesMut) {}

    fn decode(_version: u32, code: u8, _payload: &Bytes) -> Result<Self, DecodeError> {
        Err(DecodeError::UnknownCode { code })
    }

    fn decode_question(
        _version: u32,
        _code: u8,
        _payload: &Bytes,
        wire: impl message::Wire,
    ) -> Result<Self, DecodeError> {
        Ok(Self::Ask(Request { question: Ask, responder: Responder::over(wire) }))
    }

    fn received(self) -> Self {
        self
    }
}

impl Question for Ask {
    type Protocol = Clock;
    type Answer = Told;
    const CODE: u8 = 0;

    fn encode(&self, id: u64, version: u32, out: &mut BytesMut) {
        list(id, &[version.into()], out);
    }

    fn received(request: Request<Self>) -> Clock {
        Clock::Ask(request)
    }
}

impl Answer for Told {
    type Protocol = Clock;
    const CODE: u8 = 1;

    fn encode(&self, id: u64, version: u32, out: &mut BytesMut) {
        list(id, &[self.ms / unit(version)], out);
    }

    fn decode(version: u32, payload: &Bytes) -> Result<Self, DecodeError> {
        let mut body = Header::decode_bytes(&mut &payload[..], true)?;
        let _id = u64::decode(&mut body)?;
        Ok(Self { ms: u64::decode(&mut body)? * unit(version) })
    }
}

async fn each_connection_asks_in_its_own_version<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let clock = builder.channel::<Clock>().unwrap();
    let mut node = net.start(builder, clock);
    for (seed, version) in [(2, 1), (3, 2)] {
        let versions = &Clock::VERSIONS[..version];
        let channels = vec![ChannelSpec { versions, ..ChannelSpec::of::<Clock>() }];
        let mut peer = net.bare_with(seed, &node.address(), Offer { channels, ..offer() }).await.unwrap();
        node.up(id(seed)).await;
        let sender = node.channel.sender().clone();
        let waiting = net.beside(async move { sender.request(id(seed), Ask, LONG).await });
        let question = peer.frame().await.payload;
        assert_eq!(question[..], [0xc2, 1, u8::try_from(version).unwrap()]);
        peer.writes_on::<Clock>(1, &[0xc2, 1, 7]).await;
        let ms = if version == 1 { 7000 } else { 7 };
        assert_eq!(waiting.await.unwrap(), Ok(Told { ms }));
        // And answers in it.
        peer.writes_on::<Clock>(0, &[0xc1, 9]).await;
        let Clock::Ask(request) = node.channel.recv().await.unwrap().message;
        request.responder.try_answer(Told { ms: 5000 }).unwrap();
        let expected: &[u8] = if version == 1 { &[0xc2, 9, 5] } else { &[0xc4, 9, 0x82, 0x13, 0x88] };
        assert_eq!(peer.frame().await.payload, expected);
    }
}
