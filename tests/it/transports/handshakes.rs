//! What a handshake agrees on, and with whom it does not.

use std::time::Duration;

use peerage::event::{Blame, Closed, DisconnectReason, Layer, Side};
use peerage::id::ChannelId;
use peerage::message::{ChannelSpec, Version};
use peerage::rlpx::{Capability, INFO_CHANNEL};
use peerage::transport::{AgreedChannel, Connection, Incoming, Offer, Target, Transport};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{
    Kit, Relay, TRIAL, TRIAL_SPEC, assert_meet, assert_stream_ended, conformance, endpoint_of, failure, key,
    meet, offer, offering, plain_handshake, target, told,
};

conformance!(
    a_handshake_tells_both_ends_who_is_there_and_what_is_shared,
    the_highest_common_version_is_agreed,
    without_a_common_channel_a_probe_connects,
    nothing_in_common_is_refused_by_whoever_needs_it,
    another_network_is_refused_by_both_ends,
    another_identity_than_expected_is_refused,
    ones_own_identity_is_refused,
    a_silent_dialler_is_dropped_at_the_deadline,
    a_silent_listener_is_dropped_at_the_deadline,
    a_slow_handshake_delays_no_other,
);

const WIDE: ChannelSpec = ChannelSpec {
    id: ChannelId::from_static("wide"),
    versions: &[
        Version { number: 1, codes: 2 },
        Version { number: 2, codes: 3 },
        Version { number: 4, codes: 9 },
    ],
    max_bytes: 100,
};
const WIDE_OLD: ChannelSpec = ChannelSpec {
    versions: &[
        Version { number: 1, codes: 2 },
        Version { number: 2, codes: 3 },
        Version { number: 3, codes: 1 },
    ],
    ..WIDE
};
const ONLY_A: ChannelSpec = ChannelSpec { id: ChannelId::from_static("aaa"), ..TRIAL_SPEC };

/// What both ends report when A with one offer dials B with another.
async fn outcomes<K: Kit>(
    kit: &K,
    a: Offer,
    b: Offer,
) -> [Result<<K::Transport as Transport>::Connection, Closed>; 2] {
    let (dialler, listener) = (kit.listen(&key(1)).await, kit.listen(&key(2)).await);
    let to = target(key(2).id(), &listener);
    let (dialled, accepted) = Box::pin(meet((&dialler, offering(a)), (&listener, offering(b)), to)).await;
    [dialled, accepted]
}

async fn a_handshake_tells_both_ends_who_is_there_and_what_is_shared<K: Kit>(kit: K) {
    let a = Offer {
        client: "alpha/1".into(),
        services: vec!["x".into(), "y".into()],
        ..offer(&[ONLY_A, TRIAL_SPEC])
    };
    let b = Offer { client: "beta/2".into(), services: Vec::new(), ..offer(&[TRIAL_SPEC]) };
    let [dialled, accepted] = outcomes(&kit, a, b).await.map(|outcome| outcome.unwrap().info().clone());
    assert_eq!((dialled.peer, accepted.peer), (key(2).id(), key(1).id()));
    assert_eq!((dialled.client.as_str(), accepted.client.as_str()), ("beta/2", "alpha/1"));
    let shared = vec![AgreedChannel { id: TRIAL, version: 1 }];
    assert_eq!((&dialled.channels, &accepted.channels), (&shared, &shared));
    assert_eq!((dialled.network.as_deref(), accepted.network.as_deref()), (Some("trials"), Some("trials")));
    assert_eq!(dialled.services, Vec::<String>::new());
    assert_eq!(accepted.services, ["x", "y"]);
    let capability = |spec: ChannelSpec| Capability { name: spec.id, version: 1 };
    let (peer, trial) = (capability(INFO_CHANNEL), capability(TRIAL_SPEC));
    assert_eq!(dialled.capabilities, [peer, trial]);
    assert_eq!(accepted.capabilities, [capability(ONLY_A), peer, trial]);
}

async fn the_highest_common_version_is_agreed<K: Kit>(kit: K) {
    let ends = outcomes(&kit, offer(&[WIDE, TRIAL_SPEC]), offer(&[TRIAL_SPEC, WIDE_OLD])).await;
    for end in ends {
        let agreed = [AgreedChannel { id: TRIAL, version: 1 }, AgreedChannel { id: WIDE.id, version: 2 }];
        assert_eq!(end.unwrap().info().channels, agreed);
    }
}

async fn without_a_common_channel_a_probe_connects<K: Kit>(kit: K) {
    let probe = |channels: &[ChannelSpec]| Offer { needs_common_channel: false, ..offer(channels) };
    let ends = outcomes(&kit, probe(&[ONLY_A]), probe(&[TRIAL_SPEC])).await;
    for end in ends {
        assert_eq!(end.unwrap().info().channels, []);
    }
}

async fn nothing_in_common_is_refused_by_whoever_needs_it<K: Kit>(kit: K) {
    let local = |closed: Closed| {
        told(&closed)
            == (
                Layer::Capability,
                "no_common_channel",
                Side::Local,
                Blame::Incompatible,
                DisconnectReason::Useless,
            )
    };
    let needs = |needs_common_channel, spec| Offer { needs_common_channel, ..offer(&[spec]) };
    let [dialled, accepted] = outcomes(&kit, needs(true, ONLY_A), needs(true, TRIAL_SPEC)).await;
    assert!(local(failure(dialled)) && local(failure(accepted)));

    // The one that refuses tells the other, which would have stayed.
    let [dialled, accepted] = outcomes(&kit, needs(false, ONLY_A), needs(true, TRIAL_SPEC)).await;
    assert!(local(failure(accepted)));
    assert_eq!(failure(dialled), Closed::remote(DisconnectReason::Useless));
    let [dialled, accepted] = outcomes(&kit, needs(true, ONLY_A), needs(false, TRIAL_SPEC)).await;
    assert!(local(failure(dialled)));
    assert_eq!(failure(accepted), Closed::remote(DisconnectReason::Useless));
}

async fn another_network_is_refused_by_both_ends<K: Kit>(kit: K) {
    let other = Offer { network: "elsewhere".into(), ..offer(&[TRIAL_SPEC]) };
    for end in outcomes(&kit, offer(&[TRIAL_SPEC]), other).await {
        let closed = failure(end);
        assert_eq!(
            told(&closed),
            (Layer::Capability, "other_network", Side::Local, Blame::Incompatible, DisconnectReason::Useless)
        );
        assert!(closed.detail.contains("trials") && closed.detail.contains("elsewhere"), "{closed}");
    }
}

async fn another_identity_than_expected_is_refused<K: Kit>(kit: K) {
    let (a, b) = (kit.listen(&key(1)).await, kit.listen(&key(2)).await);
    let to = target(key(3).id(), &b);
    let (dialled, accepted) = Box::pin(meet((&a, plain_handshake()), (&b, plain_handshake()), to)).await;
    // What each end can know differs: over RLPx only the listener can tell that the packet was for another.
    let (dialled, accepted) = (failure(dialled), failure(accepted));
    assert!(dialled.layer <= Layer::Ecies && accepted.layer <= Layer::Ecies, "{dialled}; {accepted}");
    assert_meet::<K>(&a, &b).await;
}

async fn ones_own_identity_is_refused<K: Kit>(kit: K) {
    let node = kit.listen(&key(1)).await;
    let closed = {
        let dial = node.dial(target(key(1).id(), &node), plain_handshake());
        let serve = async {
            // Where the dialler does not even connect, nobody comes.
            if let Ok(incoming) = node.accept().await {
                assert!(incoming.handshake(plain_handshake()).await.is_err());
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            dialled = dial => failure(dialled),
            () = serve => unreachable!(),
        }
    };
    assert_eq!(
        (closed.label, closed.by, closed.blame),
        ("self_connection", Side::Local, Blame::Incompatible)
    );
    assert_eq!(closed.reason, DisconnectReason::SelfConnection);

    // Nor may anybody come in by it.
    let (mut liar, accepted) = {
        let endpoint = endpoint_of(&node);
        let (own, id) = (key(1), key(1).id());
        tokio::join!(kit.speak(&own, id, &endpoint), super::accept(&node, plain_handshake()))
    };
    assert_eq!(
        told(&failure(accepted)),
        (Layer::Hello, "self_connection", Side::Local, Blame::Incompatible, DisconnectReason::SelfConnection)
    );
    assert_eq!(liar.farewell().await, Some(DisconnectReason::SelfConnection));
}

const DEADLINE: Duration = Duration::from_millis(50);

async fn a_silent_dialler_is_dropped_at_the_deadline<K: Kit>(kit: K) {
    let (a, b) = (kit.listen(&key(1)).await, kit.listen(&key(2)).await);
    let mut silent = kit.connect(key(3).id(), &endpoint_of(&b)).await;
    let handshake = b.accept().await.unwrap().handshake(plain_handshake());
    assert!(timeout(DEADLINE, Box::pin(handshake)).await.is_err());
    // The stream ends, whatever was said on it before.
    let mut said = Vec::new();
    let _ = silent.read_to_end(&mut said).await;
    assert_meet::<K>(&a, &b).await;
}

async fn a_silent_listener_is_dropped_at_the_deadline<K: Kit>(kit: K) {
    let listener = kit.listen(&key(2)).await;
    let (dialler, relay) = kit.relay(&key(1), (key(2).id(), &endpoint_of(&listener))).await;
    let to = Target { id: key(2).id(), endpoint: relay.endpoint() };
    let dial = timeout(DEADLINE, Box::pin(dialler.dial(to, plain_handshake())));
    let (dialled, (mut silent, _)) = tokio::join!(dial, relay.link());
    assert!(dialled.is_err());
    let mut said = Vec::new();
    let _ = silent.read_to_end(&mut said).await;
    assert!(!said.is_empty(), "the dialler speaks first");
}

async fn a_slow_handshake_delays_no_other<K: Kit>(kit: K) {
    let (a, b) = (kit.listen(&key(1)).await, kit.listen(&key(2)).await);
    let silent =
        [kit.connect(key(3).id(), &endpoint_of(&b)).await, kit.connect(key(4).id(), &endpoint_of(&b)).await];
    let (first, second) = (b.accept().await.unwrap(), b.accept().await.unwrap());
    let stuck =
        async { tokio::join!(first.handshake(plain_handshake()), second.handshake(plain_handshake())) };
    let mut stuck = Box::pin(stuck);
    tokio::select! {
        biased;
        _ = &mut stuck => panic!("nobody spoke"),
        () = assert_meet::<K>(&a, &b) => {}
    }
    drop(silent);
    let (first, second) = stuck.await;
    assert_stream_ended(&failure(first));
    assert_stream_ended(&failure(second));
}
