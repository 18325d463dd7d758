use super::*;
use proptest::prelude::*;

const AES: [u8; 32] = [1; 32];
const MAC: [u8; 32] = [2; 32];

fn pair(max_frame_bytes: usize) -> (Sealer, Opener) {
    let state = || Keccak256::new().chain_update(b"start");
    (Sealer::new(&AES, &MAC, state()), Opener::new(&AES, &MAC, state(), max_frame_bytes))
}

fn sealed(sealer: &mut Sealer, id: u8, payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    sealer.seal(id, payload, &mut out).unwrap();
    out
}

/// Opens everything, and asserts that nothing is left.
fn opened(opener: &mut Opener, mut input: BytesMut) -> BytesMut {
    let body = opener.open(&mut input).unwrap().expect("a whole frame");
    assert!(input.is_empty());
    body
}

/// go-ethereum's golden frame: both keys are Keccak-256 of nothing, the message is 8 [1, 2, 3, 4]. Its test puts a constant
/// in the place of the MAC, so only the ciphertext is compared.
#[test]
fn the_ciphertext_is_that_of_the_golden_frame_of_go_ethereum() {
    let key: [u8; 32] = Keccak256::digest([]).into();
    let mut sealer = Sealer::new(&key, &key, Keccak256::new());
    let frame = sealed(&mut sealer, 8, &[0xc4, 1, 2, 3, 4]);
    assert_eq!(const_hex::encode(&frame[..16]), "00828ddae471818bb0bfa6b551d1cb42");
    assert_eq!(const_hex::encode(&frame[32..48]), "ba628a4ba590cb43f7848f41c4382885");
    assert_eq!(frame.len(), 64);
}

/// The MACs of the specification, written down once more without memory of any digest.
#[test]
fn the_macs_are_those_of_the_specification() {
    fn step(state: &mut Keccak256, block: [u8; 16]) -> [u8; 16] {
        let digest = state.clone().finalize();
        let mut seed = [0; 16].into();
        aes::Aes256::new(&MAC.into()).encrypt_block_b2b(digest[..16].try_into().unwrap(), &mut seed);
        let mixed: [u8; 16] = std::array::from_fn(|i| seed[i] ^ block[i]);
        state.update(mixed);
        state.clone().finalize()[..16].try_into().unwrap()
    }
    let (mut sealer, _) = pair(MAX_FRAME_BYTES);
    let mut state = Keccak256::new().chain_update(b"start");
    for len in [0, 14, 15, 16, 300] {
        let frame = sealed(&mut sealer, 3, &vec![7; len]);
        assert_eq!(step(&mut state, frame[..16].try_into().unwrap()), frame[16..32], "header, {len}");
        let (body, mac) = frame[32..].split_at(frame.len() - 48);
        state.update(body);
        let digest = state.clone().finalize()[..16].try_into().unwrap();
        assert_eq!(step(&mut state, digest), mac, "body, {len}");
    }
}

#[test]
fn a_frame_can_come_in_pieces_of_any_size() {
    let (mut sealer, _) = pair(MAX_FRAME_BYTES);
    let frame = sealed(&mut sealer, 1, &[9; 50]);
    for cut in 0..frame.len() {
        let (_, mut opener) = pair(MAX_FRAME_BYTES);
        let mut input = BytesMut::from(&frame[..cut]);
        assert_eq!(opener.open(&mut input), Ok(None), "{cut}");
        let missing = opener.missing_bytes(input.len());
        assert_eq!(missing, if cut < 32 { 32 - cut } else { frame.len() - cut }, "{cut}");
        input.extend_from_slice(&frame[cut..]);
        assert_eq!(opened(&mut opener, input)[1..], [9; 50], "{cut}");
    }
}

#[test]
fn every_flipped_bit_is_refused_for_ever() {
    let (mut sealer, _) = pair(MAX_FRAME_BYTES);
    let frame = sealed(&mut sealer, 1, &[9; 20]);
    for bit in 0..frame.len() * 8 {
        let (_, mut opener) = pair(MAX_FRAME_BYTES);
        let mut input = frame.clone();
        input[bit / 8] ^= 1 << (bit % 8);
        let expected = if bit / 8 < 32 { FrameError::HeaderMac } else { FrameError::BodyMac };
        assert_eq!(opener.open(&mut input), Err(expected), "{bit}");
        assert_eq!(opener.open(&mut frame.clone()), Err(expected), "{bit}");
    }
}

#[test]
fn a_replayed_or_reordered_frame_is_refused() {
    let (mut sealer, mut opener) = pair(MAX_FRAME_BYTES);
    let (first, second) = (sealed(&mut sealer, 1, &[1]), sealed(&mut sealer, 1, &[2]));
    assert_eq!(pair(MAX_FRAME_BYTES).1.open(&mut second.clone()), Err(FrameError::HeaderMac));
    opened(&mut opener, first.clone());
    assert_eq!(opener.open(&mut first.clone()), Err(FrameError::HeaderMac));
}

#[test]
fn the_first_frame_and_later_ones_have_limits_that_act_on_the_header_alone() {
    let (mut sealer, mut opener) = pair(5000);
    let mut first = sealed(&mut sealer, 1, &[0; 2048]);
    let expected = FrameError::TooLarge { found_bytes: 2049, limit_bytes: FIRST_FRAME_BYTES };
    first.truncate(32);
    assert_eq!(opener.open(&mut first), Err(expected));

    let (mut sealer, mut opener) = pair(5000);
    opened(&mut opener, sealed(&mut sealer, 1, &[0; 2047]));
    opened(&mut opener, sealed(&mut sealer, 1, &[0; 4999]));
    let mut large = sealed(&mut sealer, 1, &[0; 5000]);
    large.truncate(32);
    let expected = FrameError::TooLarge { found_bytes: 5001, limit_bytes: 5000 };
    assert_eq!(opener.open(&mut large), Err(expected));
}

#[test]
fn the_first_limit_stays_when_the_limit_of_later_frames_is_raised() {
    let (mut sealer, mut opener) = pair(100);
    opener.set_max_frame_bytes(1_000_000);
    let mut frame = sealed(&mut sealer, 1, &[0; 3000]);
    assert!(matches!(opener.open(&mut frame), Err(FrameError::TooLarge { limit_bytes: 2048, .. })));
}

#[test]
fn a_frame_without_a_body_is_refused() {
    let (mut sealer, mut opener) = pair(5000);
    let mut frame = BytesMut::zeroed(48);
    sealer.close(&mut frame, 0);
    assert_eq!(opener.open(&mut frame), Err(FrameError::Empty));
}

#[test]
fn the_largest_frame_has_24_bits_and_what_is_larger_leaves_no_trace() {
    let (mut sealer, mut opener) = pair(usize::MAX);
    let mut out = sealed(&mut sealer, 1, &[0]);
    let before = out.clone();
    let error = sealer.seal(1, &vec![0; MAX_FRAME_BYTES], &mut out).unwrap_err();
    assert_eq!(error, SealError::TooLarge { found_bytes: MAX_FRAME_BYTES + 1, limit_bytes: MAX_FRAME_BYTES });
    assert_eq!(error.blame(), Blame::Ourselves);
    assert_eq!(out, before);
    opened(&mut opener, out);

    // The largest is waited for. Its header is enough: an unoptimised MAC over 16 MiB takes seconds.
    let mut header = BytesMut::from(&[0xff, 0xff, 0xff, 0xc2, 0x80, 0x80][..]);
    header.resize(BLOCK_BYTES, 0);
    sealer.stream.apply_keystream(&mut header);
    let mac = sealer.mac.header(&header);
    header.extend_from_slice(&mac);
    assert_eq!(opener.open(&mut header), Ok(None));
    assert_eq!(opener.missing_bytes(0), MAX_FRAME_BYTES + 1 + MAC_BYTES);
    assert_eq!(frame_limit(usize::MAX), MAX_FRAME_BYTES);
}

#[test]
fn header_data_is_never_read() {
    let (mut sealer, mut opener) = pair(5000);
    let mut frame = BytesMut::zeroed(HEADER_BYTES + BLOCK_BYTES + MAC_BYTES);
    frame[32] = 5;
    let (header, rest) = frame.split_at_mut(HEADER_BYTES);
    header[..16].copy_from_slice(&[0, 0, 1, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    sealer.stream.apply_keystream(&mut header[..16]);
    let mac = sealer.mac.header(&header[..16]);
    header[16..].copy_from_slice(&mac);
    sealer.stream.apply_keystream(&mut rest[..16]);
    let mac = sealer.mac.body(&rest[..16]);
    rest[16..].copy_from_slice(&mac);
    assert_eq!(opened(&mut opener, frame)[..], [5]);
}

proptest! {
    #[test]
    fn frames_round_trip_however_the_stream_is_cut(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..8),
        cuts in prop::collection::vec(1..200_usize, 1..20),
    ) {
        let (mut sealer, mut opener) = pair(5000);
        let mut wire = BytesMut::new();
        for payload in &payloads {
            sealer.seal(7, payload, &mut wire).unwrap();
        }
        let (mut input, mut got) = (BytesMut::new(), Vec::new());
        for &cut in cuts.iter().cycle() {
            let piece = wire.split_to(cut.min(wire.len()));
            input.extend_from_slice(&piece);
            while let Some(body) = opener.open(&mut input).unwrap() {
                prop_assert_eq!(body[0], 7);
                got.push(body[1..].to_vec());
            }
            if wire.is_empty() {
                break;
            }
        }
        prop_assert_eq!(got, payloads);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let (_, mut opener) = pair(5000);
        let _ = opener.open(&mut BytesMut::from(&bytes[..]));
    }
}
