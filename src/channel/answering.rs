//! The peer's questions on one connection: the way back for their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;

use super::Fate;
use super::counters::DropReason;
use super::link::Link;
use crate::address::BoxFuture;
use crate::id::ChannelId;
use crate::message::{Frame, Head, Refusal, Wire};
use crate::queue::Meta;

/// How many questions of a peer this node holds at most, queued for reactors or kept by them.
#[derive(Debug)]
pub(super) struct Slots {
    taken: AtomicUsize,
    limit: usize,
}

impl Slots {
    pub(super) const fn new(limit: usize) -> Self {
        Self { taken: AtomicUsize::new(0), limit }
    }

    /// Takes a slot if one is free.
    pub(super) fn take(&self) -> bool {
        let free = |taken: usize| (taken < self.limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).is_ok()
    }

    pub(super) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The way back to a peer for the answer to one of its questions.
pub(super) struct Back {
    link: Arc<Link>,
    channel: ChannelId,
    /// The question's code: a refusal goes under it.
    code: u8,
    id: u64,
    version: u32,
    /// Whether the question was accepted. One that is put off, to be decoded again, is neither answered nor
    /// refused.
    accepted: AtomicBool,
}

impl Back {
    /// The way back for a question, if the peer may ask one more.
    pub(super) fn new(
        link: &Arc<Link>,
        channel: ChannelId,
        code: u8,
        id: u64,
        version: u32,
    ) -> Option<Arc<Self>> {
        let link = Arc::clone(link);
        let accepted = AtomicBool::new(false);
        link.answering.take().then(|| Arc::new(Self { link, channel, code, id, version, accepted }))
    }

    /// The question is settled: from now on it must be answered or refused.
    pub(super) fn accept(&self) {
        self.accepted.store(true, Ordering::Release);
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        self.link.answering.give_back();
    }
}

impl Wire for Arc<Back> {
    fn id(&self) -> u64 {
        self.id
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn push(&mut self, code: u8, payload: Bytes) -> Result<(), Refusal> {
        let frame = Frame { channel: self.channel, code, payload };
        let meta = Meta::new(frame.payload.len());
        let now = self.link.clock.now();
        match self.link.offer(now, frame, meta) {
            Fate::Refused(why) => Err(why),
            Fate::Queued | Fate::Evicted(_) | Fate::Replaced => Ok(()),
        }
    }

    fn room(&self) -> BoxFuture<'static, ()> {
        let link = Arc::clone(&self.link);
        Box::pin(async move { link.room().await })
    }

    fn refuse(&mut self) {
        if self.accepted.load(Ordering::Acquire) {
            self.link.refuse_question(self.channel, self.code, self.id);
        }
    }
}

impl Link {
    /// Tells the peer that it gets no answer, if it is one that understands, and counts it in any case.
    pub(super) fn refuse_question(&self, channel: ChannelId, code: u8, id: u64) {
        let Some(state) = self.channel(channel) else { return };
        state.counters.add_dropped(DropReason::Unanswered, 1);
        if self.far_end.understands_refusals {
            let frame = Frame { channel, code, payload: Head::refusal(id) };
            // A peer that asks without end and reads nothing will time out, as it would with any other.
            self.push_or_hold(self.clock.now(), frame, self.answering.limit);
        }
    }
}
