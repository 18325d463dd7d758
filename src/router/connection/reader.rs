//! Reads packets and delivers them, until the connection ends.

use std::pin::Pin;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::futures::Notified;
use tokio::task::yield_now;

use super::conduct::Conduct;
use super::{BoundChannel, Shared};
use crate::channel::{Delivery, DropReason, Inbound, Link};
use crate::event::{Blame, Closed, DisconnectReason, Layer, Misbehaviour};
use crate::message::{Frame, Packet};
use crate::rlpx::{Keepalive, KeepaliveAction, PingAnswer};
use crate::transport::PacketReader;

/// How many packets are taken at most before ends and timers are looked at again.
const BURST: usize = 64;

/// A frame for which its channel has no room. Nothing more is read until it has.
struct Held<'a> {
    frame: Frame,
    inbound: &'a Arc<dyn Inbound>,
    room: Pin<Box<Notified<'a>>>,
}

/// Reads until the link ends; a link that drains is read until its last byte is written.
///
/// Dropping it loses what is held.
pub(super) async fn run<R: PacketReader>(
    reader: &mut R,
    shared: &Shared,
    link: &Arc<Link>,
    inbounds: &[BoundChannel],
    conduct: &mut Conduct,
) {
    let clock = shared.clock;
    let mut keepalive = Keepalive::new(shared.config.keepalive, clock.now());
    let mut timer = std::pin::pin!(clock.sleep_until(keepalive.next_timeout()));
    let mut finished = std::pin::pin!(link.finished());
    let mut held: Option<Held<'_>> = None;
    loop {
        // Ends first, then timers, then data; reading gives way after each burst.
        let outcome = tokio::select! {
            biased;
            () = &mut finished => break,
            () = &mut timer => {
                let outcome = on_timer(&mut keepalive, link, held.is_some());
                timer.as_mut().reset(clock.due(keepalive.next_timeout()));
                outcome.map(|()| held.take())
            }
            () = room(&mut held) => match held.take() {
                Some(Held { frame, .. }) => {
                    let now = clock.now();
                    keepalive.on_received(now);
                    deliver(now, frame, link, inbounds, conduct)
                }
                None => Ok(None),
            },
            packet = reader.read(), if held.is_none() => {
                on_packets(packet, reader, &mut keepalive, link, inbounds, conduct).await
            }
        };
        conduct.flush();
        match outcome {
            Ok(now_held) => held = now_held,
            Err(closed) => {
                link.close(closed);
                break;
            }
        }
    }
    if let Some(Held { inbound, .. }) = held {
        inbound.counters().add_dropped(DropReason::InboundFull, 1);
    }
}

/// Takes a packet and those that have come with it, up to [`BURST`] or until one has to be held. Polling every end
/// and timer between two small packets would cost more than the packets do.
async fn on_packets<'a, R: PacketReader>(
    first: Result<Packet, Closed>,
    reader: &mut R,
    keepalive: &mut Keepalive,
    link: &Arc<Link>,
    inbounds: &'a [BoundChannel],
    conduct: &mut Conduct,
) -> Result<Option<Held<'a>>, Closed> {
    let mut held = on_read(first, keepalive, link, inbounds, conduct)?;
    for _ in 1..BURST {
        if held.is_some() || link.is_closing() {
            return Ok(held);
        }
        // Reading is cancel-safe: what has not come yet is waited for by the caller.
        match reader.read().now_or_never() {
            Some(packet) => held = on_read(packet, keepalive, link, inbounds, conduct)?,
            None => return Ok(None),
        }
    }
    // More has come than one turn takes: the writer and the receivers come first.
    yield_now().await;
    Ok(held)
}

/// Waits for room for what is held; for ever if nothing is.
async fn room(held: &mut Option<Held<'_>>) {
    match held {
        Some(held) => held.room.as_mut().await,
        None => std::future::pending().await,
    }
}

fn on_timer(keepalive: &mut Keepalive, link: &Arc<Link>, deaf: bool) -> Result<(), Closed> {
    let now = link.clock.now();
    if deaf {
        // It is we who do not read: the peer's silence is our own. Our pings tell it that we live.
        keepalive.on_received(now);
    }
    match keepalive.on_timeout(now) {
        KeepaliveAction::SendPing => {
            link.push_control(Packet::Ping);
            Ok(())
        }
        KeepaliveAction::Idle => Err(idle()),
        KeepaliveAction::Nothing => Ok(()),
    }
}

fn on_read<'a>(
    read: Result<Packet, Closed>,
    keepalive: &mut Keepalive,
    link: &Arc<Link>,
    inbounds: &'a [BoundChannel],
    conduct: &mut Conduct,
) -> Result<Option<Held<'a>>, Closed> {
    let now = link.clock.now();
    let packet = read.inspect_err(|closed| conduct.note_end(closed))?;
    keepalive.on_received(now);
    match packet {
        Packet::Frame(frame) => return deliver(now, frame, link, inbounds, conduct),
        Packet::Ping => {
            if keepalive.on_ping(now) == PingAnswer::Pong {
                // A full control lane means that the peer does not read its answers: it needs no more of them.
                link.push_control(Packet::Pong);
            }
        }
        Packet::Pong => {
            // The round trip is ping's to measure; here a pong is a sign of life.
            let _ = keepalive.on_pong(now);
        }
    }
    Ok(None)
}

/// Delivers a frame, or gives it back to be held until there is room.
fn deliver<'a>(
    now: std::time::Instant,
    frame: Frame,
    link: &Arc<Link>,
    inbounds: &'a [BoundChannel],
    conduct: &mut Conduct,
) -> Result<Option<Held<'a>>, Closed> {
    let found = inbounds.iter().find(|bound| bound.id == frame.channel);
    let Some(BoundChannel { version, inbound, .. }) = found else {
        // Only a transport that checks no channels lets it come so far.
        let detail = format!("channel `{}`", frame.channel);
        conduct.note(frame.channel, Misbehaviour::UnsharedChannel, detail);
        return Err(channel_fault("channel_not_shared", frame.channel.to_string()));
    };
    let mut room = None;
    loop {
        match inbound.deliver(now, link, *version, frame.code, &frame.payload) {
            Delivery::Done => return Ok(None),
            Delivery::Misbehaved { what, detail } => {
                let ends = matches!(what, Misbehaviour::MalformedMessage | Misbehaviour::MalformedAnswer);
                // Whoever encodes what cannot be decoded will do so again, before the peer manager can say so.
                let fault = ends.then(|| channel_fault(what.as_str(), detail.clone().into_owned()));
                conduct.note(frame.channel, what, detail);
                return fault.map_or(Ok(None), Err);
            }
            Delivery::Disconnect => {
                // It is our receiver that lags: the peer is not to blame.
                let fault = channel_fault("inbound_overflow", frame.channel.to_string());
                return Err(Closed { blame: Blame::Ourselves, ..fault });
            }
            Delivery::Full => match room.take() {
                Some(room) => return Ok(Some(Held { frame, inbound, room })),
                // Once more, now that no notice of room can be missed.
                None => {
                    let mut notice = Box::pin(inbound.room());
                    notice.as_mut().enable();
                    room = Some(notice);
                }
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
