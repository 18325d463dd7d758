//! A page that shows a run: one HTML file, without scripts, that fetches nothing.

mod axis;
mod chart;
mod figures;
mod graph;
mod markup;

use peerage::sim::{Act, Outcome, Relapse};

use self::chart::{Mark, MarkKind, Timeline, marks_legend};
use self::graph::Crowd;
use self::markup::{escaped, several, short};
pub(super) use self::markup::{grouped, time};
use super::facts::{Facts, depth};

/// By which a page is known to be one of ours.
pub(super) const GENERATOR: &str = "<meta name=\"generator\" content=\"peerage sim\"/>";

/// More acts than this are folded away.
const ACTS: usize = 40;

/// Draws the page of a run.
///
/// `relapse` is what was left of the script after all was left out that a violation does not need.
pub(super) fn render(outcome: &Outcome, facts: &Facts, relapse: Option<&Relapse>) -> String {
    let name = escaped(&outcome.scenario);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n{GENERATOR}\n\
         <title>{name}, seed {}</title>\n<style>\n{}</style>\n</head>\n<body>\n",
        outcome.seed,
        include_str!("page.css")
    );
    page += &format!(
        "<header>\n<h1>{name}</h1>\n<p>{}</p>\n<p class=\"under\">{}</p>\n</header>\n<main>\n",
        escaped(&facts.about),
        summary(outcome)
    );
    page += &verdict(outcome, facts, relapse);
    page += &table_of_facts(outcome, facts);
    let marks = marks(outcome);
    let shaded = partitions(outcome);
    let timeline = Timeline::new(outcome.virtual_time, &marks, &shaded);
    page += "<section>\n<h2>Over time</h2>\n";
    if outcome.samples.is_empty() {
        page += "<p class=\"nothing\">No samples were taken.</p>\n";
    } else {
        page += &marks_legend(&marks, !shaded.is_empty());
        let charts = figures::charts(&outcome.samples);
        let charts = charts.iter().map(|chart| chart.figure(&timeline));
        page += &format!("<div class=\"plots\">\n{}</div>\n", charts.collect::<String>());
    }
    page += "</section>\n";
    page += &topology(outcome);
    page += &script(outcome);
    page += &figures::table(&outcome.samples);
    page += "</main>\n";
    page += &format!(
        "<footer>Written by <code>peerage sim</code> {}. All but the wall time and the memory follows from the scenario \
         and the seed.</footer>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    page
}

fn summary(outcome: &Outcome) -> String {
    format!(
        "{} over {} of virtual time, seed {}, {}.",
        several(outcome.nodes, "node"),
        time(outcome.virtual_time),
        outcome.seed,
        depth(outcome.depth).1
    )
}

fn verdict(outcome: &Outcome, facts: &Facts, relapse: Option<&Relapse>) -> String {
    let replay = format!("<p>To run it again:</p><pre>{}</pre>\n", escaped(&facts.replay));
    if outcome.violations.is_empty() {
        return format!(
            "<section class=\"verdict good\">\n<h3>Nothing was violated.</h3>\n{replay}</section>\n"
        );
    }
    let count = several(outcome.violations.len(), "thing");
    let each = outcome
        .violations
        .iter()
        .map(|(at, violation)| format!("<li>At {}: {}.</li>\n", time(*at), escaped(&violation.to_string())));
    let mut section = format!(
        "<section class=\"verdict bad\">\n<h3>{count} did not hold.</h3>\n<ul>\n{}</ul>\n{replay}",
        each.collect::<String>()
    );
    if let Some(relapse) = relapse {
        section += &format!(
            "<p>It takes no more than {} of {}:</p><pre>{}</pre>\n",
            several(relapse.script.steps().len(), "act"),
            relapse.drawn,
            escaped_lines(&relapse.script.to_string())
        );
    }
    section + "</section>\n"
}

/// Text whose lines stay lines.
fn escaped_lines(text: &str) -> String {
    text.lines().map(|line| escaped(line) + "\n").collect()
}

fn table_of_facts(outcome: &Outcome, facts: &Facts) -> String {
    let dropped: u64 = outcome.samples.iter().flat_map(|sample| sample.dropped.values()).sum();
    let per_second = facts.wall_ms_per_virtual_s(outcome.virtual_time);
    let mut rows = vec![
        ("Virtual time", time(outcome.virtual_time)),
        ("Wall time", format!("{:.3} s", facts.wall.as_secs_f64())),
        (
            "Per virtual second",
            per_second.map_or_else(|| "no time passed".into(), |ms| format!("{} ms", short(ms))),
        ),
        ("Nodes", grouped(outcome.nodes as u64)),
        ("Connections made", grouped(outcome.connections)),
        ("Messages received", grouped(outcome.messages)),
        ("Messages dropped", grouped(dropped)),
        ("Acts", grouped(outcome.script.steps().len() as u64)),
        ("Depth", depth(outcome.depth).0.to_owned()),
        ("Seed", outcome.seed.to_string()),
        ("Trace", format!("<code>{:016x}</code>", outcome.trace_hash)),
    ];
    if let Some(bytes) = facts.max_rss_bytes {
        rows.push(("Memory, at most", format!("{} MB", short((bytes as f64 / 1e5).round() / 10.0))));
    }
    let rows = rows.iter().map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    format!("<dl>\n{}</dl>\n", rows.collect::<String>())
}

fn marks(outcome: &Outcome) -> Vec<Mark> {
    let acts = outcome.script.steps().iter().map(|(at, act)| {
        let kind = if is_repair(act) { MarkKind::Repair } else { MarkKind::Fault };
        Mark { at: at.as_secs_f64(), kind, what: format!("{}: {act}", time(*at)) }
    });
    let violations = outcome.violations.iter().map(|(at, violation)| Mark {
        at: at.as_secs_f64(),
        kind: MarkKind::Violation,
        what: format!("{}: {violation}", time(*at)),
    });
    acts.chain(violations).collect()
}

fn is_repair(act: &Act) -> bool {
    let repairs =
        |act: &Act| matches!(act, Act::Start(_) | Act::PowerOn(_) | Act::Mend(..) | Act::Slow(_, None));
    repairs(act) || matches!(act, Act::Heal(_) | Act::HealAll)
}

/// From when to when the network is parted, in seconds, and by what name.
fn partitions(outcome: &Outcome) -> Vec<(f64, f64, String)> {
    let steps = outcome.script.steps();
    let ends = |name: &str, act: &Act| match act {
        Act::Heal(healed) => healed == name,
        // One of the same name takes its place.
        Act::Partition(again, _) => again == name,
        Act::HealAll => true,
        _ => false,
    };
    let parted = steps.iter().enumerate().filter_map(|(at, (from, act))| {
        let Act::Partition(name, _) = act else { return None };
        let end = steps[at + 1..].iter().find(|(_, act)| ends(name, act)).map(|(end, _)| *end);
        let end = end.unwrap_or(outcome.virtual_time);
        Some((from.as_secs_f64(), end.as_secs_f64(), format!("{name}, {} to {}", time(*from), time(end))))
    });
    parted.collect()
}

fn topology(outcome: &Outcome) -> String {
    let pictures = [&outcome.before, &outcome.after];
    let crowd = Crowd::of(pictures);
    if crowd.is_empty() {
        return String::new();
    }
    let darkest = pictures.into_iter().map(|picture| crowd.darkest(picture)).fold(0.0, f64::max);
    let before = match outcome.script.steps().first() {
        Some((at, _)) => format!("Before anything was done, at {}", time(*at)),
        None => "Before".into(),
    };
    let titles = [before, format!("At the end, at {}", time(outcome.virtual_time))];
    let figures = titles.iter().zip(pictures).map(|(title, picture)| {
        format!(
            "<figure>\n<figcaption><h3>{title}</h3><p>{}</p></figcaption>\n{}</figure>\n",
            crowd.words(picture),
            crowd.svg(picture, darkest, title)
        )
    });
    format!(
        "<section>\n<h2>Who is connected to whom</h2>\n<p class=\"under\">{}</p>\n{}<div class=\"plots pictures\">\n{}</div>\n</section>\n",
        crowd.says(darkest),
        crowd.legend(),
        figures.collect::<String>()
    )
}

fn script(outcome: &Outcome) -> String {
    let steps = outcome.script.steps();
    if steps.is_empty() {
        return "<section>\n<h2>What was done</h2>\n<p>Nothing: the network was left alone.</p>\n</section>\n"
            .into();
    }
    let rows = steps.iter().map(|(at, act)| {
        let class = if is_repair(act) { MarkKind::Repair } else { MarkKind::Fault }.class();
        let act = escaped(&act.to_string());
        format!("<tr><td>{:.3} s</td><td class=\"words\"><span class=\"key mark {class}\"></span>{act}</td></tr>\n", at.as_secs_f64())
    });
    let table = format!("<div class=\"rows\"><table>\n{}</table></div>\n", rows.collect::<String>());
    let count = several(steps.len(), "act");
    let open = if steps.len() > ACTS { "" } else { " open=\"open\"" };
    format!(
        "<section>\n<h2>What was done</h2>\n<details{open}><summary>{count}</summary>\n{table}</details>\n</section>\n"
    )
}

#[cfg(test)]
mod tests;
