//! What is plotted of a run's samples.

use std::collections::BTreeMap;

use peerage::channel::DropReason;
use peerage::sim::{Sample, Spread};

use super::chart::{Chart, Layer, Point, Shape};
use super::markup::{grouped, short};

/// How many reasons for drops have a colour of their own.
const REASONS: usize = 6;

/// Latencies are shown by their logarithms if the greatest is so many times the least.
const WIDE: f64 = 30.0;

/// All plots of a run.
pub(super) fn charts(samples: &[Sample]) -> Vec<Chart<'static>> {
    vec![
        spread(
            "Peers of a node",
            "How many peers the proper nodes that run have.",
            "peers per node",
            &shown(samples, |sample| Some(sample.peers)),
        ),
        running(samples),
        comings(samples),
        messages(samples),
        drops(samples),
        spread(
            "Messages that wait",
            "In the queues of a node, to be written or received.",
            "messages per node",
            &shown(samples, |sample| Some(sample.queued)),
        ),
        latency(samples),
    ]
}

/// The samples as rows of figures.
pub(super) fn table(samples: &[Sample]) -> String {
    if samples.is_empty() {
        return String::new();
    }
    let rows = samples.iter().map(|sample| {
        let latency = |of: fn(Spread) -> u64| {
            sample.latency.map_or_else(|| "&#8211;".into(), |spread| short(of(spread) as f64 / 1000.0))
        };
        let dropped: u64 = sample.dropped.values().sum();
        let cells = [
            format!("{:.3}", sample.at.as_secs_f64()),
            grouped(sample.running as u64),
            grouped(sample.peers.least),
            grouped(sample.peers.median),
            grouped(sample.peers.most),
            grouped(sample.up),
            grouped(sample.down),
            grouped(sample.sent),
            grouped(sample.received),
            grouped(dropped),
            grouped(sample.queued.most),
            latency(|spread| spread.median),
            latency(|spread| spread.p99),
        ];
        let cells = cells.iter().map(|cell| format!("<td>{cell}</td>"));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    });
    let heads = [
        "at, s",
        "nodes",
        "peers, least",
        "median",
        "most",
        "up",
        "down",
        "sent",
        "received",
        "dropped",
        "waiting, most",
        "latency p50, ms",
        "p99, ms",
    ];
    let heads = heads.iter().map(|head| format!("<th>{head}</th>")).collect::<String>();
    format!(
        "<section>\n<h2>The figures</h2>\n<details><summary>{} samples; what is counted is counted since the one before</summary>\n\
         <div class=\"rows\"><table>\n<tr>{heads}</tr>\n{}</table></div>\n</details>\n</section>\n",
        grouped(samples.len() as u64),
        rows.collect::<String>()
    )
}

/// Points in time and what was seen there, if anything.
type Seen<T> = Vec<(f64, Option<T>)>;

fn shown<T>(samples: &[Sample], of: impl Fn(&Sample) -> Option<T>) -> Seen<T> {
    samples.iter().map(|sample| (sample.at.as_secs_f64(), of(sample))).collect()
}

fn layer<T: Copy>(
    (name, ink, shape): (&str, usize, Shape),
    seen: &Seen<T>,
    of: impl Fn(T) -> (f64, f64),
) -> Layer {
    let mut runs: Vec<Vec<Point>> = Vec::new();
    let mut torn = true;
    for (at, value) in seen {
        if let Some(value) = value {
            let (low, high) = of(*value);
            if torn {
                runs.push(Vec::new());
            }
            runs.last_mut().into_iter().for_each(|run| run.push(Point { at: *at, low, high }));
        }
        torn = value.is_none();
    }
    Layer { name: name.to_owned(), ink, shape, runs }
}

fn spread(title: &'static str, says: &str, unit: &'static str, seen: &Seen<Spread>) -> Chart<'static> {
    let layers = vec![
        layer(("least to most", 1, Shape::Faint), seen, |spread| (spread.least as f64, spread.most as f64)),
        layer(("median to p90", 1, Shape::Half), seen, |spread| (spread.median as f64, spread.p90 as f64)),
        layer(("median", 1, Shape::Line), seen, |spread| level(spread.median as f64)),
    ];
    Chart { title, says: says.to_owned(), unit, whole: true, logarithmic: false, layers }
}

/// A value of which no area is to be drawn.
fn level(value: f64) -> (f64, f64) {
    (0.0, value)
}

fn running(samples: &[Sample]) -> Chart<'static> {
    let seen = shown(samples, |sample| Some(sample.running as f64));
    Chart {
        title: "Nodes that run",
        says: "The proper ones; byzantine nodes are not counted.".into(),
        unit: "nodes",
        whole: true,
        logarithmic: false,
        layers: vec![
            layer(("", 3, Shape::Faint), &seen, level),
            layer(("nodes", 3, Shape::Line), &seen, level),
        ],
    }
}

/// What was counted in each interval, as a number per second: from where the interval begins to where it ends.
fn rates(samples: &[Sample], of: impl Fn(&Sample) -> (f64, f64)) -> Vec<Vec<Point>> {
    let mut run = Vec::new();
    let mut begin = 0.0;
    for sample in samples {
        let end = sample.at.as_secs_f64();
        let seconds = end - begin;
        // In no time nothing happens.
        if seconds > 0.0 {
            let (low, high) = of(sample);
            let (low, high) = (low / seconds, high / seconds);
            run.extend([begin, end].map(|at| Point { at, low, high }));
        }
        begin = end;
    }
    if run.is_empty() { Vec::new() } else { vec![run] }
}

fn comings(samples: &[Sample]) -> Chart<'static> {
    let total = |of: fn(&Sample) -> u64| grouped(samples.iter().map(of).sum());
    let (up, down) = (total(|sample| sample.up), total(|sample| sample.down));
    Chart {
        title: "Connections that come and go",
        says: "Counted at each end: those that came up above the line, those that went down below it.".into(),
        unit: "connections per second",
        whole: false,
        logarithmic: false,
        layers: vec![
            Layer {
                name: format!("down ({down} in all)"),
                ink: 2,
                shape: Shape::Area,
                runs: rates(samples, |sample| (-(sample.down as f64), 0.0)),
            },
            Layer {
                name: format!("up ({up} in all)"),
                ink: 3,
                shape: Shape::Area,
                runs: rates(samples, |sample| level(sample.up as f64)),
            },
        ],
    }
}

fn messages(samples: &[Sample]) -> Chart<'static> {
    let sent: u64 = samples.iter().map(|sample| sample.sent).sum();
    let received: u64 = samples.iter().map(|sample| sample.received).sum();
    Chart {
        title: "Messages",
        says: "Written to connections, and queued for their receivers.".into(),
        unit: "messages per second",
        whole: false,
        logarithmic: false,
        layers: vec![
            Layer {
                name: format!("sent ({} in all)", grouped(sent)),
                ink: 6,
                shape: Shape::Faint,
                runs: rates(samples, |sample| level(sample.sent as f64)),
            },
            Layer {
                name: format!("received ({})", grouped(received)),
                ink: 1,
                shape: Shape::Line,
                runs: rates(samples, |sample| level(sample.received as f64)),
            },
        ],
    }
}

/// The drops by reason, one above the other, the most frequent at the bottom.
fn drops(samples: &[Sample]) -> Chart<'static> {
    let mut totals: BTreeMap<DropReason, u64> = BTreeMap::new();
    for (reason, count) in samples.iter().flat_map(|sample| &sample.dropped) {
        *totals.entry(*reason).or_default() += count;
    }
    let mut reasons: Vec<(DropReason, u64)> = totals.into_iter().filter(|(_, count)| *count > 0).collect();
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    let rare: Vec<(DropReason, u64)> = reasons.split_off(reasons.len().min(REASONS));
    let mut groups: Vec<(String, usize, Vec<DropReason>, u64)> = reasons
        .iter()
        .enumerate()
        .map(|(at, (reason, count))| (reason.as_str().replace('_', " "), at + 1, vec![*reason], *count))
        .collect();
    if !rare.is_empty() {
        let count = rare.iter().map(|(_, count)| count).sum();
        groups.push(("others".into(), 8, rare.iter().map(|(reason, _)| *reason).collect(), count));
    }
    let mut below: Vec<DropReason> = Vec::new();
    let count = |sample: &Sample, reasons: &[DropReason]| -> f64 {
        reasons.iter().filter_map(|reason| sample.dropped.get(reason)).sum::<u64>() as f64
    };
    let mut layers = Vec::new();
    for (name, ink, reasons, total) in groups {
        let runs = rates(samples, |sample| {
            let low = count(sample, &below);
            (low, low + count(sample, &reasons))
        });
        layers.push(Layer { name: format!("{name} ({})", grouped(total)), ink, shape: Shape::Area, runs });
        below.extend(reasons);
    }
    let says = if layers.is_empty() { "No message was dropped." } else { "By reason, one above the other." };
    Chart {
        title: "Messages dropped",
        says: says.into(),
        unit: "messages per second",
        whole: false,
        logarithmic: false,
        layers,
    }
}

fn latency(samples: &[Sample]) -> Chart<'static> {
    let seen = shown(samples, |sample| sample.latency);
    let ms = |micros: u64| level(micros as f64 / 1000.0);
    let layers = vec![
        layer(("p99", 4, Shape::Line), &seen, |spread: Spread| ms(spread.p99)),
        layer(("p90", 5, Shape::Line), &seen, |spread: Spread| ms(spread.p90)),
        layer(("p50", 1, Shape::Line), &seen, |spread: Spread| ms(spread.median)),
    ];
    let says = match layers.iter().all(|layer| layer.runs.is_empty()) {
        true => "None of the scenario's own messages was received.",
        false => "From the sending of the scenario's own messages to their receiver.",
    };
    // One pause, as of a partition, would else leave all the rest on the ground.
    let points = || layers.iter().flat_map(|layer| layer.runs.iter().flatten()).map(|point| point.high);
    let most = points().fold(0.0, f64::max);
    let least = points().filter(|value| *value > 0.0).fold(most, f64::min);
    let logarithmic = most > least * WIDE;
    Chart { title: "Latency", says: says.into(), unit: "ms", whole: false, logarithmic, layers }
}
