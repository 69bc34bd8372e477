//! Events: what happens to clients and sessions, for whoever wants to know.
//!
//! [`RunningServer::events`](crate::RunningServer::events) gives a stream of its own to each listener. Nobody waits for a
//! listener: one that falls behind misses the oldest events, and is told how many. Without listeners an event is not even
//! made. Relates to: the tasks that announce what they did, under no lock. Leaves out: messages, of which there are too
//! many; subscribe to them.

use std::sync::Arc;

use gantline_protocol::{ClientId, ProtocolVersion, ReasonCode, SubscriptionOptions, TopicFilter, Violation};
use gantline_transport::PeerInfo;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A client was accepted.
    Connected {
        /// Who.
        client_id: ClientId,
        /// The other end of the connection.
        peer: Arc<PeerInfo>,
        /// The version that it speaks.
        version: ProtocolVersion,
        /// Whether its session goes on from an earlier connection; if not, a new one begins.
        session_present: bool,
    },
    /// The connection of a client ended.
    Disconnected {
        /// Who.
        client_id: ClientId,
        /// The other end of the connection.
        peer: Arc<PeerInfo>,
        /// Why.
        cause: DisconnectCause,
    },
    /// A connection was refused before its client was accepted; the reason is what CONNACK said.
    Refused {
        /// The other end of the connection.
        peer: Arc<PeerInfo>,
        /// Why.
        reason: ReasonCode,
    },
    /// A client has subscribed, or was subscribed by the application.
    Subscribed {
        /// Who.
        client_id: ClientId,
        /// To what.
        filter: TopicFilter,
        /// As granted.
        options: SubscriptionOptions,
    },
    /// A subscription ended, but not with its session.
    Unsubscribed {
        /// Whose.
        client_id: ClientId,
        /// To what.
        filter: TopicFilter,
    },
    /// A session ended, with everything in it.
    SessionEnded {
        /// Whose.
        client_id: ClientId,
    },
    /// The server has stopped. The last event.
    Stopped,
    /// This listener was too slow: so many events are missing here.
    Missed(u64),
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectCause {
    /// The client said goodbye, with this reason.
    Left(ReasonCode),
    /// It closed without a word, or the network failed.
    Lost,
    /// It broke the protocol; a keep alive that is over is among it.
    Violated(Violation),
    /// Another connection has taken its session over.
    TakenOver,
    /// The server ended it, with this reason.
    Kicked(ReasonCode),
    /// The server stops.
    Stopped,
}

/// A listener's events, in order. Dropping it ends the listening.
#[derive(Debug)]
pub struct ServerEvents {
    receiver: Option<Receiver<ServerEvent>>,
}

impl ServerEvents {
    /// The next event; `None` behind [`ServerEvent::Stopped`], or when the server is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        let received = self.receiver.as_mut()?.recv().await;
        let event = match received {
            Ok(event) => event,
            Err(RecvError::Lagged(missed)) => return Some(ServerEvent::Missed(missed)),
            Err(RecvError::Closed) => {
                self.receiver = None;
                return None;
            }
        };
        if matches!(event, ServerEvent::Stopped) {
            self.receiver = None;
        }
        Some(event)
    }
}

/// Where events are announced.
#[derive(Debug)]
pub(crate) struct Announcer(Sender<ServerEvent>);

impl Announcer {
    pub(crate) fn new() -> Self {
        Self(Sender::new(KEPT))
    }

    /// Announces an event, if anybody listens. It wakes, so not for use under a lock.
    pub(crate) fn announce(&self, event: impl FnOnce() -> ServerEvent) {
        if self.0.receiver_count() > 0 {
            // Nobody may listen any more; then it is nobody's loss.
            let _ = self.0.send(event());
        }
    }

    pub(crate) fn listen(&self) -> ServerEvents {
        ServerEvents { receiver: Some(self.0.subscribe()) }
    }
}

/// Events that wait for the slowest listener.
const KEPT: usize = 1_024;
