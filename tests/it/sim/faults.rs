//! What is done to the network.

use peerage::sim::{Depth, Line, Opening, SimError, SimNet, Topology};

use super::{DEPTHS, MS, SECOND, talking};

#[test]
fn a_message_is_on_its_way_for_the_latency_of_its_line() {
    for depth in DEPTHS {
        let (net, nodes, talk) = talking(depth, 2, Topology::Line);
        talk.say(nodes[0], 1);
        net.run_for(49 * MS);
        assert!(talk.heard(nodes[1]).is_empty(), "{depth:?}");
        net.run_for(3 * MS);
        assert_eq!(talk.heard(nodes[1]), [1], "{depth:?}");
    }
}

#[test]
fn lines_differ_by_region_by_pair_and_by_direction() {
    let talk = super::Talk::default();
    let mut net = SimNet::new(1, Depth::Plain).unwrap();
    let declaring = talk.clone();
    let nodes: Vec<_> = [0, 1, 1]
        .into_iter()
        .map(|region| {
            let declaring = declaring.clone();
            let place = peerage::sim::Place { region, ip: None };
            net.add_at(place, move |node| declaring.declare(node)).unwrap()
        })
        .collect();
    net.set_line(Line::of(10 * MS)).unwrap();
    net.set_line_of_regions(0, 1, Line::of(100 * MS)).unwrap();
    net.set_line_between(nodes[0], nodes[2], Line::of(200 * MS)).unwrap();
    net.tie_all(&nodes, Topology::Full);
    net.start_all().unwrap();
    net.run_until(SimNet::is_connected, 10 * SECOND).unwrap();
    net.run_for(SECOND);
    nodes.iter().for_each(|node| talk.say(*node, node.number() as u64));
    let heard_after = |after| {
        net.run_for(after);
        nodes.iter().map(|node| talk.heard(*node)).collect::<Vec<_>>()
    };
    assert_eq!(heard_after(15 * MS), [vec![1, 2], vec![2], vec![1]]);
    assert_eq!(heard_after(90 * MS), [vec![1, 2], vec![2, 0], vec![1]]);
    assert_eq!(heard_after(100 * MS), [vec![1, 2], vec![2, 0], vec![1, 0]]);
}

#[test]
fn a_slow_node_hears_no_faster_than_its_rate() {
    for again in [false, true] {
        let (mut net, nodes, talk) = talking(Depth::Plain, 2, Topology::Line);
        net.slow(nodes[1], Some(10_000)).unwrap();
        if again {
            // Connections that are made then are as slow as the one that was there.
            net.reset(nodes[0], nodes[1]);
            net.run_until(|net| !net.is_connected(), SECOND).unwrap();
            net.run_until(SimNet::is_connected, 60 * SECOND).unwrap();
        }
        talk.say_much(nodes[0], 1, 50_000);
        net.run_for(4 * SECOND);
        assert!(talk.heard(nodes[1]).is_empty(), "{again}");
        net.run_for(2 * SECOND);
        assert_eq!(talk.heard(nodes[1]), [1], "{again}");
        // What waits goes as fast as the line, once it is no longer slow.
        talk.say_much(nodes[0], 2, 50_000);
        net.run_for(SECOND);
        net.slow(nodes[1], None).unwrap();
        net.run_for(200 * MS);
        assert_eq!(talk.heard(nodes[1]), [1, 2], "{again}");
        assert!(net.kill(nodes[1]));
    }
}

#[test]
fn what_is_sent_on_a_way_that_is_cut_arrives_when_it_is_mended_and_the_way_back_is_open() {
    for depth in DEPTHS {
        let (net, nodes, talk) = talking(depth, 2, Topology::Line);
        net.cut(nodes[0], nodes[1]);
        talk.say(nodes[0], 1);
        talk.say(nodes[1], 2);
        net.run_for(5 * SECOND);
        assert_eq!((talk.heard(nodes[0]), talk.heard(nodes[1])), (vec![2], vec![]), "{depth:?}");
        net.mend(nodes[0], nodes[1]);
        net.run_for(MS);
        assert_eq!(talk.heard(nodes[1]), [1], "{depth:?}");
        assert!(net.is_connected());
    }
}

#[test]
fn a_way_that_stays_cut_ends_the_connection_and_keeps_attempts_from_arriving() {
    let (net, nodes, _) = talking(Depth::Plain, 2, Topology::Line);
    net.cut(nodes[1], nodes[0]);
    net.run_until(|net| net.connections().is_empty(), 120 * SECOND).expect("the keep-alive ends it");
    net.run_for(120 * SECOND);
    assert!(net.connections().is_empty());
    net.mend(nodes[1], nodes[0]);
    net.run_until(SimNet::is_connected, 300 * SECOND).expect("its back-off is 3 minutes at most");
}

#[test]
fn a_partition_parts_and_heals_by_its_name() {
    for depth in DEPTHS {
        let (net, nodes, _) = talking(depth, 6, Topology::Full);
        net.partition("ocean", &[&nodes[..2], &nodes[2..]]);
        let across = |net: &SimNet| {
            net.connections().iter().filter(|(a, b)| (a.number() < 2) != (b.number() < 2)).count()
        };
        net.run_until(|net| across(net) == 0, 120 * SECOND).unwrap();
        assert_eq!(net.connections().len(), 1 + 6, "within the parts all is as it was");
        assert!(net.heal("ocean") && !net.heal("ocean"));
        net.run_until(|net| net.connections().len() == 15, 120 * SECOND).unwrap();
    }
}

#[test]
fn a_reset_ends_a_connection_at_once_and_the_tie_is_made_again() {
    let (net, nodes, talk) = talking(Depth::Rlpx, 3, Topology::Ring);
    assert_eq!(net.reset(nodes[0], nodes[1]), 1);
    net.run_for(MS);
    assert!(!net.connections().contains(&(nodes[0], nodes[1])));
    assert_eq!(net.connections().len(), 2);
    net.run_until(|net| net.connections().len() == 3, 120 * SECOND).unwrap();
    talk.say(nodes[0], 7);
    net.run_for(SECOND);
    assert_eq!((talk.heard(nodes[1]), talk.heard(nodes[2])), (vec![7], vec![7]));
}

#[test]
fn a_connection_that_stalls_is_given_up_by_both_ends_and_made_again() {
    for depth in DEPTHS {
        let (net, nodes, talk) = talking(depth, 2, Topology::Line);
        assert_eq!((net.stall(nodes[0], nodes[1]), net.stall(nodes[0], nodes[1])), (1, 0));
        // What is cut and mended later does not bring it back.
        net.cut(nodes[0], nodes[1]);
        net.mend(nodes[0], nodes[1]);
        talk.say(nodes[0], 1);
        net.run_for(10 * SECOND);
        assert_eq!((net.connections().len(), talk.heard(nodes[1])), (1, Vec::new()), "nobody was told");
        net.run_until(|net| !net.is_connected(), 40 * SECOND).unwrap();
        net.run_until(SimNet::is_connected, 120 * SECOND).unwrap();
        talk.say(nodes[0], 2);
        net.run_for(SECOND);
        assert_eq!(talk.heard(nodes[1]), [2]);
        let ends = net.handle(nodes[1]).unwrap().ends();
        assert!(ends.keys().any(|(_, label)| *label == "ping_timeout"), "{ends:?}");
    }
}

#[test]
fn attempts_that_arrive_twice_and_out_of_order_leave_one_connection_for_each_pair() {
    let talk = super::Talk::default();
    for depth in DEPTHS {
        let mut net = SimNet::new(3, depth).unwrap();
        let declaring = talk.clone();
        let nodes = net.add_many(6, move |node| declaring.declare(node));
        let mut opening = Opening::default();
        opening.reorder = 400 * MS;
        opening.duplicated_per_mille = 500;
        net.set_opening(opening);
        for a in &nodes {
            for b in nodes.iter().filter(|b| a != *b) {
                // Both dial: many attempts cross each other.
                net.tie(*a, *b);
            }
        }
        net.start_all().unwrap();
        net.run_until(|net| net.connections().len() == 15, 120 * SECOND).unwrap();
        net.run_for(60 * SECOND);
        assert_eq!(net.connections().len(), 15, "and they stay");
        let open: usize = nodes.iter().map(|node| net.handle(*node).unwrap().peers().len()).sum();
        assert_eq!(open, 30);
    }
}

#[test]
fn a_line_that_no_connection_can_have_is_refused_and_changes_nothing() {
    let (net, nodes, talk) = talking(Depth::Plain, 2, Topology::Line);
    let long = Line::of(61 * SECOND);
    assert!(matches!(net.set_line(long), Err(SimError::Line(_))));
    let error = net.set_line_between(nodes[0], nodes[1], Line::default().rate(0)).unwrap_err();
    assert_eq!(error.to_string(), "line: `bytes_per_second` must be at least 1");
    assert!(net.slow(nodes[0], Some(0)).is_err());
    net.reset(nodes[0], nodes[1]);
    net.run_for(60 * SECOND);
    talk.say(nodes[0], 1);
    net.run_for(52 * MS);
    assert_eq!(talk.heard(nodes[1]), [1]);
}

#[test]
fn a_condition_that_does_not_come_true_is_told_with_the_time_that_was_waited() {
    let (net, ..) = talking(Depth::Plain, 2, Topology::Line);
    let before = net.elapsed();
    let error = net.run_until(|_| false, 333 * MS).unwrap_err();
    assert_eq!(error.to_string(), "seed 1: after 333ms of virtual time the condition did not hold");
    assert_eq!(net.elapsed() - before, 333 * MS);
}
