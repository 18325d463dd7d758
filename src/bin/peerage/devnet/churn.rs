//! Nodes that are killed and started again while a devnet runs.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio::time::{Instant, sleep, sleep_until};

use super::measure::{Measured, Totals};
use super::nodes::Network;
use super::{SETTLE, Settings, form};
use crate::output::Failure;

/// How long a killed node stays away, at most.
const AWAY: Duration = Duration::from_millis(250);
/// How often each node says a line when the churn is over.
const ROUNDS: usize = 4;

/// Says whom to kill and revive, and when. One node is down at a time.
pub(super) struct Churn {
    /// Between two kills; `None` if nobody is killed.
    every: Option<Duration>,
    next: Instant,
    /// Who is down.
    down: Option<usize>,
    draws: ChaCha8Rng,
}

impl Churn {
    pub(super) fn new(settings: &Settings) -> Self {
        let every = settings.churn.map(|per_minute| Duration::from_secs(60) / u32::from(per_minute));
        let draws = ChaCha8Rng::seed_from_u64(settings.seed);
        Self { every, next: Instant::now() + every.unwrap_or_default(), down: None, draws }
    }

    /// Waits until there is something to do.
    pub(super) async fn due(&self) {
        match self.every {
            Some(_) => sleep_until(self.next).await,
            None => std::future::pending().await,
        }
    }

    /// Kills a node, or revives the one that is down.
    pub(super) async fn act(&mut self, network: &mut Network) -> Result<(), Failure> {
        let every = self.every.unwrap_or_default();
        let away = AWAY.min(every / 2);
        if let Some(number) = self.down.take() {
            network.revive(number).await?;
            self.next += every.saturating_sub(away);
        } else {
            let nodes = network.size() as u64;
            let number = usize::try_from(self.draws.next_u64() % nodes.max(1)).unwrap_or(0);
            network.kill(number).await;
            self.down = Some(number);
            self.next += away;
        }
        Ok(())
    }
}

/// Starts whoever is down, waits until the nodes are one network and nothing is on its way, and has every node say a few
/// lines that all must hear. Answers the counts from before those lines.
pub(super) async fn recover(network: &mut Network, measured: &Measured) -> Result<Totals, Failure> {
    for number in 0..network.size() {
        network.revive(number).await?;
    }
    form(network).await;
    network.quiet();
    let began = Instant::now();
    let (mut last, mut unchanged) = (Totals::of(network, measured), 0);
    // What was lost is never found, so that only standing still tells when the rest has arrived.
    while unchanged < 6 && began.elapsed() < SETTLE {
        sleep(Duration::from_millis(50)).await;
        let now = Totals::of(network, measured);
        let same = (now.sent, now.received, now.queued) == (last.sent, last.received, 0);
        unchanged = if same { unchanged + 1 } else { 0 };
        last = now;
    }
    for _ in 0..ROUNDS {
        network.say_lines();
        sleep(Duration::from_millis(50)).await;
    }
    Ok(last)
}
