//! Drives model and machine side by side.

#![allow(clippy::panic, reason = "a difference ends the run, and a fuzzer or test with it")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::compare::{agree, assert_same, at, bans, same_update};
use super::reasons::check_reasons;
use super::{Model, World};
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::id::{ConnId, NodeId};
use crate::peer::{Answer, Config, Op, Output, PeerManager, PeerUpdate, Record, RecordKey, Status, WallTime};

/// The seed of every run.
const SEED: u64 = 7;
/// What the wall's clock reads at the start.
const WALL_MS: u64 = 1_700_000_000_000;
fn wall_at_start() -> WallTime {
    WallTime::from_unix_ms(WALL_MS)
}

/// Longer than anything that a configuration may ask to wait for.
const LEAP: Duration = Duration::from_secs(400 * 24 * 3600);

/// Everything seen of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trace {
    /// What each operation was answered.
    pub answers: Vec<Answer>,
    /// What was put out, in order.
    pub outputs: Vec<Output>,
}

/// Applies operations to model and machine, compares all that is visible after each, checks the laws, and at the end
/// restores the machine from what it had persisted.
///
/// An epoch in an operation says how long ago it was begun: 0 is the latest.
///
/// # Panics
///
/// At the first difference or broken law; the message begins with the operation's place. Also if the configuration is not
/// valid.
pub fn drive(config: &Config, start: Instant, ops: &[Op]) -> Trace {
    drive_every(1, config, start, ops)
}

/// Does so with the costliest checks (who is told of whom, what is persisted, liveness) after each so many operations
/// only, and at the end: most faults stay to be seen, and a fuzzer gets further.
fn drive_every(deep_every: usize, config: &Config, start: Instant, ops: &[Op]) -> Trace {
    let mut reference = Reference::new(config, start);
    let mut machine = Machine { deep_every, ..Machine::new(config, start) };
    for op in ops {
        let (op, now, expected) = reference.step(op);
        machine.step(&op, now, &expected, &mut reference.model);
    }
    machine.finish(&mut reference)
}

/// Does the same with the world that some bytes stand for. How many there are decides whether the costliest checks are
/// made after each operation, or after each second to eighth.
///
/// # Panics
///
/// As [`drive`] does.
pub fn drive_bytes(start: Instant, bytes: &[u8]) -> Trace {
    let world = World::from_bytes(bytes);
    drive_every(1 + bytes.len() % 8, &world.config, start, &world.ops)
}

/// The model and its clock.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The model.
    pub model: Model,
    now: Instant,
}

impl Reference {
    /// Begins at `start`.
    ///
    /// # Panics
    ///
    /// If the configuration is not valid.
    #[must_use]
    pub fn new(config: &Config, start: Instant) -> Self {
        let model = Model::new(config.clone(), SEED, start, wall_at_start(), []);
        let Ok(model) = model else { panic!("the configuration is invalid: {model:?}") };
        Self { model, now: start }
    }

    /// Applies an operation. Answers with the operation as the machine is to see it, when, and what it must answer.
    pub fn step(&mut self, op: &Op) -> (Op, Instant, Answer) {
        if let Op::Advance(by) = op {
            self.now = self.now.checked_add(*by).unwrap_or(self.now);
        }
        self.step_exactly(resolve(op.clone(), self.model.last_conn().as_u64()))
    }

    fn step_exactly(&mut self, op: Op) -> (Op, Instant, Answer) {
        let answer = self.model.apply(&op, self.now);
        (op, self.now, answer)
    }
}

/// Names a connection by its epoch that was named by how long ago it was begun.
fn resolve(op: Op, minted: u64) -> Op {
    let ago = |conn: ConnId| ConnId::new(minted.saturating_sub(conn.as_u64()));
    match op {
        Op::Dialed { conn } => Op::Dialed { conn: ago(conn) },
        Op::DialFailed { conn, closed } => Op::DialFailed { conn: ago(conn), closed },
        Op::IncomingFailed { conn, closed } => Op::IncomingFailed { conn: ago(conn), closed },
        Op::Accepted { conn, id } => Op::Accepted { conn: ago(conn), id },
        Op::Ready { conn, introduction } => Op::Ready { conn: ago(conn), introduction },
        Op::Disconnected { conn, closed } => Op::Disconnected { conn: ago(conn), closed },
        Op::Reported { conn, what, count } => Op::Reported { conn: ago(conn), what, count },
        Op::Praised { conn, what, count } => Op::Praised { conn: ago(conn), what, count },
        Op::Measured { conn, latency } => Op::Measured { conn: ago(conn), latency },
        Op::Errored { conn, closed } => Op::Errored { conn: ago(conn), closed },
        other => other,
    }
}

/// The machine, and what is kept beside it to hold it to the laws.
#[derive(Debug, Clone)]
pub struct Machine {
    manager: PeerManager,
    /// The configuration that it began with, and when.
    began: (Config, Instant),
    /// All that was done to it.
    script: Vec<(Op, Instant)>,
    trace: Trace,
    up: BTreeMap<NodeId, ConnId>,
    evicted: BTreeSet<ConnId>,
    stored: BTreeMap<RecordKey, Record>,
    /// After how many operations the costliest checks are made.
    deep_every: usize,
}

impl Machine {
    /// Begins at `start`.
    ///
    /// # Panics
    ///
    /// If the configuration is not valid.
    #[must_use]
    pub fn new(config: &Config, start: Instant) -> Self {
        Self {
            manager: begin(config, start, wall_at_start(), Vec::new()),
            began: (config.clone(), start),
            script: Vec::new(),
            trace: Trace::default(),
            up: BTreeMap::new(),
            evicted: BTreeSet::new(),
            stored: BTreeMap::new(),
            deep_every: 1,
        }
    }

    /// Applies an operation, and holds the machine to the model, which has seen it already.
    ///
    /// # Panics
    ///
    /// At the first difference or broken law.
    pub fn step(&mut self, op: &Op, now: Instant, expected: &Answer, model: &mut Model) {
        let place = self.script.len();
        let before = self.manager.clone();
        let answer = self.manager.apply(op.clone(), now);
        assert!(
            agree(expected, &answer),
            "{place}: {op:?}: the model answers {expected:?}, the machine {answer:?}"
        );
        if answer.is_error() {
            let mut untouched = before.clone();
            untouched.advance(now);
            let same = self.manager == untouched;
            assert!(same, "{place}: law 9: {op:?} failed with {answer:?} and changed something");
        }
        let lawful = self.manager.check_invariants();
        assert_eq!(lawful, Ok(()), "{place}: {op:?}");
        self.check_answer(&before, &answer, now);
        self.drain(model);
        assert_same(model, &self.manager);
        if place.is_multiple_of(self.deep_every) {
            self.check_deeply(model, now);
        }
        self.script.push((op.clone(), now));
        self.trace.answers.push(answer);
    }

    fn check_deeply(&self, model: &Model, now: Instant) {
        self.check_records(model, now);
        check_told(model, &self.manager);
        check_awake(model, &self.manager, now);
        check_reasons(model, &self.manager);
    }

    /// Law 6, on what is dispensed; and nothing is dispensed twice.
    fn check_answer(&mut self, before: &PeerManager, answer: &Answer, now: Instant) {
        match answer {
            Answer::Dial(Some(dial)) => {
                let mut before = before.clone();
                before.advance(now);
                let peer = dial.address.id();
                assert_ne!(peer, before.config().self_id, "law 6: dialled itself");
                let free = matches!(before.status(&peer), Some(Status::Idle { hold: None, .. }));
                assert!(free, "law 6: dialled although {:?}", before.status(&peer));
            }
            Answer::Eviction(Some(eviction)) => {
                assert!(self.evicted.insert(eviction.conn), "law 3: {eviction:?} again");
            }
            _ => {}
        }
    }

    /// Law 5: updates are those expected, alternate, and give the set of peers that are up.
    fn drain(&mut self, model: &mut Model) {
        let mut expected = model.take_updates().into_iter();
        while let Some(output) = self.manager.poll_output() {
            match &output {
                Output::Update(update) => {
                    let next = expected.next();
                    let same = next.as_ref().is_some_and(|next| same_update(next, update));
                    assert!(same, "law 5: the model puts out {next:?}, the machine {update:?}");
                    self.note(update);
                }
                Output::Persist(record) => drop(self.stored.insert(record.key(), record.clone())),
                Output::Forget(key) => drop(self.stored.remove(key)),
            }
            self.trace.outputs.push(output);
        }
        assert_eq!(expected.next(), None, "law 5: the machine keeps an update back");
        let is_up = |(_, peer): &(ConnId, NodeId)| {
            matches!(self.manager.status(peer), Some(Status::Connected { up: true, .. }))
        };
        let found = self.manager.connections().filter(is_up).map(|(conn, peer)| (peer, conn));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), self.up, "law 5: who is up");
    }

    fn note(&mut self, update: &PeerUpdate) {
        let (peer, conn) = (update.peer(), update.conn());
        let (was, expected) = match update {
            PeerUpdate::Up { .. } => (self.up.insert(peer, conn), None),
            PeerUpdate::Down { .. } => (self.up.remove(&peer), Some(conn)),
        };
        assert_eq!(was, expected, "law 5: {update:?}");
    }

    /// Records are what the model has, and what was persisted is no older.
    fn check_records(&self, model: &Model, now: Instant) {
        let every = model.config().behaviour.halves_every.as_millis();
        let every = u64::try_from(every).unwrap_or(u64::MAX).max(1);
        let wall = model.wall(now);
        for id in model.peers() {
            let expected = model.record(&id).map(|record| at(record, wall, every));
            let found = self.manager.record(&id).map(|record| at(record, wall, every));
            assert_eq!(found, expected, "record of {id:?}");
            if expected.is_some_and(|record| record.addresses.is_empty()) {
                continue;
            }
            let Some(Record::Peer(stored)) = self.stored.get(&RecordKey::Peer(id)) else {
                panic!("{id:?} was not persisted");
            };
            assert_eq!(Some(at(stored.clone(), wall, every)), found, "what is persisted of {id:?}");
        }
        for (key, record) in &self.stored {
            match (key, record) {
                (RecordKey::Peer(id), _) => assert!(self.manager.knows(id), "{id:?} was not forgotten"),
                (_, Record::Ban(ban)) => assert!(bans(&self.manager).contains(ban), "{ban:?} is over"),
                _ => panic!("{record:?} is stored under {key:?}"),
            }
        }
        let stored = self.stored.keys().filter(|key| matches!(key, RecordKey::Ban(_))).count();
        assert_eq!(stored, bans(&self.manager).len(), "bans persisted");
    }

    /// Ends a run: everything that is open ends; the same again gives the same; what was persisted gives a machine that
    /// equals this one.
    ///
    /// # Panics
    ///
    /// At the first difference or broken law.
    pub fn finish(mut self, reference: &mut Reference) -> Trace {
        self.check_deeply(&reference.model, reference.now);
        for op in ends(&reference.model) {
            let (op, now, expected) = reference.step_exactly(op);
            self.step(&op, now, &expected, &mut reference.model);
        }
        self.check_repeats();
        self.check_restores(&reference.model, reference.now);
        self.trace
    }

    /// Law 11.
    fn check_repeats(&self) {
        let mut again = begin(&self.began.0, self.began.1, wall_at_start(), Vec::new());
        let mut outputs = Vec::new();
        for ((op, now), answer) in self.script.iter().zip(&self.trace.answers) {
            assert_eq!(again.apply(op.clone(), *now), *answer, "law 11: {op:?}, a second time");
            outputs.extend(std::iter::from_fn(|| again.poll_output()));
        }
        assert_eq!(outputs, self.trace.outputs, "law 11: a second time");
        assert!(again == self.manager, "law 11: another state after the same inputs");
    }

    fn check_restores(&self, model: &Model, now: Instant) {
        let wall = model.wall(now);
        let every = model.config().behaviour.halves_every.as_millis();
        let every = u64::try_from(every).unwrap_or(u64::MAX).max(1);
        let stored: Vec<Record> = self.stored.values().cloned().collect();
        let new = begin(model.config(), now, wall, stored);
        assert_eq!(new.check_invariants(), Ok(()), "restored");
        assert_eq!(new.skipped_records(), 0, "restored");
        assert_eq!(bans(&new), bans(&self.manager), "restored bans");
        for id in model.peers() {
            let Some(mut old) = self.manager.record(&id).map(|record| at(record, wall, every)) else {
                continue;
            };
            let found = new.record(&id).map(|record| at(record, wall, every));
            // A peer without an address is not worth a row.
            let Some(found) = found.or(old.addresses.is_empty().then(|| old.clone())) else {
                panic!("{id:?} was not restored");
            };
            // What a record says is never trusted for longer than the policy in force would have allowed.
            if let (Some(was), Some(is)) = (&mut old.hold, &found.hold) {
                assert!(is.until <= was.until, "restored: a longer hold of {id:?}");
                was.until = is.until;
            }
            assert_eq!(found, old, "restored: {id:?}");
        }
        let later = now.checked_add(LEAP).unwrap_or(now);
        let dials = |mut manager: PeerManager| -> Vec<_> {
            std::iter::from_fn(|| manager.try_dial_next(later)).map(|dial| dial.address).collect()
        };
        assert_eq!(dials(new), dials(self.manager.clone()), "whom a restored machine dials");
    }
}

fn begin(config: &Config, now: Instant, wall: WallTime, stored: Vec<Record>) -> PeerManager {
    match PeerManager::new(config.clone(), SEED, now, wall, stored) {
        Ok(manager) => manager,
        Err(why) => panic!("the configuration is invalid: {why}"),
    }
}

/// What ends everything that is open.
fn ends(model: &Model) -> Vec<Op> {
    let reason = DisconnectReason::Quitting;
    let closed = Closed::local(Layer::Node, Blame::Ourselves, reason, "shutdown");
    let handshakes = model.handshaking().into_iter();
    let handshakes = handshakes.map(|conn| Op::IncomingFailed { conn, closed: closed.clone() });
    let dials = model.dialing().into_keys().map(|conn| Op::DialFailed { conn, closed: closed.clone() });
    let lives = model.connections().into_keys();
    let lives = lives.map(|conn| Op::Disconnected { conn, closed: closed.clone() });
    handshakes.chain(dials).chain(lives).collect()
}

/// Law 6, on what is told, to a stranger and to everybody known.
fn check_told(model: &Model, manager: &PeerManager) {
    for to in std::iter::once(None).chain(model.peers().map(Some)) {
        let mut told = manager.advertise(to, usize::MAX);
        let mut expected = model.tellable(to);
        told.sort();
        expected.sort();
        assert_eq!(told, expected, "law 6: told to {to:?}");
    }
}

/// Law 10: what there is to do now is announced, and nothing comes free before the wake-up announced.
fn check_awake(model: &Model, manager: &PeerManager, now: Instant) {
    let (mut model, mut manager) = (model.clone(), manager.clone());
    while let Some(eviction) = model.apply_both(&mut manager, &Op::TryEvictNext, now) {
        assert!(matches!(eviction, Answer::Eviction(Some(_))));
    }
    let announced = manager.next_wakeup();
    let mut dials = 0;
    while model.apply_both(&mut manager, &Op::TryDialNext, now).is_some() {
        dials += 1;
    }
    let at_once = announced.is_some_and(|wakeup| wakeup.at <= now);
    assert!(dials == 0 || at_once, "law 10: {dials} dials are due, announced is {announced:?}");
    let next = manager.next_wakeup();
    assert!(next.is_none_or(|next| next.at > now), "law 10: drained, and yet {next:?}");
    let before = next.and_then(|next| next.at.checked_sub(Duration::from_nanos(1)));
    let Some(before) = before.or_else(|| now.checked_add(LEAP)) else { return };
    for op in [Op::TryEvictNext, Op::TryDialNext] {
        let early = model.apply_both(&mut manager, &op, before);
        assert_eq!(early, None, "law 10: before the wake-up {next:?}");
    }
}

impl Model {
    /// Takes the next dial or eviction of both; `None` if neither has one.
    fn apply_both(&mut self, manager: &mut PeerManager, op: &Op, now: Instant) -> Option<Answer> {
        let (expected, found) = (self.apply(op, now), manager.apply(op.clone(), now));
        let agreed = agree(&expected, &found);
        assert!(agreed, "law 10: {op:?}: the model finds {expected:?}, the machine {found:?}");
        (!matches!(found, Answer::Dial(None) | Answer::Eviction(None))).then_some(found)
    }
}
