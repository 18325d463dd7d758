//! What the nodes of a scenario say to each other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::board::Board;
use super::conduct::Talking;
use crate::channel::{Receiver, Recipients, Sender};
use crate::sim::node::Node;

/// Most bytes that a message carries beside what it says.
pub(super) const MAX_PADDING_BYTES: usize = 60_000;

/// Most bytes of a message.
pub(super) const MAX_BYTES: usize = 65_536;

crate::protocol! {
    /// The scenarios' own protocol.
    #[derive(Debug)]
    pub(super) enum Talk: "talk" / 1, max MAX_BYTES {
        /// Says when it was said.
        0 = Say { group: u16, said_us: u64, padding: Bytes },
    }
}

/// Says something to peers from time to time, until the node ends.
pub(super) async fn say(
    sender: Sender<Talk>,
    board: Arc<Board>,
    node: Node,
    talking: Talking,
    begins: Duration,
) {
    let group = board.group_of(node);
    let padding = Bytes::from(vec![0; talking.bytes]);
    let mut ticks = interval_at(Instant::now() + begins, talking.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let to = match talking.to {
            Some(count) => Recipients::all().sample(count),
            None => Recipients::all(),
        };
        let said_us = board.now_us();
        let outcome = sender.try_send(to, Talk::Say { group, said_us, padding: padding.clone() });
        board.said(group, outcome.iter().map(|(peer, _)| peer));
    }
}

/// Takes note of what is heard, until the node ends; takes its time for each message.
pub(super) async fn listen(
    mut receiver: Receiver<Talk>,
    board: Arc<Board>,
    node: Node,
    handles_in: Duration,
) {
    let group = board.group_of(node);
    while let Some(envelope) = receiver.recv().await {
        let Talk::Say { group: from, said_us, .. } = envelope.message;
        board.heard(from, group, said_us);
        if !handles_in.is_zero() {
            sleep(handles_in).await;
        }
    }
}
