//! The encrypted handshake on a byte stream: packets in and out, every decision made by the core.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::event::{Closed, Fault, Stage};
use crate::id::{NodeId, NodeKey};
use crate::rlpx::{Entropy, Initiator, Recipient, Secrets, packet_len};
use crate::transport::session::stream_broke;
use crate::transport::{ByteStream, Progress};

/// Sends auth, reads ack.
pub(super) async fn initiate(
    key: &NodeKey,
    remote: NodeId,
    entropy: Entropy,
    stream: &mut impl ByteStream,
    progress: &dyn Progress,
) -> Result<Secrets, Closed> {
    let (state, auth) = Initiator::new(key, remote, entropy);
    stream.write_all(&auth).await.map_err(|error| stream_broke(&error))?;
    progress.reached(Stage::Auth);
    let ack = read_packet(stream).await?;
    let secrets = state.on_ack(&ack).map_err(|error| error.closed())?;
    progress.reached(Stage::Ack);
    Ok(secrets)
}

/// Reads auth, sends ack.
pub(super) async fn respond(
    key: &NodeKey,
    entropy: Entropy,
    stream: &mut impl ByteStream,
    progress: &dyn Progress,
) -> Result<(NodeId, Secrets), Closed> {
    let auth = read_packet(stream).await?;
    let accepted = Recipient::on_auth(key, &auth, entropy).map_err(|error| error.closed())?;
    progress.reached(Stage::Auth);
    stream.write_all(&accepted.ack).await.map_err(|error| stream_broke(&error))?;
    progress.reached(Stage::Ack);
    Ok((accepted.remote, accepted.secrets))
}

/// Reads a packet with its size prefix; the size is checked before memory is set aside for it.
async fn read_packet(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Closed> {
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix).await.map_err(|error| stream_broke(&error))?;
    let length = packet_len(prefix).map_err(|error| error.closed())?;
    let mut packet = vec![0; 2 + length];
    packet[..2].copy_from_slice(&prefix);
    stream.read_exact(&mut packet[2..]).await.map_err(|error| stream_broke(&error))?;
    Ok(packet)
}
