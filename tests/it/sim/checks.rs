//! What is to hold of a whole network.

use peerage::peer::Limit;
use peerage::sim::{Depth, Line, SimNet, Topology, Violation};

use super::{DEPTHS, MS, SECOND, Talk, talking};

#[test]
fn in_a_quiet_network_all_that_was_sent_is_received() {
    for depth in DEPTHS {
        let (net, nodes, talk) = talking(depth, 5, Topology::Full);
        for number in 0..20 {
            nodes.iter().for_each(|node| talk.say(*node, number));
            net.run_for(100 * MS);
        }
        let flow = net.flow();
        assert_eq!((flow.sent, flow.received, flow.queued, flow.lost()), (400, 400, 0, Some(0)));
        assert!(flow.dropped.is_empty());
        assert_eq!(net.violations(), []);
    }
}

#[test]
fn what_is_lost_with_connections_is_lost_and_nothing_is_invented() {
    let (mut net, nodes, talk) = talking(Depth::Plain, 6, Topology::Full);
    net.set_line(Line::of(300 * MS).jitter(200 * MS)).unwrap();
    for round in 0..10 {
        nodes.iter().filter(|node| net.running().contains(node)).for_each(|node| talk.say(*node, round));
        net.run_for(200 * MS);
        let turn = usize::try_from(round).unwrap() % 6;
        net.reset(nodes[turn], nodes[(turn + 1) % 6]);
        net.kill(nodes[turn]);
        assert_eq!(net.violations(), []);
        net.start(nodes[turn]).unwrap();
    }
    net.recover(300 * SECOND).unwrap();
    let flow = net.flow();
    assert!(flow.lost().unwrap() > 0 && flow.received > 0, "{flow:?}");
}

#[test]
fn nodes_keep_their_limits_while_all_want_more() {
    let talk = Talk::default();
    let mut net = SimNet::new(2, Depth::Plain).unwrap();
    let declaring = talk.clone();
    let nodes = net.add_many(20, move |node| {
        node.builder().configure(|config| {
            config.peers.max_outbound = Limit::AtMost(3);
            config.peers.max_inbound = Limit::AtMost(4);
        });
        declaring.declare(node)
    });
    for a in &nodes {
        nodes.iter().filter(|b| a != *b).for_each(|b| net.introduce(*a, *b));
    }
    net.start_all().unwrap();
    for _ in 0..60 {
        net.run_for(SECOND);
        assert_eq!(net.violations(), []);
    }
    assert!(net.connections().len() > 40, "{}", net.connections().len());
}

#[test]
fn a_network_that_does_not_recover_says_why() {
    let (net, nodes, _) = talking(Depth::Plain, 4, Topology::Full);
    net.partition("ocean", &[&nodes[..1], &nodes[1..2], &nodes[2..]]);
    net.run_for(120 * SECOND);
    assert_eq!(net.recover(SECOND), Err(vec![Violation::Parted { networks: 3 }]));
    net.heal_all();
    assert!(net.recover(300 * SECOND).is_ok());
}
