//! A message's whole way: from a reactor's `send`, through the queue, RLPx and loopback TCP (or memory), to the
//! `recv` of the reactor at the other end. Both nodes run on one thread, so the time is that of both ends together. Beside
//! it the way from one reactor to another of the same node.

mod kit;

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerage::channel::{Receiver, Recipients, Sender};

use kit::{Connected, Nodes};

peerage::protocol! {
    /// Payloads of any size.
    #[derive(Debug)]
    pub enum Load: "load" / 1, max 2 * 1024 * 1024 {
        0 = Blob(Bytes),
    }
}

/// Longest time that a message may wait for room.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two nodes, a sender at one and the receiver of the other.
struct Pair {
    nodes: Nodes,
    sender: Sender<Load>,
    receiver: Receiver<Load>,
    /// Sends on the receiver's own node.
    local: Sender<Load>,
}

impl Pair {
    fn new(over_tcp: bool) -> Result<Self, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Connected { nodes, near_channel, far_channel } = Nodes::connect(runtime, over_tcp)?;
        let ((sender, _), (local, receiver)) = (near_channel.split(), far_channel.split());
        Ok(Self { nodes, sender, receiver, local })
    }

    /// Sends `count` messages and waits until all have arrived.
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    fn carry(&mut self, count: u64, payload: &Bytes) -> Duration {
        let Self { nodes: Nodes { runtime, far, .. }, sender, receiver, .. } = self;
        let started = Instant::now();
        runtime.block_on(async {
            let send = async {
                for _ in 0..count {
                    let sent = sender.send(*far, Load::Blob(payload.clone()), PATIENCE).await;
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
        let Self { nodes: Nodes { runtime, .. }, local, receiver, .. } = self;
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
