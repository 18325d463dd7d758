//! What is to hold of a whole network.

use peerage::channel::DropReason;
use peerage::peer::Limit;
use peerage::sim::{Depth, Line, SimNet, Topology, Violation};

use super::{DEPTHS, MS, SECOND, Talk, Word, talking};

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

/// Found by the fuzzer: a peer reads the first messages of a batch before the last is written, and the batch counted.
#[test]
fn a_message_that_arrives_while_its_batch_is_written_is_not_invented() {
    let (mut net, talk) = (SimNet::new(1, Depth::Plain).unwrap(), Talk::default());
    let declaring = talk.clone();
    let nodes = net.add_many(2, move |node| declaring.declare(node));
    net.tie_all(&nodes, Topology::Line);
    let mut narrow = Line::of(10 * MS).rate(1000);
    narrow.buffer_bytes = 64;
    net.set_line(narrow).unwrap();
    net.start_all().unwrap();
    net.run_until(SimNet::is_connected, 10 * SECOND).unwrap();
    (0..4).for_each(|number| talk.say_much(nodes[0], number, 1000));
    let mut ahead = 0;
    for _ in 0..600 {
        net.run_for(10 * MS);
        ahead += usize::from(net.flow().lost().is_none());
        assert_eq!(net.violations(), []);
        // Part of a batch that breaks has come all the same.
        if talk.heard(nodes[1]).len() == 2 {
            net.kill(nodes[0]);
        }
    }
    assert!(ahead > 0, "no message came before it was counted");
    let heard = talk.heard(nodes[1]).len();
    assert!((2..4).contains(&heard), "{heard} of 4 came, and the connection broke before the rest");
}

/// Found by the fuzzer: what waits for a receiver is received already when that goes.
#[test]
fn what_waits_for_a_receiver_that_goes_arrived_once() {
    let mut net = SimNet::new(3, Depth::Plain).unwrap();
    let talk = Talk::default();
    let declaring = talk.clone();
    let speaker = net.add(move |node| declaring.declare(node));
    let deaf = net.add(|node| {
        let channel = node.builder().channel::<Word>()?;
        node.builder().reactor("deaf", async move {
            std::future::pending::<()>().await;
            drop(channel);
        });
        Ok(())
    });
    net.tie(speaker, deaf);
    net.start_all().unwrap();
    net.run_until(SimNet::is_connected, 10 * SECOND).unwrap();
    (0..4).for_each(|number| talk.say(speaker, number));
    net.run_for(SECOND);
    net.kill(deaf);
    assert_eq!(net.flow().dropped[&DropReason::NoReceiver], 4);
    assert_eq!(net.violations(), []);
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
