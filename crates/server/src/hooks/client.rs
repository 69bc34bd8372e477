//! Who a hook is about: a client, as its connection knows it.
//!
//! Relates to: the [connection validator](crate::Server::validate_connections), which sees more of CONNECT. Leaves out:
//! what the client does.

use std::fmt;
use std::sync::Arc;

use gantline_protocol::{ClientId, ProtocolVersion};
use gantline_transport::PeerInfo;
use parking_lot::Mutex;

use crate::session_items::SessionItems;

/// A client that is connected, or was when it left its will.
#[derive(Debug)]
pub struct ClientContext {
    client_id: ClientId,
    user_name: Option<String>,
    version: ProtocolVersion,
    peer: Arc<PeerInfo>,
    items: Mutex<SessionItems>,
}

impl ClientContext {
    pub(crate) const fn new(
        client_id: ClientId,
        user_name: Option<String>,
        version: ProtocolVersion,
        peer: Arc<PeerInfo>,
        items: SessionItems,
    ) -> Self {
        Self { client_id, user_name, version, peer, items: Mutex::new(items) }
    }

    /// The session has begun, with these items.
    pub(crate) fn has_items(&self, items: SessionItems) {
        let former = std::mem::replace(&mut *self.items.lock(), items);
        // Its values are user code, so not under the lock.
        drop(former);
    }

    /// The client id, be it sent, made by the server or given by the validator.
    pub const fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The user name of CONNECT.
    pub fn user_name(&self) -> Option<&str> {
        self.user_name.as_deref()
    }

    /// The version of MQTT.
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// What the application keeps with the session: what the [validator](crate::ConnectionRequest::items) left, say.
    pub fn items(&self) -> SessionItems {
        self.items.lock().clone()
    }

    /// The other end: its address, the transport, its TLS certificate.
    pub const fn peer(&self) -> &Arc<PeerInfo> {
        &self.peer
    }
}

impl fmt::Display for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.client_id, f)
    }
}

/// Whose message it is.
#[derive(Clone, Copy, Debug)]
pub enum Sender<'a> {
    /// This client published it.
    Client(&'a Arc<ClientContext>),
    /// It is the will of this client, whose connection is over.
    Will(&'a Arc<ClientContext>),
    /// The application published it, or the server itself.
    Server,
}

impl<'a> Sender<'a> {
    /// The client, if there is one.
    pub const fn client(self) -> Option<&'a Arc<ClientContext>> {
        match self {
            Self::Client(client) | Self::Will(client) => Some(client),
            Self::Server => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use gantline_protocol::{ClientId, ProtocolVersion};
    use gantline_transport::{PeerInfo, Scheme};

    use super::ClientContext;
    use crate::session_items::SessionItems;

    struct LooksBack(Arc<ClientContext>, Arc<AtomicBool>);

    impl Drop for LooksBack {
        fn drop(&mut self) {
            self.1.store(self.0.items.try_lock().is_some(), Ordering::Relaxed);
        }
    }

    #[test]
    fn items_that_are_replaced_are_dropped_under_no_lock() {
        let peer = Arc::new(PeerInfo::new(Scheme::Memory, "test", ""));
        let (id, version) = (ClientId::random(), ProtocolVersion::default());
        let client = Arc::new(ClientContext::new(id, None, version, peer, SessionItems::default()));
        let could_look = Arc::new(AtomicBool::new(false));
        client.items().insert(LooksBack(Arc::clone(&client), Arc::clone(&could_look)));
        client.has_items(SessionItems::default());
        assert!(could_look.load(Ordering::Relaxed));
    }
}
