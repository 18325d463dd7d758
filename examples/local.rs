//! Two reactors in one node, and no network: a sensor asks a thermostat by value, nothing encoded.
//!
//! Run it with `cargo run --example local`.

use std::error::Error;
use std::time::{Duration, Instant};

use peerage::channel::{Channel, Destination, Envelope, Recipients, Refusal, Sender};
use peerage::message::Received;
use peerage::reactor::{Outbox, Reactor, SendId, drive};
use peerage::{NodeId, NodeKey, Router};
use tokio::sync::mpsc;

peerage::protocol! {
    /// What is said to a thermostat, from this node or from any other.
    #[derive(Debug)]
    pub enum Heating: "heating" / 1, max 64 {
        /// How warm it is.
        0 = Measured { millidegrees: u32 },
        /// Asks whether the heating is on.
        1 = IsOn -> State,
        /// Says it.
        2 = answer State { on: bool },
    }
}

/// Heats below 20 degrees.
struct Thermostat {
    on: bool,
}

impl Reactor for Thermostat {
    type Message = Heating;
    /// Nobody gives it orders, and it asks nothing.
    type Event = std::convert::Infallible;

    fn on_message(&mut self, _now: Instant, envelope: Envelope<Heating>, _out: &mut Outbox<Self>) {
        let whence = if envelope.is_local() { "a reactor of this node" } else { "a peer" };
        match envelope.message {
            Heating::<Received>::Measured { millidegrees } => {
                self.on = millidegrees < 20_000;
                println!("thermostat | {whence} measured {millidegrees} millidegrees");
            }
            Heating::IsOn(request) => {
                println!("thermostat | {whence} asks");
                // Whoever asked may have stopped waiting.
                let _ = request.responder.try_answer(State { on: self.on });
            }
        }
    }

    fn on_event(&mut self, _: Instant, event: Self::Event, _: &mut Outbox<Self>) {
        match event {}
    }

    fn on_refused(&mut self, _: Instant, _: SendId, _: NodeId, _: Refusal, _: &mut Outbox<Self>) {
        // It sends nothing.
    }
}

/// The other reactor: an async function is one too. It has a sender of the thermostat's channel.
async fn sensor(heating: Sender<Heating>) -> Result<(), Box<dyn Error>> {
    for millidegrees in [21_500, 18_200] {
        heating.try_send(Recipients::local(), Heating::Measured { millidegrees }).ok()?;
        let state = heating.request(Destination::Local, IsOn, Duration::from_secs(1)).await?;
        println!("sensor     | the heating is {}", if state.on { "on" } else { "off" });
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut builder = Router::builder(NodeKey::insecure_from_seed(1).id());
    builder.local_only();
    let channel: Channel<Heating> = builder.channel()?;
    let sender = channel.sender().clone();
    let (_, events) = mpsc::channel(1);
    let thermostat = drive(Thermostat { on: false }, channel, builder.updates(), events);
    builder.reactor("thermostat", thermostat);
    let node = builder.build()?;

    let handle = node.handle();
    let conversation = async {
        let ended = sensor(sender).await;
        handle.shutdown();
        ended
    };
    let (ended, report) = tokio::join!(conversation, node.run());
    println!("clean: {}", report.clean);
    ended
}
