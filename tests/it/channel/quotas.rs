//! How fast one peer may send on a channel.

use std::time::Duration;

use bytes::Bytes;
use peerage::channel::{ChannelConfig, DropReason, Share};
use peerage::event::{EventKind, Misbehaviour};
use peerage::message::{Frame, Message, Packet, Request};
use peerage::queue::{Overflow, Quota};
use peerage::router::ChannelStatus;
use peerage::transport::PacketWriter;
use tokio::task::yield_now;
use tokio::time::advance;

use crate::router::kit::{Bare, Memory, Net, Node, Note, Wire, dropped, id, over_both, paused};

over_both!(
    what_one_peer_sends_too_much_harms_neither_others_nor_itself_elsewhere,
    a_peer_is_evicted_at_the_weight_of_its_excess,
    answers_are_not_charged,
    a_message_that_is_put_off_is_charged_once,
);

peerage::protocol! {
    /// A question, in a channel whose quota is small.
    #[derive(Debug)]
    pub enum Asks: "asks" / 1, max 1024 {
        0 = Which { number: u64 } -> This,
        1 = answer This { number: u64 },
    }
}

fn quota(per_second: u32, burst: u32) -> ChannelConfig {
    let inbound_quota = Some(Quota::new(per_second, burst).unwrap());
    ChannelConfig { inbound_quota, ..ChannelConfig::for_messages_of(Note::MAX_BYTES) }
}

async fn say<W: Wire>(peer: &mut Bare<W>, messages: usize) {
    for _ in 0..messages {
        let payload = Bytes::from_static(b"\xc1\x07");
        peer.writer.write(&Packet::Frame(Frame { channel: Note::CHANNEL, code: 0, payload })).unwrap();
    }
    peer.writer.flush().await.unwrap();
}

fn over(status: &ChannelStatus) -> u64 {
    dropped(status, DropReason::OverQuota)
}

/// Waits until so many messages have come, and says how many were within the quota.
async fn within<C>(node: &Node<C>, sent: u64) -> u64 {
    loop {
        let status = node.handle.channels().remove(0);
        if status.received + over(&status) == sent {
            return status.received;
        }
        yield_now().await;
    }
}

async fn node_with<W: Wire>(net: &Net<W>, config: &ChannelConfig) -> Node {
    let mut builder = net.builder(1).await;
    let channel = builder.channel_with::<Note>(config).unwrap();
    net.start(builder, channel)
}

#[test]
fn of_a_flood_burst_and_rate_times_time_come_through() {
    paused(async {
        let net = Net::new(Memory::default());
        let mut node = node_with(&net, &quota(10, 5)).await;
        let mut peer = net.bare(2, &node.address()).await.unwrap();
        let mut other = net.bare(3, &node.address()).await.unwrap();
        node.up_count(2).await;
        for tick in 0..20 {
            say(&mut peer, 6).await;
            assert_eq!(within(&node, 6 * (tick + 1)).await, 5 + tick);
            advance(Duration::from_millis(100)).await;
        }
        say(&mut other, 5).await;
        assert_eq!(within(&node, 125).await, 24 + 5, "each peer has its own");
        let told = |events: &[peerage::event::Event]| {
            let counts = events.iter().filter_map(|event| match event.kind {
                EventKind::Misbehaved { what: Misbehaviour::OverQuota, count, channel, .. } => {
                    assert_eq!((channel, event.peer), (Some(Note::CHANNEL), Some(id(2))));
                    Some(u64::from(count))
                }
                _ => None,
            });
            (counts.sum::<u64>() == 96).then_some(())
        };
        node.log.wait(told).await;
        assert_eq!(node.handle.misbehaviour(), [(Misbehaviour::OverQuota, 96)]);
        assert_eq!(node.handle.peers().len(), 2, "96 points are not 100");
    });
}

async fn what_one_peer_sends_too_much_harms_neither_others_nor_itself_elsewhere<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    builder.configure(|config| config.peers.behaviour.weights.over_quota = 0);
    let _limited = builder.channel_with::<Note>(&quota(1, 1)).unwrap();
    let mut free = builder.channel::<Asks>().unwrap();
    let node = net.start(builder, ());
    let mut builder = net.builder(2).await;
    builder.peer(node.address());
    let channels = (builder.channel::<Note>().unwrap(), builder.channel::<Asks>().unwrap());
    let mut flooder = net.start(builder, channels);
    flooder.up(node.id).await;
    for number in 0..500 {
        assert_eq!(flooder.channel.0.try_send(node.id, Note::Say { number }).ok(), Ok(1));
    }
    let asking = flooder.channel.1.sender().request(node.id, Which { number: 7 }, Duration::from_secs(20));
    let answering = async {
        let Asks::Which(Request { question, responder }) = free.recv().await.unwrap().message;
        responder.try_answer(This { number: question.number }).unwrap();
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert!(matches!(answer, Ok(This { number: 7 })));
    let passed = within(&node, 500).await;
    assert!((1..20).contains(&passed), "{passed}");
    assert_eq!(node.handle.channels()[1].dropped, []);
}

async fn a_peer_is_evicted_at_the_weight_of_its_excess<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    builder.configure(|config| config.peers.behaviour.weights.over_quota = 34);
    let channel = builder.channel_with::<Note>(&quota(1, 1)).unwrap();
    let mut node = net.start(builder, channel);
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    say(&mut peer, 3).await;
    assert_eq!(within(&node, 3).await, 1);
    assert_eq!(node.handle.peers().len(), 1, "68 points");
    say(&mut peer, 1).await;
    assert_eq!(node.down(id(2)).await.label, "misbehaved");
}

async fn answers_are_not_charged<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let asker = builder.channel_with::<Asks>(&quota(1, 1)).unwrap();
    let mut a = net.start(builder, asker);
    let mut builder = net.builder(2).await;
    builder.peer(a.address());
    let mut answering = builder.channel::<Asks>().unwrap();
    let b = net.start(builder, ());
    a.up(b.id).await;
    net.beside(async move {
        while let Some(envelope) = answering.recv().await {
            let Asks::Which(Request { question, responder }) = envelope.message;
            responder.try_answer(This { number: question.number }).unwrap();
        }
    });
    for number in 0..50 {
        let answer = a.channel.sender().request(b.id, Which { number }, Duration::from_secs(20)).await;
        assert_eq!(answer.unwrap().number, number);
    }
    assert_eq!(a.handle.channels()[0].dropped, []);
}

async fn a_message_that_is_put_off_is_charged_once<W: Wire>(net: Net<W>) {
    let limited = quota(1, 3);
    let one = Share { messages: 1, ..limited.inbound };
    let config = ChannelConfig { inbound: one, inbound_overflow: Overflow::Wait, ..limited };
    let mut node = node_with(&net, &config).await;
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    say(&mut peer, 3).await;
    for _ in 0..3 {
        for _ in 0..20 {
            yield_now().await;
        }
        assert_eq!(node.hear().await.0, id(2));
    }
    assert_eq!(node.handle.channels()[0].dropped, [], "three are within the burst");
    if !W::ENCRYPTED {
        say(&mut peer, 1).await;
        assert_eq!(within(&node, 4).await, 3, "and a fourth is not");
    }
}
