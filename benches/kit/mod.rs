//! Two nodes that are connected, for benchmarks of a message's whole way.

use std::error::Error;

use peerage::channel::Channel;
use peerage::peer::PeerUpdate;
use peerage::router::RouterHandle;
use peerage::transport::memory::MemoryNetwork;
use peerage::transport::rlpx::RlpxTransport;
use peerage::{Message, NodeAddress, NodeId, NodeKey, Router};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Two nodes that are connected, as long as this lives.
pub(crate) struct Nodes {
    pub(crate) runtime: Runtime,
    tasks: JoinSet<()>,
    handles: [RouterHandle; 2],
    /// The node that was dialled.
    pub(crate) far: NodeId,
}

/// The nodes, and a channel of each.
pub(crate) struct Connected<M: Message> {
    pub(crate) nodes: Nodes,
    /// At the node that dialled.
    pub(crate) near_channel: Channel<M>,
    /// At the node that was dialled.
    pub(crate) far_channel: Channel<M>,
}

impl Nodes {
    /// Connects two nodes.
    pub(crate) fn connect<M: Message>(
        runtime: Runtime,
        over_tcp: bool,
    ) -> Result<Connected<M>, Box<dyn Error>> {
        let (a, b) = (NodeKey::insecure_from_seed(1), NodeKey::insecure_from_seed(2));
        let (mut at_a, mut at_b) = (Router::builder(a.id()), Router::builder(b.id()));
        let far = b.id();
        let address = if over_tcp {
            let listening = runtime.block_on(RlpxTransport::bind(b, ([127, 0, 0, 1], 0).into()))?;
            at_a.transport(RlpxTransport::dial_only(a));
            at_b.transport(listening);
            None
        } else {
            let network = MemoryNetwork::new();
            at_a.transport(network.listen(a.id()));
            at_b.transport(network.listen(far));
            Some(NodeAddress::memory(far))
        };
        let (near_channel, far_channel) = (at_a.channel()?, at_b.channel()?);
        let listening = at_b.build()?;
        at_a.peer(address.unwrap_or_else(|| listening.handle().addresses().remove(0)));
        let mut updates = at_a.updates();
        let dialling = at_a.build()?;
        let handles = [listening.handle(), dialling.handle()];
        let mut tasks = JoinSet::new();
        runtime.block_on(async {
            for router in [listening, dialling] {
                tasks.spawn(async move {
                    router.run().await;
                });
            }
            let up = updates.next().await;
            assert!(matches!(up, Some(PeerUpdate::Up { .. })), "the nodes did not connect: {up:?}");
        });
        let nodes = Self { runtime, tasks, handles, far };
        Ok(Connected { nodes, near_channel, far_channel })
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.handles.iter().for_each(RouterHandle::shutdown);
        let Self { runtime, tasks, .. } = self;
        runtime.block_on(async { while tasks.join_next().await.is_some() {} });
    }
}
