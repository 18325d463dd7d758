//! `peerage devnet`: a whole network in one process, with ping and chat on it.

mod measure;
mod nodes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use peerage::router::Report;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use self::measure::{Measured, Totals};
use self::nodes::Network;
use crate::TransportKind;
use crate::interrupted;
use crate::output::{Failure, Output};

/// How often each node of a small network says a line.
const LINE_EVERY: Duration = Duration::from_millis(250);
/// How many lines a second the network may hear: each line said is heard by all nodes but one, so in a large network
/// each node says them less often.
const LINES_HEARD_PER_SECOND: f64 = 20_000.0;
/// How long nothing may arrive before what has not arrived is taken for lost.
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    output: &Output,
    count: usize,
    time: Duration,
    transport: TransportKind,
) -> Result<(), Failure> {
    let interrupted = interrupted()?;
    let measured = Arc::new(Measured::default());
    let network = Network::start(count, transport, &measured).await?;
    let over = match transport {
        TransportKind::Rlpx => "TCP-RLPx on loopback",
        TransportKind::Memory => "memory",
    };
    output.text(format!("{count} nodes over {over}, each told only its predecessor's address\n"));
    output.text(" time   up  conns     out/s      in/s   rtt p50   rtt p99  queued  dropped");

    let interrupted = tokio::select! {
        biased;
        () = interrupted => true,
        () = async {
            form(&network).await;
            traffic(output, &network, &measured, time).await;
        } => false,
    };
    let nodes = count;
    let connections = network.connections();
    let connected = network.is_connected();
    let totals = settle(&network, &measured).await;
    let reports = network.stop().await;
    summary(output, &Summary { nodes, connections, connected, interrupted, totals, reports })
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
async fn traffic(output: &Output, network: &Network, measured: &Measured, time: Duration) {
    let (began, mut before) = (Instant::now(), Totals::default());
    let (mut rows, mut lines) = (interval(Duration::from_secs(1)), interval(line_every(network)));
    rows.set_missed_tick_behavior(MissedTickBehavior::Skip);
    lines.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rows.tick().await;
    // A little after the last row, so that a run of whole seconds ends with one.
    let mut end = std::pin::pin!(sleep(time + Duration::from_millis(20)));
    loop {
        tokio::select! {
            biased;
            _ = rows.tick() => {
                let totals = Totals::of(network.handles(), measured);
                row(output, began.elapsed(), network, &totals, &before);
                before = totals;
            }
            () = &mut end => return,
            _ = lines.tick() => network.say_lines(),
        }
    }
}

fn line_every(network: &Network) -> Duration {
    #[allow(clippy::cast_precision_loss, reason = "at most 512 nodes")]
    let nodes = network.handles().len() as f64;
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
async fn settle(network: &Network, measured: &Measured) -> Totals {
    network.quiet();
    let mut last = Totals::of(network.handles(), measured);
    let mut progress = Instant::now();
    loop {
        sleep(Duration::from_millis(50)).await;
        let now = Totals::of(network.handles(), measured);
        // Twice the same and nothing missing: an answer or a passed-on line may follow what has arrived.
        let unchanged = (now.sent, now.received) == (last.sent, last.received);
        let arrived = unchanged && now.missing() == 0 && now.queued == 0;
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
    reports: Vec<Option<Report>>,
}

fn summary(output: &Output, summary: &Summary) -> Result<(), Failure> {
    let Summary { nodes, connections, connected, interrupted, totals, reports } = summary;
    let (missing, lost) = (totals.missing(), totals.lost());
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
        drops(&totals.dropped),
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
    output.object(&json!({
        "event": "summary", "nodes": nodes, "connections": connections, "connected": connected,
        "interrupted": interrupted, "messages_sent": totals.sent, "messages_received": totals.received,
        "messages_dropped_on_arrival": totals.dropped_on_arrival, "messages_missing": missing,
        "messages_lost": lost, "dropped": totals.dropped, "rtt_p50_us": totals.rtt_p50_us,
        "rtt_p99_us": totals.rtt_p99_us, "pings": totals.pings, "lines_said": totals.lines_said,
        "lines_heard": totals.lines_heard, "clean_shutdown": clean,
    }));
    if !connected && !interrupted {
        return Err(Failure::failed("the nodes did not form one network"));
    }
    if lost > 0 {
        let dropped = totals.dropped_against_will;
        let why = format!("{lost} messages were lost: {missing} never arrived, {dropped} were dropped");
        return Err(Failure::failed(why));
    }
    if clean { Ok(()) } else { Err(Failure::failed("not every node shut down in order")) }
}

fn drops(dropped: &BTreeMap<&'static str, u64>) -> String {
    if dropped.is_empty() {
        return "none".into();
    }
    let each: Vec<String> =
        dropped.iter().map(|(reason, count)| format!("{count} {}", reason.replace('_', " "))).collect();
    each.join(", ")
}

/// The sender of a node's lines.
type Lines = mpsc::Sender<String>;
