//! Listening, dialling, and what the two ends call each other.

use peerage::event::{Blame, Layer, Side};
use peerage::transport::{AcceptError, Connection, Target, Transport};

use super::{Kit, Pair, assert_stream_ended, conformance, failure, key, plain_handshake, send_all, target};
use super::{assert_reads, cancelled_after, frame};
use tokio::io::AsyncReadExt;

conformance!(
    accept_returns_closed_for_ever_after_close,
    an_accept_in_progress_ends_at_close,
    an_accept_that_is_cancelled_takes_nobody,
    those_who_wait_at_a_closed_transport_see_the_stream_end,
    dialling_where_nobody_listens_fails,
    dialling_an_endpoint_of_another_kind_fails,
    both_ends_agree_on_their_endpoints,
    a_connection_outlives_the_close_of_both_transports,
);

async fn accept_returns_closed_for_ever_after_close<K: Kit>(kit: K) {
    let transport = kit.listen(&key(1)).await;
    transport.close();
    for _ in 0..3 {
        assert!(matches!(transport.accept().await, Err(AcceptError::Closed)));
    }
    transport.close();
    assert!(matches!(transport.accept().await, Err(AcceptError::Closed)));
}

async fn an_accept_in_progress_ends_at_close<K: Kit>(kit: K) {
    let transport = kit.listen(&key(1)).await;
    let closing = async {
        tokio::task::yield_now().await;
        transport.close();
    };
    let (accepted, second, ()) = tokio::join!(transport.accept(), transport.accept(), closing);
    assert!(matches!(accepted, Err(AcceptError::Closed)));
    assert!(matches!(second, Err(AcceptError::Closed)));
}

async fn an_accept_that_is_cancelled_takes_nobody<K: Kit>(kit: K) {
    let (a, b) = (kit.listen(&key(1)).await, kit.listen(&key(2)).await);
    for polls in 0..4 {
        // Once before the peer is there, and once again when it may be.
        assert!(cancelled_after(polls.min(1), b.accept()).await.is_none());
        let handshakes = async {
            let incoming = loop {
                match cancelled_after(polls, b.accept()).await {
                    Some(incoming) => break incoming.unwrap(),
                    None if polls == 0 => break b.accept().await.unwrap(),
                    None => tokio::task::yield_now().await,
                }
            };
            peerage::transport::Incoming::handshake(incoming, plain_handshake()).await
        };
        let (dialled, accepted) =
            tokio::join!(a.dial(target(key(2).id(), &b), plain_handshake()), handshakes);
        assert!(dialled.is_ok() && accepted.is_ok(), "{polls} polls");
    }
}

async fn those_who_wait_at_a_closed_transport_see_the_stream_end<K: Kit>(kit: K) {
    let transport = kit.listen(&key(1)).await;
    let mut waiting = kit.connect(key(2).id(), &super::endpoint_of(&transport)).await;
    transport.close();
    assert!(matches!(transport.accept().await, Err(AcceptError::Closed)));
    // An end or a reset: the system chooses.
    assert!(matches!(waiting.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}

async fn dialling_where_nobody_listens_fails<K: Kit>(kit: K) {
    let transport = kit.listen(&key(1)).await;
    let closed = {
        let vacant = Target { id: key(2).id(), endpoint: kit.vacant(key(2).id()).await };
        failure(transport.dial(vacant, plain_handshake()).await)
    };
    assert_eq!(
        (closed.layer, closed.label, closed.by, closed.blame),
        (Layer::Tcp, "connection_refused", Side::Remote, Blame::System)
    );

    let former = kit.listen(&key(3)).await;
    let target = target(key(3).id(), &former);
    former.close();
    let closed = failure(transport.dial(target, plain_handshake()).await);
    assert_eq!((closed.layer, closed.label), (Layer::Tcp, "connection_refused"));
}

async fn dialling_an_endpoint_of_another_kind_fails<K: Kit>(kit: K) {
    let transport = kit.listen(&key(1)).await;
    let protocol = peerage::id::Protocol::from_static("other");
    let endpoint = peerage::address::Endpoint::Other { protocol, rest: "somewhere".into() };
    let closed = failure(transport.dial(Target { id: key(2).id(), endpoint }, plain_handshake()).await);
    assert_eq!(
        (closed.layer, closed.label, closed.by, closed.blame),
        (Layer::Node, "wrong_endpoint", Side::Local, Blame::Ourselves)
    );
}

async fn both_ends_agree_on_their_endpoints<K: Kit>(kit: K) {
    let (a, b) = (kit.listen(&key(1)).await, kit.listen(&key(2)).await);
    let accepting = async {
        let incoming = b.accept().await.unwrap();
        let remote = peerage::transport::Incoming::remote(&incoming);
        (remote, peerage::transport::Incoming::handshake(incoming, plain_handshake()).await.unwrap())
    };
    let (dialled, (early, accepted)) =
        tokio::join!(a.dial(target(key(2).id(), &b), plain_handshake()), accepting);
    let dialled = dialled.unwrap();
    assert_eq!(dialled.info().local, accepted.info().remote);
    assert_eq!(dialled.info().remote, accepted.info().local);
    assert_eq!(early, accepted.info().remote, "what is told before the handshake holds after it");
    assert_eq!(vec![dialled.info().remote.clone()], b.local_endpoints());
    if let Some(known) = K::known_endpoint(key(1).id()) {
        assert_eq!(dialled.info().local, known);
    }
}

async fn a_connection_outlives_the_close_of_both_transports<K: Kit>(kit: K) {
    let Pair { kit, a, b, dialled, accepted } = Pair::new(kit).await;
    a.close();
    b.close();
    drop((a, b, kit));
    let ((mut read_a, mut write_a), (mut read_b, mut write_b)) = (dialled.split(), accepted.split());
    let packets = [frame(0, "still"), frame(1, "here")];
    for _ in 0..2 {
        send_all(&mut write_a, &packets).await.unwrap();
        send_all(&mut write_b, &packets).await.unwrap();
        assert_reads(&mut read_a, &packets).await;
        assert_reads(&mut read_b, &packets).await;
    }
    drop((read_a, write_a));
    assert_stream_ended(&failure(peerage::transport::PacketReader::read(&mut read_b).await));
}
