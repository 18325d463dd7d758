//! Whom `request_any` asks.

use peerage::channel::Recipients;
use tokio::time::advance;

use super::*;
use crate::router::kit::over_memory;

over_both!(
    a_capability_or_service_chooses_who_is_asked,
    the_one_with_the_fewest_questions_is_asked,
    the_next_is_asked_after_one_that_declines_or_goes,
    the_next_is_asked_after_one_without_capacity,
    the_next_is_asked_after_one_that_is_not_there,
    nobody_else_is_asked_after_a_silence_or_a_malformed_answer,
    nobody_else_is_asked_after_one_that_is_named,
    of_two_drawn_by_lot_the_more_loaded_is_not_asked,
);

mod on_virtual_time {
    use super::*;
    over_memory!(of_two_equally_loaded_the_quicker_is_asked);
}

/// An asker and so many to ask, in the order of their identities.
async fn one_and<W: Wire>(
    net: &Net<W>,
    count: u64,
    limits: fn(&mut RouterConfig),
) -> (Quizzer, Vec<Bare<W>>) {
    let mut asker = quizzer(net, 1, &[], &defaults(), limits).await;
    let mut peers = Vec::new();
    for seed in order(count) {
        peers.push(bare(net, seed, &asker).await);
        asker.up(id(seed)).await;
    }
    (asker, peers)
}

/// The seeds of the peers, in the order of their identities.
fn order(count: u64) -> Vec<u64> {
    let mut seeds: Vec<u64> = (2..2 + count).collect();
    seeds.sort_by_key(|seed| id(*seed));
    seeds
}

fn ids(count: u64) -> Vec<NodeId> {
    order(count).into_iter().map(id).collect()
}

/// Asks anybody beside the test.
fn any<W: Wire>(
    net: &Net<W>,
    asker: &Quizzer,
    within: Duration,
) -> tokio::task::JoinHandle<Result<(NodeId, Doubled), RequestError>> {
    let sender = asker.sender();
    net.beside(async move { sender.request_any(Recipients::all(), double(5), within).await })
}

async fn a_capability_or_service_chooses_who_is_asked<W: Wire>(net: Net<W>) {
    let mut asker = quizzer(&net, 1, &[], &defaults(), |_| {}).await;
    let services = |config: &mut RouterConfig| config.services = vec!["archive".into()];
    let archive = quizzer(&net, 2, &[&asker], &defaults(), services).await;
    let plain = quizzer(&net, 3, &[&asker], &defaults(), |_| {}).await;
    let solver = bare(&net, 4, &asker).await;
    for peer in [archive.id, plain.id, id(4)] {
        asker.up(peer).await;
    }
    let (sender, archive_id) = (asker.sender(), archive.id);
    net.beside(answer_all(archive.channel));
    net.beside(answer_all(plain.channel));
    for _ in 0..3 {
        let to = Recipients::all().with_service("archive");
        assert_eq!(sender.request_any(to, double(5), LONG).await, Ok((archive_id, Doubled { number: 10 })));
    }
    // What the asker itself does not have is a condition all the same.
    let to = Recipients::all().with_capability("riddle/1".parse().unwrap());
    let waiting = net.beside(async move { sender.request_any(to, double(5), LONG).await });
    let mut solver = solver;
    assert_eq!(solver.reads(0).await[..], [0xc2, 1, 5]);
    solver.writes(1, &[0xc2, 1, 10]).await;
    assert_eq!(waiting.await.unwrap(), Ok((id(4), Doubled { number: 10 })));
}

async fn the_one_with_the_fewest_questions_is_asked<W: Wire>(net: Net<W>) {
    let (asker, mut peers) = one_and(&net, 3, |_| {}).await;
    let mut waiting = Vec::new();
    for (peer, held) in ids(3).into_iter().zip([2, 0, 1]) {
        waiting.extend((0..held).map(|_| asking(&net, &asker.sender(), peer, 1)));
    }
    for (peer, held) in peers.iter_mut().zip([2, 0, 1]) {
        for _ in 0..held {
            peer.reads(0).await;
        }
    }
    // 2 0 1, then 2 1 1 where the first of the equal is asked, 2 2 1, 2 2 2, and so on.
    let mut asked = Vec::new();
    for _ in 0..4 {
        waiting.push(
            net.beside({
                let sender = asker.sender();
                async move {
                    sender.request_any(Recipients::all(), double(5), LONG).await.map(|(_, answer)| answer)
                }
            }),
        );
        let found = std::future::poll_fn(|cx| {
            let at = peers.iter_mut().position(|peer| {
                let reading = std::pin::pin!(peer.frame());
                reading.poll(cx).is_ready()
            });
            at.map_or(Poll::Pending, Poll::Ready)
        });
        asked.push(found.await);
    }
    assert_eq!(asked, [1, 1, 2, 0]);
}

async fn of_two_equally_loaded_the_quicker_is_asked<W: Wire>(net: Net<W>) {
    let (asker, mut peers) = one_and(&net, 3, |_| {}).await;
    // The third is never asked: nobody knows how quick it is, so that it comes first.
    for (peer, (at, ms)) in ids(3).into_iter().zip([(0, 80), (1, 20)]) {
        let waiting = asking(&net, &asker.sender(), peer, 1);
        peers[at].reads(0).await;
        advance(Duration::from_millis(ms)).await;
        peers[at].writes(1, &[0xc2, 1, 2]).await;
        assert!(waiting.await.unwrap().is_ok());
    }
    for (at, answer) in [(2, &[0xc2, 1, 2]), (1, &[0xc2, 2, 2])] {
        let waiting = any(&net, &asker, LONG);
        peers[at].reads(0).await;
        advance(Duration::from_millis(60)).await;
        peers[at].writes(1, answer).await;
        assert_eq!(waiting.await.unwrap().unwrap().0, ids(3)[at]);
    }
}

async fn the_next_is_asked_after_one_that_declines_or_goes<W: Wire>(net: Net<W>) {
    let (asker, mut peers) = one_and(&net, 3, |_| {}).await;
    let waiting = any(&net, &asker, LONG);
    peers[0].reads(0).await;
    peers[0].writes(0, &[1]).await;
    peers[1].reads(0).await;
    drop(peers.remove(1));
    assert_eq!(peers[1].reads(0).await[..], [0xc2, 1, 5]);
    peers[1].writes(1, &[0xc2, 1, 10]).await;
    assert_eq!(waiting.await.unwrap(), Ok((ids(3)[2], Doubled { number: 10 })));

    // The error is that of the last.
    let mut left = ids(3);
    left.remove(1);
    let sender = asker.sender();
    let waiting = net.beside(async move { sender.request_any(left, double(5), LONG).await });
    // The first has never answered, so its round trip is not known.
    peers[0].reads(0).await;
    drop(peers.remove(0));
    peers[0].reads(0).await;
    peers[0].writes(0, &[2]).await;
    assert_eq!(waiting.await.unwrap(), Err(RequestError::Declined));
}

async fn the_next_is_asked_after_one_without_capacity<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    builder.configure(|config| (config.requests_in_flight, config.requests_waiting) = (2, 1));
    let channels = (builder.channel::<Quiz>().unwrap(), builder.channel::<Riddle>().unwrap());
    let mut asker = net.start(builder, channels);
    let mut peers = Vec::new();
    for seed in order(2) {
        peers.push(bare(&net, seed, &asker).await);
        asker.up(id(seed)).await;
    }
    let (quiz, riddle) = (asker.channel.0.sender().clone(), asker.channel.1.sender().clone());
    // The first holds one question and one waits; the second holds two, of the other channel and this one.
    let mut held: Vec<_> = (0..2).map(|_| Box::pin(quiz.request(ids(2)[0], double(1), LONG))).collect();
    held.push(Box::pin(quiz.request(ids(2)[1], double(1), LONG)));
    let mut riddles = Box::pin(riddle.request(ids(2)[1], Solve { number: 1 }, LONG));
    for held in &mut held {
        assert!(begin(held).await.is_pending());
    }
    assert!(begin(&mut riddles).await.is_pending());
    let mut any = Box::pin(quiz.request_any(Recipients::all(), double(7), LONG));
    assert!(begin(&mut any).await.is_pending());
    assert_eq!(peers[1].reads(0).await[..], [0xc2, 1, 1]);
    assert_eq!(peers[1].frame().await.channel, Riddle::CHANNEL);
    peers[1].writes(1, &[0xc2, 1, 2]).await;
    let answering = async {
        assert_eq!(peers[1].reads(0).await[..], [0xc2, 3, 7]);
        peers[1].writes(1, &[0xc2, 3, 14]).await;
    };
    let (answered, ()) = tokio::join!(any, answering);
    assert_eq!(answered, Ok((ids(2)[1], Doubled { number: 14 })));
}

async fn the_next_is_asked_after_one_that_is_not_there<W: Wire>(net: Net<W>) {
    let (asker, asked) = pair(&net).await;
    let (sender, peer) = (asker.sender(), asked.id);
    net.beside(answer_all(asked.channel));
    let answered = sender.request_any(vec![id(8), peer, id(9)], double(5), LONG).await;
    assert_eq!(answered, Ok((peer, Doubled { number: 10 })));
    let nobody = sender.request_any(vec![id(8), id(9)], double(5), LONG).await;
    assert_eq!(nobody, Err(RequestError::Refused(peerage::channel::Refusal::NotConnected)));
}

async fn nobody_else_is_asked_after_a_silence_or_a_malformed_answer<W: Wire>(net: Net<W>) {
    let (asker, mut peers) = one_and(&net, 2, |_| {}).await;
    let waiting = any(&net, &asker, Duration::from_millis(50));
    peers[0].reads(0).await;
    assert_eq!(waiting.await.unwrap(), Err(RequestError::TimedOut));
    let waiting = any(&net, &asker, LONG);
    peers[0].reads(0).await;
    peers[0].writes(1, &[0xc2, 2, 0xc0]).await;
    assert!(matches!(waiting.await.unwrap(), Err(RequestError::Malformed(_))));
    // The first that the other hears of it all:
    let _direct = asking(&net, &asker.sender(), ids(2)[1], 9);
    assert_eq!(peers[1].reads(0).await[..], [0xc2, 1, 9]);
}

async fn nobody_else_is_asked_after_one_that_is_named<W: Wire>(net: Net<W>) {
    let (asker, mut peers) = one_and(&net, 2, |_| {}).await;
    let waiting = asking(&net, &asker.sender(), ids(2)[0], 5);
    peers[0].reads(0).await;
    peers[0].writes(0, &[1]).await;
    assert_eq!(waiting.await.unwrap(), Err(RequestError::Declined));
    // The first that either hears since:
    for (at, payload) in [(0, [0xc2, 2, 9]), (1, [0xc2, 1, 9])] {
        let _direct = asking(&net, &asker.sender(), ids(2)[at], 9);
        assert_eq!(peers[at].reads(0).await[..], payload);
    }
}

async fn of_two_drawn_by_lot_the_more_loaded_is_not_asked<W: Wire>(net: Net<W>) {
    let mut asker = quizzer(&net, 1, &[], &defaults(), |_| {}).await;
    // Without regard to load the first in the order of identities would be asked.
    let seeds = order(4);
    let mut loaded = bare(&net, seeds[0], &asker).await;
    asker.up(id(seeds[0])).await;
    let sender = asker.sender();
    let _held = asking(&net, &sender, id(seeds[0]), 1);
    loaded.reads(0).await;
    for seed in &seeds[1..] {
        let node = quizzer(&net, *seed, &[&asker], &defaults(), |_| {}).await;
        asker.up(node.id).await;
        net.beside(answer_all(node.channel));
    }
    let mut answered = std::collections::BTreeSet::new();
    for number in 0..40 {
        let to = Recipients::all().sample(2);
        let (by, answer) = sender.request_any(to, double(number), LONG).await.unwrap();
        assert_eq!(answer, Doubled { number: number * 2 });
        answered.insert(by);
    }
    assert_eq!(answered, seeds[1..].iter().map(|seed| id(*seed)).collect());
}
