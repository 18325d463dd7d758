//! A peer that speaks the protocol's frames at random: nothing breaks, and each frame is accounted for.

use bytes::BytesMut;
use peerage::message::{Answer, Head, Question};
use tokio::task::yield_now;

use super::*;

over_both!(whatever_a_peer_says_is_accounted_for_and_the_node_serves_on);

/// Peers one after the other, and the most frames of each: some thousand rounds.
const PEERS: u64 = 60;
const FRAMES: u64 = 120;

/// A generator of its own, so that a failure is the same on every run (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// A frame that can be decoded, whether or not it makes sense: questions, answers and refusals under ids that were
    /// asked, answered, or never heard of.
    fn sound(&mut self) -> (u8, Vec<u8>) {
        let (id, number, mut out) = (self.below(24), self.below(1 << 20), BytesMut::new());
        let code = match self.below(6) {
            0 => return (Double::CODE, Head::refusal(id).to_vec()),
            1 => {
                double(number).encode(id, 1, &mut out);
                Double::CODE
            }
            2 => {
                Name("x".repeat(usize::try_from(number % 99).unwrap())).encode(id, 1, &mut out);
                Name::CODE
            }
            3 => {
                Doubled { number }.encode(id, 1, &mut out);
                Doubled::CODE
            }
            4 => {
                Named("y".into()).encode(id, 1, &mut out);
                Named::CODE
            }
            _ => {
                Quiz::Say { number }.encode(1, &mut out);
                4
            }
        };
        (code, out.to_vec())
    }

    /// One that is cut, stretched, or changed in some bytes, or all noise, under any code.
    fn unsound(&mut self) -> (u8, Vec<u8>) {
        let (code, mut bytes) = self.sound();
        for _ in 0..=self.below(4) {
            let at = usize::try_from(self.below(bytes.len() as u64 + 1)).unwrap();
            let byte = u8::try_from(self.below(256)).unwrap();
            match self.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                2 => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
                _ => bytes.extend((0..at).map(|_| byte)),
            }
        }
        let code = if self.below(3) == 0 { u8::try_from(self.below(5)).unwrap() } else { code };
        (code, bytes)
    }
}

/// The frames of peers that the node has read, by what became of each at the channel's door.
fn accounted(node: &Sender<Quiz>) -> u64 {
    use DropReason::{InboundFull, LateAnswer, Malformed, OverQuota, UnaskedAnswer};
    let dropped = [InboundFull, Malformed, OverQuota, LateAnswer, UnaskedAnswer];
    node.counters().received() + dropped.map(|reason| node.counters().dropped(reason)).iter().sum::<u64>()
}

async fn whatever_a_peer_says_is_accounted_for_and_the_node_serves_on<W: Wire>(net: Net<W>) {
    let config = ChannelConfig { inbound: Share { messages: 4096, ..defaults().inbound }, ..defaults() };
    let node = quizzer(&net, 1, &[], &config, |config| {
        // Only what cannot be decoded ends a connection, so that much is said on each.
        let weights = &mut config.peers.behaviour.weights;
        (weights.unasked_answer, weights.duplicate_answer, weights.foreign_answer) = (0, 0, 0);
    })
    .await;
    let (address, sender) = (node.address(), node.sender());
    let mut up = node.updates;
    net.beside(async move { while up.next().await.is_some() {} });
    net.beside(answer_all(node.channel));
    let (mut dice, mut said) = (Dice(0x5eed), 0);
    for peer in 100..100 + PEERS {
        let channels = vec![ChannelSpec::of::<Quiz>()];
        let mut bare = net.bare_with(peer, &address, Offer { channels, ..offer() }).await.unwrap();
        while !sender.peers().contains(&id(peer)) {
            yield_now().await;
        }
        let asked: Vec<_> = (0..16).map(|number| asking(&net, &sender, id(peer), number)).collect();
        for _ in 0..16 {
            bare.frame().await;
        }
        let frames = 1 + dice.below(FRAMES);
        for left in (0..frames).rev() {
            let (code, payload) = if left == 0 { dice.unsound() } else { dice.sound() };
            let frame = Frame { channel: Quiz::CHANNEL, code, payload: payload.into() };
            bare.writer.write(&Packet::Frame(frame)).unwrap();
        }
        bare.writer.flush().await.unwrap();
        said += frames;
        while accounted(&sender) < said {
            yield_now().await;
        }
        assert_eq!(accounted(&sender), said, "peer {peer}: {:?}", node.handle.channels());
        drop(bare);
        for question in asked {
            // Whatever it is told, it is told something.
            let _: Result<Doubled, RequestError> = question.await.unwrap();
        }
    }
    assert!(said > 2000, "{said}");
    let honest = quizzer(&net, 2, &[], &defaults(), |_| {}).await;
    honest.handle.add(address).await.unwrap();
    let asker = honest.sender();
    while asker.peers().is_empty() {
        yield_now().await;
    }
    assert_eq!(asker.request(node.id, double(21), LONG).await, Ok(Doubled { number: 42 }));
    assert_eq!(accounted(&sender), said + 1);
    node.handle.shutdown();
    assert!(node.task.await.unwrap().clean);
}
