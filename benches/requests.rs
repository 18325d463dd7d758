//! Questions and answers of 64 B between two nodes: so many in flight, over loopback TCP with RLPx or over memory, with
//! both nodes on one thread or on a runtime of two workers.

mod kit;

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerage::channel::{Receiver, Sender};
use tokio::task::JoinSet;

use kit::{Connected, Nodes};

peerage::protocol! {
    /// With the id and the lists' heads each payload has about 64 bytes.
    #[derive(Debug)]
    pub enum Oracle: "oracle" / 1, max 1024 {
        /// Asks.
        0 = Ask { riddle: Bytes } -> Tell,
        /// Answers.
        1 = answer Tell { wisdom: Bytes },
    }
}

/// Longest time that a question may wait for its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a question and an answer carry beside their id.
const CONTENT: Bytes = Bytes::from_static(&[7; 58]);

/// Two nodes, of which one asks and the other answers.
struct Pair {
    nodes: Nodes,
    sender: Sender<Oracle>,
}

impl Pair {
    fn new(over_tcp: bool, threads: usize) -> Result<Self, Box<dyn Error>> {
        let mut runtime = match threads {
            1 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        // On one thread the number of workers means nothing.
        let runtime = runtime.worker_threads(threads).enable_all().build()?;
        let Connected { nodes, near_channel, far_channel } = Nodes::connect(runtime, over_tcp)?;
        let ((sender, _), (_, questions)) = (near_channel.split(), far_channel.split());
        // It ends with its node.
        nodes.runtime.spawn(answer(questions));
        Ok(Self { nodes, sender })
    }

    /// Asks `count` questions, so many at a time, and waits until all are answered.
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    fn ask(&mut self, count: u64, in_flight: u64) -> Duration {
        let Self { nodes: Nodes { runtime, far, .. }, sender } = self;
        let to = *far;
        let started = Instant::now();
        runtime.block_on(async {
            let mut askers = JoinSet::new();
            for asker in 0..in_flight {
                let sender = sender.clone();
                let questions = count / in_flight + u64::from(asker < count % in_flight);
                askers.spawn(async move {
                    for _ in 0..questions {
                        let answer = sender.request(to, Ask { riddle: CONTENT }, PATIENCE).await;
                        assert!(answer.is_ok(), "{answer:?}");
                    }
                });
            }
            while let Some(asked) = askers.join_next().await {
                assert!(asked.is_ok(), "{asked:?}");
            }
        });
        started.elapsed()
    }
}

async fn answer(mut questions: Receiver<Oracle>) {
    while let Some(envelope) = questions.recv().await {
        let Oracle::Ask(request) = envelope.message;
        let answered = request.responder.try_answer(Tell { wisdom: CONTENT });
        assert!(answered.is_ok());
    }
}

fn requests(c: &mut Criterion) {
    for (transport, over_tcp) in [("tcp-rlpx", true), ("memory", false)] {
        for threads in [1, 2] {
            let name = format!("requests/{transport}/threads {threads}");
            let mut group = c.benchmark_group(&name);
            let mut pair = match Pair::new(over_tcp, threads) {
                Ok(pair) => pair,
                Err(error) => {
                    eprintln!("{name}: {error}");
                    continue;
                }
            };
            group.throughput(Throughput::Elements(1));
            for in_flight in [1, 64] {
                group.bench_function(format!("in flight {in_flight}"), |bencher| {
                    bencher.iter_custom(|count| pair.ask(count, in_flight));
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, requests);
criterion_main!(benches);
