//! `peerage node`: one node, with chat on standard input and output.

use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use peerage::address::Endpoint;
use peerage::channel::PeerUpdates;
use peerage::event::{DisconnectReason, Event, EventKind};
use peerage::id::Direction;
use peerage::peer::{AddError, PeerUpdate};
use peerage::reactor::{chat, drive, ping};
use peerage::router::{BuildError, Builder, Report, RouterHandle};
use peerage::store::{SqliteConfig, SqliteStore};
use peerage::transport::DnsResolver;
use peerage::transport::rlpx::RlpxTransport;
use peerage::{NodeAddress, NodeKey, Router};
use serde_json::json;
use tokio::sync::mpsc;

use crate::output::{Failure, Output, in_words, printable};
use crate::policy::Policy;
use crate::{interrupted, journal, key, status};

/// How often each peer is pinged.
const PING_EVERY: Duration = Duration::from_secs(5);

pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) key: PathBuf,
    pub(crate) policy: Policy,
    pub(crate) status: Duration,
    pub(crate) network: String,
    pub(crate) store: Option<PathBuf>,
    pub(crate) journal: Option<PathBuf>,
}

pub(crate) async fn run(output: &Output, settings: Settings) -> Result<(), Failure> {
    let interrupted = interrupted()?;
    let stored = key::load(&settings.key)?;
    let is_new = stored.is_none();
    let node_key = stored.map_or_else(key::generate, Ok)?;
    let id = node_key.id();
    let transport = RlpxTransport::bind(node_key.clone(), settings.listen)
        .await
        .map_err(|error| Failure::usage(format!("cannot listen on {}: {error}", settings.listen)))?;

    let mut builder = Router::builder(id);
    builder.transport(transport).resolver(DnsResolver).observer(peerage::observe::LogObserver::of(id));
    let out = *output;
    builder.observer(move |event: &Event| {
        show_failure(&out, event);
        status::show_decision(&out, event);
    });
    if let Some(file) = &settings.store {
        let store = SqliteStore::open(file, SqliteConfig::default());
        builder.store(store.map_err(|error| Failure::usage(error.to_string()))?);
    }
    if let Some(flag) = settings.policy.naming(id) {
        return Err(Failure::usage(format!("{flag} names this node itself")));
    }
    settings.policy.declare(&mut builder);
    builder.configure(|config| config.network.clone_from(&settings.network));
    let invalid = |error: BuildError| Failure::usage(error.to_string());
    let (lines_sender, lines) = mpsc::channel(64);
    let first_number = getrandom::u64().map_err(|error| Failure::failed(error.to_string()))?;
    let chat_channel = builder.channel().map_err(invalid)?;
    let ping_channel = builder.channel().map_err(invalid)?;
    let flood = chat::Flood::new(id, first_number, move |heard| show_line(&out, &heard));
    let updates = builder.updates();
    builder.reactor("chat", drive(flood, chat_channel, updates, lines));
    let (pinger, (_, no_orders)) = (ping::Pinger::new(PING_EVERY, |_, _| {}), mpsc::channel(1));
    let updates = builder.updates();
    builder.reactor("ping", drive(pinger, ping_channel, updates, no_orders));
    let updates = builder.updates();
    builder.reactor("peers", show_peers(out, updates));
    let journal = settings.journal.as_deref().map(|file| journal::begin(&mut builder, file)).transpose()?;
    let router = match build(builder, is_new.then_some((settings.key.as_path(), &node_key))) {
        Ok(router) => router,
        Err(failure) => {
            journal::discard(journal, settings.journal.as_deref());
            return Err(failure);
        }
    };

    let handle = router.handle();
    announce(output, &handle.addresses(), &settings, is_new);
    read_lines(*output, handle.clone(), lines_sender);
    let stop = async {
        interrupted.await;
        output.text("shutting down");
        handle.shutdown();
    };
    let watch = status::watch(out, handle.clone(), settings.status, settings.policy.max_outbound());
    let run = async {
        tokio::select! {
            biased;
            report = router.run() => report,
            never = watch => match never {},
        }
    };
    let (report, ()) = tokio::join!(run, stop);
    if let Some(journal) = journal {
        journal::show(output, &journal.finish());
    }
    farewell(output, &report)
}

/// Builds the node, and only then writes its new key: a node that cannot start leaves none behind.
fn build(builder: Builder, new_key: Option<(&Path, &NodeKey)>) -> Result<Router, Failure> {
    let router = builder.build().map_err(|error| {
        let hint = match error {
            BuildError::Address { error: AddError::Banned, .. } => {
                "; --unban lifts a ban that is in the store"
            }
            _ => "",
        };
        Failure::usage(format!("{error}{hint}"))
    })?;
    new_key.map_or(Ok(()), |(file, key)| key::store(file, key))?;
    Ok(router)
}

fn announce(output: &Output, addresses: &[NodeAddress], settings: &Settings, is_new: bool) {
    if is_new {
        output.text(format!("made a new key in {}", settings.key.display()));
    }
    for address in addresses {
        let listen = address.endpoint().map(|endpoint| endpoint.to_string()).unwrap_or_default();
        let reach = match address.endpoint() {
            Some(Endpoint::Tcp(socket)) if socket.ip().is_unspecified() => {
                format!("\n(from other machines, with this machine's address in place of {})", socket.ip())
            }
            _ => String::new(),
        };
        output.line(
            format!("listening on {listen}\n{address}{reach}"),
            &json!({ "event": "listening", "enode": address.to_string(), "listen": listen }),
        );
    }
}

fn show_line(output: &Output, heard: &chat::Heard) {
    output.line(
        format!("{}: {}", heard.origin.short(), printable(&heard.text)),
        &json!({ "event": "line", "from": heard.origin.to_string(), "text": heard.text }),
    );
}

async fn show_peers(output: Output, mut updates: PeerUpdates) {
    while let Some(update) = updates.next().await {
        match update {
            PeerUpdate::Up { peer, direction, services, .. } => output.line(
                format!("+ peer {} is up ({direction})", peer.short()),
                &json!({
                    "event": "up", "peer": peer.to_string(), "direction": direction.to_string(),
                    "services": *services,
                }),
            ),
            PeerUpdate::Down { peer, closed, .. } => output.line(
                format!("- peer {} is down: {}", peer.short(), in_words(&closed)),
                &json!({
                    "event": "down", "peer": peer.to_string(), "by": closed.by.to_string(),
                    "layer": closed.layer.as_str(), "reason": closed.reason.as_str(), "label": closed.label,
                    "detail": closed.detail,
                }),
            ),
        }
    }
}

/// Shows why a peer could not be reached. How often it is tried again is the peer manager's back-off.
fn show_failure(output: &Output, event: &Event) {
    let (EventKind::Failed { closed }, Some(Direction::Outbound)) = (&event.kind, event.direction) else {
        return;
    };
    // Two nodes that dial each other at once end one of the attempts: nothing failed.
    let (Some(peer), false) = (event.peer, closed.reason == DisconnectReason::AlreadyConnected) else {
        return;
    };
    output.line(
        format!("! peer {} could not be reached: {}", peer.short(), in_words(closed)),
        &json!({
            "event": "failed", "peer": peer.to_string(), "by": closed.by.to_string(),
            "layer": closed.layer.as_str(), "reason": closed.reason.as_str(), "label": closed.label,
            "detail": closed.detail,
        }),
    );
}

/// Reads standard input on a thread of its own: it blocks, and must not hold up the end of the node.
#[allow(clippy::disallowed_methods, reason = "the process ends under this thread; there is nothing to join")]
fn read_lines(output: Output, node: RouterHandle, lines: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Ok(Some(line)) = next_line(&mut input) {
            match line {
                Ok(text) if text.trim().is_empty() => {}
                Ok(_) if node.peers().is_empty() => output.refusal("no peer is up"),
                Ok(text) => {
                    if lines.blocking_send(text).is_err() {
                        return;
                    }
                }
                Err(why) => output.refusal(&why),
            }
        }
    });
}

/// The next line, or why it cannot be sent; `None` at the end. Reads a line of any length in bounded memory.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Result<String, String>>> {
    let mut line = Vec::new();
    let mut length = 0;
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() && length == 0 {
            return Ok(None);
        }
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let taken = end.unwrap_or(chunk.len());
        length += taken;
        if length <= chat::MAX_LINE_BYTES {
            line.extend_from_slice(&chunk[..taken]);
        }
        let finished = end.is_some() || chunk.is_empty();
        let consumed = end.map_or(taken, |end| end + 1);
        input.consume(consumed);
        if finished {
            break;
        }
    }
    if length > chat::MAX_LINE_BYTES {
        return Ok(Some(Err(format!(
            "a line has at most {} bytes; this has {length}",
            chat::MAX_LINE_BYTES
        ))));
    }
    let text = String::from_utf8(line).map_err(|_| "a line must be UTF-8 text".to_owned());
    Ok(Some(text.map(|text| text.trim_end_matches('\r').to_owned())))
}

fn farewell(output: &Output, report: &Report) -> Result<(), Failure> {
    output.line(
        format!(
            "stopped: {} connections closed; of what was still queued, {} messages written, {} dropped",
            report.connections, report.drained, report.dropped
        ),
        &json!({
            "event": "stopped", "connections": report.connections, "drained": report.drained,
            "dropped": report.dropped, "clean": report.clean, "panicked": report.panicked,
            "unfinished": report.unfinished, "store": report.store.as_ref().map(ToString::to_string),
        }),
    );
    if report.clean {
        return Ok(());
    }
    let named = |what: &str, names: &[String]| match names {
        [] => String::new(),
        names => format!("; {what}: {}", names.join(", ")),
    };
    let (panicked, unfinished) =
        (named("panicked", &report.panicked), named("not ended in time", &report.unfinished));
    let store = report.store.as_ref().map(|error| format!("; {error}")).unwrap_or_default();
    Err(Failure::failed(format!("the node did not end in order{panicked}{unfinished}{store}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Result<String, String>> {
        let mut input = io::BufReader::with_capacity(7, input);
        std::iter::from_fn(|| next_line(&mut input).unwrap()).collect()
    }

    #[test]
    fn lines_are_taken_apart_whatever_the_buffer() {
        assert_eq!(
            lines(b"one\n\r\ntwo and more\r\nlast"),
            ["one", "", "two and more", "last"].map(|s| Ok(s.into()))
        );
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n"), [Ok(String::new())]);
    }

    #[test]
    fn a_line_that_cannot_be_sent_is_refused_and_the_next_is_read() {
        let mut input = vec![b'x'; chat::MAX_LINE_BYTES + 1];
        input.extend(b"\nok\n\xff\n");
        let found = lines(&input);
        assert!(found[0].as_ref().is_err_and(|why| why.contains("4097")), "{found:?}");
        assert_eq!(found[1], Ok("ok".into()));
        assert!(found[2].is_err());
        assert_eq!(lines(&vec![b'x'; chat::MAX_LINE_BYTES])[0].as_ref().unwrap().len(), chat::MAX_LINE_BYTES);
    }
}
