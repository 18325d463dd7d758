//! What happened, as small records with a rolling hash.

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher13;

/// One thing that happened in a simulated network.
///
/// Two runs are the same if their records are: whatever else differs comes out as bytes on a link or as an event of a
/// node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Virtual time since the network began.
    pub at: Duration,
    /// The node that did it, or saw it; `None` for what was done to the network.
    pub node: Option<u32>,
    /// The node at the other end, if there is one.
    pub peer: Option<u32>,
    /// What it was: `wrote`, or the label of an event.
    pub what: &'static str,
    /// How many bytes, or another number that belongs to it.
    pub size: u64,
    /// A digest of all the rest of it: of the bytes that were written, or of an event's words.
    pub digest: u64,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6} s  ", self.at.as_secs_f64())?;
        match (self.node, self.peer) {
            (Some(node), Some(peer)) => write!(f, "node {node} -> {peer}  ")?,
            (Some(node), None) => write!(f, "node {node}  ")?,
            (None, _) => f.write_str("network  ")?,
        }
        write!(f, "{}  {} ({:08x})", self.what, self.size, self.digest >> 32)
    }
}

/// Which records are kept beside the hash of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// The first so many: two runs are compared by them.
    First(usize),
    /// The last so many: what led up to a failure.
    Last(usize),
}

/// The records of a run.
pub(super) struct Trace {
    hasher: SipHasher13,
    count: u64,
    keep: Keep,
    kept: VecDeque<Record>,
}

impl Trace {
    pub(super) fn new(keep: Keep) -> Self {
        Self { hasher: SipHasher13::new_with_keys(0, 0), count: 0, keep, kept: VecDeque::new() }
    }

    pub(super) fn push(&mut self, record: Record) {
        let Record { at, node, peer, what, size, digest } = record;
        self.hasher.write_u64(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
        self.hasher.write_u32(node.map_or(u32::MAX, |node| node));
        self.hasher.write_u32(peer.map_or(u32::MAX, |peer| peer));
        self.hasher.write(what.as_bytes());
        self.hasher.write_u64(size);
        self.hasher.write_u64(digest);
        self.count += 1;
        match self.keep {
            Keep::First(most) if self.kept.len() >= most => {}
            Keep::First(_) => self.kept.push_back(record),
            Keep::Last(most) => {
                if self.kept.len() >= most {
                    self.kept.pop_front();
                }
                if most > 0 {
                    self.kept.push_back(record);
                }
            }
        }
    }

    /// The hash of all records so far.
    pub(super) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// How many records there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn kept(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.kept.iter()
    }
}

/// A digest of bytes.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(1, 0);
    hasher.write(bytes);
    hasher.finish()
}

/// A digest of what would be printed, without making the text.
pub(super) fn digest_of(words: fmt::Arguments<'_>) -> u64 {
    struct Into(SipHasher13);
    impl fmt::Write for Into {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut into = Into(SipHasher13::new_with_keys(2, 0));
    // Hashing does not fail; a `Display` that does is cut off at the same place in every run.
    let _ = fmt::Write::write_fmt(&mut into, words);
    into.0.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(size: u64) -> Record {
        Record {
            at: Duration::from_millis(size),
            node: Some(1),
            peer: Some(2),
            what: "wrote",
            size,
            digest: 9 << 32,
        }
    }

    fn kept(keep: Keep) -> (Vec<u64>, u64, u64) {
        let mut trace = Trace::new(keep);
        (1..=5).for_each(|size| trace.push(record(size)));
        (trace.kept().map(|record| record.size).collect(), trace.count(), trace.hash())
    }

    #[test]
    fn the_hash_is_of_all_records_whichever_are_kept() {
        let (first, count, hash) = kept(Keep::First(2));
        assert_eq!((first, count), (vec![1, 2], 5));
        assert_eq!(kept(Keep::Last(2)), (vec![4, 5], 5, hash));
        assert_eq!(kept(Keep::Last(0)), (vec![], 5, hash));
    }

    #[test]
    fn every_field_counts() {
        let of = |record: Record| {
            let mut trace = Trace::new(Keep::Last(0));
            trace.push(record);
            trace.hash()
        };
        let base = record(1);
        let others = [
            Record { at: Duration::ZERO, ..base },
            Record { node: None, ..base },
            Record { peer: None, ..base },
            Record { what: "up", ..base },
            Record { size: 2, ..base },
            Record { digest: 1, ..base },
        ];
        for other in others {
            assert_ne!(of(base), of(other), "{other}");
        }
        assert_eq!(of(base), of(record(1)));
    }

    #[test]
    fn a_record_reads_as_one_line() {
        assert_eq!(record(5).to_string(), "0.005000 s  node 1 -> 2  wrote  5 (00000009)");
    }

    #[test]
    fn words_are_digested_as_they_would_be_printed() {
        assert_eq!(digest_of(format_args!("{}-{}", 1, 2)), digest_of(format_args!("1-{}", 2)));
        assert_ne!(digest_of(format_args!("a")), digest_of(format_args!("b")));
    }
}
