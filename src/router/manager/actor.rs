//! Owns the peer manager, feeds it what happens, and carries out what it decides.
//!
//! A report about a connection that is no longer the peer's is counted by the manager; nothing else follows, so that
//! the answers to reports are not looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ingress::Request;
use super::operating::tell_unban;
use crate::channel::{BehaviourReport, BookRequest, Link};
use crate::event::{Act, Blame, Closed, DisconnectReason, EventKind, Layer, harmless};
use crate::id::{ConnId, Direction};
use crate::peer::{Answer, Op, Output, Store, StoreError};
use crate::router::connection::quitting;
use crate::router::events::About;
use crate::router::recording::Recorded;
use crate::router::{Shared, dialer, store};

/// What the actor notes for the report of a shutdown.
#[derive(Debug, Clone, Default)]
pub(in crate::router) struct Tally {
    /// Messages that were lost with the connections that ended in the shutdown.
    pub(in crate::router) lost: u64,
    /// Why the store could not be closed.
    pub(in crate::router) store: Option<StoreError>,
}

pub(in crate::router) struct ManagerActor {
    pub(super) manager: Recorded,
    store: Box<dyn Store>,
    mailbox: mpsc::Receiver<Request>,
    reports: mpsc::Receiver<BehaviourReport>,
    book: mpsc::Receiver<BookRequest>,
    /// The connections that are up.
    links: BTreeMap<ConnId, Arc<Link>>,
    tally: Tally,
}

impl ManagerActor {
    pub(in crate::router) fn new(
        manager: Recorded,
        store: Box<dyn Store>,
        mailbox: mpsc::Receiver<Request>,
        reports: mpsc::Receiver<BehaviourReport>,
        book: mpsc::Receiver<BookRequest>,
    ) -> Self {
        Self { manager, store, mailbox, reports, book, links: BTreeMap::new(), tally: Tally::default() }
    }

    /// Runs until `finish`, which comes after every connection has reported its end.
    pub(in crate::router) async fn run(mut self, shared: Arc<Shared>, finish: CancellationToken) -> Tally {
        loop {
            let wakeup = self.act(&shared);
            let timer = async {
                match wakeup {
                    Some(at) => shared.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // The end first, lest a reactor that never ceases to report keeps the node alive. Then requests; each
            // lets one report pass, and one exchange of addresses, so that none starves another. A due timer loses
            // nothing by waiting, since `act` looks at the time in every turn.
            tokio::select! {
                biased;
                () = finish.cancelled() => break,
                Some(request) = self.mailbox.recv() => {
                    self.on_request(&shared, request);
                    if let Ok(report) = self.reports.try_recv() {
                        self.on_report(&shared, report);
                    }
                    self.let_one_exchange_pass(&shared);
                }
                Some(report) = self.reports.recv() => {
                    self.on_report(&shared, report);
                    self.let_one_exchange_pass(&shared);
                }
                Some(request) = self.book.recv() => self.on_book(request, shared.clock.now()),
                () = timer => {}
            }
        }
        // Every connection has told its end before `finish`; no more than one mailbox is left to read.
        self.mailbox.close();
        while let Some(request) = self.mailbox.recv().await {
            self.on_request(&shared, request);
        }
        self.drain_outputs(&shared);
        let Self { store, mut tally, .. } = self;
        tally.store = store::close(store, shared.config.drain_timeout).await.err();
        if let Some(error) = &tally.store {
            store_failed(&shared, error, false);
        }
        tally
    }

    fn let_one_exchange_pass(&mut self, shared: &Shared) {
        if let Ok(request) = self.book.try_recv() {
            self.on_book(request, shared.clock.now());
        }
    }

    /// Carries out all that the manager has decided; says when it wants to be asked again.
    fn act(&mut self, shared: &Arc<Shared>) -> Option<Instant> {
        self.drain_outputs(shared);
        let now = shared.clock.now();
        while let Answer::Eviction(Some(eviction)) = self.manager.apply(Op::TryEvictNext, now) {
            if let Some(link) = self.links.get(&eviction.conn) {
                let (why, because) = (eviction.why.label(), eviction.because);
                shared.events.emit(about(link), EventKind::Evicting { why, because });
                link.close(eviction.closed);
            }
        }
        if shared.stopping.is_cancelled() {
            return None;
        }
        while let Answer::Dial(Some(dial)) = self.manager.apply(Op::TryDialNext, now) {
            dialer::spawn(shared, dial);
        }
        self.manager.manager().next_wakeup().map(|wakeup| wakeup.at)
    }

    fn drain_outputs(&mut self, shared: &Shared) {
        let now = shared.clock.now();
        while let Answer::Output(Some(output)) = self.manager.apply(Op::PollOutput, now) {
            match output {
                Output::Update(update) => shared.updates.apply(update),
                Output::Persist(record) => {
                    self.tell_ban(shared, &record);
                    self.store.persist(record);
                }
                Output::Forget(key) => {
                    tell_unban(shared, &key);
                    self.store.forget(&key);
                }
            }
        }
        if let Some(error) = self.store.take_fault() {
            store_failed(shared, &error, true);
        }
    }

    fn on_request(&mut self, shared: &Shared, request: Request) {
        let now = shared.clock.now();
        match request {
            Request::Incoming { endpoint, reply } => {
                let op = Op::Incoming { endpoint: endpoint.clone() };
                let Answer::Incoming(answer) = self.manager.apply(op, now) else { return };
                let answer = answer.map_err(|reject| {
                    let about = About { direction: Some(Direction::Inbound), ..About::default() };
                    self.refuse(shared, about, reject, Some(&endpoint))
                });
                if let Err(Ok(conn)) = reply.send(answer) {
                    // The acceptor was cancelled between asking and hearing: give the slot back.
                    self.manager.apply(Op::IncomingFailed { conn, closed: quitting() }, now);
                }
            }
            Request::Established { link, reply } => {
                let answer = self.on_established(shared, &link);
                // `Up` is told before the connection may deliver anything.
                self.drain_outputs(shared);
                if let Err(Ok(())) = reply.send(answer) {
                    link.close(quitting());
                    self.on_disconnected(shared, link.conn, &quitting(), 0);
                }
            }
            Request::Failed { conn, direction: Direction::Outbound, closed } => {
                self.manager.apply(Op::DialFailed { conn, closed }, now);
            }
            Request::Failed { conn, direction: Direction::Inbound, closed } => {
                self.manager.apply(Op::IncomingFailed { conn, closed }, now);
            }
            Request::Behaved(report) => self.on_report(shared, *report),
            Request::Disconnected { conn, closed, lost } => self.on_disconnected(shared, conn, &closed, lost),
            Request::Command(command) => self.on_command(command, now),
        }
    }

    /// Admits a connection, or says why not. On yes, sending to the peer works before anybody hears of it.
    fn on_established(&mut self, shared: &Shared, link: &Arc<Link>) -> Result<(), Closed> {
        let now = shared.clock.now();
        let conn = link.conn;
        let op = match link.direction {
            _ if shared.stopping.is_cancelled() => return Err(quitting()),
            Direction::Outbound => Op::Dialed { conn },
            Direction::Inbound => Op::Accepted { conn, id: link.peer() },
        };
        let Answer::Admitted(admitted) = self.manager.apply(op, now) else { return Err(quitting()) };
        // A rejection changes nothing: the attempt is still open, and its end is told when the peer is gone.
        let refuse = |reject| self.refuse(shared, about(link), reject, Some(&link.far_end.remote));
        let admitted = admitted.map_err(refuse)?;
        if !shared.registry.insert(Arc::clone(link)) {
            self.manager.apply(Op::Disconnected { conn, closed: quitting() }, now);
            return Err(quitting());
        }
        for inbound in &shared.inbounds {
            if link.channel(inbound.spec().id).is_some() {
                inbound.peer_up(link.peer());
            }
        }
        self.links.insert(conn, Arc::clone(link));
        if let Some(old) = admitted.replaces.and_then(|old| self.links.get(&old)) {
            // What the old connection alone had will never be told to be down.
            for inbound in &shared.inbounds {
                let id = inbound.spec().id;
                if old.channel(id).is_some() && link.channel(id).is_none() {
                    inbound.peer_down(link.peer());
                }
            }
            old.close(replaced());
        }
        let introduction = link.far_end.introduction.clone();
        self.manager.apply(Op::Ready { conn, introduction }, now);
        shared.events.emit(about(link), EventKind::Up { channels: link.channel_ids() });
        Ok(())
    }

    fn on_disconnected(&mut self, shared: &Shared, conn: ConnId, closed: &Closed, lost: u64) {
        let Some(link) = self.links.remove(&conn) else { return };
        if shared.registry.remove(link.peer(), conn) {
            for inbound in &shared.inbounds {
                if link.channel(inbound.spec().id).is_some() {
                    inbound.peer_down(link.peer());
                }
            }
        }
        if shared.stopping.is_cancelled() {
            self.tally.lost += lost;
        }
        let op = Op::Disconnected { conn, closed: closed.clone() };
        self.manager.apply(op, shared.clock.now());
        shared.events.emit(about(&link), EventKind::Down { closed: closed.clone() });
    }

    fn on_report(&mut self, shared: &Shared, report: BehaviourReport) {
        let BehaviourReport { peer, conn, channel, what, count, detail } = report;
        let link = self.links.get(&conn);
        if link.is_some_and(|link| link.peer() != peer) {
            // The reactor mixed up two peers: neither is to blame for that.
            return;
        }
        let direction = link.map(|link| link.direction);
        let about = About { conn: Some(conn), peer: Some(peer), direction };
        let op = match what {
            Act::Bad(what) => {
                let detail = harmless(detail);
                shared.events.emit(about, EventKind::Misbehaved { channel, what, count, detail });
                Op::Reported { conn, what, count }
            }
            Act::Good(what) => Op::Praised { conn, what, count },
            Act::Took(latency) => Op::Measured { conn, latency },
        };
        self.manager.apply(op, shared.clock.now());
    }
}

/// The end of a connection whose peer has a better one.
fn replaced() -> Closed {
    Closed::local(Layer::PeerManager, Blame::Nobody, DisconnectReason::AlreadyConnected, "replaced")
}

fn store_failed(shared: &Shared, error: &StoreError, again: bool) {
    let error = error.to_string();
    shared.events.emit(About::default(), EventKind::StoreFailed { error, again });
}

fn about(link: &Link) -> About {
    About { conn: Some(link.conn), peer: Some(link.peer()), direction: Some(link.direction) }
}
