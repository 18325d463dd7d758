//! What questions and answers are on the wire, and what becomes of answers that nobody waits for.

use peerage::message::{Answer, Question, Template};
use peerage::rlpx::{Capability, Hello, p2p};

use super::*;
use crate::router::kit::key;
use crate::transports::wire;

over_both!(
    questions_and_answers_are_lists_that_begin_with_the_id,
    a_peer_answers_out_of_order,
    a_duplicate_is_counted_and_reported,
    an_answer_that_nobody_asked_for_is_counted_and_reported,
    an_undecodable_answer_that_nobody_asked_for_is_not_decoded,
    an_answer_of_another_type_is_foreign,
    an_answer_on_another_channel_is_foreign,
    an_answer_without_an_id_is_malformed,
    a_bare_integer_is_no_answer,
    a_refusal_is_the_id_alone,
    a_stranger_neither_gets_nor_gives_refusals,
    a_question_without_an_id_is_malformed,
);

peerage::protocol! {
    /// Two requests of eth/66 as EIP-2481 gives them.
    pub enum Eth: "eth66" / 66, max 4096 {
        0 = GetBlockHeaders(Vec<u64>) -> Headers,
        1 = GetBlockBodies(Vec<[u8; 32]>) -> Headers,
        2 = answer Headers(Vec<u64>),
    }
}

/// The request id, and the vectors, are those of EIP-2481.
#[test]
fn requests_are_encoded_as_in_eth_66() {
    const ID: u64 = 1111;
    let hash = |tail: [u8; 4]| {
        let mut hash = [0; 32];
        hash[28..].copy_from_slice(&tail);
        hash
    };
    let headers = GetBlockHeaders(vec![9999, 5, 5, 0]);
    let bodies = GetBlockBodies(vec![hash([0xde, 0xad, 0xc0, 0xde]), hash([0xfe, 0xed, 0xbe, 0xef])]);
    let zeros = "0".repeat(56);
    let expected_bodies = format!("f847820457f842a0{zeros}deadc0dea0{zeros}feedbeef");
    assert_eq!(hex(&Template::of(&headers, 66).with_id(ID)), "ca820457c682270f050580");
    assert_eq!(hex(&Template::of(&bodies, 66).with_id(ID)), expected_bodies);
    let mut payload = bytes::BytesMut::new();
    GetBlockHeaders(Vec::new()).encode(ID, 66, &mut payload);
    Headers(Vec::new()).encode(ID, 66, &mut payload);
    assert_eq!(hex(&payload), "c4820457c0c4820457c0");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A peer that the node has asked once, under the id 1.
async fn asked_once<W: Wire>(
    net: &Net<W>,
) -> (Quizzer, Bare<W>, tokio::task::JoinHandle<Result<Doubled, RequestError>>) {
    let (asker, mut peer) = with_bare(net, |_| {}).await;
    let waiting = asking(net, &asker.sender(), id(2), 1);
    assert_eq!(peer.reads(0).await[..], [0xc2, 1, 1]);
    (asker, peer, waiting)
}

async fn questions_and_answers_are_lists_that_begin_with_the_id<W: Wire>(net: Net<W>) {
    let (mut node, mut peer) = with_bare(&net, |_| {}).await;
    let sender = node.sender();
    // Fields stand beside the id, one value stands as it is; ids count up from 1.
    let first = asking(&net, &sender, id(2), 1024);
    assert_eq!(peer.reads(0).await[..], [0xc4, 1, 0x82, 4, 0]);
    peer.writes(1, &[0xc2, 1, 7]).await;
    assert_eq!(first.await.unwrap(), Ok(Doubled { number: 7 }));
    let second = net.beside(async move { sender.request(id(2), Name("ab".into()), LONG).await });
    assert_eq!(peer.reads(2).await[..], [0xc4, 2, 0x82, b'a', b'b']);
    peer.writes(3, &[0xc4, 2, 0x82, b'c', b'd']).await;
    assert_eq!(second.await.unwrap(), Ok(Named("cd".into())));
    // The peer's ids are its own affair.
    peer.writes(0, &[0xca, 0x88, 255, 255, 255, 255, 255, 255, 255, 255, 5]).await;
    let (number, responder) = node.asked().await;
    responder.try_answer(Doubled { number: number * 2 }).unwrap();
    assert_eq!(peer.reads(1).await[..], [0xca, 0x88, 255, 255, 255, 255, 255, 255, 255, 255, 10]);
    peer.writes(0, &[0xc2, 0x80, 5]).await;
    node.asked().await.1.try_answer(Doubled { number: 1 }).unwrap();
    assert_eq!(peer.reads(1).await[..], [0xc2, 0x80, 1]);
}

async fn a_peer_answers_out_of_order<W: Wire>(net: Net<W>) {
    let (asker, mut peer) = with_bare(&net, |_| {}).await;
    let waiting: Vec<_> = (1..=3).map(|n| asking(&net, &asker.sender(), id(2), n)).collect();
    for number in 1..=3 {
        assert_eq!(peer.reads(0).await[..], [0xc2, number, number]);
    }
    for answer in [&[0xc2, 2, 20], &[0xc2, 3, 30], &[0xc2, 1, 10]] {
        peer.writes(1, answer).await;
    }
    for (number, waiting) in (1..).zip(waiting) {
        assert_eq!(waiting.await.unwrap(), Ok(Doubled { number: number * 10 }));
    }
}

async fn a_duplicate_is_counted_and_reported<W: Wire>(net: Net<W>) {
    let (asker, mut peer, waiting) = asked_once(&net).await;
    peer.writes(1, &[0xc2, 1, 7]).await;
    peer.writes(1, &[0xc2, 1, 8]).await;
    assert_eq!(waiting.await.unwrap(), Ok(Doubled { number: 7 }));
    assert_eq!(asker.reports().await.0, Misbehaviour::DuplicateAnswer);
    assert_eq!(asker.lost(DropReason::UnaskedAnswer), 1);
    // A doubt is borne; what is asked next is answered, under the next id.
    let next = asking(&net, &asker.sender(), id(2), 9);
    assert_eq!(peer.reads(0).await[..], [0xc2, 2, 9]);
    peer.writes(1, &[0xc2, 2, 18]).await;
    assert_eq!(next.await.unwrap(), Ok(Doubled { number: 18 }));
    assert!(asker.channel.is_empty(), "an answer never comes to the receiver");
}

async fn an_answer_that_nobody_asked_for_is_counted_and_reported<W: Wire>(net: Net<W>) {
    let (asker, mut peer, waiting) = asked_once(&net).await;
    peer.writes(1, &[0xc2, 2, 7]).await;
    let (what, detail) = asker.reports().await;
    assert_eq!(what, Misbehaviour::UnaskedAnswer);
    assert!(detail.contains("quiz") && detail.contains("code 1"), "{detail}");
    assert_eq!(asker.lost(DropReason::UnaskedAnswer), 1);
    assert_eq!(waiting.await.unwrap(), Err(RequestError::PeerGone), "the peer was parted with");
    assert!(asker.channel.is_empty());
}

async fn an_undecodable_answer_that_nobody_asked_for_is_not_decoded<W: Wire>(net: Net<W>) {
    let (asker, mut peer, _waiting) = asked_once(&net).await;
    peer.writes(1, &[0xc3, 9, 0xff, 0xff]).await;
    assert_eq!(asker.reports().await.0, Misbehaviour::UnaskedAnswer);
    assert_eq!((asker.lost(DropReason::UnaskedAnswer), asker.lost(DropReason::Malformed)), (1, 0));
}

async fn an_answer_of_another_type_is_foreign<W: Wire>(net: Net<W>) {
    let (asker, mut peer, waiting) = asked_once(&net).await;
    peer.writes(3, &[0xc2, 1, b'x']).await;
    peer.writes(1, &[0xc2, 1, 7]).await;
    assert_eq!(asker.reports().await.0, Misbehaviour::ForeignAnswer);
    assert_eq!(asker.lost(DropReason::UnaskedAnswer), 1);
    // Whether the true answer comes in time or not, the foreign one is not taken for it.
    assert!(matches!(waiting.await.unwrap(), Ok(Doubled { number: 7 }) | Err(RequestError::PeerGone)));
}

async fn an_answer_on_another_channel_is_foreign<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let quiz = builder.channel::<Quiz>().unwrap();
    let riddle = builder.channel::<Riddle>().unwrap();
    let mut asker = net.start(builder, quiz);
    let mut peer = bare(&net, 2, &asker).await;
    asker.up(id(2)).await;
    let waiting = asking(&net, &asker.sender(), id(2), 1);
    peer.reads(0).await;
    peer.writes_on::<Riddle>(1, &[0xc2, 1, 7]).await;
    assert_eq!(asker.reports().await.0, Misbehaviour::ForeignAnswer);
    assert_eq!(riddle.sender().counters().dropped(DropReason::UnaskedAnswer), 1);
    assert_eq!(asker.lost(DropReason::UnaskedAnswer), 0);
    assert_eq!(waiting.await.unwrap(), Err(RequestError::PeerGone));
}

async fn an_answer_without_an_id_is_malformed<W: Wire>(net: Net<W>) {
    let (asker, mut peer, waiting) = asked_once(&net).await;
    peer.writes(1, &[0xc0]).await;
    let (what, detail) = asker.reports().await;
    assert_eq!(what, Misbehaviour::MalformedMessage);
    assert!(detail.contains("channel `quiz`, code 1"), "{detail}");
    assert_eq!(asker.lost(DropReason::Malformed), 1);
    assert_eq!(waiting.await.unwrap(), Err(RequestError::PeerGone));
}

async fn a_bare_integer_is_no_answer<W: Wire>(net: Net<W>) {
    let (asker, mut peer, waiting) = asked_once(&net).await;
    peer.writes(1, &[1]).await;
    assert_eq!(asker.reports().await.0, Misbehaviour::MalformedMessage);
    assert_eq!(waiting.await.unwrap(), Err(RequestError::PeerGone));
}

async fn a_refusal_is_the_id_alone<W: Wire>(net: Net<W>) {
    let (mut node, mut peer, waiting) = asked_once(&net).await;
    // In both directions, under the question's code.
    peer.writes(0, &[1]).await;
    assert_eq!(waiting.await.unwrap(), Err(RequestError::Declined));
    peer.writes(0, &[0xc3, 0x81, 200, 5]).await;
    drop(node.asked().await);
    assert_eq!(peer.reads(0).await[..], [0x81, 200]);
    assert_eq!(node.lost(DropReason::Unanswered), 1);
    assert!(node.is_content());
    // A second one is a duplicate; the answer after a refusal would be one as well.
    peer.writes(0, &[1]).await;
    assert_eq!(node.reports().await.0, Misbehaviour::DuplicateAnswer);
}

async fn a_question_without_an_id_is_malformed<W: Wire>(net: Net<W>) {
    let (node, mut peer) = with_bare(&net, |_| {}).await;
    peer.writes(0, &[0xc1, 0xc0]).await;
    assert_eq!(node.reports().await.0, Misbehaviour::MalformedMessage);
    assert_eq!(node.lost(DropReason::Malformed), 1);
    assert!(node.channel.is_empty());
}

/// The message id of the quiz's code 0 where nothing sorts before it.
const QUIZ_0: u8 = p2p::BASE_OFFSET;

async fn a_stranger_neither_gets_nor_gives_refusals<W: Wire>(net: Net<W>) {
    let mut node = quizzer(&net, 1, &[], &defaults(), |_| {}).await;
    let raw = net.wire.raw(id(2), &node.endpoint()).await;
    let mut peer = match W::ENCRYPTED {
        true => wire::Wire::initiate(raw, &key(2), node.id).await,
        false => wire::Wire::plain(raw),
    };
    let capabilities = vec![Capability { name: Quiz::CHANNEL, version: 1 }];
    let hello = Hello { version: p2p::VERSION, client: "x".into(), capabilities, listen_port: 0, id: id(2) };
    peer.greet(&hello).await;
    node.up(id(2)).await;
    peer.send(QUIZ_0, &[0xc2, 5, 1]).await;
    drop(node.asked().await);
    peer.send(QUIZ_0, &[0xc2, 6, 1]).await;
    node.asked().await.1.try_answer(Doubled { number: 2 }).unwrap();
    // The first thing that it hears is the answer to the second.
    let (code, payload) = peer.receive().await.unwrap();
    assert_eq!((code, &payload[..]), (QUIZ_0 + 1, &[0xc2, 6, 2][..]));
    assert_eq!(node.lost(DropReason::Unanswered), 1);
    let waiting = asking(&net, &node.sender(), id(2), 1);
    assert_eq!(peer.receive().await.unwrap().0, QUIZ_0);
    peer.send(QUIZ_0, &[1]).await;
    assert_eq!(node.reports().await.0, Misbehaviour::MalformedMessage);
    assert_eq!(waiting.await.unwrap(), Err(RequestError::PeerGone));
}
