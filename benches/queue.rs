//! What a push and a pop of a small message cost, by the number of busy flows.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use peerage::NodeKey;
use peerage::id::NodeId;
use peerage::queue::{CancelId, FairQueue, FlowConfig, Meta, Overflow, QueueConfig};

/// About the size of what the router queues: a `Bytes`, a channel and a code.
type Item = [u64; 6];

/// A queue whose flows hold `depth` messages each.
fn filled<K: Ord + Copy>(now: Instant, keys: &[K], depth: usize, meta: Meta) -> Option<FairQueue<K, Item>> {
    let mut queue = FairQueue::new(QueueConfig::new(4096, 1 << 30).ok()?);
    for &key in keys {
        queue.open_flow(key, FlowConfig::new(1, 1024, 1 << 28, Overflow::Wait).ok()?).ok()?;
        for _ in 0..depth {
            let _ = queue.push(now, key, [0; 6], meta);
        }
    }
    Some(queue)
}

fn pairs<K: Ord + Copy>(c: &mut Criterion, name: &str, keys: &[K], depth: usize, meta: Meta) {
    let now = start();
    let Some(mut queue) = filled(now, keys, depth, meta) else { return };
    let mut turn = 0;
    c.bench_function(name, |b| {
        b.iter(|| {
            turn = (turn + 1) % keys.len();
            let _ = black_box(queue.push(black_box(now), keys[turn], [turn as u64; 6], meta));
            black_box(queue.pop(black_box(now)))
        });
    });
}

#[allow(clippy::disallowed_methods, reason = "the queue needs some instant to count from")]
fn start() -> Instant {
    Instant::now()
}

fn queue(c: &mut Criterion) {
    let small = Meta::new(100);
    let keys: Vec<u64> = (0..1000).collect();
    for flows in [1, 8, 64, 1000] {
        pairs(c, &format!("push+pop, {flows} flows, 2 queued in each"), &keys[..flows], 2, small);
    }
    pairs(c, "push+pop, 1 flow, queue empty between", &keys[..1], 0, small);
    let nodes: Vec<NodeId> = (0..64).map(|seed| NodeKey::insecure_from_seed(seed).id()).collect();
    pairs(c, "push+pop, 64 flows keyed by NodeId", &nodes, 2, small);
    let deadline = small.with_deadline(start() + Duration::from_secs(3600));
    pairs(c, "push+pop, 8 flows, with a deadline", &keys[..8], 2, deadline);
    pairs(c, "push+pop, 8 flows, cancellable", &keys[..8], 2, small.with_cancel(CancelId(1)));
    pairs(c, "push+pop, 8 flows of 1 MiB messages", &keys[..8], 2, Meta::new(1 << 20));
    pairs(c, "push+pop, 64 flows of 1 MiB messages", &keys[..64], 2, Meta::new(1 << 20));
}

criterion_group!(benches, queue);
criterion_main!(benches);
