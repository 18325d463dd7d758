//! What is done to a network: its lines, cuts, partitions and resets.

use super::cuts::Cuts;
use super::fabric::Opening;
use super::lines::{HostId, Line};
use super::net::{SimError, SimNet};
use super::node::Node;
use super::trace::digest;

/// What is done to the network while it runs.
impl SimNet {
    /// Sets what connects nodes for which nothing else is said. Connections that exist keep what they have.
    ///
    /// # Errors
    ///
    /// [`SimError::Line`] if no connection can have such a line; nothing changed then.
    pub fn set_line(&self, line: Line) -> Result<(), SimError> {
        line.check()?;
        self.fabric.change_lines(|lines| lines.set_default(line));
        Ok(())
    }

    /// Sets what leads from one region to another, one direction only.
    ///
    /// # Errors
    ///
    /// As for [`Self::set_line`].
    pub fn set_line_of_regions(&self, from: u16, to: u16, line: Line) -> Result<(), SimError> {
        line.check()?;
        self.fabric.change_lines(|lines| lines.set_regions(from, to, line));
        Ok(())
    }

    /// Sets what leads from one node to another, one direction only.
    ///
    /// # Errors
    ///
    /// As for [`Self::set_line`].
    pub fn set_line_between(&self, from: Node, to: Node, line: Line) -> Result<(), SimError> {
        line.check()?;
        self.fabric.change_lines(|lines| lines.set_pair(from.0, to.0, line));
        Ok(())
    }

    /// Lets a node send and receive no faster on each of its connections, those that exist included, in bytes per
    /// second; `None` ends that. What is on its way arrives as before.
    ///
    /// So is a node seen that has too little bandwidth, or works off what it reads too slowly: others wait until it has
    /// taken what they wrote. A [reactor](crate::reactor) alone is slow if it sleeps before it receives.
    ///
    /// # Errors
    ///
    /// As for [`Self::set_line`].
    pub fn slow(&self, node: Node, bytes_per_second: Option<u64>) -> Result<(), SimError> {
        if let Some(rate) = bytes_per_second {
            Line::default().rate(rate).check()?;
        }
        let _time = self.runtime.enter();
        Ok(self.fabric.slow(node.0, bytes_per_second)?)
    }

    /// Sets how connections are opened from now on.
    pub fn set_opening(&self, opening: Opening) {
        self.fabric.set_opening(opening);
    }

    /// Lets the seed decide in which order tasks go that could all go at one instant, on connections made from now on:
    /// at each read and write others go first, up to three times. Without it there is one order, that in which they
    /// were woken. Costs about half of the speed.
    pub fn set_interleaved(&self, interleaved: bool) {
        self.fabric.set_interleaved(interleaved);
    }

    /// Cuts the way from one node to another, in this direction only. What is sent waits, and arrives when it is
    /// [mended](Self::mend); neither end is told. Attempts to connect do not get through either, whoever makes them.
    pub fn cut(&self, from: Node, to: Node) {
        self.set_cut("cut", from, to, true);
    }

    /// Mends a way that was cut.
    pub fn mend(&self, from: Node, to: Node) {
        self.set_cut("mended", from, to, false);
    }

    fn set_cut(&self, what: &'static str, from: Node, to: Node, cut: bool) {
        self.note(None, what, (u64::from(from.0), u64::from(to.0)));
        self.change_cuts(|cuts| cuts.set_way(from.0, to.0, cut));
    }

    /// Parts the network under a name: nothing gets from a node of one part to one of another. Nodes in no part reach,
    /// and are reached by, all. A partition of that name that exists is replaced.
    pub fn partition(&self, name: &str, parts: &[&[Node]]) {
        let parts: Vec<Vec<HostId>> =
            parts.iter().map(|nodes| nodes.iter().map(|node| node.0).collect()).collect();
        self.note(None, "parted", (parts.len() as u64, digest(name.as_bytes())));
        self.change_cuts(|cuts| cuts.partition(name, &parts));
    }

    /// Ends a partition; says whether there was one of that name.
    pub fn heal(&self, name: &str) -> bool {
        self.note(None, "healed", (0, digest(name.as_bytes())));
        self.change_cuts(|cuts| cuts.heal(name))
    }

    /// Ends all partitions and mends all ways.
    pub fn heal_all(&self) {
        self.note(None, "healed_all", (0, 0));
        self.change_cuts(Cuts::heal_all);
    }

    /// Breaks every connection between two nodes, as a reset does; how many.
    pub fn reset(&self, a: Node, b: Node) -> usize {
        self.note(None, "reset", (u64::from(a.0), u64::from(b.0)));
        let _time = self.runtime.enter();
        self.fabric.reset(between(a, b))
    }

    /// Stalls every connection between two nodes for good, as if somebody between them had forgotten it: nothing
    /// arrives any more on either way, and neither end is told. How many. Connections that are made later are none of
    /// them; where nothing is to arrive at all there is [`Self::cut`].
    pub fn stall(&self, a: Node, b: Node) -> usize {
        self.note(None, "stalled", (u64::from(a.0), u64::from(b.0)));
        let _time = self.runtime.enter();
        self.fabric.stall(between(a, b))
    }
}

impl SimNet {
    /// Takes note of what is done to the network, in its time.
    pub(super) fn note(&self, node: Option<Node>, what: &'static str, (size, digest): (u64, u64)) {
        let _time = self.runtime.enter();
        self.fabric.note(node.map(|node| node.0), what, size, digest);
    }

    pub(super) fn change_cuts<T>(&self, change: impl FnOnce(&mut Cuts) -> T) -> T {
        let _time = self.runtime.enter();
        self.fabric.change_cuts(change)
    }
}

/// Whether a connection from one host to another is one between two nodes.
fn between(a: Node, b: Node) -> impl Fn(HostId, HostId) -> bool {
    move |from, to| (from, to) == (a.0, b.0) || (from, to) == (b.0, a.0)
}
