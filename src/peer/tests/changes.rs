//! Changes of a running manager: what follows from each.

use super::*;

fn ranked(outbound: usize) -> Config {
    let priorities = (1..=9u8).map(|class| (id(u64::from(class)), class)).collect();
    Config {
        max_outbound: Limit::AtMost(outbound),
        max_inbound: Limit::AtMost(outbound),
        priorities,
        ..quick()
    }
}

fn outbound(limit: usize) -> Change {
    Change::MaxOutbound(Limit::AtMost(limit))
}

fn evicted(bench: &mut Bench) -> Vec<(NodeId, EvictReason)> {
    let mut all: Vec<_> =
        std::iter::from_fn(|| bench.evict()).map(|eviction| (eviction.peer, eviction.why)).collect();
    all.sort();
    all
}

fn lowered(peers: &[u64]) -> Vec<(NodeId, EvictReason)> {
    let mut all: Vec<_> = peers.iter().map(|peer| (id(*peer), EvictReason::LimitLowered)).collect();
    all.sort();
    all
}

#[test]
fn a_raised_limit_lets_the_next_be_dialled() {
    let mut bench = Bench::new(ranked(1));
    bench.up_to(id(1));
    bench.know(&[id(2)]);
    assert_eq!(
        (bench.dial(), bench.wakeup().map(|(_, why)| matches!(why, WakeReason::Dial))),
        (None, Some(false))
    );
    assert_eq!(bench.change(&outbound(2)), Ok(true));
    bench.dial_to(id(2));
    assert_eq!(bench.change(&Change::MaxOutbound(Limit::Unlimited)), Ok(true));
    bench.know(&[id(3)]);
    bench.dial_to(id(3));
}

#[test]
fn a_lowered_limit_orders_out_the_worst_and_the_protected_last() {
    let mut bench = Bench::new(Config { persistent: [id(1)].into(), ..ranked(4) });
    for peer in [3, 1, 4, 2] {
        bench.up_to(id(peer));
    }
    assert_eq!(bench.change(&outbound(2)), Ok(true));
    assert_eq!(evicted(&mut bench), lowered(&[2, 3]));
    assert_eq!(bench.change(&outbound(1)), Ok(true));
    assert_eq!(evicted(&mut bench), lowered(&[4]));
    assert!(bench.change(&outbound(0)).is_err(), "the persistent peer needs a slot");
    bench.member(PeerSet::Persistent, id(1), false);
    assert_eq!(bench.change(&outbound(0)), Ok(true));
    assert_eq!(evicted(&mut bench), lowered(&[1]));
}

#[test]
fn the_other_pool_and_unconditional_slots_are_not_touched() {
    let mut bench = Bench::new(Config { unconditional: [id(9)].into(), ..ranked(3) });
    for peer in [1, 9] {
        bench.up_to(id(peer));
    }
    bench.accept(id(2)).unwrap();
    assert_eq!(bench.change(&Change::MaxInbound(Limit::AtMost(0))), Ok(true));
    assert_eq!(evicted(&mut bench), lowered(&[2]));
    assert_eq!(bench.change(&outbound(0)), Ok(true));
    assert_eq!(evicted(&mut bench), lowered(&[1]));
}

#[test]
fn a_dial_that_finds_no_room_when_it_arrives_is_rejected_and_one_that_finds_some_is_not() {
    let mut bench = Bench::new(ranked(2));
    bench.up_to(id(1));
    bench.know(&[id(2)]);
    let dial = bench.dial_to(id(2));
    assert_eq!(bench.change(&outbound(1)), Ok(true));
    assert_eq!(bench.evict(), None, "one connection is no more than one");
    assert_eq!(bench.dialed(dial), Err(Reject::TooManyPeers));
    assert_eq!(bench.change(&outbound(2)), Ok(true));
    bench.dialed(dial).unwrap();
}

#[test]
fn a_handshake_that_finds_no_room_when_it_is_through_is_rejected() {
    let mut bench = Bench::new(ranked(2));
    bench.accept(id(1)).unwrap();
    let pending = bench.incoming().unwrap();
    assert_eq!(bench.change(&Change::MaxInbound(Limit::AtMost(1))), Ok(true));
    assert_eq!(bench.evict(), None);
    assert_eq!(bench.accepted(pending, id(9)), Err(Reject::TooManyPeers));
    bench.incoming_failed(pending);
    assert_eq!(bench.manager.counts().inbound, 1);
}

#[test]
fn a_limit_lowered_while_a_place_is_being_taken_over_ends_with_no_more_than_the_limit() {
    let mut bench = Bench::new(Config { upgrade_slots: 1, ..ranked(2) });
    bench.up_to(id(1));
    bench.up_to(id(2));
    bench.know(&[id(9)]);
    let dial = bench.dial_to(id(9));
    assert_eq!(bench.change(&outbound(1)), Ok(true));
    assert_eq!(bench.manager.counts().upgrades, 1);
    assert_eq!(bench.dialed(dial), Err(Reject::TooManyPeers));
    let first = bench.carry_out();
    assert_eq!((first.peer, first.why), (id(1), EvictReason::LimitLowered));
    assert_eq!(bench.evict(), None);
    let counts = bench.manager.counts();
    assert_eq!((counts.outbound, counts.upgrades), (2, 0), "the dial holds the slot until its end");
    assert_eq!(bench.dialed(dial), Err(Reject::TooManyPeers));
    assert_eq!(bench.dial_failed(dial, &Reject::TooManyPeers.closed()), Report::Applied);
    assert_eq!(bench.manager.counts().outbound, 1);
}

#[test]
fn upgrade_slots_open_and_close_and_what_began_goes_on() {
    let mut bench = Bench::new(ranked(1));
    bench.up_to(id(1));
    bench.know(&[id(8), id(9)]);
    assert_eq!(bench.dial(), None);
    assert_eq!(bench.change(&Change::UpgradeSlots(1)), Ok(true));
    let dial = bench.dial_to(id(9));
    assert_eq!(bench.change(&Change::UpgradeSlots(0)), Ok(true));
    bench.dialed(dial).unwrap();
    assert_eq!(bench.carry_out().peer, id(1));
    assert_eq!(bench.dial(), None);
}

#[test]
fn a_changed_priority_ranks_a_peer_anew_wherever_it_is() {
    let mut bench = Bench::new(Config { upgrade_slots: 1, ..ranked(2) });
    bench.up_to(id(3));
    bench.up_to(id(4));
    bench.know(&[id(1), id(2)]);
    assert_eq!(bench.dial(), None);
    let class = |peer, class| Change::Priority { peer: id(peer), class };
    assert_eq!(bench.change(&class(1, Some(5))), Ok(true));
    assert_eq!(bench.change(&class(4, None)), Ok(true));
    let dial = bench.dial_to(id(1));
    bench.dialed(dial).unwrap();
    assert_eq!(bench.carry_out().peer, id(4), "the worst now");
    assert_eq!(bench.change(&class(4, None)), Ok(false));
    assert_eq!(bench.change(&class(1, Some(5))), Ok(false));
}

#[test]
fn a_change_that_changes_nothing_says_so_and_one_that_does_not_fit_leaves_all_as_it_was() {
    let mut bench = Bench::new(ranked(2));
    bench.up_to(id(1));
    bench.pass(ms(1));
    let before = bench.manager.clone();
    assert_eq!(bench.change(&outbound(2)), Ok(false));
    let member = |set, peer, member| Change::Member { set, peer, member };
    assert_eq!(bench.change(&member(PeerSet::Private, id(1), false)), Ok(false));
    for set in
        [PeerSet::Persistent, PeerSet::Unconditional, PeerSet::Private, PeerSet::Trusted, PeerSet::Seeds]
    {
        assert!(matches!(bench.change(&member(set, id(SELF), true)), Err(ConfigError::NamesSelf { .. })));
    }
    let own = Change::Priority { peer: id(SELF), class: Some(1) };
    assert_eq!(bench.change(&own), Err(ConfigError::NamesSelf { field: "priorities" }));
    let room = bench.change(&outbound(10_000));
    assert!(matches!(room, Err(ConfigError::StoreTooSmall { .. })), "{room:?}");
    assert!(matches!(
        bench.change(&Change::UpgradeSlots(usize::MAX)),
        Err(ConfigError::StoreTooSmall { .. })
    ));
    assert_eq!(bench.manager, before);
}

#[test]
fn a_persistent_peer_is_spared_and_kept_from_then_on_and_no_longer_when_it_leaves_the_set() {
    let mut bench = Bench::new(Config { upgrade_slots: 1, forget_after: Limit::AtMost(1), ..ranked(1) });
    bench.up_to(id(1));
    bench.know(&[id(9)]);
    bench.member(PeerSet::Persistent, id(1), true);
    assert_eq!(bench.dial(), None);
    bench.member(PeerSet::Persistent, id(1), false);
    let dial = bench.dial_to(id(9));
    bench.member(PeerSet::Persistent, id(9), true);
    assert_eq!(bench.dial_failed(dial, &refused()), Report::Applied);
    assert!(bench.manager.knows(&id(9)), "kept");
}

#[test]
fn an_unconditional_peer_goes_first_and_free_from_then_on_and_a_connection_keeps_its_slot() {
    let mut bench = Bench::new(ranked(1));
    bench.up_to(id(1));
    bench.know(&[id(2)]);
    assert_eq!(bench.dial(), None);
    bench.member(PeerSet::Unconditional, id(2), true);
    bench.connect_to(id(2));
    bench.member(PeerSet::Unconditional, id(1), true);
    let counts = bench.manager.counts();
    assert_eq!((counts.outbound, counts.unconditional), (1, 1));
    bench.member(PeerSet::Unconditional, id(2), false);
    assert_eq!(bench.manager.counts().unconditional, 1);
    assert_eq!(bench.evict(), None);
}

#[test]
fn a_peer_in_a_banned_range_is_dialled_once_it_is_unconditional() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    bench.ban(prefix("8.0.0.0/8"), None).unwrap();
    assert_eq!(bench.dial(), None);
    bench.member(PeerSet::Unconditional, id(1), true);
    bench.dial_to(id(1));
}

#[test]
fn a_private_peer_is_told_no_longer_and_again_when_it_leaves_the_set() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    for (member, told) in [(true, 0), (false, 1)] {
        bench.member(PeerSet::Private, id(1), member);
        assert_eq!(bench.manager.advertise(None, 9).len(), told);
    }
}

#[test]
fn a_trusted_peer_is_borne_with_from_then_on_and_no_longer_when_it_leaves_the_set() {
    let mut bench = Bench::new(quick());
    let conn = bench.up_to(id(1));
    bench.member(PeerSet::Trusted, id(1), true);
    assert_eq!(bench.reported(conn, Misbehaviour::Breach, 3), Report::Applied);
    assert_eq!(bench.evict(), None);
    bench.member(PeerSet::Trusted, id(1), false);
    assert_eq!(bench.reported(conn, Misbehaviour::OverQuota, 49), Report::Applied);
    assert_eq!(bench.evict(), None, "50 and 49");
    assert_eq!(bench.reported(conn, Misbehaviour::OverQuota, 1), Report::Applied);
    assert!(bench.evict().is_some());
}

#[test]
fn a_peer_that_becomes_a_seed_waits_until_the_others_are_dialled() {
    let mut bench = Bench::new(Config { max_dials_in_flight: 1, ..ranked(3) });
    bench.know(&[id(1), id(2)]);
    bench.member(PeerSet::Seeds, id(2), true);
    let conn = bench.connect_to(id(1));
    bench.part(conn);
    bench.member(PeerSet::Seeds, id(2), false);
    bench.dial_to(id(2));
}

/// Peer 9 takes the place of peer 1, which becomes persistent meanwhile.
fn protected_victim(others: &[u64]) -> (Bench, ConnId) {
    let mut bench = Bench::new(Config { upgrade_slots: 1, ..ranked(1 + others.len()) });
    bench.up_to(id(1));
    for peer in others {
        bench.up_to(id(*peer));
    }
    bench.know(&[id(5)]);
    let dial = bench.dial_to(id(5));
    bench.member(PeerSet::Persistent, id(1), true);
    (bench, dial)
}

#[test]
fn of_a_claimed_peer_that_became_protected_the_worst_other_takes_the_turn_if_it_is_outranked() {
    let (mut bench, dial) = protected_victim(&[3, 2]);
    bench.dialed(dial).unwrap();
    assert_eq!(bench.carry_out().peer, id(2));
    assert_eq!((bench.evict(), bench.manager.counts().upgrades), (None, 0));

    for others in [&[][..], &[6]] {
        let (mut bench, dial) = match others {
            [] => protected_victim(&[]),
            _ => {
                let (mut bench, dial) = protected_victim(&[3]);
                bench.change(&Change::Priority { peer: id(3), class: Some(6) }).unwrap();
                (bench, dial)
            }
        };
        assert_eq!(bench.dialed(dial), Err(Reject::TooManyPeers));
        assert_eq!(bench.dial_failed(dial, &Reject::TooManyPeers.closed()), Report::Applied);
        assert_eq!((bench.evict(), bench.manager.counts().upgrades), (None, 0));
    }
}

#[test]
fn a_claimed_peer_that_was_ordered_out_before_it_became_protected_goes_all_the_same() {
    let mut bench = Bench::new(Config { upgrade_slots: 1, ..ranked(1) });
    let conn = bench.up_to(id(1));
    bench.know(&[id(5)]);
    let dial = bench.dial_to(id(5));
    assert_eq!(bench.errored(conn), Report::Applied);
    bench.member(PeerSet::Persistent, id(1), true);
    bench.dialed(dial).unwrap();
    assert_eq!(bench.carry_out().why, EvictReason::Errored);
    assert_eq!(bench.evict(), None);
}

#[test]
fn a_youth_that_ended_under_protection_is_over_when_the_protection_is() {
    let (persistent, upgrade_min_age) = ([id(1)].into(), ms(600));
    let mut bench = Bench::new(Config { persistent, upgrade_min_age, upgrade_slots: 1, ..ranked(1) });
    bench.up_to(id(1));
    bench.know(&[id(2)]);
    bench.advance(ms(600));
    bench.member(PeerSet::Persistent, id(1), false);
    assert_eq!(bench.wakeup(), Some((ms(0), WakeReason::Dial)), "peer 1 is old enough");
    bench.dial_to(id(2));
}

#[test]
fn whoever_becomes_persistent_is_left_alone_no_longer_than_a_persistent_peer() {
    for (closed, why) in
        [(refused(), HoldReason::Backoff), (Closed::remote(DisconnectReason::TooManyPeers), HoldReason::Busy)]
    {
        let mut bench = Bench::new(quick());
        bench.know(&[id(1)]);
        for _ in 0..4 {
            let dial = bench.dial_to(id(1));
            assert_eq!(bench.dial_failed(dial, &closed), Report::Applied);
            bench.pass(ms(1_000));
        }
        let dial = bench.dial_to(id(1));
        assert_eq!(bench.dial_failed(dial, &closed), Report::Applied);
        bench.member(PeerSet::Persistent, id(1), true);
        let most = bench.now + bench.manager.config().backoff.max_persistent;
        let idle = Status::Idle { bad_points: 0, hold: Some(Hold { until: most, why }) };
        assert_eq!(bench.manager.status(&id(1)), Some(idle));
        assert_eq!(bench.stored.get(&id(1)).cloned(), bench.manager.record(&id(1)));
        bench.member(PeerSet::Persistent, id(1), false);
        bench.pass(ms(200));
        bench.dial_to(id(1));
    }
}
