//! Who may come in: each refusal, in the stated order.

use super::*;

#[test]
fn a_call_is_refused_for_the_first_reason_in_the_stated_order() {
    let mut config = Config { max_inbound_handshakes: 2, max_inbound: Limit::AtMost(2), ..quick() };
    config.max_excess_handshakes = 0;
    config.groups.max_inbound = Limit::AtMost(2);
    config.groups.max_handshakes = Limit::AtMost(2);
    config.groups.window = ms(1_000);
    let mut bench = Bench::new(config);
    let first = bench.incoming().unwrap();
    let second = bench.incoming().unwrap();
    bench.ban(prefix("9.9.9.0/24"), None).unwrap();
    assert_eq!(bench.incoming(), Err(Reject::TooManyHandshakes));
    bench.unban(prefix("9.9.9.0/24"));
    bench.accepted(first, id(1)).unwrap();
    bench.ban(prefix("9.9.9.0/24"), None).unwrap();
    assert_eq!(bench.incoming(), Err(Reject::Banned));
    bench.unban(prefix("9.9.9.0/24"));
    assert_eq!(bench.incoming(), Err(Reject::GroupFull));
    bench.incoming_failed(second);
    assert_eq!(bench.change(&Change::MaxInbound(Limit::AtMost(1))), Ok(true));
    assert_eq!(bench.incoming(), Err(Reject::GroupRate));
    bench.advance(ms(1_000));
    assert_eq!(bench.incoming(), Err(Reject::TooManyPeers));
    assert_eq!(bench.change(&Change::MaxInbound(Limit::AtMost(2))), Ok(true));
    bench.incoming().unwrap();
}

#[test]
fn a_window_of_handshakes_counts_from_the_first_and_is_each_groups_own() {
    let mut config = quick();
    config.groups.max_handshakes = Limit::AtMost(2);
    config.groups.window = ms(1_000);
    let mut bench = Bench::new(config);
    bench.incoming().unwrap();
    bench.advance(ms(900));
    let conn = bench.incoming().unwrap();
    bench.incoming_failed(conn);
    bench.advance(ms(99));
    assert_eq!(bench.incoming(), Err(Reject::GroupRate), "one that failed was begun all the same");
    bench.incoming_from([9, 9, 8, 9]).unwrap();
    bench.advance(ms(1));
    bench.incoming().unwrap();
    bench.incoming().unwrap();
    assert_eq!(bench.incoming(), Err(Reject::GroupRate));
}

#[test]
fn handshakes_and_connections_of_a_group_count_until_they_end_and_dials_do_not() {
    let mut config = quick();
    config.groups.max_inbound = Limit::AtMost(2);
    let mut bench = Bench::new(config);
    assert_eq!(bench.add(at(id(5), [9, 9, 9, 1])), Ok(true));
    bench.connect_to(id(5));
    let conn = bench.accept(id(1)).unwrap();
    let pending = bench.incoming().unwrap();
    assert_eq!(bench.incoming(), Err(Reject::GroupFull));
    bench.incoming_failed(pending);
    let pending = bench.incoming().unwrap();
    bench.part(conn);
    bench.incoming().unwrap();
    assert_eq!(bench.incoming(), Err(Reject::GroupFull));
    bench.accepted(pending, id(2)).unwrap();
    assert_eq!(bench.incoming(), Err(Reject::GroupFull));
}

#[test]
fn beside_a_full_pool_so_many_handshakes_begin_as_long_as_somebody_could_be_better() {
    let config = Config {
        max_inbound: Limit::AtMost(1),
        upgrade_slots: 1,
        max_excess_handshakes: 2,
        priorities: [(id(2), 2), (id(3), 3)].into(),
        ..quick()
    };
    let mut bench = Bench::new(config);
    bench.accept(id(1)).unwrap();
    let one = bench.incoming().unwrap();
    let two = bench.incoming().unwrap();
    assert_eq!(bench.incoming(), Err(Reject::TooManyPeers));
    bench.accepted(one, id(2)).unwrap();
    assert_eq!(bench.incoming(), Err(Reject::TooManyPeers), "the only upgrade is under way");
    assert_eq!(bench.accepted(two, id(3)), Err(Reject::TooManyPeers));
    bench.carry_out();
    bench.accepted(two, id(3)).unwrap();
}

#[test]
fn a_banned_range_is_let_in_as_far_as_its_name_if_somebody_is_unconditional() {
    for (unconditional, answer) in [(false, Err(Reject::Banned)), (true, Ok(()))] {
        let unconditional = if unconditional { [id(1)].into() } else { [].into() };
        let mut bench = Bench::new(Config { unconditional, ..quick() });
        bench.ban(prefix("9.9.0.0/16"), None).unwrap();
        assert_eq!(bench.incoming().map(drop), answer);
    }
}

#[test]
fn a_name_is_refused_for_the_first_reason_in_the_stated_order() {
    let config = Config {
        max_inbound: Limit::AtMost(1),
        max_outbound: Limit::AtMost(1),
        max_peers: 3,
        unconditional: [id(9)].into(),
        persistent: [id(8)].into(),
        priorities: [(id(5), 1), (id(8), 0)].into(),
        ..quick()
    };
    let mut bench = Bench::new(config);
    let conn = bench.accept(id(1)).unwrap();
    let pending = bench.incoming().unwrap();
    assert_eq!(bench.accepted(ConnId::new(77), id(SELF)), Err(Reject::UnknownConnection));
    assert_eq!(bench.accepted(conn, id(SELF)), Err(Reject::UnknownConnection));
    assert_eq!(bench.accepted(pending, id(SELF)), Err(Reject::SelfConnection));
    bench.ban(BanTarget::Peer(id(1)), None).unwrap();
    assert_eq!(bench.accepted(pending, id(1)), Err(Reject::Banned));
    bench.unban(BanTarget::Peer(id(1)));
    assert_eq!(bench.accepted(pending, id(1)), Err(Reject::Evicting(DisconnectReason::Requested)));
    assert_eq!(bench.accepted(pending, id(2)), Err(Reject::TooManyPeers));
    // A store full of peers that cannot go: one connected, one persistent, one being dialled.
    bench.know(&[id(5), id(8)]);
    bench.dial_to(id(5));
    assert_eq!(bench.accepted(pending, id(2)), Err(Reject::TooManyPeers), "no seat goes before no room");
    assert_eq!(bench.accepted(pending, id(9)), Err(Reject::StoreFull));
    bench.member(PeerSet::Persistent, id(8), false);
    bench.accepted(pending, id(9)).unwrap();
    assert!(!bench.manager.knows(&id(8)), "the worst idle peer went for it");
}

#[test]
fn an_unconditional_peer_is_refused_for_a_ban_of_its_name_alone() {
    let mut bench = Bench::new(Config { unconditional: [id(1)].into(), ..quick() });
    bench.ban(prefix("9.9.9.9/32"), None).unwrap();
    bench.accept(id(1)).unwrap();
    bench.ban(BanTarget::Peer(id(1)), None).unwrap();
    assert_eq!(bench.carry_out().why, EvictReason::Banned);
    assert_eq!(bench.accept(id(1)), Err(Reject::Banned));
}
