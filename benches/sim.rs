//! What a simulated network costs: time of one core for each virtual second, and memory.
//!
//! `cargo bench --features sim --bench sim [-- NODES...]`; without numbers 200, 1,000 and 5,000 nodes. Each node has 20
//! peers and says 64 bytes to all of them five times in four seconds, which makes 25 messages a second for each node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use cap::Cap;
use mimalloc::MiMalloc;
use peerage::channel::{Channel, Recipients};
use peerage::peer::Limit;
use peerage::sim::{Depth, SimNet, Topology};

#[global_allocator]
static MEMORY: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

const PEERS: usize = 20;
const EVERY: Duration = Duration::from_millis(800);
/// How many virtual seconds are measured, each for itself.
const SECONDS: usize = 10;

peerage::protocol! {
    /// What the nodes say.
    pub enum Gossip: "gossip" / 1, max 4096 {
        0 = Say { number: u64, text: String },
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![200, 1_000, 5_000] } else { asked };
    println!("nodes  connections  messages/s  ms per virtual s: median  least  most  MB");
    for nodes in sizes {
        measure(nodes)?;
    }
    Ok(())
}

fn measure(nodes: usize) -> Result<(), Box<dyn std::error::Error>> {
    let before = MEMORY.allocated();
    let heard = Arc::new(AtomicU64::new(0));
    let mut net = SimNet::new(1, Depth::Plain)?;
    let hears = Arc::clone(&heard);
    let all = net.add_many(nodes, move |node| {
        let channel: Channel<Gossip> = node.builder().channel()?;
        node.builder().configure(|config| {
            config.peers.max_outbound = Limit::AtMost(PEERS);
            config.peers.max_inbound = Limit::AtMost(PEERS);
        });
        let begins = Duration::from_millis(node.seed("begins") % 800);
        node.builder().reactor("gossip", gossip(channel, begins, Arc::clone(&hears)));
        Ok(())
    });
    net.tie_all(&all, Topology::Regular { degree: PEERS });
    net.start_all()?;
    net.run_until(SimNet::is_connected, Duration::from_secs(60))?;
    net.run_for(Duration::from_secs(5));
    let mut times = Vec::with_capacity(SECONDS);
    let heard_before = heard.load(Relaxed);
    for _ in 0..SECONDS {
        #[allow(clippy::disallowed_methods, reason = "a benchmark measures the real time")]
        let began = std::time::Instant::now();
        net.run_for(Duration::from_secs(1));
        times.push(began.elapsed());
    }
    times.sort();
    let messages = (heard.load(Relaxed) - heard_before) / SECONDS as u64;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{nodes:>5}  {:>11}  {messages:>10}  {:>24.1}  {:>5.1}  {:>4.1}  {:>3}",
        net.connections().len(),
        ms(times[SECONDS / 2]),
        ms(times[0]),
        ms(times[SECONDS - 1]),
        (MEMORY.allocated() - before) / 1_000_000,
    );
    Ok(())
}

/// Says something to all peers, and counts what it hears.
async fn gossip(channel: Channel<Gossip>, begins: Duration, heard: Arc<AtomicU64>) {
    let (sender, mut receiver) = channel.split();
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + begins, EVERY);
    let mut number = 0;
    loop {
        tokio::select! {
            biased;
            said = receiver.recv() => match said {
                Some(_) => drop(heard.fetch_add(1, Relaxed)),
                None => return,
            },
            _ = ticks.tick() => {
                number += 1;
                sender.try_send(Recipients::all(), Gossip::Say { number, text: "x".repeat(48) }).ignore();
            }
        }
    }
}
