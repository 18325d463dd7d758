//! Who is connected to whom, as SVG: a ring of nodes, or a table of shares where they are many.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;

use peerage::sim::{Node, Picture};

use super::markup::{escaped, grouped, several, short};

/// More nodes than this are no ring that can be read.
const RING: usize = 150;
/// The side of a drawing, in its own units.
const SIDE: f64 = 400.0;
/// Into how many rows the nodes of a large network are put together.
const ROWS: usize = 50;
/// How many shades tell shares apart.
const SHADES: usize = 8;
/// How many colours there are for groups.
const INKS: usize = 8;

/// The nodes of a network in the order of their groups.
pub(super) struct Crowd<'a> {
    groups: Vec<(&'a str, usize)>,
    /// The place of each node, and the number of its group.
    places: BTreeMap<Node, (usize, usize)>,
}

impl<'a> Crowd<'a> {
    /// All nodes of the pictures. A node is in the first group that names it.
    pub(super) fn of(pictures: [&'a Picture; 2]) -> Self {
        let mut crowd = Self { groups: Vec::new(), places: BTreeMap::new() };
        for picture in pictures {
            for (name, nodes) in &picture.groups {
                crowd.add(name, nodes.iter().copied());
            }
        }
        for picture in pictures {
            let tied = picture.connections.iter().flat_map(|(a, b)| [*a, *b]);
            crowd.add("no group", picture.stopped.iter().copied().chain(tied));
        }
        crowd
    }

    fn add(&mut self, name: &'a str, nodes: impl Iterator<Item = Node>) {
        let group = self.groups.iter().position(|(known, _)| *known == name).unwrap_or(self.groups.len());
        for node in nodes {
            let next = self.places.len();
            if self.places.contains_key(&node) {
                continue;
            }
            if group == self.groups.len() {
                self.groups.push((name, 0));
            }
            self.groups[group].1 += 1;
            self.places.insert(node, (next, group));
        }
    }

    pub(super) fn legend(&self) -> String {
        let keys = self.groups.iter().enumerate().map(|(at, (name, count))| {
            let nodes = several(*count, "node");
            format!("<li><span class=\"key dot ink{}\"></span>{} ({nodes})</li>", ink(at), escaped(name))
        });
        let stopped = match self.is_ring() {
            true => "<li><span class=\"key dot stopped\"></span>does not run</li>",
            false => "<li><span class=\"key area stopped\"></span>do not run</li>",
        };
        format!("<ul class=\"legend\">{}{stopped}</ul>\n", keys.collect::<String>())
    }

    /// How the drawings are to be read.
    pub(super) fn says(&self, darkest: f64) -> String {
        if self.is_ring() {
            return "Nodes by group, clockwise from the top. A line is a connection, in the colour of its group if it stays within it."
                .into();
        }
        let percent = short((darkest * 1000.0).round() / 10.0);
        format!(
            "Rows and columns are the nodes, in the order of the groups, about {} to a field. The darker a field, the more of \
             the connections that its nodes could have are up: {percent} % in the darkest.",
            short((self.places.len() as f64 / ROWS as f64).round())
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn is_ring(&self) -> bool {
        self.places.len() <= RING
    }

    /// A picture of them. `darkest` is the greatest share that any of the drawings has to show.
    pub(super) fn svg(&self, picture: &Picture, darkest: f64, title: &str) -> String {
        let drawn = if self.is_ring() { self.ring(picture) } else { self.table(picture, darkest) };
        let title = escaped(title);
        format!("<svg viewBox=\"0 0 {SIDE} {SIDE}\" role=\"img\" aria-label=\"{title}\">\n{drawn}</svg>\n")
    }

    fn place(&self, node: Node) -> (usize, usize) {
        self.places.get(&node).copied().unwrap_or_default()
    }

    /// Where a place is on the ring: between groups there is a gap.
    fn spot(&self, (place, group): (usize, usize)) -> (f64, f64) {
        const RADIUS: f64 = SIDE / 2.0 - 14.0;
        const GAP: f64 = 1.5;
        let gaps = if self.groups.len() > 1 { self.groups.len() as f64 * GAP } else { 0.0 };
        let along = (place as f64 + group as f64 * GAP) / (self.places.len() as f64 + gaps);
        let (sin, cos) = (along * TAU).sin_cos();
        (SIDE / 2.0 + RADIUS * sin, SIDE / 2.0 - RADIUS * cos)
    }

    fn ring(&self, picture: &Picture) -> String {
        let mut paths: BTreeMap<usize, String> = BTreeMap::new();
        let mut peers: BTreeMap<Node, usize> = BTreeMap::new();
        for (a, b) in &picture.connections {
            let (from, to) = (self.place(*a), self.place(*b));
            // Between groups in no colour.
            let ink = if from.1 == to.1 { ink(from.1) } else { 0 };
            let ((x, y), (u, v)) = (self.spot(from), self.spot(to));
            // Bent towards the middle, so that neighbours are seen to be connected.
            let bent = |a: f64, b: f64| SIDE / 2.0 + (f64::midpoint(a, b) - SIDE / 2.0) * 0.45;
            *paths.entry(ink).or_default() +=
                &format!("M{x:.0} {y:.0}Q{:.0} {:.0} {u:.0} {v:.0}", bent(x, u), bent(y, v));
            *peers.entry(*a).or_default() += 1;
            *peers.entry(*b).or_default() += 1;
        }
        let opacity = (9.0 / (picture.connections.len().max(1) as f64).sqrt()).clamp(0.22, 0.85);
        let mut svg = String::new();
        for (ink, path) in paths {
            svg += &format!("<path class=\"edge ink{ink}\" opacity=\"{opacity:.2}\" d=\"{path}\"/>\n");
        }
        let radius = (220.0 / self.places.len() as f64).clamp(3.0, 8.0);
        let stopped: BTreeSet<Node> = picture.stopped.iter().copied().collect();
        for (node, place) in &self.places {
            let (x, y) = self.spot(*place);
            let group = escaped(self.groups.get(place.1).map_or("", |(name, _)| name));
            let (class, state) = match stopped.contains(node) {
                true => ("stopped".to_owned(), "does not run".to_owned()),
                false => (
                    format!("ink{}", ink(place.1)),
                    several(peers.get(node).copied().unwrap_or(0), "connection"),
                ),
            };
            svg += &format!(
                "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"><title>{node}, {group}: {state}</title></circle>\n"
            );
        }
        svg
    }

    /// The greatest share of possible connections that a field of that picture has.
    pub(super) fn darkest(&self, picture: &Picture) -> f64 {
        self.shares(picture).into_values().fold(0.0, f64::max)
    }

    /// Which row a node is in.
    fn row(&self, place: usize) -> usize {
        place * ROWS / self.places.len().max(1)
    }

    /// How many of the connections that the nodes of two rows could have are up, where any are.
    fn shares(&self, picture: &Picture) -> BTreeMap<(usize, usize), f64> {
        let mut sizes = [0_usize; ROWS];
        for (place, _) in self.places.values() {
            sizes[self.row(*place)] += 1;
        }
        let mut counts: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (a, b) in &picture.connections {
            let (a, b) = (self.row(self.place(*a).0), self.row(self.place(*b).0));
            *counts.entry((a, b)).or_default() += 1;
            if a != b {
                *counts.entry((b, a)).or_default() += 1;
            }
        }
        let share = |((a, b), count): ((usize, usize), usize)| {
            let possible =
                if a == b { sizes[a] * (sizes[a].saturating_sub(1)) / 2 } else { sizes[a] * sizes[b] };
            ((a, b), count as f64 / possible.max(1) as f64)
        };
        counts.into_iter().map(share).collect()
    }

    fn table(&self, picture: &Picture, darkest: f64) -> String {
        /// The strips that name the groups, and say who is stopped.
        const STRIP: f64 = 8.0;
        const EDGE: f64 = 2.0 * STRIP + 4.0;
        let field = (SIDE - EDGE) / ROWS as f64;
        let at = |row: usize| EDGE + row as f64 * field;
        let mut shades = vec![String::new(); SHADES];
        for ((row, column), share) in self.shares(picture) {
            // The root keeps few apart from none.
            let shade = ((share / darkest.max(f64::MIN_POSITIVE)).sqrt() * SHADES as f64).ceil();
            let shade = (1..=SHADES).rev().find(|each| shade >= *each as f64).unwrap_or(1);
            shades[shade - 1] +=
                &format!("M{:.1} {:.1}h{field:.1}v{field:.1}h-{field:.1}Z", at(column), at(row));
        }
        let mut svg = format!(
            "<rect class=\"table\" x=\"{EDGE}\" y=\"{EDGE}\" width=\"{0}\" height=\"{0}\"/>\n",
            SIDE - EDGE
        );
        for (shade, path) in shades.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
            let opacity = (shade + 1) as f64 / SHADES as f64;
            svg += &format!("<path class=\"share\" opacity=\"{opacity:.2}\" d=\"{path}\"/>\n");
        }
        let mut from = 0;
        for (group, (name, count)) in self.groups.iter().enumerate() {
            let length = |places: usize| (SIDE - EDGE) * places as f64 / self.places.len() as f64;
            let (begin, extent) = (EDGE + length(from), (length(*count) - 0.5).max(0.5));
            let (ink, title) = (ink(group), format!("{}: {}", escaped(name), several(*count, "node")));
            svg += &format!(
                "<rect class=\"strip ink{ink}\" x=\"{begin:.1}\" y=\"0\" width=\"{extent:.1}\" height=\"{STRIP}\"><title>{title}</title></rect>\
                 <rect class=\"strip ink{ink}\" x=\"0\" y=\"{begin:.1}\" width=\"{STRIP}\" height=\"{extent:.1}\"><title>{title}</title></rect>\n"
            );
            if from > 0 {
                svg += &format!(
                    "<path class=\"border\" d=\"M{begin:.1} {EDGE}V{SIDE}M{EDGE} {begin:.1}H{SIDE}\"/>\n"
                );
            }
            from += count;
        }
        let stopped: BTreeSet<usize> =
            picture.stopped.iter().map(|node| self.row(self.place(*node).0)).collect();
        for row in stopped {
            let begin = at(row);
            svg += &format!(
                "<rect class=\"strip stopped\" x=\"{begin:.1}\" y=\"{}\" width=\"{field:.1}\" height=\"{STRIP}\"/>\
                 <rect class=\"strip stopped\" x=\"{0}\" y=\"{begin:.1}\" width=\"{STRIP}\" height=\"{field:.1}\"/>\n",
                STRIP + 1.0
            );
        }
        svg
    }

    /// What a picture shows, in words.
    pub(super) fn words(&self, picture: &Picture) -> String {
        let running = self.places.len().saturating_sub(picture.stopped.len());
        let mut words = format!(
            "{} of {} up, {}.",
            grouped(running as u64),
            several(self.places.len(), "node"),
            several(picture.connections.len(), "connection")
        );
        let parts = parts(picture);
        if parts.len() > 1 {
            let sizes: Vec<String> = parts.iter().take(6).map(ToString::to_string).collect();
            let more = if parts.len() > 6 { " and fewer" } else { "" };
            words += &format!(
                " They are {} that do not reach each other, of {}{more} nodes.",
                several(parts.len(), "part"),
                sizes.join(", ")
            );
        }
        let lone = running.saturating_sub(parts.iter().sum());
        if lone > 0 {
            words += &format!(" {} without a connection.", several(lone, "node"));
        }
        words
    }
}

/// The sizes of the parts that the nodes with connections are in, from the greatest on.
fn parts(picture: &Picture) -> Vec<usize> {
    let mut neighbours: BTreeMap<Node, Vec<Node>> = BTreeMap::new();
    for (a, b) in &picture.connections {
        neighbours.entry(*a).or_default().push(*b);
        neighbours.entry(*b).or_default().push(*a);
    }
    let mut left: BTreeSet<Node> = neighbours.keys().copied().collect();
    let mut sizes = Vec::new();
    while let Some(first) = left.pop_first() {
        let (mut size, mut open) = (0, vec![first]);
        while let Some(node) = open.pop() {
            size += 1;
            open.extend(neighbours[&node].iter().filter(|next| left.remove(next)));
        }
        sizes.push(size);
    }
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes
}

/// The colour of a group; 0 is none.
fn ink(group: usize) -> usize {
    group % INKS + 1
}
