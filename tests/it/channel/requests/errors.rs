//! Every way in which a request fails.

use peerage::channel::Refusal;
use tokio::time::Instant;

use super::*;
use crate::router::kit::over_memory;

over_both!(
    all_who_wait_fail_when_the_peer_goes,
    a_question_that_cannot_be_sent_is_refused,
    a_peer_without_the_channel_is_not_asked,
    a_full_queue_refuses_a_question,
    no_capacity_is_of_one_peer,
    a_refused_question_is_declined,
    a_question_beyond_what_the_peer_answers_is_declined,
    a_question_that_the_queue_drops_is_declined,
    a_malformed_answer_ends_its_connection_and_is_counted,
    a_request_is_cancelled_by_its_name,
    nobody_is_there_to_ask,
    a_dropped_request_is_not_written,
    a_dropped_request_frees_its_slot,
    slow_answers_on_one_channel_do_not_stop_another,
);

mod on_virtual_time {
    use super::*;
    over_memory!(a_request_times_out_to_the_moment, ten_thousand_requests_that_timed_out_leave_nothing);
}

/// So many questions in flight, and so many more waiting.
fn limits(in_flight: usize, waiting: usize) -> impl Fn(&mut RouterConfig) {
    move |config| (config.requests_in_flight, config.requests_waiting) = (in_flight, waiting)
}

async fn a_request_times_out_to_the_moment<W: Wire>(net: Net<W>) {
    let (asker, mut asked) = pair(&net).await;
    let (began, within) = (Instant::now(), Duration::from_millis(3_001));
    let answer = asker.sender().request(asked.id, double(1), within).await;
    assert_eq!((answer, began.elapsed()), (Err(RequestError::TimedOut), within));
    // What comes too late is nobody's fault, and nobody's answer.
    asked.asked().await.1.try_answer(Doubled { number: 2 }).unwrap();
    asker.loses(DropReason::LateAnswer, 1).await;
    assert!(asker.is_content());
    assert_eq!(
        asker.sender().request(asked.id, double(1), Duration::ZERO).await,
        Err(RequestError::TimedOut)
    );
    // No time is too long.
    let sender = asker.sender();
    let mut endless = Box::pin(sender.request(asked.id, double(7), Duration::MAX));
    assert!(begin(&mut endless).await.is_pending());
    net.beside(answer_all(asked.channel));
    assert_eq!(endless.await, Ok(Doubled { number: 14 }));
}

async fn ten_thousand_requests_that_timed_out_leave_nothing<W: Wire>(net: Net<W>) {
    let (asker, mut peer) = with_bare(&net, limits(16, 1000)).await;
    let sender = asker.sender();
    let reading = net.beside(async move {
        while !peer.reads(0).await.ends_with(&[99]) {}
        peer
    });
    for _ in 0..10 {
        let asked = (0..1000).map(|_| sender.request(id(2), double(1), Duration::from_millis(5)));
        for answer in futures::future::join_all(asked).await {
            assert_eq!(answer, Err(RequestError::TimedOut));
        }
    }
    let status = asker.handle.peers().remove(0);
    assert_eq!((status.queued_messages, status.queued_bytes), (0, 0));
    // Every slot and every place to wait is free again.
    let all: Vec<_> = (0..1016).map(|_| asking(&net, &sender, id(2), 99)).collect();
    drop(reading.await.unwrap());
    for waiting in all {
        assert_eq!(waiting.await.unwrap(), Err(RequestError::PeerGone));
    }
}

async fn all_who_wait_fail_when_the_peer_goes<W: Wire>(net: Net<W>) {
    let (asker, mut peer) = with_bare(&net, limits(2, 100)).await;
    let waiting: Vec<_> = (0..50).map(|n| asking(&net, &asker.sender(), id(2), n)).collect();
    for _ in 0..2 {
        peer.reads(0).await;
    }
    drop(peer);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), Err(RequestError::PeerGone));
    }
}

async fn a_question_that_cannot_be_sent_is_refused<W: Wire>(net: Net<W>) {
    let (asker, asked) = pair(&net).await;
    let sender = asker.sender();
    let refused = |why| Err(RequestError::Refused(why));
    assert_eq!(sender.request(id(9), double(1), LONG).await, refused(Refusal::NotConnected));
    assert_eq!(sender.request(asker.id, double(1), LONG).await, refused(Refusal::NotConnected));
    let long = Name("x".repeat(Quiz::MAX_BYTES));
    let answer = sender.request(asked.id, long, LONG).await;
    let Err(RequestError::Refused(Refusal::TooLarge { bytes, limit })) = answer else { panic!("{answer:?}") };
    assert!(bytes > limit && limit == Quiz::MAX_BYTES);
    assert_eq!(sender.counters().refused(), 3);
    asker.stop().await;
    let answer = sender.request(asked.id, double(1), LONG).await;
    assert_eq!(answer, refused(Refusal::ShuttingDown));
    let anybody = sender.request_any(peerage::channel::Recipients::all(), double(1), LONG).await;
    assert_eq!(anybody.map(drop), Err(RequestError::Refused(Refusal::ShuttingDown)));
}

async fn a_peer_without_the_channel_is_not_asked<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let channels = (builder.channel::<Quiz>().unwrap(), builder.channel::<Riddle>().unwrap());
    let mut asker = net.start(builder, channels);
    let channels = vec![ChannelSpec::of::<Riddle>()];
    let _bare = net.bare_with(2, &asker.address(), Offer { channels, ..offer() }).await.unwrap();
    asker.up(id(2)).await;
    let answer = asker.channel.0.sender().request(id(2), double(1), LONG).await;
    assert_eq!(answer, Err(RequestError::Refused(Refusal::NoChannel)));
}

async fn a_full_queue_refuses_a_question<W: Wire>(net: Net<W>) {
    let (asker, asked) = pair_with(&net, &outbound(1), |_| {}).await;
    net.beside(answer_all(asked.channel));
    let sender = asker.sender();
    let (first, second) =
        tokio::join!(sender.request(asked.id, double(1), LONG), sender.request(asked.id, double(2), LONG),);
    assert_eq!(first, Ok(Doubled { number: 2 }));
    assert_eq!(second, Err(RequestError::Refused(Refusal::Full)));
    // Its slot is free, and its id is spent.
    assert_eq!(sender.request(asked.id, double(3), LONG).await, Ok(Doubled { number: 6 }));
}

async fn no_capacity_is_of_one_peer<W: Wire>(net: Net<W>) {
    let (mut asker, mut silent) = with_bare(&net, limits(1, 2)).await;
    let answering = quizzer(&net, 3, &[&asker], &defaults(), |_| {}).await;
    asker.up(answering.id).await;
    let sender = asker.sender();
    let mut waiting: Vec<_> = (0..3).map(|n| Box::pin(sender.request(id(2), double(n), LONG))).collect();
    for waiting in &mut waiting {
        assert!(begin(waiting).await.is_pending());
    }
    assert_eq!(sender.request(id(2), double(9), LONG).await, Err(RequestError::NoCapacity));
    net.beside(answer_all(answering.channel));
    assert_eq!(sender.request(answering.id, double(9), LONG).await, Ok(Doubled { number: 18 }));
    // Whoever gives up makes room.
    waiting.truncate(2);
    let mut other = Box::pin(sender.request(id(2), double(7), LONG));
    assert!(begin(&mut other).await.is_pending());
    assert_eq!(silent.reads(0).await[..], [0xc2, 1, 0x80]);
}

async fn a_refused_question_is_declined<W: Wire>(net: Net<W>) {
    let (asker, mut asked) = pair(&net).await;
    let (sender, peer) = (asker.sender(), asked.id);
    let waiting: Vec<_> = (0..3).map(|n| asking(&net, &sender, peer, n)).collect();
    drop(asked.asked().await);
    asked.asked().await.1.refuse();
    let (_, responder) = asked.asked().await;
    let waits_for_room = responder.answer(Doubled { number: 0 });
    drop(waits_for_room);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), Err(RequestError::Declined));
    }
    assert_eq!(asked.lost(DropReason::Unanswered), 3);
    // Nobody receives any more: what waits there is refused, and so is what comes.
    let queued = asking(&net, &sender, peer, 1);
    while asked.channel.is_empty() {
        tokio::task::yield_now().await;
    }
    drop(asked.channel);
    assert_eq!(queued.await.unwrap(), Err(RequestError::Declined));
    assert_eq!(sender.request(peer, double(1), LONG).await, Err(RequestError::Declined));
    assert!(asker.is_content());
}

async fn a_question_beyond_what_the_peer_answers_is_declined<W: Wire>(net: Net<W>) {
    let (asker, mut asked) = pair_with(&net, &defaults(), |config| config.requests_answering = 2).await;
    let sender = asker.sender();
    let kept: Vec<_> = (0..2).map(|n| asking(&net, &sender, asked.id, n)).collect();
    let (_, first) = asked.asked().await;
    let (_, second) = asked.asked().await;
    assert_eq!(sender.request(asked.id, double(3), LONG).await, Err(RequestError::Declined));
    // Each that is answered or refused makes room for one more.
    first.try_answer(Doubled { number: 1 }).unwrap();
    let third = asking(&net, &sender, asked.id, 4);
    let (number, third_responder) = asked.asked().await;
    assert_eq!(number, 4);
    second.refuse();
    let fourth = asking(&net, &sender, asked.id, 5);
    assert_eq!(asked.asked().await.0, 5);
    assert_eq!(fourth.await.unwrap(), Err(RequestError::Declined));
    drop(third_responder);
    assert_eq!(third.await.unwrap(), Err(RequestError::Declined));
    for (kept, expected) in kept.into_iter().zip([Ok(Doubled { number: 1 }), Err(RequestError::Declined)]) {
        assert_eq!(kept.await.unwrap(), expected);
    }
}

async fn a_question_that_the_queue_drops_is_declined<W: Wire>(net: Net<W>) {
    for (policy, kept) in [(Overflow::DropOldest, 1), (Overflow::DropNewest, 0)] {
        let (asker, mut asked) = pair_with(&net, &inbound(1, policy), |_| {}).await;
        let mut waiting: Vec<_> =
            (0..2).map(|n| Box::pin(asking(&net, &asker.sender(), asked.id, n))).collect();
        let survivor = waiting.remove(kept);
        assert_eq!(waiting.remove(0).await.unwrap(), Err(RequestError::Declined), "{policy:?}");
        let (number, responder) = asked.asked().await;
        assert_eq!(number, kept as u64);
        responder.try_answer(Doubled { number: 7 }).unwrap();
        assert_eq!(survivor.await.unwrap(), Ok(Doubled { number: 7 }));
        let lost = asked.lost(DropReason::InboundEvicted) + asked.lost(DropReason::InboundFull);
        assert_eq!(lost, 1);
        asker.stop().await;
        asked.stop().await;
    }
}

async fn a_malformed_answer_ends_its_connection_and_is_counted<W: Wire>(net: Net<W>) {
    let (mut asker, mut peer) = with_bare(&net, |_| {}).await;
    let waiting = asking(&net, &asker.sender(), id(2), 1);
    let other = asking(&net, &asker.sender(), id(2), 2);
    peer.reads(0).await;
    peer.writes(1, &[0xc2, 1, 0xc0]).await;
    assert!(matches!(waiting.await.unwrap(), Err(RequestError::Malformed(_))));
    assert_eq!(other.await.unwrap(), Err(RequestError::PeerGone));
    assert_eq!(asker.reports().await.0, Misbehaviour::MalformedAnswer);
    assert_eq!(asker.lost(DropReason::Malformed), 1);
    while peer.reader.read().await.is_ok() {}
    drop(peer);
    assert_eq!(asker.down(id(2)).await.label, "malformed_answer");
    assert_eq!(asker.handle.misbehaviour(), [(Misbehaviour::MalformedAnswer, 1)]);
}

async fn a_request_is_cancelled_by_its_name<W: Wire>(net: Net<W>) {
    let (asker, mut peer) = with_bare(&net, |_| {}).await;
    let sender = asker.sender();
    let (name, another) = (sender.cancel_id(), sender.cancel_id());
    let ask = |number, name| Box::pin(sender.request_any_as(name, id(2), double(number), LONG));
    let (mut written, mut unwritten, mut kept) = (ask(1, name), ask(2, name), ask(3, another));
    assert!(begin(&mut written).await.is_pending());
    assert_eq!(peer.reads(0).await[..], [0xc2, 1, 1]);
    assert!(begin(&mut unwritten).await.is_pending());
    assert!(begin(&mut kept).await.is_pending());
    assert_eq!(sender.cancel(name), 2);
    assert_eq!(written.await, Err(RequestError::Cancelled));
    assert_eq!(unwritten.await, Err(RequestError::Cancelled));
    // The second never comes: it was taken out of the queue.
    assert_eq!(peer.reads(0).await[..], [0xc2, 3, 3]);
    peer.writes(1, &[0xc2, 3, 6]).await;
    assert_eq!(kept.await, Ok((id(2), Doubled { number: 6 })));
}

async fn nobody_is_there_to_ask<W: Wire>(net: Net<W>) {
    use peerage::channel::Recipients;
    let (asker, asked) = pair(&net).await;
    let sender = asker.sender();
    for to in [
        Recipients::all().but(asked.id),
        Recipients::all().with_service("archive"),
        Recipients::from(Vec::new()),
        Recipients::all().sample(0),
    ] {
        assert_eq!(sender.request_any(to, double(1), LONG).await, Err(RequestError::NobodyToAsk));
    }
}

async fn a_dropped_request_is_not_written<W: Wire>(net: Net<W>) {
    let (asker, mut peer) = with_bare(&net, |_| {}).await;
    let sender = asker.sender();
    let mut dropped = Box::pin(sender.request(id(2), double(1), LONG));
    assert!(begin(&mut dropped).await.is_pending());
    drop(dropped);
    let _other = asking(&net, &sender, id(2), 2);
    assert_eq!(peer.reads(0).await[..], [0xc2, 2, 2]);
}

async fn a_dropped_request_frees_its_slot<W: Wire>(net: Net<W>) {
    let (asker, mut peer) = with_bare(&net, limits(1, 8)).await;
    let sender = asker.sender();
    let (first, second) = (asking(&net, &sender, id(2), 1), asking(&net, &sender, id(2), 2));
    let third = asking(&net, &sender, id(2), 3);
    assert_eq!(peer.reads(0).await[..], [0xc2, 1, 1]);
    // One that waits for its turn leaves as well.
    second.abort();
    assert!(second.await.unwrap_err().is_cancelled());
    first.abort();
    assert_eq!(peer.reads(0).await[..], [0xc2, 2, 3]);
    peer.writes(1, &[0xc2, 1, 9]).await;
    peer.writes(1, &[0xc2, 2, 6]).await;
    assert_eq!(third.await.unwrap(), Ok(Doubled { number: 6 }));
    assert_eq!(asker.lost(DropReason::LateAnswer), 1);
    assert!(asker.is_content());
}

async fn slow_answers_on_one_channel_do_not_stop_another<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    builder.configure(limits(4, 100));
    let channels = (builder.channel::<Quiz>().unwrap(), builder.channel::<Riddle>().unwrap());
    let mut node = net.start(builder, channels);
    let mut peer = bare(&net, 2, &node).await;
    node.up(id(2)).await;
    let (quiz, riddle) = (node.channel.0.sender(), node.channel.1.sender());
    let slow: Vec<_> = (0..20).map(|n| asking(&net, quiz, id(2), n)).collect();
    for _ in 0..2 {
        peer.reads(0).await;
    }
    for id_on_wire in 3..10u8 {
        let mut quick = Box::pin(riddle.request(id(2), Solve { number: 1 }, LONG));
        assert!(begin(&mut quick).await.is_pending());
        let question = peer.frame().await;
        assert_eq!((question.channel, &question.payload[..]), (Riddle::CHANNEL, &[0xc2, id_on_wire, 1][..]));
        let payload = Bytes::from(vec![0xc2, id_on_wire, 5]);
        let answer = Frame { channel: Riddle::CHANNEL, code: 1, payload };
        peer.writer.write(&Packet::Frame(answer)).unwrap();
        peer.writer.flush().await.unwrap();
        assert_eq!(quick.await, Ok(Solved { number: 5 }));
    }
    assert!(slow.iter().all(|waiting| !waiting.is_finished()));
}
