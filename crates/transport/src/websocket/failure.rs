//! Why WebSocket failed, in words that say whose fault it is and what helps.
//!
//! Relates to: [`WebSocketOptionsError`](super::WebSocketOptionsError), which comes before anything is sent. What
//! breaks an open connection comes out of a read, as an [`io::Error`] from which [`WebSocketFailure::of`] takes it.

use std::io;
use std::sync::Arc;

#[cfg(feature = "websocket")]
use crate::error::peer_has_gone;

/// Why the handshake of WebSocket failed, or a connection ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketFailure {
    /// The server answered with another status than 101. 401 and 403: it wants credentials, or others. 404: the path is
    /// another one.
    #[error("the server refused the upgrade to WebSocket: {status} {reason}{}", advice(*status))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the server said with it, shortened; may be empty.
        reason: String,
    },
    /// The server is elsewhere; connect there. Redirections are not followed.
    #[error("the server refused the upgrade to WebSocket: {status}, it is at {location}")]
    Moved {
        /// The HTTP status.
        status: u16,
        /// Where it is.
        location: String,
    },
    /// The server chose none of our sub-protocols: it speaks something else at this path, or does not care, in which
    /// case offer none.
    #[error(
        "the server chose none of the sub-protocols {offered:?}: check the path, it may not speak MQTT there"
    )]
    SubProtocolMissing {
        /// What we offered.
        offered: String,
    },
    /// The server chose a sub-protocol that we did not offer.
    #[error("the server chose a sub-protocol that was not offered: {chosen:?}")]
    SubProtocolNotOffered {
        /// What it chose.
        chosen: String,
    },
    /// A client offered no sub-protocol that is MQTT. It was told so, with status 400.
    #[error(
        "the client offered none of the sub-protocols mqtt and mqttv3.1 but {offered:?}: it has to ask for mqtt"
    )]
    SubProtocolUnknown {
        /// What it offered; may be empty.
        offered: String,
    },
    /// A client asked for a path that the options do not have. It was told so, with status 404.
    #[error("the client asked for the path {path:?}, which is none of those that are served")]
    PathUnknown {
        /// What it asked for, without the query.
        path: String,
    },
    /// A page of a site that the options do not allow. It was told so, with status 403.
    #[error("a page of {origin:?} wants to connect, which the allowed origins do not have")]
    OriginRefused {
        /// The site.
        origin: String,
    },
    /// A client sent MQTT without WebSocket: it should use `ws://`, or another port.
    #[error("the peer sent MQTT without WebSocket to a WebSocket port: it has to use ws:// or wss://")]
    PlainMqtt,
    /// A client sent TLS to a port without it: it should use `ws://`, or another port.
    #[error("the peer sent TLS to a WebSocket port without TLS: it has to use ws:// instead of wss://")]
    UnwantedTls,
    /// The server answered in TLS: it wants TLS on this port.
    #[error("the server wants TLS on this port: use wss:// instead of ws://")]
    NeedsTls,
    /// What came is not HTTP: another protocol has this port.
    #[error("the peer does not speak HTTP, so no WebSocket either: it sent {sent:?}")]
    NotHttp {
        /// The beginning of what it sent.
        sent: String,
    },
    /// What came is HTTP and no handshake of WebSocket.
    #[error("the peer speaks HTTP and not WebSocket: {0}")]
    NotWebSocket(String),
    /// The head of the request or answer is longer than the options allow.
    #[error("the HTTP head of the peer is longer than the {limit} bytes of max_head_size")]
    HeadTooLarge {
        /// The bound.
        limit: usize,
    },
    /// The peer closed instead of answering the upgrade, as a server does that speaks something else, or TLS.
    #[error(
        "the peer closed the connection in the WebSocket handshake: it may speak something else on this port, or TLS"
    )]
    Closed,
    /// The network failed in the handshake.
    #[error("the connection failed in the WebSocket handshake: {0}")]
    Io(#[source] Arc<io::Error>),
    /// The peer sent text on an open connection; MQTT is binary [MQTT-6.0.0-1]. It was told so, with code 1003.
    #[error("the peer sent a text frame: MQTT travels in binary frames")]
    TextFrame,
    /// The peer sent a message, in one frame or several, that is longer than the options allow. It was told so, with
    /// code 1009.
    #[error("the peer sent a WebSocket message of more than the {limit} bytes of max_message_size")]
    MessageTooLarge {
        /// The bound.
        limit: u64,
    },
    /// The peer broke the rules of WebSocket on an open connection. It was told so, with code 1002.
    #[error("the peer broke the rules of WebSocket: {0}")]
    Violated(&'static str),
}

impl WebSocketFailure {
    /// The failure that an error of a [`Stream`](crate::Stream) is about, if it is one of WebSocket.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    #[cfg(feature = "websocket")]
    pub(super) fn of_io(error: io::Error) -> Self {
        if peer_has_gone(&error) { Self::Closed } else { Self::Io(Arc::new(error)) }
    }
}

const fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => ": check the credentials and headers of the WebSocket options",
        404 => ": check the path of the address",
        400 | 426 => ": check the path and the sub-protocols",
        429 | 503 => ": try again later",
        _ => "",
    }
}

/// How a peer can break an open connection.
#[cfg(feature = "websocket")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    Text,
    TooLarge { limit: u64 },
    Rule(&'static str),
}

#[cfg(feature = "websocket")]
impl Breach {
    /// What the peer is told.
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::Rule(_) => 1002,
            Self::Text => 1003,
            Self::TooLarge { .. } => 1009,
        }
    }

    pub(super) fn error(self) -> io::Error {
        let failure = match self {
            Self::Text => WebSocketFailure::TextFrame,
            Self::TooLarge { limit } => WebSocketFailure::MessageTooLarge { limit },
            Self::Rule(rule) => WebSocketFailure::Violated(rule),
        };
        io::Error::new(io::ErrorKind::InvalidData, failure)
    }
}
