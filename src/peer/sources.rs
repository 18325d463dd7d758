//! Who told us how many of the addresses that are stored.

use std::collections::BTreeMap;

use super::arena::{Arena, Key};
use super::record::Source;
use crate::id::NodeId;

/// A [`Source`] in little space: an identity is kept once, however many addresses it told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceKey {
    Operator,
    Discovery,
    Gossip(Key),
}

/// Peers that told us addresses which are still stored.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Sources {
    by_id: BTreeMap<NodeId, Key>,
    gossips: Arena<Gossip>,
}

#[derive(Debug, Clone, PartialEq)]
struct Gossip {
    from: NodeId,
    addresses: usize,
}

impl Sources {
    /// How many addresses are stored that this peer told us.
    pub(super) fn told_by(&self, from: &NodeId) -> usize {
        let gossip = self.by_id.get(from).and_then(|key| self.gossips.get(*key));
        gossip.map_or(0, |gossip| gossip.addresses)
    }

    /// Counts one more address of a source.
    pub(super) fn add(&mut self, source: Source) -> SourceKey {
        let from = match source {
            Source::Operator => return SourceKey::Operator,
            Source::Discovery => return SourceKey::Discovery,
            Source::Gossip { from } => from,
        };
        let gossips = &mut self.gossips;
        let key = *self.by_id.entry(from).or_insert_with(|| gossips.insert(Gossip { from, addresses: 0 }));
        if let Some(gossip) = gossips.get_mut(key) {
            gossip.addresses += 1;
        }
        SourceKey::Gossip(key)
    }

    /// Counts one address less.
    pub(super) fn remove(&mut self, source: SourceKey) {
        let SourceKey::Gossip(key) = source else { return };
        let Some(gossip) = self.gossips.get_mut(key) else { return };
        gossip.addresses -= 1;
        if gossip.addresses == 0 {
            self.by_id.remove(&gossip.from);
            self.gossips.remove(key);
        }
    }

    pub(super) fn source(&self, source: SourceKey) -> Source {
        match source {
            SourceKey::Operator => Source::Operator,
            SourceKey::Discovery => Source::Discovery,
            // A key lives as long as an address that holds it.
            SourceKey::Gossip(key) => {
                self.gossips.get(key).map_or(Source::Discovery, |gossip| Source::Gossip { from: gossip.from })
            }
        }
    }

    /// All peers that told us addresses, with how many.
    pub(super) fn counts(&self) -> impl Iterator<Item = (NodeId, usize)> {
        self.gossips.values().map(|gossip| (gossip.from, gossip.addresses))
    }
}
