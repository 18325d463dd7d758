//! Nodes that are started, killed and started again.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use peerage::router::BuildError;
use peerage::sim::{Depth, Place, SimError, SimNet, Topology};

use super::{DEPTHS, MS, SECOND, Talk, Word, talking};

#[test]
fn a_node_that_is_killed_is_gone_at_once_and_comes_back_with_its_ties() {
    for depth in DEPTHS {
        let (mut net, nodes, talk) = talking(depth, 3, Topology::Ring);
        assert!(net.kill(nodes[1]) && !net.kill(nodes[1]));
        net.run_for(100 * MS);
        assert_eq!(net.connections().len(), 1, "its system closed its connections");
        assert_eq!(net.running().len(), 2);
        net.run_for(30 * SECOND);
        net.start(nodes[1]).unwrap();
        net.run_until(|net| net.connections().len() == 3, 120 * SECOND).unwrap();
        talk.say(nodes[1], 5);
        net.run_for(100 * MS);
        assert_eq!((talk.heard(nodes[0]), talk.heard(nodes[2])), (vec![5], vec![5]));
    }
}

#[test]
fn of_a_power_failure_nobody_is_told_until_the_keep_alive_finds_out() {
    let (mut net, nodes, _) = talking(Depth::Plain, 2, Topology::Line);
    assert!(net.power_off(nodes[1]));
    net.run_for(10 * SECOND);
    assert_eq!(net.handle(nodes[0]).unwrap().peers().len(), 1, "nobody knows yet");
    net.run_for(50 * SECOND);
    assert_eq!(net.handle(nodes[0]).unwrap().peers().len(), 0);
    net.power_on(nodes[1]).unwrap();
    net.run_until(SimNet::is_connected, 120 * SECOND).unwrap();
}

#[test]
fn a_node_finds_its_peers_again_by_its_store_and_not_without_it() {
    let talk = Talk::default();
    let mut net = SimNet::new(1, Depth::Plain).unwrap();
    let life = Arc::new(AtomicU32::new(0));
    let (declaring, lives) = (talk.clone(), Arc::clone(&life));
    let nodes = net.add_many(2, move |node| {
        lives.store(node.life(), Relaxed);
        declaring.declare(node)
    });
    net.start_all().unwrap();
    let address = net.address(nodes[1]);
    let handle = net.handle(nodes[0]).unwrap().clone();
    assert_eq!(net.block_on(handle.add(address)), Ok(true));
    net.run_until(SimNet::is_connected, 5 * SECOND).unwrap();
    net.kill(nodes[0]);
    net.run_for(60 * SECOND);
    net.start(nodes[0]).unwrap();
    assert_eq!(life.load(Relaxed), 1);
    net.run_until(SimNet::is_connected, 60 * SECOND).unwrap();
    net.kill(nodes[0]);
    net.wipe_store(nodes[0]);
    net.kill(nodes[1]);
    net.wipe_store(nodes[1]);
    net.start_all().unwrap();
    net.run_for(120 * SECOND);
    assert!(net.connections().is_empty());
}

#[test]
fn a_node_that_shuts_down_says_goodbye_and_reports() {
    let (mut net, nodes, _) = talking(Depth::Rlpx, 2, Topology::Line);
    let report = net.shut_down(nodes[0]).unwrap();
    assert!(report.clean, "{report:?}");
    assert_eq!(report.connections, 1);
    assert!(net.shut_down(nodes[0]).is_none());
    net.run_for(100 * MS);
    let ends = net.handle(nodes[1]).unwrap().ends();
    assert!(ends.keys().any(|(_, label)| label.contains("quit")), "{ends:?}");
}

#[test]
fn what_cannot_be_built_names_its_node_and_a_taken_address_is_refused() {
    let mut net = SimNet::new(1, Depth::Plain).unwrap();
    let place = Place { ip: Some(IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9))), ..Place::default() };
    net.add_at(place, |_| Ok(())).unwrap();
    let error = net.add_at(place, |_| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "the address 9.9.9.9 is taken");
    let twice = net.add(|node| {
        node.builder().channel::<Word>()?;
        node.builder().channel::<Word>().map(drop)
    });
    let error = net.start_all().unwrap_err();
    assert_eq!(error.to_string(), "node 1: the channel name `word` is taken");
    assert!(matches!(error, SimError::Build { node, error: BuildError::ChannelTaken(_) } if node == twice));
    assert_eq!(net.running().len(), 1, "those before it run");
}
