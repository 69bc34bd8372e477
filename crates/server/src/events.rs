//! Events: what happens to clients and sessions, for whoever wants to know.
//!
//! [`RunningServer::events`](crate::RunningServer::events) gives a stream of its own to each listener, and
//! [`RunningServer::message_events`](crate::RunningServer::message_events) one about messages, of which there are more.
//! Nobody waits for a listener: one that falls behind misses the oldest events, and is told how many. Without listeners
//! an event is not even made. Relates to: the tasks that announce what they did, under no lock. Leaves out: deciding
//! anything; an event is told when it has happened.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use gantline_protocol::{
    ClientId, Message, PacketId, ProtocolVersion, QoS, ReasonCode, SubscriptionOptions, TopicFilter,
    TopicName, Violation,
};
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
    /// A session began; the connection that it began with is told next.
    SessionStarted {
        /// Whose.
        client_id: ClientId,
    },
    /// A session ended, with everything in it.
    SessionEnded {
        /// Whose.
        client_id: ClientId,
    },
    /// Messages were lost.
    Dropped {
        /// Who did not get them, or published them in vain: the cause says which.
        client_id: ClientId,
        /// How many.
        messages: u32,
        /// Why.
        cause: DropCause,
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

/// Why messages were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropCause {
    /// The queue of the receiver was full: by the [policy](crate::ServerOptions::overflow) the oldest messages were
    /// overwritten, or the newest were not taken.
    QueueFull,
    /// The receiver takes no packet of that size [MQTT-3.1.2-25].
    TooLarge,
    /// The application cleared the queue of the receiver.
    QueueCleared,
    /// The publisher chose a topic that is too long, has too many levels, or is the server's own (`$SYS/`).
    TopicRefused,
    /// The publisher wanted a message to be retained, and there is no room for more.
    RetainedFull,
}

impl DropCause {
    /// All causes.
    pub const ALL: [Self; 5] =
        [Self::QueueFull, Self::TooLarge, Self::QueueCleared, Self::TopicRefused, Self::RetainedFull];
}

/// Something that happened to a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MessageEvent {
    /// A client has published; nobody has got it yet.
    Received {
        /// Who.
        client_id: ClientId,
        /// What.
        message: Message,
    },
    /// Nobody has subscribed to the topic of a message. It may be retained all the same.
    NotConsumed {
        /// Who published it; `None` if it was the application.
        client_id: Option<ClientId>,
        /// The message.
        message: Message,
    },
    /// A client has acknowledged a message with QoS 1 or 2, for good: with PUBACK or PUBCOMP, or with an error.
    Delivered {
        /// Who.
        client_id: ClientId,
        /// The packet identifier, which is free again.
        packet_id: PacketId,
        /// The QoS with which it was sent.
        qos: QoS,
        /// What the client said; of QoS 2 the word of PUBREC.
        reason: ReasonCode,
    },
    /// The retained message of a topic was set or cleared, but not because it expired.
    RetainedChanged {
        /// Who did it; `None` if it was the application.
        client_id: Option<ClientId>,
        /// The topic.
        topic: TopicName,
        /// The new message; `None` if there is none any more.
        message: Option<Message>,
    },
    /// The server has stopped. The last event.
    Stopped,
    /// This listener was too slow: so many events are missing here.
    Missed(u64),
}

/// A kind of events that can be listened to.
pub(crate) trait Event: Clone {
    /// Stands for so many that a listener missed.
    fn missed(events: u64) -> Self;

    /// Whether nothing comes behind it.
    fn is_last(&self) -> bool;
}

impl Event for ServerEvent {
    fn missed(events: u64) -> Self {
        Self::Missed(events)
    }

    fn is_last(&self) -> bool {
        matches!(self, Self::Stopped)
    }
}

impl Event for MessageEvent {
    fn missed(events: u64) -> Self {
        Self::Missed(events)
    }

    fn is_last(&self) -> bool {
        matches!(self, Self::Stopped)
    }
}

/// A listener's events about clients and sessions, in order. Dropping it ends the listening.
#[derive(Debug)]
pub struct ServerEvents(Listening<ServerEvent>);

impl ServerEvents {
    /// The next event; `None` behind [`ServerEvent::Stopped`], or when the server is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        self.0.next().await
    }
}

/// A listener's events about messages, in order. Dropping it ends the listening, and with the last listener the cost.
#[derive(Debug)]
pub struct MessageEvents(Listening<MessageEvent>);

impl MessageEvents {
    /// The next event; `None` behind [`MessageEvent::Stopped`], or when the server is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<MessageEvent> {
        self.0.next().await
    }
}

/// What is announced by a server.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) clients: Announcer<ServerEvent>,
    pub(crate) messages: Announcer<MessageEvent>,
}

impl Events {
    /// Announces an event about clients and sessions, as [`Announcer::announce`].
    pub(crate) fn announce(&self, event: impl FnOnce() -> ServerEvent) {
        self.clients.announce(event);
    }

    pub(crate) fn listen(&self) -> ServerEvents {
        ServerEvents(self.clients.listen())
    }

    pub(crate) fn listen_to_messages(&self) -> MessageEvents {
        MessageEvents(self.messages.listen())
    }
}

/// Where events of one kind are announced.
#[derive(Debug)]
pub(crate) struct Announcer<E> {
    /// Made for the first listener.
    sender: OnceLock<Sender<E>>,
    listeners: Arc<AtomicUsize>,
}

impl<E: Event> Announcer<E> {
    /// Whether anybody listens.
    #[inline]
    pub(crate) fn is_heard(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) > 0
    }

    /// Announces an event, if anybody listens. It wakes, so not for use under a lock.
    pub(crate) fn announce(&self, event: impl FnOnce() -> E) {
        if self.is_heard()
            && let Some(sender) = self.sender.get()
        {
            // Nobody may listen any more; then it is nobody's loss.
            let _ = sender.send(event());
        }
    }

    fn listen(&self) -> Listening<E> {
        let receiver = self.sender.get_or_init(|| Sender::new(KEPT)).subscribe();
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Listening(Some((receiver, Ear(Arc::clone(&self.listeners)))))
    }
}

impl<E> Default for Announcer<E> {
    fn default() -> Self {
        Self { sender: OnceLock::new(), listeners: Arc::default() }
    }
}

/// One listener; `None` once nothing more comes.
#[derive(Debug)]
struct Listening<E>(Option<(Receiver<E>, Ear)>);

impl<E: Event> Listening<E> {
    async fn next(&mut self) -> Option<E> {
        let received = self.0.as_mut()?.0.recv().await;
        let event = match received {
            Ok(event) => event,
            Err(RecvError::Lagged(missed)) => return Some(E::missed(missed)),
            Err(RecvError::Closed) => {
                self.0 = None;
                return None;
            }
        };
        if event.is_last() {
            self.0 = None;
        }
        Some(event)
    }
}

/// Counts as a listener as long as it lives.
#[derive(Debug)]
struct Ear(Arc<AtomicUsize>);

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Events of a kind that wait for the slowest listener.
const KEPT: usize = 1_024;
