//! A message's whole way: from a reactor's `send`, through the queue, RLPx and loopback TCP (or memory), to the
//! `recv` of the reactor at the other end. Both nodes run on one thread, so the time is that of both ends together. Beside
//! it the way from one reactor to another of the same node.

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerage::channel::{Receiver, Recipients, Sender};
use peerage::peer::PeerUpdate;
use peerage::router::{Builder, RouterHandle};
use peerage::transport::memory::MemoryNetwork;
use peerage::transport::rlpx::RlpxTransport;
use peerage::{NodeAddress, NodeId, NodeKey, Router};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

peerage::protocol! {
    /// Payloads of any size.
    #[derive(Debug)]
    pub enum Load: "load" / 1, max 2 * 1024 * 1024 {
        0 = Blob(Bytes),
    }
}

/// Longest time that a message may wait for room.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two nodes that are connected, as long as this lives.
struct Pair {
    runtime: Runtime,
    tasks: JoinSet<()>,
    handles: Vec<RouterHandle>,
    sender: Sender<Load>,
    receiver: Receiver<Load>,
    /// Sends on the receiver's own node.
    local: Sender<Load>,
    to: NodeId,
}

impl Pair {
    fn new(over_tcp: bool) -> Result<Self, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (a, b) = (NodeKey::insecure_from_seed(1), NodeKey::insecure_from_seed(2));
        let (mut at_a, mut at_b) = (Router::builder(a.id()), Router::builder(b.id()));
        let to = b.id();
        let address = if over_tcp {
            let listening = runtime.block_on(RlpxTransport::bind(b, ([127, 0, 0, 1], 0).into()))?;
            at_a.transport(RlpxTransport::dial_only(a));
            at_b.transport(listening);
            None
        } else {
            let network = MemoryNetwork::new();
            at_a.transport(network.listen(a.id()));
            at_b.transport(network.listen(to));
            Some(NodeAddress::memory(to))
        };
        Self::connect(runtime, at_a, at_b, to, address)
    }

    fn connect(
        runtime: Runtime,
        mut at_a: Builder,
        mut at_b: Builder,
        to: NodeId,
        address: Option<NodeAddress>,
    ) -> Result<Self, Box<dyn Error>> {
        let (local, receiver) = at_b.channel::<Load>()?.split();
        let (sender, _) = at_a.channel::<Load>()?.split();
        let listening = at_b.build()?;
        at_a.peer(address.unwrap_or_else(|| listening.handle().addresses().remove(0)));
        let mut updates = at_a.updates();
        let dialling = at_a.build()?;
        let handles = vec![listening.handle(), dialling.handle()];
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
        Ok(Self { runtime, tasks, handles, sender, receiver, local, to })
    }

    /// Sends `count` messages and waits until all have arrived.
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    fn carry(&mut self, count: u64, payload: &Bytes) -> Duration {
        let Self { runtime, sender, receiver, to, .. } = self;
        let started = Instant::now();
        runtime.block_on(async {
            let send = async {
                for _ in 0..count {
                    let sent = sender.send(*to, Load::Blob(payload.clone()), PATIENCE).await;
                    assert!(sent.is_ok(), "{sent:?}");
                }
            };
            let receive = async {
                for _ in 0..count {
                    assert!(receiver.recv().await.is_some(), "the node has ended");
                }
            };
            tokio::join!(send, receive);
        });
        started.elapsed()
    }

    /// Delivers `count` messages within the receiver's node, one at a time.
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    fn deliver_locally(&mut self, count: u64, payload: &Bytes) -> Duration {
        let Self { runtime, local, receiver, .. } = self;
        let started = Instant::now();
        runtime.block_on(async {
            for _ in 0..count {
                let sent = local.try_send(Recipients::local(), Load::Blob(payload.clone()));
                assert!(sent.queued() == 1, "{sent}");
                assert!(receiver.recv().await.is_some(), "the node has ended");
            }
        });
        started.elapsed()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.handles.iter().for_each(RouterHandle::shutdown);
        let Self { runtime, tasks, .. } = self;
        runtime.block_on(async { while tasks.join_next().await.is_some() {} });
    }
}

fn channel_to_channel(c: &mut Criterion) {
    for (transport, over_tcp) in [("tcp-rlpx", true), ("memory", false)] {
        let mut group = c.benchmark_group(format!("channel_to_channel/{transport}"));
        let mut pair = match Pair::new(over_tcp) {
            Ok(pair) => pair,
            Err(error) => {
                eprintln!("channel_to_channel/{transport}: {error}");
                continue;
            }
        };
        for (name, bytes) in
            [("64 B", 64), ("256 B", 256), ("1 KiB", 1 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)]
        {
            // Bytes that do not compress, as encrypted or compact data does not.
            let mut state = 1u32;
            let noise = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            });
            let payload: Bytes = noise.take(bytes).collect();
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|count| pair.carry(count, &payload));
            });
        }
        group.finish();
    }
}

/// From one reactor to another of the same node, by value.
fn local_delivery(c: &mut Criterion) {
    let mut pair = match Pair::new(false) {
        Ok(pair) => pair,
        Err(error) => return eprintln!("local_delivery: {error}"),
    };
    let payload = Bytes::from_static(&[7; 256]);
    c.bench_function("local_delivery/256 B", |bencher| {
        bencher.iter_custom(|count| pair.deliver_locally(count, &payload));
    });
}

criterion_group!(benches, channel_to_channel, local_delivery);
criterion_main!(benches);
