//! Peerage and `@ethereumjs/devp2p` on one TCP connection: an RLPx peer that we did not write.
//!
//! `tests/interop/README.md` says how that peer is driven, and what is peculiar about it.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use peerage::channel::{Channel, PeerUpdates};
use peerage::event::{Closed, DisconnectReason, Side};
use peerage::id::{Direction, NodeId};
use peerage::peer::PeerUpdate;
use peerage::router::RouterHandle;
use peerage::transport::rlpx::RlpxTransport;
use peerage::{NodeAddress, NodeKey, Router};
use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::child::{Running, object, peerage, soon};

peerage::protocol! {
    /// The capability of the peer's script.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Echo: "echo" / 1, max 2 * 1024 * 1024 {
        0 = Say(Bytes),
        1 = Echo(Bytes),
    }
}

/// Who opens the connection.
#[derive(Clone, Copy)]
enum Opens {
    We,
    They,
}

/// A peerage node with the typed channel, its router running.
struct Node {
    handle: RouterHandle,
    channel: Channel<Echo>,
    updates: PeerUpdates,
    running: JoinSet<peerage::router::Report>,
}

impl Node {
    async fn start(seed: u64, peer: Option<NodeAddress>) -> Self {
        let key = NodeKey::insecure_from_seed(seed);
        let mut builder = Router::builder(key.id());
        builder.transport(RlpxTransport::bind(key, ([127, 0, 0, 1], 0).into()).await.unwrap());
        if let Some(peer) = peer {
            builder.peer(peer);
        }
        let channel = builder.channel::<Echo>().unwrap();
        let updates = builder.updates();
        let router = builder.build().unwrap();
        let handle = router.handle();
        let mut running = JoinSet::new();
        running.spawn(router.run());
        Self { handle, channel, updates, running }
    }

    async fn up(&mut self) -> (NodeId, Direction) {
        match soon("the peer is up", self.updates.next()).await {
            Some(PeerUpdate::Up { peer, direction, .. }) => (peer, direction),
            other => panic!("expected a peer to come up: {other:?}"),
        }
    }

    async fn down(&mut self) -> Closed {
        match soon("the peer is down", self.updates.next()).await {
            Some(PeerUpdate::Down { closed, .. }) => closed,
            other => panic!("expected the peer to go down: {other:?}"),
        }
    }

    async fn heard(&mut self) -> Echo {
        soon("a message from the peer", self.channel.recv()).await.unwrap().message
    }

    async fn send(&self, peer: NodeId, message: Echo) {
        self.channel.sender().send(peer, message, Duration::from_secs(10)).await.unwrap();
    }

    async fn stop(mut self) {
        self.handle.shutdown();
        let report = soon("the router's report", self.running.join_next()).await.unwrap().unwrap();
        assert!(report.clean, "{report:?}");
    }
}

/// What stands in the way of the test, if anything does.
fn missing() -> Option<String> {
    if std::process::Command::new("node").arg("--version").output().is_err() {
        return Some("node is not installed".into());
    }
    let modules = script().with_file_name("node_modules").join("@ethereumjs/devp2p");
    (!modules.is_dir()).then(|| "its packages are not installed: run npm ci in tests/interop".into())
}

/// Whether the peer can run. Where it is required, a missing one fails the test.
fn is_ready() -> bool {
    let Some(why) = missing() else { return true };
    assert!(
        std::env::var_os("PEERAGE_REQUIRE_INTEROP").is_none(),
        "the interop test is required here, but cannot run: {why}"
    );
    // Straight to standard error, once: what the print macros write is not shown for a test that passes.
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        let _ = writeln!(std::io::stderr(), "\nskipped: the interop tests cannot run: {why}");
    });
    false
}

fn script() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "interop", "peer.mjs"].iter().collect()
}

fn ethereumjs(arguments: &[&str]) -> Running {
    let mut command = Command::new("node");
    command.arg(script()).args(arguments);
    Running::start(command)
}

async fn listening(peer: &mut Running) -> NodeAddress {
    let listening = peer.event("listening").await;
    listening["enode"].as_str().unwrap().parse().unwrap()
}

/// Connects the two.
async fn connect(opens: Opens, seed: u64) -> (Node, Running, NodeId) {
    let (mut node, mut peer, wanted) = match opens {
        Opens::We => {
            let mut peer = ethereumjs(&["listen"]);
            let address = listening(&mut peer).await;
            (Node::start(seed, Some(address)).await, peer, Direction::Outbound)
        }
        Opens::They => {
            let node = Node::start(seed, None).await;
            let address = node.handle.addresses()[0].to_string();
            (node, ethereumjs(&["dial", &address]), Direction::Inbound)
        }
    };
    let (id, direction) = node.up().await;
    assert_eq!(direction, wanted);
    let connected = peer.event("connected").await;
    assert_eq!(connected["id"], node.handle.id().to_string());
    assert_eq!(connected["shared"][0]["length"], 2, "{connected}");
    (node, peer, id)
}

/// The bytes that the peer makes for `send N`.
fn bytes_of(n: usize) -> Bytes {
    let mut x = u32::try_from(n).unwrap();
    let next = |_| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        x.to_be_bytes()[0]
    };
    (0..n).map(next).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Messages of every size go both ways, and come back as they were.
async fn exchange(node: &mut Node, peer: &mut Running, id: NodeId) {
    for size in [0, 1024, 1024 * 1024] {
        let bytes = bytes_of(size);
        let hash = sha256(&bytes);

        node.send(id, Echo::Say(bytes.clone())).await;
        let message = peer.event("message").await;
        assert_eq!((&message["bytes"], &message["sha256"]), (&size.into(), &hash.clone().into()));
        assert!(node.heard().await == Echo::Echo(bytes.clone()), "our {size} bytes came back changed");

        peer.say(&format!("send {size}")).await;
        assert_eq!(peer.event("sent").await["sha256"], hash);
        let Echo::Say(said) = node.heard().await else { panic!("expected what the peer says") };
        assert_eq!((said.len(), sha256(&said)), (size, hash.clone()));
        node.send(id, Echo::Echo(said)).await;
        let echo = peer.event("echo").await;
        assert_eq!((&echo["matches"], &echo["sha256"]), (&true.into(), &hash.into()));
    }
}

async fn we_end_it(opens: Opens, seed: u64) {
    if !is_ready() {
        return;
    }
    let (mut node, mut peer, id) = connect(opens, seed).await;
    exchange(&mut node, &mut peer, id).await;
    assert_eq!(node.handle.disconnect(id).await, Ok(true));

    let closed = node.down().await;
    assert_eq!((closed.by, closed.reason), (Side::Local, DisconnectReason::Requested), "{closed}");
    let disconnected = peer.event("disconnected").await;
    assert_eq!((&disconnected["reason"], &disconnected["by"]), (&0.into(), &"remote".into()));
    node.stop().await;
}

async fn they_end_it(opens: Opens, seed: u64) {
    if !is_ready() {
        return;
    }
    let (mut node, mut peer, id) = connect(opens, seed).await;
    exchange(&mut node, &mut peer, id).await;
    // Its own form, bare and uncompressed, and that of the specification: we read both.
    let (command, code) = match opens {
        Opens::We => ("disconnect 4", 4),
        Opens::They => ("disconnect 3 spec", 3),
    };
    peer.say(command).await;

    let closed = node.down().await;
    assert_eq!((closed.by, closed.reason.code()), (Side::Remote, code), "{closed}");
    let disconnected = peer.event("disconnected").await;
    assert_eq!((&disconnected["reason"], &disconnected["by"]), (&code.into(), &"us".into()));
    node.stop().await;
}

#[tokio::test]
async fn we_dial_and_disconnect() {
    we_end_it(Opens::We, 1).await;
}

#[tokio::test]
async fn we_dial_and_they_disconnect() {
    they_end_it(Opens::We, 2).await;
}

#[tokio::test]
async fn they_dial_and_we_disconnect() {
    we_end_it(Opens::They, 3).await;
}

#[tokio::test]
async fn they_dial_and_disconnect() {
    they_end_it(Opens::They, 4).await;
}

#[tokio::test]
async fn a_shutdown_is_read_as_quitting() {
    if !is_ready() {
        return;
    }
    let (node, mut peer, _) = connect(Opens::We, 5).await;
    node.stop().await;
    let disconnected = peer.event("disconnected").await;
    assert_eq!((&disconnected["reason"], &disconnected["by"]), (&8.into(), &"remote".into()));
}

#[tokio::test]
async fn probe_shows_a_foreign_peer() {
    if !is_ready() {
        return;
    }
    let mut peer = ethereumjs(&["listen"]);
    let enode = listening(&mut peer).await.to_string();

    let ended = peerage(&["probe", &enode, "--offer", "echo/1", "--json"]).end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let objects: Vec<_> = ended.stdout.iter().map(|line| object(line)).collect();
    let stages: Vec<_> = objects.iter().filter_map(|object| object["stage"].as_str()).collect();
    assert!(stages.starts_with(&["tcp", "auth", "ack", "hello"]), "{stages:?}");
    let find = |event: &str| objects.iter().find(|object| object["event"] == event).unwrap();
    assert!(find("hello")["client"].as_str().unwrap().starts_with("ethereumjs-devp2p/"));
    assert_eq!(find("hello")["capabilities"], serde_json::json!(["echo/1"]));
    assert_eq!(find("agreed")["shared"], serde_json::json!(["echo/1"]));
    assert!(find("ended")["layer"].is_string());

    let ended = peerage(&["probe", &enode]).end().await;
    let text = ended.stdout.join("\n");
    for shown in ["tcp", "auth", "ack", "hello", "ethereumjs-devp2p/", "echo/1", "ended:"] {
        assert!(text.contains(shown), "{shown} is not in:\n{text}");
    }
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
