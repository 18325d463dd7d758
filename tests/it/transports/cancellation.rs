//! Every future may be dropped at every await.

use peerage::message::Packet;
use peerage::transport::{Connection, Incoming, PacketReader, PacketWriter, Transport};

use tokio::sync::oneshot;

use super::{
    Kit, Pair, accept, assert_meet, assert_reads, assert_stream_ended, cancelled_after, conformance, failure,
    frame, key, noise, plain_handshake, target,
};

conformance!(
    a_dial_cancelled_at_any_await_leaves_nothing_behind,
    a_handshake_cancelled_at_any_await_leaves_nothing_behind,
    cancelled_reads_lose_no_packet,
    cancelled_flushes_lose_no_byte,
    a_cancelled_goodbye_can_be_said_again,
);

/// How many flushes are cancelled while nobody reads.
const CANCELLED_FLUSHES: usize = 6;

/// More awaits than any handshake has.
const MOST_POLLS: usize = 100;

async fn a_dial_cancelled_at_any_await_leaves_nothing_behind<K: Kit>(kit: K) {
    let (a, b) = (kit.listen(&key(1)).await, kit.listen(&key(2)).await);
    for polls in 0..MOST_POLLS {
        let dial = cancelled_after(polls, a.dial(target(key(2).id(), &b), plain_handshake()));
        let serve = async {
            // Each peer that comes in at all comes in whole, or is seen to have gone.
            loop {
                if let Ok(connection) = accept(&b, plain_handshake()).await {
                    let (mut reader, _writer) = connection.split();
                    assert_stream_ended(&failure(reader.read().await));
                }
            }
        };
        let dialled = tokio::select! {
            biased;
            dialled = dial => dialled,
            () = serve => unreachable!(),
        };
        assert_meet::<K>(&a, &b).await;
        if let Some(connection) = dialled {
            connection.unwrap();
            assert!(polls > 1, "a dial waits for the other end");
            return;
        }
    }
    panic!("the dial never came to its end");
}

async fn a_handshake_cancelled_at_any_await_leaves_nothing_behind<K: Kit>(kit: K) {
    let (a, b) = (kit.listen(&key(1)).await, kit.listen(&key(2)).await);
    for polls in 0..MOST_POLLS {
        let serve = async {
            let incoming = b.accept().await.unwrap();
            cancelled_after(polls, incoming.handshake(plain_handshake())).await.is_some()
        };
        let dial = async {
            match a.dial(target(key(2).id(), &b), plain_handshake()).await {
                Err(closed) => assert_stream_ended(&closed),
                Ok(connection) => assert_stream_ended(&failure(connection.split().0.read().await)),
            }
        };
        let (done, ()) = Box::pin(async { tokio::join!(serve, dial) }).await;
        assert_meet::<K>(&a, &b).await;
        if done {
            assert!(polls > 1, "a handshake waits for the other end");
            return;
        }
    }
    panic!("the handshake never came to its end");
}

fn many() -> Vec<Packet> {
    let sizes = [0, 1, 100, 5_000, 70_000, 200_000, 3, 0, 1_000_000, 17];
    (0..).zip(sizes).map(|(i, size)| frame(0, noise(i, size))).collect()
}

async fn cancelled_reads_lose_no_packet<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((_read_a, mut write_a), (mut read_b, _write_b)) = (pair.dialled.split(), pair.accepted.split());
    for round in 0..16 {
        // One read is cancelled for certain, since nothing was sent; others as the packets' pieces come.
        let early = cancelled_after(1, read_b.read()).await;
        assert!(early.is_none(), "round {round}: a packet came before it was sent");
        let packets = many();
        for packet in &packets {
            write_a.write(packet).unwrap();
        }
        let hear = async {
            for (i, packet) in packets.iter().enumerate() {
                loop {
                    match cancelled_after(1, read_b.read()).await {
                        Some(read) => break assert!(&read.unwrap() == packet, "round {round}, packet {i}"),
                        None => K::pass().await,
                    }
                }
            }
        };
        let ((), sent) = Box::pin(async { tokio::join!(hear, write_a.flush()) }).await;
        sent.unwrap();
    }
}

async fn cancelled_flushes_lose_no_byte<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((_read_a, mut write_a), (mut read_b, _write_b)) = (pair.dialled.split(), pair.accepted.split());
    // More than a system's buffers hold, so that a flush has to wait.
    let packets: Vec<Packet> = (0..16).flat_map(|_| many()).collect();
    let (full, is_full) = oneshot::channel();
    let say = async {
        let (mut cancelled, mut full) = (0, Some(full));
        for packet in &packets {
            write_a.write(packet).unwrap();
        }
        loop {
            match cancelled_after(1, write_a.flush()).await {
                Some(flushed) => break flushed.unwrap(),
                None => cancelled += 1,
            }
            // Until then nobody reads: however large a system lets its buffers grow, these flushes had to wait.
            if cancelled == CANCELLED_FLUSHES {
                full.take().map(|full| full.send(()));
            }
            K::pass().await;
        }
    };
    let hear = async {
        is_full.await.expect("a flush of more than the buffers hold has to wait");
        assert_reads(&mut read_b, &packets).await;
    };
    Box::pin(async { tokio::join!(say, hear) }).await;
    assert_eq!(write_a.buffered_bytes(), 0);
}

async fn a_cancelled_goodbye_can_be_said_again<K: Kit>(kit: K) {
    let pair = Pair::new(kit).await;
    let ((_read_a, mut write_a), (mut read_b, _write_b)) = (pair.dialled.split(), pair.accepted.split());
    let reason = peerage::event::DisconnectReason::Quitting;
    let packets: Vec<Packet> = (0..16).flat_map(|_| many()).collect();
    for packet in &packets {
        write_a.write(packet).unwrap();
    }
    for _ in 0..3 {
        assert!(cancelled_after(1, write_a.finish(Some(reason))).await.is_none(), "the buffers are full");
    }
    let hear = async {
        assert_reads(&mut read_b, &packets).await;
        failure(read_b.read().await)
    };
    let (said, heard) = Box::pin(async { tokio::join!(write_a.finish(Some(reason)), hear) }).await;
    said.unwrap();
    assert_eq!(heard, peerage::event::Closed::remote(reason));
}
