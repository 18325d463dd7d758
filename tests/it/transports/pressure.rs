//! A reader that stops holds the writer back.

use std::time::Duration;

use peerage::transport::{Connection, PacketWriter};
use tokio::time::timeout;

use super::{Kit, Pair, ReaderOf, WriterOf, assert_reads, conformance, frame, noise};

conformance!(
    a_reader_that_stops_holds_the_writer_back_and_loses_nothing,
    a_writer_that_is_held_back_does_not_hold_back_the_other_direction,
);

/// A system's buffers on loopback, at their largest, and the transports' own.
const MOST_IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;
const PACKET_BYTES: usize = 256 * 1024;
/// A flush that makes no progress for so long is held back.
const STALL: Duration = Duration::from_millis(300);

/// Writes until a flush stalls: how many packets were handed over, the one in progress included.
async fn fill<K: Kit>(writer: &mut WriterOf<K>) -> usize {
    for sent in 0..MOST_IN_FLIGHT_BYTES / PACKET_BYTES {
        writer.write(&frame(0, noise(sent as u64, PACKET_BYTES))).unwrap();
        match timeout(STALL, writer.flush()).await {
            Ok(flushed) => flushed.unwrap(),
            Err(_) => return sent + 1,
        }
    }
    panic!("{MOST_IN_FLIGHT_BYTES} bytes were flushed, and nobody read one");
}

async fn drain<K: Kit>(writer: &mut WriterOf<K>, reader: &mut ReaderOf<K>, sent: usize) {
    let hear = async {
        for i in 0..sent {
            assert_reads(reader, &[frame(0, noise(i as u64, PACKET_BYTES))]).await;
        }
    };
    let (flushed, ()) = tokio::join!(writer.flush(), hear);
    flushed.unwrap();
    assert_eq!(writer.buffered_bytes(), 0);
}

async fn a_reader_that_stops_holds_the_writer_back_and_loses_nothing<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((_read_a, mut write_a), (mut read_b, _write_b)) = (pair.dialled.split(), pair.accepted.split());
    for _ in 0..2 {
        let sent = fill::<K>(&mut write_a).await;
        let waiting = write_a.buffered_bytes();
        assert!(
            waiting > 0 && waiting < 2 * PACKET_BYTES,
            "what is held back is what was not flushed: {waiting}"
        );
        drain::<K>(&mut write_a, &mut read_b, sent).await;
    }
}

async fn a_writer_that_is_held_back_does_not_hold_back_the_other_direction<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((mut read_a, mut write_a), (mut read_b, mut write_b)) =
        (pair.dialled.split(), pair.accepted.split());
    let sent = fill::<K>(&mut write_a).await;
    let packets = [frame(1, "against"), frame(2, "the stream")];
    super::send_all(&mut write_b, &packets).await.unwrap();
    assert_reads(&mut read_a, &packets).await;
    drain::<K>(&mut write_a, &mut read_b, sent).await;
}
