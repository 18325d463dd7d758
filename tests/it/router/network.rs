//! What channels carry, over a whole network.

use std::collections::BTreeSet;

use peerage::channel::{Channel, Recipients, Refusal};
use peerage::event::{Layer, Misbehaviour, Side};
use peerage::router::BuildError;

use super::kit::{Net, Node, Note, Other, Wire, echo, id, over_both, pair};

over_both!(
    eight_nodes_echo_unicast_and_broadcast_and_a_reported_peer_comes_back,
    a_channel_name_is_taken_once,
    sends_to_nobody_are_refused_by_name_and_traffic_goes_on,
    only_the_addressee_receives_and_other_channels_see_nothing,
    a_broadcast_reaches_all_others_exactly_once_and_the_rest_after_one_left,
    a_reported_peer_goes_down_and_comes_up_again,
    nothing_is_sent_on_a_channel_that_the_peer_did_not_announce,
);

/// A full mesh: each node dials all that were started before it. The first one is the test's; others echo.
async fn mesh<W: Wire>(net: &Net<W>, count: u64) -> (Node, Vec<Node<()>>) {
    let mut first = net.node(0).await;
    let mut others = Vec::new();
    let mut addresses = vec![first.address()];
    for seed in 1..count {
        let mut builder = net.builder(seed).await;
        for address in &addresses {
            builder.peer(address.clone());
        }
        let channel = builder.channel::<Note>().unwrap();
        builder.reactor("echo", echo(channel));
        let node = net.start(builder, ());
        addresses.push(node.address());
        others.push(node);
    }
    first.up_count(others.len()).await;
    for node in &mut others {
        node.up_count(addresses.len() - 1).await;
    }
    (first, others)
}

async fn eight_nodes_echo_unicast_and_broadcast_and_a_reported_peer_comes_back<W: Wire>(net: Net<W>) {
    let (mut first, others) = mesh(&net, 8).await;
    for (node, number) in others.iter().zip(100..) {
        assert_eq!(first.channel.try_send(node.id, Note::Say { number }).ok(), Ok(1));
        assert_eq!(first.hear().await, (node.id, Note::Back { number }));
    }
    assert_eq!(first.channel.try_send(Recipients::all(), Note::Say { number: 7 }).ok(), Ok(7));
    let mut echoes = BTreeSet::new();
    for _ in 0..7 {
        let (from, message) = first.hear().await;
        assert_eq!(message, Note::Back { number: 7 });
        assert!(echoes.insert(from), "{from} echoed twice");
    }
    for node in &others {
        let conn = first.up(node.id).await;
        first.channel.sender().report(node.id, conn, Misbehaviour::Breach, "for the test").unwrap();
        first.down(node.id).await;
        assert_ne!(first.up(node.id).await, conn, "another connection, another number");
    }
    assert!(first.channel.is_empty(), "no echo came twice");
}

async fn a_channel_name_is_taken_once<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let channel = builder.channel::<Note>().unwrap();
    let taken = builder.channel::<Note>().map(drop);
    assert!(matches!(taken, Err(BuildError::ChannelTaken(name)) if name.as_str() == "note"), "{taken:?}");
    builder.channel::<Other>().unwrap();
    // The first one is not harmed by the attempt.
    let a = net.start(builder, channel);
    let mut b = net.node_to(2, &[a.address()]).await;
    b.up(a.id).await;
    assert_eq!(b.channel.try_send(a.id, Note::Say { number: 1 }).ok(), Ok(1));
    let mut a = a;
    assert_eq!(a.hear().await, (b.id, Note::Say { number: 1 }));
}

async fn sends_to_nobody_are_refused_by_name_and_traffic_goes_on<W: Wire>(net: Net<W>) {
    let (mut a, mut b) = pair(&net).await;
    let say = || Note::Say { number: 1 };
    let unknown = id(99);
    let outcome = b.channel.try_send(unknown, say());
    assert_eq!(outcome.refused(), [(unknown, Refusal::NotConnected)]);
    let outcome = b.channel.try_send(b.id, say());
    assert_eq!(outcome.refused(), [(b.id, Refusal::NotConnected)], "oneself is no peer");
    assert_eq!(b.channel.try_send(Vec::new(), say()).ok(), Ok(0));
    let outcome = b.channel.try_send(vec![unknown, a.id, b.id], say());
    assert_eq!((outcome.queued(), outcome.refused().len()), (1, 2));
    assert_eq!(a.hear().await, (b.id, say()));
    let filler = bytes::Bytes::from(vec![0; 17 * 1024]);
    let outcome = b.channel.try_send(a.id, Note::Fill { filler });
    assert!(matches!(outcome.refused()[..], [(_, Refusal::TooLarge { .. })]), "{outcome}");
    assert_eq!(b.channel.try_send(a.id, Note::Say { number: 2 }).ok(), Ok(1));
    assert_eq!(a.hear().await, (b.id, Note::Say { number: 2 }));
    let gone = a.id;
    a.stop().await;
    b.down(gone).await;
    assert_eq!(b.channel.try_send(gone, say()).refused(), [(gone, Refusal::NotConnected)]);
}

async fn both_channels<W: Wire>(
    net: &Net<W>,
    seed: u64,
    to: Option<&Node<(Channel<Note>, Channel<Other>)>>,
) -> Node<(Channel<Note>, Channel<Other>)> {
    let mut builder = net.builder(seed).await;
    if let Some(to) = to {
        builder.peer(to.address());
    }
    let channels = (builder.channel::<Note>().unwrap(), builder.channel::<Other>().unwrap());
    net.start(builder, channels)
}

async fn only_the_addressee_receives_and_other_channels_see_nothing<W: Wire>(net: Net<W>) {
    let mut a = both_channels(&net, 1, None).await;
    let mut b = both_channels(&net, 2, Some(&a)).await;
    let mut c = both_channels(&net, 3, Some(&a)).await;
    a.up_count(2).await;
    b.up(a.id).await;
    c.up(a.id).await;
    assert_eq!(a.channel.0.try_send(b.id, Note::Say { number: 1 }).ok(), Ok(1));
    assert_eq!(b.channel.0.recv().await.unwrap().message, Note::Say { number: 1 });
    // In order within a connection: whatever the first message had caused would be there before the second.
    for node in [&mut b, &mut c] {
        assert_eq!(a.channel.1.try_send(node.id, Other::Say { number: 2 }).ok(), Ok(1));
        let heard = node.channel.1.recv().await.unwrap();
        assert_eq!((heard.from, heard.message), (a.id, Other::Say { number: 2 }));
        assert!(node.channel.0.is_empty() && node.channel.1.is_empty());
    }
}

async fn a_broadcast_reaches_all_others_exactly_once_and_the_rest_after_one_left<W: Wire>(net: Net<W>) {
    let mut a = net.node(1).await;
    let mut others = Vec::new();
    for seed in 2..5 {
        let mut node = net.node_to(seed, &[a.address()]).await;
        node.up(a.id).await;
        others.push(node);
    }
    a.up_count(3).await;
    for round in 0..2 {
        let sent = a.channel.try_send(Recipients::all(), Note::Say { number: round }).ok();
        assert_eq!(sent, Ok(others.len()));
        for node in &mut others {
            // A second copy would come before the marker.
            assert_eq!(a.channel.try_send(node.id, Note::Back { number: round }).ok(), Ok(1));
            assert_eq!(node.hear().await, (a.id, Note::Say { number: round }));
            assert_eq!(node.hear().await, (a.id, Note::Back { number: round }));
        }
        assert!(a.channel.is_empty(), "the sender is no recipient");
        if round == 0 {
            let leaver = others.remove(0);
            let gone = leaver.id;
            leaver.stop().await;
            a.down(gone).await;
        }
    }
}

async fn a_reported_peer_goes_down_and_comes_up_again<W: Wire>(net: Net<W>) {
    let (mut a, mut b) = pair(&net).await;
    // By the side that accepted, and by the side that dialled.
    for reported in 0..2 {
        let (judge, accused) = if reported == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
        let conn = judge.up(accused.id).await;
        judge.channel.sender().report(accused.id, conn, Misbehaviour::Breach, "it annoys").unwrap();
        let closed = judge.down(accused.id).await;
        assert_eq!((closed.by, closed.layer, closed.label), (Side::Local, Layer::Channel, "misbehaved"));
        assert_eq!(closed.detail, "breach, bad points: 100");
        let told = accused.down(judge.id).await;
        assert_eq!((told.by, told.label), (Side::Remote, "subprotocol"));
        assert_ne!(judge.up(accused.id).await, conn);
        accused.up(judge.id).await;
    }
    assert_eq!(a.channel.try_send(b.id, Note::Say { number: 1 }).ok(), Ok(1));
    assert_eq!(b.hear().await, (a.id, Note::Say { number: 1 }));
}

async fn nothing_is_sent_on_a_channel_that_the_peer_did_not_announce<W: Wire>(net: Net<W>) {
    let mut a = both_channels(&net, 1, None).await;
    let mut b = net.node_to(2, &[a.address()]).await;
    a.up(b.id).await;
    b.up(a.id).await;
    let say = || Other::Say { number: 1 };
    assert_eq!(a.channel.1.try_send(b.id, say()).refused(), [(b.id, Refusal::NoChannel)]);
    assert_eq!(a.channel.1.try_send(Recipients::all(), say()).ok(), Ok(0), "no recipient of a broadcast");
    assert_eq!(a.channel.1.sender().peers(), []);
    let waited = a.channel.1.sender().send(b.id, say(), std::time::Duration::from_secs(1)).await;
    assert_eq!(waited, Err(Refusal::NoChannel.into()));
    assert_eq!(a.channel.0.try_send(b.id, Note::Say { number: 2 }).ok(), Ok(1));
    assert_eq!(b.hear().await, (a.id, Note::Say { number: 2 }));
    assert_eq!(a.handle.channels()[1].sent, 0);
}
