//! What RLPx costs without I/O: frames by size, with and without snappy, and the handshake of both ends.

#![allow(clippy::expect_used, reason = "a benchmark that cannot set up must stop")]
#![allow(missing_docs, reason = "criterion's macros write items without docs")]

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerage::NodeKey;
use peerage::rlpx::{Decoder, Encoder, Entropy, Initiator, MAX_FRAME_BYTES, Recipient, Secrets};

const SIZES: [(&str, usize); 5] =
    [("64B", 64), ("256B", 256), ("1KiB", 1024), ("64KiB", 64 * 1024), ("1MiB", 1024 * 1024)];

fn keys() -> (NodeKey, NodeKey) {
    (NodeKey::insecure_from_seed(1), NodeKey::insecure_from_seed(2))
}

fn handshake(a: &NodeKey, b: &NodeKey) -> (Secrets, Secrets) {
    let (state, auth) = Initiator::new(a, b.id(), Entropy::from_bytes([1; 32]));
    let accepted = Recipient::on_auth(b, &auth, Entropy::from_bytes([2; 32])).expect("a good auth");
    (state.on_ack(&accepted.ack).expect("a good ack"), accepted.secrets)
}

fn ends(snappy: bool) -> (Encoder, Decoder) {
    let (a, b) = keys();
    let (a, b) = handshake(&a, &b);
    let mut encoder = Encoder::new(a.into_codec(MAX_FRAME_BYTES).0);
    let mut decoder = Decoder::new(b.into_codec(MAX_FRAME_BYTES).1);
    let mut wire = BytesMut::new();
    encoder.encode(0, b"first", &mut wire).expect("it is small");
    decoder.decode(&mut wire, |_| Some(100)).expect("it is ours");
    if snappy {
        encoder.enable_snappy();
        decoder.enable_snappy();
    }
    (encoder, decoder)
}

/// Bytes that do not compress.
fn payload(len: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[3]
    })
    .take(len)
    .collect()
}

fn frames(c: &mut Criterion) {
    for (group, snappy) in [("plain", false), ("snappy", true)] {
        let mut group = c.benchmark_group(group);
        for (name, len) in SIZES {
            let payload = payload(len);
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_with_input(BenchmarkId::new("seal", name), &payload, |b, payload| {
                let (mut encoder, _) = ends(snappy);
                let mut wire = BytesMut::new();
                b.iter(|| {
                    wire.clear();
                    encoder.encode(0x11, black_box(payload), &mut wire).expect("it fits");
                });
            });
            group.bench_with_input(BenchmarkId::new("seal_open", name), &payload, |b, payload| {
                let (mut encoder, mut decoder) = ends(snappy);
                let mut wire = BytesMut::with_capacity(4 * len + 64 * 1024);
                b.iter(|| {
                    encoder.encode(0x11, black_box(payload), &mut wire).expect("it fits");
                    decoder.decode(&mut wire, |_| Some(MAX_FRAME_BYTES)).expect("it is ours")
                });
            });
        }
    }
}

/// What the machine can do at this moment: compare the rest with these, since shared cores vary twofold.
fn yardsticks(c: &mut Criterion) {
    use sha3::{Digest, Keccak256};
    let data = payload(64 * 1024);
    for (name, len) in [("yardstick/keccak_permutation", 64), ("yardstick/keccak_64KiB", data.len())] {
        c.bench_function(name, |b| {
            b.iter(|| Keccak256::digest(black_box(&data[..len])));
        });
    }
    let secret = secp256k1::SecretKey::from_secret_bytes([7; 32]).expect("a scalar");
    let point = secp256k1::PublicKey::from_secret_key(&secret);
    c.bench_function("yardstick/ecdh", |b| {
        b.iter(|| secp256k1::ecdh::shared_secret_point(black_box(&point), &secret));
    });
}

fn handshakes(c: &mut Criterion) {
    let (a, b) = keys();
    c.bench_function("handshake/both_ends", |bench| bench.iter(|| handshake(&a, &b)));
    let (_, auth) = Initiator::new(&a, b.id(), Entropy::from_bytes([1; 32]));
    c.bench_function("handshake/recipient", |bench| {
        bench.iter_batched(
            || Entropy::from_bytes([2; 32]),
            |entropy| Recipient::on_auth(&b, &auth, entropy),
            BatchSize::SmallInput,
        );
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = yardsticks, frames, handshakes
}
criterion_main!(benches);
