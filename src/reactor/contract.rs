//! What a reactor's core is.

use std::time::Instant;

use super::outbox::{Outbox, SendId};
use crate::channel::{Envelope, Refusal};
use crate::id::NodeId;
use crate::message::Message;
use crate::peer::PeerUpdate;

/// The core of a reactor: synchronous, told the time, and without any I/O of its own.
///
/// [`drive`](super::drive()) calls one method at a time, and carries out what the method put into `out` when it returns,
/// in that order, before the next call. `now` never goes backwards. A core must not block: while it works, nothing
/// else of its reactor does.
///
/// The methods without a default are those where silence would hide something: what was said to this node, what
/// became of its own questions, and what of its own words went nowhere.
pub trait Reactor: Sized + Send + 'static {
    /// The protocol of its channel.
    type Message: Message;

    /// What comes beside messages and peers: orders from the application, and what became of its own questions.
    ///
    /// [`Infallible`](std::convert::Infallible) for a core that knows neither.
    type Event: Send + 'static;

    /// A peer came up or went down: any peer of the node, whether or not it
    /// [has the channel](PeerUpdate::version_of). By default nothing happens.
    ///
    /// Between an update and the messages of its peer no order is promised: what a peer sent before it went may come
    /// after its [`Down`](PeerUpdate::Down).
    fn on_peer(&mut self, now: Instant, update: &PeerUpdate, out: &mut Outbox<Self>) {
        let _ = (now, update, out);
    }

    /// A message came, or a question with its [`Responder`](crate::message::Responder).
    ///
    /// A responder is used at once (by [`try_answer`](crate::message::Responder::try_answer), which says what became
    /// of the answer and does not wait for `out`), or kept until the core knows more, or dropped, which refuses
    /// the question.
    fn on_message(&mut self, now: Instant, envelope: Envelope<Self::Message>, out: &mut Outbox<Self>);

    /// The application gave an order, or a question of this core was answered, refused, or out of time.
    fn on_event(&mut self, now: Instant, event: Self::Event, out: &mut Outbox<Self>);

    /// The instant that [`Reactor::next_timeout`] named is reached. By default nothing happens.
    ///
    /// Everything that is due by `now` should be done here: it is called at most once a millisecond, the resolution of
    /// tokio's clock, even if the instant named next is past as well.
    fn on_timeout(&mut self, now: Instant, out: &mut Outbox<Self>) {
        let _ = (now, out);
    }

    /// When to call [`Reactor::on_timeout`] next; `None`, the default, for never.
    ///
    /// Asked after each input, so it should be cheap. Naming another instant moves the timer.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// A message of its own was not queued for the recipient `to`, and is lost for it. Told before any other input,
    /// once for each recipient that was refused.
    ///
    /// A core may send again from here: if that is refused as well, it hears of it when all else has had its turn. To
    /// do so without end is no use; a peer that comes up, or a timeout, is a better occasion.
    ///
    /// What was queued can still be lost on its way; that is counted by
    /// [`DropReason`](crate::channel::DropReason), and told nobody.
    fn on_refused(&mut self, now: Instant, sent: SendId, to: NodeId, why: Refusal, out: &mut Outbox<Self>);
}
