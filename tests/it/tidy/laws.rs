//! The laws. Each reads one file and returns its breaches.

use super::lex::Kind;
use super::source::{Named, Source};
use super::{Breach, HASHED, LAYERS, MAX_LINES, NEIGHBOURS, ON_TOKIOS_TIME, ROOT_MACROS, TRANSPORTS, WALL};

/// What nothing above the wall names: crates and modules, with what to do instead.
const BELOW_THE_WALL: &[(&str, &str)] = &[
    ("tokio", "return data, and let the shell do the waiting"),
    ("tokio_util", "return data, and let the shell do the waiting"),
    ("futures", "return data, and let the shell do the waiting"),
    ("dashmap", "a core has one owner: use BTreeMap or an index"),
    ("std::time::SystemTime", "take `now: Instant` as an argument"),
    ("rand", "take a seed, and draw from rand_chacha"),
    ("getrandom", "take a seed, and draw from rand_chacha"),
    ("tracing", "return an Event"),
    ("log", "return an Event"),
    ("std::thread", "a core has one owner, and does not wait"),
    ("std::fs", "return data, and let the shell do the I/O"),
    ("std::env", "take a configuration"),
    ("std::process", "return an error"),
    ("std::io::stdin", "return data, and let the shell do the I/O"),
    ("std::io::stdout", "return data, and let the shell do the I/O"),
    ("std::io::stderr", "return an Event"),
];

/// Words that mean the same wherever they come from.
const WORDS_BELOW_THE_WALL: &[(&str, &str)] = &[
    ("SystemTime", "take `now: Instant` as an argument"),
    ("TcpStream", "take bytes and return bytes"),
    ("TcpListener", "take bytes and return bytes"),
    ("UdpSocket", "take bytes and return bytes"),
    ("Mutex", "a core has one owner, and `&mut self`"),
    ("RwLock", "a core has one owner, and `&mut self`"),
    ("Condvar", "a core has one owner, and does not wait"),
    ("OsRng", "take a seed, and draw from rand_chacha"),
    ("SysRng", "take a seed, and draw from rand_chacha"),
    ("ThreadRng", "take a seed, and draw from rand_chacha"),
    ("thread_rng", "take a seed, and draw from rand_chacha"),
];

/// Macros that are said nowhere.
const BANNED_MACROS: &[(&str, &str)] = &[
    ("todo", "write it, or return an error"),
    ("unimplemented", "write it, or return an error"),
    ("dbg", "remove it, or emit an Event"),
];

/// Words that are said nowhere.
const BANNED_WORDS: &[(&str, &str)] = &[
    (
        "unbounded_channel",
        "every queue has a bound: use a bounded channel, and say what happens when it is full",
    ),
    (
        "UnboundedSender",
        "every queue has a bound: use a bounded channel, and say what happens when it is full",
    ),
    (
        "UnboundedReceiver",
        "every queue has a bound: use a bounded channel, and say what happens when it is full",
    ),
];

/// Names that say nothing of what a module holds.
const BANNED_NAMES: &[&str] = &["util", "utils", "common", "types", "helper", "helpers", "misc"];

/// Every breach in one file.
pub(super) fn check(source: &Source<'_>) -> Vec<Breach> {
    let paths = source.paths();
    let mut breaches = size_and_name(source);
    breaches.extend(layers(source, &paths));
    breaches.extend(transports(source, &paths));
    breaches.extend(reactors(source, &paths));
    breaches.extend(wall(source, &paths));
    breaches.extend(clocks(source, &paths));
    breaches.extend(selects(source));
    breaches.extend(words(source));
    breaches.extend(hashes(source));
    breaches.extend(sleeps(source));
    breaches
}

/// Exceptions whose reason is gone.
pub(super) fn stale_exceptions(files: &[(String, String)]) -> Vec<Breach> {
    let needs = |file| {
        files
            .iter()
            .any(|(found, text)| found == file && hash_words(&Source::new(found, text)).next().is_some())
    };
    let stale = HASHED.iter().filter(|(file, _)| !needs(*file));
    stale
        .map(|(file, _)| Breach {
            file: (*file).to_owned(),
            line: 1,
            law: "exceptions",
            text: "is allowed hash maps but has none; remove it from HASHED".to_owned(),
        })
        .collect()
}

fn breach(source: &Source<'_>, line: usize, law: &'static str, text: String) -> Breach {
    Breach { file: source.file.to_owned(), line, law, text }
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// A module names only lower layers, or itself.
fn layers(source: &Source<'_>, paths: &[Named]) -> Vec<Breach> {
    let module = source.module();
    let Some(name) = module.first() else { return Vec::new() };
    let Some(own) = layer(name) else {
        let text = format!("module `{name}` has no layer; give it one in LAYERS (DESIGN, section 1)");
        return vec![breach(source, 1, "layers", text)];
    };
    let fault = |path: &&Named| -> Option<String> {
        let Some(first) = path.segments.first() else {
            return Some("takes everything from the crate's root; name the module that it needs".to_owned());
        };
        let target =
            ROOT_MACROS.iter().find(|(root, _)| root == first).map_or(first.as_str(), |(_, home)| *home);
        let Some(its) = layer(target) else {
            return Some(format!(
                "names `crate::{target}`, which is no module; name the module that it is defined in"
            ));
        };
        let allowed = target == name || its < own || NEIGHBOURS.contains(&(name.as_str(), target));
        (!allowed).then(|| {
            let why = if its == own { "its neighbours know nothing of each other" } else { "layers look down only" };
            format!("`{name}` (L{own}) names `{target}` (L{its}), but {why}; move what both need down, or the use up")
        })
    };
    let ours = paths.iter().filter(|path| path.ours);
    ours.filter_map(|path| Some(breach(source, path.line, "layers", fault(&path)?))).collect()
}

/// Transports name neither each other nor the peer manager.
fn transports(source: &Source<'_>, paths: &[Named]) -> Vec<Breach> {
    let module = source.module();
    if module.first().is_none_or(|first| first != "transport") {
        return Vec::new();
    }
    let own = module.get(1).map(String::as_str).filter(|own| TRANSPORTS.contains(own));
    let mut breaches = Vec::new();
    for path in paths.iter().filter(|path| path.ours) {
        let segments: Vec<_> = path.segments.iter().map(String::as_str).collect();
        let text = match (segments.as_slice(), own) {
            (["peer", ..], _) => {
                "a transport names `peer`; it connects whom it is told to: let the router decide".into()
            }
            (["transport", other, ..], Some(own)) if *other != own && TRANSPORTS.contains(other) => {
                format!("transport `{own}` names transport `{other}`; move what both need up to `transport`")
            }
            _ => continue,
        };
        breaches.push(breach(source, path.line, "transports", text));
    }
    breaches
}

/// Reactors know channels, not the router.
fn reactors(source: &Source<'_>, paths: &[Named]) -> Vec<Breach> {
    let inside = source.module().first().is_some_and(|first| first == "reactor");
    let names = |path: &&Named| path.ours && path.segments.first().is_some_and(|first| first == "router");
    let text = "a reactor names `router`; it needs a Channel and PeerUpdates: take them as arguments";
    let named = paths.iter().filter(|path| inside && names(path));
    named.map(|path| breach(source, path.line, "reactors", text.to_owned())).collect()
}

/// A node goes by its own clock, which a simulation lets drift.
fn clocks(source: &Source<'_>, paths: &[Named]) -> Vec<Breach> {
    let module = source.module();
    let inside =
        module.first().is_some_and(|first| ["channel", "router", "reactor"].contains(&first.as_str()));
    if !inside || ON_TOKIOS_TIME.iter().any(|(file, _)| *file == source.file) {
        return Vec::new();
    }
    let types =
        |path: &Named| path.is_foreign("tokio::time::Sleep") || path.is_foreign("tokio::time::Timeout");
    let names = paths.iter().filter(|path| path.is_foreign("tokio::time") && !path.test && !types(path));
    let text = "a node names `tokio::time`; take the time from its `Clock`, which may drift in a simulation";
    names.map(|path| breach(source, path.line, "clocks", text.to_owned())).collect()
}

/// Nothing above the wall names a runtime, a clock, a random source, a socket, a thread, a lock or a log.
///
/// Tests of a core may read the clock once: there is no other way to make an `Instant` to count from.
fn wall(source: &Source<'_>, paths: &[Named]) -> Vec<Breach> {
    if source.module().first().and_then(|name| layer(name)).is_none_or(|own| own > WALL) {
        return Vec::new();
    }
    let mut breaches = Vec::new();
    let mut add = |line, what: &str, instead: &str| {
        let text = format!("`{what}` above the wall (L0 to L{WALL} do no I/O and read no clock); {instead}");
        breaches.push(breach(source, line, "wall", text));
    };
    for path in paths {
        for (what, instead) in BELOW_THE_WALL.iter().filter(|(what, _)| path.is_foreign(what)) {
            add(path.line, what, instead);
        }
        if !path.test && path.segments.ends_with(&["Instant".to_owned(), "now".to_owned()]) {
            add(path.line, "Instant::now", "take `now: Instant` as an argument");
        }
    }
    for (at, token) in source.words() {
        for (what, instead) in WORDS_BELOW_THE_WALL.iter().filter(|(what, _)| *what == token.text) {
            add(token.line, what, instead);
        }
        if ["println", "eprintln", "print", "eprint"].contains(&token.text) && source.is(at + 1, "!") {
            add(token.line, token.text, "return an Event");
        }
    }
    breaches
}

/// Each `select!` is biased.
fn selects(source: &Source<'_>) -> Vec<Breach> {
    let invoked =
        |at: usize| source.is(at + 1, "!") && ["{", "(", "["].iter().any(|open| source.is(at + 2, open));
    let words = source.words().filter(|(at, token)| token.text == "select" && invoked(*at));
    let unfair = words.filter(|(at, _)| !(source.is(at + 3, "biased") && source.is(at + 4, ";")));
    unfair
        .map(|(_, token)| {
            let text = "`select!` without `biased;` as its first token polls in a random order; \
                        add it (to tokio's), and state the order of the branches and their budget";
            breach(source, token.line, "select", text.to_owned())
        })
        .collect()
}

/// What is said nowhere.
fn words(source: &Source<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (at, token) in source.words() {
        for (what, instead) in BANNED_WORDS.iter().filter(|(what, _)| *what == token.text) {
            breaches.push(breach(source, token.line, "words", format!("`{what}`; {instead}")));
        }
        for (what, instead) in BANNED_MACROS.iter().filter(|(what, _)| *what == token.text) {
            if source.is(at + 1, "!") && !source.is(at + 2, "=") {
                breaches.push(breach(source, token.line, "words", format!("`{what}!`; {instead}")));
            }
        }
    }
    breaches
}

fn hash_words<'s>(source: &'s Source<'_>) -> impl Iterator<Item = (usize, &'s str)> {
    let hashed = ["HashMap", "HashSet", "hash_map", "hash_set"];
    source
        .words()
        .filter(move |(_, token)| hashed.contains(&token.text))
        .map(|(_, token)| (token.line, token.text))
}

/// No map whose order can reach an output.
fn hashes(source: &Source<'_>) -> Vec<Breach> {
    if HASHED.iter().any(|(file, _)| *file == source.file) {
        return Vec::new();
    }
    let text = |what| format!("`{what}` has a random order; use BTreeMap or BTreeSet, a slab, or an index");
    hash_words(source).map(|(line, what)| breach(source, line, "hashes", text(what))).collect()
}

/// Tests do not sleep.
fn sleeps(source: &Source<'_>) -> Vec<Breach> {
    if !source.file.starts_with("tests/") {
        return Vec::new();
    }
    let text = "a test sleeps; wait for the event itself, or move a paused clock with `tokio::time::advance`";
    let calls = source.words().filter(|(at, token)| token.text == "sleep" && source.is(at + 1, "("));
    calls.map(|(_, token)| breach(source, token.line, "sleeps", text.to_owned())).collect()
}

/// Files are short, and modules are named for what they hold.
fn size_and_name(source: &Source<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    if source.lines > MAX_LINES {
        let text = format!("{} lines, above {MAX_LINES}; split it by what changes together", source.lines);
        breaches.push(breach(source, MAX_LINES + 1, "size", text));
    }
    let text = |name| {
        format!("a module named `{name}` collects whatever comes; put each thing beside its first user")
    };
    for name in source.file.trim_end_matches(".rs").split('/').filter(|name| BANNED_NAMES.contains(name)) {
        breaches.push(breach(source, 1, "names", text(name)));
    }
    for (at, token) in source.words().filter(|(_, token)| token.text == "mod") {
        let name =
            source.tokens.get(at + 1).filter(|next| next.kind == Kind::Word).map_or("", |next| next.text);
        if BANNED_NAMES.contains(&name) {
            breaches.push(breach(source, token.line, "names", text(name)));
        }
    }
    breaches
}
