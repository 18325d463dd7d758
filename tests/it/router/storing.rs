//! The end of a store: closed once, where waiting harms nobody, and what went wrong is told.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ThreadId};
use std::time::Duration;

use peerage::event::EventKind;
use peerage::peer::{BanTarget, Loaded, Record, RecordKey, Store, StoreError};
use tokio::sync::mpsc as told;

use super::kit::{Memory, Net, Node, Note, id, paused};

/// What a store does when it is closed.
enum End {
    Good,
    Fails,
    Panics,
    /// Waits until the other half is dropped.
    Hangs(Receiver<()>),
}

/// Tells of its end: by which thread, within what time, and after how many changes.
struct Ending {
    changes: usize,
    end: End,
    closed: told::Sender<(ThreadId, Duration, usize)>,
}

impl Store for Ending {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        Ok(Loaded::default())
    }

    fn persist(&mut self, _: Record) {
        self.changes += 1;
    }

    fn forget(&mut self, _: &RecordKey) {
        self.changes += 1;
    }

    fn close(self: Box<Self>, within: Duration) -> Result<(), StoreError> {
        self.closed.try_send((thread::current().id(), within, self.changes)).unwrap();
        match self.end {
            End::Good => Ok(()),
            End::Fails => Err(StoreError::new("was closed without 7 changed records: the disk is full")),
            End::Panics => panic!("for the test"),
            End::Hangs(until) => {
                let _ = until.recv();
                Ok(())
            }
        }
    }
}

type Closed = told::Receiver<(ThreadId, Duration, usize)>;

/// A node with such a store, which holds a ban.
async fn node(end: End) -> (Node, Closed) {
    let net = Net::new(Memory::default());
    let mut builder = net.builder(1).await;
    let (closed, ends) = told::channel(2);
    builder.store(Ending { changes: 0, end, closed });
    builder.configure(|config| config.drain_timeout = Duration::from_secs(2));
    let channel = builder.channel::<Note>().unwrap();
    let node = net.start(builder, channel);
    node.handle.ban(BanTarget::Peer(id(2)), None, "").await.unwrap();
    (node, ends)
}

/// How often it was told that the store failed, and how often that it did so for good with this error.
fn failed(node: &Node, expected: &str) -> (usize, usize) {
    let any = node.log.count(|kind| matches!(kind, EventKind::StoreFailed { .. }));
    let last = EventKind::StoreFailed { error: expected.into(), again: false };
    (any, node.log.count(|kind| *kind == last))
}

#[test]
fn a_store_is_closed_once_after_all_changes_on_a_thread_that_may_wait() {
    paused(async {
        let (mut node, mut closed) = node(End::Good).await;
        node.handle.shutdown();
        let report = (&mut node.task).await.unwrap();
        assert!(report.clean && report.store.is_none(), "{report:?}");
        let (thread, within, changes) = closed.recv().await.unwrap();
        assert_ne!(thread, thread::current().id(), "no task of the runtime may be held up");
        assert_eq!((within, changes), (Duration::from_secs(3), 1));
        assert_eq!(closed.recv().await, None);
        assert_eq!(failed(&node, ""), (0, 0));
    });
}

#[test]
fn a_store_that_is_not_closed_in_order_is_told_and_reported() {
    for (end, expected) in [
        (End::Fails, "the peer store was closed without 7 changed records: the disk is full"),
        (End::Panics, "the peer store panicked while it was closed: records may be lost"),
    ] {
        paused(async {
            let (mut node, _closed) = node(end).await;
            node.handle.shutdown();
            let report = (&mut node.task).await.unwrap();
            assert!(!report.clean);
            assert_eq!(report.store.map(|error| error.to_string()).as_deref(), Some(expected));
            assert_eq!(failed(&node, expected), (1, 1));
        });
    }
}

#[test]
fn a_store_that_never_comes_to_an_end_does_not_hold_up_the_shutdown() {
    paused(async {
        let (release, hangs): (SyncSender<()>, _) = sync_channel(0);
        let (mut node, mut closed) = node(End::Hangs(hangs)).await;
        node.handle.shutdown();
        closed.recv().await.unwrap();
        // While it hangs, the clock does not move by itself.
        tokio::time::advance(Duration::from_millis(4001)).await;
        let report = (&mut node.task).await.unwrap();
        let expected = "the peer store is still being closed: records may be lost";
        assert_eq!(report.store.map(|error| error.to_string()).as_deref(), Some(expected));
        assert_eq!(failed(&node, expected), (1, 1));
        drop(release);
    });
}

#[test]
fn the_store_of_a_run_that_is_dropped_is_closed_as_well() {
    paused(async {
        let (node, mut closed) = node(End::Good).await;
        node.task.abort();
        assert_eq!(closed.recv().await.map(|(_, _, changes)| changes), Some(1));
    });
}
