//! Nodes whose clocks are not the network's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use peerage::NodeId;
use peerage::channel::{Envelope, Refusal};
use peerage::peer::{BanTarget, Record as Stored};
use peerage::reactor::{Outbox, Reactor, SendId, drive};
use peerage::router::MemoryStore;
use peerage::sim::{Depth, Line, Node, Record, Script, SimError, SimNet, Topology, assert_repeatable};
use tokio::sync::mpsc;

use super::{DEPTHS, MS, SECOND, Talk, Word, talking};

/// Who wrote pings: each is what a node writes that does not answer within the time that a way takes.
fn pings(net: &SimNet, since: Duration) -> BTreeMap<usize, u32> {
    let mut pings = BTreeMap::new();
    let mut pongs: Vec<(Duration, u32)> = Vec::new();
    let records = net.recent();
    for Record { at, node, what, .. } in records.iter().filter(|record| record.at > since) {
        let Some(node) = node.filter(|_| *what == "wrote") else { continue };
        match pongs.iter().position(|(due, by)| *by == node && due.abs_diff(*at) <= 2 * MS) {
            Some(answered) => drop(pongs.swap_remove(answered)),
            None => {
                *pings.entry(node as usize).or_default() += 1;
                pongs.push((*at + 50 * MS, 1 - node));
            }
        }
    }
    assert!(pongs.len() <= 2, "each ping is answered");
    pings
}

#[test]
fn a_node_whose_clock_is_slow_pings_less_often_than_one_whose_clock_is_fast() {
    for depth in DEPTHS {
        let talk = Talk::default();
        let mut net = SimNet::new(2, depth).unwrap();
        let nodes = net.add_many(2, move |node| talk.declare(node));
        net.tie(nodes[0], nodes[1]);
        net.drift(nodes[0], -50_000).unwrap();
        net.drift(nodes[1], 50_000).unwrap();
        net.start_all().unwrap();
        net.run_until(SimNet::is_connected, 10 * SECOND).unwrap();
        net.run_for(SECOND);
        let since = net.elapsed();
        net.run_for(3_000 * SECOND);
        // One each 15 s, of 2,850 s and of 3,150 s.
        let pings = pings(&net, since);
        assert!(pings[&0].abs_diff(190) <= 1 && pings[&1].abs_diff(210) <= 1, "{pings:?} at {depth:?}");
        assert!(net.is_connected());
    }
}

/// Notes each ten seconds what time it is.
struct Ticker {
    next: Option<Instant>,
    began: Option<Instant>,
    ticks: Arc<Mutex<Vec<Duration>>>,
}

impl Reactor for Ticker {
    type Message = Word;
    type Event = ();

    fn on_peer(&mut self, now: Instant, _: &peerage::peer::PeerUpdate, _: &mut Outbox<Self>) {
        self.began.get_or_insert(now);
        self.next.get_or_insert(now + 10 * SECOND);
    }

    fn on_message(&mut self, _: Instant, _: Envelope<Word>, _: &mut Outbox<Self>) {}

    fn on_event(&mut self, _: Instant, (): (), _: &mut Outbox<Self>) {}

    fn on_refused(&mut self, _: Instant, _: SendId, _: NodeId, _: Refusal, _: &mut Outbox<Self>) {}

    fn on_timeout(&mut self, now: Instant, _: &mut Outbox<Self>) {
        let next = self.next.unwrap();
        assert!(now >= next, "not woken before its time");
        self.ticks.lock().unwrap().push(now - self.began.unwrap());
        self.next = Some(next + 10 * SECOND);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next
    }
}

#[test]
fn a_reactor_lives_by_the_clock_of_its_node() {
    let ticks: Vec<Arc<Mutex<Vec<Duration>>>> = vec![Arc::default(), Arc::default()];
    let noting = ticks.clone();
    let mut net = SimNet::new(2, Depth::Plain).unwrap();
    let nodes = net.add_many(2, move |node| {
        let ticks = Arc::clone(&noting[node.node().number()]);
        let builder = node.builder();
        let (channel, updates) = (builder.channel::<Word>()?, builder.updates());
        let ticker = Ticker { next: None, began: None, ticks };
        builder.reactor("ticker", drive(ticker, channel, updates, mpsc::channel(1).1));
        Ok(())
    });
    net.tie(nodes[0], nodes[1]);
    net.drift(nodes[1], 100_000).unwrap();
    net.start_all().unwrap();
    net.run_until(SimNet::is_connected, 10 * SECOND).unwrap();
    net.run_for(1_000 * SECOND);
    let [steady, fast] = [0, 1].map(|node| ticks[node].lock().unwrap().clone());
    assert!(
        steady.len().abs_diff(100) <= 1 && fast.len().abs_diff(110) <= 1,
        "{} {}",
        steady.len(),
        fast.len()
    );
    for (number, at) in (1_u32..).zip(&fast) {
        assert!(
            at.saturating_sub(10 * SECOND * number) <= 3 * MS,
            "{at:?} is no multiple of 10 s by its own clock"
        );
    }
}

#[test]
fn a_network_whose_clocks_drift_recovers_from_faults() {
    for (depth, seeds) in [(Depth::Plain, 0..6), (Depth::Rlpx, 6..7)] {
        for seed in seeds {
            let talk = Talk::default();
            let mut net = SimNet::new(seed, depth).unwrap();
            net.set_line(Line::of(30 * MS).spread(50 * MS)).unwrap();
            let nodes = net.add_many(10, move |node| talk.declare(node));
            net.tie_all(&nodes, Topology::Regular { degree: 4 });
            for (number, node) in (0..).zip(&nodes) {
                net.drift(*node, (number - 5) * 10_000).unwrap();
            }
            net.start_all().unwrap();
            net.play(&Script::drawn(seed, &nodes, 20, 300 * SECOND)).unwrap();
            net.recover(300 * SECOND).unwrap();
        }
    }
}

/// Two nodes of which the first writes its store where the test can read it, and knows the second.
fn storing() -> (SimNet, [Node; 2], MemoryStore) {
    let store = MemoryStore::new();
    let (talk, keeping) = (Talk::default(), store.clone());
    let mut net = SimNet::new(2, Depth::Plain).unwrap();
    let nodes = net.add_many(2, move |node| {
        if node.node().number() == 0 {
            node.builder().store(keeping.clone());
        }
        talk.declare(node)
    });
    net.introduce(nodes[0], nodes[1]);
    (net, [nodes[0], nodes[1]], store)
}

#[test]
fn what_a_node_stores_has_the_times_of_its_own_wall_clock() {
    let (mut net, nodes, store) = storing();
    let began = net.wall_time(nodes[0]).as_unix_ms();
    net.drift(nodes[0], 100_000).unwrap();
    net.turn_clock(nodes[0], 7);
    net.start_all().unwrap();
    net.run_for(1_000 * SECOND);
    assert_eq!(net.wall_time(nodes[0]).as_unix_ms() - began, 1_107_000);
    assert_eq!(net.wall_time(nodes[1]).as_unix_ms() - began, 1_000_000);
    let whom = BanTarget::Prefix("99.0.0.0/8".parse().unwrap());
    let handle = net.handle(nodes[0]).unwrap().clone();
    net.block_on(handle.ban(whom, Some(3_600 * SECOND), "a test")).unwrap();
    net.run_for(SECOND);
    let until = store.records().into_iter().find_map(|record| match record {
        Stored::Ban(ban) => ban.until,
        Stored::Peer(_) => None,
    });
    let until = until.unwrap().as_unix_ms() - began;
    assert!(until.abs_diff(1_107_000 + 3_600_000) <= 10, "{until}");
}

#[test]
fn a_wall_clock_that_jumps_by_a_day_while_a_node_is_down_holds_nobody_up() {
    const DAY: i64 = 86_400;
    for by in [-DAY, DAY] {
        let (mut net, nodes, store) = storing();
        net.start_all().unwrap();
        net.run_until(SimNet::is_connected, 10 * SECOND).unwrap();
        net.run_for(60 * SECOND);
        // The first fails to reach the second for a while, and writes down until when it leaves it alone.
        net.kill(nodes[1]);
        net.run_for(150 * SECOND);
        let held = |record: &Stored| matches!(record, Stored::Peer(peer) if peer.hold.is_some());
        assert!(store.records().iter().any(held), "{:?}", store.records());
        net.kill(nodes[0]);
        net.turn_clock(nodes[0], by);
        net.start_all().unwrap();
        let took = net.run_until(|net| net.connections().len() == 1, 600 * SECOND);
        assert!(took.is_ok(), "by {by} s: {:?}", store.records());
        assert_eq!(net.violations(), []);
    }
}

#[test]
fn a_network_whose_clocks_drift_repeats() {
    assert_repeatable(Depth::Plain, 0..2, |net| {
        let talk = Talk::default();
        let nodes = net.add_many(4, move |node| talk.declare(node));
        net.tie_all(&nodes, Topology::Ring);
        net.drift(nodes[1], -33_333).unwrap();
        net.drift(nodes[2], 33_333).unwrap();
        net.start_all().unwrap();
        net.run_for(100 * SECOND);
    });
}

#[test]
fn a_drift_of_more_than_half_is_refused() {
    let (mut net, nodes, _) = talking(Depth::Plain, 2, Topology::Line);
    assert!(matches!(net.drift(nodes[0], 500_001), Err(SimError::Drift { ppm: 500_001 })));
    let error = net.drift(nodes[0], i32::MIN).unwrap_err();
    assert_eq!(error.to_string(), "a drift of -2147483648 millionths; at most 500,000 either way");
    assert!(net.drift(nodes[0], -500_000).is_ok());
}
