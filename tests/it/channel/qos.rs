//! Quality of service, on whole nodes: what is urgent goes first, what is greedy starves nobody, and what is too much
//! is refused or dropped by name, in bounded memory.

mod fairness;
mod overload;
mod priority;

use std::time::Duration;

use bytes::Bytes;
use peerage::peer::{Limit, PeerUpdate};
use peerage::router::{Builder, Report, Router, RouterConfig, RouterHandle};
use peerage::transport::memory::MemoryNetwork;
use peerage::transport::rlpx::RlpxTransport;
use peerage::{NodeAddress, NodeId};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::router::kit::{PATIENCE, key, lost, paused, real};

peerage::protocol! {
    /// Small messages, numbered by their sender.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Load: "load" / 1, max 1024 {
        0 = Piece { number: u64, filler: Bytes },
    }
}

/// How nodes reach each other.
enum Way {
    Memory(MemoryNetwork),
    Tcp,
}

impl Way {
    async fn builder(&self, seed: u64) -> Builder {
        let mut builder = Router::builder(key(seed).id());
        match self {
            Self::Memory(network) => builder.transport(network.listen(key(seed).id())),
            Self::Tcp => {
                let any = "127.0.0.1:0".parse().unwrap();
                builder.transport(RlpxTransport::bind(key(seed), any).await.unwrap())
            }
        };
        builder.seed(seed).configure(without_limits);
        builder
    }
}

fn without_limits(config: &mut RouterConfig) {
    let peers = &mut config.peers;
    (peers.max_inbound, peers.max_outbound) = (Limit::Unlimited, Limit::Unlimited);
    peers.max_inbound_handshakes = 64;
    // No more than the tests themselves allow is lost when a node ends.
    config.drain_timeout = Duration::from_secs(600);
}

/// A node that runs.
struct Node {
    id: NodeId,
    handle: RouterHandle,
    task: JoinHandle<Report>,
}

impl Node {
    fn start(tasks: &TaskTracker, builder: Builder) -> Self {
        let router = builder.build().unwrap();
        let handle = router.handle();
        Self { id: handle.id(), handle, task: tasks.spawn(router.run()) }
    }

    fn address(&self) -> NodeAddress {
        self.handle.addresses().remove(0)
    }

    /// Waits until so many peers are up.
    async fn up(&self, count: usize) {
        let mut updates = self.handle.updates();
        for _ in 0..count {
            let update = updates.next().await;
            assert!(matches!(update, Some(PeerUpdate::Up { .. })), "{update:?}");
        }
    }

    /// Shuts down, and waits until it has.
    async fn stop(self) -> Report {
        self.handle.shutdown();
        self.task.await.unwrap()
    }

    /// The counters of the channel [`Load`], which is declared first.
    fn load(&self) -> peerage::router::ChannelStatus {
        self.handle.channels().remove(0)
    }
}
