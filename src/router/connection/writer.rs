//! Writes what the link has queued, in batches, until the connection ends.

use futures::FutureExt;

use super::{FAREWELL, Shared};
use crate::channel::{Batch, Link};
use crate::event::{Blame, Closed, DisconnectReason, Layer, Side};
use crate::message::Packet;
use crate::transport::PacketWriter;

/// A batch holds at most this many bytes, or one larger message alone: one system call for many small messages, and
/// never more than this or one message ahead of an urgent one.
const BATCH_BYTES: usize = 64 * 1024;

/// Writes until the link closes and is drained, or breaks; says farewell in any case.
pub(super) async fn run<W: PacketWriter>(mut writer: W, shared: &Shared, link: &Link) {
    let mut batch = Vec::new();
    loop {
        match link.next_batch(&mut batch, BATCH_BYTES).await {
            Batch::Closing => break,
            Batch::Some => {}
        }
        if let Err(closed) = write(&mut writer, shared, link, &mut batch).await {
            link.close(closed);
            break;
        }
    }
    say_farewell(&mut writer, shared, link).await;
}

async fn write<W: PacketWriter>(
    writer: &mut W,
    shared: &Shared,
    link: &Link,
    batch: &mut Vec<Packet>,
) -> Result<(), Closed> {
    let sealed: Result<(), Closed> = batch.iter().try_for_each(|packet| writer.write(packet));
    let flushed = match sealed {
        Ok(()) => flush(writer, shared, link).await,
        Err(closed) => Err(closed),
    };
    if flushed.is_ok() {
        link.wrote(batch);
    }
    batch.clear();
    flushed
}

/// Writes the buffer. A peer that takes nothing for the stall time is given up, as is one that is being
/// disconnected.
async fn flush<W: PacketWriter>(writer: &mut W, shared: &Shared, link: &Link) -> Result<(), Closed> {
    // Most buffers are taken at once. Flushing is cancel-safe: what was not is flushed below.
    if let Some(flushed) = writer.flush().now_or_never() {
        return flushed;
    }
    loop {
        let before = writer.buffered_bytes();
        let closing = link.is_closing();
        let limit = link.drain_left().unwrap_or(shared.config.write_stall).min(shared.config.write_stall);
        tokio::select! {
            biased;
            () = link.dropped() => return Err(link.closed().unwrap_or_else(stalled)),
            () = link.closing(), if !closing => {}
            flushed = shared.clock.timeout(limit, writer.flush()) => match flushed {
                Ok(flushed) => return flushed,
                Err(_) if writer.buffered_bytes() < before && !closing => {}
                Err(_) => return Err(stalled()),
            },
        }
    }
}

/// Tells the peer why, if it is we who end the connection, and that nothing more comes.
async fn say_farewell<W: PacketWriter>(writer: &mut W, shared: &Shared, link: &Link) {
    let farewell = async {
        let reason = link.closed().filter(|closed| closed.by == Side::Local).map(|closed| closed.reason);
        writer.finish(reason).await
    };
    // Best effort: the connection is over whether or not the peer could be told.
    let _ = shared.clock.timeout(FAREWELL, farewell).await;
}

fn stalled() -> Closed {
    Closed::local(Layer::Tcp, Blame::System, DisconnectReason::PingTimeout, "write_stalled")
}
