//! `peerage devnet`: a whole network in one process, with ping and chat on it.

mod churn;
mod measure;
mod nodes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use peerage::router::Report;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use self::churn::Churn;
use self::measure::{Measured, Totals};
use self::nodes::Network;
use crate::output::{Failure, Output, by_label};
use crate::{TransportKind, interrupted, journal};

/// How often each node of a small network says a line.
const LINE_EVERY: Duration = Duration::from_millis(250);
/// How many lines a second the network may hear: each line said is heard by all nodes but one, so in a large network
/// each node says them less often.
const LINES_HEARD_PER_SECOND: f64 = 20_000.0;
/// How long nothing may arrive before what has not arrived is taken for lost.
const SETTLE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) nodes: usize,
    pub(crate) time: Duration,
    pub(crate) transport: TransportKind,
    /// Nodes killed and started again in a minute.
    pub(crate) churn: Option<u16>,
    pub(crate) seed: u64,
    /// The folder for journals.
    pub(crate) journal: Option<PathBuf>,
}

pub(crate) async fn run(output: &Output, settings: &Settings) -> Result<(), Failure> {
    let interrupted = interrupted()?;
    let measured = Arc::new(Measured::default());
    let mut network = Network::start(settings, &measured).await?;
    let over = match settings.transport {
        TransportKind::Rlpx => "TCP-RLPx on loopback",
        TransportKind::Memory => "memory",
    };
    let nodes = settings.nodes;
    output.text(format!("{nodes} nodes over {over}, each told only its predecessor's address\n"));
    output.text(" time   up  conns     out/s      in/s   rtt p50   rtt p99  queued  dropped");

    let interrupted = tokio::select! {
        biased;
        () = interrupted => true,
        ran = async {
            form(&network).await;
            traffic(output, &mut network, &measured, settings).await
        } => {
            ran?;
            false
        }
    };
    let after = match settings.churn {
        Some(_) => Some(churn::recover(&mut network, &measured).await?),
        None => None,
    };
    let connections = network.connections();
    let connected = network.is_connected();
    let totals = settle(&network, &measured, after.as_ref()).await;
    let killed = network.killed().len();
    let (reports, journals) = network.stop().await;
    if let Some(journals) = &journals {
        journal::show(output, journals);
    }
    summary(output, &Summary { nodes, connections, connected, interrupted, totals, killed, after, reports })
}

/// Waits until all nodes are one network, so that every line said can be heard by all. The summary says if
/// they never were.
async fn form(network: &Network) {
    let formed = async {
        while !network.is_connected() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = timeout(SETTLE, formed).await;
}

/// Lets every node say a line now and then, and prints a row each second.
async fn traffic(
    output: &Output,
    network: &mut Network,
    measured: &Measured,
    settings: &Settings,
) -> Result<(), Failure> {
    let (began, mut before) = (Instant::now(), Totals::default());
    let (mut rows, mut lines) = (interval(Duration::from_secs(1)), interval(line_every(network)));
    rows.set_missed_tick_behavior(MissedTickBehavior::Skip);
    lines.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut churn = Churn::new(settings);
    rows.tick().await;
    // A little after the last row, so that a run of whole seconds ends with one.
    let mut end = std::pin::pin!(sleep(settings.time + Duration::from_millis(20)));
    loop {
        tokio::select! {
            biased;
            _ = rows.tick() => {
                let totals = Totals::of(network, measured);
                row(output, began.elapsed(), network, &totals, &before);
                before = totals;
            }
            () = &mut end => return Ok(()),
            () = churn.due() => churn.act(network).await?,
            _ = lines.tick() => network.say_lines(),
        }
    }
}

fn line_every(network: &Network) -> Duration {
    #[allow(clippy::cast_precision_loss, reason = "at most 512 nodes")]
    let nodes = network.size() as f64;
    LINE_EVERY.max(Duration::from_secs_f64(nodes * (nodes - 1.0) / LINES_HEARD_PER_SECOND))
}

fn row(output: &Output, elapsed: Duration, network: &Network, now: &Totals, before: &Totals) {
    let (sent, received) = (now.sent - before.sent, now.received - before.received);
    let (up, connections) = (network.nodes_with_peers(), network.connections());
    let dropped: u64 = now.dropped.values().sum();
    let text = format!(
        "{:>4}s {up:>4} {connections:>6} {sent:>9} {received:>9} {:>6} us {:>6} us {:>7} {dropped:>8}",
        elapsed.as_secs(),
        now.rtt_p50_us,
        now.rtt_p99_us,
        now.queued,
    );
    output.line(
        text,
        &json!({
            "event": "second", "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "nodes_up": up, "connections": connections,
            "sent": sent, "received": received, "rtt_p50_us": now.rtt_p50_us, "rtt_p99_us": now.rtt_p99_us,
            "queued": now.queued, "dropped": dropped,
        }),
    );
}

/// Asks and says no more, and waits until what was sent has arrived.
async fn settle(network: &Network, measured: &Measured, after: Option<&Totals>) -> Totals {
    network.quiet();
    let missing_before = after.map_or(0, Totals::missing);
    let mut last = Totals::of(network, measured);
    let mut progress = Instant::now();
    loop {
        sleep(Duration::from_millis(50)).await;
        let now = Totals::of(network, measured);
        // Twice the same and nothing missing: an answer or a passed-on line may follow what has arrived.
        let unchanged = (now.sent, now.received) == (last.sent, last.received);
        let arrived = unchanged && now.missing() <= missing_before && now.queued == 0;
        if arrived || progress.elapsed() > SETTLE {
            return now;
        }
        if now.received > last.received {
            progress = Instant::now();
        }
        last = now;
    }
}

struct Summary {
    nodes: usize,
    connections: usize,
    connected: bool,
    interrupted: bool,
    totals: Totals,
    /// Lives that ended in the churn.
    killed: usize,
    /// The counts when the churn was over and nothing was on its way.
    after: Option<Totals>,
    reports: Vec<Option<Report>>,
}

fn summary(output: &Output, summary: &Summary) -> Result<(), Failure> {
    let Summary { nodes, connections, connected, interrupted, totals, killed, after, reports } = summary;
    let before = after.clone().unwrap_or_default();
    let (missing, lost) = (totals.missing(), totals.lost_since(&before));
    let unheard = after.as_ref().map_or(0, |after| totals.unheard_since(after, *nodes));
    let clean = reports.iter().all(|report| report.as_ref().is_some_and(|report| report.clean));
    output.text(format!(
        "\n{nodes} nodes, {connections} connections, {}\n\
         messages       {} sent, {} received, {} dropped on arrival, {missing} missing; {lost} lost\n\
         dropped        {}\n\
         round trip     p50 {} us, p99 {} us over {} pings\n\
         chat           {} lines said, {} heard\n\
         shutdown       {}",
        if *connected { "one network" } else { "NOT one network" },
        totals.sent,
        totals.received,
        totals.dropped_on_arrival,
        by_label(&totals.dropped),
        totals.rtt_p50_us,
        totals.rtt_p99_us,
        totals.pings,
        totals.lines_said,
        totals.lines_heard,
        if clean {
            "every task of every node ended in order"
        } else {
            "some task failed or did not end in time"
        },
    ));
    if after.is_some() {
        output.text(format!(
            "churn          {killed} nodes killed, {} messages lost with them; after it {} lines said, {unheard} not heard",
            before.lost(),
            totals.lines_said - before.lines_said,
        ));
    }
    output.object(&json!({
        "event": "summary", "nodes": nodes, "connections": connections, "connected": connected,
        "interrupted": interrupted, "messages_sent": totals.sent, "messages_received": totals.received,
        "messages_dropped_on_arrival": totals.dropped_on_arrival, "messages_missing": missing,
        "messages_lost": lost, "dropped": totals.dropped, "rtt_p50_us": totals.rtt_p50_us,
        "rtt_p99_us": totals.rtt_p99_us, "pings": totals.pings, "lines_said": totals.lines_said,
        "lines_heard": totals.lines_heard, "clean_shutdown": clean,
        "killed": killed, "messages_lost_in_churn": before.lost(), "lines_unheard_after_churn": unheard,
    }));
    if !connected && !interrupted {
        return Err(Failure::failed("the nodes did not form one network"));
    }
    if lost > 0 {
        let (missing, dropped) = (
            missing.saturating_sub(before.missing()),
            totals.dropped_against_will - before.dropped_against_will,
        );
        let why = format!("{lost} messages were lost: {missing} never arrived, {dropped} were dropped");
        return Err(Failure::failed(why));
    }
    if unheard > 0 && !interrupted {
        return Err(Failure::failed(format!("{unheard} lines said after the churn were not heard")));
    }
    if clean { Ok(()) } else { Err(Failure::failed("not every node shut down in order")) }
}

/// The sender of a node's lines.
type Lines = mpsc::Sender<String>;
