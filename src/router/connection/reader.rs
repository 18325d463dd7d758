//! Reads packets and delivers them, until the connection ends.

use futures::FutureExt;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use super::{BoundChannel, Shared};
use crate::channel::{Delivery, DropReason, Link};
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::message::{Frame, Packet};
use crate::rlpx::{Keepalive, KeepaliveAction, PingAnswer};
use crate::transport::PacketReader;

/// How many packets are taken at most before ends and timers are looked at again.
const BURST: usize = 64;

/// Reads until the link ends; a link that drains is read until its last byte is written.
///
/// Cancel-safe at every await but for a packet in delivery.
pub(super) async fn run<R: PacketReader>(
    reader: &mut R,
    shared: &Shared,
    link: &Link,
    inbounds: &[BoundChannel],
) {
    let mut keepalive = Keepalive::new(shared.config.keepalive, Instant::now().into_std());
    let mut timer = std::pin::pin!(sleep_until(keepalive.next_timeout().into()));
    let mut dropped = std::pin::pin!(link.dropped());
    let mut written = std::pin::pin!(link.all_written());
    loop {
        // Ends first, then timers, then data; reading gives way to other tasks by the runtime's budget.
        tokio::select! {
            biased;
            () = &mut dropped => return,
            () = &mut written => return,
            () = &mut timer => {
                match keepalive.on_timeout(Instant::now().into_std()) {
                    KeepaliveAction::SendPing => { link.push_control(Packet::Ping); }
                    KeepaliveAction::Idle => { link.close(idle()); return; }
                    KeepaliveAction::Nothing => {}
                }
                timer.as_mut().reset(keepalive.next_timeout().into());
            }
            packet = reader.read() => {
                if let Err(closed) = on_packets(packet, reader, &mut keepalive, link, inbounds).await {
                    link.close(closed);
                    return;
                }
                consume_budget().await;
            }
        }
    }
}

/// Takes a packet and those that have come with it, up to [`BURST`].
async fn on_packets<R: PacketReader>(
    first: Result<Packet, Closed>,
    reader: &mut R,
    keepalive: &mut Keepalive,
    link: &Link,
    inbounds: &[BoundChannel],
) -> Result<(), Closed> {
    on_packet(first?, keepalive, link, inbounds).await?;
    for _ in 1..BURST {
        if link.is_closing() {
            break;
        }
        // Reading is cancel-safe: what has not come yet is waited for by the caller.
        match reader.read().now_or_never() {
            Some(packet) => on_packet(packet?, keepalive, link, inbounds).await?,
            None => break,
        }
    }
    Ok(())
}

async fn on_packet(
    packet: Packet,
    keepalive: &mut Keepalive,
    link: &Link,
    inbounds: &[BoundChannel],
) -> Result<(), Closed> {
    let now = Instant::now().into_std();
    keepalive.on_received(now);
    match packet {
        Packet::Frame(frame) => deliver(now, frame, link, inbounds).await,
        Packet::Ping => {
            if keepalive.on_ping(now) == PingAnswer::Pong {
                // A full control lane means that the peer does not read its answers: it needs no more of them.
                link.push_control(Packet::Pong);
            }
            Ok(())
        }
        Packet::Pong => {
            // The round trip is ping's to measure; here a pong is a sign of life.
            let _ = keepalive.on_pong(now);
            Ok(())
        }
    }
}

/// Delivers a frame; waits for room where the channel says so.
async fn deliver(
    now: std::time::Instant,
    frame: Frame,
    link: &Link,
    inbounds: &[BoundChannel],
) -> Result<(), Closed> {
    let Some(bound) = inbounds.iter().find(|bound| bound.id == frame.channel) else {
        return Err(channel_fault("channel_not_shared", frame.channel.to_string()));
    };
    if let Some(done) = try_deliver(now, &frame, link, bound) {
        return done;
    }
    loop {
        // Listening for room before trying, lest it comes in between.
        let mut room = std::pin::pin!(bound.inbound.room());
        room.as_mut().enable();
        if let Some(done) = try_deliver(Instant::now().into_std(), &frame, link, bound) {
            return done;
        }
        tokio::select! {
            biased;
            () = link.closing() => {
                bound.inbound.counters().add_dropped(DropReason::InboundFull, 1);
                return Ok(());
            }
            () = room => {}
        }
    }
}

/// Delivers a frame, unless its channel waits for room.
fn try_deliver(
    now: std::time::Instant,
    frame: &Frame,
    link: &Link,
    BoundChannel { version, inbound, .. }: &BoundChannel,
) -> Option<Result<(), Closed>> {
    match inbound.deliver(now, link.peer(), link.conn, *version, frame.code, &frame.payload) {
        Delivery::Done => Some(Ok(())),
        Delivery::Full => None,
        Delivery::Malformed(error) => {
            let detail = format!("channel `{}`, code {}: {error}", frame.channel, frame.code);
            Some(Err(channel_fault("malformed_message", detail)))
        }
        Delivery::Disconnect => Some(Err(channel_fault("inbound_overflow", frame.channel.to_string()))),
    }
}

fn channel_fault(label: &'static str, detail: String) -> Closed {
    Closed::local(Layer::Channel, Blame::Protocol, DisconnectReason::Subprotocol, label).with_detail(detail)
}

fn idle() -> Closed {
    Closed::local(Layer::Hello, Blame::System, DisconnectReason::PingTimeout, "ping_timeout")
}
