//! The smallest reactor there is: it answers each message with the same text. Two nodes on loopback TCP.
//!
//! Run it with `cargo run --example echo`.

use std::error::Error;

use peerage::channel::{Channel, PeerUpdates};
use peerage::peer::PeerUpdate;
use peerage::transport::rlpx::RlpxTransport;
use peerage::{NodeKey, Router};

peerage::protocol! {
    /// What echo nodes say.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Echo: "echo" / 1, max 4096 {
        0 = Say { text: String },
        1 = Back { text: String },
    }
}

/// Answers each greeting with its own text.
async fn echo(mut channel: Channel<Echo>) {
    while let Some(envelope) = channel.recv().await {
        match envelope.message {
            Echo::Say { text } => channel.try_send(envelope.from, Echo::Back { text }).ignore(),
            Echo::Back { text } => println!("{} answered: {text}", envelope.from.short()),
        }
    }
}

/// Greets each peer that comes up, and returns the first answer.
async fn greet(mut channel: Channel<Echo>, mut updates: PeerUpdates) -> Option<String> {
    loop {
        if let PeerUpdate::Up { peer, .. } = updates.next().await? {
            channel.try_send(peer, Echo::Say { text: "hello".into() }).ignore();
            if let Echo::Back { text } = channel.recv().await?.message {
                return Some(text);
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Keys from numbers are for examples only: anybody can derive them.
    let (alice, bob) = (NodeKey::insecure_from_seed(1), NodeKey::insecure_from_seed(2));

    let mut builder = Router::builder(alice.id());
    builder.transport(RlpxTransport::bind(alice, "127.0.0.1:0".parse()?).await?);
    let channel = builder.channel::<Echo>()?;
    builder.reactor("echo", echo(channel));
    let answering = builder.build()?;
    let address = answering.handle().addresses().remove(0);

    let mut builder = Router::builder(bob.id());
    builder.transport(RlpxTransport::dial_only(bob)).peer(address);
    let (channel, updates) = (builder.channel::<Echo>()?, builder.updates());
    let asking = builder.build()?;

    let (answering_handle, asking_handle) = (answering.handle(), asking.handle());
    let conversation = async {
        let answer = greet(channel, updates).await;
        asking_handle.shutdown();
        answering_handle.shutdown();
        answer
    };
    let (answer, _, _) = tokio::join!(conversation, answering.run(), asking.run());
    println!("the answer was {answer:?}");
    Ok(())
}
