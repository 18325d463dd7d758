//! What was sent and what was read, and what must hold between the two.
//!
//! It knows nothing of queues and connections beyond their names, and holds each word that is read against the one that
//! was said. What does not fit is kept as a fault, since whoever finds it is often a task of the network.

use std::collections::{BTreeMap, BTreeSet};

use peerage::id::ConnId;

use super::ops::Lane;

/// A node, and how often it was started before.
pub(crate) type Life = (usize, u32);

/// A message that was queued for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) from: Life,
    /// The sender's name of the connection; `ConnId::LOCAL` if it stays in the node.
    pub(crate) conn: ConnId,
    pub(crate) to: usize,
    pub(crate) lane: Lane,
    pub(crate) bytes: usize,
}

/// What became of a message when it was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The last one.
    Last,
    /// That of the latest message of this key.
    Of(u64),
}

#[derive(Debug)]
struct Entry {
    word: Word,
    /// What is read later has a greater one.
    place: u64,
    read: bool,
}

/// A question, until it has ended.
#[derive(Debug, Default)]
struct Question {
    from: Life,
    ended: bool,
    read_by: BTreeSet<Life>,
    answered_by: BTreeSet<usize>,
}

/// How many messages of a channel a node has sent in a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) queued: u64,
    pub(crate) queued_locally: u64,
    pub(crate) refused: u64,
    pub(crate) evicted: u64,
    pub(crate) evicted_locally: u64,
    pub(crate) replaced: u64,
    /// Those that waited for room, of which nobody hears whom they evicted.
    pub(crate) waited: u64,
    pub(crate) read: u64,
}

/// Messages that were queued and not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Unread {
    pub(crate) all: u64,
    /// Those whose connection is still there.
    pub(crate) live: u64,
}

/// All that was said and heard.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    last_number: u64,
    last_place: u64,
    words: BTreeMap<(u64, usize), Entry>,
    /// Where the latest message of a key stands.
    keyed: BTreeMap<(Life, ConnId, usize, Lane, u64), u64>,
    /// The greatest place that a reactor has read from a node.
    heard: BTreeMap<(Life, usize, Lane), u64>,
    /// The other end's name of a connection, from either end.
    pairs: BTreeMap<(Life, ConnId), (Life, ConnId)>,
    questions: BTreeMap<u64, Question>,
    tallies: BTreeMap<(Life, Lane), Tally>,
    fault: Option<String>,
}

impl Ledger {
    /// A number that no other message and no question has.
    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Something does not hold. The first counts.
    pub(crate) fn blame(&mut self, fault: impl FnOnce() -> String) {
        if self.fault.is_none() {
            self.fault = Some(fault());
        }
    }

    /// A message was taken for somebody who could not be sent any.
    pub(crate) fn unconnected(&mut self, number: u64, to: usize) {
        self.blame(|| format!("{number} is queued for {to}, to whom there is no connection"));
    }

    /// What does not hold.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    pub(crate) fn tally(&mut self, life: Life, lane: Lane) -> &mut Tally {
        self.tallies.entry((life, lane)).or_default()
    }

    /// What a node has sent and read in a life, by channel.
    pub(crate) fn tally_of(&self, life: Life) -> [Tally; Lane::ALL.len()] {
        Lane::ALL.map(|lane| self.tallies.get(&(life, lane)).copied().unwrap_or_default())
    }

    /// A message was queued.
    pub(crate) fn said(&mut self, number: u64, word: Word, at: Place, key: Option<u64>) {
        let Word { from, conn, to, lane, .. } = word;
        let keyed = |key| (from, conn, to, lane, key);
        self.last_place += 1;
        let mut place = self.last_place;
        if let Place::Of(key) = at {
            match self.keyed.get(&keyed(key)) {
                Some(of) => place = *of,
                None => self
                    .blame(|| format!("{number} took the place of a key {key} that was not there: {word:?}")),
            }
        }
        if let Some(key) = key {
            self.keyed.insert(keyed(key), place);
        }
        if self.words.insert((number, to), Entry { word, place, read: false }).is_some() {
            self.blame(|| format!("{number} was queued twice for {to}: {word:?}"));
        }
        let tally = self.tally(from, lane);
        if conn == ConnId::LOCAL { tally.queued_locally += 1 } else { tally.queued += 1 }
    }

    /// A reactor has read a message: `heard` says from whom and on which connection.
    pub(crate) fn heard(&mut self, reader: Life, number: u64, heard: &Word) {
        self.tally(reader, heard.lane).read += 1;
        let Some(entry) = self.words.get_mut(&(number, reader.0)) else {
            return self.blame(|| format!("{reader:?} reads {number}, which nobody sent it: {heard:?}"));
        };
        let (word, place, twice) = (entry.word, entry.place, std::mem::replace(&mut entry.read, true));
        if twice {
            self.blame(|| format!("{reader:?} reads {number} twice: {word:?}"));
        }
        let fits = (word.from.0, word.lane, word.bytes) == (heard.from.0, heard.lane, heard.bytes);
        let stays = (word.conn == ConnId::LOCAL) == (heard.conn == ConnId::LOCAL);
        if !fits || !stays || (word.conn == ConnId::LOCAL && word.from != reader) {
            self.blame(|| format!("{reader:?} reads {number} as {heard:?}, which was sent as {word:?}"));
        }
        if word.conn != ConnId::LOCAL {
            self.pair((word.from, word.conn), (reader, heard.conn));
        }
        let before = self.heard.insert((reader, word.from.0, word.lane), place).unwrap_or(0);
        if place <= before {
            self.blame(|| format!("{reader:?} reads {number} of place {place} after {before}: {word:?}"));
        }
    }

    /// These are the two ends of one connection.
    fn pair(&mut self, sender: (Life, ConnId), reader: (Life, ConnId)) {
        let there = *self.pairs.entry(sender).or_insert(reader);
        let back = *self.pairs.entry(reader).or_insert(sender);
        if (there, back) != (reader, sender) {
            self.blame(|| {
                format!("what {sender:?} sent came to {reader:?}; these belong to {back:?} and {there:?}")
            });
        }
    }

    /// The other end of a connection, if something came through it.
    pub(crate) fn other_end(&self, end: (Life, ConnId)) -> Option<(Life, ConnId)> {
        self.pairs.get(&end).copied()
    }

    /// What a peer queued on a connection and was not read, by channel; `is_live` says whether a connection is there.
    pub(crate) fn unread(&self, is_live: impl Fn(Life, ConnId) -> bool) -> BTreeMap<Lane, Unread> {
        let mut unread: BTreeMap<Lane, Unread> = BTreeMap::new();
        for Entry { word, .. } in self.words.values().filter(|entry| !entry.read) {
            let lane = unread.entry(word.lane).or_default();
            lane.all += 1;
            lane.live += u64::from(is_live(word.from, word.conn));
        }
        unread
    }

    /// Whether a reactor has read this message.
    pub(crate) fn was_read(&self, number: u64, by: usize) -> bool {
        self.words.get(&(number, by)).is_some_and(|entry| entry.read)
    }
}

/// Questions.
impl Ledger {
    pub(crate) fn asks(&mut self, number: u64, from: Life) {
        self.questions.insert(number, Question { from, ..Question::default() });
    }

    /// A reactor has read a question.
    pub(crate) fn was_asked(&mut self, reader: Life, number: u64, from: usize) {
        self.tally(reader, Lane::Quiz).read += 1;
        match self.questions.get_mut(&number) {
            Some(question) if question.from.0 == from => {
                if !question.read_by.insert(reader) {
                    self.blame(|| format!("{reader:?} is asked {number} twice"));
                }
            }
            found => {
                let found = format!("{found:?}");
                self.blame(|| format!("{reader:?} reads a question {number} of {from}, which is {found}"));
            }
        }
    }

    /// A node has answered a question; its answer is queued.
    pub(crate) fn answers(&mut self, number: u64, by: usize) {
        if let Some(question) = self.questions.get_mut(&number) {
            question.answered_by.insert(by);
        }
    }

    /// A question has ended: with the number and the node of an answer, or without.
    pub(crate) fn ends(&mut self, number: u64, answer: Option<(u64, usize)>) {
        let Some(question) = self.questions.get_mut(&number) else {
            return self.blame(|| format!("{number} was never asked, and ends"));
        };
        let twice = std::mem::replace(&mut question.ended, true);
        let answered = answer.is_none_or(|(told, by)| told == number && question.answered_by.contains(&by));
        if twice {
            self.blame(|| format!("{number} ends twice"));
        }
        if !answered {
            self.blame(|| format!("{number} has the answer {answer:?}, which nobody gave"));
        }
    }

    /// Whether one of these nodes has queued an answer to it.
    pub(crate) fn was_answered(&self, number: u64, by: usize) -> bool {
        self.questions.get(&number).is_some_and(|question| question.answered_by.contains(&by))
    }

    /// The questions that have not ended.
    pub(crate) fn open_questions(&self) -> Vec<u64> {
        self.questions.iter().filter(|(_, question)| !question.ended).map(|(number, _)| *number).collect()
    }
}
