//! Tests of journals: what is written is read, and what cannot be is said.

mod forms;
mod reading;
mod writing;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::*;
use crate::address::{Endpoint, NodeAddress};
use crate::id::{NodeId, NodeKey};
use crate::peer::{Answer, Op, PeerManager, Record};
use crate::router::{Recorder, Start};

#[allow(clippy::disallowed_methods)] // Somewhere for virtual time to begin.
fn epoch() -> Instant {
    Instant::now()
}

fn id(seed: u64) -> NodeId {
    NodeKey::insecure_from_seed(seed).id()
}

fn address(seed: u64) -> NodeAddress {
    NodeAddress::rlpx(id(seed), ([8, 8, 8, 8], 30303).into())
}

fn endpoint() -> Endpoint {
    Endpoint::Tcp(([9, 9, 9, 9], 40_000).into())
}

/// A file in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(bytes.clone()).unwrap()
    }
}

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl writer::Sink for Memory {
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).truncate(usize::try_from(bytes).unwrap());
        Ok(())
    }
}

/// A peer manager of node 0, whose inputs are taken note of.
struct Bench {
    manager: PeerManager,
    recorder: JournalRecorder,
    start: Instant,
}

impl Bench {
    fn new(mut recorder: JournalRecorder, config: Config, records: &[Record]) -> Self {
        let (start, wall, seed) = (epoch(), WallTime::from_unix_ms(1_700_000_000_000), 7);
        recorder.started(&Start { config: &config, seed, wall, records });
        let manager = PeerManager::new(config, seed, start, wall, records.to_vec()).unwrap();
        Self { manager, recorder, start }
    }

    fn apply(&mut self, op: &Op, at: Duration) -> Answer {
        let answer = self.manager.apply(op.clone(), self.start + at);
        self.recorder.record(op, &answer, at);
        answer
    }
}

/// A journal of a few inputs: an address, a dial, a connection and its end.
fn sample() -> String {
    let file = Memory::default();
    let (recorder, journal) = writer::start(file.clone(), Limits::default()).unwrap();
    let record = Record::Peer(crate::peer::PeerRecord::new(address(2), crate::peer::Source::Discovery));
    let mut bench = Bench::new(recorder, Config::new(id(0)), &[record]);
    for (at, op) in forms::ops().into_iter().enumerate() {
        bench.apply(&op, Duration::from_millis(at as u64));
        while bench.apply(&Op::PollOutput, Duration::from_millis(at as u64)) != Answer::Output(None) {}
    }
    drop(bench.recorder);
    assert_eq!(journal.finish().shortfall, None);
    file.text()
}

/// Replays a text to its end; the steps, and how it ended.
fn replay(text: &str) -> Result<(Vec<Step>, Ending), JournalError> {
    let mut replay = Replay::open(text.as_bytes(), epoch())?;
    let mut steps = Vec::new();
    while let Some(step) = replay.step()? {
        steps.push(step);
    }
    replay.check_invariants().unwrap();
    Ok((steps, replay.ending().unwrap().clone()))
}
