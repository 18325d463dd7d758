//! What the peer manager costs, from a thousand known addresses to a million.
//!
//! `cargo bench --bench peers` prints a table: the median and the 99th percentile of each input in nanoseconds, the
//! time to restore everything from records, and the memory that is then allocated for each address. `cargo bench --bench peers --
//! 1000 10000` measures those sizes alone. Inputs are timed one by one, so a reading of the clock (about 25 ns) is in
//! each figure.

#![allow(clippy::expect_used, clippy::disallowed_methods)] // A benchmark reads the clock.

use std::alloc::System;
use std::cell::Cell;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use cap::Cap;
use peerage::address::{Endpoint, NodeAddress};
use peerage::event::{Blame, Closed, DisconnectReason, GoodAct, Layer};
use peerage::id::{NodeId, NodeKey};
use peerage::peer::{
    BanTarget, Change, Config, Introduction, Limit, PeerManager, PeerRecord, PeerSet, Record, Source,
    WallTime,
};

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

/// Calls of each input that are timed.
const ROUNDS: usize = 2_000;

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000, 10_000, 100_000, 1_000_000] } else { sizes };
    let most = sizes.iter().copied().max().unwrap_or(0) + 3 * ROUNDS;
    eprintln!("drawing {most} identities");
    let ids: Vec<NodeId> = (1..=most as u64).map(|seed| NodeKey::insecure_from_seed(seed).id()).collect();
    for size in sizes {
        Curve::measure(size, &ids).print();
    }
}

/// Public addresses, about four in each /24.
fn address(id: NodeId, nth: usize) -> NodeAddress {
    let host = 0x0b00_0000 + u32::try_from(nth * 61 % (1 << 26)).unwrap_or(0);
    NodeAddress::rlpx(id, SocketAddr::from((Ipv4Addr::from_bits(host), 30303)))
}

struct Curve {
    size: usize,
    restore: Duration,
    bytes_per_address: usize,
    /// Name, median and 99th percentile.
    inputs: Vec<(&'static str, Duration, Duration)>,
}

impl Curve {
    fn measure(size: usize, ids: &[NodeId]) -> Self {
        let (known, fresh) = ids.split_at(size);
        let before = ALLOCATED.allocated();
        let records: Vec<Record> = known
            .iter()
            .enumerate()
            .map(|(nth, id)| {
                let from = known[nth / 100];
                Record::Peer(PeerRecord::new(address(*id, nth), Source::Gossip { from }))
            })
            .collect();
        let mut config = Config::new(NodeKey::insecure_from_seed(0).id());
        config.max_peers = size + 3 * ROUNDS;
        config.max_dials_in_flight = 64;
        config.max_inbound_handshakes = 64;
        config.max_inbound = Limit::AtMost(100);
        config.groups.max_handshakes = Limit::Unlimited;
        config.forget_after = Limit::Unlimited;
        config.backoff.min = Duration::from_millis(100);
        (config.backoff.max, config.backoff.max_persistent) = (config.backoff.min, config.backoff.min);
        config.backoff.jitter = Duration::ZERO;
        let start = Instant::now();
        let manager = PeerManager::new(config, 7, start, WallTime::from_unix_ms(1_700_000_000_000), records);
        let restore = start.elapsed();
        let bytes_per_address = (ALLOCATED.allocated() - before) / size;
        let mut bench =
            Bench { manager: manager.expect("the configuration is valid"), now: start, taken: Vec::new() };
        assert_eq!(bench.manager.counts().stored, size);
        bench.run(known, fresh);
        Self { size, restore, bytes_per_address, inputs: bench.taken }
    }

    fn print(&self) {
        println!(
            "\n{} addresses: restored in {:.3} s, {} B for each address",
            self.size,
            self.restore.as_secs_f64(),
            self.bytes_per_address
        );
        println!("{:<36} {:>10} {:>10}", "input", "median ns", "p99 ns");
        for (name, median, p99) in &self.inputs {
            println!("{name:<36} {:>10} {:>10}", median.as_nanos(), p99.as_nanos());
        }
    }
}

struct Bench {
    manager: PeerManager,
    now: Instant,
    taken: Vec<(&'static str, Duration, Duration)>,
}

impl Bench {
    /// Times `input` over and over, and what is done in between not.
    fn time<T>(
        &mut self,
        name: &'static str,
        mut before: impl FnMut(&mut Self, usize) -> T,
        mut input: impl FnMut(&mut PeerManager, Instant, &T),
        mut after: impl FnMut(&mut Self, T),
    ) {
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let prepared = before(self, round);
            let start = Instant::now();
            input(&mut self.manager, self.now, black_box(&prepared));
            times.push(start.elapsed());
            after(self, prepared);
            while self.manager.poll_output().is_some() {}
            self.now += Duration::from_millis(1);
        }
        times.sort_unstable();
        self.taken.push((name, times[ROUNDS / 2], times[ROUNDS * 99 / 100]));
    }

    fn run(&mut self, known: &[NodeId], fresh: &[NodeId]) {
        self.time_store(known, fresh);
        self.time_connections(fresh);
        self.time_operator(known);
        self.time_questions(known);
    }

    fn time_store(&mut self, known: &[NodeId], fresh: &[NodeId]) {
        let none = |_: &mut Self, _| ();
        let new: Vec<NodeAddress> =
            fresh[..ROUNDS].iter().enumerate().map(|(nth, id)| address(*id, known.len() + nth)).collect();
        self.time(
            "add, a new peer",
            |_, round| new[round].clone(),
            |manager, now, address| assert_eq!(manager.add(address, Source::Discovery, now), Ok(true)),
            |_, _| (),
        );
        let old = address(known[0], 0);
        self.time(
            "add, known already",
            none,
            |m, now, ()| _ = black_box(m.add(&old, Source::Discovery, now)),
            |_, ()| (),
        );
        let refused = Closed::local(Layer::Tcp, Blame::System, DisconnectReason::TcpError, "refused");
        let failed = refused.clone();
        let dialled = Cell::new(None);
        self.time(
            "try_dial_next",
            none,
            |manager, now, ()| dialled.set(manager.try_dial_next(now).map(|dial| dial.conn)),
            |bench, ()| {
                let conn = dialled.get().expect("somebody is due");
                _ = bench.manager.dial_failed(conn, &failed, bench.now);
            },
        );
        self.time(
            "dial_failed",
            |bench, _| bench.manager.try_dial_next(bench.now).expect("somebody is due").conn,
            |manager, now, conn| _ = manager.dial_failed(*conn, &refused, now),
            |_, _| (),
        );
    }

    fn time_connections(&mut self, fresh: &[NodeId]) {
        let strangers = &fresh[ROUNDS..2 * ROUNDS];
        let ended = Closed::remote(DisconnectReason::Requested);
        let at = Endpoint::Tcp(SocketAddr::from(([192, 0, 2, 1], 4000)));
        let begun = Cell::new(None);
        self.time(
            "incoming",
            |_, _| (),
            |manager, now, ()| begun.set(manager.incoming(&at, now).ok()),
            |bench, ()| {
                let conn = begun.get().expect("there is room");
                _ = bench.manager.incoming_failed(conn, &ended, bench.now);
            },
        );
        let conn = |bench: &mut Self, round: usize| {
            (bench.manager.incoming(&at, bench.now).expect("there is room"), strangers[round])
        };
        let leave = ended.clone();
        self.time(
            "accepted, a stranger",
            conn,
            |manager, now, (conn, id)| assert!(manager.accepted(*conn, *id, now).is_ok()),
            move |bench, (conn, _)| _ = bench.manager.disconnected(conn, &leave, bench.now),
        );
        let connect = |bench: &mut Self, round: usize| {
            let (conn, id) = conn(bench, round);
            bench.manager.accepted(conn, id, bench.now).expect("there is room");
            (conn, introduction())
        };
        let leave = ended.clone();
        let end = move |bench: &mut Self, (conn, _)| _ = bench.manager.disconnected(conn, &leave, bench.now);
        self.time("ready", connect, |m, now, (conn, who)| _ = m.ready(*conn, who.clone(), now), end.clone());
        self.time(
            "praised",
            connect,
            |m, now, (conn, _)| _ = m.praised(*conn, GoodAct::Served, 1, now),
            end.clone(),
        );
        self.time(
            "measured",
            connect,
            |m, now, (conn, _)| _ = m.measured(*conn, Duration::from_millis(40), now),
            end,
        );
        self.time(
            "disconnected",
            connect,
            |m, now, (conn, _)| _ = m.disconnected(*conn, &ended, now),
            |_, _| (),
        );
    }

    fn time_operator(&mut self, known: &[NodeId]) {
        let target = |round: usize| BanTarget::Peer(known[round * 7 % known.len()]);
        self.time(
            "ban, a peer",
            |_, round| target(round),
            |manager, now, target| assert!(manager.ban(*target, None, "bench", now).is_ok()),
            |bench, target| assert!(bench.manager.unban(&target, bench.now)),
        );
        let everybody = BanTarget::Prefix("0.0.0.0/0".parse().expect("a prefix"));
        self.time(
            "ban, all of them by prefix",
            |_, _| (),
            |manager, now, ()| assert!(manager.ban(everybody, None, "bench", now).is_ok()),
            |bench, ()| assert!(bench.manager.unban(&everybody, bench.now)),
        );
        let change = |round: usize| {
            let (set, peer) = (PeerSet::Private, known[(round / 2) % known.len()]);
            Change::Member { set, peer, member: round.is_multiple_of(2) }
        };
        self.time(
            "reconfigure, a private peer",
            |_, round| change(round),
            |m, now, change| assert_eq!(m.reconfigure(change, now), Ok(true)),
            |_, _| (),
        );
    }

    fn time_questions(&mut self, known: &[NodeId]) {
        let peer = |_: &mut Self, round: usize| known[round * 11 % known.len()];
        self.time("why", peer, |m, _, peer| _ = black_box(m.why(peer)), |_, _| ());
        self.time("why_not_dialling", |_, _| (), |m, _, ()| _ = black_box(m.why_not_dialling()), |_, ()| ());
        self.time(
            "advertise, 16 addresses",
            peer,
            |m, _, peer| drop(black_box(m.advertise(Some(*peer), 16))),
            |_, _| (),
        );
        self.time("next_wakeup", |_, _| (), |m, _, ()| _ = black_box(m.next_wakeup()), |_, ()| ());
        self.time("advance", |_, _| (), |m, now, ()| m.advance(now), |_, ()| ());
    }
}

fn introduction() -> Introduction {
    Introduction { channels: [].into(), services: [].into(), capabilities: [].into() }
}
