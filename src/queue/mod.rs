//! The bounded queue at each point of contention: from all channels to one peer, from all peers to one
//! channel.
//!
//! A [`FairQueue`] holds one first-in-first-out **flow** per key (a channel, or a connection) and a small
//! **control lane**. [`FairQueue::pop`] takes control messages first, then those of the flows of
//! [`Priority::High`] within a budget, then the others. Within a class it serves the flows by deficit round
//! robin: each round a flow may send [`QUANTUM_BYTES`] times its weight, and saves up what a larger message
//! needs. It never blocks, waits, reads a clock, spawns, logs, or loses a message uncounted.
//!
//! Beside it stands [`TokenBucket`], which says whether a message keeps within a rate.
//!
//! # How to drive it
//!
//! ```
//! use peerage::queue::{FairQueue, FlowConfig, Meta, Overflow, Pushed, QueueConfig};
//! # let now = std::time::Instant::now();
//! let mut queue = FairQueue::new(QueueConfig::new(1024, 1 << 20)?);
//! queue.open_flow("eth", FlowConfig::new(4, 256, 1 << 18, Overflow::DropOldest)?)?;
//! match queue.push(now, "eth", b"block".to_vec(), Meta::new(5)) {
//!     pushed if pushed.is_queued() => {} // wake the one that pops
//!     Pushed::Full(_message) => {}       // try again once `has_room` says so
//!     refused => panic!("lost: {refused:?}"),
//! }
//! assert_eq!(queue.pop(now).unwrap().item, b"block");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! 1. Open a flow before pushing to it; close it when its channel or peer is gone.
//! 2. `push` and `pop` with a `now` that never goes back. Use the outcome of a push: silence is a defect.
//! 3. A caller that got [`Pushed::Full`] looks again at [`FairQueue::has_room`] after **any** call that
//!    removes messages (`pop`, `cancel`, `close_flow`), because other flows' messages may have been in its
//!    way.
//! 4. At the end `close`, pop what there is time for, `drain_all`, and report [`FairQueue::stats`].
//!
//! A message that is dropped is so when the books are settled: its `Drop` may panic, but must not call back into the
//! queue. A caller that cannot promise that, as one that holds a lock meanwhile, makes the queue by
//! [`FairQueue::keeping_lost`] and drops what [`FairQueue::take_lost`] hands it when it is ready to.
//!
//! # When there is no room
//!
//! Every bound is in messages **and** in charged bytes ([`charge`]). A message is admitted if
//!
//! - its flow stays within the flow's limits, and the queue within the queue's; and
//! - its flow, *unless it was empty or is the only one open*, then holds no more than what is still free
//!   in the queue.
//!
//! The last rule is the dynamic threshold of Choudhury and Hahne (1998), as in shared-memory switches. One
//! greedy flow takes at most half of the queue, `n` of them settle at `1/(n+1)` each, and the last share
//! stays free for a newcomer. As the queue is popped, flows above that measure may not refill what they
//! lose, so room goes to those that have none: no flow denies another for ever. It costs two comparisons,
//! and needs no reservation to be given back. Its price: with two or more flows open, no flow can fill
//! more than half of the queue, save by its first message; and a message larger than `1/(n+1)` of the
//! queue may wait for as long as `n` others keep their shares filled. Size the queue for that.
//!
//! When a message is not admitted, stale ones at the head of its own flow are dropped first. Then the
//! flow's [`Overflow`] decides. `DropOldest` evicts from its own flow only, and only if that helps. A flow
//! that holds nothing is refused through no fault of its own: under `DropOldest` its message is lost too,
//! and under `Disconnect` it does not end the connection ([`Pushed::DroppedNewest`]).
//!
//! Under `ReplaceByKey` a message whose [`Meta::key`] is queued in its flow takes that one's place in the
//! line, full or not, if it fits once that one is gone; it always does if it is no larger. It brings its own
//! deadline and [`CancelId`]. If it does not fit, both stay as they are: the older one queued, the newer one
//! refused. A message without a key, or whose key is not queued, is appended or, without room, refused.
//!
//! # Classes
//!
//! A weight is about shares: a message of a flow that joins may still wait for one of each other flow. A
//! class is about being next, which can be true of one class only; so there are two. A message that joins an
//! empty flow of [`Priority::High`] waits for the one that is being written and for those of its own class.
//! The class pays for that from a budget: while normal messages wait, it sends at most [`HIGH_SHARE`] bytes
//! for each of theirs, [`HIGH_BURST_BYTES`] in advance, and what the last message exceeds that by. Beyond
//! it, one normal message goes first, and repays [`HIGH_SHARE`] times its size. So neither class starves:
//! the normal one has a sixteenth of the bytes at the least, and the high one waits for one message at a
//! time, unless its own are so large that several have to repay one. Large normal messages repay no more
//! than the burst; then the high class has less than its share, by design: it is for what is small.
//!
//! Classes decide who is served, not who has room. A class without any messages costs two comparisons.
//!
//! # Cost
//!
//! A push is O(log flows), for the look-up of the key. A pop is O(1) amortised, plus one turn of the ring per
//! [`QUANTUM_BYTES`] x weight that a message is large. The worst single pop makes three turns of the
//! ring of busy flows of one class, however large the messages: when a whole turn could send nothing, the
//! rounds until something can are computed, not run. (Stale messages that it drops come on top, and may be
//! all that the other class held; each was paid for by its push.) A flow that joins waits for at most one
//! turn of each other of its class, which is one message or one quantum x weight, whichever is larger.
//! Messages live in one slab that grows to the most ever held; nothing is allocated per message. A deadline
//! costs a comparison. A [`CancelId`] costs O(log n) in an index, and so does a key under `ReplaceByKey`.
//!
//! # What this does not provide
//!
//! Waiting and waking (the shell's); a bound on the number of flows (whoever opens them has one); order
//! between flows; timers: a stale message inside a flow is noticed when it comes to the head.

mod account;
mod arena;
mod config;
mod drr;
mod flow;
mod quota;
mod stats;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use config::{
    CONTROL_MAX_BYTES, CONTROL_MAX_MESSAGES, CancelId, ConfigError, FlowConfig, HIGH_BURST_BYTES, HIGH_SHARE,
    MAX_WEIGHT, MIN_CHARGE_BYTES, Meta, Overflow, Priority, QUANTUM_BYTES, QueueConfig, charge,
};
pub use quota::{Quota, QuotaError, TokenBucket};
pub use stats::{DropReason, RefuseReason, Stats, Tally};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use account::Account;
use arena::{Arena, List};
use flow::{Entry, Flow, Room};

/// A bounded queue of flows keyed by `K`, served fairly. See [the module](self).
#[derive(Debug)]
pub struct FairQueue<K, T> {
    config: QueueConfig,
    flows: Arena<Flow<K>>,
    /// Flows with messages, in the order of service: a ring for each class.
    busy: [List; 2],
    account: Account,
    /// Flows without.
    idle: List,
    by_key: BTreeMap<K, u32>,
    entries: Arena<Entry<T>>,
    /// Places in `entries` of what can be cancelled.
    cancellable: BTreeSet<(CancelId, u32)>,
    /// Places in `entries` of what can be replaced, by the flow's place and the key.
    replaceable: BTreeMap<(u32, u64), u32>,
    control: VecDeque<Control<T>>,
    /// All flows together, those that were closed included.
    flow_stats: Stats,
    control_stats: Stats,
    /// What was dropped out of flows and is the caller's to take; `None` if it is not kept.
    lost: Option<Vec<T>>,
    closed: bool,
}

#[derive(Debug)]
struct Control<T> {
    item: T,
    bytes: usize,
    pushed_at: Instant,
}

/// What became of a push.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a message that was not queued is lost unless the caller acts"]
pub enum Pushed<T> {
    /// It is queued.
    Queued,
    /// It is queued, and so many older messages of its flow were dropped for it.
    Evicted {
        /// How many.
        messages: usize,
        /// Their charged bytes.
        bytes: usize,
    },
    /// It is queued, in the place of an older message of its key, which was dropped.
    Replaced {
        /// The charged bytes of the older one.
        bytes: usize,
    },
    /// No room, policy [`Overflow::Wait`] (or the control lane): try again when there is.
    Full(T),
    /// No room: this message is lost.
    DroppedNewest(T),
    /// No room, policy [`Overflow::Disconnect`]: this message is lost, and the connection should end.
    Disconnect(T),
    /// There is no flow of this key.
    NoFlow(T),
    /// It is larger than the flow or the queue and can never fit.
    TooLarge(T),
    /// The queue is closed.
    Closed(T),
}

impl<T> Pushed<T> {
    /// Whether the message is in the queue now.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        matches!(self, Self::Queued | Self::Evicted { .. } | Self::Replaced { .. })
    }

    /// The message, if it was handed back.
    #[must_use]
    pub fn into_refused(self) -> Option<T> {
        match self {
            Self::Queued | Self::Evicted { .. } | Self::Replaced { .. } => None,
            Self::Full(item)
            | Self::DroppedNewest(item)
            | Self::Disconnect(item)
            | Self::NoFlow(item)
            | Self::TooLarge(item)
            | Self::Closed(item) => Some(item),
        }
    }

    fn refused(reason: RefuseReason, item: T) -> Self {
        match reason {
            RefuseReason::Full => Self::Full(item),
            RefuseReason::Newest => Self::DroppedNewest(item),
            RefuseReason::Disconnect => Self::Disconnect(item),
            RefuseReason::TooLarge => Self::TooLarge(item),
            RefuseReason::NoFlow => Self::NoFlow(item),
            RefuseReason::Closed => Self::Closed(item),
        }
    }
}

/// A message taken from the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Popped<K, T> {
    /// Its flow; `None` for the control lane.
    pub key: Option<K>,
    /// The message.
    pub item: T,
    /// Its size in bytes, as pushed.
    pub bytes: usize,
    /// How long it was queued.
    pub waited: Duration,
}

/// Why a flow was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A flow of this key is open.
    #[error("a flow of this key is open")]
    AlreadyOpen,
    /// The queue is closed.
    #[error("the queue is closed")]
    Closed,
}

impl<K: Ord + Copy, T> FairQueue<K, T> {
    /// Makes an empty queue without flows.
    #[must_use]
    pub fn new(config: QueueConfig) -> Self {
        Self {
            config,
            flows: Arena::new(),
            busy: [List::new(), List::new()],
            account: Account::new(),
            idle: List::new(),
            by_key: BTreeMap::new(),
            entries: Arena::new(),
            cancellable: BTreeSet::new(),
            replaceable: BTreeMap::new(),
            control: VecDeque::new(),
            flow_stats: Stats::default(),
            control_stats: Stats::default(),
            lost: None,
            closed: false,
        }
    }

    /// As [`FairQueue::new`], but what is dropped out of flows is kept for [`FairQueue::take_lost`].
    #[must_use]
    pub fn keeping_lost(config: QueueConfig) -> Self {
        Self { lost: Some(Vec::new()), ..Self::new(config) }
    }

    /// Takes what was dropped since the last time, in no order: counted, and no longer in the queue.
    ///
    /// Empty unless the queue was made by [`FairQueue::keeping_lost`], whose caller takes it after each call that may
    /// drop messages.
    pub fn take_lost(&mut self) -> Vec<T> {
        self.lost.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Opens a flow.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the key is in use or the queue is closed; nothing changes then.
    pub fn open_flow(&mut self, key: K, config: FlowConfig) -> Result<(), OpenError> {
        if self.closed {
            return Err(OpenError::Closed);
        }
        if self.by_key.contains_key(&key) {
            return Err(OpenError::AlreadyOpen);
        }
        let at = self.flows.push_back(&mut self.idle, Flow::new(key, config));
        self.by_key.insert(key, at);
        Ok(())
    }

    /// Closes a flow, drops what it holds as [`DropReason::FlowClosed`], and returns its final counts.
    ///
    /// O(messages of the flow). `None` if there is no such flow.
    pub fn close_flow(&mut self, key: K) -> Option<Stats> {
        let at = self.by_key.remove(&key)?;
        self.drop_flow_messages(at, DropReason::FlowClosed);
        Some(self.flows.remove(&mut self.idle, at).stats)
    }

    /// Queues a message in a flow, or says why not. Never blocks.
    pub fn push(&mut self, now: Instant, key: K, item: T, mut meta: Meta) -> Pushed<T> {
        if self.closed {
            return self.refuse(None, RefuseReason::Closed, item, meta.bytes);
        }
        let Some(&at) = self.by_key.get(&key) else {
            return self.refuse(None, RefuseReason::NoFlow, item, meta.bytes);
        };
        if meta.key.is_some() && self.flows[at].config.overflow != Overflow::ReplaceByKey {
            meta.key = None;
        }
        if meta.key.is_none() && self.admits(at, charge(meta.bytes)) {
            self.append(now, at, item, meta);
            return Pushed::Queued;
        }
        match self.room(at, &meta) {
            Room::None => self.push_without_room(now, at, item, meta),
            room => self.enter(now, at, room, item, meta),
        }
    }

    /// Appends a message to the control lane, which every pop serves first.
    ///
    /// The lane holds [`CONTROL_MAX_MESSAGES`] and [`CONTROL_MAX_BYTES`], beside the limits of the queue.
    /// It answers [`Pushed::Queued`], `Full`, `TooLarge` or `Closed`.
    pub fn push_control(&mut self, now: Instant, item: T, bytes: usize) -> Pushed<T> {
        let queued = self.control_stats.queued.bytes;
        let reason = if self.closed {
            RefuseReason::Closed
        } else if charge(bytes) > CONTROL_MAX_BYTES {
            RefuseReason::TooLarge
        } else if self.control.len() == CONTROL_MAX_MESSAGES
            || queued + charge(bytes) as u64 > CONTROL_MAX_BYTES as u64
        {
            RefuseReason::Full
        } else {
            self.control_stats.on_pushed(charge(bytes));
            if self.control.capacity() == 0 {
                // It mostly holds one, and a queue of it begins with four.
                self.control.reserve_exact(1);
            }
            self.control.push_back(Control { item, bytes, pushed_at: now });
            return Pushed::Queued;
        };
        self.control_stats.on_refused(reason, charge(bytes));
        Pushed::refused(reason, item)
    }

    /// Takes the next message: control first, then by deficit round robin. Drops stale ones on the way.
    ///
    /// `None` means that nothing is queued.
    pub fn pop(&mut self, now: Instant) -> Option<Popped<K, T>> {
        self.pop_within(now, usize::MAX)
    }

    /// As [`FairQueue::pop`], unless the next message is charged more than `max_bytes`: then it is left.
    ///
    /// So whoever writes several at once need not commit to a large one behind small ones: until it is taken,
    /// a message of a class before it still goes first. A control message is taken in any case.
    pub fn pop_within(&mut self, now: Instant, max_bytes: usize) -> Option<Popped<K, T>> {
        if let Some(Control { item, bytes, pushed_at }) = self.control.pop_front() {
            self.control_stats.on_popped(charge(bytes));
            let waited = now.saturating_duration_since(pushed_at);
            return Some(Popped { key: None, item, bytes, waited });
        }
        // A turn that is not taken stays as it is: the deficit that covers the message is kept.
        let (flow, entry) = self.next_turn(now)?;
        (self.entries[entry].charge() <= max_bytes).then(|| self.take(now, flow, entry))
    }

    /// Drops every queued message named `id`, and says how many there were.
    pub fn cancel(&mut self, id: CancelId) -> usize {
        let mut messages = 0;
        while let Some(&(_, entry)) = self.cancellable.range((id, 0)..=(id, u32::MAX)).next() {
            self.discard(entry, DropReason::Cancelled);
            messages += 1;
        }
        messages
    }

    /// Refuses all pushes from now on. What is queued can still be popped.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Drops everything as [`DropReason::Shutdown`], the control lane included, and says how much.
    pub fn drain_all(&mut self) -> Tally {
        let before = self.stats().queued;
        for class in [Priority::High, Priority::Normal] {
            while let Some(at) = self.busy[class as usize].front() {
                self.drop_flow_messages(at, DropReason::Shutdown);
            }
        }
        for Control { bytes, .. } in self.control.drain(..) {
            self.control_stats.on_dropped(DropReason::Shutdown, charge(bytes));
        }
        before
    }

    /// Whether a message of `bytes` would be queued now without dropping any.
    ///
    /// One that replaces another needs less room than this, and drops that one.
    #[must_use]
    pub fn has_room(&self, key: K, bytes: usize) -> bool {
        !self.closed && self.by_key.get(&key).is_some_and(|&at| self.admits(at, charge(bytes)))
    }

    /// How many messages are queued, control included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries_len() + self.control.len()
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The charged bytes queued, control included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        to_usize(self.flow_stats.queued.bytes + self.control_stats.queued.bytes)
    }

    /// How many messages a flow holds; 0 if there is no such flow.
    #[must_use]
    pub fn flow_len(&self, key: K) -> usize {
        self.by_key.get(&key).map_or(0, |&at| self.flows[at].entries.len())
    }

    /// The charged bytes that a flow holds; 0 if there is no such flow.
    #[must_use]
    pub fn flow_bytes(&self, key: K) -> usize {
        self.by_key.get(&key).map_or(0, |&at| to_usize(self.flows[at].stats.queued.bytes))
    }

    /// Whether [`FairQueue::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The keys of the open flows, in order.
    pub fn flow_keys(&self) -> impl Iterator<Item = K> {
        self.by_key.keys().copied()
    }

    /// The counts of the whole queue since it was made.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.flow_stats.plus(&self.control_stats)
    }

    /// The counts of one flow since it was opened; `None` if there is no such flow.
    #[must_use]
    pub fn stats_of(&self, key: K) -> Option<Stats> {
        self.by_key.get(&key).map(|&at| self.flows[at].stats)
    }

    fn entries_len(&self) -> usize {
        to_usize(self.flow_stats.queued.messages)
    }
}

/// Narrows a count that configuration bounds by a `usize`.
fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
