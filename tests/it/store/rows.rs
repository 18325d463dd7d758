//! Rows: every record is read as it was written, and a bad row costs itself alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use peerage::NodeAddress;
use peerage::address::IpPrefix;
use peerage::event::Misbehaviour;
use peerage::id::NodeId;
use peerage::peer::{
    AddressRecord, BanReason, BanRecord, BanTarget, HoldReason, HoldRecord, PeerRecord, PointsRecord, Record,
    Source, StandingRecord, Store, WallTime, Want,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::drive::{held, id, record};
use super::{ask, open, place, shell};

fn ids() -> impl Strategy<Value = NodeId> {
    (0..8_u8).prop_map(id)
}

fn times() -> impl Strategy<Value = WallTime> {
    prop_oneof![0..1_000_u64, 0..=i64::MAX as u64].prop_map(WallTime::from_unix_ms)
}

fn ips() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|ip| IpAddr::V4(Ipv4Addr::from_bits(ip))),
        any::<u128>().prop_map(|ip| IpAddr::V6(Ipv6Addr::from_bits(ip))),
    ]
}

fn sources() -> impl Strategy<Value = Source> {
    prop_oneof![
        Just(Source::Operator),
        Just(Source::Discovery),
        ids().prop_map(|from| Source::Gossip { from })
    ]
}

fn addresses(id: NodeId) -> impl Strategy<Value = AddressRecord> {
    let url = prop_oneof![
        (ips(), 1..=u16::MAX)
            .prop_map(move |(ip, port)| NodeAddress::rlpx(id, (ip, port).into()).to_string()),
        ("[a-z]{1,20}(\\.[a-z]{1,9}){0,3}", 1..=u16::MAX, any::<u16>())
            .prop_map(move |(host, tcp, udp)| format!("enode://{id}@{host}:{tcp}?discport={udp}")),
        Just(NodeAddress::memory(id).to_string()),
        "[!-~]{1,300}".prop_map(move |rest| format!("quic://{id}@{rest}")),
    ];
    (url, sources(), any::<u32>()).prop_map(|(url, source, failures)| AddressRecord {
        address: url.parse().unwrap(),
        source,
        failures,
    })
}

fn holds() -> impl Strategy<Value = HoldRecord> {
    let reasons = [
        HoldReason::Cooldown,
        HoldReason::Backoff,
        HoldReason::Busy,
        HoldReason::Incompatible,
        HoldReason::Ourselves,
        HoldReason::SeedRest,
    ];
    (times(), prop::sample::select(reasons.to_vec())).prop_map(|(until, why)| HoldRecord { until, why })
}

fn standings() -> impl Strategy<Value = StandingRecord> {
    let points =
        || option::of((any::<u32>(), times()).prop_map(|(points, since)| PointsRecord { points, since }));
    let number = || 0..=i64::MAX as u64;
    (points(), points(), number(), option::of(number())).prop_map(|(bad, good, uptime, latency)| {
        let (uptime, latency) = (Duration::from_millis(uptime), latency.map(Duration::from_micros));
        StandingRecord { bad, good, uptime, latency }
    })
}

fn wants() -> impl Strategy<Value = Want> {
    prop_oneof![
        "[!-~]{1,8}".prop_map(|name| Want::Capability(name.parse().unwrap())),
        ".{0,10}".prop_map(Want::Service),
    ]
}

fn records() -> impl Strategy<Value = Record> {
    let peers = ids().prop_flat_map(|id| {
        let history = (vec(addresses(id), 0..4), any::<u32>(), any::<bool>());
        (history, option::of(holds()), standings(), option::of(vec(wants(), 0..=16))).prop_map(
            move |((addresses, failures, incompatible), hold, standing, offers)| {
                Record::Peer(PeerRecord { id, addresses, failures, incompatible, hold, standing, offers })
            },
        )
    });
    let targets = prop_oneof![
        ids().prop_map(BanTarget::Peer),
        (ips(), 0..=32_u8).prop_map(|(ip, bits)| BanTarget::Prefix(IpPrefix::new(ip, bits).unwrap())),
    ];
    let reasons = prop_oneof![
        ".{0,50}".prop_map(|text| BanReason::Operator(text.into())),
        prop::sample::select(Misbehaviour::ALL.to_vec()).prop_map(BanReason::Misbehaved),
    ];
    let bans = (targets, option::of(times()), reasons)
        .prop_map(|(target, until, why)| Record::Ban(BanRecord { target, until, why }));
    prop_oneof![peers, bans]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_written_is_read_after_the_store_was_closed(records in vec(records(), 0..24)) {
        let (_directory, path) = place();
        let mut store = open(&path);
        let mut model = std::collections::BTreeMap::new();
        for record in records {
            store.persist(record.clone());
            model.insert(record.key(), record);
        }
        store.close().unwrap();
        prop_assert_eq!(held(&mut open(&path)), model);
    }
}

#[test]
fn numbers_beyond_what_a_file_holds_become_the_greatest_that_it_does() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let Record::Peer(mut peer) = record(0, 0) else { panic!() };
    peer.standing.uptime = Duration::MAX;
    peer.standing.latency = Some(Duration::MAX);
    peer.hold = Some(HoldRecord { until: WallTime::from_unix_ms(u64::MAX), why: HoldReason::Busy });
    store.persist(Record::Peer(peer));
    let held = held(&mut store);
    let Some(Record::Peer(peer)) = held.values().next() else { panic!() };
    let greatest = i64::MAX as u64;
    assert_eq!(peer.standing.uptime, Duration::from_millis(greatest));
    assert_eq!(peer.standing.latency, Some(Duration::from_micros(greatest)));
    assert_eq!(peer.hold.unwrap().until, WallTime::from_unix_ms(greatest));
}

/// Each spoils one row of a sound file: what is done, what is told of it, and how many records and addresses that
/// costs.
const SPOILT: &[(&str, &str, (usize, usize))] = &[
    (
        "UPDATE peers SET id = 'xyz' WHERE id = {1}; UPDATE addresses SET peer = 'xyz' WHERE peer = {1}",
        "'xyz' of peers, column `id`: a node id is 128",
        (1, 3),
    ),
    (
        "UPDATE peers SET id = upper(id) WHERE id = {1}; UPDATE addresses SET peer = upper(peer) WHERE peer = {1}",
        "of peers, column `id`: a node id is 128",
        (1, 3),
    ),
    (
        "UPDATE peers SET id = replace(hex(zeroblob(64)), '00', '11') WHERE id = {1};
         UPDATE addresses SET peer = replace(hex(zeroblob(64)), '00', '11') WHERE peer = {1}",
        "column `id`: a node id must be a point on secp256k1",
        (1, 3),
    ),
    ("UPDATE peers SET failures = -1 WHERE id = {1}", "column `failures`: -1 is out of range", (1, 3)),
    ("UPDATE peers SET failures = 1 << 32 WHERE id = {1}", "column `failures`: 4294967296 is out", (1, 3)),
    (
        "UPDATE peers SET incompatible = 2 WHERE id = {1}",
        "column `incompatible`: 2 is neither 0 nor 1",
        (1, 3),
    ),
    ("UPDATE peers SET hold_until = -5 WHERE id = {1}", "column `hold_until`: -5 is out of range", (1, 3)),
    (
        "UPDATE peers SET hold_why = 'tired' WHERE id = {1}",
        "`hold_why`: `tired` is none of cooldown, ",
        (1, 3),
    ),
    (
        "UPDATE peers SET hold_why = NULL WHERE id = {1}",
        "`hold_why`: is NULL, but `hold_until` is not",
        (1, 3),
    ),
    (
        "UPDATE peers SET bad_since = NULL WHERE id = {1}",
        "`bad_since`: is NULL, but `bad_points` is not",
        (1, 3),
    ),
    (
        "UPDATE peers SET good_points = NULL WHERE id = {1}",
        "`good_points`: is NULL, but `good_since`",
        (1, 3),
    ),
    (
        "UPDATE peers SET good_points = 1 << 40 WHERE id = {1}",
        "column `good_points`: 1099511627776 is",
        (1, 3),
    ),
    ("UPDATE peers SET uptime_ms = -1 WHERE id = {1}", "column `uptime_ms`: -1 is out of range", (1, 3)),
    ("UPDATE peers SET latency_us = -1 WHERE id = {1}", "column `latency_us`: -1 is out of range", (1, 3)),
    ("UPDATE peers SET offers = 'all' WHERE id = {1}", "`offers`: `all` is no capability:NAME", (1, 3)),
    (
        "UPDATE peers SET offers = hex(zeroblob(3000)) WHERE id = {1}",
        "`offers`: 6000 bytes; at most 4096",
        (1, 3),
    ),
    ("UPDATE addresses SET url = 'http://x' WHERE peer = {1} AND position = 1", "column `url`: ", (0, 1)),
    (
        "UPDATE addresses SET url = replace(url, peer, {2}) WHERE peer = {1} AND position = 1",
        "position = 1 of addresses, column `url`: the address is that of another node",
        (0, 1),
    ),
    (
        "UPDATE addresses SET url = url || hex(zeroblob(250)) WHERE peer = {1} AND position = 1",
        "bytes; at most 512",
        (0, 1),
    ),
    ("UPDATE addresses SET position = -1 WHERE peer = {1} AND position = 1", "position = -1 of", (0, 1)),
    ("UPDATE addresses SET failures = -1 WHERE peer = {1} AND position = 1", "`failures`: -1 is", (0, 1)),
    ("UPDATE addresses SET source = 'aunt' WHERE peer = {1} AND position = 1", "`aunt` is none of", (0, 1)),
    (
        "UPDATE addresses SET source = 'gossip:1' WHERE peer = {1} AND position = 1",
        "`source`: `gossip`",
        (0, 1),
    ),
    (
        "INSERT INTO addresses VALUES ('', 0, '', '', 0)",
        "'', position = 0 of addresses, column `peer`: no",
        (0, 0),
    ),
    (
        "INSERT INTO addresses VALUES ('zz', 4, '', '', 0)",
        "'zz', position = 4 of addresses, column `peer`: no",
        (0, 0),
    ),
    (
        "UPDATE addresses SET peer = {1} || 'x' WHERE peer = {1} AND position = 1",
        "no such row in peers",
        (0, 1),
    ),
    ("UPDATE bans SET target = '192.0.2.9/24' WHERE why = 'operator'", "written as 192.0.2.0/24", (1, 0)),
    (
        "UPDATE bans SET target = 'everybody' WHERE why = 'operator'",
        "`target`: `everybody` is neither",
        (1, 0),
    ),
    ("UPDATE bans SET until = -1 WHERE why = 'operator'", "of bans, column `until`: -1 is out", (1, 0)),
    ("UPDATE bans SET why = 'spite'", "column `why`: `spite` is none of operator, misbehaved", (1, 0)),
    ("UPDATE bans SET why = 'misbehaved'", "column `detail`: 54 bytes; at most 32", (1, 0)),
    ("UPDATE bans SET detail = hex(zeroblob(101))", "column `detail`: 202 bytes; at most 200", (1, 0)),
    ("UPDATE bans SET detail = CAST(x'ff' AS TEXT)", "column `detail`: is no UTF-8", (1, 0)),
];

#[test]
fn a_bad_row_is_skipped_and_told_and_the_others_are_read() {
    for (spoil, told, (records, addresses)) in SPOILT {
        let (_directory, path) = place();
        let mut store = open(&path);
        // A peer with three addresses and everything set, and a ban in an operator's words.
        for record in [record(1, 0xff), record(2, 0xff), record(10, 68)] {
            store.persist(record);
        }
        store.close().unwrap();
        let quoted = |key| format!("'{}'", id(key));
        let sql = spoil.replace("{1}", &quoted(1)).replace("{2}", &quoted(2));
        shell(&path, &sql);
        let loaded = open(&path).load().unwrap();
        assert_eq!(loaded.skipped, 1, "{sql}: {:?}", loaded.faults);
        assert!(loaded.faults[0].contains(told), "{sql}: {}", loaded.faults[0]);
        let count = |loaded: &[Record]| -> usize {
            loaded
                .iter()
                .map(|record| if let Record::Peer(peer) = record { peer.addresses.len() } else { 0 })
                .sum()
        };
        assert_eq!((loaded.records.len(), count(&loaded.records)), (3 - records, 6 - addresses), "{sql}");
    }
}

#[test]
fn values_of_a_type_that_the_schema_forbids_are_bad_rows_too() {
    let (_directory, path) = place();
    open(&path).close().unwrap();
    shell(
        &path,
        &format!(
            "DROP TABLE bans; CREATE TABLE bans (target, until, why, detail);
             INSERT INTO bans VALUES (NULL, 1, 'operator', ''), (7, NULL, 'operator', ''), (x'00', 1.5, 3, 4),
                 ('{0}', 'x', 'operator', ''), ('10.0.0.0/8', NULL, 7, ''), ('10.0.0.0/9', NULL, 'operator', NULL),
                 ('9.0.0.0/8', NULL, 'operator', ''), ('9.0.0.0/8', NULL, 'operator', '')",
            id(1)
        ),
    );
    let loaded = open(&path).load().unwrap();
    assert_eq!((loaded.records.len(), loaded.skipped), (1, 7), "{:?}", loaded.faults);
    assert!(loaded.faults.iter().any(|fault| fault.contains("the file is damaged")), "{:?}", loaded.faults);
}

#[test]
fn many_bad_rows_are_counted_and_some_told() {
    let (_directory, path) = place();
    open(&path).close().unwrap();
    shell(
        &path,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
         INSERT INTO bans SELECT i, NULL, '', '' FROM n",
    );
    let loaded = open(&path).load().unwrap();
    assert_eq!((loaded.records.len(), loaded.skipped, loaded.faults.len()), (0, 100, 16));
    assert_eq!(ask::<u32>(&path, "SELECT count(*) FROM bans"), 100, "they stay");
}
