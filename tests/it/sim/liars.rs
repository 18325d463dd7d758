//! Nodes that lie about whom they know, among nodes that believe it until they have dialled.

use peerage::event::Misbehaviour;
use peerage::id::Direction;
use peerage::peer::Limit;
use peerage::sim::{Byzantine, Depth, Lie, Line, Misdeed, Node, Place, SimNet, assert_repeatable};

use super::growth::{few_ranges, social};
use super::{DEPTHS, MS, SECOND};

const LIES: [Lie; 4] = [Lie::Accomplices, Lie::Phantoms, Lie::Impostors, Lie::Swaps];

/// Most addresses that a node of these networks takes from one peer.
const PER_SOURCE: usize = 20;

/// Most peers that such a node stores: more than all others together tell it.
const MAX_STORED: usize = 60;

/// Eight honest nodes that know the first alone, and three liars that dial all of them.
fn lied_to(net: &mut SimNet, misdeed: Misdeed) -> (Vec<Node>, Vec<Node>) {
    net.set_line(Line::of(20 * MS)).unwrap();
    let honest = net.add_many(8, |node| {
        node.builder().configure(|config| {
            config.peers.max_peers = MAX_STORED;
            config.peers.max_addresses_per_source = Limit::AtMost(PER_SOURCE);
        });
        social(node, 6)
    });
    honest[1..].iter().for_each(|node| net.introduce(*node, honest[0]));
    let liar = Byzantine::new(misdeed, Vec::new()).dialing(&honest);
    let liars = net.add_many_byzantine([Place::default(); 3], &liar).unwrap();
    net.start_all().unwrap();
    (honest, liars)
}

fn stored(net: &SimNet, node: Node) -> usize {
    net.block_on(net.handle(node).unwrap().peer_counts()).unwrap().stored
}

/// How many addresses a node knows of others at which those are not.
fn misplaced(net: &SimNet, node: Node, others: &[Node]) -> usize {
    let handle = net.handle(node).unwrap();
    let known = |other: &Node| net.block_on(handle.peer_status(net.id(*other))).unwrap();
    let wrong = |other: &Node| {
        let addresses = known(other).into_iter().flat_map(|peer| peer.addresses);
        addresses.filter(|address| *address != net.address(*other)).count()
    };
    others.iter().map(wrong).sum()
}

#[test]
fn lies_are_heard_and_bounded_and_the_honest_find_each_other() {
    for depth in DEPTHS {
        for what in LIES {
            let mut net = SimNet::new(3, depth).unwrap();
            let (honest, liars) = lied_to(&mut net, Misdeed::Lie { what, addresses: 32 });
            let others = honest.len() + liars.len() - 1;
            let mut most_lies = 0;
            for _ in 0..30 {
                net.run_for(10 * SECOND);
                assert_eq!(net.violations(), [], "{what:?} at {depth:?}");
                for node in &honest {
                    let stored = stored(&net, *node);
                    assert!(
                        stored <= MAX_STORED && stored <= others + others * PER_SOURCE,
                        "{stored} stored"
                    );
                    most_lies =
                        most_lies.max(stored.saturating_sub(others) + misplaced(&net, *node, &honest));
                }
            }
            assert!(net.is_connected(), "{what:?} at {depth:?}");
            assert_eq!(most_lies > 0, what != Lie::Accomplices, "{what:?} at {depth:?}");
            let befriended = honest.iter().filter(|node| {
                let peers = net.handle(**node).unwrap().peers();
                liars.iter().any(|liar| peers.iter().any(|peer| peer.id == net.id(*liar)))
            });
            assert!(befriended.count() >= 4, "a liar is a peer like others: {what:?} at {depth:?}");
            for node in &honest {
                let accused = net.handle(*node).unwrap().misbehaviour();
                assert!(accused.is_empty(), "{accused:?}");
            }
            net.kill(honest[0]);
            net.run_for(60 * SECOND);
            net.start(honest[0]).unwrap();
            let recovered = net.recover(120 * SECOND);
            assert!(recovered.is_ok(), "{what:?} at {depth:?}: {recovered:?}");
        }
    }
}

#[test]
fn a_liar_that_tells_too_much_is_accused() {
    let mut net = SimNet::new(3, Depth::Plain).unwrap();
    let (honest, _) = lied_to(&mut net, Misdeed::Lie { what: Lie::Phantoms, addresses: 1_000 });
    net.run_for(5 * SECOND);
    let accused = net.handle(honest[0]).unwrap().misbehaviour();
    assert!(accused.iter().any(|(what, count)| *what == Misbehaviour::Nuisance && *count > 0), "{accused:?}");
    net.recover(300 * SECOND).unwrap();
}

#[test]
fn an_attacker_who_tells_of_nobody_but_himself_does_not_surround_a_node() {
    let mut net = SimNet::new(6, Depth::Plain).unwrap();
    net.set_line(Line::of(30 * MS)).unwrap();
    let honest = net.add_many(20, |node| social(node, 8));
    let victim = net.add(|node| social(node, 8));
    let mut liar = Byzantine::new(Misdeed::Lie { what: Lie::Accomplices, addresses: 32 }, Vec::new());
    liar.every = 10 * SECOND;
    let attackers =
        net.add_many_byzantine(Place::within(&few_ranges(), 200), &liar.dialing(&[victim])).unwrap();
    honest.iter().for_each(|node| net.introduce(victim, *node));
    net.start_all().unwrap();
    let mut known = 0;
    for _ in 0..60 {
        net.run_for(10 * SECOND);
        let peers = net.handle(victim).unwrap().peers();
        let dialed = peers.iter().filter(|peer| peer.direction == Direction::Outbound);
        let theirs = dialed.filter(|peer| attackers.contains(&net.node_of(&peer.id).unwrap())).count();
        assert!(theirs < 8, "all outgoing connections lead to the attacker");
        known = known.max(stored(&net, victim));
    }
    assert!(known > 100, "it has heard of the attacker's identities: {known}");
    assert_eq!(net.violations(), []);
    let friends = net
        .connections()
        .into_iter()
        .filter(|(a, b)| (*a == victim && honest.contains(b)) || (*b == victim && honest.contains(a)));
    assert!(friends.count() >= 4);
}

#[test]
fn networks_with_liars_repeat() {
    assert_repeatable(Depth::Plain, 0..2, |net| {
        lied_to(net, Misdeed::Lie { what: Lie::Swaps, addresses: 32 });
        net.run_for(60 * SECOND);
    });
}
