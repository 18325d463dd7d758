//! Bans: what they cover, how they end, and how many there may be.

use super::*;
use crate::event::Rule;

#[test]
fn a_ban_of_a_connected_peer_ends_its_connection_once_and_keeps_it_out_both_ways() {
    let mut bench = Bench::new(quick());
    let conn = bench.up_to(id(1));
    assert_eq!(bench.ban(BanTarget::Peer(id(1)), Some(ms(700))), Ok(Banned { evicts: 1, renewed: false }));
    assert_eq!(bench.ban(BanTarget::Peer(id(1)), Some(ms(900))), Ok(Banned { evicts: 0, renewed: true }));
    let eviction = bench.carry_out();
    assert_eq!(
        (eviction.conn, eviction.why, eviction.reason()),
        (conn, EvictReason::Banned, DisconnectReason::Requested)
    );
    assert_eq!((eviction.because.rule, eviction.because.remaining()), (Rule::Banned, Some(ms(700))));
    assert_eq!((bench.dial(), bench.evict()), (None, None));
    assert_eq!(bench.accept(id(1)), Err(Reject::Banned));
    bench.advance(ms(900));
    bench.accept(id(1)).unwrap();
}

#[test]
fn a_ban_of_a_range_covers_connections_of_both_directions_within_it_alone() {
    let mut bench = Bench::new(quick());
    assert_eq!(bench.add(at(id(1), [7, 7, 7, 7])), Ok(true));
    bench.connect_to(id(1));
    bench.up_to(id(2));
    let calling = bench.incoming_from([7, 7, 0, 1]).unwrap();
    bench.accepted(calling, id(3)).unwrap();
    bench.accept(id(4)).unwrap();
    assert_eq!(bench.ban(prefix("7.7.0.0/16"), None), Ok(Banned { evicts: 2, renewed: false }));
    assert_eq!([bench.carry_out().peer, bench.carry_out().peer], [id(1), id(3)]);
    assert_eq!(bench.evict(), None);
    assert_eq!(bench.incoming_from([7, 7, 0, 1]), Err(Reject::Banned));
    bench.incoming_from([7, 8, 0, 1]).unwrap();
}

#[test]
fn a_dial_in_flight_is_rejected_when_it_arrives_and_its_slot_is_held_until_then() {
    for target in [BanTarget::Peer(id(1)), prefix("8.8.8.8/32")] {
        let mut bench = Bench::new(quick());
        bench.know(&[id(1)]);
        let conn = bench.dial_to(id(1));
        assert_eq!(bench.ban(target, None), Ok(Banned { evicts: 0, renewed: false }));
        assert_eq!(bench.dialed(conn), Err(Reject::Banned));
        assert_eq!(bench.manager.counts().dialing, 1);
        assert_eq!(bench.dial_failed(conn, &Reject::Banned.closed()), Report::Applied);
        assert_eq!(bench.manager.counts().dialing, 0);
        assert_eq!(bench.stored[&id(1)].failures, 0, "it did nothing");
        bench.advance(ms(100));
        assert_eq!(bench.dial(), None);
    }
}

#[test]
fn what_is_banned_is_neither_taken_up_nor_told() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1), id(2)]);
    assert_eq!(bench.add(at(id(1), [7, 7, 7, 7])), Ok(true));
    bench.ban(BanTarget::Peer(id(2)), None).unwrap();
    bench.ban(prefix("7.0.0.0/8"), None).unwrap();
    assert_eq!(bench.manager.advertise(None, 9), [address(id(1))]);
    assert_eq!(bench.add(at(id(3), [7, 7, 7, 7])), Err(AddError::Banned));
    assert_eq!(bench.add(address_at(id(2), 1)), Err(AddError::Banned));
    assert!(bench.unban(BanTarget::Peer(id(2))) && bench.unban(prefix("7.0.0.0/8")));
    assert_eq!(bench.manager.advertise(None, 9).len(), 3);
    assert_eq!(bench.add(address_at(id(2), 1)), Ok(true));
}

#[test]
fn a_ban_takes_the_place_of_an_earlier_one_and_ends_as_the_later_says() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    bench.ban(BanTarget::Peer(id(1)), None).unwrap();
    assert_eq!(bench.dial(), None);
    bench.ban(BanTarget::Peer(id(1)), Some(ms(200))).unwrap();
    assert_eq!(bench.banned.len(), 1);
    assert_eq!(bench.dial(), None);
    bench.advance(ms(199));
    assert_eq!(bench.dial(), None);
    bench.advance(ms(1));
    bench.dial_to(id(1));
    assert!(bench.banned.is_empty() && !bench.unban(BanTarget::Peer(id(1))), "what has ended is forgotten");
}

#[test]
fn a_ban_that_makes_no_sense_is_refused_and_changes_nothing() {
    let mut bench = Bench::new(quick());
    let peer = BanTarget::Peer(id(1));
    bench.pass(ms(1));
    let before = bench.manager.clone();
    let text = |length: usize| "x".repeat(length);
    let mut ban =
        |target, length, why: &str| bench.act(|manager, now| manager.ban(target, length, why, now).map(drop));
    assert_eq!(ban(BanTarget::Peer(id(SELF)), None, ""), Err(BanError::OwnId));
    assert_eq!(ban(peer, Some(ms(0)), ""), Err(BanError::NoLength));
    assert_eq!(ban(peer, Some(MAX_DURATION + ms(1)), ""), Err(BanError::TooLong));
    assert_eq!(ban(peer, Some(Duration::MAX), ""), Err(BanError::TooLong));
    assert_eq!(ban(peer, None, &text(201)), Err(BanError::TextTooLong { found_bytes: 201 }));
    assert_eq!(bench.manager, before);
    let mut ban = |length, why: &str| bench.act(|manager, now| manager.ban(peer, length, why, now).map(drop));
    assert_eq!(ban(Some(MAX_DURATION), &text(200)), Ok(()));
    assert_eq!(ban(Some(Duration::from_nanos(1)), ""), Ok(()));
}

#[test]
fn the_operators_bans_are_bounded_and_renewing_one_is_none_more() {
    let mut bench = Bench::new(Config { max_bans: 2, ..quick() });
    for peer in [1, 2] {
        bench.ban(BanTarget::Peer(id(peer)), None).unwrap();
    }
    assert_eq!(bench.ban(BanTarget::Peer(id(3)), None), Err(BanError::TooMany { max_bans: 2 }));
    bench.ban(BanTarget::Peer(id(2)), Some(ms(50))).unwrap();
    bench.advance(ms(50));
    bench.ban(BanTarget::Peer(id(3)), None).unwrap();
}

/// A node that bans whoever misbehaves, for a second.
fn banning(max_bans: usize) -> Bench {
    let mut config = Config { max_bans, persistent: [id(9)].into(), ..quick() };
    config.behaviour.ban_for = Some(ms(1_000));
    Bench::new(config)
}

fn misbehave(bench: &mut Bench, peer: u64) {
    let conn = bench.accept(id(peer)).unwrap();
    assert_eq!(bench.reported(conn, Misbehaviour::Breach, 1), Report::Applied);
    assert_eq!(bench.carry_out().why, EvictReason::Misbehaved);
}

fn targets(bench: &Bench) -> Vec<BanTarget> {
    let mut targets: Vec<_> = bench.manager.bans().map(|ban| ban.target).collect();
    targets.sort();
    targets
}

fn sorted(peers: &[u64]) -> Vec<BanTarget> {
    let mut targets: Vec<_> = peers.iter().map(|peer| BanTarget::Peer(id(*peer))).collect();
    targets.sort();
    targets
}

#[test]
fn misbehaviour_bans_for_a_while_but_nobody_that_is_protected() {
    let mut bench = banning(9);
    misbehave(&mut bench, 1);
    misbehave(&mut bench, 9);
    assert_eq!(targets(&bench), sorted(&[1]));
    let reason = BanReason::Misbehaved(Misbehaviour::Breach);
    assert_eq!(bench.banned[&BanTarget::Peer(id(1))].why, reason);
    bench.advance(ms(999));
    assert_eq!(bench.accept(id(1)), Err(Reject::Banned));
    bench.advance(ms(1));
    bench.accept(id(1)).unwrap();
}

#[test]
fn a_full_table_gives_up_the_automatic_ban_that_ends_first_for_a_new_automatic_one() {
    let mut bench = banning(3);
    bench.ban(BanTarget::Peer(id(5)), Some(ms(10))).unwrap();
    for peer in [1, 2] {
        bench.advance(ms(1));
        misbehave(&mut bench, peer);
    }
    bench.advance(ms(1));
    misbehave(&mut bench, 3);
    assert_eq!(targets(&bench), sorted(&[2, 3, 5]), "the operator's stays, though it ends sooner");
}

#[test]
fn a_table_full_of_the_operators_bans_takes_no_automatic_one() {
    let mut bench = banning(1);
    bench.ban(BanTarget::Peer(id(5)), None).unwrap();
    misbehave(&mut bench, 1);
    assert_eq!(targets(&bench), sorted(&[5]));
}

#[test]
fn an_automatic_ban_leaves_one_of_the_operator_as_it_is() {
    let mut bench = banning(9);
    let conn = bench.accept(id(1)).unwrap();
    bench.ban(BanTarget::Peer(id(1)), None).unwrap();
    assert_eq!(bench.reported(conn, Misbehaviour::Breach, 1), Report::Applied);
    assert_eq!(bench.banned[&BanTarget::Peer(id(1))].until, None);
}

#[test]
fn a_stranger_that_misbehaved_is_remembered_until_its_points_are_gone() {
    let mut config = quick();
    config.behaviour.halves_every = ms(1_000);
    let mut bench = Bench::new(config);
    let conn = bench.accept(id(1)).unwrap();
    assert_eq!(bench.reported(conn, Misbehaviour::OverQuota, 2), Report::Applied);
    bench.part(conn);
    assert!(bench.manager.knows(&id(1)));
    assert_eq!(bench.dial(), None);
    assert!(bench.stored.is_empty(), "one without an address is not worth a row");
    bench.pass(ms(1_999));
    assert!(bench.manager.knows(&id(1)));
    assert_eq!(bench.wakeup(), Some((ms(1), WakeReason::Regrade(id(1)))));
    bench.pass(ms(1));
    assert!(!bench.manager.knows(&id(1)));
}
