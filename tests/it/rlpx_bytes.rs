//! Drives the whole RLPx core with bytes that a peer may send: shared by the fuzzer and the replay of its corpus.
//!
//! The first byte chooses what the rest is. Frames behind the MACs are reached by sealing the bytes with the peer's
//! half of a connection whose keys are fixed.

use std::sync::OnceLock;

use bytes::BytesMut;
use peerage::message::{ChannelSpec, Version};
use peerage::rlpx::{
    Accepted, AwaitAck, Capability, Decoder, Disconnect, Entropy, Hello, INFO_CHANNEL, Info, Initiator,
    Recipient, Sealer, negotiate, packet_len,
};
use peerage::{NodeId, NodeKey};

const ETH: ChannelSpec = ChannelSpec {
    id: peerage::id::ChannelId::from_static("eth"),
    versions: &[Version { number: 68, codes: 17 }, Version { number: 69, codes: 18 }],
    max_bytes: 4096,
};

fn keys() -> &'static (NodeKey, NodeKey) {
    static KEYS: OnceLock<(NodeKey, NodeKey)> = OnceLock::new();
    KEYS.get_or_init(|| (NodeKey::insecure_from_seed(1), NodeKey::insecure_from_seed(2)))
}

fn begin(key: &NodeKey, remote: NodeId) -> (AwaitAck, Vec<u8>) {
    Initiator::new(key, remote, Entropy::from_bytes([1; 32]))
}

/// The peer's sealer, and our decoder.
fn connection() -> Option<(Sealer, Decoder)> {
    let (a, b) = keys();
    let (state, auth) = begin(a, b.id());
    let Accepted { ack, secrets, .. } = Recipient::on_auth(b, &auth, Entropy::from_bytes([2; 32])).ok()?;
    let (sealer, _) = state.on_ack(&ack).ok()?.into_codec(8192);
    let (_, opener) = secrets.into_codec(8192);
    Some((sealer, Decoder::new(opener)))
}

/// Takes any bytes, and panics only for a bug of ours.
pub(crate) fn drive(bytes: &[u8]) {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    match kind % 6 {
        0 => on_auth(rest),
        1 => on_ack(rest),
        2 => raw_frames(rest),
        3 => messages(rest, false),
        4 => messages(rest, true),
        _ => payloads(rest),
    }
}

/// The prefix is put right, so that more than the length is reached.
fn packet(bytes: &[u8]) -> Option<Vec<u8>> {
    let prefix = u16::try_from(bytes.len()).ok()?.to_be_bytes();
    let len = packet_len(prefix).ok()?;
    assert_eq!(len, bytes.len());
    Some([&prefix, bytes].concat())
}

fn on_auth(bytes: &[u8]) {
    let entropy = || Entropy::from_bytes([3; 32]);
    let _ = Recipient::on_auth(&keys().1, bytes, entropy());
    if let Some(packet) = packet(bytes) {
        assert!(Recipient::on_auth(&keys().1, &packet, entropy()).is_err(), "nobody guesses a tag");
    }
}

fn on_ack(bytes: &[u8]) {
    let (a, b) = keys();
    if let Some(packet) = packet(bytes) {
        assert!(begin(a, b.id()).0.on_ack(&packet).is_err(), "nobody guesses a tag");
    }
}

fn raw_frames(bytes: &[u8]) {
    let Some((_, mut decoder)) = connection() else { return };
    let mut input = BytesMut::new();
    for piece in bytes.chunks(7) {
        input.extend_from_slice(piece);
        assert_ne!(decoder.decode(&mut input, |_| Some(100)).map(|m| m.is_some()), Ok(true));
    }
}

/// Each message is a length, an id and a payload that is sealed as it stands.
fn messages(mut bytes: &[u8], snappy: bool) {
    let Some((mut sealer, mut decoder)) = connection() else { return };
    if snappy {
        decoder.enable_snappy();
    }
    let theirs = [("eth", 69), ("peer", 1)]
        .map(|(name, version)| name.parse().map(|name| Capability { name, version }))
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
    let shared = negotiate(&[ETH, INFO_CHANNEL], &theirs);
    let mut wire = BytesMut::new();
    while let [len, id, rest @ ..] = bytes {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        bytes = rest;
        let _ = sealer.seal(*id, payload, &mut wire);
        match decoder.decode(&mut wire, |id| shared.max_payload(id)) {
            Ok(Some((id, payload))) => {
                assert!(Some(payload.len()) <= shared.max_payload(id), "a limit was passed");
                on_payload(&payload);
            }
            Ok(None) => {}
            Err(_) => return,
        }
    }
}

fn payloads(bytes: &[u8]) {
    on_payload(bytes);
}

/// What decodes is encoded and decoded to itself.
fn on_payload(bytes: &[u8]) {
    let mut out = BytesMut::new();
    if let Ok(hello) = Hello::decode(bytes) {
        hello.encode(&mut out);
        assert_eq!(Hello::decode(&out), Ok(hello));
    }
    out.clear();
    if let Ok(info) = Info::decode(bytes) {
        assert_eq!(info.check(), Ok(()));
        info.encode(&mut out);
        assert_eq!(Info::decode(&out), Ok(info));
    }
    out.clear();
    let reason = Disconnect::decode(bytes);
    Disconnect::encode(reason, &mut out);
    assert_eq!(Disconnect::decode(&out), reason);
}
