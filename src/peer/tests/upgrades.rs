//! Upgrades: a better peer takes the place of a worse one.

use super::*;

/// Priorities 1, 2, 3, ... of peers 1, 2, 3, ...
fn ranked(outbound: usize, upgrade_slots: usize) -> Config {
    let priorities = (1..=9u8).map(|class| (id(u64::from(class)), class)).collect();
    Config {
        max_outbound: Limit::AtMost(outbound),
        max_inbound: Limit::AtMost(outbound),
        upgrade_slots,
        priorities,
        ..quick()
    }
}

/// A manager connected to the peers given, in this order.
fn connected(config: Config, peers: &[u64]) -> (Bench, Vec<ConnId>) {
    let mut bench = Bench::new(config);
    let mut conns = Vec::new();
    for peer in peers {
        bench.know(&[id(*peer)]);
        conns.push(bench.connect_to(id(*peer)));
    }
    (bench, conns)
}

#[test]
fn a_better_peer_is_dialled_and_the_worst_evicted_once_it_is_there() {
    let (mut bench, conns) = connected(ranked(2, 1), &[1, 2]);
    bench.know(&[id(3)]);
    let dial = bench.dial_to(id(3));
    assert_eq!(bench.evict(), None);
    bench.know(&[id(4)]);
    assert_eq!(bench.dial(), None, "the slot is in use while the dial is");
    bench.dialed(dial).unwrap();
    let eviction = bench.evict().unwrap();
    assert_eq!((eviction.peer, eviction.why), (id(1), EvictReason::Upgrade));
    assert_eq!(eviction.reason(), DisconnectReason::TooManyPeers);
    assert_eq!(bench.dial(), None, "and until the eviction is complete");
    assert_eq!(bench.disconnected(conns[0], &eviction.closed), Report::Applied);
    bench.dial_to(id(4));
}

#[test]
fn two_upgrades_never_claim_one_victim() {
    let (mut bench, _) = connected(ranked(1, 2), &[1]);
    bench.know(&[id(2), id(3)]);
    let dial = bench.dial_to(id(3));
    assert_eq!(bench.dial(), None);
    assert_eq!(bench.dial_failed(dial, &refused()), Report::Applied);
    let dial = bench.dial_to(id(2));
    bench.dialed(dial).unwrap();
    assert_eq!(bench.dial(), None, "the victim is doomed already");
}

#[test]
fn equals_are_never_evicted_for_each_other() {
    let config = Config { priorities: [].into(), ..ranked(1, 1) };
    let (mut bench, _) = connected(config, &[1]);
    bench.know(&[id(2), id(3), id(4)]);
    assert_eq!(bench.dial(), None);
    let wakeup = bench.manager.next_wakeup().unwrap();
    assert!(matches!(wakeup.why, WakeReason::Regrade(_)), "only its grade can change: {wakeup:?}");
}

#[test]
fn whoever_is_worst_when_the_newcomer_arrives_is_evicted() {
    let (mut bench, conns) = connected(ranked(2, 1), &[3, 2]);
    bench.know(&[id(9)]);
    let dial = bench.dial_to(id(9));
    bench.leave(conns[0]);
    bench.advance(ms(1));
    bench.know(&[id(1)]);
    // The peer that left is under back-off, so the free slot goes to the worst of all.
    bench.connect_to(id(1));
    bench.dialed(dial).unwrap();
    assert_eq!(bench.evict().map(|eviction| eviction.peer), Some(id(1)));
    assert_eq!(bench.evict(), None);
}

#[test]
fn nobody_is_evicted_if_a_slot_came_free_meanwhile() {
    for leaver in [0, 1] {
        let (mut bench, conns) = connected(ranked(2, 1), &[1, 2]);
        bench.know(&[id(3)]);
        let dial = bench.dial_to(id(3));
        bench.leave(conns[leaver]);
        bench.dialed(dial).unwrap();
        assert_eq!(bench.evict(), None);
        assert_eq!(bench.manager.counts().upgrades, 0);
    }
}

#[test]
fn a_better_incoming_peer_takes_the_place_of_the_worst() {
    let mut bench = Bench::new(ranked(1, 1));
    let first = bench.accept(id(2)).unwrap();
    assert_eq!(bench.accept(id(1)), Err(Reject::TooManyPeers));
    bench.accept(id(3)).unwrap();
    assert_eq!(bench.accept(id(4)), Err(Reject::TooManyPeers), "until the eviction is complete");
    let eviction = bench.evict().unwrap();
    assert_eq!(eviction.conn, first);
    assert_eq!(bench.disconnected(first, &eviction.closed), Report::Applied);
    bench.accept(id(4)).unwrap();
    assert_eq!(bench.evict().map(|eviction| eviction.peer), Some(id(3)));
}

#[test]
fn an_incoming_connection_beside_its_own_upgrade_dial_ends_in_one() {
    for (self_is_greater, peer) in [(true, lesser(0)), (false, greater(0))] {
        let config = Config { priorities: [(peer, 9)].into(), ..ranked(1, 1) };
        let mut bench = Bench::new(config);
        let weak = (1..).map(id).find(|other| *other != peer).unwrap();
        bench.know(&[weak]);
        bench.connect_to(weak);
        bench.know(&[peer]);
        let dial = bench.dial_to(peer);
        let incoming = bench.accept(peer).unwrap();
        let answer = bench.dialed(dial);
        if self_is_greater {
            assert_eq!(answer, Ok(Admitted { replaces: Some(incoming) }));
            assert_eq!(bench.evict().map(|eviction| eviction.peer), Some(weak));
        } else {
            assert_eq!(answer, Err(Reject::AlreadyConnected(incoming)));
            assert_eq!(
                bench.dial_failed(dial, &Reject::AlreadyConnected(incoming).closed()),
                Report::Applied
            );
            assert_eq!(bench.evict(), None);
            assert_eq!(bench.manager.counts().upgrades, 0);
        }
    }
}

#[test]
fn a_young_connection_is_spared_until_its_age_and_the_wake_up_says_when() {
    let (mut bench, _) = connected(Config { upgrade_min_age: ms(600), ..ranked(1, 1) }, &[1]);
    bench.know(&[id(2)]);
    assert_eq!(bench.dial(), None);
    let wakeup = bench.manager.next_wakeup().unwrap();
    assert_eq!((wakeup.at - bench.now, wakeup.why), (ms(600), WakeReason::Upgrade));
    bench.advance(ms(600));
    bench.dial_to(id(2));
}

#[test]
fn a_youth_that_ended_under_a_claim_is_over_when_the_claim_is() {
    let peer = greater(0);
    let mut bench = Bench::new(Config { upgrade_min_age: ms(600), ..ranked(1, 1) });
    bench.accept(lesser(0)).unwrap();
    bench.know(&[peer]);
    bench.connect_to(peer);
    bench.advance(ms(600));
    bench.know(&[id(8), id(9)]);
    let dial = bench.dial_to(id(9));
    bench.accept(peer).expect("a replacement inherits the slot, and the claim on it");
    bench.advance(ms(600));
    assert_eq!(bench.dial_failed(dial, &refused()), Report::Applied);
    assert_eq!(bench.wakeup(), Some((ms(0), WakeReason::Dial)), "the heir is old enough");
    bench.dial_to(id(8));
}

#[test]
fn upgrades_are_limited_in_rate() {
    let (mut bench, _) = connected(Config { upgrade_interval: ms(900), ..ranked(2, 2) }, &[1, 2]);
    bench.know(&[id(3), id(4)]);
    bench.dial_to(id(4));
    assert_eq!(bench.dial(), None);
    assert_eq!(bench.manager.next_wakeup().map(|wakeup| wakeup.at - bench.now), Some(ms(900)));
    bench.advance(ms(900));
    bench.dial_to(id(3));
}

#[test]
fn persistent_and_unconditional_peers_are_never_victims() {
    for config in [
        Config { persistent: [id(1)].into(), ..ranked(1, 1) },
        Config { unconditional: [id(1)].into(), max_outbound: Limit::AtMost(0), ..ranked(1, 1) },
    ] {
        let (mut bench, _) = connected(config, &[1]);
        bench.know(&[id(9)]);
        assert_eq!(bench.dial(), None);
    }
}

#[test]
fn without_a_limit_nobody_is_evicted() {
    let config = Config { max_outbound: Limit::Unlimited, max_inbound: Limit::Unlimited, ..ranked(1, 3) };
    let (mut bench, _) = connected(config, &[1, 2, 3, 4]);
    assert_eq!(bench.evict(), None);
    bench.accept(id(5)).unwrap();
    assert_eq!(bench.evict(), None);
}

#[test]
fn an_upgrade_of_an_upgrade_waits_for_the_first_victim_when_the_second_leaves() {
    let (mut bench, conns) = connected(ranked(1, 2), &[1]);
    bench.know(&[id(2)]);
    let middle = bench.dial_to(id(2));
    bench.dialed(middle).unwrap();
    let eviction = bench.evict().unwrap();
    bench.know(&[id(3)]);
    let dial = bench.dial_to(id(3));
    bench.leave(middle);
    let counts = bench.manager.counts();
    assert_eq!((counts.outbound, counts.upgrades), (2, 1), "the first victim has not left yet");
    bench.dialed(dial).unwrap();
    assert_eq!(bench.evict(), None, "that one is under way");
    assert_eq!(bench.disconnected(conns[0], &eviction.closed), Report::Applied);
    let counts = bench.manager.counts();
    assert_eq!((counts.outbound, counts.upgrades, counts.connected), (1, 0, 1));
}

#[test]
fn an_upgrade_of_an_upgrade_waits_for_the_first_victim_when_the_second_is_replaced() {
    let (weak, middle, strong) = (lesser(0), greater(0), greater(1));
    let config = Config { priorities: [(middle, 5), (strong, 9)].into(), ..ranked(1, 2) };
    let mut bench = Bench::new(config);
    bench.know(&[weak]);
    let first = bench.connect_to(weak);
    bench.know(&[middle]);
    let second = bench.connect_to(middle);
    let eviction = bench.evict().unwrap();
    bench.know(&[strong]);
    let third = bench.dial_to(strong);
    let incoming = bench.accept(middle).expect("the peer is greater, so its own dial wins");
    assert_eq!(bench.manager.connection(&middle), Some(incoming));
    assert_eq!(bench.disconnected(second, &refused()), Report::Late);
    let counts = bench.manager.counts();
    assert_eq!((counts.outbound, counts.inbound, counts.upgrades), (2, 1, 1));
    bench.dialed(third).unwrap();
    assert_eq!(bench.evict(), None, "the first victim is on its way already");
    assert_eq!(bench.disconnected(first, &eviction.closed), Report::Applied);
    let counts = bench.manager.counts();
    assert_eq!((counts.outbound, counts.inbound, counts.upgrades), (1, 1, 0));
}
