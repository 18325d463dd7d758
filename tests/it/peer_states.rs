//! The table of the peer manager's states by its inputs, as the machine itself fills it in.
//!
//! `docs/peer-states.md` is that table. When the machine changes, `UPDATE_SNAPSHOTS=1 cargo test --test it
//! peer_states` writes it anew, and the change is read like any other.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use peerage::address::{Endpoint, NodeAddress};
use peerage::event::{Blame, Closed, DisconnectReason, GoodAct, Layer, Misbehaviour, Rule};
use peerage::id::{ConnId, NodeId, NodeKey};
use peerage::peer::{
    Answer, BanTarget, Change, Config, Introduction, Limit, Op, Output, PeerManager, PeerUpdate, Source,
    Status, WakeReason, WallTime,
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/peer-states.md");

const HEAD: &str = "\
# The peer manager, state by input

What the machine answers to each input about one peer, in each state that the peer may be in, and the state after it.
The machine fills this table in itself (`tests/it/peer_states.rs`), and a test compares. Why it answers so is the subject of
[the policy](peer-manager.md).

There is room in every pool, nobody else is known, and the peer has an address, but for one that called and is a stranger. The
identity of this node is the smaller one, so the peer's own call wins against our dial. `disconnected` and `dial_failed` report a
fault of the stream, `reported` a breach, `errored` a fault of the protocol. `accepted` is about a second call, whose handshake is in
progress. What is put out (`up`, `down`, `persist`, `forget`) is what `poll_output` gives afterwards. `late` stands for a report that
is counted and ignored.
";

/// How a peer comes into a state.
type Enter = fn(&mut Subject);

/// Where a peer may stand, with how it comes there.
const STATES: &[(&str, Enter)] = &[
    ("Unknown", |_| ()),
    ("Handshake", |subject| subject.conn = subject.calls()),
    ("Idle, due", Subject::known),
    ("Idle, held", |subject| {
        subject.known();
        subject.dialling();
        subject.apply(Op::DialFailed { conn: subject.conn, closed: lost() });
    }),
    ("Idle, parked", |subject| {
        subject.known();
        subject.apply(Op::Ban { target: range(), length: None, why: "".into() });
        subject.apply(Op::TryDialNext);
    }),
    ("Dialing", |subject| {
        subject.known();
        subject.dialling();
    }),
    ("Connected, not up", Subject::connected),
    ("Connected, up", Subject::up),
    ("Connected, eviction ordered", |subject| {
        subject.up();
        subject.apply(Op::Errored { conn: subject.conn, closed: broken() });
    }),
    ("Connected, eviction taken", |subject| {
        subject.up();
        subject.apply(Op::Errored { conn: subject.conn, closed: broken() });
        subject.apply(Op::TryEvictNext);
    }),
    ("Connected by its call, and dialled", |subject| {
        subject.known();
        subject.dialling();
        subject.dial = Some(subject.conn);
        let conn = subject.calls();
        subject.apply(Op::Accepted { conn, id: subject.peer });
        subject.conn = conn;
    }),
    ("Connected by its call, a stranger", |subject| {
        subject.conn = subject.calls();
        subject.apply(Op::Accepted { conn: subject.conn, id: subject.peer });
    }),
];

/// A manager, and the peer that a table is about.
#[derive(Clone)]
struct Subject {
    manager: PeerManager,
    now: Instant,
    peer: NodeId,
    /// The connection or attempt that is reported about.
    conn: ConnId,
    /// The dial, if it is another one.
    dial: Option<ConnId>,
}

fn lost() -> Closed {
    Closed::stream("reset", "")
}

fn broken() -> Closed {
    Closed::local(Layer::Channel, Blame::Protocol, DisconnectReason::Breach, "bad_message")
}

fn range() -> BanTarget {
    BanTarget::Prefix("8.8.8.0/24".parse().unwrap())
}

impl Subject {
    #[allow(clippy::disallowed_methods, reason = "somewhere for virtual time to begin")]
    fn new() -> Self {
        let mut ids = [1, 2].map(|seed| NodeKey::insecure_from_seed(seed).id());
        ids.sort();
        let mut config = Config::new(ids[0]);
        config.backoff.jitter = Duration::ZERO;
        let now = Instant::now();
        let manager = PeerManager::new(config, 1, now, WallTime::from_unix_ms(1), []).unwrap();
        Self { manager, now, peer: ids[1], conn: ConnId::new(99), dial: None }
    }

    fn apply(&mut self, op: Op) -> Answer {
        if let Op::Advance(by) = op {
            self.now += by;
        }
        let answer = self.manager.apply(op, self.now);
        self.manager.check_invariants().unwrap();
        answer
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.manager.poll_output()).collect()
    }

    fn address(&self, host: u8) -> NodeAddress {
        NodeAddress::rlpx(self.peer, SocketAddr::from(([8, 8, 8, host], 30303)))
    }

    fn known(&mut self) {
        let address = self.address(1);
        self.apply(Op::Add { address, source: Source::Discovery });
    }

    fn dialling(&mut self) {
        let Answer::Dial(Some(dial)) = self.apply(Op::TryDialNext) else { panic!("a dial is due") };
        self.conn = dial.conn;
    }

    fn calls(&mut self) -> ConnId {
        let endpoint = Endpoint::Tcp(SocketAddr::from(([9, 9, 9, 9], 4_000)));
        let Answer::Incoming(Ok(conn)) = self.apply(Op::Incoming { endpoint }) else {
            panic!("there is room")
        };
        conn
    }

    fn connected(&mut self) {
        self.known();
        self.dialling();
        self.apply(Op::Dialed { conn: self.conn });
    }

    fn up(&mut self) {
        self.connected();
        self.apply(Op::Ready { conn: self.conn, introduction: introduction() });
    }

    /// Every input, about this peer.
    fn inputs(&self) -> Vec<Op> {
        let (conn, peer) = (self.conn, self.peer);
        let dial = self.dial.unwrap_or(conn);
        let target = BanTarget::Peer(peer);
        vec![
            Op::Advance(Duration::from_secs(3600)),
            Op::Add { address: self.address(2), source: Source::Operator },
            Op::TryDialNext,
            Op::Dialed { conn: dial },
            Op::DialFailed { conn: dial, closed: lost() },
            Op::Incoming { endpoint: Endpoint::Tcp(SocketAddr::from(([9, 9, 9, 9], 4_001))) },
            Op::IncomingFailed { conn, closed: lost() },
            Op::Accepted { conn, id: peer },
            Op::Ready { conn, introduction: introduction() },
            Op::TryEvictNext,
            Op::Disconnected { conn, closed: lost() },
            Op::Errored { conn, closed: broken() },
            Op::Reported { conn, what: Misbehaviour::Breach, count: 1 },
            Op::Praised { conn, what: GoodAct::Helpful, count: 1 },
            Op::Measured { conn, latency: Duration::from_millis(50) },
            Op::Ban { target, length: None, why: "".into() },
            Op::Unban { target: range() },
            Op::Reconfigure(Change::MaxOutbound(Limit::AtMost(0))),
            Op::Disconnect { peer },
            Op::PollOutput,
        ]
    }

    /// What one input does: the answer, what is put out, and the state after it.
    fn cell(mut self, op: Op) -> [String; 3] {
        let op = match op {
            Op::Accepted { conn, id } if !self.is_handshake(conn) => Op::Accepted { conn: self.calls(), id },
            op => op,
        };
        self.drain();
        let answer = told(&self.apply(op));
        let outputs: Vec<_> = self.drain().iter().map(put_out).collect();
        [answer, outputs.join(", "), self.state()]
    }

    fn is_handshake(&self, conn: ConnId) -> bool {
        self.manager.counts().handshakes == 1 && self.manager.connection(&self.peer) != Some(conn)
    }

    fn state(&self) -> String {
        let handshake = if self.manager.counts().handshakes > 0 { "handshake" } else { "" };
        let Some(status) = self.manager.status(&self.peer) else {
            return if handshake.is_empty() { "unknown".into() } else { handshake.into() };
        };
        let mut state = match status {
            Status::Idle { hold: Some(hold), .. } => format!("idle, held ({:?})", hold.why).to_lowercase(),
            Status::Idle { .. } if self.manager.why(&self.peer).rule == Rule::NoAddress => {
                "idle, no address".into()
            }
            Status::Idle { .. } if self.manager.why(&self.peer).rule == Rule::Banned => "idle, banned".into(),
            Status::Idle { .. } if self.manager.why(&self.peer).rule == Rule::BannedPrefix => {
                "idle, parked".into()
            }
            Status::Idle { .. } => "idle, due".into(),
            Status::Dialing { .. } => "dialing".into(),
            Status::Connected { up, evicting, dialing, .. } => {
                let wakes = self.manager.next_wakeup().is_some_and(|wakeup| wakeup.why == WakeReason::Evict);
                let taken = if wakes { "ordered" } else { "taken" };
                let mut state = String::from(if up { "up" } else { "not up" });
                let evicting = evicting.map(|why| format!(", eviction {taken} ({})", why.label()));
                state.push_str(&evicting.unwrap_or_default());
                state.push_str(if dialing.is_some() { ", dialled" } else { "" });
                state
            }
            _ => unreachable!("a status of another kind"),
        };
        if !handshake.is_empty() {
            state.push_str(" + handshake");
        }
        state
    }
}

fn introduction() -> Introduction {
    Introduction { channels: [].into(), services: [].into(), capabilities: [].into() }
}

/// The name of an input.
fn name(op: &Op) -> &'static str {
    match op {
        Op::Advance(_) => "`advance` by 1 h",
        Op::Add { .. } => "`add`, by the operator",
        Op::TryDialNext => "`try_dial_next`",
        Op::Dialed { .. } => "`dialed`",
        Op::DialFailed { .. } => "`dial_failed`",
        Op::Incoming { .. } => "`incoming`",
        Op::IncomingFailed { .. } => "`incoming_failed`",
        Op::Accepted { .. } => "`accepted`",
        Op::Ready { .. } => "`ready`",
        Op::TryEvictNext => "`try_evict_next`",
        Op::Disconnected { .. } => "`disconnected`",
        Op::Errored { .. } => "`errored`",
        Op::Reported { .. } => "`reported`",
        Op::Praised { .. } => "`praised`",
        Op::Measured { .. } => "`measured`",
        Op::Ban { .. } => "`ban` of the peer",
        Op::Unban { .. } => "`unban` of its range",
        Op::Reconfigure(_) => "`reconfigure`: no outgoing slots",
        Op::Disconnect { .. } => "`disconnect`",
        Op::PollOutput => "`poll_output`",
        other => panic!("give {other:?} its name and its place in the table"),
    }
}

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Advanced => "done".into(),
        Answer::Added(Ok(true)) => "new".into(),
        Answer::Added(Ok(false)) => "known".into(),
        Answer::Added(Err(error)) => format!("error: {error}"),
        Answer::Dial(dial) => dial.as_ref().map_or("nobody", |_| "dial it").into(),
        Answer::Admitted(Ok(admitted)) if admitted.replaces.is_some() => "admitted in its place".into(),
        Answer::Admitted(Ok(_)) => "admitted".into(),
        Answer::Admitted(Err(reject)) | Answer::Incoming(Err(reject)) => {
            format!("rejected: {}", reject.label().replace('_', " "))
        }
        Answer::Incoming(Ok(_)) => "begun".into(),
        Answer::Report(report) => format!("{report:?}").to_lowercase(),
        Answer::Eviction(eviction) => eviction.as_ref().map_or("nobody", |_| "evict it").into(),
        Answer::Disconnect(found) => if *found { "will be" } else { "not connected" }.into(),
        Answer::Ban(Ok(banned)) => format!("banned, evicts {}", banned.evicts),
        Answer::Ban(Err(error)) => format!("error: {error}"),
        Answer::Unban(lifted) => if *lifted { "lifted" } else { "no such ban" }.into(),
        Answer::Reconfigured(Ok(_)) => "changed".into(),
        Answer::Reconfigured(Err(error)) => format!("error: {error}"),
        Answer::Output(output) => output.as_ref().map_or("nothing".into(), put_out),
    }
}

fn put_out(output: &Output) -> String {
    let what = match output {
        Output::Update(PeerUpdate::Up { .. }) => "up",
        Output::Update(PeerUpdate::Down { .. }) => "down",
        Output::Persist(_) => "persist",
        Output::Forget(_) => "forget",
    };
    what.to_owned()
}

fn table() -> String {
    let mut text = HEAD.to_owned();
    for (state, enter) in STATES {
        let mut subject = Subject::new();
        enter(&mut subject);
        subject.drain();
        writeln!(text, "\n## {state}\n\n| input | answer | put out | state after it |\n|---|---|---|---|")
            .unwrap();
        for op in subject.inputs() {
            let [answer, outputs, after] = subject.clone().cell(op.clone());
            writeln!(text, "| {} | {answer} | {outputs} | {after} |", name(&op)).unwrap();
        }
    }
    text
}

#[test]
fn the_table_of_the_peer_managers_states_is_as_the_machine_fills_it_in() {
    let table = table();
    assert_eq!(table, self::table(), "the machine is deterministic");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(FILE, &table).unwrap();
    }
    let written = std::fs::read_to_string(FILE).unwrap_or_default();
    let differs = table.lines().zip(written.lines()).find(|(now, then)| now != then);
    assert!(
        table == written,
        "docs/peer-states.md is out of date (UPDATE_SNAPSHOTS=1 writes it); first difference, now and then: {differs:?}"
    );
}

#[test]
fn every_input_has_a_row_in_every_state() {
    let source = include_str!("../../src/peer/ops.rs");
    let body = source.split_once("pub enum Op {").and_then(|(_, rest)| rest.split_once("\n}")).unwrap().0;
    let variants: BTreeSet<&str> = body
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .filter_map(|line| line.split(|part: char| !part.is_alphanumeric()).next())
        .collect();
    let rows: Vec<String> = Subject::new().inputs().iter().map(|op| format!("{op:?}")).collect();
    let rows: BTreeSet<&str> =
        rows.iter().filter_map(|op| op.split(|part: char| !part.is_alphanumeric()).next()).collect();
    assert!(variants.len() >= 20 && variants == rows, "{variants:?} and {rows:?}");
}
