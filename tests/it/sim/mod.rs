//! Simulated networks: what is done to them happens, at both depths, and happens again.

mod checks;
mod clocks;
mod faults;
mod growth;
mod liars;
mod lives;
mod relapse;
mod repeat;
#[cfg(feature = "scenario")]
mod scenarios;
mod villains;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peerage::NodeId;
use peerage::channel::Recipients;
use peerage::router::BuildError;
use peerage::sim::{Depth, Node, Setup, SimNet, Topology};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
const DEPTHS: [Depth; 2] = [Depth::Plain, Depth::Rlpx];

peerage::protocol! {
    /// What is said in simulated networks.
    pub enum Word: "word" / 1, max 65_536 {
        0 = Say { number: u64, text: String },
    }
}

/// When a node heard what from whom.
type Heard = Vec<(Instant, NodeId, u64)>;

/// Has a node say a number, with so many bytes.
type Mouth = mpsc::Sender<(u64, usize)>;

/// What the nodes of a network hear, and how they are made to speak.
#[derive(Clone, Default)]
struct Talk {
    heard: Arc<Mutex<BTreeMap<Node, Heard>>>,
    mouths: Arc<Mutex<BTreeMap<Node, Mouth>>>,
}

impl Talk {
    /// Declares a node that says to all peers what it is told to, and takes note of what it hears.
    fn declare(&self, node: &mut Setup<'_>) -> Result<(), BuildError> {
        let me = node.node();
        let (mouth, mut orders) = mpsc::channel(64);
        self.mouths.lock().unwrap().insert(me, mouth);
        let heard = Arc::clone(&self.heard);
        let channel = node.builder().channel::<Word>()?;
        node.builder().reactor("talk", async move {
            let (sender, mut receiver) = channel.split();
            loop {
                tokio::select! {
                    biased;
                    envelope = receiver.recv() => {
                        let Some(envelope) = envelope else { return };
                        let Word::Say { number, .. } = envelope.message;
                        let said = (Instant::now(), envelope.from, number);
                        heard.lock().unwrap().entry(me).or_default().push(said);
                    }
                    Some((number, bytes)) = orders.recv() => {
                        let text = "x".repeat(bytes);
                        sender.try_send(Recipients::all(), Word::Say { number, text }).ignore();
                    }
                }
            }
        });
        Ok(())
    }

    fn say(&self, node: Node, number: u64) {
        self.say_much(node, number, 1);
    }

    fn say_much(&self, node: Node, number: u64, bytes: usize) {
        self.mouths.lock().unwrap()[&node].try_send((number, bytes)).unwrap();
    }

    /// The numbers that a node heard.
    fn heard(&self, node: Node) -> Vec<u64> {
        let heard = self.heard.lock().unwrap();
        heard.get(&node).map(|heard| heard.iter().map(|(_, _, number)| *number).collect()).unwrap_or_default()
    }
}

/// A network of `count` nodes that talk, tied to each other, started, and all up.
fn talking(depth: Depth, count: usize, topology: Topology) -> (SimNet, Vec<Node>, Talk) {
    let talk = Talk::default();
    let mut net = SimNet::new(1, depth).unwrap();
    let declaring = talk.clone();
    let nodes = net.add_many(count, move |node| declaring.declare(node));
    net.tie_all(&nodes, topology);
    net.start_all().unwrap();
    net.run_until(SimNet::is_connected, 10 * SECOND).unwrap();
    (net, nodes, talk)
}
