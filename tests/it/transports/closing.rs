//! How a connection ends, and what the other end learns of it.

use peerage::event::{Closed, DisconnectReason};
use peerage::message::Packet;
use peerage::transport::{Connection, PacketReader, PacketWriter};

use super::{Kit, Pair, assert_reads, assert_stream_ended, conformance, failure, frame, noise, send_all};

conformance!(
    dropping_one_end_ends_the_other,
    every_reason_is_read_by_the_other_end,
    what_was_written_before_the_goodbye_is_read_before_it,
    finishing_without_a_reason_closes_the_stream,
    one_may_still_read_after_finishing,
    dropping_the_writer_ends_the_others_reading_and_not_ones_own,
    dropping_the_reader_does_not_stop_the_writer,
    writing_to_a_peer_that_is_gone_fails_in_the_end,
);

async fn dropping_one_end_ends_the_other<K: Kit>(kit: K) {
    for dialler_stays in [true, false] {
        let kit = K::new();
        let pair = Pair::new(kit).await;
        pair.assert_can_meet_again().await;
        let (stays, goes) =
            if dialler_stays { (pair.dialled, pair.accepted) } else { (pair.accepted, pair.dialled) };
        let (mut reader, _writer) = stays.split();
        drop(goes);
        assert_stream_ended(&failure(reader.read().await));
        assert_stream_ended(&failure(reader.read().await));
    }
    drop(kit);
}

async fn every_reason_is_read_by_the_other_end<K: Kit>(_kit: K) {
    for reason in [
        DisconnectReason::Requested,
        DisconnectReason::TooManyPeers,
        DisconnectReason::Quitting,
        DisconnectReason::Subprotocol,
        DisconnectReason::Other(0x42),
    ] {
        let pair = Pair::new(K::new()).await;
        let ((_read_a, mut write_a), (mut read_b, _write_b)) = (pair.dialled.split(), pair.accepted.split());
        write_a.finish(Some(reason)).await.unwrap();
        assert_eq!(failure(read_b.read().await), Closed::remote(reason));
    }
}

async fn what_was_written_before_the_goodbye_is_read_before_it<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((_read_a, mut write_a), (mut read_b, _write_b)) = (pair.dialled.split(), pair.accepted.split());
    let packets: Vec<Packet> = (0..20).map(|i| frame(0, noise(i, 30_000))).collect();
    let say = async {
        for packet in &packets {
            write_a.write(packet).unwrap();
        }
        write_a.finish(Some(DisconnectReason::Quitting)).await.unwrap();
        drop(write_a);
    };
    let hear = async {
        assert_reads(&mut read_b, &packets).await;
        failure(read_b.read().await)
    };
    let ((), end) = tokio::join!(say, hear);
    assert_eq!(end, Closed::remote(DisconnectReason::Quitting));
}

async fn finishing_without_a_reason_closes_the_stream<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((_read_a, mut write_a), (mut read_b, _write_b)) = (pair.dialled.split(), pair.accepted.split());
    write_a.write(&frame(0, "last")).unwrap();
    write_a.finish(None).await.unwrap();
    assert_reads(&mut read_b, &[frame(0, "last")]).await;
    let closed = failure(read_b.read().await);
    assert_stream_ended(&closed);
    assert_eq!(closed.label, "closed");
}

async fn one_may_still_read_after_finishing<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((mut read_a, mut write_a), (mut read_b, mut write_b)) =
        (pair.dialled.split(), pair.accepted.split());
    write_a.finish(Some(DisconnectReason::Requested)).await.unwrap();
    assert!(read_b.read().await.is_err());
    send_all(&mut write_b, &[frame(1, "one more")]).await.unwrap();
    assert_reads(&mut read_a, &[frame(1, "one more")]).await;
}

async fn dropping_the_writer_ends_the_others_reading_and_not_ones_own<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    pair.assert_can_meet_again().await;
    let ((mut read_a, write_a), (mut read_b, mut write_b)) = (pair.dialled.split(), pair.accepted.split());
    drop(write_a);
    assert_stream_ended(&failure(read_b.read().await));
    send_all(&mut write_b, &[frame(1, "one more")]).await.unwrap();
    assert_reads(&mut read_a, &[frame(1, "one more")]).await;
    drop((read_b, write_b));
    assert_stream_ended(&failure(read_a.read().await));
}

async fn dropping_the_reader_does_not_stop_the_writer<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    pair.assert_can_meet_again().await;
    let ((read_a, mut write_a), (mut read_b, mut write_b)) = (pair.dialled.split(), pair.accepted.split());
    drop(read_a);
    send_all(&mut write_a, &[frame(0, "one way")]).await.unwrap();
    assert_reads(&mut read_b, &[frame(0, "one way")]).await;
    drop(write_a);
    // With both halves gone the connection is.
    assert_stream_ended(&failure(read_b.read().await));
    assert_stream_ended(&write_until_it_fails(&mut write_b).await);
}

async fn writing_to_a_peer_that_is_gone_fails_in_the_end<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let (_reader, mut writer) = pair.dialled.split();
    drop(pair.accepted);
    let closed = write_until_it_fails(&mut writer).await;
    assert_stream_ended(&closed);
    assert!(writer.flush().await.is_err());
}

/// A system may take some bytes before it learns that nobody is there.
async fn write_until_it_fails(writer: &mut impl PacketWriter) -> Closed {
    let packets = [frame(0, noise(1, 50_000))];
    loop {
        if let Err(closed) = send_all(writer, &packets).await {
            return closed;
        }
        tokio::task::yield_now().await;
    }
}
