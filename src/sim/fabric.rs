//! The simulated network: hosts with addresses, and the links between them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::cuts::Cuts;
use super::lines::{HostId, Line, Lines};
use super::seed::{delay, derive};
use super::trace::{Keep, Record, Trace, digest};
use super::wire::{End, SimStream, Yields, sim_stream};
use crate::address::Endpoint;
use crate::event::Closed;
use crate::id::NodeId;
use crate::transport::link::{LinkConfigError, LinkHandle, Timetable, pair_by};

/// How connections are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Opening {
    /// By how much the first packet of an attempt may be late, so that attempts overtake each other. Default 0.
    pub reorder: Duration,
    /// In how many of a thousand cases an attempt arrives twice; the second is closed at once. Default 0; 1,000 and
    /// more are always.
    pub duplicated_per_mille: u16,
}

/// The network, shared by all of its hosts.
pub(super) struct Fabric {
    seed: u64,
    began: Instant,
    timetable: Arc<Timetable>,
    state: Mutex<State>,
    trace: Mutex<Trace>,
}

struct State {
    hosts: Vec<Host>,
    /// Who is where: the proper nodes, and those that break the rules.
    listed: [Vec<(NodeId, SocketAddr)>; 2],
    by_ip: BTreeMap<IpAddr, HostId>,
    listeners: BTreeMap<SocketAddr, mpsc::Sender<Box<Arrival>>>,
    lines: Lines,
    opening: Opening,
    interleaved: bool,
    cuts: Cuts,
    /// Links of which an end is held.
    open: BTreeMap<u64, OpenLink>,
    links_made: u64,
    attempts_made: u64,
}

struct Host {
    region: u16,
    /// The port of its last outgoing connection.
    last_port: u16,
}

struct OpenLink {
    from: HostId,
    to: HostId,
    handle: LinkHandle,
    /// Whether the way there is cut, and the way back.
    cut: [bool; 2],
    /// Whether nothing arrives on it any more, whatever is cut or mended.
    stalled: bool,
    /// How fast each way would be between hosts that are not slow.
    own_rates: [Option<u64>; 2],
}

/// A stream that was opened to a listener, and from where.
pub(super) type Arrival = (SimStream, Endpoint);

/// How long the two ways of an attempt take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub(super) number: u64,
    pub(super) there: Duration,
    pub(super) back: Duration,
}

/// The first port of outgoing connections.
const FIRST_PORT: u16 = 49_152;

impl Fabric {
    pub(super) fn new(seed: u64, keep: Keep) -> Self {
        let state = State {
            hosts: Vec::new(),
            listed: [Vec::new(), Vec::new()],
            by_ip: BTreeMap::new(),
            listeners: BTreeMap::new(),
            lines: Lines::default(),
            opening: Opening::default(),
            interleaved: false,
            cuts: Cuts::default(),
            open: BTreeMap::new(),
            links_made: 0,
            attempts_made: 0,
        };
        let (state, trace) = (Mutex::new(state), Mutex::new(Trace::new(keep)));
        Self { seed, began: Instant::now(), timetable: Timetable::new(), state, trace }
    }

    /// When what arrives on which link.
    pub(super) fn timetable(&self) -> Arc<Timetable> {
        Arc::clone(&self.timetable)
    }

    /// Adds a host; `None` if the address is taken.
    pub(super) fn add_host(&self, ip: IpAddr, region: u16) -> Option<HostId> {
        let mut state = self.state();
        if state.by_ip.contains_key(&ip) {
            return None;
        }
        let host = HostId::try_from(state.hosts.len()).ok()?;
        state.hosts.push(Host { region, last_port: FIRST_PORT });
        state.by_ip.insert(ip, host);
        Some(host)
    }

    /// Takes note of who is where.
    pub(super) fn list(&self, id: NodeId, at: SocketAddr, byzantine: bool) {
        self.state().listed[usize::from(byzantine)].push((id, at));
    }

    /// Who is where, of those that break the rules or of those that do not, in the order in which they were added.
    pub(super) fn listed(&self, byzantine: bool) -> Vec<(NodeId, SocketAddr)> {
        self.state().listed[usize::from(byzantine)].clone()
    }

    pub(super) fn listen(&self, at: SocketAddr, arrivals: mpsc::Sender<Box<Arrival>>) {
        self.state().listeners.insert(at, arrivals);
    }

    /// Ends a listener, if it is still this one.
    pub(super) fn unlisten(&self, at: SocketAddr, arrivals: &mpsc::Sender<Box<Arrival>>) {
        let mut state = self.state();
        if state.listeners.get(&at).is_some_and(|known| known.same_channel(arrivals)) {
            state.listeners.remove(&at);
        }
    }

    pub(super) fn host_at(&self, ip: IpAddr) -> Option<HostId> {
        self.state().by_ip.get(&ip).copied()
    }

    /// Begins an attempt of one host to connect to another.
    pub(super) fn attempt(&self, from: HostId, to: HostId) -> Attempt {
        let mut state = self.state();
        let number = state.attempts_made;
        state.attempts_made += 1;
        let late = delay(state.opening.reorder, self.seed, "attempt", number);
        let [there, back] = [state.line(from, to), state.line(to, from)].map(|line| line.latency);
        Attempt { number, there: there + late, back }
    }

    /// Whether packets get through in both directions.
    pub(super) fn is_open(&self, from: HostId, to: HostId) -> bool {
        let cuts = &self.state().cuts;
        !cuts.is_cut(from, to) && !cuts.is_cut(to, from)
    }

    /// Gives the far end of a new connection to whoever listens, and answers the near one.
    pub(super) fn deliver(
        self: &Arc<Self>,
        attempt: Attempt,
        (from, from_ip): (HostId, IpAddr),
        (to, at): (HostId, SocketAddr),
    ) -> Result<SimStream, Closed> {
        let refused = |detail: &'static str| Closed::stream("connection_refused", detail);
        let listener = self.state().listeners.get(&at).cloned();
        let listener = listener.ok_or_else(|| refused("nobody listens there"))?;
        let often = u64::from(self.state().opening.duplicated_per_mille);
        let copies = 1 + u8::from(derive(self.seed, "duplicate", attempt.number) % 1000 < often);
        let mut opened = None;
        for _ in 0..copies {
            let (near, far) = self.link(from, to, at, from_ip)?;
            let source = far.remote.clone();
            let arrival = Box::new((far.stream, source));
            match listener.try_send(arrival) {
                Ok(()) => opened.get_or_insert(near),
                Err(mpsc::error::TrySendError::Full(_)) => return Err(refused("its backlog is full")),
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(refused("it listens no more")),
            };
        }
        opened.map(|near| near.stream).ok_or_else(|| refused("nobody listens there"))
    }

    /// Makes the two ends of a link.
    fn link(
        self: &Arc<Self>,
        from: HostId,
        to: HostId,
        at: SocketAddr,
        from_ip: IpAddr,
    ) -> Result<(Opened, Opened), Closed> {
        let mut state = self.state();
        let number = state.links_made;
        state.links_made += 1;
        let lines = [(from, to, "there"), (to, from, "back")]
            .map(|(from, to, way)| state.line(from, to).draw(self.seed, way, number));
        let [there, back] = lines;
        // Lines are checked when they are set; what is left is a bug of ours, told as such.
        let bug = |error: LinkConfigError| Closed::stream("impossible_line", error.to_string());
        let lines = [there.map_err(bug)?, back.map_err(bug)?];
        let (near, far, handle) = pair_by(&self.timetable, lines, derive(self.seed, "jitter", number));
        let cut = [state.cuts.is_cut(from, to), state.cuts.is_cut(to, from)];
        let own_rates = [(from, to), (to, from)].map(|(from, to)| state.own_line(from, to).bytes_per_second);
        state.open.insert(number, OpenLink { from, to, handle, cut, stalled: false, own_rates });
        let port = state.hosts.get_mut(from as usize).map_or(FIRST_PORT, |host| {
            host.last_port = host.last_port.checked_add(1).unwrap_or(FIRST_PORT);
            host.last_port
        });
        let interleaved = state.interleaved;
        drop(state);
        let source = SocketAddr::new(from_ip, port);
        let link = Arc::new(LinkEnd { fabric: Arc::downgrade(self), number });
        let yields = |end| {
            let seed = |half| interleaved.then(|| derive(self.seed, half, number * 2 + end));
            ["reading", "writing"].map(|half| Yields::new(seed(half)))
        };
        let near_end =
            End { host: from, peer: to, local: source, link: Arc::clone(&link), yields: yields(0) };
        let far_end = End { host: to, peer: from, local: at, link, yields: yields(1) };
        let near = Opened { stream: sim_stream(near, near_end, self), remote: Endpoint::Tcp(at) };
        let far = Opened { stream: sim_stream(far, far_end, self), remote: Endpoint::Tcp(source) };
        Ok((near, far))
    }

    /// Changes which ways are cut, and cuts and heals the links that exist.
    pub(super) fn change_cuts<T>(&self, change: impl FnOnce(&mut Cuts) -> T) -> T {
        let mut state = self.state();
        let answer = change(&mut state.cuts);
        let State { open, cuts, .. } = &mut *state;
        let mut changes = Vec::new();
        for link in open.values_mut() {
            let now = [cuts.is_cut(link.from, link.to), cuts.is_cut(link.to, link.from)];
            for (way, forth) in [(0, true), (1, false)] {
                if link.cut[way] != now[way] && !link.stalled {
                    changes.push((link.handle.clone(), forth, now[way]));
                }
            }
            link.cut = now;
        }
        drop(state);
        // Wakes tasks, which is no business of whoever holds the lock.
        for (handle, forth, cut) in changes {
            handle.set_cut(forth, cut);
        }
        answer
    }

    /// Breaks every connection between hosts that `which` says yes to; how many.
    pub(super) fn reset(&self, which: impl Fn(HostId, HostId) -> bool) -> usize {
        let handles: Vec<LinkHandle> = {
            let state = self.state();
            let chosen = state.open.values().filter(|link| which(link.from, link.to));
            chosen.map(|link| link.handle.clone()).collect()
        };
        handles.iter().for_each(LinkHandle::reset);
        handles.len()
    }

    /// Lets nothing arrive any more on every connection between hosts that `which` says yes to; how many.
    pub(super) fn stall(&self, which: impl Fn(HostId, HostId) -> bool) -> usize {
        let mut state = self.state();
        let chosen = state.open.values_mut().filter(|link| !link.stalled && which(link.from, link.to));
        let handles: Vec<LinkHandle> = chosen
            .map(|link| {
                link.stalled = true;
                link.handle.clone()
            })
            .collect();
        drop(state);
        for handle in &handles {
            handle.set_cut(true, true);
            handle.set_cut(false, true);
        }
        handles.len()
    }

    pub(super) fn change_lines(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.state().lines);
    }

    /// Lets a host send and receive no faster on each of its connections, those that exist and those to come.
    pub(super) fn slow(&self, host: HostId, bytes_per_second: Option<u64>) -> Result<(), LinkConfigError> {
        let mut state = self.state();
        state.lines.set_slow(host, bytes_per_second);
        let mut changes = Vec::new();
        for link in state.open.values().filter(|link| link.from == host || link.to == host) {
            let rates = link.own_rates.map(|own| state.lines.slowest((link.from, link.to), own));
            changes.push((link.handle.clone(), rates));
        }
        drop(state);
        // Wakes tasks, which is no business of whoever holds the lock.
        changes.into_iter().try_for_each(|(handle, [there, back])| {
            handle.set_rate(true, there)?;
            handle.set_rate(false, back)
        })
    }

    pub(super) fn set_opening(&self, opening: Opening) {
        self.state().opening = opening;
    }

    pub(super) fn set_interleaved(&self, interleaved: bool) {
        self.state().interleaved = interleaved;
    }

    /// Virtual time since the network began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes note of bytes that were written.
    pub(super) fn wrote(&self, host: HostId, peer: HostId, bytes: &[u8]) {
        let (size, digest) = (bytes.len() as u64, digest(bytes));
        let record =
            Record { at: self.elapsed(), node: Some(host), peer: Some(peer), what: "wrote", size, digest };
        self.trace().push(record);
    }

    /// Takes note of something. Within the network's runtime alone is it known when.
    pub(super) fn note(&self, node: Option<HostId>, what: &'static str, size: u64, digest: u64) {
        let record = Record { at: self.elapsed(), node, peer: None, what, size, digest };
        self.trace().push(record);
    }

    pub(super) fn trace(&self) -> MutexGuard<'_, Trace> {
        // A record is pushed whole or, if memory ends, not at all.
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds this lock can panic between two writes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The line that the next connection gets.
    fn line(&self, from: HostId, to: HostId) -> Line {
        let line = self.own_line(from, to);
        let bytes_per_second = self.lines.slowest((from, to), line.bytes_per_second);
        Line { bytes_per_second, ..line }
    }

    /// The same between hosts that are not slow.
    fn own_line(&self, from: HostId, to: HostId) -> Line {
        let region = |host: HostId| self.hosts.get(host as usize).map_or(0, |host| host.region);
        self.lines.between((from, to), (region(from), region(to)))
    }
}

/// One end of a new link.
struct Opened {
    stream: SimStream,
    remote: Endpoint,
}

/// Held by both ends of a link: the network forgets a link of which nothing is left.
pub(super) struct LinkEnd {
    fabric: Weak<Fabric>,
    number: u64,
}

impl Drop for LinkEnd {
    fn drop(&mut self) {
        if let Some(fabric) = self.fabric.upgrade() {
            let gone = fabric.state().open.remove(&self.number);
            drop(gone);
        }
    }
}
