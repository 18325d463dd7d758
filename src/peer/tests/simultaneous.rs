//! Two nodes that dial each other: one connection is left, the same at both ends.

use super::*;

#[derive(Clone)]
struct Node {
    manager: PeerManager,
    /// Epochs of the two connections here: the one that A dialled, and the one that B dialled.
    conns: [ConnId; 2],
}

/// What a node still has to learn about each connection.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Handshake,
    Held,
    Closed,
}

#[derive(Clone)]
struct World {
    nodes: [Node; 2],
    fates: [[Fate; 2]; 2],
    now: Instant,
}

impl World {
    fn new(a: u64, b: u64) -> Self {
        let now = epoch();
        let node = |me: u64, other: u64, dialled: usize| {
            let config = Config { self_id: id(me), max_inbound: Limit::AtMost(1), ..quick() };
            let mut manager = PeerManager::new(config, me, now, WallTime::default(), []).unwrap();
            manager.add(&address(id(other)), Source::Operator, now).unwrap();
            let mut conns = [ConnId::new(0); 2];
            conns[dialled] = manager.try_dial_next(now).unwrap().conn;
            conns[1 - dialled] = manager.incoming(&endpoint(), now).unwrap();
            Node { manager, conns }
        };
        Self { nodes: [node(a, b, 0), node(b, a, 1)], fates: [[Fate::Handshake; 2]; 2], now }
    }

    /// What may happen next: a node learns that a handshake is complete, or that the other side closed.
    /// (A handshake may also complete although the other side has closed, which is learnt afterwards.)
    fn steps(&self) -> Vec<(usize, usize, bool)> {
        let all =
            (0..2).flat_map(|node| (0..2).flat_map(move |conn| [(node, conn, false), (node, conn, true)]));
        let open = |&(node, conn, gone): &(usize, usize, bool)| match self.fates[node][conn] {
            Fate::Handshake => !gone || self.fates[1 - node][conn] == Fate::Closed,
            Fate::Held => gone && self.fates[1 - node][conn] == Fate::Closed,
            Fate::Closed => false,
        };
        all.filter(open).collect()
    }

    fn step(&mut self, node: usize, conn: usize, gone: bool, ids: [NodeId; 2]) {
        let held = self.fates[node][conn] == Fate::Held;
        let (other, now) = (ids[1 - node], self.now);
        let Node { manager, conns } = &mut self.nodes[node];
        let (epoch, dialled_here) = (conns[conn], node == conn);
        let remote = Closed::remote(DisconnectReason::AlreadyConnected);
        if held {
            assert_eq!(manager.disconnected(epoch, &remote, now), Report::Applied);
            self.fates[node][conn] = Fate::Closed;
            return;
        }
        let rejected = if gone {
            Some(remote)
        } else {
            let admitted =
                if dialled_here { manager.dialed(epoch, now) } else { manager.accepted(epoch, other, now) };
            if let Ok(Admitted { replaces: Some(old) }) = admitted {
                assert_eq!(old, conns[1 - conn]);
                assert_eq!(manager.disconnected(old, &remote, now), Report::Late);
                self.fates[node][1 - conn] = Fate::Closed;
            }
            admitted.err().map(Reject::closed)
        };
        self.fates[node][conn] = if rejected.is_some() { Fate::Closed } else { Fate::Held };
        if let Some(closed) = rejected {
            let report = if dialled_here {
                manager.dial_failed(epoch, &closed, now)
            } else {
                manager.incoming_failed(epoch, &closed, now)
            };
            assert_eq!(report, Report::Applied);
        }
        manager.check_invariants().unwrap();
    }

    /// Walks every interleaving; answers how many there are.
    fn explore(&self, ids: [NodeId; 2]) -> usize {
        let steps = self.steps();
        if steps.is_empty() {
            self.assert_one_survives(ids);
            return 1;
        }
        let walk = |(node, conn, gone)| {
            let mut world = self.clone();
            world.step(node, conn, gone, ids);
            world.explore(ids)
        };
        steps.into_iter().map(walk).sum()
    }

    fn assert_one_survives(&self, ids: [NodeId; 2]) {
        let winner = usize::from(ids[1] > ids[0]);
        for node in 0..2 {
            let left = self.nodes[node].manager.connection(&ids[1 - node]);
            assert_eq!(left, Some(self.nodes[node].conns[winner]), "at node {node}: {:?}", self.fates);
        }
    }
}

#[test]
fn every_interleaving_leaves_one_connection_the_same_at_both_ends() {
    for (a, b) in [(1, 2), (2, 1), (3, 4), (4, 5)] {
        let interleavings = World::new(a, b).explore([id(a), id(b)]);
        assert!(interleavings >= 8, "{interleavings}");
    }
}

#[test]
fn the_greater_ones_dial_replaces_an_incoming_connection() {
    let peer = lesser(0);
    let mut bench = Bench::new(Config { max_inbound: Limit::AtMost(1), ..quick() });
    bench.know(&[peer]);
    let dial = bench.dial_to(peer);
    let incoming = bench.accept(peer).unwrap();
    assert_eq!(bench.ready(incoming), Report::Applied);
    assert_eq!(bench.dialed(dial), Ok(Admitted { replaces: Some(incoming) }));
    assert_eq!(bench.up(), [], "its epoch is over");
    assert_eq!(bench.disconnected(incoming, &refused()), Report::Late);
    assert_eq!(bench.ready(dial), Report::Applied);
    assert_eq!(bench.up(), [peer]);
    let counts = bench.manager.counts();
    assert_eq!((counts.outbound, counts.inbound), (1, 0));
}

#[test]
fn a_dial_loses_against_an_incoming_connection_of_a_greater_peer() {
    let peer = greater(0);
    let mut bench = Bench::new(quick());
    bench.know(&[peer]);
    let dial = bench.dial_to(peer);
    let incoming = bench.accept(peer).unwrap();
    assert_eq!(bench.dialed(dial), Err(Reject::AlreadyConnected(incoming)));
    assert_eq!(bench.manager.counts().outbound, 1, "held until the shell has closed it");
    assert_eq!(bench.dial_failed(dial, &Reject::AlreadyConnected(incoming).closed()), Report::Applied);
    assert_eq!(bench.manager.counts().outbound, 0);
    assert_eq!(bench.manager.connection(&peer), Some(incoming));
}

#[test]
fn an_incoming_connection_replaces_our_dial_only_if_its_peer_is_greater() {
    for (peer, wins) in [(lesser(0), false), (greater(0), true)] {
        let mut bench = Bench::new(quick());
        bench.know(&[peer]);
        let dialed = bench.connect_to(peer);
        let answer = bench.accept(peer);
        assert_eq!(answer.is_ok(), wins, "{answer:?}");
        assert_eq!(bench.manager.connection(&peer) == Some(dialed), !wins);
    }
}

#[test]
fn of_two_incoming_connections_the_earlier_wins() {
    for peer in [lesser(0), greater(0)] {
        let mut bench = Bench::new(quick());
        let first = bench.accept(peer).unwrap();
        assert_eq!(bench.accept(peer), Err(Reject::AlreadyConnected(first)));
    }
}

#[test]
fn a_replacement_without_a_slot_inherits_one() {
    let peer = greater(0);
    let config = Config {
        max_inbound: Limit::AtMost(1),
        max_outbound: Limit::AtMost(1),
        unconditional: [id(99)].into(),
        ..quick()
    };
    let mut bench = Bench::new(config);
    bench.accept(lesser(0)).unwrap();
    bench.know(&[peer]);
    bench.connect_to(peer);
    let incoming = bench.accept(peer).expect("a replacement needs no slot");
    let counts = bench.manager.counts();
    assert_eq!((counts.outbound, counts.inbound, counts.connected), (1, 1, 2));
    bench.leave(incoming);
    assert_eq!(bench.manager.counts().outbound, 0);
}

#[test]
fn nothing_replaces_a_connection_that_is_being_evicted() {
    let peer = greater(0);
    let mut bench = Bench::new(quick());
    bench.know(&[peer]);
    let conn = bench.connect_to(peer);
    assert_eq!(bench.errored(conn), Report::Applied);
    assert_eq!(bench.accept(peer), Err(Reject::Evicting(DisconnectReason::Breach)));
}
