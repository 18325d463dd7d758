//! Runs a core on its channel.

use std::collections::VecDeque;
use std::future::ready;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::task::coop::{consume_budget, unconstrained};
use tokio::time::Sleep;

use super::contract::Reactor;
use super::outbox::{Effect, Outbox, Reported, SendId, Sending};
use crate::address::BoxFuture;
use crate::channel::{Channel, Clock, PeerUpdates, Refusal, Sender};
use crate::id::NodeId;

/// How many inputs of one source are taken in a row while another one waits.
const IN_A_ROW: u8 = 8;

/// The shortest time between two timeouts: the resolution of tokio's clock.
const TICK: Duration = Duration::from_millis(1);

/// Runs a core on its channel until the node ends, and returns the core.
///
/// Inputs are taken in this order: refusals of the core's own messages, updates of peers, what became of its
/// questions, the timer, `events`, messages. None starves another: of each source at most eight inputs are taken in
/// a row, and of the timer one, while any other has something; of refusals all that came of one input. So an answer
/// that came in time is seen before the timeout that gives it up, and a peer that never ceases keeps neither orders nor
/// timeouts from the core. The task gives way to others whatever the core does.
///
/// The timer follows [`Reactor::next_timeout`] on tokio's clock, which a test may pause, and whose time runs faster or slower
/// for a node of a simulation whose clock drifts. Questions in flight are
/// bounded by the limits of each connection, and of the channel for questions to this node itself. Where nothing comes
/// on `events`, their sender can be dropped: that ends nothing.
///
/// It ends when the channel does: once the node has shut down, every message that came was read, and the core was told
/// of every question that ended with its connection. What still waits on `events` then is dropped. A panic of the core
/// goes through, and the router ends this reactor alone.
///
/// # Cancel safety
///
/// Not cancel-safe: dropping the future drops the core, and gives up its questions in flight. Between two inputs
/// nothing of the core's wishes is left undone, and no message that was not given to the core is lost but with the
/// channel.
pub async fn drive<R: Reactor>(
    reactor: R,
    channel: Channel<R::Message>,
    mut updates: PeerUpdates,
    mut events: mpsc::Receiver<R::Event>,
) -> R {
    let (sender, mut messages) = channel.split();
    let mut driver = Driver::new(reactor, sender);
    let mut timer = pin!(driver.clock.sleep_until(driver.clock.now()));
    let (mut turn, mut more_updates, mut more_events) = (Turn::default(), true, true);
    loop {
        // Whatever the core does, it gives way to other tasks.
        consume_budget().await;
        let timed = driver.set(timer.as_mut());
        // The order and the budget are those that the documentation of this function states.
        tokio::select! {
            biased;
            () = ready(()), if driver.knows_refusals() => {
                turn.begun = true;
                driver.on_refusal();
            }
            update = updates.next(), if turn.has(Source::Updates) && more_updates => match update {
                Some(update) => {
                    turn.take(Source::Updates);
                    driver.input(|core, now, out| core.on_peer(now, &update, out));
                }
                None => more_updates = false,
            },
            Some(event) = driver.answers.next(), if turn.has(Source::Answers) && driver.asks() => {
                turn.take(Source::Answers);
                driver.on_event(event);
            }
            () = timer.as_mut(), if turn.has(Source::Timer) && timed => {
                turn.take(Source::Timer);
                driver.on_timeout();
            }
            event = events.recv(), if turn.has(Source::Events) && more_events => match event {
                Some(event) => {
                    turn.take(Source::Events);
                    driver.on_event(event);
                }
                None => more_events = false,
            },
            envelope = messages.recv(), if turn.has(Source::Messages) => match envelope {
                Some(envelope) => {
                    turn.take(Source::Messages);
                    driver.input(|core, now, out| core.on_message(now, envelope, out));
                }
                None => return driver.finish(),
            },
            () = ready(()), if turn.begun => {
                turn = Turn::default();
                driver.refused.append(&mut driver.refused_again);
            }
        }
    }
}

/// Where inputs come from, but for refusals.
#[derive(Clone, Copy)]
enum Source {
    Updates,
    Answers,
    Timer,
    Events,
    Messages,
}

/// How many inputs of each source were taken while another one may have waited. Over when each source has nothing or
/// has had its share.
#[derive(Default)]
struct Turn {
    begun: bool,
    taken: [u8; 5],
}

impl Turn {
    fn has(&self, source: Source) -> bool {
        let share = if matches!(source, Source::Timer) { 1 } else { IN_A_ROW };
        self.taken[source as usize] < share
    }

    fn take(&mut self, source: Source) {
        self.begun = true;
        self.taken[source as usize] += 1;
    }
}

/// A core and what it has under way.
struct Driver<R: Reactor> {
    core: R,
    outbox: Outbox<R>,
    /// The node's.
    clock: Clock,
    sender: Sender<R::Message>,
    answers: FuturesUnordered<BoxFuture<'static, R::Event>>,
    /// Told before anything else, so no more than what came of one input.
    refused: VecDeque<(SendId, NodeId, Refusal)>,
    /// What came of being told of refusals: told when the other sources have had their turn.
    refused_again: VecDeque<(SendId, NodeId, Refusal)>,
    /// No timeout comes before.
    earliest: Option<Instant>,
}

impl<R: Reactor> Driver<R> {
    fn new(core: R, sender: Sender<R::Message>) -> Self {
        let (outbox, answers) = (Outbox::minting(sender.cancellations()), FuturesUnordered::new());
        let (refused, refused_again) = (VecDeque::new(), VecDeque::new());
        let clock = sender.clock();
        Self { core, outbox, clock, sender, answers, refused, refused_again, earliest: None }
    }

    fn knows_refusals(&self) -> bool {
        !self.refused.is_empty()
    }

    fn asks(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Sets the timer to the instant that the core names, if it names one.
    fn set(&self, timer: Pin<&mut Sleep>) -> bool {
        let Some(at) = self.core.next_timeout() else { return false };
        let due = self.clock.due(self.earliest.map_or(at, |earliest| at.max(earliest)));
        if due != timer.deadline() {
            timer.reset(due);
        }
        true
    }

    /// Gives the core an input, and carries out what it wants.
    fn input(&mut self, give: impl FnOnce(&mut R, Instant, &mut Outbox<R>)) {
        give(&mut self.core, self.clock.now(), &mut self.outbox);
        while let Some(effect) = self.outbox.next() {
            self.carry_out(effect);
        }
    }

    fn on_event(&mut self, event: R::Event) {
        self.input(|core, now, out| core.on_event(now, event, out));
    }

    fn on_timeout(&mut self) {
        // A core that names a past instant again and again must hold up neither the node nor a paused clock.
        self.earliest = self.clock.now().checked_add(TICK);
        self.input(R::on_timeout);
    }

    fn on_refusal(&mut self) {
        let Some((sent, to, why)) = self.refused.pop_front() else { return };
        let rest = std::mem::take(&mut self.refused);
        self.input(|core, now, out| core.on_refused(now, sent, to, why, out));
        let mut again = std::mem::replace(&mut self.refused, rest);
        self.refused_again.append(&mut again);
    }

    fn carry_out(&mut self, effect: Effect<R>) {
        match effect {
            Effect::Send(Sending { id, to, message, options }) => {
                let outcome = self.sender.try_send_with(to, message, options);
                self.refused.extend(outcome.refused().into_iter().map(|(to, why)| (id, to, why)));
            }
            Effect::Ask(ask) => {
                let mut asking = ask.ask(self.sender.clone());
                // The question is queued by the first poll: here, so that it keeps its place among the messages.
                let asking = match (&mut asking).now_or_never() {
                    Some(event) => Box::pin(ready(event)),
                    None => asking,
                };
                self.answers.push(asking);
            }
            // How many that were is of no use to a core: what ended because of it, it is told.
            Effect::Cancel(id) => {
                self.sender.cancel(id);
            }
            Effect::Report(report) => {
                // Without room it is dropped, as the outbox says.
                let Reported { peer, conn, what, count, detail } = report;
                let _ = self.sender.tell(peer, conn, what, count, detail);
            }
        }
    }

    /// Tells the core what is known of its questions and messages, and gives it back. What it makes of that is in vain.
    fn finish(mut self) -> R {
        self.refused.append(&mut self.refused_again);
        while self.knows_refusals() {
            self.on_refusal();
        }
        for _ in 0..self.answers.len() {
            // Beyond its budget a task is told that nothing is ready, and so would take the rest for unanswered.
            let Some(Some(event)) = unconstrained(self.answers.next()).now_or_never() else { break };
            self.on_event(event);
        }
        self.core
    }
}
