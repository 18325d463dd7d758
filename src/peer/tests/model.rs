//! Random operations against the laws. `drive` is what a fuzzer will call.
//!
//! Seeds that failed once are replayed from `proptest-regressions`; they mean what they meant as long as `any_op` is
//! what it was, so each also has a table test of its own. To explore further than a test run does:
//! `PROPTEST_CASES=20000 cargo test --release --no-default-features --lib peer::tests::model`.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const PEERS: u64 = 10;

fn tight() -> Config {
    let mut config = quick();
    config.max_outbound = Limit::AtMost(3);
    config.max_inbound = Limit::AtMost(2);
    config.max_inbound_handshakes = 4;
    config.max_excess_handshakes = 2;
    config.max_dials_in_flight = 3;
    config.upgrade_slots = 2;
    config.upgrade_min_age = ms(300);
    config.upgrade_interval = ms(50);
    config.cooldown = ms(50);
    config.forget_after = Limit::AtMost(4);
    config.backoff.jitter = ms(30);
    config.behaviour.halves_every = ms(150);
    config.max_peers = 11;
    config.max_addresses_per_peer = 2;
    config.persistent = [id(1)].into();
    config.unconditional = [id(2), id(3)].into();
    config.private = [id(4)].into();
    config.priorities = [(id(5), 9), (id(6), 5), (id(7), 5), (id(8), 3)].into();
    config
}

/// Small pools, and nearly everybody outranks somebody at once: upgrades of upgrades are common.
fn hasty() -> Config {
    let mut config = tight();
    config.max_outbound = Limit::AtMost(2);
    config.upgrade_min_age = ms(0);
    config.upgrade_interval = ms(0);
    config.unconditional = [id(2)].into();
    config.priorities = (3..PEERS).map(|peer| (id(peer), u8::try_from(peer).unwrap())).collect();
    config
}

/// Everything seen of a run.
#[derive(Debug, Default, PartialEq)]
struct Trace {
    answers: Vec<Answer>,
    outputs: Vec<Output>,
}

/// Applies operations, and checks every law after each. Connections are named by how long ago they were minted.
fn drive(ops: &[Op], config: &Config) -> Trace {
    let start = epoch();
    let mut now = start;
    let mut manager = PeerManager::new(config.clone(), 7, now, WallTime::default(), []).unwrap();
    let mut trace = Trace::default();
    let mut up: BTreeMap<NodeId, ConnId> = BTreeMap::new();
    let mut minted = 0;
    let mut evicted = BTreeSet::new();
    let mut judge = Judge::default();
    for op in ops {
        if let Op::Advance(by) = op {
            now += *by;
        }
        let before = manager.clone();
        let op = resolve(op.clone(), minted);
        let answer = manager.apply(op.clone(), now);
        manager.check_invariants().unwrap_or_else(|broken| panic!("{op:?}: {broken}"));
        if answer.is_error() {
            assert_eq!(manager, before, "{op:?} failed with {answer:?} and changed something");
        }
        match &answer {
            Answer::Dial(Some(dial)) => {
                minted = dial.conn.as_u64();
                assert_dispensable(&before, dial, now);
            }
            Answer::Incoming(Ok(conn)) => minted = conn.as_u64(),
            Answer::Eviction(Some(eviction)) => assert!(evicted.insert(eviction.conn), "{eviction:?} again"),
            _ => {}
        }
        judge.follow(&op, &answer, &before, &manager);
        assert_awake(&manager, now);
        while let Some(output) = manager.poll_output() {
            note(&mut up, &output);
            trace.outputs.push(output);
        }
        assert_same_peers_are_up(&manager, &up);
        trace.answers.push(answer);
    }
    trace
}

fn resolve(op: Op, minted: u64) -> Op {
    let ago = |conn: ConnId| ConnId::new(minted.saturating_sub(conn.as_u64()));
    match op {
        Op::Dialed { conn } => Op::Dialed { conn: ago(conn) },
        Op::DialFailed { conn, closed } => Op::DialFailed { conn: ago(conn), closed },
        Op::IncomingFailed { conn, closed } => Op::IncomingFailed { conn: ago(conn), closed },
        Op::Accepted { conn, id } => Op::Accepted { conn: ago(conn), id },
        Op::Ready { conn, introduction } => Op::Ready { conn: ago(conn), introduction },
        Op::Disconnected { conn, closed } => Op::Disconnected { conn: ago(conn), closed },
        Op::Reported { conn, what, count } => Op::Reported { conn: ago(conn), what, count },
        Op::Errored { conn, closed } => Op::Errored { conn: ago(conn), closed },
        other => other,
    }
}

/// Keeps the scores in the slow way: one halving after the other, each at the instant at which it is due.
#[derive(Default)]
struct Judge {
    /// Points, when they are halved next, and all that were ever given.
    scores: BTreeMap<NodeId, (u64, Instant, u64)>,
}

impl Judge {
    fn follow(&mut self, op: &Op, answer: &Answer, before: &PeerManager, after: &PeerManager) {
        let policy = &after.config().behaviour;
        self.forgive(after.now, policy.halves_every);
        if let (Op::Reported { conn, what, count }, Answer::Report(Report::Applied)) = (op, answer) {
            let (_, peer) = before.connections().find(|(live, _)| live == conn).expect("late otherwise");
            let points = u64::from(policy.weights.of(*what)) * u64::from(*count);
            if points > 0 {
                let first = (0, after.now + policy.halves_every, 0);
                let (score, _, total) = self.scores.entry(peer).or_insert(first);
                *score += points;
                *total += points;
                let too_much = (*score >= u64::from(policy.limit)).then_some(EvictReason::Misbehaved);
                let expected = evicting(before, &peer).or(too_much);
                assert_eq!(evicting(after, &peer), expected, "{score} after {op:?}");
            } else {
                assert_eq!(evicting(after, &peer), evicting(before, &peer));
            }
        }
        self.scores.retain(|peer, _| after.knows(peer));
        for peer in &after.peers.values().map(|peer| peer.id).collect::<Vec<_>>() {
            let (expected, total) =
                self.scores.get(peer).map_or((0, 0), |(score, _, total)| (*score, *total));
            assert_eq!(u64::from(score(after, peer)), expected, "{op:?}");
            assert!(expected <= total);
        }
    }

    fn forgive(&mut self, now: Instant, halves_every: Duration) {
        for (score, next, _) in self.scores.values_mut() {
            while *next <= now {
                *score /= 2;
                *next += halves_every;
            }
        }
        self.scores.retain(|_, (score, ..)| *score > 0);
    }
}

fn score(manager: &PeerManager, peer: &NodeId) -> u32 {
    match manager.status(peer) {
        Some(
            Status::Idle { score, .. } | Status::Dialing { score, .. } | Status::Connected { score, .. },
        ) => score,
        None => 0,
    }
}

fn evicting(manager: &PeerManager, peer: &NodeId) -> Option<EvictReason> {
    match manager.status(peer) {
        Some(Status::Connected { evicting, .. }) => evicting,
        _ => None,
    }
}

fn assert_dispensable(before: &PeerManager, dial: &Dial, now: Instant) {
    let peer = dial.address.id();
    assert_ne!(peer, before.config().self_id);
    match before.status(&peer) {
        Some(Status::Idle { hold, .. }) => assert!(hold.is_none_or(|hold| hold.until <= now), "{hold:?}"),
        other => panic!("dispensed although {other:?}"),
    }
}

/// Liveness: what `try_dial_next` would find now, or later, `next_wakeup` announces.
fn assert_awake(manager: &PeerManager, now: Instant) {
    let mut copy = manager.clone();
    while copy.try_evict_next(now).is_some() {}
    let announced = copy.next_wakeup();
    let dials = std::iter::from_fn(|| copy.try_dial_next(now)).count();
    if dials > 0 {
        assert!(announced.is_some_and(|wakeup| wakeup.at <= now), "{dials} dials, announced {announced:?}");
    }
    let next = copy.next_wakeup();
    assert!(next.is_none_or(|wakeup| wakeup.at > now), "drained, and yet {next:?}");
    // Nothing comes free of itself before the wake-up announced.
    let just_before = next.map_or(now + ms(100_000), |wakeup| wakeup.at - Duration::from_nanos(1));
    assert_eq!(copy.clone().try_dial_next(just_before), None);
}

fn note(up: &mut BTreeMap<NodeId, ConnId>, output: &Output) {
    match output {
        Output::Update(PeerUpdate::Up { peer, conn, .. }) => assert_eq!(up.insert(*peer, *conn), None),
        Output::Update(PeerUpdate::Down { peer, conn, .. }) => assert_eq!(up.remove(peer), Some(*conn)),
        Output::Persist(Record::Peer(record)) => assert!(!record.addresses.is_empty()),
        Output::Persist(Record::Ban(_)) | Output::Forget(_) => {}
    }
}

fn assert_same_peers_are_up(manager: &PeerManager, up: &BTreeMap<NodeId, ConnId>) {
    let is_up = |peer: &NodeId| matches!(manager.status(peer), Some(Status::Connected { up: true, .. }));
    let found: BTreeMap<NodeId, ConnId> =
        manager.connections().filter(|(_, peer)| is_up(peer)).map(|(conn, peer)| (peer, conn)).collect();
    assert_eq!(found, *up);
}

fn any_closed() -> impl Strategy<Value = Closed> {
    prop_oneof![
        4 => Just(refused()),
        1 => Just(incompatible()),
        2 => Just(breach()),
        2 => (0u8..17).prop_map(|code| Closed::remote(DisconnectReason::from_code(code))),
        1 => Just(Reject::TooManyPeers.closed()),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let peer = || (0..PEERS).prop_map(id);
    let conn = || (0u64..8).prop_map(ConnId::new);
    let source = prop_oneof![
        1 => Just(Source::Operator),
        4 => Just(Source::Discovery),
        4 => peer().prop_map(|from| Source::Gossip { from }),
    ];
    prop_oneof![
        4 => (0u64..400).prop_map(|by| Op::Advance(ms(by))),
        6 => (peer(), 0u8..3, source)
            .prop_map(|(peer, host, source)| Op::Add { address: address_at(peer, host), source }),
        8 => Just(Op::TryDialNext),
        6 => conn().prop_map(|conn| Op::Dialed { conn }),
        4 => (conn(), any_closed()).prop_map(|(conn, closed)| Op::DialFailed { conn, closed }),
        8 => Just(Op::Incoming { endpoint: endpoint() }),
        2 => (conn(), any_closed()).prop_map(|(conn, closed)| Op::IncomingFailed { conn, closed }),
        8 => (conn(), peer()).prop_map(|(conn, id)| Op::Accepted { conn, id }),
        6 => conn().prop_map(|conn| Op::Ready { conn, introduction: introduction() }),
        3 => Just(Op::TryEvictNext),
        4 => (conn(), any_closed()).prop_map(|(conn, closed)| Op::Disconnected { conn, closed }),
        1 => (conn(), any_closed()).prop_map(|(conn, closed)| Op::Errored { conn, closed }),
        6 => (conn(), prop::sample::select(&Misbehaviour::ALL[..]), 0u32..5)
            .prop_map(|(conn, what, count)| Op::Reported { conn, what, count }),
        1 => peer().prop_map(|peer| Op::Disconnect { peer }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_law_holds_whatever_happens(ops in prop::collection::vec(any_op(), 1..160)) {
        drive(&ops, &tight());
    }

    #[test]
    fn hasty_upgrades_obey_the_same_laws(ops in prop::collection::vec(any_op(), 1..160)) {
        drive(&ops, &hasty());
    }

    #[test]
    fn a_small_store_and_no_upgrades_obey_the_same_laws(ops in prop::collection::vec(any_op(), 1..160)) {
        let mut config = tight();
        config.upgrade_slots = 0;
        config.max_outbound = Limit::AtMost(1);
        config.max_inbound = Limit::AtMost(1);
        config.max_peers = 4;
        drive(&ops, &config);
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(ops in prop::collection::vec(any_op(), 1..80)) {
        prop_assert_eq!(drive(&ops, &tight()).outputs, drive(&ops, &tight()).outputs);
    }
}
