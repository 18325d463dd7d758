//! What `drive` promises a core: exact timers, a stated order, turns for every source, and no silence.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use peerage::NodeId;
use peerage::channel::{Channel, Envelope, Recipients, Refusal, RequestError, SendOptions};
use peerage::event::EventKind;
use peerage::message::{Received, Responder};
use peerage::peer::PeerUpdate;
use peerage::reactor::{Outbox, Reactor, SendId, drive};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, timeout};

use super::kit::{Net, Node, Wire, id, over_memory};

over_memory!(
    timers_are_exact_and_follow_what_the_core_names,
    a_past_instant_named_again_and_again_holds_up_neither_tasks_nor_the_clock,
    sources_take_turns_in_the_stated_order,
    a_core_that_never_ceases_to_ask_and_to_send_still_hears_all_else,
    refusals_are_told_for_each_recipient_before_anything_else,
    answers_come_as_events_and_questions_keep_their_place_among_messages,
    what_a_core_takes_back_is_what_it_put_there_before,
    a_question_without_an_answer_ends_in_its_time,
    the_end_of_the_node_ends_it_and_tells_of_questions_in_flight,
    what_is_known_when_the_channel_ends_is_told_before,
    however_many_questions_end_with_the_node_all_are_told,
    a_core_that_panics_ends_alone,
);

peerage::protocol! {
    #[derive(Debug)]
    pub enum Quiz: "quiz" / 1, max 64 {
        0 = Say { number: u64 },
        1 = Ask { number: u64 } -> Told,
        2 = answer Told { number: u64 },
    }
}

/// What a probe was told, as a test compares it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Up(NodeId),
    Down(NodeId),
    Said(u64),
    Asked(u64),
    Order(u64),
    Told(Result<u64, RequestError>),
    Timeout,
    Refused(SendId, NodeId, Refusal),
}

#[derive(Debug)]
enum Event {
    Order(u64),
    Told(Result<Told, RequestError>),
}

type React = Box<dyn FnMut(&mut Probe, Seen, &mut Outbox<Probe>) + Send>;
type Log = Arc<Mutex<Vec<(Instant, Seen)>>>;

/// A core that writes down what it is told, and does with it what a test says.
struct Probe {
    log: Log,
    react: Option<React>,
    next: Option<Instant>,
    /// Kept unanswered.
    kept: Vec<Responder<Told>>,
    keeps: bool,
}

impl Probe {
    fn new(react: impl FnMut(&mut Self, Seen, &mut Outbox<Self>) + Send + 'static) -> Self {
        Self { log: Log::default(), react: Some(Box::new(react)), next: None, kept: Vec::new(), keeps: false }
    }

    fn note(&mut self, now: std::time::Instant, seen: Seen, out: &mut Outbox<Self>) {
        let told = {
            let mut log = self.log.lock().unwrap();
            log.push((Instant::from_std(now), seen));
            log.len()
        };
        assert!(told < 100_000, "it goes on without end");
        let mut react = self.react.take().unwrap();
        react(self, seen, out);
        self.react = Some(react);
    }
}

impl Reactor for Probe {
    type Message = Quiz;
    type Event = Event;

    fn on_peer(&mut self, now: std::time::Instant, update: &PeerUpdate, out: &mut Outbox<Self>) {
        let seen = match update {
            PeerUpdate::Up { peer, .. } => Seen::Up(*peer),
            PeerUpdate::Down { peer, .. } => Seen::Down(*peer),
        };
        self.note(now, seen, out);
    }

    fn on_message(&mut self, now: std::time::Instant, envelope: Envelope<Quiz>, out: &mut Outbox<Self>) {
        match envelope.message {
            Quiz::<Received>::Say { number } => self.note(now, Seen::Said(number), out),
            Quiz::Ask(request) => {
                self.note(now, Seen::Asked(request.question.number), out);
                if self.keeps {
                    self.kept.push(request.responder);
                } else {
                    request.responder.try_answer(Told { number: request.question.number + 1 }).unwrap();
                }
            }
        }
    }

    fn on_event(&mut self, now: std::time::Instant, event: Event, out: &mut Outbox<Self>) {
        let seen = match event {
            Event::Order(number) => Seen::Order(number),
            Event::Told(told) => Seen::Told(told.map(|told| told.number)),
        };
        self.note(now, seen, out);
    }

    fn on_timeout(&mut self, now: std::time::Instant, out: &mut Outbox<Self>) {
        self.note(now, Seen::Timeout, out);
    }

    fn next_timeout(&self) -> Option<std::time::Instant> {
        self.next.map(Instant::into_std)
    }

    fn on_refused(
        &mut self,
        now: std::time::Instant,
        sent: SendId,
        to: NodeId,
        why: Refusal,
        out: &mut Outbox<Self>,
    ) {
        self.note(now, Seen::Refused(sent, to, why), out);
    }
}

/// A probe that runs.
struct Running {
    node: Node<()>,
    log: Log,
    orders: mpsc::Sender<Event>,
    task: JoinHandle<Probe>,
}

impl Running {
    fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().iter().map(|(_, seen)| *seen).collect()
    }

    async fn order(&self, number: u64) {
        self.orders.send(Event::Order(number)).await.unwrap();
    }

    /// Waits until it has seen so much.
    async fn has_seen(&self, count: usize) -> Vec<Seen> {
        while self.seen().len() < count {
            assert!(!self.task.is_finished(), "it has ended: {:?}", self.seen());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        self.seen()
    }
}

/// Starts a node whose probe finds what `before` has made ready.
async fn run<W: Wire>(
    net: &Net<W>,
    seed: u64,
    to: &[&Running],
    probe: Probe,
    before: impl AsyncFnOnce(&Channel<Quiz>, &mut Node<()>, &mpsc::Sender<Event>),
) -> Running {
    let mut builder = net.builder(seed).await;
    builder.configure(|config| config.peers.cooldown = Duration::from_secs(3600));
    for peer in to {
        builder.peer(peer.node.address());
    }
    let (channel, updates) = (builder.channel::<Quiz>().unwrap(), builder.updates());
    let mut node = net.start(builder, ());
    let (orders, events) = mpsc::channel(64);
    before(&channel, &mut node, &orders).await;
    let log = Arc::clone(&probe.log);
    let task = net.beside(drive(probe, channel, updates, events));
    Running { node, log, orders, task }
}

async fn alone<W: Wire>(net: &Net<W>, probe: Probe) -> Running {
    run(net, 1, &[], probe, async |_, _, _| {}).await
}

/// Moves virtual time to the next timers until so much has passed.
async fn pass(time: Duration) {
    assert!(timeout(time, std::future::pending::<()>()).await.is_err());
}

const SECOND: Duration = Duration::from_secs(1);

async fn timers_are_exact_and_follow_what_the_core_names<W: Wire>(net: Net<W>) {
    let start = Instant::now();
    let probe = Probe::new(move |core, seen, _| match seen {
        // An order names the seconds from the start; a timeout names nothing more.
        Seen::Order(0) | Seen::Timeout => core.next = None,
        Seen::Order(seconds) => core.next = Some(start + Duration::from_millis(seconds)),
        _ => {}
    });
    let probe = alone(&net, probe).await;
    probe.order(10_000).await;
    probe.order(2_500).await;
    pass(5 * SECOND).await;
    // Put off, and then called off.
    probe.order(6_000).await;
    probe.order(7_001).await;
    pass(5 * SECOND).await;
    probe.order(12_000).await;
    probe.order(0).await;
    pass(20 * SECOND).await;
    let log = probe.log.lock().unwrap().clone();
    let fired = log.iter().filter(|(_, seen)| *seen == Seen::Timeout);
    let fired: Vec<u128> = fired.map(|(at, _)| (*at - start).as_millis()).collect();
    assert_eq!(fired, [2_500, 7_001]);
}

async fn a_past_instant_named_again_and_again_holds_up_neither_tasks_nor_the_clock<W: Wire>(net: Net<W>) {
    let start = Instant::now();
    let mut probe = Probe::new(|_, _, _| {});
    probe.next = Some(start);
    let probe = alone(&net, probe).await;
    pass(SECOND / 10).await;
    assert!((99..=101).contains(&probe.seen().len()), "once a millisecond: {}", probe.seen().len());
}

async fn sources_take_turns_in_the_stated_order<W: Wire>(net: Net<W>) {
    let peer = alone(&net, Probe::new(|_, _, _| {})).await;
    let mut probe = Probe::new(|core, seen, out| match seen {
        Seen::Up(peer) => {
            // Fails at once.
            out.request(id(9), Ask { number: 1 }, SECOND, Event::Told);
            out.send(vec![id(8), peer], Quiz::Say { number: 1 });
        }
        Seen::Timeout => core.next = None,
        _ => {}
    });
    probe.next = Some(Instant::now());
    let probe = run(&net, 2, &[&peer], probe, async |channel, node, orders| {
        node.up(id(1)).await;
        for number in 0..20 {
            orders.try_send(Event::Order(number)).unwrap();
            assert_eq!(channel.try_send(Recipients::local(), Quiz::Say { number }).queued(), 1);
        }
    })
    .await;
    let seen = probe.has_seen(44).await;
    let [Seen::Up(up), Seen::Refused(_, refused, why), Seen::Told(Err(told)), Seen::Timeout] = seen[..4]
    else {
        panic!("{seen:?}")
    };
    assert_eq!((up, refused, why), (id(1), id(8), Refusal::NotConnected));
    assert_eq!(told, RequestError::Refused(Refusal::NotConnected));
    let turns = [0..8, 8..16, 16..20];
    let expected = turns
        .into_iter()
        .flat_map(|turn: std::ops::Range<u64>| turn.clone().map(Seen::Order).chain(turn.map(Seen::Said)));
    assert_eq!(seen[4..], expected.collect::<Vec<_>>());
}

async fn a_core_that_never_ceases_to_ask_and_to_send_still_hears_all_else<W: Wire>(net: Net<W>) {
    let mut stop = false;
    let probe = Probe::new(move |core, seen, out| {
        match seen {
            Seen::Order(1) => stop = true,
            Seen::Order(_) => core.next = Some(Instant::now()),
            _ => {}
        }
        // An order, an answer and a refusal each begin another round of questions and sends that fail at once.
        if !stop && matches!(seen, Seen::Order(_) | Seen::Told(_)) {
            out.request(id(9), Ask { number: 1 }, SECOND, Event::Told);
        }
        if !stop && matches!(seen, Seen::Order(_) | Seen::Refused(..)) {
            out.send(id(9), Quiz::Say { number: 1 });
        }
    });
    let probe = run(&net, 1, &[], probe, async |channel, _, orders| {
        orders.try_send(Event::Order(0)).unwrap();
        for number in 0..1000 {
            assert_eq!(channel.try_send(Recipients::local(), Quiz::Say { number }).queued(), 1);
        }
    })
    .await;
    let count = |of: &dyn Fn(&Seen) -> bool| probe.seen().iter().filter(|seen| of(seen)).count();
    // It gives way to this task again and again, and hears its messages meanwhile.
    let (mut rounds, said) = (0, |seen: &Seen| matches!(seen, Seen::Said(_)));
    while count(&said) < 1000 {
        assert!(!probe.task.is_finished(), "nobody else had a turn");
        yield_now().await;
        rounds += 1;
    }
    assert!(rounds > 10, "{rounds}");
    assert!(count(&|seen| *seen == Seen::Timeout) >= 1, "and its timer");
    for again in
        [count(&|seen| matches!(seen, Seen::Told(_))), count(&|seen| matches!(seen, Seen::Refused(..)))]
    {
        assert!(again >= 100, "neither stood still: {again}");
    }
    probe.order(1).await;
    while !probe.seen().contains(&Seen::Order(1)) {
        assert!(!probe.task.is_finished(), "its orders had no turn");
        yield_now().await;
    }
}

async fn refusals_are_told_for_each_recipient_before_anything_else<W: Wire>(net: Net<W>) {
    let ids = Arc::new(Mutex::new(Vec::new()));
    let sent = Arc::clone(&ids);
    let probe = Probe::new(move |_, seen, out| {
        if let Seen::Order(0) = seen {
            let mut sent = sent.lock().unwrap();
            sent.push(out.send(Recipients::all(), Quiz::Say { number: 1 }));
            sent.push(out.send(id(20), Quiz::Say { number: 1 }));
            sent.push(out.send((21..40).map(id).collect::<Vec<_>>(), Quiz::Say { number: 1 }));
            out.send(Recipients::local(), Quiz::Say { number: 7 });
        }
    });
    let probe = alone(&net, probe).await;
    probe.order(0).await;
    probe.order(1).await;
    let seen = probe.has_seen(23).await;
    let ids = ids.lock().unwrap();
    let refused = |sent, to| Seen::Refused(sent, id(to), Refusal::NotConnected);
    let mut expected = vec![Seen::Order(0), refused(ids[1], 20)];
    expected.extend((21..40).map(|to| refused(ids[2], to)));
    expected.extend([Seen::Order(1), Seen::Said(7)]);
    assert_eq!(seen, expected);
    assert!(ids.is_sorted() && ids[0] != ids[1], "each has a name of its own");
}

async fn answers_come_as_events_and_questions_keep_their_place_among_messages<W: Wire>(net: Net<W>) {
    let asked = alone(&net, Probe::new(|_, _, _| {})).await;
    let asking = Probe::new(|_, seen, out| {
        if let Seen::Up(peer) = seen {
            out.send(peer, Quiz::Say { number: 1 });
            out.request(peer, Ask { number: 2 }, SECOND, Event::Told);
            out.send(peer, Quiz::Say { number: 3 });
            out.request_any(Recipients::all(), Ask { number: 4 }, SECOND, move |told| {
                Event::Told(told.map(|(from, told)| {
                    assert_eq!(from, peer);
                    told
                }))
            });
        }
    });
    let asking = run(&net, 2, &[&asked], asking, async |_, _, _| {}).await;
    assert_eq!(asking.has_seen(3).await, [Seen::Up(id(1)), Seen::Told(Ok(3)), Seen::Told(Ok(5))]);
    assert_eq!(asked.seen()[1..], [Seen::Said(1), Seen::Asked(2), Seen::Said(3), Seen::Asked(4)]);
}

async fn what_a_core_takes_back_is_what_it_put_there_before<W: Wire>(net: Net<W>) {
    let mut asked_by = None;
    let mut probe = Probe::new(move |_, seen, out| match seen {
        Seen::Order(0) => {
            let named = SendOptions::new().cancel_by(out.cancel_id());
            let name = out.cancel_id();
            let say = |out: &mut Outbox<Probe>, number, options| {
                out.send_with(Recipients::local(), Quiz::Say { number }, options);
            };
            say(out, 1, SendOptions::new().cancel_by(name));
            say(out, 2, named);
            out.cancel(name);
            say(out, 3, SendOptions::new().cancel_by(name));
            let asked = *asked_by.insert(out.cancel_id());
            out.request_any_as(asked, Recipients::local(), Ask { number: 4 }, 3600 * SECOND, |told| {
                Event::Told(told.map(|(_, told)| told))
            });
        }
        Seen::Asked(4) => out.cancel(asked_by.unwrap()),
        _ => {}
    });
    probe.keeps = true;
    let probe = run(&net, 1, &[], probe, async |channel, _, orders| {
        // Under names of the node: those of the core are others.
        for number in 7..9 {
            let options = SendOptions::new().cancel_by(channel.sender().cancel_id());
            let say = Quiz::Say { number };
            assert_eq!(channel.sender().try_send_with(Recipients::local(), say, options).queued(), 1);
        }
        orders.try_send(Event::Order(0)).unwrap();
    })
    .await;
    let said = [7, 8, 2, 3].map(Seen::Said);
    let seen = probe.has_seen(7).await;
    assert_eq!(seen[..5], [&[Seen::Order(0)], &said[..]].concat());
    assert_eq!(seen[5..], [Seen::Asked(4), Seen::Told(Err(RequestError::Cancelled))]);
}

async fn a_question_without_an_answer_ends_in_its_time<W: Wire>(net: Net<W>) {
    let mut mute = Probe::new(|_, _, _| {});
    mute.keeps = true;
    let mute = alone(&net, mute).await;
    let asking = Probe::new(|_, seen, out| {
        if let Seen::Up(peer) = seen {
            out.request(peer, Ask { number: 2 }, 3 * SECOND, Event::Told);
        }
    });
    let asking = run(&net, 2, &[&mute], asking, async |_, _, _| {}).await;
    pass(10 * SECOND).await;
    let log = asking.log.lock().unwrap().clone();
    let [(asked, _), (ended, told)] = log[..] else { panic!("{log:?}") };
    assert_eq!((ended - asked, told), (3 * SECOND, Seen::Told(Err(RequestError::TimedOut))));
}

async fn the_end_of_the_node_ends_it_and_tells_of_questions_in_flight<W: Wire>(net: Net<W>) {
    let mut mute = Probe::new(|_, _, _| {});
    mute.keeps = true;
    let mute = alone(&net, mute).await;
    let asking = Probe::new(|_, seen, out| {
        if let Seen::Up(peer) = seen {
            for number in 0..20 {
                out.request(peer, Ask { number }, 3600 * SECOND, Event::Told);
            }
        }
    });
    let asking = run(&net, 2, &[&mute], asking, async |_, _, _| {}).await;
    asking.has_seen(1).await;
    let Running { node, orders, task, .. } = asking;
    drop(orders);
    pass(SECOND).await;
    assert!(!task.is_finished(), "it does without events");
    assert!(node.stop().await.clean);
    let core = task.await.unwrap();
    let mut seen: Vec<Seen> = core.log.lock().unwrap().iter().map(|(_, seen)| *seen).collect();
    let gone = |seen: &Seen| *seen == Seen::Told(Err(RequestError::PeerGone));
    assert_eq!(seen.iter().filter(|seen| gone(seen)).count(), 20, "{seen:?}");
    seen.retain(|seen| !gone(seen));
    assert_eq!(seen, [Seen::Up(id(1)), Seen::Down(id(1))]);
}

async fn what_is_known_when_the_channel_ends_is_told_before<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let (channel, updates) = (builder.channel::<Quiz>().unwrap(), builder.updates());
    assert!(net.start(builder, ()).stop().await.clean);
    let (orders, events) = mpsc::channel(1);
    orders.send(Event::Order(0)).await.unwrap();
    let probe = Probe::new(|_, seen, out| {
        if let Seen::Order(_) = seen {
            for number in 0..20 {
                out.request(id(9), Ask { number }, SECOND, Event::Told);
            }
        }
    });
    let core = drive(probe, channel, updates, events).await;
    let refused = Seen::Told(Err(RequestError::Refused(Refusal::ShuttingDown)));
    let log = core.log.lock().unwrap();
    assert_eq!(log.iter().filter(|(_, seen)| *seen == refused).count(), 20, "{log:?}");
}

async fn however_many_questions_end_with_the_node_all_are_told<W: Wire>(net: Net<W>) {
    const QUESTIONS: u64 = 300;
    let mut mute = Probe::new(|_, _, _| {});
    mute.keeps = true;
    let mute = alone(&net, mute).await;
    let mut builder = net.builder(2).await;
    builder.peer(mute.node.address());
    let (channel, updates) = (builder.channel::<Quiz>().unwrap(), builder.updates());
    let mut node = net.start(builder, ());
    node.up(id(1)).await;
    let probe = Probe::new(|_, seen, out| {
        if let Seen::Up(peer) = seen {
            for number in 0..QUESTIONS {
                out.request(peer, Ask { number }, 3600 * SECOND, Event::Told);
            }
        }
    });
    let (log, (_orders, events)) = (Arc::clone(&probe.log), mpsc::channel(1));
    let mut driving = std::pin::pin!(drive(probe, channel, updates, events));
    assert!(timeout(SECOND, &mut driving).await.is_err());
    assert_eq!(log.lock().unwrap().len(), 1, "all wait for their answers");
    assert!(node.stop().await.clean);
    driving.await;
    let gone = |seen: &Seen| *seen == Seen::Told(Err(RequestError::PeerGone));
    let told = log.lock().unwrap().iter().filter(|(_, seen)| gone(seen)).count() as u64;
    assert_eq!(told, QUESTIONS);
}

async fn a_core_that_panics_ends_alone<W: Wire>(net: Net<W>) {
    let mut builder = net.builder(1).await;
    let (channel, updates) = (builder.channel::<Quiz>().unwrap(), builder.updates());
    let sender = channel.sender().clone();
    let (_, events) = mpsc::channel(1);
    let probe = Probe::new(|_, _, _| panic!("for the test"));
    builder.reactor("clumsy", drive(probe, channel, updates, events));
    let node = net.start(builder, ());
    assert_eq!(sender.try_send(Recipients::local(), Quiz::Say { number: 1 }).queued(), 1);
    let panicked = |kind: &EventKind| {
        matches!(kind, EventKind::ReactorPanicked { reactor } if reactor == "clumsy").then_some(())
    };
    node.log.wait(|events| events.iter().find_map(|event| panicked(&event.kind))).await;
    let refused = sender.try_send(Recipients::local(), Quiz::Say { number: 2 }).ok();
    assert_eq!(refused, Err(Refusal::NoReceiver), "and says so");
    assert_eq!(node.stop().await.panicked, ["clumsy"]);
}
