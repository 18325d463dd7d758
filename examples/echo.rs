//! The smallest reactor there is: it answers each greeting with the same text. Two nodes on loopback TCP.
//!
//! Run it with `cargo run --example echo`.

use std::convert::Infallible;
use std::error::Error;
use std::time::Instant;

use peerage::channel::{Envelope, Refusal};
use peerage::peer::PeerUpdate;
use peerage::reactor::{Outbox, Reactor, SendId, drive};
use peerage::transport::rlpx::RlpxTransport;
use peerage::{NodeId, NodeKey, Router};
use tokio::sync::{mpsc, oneshot};

peerage::protocol! {
    /// What echo nodes say.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Echo: "echo" / 1, max 4096 {
        0 = Say { text: String },
        1 = Back { text: String },
    }
}

/// Greets each peer that comes up, and answers greetings.
struct Echoer {
    /// Takes the first answer.
    first: Option<oneshot::Sender<String>>,
}

impl Reactor for Echoer {
    type Message = Echo;
    type Event = Infallible;

    fn on_peer(&mut self, _now: Instant, update: &PeerUpdate, out: &mut Outbox<Self>) {
        if let PeerUpdate::Up { peer, .. } = update {
            println!("{} is up", peer.short());
            out.send(*peer, Echo::Say { text: "hello".into() });
        }
    }

    fn on_message(&mut self, _now: Instant, envelope: Envelope<Echo>, out: &mut Outbox<Self>) {
        match envelope.message {
            Echo::Say { text } => drop(out.send(envelope.from, Echo::Back { text })),
            Echo::Back { text } => {
                if let Some(first) = self.first.take() {
                    // Nobody may be waiting any more.
                    let _ = first.send(format!("{} answered: {text}", envelope.from.short()));
                }
            }
        }
    }

    fn on_event(&mut self, _now: Instant, event: Infallible, _out: &mut Outbox<Self>) {
        match event {}
    }

    fn on_refused(&mut self, _: Instant, _: SendId, to: NodeId, why: Refusal, _: &mut Outbox<Self>) {
        println!("{} did not get a word: {why}", to.short());
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Keys from numbers are for examples only: anybody can derive them.
    let (alice, bob) = (NodeKey::insecure_from_seed(1), NodeKey::insecure_from_seed(2));
    let (first, answer) = oneshot::channel();
    // Nobody gives these reactors orders.
    let [(_, for_alice), (_, for_bob)] = [mpsc::channel(1), mpsc::channel(1)];

    let mut builder = Router::builder(alice.id());
    builder.transport(RlpxTransport::bind(alice, "127.0.0.1:0".parse()?).await?);
    let (channel, updates) = (builder.channel()?, builder.updates());
    builder.reactor("echo", drive(Echoer { first: None }, channel, updates, for_alice));
    let listening = builder.build()?;
    let address = listening.handle().addresses().remove(0);

    let mut builder = Router::builder(bob.id());
    builder.transport(RlpxTransport::dial_only(bob)).peer(address);
    let (channel, updates) = (builder.channel()?, builder.updates());
    builder.reactor("echo", drive(Echoer { first: Some(first) }, channel, updates, for_bob));
    let dialing = builder.build()?;

    let handles = [listening.handle(), dialing.handle()];
    let conversation = async {
        let answer = answer.await;
        for handle in &handles {
            handle.shutdown();
        }
        answer
    };
    let (answer, listening, dialing) = tokio::join!(conversation, listening.run(), dialing.run());
    println!("{}", answer?);
    println!("clean: {}", listening.clean && dialing.clean);
    Ok(())
}
