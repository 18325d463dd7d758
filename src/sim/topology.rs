//! Who is tied to whom.

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;

use super::seed::{below, draws};

/// Which nodes are tied to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topology {
    /// Each to the one after it.
    Line,
    /// Each to the one after it, and the last to the first.
    Ring,
    /// All others to the first.
    Star,
    /// Each to all after it.
    Full,
    /// A random graph in which each node has `degree` neighbours, or a few less where draws fall on each other. It is
    /// connected. An odd degree is rounded down, and one of 0 or 1 up, to 2.
    Regular {
        /// How many neighbours.
        degree: usize,
    },
    /// Groups of neighbours in number, each a random graph of `degree`, and `bridges` ties from each group to the next.
    Clusters {
        /// How many groups; at most one for each node.
        clusters: usize,
        /// How many neighbours within the group.
        degree: usize,
        /// How many ties lead from one group to the next.
        bridges: usize,
    },
}

impl Topology {
    /// The ties of `count` nodes, from the one that dials; none twice, and none to itself.
    #[must_use]
    pub fn edges(self, count: usize, seed: u64) -> Vec<(usize, usize)> {
        let mut draws = draws(seed, "edges", 0);
        let all: Vec<usize> = (0..count).collect();
        let edges = match self {
            Self::Line => pairs(&all).collect(),
            Self::Ring => ring(&all),
            Self::Star => all.iter().skip(1).map(|node| (*node, 0)).collect(),
            Self::Full => all.iter().flat_map(|a| all[a + 1..].iter().map(|b| (*a, *b))).collect(),
            Self::Regular { degree } => regular(&all, degree, &mut draws),
            Self::Clusters { clusters, degree, bridges } => {
                clustered(&all, clusters.clamp(1, count.max(1)), (degree, bridges), &mut draws)
            }
        };
        once(edges)
    }

    /// How many ties lead from one of `count` nodes at most.
    #[cfg(feature = "scenario")]
    pub(super) fn most_dialled(self, count: usize) -> usize {
        let rings = |degree: usize| (degree / 2).max(1);
        match self {
            Self::Line | Self::Ring | Self::Star => 1,
            Self::Full => count.saturating_sub(1),
            Self::Regular { degree } => rings(degree),
            Self::Clusters { degree, bridges, .. } => rings(degree) + bridges,
        }
    }
}

fn pairs(nodes: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    nodes.windows(2).map(|pair| (pair[0], pair[1]))
}

fn ring(nodes: &[usize]) -> Vec<(usize, usize)> {
    let mut edges: Vec<_> = pairs(nodes).collect();
    if let [first, .., last] = *nodes {
        edges.push((last, first));
    }
    edges
}

/// Rings through all nodes, each in an order of its own: two neighbours for each ring.
fn regular(nodes: &[usize], degree: usize, draws: &mut ChaCha8Rng) -> Vec<(usize, usize)> {
    let mut edges = Vec::new();
    for _ in 0..(degree / 2).max(1) {
        let mut order = nodes.to_vec();
        shuffle(&mut order, draws);
        edges.extend(ring(&order));
    }
    edges
}

fn clustered(
    nodes: &[usize],
    clusters: usize,
    (degree, bridges): (usize, usize),
    draws: &mut ChaCha8Rng,
) -> Vec<(usize, usize)> {
    let groups: Vec<&[usize]> = (0..clusters)
        .map(|cluster| &nodes[cluster * nodes.len() / clusters..(cluster + 1) * nodes.len() / clusters])
        .collect();
    let mut edges: Vec<_> = groups.iter().flat_map(|group| regular(group, degree, draws)).collect();
    for (at, group) in groups.iter().enumerate() {
        let next = groups[(at + 1) % groups.len()];
        for _ in 0..bridges {
            if let (Some(from), Some(to)) = (pick(group, draws), pick(next, draws)) {
                edges.push((from, to));
            }
        }
    }
    edges
}

fn pick(nodes: &[usize], draws: &mut ChaCha8Rng) -> Option<usize> {
    nodes.get(below(nodes.len(), draws)).copied()
}

fn shuffle(nodes: &mut [usize], draws: &mut ChaCha8Rng) {
    for at in (1..nodes.len()).rev() {
        nodes.swap(at, below(at + 1, draws));
    }
}

/// Without ties to oneself, and without a second tie between two nodes.
fn once(edges: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    let mut seen = BTreeSet::new();
    edges.into_iter().filter(|&(a, b)| a != b && seen.insert((a.min(b), a.max(b)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn degrees(edges: &[(usize, usize)], count: usize) -> Vec<usize> {
        (0..count).map(|node| edges.iter().filter(|(a, b)| *a == node || *b == node).count()).collect()
    }

    fn reached(edges: &[(usize, usize)]) -> usize {
        let (mut reached, mut open) = (BTreeSet::from([0]), vec![0]);
        while let Some(node) = open.pop() {
            for &(a, b) in edges.iter().filter(|(a, b)| *a == node || *b == node) {
                let next = if a == node { b } else { a };
                if reached.insert(next) {
                    open.push(next);
                }
            }
        }
        reached.len()
    }

    #[test]
    fn small_shapes_are_what_their_names_say() {
        assert_eq!(Topology::Line.edges(3, 0), [(0, 1), (1, 2)]);
        assert_eq!(Topology::Ring.edges(3, 0), [(0, 1), (1, 2), (2, 0)]);
        assert_eq!(Topology::Star.edges(3, 0), [(1, 0), (2, 0)]);
        assert_eq!(Topology::Full.edges(3, 0), [(0, 1), (0, 2), (1, 2)]);
        assert_eq!(Topology::Ring.edges(2, 0), [(0, 1)], "the way back is no second tie");
    }

    #[test]
    fn no_nodes_and_one_node_have_no_ties() {
        let clusters = Topology::Clusters { clusters: 3, degree: 4, bridges: 2 };
        let regular = Topology::Regular { degree: 4 };
        for topology in [Topology::Line, Topology::Ring, Topology::Star, Topology::Full, regular, clusters] {
            assert!(topology.edges(0, 1).is_empty() && topology.edges(1, 1).is_empty(), "{topology:?}");
        }
    }

    #[test]
    fn a_regular_graph_has_its_degree_is_connected_and_follows_from_the_seed() {
        let topology = Topology::Regular { degree: 8 };
        let edges = topology.edges(200, 1);
        let degrees = degrees(&edges, 200);
        assert!(degrees.iter().all(|degree| (6..=8).contains(degree)), "{degrees:?}");
        assert!(degrees.iter().filter(|degree| **degree == 8).count() > 150);
        assert_eq!(reached(&edges), 200);
        assert_eq!(topology.edges(200, 1), edges);
        assert_ne!(topology.edges(200, 2), edges);
    }

    #[test]
    fn clusters_are_joined_by_their_bridges_alone() {
        let topology = Topology::Clusters { clusters: 4, degree: 4, bridges: 2 };
        let edges = topology.edges(80, 1);
        assert_eq!(reached(&edges), 80);
        let between = edges.iter().filter(|(a, b)| a / 20 != b / 20).count();
        assert!((4..=8).contains(&between), "{between}");
    }
}
