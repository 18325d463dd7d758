//! Nodes by the names that a scenario gives them: `group`, `group[3]`, `group[0..10]`.

use std::collections::BTreeMap;
use std::ops::Range;

use super::error::{Fault, Listed};
use super::section::{At, Value, text};
use crate::sim::node::Node;

/// The groups of a scenario and their nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Census {
    bands: Vec<Band>,
    /// Where the group of a name stands.
    numbers: BTreeMap<String, usize>,
}

/// A group: nodes of consecutive numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Band {
    name: String,
    first: u32,
    count: u32,
    proper: bool,
}

/// Most nodes in a scenario.
pub(super) const MAX_NODES: u32 = 10_000;

impl Census {
    /// Adds a group behind those that are there.
    pub(super) fn add(&mut self, name: At<&str>, count: At<u32>, proper: bool) -> Result<(), Fault> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.value.is_empty() || !name.value.chars().all(fits) {
            return Err(
                name.fault(format!("{:?} is no name of a group: letters, digits, - and _", name.value))
            );
        }
        if self.numbers.contains_key(name.value) {
            return Err(name.fault(format!("there is a group `{}` already", name.value)));
        }
        let first = self.len();
        if first + count.value > MAX_NODES {
            return Err(count
                .fault(format!("with these there are {} nodes; at most {MAX_NODES}", first + count.value)));
        }
        self.numbers.insert(name.value.to_owned(), self.bands.len());
        self.bands.push(Band { name: name.value.to_owned(), first, count: count.value, proper });
        Ok(())
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> u32 {
        self.bands.last().map_or(0, |band| band.first + band.count)
    }

    /// How many groups there are.
    pub(super) fn groups(&self) -> usize {
        self.bands.len()
    }

    pub(super) fn name(&self, group: usize) -> &str {
        self.bands.get(group).map_or("", |band| &band.name)
    }

    /// The nodes of a group.
    pub(super) fn nodes_of(&self, group: usize) -> Vec<Node> {
        self.bands.get(group).map_or_else(Vec::new, |band| band.nodes().collect())
    }

    /// The nodes that keep the rules, of all groups.
    pub(super) fn proper(&self) -> Vec<Node> {
        self.bands.iter().filter(|band| band.proper).flat_map(Band::nodes).collect()
    }

    /// The group of a node.
    pub(super) fn group_of(&self, node: Node) -> Option<usize> {
        self.bands.iter().position(|band| (band.first..band.first + band.count).contains(&node.0))
    }

    /// The group of that name.
    pub(super) fn group(&self, said: At<&str>) -> Result<usize, Fault> {
        self.numbers.get(said.value).copied().ok_or_else(|| {
            let known: Vec<&str> = self.bands.iter().map(|band| &*band.name).collect();
            said.fault(format!("there is no group `{}`; there are {}", said.value, Listed(&known)))
        })
    }

    /// The group of that name, whose nodes keep the rules and can be looked into.
    pub(super) fn proper_group(&self, said: At<&str>) -> Result<usize, Fault> {
        let group = self.group(said)?;
        match self.bands.get(group) {
            Some(band) if !band.proper => {
                Err(said
                    .fault(format!("the nodes of `{}` are byzantine: nobody looks into them", said.value)))
            }
            _ => Ok(group),
        }
    }

    /// The numbers of the nodes that are meant by `group`, `group[3]` or `group[0..10]`.
    fn numbers(&self, said: At<&str>) -> Result<Range<u32>, Fault> {
        let (name, rest) = match said.value.split_once('[') {
            Some((name, rest)) => (name, Some(rest)),
            None => (said.value, None),
        };
        let group = self.group(At { value: name, at: said.at })?;
        let Some(band) = self.bands.get(group) else { return Ok(0..0) };
        let Some(rest) = rest else { return Ok(band.first..band.first + band.count) };
        let form =
            || said.fault(format!("{:?} is none of `group`, `group[3]` and `group[0..10]`", said.value));
        let inner = rest.strip_suffix(']').ok_or_else(form)?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| form());
        let (from, to) = match inner.split_once("..") {
            Some((from, to)) => (number(from)?, number(to)?),
            None => {
                let one = number(inner)?;
                (one, one.saturating_add(1))
            }
        };
        if from >= to || to > band.count {
            return Err(said.fault(format!(
                "`{name}` has nodes 0 to {}; {:?} is not within",
                band.count - 1,
                said.value
            )));
        }
        Ok(band.first + from..band.first + to)
    }

    /// The nodes that a list names, each once, in their order.
    pub(super) fn all_of(&self, key: &str, list: &[Value<'_>]) -> Result<Vec<Node>, Fault> {
        let named = list.iter().map(|value| self.numbers(text(key, value)?));
        let mut named: Vec<Range<u32>> = named.collect::<Result<_, Fault>>()?;
        named.sort_unstable_by_key(|numbers| numbers.start);
        let mut all: Vec<Node> = Vec::new();
        for numbers in named {
            let behind = all.last().map_or(0, |last| last.0 + 1);
            all.extend((numbers.start.max(behind)..numbers.end).map(Node));
        }
        Ok(all)
    }

    /// As [`Self::all_of`], of nodes that can be looked into.
    pub(super) fn all_proper(&self, key: &str, list: &[Value<'_>]) -> Result<Vec<Node>, Fault> {
        for value in list {
            let said = text(key, value)?;
            let name = said.value.split_once('[').map_or(said.value, |(name, _)| name);
            self.proper_group(At { value: name, at: said.at })?;
        }
        self.all_of(key, list)
    }
}

impl Band {
    fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (self.first..self.first + self.count).map(Node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census() -> Census {
        let mut census = Census::default();
        for (name, count, proper) in [("a", 3, true), ("b-2", 12, true), ("bad", 1, false)] {
            census.add(At { value: name, at: 0 }, At { value: count, at: 0 }, proper).unwrap();
        }
        census
    }

    fn found(said: &str) -> Result<Vec<u32>, String> {
        census().numbers(At { value: said, at: 7 }).map(Iterator::collect).map_err(|fault| {
            assert_eq!(fault.at, 7);
            fault.why
        })
    }

    #[test]
    fn nodes_are_found_by_the_names_of_their_groups() {
        assert_eq!(found("a"), Ok(vec![0, 1, 2]));
        assert_eq!(found("b-2[0]"), Ok(vec![3]));
        assert_eq!(found("b-2[10..12]"), Ok(vec![13, 14]));
        let groups = [2, 3, 14, 15].map(|number| census().group_of(Node(number)));
        assert_eq!(groups, [Some(0), Some(1), Some(1), Some(2)]);
        assert_eq!((census().proper().len(), census().group_of(Node(16))), (15, None));
    }

    #[test]
    fn what_is_no_name_of_nodes_is_refused() {
        assert_eq!(found("c"), Err("there is no group `c`; there are `a`, `b-2`, `bad`".into()));
        for wrong in ["a[3]", "a[0..4]", "a[2..2]", "a[2..1]"] {
            assert_eq!(found(wrong), Err(format!("`a` has nodes 0 to 2; {wrong:?} is not within")));
        }
        for wrong in ["a[", "a[]", "a[x]", "a[-1]", "a[0..]", "a[1]b", "a[1..2..3]"] {
            let why = format!("{wrong:?} is none of `group`, `group[3]` and `group[0..10]`");
            assert_eq!(found(wrong), Err(why));
        }
        assert!(census().proper_group(At { value: "bad", at: 0 }).is_err());
    }
}
