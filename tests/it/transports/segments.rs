//! A stream has no messages: they come split, joined, and cut off.

use peerage::event::Closed;
use peerage::message::Packet;
use peerage::transport::{Connection, PacketWriter, Target, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};

use super::{
    ConnectionOf, Kit, Relay, accept, assert_reads, assert_stream_ended, conformance, endpoint_of, failure,
    frame, key, noise, plain_handshake,
};

conformance!(
    a_session_in_segments_of_any_size_works,
    many_messages_in_one_segment_are_all_read,
    a_stream_cut_at_any_byte_from_the_dialler_ends_the_handshake,
    a_stream_cut_at_any_byte_from_the_listener_ends_the_handshake,
    a_message_that_is_cut_off_ends_the_connection,
);

/// Copies in pieces of at most `chunk` bytes until the stream ends, or for `left` bytes.
async fn copy<S: AsyncRead + AsyncWrite>(
    from: &mut ReadHalf<S>,
    to: &mut WriteHalf<S>,
    chunk: usize,
    mut left: usize,
) {
    let mut piece = vec![0; chunk];
    while left > 0 {
        let most = chunk.min(left);
        let Ok(read @ 1..) = from.read(&mut piece[..most]).await else { return };
        left -= read;
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// What each direction lets through: the size of its pieces, and how much in all.
#[derive(Clone, Copy)]
struct Flow {
    chunk: usize,
    bytes: usize,
}

const FREE: Flow = Flow { chunk: 64 * 1024, bytes: usize::MAX };

/// Stands between until one direction is at its end, and then drops both streams.
async fn stand_between<S: AsyncRead + AsyncWrite>((near, far): (S, S), there: Flow, back: Flow) {
    let ((mut near_read, mut near_write), (mut far_read, mut far_write)) = (split(near), split(far));
    let there = copy(&mut near_read, &mut far_write, there.chunk, there.bytes);
    let back = copy(&mut far_read, &mut near_write, back.chunk, back.bytes);
    // Whichever ends first ends both; neither has to be fair to the other.
    tokio::select! {
        biased;
        () = there => {}
        () = back => {}
    }
}

type Ends<K> = (Result<ConnectionOf<K>, Closed>, Result<ConnectionOf<K>, Closed>);

/// A dialler, a listener, and a relay that lets through what it is told to.
struct Between<K: Kit> {
    dialler: K::Transport,
    listener: K::Transport,
    relay: K::Relay,
}

impl<K: Kit> Between<K> {
    async fn new(kit: &K) -> Self {
        let listener = kit.listen(&key(2)).await;
        let (dialler, relay) = kit.relay(&key(1), (key(2).id(), &endpoint_of(&listener))).await;
        Self { dialler, listener, relay }
    }

    /// Runs `then` on both ends of a handshake, while the relay stands between them.
    async fn meet<T>(&self, there: Flow, back: Flow, then: impl AsyncFnOnce(Ends<K>) -> T) -> T {
        let to = Target { id: key(2).id(), endpoint: self.relay.endpoint() };
        let relay = async {
            stand_between(self.relay.link().await, there, back).await;
            std::future::pending::<()>().await;
        };
        let ends = async {
            let dial = self.dialler.dial(to, plain_handshake());
            then(tokio::join!(dial, accept(&self.listener, plain_handshake()))).await
        };
        Box::pin(async {
            tokio::select! {
                biased;
                outcome = ends => outcome,
                () = relay => unreachable!(),
            }
        })
        .await
    }
}

async fn a_session_in_segments_of_any_size_works<K: Kit>(kit: K) {
    let between = Between::new(&kit).await;
    for (chunk, scale) in [(1, 1), (2, 1), (7, 10), (31, 10), (32, 10), (33, 10), (1000, 200), (60_000, 1000)]
    {
        let flow = Flow { chunk, ..FREE };
        let packets = [frame(0, ""), frame(1, noise(1, scale)), frame(2, noise(2, 37 * scale)), Packet::Ping];
        between
            .meet(flow, flow, async |(dialled, accepted): Ends<K>| {
                let (mut read_a, mut write_a) = dialled.unwrap().split();
                let (mut read_b, mut write_b) = accepted.unwrap().split();
                let (a, b, (), ()) = tokio::join!(
                    super::send_all(&mut write_a, &packets),
                    super::send_all(&mut write_b, &packets),
                    assert_reads(&mut read_b, &packets),
                    assert_reads(&mut read_a, &packets),
                );
                a.unwrap();
                b.unwrap();
            })
            .await;
    }
}

async fn many_messages_in_one_segment_are_all_read<K: Kit>(kit: K) {
    let between = Between::new(&kit).await;
    let packets: Vec<Packet> = (0..500).map(|i| frame(0, noise(i, (i % 50) as usize))).collect();
    between
        .meet(FREE, FREE, async |(dialled, accepted): Ends<K>| {
            let (_read_a, mut write_a) = dialled.unwrap().split();
            let (mut read_b, _write_b) = accepted.unwrap().split();
            for packet in &packets {
                write_a.write(packet).unwrap();
            }
            // They fit one piece of the relay, and leave in one write.
            assert!(write_a.buffered_bytes() < FREE.chunk);
            write_a.flush().await.unwrap();
            assert_reads(&mut read_b, &packets).await;
        })
        .await;
}

/// Cuts after each number of bytes until the end that hears them has heard enough, and gives that number.
async fn cut_everywhere<K: Kit>(
    kit: &K,
    flows: impl Fn(Flow) -> (Flow, Flow),
    hearer: impl Fn(Ends<K>) -> Result<ConnectionOf<K>, Closed>,
) -> usize {
    let between = Between::new(kit).await;
    for bytes in 0..4096 {
        let (there, back) = flows(Flow { bytes, ..FREE });
        let hearer = between.meet(there, back, async |ends: Ends<K>| hearer(ends)).await;
        match hearer {
            Ok(_) => return bytes,
            Err(closed) => assert_stream_ended(&closed),
        }
    }
    panic!("no handshake needs so many bytes");
}

/// No handshake is shorter: Hello with its identity of 64 bytes, and Info.
const SHORTEST_HANDSHAKE_BYTES: usize = 100;

async fn a_stream_cut_at_any_byte_from_the_dialler_ends_the_handshake<K: Kit>(kit: K) {
    let enough = cut_everywhere(&kit, |cut| (cut, FREE), |(_, accepted)| accepted).await;
    assert!(enough > SHORTEST_HANDSHAKE_BYTES, "{enough}");
}

async fn a_stream_cut_at_any_byte_from_the_listener_ends_the_handshake<K: Kit>(kit: K) {
    let enough = cut_everywhere(&kit, |cut| (FREE, cut), |(dialled, _)| dialled).await;
    assert!(enough > SHORTEST_HANDSHAKE_BYTES, "{enough}");
}

async fn a_message_that_is_cut_off_ends_the_connection<K: Kit>(kit: K) {
    let between = Between::new(&kit).await;
    // Beyond every handshake, and within the message.
    let cut = Flow { bytes: 10_000, ..FREE };
    let closed = between
        .meet(cut, FREE, async |(dialled, accepted): Ends<K>| {
            let (_read_a, mut write_a) = dialled.unwrap().split();
            let (mut read_b, _write_b) = accepted.unwrap().split();
            write_a.write(&frame(0, noise(1, 20_000))).unwrap();
            let _ = write_a.flush().await;
            failure(peerage::transport::PacketReader::read(&mut read_b).await)
        })
        .await;
    assert_stream_ended(&closed);
    assert_ne!(closed.label, "closed", "it is known to be incomplete");
}
