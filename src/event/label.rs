//! Labels that were read, not compiled in.

use std::sync::OnceLock;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// Most different labels that one process reads. This crate has fewer than a hundred; transports of others bring theirs.
const MAX_LABELS: usize = 512;
/// Longest label that is read, in bytes.
const MAX_LABEL_BYTES: usize = 64;

/// A label, kept for as long as the process lives, and the place of the next one.
struct Kept {
    label: &'static str,
    next: Place,
}

type Place = OnceLock<&'static Kept>;

static FIRST: Place = Place::new();

/// Reads a label. Each is kept once, so that reading costs no more memory the longer it goes on.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    let text = String::deserialize(deserializer)?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if text.is_empty() || text.len() > MAX_LABEL_BYTES || !text.bytes().all(plain) {
        let why = format!("a label is 1 to {MAX_LABEL_BYTES} lower-case letters, digits and underscores");
        return Err(D::Error::custom(why));
    }
    keep(&text, MAX_LABELS, &FIRST)
        .ok_or_else(|| D::Error::custom(format!("more than {MAX_LABELS} different labels")))
}

/// The kept label of this text; `None` if there are `most` others.
fn keep(text: &str, most: usize, first: &'static Place) -> Option<&'static str> {
    let mut place = first;
    for _ in 0..most {
        let new = || -> &'static Kept {
            Box::leak(Box::new(Kept { label: text.to_owned().leak(), next: Place::new() }))
        };
        let kept = place.get_or_init(new);
        if kept.label == text {
            return Some(kept.label);
        }
        place = &kept.next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Closed;

    #[test]
    fn a_label_is_kept_once_and_only_so_many_are() {
        static PLACE: Place = Place::new();
        let one = keep("one", 2, &PLACE).unwrap();
        assert_eq!(keep("two", 2, &PLACE), Some("two"));
        assert!(std::ptr::eq(keep("one", 2, &PLACE).unwrap(), one));
        assert_eq!(keep("three", 2, &PLACE), None);
    }

    #[test]
    fn what_is_no_label_is_refused() {
        let with = |label: &str| {
            let text = format!(
                r#"{{"by":"local","layer":"tcp","blame":"nobody","reason":"requested","label":"{label}","detail":""}}"#
            );
            serde_json::from_str::<Closed>(&text)
        };
        assert_eq!(with("timed_out").unwrap().label, "timed_out");
        for label in ["", "Timed out", "\\u001b", &"x".repeat(65)] {
            assert!(with(label).unwrap_err().to_string().contains("label is 1 to 64"), "{label}");
        }
    }
}
