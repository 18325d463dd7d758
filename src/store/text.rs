//! What stands in the columns that hold text: labels and names, stable from one version to the next.

use std::fmt::Write as _;

use crate::address::IpPrefix;
use crate::event::Misbehaviour;
use crate::id::NodeId;
use crate::peer::{BanReason, BanTarget, HoldReason, MAX_BAN_TEXT_BYTES, MAX_QUOTAS, Source, Want};

/// Longest list of offers, in bytes: room for [`MAX_QUOTAS`] names, each escaped, of any length that a peer can send.
pub(super) const MAX_OFFERS_BYTES: usize = 4096;

/// How much of a bad text is shown, in characters.
const SHOWN: usize = 40;

/// Makes both directions of an enum's labels from one list, which the compiler holds to be complete.
macro_rules! labels {
    ($write:ident, $read:ident, $kind:ty { $($variant:ident = $label:literal,)+ }) => {
        pub(super) fn $write(value: $kind) -> &'static str {
            match value { $(<$kind>::$variant => $label,)+ }
        }

        pub(super) fn $read(text: &str) -> Result<$kind, String> {
            match text {
                $($label => Ok(<$kind>::$variant),)+
                _ => Err(unknown(text, &[$($label),+])),
            }
        }
    };
}

labels!(hold, read_hold, HoldReason {
    Cooldown = "cooldown",
    Backoff = "backoff",
    Busy = "busy",
    Incompatible = "incompatible",
    Ourselves = "ourselves",
    SeedRest = "seed_rest",
});

pub(super) fn read_misbehaviour(text: &str) -> Result<Misbehaviour, String> {
    let labels = Misbehaviour::ALL.map(Misbehaviour::as_str);
    let found = Misbehaviour::ALL.into_iter().find(|kind| kind.as_str() == text);
    found.ok_or_else(|| unknown(text, &labels))
}

fn unknown(text: &str, known: &[&str]) -> String {
    format!("`{}` is none of {}", clip(text.as_bytes()), known.join(", "))
}

/// As much of a text as suits a message, with what cannot be printed escaped.
pub(super) fn clip(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN)]);
    let mut clipped: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN {
        clipped.push_str("..");
    }
    clipped
}

pub(super) fn source(source: Source) -> String {
    match source {
        Source::Operator => "operator".to_owned(),
        Source::Discovery => "discovery".to_owned(),
        Source::Gossip { from } => format!("gossip:{from}"),
    }
}

pub(super) fn read_source(text: &str) -> Result<Source, String> {
    match (text, text.split_once(':')) {
        ("operator", _) => Ok(Source::Operator),
        ("discovery", _) => Ok(Source::Discovery),
        (_, Some(("gossip", from))) => {
            from.parse().map(|from| Source::Gossip { from }).map_err(|why| format!("`gossip`: {why}"))
        }
        _ => Err(unknown(text, &["operator", "discovery", "gossip:ID"])),
    }
}

/// The whole identity, or the range.
pub(super) fn target(target: BanTarget) -> String {
    match target {
        BanTarget::Peer(id) => id.to_string(),
        BanTarget::Prefix(prefix) => prefix.to_string(),
    }
}

/// Only the form in which [`target`] writes: by any other, the ban could not be lifted.
pub(super) fn read_target(text: &str) -> Result<BanTarget, String> {
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return text.parse::<NodeId>().map(BanTarget::Peer).map_err(|why| why.to_string());
    }
    let wrong = || format!("`{}` is neither a node id nor a range as 192.0.2.0/24", clip(text.as_bytes()));
    let prefix: IpPrefix = text.parse().map_err(|_| wrong())?;
    let written = prefix.to_string();
    if written != text {
        return Err(format!("`{}` must be written as {written}", clip(text.as_bytes())));
    }
    Ok(BanTarget::Prefix(prefix))
}

/// The kind of a reason, and its detail. An operator's words are cut to [`MAX_BAN_TEXT_BYTES`].
pub(super) fn reason(why: &BanReason) -> (&'static str, &str) {
    match why {
        BanReason::Operator(text) => {
            ("operator", &text[..text.floor_char_boundary(text.len().min(MAX_BAN_TEXT_BYTES))])
        }
        BanReason::Misbehaved(what) => ("misbehaved", what.as_str()),
    }
}

/// Each offer as `capability:NAME` or `service:NAME`, between them a space; whatever is no printable ASCII is escaped
/// as `%20`. The first [`MAX_QUOTAS`] are kept, in [`MAX_OFFERS_BYTES`].
pub(super) fn offers(offers: &[Want]) -> String {
    let mut text = String::new();
    for want in offers.iter().take(MAX_QUOTAS) {
        let mut word = if text.is_empty() { String::new() } else { " ".to_owned() };
        match want {
            Want::Capability(name) => push_escaped(&mut word, "capability:", name.as_str()),
            Want::Service(name) => push_escaped(&mut word, "service:", name),
        }
        if text.len() + word.len() <= MAX_OFFERS_BYTES {
            text.push_str(&word);
        }
    }
    text
}

fn push_escaped(text: &mut String, kind: &str, name: &str) {
    text.push_str(kind);
    for byte in name.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02x}");
        }
    }
}

pub(super) fn read_offers(text: &str) -> Result<Vec<Want>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let offers: Vec<Want> = text.split(' ').map(read_want).collect::<Result<_, _>>()?;
    if offers.len() > MAX_QUOTAS {
        return Err(format!("{} offers; at most {MAX_QUOTAS}", offers.len()));
    }
    Ok(offers)
}

fn read_want(word: &str) -> Result<Want, String> {
    let wrong = || format!("`{}` is no capability:NAME or service:NAME", clip(word.as_bytes()));
    let (kind, name) = word.split_once(':').ok_or_else(wrong)?;
    let name = unescape(name).ok_or_else(wrong)?;
    match kind {
        "capability" => name.parse().map(Want::Capability).map_err(|_| wrong()),
        "service" => Ok(Want::Service(name)),
        _ => Err(wrong()),
    }
}

fn unescape(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'%' {
            let (digits, tail) = rest.split_first_chunk::<2>()?;
            let mut byte = [0];
            const_hex::decode_to_slice(digits, &mut byte).ok()?;
            bytes.extend(byte);
            rest = tail;
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_of_any_name_are_read_as_they_were_written() {
        let service = |name: &str| Want::Service(name.to_owned());
        let snap = Want::Capability("snap".parse().unwrap());
        for wants in [
            vec![],
            vec![service("")],
            vec![snap.clone(), service("archive")],
            vec![service("a b%20\n\u{e9}:"), Want::Capability("%:".parse().unwrap()), snap],
        ] {
            assert_eq!(read_offers(&offers(&wants)), Ok(wants));
        }
        assert_eq!(offers(&[service("a b")]), "service:a%20b");
    }

    #[test]
    fn malformed_offers_are_refused() {
        for text in
            [" ", "snap", "capability:", "capability:ninechars", "colour:red", "service:%2", "service:%ff"]
        {
            assert!(read_offers(text).is_err(), "{text}");
        }
        let many = vec!["service:a"; MAX_QUOTAS + 1].join(" ");
        assert_eq!(read_offers(&many), Err("17 offers; at most 16".to_owned()));
    }

    #[test]
    fn what_is_too_long_to_be_read_again_is_cut_when_it_is_written() {
        let text = "\u{e9}".repeat(MAX_BAN_TEXT_BYTES);
        let why = BanReason::Operator(format!("x{text}").into());
        assert_eq!(reason(&why).1.len(), MAX_BAN_TEXT_BYTES - 1, "no character is cut in two");
        let wants = vec![Want::Service("x".repeat(1000)); 20];
        let written = offers(&wants);
        assert!(written.len() <= MAX_OFFERS_BYTES);
        assert_eq!(read_offers(&written).unwrap(), wants[..4]);
    }

    #[test]
    fn bans_are_read_only_in_the_form_that_lifts_them() {
        assert!(read_target("192.0.2.0/24").is_ok());
        assert_eq!(read_target("192.0.2.7"), Err("`192.0.2.7` must be written as 192.0.2.7/32".to_owned()));
        assert!(read_target("192.0.2.7/24").unwrap_err().ends_with("as 192.0.2.0/24"));
        assert!(read_target("abcd").is_err() && read_target("").is_err() && read_target("x").is_err());
    }

    #[test]
    fn what_is_shown_of_a_bad_text_is_short_and_printable() {
        let text = clip(&[b"a\n\xff".as_slice(), &[b'x'; 1000]].concat());
        assert!(text.len() < 60 && text.starts_with("a\\n\u{fffd}xxx") && text.ends_with(".."), "{text}");
    }
}
