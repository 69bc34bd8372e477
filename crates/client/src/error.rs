//! What can go wrong: one enum per operation, each saying who is at fault.
//!
//! All of them are `Clone`, because one lost connection is told to many waiters. [`DisconnectCause`] is why a
//! connection ended; [`ConnectionLost`] adds what that means for the operation that was under way. Leaves out: errors
//! in the options, which are found before anything is sent and stand in `options.rs`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use gantline_protocol::{
    AckProperties, ClientId, ConnAckProperties, DisconnectProperties, EncodeError, ProtocolVersion,
    ReasonCode, RequestError, StoreError, TopicError, TopicFilter, Violation,
};
use gantline_transport::TransportError;

use crate::options::OptionsError;

/// Why [`Client::connect`](crate::Client::connect) or a later attempt on the same handle failed. Nothing is left
/// behind.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The options contradict each other or the version. Nothing was sent.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A field of CONNECT cannot be expressed. Nothing was sent.
    #[error("CONNECT cannot be written: {0}")]
    Unwritable(#[from] EncodeError),
    /// The [provider of credentials](crate::ConnectOptions::credentials_provider) of the options failed. Nothing was
    /// sent, and the server is not to blame.
    #[error("our credentials provider failed: {0}")]
    CredentialsUnavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The [session store](crate::ConnectOptions::session_store) of the options failed. Nothing was sent, and the
    /// server is not to blame. It may be tried again.
    #[error("our session store failed: {0}")]
    Store(StoreError),
    /// The [session store](crate::ConnectOptions::session_store) has the session of another client id. Nothing was
    /// sent: give each client id a store of its own.
    #[error("our session store belongs to the client id {owner:?}: each client id needs a store of its own", owner = .owner.as_str())]
    SessionOfAnother {
        /// The client id whose session it has.
        owner: ClientId,
    },
    /// This handle is connected. Disconnect first.
    #[error("the client is connected already")]
    AlreadyConnected,
    /// Another attempt on this handle has not ended yet.
    #[error("the client is connecting already")]
    AlreadyConnecting,
    /// The name is not known, the host is down, nobody listens there, TLS failed, or this build lacks the transport.
    #[error(transparent)]
    Unreachable(#[from] TransportError),
    /// The time-out of the options passed; it covers everything from the name's resolution to CONNACK.
    #[error("no connection within {limit:?}: {waiting_for}")]
    TimedOut {
        /// The time-out.
        limit: Duration,
        /// What was missing.
        waiting_for: ConnectStage,
    },
    /// The server said no. [`Refusal::reason`] tells why; only some reasons are worth another attempt.
    #[error("the server refused the connection: {}", .0.reason)]
    Refused(Box<Refusal>),
    /// Our own authentication method ended the attempt: it does not trust the server, say. After CONNACK the server was
    /// told with DISCONNECT.
    #[error(transparent)]
    Unauthenticated(#[from] AuthenticationFailure),
    /// The server answered in TLS: it wants TLS on this port.
    #[error("the server wants TLS on this port: use mqtts://")]
    NeedsTls,
    /// The server answered in HTTP: it wants WebSocket on this port.
    #[error("the server speaks HTTP on this port: if it is one of WebSocket, use ws://")]
    NeedsWebSocket,
    /// What came back is not an answer to CONNECT: the port belongs to some other protocol.
    #[error("the peer does not speak MQTT: {0}")]
    NotMqtt(Violation),
    /// The server's CONNACK, or an AUTH before it, breaks the protocol.
    #[error(transparent)]
    ServerViolated(Violation),
    /// The server closed instead of answering CONNECT. A server does so with a version that it does not know, and where
    /// it wants TLS, too.
    #[error(
        "the server closed the connection without answering CONNECT: it may want TLS, or another version"
    )]
    ClosedByServer,
    /// The connection broke before CONNECT was answered.
    #[error("the connection failed before CONNECT was answered: {0}")]
    Network(Arc<io::Error>),
}

/// How far an attempt to connect had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectStage {
    /// The [session store](crate::ConnectOptions::session_store) of the options was asked for the session, or to keep
    /// what it did not have of the last connection.
    Store,
    /// The [provider of credentials](crate::ConnectOptions::credentials_provider) of the options was asked.
    Credentials,
    /// The name is resolved and the transport set up.
    Transport,
    /// The same through the [proxy](crate::ConnectOptions::proxy) of the options. A proxy of another kind may wait for
    /// more, as the server behind it may.
    Proxy,
    /// CONNECT was sent, or AUTH.
    Answer,
    /// The [authentication method](crate::ConnectOptions::authentication) of the options was asked for its next step.
    Authentication,
}

impl fmt::Display for ConnectStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "our session store did not answer",
            Self::Credentials => "our credentials provider did not answer",
            Self::Transport => "the host did not answer",
            Self::Proxy => {
                "neither the proxy nor the server behind it answered; check that the proxy is of the kind of its URL"
            }
            Self::Answer => "the server did not answer CONNECT",
            Self::Authentication => "our authentication method did not finish its step",
        })
    }
}

/// Why our end of an authentication broke off. The server is not to blame for more than not being the right one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticationFailure {
    /// Our method refused: the server could not prove who it is, or sent what the method cannot understand.
    #[error("our authentication method refused: {0}")]
    Refused(ReasonCode),
    /// The server was content before our method was: it has proved nothing.
    #[error("the server accepted before our authentication method was done")]
    Unfinished,
    /// The data of our method is too long, for AUTH or for the server's Maximum Packet Size.
    #[error("the data of our authentication method cannot be sent: {0}")]
    Unwritable(EncodeError),
    /// The future of [`Client::reauthenticate`](crate::Client::reauthenticate) was dropped before its end.
    #[error("the authentication was abandoned")]
    Abandoned,
}

impl AuthenticationFailure {
    /// What the server is told.
    pub(crate) const fn reason(&self) -> ReasonCode {
        match self {
            Self::Refused(reason @ (ReasonCode::ProtocolError | ReasonCode::MalformedPacket)) => *reason,
            Self::Unfinished => ReasonCode::ProtocolError,
            // Whom it does not trust or authorize, only a server may say (section 3.14.2.1).
            Self::Refused(_) | Self::Unwritable(_) | Self::Abandoned => ReasonCode::UnspecifiedError,
        }
    }
}

/// The CONNACK of a server that refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why; the return codes of 3.x are given as the reason code of the same meaning.
    pub reason: ReasonCode,
    /// What the server added: a reason string, another server to use. Empty on 3.x.
    pub properties: ConnAckProperties,
}

/// Why a connection ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectCause {
    /// We ended it: [`Client::disconnect`](crate::Client::disconnect), or the last handle was dropped.
    #[error("the client disconnected")]
    Requested,
    /// The server said goodbye, with a reason (5.0 only).
    #[error("the server disconnected: {}", .0.reason)]
    ByServer(Arc<ServerGoodbye>),
    /// The server closed the connection without a word.
    #[error("the server closed the connection")]
    ClosedByServer,
    /// The server broke the protocol; it was told so where the version can.
    #[error(transparent)]
    ServerViolated(Violation),
    /// Our end of a [re-authentication](crate::Client::reauthenticate) broke off; the server was told so.
    #[error(transparent)]
    Unauthenticated(AuthenticationFailure),
    /// The server did not answer a ping: it, or the network on the way, is dead.
    #[error("the server did not answer a ping in time")]
    ServerSilent,
    /// The connection broke.
    #[error("the connection failed: {0}")]
    Network(Arc<io::Error>),
    /// The application does not take its messages and their sender cannot be held back: more than 16 MiB waited.
    #[error("the application does not take its messages: {held} bytes were waiting")]
    ReceiverTooSlow {
        /// The bytes that waited in streams.
        held: usize,
    },
    /// The [session store](crate::ConnectOptions::session_store) of the options failed. What it does not have is tried
    /// again with the next connection.
    #[error("our session store failed: {0}")]
    StoreFailed(StoreError),
    /// The task of the connection was dropped, because its runtime was shut down.
    #[error("the runtime of the connection was shut down")]
    RuntimeStopped,
}

impl DisconnectCause {
    pub(crate) fn network(error: io::Error) -> Self {
        Self::Network(Arc::new(error))
    }
}

/// The DISCONNECT of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerGoodbye {
    /// Why.
    pub reason: ReasonCode,
    /// What the server added: a reason string, another server to use.
    pub properties: DisconnectProperties,
}

/// The connection ended before the operation was complete.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the connection was lost: {cause}")]
pub struct ConnectionLost {
    /// Of a publish: it was sent, its session outlives the connection, and the next connection that resumes the session
    /// sends it again. Otherwise false: the server may or may not have it, and nobody will send it again.
    pub resent_on_resume: bool,
    /// How far the operation had come.
    pub progress: Progress,
    /// Why the connection ended.
    pub cause: DisconnectCause,
}

/// How far an operation had come when its connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing of it was sent: the server does not have it.
    Unsent,
    /// It was sent, at least in part: the server may or may not have it.
    Sent,
    /// A message of QoS 2 whose PUBREC came: the server has it, only the end of the flow is missing. Told by
    /// publishes that [wait across connections](crate::Publish::across_connections); others say [`Sent`](Self::Sent).
    Received,
}

/// Why a publish failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The acknowledgement did not come within the [time-out](crate::ConnectOptions::operation_timeout) of the options.
    /// The message is delivered all the same, if the server lives.
    #[error("the server did not acknowledge the message within {limit:?}")]
    TimedOut {
        /// The time-out.
        limit: Duration,
    },
    /// There is no connection. The message was not accepted.
    #[error("the client is not connected")]
    NotConnected,
    /// The server refused the message with its acknowledgement (5.0 only).
    #[error("the server refused the message: {}", .0.reason)]
    Refused(Box<PublishResult>),
    /// A property of the message cannot be expressed. It was not sent.
    #[error("the message cannot be written: {0}")]
    Unwritable(#[from] EncodeError),
    /// The message is larger than the server's Maximum Packet Size. It was not sent.
    #[error("the message is larger than the {maximum} bytes that the server accepts")]
    TooLarge {
        /// The server's maximum in bytes.
        maximum: u32,
    },
    /// The server does not offer this QoS, or retained messages. It was not sent.
    #[error("the server does not offer this: {0}")]
    NotOffered(ReasonCode),
    /// A property that the version of the connection does not have. The message was not accepted. See
    /// [`ConnectOptions::validate_features`](crate::ConnectOptions::validate_features).
    #[error("{property} does not exist in MQTT {version}")]
    NotInVersion {
        /// The name of the setter.
        property: &'static str,
        /// The version.
        version: ProtocolVersion,
    },
    /// The message expired before it could be sent.
    #[error("the message expired before it could be sent")]
    Expired,
    /// The connection ended before the acknowledgement came.
    #[error(transparent)]
    ConnectionLost(#[from] ConnectionLost),
}

/// The acknowledgement of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishResult {
    /// What the receiver said: [`ReasonCode::Success`], or that nobody subscribes to the topic. Always success at QoS 0
    /// and on 3.x.
    pub reason: ReasonCode,
    /// What it added. Empty at QoS 0 and on 3.x.
    pub properties: AckProperties,
}

impl PublishResult {
    /// Whether the server said that nobody subscribes to the topic. A server need not say so, and at QoS 0 and on 3.x
    /// none can: false means that it is not known.
    pub fn has_no_subscribers(&self) -> bool {
        self.reason == ReasonCode::NoMatchingSubscribers
    }
}

/// Why a subscription was not made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// A text is no topic filter. Nothing was sent.
    #[error("invalid topic filter: {0}")]
    InvalidFilter(#[from] TopicError),
    /// The request breaks a rule or a limit of the server. Nothing was sent.
    #[error(transparent)]
    Request(#[from] RequestFailed),
    /// An option that the version of the connection does not have. Nothing was sent.
    #[error("{option} does not exist in MQTT {version}")]
    NotInVersion {
        /// The name of the setter.
        option: &'static str,
        /// The version.
        version: ProtocolVersion,
    },
    /// The server refused at least one filter. Those that it granted are given up again.
    #[error(transparent)]
    Refused(Box<FiltersRefused>),
    /// SUBACK did not come within the [time-out](crate::ConnectOptions::operation_timeout) of the options. The
    /// subscription is given up.
    #[error("the server did not answer SUBSCRIBE within {limit:?}")]
    TimedOut {
        /// The time-out.
        limit: Duration,
    },
    /// There is no connection.
    #[error("the client is not connected")]
    NotConnected,
    /// The connection ended before the answer came.
    #[error(transparent)]
    ConnectionLost(#[from] ConnectionLost),
}

/// The filters that a server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiltersRefused {
    /// Each refused filter and why. 3.1.1 knows one reason only.
    pub filters: Vec<(TopicFilter, ReasonCode)>,
    /// What the server added. Empty on 3.x.
    pub properties: AckProperties,
}

impl fmt::Display for FiltersRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server refused ")?;
        for (index, (filter, reason)) in self.filters.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{filter:?}: {reason}", filter = filter.as_str())?;
        }
        Ok(())
    }
}

impl std::error::Error for FiltersRefused {}

/// Why a SUBSCRIBE or UNSUBSCRIBE was not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind} was not sent: {cause}")]
pub struct RequestFailed {
    /// `SUBSCRIBE` or `UNSUBSCRIBE`.
    pub kind: &'static str,
    /// What is wrong with it.
    pub cause: RequestError,
}

/// Why an unsubscribe failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnsubscribeError {
    /// A text is no topic filter. Nothing was sent.
    #[error("invalid topic filter: {0}")]
    InvalidFilter(#[from] TopicError),
    /// The request breaks a rule or a limit of the server. Nothing was sent.
    #[error(transparent)]
    Request(#[from] RequestFailed),
    /// An option that the version of the connection does not have. Nothing was sent.
    #[error("{option} does not exist in MQTT {version}")]
    NotInVersion {
        /// The name of the setter.
        option: &'static str,
        /// The version.
        version: ProtocolVersion,
    },
    /// UNSUBACK did not come within the [time-out](crate::ConnectOptions::operation_timeout) of the options.
    #[error("the server did not answer UNSUBSCRIBE within {limit:?}")]
    TimedOut {
        /// The time-out.
        limit: Duration,
    },
    /// There is no connection.
    #[error("the client is not connected")]
    NotConnected,
    /// The connection ended before the answer came.
    #[error(transparent)]
    ConnectionLost(#[from] ConnectionLost),
}

/// Why [`Client::reauthenticate`](crate::Client::reauthenticate) failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReauthenticateError {
    /// There is no connection.
    #[error("the client is not connected")]
    NotConnected,
    /// The connection was made without [`ConnectOptions::authentication`](crate::ConnectOptions::authentication), so
    /// there is nothing to do again.
    #[error("the connection has no authentication method")]
    NoMethod,
    /// Another call on this connection has not ended yet.
    #[error("the client is authenticating again already")]
    AlreadyReauthenticating,
    /// Our method did not give a first step that can be sent. Nothing was sent and the connection goes on.
    #[error("authentication was not begun: {0}")]
    NotBegun(AuthenticationFailure),
    /// The server disconnected instead of answering; the reason tells whether because of the authentication.
    #[error("the server disconnected while the client authenticated again: {}", .0.reason)]
    Refused(Arc<ServerGoodbye>),
    /// Our method ended the exchange, and with it the connection [MQTT-4.12.1-2].
    #[error(transparent)]
    Unauthenticated(AuthenticationFailure),
    /// The connection ended before the exchange did.
    #[error(transparent)]
    ConnectionLost(#[from] ConnectionLost),
}

/// Why [`Client::ping`](crate::Client::ping), [`Client::flush`](crate::Client::flush) or
/// [`Client::disconnect`](crate::Client::disconnect) failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// PINGRESP did not come within the [time-out](crate::ConnectOptions::operation_timeout) of the options.
    #[error("the server did not answer PINGREQ within {limit:?}")]
    TimedOut {
        /// The time-out.
        limit: Duration,
    },
    /// There is no connection.
    #[error("the client is not connected")]
    NotConnected,
    /// An option that the version of the connection does not have. Nothing was sent and the
    /// connection goes on.
    #[error("{option} does not exist in MQTT {version}")]
    NotInVersion {
        /// The name of the setter.
        option: &'static str,
        /// The version.
        version: ProtocolVersion,
    },
    /// The connection ended before it was done.
    #[error(transparent)]
    ConnectionLost(#[from] ConnectionLost),
}
