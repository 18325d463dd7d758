//! Plots over time, as SVG.

use std::time::Duration;

use super::axis::{Times, Values};
use super::markup::{escaped, grouped};

/// The size of a plot, in its own units, of which the page shows one as about a pixel.
const SIZE: (f64, f64) = (480.0, 232.0);
/// Where the area of the values is in it.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 468.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 196.0;
/// How high the strip of marks above that area is.
const STRIP: f64 = 7.0;

/// A value, or the values from one to another, at a time in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) at: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// How points are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A line through the higher values.
    Line,
    /// The area between the lower and the higher values.
    Area,
    /// The same, less strong.
    Half,
    /// The same, faint.
    Faint,
}

impl Shape {
    fn class(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Area => "area",
            Self::Half => "area half",
            Self::Faint => "area faint",
        }
    }
}

/// Something that is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layer {
    /// What the legend calls it; empty if it has no place there.
    pub(super) name: String,
    /// The number of its colour.
    pub(super) ink: usize,
    pub(super) shape: Shape,
    /// Points that belong together, and between them what is not known.
    pub(super) runs: Vec<Vec<Point>>,
}

/// A plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What it shows, in a sentence.
    pub(super) says: String,
    /// What the values count, with their unit.
    pub(super) unit: &'a str,
    /// Whether they are whole numbers.
    pub(super) whole: bool,
    /// Whether values are so far apart that only their logarithms fit.
    pub(super) logarithmic: bool,
    /// From the one below to the one above.
    pub(super) layers: Vec<Layer>,
}

/// What happens at a time, shown in every plot of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    /// In seconds.
    pub(super) at: f64,
    pub(super) kind: MarkKind,
    pub(super) what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MarkKind {
    /// Something is broken.
    Fault,
    /// Something is mended.
    Repair,
    /// Something does not hold.
    Violation,
}

impl MarkKind {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Repair => "repair",
            Self::Violation => "violation",
        }
    }
}

/// The time that all plots of a run have in common, and what happens in it.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    axis: Times,
    /// What is shaded, drawn.
    shades: String,
    /// The marks, drawn.
    marks: String,
}

/// Marks at up to this number of places are lines through the plots; of more, only violations are.
const LINES: usize = 16;

impl Timeline {
    /// A time of that length, and from when to when what is shaded lasts, with its name.
    pub(super) fn new(length: Duration, marks: &[Mark], shaded: &[(f64, f64, String)]) -> Self {
        let mut timeline = Self { axis: Times::of(length), shades: String::new(), marks: String::new() };
        for (from, to, name) in shaded {
            let (from, to) = (timeline.x(*from), timeline.x(*to));
            timeline.shades += &format!(
                "<rect class=\"shade\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"><title>{}</title></rect>",
                (to - from).max(0.5),
                BOTTOM - TOP,
                escaped(name)
            );
        }
        let places = timeline.together(marks);
        let through = places.len() <= LINES;
        for (x, kind, whats) in places {
            let end = if through || kind == MarkKind::Violation { BOTTOM } else { TOP };
            timeline.marks += &format!(
                "<path class=\"mark {}\" d=\"M{x:.1} {}V{end}\"><title>{}</title></path>",
                kind.class(),
                TOP - STRIP,
                escaped(&whats)
            );
        }
        timeline
    }

    /// Marks of a kind that fall on one place, as one.
    fn together(&self, marks: &[Mark]) -> Vec<(f64, MarkKind, String)> {
        const NAMED: usize = 4;
        let mut sorted: Vec<(f64, &Mark)> =
            marks.iter().map(|mark| (self.x(mark.at).round(), mark)).collect();
        sorted.sort_by(|(x, mark), (y, other)| mark.kind.cmp(&other.kind).then(x.total_cmp(y)));
        let same = |a: &(f64, &Mark), b: &(f64, &Mark)| a.1.kind == b.1.kind && a.0.total_cmp(&b.0).is_eq();
        let places = sorted.chunk_by(same);
        let drawn = places.map(|place| {
            let mut whats: Vec<&str> = place.iter().take(NAMED).map(|(_, mark)| mark.what.as_str()).collect();
            let more = place.len().saturating_sub(NAMED);
            let rest = format!("and {more} more");
            if more > 0 {
                whats.push(&rest);
            }
            (place[0].0, place[0].1.kind, whats.join("\n"))
        });
        drawn.collect()
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (seconds / self.axis.end).clamp(0.0, 1.0)
    }
}

impl Chart<'_> {
    /// The plot with its title and legend.
    pub(super) fn figure(&self, timeline: &Timeline) -> String {
        let (title, says) = (escaped(self.title), escaped(&self.says));
        let mut figure = format!("<figure>\n<figcaption><h3>{title}</h3><p>{says}</p></figcaption>\n");
        if self.layers.iter().any(|layer| !layer.runs.is_empty()) {
            figure += &self.svg(timeline);
            figure += &self.legend();
        } else {
            figure += "<p class=\"nothing\">Nothing to show.</p>\n";
        }
        figure + "</figure>\n"
    }

    fn legend(&self) -> String {
        // The one above is named first.
        let named = self.layers.iter().rev().filter(|layer| !layer.name.is_empty());
        let keys = named.map(|layer| {
            let (shape, name) = (layer.shape.class(), escaped(&layer.name));
            format!("<li><span class=\"key {shape} ink{}\"></span>{name}</li>", layer.ink)
        });
        format!("<ul class=\"legend\">{}</ul>\n", keys.collect::<String>())
    }

    fn svg(&self, timeline: &Timeline) -> String {
        let (width, height) = SIZE;
        let points = || self.layers.iter().flat_map(|layer| layer.runs.iter().flatten());
        let least = points().map(|point| point.low).fold(0.0, f64::min);
        let most = points().map(|point| point.high).fold(0.0, f64::max);
        let axis = if self.logarithmic {
            let highs = points().map(|point| point.high).filter(|value| *value > 0.0);
            Values::logarithmic(highs.fold(most, f64::min), most)
        } else {
            Values::of(least, most, self.whole)
        };
        let y = |value: f64| BOTTOM - (BOTTOM - TOP) * axis.part(value);
        let unit = format!("{}{}", self.unit, if self.logarithmic { ", logarithmic" } else { "" });
        let mut svg = format!(
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}, {}\">\n",
            escaped(self.title),
            escaped(&unit)
        );
        svg += &format!("<text class=\"unit\" x=\"4\" y=\"13\">{}</text>\n", escaped(&unit));
        svg += &timeline.shades;
        for (value, name) in axis.ticks() {
            let (y, class) = (y(value), if value == 0.0 { "zero" } else { "grid" });
            svg += &format!(
                "<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text class=\"value\" x=\"{}\" y=\"{:.1}\">{name}</text>\n",
                LEFT - 6.0,
                y + 4.0
            );
        }
        for (seconds, name) in timeline.axis.ticks() {
            svg += &format!(
                "<path class=\"tick\" d=\"M{0:.1} {BOTTOM}v4\"/><text class=\"time\" x=\"{0:.1}\" y=\"{1}\">{name}</text>\n",
                timeline.x(seconds),
                BOTTOM + 18.0
            );
        }
        svg += &format!(
            "<text class=\"axis\" x=\"{RIGHT}\" y=\"{}\">virtual time, {}</text>\n",
            height - 3.0,
            timeline.axis.unit()
        );
        for layer in &self.layers {
            svg += &layer.drawn(|seconds| timeline.x(seconds), y);
        }
        svg += &timeline.marks;
        svg + "</svg>\n"
    }
}

impl Layer {
    fn drawn(&self, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
        let (mut path, mut dots) = (String::new(), String::new());
        for run in &self.runs {
            let above: Vec<String> =
                run.iter().map(|point| format!("{:.1} {:.1}", x(point.at), y(point.high))).collect();
            // A single value has no extent in time.
            if let [Point { at, low, high }] = run[..] {
                dots += &match self.shape {
                    Shape::Line => format!(
                        "<circle class=\"dot ink{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>\n",
                        self.ink,
                        x(at),
                        y(high)
                    ),
                    Shape::Area | Shape::Half | Shape::Faint => {
                        path += &format!("M{0:.1} {1:.1}h2V{2:.1}h-2Z", x(at) - 1.0, y(low), y(high));
                        String::new()
                    }
                };
                continue;
            }
            path += &format!("M{}", without_repeats(&above).join("L"));
            if self.shape != Shape::Line {
                let below: Vec<String> =
                    run.iter().rev().map(|point| format!("{:.1} {:.1}", x(point.at), y(point.low))).collect();
                path += &format!("L{}Z", without_repeats(&below).join("L"));
            }
        }
        let class = self.shape.class();
        let path = if path.is_empty() {
            path
        } else {
            format!("<path class=\"{class} ink{}\" d=\"{path}\"/>\n", self.ink)
        };
        path + &dots
    }
}

/// Points that follow each other, without those that are where the one before is.
fn without_repeats(points: &[String]) -> Vec<&str> {
    let mut left: Vec<&str> = points.iter().map(String::as_str).collect();
    left.dedup();
    left
}

/// What happens in a run, as a legend.
pub(super) fn marks_legend(marks: &[Mark], shaded: bool) -> String {
    let count = |kind| marks.iter().filter(|mark| mark.kind == kind).count() as u64;
    let mut keys = String::new();
    for (kind, name) in [
        (MarkKind::Fault, "something was broken"),
        (MarkKind::Repair, "something was mended"),
        (MarkKind::Violation, "something did not hold"),
    ] {
        let times = count(kind);
        if times > 0 {
            let class = kind.class();
            keys += &format!("<li><span class=\"key mark {class}\"></span>{name} ({})</li>", grouped(times));
        }
    }
    if shaded {
        keys += "<li><span class=\"key shade\"></span>the network was parted</li>";
    }
    if keys.is_empty() {
        keys
    } else {
        format!("<p class=\"marks\">Marks on the time axes:</p><ul class=\"legend\">{keys}</ul>\n")
    }
}
