use super::*;
use crate::event::{Fault, Layer};
use crate::id::NodeKey;
use crate::rlpx::{Entropy, Initiator, MAX_FRAME_BYTES, Recipient, Secrets};
use proptest::prelude::*;

/// Two ends of one connection.
fn secrets() -> (Secrets, Secrets) {
    let (a, b) = (NodeKey::insecure_from_seed(1), NodeKey::insecure_from_seed(2));
    let (state, auth) = Initiator::new(&a, b.id(), Entropy::from_bytes([1; 32]));
    let accepted = Recipient::on_auth(&b, &auth, Entropy::from_bytes([2; 32])).unwrap();
    (state.on_ack(&accepted.ack).unwrap(), accepted.secrets)
}

fn pair(snappy: bool) -> (Encoder, Decoder) {
    let (a, b) = secrets();
    let mut encoder = Encoder::new(a.into_codec(MAX_FRAME_BYTES).0);
    let mut decoder = Decoder::new(b.into_codec(MAX_FRAME_BYTES).1);
    pass(&mut encoder, &mut decoder, 0, b"first").unwrap();
    if snappy {
        encoder.enable_snappy();
        decoder.enable_snappy();
    }
    (encoder, decoder)
}

fn pass(
    encoder: &mut Encoder,
    decoder: &mut Decoder,
    id: u8,
    payload: &[u8],
) -> Result<(u8, Bytes), FrameError> {
    let mut wire = BytesMut::new();
    encoder.encode(id, payload, &mut wire).unwrap();
    decoder.decode(&mut wire, |_| Some(100_000)).map(|message| message.expect("a whole message"))
}

/// Sends a frame whose payload stands on the wire as it is, to a decoder with snappy.
fn raw(body: &[u8], max_payload: impl Fn(u8) -> Option<usize>) -> Result<(u8, Bytes), FrameError> {
    let (mut encoder, mut decoder) = pair(false);
    decoder.enable_snappy();
    let mut wire = BytesMut::new();
    encoder.sealer.seal(body[0], &body[1..], &mut wire).unwrap();
    decoder.decode(&mut wire, max_payload).map(|message| message.expect("a whole message"))
}

#[test]
fn message_id_zero_is_an_empty_rlp_string() {
    let (a, b) = secrets();
    let mut wire = BytesMut::new();
    Encoder::new(a.into_codec(1000).0).encode(0, b"x", &mut wire).unwrap();
    assert_eq!(b.into_codec(1000).1.open(&mut wire).unwrap().unwrap()[..], [0x80, b'x']);
}

#[test]
fn a_ping_is_the_exact_bytes_that_reth_insists_on() {
    let mut out = BytesMut::new();
    compress(&mut snap::raw::Encoder::new(), &p2p::PING_PAYLOAD, &mut out);
    assert_eq!(out[..], [0x01, 0x00, 0xc0]);
}

#[test]
fn every_id_up_to_7f_passes_and_no_other() {
    for snappy in [false, true] {
        let (mut encoder, mut decoder) = pair(snappy);
        for id in 0..=0x7f {
            assert_eq!(pass(&mut encoder, &mut decoder, id, b"payload").unwrap().0, id);
        }
        let mut out = BytesMut::new();
        assert_eq!(encoder.encode(0x80, b"", &mut out), Err(SealError::BadId { id: 0x80 }));
        assert!(out.is_empty());
    }
}

#[test]
fn ids_that_are_no_single_byte_are_typed_errors() {
    let id = |body: &[u8]| plain(Bytes::copy_from_slice(body), |_| Some(10)).map(|(id, _)| id);
    assert_eq!(id(&[0x80]), Ok(0));
    assert_eq!(id(&[0x7f]), Ok(0x7f));
    assert_eq!(id(&[0x81, 0x80]), Err(FrameError::UnknownId { id: 0x80 }));
    assert_eq!(id(&[0x82, 1, 0]), Err(FrameError::UnknownId { id: 0x100 }));
    for bad in [&[0][..], &[0x81, 0x7f], &[0x81], &[0x82, 0, 1], &[0xc0], &[0xff], &[0x89]] {
        assert_eq!(id(bad), Err(FrameError::BadId), "{bad:x?}");
    }
}

#[test]
fn cve_2026_22868_an_id_nobody_agreed_to_is_refused_before_its_payload_is_read() {
    let error = raw(&[0x20, 0xff, 0xff], |id| (id < 0x20).then_some(10)).unwrap_err();
    assert_eq!(error, FrameError::UnknownId { id: 0x20 });
    assert_eq!((error.layer(), error.closed().label), (Layer::Capability, "unknown_message_id"));
}

#[test]
fn a_snappy_bomb_is_refused_by_its_announced_length() {
    let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; 1 << 20]).unwrap();
    let body = [&[0x11], &bomb[..]].concat();
    let expected = FrameError::PayloadTooLarge { id: 0x11, found_bytes: 1 << 20, limit_bytes: 1000 };
    assert_eq!(raw(&body, |_| Some(1000)), Err(expected));
    // The 16 MiB rule stands above every limit, and a length of 4 GiB allocates nothing.
    assert!(matches!(
        raw(&[0x11, 0xff, 0xff, 0xff, 0xff, 0x0f, 0], |_| Some(usize::MAX)),
        Err(FrameError::PayloadTooLarge { limit_bytes: MAX_PAYLOAD_BYTES, .. })
    ));
}

#[test]
fn snappy_that_lies_about_its_length_is_refused() {
    for bad in [&[][..], &[5], &[5, 0, 1], &[0x80], &[2, 0, 1, 0, 2, 0, 3], &[4, 0xfe, 0xff, 0xff]] {
        let body = [&[0x11], bad].concat();
        assert_eq!(raw(&body, |_| Some(1000)), Err(FrameError::Snappy { id: 0x11 }), "{bad:x?}");
    }
}

#[test]
fn a_disconnect_is_understood_compressed_or_not_and_in_any_form() {
    for payload in [&[0xc1, 4][..], &[4], &[0xc2, 0x81, 4]] {
        let body = [&[p2p::DISCONNECT], payload].concat();
        let (id, raw_payload) = raw(&body, |_| Some(100)).unwrap();
        assert_eq!((id, &raw_payload[..]), (p2p::DISCONNECT, payload));
        let (mut encoder, mut decoder) = pair(true);
        let compressed = pass(&mut encoder, &mut decoder, p2p::DISCONNECT, payload).unwrap().1;
        assert_eq!(compressed, raw_payload);
    }
    for zero in [&[][..], &[0x80], &[0], &[0xc0], &[0xc1, 0x80], &[0xc1, 0]] {
        let body = [&[p2p::DISCONNECT], zero].concat();
        let payload = raw(&body, |_| Some(100)).unwrap().1;
        assert_eq!(p2p::Disconnect::decode(&payload).code(), 0, "{zero:x?}");
    }
}

#[test]
fn a_payload_above_its_channels_limit_is_refused_without_snappy_too() {
    let (mut encoder, mut decoder) = pair(false);
    let mut wire = BytesMut::new();
    encoder.encode(0x11, &[0; 11], &mut wire).unwrap();
    assert_eq!(
        decoder.decode(&mut wire, |_| Some(10)),
        Err(FrameError::PayloadTooLarge { id: 0x11, found_bytes: 11, limit_bytes: 10 })
    );
    // The error is final.
    encoder.encode(0x11, &[0; 1], &mut wire).unwrap();
    assert!(decoder.decode(&mut wire, |_| Some(10)).is_err());
}

#[test]
fn the_largest_payload_passes_and_a_larger_one_is_our_error() {
    let (mut encoder, mut decoder) = pair(true);
    let payload = vec![0; MAX_PAYLOAD_BYTES];
    let mut wire = BytesMut::new();
    encoder.encode(0x11, &payload, &mut wire).unwrap();
    let (_, got) = decoder.decode(&mut wire, |_| Some(MAX_PAYLOAD_BYTES)).unwrap().unwrap();
    assert_eq!(got.len(), MAX_PAYLOAD_BYTES);
    let larger = encoder.encode(0x11, &vec![0; MAX_PAYLOAD_BYTES + 1], &mut wire);
    assert!(matches!(larger, Err(SealError::TooLarge { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn messages_round_trip(
        snappy: bool,
        messages in prop::collection::vec(
            (0..0x80_u8, prop::collection::vec(prop::sample::select(&[0_u8, 1, 77][..]), 0..40_000)),
            1..4,
        ),
    ) {
        let (mut encoder, mut decoder) = pair(snappy);
        let mut held = Vec::new();
        for (id, payload) in &messages {
            held.push(pass(&mut encoder, &mut decoder, *id, payload).unwrap());
        }
        // Payloads that are held share no memory with later ones.
        for ((id, payload), got) in messages.iter().zip(held) {
            prop_assert_eq!((*id, &payload[..]), (got.0, &got.1[..]));
        }
    }

    #[test]
    fn no_body_panics(mut body in prop::collection::vec(any::<u8>(), 1..100)) {
        body[0] &= 0x7f;
        let _ = raw(&body, |_| Some(1000));
    }
}
