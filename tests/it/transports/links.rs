//! Lines with a latency and a rate, on virtual time.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use peerage::channel::Channel;
use peerage::router::{Router, RouterHandle};
use peerage::transport::link::LinkConfig;
use peerage::transport::memory::{MemoryNetwork, MemoryStream};
use peerage::transport::{Incoming, Transport};
use peerage::{NodeAddress, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::time::{Instant, timeout};

use super::{key, noise, within};

const MS: Duration = Duration::from_millis(1);

/// 50 Mbit/s.
const LINE_BYTES_PER_SECOND: u64 = 6_250_000;
const TEN_MEGABYTES: usize = 10_000_000;
const BUFFER_BYTES: usize = 32 * 1024;

fn slow(latency: Duration) -> LinkConfig {
    LinkConfig::new(latency, Some(LINE_BYTES_PER_SECOND), BUFFER_BYTES).unwrap()
}

/// The two ends of a bare connection.
async fn streams(config: LinkConfig) -> (MemoryStream, MemoryStream) {
    let network = MemoryNetwork::with_link(config);
    let listener = network.listen(key(2).id());
    let near = network.connect(key(1).id(), key(2).id()).unwrap();
    (near, listener.accept().await.unwrap().into_stream())
}

/// How long ten megabytes take, written and read in pieces of at most so many bytes.
async fn carry(near: &mut MemoryStream, far: &mut MemoryStream, piece: usize) -> Duration {
    let started = Instant::now();
    let sent = noise(1, TEN_MEGABYTES);
    let say = async {
        for piece in sent.chunks(piece) {
            near.write_all(piece).await.unwrap();
        }
    };
    let hear = async {
        let (mut heard, mut buffer) = (0, vec![0; piece]);
        while heard < TEN_MEGABYTES {
            let count = far.read(&mut buffer).await.unwrap();
            assert!(count > 0 && buffer[..count] == sent[heard..heard + count], "at byte {heard}");
            heard += count;
        }
    };
    tokio::join!(say, hear);
    started.elapsed()
}

/// Within one hundredth of what ten megabytes take at 50 Mbit/s.
fn assert_full_rate(elapsed: Duration) {
    assert!((1600 * MS..=1616 * MS).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn one_byte_takes_the_latency_and_its_own_time() {
    // Half a millisecond for the byte.
    let config = LinkConfig::new(40 * MS, Some(2_000), 1).unwrap();
    let (mut near, mut far) = streams(config).await;
    for _ in 0..3 {
        let started = Instant::now();
        near.write_all(&[9]).await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO, "a write is done when the buffer has it");
        assert_eq!(far.read_u8().await.unwrap(), 9);
        let elapsed = started.elapsed();
        assert!((40 * MS + MS / 2..=42 * MS).contains(&elapsed), "{elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_only_the_latency_counts() {
    let (mut near, mut far) = streams(LinkConfig::new(40 * MS, None, 1).unwrap()).await;
    let started = Instant::now();
    near.write_all(&noise(1, 100_000)).await.unwrap();
    let mut heard = vec![0; 100_000];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(started.elapsed(), 40 * MS);
    assert_eq!(heard, noise(1, 100_000));
}

#[tokio::test(start_paused = true)]
async fn ten_megabytes_at_50_mbit_per_second_take_1600_ms() {
    for (latency, piece) in [(Duration::ZERO, 64 * 1024), (10 * MS, 64 * 1024), (10 * MS, 100), (10 * MS, 7)]
    {
        let (mut near, mut far) = streams(slow(latency)).await;
        assert_full_rate(carry(&mut near, &mut far, piece).await - latency);
    }
}

#[tokio::test(start_paused = true)]
async fn a_buffer_that_empties_between_two_ticks_of_the_timer_does_not_slow_the_line() {
    let config = LinkConfig::new(10 * MS, Some(LINE_BYTES_PER_SECOND), 100).unwrap();
    let (mut near, mut far) = streams(config).await;
    assert_full_rate(carry(&mut near, &mut far, 64 * 1024).await - 10 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_line_much_longer_than_the_pipe_is_filled() {
    let (mut near, mut far) = streams(slow(1000 * MS)).await;
    assert_full_rate(carry(&mut near, &mut far, 64 * 1024).await - 1000 * MS);
}

#[tokio::test(start_paused = true)]
async fn both_directions_at_once_do_not_slow_each_other() {
    let (near, far) = streams(slow(10 * MS)).await;
    let started = Instant::now();
    let one_end = async |stream: MemoryStream| {
        let (mut read, mut write) = split(stream);
        let (bytes, mut heard) = (noise(1, TEN_MEGABYTES), vec![0; TEN_MEGABYTES]);
        tokio::try_join!(write.write_all(&bytes), read.read_exact(&mut heard)).unwrap();
        assert!(heard == bytes);
    };
    within(Box::pin(async { tokio::join!(one_end(near), one_end(far)) })).await;
    assert_full_rate(started.elapsed() - 10 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_holds_the_writer_at_the_window_and_the_buffer() {
    let config = slow(10 * MS);
    let bound = BUFFER_BYTES + config.window_bytes();
    let (mut near, mut far) = streams(config).await;
    let sent = noise(1, 2 * bound);
    let mut written = 0;
    while let Ok(count) = timeout(1000 * MS, near.write(&sent[written..])).await {
        written += count.unwrap();
    }
    assert_eq!(written, bound);
    // It goes on where it stopped.
    let say = async { near.write_all(&sent[written..]).await.unwrap() };
    let mut heard = vec![0; sent.len()];
    let ((), read) = tokio::join!(say, far.read_exact(&mut heard));
    read.unwrap();
    assert!(heard == sent);
}

#[tokio::test(start_paused = true)]
async fn the_end_arrives_after_the_data() {
    for dropped in [true, false] {
        let (mut near, mut far) = streams(slow(10 * MS)).await;
        let started = Instant::now();
        let sent = noise(1, 31_250);
        near.write_all(&sent).await.unwrap();
        // Five milliseconds of the line are still in the buffer.
        let kept = if dropped {
            drop(near);
            None
        } else {
            near.shutdown().await.unwrap();
            Some(near)
        };
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.unwrap();
        assert_eq!(started.elapsed(), 15 * MS);
        assert!(heard == sent);
        if let Some(mut near) = kept {
            assert_eq!(near.write(&[1]).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            far.write_all(b"the other direction").await.unwrap();
            assert_eq!(near.read_u8().await.unwrap(), b't');
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_learns_of_the_end_a_latency_later() {
    for dropped in [true, false] {
        let (mut near, mut far) = streams(slow(10 * MS)).await;
        let started = Instant::now();
        let leave = async {
            let stays = timeout(50 * MS, std::future::pending::<()>()).await;
            assert!(stays.is_err());
            if dropped {
                drop(near);
                return None;
            }
            near.shutdown().await.unwrap();
            Some(near)
        };
        let mut byte = [0];
        let (_kept, end) = tokio::join!(leave, far.read(&mut byte));
        assert_eq!((end.unwrap(), started.elapsed()), (0, 60 * MS));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_breaks_the_writer_a_latency_later() {
    let config = LinkConfig::new(10 * MS, Some(1000), 100).unwrap();
    let (mut near, far) = streams(config).await;
    drop(far);
    let started = Instant::now();
    near.write_all(&[0; 100]).await.unwrap();
    let broken = near.write_all(&[0; 100_000]).await.unwrap_err();
    assert_eq!((broken.kind(), started.elapsed()), (ErrorKind::BrokenPipe, 10 * MS));

    // One that waits for a reader's room learns of it as well.
    let (mut near, far) = streams(config).await;
    let started = Instant::now();
    let leave = async {
        let stays = timeout(20 * 60_000 * MS, std::future::pending::<()>()).await;
        assert!(stays.is_err());
        drop(far);
    };
    let fill = async { near.write_all(&[0; 1_000_000]).await.unwrap_err() };
    let (broken, ()) = tokio::join!(fill, leave);
    assert_eq!((broken.kind(), started.elapsed()), (ErrorKind::BrokenPipe, 20 * 60_000 * MS + 10 * MS));
}

#[tokio::test(start_paused = true)]
async fn a_link_is_of_the_connections_made_after_it() {
    let network = MemoryNetwork::new();
    let listener = network.listen(key(2).id());
    let mut trips = Vec::new();
    for link in [None, Some(slow(10 * MS)), None] {
        network.set_link(link);
        let mut near = network.connect(key(1).id(), key(2).id()).unwrap();
        let incoming = listener.accept().await.unwrap();
        assert_eq!(incoming.remote(), peerage::address::Endpoint::Memory(key(1).id()));
        // What is set later does not change it.
        network.set_link(slow(99 * MS));
        let started = Instant::now();
        near.write_all(&[1]).await.unwrap();
        incoming.into_stream().read_u8().await.unwrap();
        trips.push(started.elapsed());
    }
    assert_eq!(trips, [Duration::ZERO, 11 * MS, Duration::ZERO]);
}

peerage::protocol! {
    /// What two nodes say over a link.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Mail: "mail" / 1, max 2 * 1024 * 1024 {
        0 = Letter { text: Bytes },
    }
}

/// Runs `test` on two nodes that are up, with the first's channel, the second's and the second's id.
async fn two_nodes(config: LinkConfig, test: impl AsyncFnOnce(Channel<Mail>, Channel<Mail>, NodeId)) {
    let network = MemoryNetwork::with_link(config);
    let (a, b) = (key(1).id(), key(2).id());
    let node = |id| {
        let mut builder = Router::builder(id);
        builder.transport(network.listen(id)).seed(1);
        let (channel, updates) = (builder.channel::<Mail>().unwrap(), builder.updates());
        (builder, channel, updates)
    };
    let (mut first, at_a, mut updates_of_a) = node(a);
    let (second, at_b, mut updates_of_b) = node(b);
    first.peer(NodeAddress::memory(b));
    let (first, second) = (first.build().unwrap(), second.build().unwrap());
    let handles = [first.handle(), second.handle()];
    let test = async {
        updates_of_a.next().await.unwrap();
        updates_of_b.next().await.unwrap();
        test(at_a, at_b, b).await;
        handles.iter().for_each(RouterHandle::shutdown);
    };
    let ((), first, second) = within(Box::pin(async { tokio::join!(test, first.run(), second.run()) })).await;
    assert!(first.clean && second.clean);
}

fn letter(bytes: usize) -> Mail {
    Mail::Letter { text: noise(1, bytes) }
}

#[tokio::test(start_paused = true)]
async fn a_message_between_two_nodes_takes_the_latency() {
    let config = LinkConfig::new(35 * MS, None, BUFFER_BYTES).unwrap();
    two_nodes(config, async |mut at_a: Channel<Mail>, mut at_b: Channel<Mail>, b| {
        for bytes in [0, 1000, 1_000_000] {
            let started = Instant::now();
            at_a.try_send(b, letter(bytes)).ok().unwrap();
            let heard = at_b.recv().await.unwrap();
            assert_eq!((heard.message, started.elapsed()), (letter(bytes), 35 * MS));
            at_b.try_send(heard.from, letter(1)).ok().unwrap();
            at_a.recv().await.unwrap();
            assert_eq!(started.elapsed(), 70 * MS);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_large_message_between_two_nodes_takes_the_latency_and_its_own_time() {
    two_nodes(slow(35 * MS), async |at_a: Channel<Mail>, mut at_b: Channel<Mail>, b| {
        let started = Instant::now();
        at_a.try_send(b, letter(1_250_000)).ok().unwrap();
        at_b.recv().await.unwrap();
        let elapsed = started.elapsed();
        assert!((235 * MS..=237 * MS).contains(&elapsed), "{elapsed:?}");
    })
    .await;
}
