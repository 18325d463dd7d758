//! Questions and answers: a reader's node gets a book from whichever peer is an archive. Three nodes on loopback TCP.
//!
//! Run it with `cargo run --example library`. The reactor itself is in `librarian.rs`; `docs/tutorial.md` writes it
//! step by step.

#[allow(unreachable_pub, reason = "it is written as a module of a library would be")]
mod librarian;

use std::error::Error;

use peerage::reactor::drive;
use peerage::transport::rlpx::RlpxTransport;
use peerage::{NodeAddress, NodeKey, Router};
use tokio::sync::mpsc;

use librarian::{Event, Librarian, Library};

/// A node with a library on it, and the sender of its orders.
async fn node(
    seed: u64,
    services: &[&str],
    librarian: Librarian,
    peers: &[NodeAddress],
) -> Result<(Router, mpsc::Sender<Event>), Box<dyn Error>> {
    // Keys from numbers are for examples only: anybody can derive them.
    let key = NodeKey::insecure_from_seed(seed);
    let mut builder = Router::builder(key.id());
    builder.transport(RlpxTransport::bind(key, "127.0.0.1:0".parse()?).await?);
    builder.configure(|config| config.services.extend(services.iter().map(|name| (*name).to_owned())));
    for peer in peers {
        builder.peer(peer.clone());
    }
    let (channel, updates) = (builder.channel::<Library>()?, builder.updates());
    let (orders, events) = mpsc::channel(8);
    builder.reactor("library", drive(librarian, channel, updates, events));
    Ok((builder.build()?, orders))
}

/// Prints what a librarian tells.
fn printing(name: &'static str) -> impl FnMut(String) + Send + 'static {
    move |line| println!("{name:>8} | {line}")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop = Librarian::new(printing("bookshop"));
    let (shop, _) = node(1, &["bookshop"], shop, &[]).await?;
    let archive =
        Librarian::new(printing("archive")).with("Emma", "Emma Woodhouse, handsome, clever, and rich");
    let (archive, _) = node(2, &["archive"], archive, &[]).await?;

    // Ends the program when the book is there.
    let (done, mut is_done) = mpsc::channel(1);
    let mut print = printing("reader");
    let reader = Librarian::new(move |line| {
        if line.starts_with("got ") {
            let _ = done.try_send(());
        }
        print(line);
    });
    let peers = [shop.handle().addresses().remove(0), archive.handle().addresses().remove(0)];
    let (reader, orders) = node(3, &[], reader, &peers).await?;
    // Nobody is connected yet: the first try finds no archive, and the librarian asks again.
    orders.send(Event::Want { title: "Emma".into() }).await?;

    let handles = [shop.handle(), archive.handle(), reader.handle()];
    let conversation = async {
        is_done.recv().await;
        for handle in &handles {
            handle.shutdown();
        }
    };
    let (shop, archive, reader, ()) = tokio::join!(shop.run(), archive.run(), reader.run(), conversation);
    println!("clean: {}", shop.clean && archive.clean && reader.clean);
    Ok(())
}
