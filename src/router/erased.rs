//! Transports without their types, so that a router can hold several. Private: users see the typed traits.

use super::connection::{self, Task};
use crate::address::{BoxFuture, Endpoint};
use crate::channel::Clock;
use crate::event::{Closed, DisconnectReason};
use crate::id::{NodeId, Protocol};
use crate::transport::{
    AcceptError, Connection, ConnectionInfo, Handshake, Incoming, PacketReader, PacketWriter, Target,
    Transport,
};

pub(super) trait AnyTransport: Send + Sync {
    fn protocol(&self) -> Protocol;
    fn identity(&self) -> Option<NodeId>;
    fn local_endpoints(&self) -> Vec<Endpoint>;
    fn accept(&self) -> BoxFuture<'_, Result<Box<dyn AnyIncoming>, AcceptError>>;
    fn dial(
        &self,
        target: Target,
        handshake: Handshake,
    ) -> BoxFuture<'_, Result<Box<dyn AnyConnection>, Closed>>;
    fn close(&self);
}

pub(super) trait AnyIncoming: Send {
    fn remote(&self) -> Endpoint;
    fn handshake(
        self: Box<Self>,
        handshake: Handshake,
    ) -> BoxFuture<'static, Result<Box<dyn AnyConnection>, Closed>>;
}

pub(super) trait AnyConnection: Send {
    fn info(&self) -> &ConnectionInfo;
    /// Carries packets until the connection ends.
    fn run(self: Box<Self>, task: Task) -> BoxFuture<'static, ()>;
    /// Says why the peer is not admitted, and closes.
    fn refuse(self: Box<Self>, reason: DisconnectReason, clock: Clock) -> BoxFuture<'static, ()>;
}

impl<T: Transport> AnyTransport for T {
    fn protocol(&self) -> Protocol {
        Transport::protocol(self)
    }

    fn identity(&self) -> Option<NodeId> {
        Transport::identity(self)
    }

    fn local_endpoints(&self) -> Vec<Endpoint> {
        Transport::local_endpoints(self)
    }

    fn accept(&self) -> BoxFuture<'_, Result<Box<dyn AnyIncoming>, AcceptError>> {
        Box::pin(async {
            let incoming = Transport::accept(self).await?;
            Ok(Box::new(incoming) as Box<dyn AnyIncoming>)
        })
    }

    fn dial(
        &self,
        target: Target,
        handshake: Handshake,
    ) -> BoxFuture<'_, Result<Box<dyn AnyConnection>, Closed>> {
        Box::pin(async {
            let connection = Transport::dial(self, target, handshake).await?;
            Ok(Box::new(connection) as Box<dyn AnyConnection>)
        })
    }

    fn close(&self) {
        Transport::close(self);
    }
}

impl<I: Incoming> AnyIncoming for I {
    fn remote(&self) -> Endpoint {
        Incoming::remote(self)
    }

    fn handshake(
        self: Box<Self>,
        handshake: Handshake,
    ) -> BoxFuture<'static, Result<Box<dyn AnyConnection>, Closed>> {
        Box::pin(async {
            let connection = Incoming::handshake(*self, handshake).await?;
            Ok(Box::new(connection) as Box<dyn AnyConnection>)
        })
    }
}

impl<C: Connection> AnyConnection for C {
    fn info(&self) -> &ConnectionInfo {
        Connection::info(self)
    }

    fn run(self: Box<Self>, task: Task) -> BoxFuture<'static, ()> {
        let (reader, writer) = self.split();
        Box::pin(connection::run(reader, writer, task))
    }

    fn refuse(self: Box<Self>, reason: DisconnectReason, clock: Clock) -> BoxFuture<'static, ()> {
        let (mut reader, mut writer) = self.split();
        Box::pin(async move {
            let farewell = async {
                writer.finish(Some(reason)).await?;
                // The peer closes when it has read why; dropping unread data before would reset the stream.
                while reader.read().await.is_ok() {}
                Ok::<(), Closed>(())
            };
            // Best effort: the refusal stands whether or not the peer could be told.
            let _ = clock.timeout(connection::FAREWELL, farewell).await;
        })
    }
}
