//! Which ways are cut.

use std::collections::{BTreeMap, BTreeSet};

use super::lines::HostId;

/// What keeps bytes of one host from another.
#[derive(Debug, Clone, Default)]
pub(super) struct Cuts {
    /// From the first to the second.
    ways: BTreeSet<(HostId, HostId)>,
    /// By name: the part that each host belongs to. Hosts that are not in it are reached by all.
    partitions: BTreeMap<String, BTreeMap<HostId, usize>>,
    /// Hosts that nothing reaches and nothing leaves.
    dark: BTreeSet<HostId>,
}

impl Cuts {
    /// Whether nothing gets from one host to another.
    pub(super) fn is_cut(&self, from: HostId, to: HostId) -> bool {
        let apart = |parts: &BTreeMap<HostId, usize>| match (parts.get(&from), parts.get(&to)) {
            (Some(from), Some(to)) => from != to,
            _ => false,
        };
        self.ways.contains(&(from, to))
            || self.dark.contains(&from)
            || self.dark.contains(&to)
            || self.partitions.values().any(apart)
    }

    pub(super) fn set_way(&mut self, from: HostId, to: HostId, cut: bool) {
        if cut {
            self.ways.insert((from, to));
        } else {
            self.ways.remove(&(from, to));
        }
    }

    pub(super) fn set_dark(&mut self, host: HostId, dark: bool) {
        if dark {
            self.dark.insert(host);
        } else {
            self.dark.remove(&host);
        }
    }

    /// Parts the hosts under a name; an earlier partition of that name is over.
    pub(super) fn partition(&mut self, name: &str, parts: &[Vec<HostId>]) {
        let parts = parts.iter().enumerate();
        let hosts = parts.flat_map(|(part, hosts)| hosts.iter().map(move |host| (*host, part)));
        self.partitions.insert(name.to_owned(), hosts.collect());
    }

    /// Ends the partition of that name, if there is one.
    pub(super) fn heal(&mut self, name: &str) -> bool {
        self.partitions.remove(name).is_some()
    }

    pub(super) fn heal_all(&mut self) {
        *self = Self { dark: std::mem::take(&mut self.dark), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_cut_in_its_direction_alone() {
        let mut cuts = Cuts::default();
        cuts.set_way(1, 2, true);
        assert!(cuts.is_cut(1, 2) && !cuts.is_cut(2, 1));
        cuts.set_way(1, 2, false);
        assert!(!cuts.is_cut(1, 2));
    }

    #[test]
    fn partitions_part_their_hosts_each_by_its_name() {
        let mut cuts = Cuts::default();
        cuts.partition("ocean", &[vec![1, 2], vec![3]]);
        cuts.partition("street", &[vec![1], vec![2]]);
        assert!(cuts.is_cut(1, 3) && cuts.is_cut(3, 2) && cuts.is_cut(1, 2));
        assert!(!cuts.is_cut(4, 1), "a host in no part is reached by all");
        assert!(cuts.heal("ocean") && !cuts.heal("ocean"));
        assert!(!cuts.is_cut(1, 3) && cuts.is_cut(1, 2));
        cuts.partition("street", &[vec![1, 2]]);
        assert!(!cuts.is_cut(1, 2), "the name has a new meaning");
    }

    #[test]
    fn a_dark_host_reaches_nobody_and_healing_the_ways_does_not_light_it() {
        let mut cuts = Cuts::default();
        cuts.set_dark(5, true);
        cuts.set_way(1, 2, true);
        cuts.heal_all();
        assert!(cuts.is_cut(5, 1) && cuts.is_cut(1, 5) && !cuts.is_cut(1, 2));
        cuts.set_dark(5, false);
        assert!(!cuts.is_cut(5, 1));
    }
}
