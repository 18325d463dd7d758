//! The channels of the nodes, and what is alike in them.

use bytes::Bytes;
use peerage::channel::{CancelId, Sender};
use peerage::message::{Message, Received, Responder};

use super::ops::Lane;

peerage::protocol! {
    /// What is urgent.
    #[derive(Debug)]
    pub(crate) enum Vote: "vote" / 1, max 256 {
        0 = Cast { number: u64, filling: Bytes },
    }
}

peerage::protocol! {
    /// What is not.
    #[derive(Debug)]
    pub(crate) enum Bulk: "bulk" / 1, max 256 {
        0 = Load { number: u64, filling: Bytes },
    }
}

peerage::protocol! {
    /// Questions, with a message among them.
    #[derive(Debug)]
    pub(crate) enum Quiz: "quiz" / 1, max 256 {
        0 = Ask { number: u64 } -> Told,
        1 = answer Told { number: u64, by: u64 },
        2 = Remark { number: u64, filling: Bytes },
    }
}

/// What a reactor reads.
pub(crate) enum Heard {
    Said { number: u64, filling: Bytes },
    Asked { number: u64, responder: Responder<Told> },
}

/// A channel whose messages are numbered.
pub(crate) trait Numbered: Message {
    const LANE: Lane;

    fn say(number: u64, filling: Bytes) -> Self;

    fn heard(received: Self::Received) -> Heard;
}

impl Numbered for Vote {
    const LANE: Lane = Lane::Vote;

    fn say(number: u64, filling: Bytes) -> Self {
        Self::Cast { number, filling }
    }

    fn heard(Self::Cast { number, filling }: Self) -> Heard {
        Heard::Said { number, filling }
    }
}

impl Numbered for Bulk {
    const LANE: Lane = Lane::Bulk;

    fn say(number: u64, filling: Bytes) -> Self {
        Self::Load { number, filling }
    }

    fn heard(Self::Load { number, filling }: Self) -> Heard {
        Heard::Said { number, filling }
    }
}

impl Numbered for Quiz {
    const LANE: Lane = Lane::Quiz;

    fn say(number: u64, filling: Bytes) -> Self {
        Self::Remark { number, filling }
    }

    fn heard(received: Quiz<Received>) -> Heard {
        match received {
            Quiz::Remark { number, filling } => Heard::Said { number, filling },
            Quiz::Ask(request) => {
                Heard::Asked { number: request.question.number, responder: request.responder }
            }
        }
    }
}

/// How many names for what can be taken back a node has.
pub(crate) const NAMES: usize = 3;

/// The sending ends of a node.
#[derive(Debug, Clone)]
pub(crate) struct Mouth {
    pub(crate) names: [CancelId; NAMES],
    pub(crate) vote: Sender<Vote>,
    pub(crate) bulk: Sender<Bulk>,
    pub(crate) quiz: Sender<Quiz>,
}

/// What fills a message of that number, so that a part of another would be seen.
pub(crate) fn filling(number: u64, bytes: usize) -> Bytes {
    let [first, .., last] = number.to_le_bytes();
    vec![first ^ last; bytes].into()
}
