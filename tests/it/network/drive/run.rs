//! Does what the operations say.

use std::fmt;
use std::time::Duration;

use peerage::channel::{CancelId, Fate, Recipients, RequestError, SendError, SendOptions, Sender};
use peerage::id::{ConnId, NodeId};
use peerage::peer::BanTarget;
use peerage::router::RouterHandle;
use peerage::sim::{Line, Node, SimNet, Topology};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lanes::{Ask, Mouth, NAMES, Numbered, Told, filling};
use super::ledger::{Life, Place, Word};
use super::node::{Latest, Shared, declare, settle_now};
use super::ops::{Extra, Lane, Op, To, Wire, World};

/// A timer is late by so much at the most.
const LATE: Duration = Duration::from_millis(2);

/// A network that is driven.
pub(crate) struct Run {
    pub(crate) world: World,
    pub(crate) shared: Shared,
    pub(crate) nodes: Vec<Node>,
    /// All lives so far, with how each has ended; `None` for those that have not.
    pub(crate) lives: Vec<(Life, RouterHandle, Option<End>)>,
    /// What waits for room, or for an answer. It ends before the network does.
    pub(crate) waiting: JoinSet<()>,
    pub(crate) net: SimNet,
}

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Killed,
    ShutDown,
}

impl Run {
    pub(crate) fn new(world: World) -> Self {
        let shared = Shared::default();
        let mut net = SimNet::new(world.seed, world.depth).unwrap();
        net.set_interleaved(world.interleaved);
        let declaring = shared.clone();
        let nodes = net.add_many(world.nodes, move |setup| declare(&world, &declaring, setup));
        for node in &nodes {
            shared.lock().numbers.insert(net.id(*node), node.number());
        }
        let mut run = Self { world, shared, nodes, lives: Vec::new(), waiting: JoinSet::new(), net };
        run.introduce();
        run.set_line(world.line);
        for node in 0..world.nodes {
            run.start(node);
        }
        run.net.run_for(Duration::from_secs(1));
        run
    }

    /// Each node is to know each other.
    fn introduce(&mut self) {
        if self.world.tied {
            return self.net.tie_all(&self.nodes, Topology::Full);
        }
        for from in &self.nodes {
            for to in self.nodes.iter().filter(|to| *to != from) {
                self.net.introduce(*from, *to);
            }
        }
    }

    /// # Panics
    ///
    /// If something does not hold that must hold at every moment.
    pub(crate) fn check(&self, when: &dyn fmt::Display) {
        let fault = self.shared.fault().or_else(|| self.fault_now());
        assert_eq!(fault, None, "{when}, in {:?}", self.world);
    }

    /// As [`Self::check`], without a look at the nodes if the operation lets none of them do anything.
    pub(crate) fn check_after(&self, op: &Op, when: &dyn fmt::Display) {
        let (Op::Send { .. }
        | Op::Wait { .. }
        | Op::Ask { .. }
        | Op::Cancel { .. }
        | Op::Read { .. }
        | Op::Eager { .. }
        | Op::Settle { .. }) = op
        else {
            return self.check(when);
        };
        assert_eq!(self.shared.fault(), None, "{when}, in {:?}", self.world);
    }

    pub(crate) fn step(&mut self, op: &Op) {
        match *op {
            Op::Send { from, to, lane, bytes, extra } => self.send(from, to, lane, bytes, extra),
            Op::Wait { from, to, lane, bytes, within, times } => {
                (0..times).for_each(|_| self.wait(from, to, lane, bytes, within));
            }
            Op::Ask { from, to, within, cancel } => self.ask(from, to, within, cancel),
            Op::Cancel { node, name } => self.cancel(node, name),
            Op::Read { node, lane, messages } => self.latest(node, |latest| latest.read(lane, messages)),
            Op::Eager { node, eager } => self.latest(node, |latest| latest.set_eager(eager)),
            Op::Settle { node, answer } => drop(self.settle(node, answer)),
            Op::Advance(time) => self.net.run_for(time),
            Op::Connect { from, to } => self.connect(from, to),
            Op::Disconnect { from, to } => {
                let to = self.id(to);
                self.operate(from, async |handle| handle.disconnect(to).await.is_ok());
            }
            Op::Ban { node, peer, length } => {
                let target = BanTarget::Peer(self.id(peer));
                // Whom the node keeps a connection to cannot be banned.
                self.operate(node, async |handle| handle.ban(target, length, "").await.is_ok());
            }
            Op::Unban { node, peer } => {
                let target = BanTarget::Peer(self.id(peer));
                self.operate(node, async |handle| handle.unban(target).await.is_ok());
            }
            _ => self.break_or_mend(op),
        }
    }

    fn break_or_mend(&mut self, op: &Op) {
        let node = |number: usize| self.nodes[number];
        match *op {
            Op::Cut { from, to, cut: true } => self.net.cut(node(from), node(to)),
            Op::Cut { from, to, cut: false } => self.net.mend(node(from), node(to)),
            Op::Part { node: alone } => {
                let (one, others): (Vec<Node>, Vec<Node>) =
                    self.nodes.iter().partition(|node| node.number() == alone);
                self.net.partition("part", &[&one, &others]);
            }
            Op::HealAll => self.net.heal_all(),
            Op::Reset { a, b } => drop(self.net.reset(node(a), node(b))),
            Op::Start { node } => self.start(node),
            Op::Kill { node: which } => {
                self.net.kill(node(which));
                self.ended(which, End::Killed);
            }
            Op::ShutDown { node, eager } => {
                if eager {
                    self.latest(node, |latest| latest.set_eager(true));
                }
                self.shut_down(node);
            }
            Op::PowerOff { node: which } => {
                self.net.power_off(node(which));
                self.ended(which, End::Killed);
            }
            Op::PowerOn { node } => self.power_on(node),
            Op::WipeStore { node: which } => self.net.wipe_store(node(which)),
            Op::Slow { node: which, rate } => self.net.slow(node(which), rate).unwrap(),
            Op::Line(wire) => self.set_line(wire),
            _ => unreachable!("{op:?} neither breaks nor mends"),
        }
    }
}

/// Lives.
impl Run {
    pub(crate) fn id(&self, node: usize) -> NodeId {
        self.net.id(self.nodes[node])
    }

    /// The handle of a node that runs.
    pub(crate) fn handle(&self, node: usize) -> Option<&RouterHandle> {
        self.net.handle(self.nodes[node])
    }

    fn latest(&self, node: usize, act: impl FnOnce(&mut Latest)) {
        if let Some(latest) = self.shared.lock().nodes.get_mut(&node) {
            act(latest);
        }
    }

    pub(crate) fn life(&self, node: usize) -> Life {
        (node, self.shared.lock().nodes[&node].life)
    }

    pub(crate) fn start(&mut self, node: usize) {
        if self.handle(node).is_some() {
            return;
        }
        self.net.start(self.nodes[node]).unwrap();
        self.begun(node);
    }

    pub(crate) fn power_on(&mut self, node: usize) {
        let runs = self.handle(node).is_some();
        self.net.power_on(self.nodes[node]).unwrap();
        if !runs {
            self.begun(node);
        }
    }

    fn begun(&mut self, node: usize) {
        self.lives.push((self.life(node), self.handle(node).unwrap().clone(), None));
    }

    fn ended(&mut self, node: usize, how: End) {
        for (_, _, end) in self.lives.iter_mut().filter(|(life, ..)| life.0 == node) {
            end.get_or_insert(how);
        }
        // Its reactors are gone, and what they held is gone with them.
        let held = self.shared.lock().nodes.get_mut(&node).map(|latest| std::mem::take(&mut latest.held));
        drop(held);
    }

    /// # Panics
    ///
    /// If the report does not add up, or blames somebody who did as told.
    pub(crate) fn shut_down(&mut self, node: usize) {
        if self.handle(node).is_none() {
            return;
        }
        let reading = self.shared.lock().nodes[&node].is_eager();
        let report = self.net.shut_down(self.nodes[node]).expect("the node runs");
        self.ended(node, End::ShutDown);
        let all = report.panicked.is_empty() && report.drained + report.dropped == report.queued;
        let clean = report.clean || (!reading && !report.unfinished.is_empty() && report.store.is_none());
        assert!(all && clean && report.took < Duration::from_secs(8), "node {node}: {report:?}");
    }

    fn set_line(&self, wire: Wire) {
        let mut line = Line::of(wire.latency);
        line.bytes_per_second = wire.rate;
        line.buffer_bytes = wire.buffer_bytes;
        self.net.set_line(line).unwrap();
    }

    fn connect(&self, from: usize, to: usize) {
        let address = self.net.address(self.nodes[to]);
        // One that is banned, or known already, is none to add.
        self.operate(from, async |handle| handle.add(address).await.is_ok());
    }

    fn operate(&self, node: usize, act: impl AsyncFnOnce(RouterHandle) -> bool) {
        if let Some(handle) = self.handle(node).cloned() {
            self.net.block_on(act(handle));
        }
    }
}

/// Messages.
impl Run {
    fn mouth(&self, node: usize) -> Mouth {
        self.shared.lock().nodes[&node].mouth.clone()
    }

    /// The sender's end of a connection, if there is one.
    fn conn(&self, from: usize, to: &NodeId) -> Option<ConnId> {
        conn(self.handle(from)?, to)
    }

    fn recipients(&self, to: To) -> Recipients {
        match to {
            To::Node(node) => self.id(node).into(),
            To::All => Recipients::all(),
            To::Local => Recipients::local(),
        }
    }

    fn send(&self, from: usize, to: To, lane: Lane, bytes: usize, extra: Extra) {
        let mouth = self.mouth(from);
        match lane {
            Lane::Vote => self.say(from, (&mouth.vote, mouth.names), to, bytes, extra),
            Lane::Bulk => self.say(from, (&mouth.bulk, mouth.names), to, bytes, extra),
            Lane::Quiz => self.say(from, (&mouth.quiz, mouth.names), to, bytes, extra),
        }
    }

    fn say<M: Numbered>(
        &self,
        from: usize,
        (sender, names): (&Sender<M>, [CancelId; NAMES]),
        to: To,
        bytes: usize,
        extra: Extra,
    ) {
        let me = self.life(from);
        let number = self.shared.lock().ledger.number();
        let message = M::say(number, filling(number, bytes));
        let options = options(names, to, extra);
        let to = self.recipients(to);
        let outcome = self.net.block_on(async { sender.try_send_with(to, message, options) });
        let mut common = self.shared.lock();
        for (peer, fate) in outcome.iter() {
            let to = common.numbers[&peer];
            let conn = if to == from { Some(ConnId::LOCAL) } else { self.conn(from, &peer) };
            let tally = common.ledger.tally(me, M::LANE);
            match fate {
                Fate::Refused(_) => tally.refused += 1,
                Fate::Evicted(many) if to == from => tally.evicted_locally += many as u64,
                Fate::Evicted(many) => tally.evicted += many as u64,
                Fate::Replaced => tally.replaced += 1,
                _ => {}
            }
            if !fate.is_queued() {
                continue;
            }
            let Some(conn) = conn else {
                common.ledger.unconnected(number, to);
                continue;
            };
            let at = match extra.key {
                Some(key) if fate == Fate::Replaced => Place::Of(key),
                _ => Place::Last,
            };
            common.ledger.said(number, Word { from: me, conn, to, lane: M::LANE, bytes }, at, extra.key);
        }
    }

    fn wait(&mut self, from: usize, to: usize, lane: Lane, bytes: usize, within: Duration) {
        let mouth = self.mouth(from);
        let me = self.life(from);
        match lane {
            Lane::Vote => self.spawn_wait(me, mouth.vote, to, bytes, within),
            Lane::Bulk => self.spawn_wait(me, mouth.bulk, to, bytes, within),
            Lane::Quiz => self.spawn_wait(me, mouth.quiz, to, bytes, within),
        }
    }

    fn spawn_wait<M: Numbered>(
        &mut self,
        me: Life,
        sender: Sender<M>,
        to: usize,
        bytes: usize,
        within: Duration,
    ) {
        let (shared, id) = (self.shared.clone(), self.id(to));
        let handle = self.handle(me.0).cloned();
        let waiting = async move {
            let began = Instant::now();
            let number = shared.lock().ledger.number();
            let conn = handle.and_then(|handle| conn(&handle, &id));
            let sent = sender.send(id, M::say(number, filling(number, bytes)), within).await;
            let mut common = shared.lock();
            let took = began.elapsed();
            let tally = common.ledger.tally(me, M::LANE);
            tally.waited += 1;
            match (sent, conn) {
                (Ok(()), Some(conn)) => {
                    let word = Word { from: me, conn, to, lane: M::LANE, bytes };
                    common.ledger.said(number, word, Place::Last, None);
                }
                (Ok(()), None) => common.ledger.unconnected(number, to),
                (Err(_), _) => tally.refused += 1,
            }
            let early = sent == Err(SendError::TimedOut) && took < within;
            if early || took > within + LATE {
                common.ledger.blame(|| format!("{number} waited {took:?} of {within:?}: {sent:?}"));
            }
        };
        let waits = &mut self.waiting;
        self.net.block_on(async { drop(waits.spawn(waiting)) });
    }

    fn cancel(&self, node: usize, name: usize) {
        let Mouth { names, vote, bulk, .. } = self.mouth(node);
        // A name is the node's: any of its channels takes back what went on all of them, but for local messages.
        let taken_back = self.net.block_on(async { [vote.cancel(names[name]), bulk.cancel(names[name])] });
        if taken_back[1] > 0 {
            self.shared.lock().ledger.blame(|| format!("taken back from {node} twice: {taken_back:?}"));
        }
    }
}

/// Questions.
impl Run {
    fn ask(&mut self, from: usize, to: To, within: Duration, cancel: Option<usize>) {
        let (me, Mouth { names, quiz, .. }) = (self.life(from), self.mouth(from));
        let cancel = cancel.map(|name| names[name]);
        let number = self.shared.lock().ledger.number();
        self.shared.lock().ledger.asks(number, me);
        let shared = self.shared.clone();
        let recipients = self.recipients(to);
        let one = match to {
            To::Node(node) => Some(node),
            To::Local => Some(from),
            To::All => None,
        };
        let asked = one.and_then(|node| Some((self.handle(from)?.clone(), self.id(node))));
        let asking = async move {
            let began = Instant::now();
            let question = Ask { number };
            let conn_of = |(handle, peer): &(RouterHandle, NodeId)| conn(handle, peer);
            let before = asked.as_ref().and_then(conn_of);
            let ended = match cancel {
                None => quiz.request_any(recipients, question, within).await,
                Some(id) => quiz.request_any_as(id, recipients, question, within).await,
            };
            let gone = before.is_some() && asked.as_ref().and_then(conn_of) != before;
            if gone && matches!(ended, Err(RequestError::TimedOut)) {
                shared.lock().ledger.blame(|| format!("{number} waited for a peer that was gone"));
            }
            let ended = ended.map(|(by, told)| (told, shared.lock().numbers.get(&by).copied()));
            judge(&shared, number, (one, within, began.elapsed()), ended);
        };
        let waits = &mut self.waiting;
        self.net.block_on(async { drop(waits.spawn(asking)) });
    }

    /// Settles the oldest question that a node holds.
    pub(crate) fn settle(&mut self, node: usize, answer: bool) -> bool {
        let held = self.shared.lock().nodes.get_mut(&node).and_then(|latest| latest.held.pop_front());
        let Some((number, responder)) = held else { return false };
        let shared = self.shared.clone();
        let settling = async move {
            if !answer || number.is_multiple_of(3) {
                settle_now(&mut shared.lock().ledger, number, node, responder, answer);
            } else if responder.answer(Told { number, by: node as u64 }).await.is_ok() {
                shared.lock().ledger.answers(number, node);
            }
        };
        let waits = &mut self.waiting;
        self.net.block_on(async { drop(waits.spawn(settling)) });
        true
    }
}

/// Holds the end of a question to its promises.
fn judge(
    shared: &Shared,
    number: u64,
    (asked, within, took): (Option<usize>, Duration, Duration),
    ended: Result<(Told, Option<usize>), RequestError>,
) {
    let mut common = shared.lock();
    let ledger = &mut common.ledger;
    let answer = ended.as_ref().ok().map(|(told, by)| {
        let named = usize::try_from(told.by).ok().filter(|named| Some(*named) == *by);
        (told.number, named.unwrap_or(usize::MAX))
    });
    ledger.ends(number, answer);
    let error = ended.err();
    if (error == Some(RequestError::TimedOut) && took < within) || took > within + LATE {
        ledger.blame(|| format!("{number} ended after {took:?} of {within:?}: {error:?}"));
    }
    let refused = error == Some(RequestError::Declined);
    if refused && asked.is_some_and(|asked| ledger.was_answered(number, asked)) {
        ledger.blame(|| format!("{number} was answered, and is told that it was refused"));
    }
    if matches!(error, Some(RequestError::Malformed(_))) {
        ledger.blame(|| format!("{number} has a malformed answer: {error:?}"));
    }
}

/// The connection of a node to a peer.
pub(crate) fn conn(handle: &RouterHandle, peer: &NodeId) -> Option<ConnId> {
    handle.peers().into_iter().find(|status| status.id == *peer).map(|status| status.conn)
}

/// What a message carries. A local one has no age and cannot be taken back: such losses would be counted among those of
/// messages to peers.
fn options(names: [CancelId; NAMES], to: To, extra: Extra) -> SendOptions {
    let mut options = SendOptions::new();
    if let Some(key) = extra.key {
        options = options.key(key);
    }
    if let (Some(age), false) = (extra.stale_after, to == To::Local) {
        options = options.stale_after(age);
    }
    match extra.cancel {
        Some(name) if to != To::Local => options.cancel_by(names[name]),
        _ => options,
    }
}
