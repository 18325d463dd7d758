//! Shows each law red, and near misses green.

use super::laws::check;
use super::source::Source;
use super::{LAYERS, MAX_LINES};

/// The laws that `text` breaks as `file`, each with its line.
fn broken(file: &str, text: &str) -> Vec<(&'static str, usize)> {
    let mut broken: Vec<_> =
        check(&Source::new(file, text)).into_iter().map(|breach| (breach.law, breach.line)).collect();
    broken.dedup();
    broken
}

#[track_caller]
fn red(law: &'static str, line: usize, file: &str, text: &str) {
    assert_eq!(broken(file, text), [(law, line)], "{file}: {text}");
}

#[track_caller]
fn green(file: &str, text: &str) {
    assert_eq!(broken(file, text), [], "{file}: {text}");
}

#[test]
fn a_module_names_lower_layers_or_itself() {
    red("layers", 1, "src/id.rs", "use crate::peer::Manager;");
    red("layers", 2, "src/peer/mod.rs", "use std::fmt;\nuse crate::{id::NodeId, router::Router};");
    red("layers", 1, "src/channel/mod.rs", "fn f(_: &crate::router::Router) {}");
    red("layers", 1, "src/router/mod.rs", "pub use crate::sim as network;");
    red("layers", 1, "src/event/mod.rs", "use crate::message::Message;");
    green("src/peer/mod.rs", "use crate::{id::{NodeId, ConnId}, event::Event, peer::store::Store};");
    green("src/address.rs", "use crate::id::NodeId;");
    green("src/sim/mod.rs", "use crate::{router::Router, reactor::ping, transport::memory};");
}

#[test]
fn cores_do_not_name_each_other() {
    red("layers", 1, "src/peer/store.rs", "use crate::queue::Queue;");
    red("layers", 1, "src/queue/mod.rs", "use crate::{id::ChannelId, rlpx::frame};");
    red("layers", 1, "src/rlpx/tests.rs", "use crate::peer::Manager;");
}

#[test]
fn a_path_is_followed_through_super_and_self() {
    red("layers", 1, "src/peer/store.rs", "use super::super::queue::Queue;");
    red("layers", 1, "src/peer/store.rs", "use super::super::{id, queue::{self, Queue}};");
    red("layers", 2, "src/peer/store.rs", "mod inner {\nuse super::super::super::queue::Queue; }");
    red("layers", 1, "src/id.rs", "use super::peer;");
    red("layers", 1, "src/id.rs", "use super::*;");
    green("src/peer/store.rs", "mod inner { use super::super::queue::Queue; }");
    green("src/peer/store.rs", "mod inner { } use super::queue::Queue;");
    green("src/id.rs", "mod tests { use super::*; use self::inner::queue; }");
}

#[test]
fn the_crate_root_is_named_by_its_modules() {
    red("layers", 1, "src/peer/mod.rs", "use crate::NodeId;");
    red("layers", 1, "src/peer/mod.rs", "use crate::*;");
    red("layers", 1, "src/gossip/mod.rs", "");
    red("layers", 1, "src/id.rs", "crate::protocol! {}");
    green("src/peer/tests.rs", "crate::protocol! {}");
    green("src/id.rs", "macro_rules! m { () => { $crate::peer::x() } }");
    green("src/lib.rs", "pub mod peer; pub use crate::router::Router;");
    green("src/bin/peerage/main.rs", "use crate::node; use peerage::router::Router;");
}

#[test]
fn comments_and_strings_name_nothing() {
    green(
        "src/id.rs",
        "//! [x](crate::peer)\n/* use crate::peer; */ const S: &str = \"crate::peer tokio::\";",
    );
    green("src/id.rs", "const S: &str = r#\"\" use tokio::net; Mutex \"#; const C: char = '\"'; // Mutex");
    red("layers", 1, "src/id.rs", "const C: char = '\"'; use crate::peer::P; // \"");
}

#[test]
fn transports_are_strangers_to_each_other_and_to_peer() {
    red("transports", 1, "src/transport/memory/mod.rs", "use crate::transport::rlpx::Conn;");
    red("transports", 1, "src/transport/rlpx.rs", "use super::memory::Pipe;");
    red("transports", 1, "src/transport/tcp/mod.rs", "use crate::{id::NodeId, peer::Manager};");
    red("transports", 1, "src/transport/mod.rs", "use crate::peer::Manager;");
    green("src/transport/rlpx/mod.rs", "use crate::{rlpx::frame, transport::{Transport, rlpx::conn}};");
    green(
        "src/transport/mod.rs",
        "pub mod memory; pub use self::memory::Memory; use crate::transport::rlpx;",
    );
    green("src/transport/conformance.rs", "use crate::transport::{memory, rlpx};");
}

#[test]
fn reactors_do_not_name_the_router() {
    red("reactors", 1, "src/reactor/ping.rs", "use crate::router::Router;");
    red("reactors", 1, "src/reactor/mod.rs", "use crate::{channel::Channel, router};");
    green("src/reactor/ping.rs", "use crate::{channel::Channel, peer::PeerUpdates};");
    green("src/discovery/mod.rs", "use crate::router::Handle;");
}

#[test]
fn nodes_go_by_their_own_clock() {
    red("clocks", 1, "src/router/acceptor.rs", "async fn f() { tokio::time::sleep(d).await }");
    red("clocks", 1, "src/channel/sender.rs", "use tokio::time::{Instant, Sleep};");
    red("clocks", 1, "src/reactor/drive.rs", "use tokio::time;");
    green("src/reactor/drive.rs", "use tokio::time::Sleep;");
    green("src/channel/clock.rs", "use tokio::time::{Instant, Sleep};");
    green("src/router/mod.rs", "#[cfg(test)] mod tests { use tokio::time::Instant; }");
    green("src/transport/link/stream.rs", "use tokio::time::Instant;");
}

#[test]
fn nothing_above_the_wall_touches_the_world() {
    for text in [
        "use tokio::time;",
        "use {bytes::Bytes, tokio::sync};",
        "#[tokio::test] async fn f() {}",
        "fn f() { let _ = std::time::Instant::now(); }",
        "fn f() { let _ = Instant::now(); }",
        "use std::time::{Duration, SystemTime};",
        "fn f() { rand::random() }",
        "use getrandom;",
        "extern crate rand;",
        "use rand_core::OsRng;",
        "use std::net::{IpAddr, TcpStream};",
        "fn f() { tracing::info!(\"x\") }",
        "use tracing::info;",
        "use std::{fmt, thread};",
        "fn f() { std::thread::yield_now() }",
        "use std::sync::{Arc, Mutex};",
        "struct S(std::sync::RwLock<u8>);",
        "use std::fs::File;",
        "fn f() { println!() }",
        "#[cfg(test)] mod tests { use std::sync::Mutex; }",
        "#[cfg(not(test))] fn f() { Instant::now(); }",
        "#[cfg(test)] mod tests { } fn f() { Instant::now(); }",
    ] {
        for file in ["src/id.rs", "src/event/mod.rs", "src/peer/a/b.rs"] {
            red("wall", 1, file, text);
        }
        green("src/transport/mod.rs", text);
        green("src/bin/peerage/main.rs", text);
    }
    red("wall", 3, "src/queue/mod.rs", "#[cfg(test)]\nmod tests;\nfn f() { Instant::now(); }");
    for text in [
        "use std::{net::{IpAddr, SocketAddr}, time::{Duration, Instant}, sync::Arc, io};",
        "use rand_chacha::ChaCha8Rng; use rand_core::Rng;",
        "struct S { log: u8, rand: u8, tracing: bool } fn f(s: S) -> u8 { s.log }",
        "#[cfg(test)] mod tests { fn f() { Instant::now(); } }",
        "#[cfg(all(test, unix))] #[allow(x)] mod tests { fn f() { if a { } Instant::now(); } }",
    ] {
        green("src/peer/mod.rs", text);
    }
    green("src/peer/tests.rs", "fn f() { Instant::now(); }");
    green("src/peer/store_tests.rs", "fn f() { Instant::now(); }");
}

#[test]
fn every_select_is_biased() {
    red("select", 2, "src/router/mod.rs", "async fn f() {\ntokio::select! { _ = a() => {} } }");
    red("select", 1, "tests/it/net.rs", "async fn f() { select!(x = a() => {}) }");
    red("select", 1, "src/router/mod.rs", "async fn f() { select! { /* biased; */ x = a() => {} } }");
    red("select", 1, "examples/echo.rs", "async fn f() { futures::select! { x = a() => {} } }");
    green("src/router/mod.rs", "async fn f() { tokio::select! { /* order */ biased; x = a() => {} } }");
    green("src/router/mod.rs", "use tokio::select; // select! { }\nfn f() { select(1) }");
}

#[test]
fn some_words_are_said_nowhere() {
    red("words", 1, "src/router/mod.rs", "use tokio::sync::mpsc::unbounded_channel;");
    red("words", 1, "src/router/mod.rs", "struct S(mpsc::UnboundedSender<u8>);");
    red("words", 1, "src/lib.rs", "fn f() { todo!() }");
    red("words", 1, "src/bin/peerage/main.rs", "fn f() { unimplemented!(\"later\") }");
    red("words", 1, "tests/it/net.rs", "fn f() { dbg!(1); }");
    green("src/router/mod.rs", "// todo!()\nfn f(todo: bool, dbg: u8) { if todo != true { let _ = dbg; } }");
}

#[test]
fn hash_maps_are_an_exception() {
    red("hashes", 1, "src/router/mod.rs", "use std::collections::HashMap;");
    red("hashes", 1, "src/sim/mod.rs", "fn f() -> std::collections::HashSet<u8> {}");
    red("hashes", 1, "src/sim/mod.rs", "use std::collections::hash_map::Entry;");
    green("src/router/mod.rs", "use std::{hash::Hash, collections::BTreeMap};");
}

#[test]
fn tests_do_not_sleep() {
    red("sleeps", 2, "tests/it/net.rs", "async fn f() {\ntokio::time::sleep(d).await }");
    red("sleeps", 1, "tests/it/net.rs", "fn f() { std::thread::sleep(d) }");
    green("src/sim/net.rs", "async fn f() { tokio::time::sleep(d).await }");
    green("tests/it/net.rs", "fn f() { let sleep = \"sleep(1)\"; }");
}

#[test]
fn files_are_short_and_well_named() {
    red("size", MAX_LINES + 1, "src/id.rs", &"\n".repeat(MAX_LINES + 1));
    red("size", MAX_LINES + 1, "tests/it/net.rs", &"\n".repeat(MAX_LINES + 1));
    green("src/id.rs", &"\n".repeat(MAX_LINES));
    red("names", 1, "src/peer/utils.rs", "");
    red("names", 1, "tests/it/common/mod.rs", "");
    red("names", 1, "src/peer/mod.rs", "mod helpers { }");
    red("names", 1, "src/peer/mod.rs", "pub mod types;");
}

#[test]
fn a_breach_says_where_what_and_how_to_mend_it() {
    let breaches = check(&Source::new("src/peer/mod.rs", "\nuse crate::router::Router;"));
    assert_eq!(
        breaches[0].to_string(),
        "src/peer/mod.rs:2: [layers] `peer` (L2) names `router` (L4), but layers look down only; \
         move what both need down, or the use up"
    );
    assert!(LAYERS.iter().any(|(name, layer)| *name == "router" && *layer == 4));
}
