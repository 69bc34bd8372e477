//! What the handshake of WebSocket agreed on.
//!
//! Relates to: [`PeerInfo`](crate::PeerInfo), which holds it. Leaves out: what MQTT agrees on later.

use std::fmt;

use zeroize::Zeroizing;

/// Name and value of a header that is kept; the value may be a secret.
pub(super) type KeptHeader = (Box<str>, Zeroizing<Box<[u8]>>);

/// What a client asked for and the server agreed to. `Debug` shows no value of a header.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WebSocketInfo {
    path: Box<str>,
    sub_protocol: Option<Box<str>>,
    headers: Box<[KeptHeader]>,
}

impl WebSocketInfo {
    /// Describes a connection, for a [`Stream`](crate::Stream) of your own.
    pub fn new(path: &str, sub_protocol: Option<&str>) -> Self {
        Self { path: path.into(), sub_protocol: sub_protocol.map(Into::into), headers: Box::default() }
    }

    #[cfg(feature = "websocket")]
    pub(super) fn with_headers(mut self, headers: Vec<KeptHeader>) -> Self {
        self.headers = headers.into();
        self
    }

    /// The path that was asked for, with its query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The sub-protocol that the server chose, most often `mqtt`.
    pub fn sub_protocol(&self) -> Option<&str> {
        self.sub_protocol.as_deref()
    }

    /// The value of a header of the request, on a server whose options keep it; the first one if there are several.
    /// Names are compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &***value)
    }
}

impl fmt::Debug for WebSocketInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("WebSocketInfo")
            .field("path", &self.path.split('?').next())
            .field("sub_protocol", &self.sub_protocol)
            .field("headers", &names)
            .finish()
    }
}
