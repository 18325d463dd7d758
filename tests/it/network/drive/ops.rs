//! Any bytes as a network and what is done to it.
//!
//! Ten bytes of a network come first. Then each operation is a byte that chooses it, and the bytes of its numbers;
//! bytes that are missing at the end are zero.

use std::time::Duration;

use peerage::channel::{ChannelConfig, Share};
use peerage::queue::{Overflow, Priority};
use peerage::sim::Depth;

use super::lanes::NAMES;

/// Operations beyond this many are left out, so that one run stays short.
const MAX_OPS: usize = 160;

/// The largest payload of each channel.
pub(crate) const MAX_BYTES: usize = 256;

/// A channel of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Vote,
    Bulk,
    Quiz,
}

impl Lane {
    pub(crate) const ALL: [Self; 3] = [Self::Vote, Self::Bulk, Self::Quiz];
}

/// How a channel queues: few messages, so that it overflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) outbound: Overflow,
    pub(crate) inbound: Overflow,
    messages: usize,
}

impl Shape {
    pub(crate) fn config(self, lane: Lane) -> ChannelConfig {
        let share = |messages| Share { messages, bytes: messages * MAX_BYTES };
        let mut config = ChannelConfig::for_messages_of(MAX_BYTES);
        config.priority = if lane == Lane::Vote { Priority::High } else { Priority::Normal };
        config.outbound = share(self.messages);
        config.outbound_overflow = self.outbound;
        config.inbound = share(self.messages);
        config.inbound_total = share(2 * self.messages);
        config.inbound_overflow = self.inbound;
        config
    }
}

/// A network of two to four nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) depth: Depth,
    pub(crate) interleaved: bool,
    pub(crate) nodes: usize,
    /// Whether each node keeps a connection to each other. Else they are told of each other, and have few places.
    pub(crate) tied: bool,
    /// How many connections a node that is not tied may hold, in each direction.
    pub(crate) places: usize,
    pub(crate) shapes: [Shape; Lane::ALL.len()],
    /// Messages that wait for one peer, over all channels.
    pub(crate) peer_queue: usize,
    /// Questions to one peer: on their way, before that, and held by a node that is asked.
    pub(crate) questions: [usize; 3],
    pub(crate) line: Wire,
}

/// What connects nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) latency: Duration,
    pub(crate) rate: Option<u64>,
    pub(crate) buffer_bytes: usize,
}

/// What is done with a question that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Answer,
    Refuse,
    Hold,
}

impl Manner {
    /// How the question of that number is treated by whoever reads it.
    pub(crate) fn of(number: u64) -> Self {
        match number % 4 {
            0 | 1 => Self::Answer,
            2 => Self::Hold,
            _ => Self::Refuse,
        }
    }
}

/// To whom something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Node(usize),
    All,
    /// Another reactor of the same node.
    Local,
}

/// One thing that is done. Nodes are given by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Send {
        from: usize,
        to: To,
        lane: Lane,
        bytes: usize,
        extra: Extra,
    },
    /// As `Send`, waiting so long for room; as often as that at once.
    Wait {
        from: usize,
        to: usize,
        lane: Lane,
        bytes: usize,
        within: Duration,
        times: usize,
    },
    Ask {
        from: usize,
        to: To,
        within: Duration,
        cancel: Option<usize>,
    },
    Cancel {
        node: usize,
        name: usize,
    },
    /// Lets a reactor read so many messages more.
    Read {
        node: usize,
        lane: Lane,
        messages: usize,
    },
    /// Lets the reactors of a node read all that comes, or no more.
    Eager {
        node: usize,
        eager: bool,
    },
    /// Answers the oldest question that a node holds, or refuses it.
    Settle {
        node: usize,
        answer: bool,
    },
    Advance(Duration),
    Connect {
        from: usize,
        to: usize,
    },
    Disconnect {
        from: usize,
        to: usize,
    },
    Ban {
        node: usize,
        peer: usize,
        length: Option<Duration>,
    },
    Unban {
        node: usize,
        peer: usize,
    },
    Cut {
        from: usize,
        to: usize,
        cut: bool,
    },
    /// Parts a node from all others.
    Part {
        node: usize,
    },
    HealAll,
    Reset {
        a: usize,
        b: usize,
    },
    Start {
        node: usize,
    },
    Kill {
        node: usize,
    },
    ShutDown {
        node: usize,
        eager: bool,
    },
    PowerOff {
        node: usize,
    },
    PowerOn {
        node: usize,
    },
    WipeStore {
        node: usize,
    },
    Slow {
        node: usize,
        rate: Option<u64>,
    },
    Line(Wire),
}

/// What a message carries beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extra {
    pub(crate) stale_after: Option<Duration>,
    pub(crate) cancel: Option<usize>,
    pub(crate) key: Option<u64>,
}

/// The network and the operations that bytes stand for.
pub(crate) fn decode(bytes: &[u8]) -> (World, Vec<Op>) {
    let mut input = Input { bytes, nodes: 2 };
    let world = input.world();
    input.nodes = world.nodes;
    let ops = std::iter::from_fn(|| input.op()).take(MAX_OPS).collect();
    (world, ops)
}

struct Input<'a> {
    bytes: &'a [u8],
    nodes: usize,
}

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        first
    }

    fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    fn world(&mut self) -> World {
        let kind = self.byte();
        let places = 1 + usize::from(kind >> 6);
        let depth = if kind % 16 == 15 { Depth::Rlpx } else { Depth::Plain };
        World {
            seed: u64::from(self.byte() % 4),
            depth,
            interleaved: kind & 0x20 != 0,
            nodes: 2 + usize::from(kind % 3),
            tied: kind & 0x10 == 0,
            places,
            shapes: [self.shape(), self.shape(), self.shape()],
            peer_queue: 2 + self.below(15),
            questions: [1 + self.below(3), 1 + self.below(3), 1 + self.below(3)],
            line: self.wire(),
        }
    }

    fn shape(&mut self) -> Shape {
        let byte = self.byte();
        Shape {
            outbound: [
                Overflow::Wait,
                Overflow::DropOldest,
                Overflow::DropNewest,
                Overflow::ReplaceByKey,
                Overflow::Disconnect,
            ][usize::from(byte % 5)],
            // What comes from peers has no keys to replace by.
            inbound: [Overflow::Wait, Overflow::DropOldest, Overflow::DropNewest, Overflow::Disconnect]
                [usize::from(byte / 5 % 4)],
            messages: 1 + usize::from(byte / 20 % 4),
        }
    }

    fn wire(&mut self) -> Wire {
        let byte = self.byte();
        Wire {
            latency: Duration::from_millis([0, 5, 50, 300][usize::from(byte % 4)]),
            rate: [None, None, Some(20_000), Some(1_000)][usize::from(byte / 4 % 4)],
            buffer_bytes: [64 * 1024, 2048, 300, 64][usize::from(byte / 16 % 4)],
        }
    }

    fn node(&mut self) -> usize {
        self.below(self.nodes)
    }

    /// Two nodes that differ.
    fn two(&mut self) -> (usize, usize) {
        let byte = usize::from(self.byte());
        let one = byte % self.nodes;
        (one, (one + 1 + byte / self.nodes % (self.nodes - 1)) % self.nodes)
    }

    fn lane(&mut self) -> Lane {
        Lane::ALL[self.below(Lane::ALL.len())]
    }

    /// A time: mostly milliseconds, sometimes seconds.
    fn time(&mut self) -> Duration {
        Duration::from_millis(match self.byte() {
            ms @ 0..160 => ms.into(),
            tenths @ 160..240 => u64::from(tenths - 159) * 100,
            seconds @ 240.. => u64::from(seconds - 238) * 1000,
        })
    }

    /// Nothing as often as not.
    fn maybe<T>(&mut self, what: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.byte() % 2 == 1).then(|| what(self))
    }

    fn to(&mut self, from: usize) -> To {
        match self.byte() {
            240.. => To::Local,
            200.. => To::All,
            byte => To::Node((from + 1 + usize::from(byte) % (self.nodes - 1)) % self.nodes),
        }
    }

    fn extra(&mut self) -> Extra {
        Extra {
            stale_after: self.maybe(Self::time),
            cancel: self.maybe(|input| input.below(NAMES)),
            key: self.maybe(|input| u64::from(input.byte() % 3)),
        }
    }

    fn op(&mut self) -> Option<Op> {
        if self.bytes.is_empty() {
            return None;
        }
        let choice = self.byte();
        Some(match choice {
            0..100 => self.traffic(choice),
            100..140 => Op::Advance(self.time()),
            140..170 => match self.byte() {
                byte @ 0..128 => Op::Eager { node: self.node(), eager: byte % 4 != 0 },
                _ => Op::Read { node: self.node(), lane: self.lane(), messages: 1 + self.below(8) },
            },
            170..180 => Op::Settle { node: self.node(), answer: !self.byte().is_multiple_of(4) },
            180..186 => Op::Cancel { node: self.node(), name: self.below(NAMES) },
            _ => self.fault(choice),
        })
    }

    fn traffic(&mut self, choice: u8) -> Op {
        let from = self.node();
        match choice {
            0..40 => {
                let (to, lane, bytes) = (self.to(from), self.lane(), self.below(256));
                Op::Send { from, to, lane, bytes, extra: Extra::default() }
            }
            40..60 => {
                let (to, lane) = (self.to(from), self.lane());
                Op::Send { from, to, lane, bytes: 8, extra: self.extra() }
            }
            60..75 => {
                let (from, to) = self.two();
                let (lane, times) = (self.lane(), 1 + self.below(6));
                Op::Wait { from, to, lane, bytes: self.below(256), within: self.time(), times }
            }
            _ => {
                let (to, within) = (self.to(from), self.time());
                Op::Ask { from, to, within, cancel: self.maybe(|input| input.below(NAMES)) }
            }
        }
    }

    fn fault(&mut self, choice: u8) -> Op {
        let (from, to) = self.two();
        match choice {
            186..192 => Op::Connect { from, to },
            192..199 => Op::Disconnect { from, to },
            199..203 => Op::Ban { node: from, peer: to, length: self.maybe(Self::time) },
            203..206 => Op::Unban { node: from, peer: to },
            206..214 => Op::Cut { from, to, cut: self.byte().is_multiple_of(2) },
            214..217 => Op::Part { node: from },
            217..219 => Op::HealAll,
            219..227 => Op::Reset { a: from, b: to },
            227..234 => Op::Kill { node: from },
            234..239 => Op::ShutDown { node: from, eager: !self.byte().is_multiple_of(4) },
            239..247 => Op::Start { node: from },
            247..249 => Op::PowerOff { node: from },
            249..252 => Op::PowerOn { node: from },
            252 => Op::WipeStore { node: from },
            253 => Op::Slow { node: from, rate: self.maybe(|input| 100 + 50 * u64::from(input.byte())) },
            _ => Op::Line(self.wire()),
        }
    }
}
