//! The model beside the machine: any operations on small worlds, shrunk to a readable list when they part.
//!
//! To explore further than a test run does: `PROPTEST_CASES=20000 cargo test --release --features model --lib
//! peer::tests::model`, or `fuzz/explore.sh peer_manager 600`. A failure is kept in `proptest-regressions`, and becomes a
//! table test of its own.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;
use crate::event::GoodAct;
use crate::id::Direction;
use crate::peer::model::{self, IDENTITIES, Machine, Reference, World, drive, drive_bytes, identity};

/// The model, which configuration it has, and the latest operation as the machine is to see it.
#[derive(Debug, Clone)]
struct Side {
    config: Config,
    start: Instant,
    reference: Reference,
    latest: Option<(Op, Instant, Answer)>,
}

struct Peers;

impl ReferenceStateMachine for Peers {
    type State = Side;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Side> {
        let start = epoch();
        let side = move |(_, config): (&str, Config)| Side {
            reference: Reference::new(&config, start),
            config,
            start,
            latest: None,
        };
        prop::sample::select(model::configs()).prop_map(side).boxed()
    }

    fn transitions(_: &Side) -> BoxedStrategy<Op> {
        any_op().boxed()
    }

    fn apply(mut side: Side, op: &Op) -> Side {
        // Those of the operation before have been compared, on a copy.
        side.reference.model.take_updates();
        side.latest = Some(side.reference.step(op));
        side
    }
}

struct Beside;

impl StateMachineTest for Beside {
    type SystemUnderTest = (Machine, Option<Reference>);
    type Reference = Peers;

    fn init_test(side: &Side) -> Self::SystemUnderTest {
        (Machine::new(&side.config, side.start), None)
    }

    fn apply((mut machine, _): Self::SystemUnderTest, side: &Side, _: Op) -> Self::SystemUnderTest {
        let mut reference = side.reference.clone();
        let (op, now, expected) = side.latest.as_ref().unwrap();
        machine.step(op, *now, expected, &mut reference.model);
        (machine, Some(reference))
    }

    fn teardown((machine, reference): Self::SystemUnderTest, _: Side) {
        if let Some(mut reference) = reference {
            machine.finish(&mut reference);
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 384, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_decides_what_the_model_decides(sequential 1..160 => Beside);
}

proptest! {
    #[test]
    fn no_bytes_part_them(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        drive_bytes(epoch(), &bytes);
    }

    #[test]
    fn the_model_keeps_its_own_laws(bytes in prop::collection::vec(any::<u8>(), 0..1024)) {
        let world = World::from_bytes(&bytes);
        let mut reference = Reference::new(&world.config, epoch());
        for op in &world.ops {
            let before = reference.model.clone();
            let (op, now, answer) = reference.step(op);
            if answer.is_error() {
                let mut untouched = before;
                untouched.advance(now);
                prop_assert!(reference.model == untouched, "{op:?} failed with {answer:?} and changed something");
            }
            check_counts(&reference)?;
        }
    }
}

/// Laws 1, 2, 4 and 7, on the model.
fn check_counts(reference: &Reference) -> Result<(), TestCaseError> {
    let (model, config) = (&reference.model, reference.model.config());
    let counts = model.counts();
    prop_assert!(counts.stored <= config.max_peers, "{counts:?}");
    prop_assert!(counts.handshakes <= config.max_inbound_handshakes, "{counts:?}");
    prop_assert!(counts.dialing <= config.max_dials_in_flight, "{counts:?}");
    prop_assert!(model.ban_records().len() <= config.max_bans);
    for (_, peer) in model.dialing() {
        let both = matches!(
            model.status(&peer),
            Some(Status::Connected { direction: Direction::Outbound, dialing: Some(_), .. })
        );
        prop_assert!(!both, "{peer:?} is dialled and connected");
    }
    for peer in model.peers() {
        prop_assert!(peer != config.self_id);
        let record = model.record(&peer).unwrap();
        prop_assert!(record.addresses.len() <= config.max_addresses_per_peer);
    }
    Ok(())
}

fn any_peer() -> impl Strategy<Value = NodeId> {
    (0..IDENTITIES).prop_map(identity)
}

fn any_conn() -> impl Strategy<Value = ConnId> {
    prop_oneof![3 => 0u64..3, 1 => 0u64..10].prop_map(ConnId::new)
}

fn any_address() -> impl Strategy<Value = NodeAddress> {
    (any_peer(), 0usize..11).prop_map(|(peer, n)| model::address(peer, n))
}

fn any_source() -> impl Strategy<Value = Source> {
    prop_oneof![
        1 => Just(Source::Operator),
        3 => Just(Source::Discovery),
        3 => (0usize..4).prop_map(|from| Source::Gossip { from: identity(from) }),
    ]
}

fn any_closed() -> impl Strategy<Value = Closed> {
    prop_oneof![
        4 => Just(refused()),
        1 => Just(incompatible()),
        2 => Just(breach()),
        2 => (0u8..17).prop_map(|code| Closed::remote(DisconnectReason::from_code(code))),
        1 => Just(Reject::TooManyPeers.closed()),
        1 => Just(Closed::local(Layer::Node, Blame::Ourselves, DisconnectReason::Requested, "ours")),
    ]
}

fn any_target() -> impl Strategy<Value = BanTarget> {
    prop_oneof![
        any_peer().prop_map(BanTarget::Peer),
        (0usize..9).prop_map(|n| BanTarget::Prefix(model::prefix(n))),
    ]
}

fn any_length() -> impl Strategy<Value = Duration> {
    prop_oneof![
        8 => (0u64..800).prop_map(ms),
        2 => (1u64..200).prop_map(|seconds| ms(1_000 * seconds)),
        1 => (1u64..8).prop_map(|days| ms(86_400_000 * days)),
    ]
}

fn any_change() -> impl Strategy<Value = Change> {
    let limit = || {
        prop_oneof![
            4 => (0usize..6).prop_map(Limit::AtMost),
            1 => Just(Limit::Unlimited),
        ]
    };
    let set = prop::sample::select(vec![
        PeerSet::Persistent,
        PeerSet::Unconditional,
        PeerSet::Private,
        PeerSet::Trusted,
        PeerSet::Seeds,
    ]);
    let class = prop::option::of(0u8..12);
    prop_oneof![
        2 => limit().prop_map(Change::MaxOutbound),
        2 => limit().prop_map(Change::MaxInbound),
        1 => (0usize..20).prop_map(Change::UpgradeSlots),
        1 => (any_peer(), class).prop_map(|(peer, class)| Change::Priority { peer, class }),
        4 => (set, any_peer(), any::<bool>())
            .prop_map(|(set, peer, member)| Change::Member { set, peer, member }),
    ]
}

fn any_ban() -> impl Strategy<Value = Op> {
    let length = prop_oneof![
        1 => Just(None),
        1 => Just(Some(MAX_DURATION + ms(1))),
        6 => any_length().prop_map(Some),
    ];
    let why = prop_oneof![6 => Just(8usize), 1 => Just(MAX_BAN_TEXT_BYTES + 1)];
    (any_target(), length, why).prop_map(|(target, length, why)| Op::Ban {
        target,
        length,
        why: "x".repeat(why).into(),
    })
}

fn any_op() -> impl Strategy<Value = Op> {
    let misbehaviour = || prop::sample::select(&Misbehaviour::ALL[..]);
    let good = || prop::sample::select(GoodAct::ALL);
    let dials = prop_oneof![
        8 => Just(Op::TryDialNext),
        6 => any_conn().prop_map(|conn| Op::Dialed { conn }),
        4 => (any_conn(), any_closed()).prop_map(|(conn, closed)| Op::DialFailed { conn, closed }),
        3 => Just(Op::TryEvictNext),
        1 => Just(Op::PollOutput),
    ];
    let calls = prop_oneof![
        7 => (0usize..10).prop_map(|n| Op::Incoming { endpoint: model::endpoint(n) }),
        1 => (any_conn(), any_closed()).prop_map(|(conn, closed)| Op::IncomingFailed { conn, closed }),
        7 => (any_conn(), any_peer()).prop_map(|(conn, id)| Op::Accepted { conn, id }),
        6 => (any_conn(), 0u8..8)
            .prop_map(|(conn, bits)| Op::Ready { conn, introduction: model::introduction(bits) }),
        4 => (any_conn(), any_closed()).prop_map(|(conn, closed)| Op::Disconnected { conn, closed }),
    ];
    let behaviour = prop_oneof![
        2 => (any_conn(), misbehaviour(), 0u32..5)
            .prop_map(|(conn, what, count)| Op::Reported { conn, what, count }),
        2 => (any_conn(), good(), 0u32..9)
            .prop_map(|(conn, what, count)| Op::Praised { conn, what, count }),
        2 => (any_conn(), 0u64..1_000_000).prop_map(|(conn, latency)| Op::Measured {
            conn,
            latency: Duration::from_micros(latency)
        }),
        1 => (any_conn(), any_closed()).prop_map(|(conn, closed)| Op::Errored { conn, closed }),
        1 => any_peer().prop_map(|peer| Op::Disconnect { peer }),
    ];
    prop_oneof![
        4 => any_length().prop_map(Op::Advance),
        6 => (any_address(), any_source()).prop_map(|(address, source)| Op::Add { address, source }),
        20 => dials,
        22 => calls,
        6 => behaviour,
        2 => any_ban(),
        1 => any_target().prop_map(|target| Op::Unban { target }),
        3 => any_change().prop_map(Op::Reconfigure),
    ]
}

// What the model decides, where the page gives the number.

/// Drives the model alone.
struct Alone {
    reference: Reference,
}

impl Alone {
    fn new(config: &Config) -> Self {
        Self { reference: Reference::new(config, epoch()) }
    }

    fn op(&mut self, op: &Op) -> Answer {
        self.reference.step(op).2
    }

    fn add(&mut self, peer: NodeId, place: usize) -> Answer {
        self.op(&Op::Add { address: model::address(peer, place), source: Source::Discovery })
    }

    fn dial(&mut self) -> Option<NodeId> {
        match self.op(&Op::TryDialNext) {
            Answer::Dial(dial) => dial.map(|dial| dial.address.id()),
            other => panic!("{other:?}"),
        }
    }

    fn connect(&mut self) {
        let dialed = self.op(&Op::Dialed { conn: ConnId::new(0) });
        assert_eq!(dialed, Answer::Admitted(Ok(Admitted { replaces: None })));
    }

    fn hold(&self, peer: NodeId) -> Option<HoldReason> {
        match self.reference.model.status(&peer) {
            Some(Status::Idle { hold, .. }) => hold.map(|hold| hold.why),
            other => panic!("{other:?}"),
        }
    }
}

fn plain() -> Config {
    let mut config = Config::new(identity(0));
    config.max_outbound = Limit::AtMost(1);
    config.backoff.jitter = ms(0);
    config
}

#[test]
fn every_config_of_the_worlds_is_valid() {
    for (name, config) in model::configs() {
        assert_eq!(config.validate(), Ok(()), "{name}");
    }
}

#[test]
fn the_model_dials_the_first_class_first_and_a_seed_last() {
    let mut config = plain();
    config.max_outbound = Limit::AtMost(3);
    config.priorities = [(identity(5), 9)].into();
    config.seeds.peers = [identity(6)].into();
    let mut alone = Alone::new(&config);
    for (peer, place) in [(4, 0), (6, 2), (5, 0)] {
        alone.add(identity(peer), place);
    }
    let order = [5, 4, 6].map(|peer| Some(identity(peer)));
    assert_eq!([alone.dial(), alone.dial(), alone.dial()], order);
}

#[test]
fn the_model_forgives_a_seed_that_was_let_go_after_its_rest() {
    let mut config = plain();
    config.seeds.peers = [identity(6)].into();
    let mut alone = Alone::new(&config);
    alone.add(identity(6), 0);
    assert_eq!(alone.dial(), Some(identity(6)));
    alone.connect();
    alone.op(&Op::Ready { conn: ConnId::new(0), introduction: model::introduction(1) });
    alone.op(&Op::Advance(config.seeds.stay - ms(1)));
    assert_eq!(alone.op(&Op::TryEvictNext), Answer::Eviction(None));
    alone.op(&Op::Advance(ms(1)));
    let Answer::Eviction(Some(eviction)) = alone.op(&Op::TryEvictNext) else { panic!("it stays") };
    assert_eq!(eviction.why, EvictReason::SeedDone);
    alone.op(&Op::Disconnected { conn: ConnId::new(0), closed: refused() });
    assert_eq!(alone.hold(identity(6)), Some(HoldReason::SeedRest));
    alone.op(&Op::Advance(config.seeds.rest));
    assert_eq!(alone.dial(), Some(identity(6)));
}

#[test]
fn the_model_rotates_when_nobody_is_better() {
    let config = plain();
    let mut alone = Alone::new(&config);
    alone.add(identity(4), 0);
    let first = alone.dial().unwrap();
    alone.connect();
    alone.add(identity(5), 2);
    // Young, then up for an hour: by then it is better by a grade, and the hour is over.
    alone.op(&Op::Advance(Duration::from_secs(3_599)));
    assert_eq!(alone.dial(), None);
    alone.op(&Op::Advance(Duration::from_secs(1)));
    assert_eq!(alone.dial(), Some(identity(5)));
    alone.connect();
    let Answer::Eviction(Some(eviction)) = alone.op(&Op::TryEvictNext) else { panic!("it stays") };
    assert_eq!((eviction.peer, eviction.why), (first, EvictReason::Rotation));
}

#[test]
fn the_model_bans_whoever_reaches_the_limit_and_lets_it_back_in_time() {
    let config = plain();
    let mut alone = Alone::new(&config);
    alone.add(identity(4), 0);
    alone.dial();
    alone.connect();
    alone.op(&Op::Reported { conn: ConnId::new(0), what: Misbehaviour::Nuisance, count: 9 });
    assert_eq!(alone.reference.model.ban_records(), []);
    assert_eq!(alone.reference.model.grade(&identity(4)), Some(-3));
    alone.op(&Op::Reported { conn: ConnId::new(0), what: Misbehaviour::Nuisance, count: 1 });
    assert_eq!(alone.reference.model.ban_records().len(), 1);
    alone.op(&Op::Disconnected { conn: ConnId::new(0), closed: breach() });
    assert_eq!(alone.add(identity(4), 1), Answer::Added(Err(AddError::Banned)));
    alone.op(&Op::Advance(Duration::from_secs(3_600)));
    assert_eq!(alone.reference.model.ban_records(), []);
    assert_eq!(alone.dial(), Some(identity(4)));
}

#[test]
fn a_handshake_beyond_the_rate_of_its_group_is_refused_until_the_window_ends() {
    let mut config = plain();
    config.groups.max_handshakes = Limit::AtMost(1);
    let mut alone = Alone::new(&config);
    let call = |alone: &mut Alone, place| match alone.op(&Op::Incoming { endpoint: model::endpoint(place) }) {
        Answer::Incoming(answer) => answer.err(),
        other => panic!("{other:?}"),
    };
    assert_eq!(call(&mut alone, 0), None);
    alone.op(&Op::Advance(config.groups.window - ms(1)));
    assert_eq!(call(&mut alone, 1), Some(Reject::GroupRate));
    assert_eq!(call(&mut alone, 2), None, "another group");
    alone.op(&Op::Advance(ms(1)));
    assert_eq!(call(&mut alone, 1), None);
}

#[test]
fn an_empty_run_restores() {
    for (_, config) in model::configs() {
        assert_eq!(drive(&config, epoch(), &[]).answers, []);
    }
}
