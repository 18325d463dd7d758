use super::*;
use crate::id::NodeKey;
use proptest::prelude::*;

fn cap(name: &str, version: u32) -> Capability {
    Capability { name: name.parse().unwrap(), version }
}

fn hello() -> Hello {
    Hello {
        version: VERSION,
        client: "peerage/0.1".into(),
        capabilities: vec![cap("eth", 68), cap("snap", 1)],
        listen_port: 30303,
        id: NodeKey::insecure_from_seed(1).id(),
    }
}

fn encoded(hello: &Hello) -> BytesMut {
    let mut out = BytesMut::new();
    hello.encode(&mut out);
    out
}

/// A Hello with these capabilities, client and identity, as RLP made by hand.
fn handmade(capabilities: &[&[u8]], client: &[u8], id: &[u8]) -> Vec<u8> {
    let list = |items: &[u8]| {
        let mut out = Vec::new();
        Header { list: true, payload_length: items.len() }.encode(&mut out);
        out.extend_from_slice(items);
        out
    };
    let mut items = vec![5];
    client.encode(&mut items);
    items.extend(list(&capabilities.concat()));
    items.push(0x80);
    id.encode(&mut items);
    list(&items)
}

#[test]
fn eip8_hello_of_version_22_with_extra_elements_is_read() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/vectors/eip8.json")).unwrap();
    let bytes = const_hex::decode(vectors["hello_v22_extra_elements"].as_str().unwrap()).unwrap();
    let hello = Hello::decode(&bytes).unwrap();
    assert_eq!(hello.client, "kneth/v0.91/plan9");
    assert_eq!(hello.capabilities, [cap("eth", 61), cap("mork", 22)]);
    assert_eq!(hello.listen_port, 9999);
    assert_eq!(hello.version, 55);
    assert!(hello.id.to_string().starts_with("fda1cff674c90c9a"));
}

#[test]
fn capabilities_that_we_could_never_share_are_skipped() {
    let id = NodeKey::insecure_from_seed(1).id();
    let capabilities: [&[u8]; 6] = [
        b"\xcb\x89ninechars\x01",
        b"\xc4\x82\xc3\xa9\x01",
        b"\xc2\x80\x01",
        b"\xca\x83eth\x85\x01\x00\x00\x00\x00",
        b"\xc6\x83eth\x44\x01",
        b"\xc6\x84snap\x01",
    ];
    let bytes = handmade(&capabilities, b"c", id.as_bytes());
    assert_eq!(Hello::decode(&bytes).unwrap().capabilities, [cap("eth", 0x44), cap("snap", 1)]);
}

#[test]
fn cve_2024_32972_too_many_capabilities_are_refused() {
    let id = NodeKey::insecure_from_seed(1).id();
    let one: &[u8] = b"\xc3\x81\x80\x01";
    assert!(Hello::decode(&handmade(&[one; MAX_CAPABILITIES], b"c", id.as_bytes())).is_ok());
    assert_eq!(
        Hello::decode(&handmade(&[one; MAX_CAPABILITIES + 1], b"c", id.as_bytes())),
        Err(HelloError::TooManyCapabilities)
    );
}

#[test]
fn cve_2025_24883_an_identity_that_is_no_key_is_refused() {
    for id in [&[0; 64][..], &[0xff; 64], &[1; 63], &[]] {
        let error = Hello::decode(&handmade(&[], b"c", id)).unwrap_err();
        assert_eq!((error, error.reason()), (HelloError::Identity, DisconnectReason::NullIdentity));
    }
}

#[test]
fn cve_2018_12018_numbers_beyond_our_types_are_clamped_and_do_not_overflow() {
    let mut items = vec![0x88];
    items.extend([0xff; 8]);
    items.extend([0x80, 0xc0, 0x83, 1, 0, 0]);
    NodeKey::insecure_from_seed(1).id().as_bytes()[..].encode(&mut items);
    let mut bytes = Vec::new();
    Header { list: true, payload_length: items.len() }.encode(&mut bytes);
    bytes.extend(items);
    let hello = Hello::decode(&bytes).unwrap();
    assert_eq!((hello.version, hello.listen_port), (u32::MAX, 0));
}

#[test]
fn a_clients_name_is_cut_and_made_printable() {
    let id = NodeKey::insecure_from_seed(1).id();
    let name = |client: &[u8]| Hello::decode(&handmade(&[], client, id.as_bytes())).unwrap().client;
    assert_eq!(name(b"a\x1b[31m\n\xff"), "a?[31m?\u{fffd}");
    assert!(name(&[0xff; 1000]).len() <= MAX_CLIENT_BYTES);
    let long = Hello { client: "\u{e9}".repeat(1000), ..hello() };
    assert_eq!(Hello::decode(&encoded(&long)).unwrap().client.len(), MAX_CLIENT_BYTES);
}

#[test]
fn every_encoding_of_disconnect_in_the_wild_is_understood() {
    use DisconnectReason as R;
    let table: &[(&[u8], R)] = &[
        (&[0xc1, 0x04], R::TooManyPeers),
        (&[0x04], R::TooManyPeers),
        (&[0xc1, 0x80], R::Requested),
        (&[0xc1, 0x00], R::Requested),
        (&[0x80], R::Requested),
        (&[0x00], R::Requested),
        (&[], R::Requested),
        (&[0xc0], R::Requested),
        (&[0xc1, 0x10], R::Subprotocol),
        (&[0x10], R::Subprotocol),
        (&[0xc1, 0x2a], R::Other(0x2a)),
        (&[0xc2, 0x81, 0xf0], R::Other(0xf0)),
        (&[0x81, 0xf0], R::Other(0xf0)),
        (&[0xc2, 0x04, 0x05], R::TooManyPeers),
        (&[0xc1, 0xc0], R::Requested),
        (&[0xff, 0xff], R::Requested),
    ];
    for (payload, reason) in table {
        assert_eq!(Disconnect::decode(payload), *reason, "{payload:x?}");
    }
}

#[test]
fn disconnect_is_sent_as_a_list_of_one() {
    for code in 0..=u8::MAX {
        let reason = DisconnectReason::from_code(code);
        let mut out = BytesMut::new();
        Disconnect::encode(reason, &mut out);
        match code {
            0 => assert_eq!(out[..], [0xc1, 0x80]),
            1..=0x7f => assert_eq!(out[..], [0xc1, code]),
            _ => assert_eq!(out[..], [0xc2, 0x81, code]),
        }
        assert_eq!(Disconnect::decode(&out), reason);
    }
}

#[test]
fn pings_of_all_clients_are_understood() {
    for payload in [&[0xc0][..], &[0x80], &[]] {
        assert!(is_ping_payload(payload));
    }
    assert!(!is_ping_payload(&[0xc1, 1]));
}

#[test]
fn only_p2p_messages_have_a_limit_here() {
    for id in 0..=u8::MAX {
        assert_eq!(max_payload(id).is_some(), id <= 3, "{id}");
    }
}

proptest! {
    #[test]
    fn hello_round_trips_and_no_truncation_decodes(
        version: u32,
        client in "[ -~]{0,40}",
        port: u16,
        versions: Vec<u32>,
    ) {
        let capabilities = versions.iter().take(100).map(|&version| cap("eth", version)).collect();
        let hello = Hello { version, client, capabilities, listen_port: port, ..hello() };
        let bytes = encoded(&hello);
        for len in 0..bytes.len() {
            prop_assert!(Hello::decode(&bytes[..len]).is_err());
        }
        prop_assert_eq!(Hello::decode(&bytes), Ok(hello));
    }

    #[test]
    fn no_payload_panics(payload: Vec<u8>) {
        let _ = Hello::decode(&payload);
        let _ = Disconnect::decode(&payload);
    }
}
