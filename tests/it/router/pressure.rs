//! One that does not read harms nobody else.

use std::time::Duration;

use bytes::Bytes;
use peerage::channel::{ChannelConfig, DropReason, Recipients, Refusal, Share};
use peerage::message::Message;
use tokio::time::Instant;

use super::kit::{Net, Node, Note, Other, Wire, id, lost, over_both, waiting};

over_both!(
    a_reactor_that_never_reads_stalls_no_other_channel,
    a_peer_of_fifty_that_never_reads_delays_no_other,
    a_channel_that_waits_holds_its_peer_back_and_loses_nothing,
);

const PATIENT: Duration = Duration::from_secs(20);

async fn a_reactor_that_never_reads_stalls_no_other_channel<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let deaf = builder.channel::<Note>().unwrap();
    let mut listening = builder.channel::<Other>().unwrap();
    let a = net.start(builder, ());
    let mut builder = net.builder(2).await;
    builder.peer(a.address());
    let channels = (builder.channel::<Note>().unwrap(), builder.channel::<Other>().unwrap());
    let mut b = net.start(builder, channels);
    b.up(a.id).await;

    // Many times what the deaf channel holds, and the whole time the other one answers at once.
    let filler = Bytes::from(vec![1; 4 * 1024]);
    let mut accepted = 0;
    for number in 0..2000 {
        for _ in 0..4 {
            let fill = Note::Fill { filler: filler.clone() };
            accepted += b.channel.0.try_send(a.id, fill).queued() as u64;
        }
        b.channel.1.sender().send(a.id, Other::Say { number }, PATIENT).await.unwrap();
        assert_eq!(listening.recv().await.unwrap().message, Other::Say { number });
    }
    let status = a.handle.channels();
    let full = lost(&status[0]);
    assert_eq!(status[0].dropped, [(DropReason::InboundFull, full)]);
    assert!(full > 0 && status[0].waiting <= 1024, "{status:?}");
    assert_eq!(status[1].dropped, [], "the other channel lost nothing");
    assert!(status[0].received + full <= accepted);
    drop(deaf);
}

async fn a_peer_of_fifty_that_never_reads_delays_no_other<W: Wire>(net: Net<W>) {
    let share = Share { messages: 1024, bytes: 1 << 20 };
    let config = ChannelConfig { outbound: share, ..ChannelConfig::for_messages_of(Note::MAX_BYTES) };
    let mut builder = net.builder(1).await;
    let channel = builder.channel_with::<Note>(&config).unwrap();
    let mut node = net.start(builder, channel);
    let _deaf = net.bare(2, &node.address()).await.unwrap();
    let mut others: Vec<Node> = Vec::new();
    for seed in 3..52 {
        others.push(net.node_to(seed, &[node.address()]).await);
    }
    node.up_count(50).await;
    for other in &mut others {
        other.up(node.id).await;
    }

    // Until no more fits in the network's buffers and in the deaf peer's queue.
    let filler = Bytes::from(vec![1; 16 * 1024 - 8]);
    let mut idle_turns = 0;
    while idle_turns < 200 {
        match node.channel.try_send(id(2), Note::Fill { filler: filler.clone() }).ok() {
            Ok(_) => idle_turns = 0,
            Err(why) => {
                assert_eq!(why, Refusal::Full);
                idle_turns += 1;
            }
        }
        tokio::task::yield_now().await;
    }

    let began = Instant::now();
    for number in 0..20 {
        let outcome = node.channel.try_send(Recipients::all(), Note::Fill { filler: filler.clone() });
        assert_eq!(outcome.queued(), 49, "{outcome}");
        assert_eq!(outcome.refused(), [(id(2), Refusal::Full)]);
        assert_eq!(node.channel.try_send(others[0].id, Note::Say { number }).ok(), Ok(1));
        for (at, other) in others.iter_mut().enumerate() {
            assert!(matches!(other.hear().await, (_, Note::Fill { .. })));
            if at == 0 {
                assert_eq!(other.hear().await.1, Note::Say { number });
            }
        }
    }
    assert!(began.elapsed() < Duration::from_secs(10), "less than the deaf peer's write stall");
    let deaf = node.handle.peers().into_iter().find(|peer| peer.id == id(2)).expect("it is still up");
    assert!(deaf.queued_bytes <= share.bytes, "{deaf:?}");
    assert!(deaf.queued_messages > 0);
    assert!(others.iter().all(|other| other.handle.channels()[0].dropped.is_empty()));
}

async fn a_channel_that_waits_holds_its_peer_back_and_loses_nothing<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let channel = builder.channel_with::<Note>(&waiting(8)).unwrap();
    let mut a = net.start(builder, channel);
    let mut b = net.node_to(2, &[a.address()]).await;
    b.up(a.id).await;
    let sender = b.channel.sender().clone();
    let peer = a.id;
    let sending = net.beside(async move {
        for number in 0..3000 {
            sender.send(peer, Note::Say { number }, PATIENT).await.unwrap();
        }
    });
    for number in 0..3000 {
        assert_eq!(a.hear().await, (b.id, Note::Say { number }));
    }
    sending.await.unwrap();
    assert_eq!(a.handle.channels()[0].dropped, []);
}
