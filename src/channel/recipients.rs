//! To whom a message goes.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::link::Link;
use crate::id::NodeId;
use crate::message::Capability;
use crate::peer::Introduction;

/// To whom a message goes: a peer, a list, everybody, some of everybody, or this node itself.
///
/// A [`NodeId`] or a `Vec` of them turns into it. A group, [`Recipients::all`], holds the peers that have the channel;
/// each condition narrows it. It is looked up at the moment of sending, in the order of identities, and may be empty.
///
/// ```
/// use peerage::NodeKey;
/// use peerage::channel::Recipients;
///
/// let teller = NodeKey::insecure_from_seed(1).id();
/// let everybody_else = Recipients::all().but(teller);
/// let three_archives = Recipients::all().with_service("archive").sample(3);
/// let those_with_snap = Recipients::all().with_capability("snap/1".parse()?);
/// let another_reactor_of_this_node = Recipients::local();
/// # let _ = (everybody_else, three_archives, those_with_snap, another_reactor_of_this_node);
/// # Ok::<(), peerage::message::CapabilityNameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipients {
    pub(super) base: Base,
    /// Absent for most sends, and then no more than a word.
    pub(super) conditions: Option<Box<Conditions>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    One(NodeId),
    List(Vec<NodeId>),
    All,
    Local,
}

/// What peers must fulfil.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    but: Vec<NodeId>,
    services: Vec<Cow<'static, str>>,
    capabilities: Vec<Capability>,
    sample: Option<usize>,
}

/// One recipient: a peer, or this node itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// This peer.
    Peer(NodeId),
    /// The receiver of the channel in this node. Nothing is encoded, and no network is needed.
    Local,
}

impl From<NodeId> for Destination {
    fn from(peer: NodeId) -> Self {
        Self::Peer(peer)
    }
}

impl From<Destination> for Recipients {
    fn from(to: Destination) -> Self {
        match to {
            Destination::Peer(peer) => peer.into(),
            Destination::Local => Self::local(),
        }
    }
}

impl From<NodeId> for Recipients {
    fn from(peer: NodeId) -> Self {
        Self::of(Base::One(peer))
    }
}

impl From<Vec<NodeId>> for Recipients {
    /// These peers, in this order; one named twice gets it twice.
    fn from(peers: Vec<NodeId>) -> Self {
        Self::of(Base::List(peers))
    }
}

impl Recipients {
    /// Every peer that has the channel.
    #[must_use]
    pub const fn all() -> Self {
        Self::of(Base::All)
    }

    /// The receiver of the channel in this node, if another reactor sends on it: by value, never encoded, into
    /// the same bounded queue. Conditions do not concern it.
    #[must_use]
    pub const fn local() -> Self {
        Self::of(Base::Local)
    }

    /// Leaves out a peer: as when passing on what it said.
    #[must_use]
    pub fn but(self, peer: NodeId) -> Self {
        self.narrowed(|conditions| conditions.but.push(peer))
    }

    /// Keeps the peers that announce this service.
    #[must_use]
    pub fn with_service(self, service: impl Into<Cow<'static, str>>) -> Self {
        self.narrowed(|conditions| conditions.services.push(service.into()))
    }

    /// Keeps the peers that announced this capability, such as `snap/1`, whether or not this node has it.
    #[must_use]
    pub fn with_capability(self, capability: Capability) -> Self {
        self.narrowed(|conditions| conditions.capabilities.push(capability))
    }

    /// Keeps at most `n` of them, drawn at random after all other conditions. The choice follows from the seed
    /// of the node and the number of choices made on the channel before.
    #[must_use]
    pub fn sample(self, n: usize) -> Self {
        self.narrowed(|conditions| conditions.sample = Some(n))
    }

    const fn of(base: Base) -> Self {
        Self { base, conditions: None }
    }

    fn narrowed(mut self, narrow: impl FnOnce(&mut Conditions)) -> Self {
        narrow(self.conditions.get_or_insert_default());
        self
    }
}

impl Conditions {
    /// Whether a peer fulfils all but the drawing of lots.
    pub(super) fn admit(&self, link: &Link) -> bool {
        let Introduction { services, capabilities, .. } = &link.far_end.introduction;
        !self.but.contains(&link.peer())
            && self.services.iter().all(|wanted| services.iter().any(|has| has == wanted))
            && self.capabilities.iter().all(|wanted| capabilities.contains(wanted))
    }

    pub(super) fn excludes(&self, peer: &NodeId) -> bool {
        self.but.contains(peer)
    }

    pub(super) fn sample(&self) -> Option<usize> {
        self.sample
    }
}

/// Where a channel's lots come from.
pub(super) struct Lots(Mutex<Option<ChaCha8Rng>>);

impl Lots {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Keeps `n` of `from`, in their order. Each set of `n` is as likely as any other.
    pub(super) fn keep<T>(&self, seed: impl FnOnce() -> u64, n: usize, from: &mut Vec<T>) {
        if from.len() <= n {
            return;
        }
        let mut lots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let random = lots.get_or_insert_with(|| ChaCha8Rng::seed_from_u64(seed()));
        let (mut needed, mut left) = (n, from.len());
        // Selection sampling (Knuth, algorithm S): one pass, and the order stays.
        from.retain(|_| {
            let taken = below(random, left) < needed;
            left -= 1;
            needed -= usize::from(taken);
            taken
        });
    }
}

/// A number below `bound`, which is not zero. The bias is below 2^-32 for any number of peers that fits a node.
fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    let product = u128::from(random.next_u64()) * bound as u128;
    #[allow(clippy::cast_possible_truncation, reason = "the upper half is below `bound`")]
    let number = (product >> 64) as usize;
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lots_keep_the_order_and_are_fair_and_repeatable() {
        let mut times_kept = [0u32; 10];
        let lots = Lots::new();
        for _ in 0..10_000 {
            let mut all: Vec<usize> = (0..10).collect();
            lots.keep(|| 7, 3, &mut all);
            assert_eq!(all.len(), 3);
            assert!(all.is_sorted());
            all.iter().for_each(|kept| times_kept[*kept] += 1);
        }
        assert!(times_kept.iter().all(|times| (2_800..3_200).contains(times)), "{times_kept:?}");

        let draw = |seed| {
            let (lots, mut all) = (Lots::new(), (0..100).collect::<Vec<_>>());
            lots.keep(|| seed, 5, &mut all);
            all
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let mut few = vec![1, 2];
        lots.keep(|| 1, 5, &mut few);
        assert_eq!(few, [1, 2]);
    }
}
