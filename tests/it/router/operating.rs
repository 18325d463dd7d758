//! What an operator changes of a running node and asks it, and what reactors say of peers.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use peerage::address::IpPrefix;
use peerage::event::{Because, Event, EventKind, GoodAct, Layer, Misbehaviour, Rule};
use peerage::id::ConnId;
use peerage::peer::{
    AddError, BanError, BanReason, BanTarget, Banned, Change, ConfigError, Limit, Loaded, PeerSet, Record,
    RecordKey, Status, Store, StoreError,
};
use peerage::reactor::{drive, ping};
use peerage::router::{BuildError, MemoryStore, NotAdded, NotBanned, NotChanged, Stopped};
use peerage::transport::{PacketReader, Transport};
use peerage::{NodeAddress, NodeId};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::dialing::{listener, welcome};
use super::kit::{Bare, Log, Memory, Net, Node, Note, Tcp, Wire, id, offer, over_both, pair, paused, real};

over_both!(
    a_banned_peer_goes_down_and_stays_out_in_both_directions_until_the_ban_is_lifted,
    a_ban_that_makes_no_sense_is_refused_and_changes_nothing,
    a_peer_that_misbehaves_is_banned_and_its_ban_is_told,
    a_lowered_limit_evicts_all_but_the_protected_peer,
    a_change_that_does_not_hold_together_is_refused_by_name,
    a_dial_that_finds_no_room_any_more_says_that_the_outgoing_slots_are_in_use,
    an_unconditional_peer_gets_into_a_full_node,
    reasons_are_those_of_the_decisions,
    praise_and_latency_make_a_better_peer_and_late_words_do_not,
    a_trusted_peer_survives_its_misbehaviour,
    bans_are_kept_by_the_store_of_a_node_that_is_built_again,
    a_node_that_has_ended_answers_no_command,
    a_ban_declared_before_the_start_comes_before_the_first_dial,
);

/// What a reason says, but for when it was said.
fn said(because: &Because) -> (Rule, Option<Instant>) {
    (because.rule, because.until)
}

/// The reason of a decision that a node told about a peer.
async fn told(log: &Log, peer: Option<NodeId>, of: impl Fn(&EventKind) -> Option<Because>) -> Because {
    let about = |event: &&Event| peer.is_none() || event.peer == peer;
    log.wait(|events| events.iter().filter(about).find_map(|event| of(&event.kind))).await
}

fn dialing(kind: &EventKind) -> Option<Because> {
    if let EventKind::Dialing { because, .. } = kind { Some(*because) } else { None }
}

fn refused(kind: &EventKind) -> Option<Because> {
    if let EventKind::Refused { because } = kind { Some(*because) } else { None }
}

fn evicting(kind: &EventKind) -> Option<Because> {
    if let EventKind::Evicting { because, .. } = kind { Some(*because) } else { None }
}

fn banned(kind: &EventKind) -> Option<Because> {
    if let EventKind::Banned { because, .. } = kind { Some(*because) } else { None }
}

/// Waits until the manager has taken what reactors reported: each command lets one report pass.
async fn reports_pass<C>(node: &Node<C>, count: usize) {
    for _ in 0..count {
        assert_eq!(node.handle.disconnect(id(50)).await, Ok(false));
    }
}

async fn grade<C>(node: &Node<C>, peer: NodeId) -> i8 {
    node.handle.peer_status(peer).await.unwrap().unwrap().grade
}

fn member(set: PeerSet, seed: u64, member: bool) -> Change {
    Change::Member { set, peer: id(seed), member }
}

/// How a peer that the node turns away after its handshake is told.
async fn turned_away<W: Wire>(net: &Net<W>, seed: u64, address: &NodeAddress) -> Option<Bare<W>> {
    let mut peer = net.bare(seed, address).await.ok()?;
    peer.reader.read().await.unwrap_err();
    Some(peer)
}

async fn a_banned_peer_goes_down_and_stays_out_in_both_directions_until_the_ban_is_lifted<W: Wire>(
    net: Net<W>,
) {
    let (mut a, mut b) = pair(&net).await;
    assert_eq!(a.handle.add(b.address()).await, Ok(true), "so that both can dial");
    let target = BanTarget::Peer(b.id);
    let done = a.handle.ban(target, None, "rude").await;
    assert_eq!(done, Ok(Banned { evicts: 1, renewed: false }));
    let closed = a.down(b.id).await;
    assert_eq!((closed.layer, closed.label), (Layer::PeerManager, "banned"));
    b.down(a.id).await;
    // The other one dials again and again.
    let turns = |events: &[Event]| {
        (events.iter().filter_map(|event| refused(&event.kind)).count() >= 3).then_some(())
    };
    a.log.wait(turns).await;
    assert_eq!(told(&a.log, Some(b.id), refused).await.rule, Rule::Banned);
    assert_eq!(a.handle.why(b.id).await.unwrap().rule, Rule::Banned);
    assert_eq!(a.handle.add(b.address()).await, Err(NotAdded::Address(AddError::Banned)));
    assert_eq!(a.handle.ban(target, None, "still").await, Ok(Banned { evicts: 0, renewed: true }));
    assert_eq!((a.log.count(|kind| dialing(kind).is_some()), a.handle.peers()), (0, vec![]));

    assert_eq!(a.handle.unban(target).await, Ok(true));
    assert_eq!(a.handle.unban(target).await, Ok(false));
    a.up(b.id).await;
    let over = EventKind::Unbanned { target: b.id.short().to_string() };
    assert_eq!(a.log.count(|kind| *kind == over), 1);
    assert_eq!(a.handle.bans().await, Ok(vec![]));
}

#[test]
fn a_peer_comes_back_by_itself_when_its_ban_ends() {
    paused(async {
        let net = Net::new(Memory::default());
        let (mut a, b) = pair(&net).await;
        let (began, length) = (tokio::time::Instant::now(), Duration::from_secs(30));
        a.handle.ban(BanTarget::Peer(b.id), Some(length), "for a while").await.unwrap();
        a.down(b.id).await;
        assert_eq!(a.handle.why(b.id).await.unwrap().remaining(), Some(length));
        a.up(b.id).await;
        let took = began.elapsed();
        assert!(took >= length && took < length + Duration::from_secs(1), "{took:?}");
        assert_eq!(a.log.count(|kind| matches!(kind, EventKind::Unbanned { .. })), 1);
    });
}

#[test]
fn a_banned_range_is_refused_before_any_handshake() {
    real(async {
        let net = Net::new(Tcp);
        let mut node = net.node(1).await;
        let range: IpPrefix = "127.0.0.0/8".parse().unwrap();
        node.handle.ban(BanTarget::Prefix(range), None, "a bad neighbourhood").await.unwrap();
        let mut stream = net.wire.raw(id(2), &node.endpoint()).await;
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
        assert_eq!(told(&node.log, None, refused).await.rule, Rule::BannedPrefix);
        node.log.failed().await;
        let begun = |kind: &EventKind| matches!(kind, EventKind::Stage { .. } | EventKind::Incoming { .. });
        assert_eq!(node.log.count(begun), 0, "nothing was read");
        assert_eq!(node.handle.unban(BanTarget::Prefix(range)).await, Ok(true));
        let _peer = net.bare(2, &node.address()).await.unwrap();
        node.up(id(2)).await;
    });
}

async fn a_ban_that_makes_no_sense_is_refused_and_changes_nothing<W: Wire>(net: Net<W>) {
    let node = net.node(1).await;
    let own = node.handle.ban(BanTarget::Peer(node.id), None, "").await;
    assert_eq!(own, Err(NotBanned::Ban(BanError::OwnId)));
    let brief = node.handle.ban(BanTarget::Peer(id(2)), Some(Duration::ZERO), "").await;
    assert_eq!(brief, Err(NotBanned::Ban(BanError::NoLength)));
    let wordy = node.handle.ban(BanTarget::Peer(id(2)), None, "x".repeat(201)).await;
    assert_eq!(wordy, Err(NotBanned::Ban(BanError::TextTooLong { found_bytes: 201 })));
    assert_eq!(node.handle.bans().await, Ok(vec![]));
    let mut builder = net.builder(3).await;
    builder.ban(BanTarget::Peer(id(3)), None, "");
    let refused = builder.build().map(drop).unwrap_err();
    assert_eq!(refused, BuildError::Ban { target: BanTarget::Peer(id(3)), error: BanError::OwnId });
}

async fn a_peer_that_misbehaves_is_banned_and_its_ban_is_told<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    builder.configure(|config| config.peers.behaviour.ban_for = Some(Duration::from_secs(3600)));
    let channel = builder.channel::<Note>().unwrap();
    let mut node = net.start(builder, channel);
    let _peer = net.bare(2, &node.address()).await.unwrap();
    let conn = node.up(id(2)).await;
    node.channel.sender().report(id(2), conn, Misbehaviour::Breach, "rude").unwrap();
    node.down(id(2)).await;
    let because = told(&node.log, Some(id(2)), banned).await;
    assert_eq!(said(&because), said(&node.handle.why(id(2)).await.unwrap()));
    assert!(because.remaining().is_some_and(|left| left <= Duration::from_secs(3600)));
    let ban = EventKind::Banned {
        target: id(2).short().to_string(),
        why: "misbehaved: breach".into(),
        automatic: true,
        because,
    };
    assert_eq!(node.log.count(|kind| *kind == ban), 1);
    let evicted = told(&node.log, Some(id(2)), evicting).await;
    assert_eq!((evicted.rule, evicted.threshold), (Rule::Misbehaved, Some(100)));
}

async fn a_lowered_limit_evicts_all_but_the_protected_peer<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let mut peers = Vec::new();
    for seed in 2..5 {
        peers.push(net.bare(seed, &node.address()).await.unwrap());
    }
    node.up_count(3).await;
    assert_eq!(node.handle.reconfigure(member(PeerSet::Persistent, 3, true)).await, Ok(true));
    assert_eq!(node.handle.reconfigure(Change::MaxInbound(Limit::AtMost(1))).await, Ok(true));
    assert_eq!(node.handle.reconfigure(Change::MaxInbound(Limit::AtMost(1))).await, Ok(false));
    peers.remove(1);
    for seed in [2, 4] {
        let because = told(&node.log, Some(id(seed)), evicting).await;
        assert_eq!((because.rule, because.value, because.threshold), (Rule::LimitLowered, Some(3), Some(1)));
    }
    drop(peers);
    while node.up.len() > 1 {
        node.update().await;
    }
    assert_eq!(node.up.keys().collect::<Vec<_>>(), [&id(3)]);
}

async fn a_change_that_does_not_hold_together_is_refused_by_name<W: Wire>(net: Net<W>) {
    let node = net.node(1).await;
    let refused = node.handle.reconfigure(member(PeerSet::Trusted, 1, true)).await;
    assert_eq!(refused, Err(NotChanged::Config(ConfigError::NamesSelf { field: "trusted" })));
    assert_eq!(node.handle.reconfigure(member(PeerSet::Persistent, 2, true)).await, Ok(true));
    let refused = node.handle.reconfigure(Change::MaxOutbound(Limit::AtMost(0))).await;
    let error = ConfigError::TooManyPersistent { persistent: 1, max_outbound: 0 };
    assert_eq!(refused, Err(NotChanged::Config(error)));
    assert_eq!(
        node.handle.reconfigure(member(PeerSet::Persistent, 2, false)).await,
        Ok(true),
        "it is as it was"
    );
}

async fn a_dial_that_finds_no_room_any_more_says_that_the_outgoing_slots_are_in_use<W: Wire>(net: Net<W>) {
    let (listener, address) = listener(&net, 2).await;
    let node = net.node_to(1, &[address]).await;
    let incoming = listener.accept().await.unwrap();
    assert_eq!(node.handle.why(id(2)).await.unwrap().rule, Rule::Dialing);
    node.handle.reconfigure(Change::MaxOutbound(Limit::AtMost(0))).await.unwrap();
    let mut peer = welcome::<W>(incoming, offer()).await.unwrap();
    peer.reader.read().await.unwrap_err();
    let because = told(&node.log, Some(id(2)), refused).await;
    assert_eq!((because.rule, because.threshold), (Rule::OutboundFull, Some(0)));
}

#[test]
fn a_peer_that_is_made_persistent_is_dialled_until_it_is_there() {
    paused(async {
        let net = Net::new(Memory::default());
        let mut builder = net.builder(1).await;
        builder.configure(|config| config.peers.forget_after = Limit::AtMost(1));
        let channel = builder.channel::<Note>().unwrap();
        let mut node = net.start(builder, channel);
        // Another one is forgotten, since it is not the network that fails: somebody is there.
        let _guest = net.bare(2, &node.address()).await.unwrap();
        node.up(id(2)).await;
        assert_eq!(node.handle.add(NodeAddress::memory(id(8))).await, Ok(true));
        node.log.failed().await;
        assert_eq!(node.handle.reconfigure(member(PeerSet::Persistent, 9, true)).await, Ok(true));
        assert_eq!(node.handle.add(NodeAddress::memory(id(9))).await, Ok(true));
        let failures = |events: &[Event]| {
            let failed =
                |event: &&Event| event.peer == Some(id(9)) && matches!(event.kind, EventKind::Failed { .. });
            (events.iter().filter(failed).count() >= 3).then_some(())
        };
        node.log.wait(failures).await;
        let _late = net.node(9).await;
        node.up(id(9)).await;
        assert_eq!(node.handle.peer_status(id(8)).await, Ok(None));
        assert_eq!(node.handle.why(id(8)).await.unwrap().rule, Rule::Unknown);
    });
}

async fn an_unconditional_peer_gets_into_a_full_node<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    node.handle.reconfigure(Change::MaxInbound(Limit::AtMost(1))).await.unwrap();
    let _first = net.bare(2, &node.address()).await.unwrap();
    node.up(id(2)).await;
    drop(turned_away(&net, 3, &node.address()).await);
    let because = told(&node.log, Some(id(3)), refused).await;
    assert_eq!((because.rule, because.value, because.threshold), (Rule::InboundFull, Some(1), Some(1)));
    node.log.failed().await;

    node.handle.reconfigure(member(PeerSet::Unconditional, 3, true)).await.unwrap();
    let _second = net.bare(3, &node.address()).await.unwrap();
    node.up(id(3)).await;
    let counts = node.handle.peer_counts().await.unwrap();
    assert_eq!((counts.connected, counts.inbound, counts.unconditional), (2, 1, 1));
}

async fn reasons_are_those_of_the_decisions<W: Wire>(net: Net<W>) {
    let (mut a, mut b) = pair(&net).await;
    let dialled = told(&b.log, Some(a.id), dialing).await;
    assert_eq!((dialled.rule, dialled.value, dialled.threshold), (Rule::FreeSlot, Some(0), None));
    assert_eq!(b.handle.why(a.id).await.unwrap().rule, Rule::Connected);
    assert_eq!(b.handle.why(id(9)).await.unwrap().rule, Rule::Unknown);
    assert_eq!(b.handle.why(b.id).await.unwrap().rule, Rule::SelfId);
    assert_eq!(b.handle.why_not_dialling().await.unwrap().rule, Rule::NobodyKnown);
    let known = b.handle.peer_status(a.id).await.unwrap().unwrap();
    assert!(matches!(known.status, Status::Connected { bad_points: 0, up: true, .. }), "{known:?}");
    assert_eq!((known.addresses, known.because.rule), (vec![a.address()], Rule::Connected));

    let target = BanTarget::Peer(b.id);
    a.handle.ban(target, Some(Duration::from_secs(3600)), "one hour").await.unwrap();
    let ban = a.handle.why(b.id).await.unwrap();
    assert!(ban.rule == Rule::Banned && ban.until.is_some());
    a.down(b.id).await;
    b.down(a.id).await;
    assert_eq!(said(&told(&a.log, Some(b.id), evicting).await), said(&ban));
    assert_eq!(said(&told(&a.log, Some(b.id), banned).await), said(&ban));
    assert_eq!(said(&told(&a.log, Some(b.id), refused).await), said(&ban));
}

async fn praise_and_latency_make_a_better_peer_and_late_words_do_not<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let _peer = net.bare(2, &node.address()).await.unwrap();
    let conn = node.up(id(2)).await;
    let sender = node.channel.sender().clone();
    assert_eq!(grade(&node, id(2)).await, 0);
    let gone = ConnId::new(conn.as_u64() + 100);
    sender.praise(id(2), gone, GoodAct::Helpful, 100).unwrap();
    sender.measure(id(2), gone, Duration::ZERO).unwrap();
    sender.praise(id(3), conn, GoodAct::Helpful, 100).unwrap();
    reports_pass(&node, 3).await;
    assert_eq!(grade(&node, id(2)).await, 0, "late, late, and about somebody else");

    sender.praise(id(2), conn, GoodAct::Served, 10).unwrap();
    reports_pass(&node, 1).await;
    assert_eq!(grade(&node, id(2)).await, 1);
    sender.measure(id(2), conn, Duration::from_millis(100)).unwrap();
    reports_pass(&node, 1).await;
    assert_eq!(grade(&node, id(2)).await, 3);
    assert_eq!(node.handle.misbehaviour(), []);
}

#[test]
fn the_ping_reactor_tells_the_peer_manager_how_near_its_peers_are() {
    paused(async {
        let net = Net::new(Memory::default());
        let mut nodes = Vec::new();
        let (heard, mut measured) = mpsc::channel(64);
        for seed in [1, 2] {
            let mut builder = net.builder(seed).await;
            let heard = heard.clone();
            let pinger = ping::Pinger::new(Duration::from_secs(5), move |peer, what| {
                let _ = heard.try_send((peer, what));
            });
            let (channel, updates) = (builder.channel().unwrap(), builder.updates());
            builder.reactor("ping", drive(pinger, channel, updates, mpsc::channel(1).1));
            if seed == 2 {
                builder.peer(NodeAddress::memory(id(1)));
            }
            nodes.push(net.start(builder, ()));
        }
        nodes[0].up(id(2)).await;
        while !matches!(measured.recv().await, Some((peer, ping::Measured::RoundTrip(_))) if peer == id(2)) {}
        reports_pass(&nodes[0], 1).await;
        assert_eq!(grade(&nodes[0], id(2)).await, 2);
    });
}

async fn a_trusted_peer_survives_its_misbehaviour<W: Wire>(net: Net<W>) {
    let mut node = net.node(1).await;
    let _peer = net.bare(2, &node.address()).await.unwrap();
    let conn = node.up(id(2)).await;
    let breach =
        |node: &Node| node.channel.sender().report(id(2), conn, Misbehaviour::Breach, "rude").unwrap();
    node.handle.reconfigure(member(PeerSet::Trusted, 2, true)).await.unwrap();
    breach(&node);
    breach(&node);
    reports_pass(&node, 2).await;
    let known = node.handle.peer_status(id(2)).await.unwrap().unwrap();
    assert!(matches!(known.status, Status::Connected { bad_points: 50, evicting: None, .. }), "{known:?}");
    node.handle.reconfigure(member(PeerSet::Trusted, 2, false)).await.unwrap();
    breach(&node);
    assert_eq!(node.down(id(2)).await.label, "misbehaved");
}

async fn bans_are_kept_by_the_store_of_a_node_that_is_built_again<W: Wire>(net: Net<W>) {
    let store = MemoryStore::new();
    for round in 0..2 {
        let mut builder = net.builder(1).await;
        builder.store(store.clone());
        let channel = builder.channel::<Note>().unwrap();
        let node = net.start(builder, channel);
        if round == 0 {
            let hour = Duration::from_secs(3600);
            node.handle.ban(BanTarget::Peer(id(2)), Some(hour), "rude").await.unwrap();
        }
        drop(turned_away(&net, 2, &node.address()).await);
        let because = told(&node.log, Some(id(2)), refused).await;
        assert!(because.rule == Rule::Banned && because.until.is_some(), "{because}");
        let bans = node.handle.bans().await.unwrap();
        let kept: Vec<_> = bans.iter().map(|ban| (ban.target, ban.why.clone())).collect();
        assert_eq!(kept, [(BanTarget::Peer(id(2)), BanReason::Operator("rude".into()))]);
        assert!(!node.ever_up());
        let events = node.log.count(|kind| matches!(kind, EventKind::Banned { .. }));
        assert_eq!(events, 1 - round, "only a new ban is told");
        node.stop().await;
    }
}

async fn a_node_that_has_ended_answers_no_command<W: Wire>(net: Net<W>) {
    let node = net.node(1).await;
    let handle = node.handle.clone();
    node.stop().await;
    let target = BanTarget::Peer(id(2));
    assert_eq!(handle.ban(target, None, "").await, Err(NotBanned::Stopped(Stopped)));
    assert_eq!(handle.unban(target).await, Err(Stopped));
    assert_eq!(handle.bans().await, Err(Stopped));
    let change = Change::UpgradeSlots(0);
    assert_eq!(handle.reconfigure(change).await, Err(NotChanged::Stopped(Stopped)));
    assert_eq!(handle.why(id(2)).await, Err(Stopped));
    assert_eq!(handle.why_not_dialling().await, Err(Stopped));
    assert_eq!(handle.peer_status(id(2)).await, Err(Stopped));
    assert_eq!(handle.peer_counts().await, Err(Stopped));
    assert_eq!(handle.advertise(None, 1).await, Err(Stopped));
}

async fn a_ban_declared_before_the_start_comes_before_the_first_dial<W: Wire>(net: Net<W>) {
    let other = net.node(2).await;
    let store = MemoryStore::new();
    store.clone().persist(Record::Peer(peerage::peer::PeerRecord::new(
        other.address(),
        peerage::peer::Source::Operator,
    )));
    let mut builder = net.builder(1).await;
    builder.store(store).ban(BanTarget::Peer(other.id), None, "from the start");
    let channel = builder.channel::<Note>().unwrap();
    let node = net.start(builder, channel);
    assert_eq!(told(&node.log, Some(other.id), banned).await.rule, Rule::Banned);
    assert_eq!(node.handle.why(other.id).await.unwrap().rule, Rule::Banned);
    assert_eq!(node.log.count(|kind| dialing(kind).is_some()), 0);
}

/// A store that has seen better days: two records are lost, and its first write fails.
struct Worn {
    faulty: AtomicBool,
}

impl Store for Worn {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        loaded.skip(|| "row 7: no address".into());
        loaded.skip(|| "row 9: no identity".into());
        Ok(loaded)
    }

    fn persist(&mut self, _: Record) {
        self.faulty.store(true, SeqCst);
    }

    fn forget(&mut self, _: &RecordKey) {}

    fn take_fault(&mut self) -> Option<StoreError> {
        self.faulty.swap(false, SeqCst).then(|| StoreError::new("cannot write: the disk is full"))
    }

    fn close(self: Box<Self>, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn what_is_wrong_with_the_store_is_told() {
    paused(async {
        let net = Net::new(Memory::default());
        let mut builder = net.builder(1).await;
        builder.store(Worn { faulty: AtomicBool::new(false) });
        let channel = builder.channel::<Note>().unwrap();
        let node = net.start(builder, channel);
        let faults = vec!["row 7: no address".to_owned(), "row 9: no identity".to_owned()];
        let skipped = EventKind::StoreSkipped { count: 2, faults };
        assert_eq!(node.log.count(|kind| *kind == skipped), 1);
        let failed = |kind: &EventKind| matches!(kind, EventKind::StoreFailed { error, again: true } if error.contains("full"));
        assert_eq!(node.log.count(failed), 0);
        node.handle.ban(BanTarget::Peer(id(2)), None, "").await.unwrap();
        node.log.wait(|events| events.iter().any(|event| failed(&event.kind)).then_some(())).await;
        assert_eq!(node.log.count(failed), 1);
    });
}
