//! Peers that stop: each is found out in its time, and never for our own lag. On virtual time.

use std::time::Duration;

use bytes::Bytes;
use peerage::channel::DropReason;
use peerage::event::{Blame, DisconnectReason, Layer, Side};
use peerage::message::Packet;
use peerage::transport::{PacketReader, PacketWriter};
use tokio::time::{Instant, advance};

use super::kit::{Net, Node, Note, Wire, id, over_memory, pair, waiting};

over_memory!(
    a_peer_that_stops_writing_is_ended_by_keepalive,
    a_peer_that_answers_pings_stays,
    a_peer_that_stops_reading_is_ended_by_the_write_stall,
    two_idle_nodes_stay_up_for_an_hour,
    a_peer_is_not_blamed_for_a_reactor_of_ours_that_does_not_read,
    what_is_held_when_a_connection_ends_is_counted,
);

async fn a_peer_that_stops_writing_is_ended_by_keepalive<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    let began = Instant::now();
    assert_eq!(peer.reader.read().await, Ok(Packet::Ping));
    assert_eq!(began.elapsed().as_secs(), 15);
    let told = peer.reader.read().await.unwrap_err();
    assert_eq!((told.by, told.reason), (Side::Remote, DisconnectReason::PingTimeout));
    assert_eq!(began.elapsed().as_secs(), 30);
    drop(peer);
    let closed = node.down(id(2)).await;
    assert_eq!((closed.by, closed.layer, closed.label), (Side::Local, Layer::Hello, "ping_timeout"));
    assert_eq!(closed.blame, Blame::System);
}

async fn a_peer_that_answers_pings_stays<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    for _ in 0..100 {
        assert_eq!(peer.reader.read().await, Ok(Packet::Ping));
        peer.writer.write(&Packet::Pong).unwrap();
        peer.writer.flush().await.unwrap();
    }
    assert_eq!(node.updates.try_next(), None);
}

async fn a_peer_that_stops_reading_is_ended_by_the_write_stall<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let mut peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    let began = Instant::now();
    let filler = Bytes::from(vec![0; 16 * 1024 - 8]);
    for _ in 0..100 {
        assert_eq!(node.channel.try_send(id(2), Note::Fill { filler: filler.clone() }).ok(), Ok(1));
    }
    // It goes on writing, so that it is not silent.
    let chatter = net.beside(async move {
        loop {
            advance(Duration::from_secs(1)).await;
            let said = peer.writer.write(&Packet::Pong).is_ok() && peer.writer.flush().await.is_ok();
            if !said || began.elapsed() > Duration::from_secs(60) {
                return peer;
            }
        }
    });
    let closed = node.down(id(2)).await;
    assert_eq!((closed.by, closed.layer, closed.label), (Side::Local, Layer::Tcp, "write_stalled"));
    let took = began.elapsed().as_secs();
    // It took some at once and then nothing for 20 s; then come the farewells.
    assert!((20..25).contains(&took), "it took {took} s");
    let status = node.handle.channels().remove(0);
    let [(DropReason::Disconnected, lost)] = status.dropped[..] else { panic!("{status:?}") };
    assert_eq!(status.sent + lost, 100, "each was written or counted");
    drop(chatter.await.unwrap());
}

async fn two_idle_nodes_stay_up_for_an_hour<W: Wire>(net: Net<W>) {
    let (mut a, b) = pair(&net).await;
    let hour = tokio::time::timeout(Duration::from_secs(3600), a.update()).await;
    assert!(hour.is_err(), "nothing happened");
    assert!(a.handle.ends().is_empty() && b.handle.ends().is_empty());
}

/// Holds its peer back when its reactor does not read: room for four messages.
async fn waiting_node<W: Wire>(net: &Net<W>) -> Node {
    let mut builder = net.builder(1).await;
    let channel = builder.channel_with::<Note>(&waiting(4)).unwrap();
    net.start(builder, channel)
}

async fn a_peer_is_not_blamed_for_a_reactor_of_ours_that_does_not_read<W: Wire>(net: Net<W>) {
    let mut a = waiting_node(&net).await;
    let mut b = net.node_to(2, &[a.address()]).await;
    a.up(b.id).await;
    b.up(a.id).await;
    for number in 0..20 {
        assert_eq!(b.channel.try_send(a.id, Note::Say { number }).ok(), Ok(1));
    }
    // Ten times as long as a silent peer is borne with.
    let either = async {
        tokio::select! {
            biased;
            update = a.update() => update,
            update = b.update() => update,
        }
    };
    let quiet = tokio::time::timeout(Duration::from_secs(300), either).await;
    assert!(quiet.is_err(), "{quiet:?}");
    for number in 0..20 {
        assert_eq!(a.hear().await, (b.id, Note::Say { number }));
    }
    let quiet = tokio::time::timeout(Duration::from_secs(300), a.update()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

async fn what_is_held_when_a_connection_ends_is_counted<W: Wire>(net: Net<W>) {
    let mut a = waiting_node(&net).await;
    let mut b = net.node_to(2, &[a.address()]).await;
    a.up(b.id).await;
    b.up(a.id).await;
    for number in 0..5 {
        assert_eq!(b.channel.try_send(a.id, Note::Say { number }).ok(), Ok(1));
    }
    // Longer than any message travels: four are queued, and the reader holds the fifth.
    assert!(tokio::time::timeout(Duration::from_secs(1), a.update()).await.is_err());
    assert_eq!(a.handle.disconnect(b.id).await, Ok(true));
    a.down(b.id).await;
    let status = a.handle.channels().remove(0);
    assert_eq!((status.received, status.waiting), (4, 4));
    assert_eq!(status.dropped, [(DropReason::InboundFull, 1)]);
}
