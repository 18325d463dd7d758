//! The answering side: responders, questions that are put off, and the end of everything.

use peerage::channel::Refusal;

use super::*;

over_both!(
    a_question_that_is_put_off_is_asked_once_and_answered_once,
    an_answer_that_finds_no_room_is_lost_and_the_question_declined,
    an_answer_waits_for_room,
    an_answer_that_waits_for_room_ends_with_its_connection,
    an_answer_to_one_who_has_gone_is_refused,
    an_answer_that_is_too_large_is_refused,
    a_responder_of_a_replaced_connection_harms_nobody,
    a_shutdown_ends_requests_on_both_sides,
    a_request_during_a_shutdown_is_told_so,
);

async fn a_question_that_is_put_off_is_asked_once_and_answered_once<W: Wire>(net: Net<W>) {
    let (asker, mut asked) = pair_with(&net, &inbound(2, Overflow::Wait), |_| {}).await;
    let sender = asker.sender();
    let waiting: Vec<_> = (0..20).map(|n| asking(&net, &sender, asked.id, n)).collect();
    // Written all, and most of them put off.
    while sender.counters().sent() < 20 || asked.handle.channels()[0].waiting < 2 {
        tokio::task::yield_now().await;
    }
    for expected in 0..20 {
        let (number, responder) = asked.asked().await;
        assert_eq!(number, expected);
        responder.try_answer(Doubled { number: number * 2 }).unwrap();
    }
    for (number, waiting) in (0..).zip(waiting) {
        assert_eq!(waiting.await.unwrap(), Ok(Doubled { number: number * 2 }));
    }
    assert!(asked.channel.is_empty());
    assert_eq!(asked.handle.channels()[0].dropped, []);
    assert!(asker.is_content() && asked.is_content());
}

/// Two questions in the hands of a node that has room for one answer.
async fn two_for_one_place<W: Wire>(
    net: &Net<W>,
) -> (Quizzer, Vec<tokio::task::JoinHandle<Result<Doubled, RequestError>>>, [Responder<Doubled>; 2], Quizzer)
{
    let mut asker = quizzer(net, 1, &[], &defaults(), |_| {}).await;
    let mut asked = quizzer(net, 2, &[&asker], &outbound(1), |_| {}).await;
    meet(&mut asker, &mut asked).await;
    let waiting = (0..2).map(|n| asking(net, &asker.sender(), asked.id, n)).collect();
    let responders = [asked.asked().await.1, asked.asked().await.1];
    (asker, waiting, responders, asked)
}

async fn an_answer_that_finds_no_room_is_lost_and_the_question_declined<W: Wire>(net: Net<W>) {
    let (_asker, waiting, [first, second], asked) = two_for_one_place(&net).await;
    assert_eq!(first.try_answer(Doubled { number: 1 }), Ok(()));
    assert_eq!(second.try_answer(Doubled { number: 2 }), Err(Refusal::Full));
    let mut waiting = waiting.into_iter();
    assert_eq!(waiting.next().unwrap().await.unwrap(), Ok(Doubled { number: 1 }));
    // The refusal had no room either, and comes as soon as there is some.
    assert_eq!(waiting.next().unwrap().await.unwrap(), Err(RequestError::Declined));
    assert_eq!(asked.lost(DropReason::Unanswered), 1);
}

async fn an_answer_waits_for_room<W: Wire>(net: Net<W>) {
    let (_asker, waiting, [first, second], asked) = two_for_one_place(&net).await;
    assert_eq!(first.try_answer(Doubled { number: 1 }), Ok(()));
    let mut second = Box::pin(second.answer(Doubled { number: 2 }));
    assert!(begin(&mut second).await.is_pending());
    assert_eq!(second.await, Ok(()));
    for (number, waiting) in (1..).zip(waiting) {
        assert_eq!(waiting.await.unwrap(), Ok(Doubled { number }));
    }
    assert_eq!(asked.handle.channels()[0].dropped, []);
}

async fn an_answer_that_waits_for_room_ends_with_its_connection<W: Wire>(net: Net<W>) {
    let (_asker, _waiting, [first, second], asked) = two_for_one_place(&net).await;
    assert_eq!(first.try_answer(Doubled { number: 1 }), Ok(()));
    let mut second = Box::pin(second.answer(Doubled { number: 2 }));
    assert!(begin(&mut second).await.is_pending());
    asked.handle.shutdown();
    // It is the node that ends: what is queued is written still, but nothing is added.
    let ended = second.await;
    assert!(matches!(ended, Ok(()) | Err(Refusal::NotConnected)), "{ended:?}");
    asked.stop().await;
}

async fn an_answer_to_one_who_has_gone_is_refused<W: Wire>(net: Net<W>) {
    let (mut node, mut peer) = with_bare(&net, |_| {}).await;
    for payload in [&[0xc2, 1, 1], &[0xc2, 2, 1], &[0xc2, 3, 1]] {
        peer.writes(0, payload).await;
    }
    let [first, second, third] = [node.asked().await.1, node.asked().await.1, node.asked().await.1];
    drop(peer);
    node.down(id(2)).await;
    assert_eq!(first.try_answer(Doubled { number: 1 }), Err(Refusal::NotConnected));
    assert_eq!(second.answer(Doubled { number: 1 }).await, Err(Refusal::NotConnected));
    third.refuse();
    assert_eq!(node.lost(DropReason::Unanswered), 3);
}

async fn an_answer_that_is_too_large_is_refused<W: Wire>(net: Net<W>) {
    let (asker, mut asked) = pair(&net).await;
    let (sender, peer) = (asker.sender(), asked.id);
    for waits in [false, true] {
        let sender = sender.clone();
        let waiting = net.beside(async move { sender.request(peer, Name("x".into()), LONG).await });
        let Quiz::Name(request) = asked.channel.recv().await.unwrap().message else { panic!("another") };
        let answer = Named("x".repeat(Quiz::MAX_BYTES));
        let answered = match waits {
            true => request.responder.answer(answer).await,
            false => request.responder.try_answer(answer),
        };
        assert!(matches!(answered, Err(Refusal::TooLarge { limit: Quiz::MAX_BYTES, .. })), "{answered:?}");
        assert_eq!(waiting.await.unwrap(), Err(RequestError::Declined));
    }
}

async fn a_responder_of_a_replaced_connection_harms_nobody<W: Wire>(net: Net<W>) {
    let (mut node, mut peer) = with_bare(&net, |_| {}).await;
    peer.writes(0, &[0xc2, 1, 1]).await;
    peer.writes(0, &[0xc2, 2, 1]).await;
    let (old, other) = (node.asked().await.1, node.asked().await.1);
    drop(peer);
    node.down(id(2)).await;
    let mut peer = bare(&net, 2, &node).await;
    node.up(id(2)).await;
    // The same ids again.
    peer.writes(0, &[0xc2, 1, 1]).await;
    let (_, new) = node.asked().await;
    drop(old);
    assert_eq!(other.try_answer(Doubled { number: 9 }), Err(Refusal::NotConnected));
    new.try_answer(Doubled { number: 2 }).unwrap();
    assert_eq!(peer.reads(1).await[..], [0xc2, 1, 2]);
    assert!(node.is_content());
}

async fn a_shutdown_ends_requests_on_both_sides<W: Wire>(net: Net<W>) {
    for asker_ends in [true, false] {
        let (asker, mut asked) = pair(&net).await;
        let waiting: Vec<_> = (0..10).map(|n| asking(&net, &asker.sender(), asked.id, n)).collect();
        let _kept = asked.asked().await;
        let (ends, stays) = if asker_ends { (asker, asked) } else { (asked, asker) };
        assert!(ends.stop().await.clean);
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Err(RequestError::PeerGone));
        }
        stays.stop().await;
    }
}

async fn a_request_during_a_shutdown_is_told_so<W: Wire>(net: Net<W>) {
    let (asker, asked) = pair(&net).await;
    let (sender, peer) = (asker.sender(), asked.id);
    net.beside(answer_all(asked.channel));
    asker.handle.shutdown();
    let stopping = net.beside(asker.stop());
    loop {
        match sender.request(peer, double(1), LONG).await {
            Ok(_) | Err(RequestError::PeerGone) => {}
            Err(why) => break assert_eq!(why, RequestError::Refused(Refusal::ShuttingDown)),
        }
    }
    stopping.await.unwrap();
}
