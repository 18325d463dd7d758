//! Reads packets and delivers them, until the connection ends.

use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use super::{BoundChannel, Shared};
use crate::channel::{Delivery, Link};
use crate::event::{Blame, Closed, DisconnectReason, Layer};
use crate::message::{Frame, Packet};
use crate::rlpx::{Keepalive, KeepaliveAction, PingAnswer};
use crate::transport::PacketReader;

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
                let outcome = match packet {
                    Ok(packet) => on_packet(packet, &mut keepalive, link, inbounds).await,
                    Err(closed) => Err(closed),
                };
                if let Err(closed) = outcome {
                    link.close(closed);
                    return;
                }
                consume_budget().await;
            }
        }
    }
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
        Packet::Frame(frame) => deliver(frame, link, inbounds).await,
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

async fn deliver(frame: Frame, link: &Link, inbounds: &[BoundChannel]) -> Result<(), Closed> {
    let found = inbounds.iter().find(|bound| bound.inbound.spec().id == frame.channel);
    let Some(BoundChannel { version, inbound }) = found else {
        return Err(channel_fault("channel_not_shared", frame.channel.to_string()));
    };
    loop {
        let mut room = std::pin::pin!(inbound.room());
        room.as_mut().enable();
        let now = Instant::now().into_std();
        match inbound.deliver(now, link.peer(), link.conn, *version, frame.code, &frame.payload) {
            Delivery::Done => return Ok(()),
            Delivery::Malformed(error) => {
                let detail = format!("channel `{}`, code {}: {error}", frame.channel, frame.code);
                return Err(channel_fault("malformed_message", detail));
            }
            Delivery::Disconnect => {
                return Err(channel_fault("inbound_overflow", frame.channel.to_string()));
            }
            Delivery::Full => tokio::select! {
                biased;
                () = link.closing() => return Ok(()),
                () = room => {}
            },
        }
    }
}

fn channel_fault(label: &'static str, detail: String) -> Closed {
    Closed::local(Layer::Channel, Blame::Protocol, DisconnectReason::Subprotocol, label).with_detail(detail)
}

fn idle() -> Closed {
    Closed::local(Layer::Hello, Blame::System, DisconnectReason::PingTimeout, "ping_timeout")
}
