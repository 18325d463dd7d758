//! Networks that grow by exchanging addresses.

use std::collections::BTreeMap;
use std::time::Duration;

use peerage::address::IpPrefix;
use peerage::peer::Limit;
use peerage::reactor::drive;
use peerage::reactor::pex::{Exchange, Exchanger};
use peerage::router::BuildError;
use peerage::sim::{Depth, Line, Node, Place, Setup, SimNet, assert_repeatable};
use tokio::sync::mpsc;

use super::{MS, SECOND};

/// A node that exchanges addresses, and dials at most `outbound` others.
pub(super) fn social(node: &mut Setup<'_>, outbound: usize) -> Result<(), BuildError> {
    let builder = node.builder();
    builder.configure(|config| {
        config.peers.max_outbound = Limit::AtMost(outbound);
        config.peers.max_inbound = Limit::AtMost(3 * outbound);
    });
    let (channel, updates, book) = (builder.channel::<Exchange>()?, builder.updates(), builder.addresses());
    let (_, events) = mpsc::channel(1);
    builder.reactor("pex", drive(Exchanger::new(book, Duration::from_secs(20)), channel, updates, events));
    Ok(())
}

/// The ranges of addresses of an attacker.
pub(super) fn few_ranges() -> [IpPrefix; 4] {
    [0, 1, 2, 3].map(|third| IpPrefix::new([99, 1, third, 0].into(), 24).unwrap())
}

/// `count` nodes that know the first alone, which lets each go after a while to have room for others.
fn from_one(net: &mut SimNet, count: usize) -> Vec<Node> {
    net.set_line(Line::of(20 * MS).spread(80 * MS)).unwrap();
    let nodes = net.add_many(count, |node| {
        if node.node().number() == 0 {
            node.builder().configure(|config| config.peers.seeds.mode = Some(20 * SECOND));
        }
        social(node, 8)
    });
    for node in &nodes[1..] {
        net.introduce(*node, nodes[0]);
    }
    net.start_all().unwrap();
    nodes
}

fn degrees(net: &SimNet) -> BTreeMap<Node, usize> {
    let mut degrees = BTreeMap::new();
    for (a, b) in net.connections() {
        *degrees.entry(a).or_default() += 1;
        *degrees.entry(b).or_default() += 1;
    }
    degrees
}

#[test]
fn nodes_that_know_one_other_become_one_network_that_does_not_need_it() {
    let mut net = SimNet::new(1, Depth::Plain).unwrap();
    let nodes = from_one(&mut net, 60);
    let full = |net: &SimNet| {
        let all = degrees(net);
        nodes[1..].iter().all(|node| all.get(node).is_some_and(|degree| *degree >= 6))
    };
    let took = net.run_until(full, 1_800 * SECOND);
    assert!(took.is_ok(), "{:?}", degrees(&net));
    assert_eq!(net.violations(), []);
    net.kill(nodes[0]);
    net.run_for(SECOND);
    assert!(net.is_connected(), "without the one that all knew");
}

#[test]
fn such_a_network_repeats() {
    assert_repeatable(Depth::Plain, 0..2, |net| {
        from_one(net, 20);
        net.run_for(60 * SECOND);
    });
}

#[test]
fn an_attacker_with_many_names_in_few_ranges_does_not_surround_a_node() {
    let mut net = SimNet::new(5, Depth::Plain).unwrap();
    net.set_line(Line::of(30 * MS)).unwrap();
    let honest = net.add_many(20, |node| social(node, 8));
    let attackers: Vec<Node> = Place::within(&few_ranges(), 200)
        .into_iter()
        .map(|place| net.add_at(place, |node| social(node, 200)).unwrap())
        .collect();
    let victim = net.add(|node| social(node, 8));
    for node in honest.iter().chain(&attackers) {
        net.introduce(*node, victim);
        net.introduce(victim, *node);
    }
    for (at, attacker) in attackers.iter().enumerate() {
        net.introduce(*attacker, attackers[(at + 1) % attackers.len()]);
    }
    net.start_all().unwrap();
    for _ in 0..120 {
        net.run_for(5 * SECOND);
        let dialed = net.handle(victim).unwrap().peers();
        let dialed = dialed.iter().filter(|peer| peer.direction == peerage::id::Direction::Outbound);
        let theirs = dialed.filter(|peer| attackers.contains(&net.node_of(&peer.id).unwrap())).count();
        assert!(theirs < 8, "all outgoing connections lead to the attacker");
    }
    let all = net.connections();
    let friends = all.iter().filter(|(a, b)| {
        let other = if *a == victim {
            *b
        } else if *b == victim {
            *a
        } else {
            return false;
        };
        honest.contains(&other)
    });
    assert!(friends.count() >= 4);
}
