//! Owns the peer manager, feeds it what happens, and carries out what it decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ingress::Request;
use super::operating::tell_unban;
use crate::channel::{BehaviourReport, Link};
use crate::event::{Act, Blame, Closed, DisconnectReason, EventKind, Layer, harmless};
use crate::id::{ConnId, Direction};
use crate::peer::{self, Output, PeerManager, Store};
use crate::router::connection::quitting;
use crate::router::events::About;
use crate::router::{Shared, dialer};

/// What the actor counts for the report of a shutdown.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::router) struct Tally {
    /// Messages that were lost with the connections that ended in the shutdown.
    pub(in crate::router) lost: u64,
}

pub(in crate::router) struct ManagerActor {
    pub(super) manager: PeerManager,
    store: Box<dyn Store>,
    mailbox: mpsc::Receiver<Request>,
    reports: mpsc::Receiver<BehaviourReport>,
    /// The connections that are up.
    links: BTreeMap<ConnId, Arc<Link>>,
    tally: Tally,
}

impl ManagerActor {
    pub(in crate::router) fn new(
        manager: PeerManager,
        store: Box<dyn Store>,
        mailbox: mpsc::Receiver<Request>,
        reports: mpsc::Receiver<BehaviourReport>,
    ) -> Self {
        Self { manager, store, mailbox, reports, links: BTreeMap::new(), tally: Tally::default() }
    }

    /// Runs until `finish`, which comes after every connection has reported its end.
    pub(in crate::router) async fn run(mut self, shared: Arc<Shared>, finish: CancellationToken) -> Tally {
        loop {
            let wakeup = self.act(&shared);
            let timer = async {
                match wakeup {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // The end first, lest a reactor that never ceases to report keeps the node alive. Then requests; each
            // lets one report pass, so that neither starves the other. A due timer loses nothing by waiting,
            // since `act` looks at the time in every turn.
            tokio::select! {
                biased;
                () = finish.cancelled() => break,
                Some(request) = self.mailbox.recv() => {
                    self.on_request(&shared, request);
                    if let Ok(report) = self.reports.try_recv() {
                        self.on_report(&shared, report);
                    }
                }
                Some(report) = self.reports.recv() => self.on_report(&shared, report),
                () = timer => {}
            }
        }
        // Every connection has told its end before `finish`; no more than one mailbox is left to read.
        self.mailbox.close();
        while let Some(request) = self.mailbox.recv().await {
            self.on_request(&shared, request);
        }
        self.drain_outputs(&shared);
        self.tally
    }

    /// Carries out all that the manager has decided; says when it wants to be asked again.
    fn act(&mut self, shared: &Arc<Shared>) -> Option<Instant> {
        let now = Instant::now().into_std();
        self.drain_outputs(shared);
        while let Some(eviction) = self.manager.try_evict_next(now) {
            if let Some(link) = self.links.get(&eviction.conn) {
                let (why, because) = (eviction.why.label(), eviction.because);
                shared.events.emit(about(link), EventKind::Evicting { why, because });
                link.close(eviction.closed);
            }
        }
        if shared.stopping.is_cancelled() {
            return None;
        }
        while let Some(dial) = self.manager.try_dial_next(now) {
            dialer::spawn(shared, dial);
        }
        self.manager.next_wakeup().map(|wakeup| wakeup.at.into())
    }

    fn drain_outputs(&mut self, shared: &Shared) {
        while let Some(output) = self.manager.poll_output() {
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
            let error = error.to_string();
            shared.events.emit(About::default(), EventKind::StoreFailed { error });
        }
    }

    fn on_request(&mut self, shared: &Shared, request: Request) {
        let now = Instant::now().into_std();
        match request {
            Request::Incoming { endpoint, reply } => {
                let answer = self.manager.incoming(&endpoint, now);
                let answer = answer.map_err(|reject| {
                    let about = About { direction: Some(Direction::Inbound), ..About::default() };
                    self.refuse(shared, about, reject, Some(&endpoint))
                });
                if let Err(Ok(conn)) = reply.send(answer) {
                    // The acceptor was cancelled between asking and hearing: give the slot back.
                    late(self.manager.incoming_failed(conn, &quitting(), now));
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
                late(self.manager.dial_failed(conn, &closed, now));
            }
            Request::Failed { conn, direction: Direction::Inbound, closed } => {
                late(self.manager.incoming_failed(conn, &closed, now));
            }
            Request::Behaved(report) => self.on_report(shared, *report),
            Request::Disconnected { conn, closed, lost } => self.on_disconnected(shared, conn, &closed, lost),
            Request::Command(command) => self.on_command(command, now),
        }
    }

    /// Admits a connection, or says why not. On yes, sending to the peer works before anybody hears of it.
    fn on_established(&mut self, shared: &Shared, link: &Arc<Link>) -> Result<(), Closed> {
        let now = Instant::now().into_std();
        let conn = link.conn;
        let admitted = match (shared.stopping.is_cancelled(), link.direction) {
            (true, _) => Err(None),
            (false, Direction::Outbound) => self.manager.dialed(conn, now).map_err(Some),
            (false, Direction::Inbound) => self.manager.accepted(conn, link.peer(), now).map_err(Some),
        };
        // A rejection changes nothing: the attempt is still open, and its end is told when the peer is gone.
        let admitted = admitted.map_err(|reject| match reject {
            Some(reject) => self.refuse(shared, about(link), reject, Some(&link.far_end.remote)),
            None => quitting(),
        })?;
        if !shared.registry.insert(Arc::clone(link)) {
            late(self.manager.disconnected(conn, &quitting(), now));
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
        late(self.manager.ready(conn, link.far_end.introduction.clone(), now));
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
        late(self.manager.disconnected(conn, closed, Instant::now().into_std()));
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
        let now = Instant::now().into_std();
        late(match what {
            Act::Bad(what) => {
                let detail = harmless(detail);
                shared.events.emit(about, EventKind::Misbehaved { channel, what, count, detail });
                self.manager.reported(conn, what, count, now)
            }
            Act::Good(what) => self.manager.praised(conn, what, count, now),
            Act::Took(latency) => self.manager.measured(conn, latency, now),
        });
    }
}

/// A report about a connection that is no longer the peer's is counted by the manager; nothing else follows.
fn late(_: peer::Report) {}

/// The end of a connection whose peer has a better one.
fn replaced() -> Closed {
    Closed::local(Layer::PeerManager, Blame::Nobody, DisconnectReason::AlreadyConnected, "replaced")
}

fn about(link: &Link) -> About {
    About { conn: Some(link.conn), peer: Some(link.peer()), direction: Some(link.direction) }
}
