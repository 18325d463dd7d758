//! Incoming connections, readiness, ends, and what subscribers see of them.

use super::*;

#[test]
fn accepting_stores_strangers_and_refuses_ourselves_and_duplicates() {
    let mut bench = Bench::new(quick());
    let conn = bench.accept(id(1)).unwrap();
    assert!(bench.manager.knows(&id(1)));
    assert_eq!(bench.accept(id(1)), Err(Reject::AlreadyConnected(conn)));
    assert_eq!(bench.accept(id(SELF)), Err(Reject::SelfConnection));
    bench.know(&[id(2)]);
    bench.accept(id(2)).unwrap();
    assert_eq!(bench.accepted(conn, id(3)), Err(Reject::UnknownConnection));
}

#[test]
fn a_full_inbound_pool_refuses_before_any_cryptography() {
    let mut bench = Bench::new(Config { max_inbound: Limit::AtMost(2), ..quick() });
    bench.accept(id(1)).unwrap();
    let pending = bench.incoming().unwrap();
    assert_eq!(bench.incoming(), Err(Reject::TooManyPeers), "a handshake in progress holds its slot");
    let report = bench.act(|manager, now| manager.incoming_failed(pending, &refused(), now));
    assert_eq!(report, Report::Applied);
    bench.accept(id(2)).unwrap();
    assert_eq!(bench.incoming(), Err(Reject::TooManyPeers));
}

#[test]
fn handshakes_in_progress_are_bounded() {
    let mut bench = Bench::new(Config { max_inbound_handshakes: 4, ..quick() });
    for _ in 0..4 {
        bench.incoming().unwrap();
    }
    assert_eq!(bench.incoming(), Err(Reject::TooManyHandshakes));
}

#[test]
fn unconditional_peers_stand_beside_full_pools() {
    let config = Config {
        max_inbound: Limit::AtMost(1),
        max_outbound: Limit::AtMost(0),
        max_excess_handshakes: 1,
        unconditional: [id(2), id(3)].into(),
        ..quick()
    };
    let mut bench = Bench::new(config);
    bench.accept(id(1)).unwrap();
    let pending = bench.incoming().unwrap();
    assert_eq!(bench.incoming(), Err(Reject::TooManyPeers), "only so many may be in excess");
    assert_eq!(bench.accepted(pending, id(4)), Err(Reject::TooManyPeers));
    assert_eq!(bench.accepted(pending, id(2)), Ok(Admitted { replaces: None }));
    bench.know(&[id(3), id(5)]);
    bench.connect_to(id(3));
    assert_eq!(bench.dial(), None);
    assert_eq!(bench.manager.counts().unconditional, 2);
}

#[test]
fn only_ready_makes_a_peer_visible_and_only_once() {
    let mut bench = Bench::new(quick());
    let conn = bench.accept(id(1)).unwrap();
    assert_eq!(bench.up(), []);
    assert_eq!(bench.ready(conn), Report::Applied);
    assert_eq!(bench.ready(conn), Report::Late);
    assert_eq!(bench.up(), [id(1)]);
    let update = bench.log.snapshot().next().cloned().unwrap();
    assert_eq!((update.version_of(ETH), update.version_of(ChannelId::from_static("snap"))), (Some(68), None));
    let PeerUpdate::Up { channels, services, capabilities, .. } = update else { panic!("{update:?}") };
    assert_eq!(Introduction { channels, services, capabilities }, introduction());
    assert_eq!(bench.ready(ConnId::new(44)), Report::Late);
    assert_eq!(bench.log.version(), 1);
}

#[test]
fn a_disconnect_is_seen_once_and_only_of_a_ready_peer() {
    let mut bench = Bench::new(quick());
    let conn = bench.accept(id(1)).unwrap();
    bench.leave(conn);
    assert_eq!(bench.log.version(), 0);
    let conn = bench.accept(id(1)).unwrap();
    assert_eq!(bench.ready(conn), Report::Applied);
    bench.leave(conn);
    assert_eq!(bench.disconnected(conn, &refused()), Report::Late);
    assert_eq!(bench.log.version(), 2);
    assert_eq!(bench.disconnected(ConnId::new(44), &refused()), Report::Late);
    assert!(!bench.manager.knows(&id(1)), "nothing is left to remember of a stranger");
}

#[test]
fn the_end_of_an_incoming_connection_leaves_the_dial_in_flight() {
    let mut bench = Bench::new(quick());
    bench.know(&[id(1)]);
    let dial = bench.dial_to(id(1));
    let incoming = bench.accept(id(1)).unwrap();
    bench.leave(incoming);
    assert_eq!(bench.manager.status(&id(1)), Some(Status::Dialing { bad_points: 0, conn: dial }));
    assert_eq!(bench.dialed(dial), Ok(Admitted { replaces: None }));
}

#[test]
fn an_error_evicts_once_with_its_own_reason() {
    let mut bench = Bench::new(quick());
    let conn = bench.accept(id(1)).unwrap();
    assert_eq!(bench.ready(conn), Report::Applied);
    assert_eq!(bench.evict(), None);
    assert_eq!(bench.errored(conn), Report::Applied);
    assert_eq!(bench.manager.next_wakeup().map(|wakeup| wakeup.why), Some(WakeReason::Evict));
    let eviction = bench.evict().unwrap();
    assert_eq!((eviction.conn, eviction.peer, eviction.why), (conn, id(1), EvictReason::Errored));
    assert_eq!(eviction.closed, breach(), "the layer and the blame are kept");
    assert_eq!(bench.errored(conn), Report::Applied);
    assert_eq!(bench.evict(), None);
    assert_eq!(bench.disconnected(conn, &eviction.closed), Report::Applied);
    let next = bench.accept(id(1)).unwrap();
    assert_eq!(bench.errored(conn), Report::Late, "never applied to its successor");
    assert_eq!(bench.evict(), None);
    assert_eq!(bench.manager.connection(&id(1)), Some(next));
}

#[test]
fn a_peer_doomed_before_it_was_ready_never_becomes_visible() {
    let mut bench = Bench::new(quick());
    let conn = bench.accept(id(1)).unwrap();
    assert_eq!(bench.errored(conn), Report::Applied);
    assert_eq!(bench.ready(conn), Report::Applied);
    bench.evict().unwrap();
    bench.leave(conn);
    assert_eq!(bench.log.version(), 0);
}

#[test]
fn an_operator_can_end_a_connection() {
    let mut bench = Bench::new(quick());
    assert!(!bench.act(|manager, now| manager.disconnect(&id(1), now)));
    let conn = bench.accept(id(1)).unwrap();
    assert!(bench.act(|manager, now| manager.disconnect(&id(1), now)));
    let eviction = bench.evict().unwrap();
    assert_eq!((eviction.conn, eviction.why), (conn, EvictReason::Operator));
    assert_eq!(eviction.reason(), DisconnectReason::Requested);
}

#[test]
fn only_ready_and_disconnected_are_seen_by_subscribers() {
    let mut bench = Bench::new(quick());
    let mut cursor = bench.log.subscribe();
    let inbound = bench.accept(id(1)).unwrap();
    assert_eq!(bench.ready(inbound), Report::Applied);
    bench.know(&[id(2), id(3)]);
    let first = bench.dial().unwrap();
    bench.dialed(first.conn).unwrap();
    assert_eq!(bench.ready(first.conn), Report::Applied);
    assert_eq!(bench.errored(first.conn), Report::Applied);
    let eviction = bench.evict().unwrap();
    assert_eq!(bench.disconnected(first.conn, &eviction.closed), Report::Applied);
    let second = bench.dial().unwrap();
    assert_eq!(bench.dial_failed(second.conn, &refused()), Report::Applied);
    let seen: Vec<ConnId> =
        std::iter::from_fn(|| bench.log.next(&mut cursor)).map(|update| update.conn()).collect();
    assert_eq!(seen, [inbound], "the other one's flap was over before anybody looked");
    assert_eq!(bench.log.version(), 3);
}
