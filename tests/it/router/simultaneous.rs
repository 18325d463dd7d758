//! Two nodes that dial each other at once end with exactly one connection.

use std::time::Duration;

use peerage::address::Endpoint;
use peerage::event::{Closed, EventKind};
use peerage::id::{Direction, Protocol};
use peerage::transport::{AcceptError, Handshake, Incoming, Target, Transport};
use peerage::{NodeAddress, Router};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::kit::{Memory, Net, Node, Note, Wire, id, over_both, paused, quick};

over_both!(nodes_that_know_each_other_end_with_one_connection);

/// How many schedules are tried.
const SEEDS: u64 = 1000;

/// Longer than any back-off in these tests: after so long without news nothing more will happen.
const QUIET: Duration = Duration::from_secs(2);

/// A transport that gives way to other tasks so often before each step, as its seed says.
struct Lagging<T> {
    inner: T,
    lag: u64,
}

async fn lag(times: u64) {
    for _ in 0..times {
        yield_now().await;
    }
}

struct LaggingIncoming<I> {
    inner: I,
    lag: u64,
}

impl<T: Transport> Transport for Lagging<T> {
    type Incoming = LaggingIncoming<T::Incoming>;
    type Connection = T::Connection;

    fn protocol(&self) -> Protocol {
        self.inner.protocol()
    }

    fn local_endpoints(&self) -> Vec<Endpoint> {
        self.inner.local_endpoints()
    }

    async fn accept(&self) -> Result<Self::Incoming, AcceptError> {
        let inner = self.inner.accept().await?;
        Ok(LaggingIncoming { inner, lag: self.lag / 4 % 32 })
    }

    async fn dial(&self, target: Target, handshake: Handshake) -> Result<T::Connection, Closed> {
        lag(self.lag % 4).await;
        let connection = self.inner.dial(target, handshake).await;
        lag(self.lag / 128 % 32).await;
        connection
    }

    fn close(&self) {
        self.inner.close();
    }
}

impl<I: Incoming> Incoming for LaggingIncoming<I> {
    type Connection = I::Connection;

    fn remote(&self) -> Endpoint {
        self.inner.remote()
    }

    async fn handshake(self, handshake: Handshake) -> Result<I::Connection, Closed> {
        lag(self.lag % 4).await;
        let connection = self.inner.handshake(handshake).await;
        lag(self.lag / 4).await;
        connection
    }
}

fn lagging(net: &Net<Memory>, seed: u64, lag: u64, peer: u64) -> Node {
    let mut builder = Router::builder(id(seed));
    builder.transport(Lagging { inner: net.wire.0.listen(id(seed)), lag });
    builder.seed(lag).configure(quick).peer(NodeAddress::memory(id(peer)));
    let channel = builder.channel::<Note>().unwrap();
    net.start(builder, channel)
}

/// The finaliser of splitmix64: schedules of neighbouring seeds have nothing in common.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Waits until neither node has news for a while; gives up on two that never come to rest.
async fn settle(a: &mut Node, b: &mut Node) {
    for _ in 0..100 {
        let news = async {
            tokio::select! {
                biased;
                _ = a.update() => {}
                _ = b.update() => {}
            }
        };
        if timeout(QUIET, news).await.is_err() {
            return;
        }
    }
    panic!("the nodes never agree");
}

/// Both have the one connection, and it carries messages both ways.
async fn agree(a: &mut Node, b: &mut Node, seed: u64) {
    for (here, there) in [(&*a, &*b), (&*b, &*a)] {
        let peers: Vec<_> = here.handle.peers().iter().map(|peer| (peer.id, peer.conn)).collect();
        let told: Vec<_> = here.up.iter().map(|(peer, (conn, _))| (*peer, *conn)).collect();
        assert_eq!(peers.len(), 1, "seed {seed}: exactly one connection");
        assert_eq!(peers[0].0, there.id, "seed {seed}");
        assert_eq!(peers, told, "seed {seed}: what is told is what is so");
    }
    let directions = [a.up[&b.id].1, b.up[&a.id].1];
    assert!(directions.contains(&Direction::Outbound), "seed {seed}: {directions:?}");
    assert!(directions.contains(&Direction::Inbound), "seed {seed}: {directions:?}");
    assert_eq!(a.channel.try_send(b.id, Note::Say { number: seed }).ok(), Ok(1), "seed {seed}");
    assert_eq!(b.channel.try_send(a.id, Note::Back { number: seed }).ok(), Ok(1), "seed {seed}");
    assert_eq!(b.hear().await, (a.id, Note::Say { number: seed }), "seed {seed}");
    assert_eq!(a.hear().await, (b.id, Note::Back { number: seed }), "seed {seed}");
}

#[test]
fn a_simultaneous_dial_ends_with_one_connection_for_a_thousand_seeds() {
    let mut collisions = 0;
    for seed in 0..SEEDS {
        let refused = paused(async {
            let net = Net::new(Memory::default());
            let drawn = mix(seed);
            // Which of the two is started first, and how much earlier.
            let (first, second) = if drawn.is_multiple_of(2) { (1, 2) } else { (2, 1) };
            let mut a = lagging(&net, first, drawn >> 8, second);
            lag(drawn >> 1 & 0x3).await;
            let mut b = lagging(&net, second, drawn >> 32, first);
            settle(&mut a, &mut b).await;
            agree(&mut a, &mut b, seed).await;
            for node in [&a, &b] {
                // Both keep the same one of two at once: nobody has to come back for a second try.
                let dials = node.log.count(|kind| matches!(kind, EventKind::Dialing { .. }));
                assert!(dials <= 1, "seed {seed}: {dials} dials");
            }
            let ends = [a.handle.ends(), b.handle.ends()];
            let labels: Vec<_> = ends.iter().flat_map(|ends| ends.keys().map(|(_, label)| *label)).collect();
            for node in [a, b] {
                assert!(node.stop().await.clean, "seed {seed}");
            }
            labels.iter().any(|label| ["replaced", "already_connected"].contains(label))
        });
        collisions += usize::from(refused);
    }
    assert!(collisions > 250, "the schedules hardly ever collide: {collisions} of {SEEDS}");
}

async fn nodes_that_know_each_other_end_with_one_connection<W: Wire>(net: Net<W>) {
    let mut a = net.node(1).await;
    let address = a.address();
    let mut b = net.node(2).await;
    let (to_a, to_b) = tokio::join!(b.handle.add(address), a.handle.add(b.address()));
    assert_eq!((to_a, to_b), (Ok(true), Ok(true)));
    settle(&mut a, &mut b).await;
    agree(&mut a, &mut b, 0).await;
}
