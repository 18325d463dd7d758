//! What a configuration may say: each boundary, each refusal, and the absurd.

use super::*;

type Edit = fn(&mut Config);
type Set = fn(&mut Config, Duration);

/// A configuration that a change made unfit, with what is said of it.
fn refused_by(edit: Edit) -> ConfigError {
    let mut config = quick();
    edit(&mut config);
    let now = epoch();
    let made = PeerManager::new(config.clone(), 1, now, WallTime::default(), []).map(|_| ());
    assert_eq!(made, config.validate(), "a manager takes what is valid, and nothing else");
    made.expect_err("this is refused")
}

fn assert_fits(edit: Edit) {
    let mut config = quick();
    edit(&mut config);
    assert_eq!(config.validate(), Ok(()));
    assert!(PeerManager::new(config, 1, epoch(), WallTime::default(), []).is_ok());
}

const YEAR: Duration = MAX_DURATION;
const NANO: Duration = Duration::from_nanos(1);

#[test]
fn a_number_or_a_length_of_zero_is_refused_where_it_makes_no_sense_and_one_fits() {
    let table: [(&str, Edit, Edit); 15] = [
        (
            "max_inbound_handshakes",
            |c| (c.max_inbound_handshakes, c.max_excess_handshakes) = (0, 0),
            |c| {
                (c.max_inbound_handshakes, c.max_excess_handshakes) = (1, 1);
            },
        ),
        ("max_dials_in_flight", |c| c.max_dials_in_flight = 0, |c| c.max_dials_in_flight = 1),
        (
            "max_peers",
            |c| c.max_peers = 0,
            |c| {
                (c.max_peers, c.max_outbound, c.max_inbound) = (1, Limit::AtMost(0), Limit::AtMost(1));
            },
        ),
        ("max_addresses_per_peer", |c| c.max_addresses_per_peer = 0, |c| c.max_addresses_per_peer = 1),
        ("max_bans", |c| c.max_bans = 0, |c| c.max_bans = 1),
        ("upgrade_margin", |c| c.upgrade_margin = 0, |c| c.upgrade_margin = 1),
        ("forget_after", |c| c.forget_after = Limit::AtMost(0), |c| c.forget_after = Limit::AtMost(1)),
        ("backoff.min", |c| c.backoff.min = ms(0), |c| c.backoff.min = NANO),
        ("groups.window", |c| c.groups.window = ms(0), |c| c.groups.window = NANO),
        ("seeds.mode", |c| c.seeds.mode = Some(ms(0)), |c| c.seeds.mode = Some(NANO)),
        ("rotate_every", |c| c.rotate_every = Some(ms(0)), |c| c.rotate_every = Some(NANO)),
        (
            "behaviour.limit",
            |c| c.behaviour.limit = 0,
            |c| {
                (c.behaviour.limit, c.behaviour.trusted_cap) = (1, 0);
            },
        ),
        ("behaviour.halves_every", |c| c.behaviour.halves_every = ms(0), |c| c.behaviour.halves_every = NANO),
        ("behaviour.ban_for", |c| c.behaviour.ban_for = Some(ms(0)), |c| c.behaviour.ban_for = Some(NANO)),
        (
            "quotas.at_least",
            |c| c.quotas = vec![Quota { wants: Want::Capability(ETH), at_least: 0 }],
            |c| c.quotas = vec![Quota { wants: Want::Capability(ETH), at_least: 1 }],
        ),
    ];
    for (field, zero, one) in table {
        assert_eq!(refused_by(zero), ConfigError::Zero { field });
        assert_fits(one);
    }
}

#[test]
fn a_length_of_a_year_fits_and_a_longer_one_is_refused() {
    let table: [(&str, Set); 19] = [
        ("backoff.min", |c, length| {
            (c.backoff.min, c.backoff.max, c.backoff.max_persistent) = (length, length, length);
        }),
        ("backoff.max", |c, length| c.backoff.max = length),
        ("backoff.max_persistent", |c, length| c.backoff.max_persistent = length),
        ("backoff.jitter", |c, length| c.backoff.jitter = length),
        ("backoff.busy", |c, length| c.backoff.busy = length),
        ("backoff.incompatible", |c, length| c.backoff.incompatible = length),
        ("backoff.survival", |c, length| c.backoff.survival = length),
        ("upgrade_min_age", |c, length| c.upgrade_min_age = length),
        ("upgrade_interval", |c, length| c.upgrade_interval = length),
        ("cooldown", |c, length| c.cooldown = length),
        ("seeds.stay", |c, length| c.seeds.stay = length),
        ("seeds.rest", |c, length| c.seeds.rest = length),
        ("seeds.mode", |c, length| c.seeds.mode = Some(length)),
        ("rotate_every", |c, length| c.rotate_every = Some(length)),
        ("inbound_max_age", |c, length| c.inbound_max_age = Some(length)),
        ("groups.window", |c, length| c.groups.window = length),
        ("behaviour.halves_every", |c, length| c.behaviour.halves_every = length),
        ("behaviour.ban_for", |c, length| c.behaviour.ban_for = Some(length)),
        ("behaviour.uptime_levels", |c, length| c.behaviour.uptime_levels[2] = length),
    ];
    for (field, set) in table {
        for (length, answer) in [
            (YEAR, Ok(())),
            (YEAR + NANO, Err(ConfigError::TooLong { field })),
            (Duration::MAX, Err(ConfigError::TooLong { field })),
        ] {
            let mut config = quick();
            set(&mut config, length);
            assert_eq!(config.validate(), answer);
            let made = PeerManager::new(config, 1, epoch(), WallTime::default(), []).map(drop);
            assert_eq!(made, answer);
        }
    }
}

#[test]
fn what_must_not_be_below_another_field_may_equal_it() {
    let below = |field, than| ConfigError::Below { field, than };
    let table: [(ConfigError, Edit, Edit); 7] = [
        (
            below("backoff.max", "backoff.min"),
            |c| c.backoff.max = ms(100) - NANO,
            |c| c.backoff.max = ms(100),
        ),
        (
            below("backoff.max_persistent", "backoff.min"),
            |c| c.backoff.max_persistent = ms(100) - NANO,
            |c| c.backoff.max_persistent = ms(100),
        ),
        (
            below("max_inbound_handshakes", "max_excess_handshakes"),
            |c| (c.max_inbound_handshakes, c.max_excess_handshakes) = (3, 4),
            |c| (c.max_inbound_handshakes, c.max_excess_handshakes) = (4, 4),
        ),
        (
            below("inbound_max_age", "upgrade_min_age"),
            |c| (c.inbound_max_age, c.upgrade_min_age) = (Some(ms(4)), ms(5)),
            |c| (c.inbound_max_age, c.upgrade_min_age) = (Some(ms(5)), ms(5)),
        ),
        (
            below("behaviour.limit", "behaviour.trusted_cap + 1"),
            |c| c.behaviour.trusted_cap = 100,
            |c| c.behaviour.trusted_cap = 99,
        ),
        (
            below("behaviour.weights.breach", "behaviour.limit"),
            |c| c.behaviour.weights.breach = 99,
            |c| c.behaviour.weights.breach = 100,
        ),
        (
            below("max_outbound + max_inbound", "quotas.at_least"),
            |c| c.quotas = vec![Quota { wants: Want::Capability(ETH), at_least: 51 }],
            |c| c.quotas = vec![Quota { wants: Want::Capability(ETH), at_least: 50 }],
        ),
    ];
    for (error, short, enough) in table {
        assert_eq!(refused_by(short), error);
        assert_fits(enough);
    }
}

#[test]
fn levels_rise_or_fall_strictly_and_begin_above_zero() {
    let table: [(&str, Edit); 7] = [
        ("behaviour.useful_levels", |c| c.behaviour.useful_levels = [0, 1, 2]),
        ("behaviour.useful_levels", |c| c.behaviour.useful_levels = [1, 1, 2]),
        ("behaviour.useful_levels", |c| c.behaviour.useful_levels = [1, 3, 2]),
        ("behaviour.uptime_levels", |c| c.behaviour.uptime_levels = [ms(0), ms(1), ms(2)]),
        ("behaviour.uptime_levels", |c| c.behaviour.uptime_levels = [ms(1), ms(2), ms(2)]),
        ("behaviour.latency_levels", |c| c.behaviour.latency_levels = [ms(1), ms(1)]),
        ("behaviour.latency_levels", |c| c.behaviour.latency_levels = [ms(1), ms(2)]),
    ];
    for (field, edit) in table {
        assert_eq!(refused_by(edit), ConfigError::Unordered { field });
    }
    assert_fits(|c| {
        c.behaviour.useful_levels = [1, 2, 3];
        c.behaviour.uptime_levels = [NANO, ms(1), ms(2)];
        c.behaviour.latency_levels = [NANO, ms(0)];
    });
}

#[test]
fn quotas_are_bounded_and_each_wants_something_else() {
    let quota = |n: usize| Quota { wants: Want::Service(n.to_string()), at_least: 1 };
    let mut config = quick();
    config.quotas = (0..MAX_QUOTAS).map(quota).collect();
    assert_eq!(config.validate(), Ok(()));
    config.quotas.push(quota(99));
    assert_eq!(config.validate(), Err(ConfigError::Above { field: "quotas", limit: MAX_QUOTAS }));
    config.quotas = vec![quota(1), quota(2), Quota { at_least: 2, ..quota(1) }];
    assert_eq!(config.validate(), Err(ConfigError::QuotaTwice { wants: Want::Service("1".to_owned()) }));
}

#[test]
fn no_set_names_this_node_and_no_own_address_another() {
    let table: [(&str, Edit); 6] = [
        ("persistent", |c| c.persistent = [id(SELF)].into()),
        ("unconditional", |c| c.unconditional = [id(SELF)].into()),
        ("private", |c| c.private = [id(SELF)].into()),
        ("trusted", |c| c.trusted = [id(SELF)].into()),
        ("seeds.peers", |c| c.seeds.peers = [id(SELF)].into()),
        ("priorities", |c| c.priorities = [(id(SELF), 1)].into()),
    ];
    for (field, edit) in table {
        assert_eq!(refused_by(edit), ConfigError::NamesSelf { field });
    }
    assert_fits(|c| c.own_addresses = vec![address(id(SELF))]);
    let foreign = refused_by(|c| c.own_addresses = vec![address(id(SELF)), address(id(1))]);
    assert_eq!(foreign, ConfigError::ForeignAddress { address: address(id(1)) });
}

#[test]
fn persistent_peers_fit_into_the_outbound_pool_without_its_upgrade_slots() {
    assert_fits(|c| (c.persistent, c.max_outbound) = ([id(1), id(2)].into(), Limit::AtMost(2)));
    assert_fits(|c| {
        (c.persistent, c.max_outbound) = ([id(1), id(2)].into(), Limit::AtMost(1));
        c.unconditional = [id(2)].into();
    });
    assert_fits(|c| (c.persistent, c.max_outbound) = ([id(1)].into(), Limit::Unlimited));
    let error = refused_by(|c| {
        (c.persistent, c.max_outbound) = ([id(1), id(2)].into(), Limit::AtMost(1));
        c.upgrade_slots = 5;
    });
    assert_eq!(error, ConfigError::TooManyPersistent { persistent: 2, max_outbound: 1 });
}

#[test]
fn the_store_has_room_for_the_pools_their_upgrades_and_the_operators_peers() {
    fn config(max_peers: usize) -> Config {
        Config {
            max_peers,
            max_outbound: Limit::AtMost(3),
            max_inbound: Limit::AtMost(4),
            upgrade_slots: 2,
            unconditional: [id(1)].into(),
            seeds: SeedConfig { peers: [id(2), id(3)].into(), ..SeedConfig::default() },
            ..quick()
        }
    }
    assert_eq!(config(14).validate(), Ok(()));
    assert_eq!(config(13).validate(), Err(ConfigError::StoreTooSmall { max_peers: 13, needed: 14 }));
}

#[test]
fn each_error_reads_as_a_sentence_that_names_its_field() {
    let address = address(id(1));
    let told = address.to_string();
    let table = [
        (ConfigError::Zero { field: "max_bans" }, "`max_bans` must be at least 1"),
        (ConfigError::TooLong { field: "cooldown" }, "`cooldown` must not exceed one year"),
        (ConfigError::Below { field: "a", than: "b" }, "`a` must not be below `b`"),
        (ConfigError::Above { field: "quotas", limit: 16 }, "`quotas` must not exceed 16"),
        (ConfigError::NamesSelf { field: "private" }, "`private` names this node itself"),
        (ConfigError::QuotaTwice { wants: Want::Capability(ETH) }, "`quotas` names capability eth twice"),
        (ConfigError::StoreTooSmall { max_peers: 1, needed: 2 }, "`max_peers` is 1"),
        (ConfigError::TooManyPersistent { persistent: 2, max_outbound: 1 }, "`persistent` names 2 peers"),
        (ConfigError::Unordered { field: "levels" }, "`levels` must be in order"),
        (ConfigError::ForeignAddress { address }, told.as_str()),
    ];
    for (error, text) in table {
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// Configurations that nobody would write, valid or not.
fn absurd() -> Vec<Config> {
    let mut zero = quick();
    zero.max_outbound = Limit::AtMost(0);
    zero.max_inbound = Limit::AtMost(0);
    zero.max_excess_handshakes = 0;
    zero.max_addresses_per_source = Limit::AtMost(0);
    zero.groups = GroupConfig {
        max_outbound: Limit::AtMost(0),
        max_inbound: Limit::AtMost(0),
        max_stored: Limit::AtMost(0),
        max_handshakes: Limit::AtMost(0),
        ..GroupConfig::default()
    };
    (zero.seeds.stay, zero.seeds.rest) = (ms(0), ms(0));
    (zero.backoff.jitter, zero.backoff.busy, zero.backoff.survival) = (ms(0), ms(0), ms(0));
    let mut huge = Config::new(id(SELF));
    huge.max_outbound = Limit::AtMost(usize::MAX);
    huge.max_inbound = Limit::AtMost(usize::MAX);
    huge.max_peers = usize::MAX;
    huge.max_inbound_handshakes = usize::MAX;
    huge.max_excess_handshakes = usize::MAX;
    huge.max_dials_in_flight = usize::MAX;
    huge.upgrade_slots = usize::MAX;
    huge.upgrade_margin = u8::MAX;
    huge.forget_after = Limit::AtMost(usize::MAX);
    huge.max_addresses_per_peer = usize::MAX;
    huge.max_bans = usize::MAX;
    huge.quotas = vec![Quota { wants: Want::Capability(ETH), at_least: usize::MAX }];
    huge.behaviour.limit = u32::MAX;
    huge.behaviour.weights.breach = u32::MAX;
    huge.behaviour.useful_levels = [u32::MAX - 2, u32::MAX - 1, u32::MAX];
    let mut long = Config::new(id(SELF));
    for length in [
        &mut long.backoff.min,
        &mut long.backoff.max,
        &mut long.backoff.max_persistent,
        &mut long.backoff.jitter,
        &mut long.backoff.busy,
        &mut long.backoff.incompatible,
        &mut long.backoff.survival,
        &mut long.upgrade_min_age,
        &mut long.upgrade_interval,
        &mut long.cooldown,
        &mut long.seeds.stay,
        &mut long.seeds.rest,
        &mut long.groups.window,
        &mut long.behaviour.halves_every,
    ] {
        *length = YEAR;
    }
    (long.rotate_every, long.seeds.mode, long.inbound_max_age) = (Some(YEAR), Some(YEAR), Some(YEAR));
    let endless = Config { cooldown: Duration::MAX, rotate_every: Some(Duration::MAX), ..quick() };
    vec![zero, huge.clone(), long.clone(), endless, Config { seeds: long.seeds.clone(), ..huge }]
}

#[test]
fn an_absurd_configuration_is_refused_or_lived_with_and_never_panics() {
    let mut lived = 0;
    for config in absurd() {
        let now = epoch();
        let made = PeerManager::new(config.clone(), u64::MAX, now, WallTime::from_unix_ms(u64::MAX), []);
        assert_eq!(made.is_ok(), config.validate().is_ok());
        let Ok(mut manager) = made else { continue };
        lived += 1;
        for step in 1..=20_u64 {
            let now = now + MAX_DURATION * u32::try_from(step).unwrap();
            let _ = manager.add(&at(id(step % 5 + 1), [8, 8, 8, 8]), Source::Operator, now);
            let _ = manager.add(&at(id(step), [7, 7, 7, 7]), Source::Gossip { from: id(9) }, now);
            let dialled = manager.try_dial_next(now).map(|dial| dial.conn);
            let called = manager.incoming(&endpoint(), now).ok();
            for conn in dialled.into_iter().chain(called) {
                let _ = manager.dialed(conn, now);
                let _ = manager.accepted(conn, id(step), now);
                let _ = manager.ready(conn, introduction(), now);
                let _ = manager.measured(conn, Duration::MAX, now);
                let _ = manager.praised(conn, GoodAct::Helpful, u32::MAX, now);
                let _ = manager.reported(conn, Misbehaviour::Nuisance, u32::MAX, now);
                if step % 2 == 0 {
                    let _ = manager.disconnected(conn, &breach(), now);
                    let _ = manager.dial_failed(conn, &refused(), now);
                }
            }
            while manager.try_evict_next(now).is_some() || manager.poll_output().is_some() {}
            let _ = (manager.why(&id(step)), manager.why_not_dialling(), manager.next_wakeup());
            manager.check_invariants().unwrap();
        }
    }
    assert!(lived >= 3, "most of them are valid");
}
