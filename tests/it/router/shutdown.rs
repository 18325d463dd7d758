//! The ordered end: what is queued is delivered or counted, and nothing is left alive.

use std::time::Duration;

use bytes::Bytes;
use peerage::channel::{Channel, ChannelConfig, DropReason, Refusal, Share};
use peerage::event::{Misbehaviour, Side};
use peerage::message::Message;
use peerage::router::{NotAdded, RouterHandle};
use tokio::time::Instant;

use super::kit::{Net, Node, Note, Tcp, Wire, id, lost, over_both, real};

over_both!(
    ten_thousand_queued_messages_are_delivered_or_counted,
    a_peer_that_does_not_read_does_not_delay_a_shutdown,
    a_shutdown_while_connecting_leaves_nothing_alive,
    losses_before_a_shutdown_are_not_its_own,
    a_reactor_that_never_ends_is_ended,
    sends_after_a_shutdown_are_refused_as_such,
);

const MESSAGES: u64 = 10_000;

fn roomy() -> ChannelConfig {
    let share = Share { messages: 20_000, bytes: 128 << 20 };
    let default = ChannelConfig::for_messages_of(Note::MAX_BYTES);
    ChannelConfig { outbound: share, inbound: share, inbound_total: share, ..default }
}

/// A node whose queues hold all that these tests send.
async fn roomy_node<W: Wire>(net: &Net<W>, seed: u64, to: Option<&Node>) -> Node {
    let mut builder = net.builder(seed).await;
    builder.configure(|config| {
        config.drain_timeout = Duration::from_millis(1500);
        config.peer_queue = Share { messages: 20_000, bytes: 128 << 20 };
    });
    if let Some(to) = to {
        builder.peer(to.address());
    }
    let channel = builder.channel_with::<Note>(&roomy()).unwrap();
    net.start(builder, channel)
}

fn dropped(handle: &RouterHandle) -> u64 {
    lost(&handle.channels()[0])
}

/// How many tasks the runtime has: those of this test, whose own future is none.
fn alive() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

async fn ten_thousand_queued_messages_are_delivered_or_counted<W: Wire>(net: Net<W>) {
    let mut a = roomy_node(&net, 1, None).await;
    let mut b = roomy_node(&net, 2, Some(&a)).await;
    a.up(b.id).await;
    b.up(a.id).await;
    for number in 0..MESSAGES {
        assert_eq!(a.channel.try_send(b.id, Note::Say { number }).ok(), Ok(1));
    }
    // Nothing was awaited since the first send: all of them are queued.
    let (handle, sender) = (a.handle.clone(), a.id);
    let report = a.stop().await;
    // Some may have been written before the shutdown had its turn.
    assert!(report.connections == 1 && report.queued <= MESSAGES, "{report:?}");
    assert_eq!(report.drained + report.dropped, report.queued);
    assert!(report.clean);
    assert_eq!(handle.channels()[0].sent + dropped(&handle), MESSAGES);
    assert_eq!(report.dropped, 0, "the peer reads, and there was time");
    for number in 0..MESSAGES {
        assert_eq!(b.hear().await, (sender, Note::Say { number }));
    }
    let closed = b.down(sender).await;
    assert_eq!((closed.by, closed.label), (Side::Remote, "quitting"));
    assert!(b.stop().await.clean);
    assert_eq!(alive(), 0);
}

async fn a_peer_that_does_not_read_does_not_delay_a_shutdown<W: Wire>(net: Net<W>) {
    let mut node = roomy_node(&net, 1, None).await;
    let peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    let filler = Bytes::from(vec![7; 8 * 1024]);
    for _ in 0..MESSAGES {
        assert_eq!(node.channel.try_send(id(2), Note::Fill { filler: filler.clone() }).ok(), Ok(1));
    }
    let (handle, began) = (node.handle.clone(), Instant::now());
    let report = node.stop().await;
    // The time to drain, and then that of a farewell at either half.
    let limit = Duration::from_millis(1500) + Duration::from_secs(2);
    assert!(began.elapsed() < limit + Duration::from_millis(400), "{:?}", began.elapsed());
    assert!(report.clean, "it ended by itself");
    assert!(report.dropped > 0);
    assert_eq!(report.drained + report.dropped, report.queued);
    let status = handle.channels().remove(0);
    assert_eq!(status.sent + report.dropped, MESSAGES, "each was written or counted");
    assert_eq!(status.dropped, [(DropReason::Shutdown, report.dropped)], "and at its channel");
    assert_eq!(alive(), 0);
    drop(peer);
}

async fn a_shutdown_while_connecting_leaves_nothing_alive<W: Wire>(net: Net<W>) {
    // At several points of a handshake that is under way: the more turns, the further it has come.
    for turns in 0..24 {
        let a = roomy_node(&net, 1, None).await;
        let b = roomy_node(&net, 2, Some(&a)).await;
        let silent = net.wire.raw(id(3), &a.endpoint()).await;
        for _ in 0..turns * 3 {
            tokio::task::yield_now().await;
        }
        let ((), ()) = (a.handle.shutdown(), b.handle.shutdown());
        let (a, b) = (a.task.await.unwrap(), b.task.await.unwrap());
        assert!(a.clean && b.clean, "after {turns} turns: {a:?} {b:?}");
        assert_eq!(alive(), 0, "after {turns} turns");
        drop(silent);
    }
}

async fn losses_before_a_shutdown_are_not_its_own<W: Wire>(net: Net<W>) {
    let mut node = roomy_node(&net, 1, None).await;
    let peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    for number in 0..100 {
        assert_eq!(node.channel.try_send(id(2), Note::Say { number }).ok(), Ok(1));
    }
    // All of them are lost with a connection that ends before anything was written.
    assert_eq!(node.handle.disconnect(id(2)).await, Ok(true));
    drop(peer);
    node.down(id(2)).await;
    let status = node.handle.channels().remove(0);
    let lost = lost(&status);
    assert_eq!(status.sent + lost, 100);
    let mut second = roomy_node(&net, 3, Some(&node)).await;
    node.up(second.id).await;
    for number in 0..100 {
        assert_eq!(node.channel.try_send(second.id, Note::Say { number }).ok(), Ok(1));
    }
    let handle = node.handle.clone();
    let report = node.stop().await;
    assert_eq!((report.drained, report.dropped), (report.queued, 0));
    let status = handle.channels().remove(0);
    assert_eq!(status.sent + lost, 200);
    for _ in 0..100 {
        second.hear().await;
    }
}

async fn a_reactor_that_never_ends_is_ended<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    builder.configure(|config| config.drain_timeout = Duration::from_millis(200));
    let channel: Channel<Note> = builder.channel().unwrap();
    builder.reactor("deaf", std::future::pending::<()>());
    let node = net.start(builder, channel);
    let report = node.stop().await;
    assert!(!report.clean, "one task did not end by itself");
    assert_eq!((report.panicked, report.unfinished), (vec![], vec!["deaf".to_owned()]));
    assert_eq!(alive(), 0);
}

/// On real time: a paused clock stands still while any task is busy.
#[test]
fn a_reactor_that_reports_without_end_does_not_keep_the_node_alive() {
    real(reports_without_end(Net::new(Tcp)));
}

async fn reports_without_end<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    builder.configure(|config| config.drain_timeout = Duration::from_millis(200));
    let channel: Channel<Note> = builder.channel().unwrap();
    let sender = channel.sender().clone();
    builder.reactor("grumbler", async move {
        loop {
            // More than the actor takes in one turn: the mailbox is never found empty.
            while sender.report(id(9), peerage::id::ConnId::new(1), Misbehaviour::Nuisance, "again").is_ok() {
            }
            tokio::task::yield_now().await;
        }
    });
    let mut node = net.start(builder, channel);
    let peer = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    drop(peer);
    let stopped = node.stop().await;
    assert_eq!(alive(), 0, "{stopped:?}");
}

async fn sends_after_a_shutdown_are_refused_as_such<W: Wire>(net: Net<W>) {
    let mut node = roomy_node(&net, 1, None).await;
    let mut other = roomy_node(&net, 2, Some(&node)).await;
    node.up(id(2)).await;
    other.up(id(1)).await;
    let sender = node.channel.sender().clone();
    node.handle.shutdown();
    assert_eq!(node.handle.add(other.address()).await, Err(NotAdded::Stopped), "already");
    node.task.await.unwrap();
    for to in [id(2), id(9)] {
        let outcome = sender.try_send(to, Note::Say { number: 1 });
        assert_eq!(outcome.refused(), [(to, Refusal::ShuttingDown)]);
    }
    assert_eq!(node.handle.add(other.address()).await, Err(NotAdded::Stopped));
    assert_eq!(node.channel.recv().await, None);
}
