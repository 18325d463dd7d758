//! Networks, what is done to them and what must hold, as text.

mod acts;
mod board;
mod build;
mod conduct;
#[cfg(test)]
mod documented;
mod error;
mod expect;
mod group;
mod limits;
mod lines;
mod look;
#[cfg(test)]
mod mutated;
mod names;
mod plan;
#[cfg(test)]
mod refusals;
mod relapse;
mod run;
mod section;
mod talk;
mod watch;
mod weather;

pub use error::ScenarioError;

use std::time::Duration;

use super::Depth;
use super::net::SimError;
use super::outcome::Outcome;
use super::script::Script;
use super::search::Relapse;
use plan::Plan;

/// A network, what is done to it and what must hold, as a text says it.
///
/// It is read from TOML: it says which nodes there are, what they do and say, what connects them, what happens to
/// them, and what it promises; `docs/scenarios.md` has every key. It can be run at any seed, from which all follows
/// that the text leaves open.
///
/// ```
/// use peerage::sim::Scenario;
///
/// let scenario = Scenario::parse(
///     r#"
///     name = "ring"
///     duration = "30s"
///
///     [[group]]
///     name = "town"
///     count = 5
///     topology = "ring"
///
///     [[act]]
///     at = "10s"
///     what = "reset"
///     from = "town[0]"
///     to = "town[1]"
///
///     [[expect]]
///     what = "connected"
///     from = "5s"
/// "#,
/// )?;
/// let outcome = scenario.run(7, &mut |_| {})?;
/// assert_eq!(outcome.violations, []);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Scenario {
    plan: Plan,
}

impl Scenario {
    /// The longest text that is read.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Reads a scenario's text.
    ///
    /// # Errors
    ///
    /// [`ScenarioError`] says what cannot be used, and where it stands.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let plan = Plan::read(text).map_err(|fault| ScenarioError::new(text, fault))?;
        Ok(Self { plan })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// What it is about; may be empty.
    #[must_use]
    pub fn about(&self) -> &str {
        &self.plan.about
    }

    /// How much of a node is under its runs.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.plan.depth
    }

    /// The same at that depth.
    #[must_use]
    pub fn with_depth(mut self, depth: Depth) -> Self {
        self.plan.depth = depth;
        self
    }

    /// The virtual time of a run. A node that takes its time to shut down at the end adds that.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.plan.duration
    }

    /// All that is done to the network in a run: the acts that are written, nodes that come and go, and drawn faults.
    #[must_use]
    pub fn script(&self, seed: u64) -> Script {
        let mut script = self.plan.acts.clone();
        if let Some(churn) = &self.plan.churn {
            script = churn.put(seed, script);
        }
        if let Some(faults) = &self.plan.faults {
            script = faults.put(seed, script);
        }
        script
    }

    /// Runs it, and tells `progress` from time to time how much virtual time has passed.
    ///
    /// # Errors
    ///
    /// [`SimError`] if a node cannot be built, or the system gives no runtime.
    pub fn run(&self, seed: u64, progress: &mut dyn FnMut(Duration)) -> Result<Outcome, SimError> {
        self.run_script(seed, &self.script(seed), progress)
    }

    /// As [`Self::run`], with a script in the place of its own. Acts after the run's end are done, late as they are.
    ///
    /// # Errors
    ///
    /// As for [`Self::run`].
    pub fn run_script(
        &self,
        seed: u64,
        script: &Script,
        progress: &mut dyn FnMut(Duration),
    ) -> Result<Outcome, SimError> {
        run::run(&self.plan, (self.plan.depth, seed), script, progress)
    }

    /// Runs it. If a promise is broken, leaves out what is not needed for that, and tells what is left. What ends a
    /// fault is left out with what begins it.
    ///
    /// # Errors
    ///
    /// As for [`Self::run`].
    pub fn find_relapse(&self, seed: u64) -> Result<Option<Box<Relapse>>, SimError> {
        relapse::find(self, seed)
    }
}
