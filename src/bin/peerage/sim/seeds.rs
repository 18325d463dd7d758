//! The seeds of a search.

use std::fmt;
use std::ops::Range;

/// Seeds that follow each other; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seeds(Range<u64>);

impl Seeds {
    pub(super) fn range(&self) -> Range<u64> {
        self.0.clone()
    }

    pub(super) fn count(&self) -> u64 {
        self.0.end - self.0.start
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.0.start, self.0.end)
    }
}

/// Reads how many seeds from 0 on, or from which one to before which.
pub(crate) fn seeds(text: &str) -> Result<Seeds, String> {
    let (start, end) = text.split_once("..").unwrap_or(("0", text));
    let range = start.parse().ok().zip(end.parse().ok()).map(|(start, end): (u64, u64)| start..end);
    let range = range.ok_or("must be a number of seeds, as in 1000, or a range, as in 100..200")?;
    if range.is_empty() {
        return Err(format!("there is no seed in {}..{}", range.start, range.end));
    }
    Ok(Seeds(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_count_or_a_range_and_never_none() {
        assert_eq!(seeds("1000").unwrap().range(), 0..1000);
        assert_eq!(seeds("7..9").unwrap().range(), 7..9);
        assert_eq!((seeds("7..9").unwrap().count(), seeds("3").unwrap().to_string()), (2, "0..3".into()));
        for (text, part) in [
            ("0", "no seed in 0..0"),
            ("9..9", "no seed in 9..9"),
            ("9..7", "no seed in 9..7"),
            ("", "as in 1000"),
            ("..", "as in 1000"),
            ("1..", "as in 1000"),
            ("1...3", "as in 1000"),
            ("1..=3", "as in 1000"),
            ("-1..3", "as in 1000"),
            ("some", "as in 1000"),
            ("18446744073709551616", "as in 1000"),
        ] {
            assert!(seeds(text).unwrap_err().contains(part), "{text}");
        }
    }
}
