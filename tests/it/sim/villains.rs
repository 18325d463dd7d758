//! Nodes that break the rules, among nodes that do not.

use peerage::message::ChannelSpec;
use peerage::router::RouterHandle;
use peerage::sim::{Byzantine, Depth, Lie, Line, Misdeed, Node, Place, SimNet, Topology, assert_repeatable};

use super::{DEPTHS, MS, SECOND, Talk, Word};

/// Five proper nodes, and three others that do to them what is said.
fn beset(net: &mut SimNet, misdeed: Misdeed) -> (Vec<Node>, Vec<Node>, Talk) {
    let talk = Talk::default();
    let declaring = talk.clone();
    net.set_line(Line::default().rate(50_000)).unwrap();
    let nodes = net.add_many(5, move |node| declaring.declare(node));
    net.tie_all(&nodes, Topology::Ring);
    let villain = Byzantine::new(misdeed, vec![ChannelSpec::of::<Word>()]);
    let villains: Vec<Node> = (0..3)
        .map(|_| net.add_byzantine(Place::default(), villain.clone().dialing(&nodes)).unwrap())
        .collect();
    // They are dialled as well.
    nodes.iter().zip(villains.iter().cycle()).for_each(|(node, villain)| net.introduce(*node, *villain));
    net.start_all().unwrap();
    (nodes, villains, talk)
}

/// How often connections to a node ended, or came to nothing, for `label`.
fn ends(net: &SimNet, nodes: &[Node], label: &str) -> u64 {
    let handles = nodes.iter().filter_map(|node| net.handle(*node));
    let ends = handles.flat_map(RouterHandle::ends);
    ends.filter(|((_, found), _)| *found == label).map(|(_, count)| count).sum()
}

#[test]
fn whatever_they_do_the_others_are_one_network_and_hear_each_other() {
    let flood = Misdeed::Flood { bytes: 2_000 };
    for depth in DEPTHS {
        for misdeed in [Misdeed::Garbage, Misdeed::Silence, Misdeed::Leave, Misdeed::Mute, flood] {
            let mut net = SimNet::new(4, depth).unwrap();
            let (nodes, _, talk) = beset(&mut net, misdeed);
            net.run_until(SimNet::is_connected, 30 * SECOND).unwrap();
            for round in 0..20 {
                net.run_for(2 * SECOND);
                talk.say(nodes[0], round);
                assert_eq!(net.violations(), [], "{misdeed:?} at {depth:?}");
            }
            net.run_for(SECOND);
            let heard = [talk.heard(nodes[1]), talk.heard(nodes[4])];
            assert_eq!(heard, [(); 2].map(|()| (0..20).collect::<Vec<u64>>()), "{misdeed:?} at {depth:?}");
            net.recover(SECOND).unwrap();
        }
    }
}

#[test]
fn each_does_what_its_name_says() {
    let flood = Misdeed::Flood { bytes: 100 };
    for (misdeed, depth, label) in [
        (Misdeed::Garbage, Depth::Rlpx, "handshake_too_large"),
        (Misdeed::Silence, Depth::Plain, "handshake_timeout"),
        (Misdeed::Silence, Depth::Rlpx, "handshake_timeout"),
        (Misdeed::Leave, Depth::Plain, "requested"),
        (Misdeed::Mute, Depth::Rlpx, "ping_timeout"),
        (flood, Depth::Plain, "malformed_message"),
    ] {
        let mut net = SimNet::new(4, depth).unwrap();
        let (nodes, ..) = beset(&mut net, misdeed);
        net.run_for(90 * SECOND);
        let all: Vec<_> = nodes.iter().filter_map(|node| net.handle(*node)).map(RouterHandle::ends).collect();
        assert!(ends(&net, &nodes, label) > 0, "{misdeed:?} at {depth:?}: {all:?}");
    }
}

#[test]
fn a_network_with_them_in_it_repeats() {
    let lying = Misdeed::Lie { what: Lie::Impostors, addresses: 32 };
    for misdeed in [Misdeed::Garbage, Misdeed::Leave, Misdeed::Flood { bytes: 300 }, lying] {
        for depth in DEPTHS {
            let mut net = SimNet::new(4, depth).unwrap();
            beset(&mut net, misdeed);
            net.run_for(10 * SECOND);
            let mut again = SimNet::new(4, depth).unwrap();
            beset(&mut again, misdeed);
            again.run_for(10 * SECOND);
            assert_eq!(net.trace_hash(), again.trace_hash(), "{misdeed:?} at {depth:?}");
        }
    }
    assert_repeatable(Depth::Plain, 0..2, |net| {
        beset(net, Misdeed::Leave);
        net.run_for(5_000 * MS);
    });
}
