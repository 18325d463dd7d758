//! Which links a message or question goes to.

use std::sync::Arc;

use super::link::Link;
use super::recipients::{Base, Conditions};
use super::sender::Sender;
use crate::id::NodeId;
use crate::message::{Message, Refusal};

impl<M: Message> Sender<M> {
    /// The links of those who are meant, and the others that were named and cannot be reached.
    pub(super) fn select(
        &self,
        base: Base,
        conditions: &Conditions,
    ) -> Vec<(NodeId, Result<Arc<Link>, Refusal>)> {
        let named = match base {
            Base::One(peer) => vec![peer],
            Base::List(peers) => peers,
            Base::All | Base::Local => return self.select_of_all(conditions),
        };
        let named = named.into_iter().filter(|peer| !conditions.excludes(peer));
        let mut found: Vec<_> = named.map(|peer| (peer, self.link(peer))).collect();
        found.retain(|(_, link)| link.as_ref().map_or(true, |link| conditions.admit(link)));
        self.draw(conditions, &mut found);
        found
    }

    fn select_of_all(&self, conditions: &Conditions) -> Vec<(NodeId, Result<Arc<Link>, Refusal>)> {
        let all = self.outbox.registry.all();
        let admitted = all.iter().filter(|link| has::<M>(link) && conditions.admit(link));
        let mut found: Vec<_> = admitted.map(|link| (link.peer(), Ok(Arc::clone(link)))).collect();
        self.draw(conditions, &mut found);
        found
    }

    fn draw<T>(&self, conditions: &Conditions, found: &mut Vec<T>) {
        let Some(n) = conditions.sample() else { return };
        let seed = || {
            let name = M::CHANNEL.to_string();
            let node = self.outbox.seed.get().copied().unwrap_or_default();
            // Each channel draws from a stream of its own.
            name.bytes().fold(node, |seed, byte| seed.rotate_left(8) ^ u64::from(byte))
        };
        self.lots.keep(seed, n, found);
    }

    /// The link of a peer that has this channel.
    pub(super) fn link(&self, peer: NodeId) -> Result<Arc<Link>, Refusal> {
        let link = self.outbox.registry.get(&peer).ok_or_else(|| self.not_connected())?;
        if has::<M>(&link) { Ok(link) } else { Err(Refusal::NoChannel) }
    }
}

/// Whether the peer has the channel.
pub(super) fn has<M: Message>(link: &Link) -> bool {
    link.channel(M::CHANNEL).is_some()
}
