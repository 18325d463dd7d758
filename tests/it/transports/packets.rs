//! What is sent arrives: whole, once, in order.

use peerage::event::{Blame, Layer, Side};
use peerage::id::ChannelId;
use peerage::message::{ChannelSpec, Frame, MAX_PAYLOAD_BYTES, Packet, Version};
use peerage::transport::{Connection, PacketReader, PacketWriter};

use super::{Kit, MAX_BYTES, Pair, TRIAL, assert_reads, conformance, failure, frame, noise, send_all};

conformance!(
    packets_of_every_size_arrive_in_order_both_ways,
    the_largest_payload_of_all_arrives,
    a_payload_above_the_maximum_is_refused_and_harms_nothing,
    a_channel_or_code_that_is_not_shared_is_refused_and_harms_nothing,
    nothing_is_sent_before_a_flush,
    ping_and_pong_pass,
);

async fn packets_of_every_size_arrive_in_order_both_ways<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((mut read_a, mut write_a), (mut read_b, mut write_b)) =
        (pair.dialled.split(), pair.accepted.split());
    let sizes = [0, 1, 2, 15, 16, 17, 255, 16 * 1024 - 1, 16 * 1024, 70_000, MAX_BYTES - 1, MAX_BYTES, 0, 1];
    let packets = |seed: u64| -> Vec<Packet> {
        let packet = |(code, &size): (u8, &usize)| frame(code % 4, noise(seed + u64::from(code), size));
        let mut packets: Vec<Packet> = (0..).zip(&sizes).map(packet).collect();
        packets.push(frame(2, vec![0; MAX_BYTES]));
        packets
    };
    let (there, back) = (packets(1), packets(100));
    let (sent_a, sent_b, (), ()) = Box::pin(async {
        tokio::join!(
            send_all(&mut write_a, &there),
            send_all(&mut write_b, &back),
            assert_reads(&mut read_b, &there),
            assert_reads(&mut read_a, &back),
        )
    })
    .await;
    sent_a.unwrap();
    sent_b.unwrap();
    assert_eq!((write_a.buffered_bytes(), write_b.buffered_bytes()), (0, 0));
}

const VAST: ChannelSpec = ChannelSpec {
    id: ChannelId::from_static("vast"),
    versions: &[Version { number: 1, codes: 1 }],
    max_bytes: MAX_PAYLOAD_BYTES,
};

async fn the_largest_payload_of_all_arrives<K: Kit>(kit: K) {
    let pair = Pair::offering(kit, &[VAST]).await;
    let ((mut read_a, mut write_a), (mut read_b, mut write_b)) =
        (pair.dialled.split(), pair.accepted.split());
    let vast = |payload: Vec<u8>| Packet::Frame(Frame { channel: VAST.id, code: 0, payload: payload.into() });
    // Random bytes of this size would not fit a frame once snappy has made them longer: RLPx has no room for them.
    let mut payload = vec![0; MAX_PAYLOAD_BYTES];
    payload[..1_000_000].copy_from_slice(&noise(5, 1_000_000));
    let packets = [vast(payload)];
    for (writer, reader) in [(&mut write_a, &mut read_b), (&mut write_b, &mut read_a)] {
        let (sent, ()) = tokio::join!(send_all(writer, &packets), assert_reads(reader, &packets));
        sent.unwrap();
        let closed = failure(writer.write(&vast(vec![0; MAX_PAYLOAD_BYTES + 1])));
        assert!(closed.detail.contains(&MAX_PAYLOAD_BYTES.to_string()), "{closed}");
    }
}

async fn a_payload_above_the_maximum_is_refused_and_harms_nothing<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((_read_a, mut write_a), (mut read_b, _write_b)) = (pair.dialled.split(), pair.accepted.split());
    write_a.write(&frame(0, "before")).unwrap();
    let buffered = write_a.buffered_bytes();
    for size in [MAX_BYTES + 1, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES + 1] {
        let closed = failure(write_a.write(&frame(0, vec![0; size])));
        assert_eq!(
            (closed.layer, closed.label, closed.by, closed.blame),
            (Layer::Channel, "message_too_large", Side::Local, Blame::Ourselves)
        );
        assert!(closed.detail.contains(&MAX_BYTES.to_string()), "it names the limit: {closed}");
    }
    assert_eq!(write_a.buffered_bytes(), buffered);
    write_a.write(&frame(0, "after")).unwrap();
    write_a.flush().await.unwrap();
    assert_reads(&mut read_b, &[frame(0, "before"), frame(0, "after")]).await;
}

async fn a_channel_or_code_that_is_not_shared_is_refused_and_harms_nothing<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((_read_a, mut write_a), (mut read_b, _write_b)) = (pair.dialled.split(), pair.accepted.split());
    let elsewhere = Frame { channel: VAST.id, code: 0, payload: "x".into() };
    let beyond = Frame { channel: TRIAL, code: 4, payload: "x".into() };
    for (unshared, label) in [(elsewhere, "channel_not_shared"), (beyond, "code_not_shared")] {
        let closed = failure(write_a.write(&Packet::Frame(unshared)));
        assert_eq!(
            (closed.layer, closed.label, closed.by, closed.blame),
            (Layer::Channel, label, Side::Local, Blame::Ourselves)
        );
    }
    assert_eq!(write_a.buffered_bytes(), 0);
    send_all(&mut write_a, &[frame(3, "after")]).await.unwrap();
    assert_reads(&mut read_b, &[frame(3, "after")]).await;
}

async fn nothing_is_sent_before_a_flush<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((_read_a, mut write_a), (mut read_b, _write_b)) = (pair.dialled.split(), pair.accepted.split());
    write_a.write(&frame(0, "one")).unwrap();
    write_a.write(&frame(1, "two")).unwrap();
    assert!(write_a.buffered_bytes() > 6);
    for _ in 0..10 {
        assert!(super::cancelled_after(1, read_b.read()).await.is_none());
        tokio::task::yield_now().await;
    }
    write_a.flush().await.unwrap();
    assert_eq!(write_a.buffered_bytes(), 0);
    assert_reads(&mut read_b, &[frame(0, "one"), frame(1, "two")]).await;
}

async fn ping_and_pong_pass<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((mut read_a, mut write_a), (mut read_b, mut write_b)) =
        (pair.dialled.split(), pair.accepted.split());
    let packets = [Packet::Ping, frame(0, "between"), Packet::Pong, Packet::Ping];
    send_all(&mut write_a, &packets).await.unwrap();
    send_all(&mut write_b, &packets).await.unwrap();
    assert_reads(&mut read_b, &packets).await;
    assert_reads(&mut read_a, &packets).await;
}
