//! Networks recover from whatever was done to them, and one that cannot is found with what breaks it.

use peerage::peer::Limit;
use peerage::sim::{Act, Depth, Line, Script, SimError, SimNet, Topology, Violation, find_relapse};

use super::{MS, SECOND, Talk};

/// Ten nodes that know all others and hold on to some.
fn town(seed: u64, depth: Depth) -> Result<SimNet, SimError> {
    let talk = Talk::default();
    let mut net = SimNet::new(seed, depth)?;
    let nodes = net.add_many(10, move |node| {
        node.builder().configure(|config| {
            config.peers.max_outbound = Limit::AtMost(4);
            config.peers.max_inbound = Limit::AtMost(8);
        });
        talk.declare(node)
    });
    net.set_line(Line::of(30 * MS).spread(100 * MS).jitter(20 * MS))?;
    net.tie_all(&nodes, Topology::Regular { degree: 4 });
    for a in &nodes {
        nodes.iter().filter(|b| a != *b).for_each(|b| net.introduce(*a, *b));
    }
    net.start_all()?;
    Ok(net)
}

#[test]
fn after_any_faults_a_network_is_healthy_within_five_minutes() {
    for (depth, seeds) in [(Depth::Plain, 0..24), (Depth::Rlpx, 24..28)] {
        for seed in seeds {
            let nodes = town(seed, depth).unwrap().nodes();
            let script = Script::drawn(seed, &nodes, 30, 300 * SECOND);
            let relapse = find_relapse(|| town(seed, depth), &script, 300 * SECOND).unwrap();
            assert!(relapse.is_none(), "{}", relapse.unwrap());
        }
    }
}

#[test]
fn what_a_network_does_not_recover_from_is_told_without_the_rest() {
    // Two that know each other from their stores alone.
    let make = || {
        let talk = Talk::default();
        let mut net = SimNet::new(3, Depth::Plain)?;
        let nodes = net.add_many(2, move |node| talk.declare(node));
        net.start_all()?;
        let (handle, address) = (net.handle(nodes[0]).unwrap().clone(), net.address(nodes[1]));
        assert_eq!(net.block_on(handle.add(address)), Ok(true));
        net.run_for(5 * SECOND);
        Ok(net)
    };
    let nodes = make().unwrap().nodes();
    let fatal = Script::new().at(60 * SECOND, Act::Kill(nodes[0])).at(61 * SECOND, Act::WipeStore(nodes[0]));
    let script = fatal
        .clone()
        .at(10 * SECOND, Act::Reset(nodes[0], nodes[1]))
        .at(30 * SECOND, Act::Cut(nodes[0], nodes[1]))
        .at(40 * SECOND, Act::Mend(nodes[0], nodes[1]))
        .at(90 * SECOND, Act::Start(nodes[0]));
    let relapse = find_relapse(make, &script, 120 * SECOND).unwrap().unwrap();
    assert_eq!((&relapse.script, relapse.seed, relapse.drawn), (&fatal, 3, 6));
    assert_eq!(relapse.violations, [Violation::Parted { networks: 2 }]);
    let words = relapse.to_string();
    assert!(words.starts_with("seed 3: the network does not recover from these 2 of 6 acts"), "{words}");
    assert!(words.contains("wipe the store of node 0"), "{words}");
}
