//! What a push and a pop of a small message cost, by the number of busy flows.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use peerage::NodeKey;
use peerage::id::NodeId;
use peerage::queue::{CancelId, FairQueue, FlowConfig, Meta, Overflow, Priority, QueueConfig};

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

/// The votes' flow is in the high class, and the others wait all the time.
fn two_classes(c: &mut Criterion, name: &str, keys: &[u64], meta: Meta) {
    let now = start();
    let Some(mut queue) = filled(now, keys, 2, meta) else { return };
    let Ok(votes) = FlowConfig::new(1, 1024, 1 << 28, Overflow::Wait) else { return };
    let _ = queue.open_flow(u64::MAX, votes.with_priority(Priority::High));
    c.bench_function(name, |b| {
        let mut turn = 0;
        b.iter(|| {
            turn = (turn + 1) % keys.len();
            for key in [keys[turn], u64::MAX] {
                let _ = black_box(queue.push(black_box(now), key, [0; 6], meta));
                let _ = black_box(queue.pop(black_box(now)));
            }
        });
    });
}

/// One flow of a thousand keys, all queued; each push replaces one.
fn replacing(c: &mut Criterion, meta: Meta) -> Result<(), Box<dyn std::error::Error>> {
    let now = start();
    let mut queue = FairQueue::new(QueueConfig::new(4096, 1 << 30)?);
    queue.open_flow(0, FlowConfig::new(1, 1024, 1 << 28, Overflow::ReplaceByKey)?)?;
    let mut key = 0;
    c.bench_function("push that replaces one of 1000 keys", |b| {
        b.iter(|| {
            key = (key + 7) % 1000;
            black_box(queue.push(black_box(now), 0, [key; 6], meta.with_key(key)))
        });
    });
    Ok(())
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
    two_classes(c, "two push+pop, 8 flows and one of the high class", &keys[..8], small);
    let _ = replacing(c, small);
}

criterion_group!(benches, queue);
criterion_main!(benches);
