//! The command line, as its users meet it: what it prints, what it refuses, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::child::{Ended, Running, object, peerage, soon};

/// An identity that is nobody's in these tests.
const ID: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
                  483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";

async fn run(arguments: &[&str]) -> Ended {
    peerage(arguments).end().await
}

/// Checks that a command was refused with exit code 2 and one sentence that contains `part`.
async fn refused(arguments: &[&str], part: &str) {
    let ended = run(arguments).await;
    assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
    assert_eq!((ended.stdout.len(), ended.stderr.len()), (0, 1), "{arguments:?}: {ended:?}");
    assert!(ended.stderr[0].starts_with("error: ") && ended.stderr[0].contains(part), "{ended:?}");

    let ended = run(&[arguments, &["--json"]].concat()).await;
    assert_eq!((ended.code, ended.stdout.len()), (Some(2), 1), "{arguments:?}: {ended:?}");
    assert!(object(&ended.stdout[0])["error"].as_str().unwrap().contains(part), "{ended:?}");
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// Starts a node that prints JSON, and takes its first object.
async fn node(key: &str, more: &[&str]) -> (Running, Value) {
    let mut node = peerage(&[&["node", "--json", "--listen", "127.0.0.1:0", "--key", key], more].concat());
    let first = node.object().await;
    (node, first)
}

#[tokio::test]
async fn a_devnet_ends_with_its_counts_on_both_transports() {
    for transport in ["rlpx", "memory"] {
        let ended = run(&["devnet", "--nodes", "4", "--for", "1s", "--transport", transport, "--json"]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let objects: Vec<Value> = ended.stdout.iter().map(|line| object(line)).collect();
        let last = objects.last().unwrap();
        for (key, value) in [("nodes", 4), ("connections", 3), ("messages_lost", 0)] {
            assert_eq!(last[key], value, "{key} in {last}");
        }
        for key in ["messages_sent", "messages_received", "rtt_p50_us", "rtt_p99_us"] {
            assert!(last[key].as_u64().is_some_and(|count| count > 0), "{key} in {last}");
        }
        assert!(last["dropped"].is_object(), "{last}");
    }
}

#[tokio::test]
async fn a_devnet_shows_people_a_table_and_a_summary() {
    let ended = run(&["devnet", "--nodes", "2", "--for", "1s"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = ended.stdout.join("\n");
    for part in ["rtt p50", "\n   1s    2      1 ", "2 nodes, 1 connections, one network", " 0 lost"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn an_interrupt_ends_a_devnet_in_order() {
    let mut devnet = peerage(&["devnet", "--nodes", "3", "--for", "1h", "--json"]);
    assert_eq!(devnet.object().await["event"], "second");
    devnet.signal("INT");
    let ended = devnet.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let last = object(ended.stdout.last().unwrap());
    assert_eq!((&last["interrupted"], &last["messages_lost"]), (&true.into(), &0.into()), "{last}");
}

#[tokio::test]
async fn a_node_makes_its_key_once() {
    let folder = TempDir::new().unwrap();
    let key = path(&folder, "node.key");
    let mut ids = Vec::new();
    for signal in ["TERM", "INT"] {
        let (node, first) = node(&key, &[]).await;
        assert_eq!(first["listen"].as_str().unwrap().split(':').next(), Some("127.0.0.1"));
        let enode = first["enode"].as_str().unwrap();
        ids.push(enode.strip_prefix("enode://").unwrap().split('@').next().unwrap().to_owned());
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        // The handlers stand before the node says that it is up.
        node.signal(signal);
        let ended = node.end().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(object(&ended.stdout[0])["event"], "stopped");
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the key is left");
}

#[tokio::test]
async fn what_is_typed_in_one_node_is_printed_by_the_other() {
    let folder = TempDir::new().unwrap();
    let (mut alice, first) = node(&path(&folder, "a"), &[]).await;
    let enode = first["enode"].as_str().unwrap();
    let (mut bob, _) = node(&path(&folder, "b"), &["--peer", enode]).await;
    let up = alice.event("up").await;
    bob.event("up").await;

    bob.say("hello").await;
    let line = alice.event("line").await;
    assert_eq!((&line["from"], &line["text"]), (&up["peer"], &"hello".into()));

    // A line that is too long is refused, the next one is not, and the end of input ends nothing.
    bob.say(&"x".repeat(5000)).await;
    bob.say("still here").await;
    assert!(bob.event("refused").await["error"].as_str().unwrap().contains("5000"));
    assert!(bob.complaint().await.contains("5000"));
    assert_eq!(alice.event("line").await["text"], "still here");
    bob.close_stdin();
    alice.say("and I").await;
    assert_eq!(bob.event("line").await["text"], "and I");

    bob.signal("TERM");
    let down = alice.event("down").await;
    assert_eq!((&down["by"], &down["reason"]), (&"remote".into(), &"quitting".into()));
    assert_eq!(bob.end().await.code, Some(0));
}

#[tokio::test]
async fn a_node_tells_people_who_comes_and_goes() {
    let folder = TempDir::new().unwrap();
    let (key, peer_key) = (path(&folder, "a"), path(&folder, "b"));
    let mut alice = peerage(&["node", "--listen", "127.0.0.1:0", "--key", &key]);
    let enode = alice.line_with("enode://").await;
    let (bob, _) = node(&peer_key, &["--peer", &enode]).await;
    alice.line_with("is up (inbound)").await;
    bob.signal("INT");
    assert!(alice.line_with("is down").await.contains("quitting"));
    alice.signal("INT");
    assert_eq!(alice.end().await.code, Some(0));
}

#[tokio::test]
async fn a_node_says_who_is_kept_out_and_why_nobody_is_dialled() {
    let folder = TempDir::new().unwrap();
    let (mut alice, first) =
        node(&path(&folder, "a"), &["--ban", "127.0.0.0/8=1h", "--status", "50ms", "--trusted", ID]).await;
    let ban = alice.event("banned").await;
    assert_eq!((&ban["target"], &ban["automatic"]), (&"127.0.0.0/8".into(), &false.into()), "{ban}");
    assert_eq!(ban["because"]["rule"], "banned_prefix", "{ban}");
    let status = alice.event("status").await;
    assert_eq!((&status["connected"], &status["because"]["rule"]), (&0.into(), &"nobody_known".into()));

    // Whoever calls from there is turned away, and says so.
    let enode = first["enode"].as_str().unwrap();
    let mut bob = peerage(&[
        "node",
        "--listen",
        "127.0.0.1:0",
        "--key",
        &path(&folder, "b"),
        "--peer",
        enode,
        "--status",
        "50ms",
    ]);
    bob.line_with("could not be reached").await;
    let line = bob.line_with("1 known").await;
    assert!(line.starts_with("0 peers, 1 known; the next to be dialled: it "), "{line}");
    alice.signal("TERM");
    assert_eq!(alice.end().await.code, Some(0));
}

#[tokio::test]
async fn a_node_with_a_store_knows_its_peers_and_bans_when_it_comes_back() {
    let folder = TempDir::new().unwrap();
    let (key, store) = (path(&folder, "a"), path(&folder, "peers.db"));
    let (mut bob, first) = node(&path(&folder, "b"), &[]).await;
    let enode = first["enode"].as_str().unwrap().to_owned();
    let (mut alice, _) = node(&key, &["--store", &store, "--peer", &enode, "--ban", "192.0.2.0/24"]).await;
    alice.event("up").await;
    alice.signal("TERM");
    assert_eq!(alice.end().await.code, Some(0));

    // Nobody tells it of the peer, or of the ban, a second time.
    bob.event("down").await;
    let (mut alice, _) = node(&key, &["--store", &store, "--status", "50ms"]).await;
    let status = alice.event("status").await;
    assert_eq!((&status["known"], &status["connected"]), (&1.into(), &0.into()), "{status}");
    alice.signal("TERM");
    assert_eq!(alice.end().await.code, Some(0));
    let shell = rusqlite::Connection::open(&store).unwrap();
    let banned: String = shell.query_row("SELECT target FROM bans", [], |row| row.get(0)).unwrap();
    assert_eq!(banned, "192.0.2.0/24");

    // A file that is something else is refused by name, and left alone.
    let other = path(&folder, "notes.txt");
    fs::write(&other, "not a store").unwrap();
    refused(&["node", "--listen", "127.0.0.1:0", "--key", &key, "--store", &other], "notes.txt").await;
    assert_eq!(fs::read_to_string(&other).unwrap(), "not a store");
    let ended = run(&["node", "--listen", "127.0.0.1:0", "--key", &key, "--store", &other]).await;
    assert_eq!(ended.stderr[0].matches("notes.txt").count(), 1, "{ended:?}");
}

#[tokio::test]
async fn a_ban_that_is_stored_is_lifted_before_anybody_is_dialled() {
    let folder = TempDir::new().unwrap();
    let (key, store) = (path(&folder, "a"), path(&folder, "peers.db"));
    let (bob, first) = node(&path(&folder, "b"), &[]).await;
    let enode = first["enode"].as_str().unwrap();
    let (alice, _) = node(&key, &["--store", &store, "--ban", "127.0.0.0/8"]).await;
    alice.signal("TERM");
    assert_eq!(alice.end().await.code, Some(0));

    let again = ["node", "--listen", "127.0.0.1:0", "--key", &key, "--store", &store, "--peer", enode];
    refused(&again, "banned; --unban lifts").await;
    let more = ["--store", &store, "--peer", enode, "--unban", "127.0.0.0/8", "--unban", "192.0.2.1"];
    let (mut alice, _) = node(&key, &more).await;
    alice.event("up").await;
    alice.signal("TERM");
    assert_eq!(alice.end().await.code, Some(0));
    let shell = rusqlite::Connection::open(&store).unwrap();
    let bans: u32 = shell.query_row("SELECT count(*) FROM bans", [], |row| row.get(0)).unwrap();
    assert_eq!(bans, 0);
    drop(bob);
}

#[tokio::test]
async fn a_node_whose_store_cannot_be_written_says_what_is_lost_and_fails() {
    let folder = TempDir::new().unwrap();
    let (key, store) = (path(&folder, "a"), path(&folder, "peers.db"));
    let (alice, _) = node(&key, &["--store", &store]).await;
    alice.signal("TERM");
    assert_eq!(alice.end().await.code, Some(0));
    // It can be read, and so the node starts.
    let operator = rusqlite::Connection::open(&store).unwrap();
    operator.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let (mut alice, _) = node(&key, &["--store", &store, "--ban", "192.0.2.0/24"]).await;
    alice.event("banned").await;
    alice.signal("INT");
    let ended = alice.end().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let objects: Vec<Value> = ended.stdout.iter().map(|line| object(line)).collect();
    let lost = "was closed without 1 changed records: ";
    let told = objects.iter().find(|object| object["event"] == "store_failed" && object["again"] == false);
    assert!(told.unwrap()["error"].as_str().unwrap().contains(lost), "{ended:?}");
    let stopped = objects.iter().find(|object| object["event"] == "stopped").unwrap();
    assert!(stopped["store"].as_str().unwrap().contains(lost), "{ended:?}");
    let [why] = &ended.stderr[..] else { panic!("{ended:?}") };
    assert!(why.starts_with("error: the node did not end in order; the peer store was closed"), "{why}");
    assert!(why.contains(lost) && why.contains("database is locked"), "{why}");
    drop(operator);
}

#[tokio::test]
async fn a_node_with_flags_that_contradict_each_other_does_not_start() {
    let folder = TempDir::new().unwrap();
    let (key, journal) = (path(&folder, "key"), path(&folder, "journal"));
    let with = |more: &[&str]| -> Vec<String> {
        let fixed = ["node", "--listen", "127.0.0.1:0", "--key", &key, "--journal", &journal];
        fixed.iter().chain(more).map(|part| (*part).to_owned()).collect()
    };
    let enode = format!("enode://{ID}@127.0.0.1:9");
    let twice = ["--quota", "service:archive=1", "--quota", "service:archive=2"];
    for (more, part) in [
        (vec!["--peer", &enode, "--max-outbound", "0"], "max_outbound"),
        (vec!["--peer", &enode, "--ban", ID], "banned"),
        (twice.to_vec(), "twice"),
        (vec!["--max-inbound", "1000000"], "max_peers"),
    ] {
        let arguments = with(&more);
        refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), part).await;
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "neither a key nor a journal is left");
}

#[tokio::test]
async fn a_node_in_seed_mode_lets_its_peers_go_and_an_unconditional_one_stays() {
    let folder = TempDir::new().unwrap();
    let made = run(&["key", "new", &path(&folder, "c"), "--json"]).await;
    let friend = object(&made.stdout[0])["id"].as_str().unwrap().to_owned();
    let flags = ["--seed-mode", "300ms", "--max-inbound", "1", "--unconditional", &friend];
    let (mut alice, first) = node(&path(&folder, "a"), &flags).await;
    let enode = first["enode"].as_str().unwrap();
    let (mut carol, _) = node(&path(&folder, "c"), &["--seed-node", enode]).await;
    carol.event("up").await;
    let (mut bob, _) = node(&path(&folder, "b"), &["--seed-node", enode]).await;
    let up = bob.event("up").await;
    assert_eq!(up["direction"], "outbound");
    let evicting = alice.event("evicting").await;
    assert_eq!((&evicting["why"], &evicting["because"]["rule"]), (&"seed_mode".into(), &"seed_mode".into()));
    assert_ne!(evicting["peer"], friend.as_str());
    assert_eq!(bob.event("down").await["by"], "remote");
}

#[tokio::test]
async fn a_node_that_cannot_start_leaves_no_key_behind() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let key = path(&folder, "key");
    refused(&["node", "--listen", &listen, "--key", &key], &format!("cannot listen on {listen}")).await;
    assert!(!Path::new(&key).exists());
}

#[tokio::test]
async fn keys_are_made_shown_and_never_overwritten() {
    let folder = TempDir::new().unwrap();
    let key = path(&folder, "key");
    let made = run(&["key", "new", &key, "--json"]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let id = object(&made.stdout[0])["id"].clone();
    let before = fs::read(&key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

    refused(&["key", "new", &key], "it exists already").await;
    assert_eq!(fs::read(&key).unwrap(), before);

    let shown = run(&["key", "show", &key]).await;
    assert_eq!(shown.stdout, [format!("node id {}", id.as_str().unwrap())]);
    let secret = String::from_utf8(before).unwrap();
    assert!(!format!("{made:?}{shown:?}").contains(secret.trim()));

    fs::write(&key, "junk\n").unwrap();
    refused(&["key", "show", &key], &key).await;
    refused(&["node", "--listen", "127.0.0.1:0", "--key", &key], &key).await;
    assert_eq!(fs::read(&key).unwrap(), b"junk\n");
    refused(&["key", "show", &path(&folder, "none")], "no key file").await;
}

#[tokio::test]
async fn malformed_arguments_are_refused_in_one_sentence() {
    let enode = |id: &str, place: &str| format!("enode://{id}@{place}");
    let not_hex = "z".repeat(128);
    for (address, part) in [
        (enode(&not_hex, "127.0.0.1:1"), "node id"),
        (enode("ab", "127.0.0.1:1"), "128 lower-case hex digits"),
        (enode(&"0".repeat(128), "127.0.0.1:1"), "point on secp256k1"),
        (enode(ID, "127.0.0.1"), "port"),
        (enode(ID, "127.0.0.1:0"), "port"),
        (enode(ID, "127.0.0.1:70000"), "port"),
        (enode(ID, "a b:1"), "host"),
        ("enode://127.0.0.1:1".into(), "node id"),
        ("nonsense".into(), "enode://ID@HOST:PORT"),
    ] {
        refused(&["probe", &address], part).await;
    }
    let memory = format!("memory:{ID}");
    refused(&["probe", &memory], "enode://").await;
    refused(&["node", "--peer", "nonsense"], "--peer").await;
    refused(&["node", "--listen", "nonsense"], "--listen").await;
    refused(&["node", "--max-inbound", "many"], "unlimited").await;
    refused(&["node", "--max-outbound=-1"], "--max-outbound").await;
    refused(&["node", "--unconditional", "nobody"], "node id").await;
    refused(&["node", "--seed-mode", "soon"], "10s").await;
    refused(&["node", "--ban", "192.0.2.0/33"], "0 to 32").await;
    refused(&["node", "--ban", "192.0.2.1=soon"], "30d").await;
    refused(&["node", "--ban", "somebody"], "192.0.2.0/24").await;
    refused(&["node", "--ban", "192.0.2.1=366d"], "365d").await;
    refused(&["node", "--max-inbound", "-1"], "must be a number or `unlimited`").await;
    refused(&["node", "--unban", "192.0.2.1=1d"], "a ban may end").await;
    refused(&["node", "--quota", "archive=2"], "service:archive=2").await;
    refused(&["node", "--quota", "service:archive=0"], "from 1 on").await;
    refused(&["devnet", "--nodes", "1"], "2..=512").await;
    refused(&["devnet", "--for", "soon"], "10s").await;
    refused(&["devnet", "--transport", "udp"], "rlpx, memory").await;
    refused(&["devnet", "--churn", "0"], "1..=6000").await;
    refused(&["replay"], "<FILE>").await;
    refused(&["probe"], "<ENODE>").await;
    refused(&["nonsense"], "nonsense").await;
}

/// Probes `enode`, which must fail in `layer`, and returns the sentence.
async fn failing_probe(enode: &str, layer: &str) -> String {
    let ended = run(&["probe", enode, "--timeout", "300ms", "--json"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let objects: Vec<Value> = ended.stdout.iter().map(|line| object(line)).collect();
    let end = objects.iter().find(|object| object["event"] == "ended").unwrap();
    assert_eq!(end["layer"], layer, "{end}");
    let error = objects.last().unwrap()["error"].as_str().unwrap().to_owned();
    assert!(error.contains(&format!("{layer} layer")), "{error}");
    error
}

#[tokio::test]
async fn a_probe_names_the_layer_that_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let enode = format!("enode://{ID}@{}", listener.local_addr().unwrap());
    // The backlog accepts; nobody answers.
    assert!(failing_probe(&enode, "ecies").await.contains("within 300ms"));

    let garbage = async {
        let _silent = listener.accept().await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&[0xff; 4096]).await.unwrap();
        let mut sink = Vec::new();
        // However the prober hangs up is fine.
        let _ = stream.read_to_end(&mut sink).await;
    };
    let (error, ()) =
        soon("both ends", async { tokio::join!(failing_probe(&enode, "ecies"), garbage) }).await;
    assert!(error.contains("handshake too large"), "{error}");

    drop(listener);
    assert!(failing_probe(&enode, "tcp").await.contains("connection refused"));
    let ended = run(&["probe", &enode]).await;
    assert_eq!((ended.code, ended.stderr.len()), (Some(1), 1), "{ended:?}");
}
