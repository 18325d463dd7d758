use super::*;
use proptest::prelude::*;

fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../../tests/vectors/eip8.json")).unwrap()
}

fn hex(text: &serde_json::Value) -> Vec<u8> {
    const_hex::decode(text.as_str().unwrap()).unwrap()
}

fn array(text: &serde_json::Value) -> [u8; 32] {
    hex(text).try_into().unwrap()
}

fn node_key(v: &serde_json::Value, name: &str) -> NodeKey {
    NodeKey::from_bytes(array(&v["keys"][name])).unwrap()
}

fn keys() -> (NodeKey, NodeKey) {
    (NodeKey::insecure_from_seed(1), NodeKey::insecure_from_seed(2))
}

fn entropy(n: u8) -> Entropy {
    Entropy::from_bytes([n; 32])
}

#[test]
fn eip8_auth_packets_open_at_their_recipient() {
    let v = vectors();
    let (a, b) = (node_key(&v, "static_key_a"), node_key(&v, "static_key_b"));
    for name in ["auth_v4", "auth_v56_three_extra"] {
        let packet = hex(&v[name]);
        assert_eq!(packet_len([packet[0], packet[1]]), Ok(packet.len() - 2), "{name}");
        let auth = Auth::open(&b, &packet).unwrap();
        assert_eq!(NodeId::from_public(&auth.remote), a.id(), "{name}");
        assert_eq!(NodeId::from_public(&auth.ephemeral), node_key(&v, "ephemeral_key_a").id(), "{name}");
        assert_eq!(auth.nonce, array(&v["keys"]["nonce_a"]), "{name}");
        assert_eq!(Recipient::on_auth(&b, &packet, entropy(3)).unwrap().remote, a.id(), "{name}");
    }
}

#[test]
fn eip8_ack_packets_open_at_the_initiator() {
    let v = vectors();
    let a = node_key(&v, "static_key_a");
    for name in ["ack_v4", "ack_v57_three_extra"] {
        let ack = Ack::open(&a, &hex(&v[name])).unwrap();
        assert_eq!(NodeId::from_public(&ack.ephemeral), node_key(&v, "ephemeral_key_b").id(), "{name}");
        assert_eq!(ack.nonce, array(&v["keys"]["nonce_b"]), "{name}");
    }
}

#[test]
fn eip8_secrets_are_derived_by_both_roles() {
    let v = vectors();
    let (auth_packet, ack_packet) = (hex(&v["auth_v4"]), hex(&v["ack_v4"]));
    let b = node_key(&v, "static_key_b");
    let draws = Draws {
        ephemeral: *node_key(&v, "ephemeral_key_b").secret(),
        nonce: array(&v["keys"]["nonce_b"]),
        ..Draws::from(entropy(1))
    };
    let at_b =
        Auth::open(&b, &auth_packet).unwrap().agreed(&draws).recipient_secrets(&auth_packet, &ack_packet);
    let at_a = AwaitAck {
        key: node_key(&v, "static_key_a"),
        ephemeral: *node_key(&v, "ephemeral_key_a").secret(),
        nonce: array(&v["keys"]["nonce_a"]),
        auth: auth_packet,
    }
    .on_ack(&ack_packet)
    .unwrap();

    assert_eq!(at_b.aes, array(&v["aes_secret"]));
    assert_eq!(at_b.mac, array(&v["mac_secret"]));
    assert_eq!(at_b.ingress.clone().chain_update(b"foo").finalize()[..], array(&v["ingress_mac_foo"]));
    assert_eq!((at_a.aes, at_a.mac), (at_b.aes, at_b.mac));
    assert_eq!(at_a.egress.finalize(), at_b.ingress.finalize());
    assert_eq!(at_a.ingress.finalize(), at_b.egress.finalize());
}

#[test]
fn both_packets_are_padded_enough_for_peers_that_wait_for_more() {
    let (a, b) = keys();
    for n in 0..50 {
        let (_, auth) = Initiator::new(&a, b.id(), entropy(n));
        let accepted = Recipient::on_auth(&b, &auth, entropy(n + 100)).unwrap();
        assert!(auth.len() >= 307 && auth.len() <= MAX_PACKET_BYTES, "{}", auth.len());
        assert!(auth.len() >= PREFIX_BYTES + OVERHEAD_BYTES + 169 + MIN_PADDING_BYTES);
        assert!(accepted.ack.len() >= PREFIX_BYTES + OVERHEAD_BYTES + 102 + MIN_PADDING_BYTES);
    }
}

#[test]
fn an_unpadded_ack_as_reth_sends_it_is_accepted() {
    let (a, b) = keys();
    let (state, _) = Initiator::new(&a, b.id(), entropy(1));
    let draws = Draws { padding: Vec::new(), ..Draws::from(entropy(2)) };
    let ack = seal_ack(&a.id().to_public(), &draws);
    assert_eq!(ack.len(), 217);
    assert!(state.on_ack(&ack).is_ok());
}

#[test]
fn the_same_entropy_gives_the_same_packets_and_other_entropy_others() {
    let (a, b) = keys();
    let auth = |n| Initiator::new(&a, b.id(), entropy(n)).1;
    assert_eq!(auth(1), auth(1));
    assert_ne!(auth(1), auth(2));
}

#[test]
fn cve_2026_22862_every_size_up_to_2048_is_refused_without_a_panic() {
    let (a, b) = keys();
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    for size in 0..=MAX_PACKET_BYTES + 2 {
        let mut packet = vec![0; 2 + size];
        rng.fill_bytes(&mut packet);
        packet[..2].copy_from_slice(&u16::try_from(size).unwrap().to_be_bytes());
        // Half of them carry a point that is on the curve, so that the tag is reached.
        if size % 2 == 0 && size >= 65 {
            packet[2] = 4;
            packet[3..67].copy_from_slice(a.id().as_bytes());
        }
        let expected = match size {
            size if size < MIN_PACKET_BYTES => HandshakeError::TooShort { found_bytes: size },
            size if size > MAX_PACKET_BYTES => HandshakeError::TooLarge { found_bytes: size },
            _ => HandshakeError::NotAuthentic,
        };
        assert_eq!(Recipient::on_auth(&b, &packet, entropy(1)).unwrap_err(), expected, "{size}");
        if size % 16 == 0 || size < MIN_PACKET_BYTES {
            let (state, _) = Initiator::new(&b, a.id(), entropy(1));
            assert_eq!(state.on_ack(&packet).unwrap_err(), expected, "{size}");
        }
    }
}

#[test]
fn a_packet_of_another_length_than_announced_is_refused() {
    let (a, b) = keys();
    let (_, auth) = Initiator::new(&a, b.id(), entropy(1));
    for len in 0..auth.len() {
        assert!(
            matches!(Recipient::on_auth(&b, &auth[..len], entropy(2)), Err(HandshakeError::Length { .. })),
            "{len}"
        );
    }
    let longer = [&auth[..], &[0]].concat();
    assert!(matches!(Recipient::on_auth(&b, &longer, entropy(2)), Err(HandshakeError::Length { .. })));
}

#[test]
fn a_bad_signature_and_a_bad_id_are_the_error_of_a_bad_tag() {
    let (a, b) = keys();
    let draws = Draws::from(entropy(1));
    let digest = xor(&ecies::agree(&b.id().to_public(), a.secret()), &draws.nonce);
    let good = sign(&draws.ephemeral, digest);
    let sealed = |signature: &[u8], id: &[u8]| {
        let plain = plain_packet(&[signature, id, &draws.nonce], &draws);
        ecies::seal(&b.id().to_public(), &draws.ecies, draws.iv, &plain)
    };
    let open = |packet: Vec<u8>| Recipient::on_auth(&b, &packet, entropy(2)).map(|accepted| accepted.remote);

    assert_eq!(open(sealed(&good, a.id().as_bytes())), Ok(a.id()));
    for bad in [[0; 65], [0xff; 65]] {
        assert_eq!(open(sealed(&bad, a.id().as_bytes())), Err(HandshakeError::NotAuthentic));
    }
    let mut bad_recovery_id = good;
    bad_recovery_id[64] = 4;
    assert_eq!(open(sealed(&bad_recovery_id, a.id().as_bytes())), Err(HandshakeError::NotAuthentic));
    assert_eq!(open(sealed(&good, &[0xff; 64])), Err(HandshakeError::NotAuthentic));
    assert!(matches!(open(sealed(&good[..64], a.id().as_bytes())), Err(HandshakeError::Malformed(_))));
}

#[test]
fn a_claimed_identity_without_its_key_gives_secrets_that_do_not_agree() {
    let (a, b) = keys();
    let victim = NodeKey::insecure_from_seed(9);
    let draws = Draws::from(entropy(1));
    // The attacker signs over a shared secret that it does not have, and claims the victim's id.
    let digest = xor(&ecies::agree(&b.id().to_public(), a.secret()), &draws.nonce);
    let signature = sign(&draws.ephemeral, digest);
    let plain = plain_packet(&[&signature, victim.id().as_bytes(), &draws.nonce], &draws);
    let auth = ecies::seal(&b.id().to_public(), &draws.ecies, draws.iv, &plain);
    let state = AwaitAck { key: a, ephemeral: draws.ephemeral, nonce: draws.nonce, auth: auth.clone() };
    // Recovery yields some point, or none; the ack is sealed for the victim, so the attacker never has the nonce.
    if let Ok(accepted) = Recipient::on_auth(&b, &auth, entropy(2)) {
        assert_eq!(state.on_ack(&accepted.ack).unwrap_err(), HandshakeError::NotAuthentic);
    }
}

#[test]
fn nothing_secret_is_in_debug_output() {
    let (a, b) = keys();
    let (state, auth) = Initiator::new(&a, b.id(), entropy(0xab));
    let ephemeral = const_hex::encode(state.ephemeral.to_secret_bytes());
    let accepted = Recipient::on_auth(&b, &auth, entropy(0xcd)).unwrap();
    let text = format!("{state:?} {accepted:?} {:?}", entropy(0xab));
    assert!(
        !text.contains(&ephemeral) && !text.contains("171, 171") && text.contains("Secrets(..)"),
        "{text}"
    );
}

#[test]
fn every_handshake_error_names_its_layer() {
    let error = HandshakeError::NotAuthentic;
    assert_eq!((error.layer(), error.blame()), (Layer::Ecies, Blame::Protocol));
    assert_eq!(error.closed().label, "handshake_not_authentic");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_sides_agree(seed_a: u64, seed_b: u64, ea: [u8; 32], eb: [u8; 32]) {
        let (a, b) = (NodeKey::insecure_from_seed(seed_a), NodeKey::insecure_from_seed(seed_b));
        let (state, auth) = Initiator::new(&a, b.id(), Entropy::from_bytes(ea));
        let accepted = Recipient::on_auth(&b, &auth, Entropy::from_bytes(eb)).unwrap();
        prop_assert_eq!(accepted.remote, a.id());
        let at_a = state.on_ack(&accepted.ack).unwrap();
        prop_assert_eq!((at_a.aes, at_a.mac), (accepted.secrets.aes, accepted.secrets.mac));
        prop_assert_eq!(at_a.egress.finalize(), accepted.secrets.ingress.finalize());
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused(at in 0..300_usize, bit in 0..8_u8) {
        let (a, b) = keys();
        let (_, mut auth) = Initiator::new(&a, b.id(), entropy(1));
        auth[at] ^= 1 << bit;
        prop_assert!(Recipient::on_auth(&b, &auth, entropy(2)).is_err());
    }
}
