//! Questions and their answers, on whole nodes and against peers that the test plays itself.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use peerage::NodeId;
use peerage::channel::{Channel, ChannelConfig, DropReason, RequestError, Sender, Share};
use peerage::event::{Event, EventKind, Misbehaviour};
use peerage::message::{ChannelSpec, Frame, Message, Packet, Received, Responder};
use peerage::queue::Overflow;
use peerage::router::RouterConfig;
use peerage::transport::{Offer, PacketReader, PacketWriter};

use crate::router::kit::{Bare, Net, Node, Wire, id, offer, over_both};

mod answering;
mod candidates;
mod errors;
mod frames;
mod hostility;
mod versions;

over_both!(
    an_answer_is_typed,
    an_answer_may_come_later_from_another_task_and_out_of_order,
    a_thousand_questions_of_many_tasks_get_each_its_own_answer,
    a_reactor_that_awaits_its_answer_need_not_read,
    two_nodes_ask_each_other_under_the_same_ids,
);

peerage::protocol! {
    /// What most tests ask.
    #[derive(Debug)]
    pub enum Quiz: "quiz" / 1, max 4096 {
        0 = Double { number: u64 } -> Doubled,
        1 = answer Doubled { number: u64 },
        2 = Name(String) -> Named,
        3 = answer Named(String),
        4 = Say { number: u64 },
    }
}

peerage::protocol! {
    /// A second channel of the same connection.
    #[derive(Debug)]
    pub enum Riddle: "riddle" / 1, max 1024 {
        0 = Solve { number: u64 } -> Solved,
        1 = answer Solved { number: u64 },
    }
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3600);

type Quizzer = Node<Channel<Quiz>>;

fn double(number: u64) -> Double {
    Double { number }
}

/// A node with the channel and these settings, which dials `to`.
async fn quizzer<W: Wire>(
    net: &Net<W>,
    seed: u64,
    to: &[&Quizzer],
    config: &ChannelConfig,
    configure: impl FnOnce(&mut RouterConfig),
) -> Quizzer {
    let mut builder = net.builder(seed).await;
    builder.configure(configure);
    for node in to {
        builder.peer(node.address());
    }
    let channel = builder.channel_with(config).unwrap();
    net.start(builder, channel)
}

fn defaults() -> ChannelConfig {
    ChannelConfig::for_messages_of(Quiz::MAX_BYTES)
}

/// So many messages of each peer wait for the receiver, and then this happens.
fn inbound(messages: usize, inbound_overflow: Overflow) -> ChannelConfig {
    let share = Share { messages, bytes: 1 << 20 };
    ChannelConfig { inbound: share, inbound_overflow, ..defaults() }
}

/// So many messages wait for a peer.
fn outbound(messages: usize) -> ChannelConfig {
    ChannelConfig { outbound: Share { messages, bytes: 1 << 20 }, ..defaults() }
}

async fn meet(a: &mut Quizzer, b: &mut Quizzer) {
    a.up(b.id).await;
    b.up(a.id).await;
}

/// An asker and one to ask, with these settings.
async fn pair_with<W: Wire>(
    net: &Net<W>,
    config: &ChannelConfig,
    configure: impl Fn(&mut RouterConfig),
) -> (Quizzer, Quizzer) {
    let mut asker = quizzer(net, 1, &[], config, &configure).await;
    let mut asked = quizzer(net, 2, &[&asker], config, &configure).await;
    meet(&mut asker, &mut asked).await;
    (asker, asked)
}

async fn pair<W: Wire>(net: &Net<W>) -> (Quizzer, Quizzer) {
    pair_with(net, &defaults(), |_| {}).await
}

/// An asker, and a peer that the test plays.
async fn with_bare<W: Wire>(net: &Net<W>, configure: impl FnOnce(&mut RouterConfig)) -> (Quizzer, Bare<W>) {
    let mut node = quizzer(net, 1, &[], &defaults(), configure).await;
    let bare = bare(net, 2, &node).await;
    node.up(id(2)).await;
    (node, bare)
}

async fn bare<W: Wire, C>(net: &Net<W>, seed: u64, to: &Node<C>) -> Bare<W> {
    let channels = vec![ChannelSpec::of::<Quiz>(), ChannelSpec::of::<Riddle>()];
    net.bare_with(seed, &to.address(), Offer { channels, ..offer() }).await.unwrap()
}

impl Quizzer {
    /// The next question to double a number, and who asks.
    async fn asked(&mut self) -> (u64, Responder<Doubled>) {
        match self.channel.recv().await.expect("the node has ended").message {
            Quiz::Double(request) => (request.question.number, request.responder),
            other => panic!("{other:?}"),
        }
    }

    fn sender(&self) -> Sender<Quiz> {
        self.channel.sender().clone()
    }

    fn lost(&self, reason: DropReason) -> u64 {
        self.channel.sender().counters().dropped(reason)
    }

    /// Waits until so much was lost for this reason.
    async fn loses(&self, reason: DropReason, count: u64) {
        while self.lost(reason) < count {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.lost(reason), count, "{reason}");
    }

    /// Waits for a report, and says what it is about.
    async fn reports(&self) -> (Misbehaviour, String) {
        let reported = |event: &Event| match &event.kind {
            EventKind::Misbehaved { what, detail, .. } => Some((*what, detail.to_string())),
            _ => None,
        };
        self.log.wait(|events| events.iter().find_map(reported)).await
    }

    fn is_content(&self) -> bool {
        self.handle.misbehaviour().is_empty()
    }
}

/// Answers every question at once.
async fn answer_all(mut channel: Channel<Quiz>) {
    while let Some(envelope) = channel.recv().await {
        answer_one(envelope.message);
    }
}

fn answer_one(message: Quiz<Received>) {
    match message {
        Quiz::Double(request) => {
            let number = request.question.number * 2;
            // Whoever asked may have gone.
            let _ = request.responder.try_answer(Doubled { number });
        }
        Quiz::Name(request) => {
            let name = format!("name of {}", request.question.0);
            let _ = request.responder.try_answer(Named(name));
        }
        Quiz::Say { .. } => {}
    }
}

/// Asks beside the test.
fn asking<W: Wire>(
    net: &Net<W>,
    sender: &Sender<Quiz>,
    peer: NodeId,
    number: u64,
) -> tokio::task::JoinHandle<Result<Doubled, RequestError>> {
    let sender = sender.clone();
    net.beside(async move { sender.request(peer, double(number), LONG).await })
}

/// Polls once: a question is then queued, and not yet written.
async fn begin<F: Future + Unpin>(asking: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *asking).poll(cx))).await
}

impl<W: Wire> Bare<W> {
    /// The next frame.
    async fn frame(&mut self) -> Frame {
        loop {
            match self.reader.read().await.unwrap() {
                Packet::Frame(frame) => return frame,
                Packet::Ping | Packet::Pong => {}
            }
        }
    }

    /// The bytes of the next frame, which is of this channel and code.
    async fn reads(&mut self, code: u8) -> Bytes {
        let frame = self.frame().await;
        assert_eq!((frame.channel, frame.code), (Quiz::CHANNEL, code), "{frame:?}");
        frame.payload
    }

    async fn writes(&mut self, code: u8, payload: &'static [u8]) {
        self.writes_on::<Quiz>(code, payload).await;
    }

    async fn writes_on<M: Message>(&mut self, code: u8, payload: &'static [u8]) {
        let frame = Frame { channel: M::CHANNEL, code, payload: Bytes::from_static(payload) };
        self.writer.write(&Packet::Frame(frame)).unwrap();
        self.writer.flush().await.unwrap();
    }
}

async fn an_answer_is_typed<W: Wire>(net: Net<W>) {
    let (asker, asked) = pair(&net).await;
    let (sender, peer) = (asker.sender(), asked.id);
    net.beside(answer_all(asked.channel));
    assert_eq!(sender.request(peer, double(21), LONG).await, Ok(Doubled { number: 42 }));
    assert_eq!(sender.request(peer, Name("x".into()), LONG).await, Ok(Named("name of x".into())));
    let (answered_by, answer) = sender.request_any(peer, double(1), LONG).await.unwrap();
    assert_eq!((answered_by, answer), (peer, Doubled { number: 2 }));
}

async fn an_answer_may_come_later_from_another_task_and_out_of_order<W: Wire>(net: Net<W>) {
    let (asker, mut asked) = pair(&net).await;
    let waiting: Vec<_> = (0..3).map(|n| asking(&net, &asker.sender(), asked.id, n)).collect();
    let mut responders = Vec::new();
    for _ in 0..3 {
        responders.push(asked.asked().await);
    }
    for (number, responder) in responders.into_iter().rev() {
        let answer = responder.answer(Doubled { number: number * 2 });
        assert_eq!(net.beside(answer).await.unwrap(), Ok(()));
    }
    for (number, waiting) in (0..).zip(waiting) {
        assert_eq!(waiting.await.unwrap(), Ok(Doubled { number: number * 2 }));
    }
}

async fn a_thousand_questions_of_many_tasks_get_each_its_own_answer<W: Wire>(net: Net<W>) {
    let (asker, asked) = pair(&net).await;
    net.beside(answer_all(asked.channel));
    let waiting: Vec<_> = (0..1000).map(|n| asking(&net, &asker.sender(), asked.id, n)).collect();
    for (number, waiting) in (0..).zip(waiting) {
        assert_eq!(waiting.await.unwrap(), Ok(Doubled { number: number * 2 }));
    }
    assert_eq!(asker.handle.channels()[0].dropped, []);
    assert!(asker.is_content() && asked.handle.misbehaviour().is_empty());
}

async fn a_reactor_that_awaits_its_answer_need_not_read<W: Wire>(net: Net<W>) {
    let (mut asker, mut asked) = pair_with(&net, &inbound(4, Overflow::DropNewest), |_| {}).await;
    let peer = asker.id;
    net.beside(async move {
        let (number, responder) = asked.asked().await;
        for number in 0..10 {
            assert_eq!(asked.channel.try_send(peer, Quiz::Say { number }).ok(), Ok(1));
        }
        responder.try_answer(Doubled { number: number * 2 }).unwrap();
        std::future::pending::<()>().await;
    });
    let peer = *asker.up.keys().next().unwrap();
    assert_eq!(asker.sender().request(peer, double(4), LONG).await, Ok(Doubled { number: 8 }));
    // The answer passed by a receiver that was full.
    assert_eq!(asker.lost(DropReason::InboundFull), 6);
    assert!(matches!(asker.channel.recv().await.unwrap().message, Quiz::Say { number: 0 }));
}

async fn two_nodes_ask_each_other_under_the_same_ids<W: Wire>(net: Net<W>) {
    let (mut a, mut b) = pair(&net).await;
    let (of_a, of_b) = (asking(&net, &a.sender(), b.id, 1), asking(&net, &b.sender(), a.id, 2));
    let (from_a, to_a) = b.asked().await;
    let (from_b, to_b) = a.asked().await;
    assert_eq!((from_a, from_b), (1, 2));
    to_a.try_answer(Doubled { number: 10 }).unwrap();
    drop(to_b);
    assert_eq!(of_a.await.unwrap(), Ok(Doubled { number: 10 }));
    assert_eq!(of_b.await.unwrap(), Err(RequestError::Declined));
}
