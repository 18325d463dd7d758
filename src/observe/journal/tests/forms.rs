//! Every input, answer, record and change as JSON.

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde::de::DeserializeOwned;

use super::*;
use crate::event::{Because, Blame, Closed, DisconnectReason, GoodAct, Layer, Misbehaviour, Rule};
use crate::id::{ChannelId, ConnId, Direction, Protocol};
use crate::message::{AgreedChannel, Capability};
use crate::peer::*;

const ETH: ChannelId = ChannelId::from_static("eth");

fn closed() -> Closed {
    Closed::local(Layer::Frame, Blame::Protocol, DisconnectReason::Other(0x77), "bad_mac")
        .with_detail("in words \u{e9}")
}

fn introduction() -> Introduction {
    Introduction {
        channels: [AgreedChannel { id: ETH, version: 68 }].into(),
        services: ["archive".to_owned()].into(),
        capabilities: [67, 68].map(|version| Capability { name: ETH, version }).into(),
    }
}

/// One of each input, in an order that a live node could give them in.
pub(super) fn ops() -> Vec<Op> {
    let conn = ConnId::new(1);
    let ops = vec![
        Op::Advance(Duration::from_nanos(1_500_000_001)),
        Op::Add { address: address(1), source: Source::Gossip { from: id(2) } },
        Op::TryDialNext,
        Op::Dialed { conn },
        Op::Ready { conn, introduction: introduction() },
        Op::Incoming { endpoint: endpoint() },
        Op::Accepted { conn: ConnId::new(2), id: id(3) },
        Op::Reported { conn, what: Misbehaviour::Nuisance, count: 3 },
        Op::Errored { conn, closed: closed() },
        Op::TryEvictNext,
        Op::Disconnected { conn, closed: closed() },
        Op::DialFailed { conn: ConnId::new(u64::MAX), closed: closed() },
        Op::IncomingFailed { conn, closed: closed() },
        Op::Disconnect { peer: id(3) },
        Op::PollOutput,
        Op::Praised { conn, what: GoodAct::Served, count: 2 },
        Op::Measured { conn, latency: Duration::from_micros(1_500) },
        Op::Ban {
            target: BanTarget::Prefix("192.0.2.0/24".parse().unwrap()),
            length: Some(Duration::from_secs(60)),
            why: "spam".into(),
        },
        Op::Unban { target: BanTarget::Peer(id(3)) },
        Op::Reconfigure(Change::MaxOutbound(Limit::AtMost(3))),
    ];
    // A new input that is not in the list above: give it the next number here, and add it there.
    let number = |op: &Op| match op {
        Op::Advance(_) => 0,
        Op::Add { .. } => 1,
        Op::TryDialNext => 2,
        Op::Dialed { .. } => 3,
        Op::Ready { .. } => 4,
        Op::Incoming { .. } => 5,
        Op::Accepted { .. } => 6,
        Op::Reported { .. } => 7,
        Op::Errored { .. } => 8,
        Op::TryEvictNext => 9,
        Op::Disconnected { .. } => 10,
        Op::DialFailed { .. } => 11,
        Op::IncomingFailed { .. } => 12,
        Op::Disconnect { .. } => 13,
        Op::PollOutput => 14,
        Op::Praised { .. } => 15,
        Op::Measured { .. } => 16,
        Op::Ban { .. } => 17,
        Op::Unban { .. } => 18,
        Op::Reconfigure(_) => 19,
    };
    assert!(ops.iter().map(number).eq(0..ops.len()));
    ops
}

/// Answers of each kind, with instants counted from `start`.
fn answers(start: Instant) -> Vec<Answer> {
    let because = Because::new(Rule::Busy, start).with_count(3, Some(25));
    let because = because.with_until(Some(start + Duration::from_millis(1500)));
    let (conn, peer) = (ConnId::new(9), id(1));
    let Introduction { channels, services, capabilities } = introduction();
    let remotes = [Remote::Address(address(1)), Remote::Endpoint(endpoint())];
    let up = remotes.map(|remote| {
        let (channels, services, capabilities) = (channels.clone(), services.clone(), capabilities.clone());
        let direction = Direction::Inbound;
        Answer::Output(Some(Output::Update(PeerUpdate::Up {
            peer,
            conn,
            direction,
            channels,
            services,
            capabilities,
            remote,
        })))
    });
    let eviction = Eviction { conn, peer, why: EvictReason::SeedDone, closed: closed(), because };
    let mut answers = vec![
        Answer::Advanced,
        Answer::Added(Ok(true)),
        Answer::Added(Err(AddError::StoreFull)),
        Answer::Dial(None),
        Answer::Dial(Some(Dial { conn, address: address(1), because })),
        Answer::Admitted(Ok(Admitted { replaces: Some(conn) })),
        Answer::Admitted(Err(Reject::AlreadyConnected(conn))),
        Answer::Incoming(Ok(conn)),
        Answer::Incoming(Err(Reject::Evicting(DisconnectReason::Useless))),
        Answer::Report(Report::Late),
        Answer::Eviction(None),
        Answer::Eviction(Some(eviction)),
        Answer::Disconnect(true),
        Answer::Ban(Ok(Banned { evicts: 1, renewed: false })),
        Answer::Ban(Err(BanError::TooLong)),
        Answer::Unban(true),
        Answer::Reconfigured(Ok(true)),
        Answer::Reconfigured(Err(ConfigError::Zero { field: "max_peers" })),
        Answer::Output(None),
        Answer::Output(Some(Output::Update(PeerUpdate::Down { peer, conn, closed: closed() }))),
    ];
    answers.extend(up);
    answers.extend(records().into_iter().map(|record| Answer::Output(Some(Output::Persist(record)))));
    answers.push(Answer::Output(Some(Output::Forget(RecordKey::Ban(BanTarget::Peer(peer))))));
    answers
}

fn records() -> Vec<Record> {
    let peer = PeerRecord {
        hold: Some(HoldRecord { until: WallTime::from_unix_ms(u64::MAX), why: HoldReason::SeedRest }),
        standing: StandingRecord {
            bad: Some(PointsRecord { points: 7, since: WallTime::from_unix_ms(1) }),
            good: None,
            uptime: Duration::from_millis(123_456),
            latency: Some(Duration::from_micros(77)),
        },
        offers: Some(vec![Want::Capability(ETH), Want::Service("archive".into())]),
        ..PeerRecord::new(address(4), Source::Operator)
    };
    let ban = |target, until, why| Record::Ban(BanRecord { target, until, why });
    vec![
        Record::Peer(PeerRecord::new(NodeAddress::memory(id(5)), Source::Discovery)),
        Record::Peer(peer),
        ban(BanTarget::Peer(id(6)), None, BanReason::Misbehaved(Misbehaviour::Breach)),
        ban(
            BanTarget::Prefix("192.0.2.0/24".parse().unwrap()),
            Some(WallTime::from_unix_ms(5)),
            BanReason::Operator("spam".into()),
        ),
    ]
}

/// Checks that a value is the same when it was written and read.
fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap_or_else(|error| panic!("{text}: {error}")), value);
}

#[test]
fn every_input_survives_json() {
    ops().iter().for_each(survives);
}

#[test]
fn records_changes_configurations_and_small_things_survive_json() {
    records().iter().for_each(survives);
    let (peer, set) = (id(1), PeerSet::Seeds);
    survives(&[
        Change::MaxInbound(Limit::Unlimited),
        Change::Member { set, peer, member: true },
        Change::Priority { peer, class: Some(9) },
        Change::UpgradeSlots(3),
    ]);
    let mut config = Config::new(id(0));
    config.priorities.insert(peer, 200);
    config.seeds = SeedConfig { peers: [peer].into(), mode: Some(Duration::from_nanos(1)), ..config.seeds };
    config.quotas.push(Quota { wants: Want::Service("\"quoted\"\n".into()), at_least: 2 });
    config
        .own_addresses
        .push("enode://ID@node-1.example.org:1?discport=0".replace("ID", &peer.to_string()).parse().unwrap());
    survives(&config);
    survives(&[
        Endpoint::Memory(peer),
        Endpoint::Other { protocol: Protocol::from_static("X/!"), rest: "a b".into() },
    ]);
    survives(&GoodAct::ALL.to_vec());
    survives(&Misbehaviour::ALL);
    survives(&Rule::ALL.to_vec());
    survives(&(0..=u8::MAX).map(DisconnectReason::from_code).collect::<Vec<_>>());
}

#[test]
fn answers_are_written_each_in_its_own_way_whenever_they_were_given() {
    let (start, later) = (epoch(), epoch() + Duration::from_secs(99));
    let write = |start| -> Vec<String> {
        answers(start).iter().map(|answer| serde_json::to_string(answer).unwrap()).collect()
    };
    let written = write(start);
    assert_eq!(written, write(later));
    assert_eq!(written.iter().collect::<BTreeSet<_>>().len(), written.len());
    assert!(
        written[4].contains(r#""rule":"busy","value":3,"threshold":25,"remaining_ns":1500000000"#),
        "{}",
        written[4]
    );
}

#[test]
fn what_is_no_identity_is_refused_when_it_is_read() {
    let good = serde_json::to_string(&Op::Disconnect { peer: id(1) }).unwrap();
    let with = |text: &str| {
        let changed = good.replace(&id(1).to_string(), text);
        serde_json::from_str::<Op>(&changed).unwrap_err().to_string()
    };
    assert!(with(&"0".repeat(128)).contains("point on secp256k1"));
    assert!(with("abcd").contains("128 lower-case hex digits"));
    assert!(serde_json::from_str::<Op>(&good.replace("\"peer\"", "\"pear\"")).is_err());
}
