//! What is compared between model and machine, and how far.

use super::Model;
use crate::event::Closed;
use crate::peer::{
    Answer, BanRecord, Eviction, HoldRecord, PeerManager, PeerRecord, PeerUpdate, PointsRecord, Reject,
    WallTime,
};

/// Whether the machine answered what the model did, but for words and numbers that only explain.
pub(super) fn agree(expected: &Answer, found: &Answer) -> bool {
    match (expected, found) {
        (Answer::Dial(Some(one)), Answer::Dial(Some(two))) => {
            (one.conn, &one.address, one.because.rule) == (two.conn, &two.address, two.because.rule)
        }
        (Answer::Eviction(Some(one)), Answer::Eviction(Some(two))) => {
            let known = |eviction: &Eviction| (eviction.conn, eviction.peer, eviction.why);
            known(one) == known(two)
        }
        // What a peer is told that is being evicted, the page leaves open.
        (Answer::Admitted(Err(Reject::Evicting(_))), Answer::Admitted(Err(Reject::Evicting(_)))) => true,
        _ => expected == found,
    }
}

/// Whether an update is the one expected. A connection that is replaced has an end that nobody reported.
pub(super) fn same_update(expected: &PeerUpdate, found: &PeerUpdate) -> bool {
    let replaced = |closed: &Closed| closed.label == "replaced";
    match (expected, found) {
        (PeerUpdate::Down { peer, conn, closed }, PeerUpdate::Down { peer: other, conn: epoch, .. })
            if replaced(closed) =>
        {
            (peer, conn) == (other, epoch)
        }
        _ => expected == found,
    }
}

/// Compares all that can be seen of a machine with the model.
///
/// # Panics
///
/// At the first difference.
pub(super) fn assert_same(model: &Model, manager: &PeerManager) {
    assert_eq!(manager.counts(), model.counts(), "counts");
    let connections: Vec<_> = manager.connections().collect();
    assert_eq!(connections, model.connections().into_iter().collect::<Vec<_>>(), "connections");
    for id in model.peers() {
        assert_eq!(manager.status(&id), model.status(&id), "status of {id:?}");
        assert_eq!(manager.grade(&id), model.grade(&id), "grade of {id:?}");
    }
    assert_eq!(bans(manager), model.ban_records(), "bans");
    assert_eq!(manager.config(), model.config(), "the configuration in force");
}

pub(super) fn bans(manager: &PeerManager) -> Vec<BanRecord> {
    let mut bans: Vec<BanRecord> = manager.bans().collect();
    bans.sort_by_key(|ban| ban.target);
    bans
}

/// A record as it reads at a time: what has passed is gone.
pub(super) fn at(mut record: PeerRecord, now: WallTime, halves_every_ms: u64) -> PeerRecord {
    let halved = |record: PointsRecord| {
        let (mut points, mut since) = (record.points, record.since.as_unix_ms());
        while points > 0 && since.saturating_add(halves_every_ms) <= now.as_unix_ms() {
            (points, since) = (points / 2, since + halves_every_ms);
        }
        Some(PointsRecord { points, since: WallTime::from_unix_ms(since) }).filter(|_| points > 0)
    };
    record.hold = record.hold.filter(|HoldRecord { until, .. }| *until > now);
    record.standing.bad = record.standing.bad.and_then(halved);
    record.standing.good = record.standing.good.and_then(halved);
    record
}
