//! A node of the network: its channels, and reactors that read when they are let.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use peerage::channel::{PeerUpdates, Receiver, Share};
use peerage::event::{Blame, Event, EventKind, Side};
use peerage::id::{ConnId, NodeId};
use peerage::message::Responder;
use peerage::peer::{BackoffConfig, BanTarget, Limit, PeerUpdate};
use peerage::router::{BuildError, RouterConfig};
use peerage::sim::Setup;
use tokio::sync::Semaphore;

use super::lanes::{Bulk, Heard, Mouth, Numbered, Quiz, Told, Vote, filling};
use super::ledger::{Ledger, Life, Word};
use super::ops::{Lane, MAX_BYTES, Manner, World};

/// More than a run reads.
const ALL: usize = 1 << 20;

/// What is common to all reactors of a network.
#[derive(Debug, Default)]
pub(crate) struct Common {
    pub(crate) ledger: Ledger,
    /// The nodes by identity.
    pub(crate) numbers: BTreeMap<NodeId, usize>,
    /// Each node's latest life.
    pub(crate) nodes: BTreeMap<usize, Latest>,
}

/// The latest life of a node, which may be over.
#[derive(Debug)]
pub(crate) struct Latest {
    pub(crate) life: u32,
    pub(crate) mouth: Mouth,
    gates: [Arc<Semaphore>; Lane::ALL.len()],
    /// Questions that were read and are not settled, with their numbers.
    pub(crate) held: VecDeque<(u64, Responder<Told>)>,
    /// The peers that the node's updates say are up, and on which connection.
    pub(crate) up: BTreeMap<NodeId, ConnId>,
}

/// What the reactors and the test share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    common: Arc<Mutex<Common>>,
    /// What a node told that must not be. Apart, since it may be told while the other is locked.
    told: Arc<Mutex<Option<String>>>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Common> {
        self.common.lock().unwrap()
    }

    /// What does not hold.
    pub(crate) fn fault(&self) -> Option<String> {
        let told = self.told.lock().unwrap().clone();
        told.or_else(|| self.lock().ledger.fault().map(str::to_owned))
    }
}

impl Latest {
    /// Lets a reactor read so many messages more.
    pub(crate) fn read(&self, lane: Lane, messages: usize) {
        self.gates[lane as usize].add_permits(messages);
    }

    /// Lets all reactors read all that comes, or no more.
    pub(crate) fn set_eager(&self, eager: bool) {
        for gate in &self.gates {
            gate.forget_permits(ALL);
            gate.add_permits(if eager { ALL } else { 0 });
        }
    }

    /// Whether all that comes is read.
    pub(crate) fn is_eager(&self) -> bool {
        self.gates.iter().all(|gate| gate.available_permits() > ALL / 2)
    }
}

/// Declares a node in a life of it.
pub(crate) fn declare(world: &World, shared: &Shared, setup: &mut Setup<'_>) -> Result<(), BuildError> {
    let me = (setup.node().number(), setup.life());
    let config = |lane: Lane| world.shapes[lane as usize].config(lane);
    let builder = setup.builder();
    builder.configure(|config| settle(world, config));
    // A node that is told of somebody whom its store says is banned could not start.
    for id in shared.lock().numbers.keys() {
        builder.unban(BanTarget::Peer(*id));
    }
    let (vote, votes) = builder.channel_with::<Vote>(&config(Lane::Vote))?.split();
    let (bulk, loads) = builder.channel_with::<Bulk>(&config(Lane::Bulk))?.split();
    let (quiz, questions) = builder.channel_with::<Quiz>(&config(Lane::Quiz))?.split();
    let gates = Lane::ALL.map(|_| Arc::new(Semaphore::new(ALL)));
    let [voting, loading, asking] = gates.clone();
    builder.reactor("vote", read(votes, voting, shared.clone(), me));
    builder.reactor("bulk", read(loads, loading, shared.clone(), me));
    builder.reactor("quiz", read(questions, asking, shared.clone(), me));
    builder.reactor("peers", watch(builder.updates(), shared.clone(), me));
    let observing = shared.clone();
    builder.observer(move |event: &Event| observe(event, me, &observing));
    let names = std::array::from_fn(|_| quiz.cancel_id());
    let mouth = Mouth { names, vote, bulk, quiz };
    let latest = Latest { life: me.1, mouth, gates, held: VecDeque::new(), up: BTreeMap::new() };
    shared.lock().nodes.insert(me.0, latest);
    Ok(())
}

/// Short queues, and a policy that forgives soon.
fn settle(world: &World, config: &mut RouterConfig) {
    config.peer_queue = Share { messages: world.peer_queue, bytes: world.peer_queue * MAX_BYTES };
    [config.requests_in_flight, config.requests_waiting, config.requests_answering] = world.questions;
    config.drain_timeout = Duration::from_secs(1);
    let peers = &mut config.peers;
    if !world.tied {
        peers.max_outbound = Limit::AtMost(world.places);
        peers.max_inbound = Limit::AtMost(world.places);
    }
    peers.cooldown = Duration::from_secs(1);
    peers.forget_after = Limit::Unlimited;
    peers.backoff = BackoffConfig {
        min: Duration::from_secs(1),
        max: Duration::from_secs(8),
        max_persistent: Duration::from_secs(8),
        jitter: Duration::from_millis(500),
        busy: Duration::from_secs(2),
        incompatible: Duration::from_secs(8),
        survival: Duration::from_secs(4),
    };
}

/// Reads a channel as far as it is let.
async fn read<M: Numbered>(mut receiver: Receiver<M>, gate: Arc<Semaphore>, shared: Shared, me: Life) {
    loop {
        let Ok(permit) = gate.acquire().await else { return };
        permit.forget();
        let Some(envelope) = receiver.recv().await else { return };
        let mut common = shared.lock();
        let Some(from) = common.numbers.get(&envelope.from).copied() else {
            common.ledger.blame(|| format!("{me:?} hears {}, which is no node", envelope.from));
            continue;
        };
        match M::heard(envelope.message) {
            Heard::Said { number, filling: found } => {
                if found != filling(number, found.len()) {
                    common.ledger.blame(|| format!("{me:?} reads {number}, which is filled with {found:?}"));
                }
                // How often the sender was started is for the ledger to say.
                let heard = Word {
                    from: (from, 0),
                    conn: envelope.conn,
                    to: me.0,
                    lane: M::LANE,
                    bytes: found.len(),
                };
                common.ledger.heard(me, number, &heard);
            }
            Heard::Asked { number, responder } => {
                common.ledger.was_asked(me, number, from);
                match Manner::of(number) {
                    Manner::Answer => settle_now(&mut common.ledger, number, me.0, responder, true),
                    Manner::Refuse => settle_now(&mut common.ledger, number, me.0, responder, false),
                    Manner::Hold => {
                        let latest = common.nodes.get_mut(&me.0);
                        if let Some(latest) = latest.filter(|latest| latest.life == me.1) {
                            latest.held.push_back((number, responder));
                        }
                    }
                }
            }
        }
    }
}

/// Answers a question as far as there is room, or refuses it.
pub(crate) fn settle_now(
    ledger: &mut Ledger,
    number: u64,
    by: usize,
    responder: Responder<Told>,
    answer: bool,
) {
    if answer && responder.try_answer(Told { number, by: by as u64 }).is_ok() {
        ledger.answers(number, by);
    }
}

/// Holds the comings and goings of peers to what they promise.
async fn watch(mut updates: PeerUpdates, shared: Shared, me: Life) {
    while let Some(update) = updates.next().await {
        let mut common = shared.lock();
        let Common { ledger, nodes, .. } = &mut *common;
        let Some(latest) = nodes.get_mut(&me.0).filter(|latest| latest.life == me.1) else { return };
        match update {
            PeerUpdate::Up { peer, conn, .. } => {
                if let Some(before) = latest.up.insert(peer, conn) {
                    ledger.blame(|| {
                        format!("{me:?} hears that {} is up on {conn} after {before}", peer.short())
                    });
                }
            }
            PeerUpdate::Down { peer, conn, .. } => {
                let before = latest.up.remove(&peer);
                if before != Some(conn) {
                    ledger.blame(|| {
                        format!("{me:?} hears that {} is down on {conn}, not {before:?}", peer.short())
                    });
                }
            }
        }
    }
}

/// All nodes are honest: nobody misbehaves, breaks the protocol, or has a bug.
fn observe(event: &Event, me: Life, shared: &Shared) {
    let wrong = match &event.kind {
        EventKind::Misbehaved { .. } | EventKind::ReactorPanicked { .. } | EventKind::StoreFailed { .. } => {
            true
        }
        EventKind::Failed { closed } | EventKind::Down { closed } => {
            let ours = closed.by == Side::Local;
            let bug = closed.label.ends_with("_panicked") || closed.label == "ended_without_reason";
            bug || (ours && closed.blame == Blame::Protocol)
        }
        _ => false,
    };
    if wrong {
        shared.told.lock().unwrap().get_or_insert_with(|| format!("{me:?} tells {event:?}"));
    }
}
