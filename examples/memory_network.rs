//! Eight whole nodes in one process, over the memory transport: each says hello to all, and the first answers are shown.
//!
//! Run it with `cargo run --example memory_network`.

use std::error::Error;

use peerage::channel::{Channel, PeerUpdates, Recipients};
use peerage::transport::memory::MemoryNetwork;
use peerage::{NodeAddress, NodeKey, Router};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

peerage::protocol! {
    /// What echo nodes say.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Echo: "echo" / 1, max 4096 {
        0 = Say { text: String },
        1 = Back { text: String },
    }
}

const NODES: u64 = 8;

/// Greets each time a peer comes up, answers greetings, and tells `answers` of each answer.
async fn echo(mut channel: Channel<Echo>, mut updates: PeerUpdates, answers: mpsc::Sender<String>) {
    loop {
        tokio::select! {
            biased;
            update = updates.next() => match update {
                Some(_) => channel.try_send(Recipients::all(), Echo::Say { text: "hello".into() }).ignore(),
                None => return,
            },
            envelope = channel.recv() => match envelope {
                Some(envelope) => match envelope.message {
                    Echo::Say { text } => channel.try_send(envelope.from, Echo::Back { text }).ignore(),
                    Echo::Back { text } => drop(answers.try_send(format!("{}: {text}", envelope.from.short()))),
                },
                None => return,
            },
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let network = MemoryNetwork::new();
    let (answers, mut answered) = mpsc::channel(256);
    let (mut nodes, mut handles) = (JoinSet::new(), Vec::new());
    let ids: Vec<_> = (0..NODES).map(|seed| NodeKey::insecure_from_seed(seed).id()).collect();
    for (index, id) in ids.iter().enumerate() {
        let mut builder = Router::builder(*id);
        builder.transport(network.listen(*id));
        for earlier in &ids[..index] {
            builder.peer(NodeAddress::memory(*earlier));
        }
        let channel = builder.channel::<Echo>()?;
        let updates = builder.updates();
        builder.reactor("echo", echo(channel, updates, answers.clone()));
        let router = builder.build()?;
        handles.push(router.handle());
        nodes.spawn(router.run());
    }
    for _ in 0..2 * NODES {
        println!("{}", answered.recv().await.unwrap_or_default());
    }
    for handle in &handles {
        // A subscription tells first of the peers that are up already.
        let mut updates = handle.updates();
        while handle.peers().len() < ids.len() - 1 {
            updates.next().await;
        }
    }
    println!("{NODES} nodes, each connected to all others: {} connections", NODES * (NODES - 1) / 2);
    for handle in &handles {
        handle.shutdown();
    }
    while let Some(report) = nodes.join_next().await {
        assert!(report?.clean, "every task of a node ends with it");
    }
    Ok(())
}
