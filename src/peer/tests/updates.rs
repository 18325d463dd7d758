//! The update log and its cursors.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn up(peer: u64, conn: u64) -> PeerUpdate {
    let Introduction { channels, services, capabilities } = introduction();
    let remote = Remote::Endpoint(endpoint());
    PeerUpdate::Up {
        peer: id(peer),
        conn: ConnId::new(conn),
        direction: crate::id::Direction::Inbound,
        channels,
        services,
        capabilities,
        remote,
    }
}

fn down(peer: u64, conn: u64) -> PeerUpdate {
    PeerUpdate::Down { peer: id(peer), conn: ConnId::new(conn), closed: refused() }
}

fn drain(log: &UpdateLog, cursor: &mut Cursor) -> Vec<PeerUpdate> {
    std::iter::from_fn(|| log.next(cursor)).collect()
}

#[test]
fn every_subscriber_sees_every_change_once() {
    let mut log = UpdateLog::new();
    let mut cursors = [log.subscribe(), log.subscribe(), log.subscribe()];
    log.apply(up(1, 1));
    for cursor in &mut cursors {
        assert_eq!(drain(&log, cursor), [up(1, 1)]);
    }
    let [mut first, closed, mut third] = cursors;
    drop(closed);
    log.apply(down(1, 1));
    for cursor in [&mut first, &mut third] {
        assert_eq!(drain(&log, cursor), [down(1, 1)]);
        assert_eq!(drain(&log, cursor), []);
    }
}

#[test]
fn a_new_subscriber_begins_with_the_snapshot() {
    let mut log = UpdateLog::new();
    for update in [up(1, 1), up(2, 2), down(1, 1)] {
        assert!(log.apply(update));
    }
    assert_eq!(drain(&log, &mut log.subscribe()), [up(2, 2)]);
    assert!(log.snapshot().eq([&up(2, 2)]));
}

#[test]
fn a_flap_between_two_polls_shows_as_a_new_epoch() {
    let mut log = UpdateLog::new();
    let mut cursor = log.subscribe();
    log.apply(up(1, 1));
    assert_eq!(drain(&log, &mut cursor), [up(1, 1)]);
    for update in [down(1, 1), up(1, 5)] {
        log.apply(update);
    }
    assert_eq!(drain(&log, &mut cursor), [down(1, 1), up(1, 5)]);
}

#[test]
fn a_down_of_another_epoch_is_ignored() {
    let mut log = UpdateLog::new();
    log.apply(up(1, 2));
    assert!(!log.apply(down(1, 1)) && !log.apply(down(3, 1)));
    assert_eq!(log.version(), 1);
}

#[test]
fn memory_is_bounded_and_a_sleeper_still_learns_of_every_end() {
    let ids: Vec<NodeId> = (0..UpdateLog::MAX_DOWN as u64 + 50).map(|seed| id(seed + 1)).collect();
    let mut log = UpdateLog::new();
    let mut sleeper = log.subscribe();
    let up = |peer: NodeId, conn| match up(1, conn) {
        PeerUpdate::Up { conn, direction, channels, services, capabilities, remote, .. } => {
            PeerUpdate::Up { peer, conn, direction, channels, services, capabilities, remote }
        }
        other => other,
    };
    for (conn, peer) in (1..).zip(&ids) {
        log.apply(up(*peer, conn));
    }
    assert_eq!(drain(&log, &mut sleeper).len(), ids.len());
    for (conn, peer) in (1..).zip(&ids) {
        log.apply(PeerUpdate::Down { peer: *peer, conn: ConnId::new(conn), closed: refused() });
    }
    log.apply(up(ids[0], 5_000));
    assert!(log.entries() <= UpdateLog::MAX_DOWN + 1);
    let seen = drain(&log, &mut sleeper);
    assert_eq!(seen.len(), ids.len() + 1);
    assert_eq!(seen.iter().filter(|update| matches!(update, PeerUpdate::Down { .. })).count(), ids.len());
}

proptest! {
    #[test]
    fn ups_and_downs_alternate_and_add_up_to_the_snapshot(steps in prop::collection::vec((0u64..4, 0u8..4), 1..200)) {
        let mut log = UpdateLog::new();
        let mut cursors = [log.subscribe(), log.subscribe()];
        let mut beliefs: [BTreeMap<NodeId, ConnId>; 2] = Default::default();
        let mut current: BTreeMap<u64, u64> = BTreeMap::new();
        for (conn, (peer, action)) in (1..).zip(steps) {
            match (action, current.get(&peer)) {
                (0 | 1, None) => {
                    current.insert(peer, conn);
                    prop_assert!(log.apply(up(peer + 1, conn)));
                }
                (0 | 1, Some(&old)) => {
                    current.remove(&peer);
                    prop_assert!(log.apply(down(peer + 1, old)));
                }
                (slow, _) => {
                    let reader = usize::from(slow == 3);
                    for update in drain(&log, &mut cursors[reader]) {
                        let before = match update {
                            PeerUpdate::Up { peer, conn, .. } => beliefs[reader].insert(peer, conn).is_none(),
                            PeerUpdate::Down { peer, conn, .. } => beliefs[reader].remove(&peer) == Some(conn),
                        };
                        prop_assert!(before, "they alternate");
                    }
                    let up_now: BTreeMap<NodeId, ConnId> =
                        log.snapshot().map(|update| (update.peer(), update.conn())).collect();
                    prop_assert_eq!(&beliefs[reader], &up_now);
                }
            }
        }
    }
}
