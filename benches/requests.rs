//! Questions and answers of 64 B between two nodes: so many in flight, over loopback TCP with RLPx or over memory, with
//! both nodes on one thread or on a runtime of two workers.

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerage::channel::{Receiver, Sender};
use peerage::message::Received;
use peerage::peer::PeerUpdate;
use peerage::router::{Builder, RouterHandle};
use peerage::transport::memory::MemoryNetwork;
use peerage::transport::rlpx::RlpxTransport;
use peerage::{NodeAddress, NodeId, NodeKey, Router};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

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

/// Two nodes that are connected, as long as this lives.
struct Pair {
    runtime: Runtime,
    tasks: JoinSet<()>,
    handles: Vec<RouterHandle>,
    sender: Sender<Oracle>,
    to: NodeId,
}

impl Pair {
    fn new(over_tcp: bool, threads: usize) -> Result<Self, Box<dyn Error>> {
        let mut runtime = match threads {
            1 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        // On one thread the number of workers means nothing.
        let runtime = runtime.worker_threads(threads).enable_all().build()?;
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
        let (_, questions) = at_b.channel::<Oracle>()?.split();
        let (sender, _) = at_a.channel::<Oracle>()?.split();
        let listening = at_b.build()?;
        at_a.peer(address.unwrap_or_else(|| listening.handle().addresses().remove(0)));
        let mut updates = at_a.updates();
        let dialling = at_a.build()?;
        let handles = vec![listening.handle(), dialling.handle()];
        let mut tasks = JoinSet::new();
        runtime.block_on(async {
            tasks.spawn(answer(questions));
            for router in [listening, dialling] {
                tasks.spawn(async move {
                    router.run().await;
                });
            }
            let up = updates.next().await;
            assert!(matches!(up, Some(PeerUpdate::Up { .. })), "the nodes did not connect: {up:?}");
        });
        Ok(Self { runtime, tasks, handles, sender, to })
    }

    /// Asks `count` questions, so many at a time, and waits until all are answered.
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    fn ask(&mut self, count: u64, in_flight: u64) -> Duration {
        let Self { runtime, sender, to, .. } = self;
        let to = *to;
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
        let Oracle::<Received>::Ask(request) = envelope.message;
        let answered = request.responder.try_answer(Tell { wisdom: CONTENT });
        assert!(answered.is_ok());
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.handles.iter().for_each(RouterHandle::shutdown);
        let Self { runtime, tasks, .. } = self;
        runtime.block_on(async { while tasks.join_next().await.is_some() {} });
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
