//! The peer manager, with somebody who takes note of all that it is told and decides.

use std::fmt;
use std::time::{Duration, Instant};

use crate::peer::{Answer, Config, ConfigError, Op, PeerManager, Record, WallTime};

/// Takes note of every input of a node's peer manager and of what it was answered, in order.
///
/// With [`Start`] and the inputs, a fresh [`PeerManager`] can be brought to decide all of it again. It is called by the
/// task that decides: it must not block, and if it panics, the node shuts down.
pub trait Recorder: Send + 'static {
    /// The manager is made. Comes first, while the node is built, and may block.
    fn started(&mut self, start: &Start<'_>);

    /// The manager was given `op`, `at` so long after it was made, and answered.
    fn record(&mut self, op: &Op, answer: &Answer, at: Duration);
}

/// What a peer manager is made of.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Start<'a> {
    /// Its policy.
    pub config: &'a Config,
    /// The seed of its choices.
    pub seed: u64,
    /// The wall's clock when it was made.
    pub wall: WallTime,
    /// What its store held.
    pub records: &'a [Record],
}

/// A peer manager that is changed by [`Recorded::apply`] alone, so that no input is missed.
pub(super) struct Recorded {
    manager: PeerManager,
    began: Instant,
    recorder: Option<Box<dyn Recorder>>,
}

impl Recorded {
    pub(super) fn new(
        (config, seed): (Config, u64),
        (now, wall): (Instant, WallTime),
        records: Vec<Record>,
        mut recorder: Option<Box<dyn Recorder>>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        if let Some(recorder) = &mut recorder {
            recorder.started(&Start { config: &config, seed, wall, records: &records });
        }
        let manager = PeerManager::new(config, seed, now, wall, records)?;
        Ok(Self { manager, began: now, recorder })
    }

    /// Gives the manager an input. The only way to change it.
    pub(super) fn apply(&mut self, op: Op, now: Instant) -> Answer {
        let Some(recorder) = &mut self.recorder else { return self.manager.apply(op, now) };
        let answer = self.manager.apply(op.clone(), now);
        recorder.record(&op, &answer, now.saturating_duration_since(self.began));
        answer
    }

    /// The manager, to look at.
    pub(super) fn manager(&self) -> &PeerManager {
        &self.manager
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded").field("manager", &self.manager).finish_non_exhaustive()
    }
}
