//! A run of a scenario: does what is due, looks at regular times, and tells what it saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use super::build::build;
use super::conduct::Conduct;
use super::look::Look;
use super::plan::Plan;
use super::watch::{Sight, Watch};
use crate::sim::Depth;
use crate::sim::check::Flow;
use crate::sim::net::{SimError, SimNet};
use crate::sim::node::Node;
use crate::sim::outcome::{Outcome, Picture, Sample, Spread};
use crate::sim::script::{Act, Script};

/// Most samples of a run.
const MAX_SAMPLES: u128 = 300;

/// The times that may lie between samples, in milliseconds.
const INTERVALS_MS: [u64; 14] =
    [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 180_000, 240_000, 300_000];

/// What is due at some time. At one time it is done in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Start(Node),
    /// The act of that number.
    Act(usize),
    /// Looks, since some promise must be kept by now.
    Look,
    Sample,
}

/// Runs a scenario.
pub(super) fn run(
    plan: &Plan,
    (depth, seed): (Depth, u64),
    script: &Script,
    progress: &mut dyn FnMut(Duration),
) -> Result<Outcome, SimError> {
    let acts_end = script.steps().last().map_or(Duration::ZERO, |(at, _)| *at);
    let watch = Watch::new(plan, acts_end);
    let due = due(plan, script, &watch);
    let (net, board) = build(plan, depth, seed)?;
    let byzantine = byzantine(plan);
    let mut run =
        Run { plan, net, board, byzantine, watch, flow: Flow::default(), samples: Vec::new(), before: None };
    if script.steps().is_empty() {
        run.first_act();
    }
    for (at, due) in due {
        let now = run.net.elapsed();
        run.net.run_for(at.saturating_sub(now));
        match due {
            Due::Start(node) => run.done(&Act::Start(node))?,
            Due::Act(number) => {
                if number == 0 {
                    run.first_act();
                }
                if let Some((_, act)) = script.steps().get(number) {
                    run.done(act)?;
                }
            }
            Due::Look => run.look(),
            Due::Sample => {
                run.sample(at);
                progress(run.net.elapsed());
            }
        }
    }
    Ok(run.end(seed, depth, script.clone()))
}

/// All that is due in a run, by time.
fn due(plan: &Plan, script: &Script, watch: &Watch<'_>) -> Vec<(Duration, Due)> {
    let mut due = Vec::new();
    for (number, group) in plan.groups.iter().enumerate() {
        let mut at = group.start;
        for node in plan.census.nodes_of(number) {
            due.push((at, Due::Start(node)));
            at += group.stagger;
        }
    }
    due.extend(script.steps().iter().enumerate().map(|(number, (at, _))| (*at, Due::Act(number))));
    due.extend(watch.deadlines().into_iter().filter(|at| *at <= plan.duration).map(|at| (at, Due::Look)));
    let every = interval(plan.duration);
    let mut at = every;
    while at < plan.duration {
        due.push((at, Due::Sample));
        at += every;
    }
    due.push((plan.duration, Due::Sample));
    due.sort_unstable();
    due
}

/// How much time lies between samples.
fn interval(duration: Duration) -> Duration {
    let fits = |ms: &u64| duration.as_millis() <= MAX_SAMPLES * u128::from(*ms);
    Duration::from_millis(INTERVALS_MS.into_iter().find(fits).unwrap_or(600_000))
}

fn byzantine(plan: &Plan) -> BTreeSet<Node> {
    let groups = plan.groups.iter().enumerate();
    let byzantine = groups.filter(|(_, group)| matches!(group.conduct, Conduct::Byzantine { .. }));
    byzantine.flat_map(|(number, _)| plan.census.nodes_of(number)).collect()
}

/// A scenario that runs.
struct Run<'p> {
    plan: &'p Plan,
    net: SimNet,
    board: Arc<Board>,
    byzantine: BTreeSet<Node>,
    watch: Watch<'p>,
    /// What had become of all messages at the last sample.
    flow: Flow,
    samples: Vec<Sample>,
    before: Option<Picture>,
}

impl Run<'_> {
    fn done(&mut self, act: &Act) -> Result<(), SimError> {
        self.net.act(act)?;
        self.watch.lives(&self.net, self.net.elapsed());
        Ok(())
    }

    fn first_act(&mut self) {
        let look = Look::at(&self.net);
        self.watch.first_act(look.connections(|_| false));
        self.before = Some(self.picture(&look));
    }

    fn look(&mut self) {
        let look = Look::at(&self.net);
        self.see(&look);
    }

    fn see(&mut self, look: &Look) {
        let now = self.net.elapsed();
        self.watch.look(&Sight { now, net: &self.net, look });
    }

    /// Takes the sample that is due at a time.
    fn sample(&mut self, due: Duration) {
        // A node that takes its time to shut down may have let the time of a sample pass.
        if self.samples.last().is_some_and(|sample| sample.at >= due) {
            return;
        }
        let look = Look::at(&self.net);
        let flow = self.net.counted();
        let now = self.net.elapsed();
        self.watch.always(now, self.net.violations_of(&flow));
        self.see(&look);
        let recent = self.board.take_recent();
        self.watch.latencies(now, &self.board, &recent.latencies);
        let latencies = recent.latencies.concat();
        let mut dropped = BTreeMap::new();
        for (reason, count) in &flow.dropped {
            let since = count - self.flow.dropped.get(reason).copied().unwrap_or(0);
            if since > 0 {
                dropped.insert(*reason, since);
            }
        }
        self.samples.push(Sample {
            at: now,
            running: look.nodes().count(),
            peers: Spread::of(look.nodes().map(|(_, seen)| seen.peers.len() as u64).collect()),
            up: recent.up,
            down: recent.down,
            sent: flow.sent - self.flow.sent,
            received: flow.received - self.flow.received,
            dropped,
            queued: Spread::of(look.nodes().map(|(_, seen)| seen.queued).collect()),
            latency: (!latencies.is_empty()).then(|| Spread::of(latencies)),
        });
        self.flow = flow;
    }

    fn picture(&self, look: &Look) -> Picture {
        let census = &self.plan.census;
        Picture {
            groups: (0..census.groups())
                .map(|group| (census.name(group).to_owned(), census.nodes_of(group)))
                .collect(),
            stopped: self.net.nodes().into_iter().filter(|node| !self.net.is_up(*node)).collect(),
            connections: look.connections(|node| self.byzantine.contains(&node)),
        }
    }

    fn end(self, seed: u64, depth: Depth, script: Script) -> Outcome {
        let after = self.picture(&Look::at(&self.net));
        let virtual_time = self.net.elapsed();
        Outcome {
            scenario: self.plan.name.clone(),
            seed,
            depth,
            trace_hash: self.net.trace_hash(),
            nodes: self.net.nodes().len(),
            connections: self.board.connections(|node| self.byzantine.contains(&node)),
            messages: self.flow.received,
            virtual_time,
            script,
            samples: self.samples,
            before: self.before.unwrap_or_default(),
            after,
            violations: self.watch.finish(virtual_time, &self.board),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_three_hundred_samples_at_most() {
        let ms = |seconds| interval(Duration::from_secs(seconds)).as_millis();
        assert_eq!(
            (ms(1), ms(30), ms(31), ms(600), ms(1_800), ms(24 * 3600)),
            (100, 100, 200, 2_000, 10_000, 300_000)
        );
    }
}
