//! What a connection notices of its peer's conduct, on its way to the peer manager.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::channel::BehaviourReport;
use crate::event::{Blame, Closed, Layer, Misbehaviour, Side};
use crate::id::{ChannelId, ConnId, NodeId};
use crate::router::manager::{Mailbox, Request};

/// Tallies misbehaviour of one connection's peer, and tells the peer manager without waiting for it.
///
/// Whoever notices something calls [`Conduct::note`] and no more: the reader flushes the tally after each turn. What
/// finds no room in the manager's mailbox stays here and grows in number, not in size, until the next flush, or until
/// [`Conduct::settle`] at the connection's end. So nothing is lost, nothing waits, and a peer that misbehaves in each
/// message makes one report for a burst of them. The reports go through the same mailbox as the connection's end, and
/// before it: none is late.
pub(super) struct Conduct {
    mailbox: Mailbox,
    peer: NodeId,
    conn: ConnId,
    /// At most one entry for each kind and channel: how often, and the circumstances of the first time.
    tally: BTreeMap<(Misbehaviour, Option<ChannelId>), (u32, Cow<'static, str>)>,
}

impl Conduct {
    pub(super) fn new(mailbox: Mailbox, peer: NodeId, conn: ConnId) -> Self {
        Self { mailbox, peer, conn, tally: BTreeMap::new() }
    }

    /// Takes note that the peer misbehaved, on a channel or with a message that belongs to none. Never blocks.
    ///
    /// It ends nothing: a fault after which reading cannot go on is returned to the reader besides.
    pub(super) fn note(
        &mut self,
        channel: impl Into<Option<ChannelId>>,
        what: Misbehaviour,
        detail: impl Into<Cow<'static, str>>,
    ) {
        let (count, _) = self.tally.entry((what, channel.into())).or_insert_with(|| (0, detail.into()));
        *count = count.saturating_add(1);
    }

    /// Takes note of what the peer did if the transport ended the connection for it.
    ///
    /// Only a message id that belongs to no channel is conduct. Other faults are the stream's, and stay so.
    pub(super) fn note_end(&mut self, closed: &Closed) {
        let unshared = (Side::Local, Layer::Capability, Blame::Protocol, "unknown_message_id");
        if (closed.by, closed.layer, closed.blame, closed.label) == unshared {
            self.note(None, Misbehaviour::UnsharedChannel, closed.detail.clone());
        }
    }

    /// Tells the peer manager as much as its mailbox has room for.
    pub(super) fn flush(&mut self) {
        while let Some((key, noted)) = self.tally.pop_first() {
            let report = self.report(key, noted);
            if let Err(Request::Behaved(report)) = self.mailbox.try_tell(Request::Behaved(report)) {
                self.tally.insert(key, (report.count, report.detail));
                return;
            }
        }
    }

    /// Tells the peer manager all that is left, waiting for room. To be called once, before it hears of the end.
    ///
    /// Not cancel-safe: dropping the future may lose a report.
    pub(super) async fn settle(mut self) {
        while let Some((key, noted)) = self.tally.pop_first() {
            self.mailbox.tell(Request::Behaved(self.report(key, noted))).await;
        }
    }

    fn report(
        &self,
        (what, channel): (Misbehaviour, Option<ChannelId>),
        (count, detail): (u32, Cow<'static, str>),
    ) -> Box<BehaviourReport> {
        let what = what.into();
        Box::new(BehaviourReport { peer: self.peer, conn: self.conn, channel, what, count, detail })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::mpsc::Receiver;

    use super::*;
    use crate::event::{Act, DisconnectReason};
    use crate::id::NodeKey;

    const ETH: ChannelId = ChannelId::from_static("eth");
    const SNAP: ChannelId = ChannelId::from_static("snap");

    fn conduct() -> (Conduct, Mailbox, Receiver<Request>) {
        let (mailbox, requests) = Mailbox::new();
        let peer = NodeKey::insecure_from_seed(1).id();
        (Conduct::new(mailbox.clone(), peer, ConnId::new(7)), mailbox, requests)
    }

    fn end() -> Request {
        let closed = Closed::remote(DisconnectReason::Requested);
        Request::Disconnected { conn: ConnId::new(7), closed, lost: 0 }
    }

    /// Leaves no room; says how much there was.
    fn fill(mailbox: &Mailbox) -> usize {
        std::iter::from_fn(|| mailbox.try_tell(end()).ok()).count()
    }

    fn next(requests: &mut Receiver<Request>) -> Option<(Misbehaviour, Option<ChannelId>, u32, String)> {
        let Request::Behaved(report) = requests.try_recv().ok()? else { return None };
        assert_eq!(report.conn, ConnId::new(7));
        let Act::Bad(what) = report.what else { return None };
        Some((what, report.channel, report.count, report.detail.into_owned()))
    }

    #[test]
    fn a_burst_makes_one_report_for_each_kind_and_channel() {
        let (mut conduct, _, mut requests) = conduct();
        conduct.flush();
        for number in 0..3 {
            conduct.note(ETH, Misbehaviour::OverQuota, format!("message {number}"));
            conduct.note(SNAP, Misbehaviour::OverQuota, "");
        }
        conduct.note(ETH, Misbehaviour::DuplicateAnswer, "again");
        conduct.flush();
        conduct.flush();
        assert_eq!(next(&mut requests), Some((Misbehaviour::OverQuota, Some(ETH), 3, "message 0".into())));
        assert_eq!(next(&mut requests), Some((Misbehaviour::OverQuota, Some(SNAP), 3, String::new())));
        assert_eq!(next(&mut requests), Some((Misbehaviour::DuplicateAnswer, Some(ETH), 1, "again".into())));
        assert!(requests.try_recv().is_err(), "each is told once");
    }

    #[test]
    fn what_finds_no_room_is_kept_and_told_later() {
        let (mut conduct, mailbox, mut requests) = conduct();
        let filled = fill(&mailbox);
        for _ in 0..5 {
            conduct.note(ETH, Misbehaviour::OverQuota, "");
            conduct.note(SNAP, Misbehaviour::Nuisance, "");
            conduct.flush();
        }
        for _ in 0..filled {
            assert!(matches!(requests.try_recv(), Ok(Request::Disconnected { .. })));
        }
        assert!(requests.try_recv().is_err());
        conduct.note(ETH, Misbehaviour::OverQuota, "");
        conduct.flush();
        assert_eq!(next(&mut requests), Some((Misbehaviour::OverQuota, Some(ETH), 6, String::new())));
        assert_eq!(next(&mut requests), Some((Misbehaviour::Nuisance, Some(SNAP), 5, String::new())));
    }

    #[test]
    fn all_is_told_before_the_end_however_full_the_mailbox_is() {
        let (mut conduct, mailbox, mut requests) = conduct();
        let filled = fill(&mailbox);
        conduct.note(ETH, Misbehaviour::MalformedMessage, "");
        conduct.note(None, Misbehaviour::UnsharedChannel, "");
        conduct.flush();
        let ending = async {
            conduct.settle().await;
            mailbox.tell(end()).await;
        };
        let mut ending = Box::pin(ending.fuse());
        assert!((&mut ending).now_or_never().is_none(), "it waits for room");
        let mut told = Vec::new();
        while let Ok(request) = requests.try_recv() {
            told.push(matches!(request, Request::Behaved(_)));
            let _ = (&mut ending).now_or_never();
        }
        assert_eq!(told.len(), filled + 3);
        assert_eq!(told[filled..], [true, true, false]);
    }

    #[test]
    fn of_the_ends_that_a_transport_chooses_only_an_unshared_message_is_conduct() {
        let (mut conduct, _, mut requests) = conduct();
        let breach = |layer, label| Closed::local(layer, Blame::Protocol, DisconnectReason::Breach, label);
        conduct.note_end(&breach(Layer::Frame, "bad_body_mac"));
        conduct.note_end(&Closed::remote(DisconnectReason::Breach));
        conduct.flush();
        assert!(requests.try_recv().is_err());
        conduct.note_end(&breach(Layer::Capability, "unknown_message_id").with_detail("0x55"));
        conduct.flush();
        assert_eq!(next(&mut requests), Some((Misbehaviour::UnsharedChannel, None, 1, "0x55".into())));
    }
}
