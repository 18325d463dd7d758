//! The same seeds make the same history, to the nanosecond: requests, samples and slow lines included.

use std::fmt::Write;
use std::time::Duration;

use futures::future::join_all;
use peerage::channel::{Channel, Recipients};
use peerage::event::Event;
use peerage::transport::link::LinkConfig;
use peerage::transport::memory::MemoryNetwork;
use tokio::time::Instant;

use super::kit::{Memory, Net, paused};

peerage::protocol! {
    /// A question, and something to say.
    #[derive(Debug, Clone)]
    pub enum Word: "word" / 1, max 1024 {
        0 = Double { number: u64 } -> Doubled,
        1 = answer Doubled { number: u64 },
        2 = Say { number: u64 },
    }
}

const NODES: u64 = 6;

/// Answers, but for every seventh question, and keeps silent on what is said.
async fn answers(mut channel: Channel<Word>) {
    while let Some(envelope) = channel.recv().await {
        if let Word::Double(request) = envelope.message
            && request.question.number % 7 > 0
        {
            let _ = request.responder.try_answer(Doubled { number: request.question.number * 2 });
        }
    }
}

/// An event without the instants in its reason, which no two runs share; the time of the event itself counts from the
/// node's start.
fn timeless(event: &Event) -> String {
    let text = format!("{event:?}");
    let mut pieces = text.split("Instant {");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |told, piece| told + piece.split_once('}').map_or(piece, |(_, rest)| rest))
}

/// All that a small network did and saw.
fn history(seed: u64) -> String {
    paused(async {
        let link = LinkConfig::new(Duration::from_millis(7), None, 64 * 1024).unwrap();
        let net = Net::new(Memory(MemoryNetwork::with_link(link)));
        let (start, mut addresses, mut nodes, mut told) =
            (Instant::now(), Vec::new(), Vec::new(), String::new());
        for number in 0..NODES {
            let mut builder = net.builder(number).await;
            builder.seed(seed + number);
            for address in &addresses {
                builder.peer(Clone::clone(address));
            }
            let channel = builder.channel::<Word>().unwrap();
            let sender = channel.sender().clone();
            builder.reactor("answers", answers(channel));
            let node = net.start(builder, sender);
            addresses.push(node.address());
            nodes.push(node);
        }
        for node in &mut nodes {
            node.up_count(addresses.len() - 1).await;
        }
        let senders: Vec<_> = nodes.iter().map(|node| node.channel.clone()).collect();
        let talk = senders.iter().zip(0..).map(async |(sender, node)| {
            let mut lines = Vec::new();
            for number in 0..30 {
                let to = Recipients::all().sample(2);
                let outcome = sender.try_send(to.clone(), Word::Say { number });
                let asked = sender.request_any(to, Double { number }, Duration::from_millis(50)).await;
                lines.push(format!("{node} {:?} {outcome:?} {asked:?}", start.elapsed()));
            }
            lines
        });
        for line in join_all(talk).await.concat() {
            writeln!(told, "{line}").unwrap();
        }
        for node in nodes {
            let log = std::sync::Arc::clone(&node.log);
            writeln!(told, "{:?}", node.handle.channels()).unwrap();
            node.stop().await;
            log.wait(|events| events.iter().try_for_each(|event| writeln!(told, "{}", timeless(event))).ok())
                .await;
        }
        told
    })
}

#[test]
fn the_same_seeds_make_the_same_history() {
    let first = history(1);
    assert!(first.contains("Declined") && first.contains("Doubled"));
    let second = history(1);
    for (line, (one, other)) in first.lines().zip(second.lines()).enumerate() {
        assert_eq!(one, other, "line {line}");
    }
    assert_eq!(first.len(), second.len());
    assert_ne!(first, history(100), "the seed decides who is asked");
}
