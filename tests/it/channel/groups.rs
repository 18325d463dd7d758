//! Groups of peers, and what is known of a peer when it is up.

use std::collections::BTreeSet;

use peerage::NodeId;
use peerage::channel::{Channel, Outcome, Recipients};
use peerage::id::Direction;
use peerage::message::{Capability, ChannelSpec, Message, Packet, Version};
use peerage::peer::PeerUpdate;
use peerage::rlpx::Hello;
use peerage::transport::{Offer, PacketReader};

use crate::router::kit::{Bare, Net, Node, Note, Other, Wire, id, key, offer, over_both};
use crate::transports::wire;

over_both!(
    a_group_is_who_fulfils_every_condition,
    a_sample_follows_from_the_seed_and_the_channel,
    a_peer_that_cannot_announce_services_is_in_no_group_by_service,
    an_up_says_all_and_sending_works_when_it_is_seen,
);

peerage::protocol! {
    /// A protocol that the node itself does not have.
    pub enum Snap: "snap" / 1, max 1024 {
        0 = Say { number: u64 },
    }
}

const SAY: Note = Note::Say { number: 1 };

fn queued(outcome: &Outcome) -> Vec<NodeId> {
    assert!(outcome.refused().is_empty(), "{outcome}");
    outcome.iter().map(|(peer, _)| peer).collect()
}

fn sorted(seeds: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
    let ids: BTreeSet<NodeId> = seeds.into_iter().map(id).collect();
    ids.into_iter().collect()
}

async fn a_group_is_who_fulfils_every_condition<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let note = ChannelSpec::of::<Note>();
    let kinds = [
        (2, vec!["archive"], vec![note]),
        (3, vec!["archive", "relay"], vec![note, ChannelSpec::of::<Snap>()]),
        (4, vec![], vec![note, ChannelSpec::of::<Snap>()]),
    ];
    let mut peers: Vec<Bare<W>> = Vec::new();
    for (seed, services, channels) in kinds {
        let services = services.into_iter().map(str::to_owned).collect();
        let offer = Offer { services, channels, ..offer() };
        peers.push(net.bare_with(seed, &node.address(), offer).await.unwrap());
    }
    node.up_count(3).await;
    let snap: Capability = "snap/1".parse().unwrap();
    let later: Capability = "snap/2".parse().unwrap();
    let all = Recipients::all;
    let groups: [(Recipients, &[u64]); 9] = [
        (all(), &[2, 3, 4]),
        (all().but(id(3)), &[2, 4]),
        (all().but(id(3)).but(id(9)).but(id(4)), &[2]),
        (all().with_service("archive"), &[2, 3]),
        (all().with_service("archive").with_service("relay"), &[3]),
        (all().with_capability(snap), &[3, 4]),
        (all().with_capability(snap).with_service("archive"), &[3]),
        (all().with_capability(later), &[]),
        (all().sample(0), &[]),
    ];
    for (group, expected) in groups {
        let outcome = node.channel.try_send(group.clone(), SAY);
        assert_eq!(queued(&outcome), sorted(expected.iter().copied()), "{group:?}");
        assert_eq!(outcome.ok(), Ok(expected.len()), "nobody is no failure");
    }
    // Of those who are named, whoever cannot be reached is told of, unless left out.
    let named = Recipients::from(vec![id(4), id(3), id(8), id(9)]).but(id(9)).with_capability(snap);
    let outcome = node.channel.try_send(named.with_service("relay"), SAY);
    assert_eq!(outcome.iter().map(|(peer, _)| peer).collect::<Vec<_>>(), [id(3), id(8)]);
    assert_eq!((outcome.queued(), outcome.refused().len()), (1, 1));
    assert_eq!(node.channel.try_send(Recipients::from(id(2)).with_service("relay"), SAY), Outcome::default());
}

/// What two channels of a node with eight peers draw, eight times each.
async fn draws<W: Wire>(net: &Net<W>, node_seed: u64, lots_seed: u64) -> [Vec<Vec<NodeId>>; 2] {
    let mut builder = net.builder(node_seed).await;
    builder.seed(lots_seed);
    let channels: (Channel<Note>, Channel<Other>) = (builder.channel().unwrap(), builder.channel().unwrap());
    let mut node: Node<_> = net.start(builder, channels);
    let both = Offer { channels: vec![ChannelSpec::of::<Note>(), ChannelSpec::of::<Other>()], ..offer() };
    let mut peers: Vec<Bare<W>> = Vec::new();
    for seed in 2..10 {
        peers.push(net.bare_with(seed, &node.address(), both.clone()).await.unwrap());
    }
    node.up_count(8).await;
    let three = || Recipients::all().sample(3);
    let notes = (0..8).map(|_| queued(&node.channel.0.try_send(three(), SAY)));
    let notes: Vec<_> = notes.collect();
    let others = (0..8).map(|_| queued(&node.channel.1.try_send(three(), Other::Say { number: 1 })));
    let others: Vec<_> = others.collect();
    assert!(notes.iter().chain(&others).all(|drawn| drawn.len() == 3 && drawn.is_sorted()));
    let ever: BTreeSet<NodeId> = notes.iter().chain(&others).flatten().copied().collect();
    assert_eq!(ever.len(), 8, "everybody has a chance");
    [notes, others]
}

async fn a_sample_follows_from_the_seed_and_the_channel<W: Wire>(net: Net<W>) {
    let [notes, others] = draws(&net, 20, 7).await;
    assert_ne!(notes, others, "each channel draws its own lots");
    assert_eq!(draws(&net, 21, 7).await, [notes.clone(), others]);
    assert_ne!(draws(&net, 22, 8).await[0], notes);
}

async fn a_peer_that_cannot_announce_services_is_in_no_group_by_service<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let raw = net.wire.raw(id(2), &node.endpoint()).await;
    let mut peer = match W::ENCRYPTED {
        true => wire::Wire::initiate(raw, &key(2), node.id).await,
        false => wire::Wire::plain(raw),
    };
    let honest = wire::hello(id(2));
    let note = peerage::rlpx::Capability { name: Note::CHANNEL, version: 1 };
    peer.greet(&Hello { capabilities: vec![note], ..honest }).await;
    let PeerUpdate::Up { services, capabilities, .. } = node.update().await else { panic!("not up") };
    assert!(services.is_empty());
    assert_eq!(*capabilities, [note]);
    assert_eq!(queued(&node.channel.try_send(Recipients::all(), SAY)), [id(2)]);
    assert_eq!(node.channel.try_send(Recipients::all().with_service(""), SAY), Outcome::default());
    // Its ids begin with the only channel that it has.
    assert_eq!(peer.receive().await, Some((wire::INFO, bytes::Bytes::from_static(b"\xc1\x01"))));
}

async fn an_up_says_all_and_sending_works_when_it_is_seen<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let note = ChannelSpec::of::<Note>();
    let newer: &[Version] = &[Version { number: 1, codes: 3 }, Version { number: 2, codes: 3 }];
    let channels = vec![ChannelSpec { versions: newer, ..note }, ChannelSpec::of::<Snap>()];
    let services = vec!["archive".to_owned()];
    let offer = Offer { services: services.clone(), channels, ..offer() };
    let mut peer = net.bare_with(2, &node.address(), offer).await.unwrap();
    let update = node.update().await;
    // No turn of anybody's lies between.
    assert_eq!(node.channel.try_send(id(2), SAY).ok(), Ok(1));
    assert_eq!(node.channel.sender().peers(), [id(2)]);
    assert_eq!(update.version_of(Note::CHANNEL), Some(1), "the highest that both have");
    let PeerUpdate::Up { peer: up, conn, direction, channels, services: told, capabilities, .. } = update
    else {
        panic!("{update:?}")
    };
    assert_eq!((up, direction, conn), (id(2), Direction::Inbound, node.handle.peers()[0].conn));
    assert_eq!(channels.iter().map(|agreed| agreed.id).collect::<Vec<_>>(), [Note::CHANNEL]);
    assert_eq!(*told, services);
    let names: Vec<String> = capabilities.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["note/1", "note/2", "peer/1", "snap/1"]);
    assert!(matches!(peer.reader.read().await, Ok(Packet::Frame(frame)) if frame.channel == Note::CHANNEL));
}
