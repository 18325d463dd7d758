//! What must hold of a network at every moment, and in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use peerage::channel::DropReason;
use peerage::id::ConnId;
use peerage::router::{ChannelStatus, PeerStatus, RouterHandle};

use super::ledger::{Life, Tally, Unread};
use super::ops::{Extra, Lane, Op, To};
use super::run::{End, Run, conn};
use super::{RECOVERY, ops};

/// The control lane of a queue holds so many packets beside its messages.
const CONTROL: usize = 64;

/// How long a question may still take in the end, and whatever waits for room: as long as an operation lets it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that is being ended is gone within that time.
const STABLE: Duration = Duration::from_secs(5);

impl Run {
    /// What does not hold that must hold at every moment.
    pub(super) fn fault_now(&self) -> Option<String> {
        let violations = self.net.violations();
        if !violations.is_empty() {
            return Some(format!("{violations:?}"));
        }
        let over = |handle: &RouterHandle| {
            let queued = handle
                .peers()
                .into_iter()
                .find(|peer| peer.queued_messages > self.world.peer_queue + CONTROL);
            let waiting = handle.channels().into_iter().zip(Lane::ALL).find(|(channel, lane)| {
                channel.waiting > self.world.shapes[*lane as usize].config(*lane).inbound_total.messages
            });
            let queued = queued.map(|peer| format!("{peer:?}"));
            queued.or_else(|| waiting.map(|(channel, _)| format!("{channel:?}")))
        };
        let over = self.running().into_iter().filter_map(|(_, handle)| over(handle)).next();
        over.map(|what| format!("more waits than may: {what}"))
    }

    /// The nodes that run.
    fn running(&self) -> Vec<(usize, &RouterHandle)> {
        (0..self.world.nodes).filter_map(|node| Some((node, self.handle(node)?))).collect()
    }

    /// Ends all faults, and holds the network to what must follow.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub(super) fn finish(mut self) {
        self.mend();
        self.recover();
        self.calm();
        self.probe();
        self.calm();
        self.check_books();
        (0..self.world.nodes).for_each(|node| self.shut_down(node));
        self.check(&"after the end");
        let lives = std::mem::take(&mut self.lives);
        for (life, handle, end) in &lives {
            if *end == Some(End::ShutDown) {
                check_life(*life, handle, self.shared.lock().ledger.tally_of(*life));
            }
        }
    }

    /// Ends what was done to the network. Whoever was slow reads again.
    fn mend(&mut self) {
        self.net.heal_all();
        for node in self.nodes.clone() {
            self.net.slow(node, None).unwrap();
            self.power_on(node.number());
            for peer in 0..self.world.nodes {
                self.step(&Op::Unban { node: node.number(), peer });
            }
            self.step(&Op::Eager { node: node.number(), eager: true });
            while self.settle(node.number(), true) {}
        }
        let latency = Duration::from_millis(10);
        self.step(&Op::Line(ops::Wire { latency, rate: None, buffer_bytes: 64 * 1024 }));
    }

    /// # Panics
    ///
    /// If the network does not recover in time.
    fn recover(&mut self) {
        let look = Duration::from_millis(500);
        let (mut left, mut healthy) = (RECOVERY, Duration::ZERO);
        while healthy < STABLE {
            // Questions that come late are held like others.
            (0..self.world.nodes).for_each(|node| while self.settle(node, true) {});
            let ill = self.ill();
            healthy = if ill.is_none() { healthy + look } else { Duration::ZERO };
            assert!(left > Duration::ZERO, "not healthy after {RECOVERY:?}: {ill:?}, in {:?}", self.world);
            self.net.run_for(look);
            left = left.saturating_sub(look);
            self.check(&"while the network recovers");
        }
    }

    /// What is not healthy yet.
    fn ill(&self) -> Option<String> {
        for (node, handle) in self.running() {
            let peers: BTreeMap<_, _> = handle.peers().into_iter().map(|peer| (peer.id, peer.conn)).collect();
            let known = self.shared.lock().nodes[&node].up.clone();
            if known != peers {
                return Some(format!("{node} has {peers:?}, and whoever follows its peers knows {known:?}"));
            }
            for other in (0..self.world.nodes).filter(|other| *other != node) {
                let there = peers.get(&self.id(other)).copied();
                let back = self.handle(other).and_then(|other| conn(other, &self.id(node)));
                if there.is_some() != back.is_some() {
                    return Some(format!("{node} has {other} as {there:?}, and is itself {back:?}"));
                }
                if self.world.tied && there.is_none() {
                    return Some(format!("{node} and {other} are not connected"));
                }
                let me = self.life(node);
                let paired = there.and_then(|there| self.shared.lock().ledger.other_end((me, there)));
                if paired.is_some() && paired != back.map(|back| (self.life(other), back)) {
                    return Some(format!(
                        "{node} has {other} as {there:?}, whose other end {paired:?} is {back:?}"
                    ));
                }
            }
        }
        None
    }

    /// Lets all that is under way come to its end.
    ///
    /// # Panics
    ///
    /// If something does not.
    fn calm(&mut self) {
        let looks = 40;
        for _ in 0..looks {
            (0..self.world.nodes).for_each(|node| while self.settle(node, true) {});
            while let Some(ended) = self.waiting.try_join_next() {
                ended.expect("what waits does not panic");
            }
            self.net.run_for(PATIENCE / looks);
            if self.is_calm() {
                break;
            }
        }
        self.check(&"when all is calm");
        let open = self.shared.lock().ledger.open_questions();
        assert!(
            open.is_empty() && self.waiting.is_empty(),
            "{} wait, questions {open:?} do",
            self.waiting.len()
        );
        for (node, handle) in self.running() {
            let queued: usize = handle.peers().iter().map(|peer| peer.queued_messages).sum();
            let unread: usize = handle.channels().iter().map(|channel| channel.waiting).sum();
            assert_eq!((queued, unread), (0, 0), "node {node} has not sent, and not read");
        }
    }

    /// Whether nothing is under way.
    fn is_calm(&self) -> bool {
        let still = |(_, handle): (usize, &RouterHandle)| {
            let peers = handle.peers().iter().all(|peer| peer.queued_messages == 0);
            peers && handle.channels().iter().all(|channel| channel.waiting == 0)
        };
        self.waiting.is_empty() && self.running().into_iter().all(still)
    }

    /// A message to each peer on each channel arrives.
    fn probe(&mut self) {
        for from in 0..self.world.nodes {
            for lane in Lane::ALL {
                let before = self.shared.lock().ledger.number();
                let peers = self.handle(from).map(RouterHandle::peers).unwrap_or_default();
                self.step(&Op::Send { from, to: To::All, lane, bytes: 9, extra: Extra::default() });
                // Connections keep the line that they began with, which may be long and slow.
                let came = (0..200).any(|_| {
                    self.net.run_for(PATIENCE / 200);
                    self.missing(from, before + 1, &peers).is_none()
                });
                assert!(
                    came,
                    "{lane:?} from {from} does not come to {:?}",
                    self.missing(from, before + 1, &peers)
                );
            }
        }
    }

    /// Whom of these peers a message has not come to, though the connection is still there, or should be.
    fn missing(&self, from: usize, number: u64, peers: &[PeerStatus]) -> Option<usize> {
        let common = self.shared.lock();
        let missing = |peer: &PeerStatus| {
            let to = common.numbers[&peer.id];
            let here = self.handle(from).is_some_and(|handle| conn(handle, &peer.id) == Some(peer.conn));
            (!common.ledger.was_read(number, to) && (here || self.world.tied)).then_some(to)
        };
        peers.iter().find_map(missing)
    }

    /// # Panics
    ///
    /// If what the nodes have counted is not what was sent and read.
    fn check_books(&self) {
        let common = self.shared.lock();
        let live: BTreeMap<(Life, ConnId), ()> = self
            .running()
            .into_iter()
            .flat_map(|(node, handle)| {
                let life = (node, common.nodes[&node].life);
                let peers = handle.peers().into_iter().map(|peer| peer.conn);
                peers.chain([ConnId::LOCAL]).map(move |conn| ((life, conn), ()))
            })
            .collect();
        let unread = common.ledger.unread(|life, conn| live.contains_key(&(life, conn)));
        for lane in [Lane::Vote, Lane::Bulk] {
            let dropped =
                self.lives.iter().map(|(_, handle, _)| lost_alone(&handle.channels()[lane as usize])).sum();
            let Unread { all, live } = unread.get(&lane).copied().unwrap_or_default();
            assert!(
                (live..=all).contains(&dropped),
                "{lane:?}: {all} were queued and not read, {live} of them on connections that are there; {dropped} are counted \
                 as dropped"
            );
        }
        for (life, handle, end) in &self.lives {
            if *end != Some(End::Killed) {
                check_life(*life, handle, common.ledger.tally_of(*life));
            }
        }
    }
}

/// Messages that were dropped and whose connection is not to blame.
fn lost_alone(channel: &ChannelStatus) -> u64 {
    let with_connection = [DropReason::Disconnected, DropReason::Shutdown];
    channel
        .dropped
        .iter()
        .filter(|(reason, _)| !with_connection.contains(reason))
        .map(|(_, count)| count)
        .sum()
}

/// Holds the counters of a life to its tallies. Nothing of it is under way.
///
/// # Panics
///
/// If they differ.
fn check_life(life: Life, handle: &RouterHandle, tallies: [Tally; Lane::ALL.len()]) {
    let channels = handle.channels();
    for ((lane, channel), tally) in Lane::ALL.into_iter().zip(&channels).zip(tallies) {
        let what = || format!("{life:?} on {lane:?}: {channel:?}, {tally:?}");
        let of = |reason| {
            channel.dropped.iter().find(|(found, _)| *found == reason).map_or(0, |(_, count)| *count)
        };
        use DropReason::{
            Cancelled, Disconnected, InboundEvicted, Malformed, NoReceiver, OutboundEvicted, OverQuota,
            Replaced, Shutdown, Stale, UnaskedAnswer,
        };
        let unsent =
            [OutboundEvicted, Replaced, Stale, Cancelled, Disconnected, Shutdown].map(of).iter().sum::<u64>();
        let impossible = [Malformed, OverQuota, UnaskedAnswer].map(of);
        assert_eq!(impossible, [0; 3], "{}", what());
        if lane == Lane::Quiz {
            // Questions and answers are counted as well, and local questions among what was dropped.
            continue;
        }
        let local = tally.queued_locally;
        assert_eq!((channel.accepted, channel.local), (tally.queued, local), "accepted; {}", what());
        assert_eq!(channel.refused, tally.refused, "refused; {}", what());
        let replaced = tally.replaced;
        assert_eq!(of(Replaced), replaced, "replaced; {}", what());
        let evicted = of(OutboundEvicted);
        assert!(
            evicted == tally.evicted || (tally.waited > 0 && evicted > tally.evicted),
            "evicted; {}",
            what()
        );
        assert_eq!(channel.accepted, channel.sent + unsent, "sent; {}", what());
        let read = tally.read + of(InboundEvicted);
        let exact = of(NoReceiver) == 0;
        assert!(channel.received == read || (!exact && channel.received >= read), "received; {}", what());
        assert!(of(InboundEvicted) >= tally.evicted_locally, "evicted; {}", what());
    }
}
