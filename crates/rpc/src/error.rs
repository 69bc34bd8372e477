//! What can go wrong, for the caller and for the responder.
//!
//! [`CallError`] is of the caller's end and says who is at fault; [`Failure`] is what a handler answers instead of a
//! result, and travels. Leaves out: the errors of typed calls (`json.rs`).

use std::fmt;
use std::time::Duration;

use gantline_client::{DisconnectCause, ProtocolVersion, PublishError, SubscribeError};
use gantline_protocol::TopicError;

/// Why a call has no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The method name cannot stand in a topic. Nothing was sent.
    #[error(transparent)]
    InvalidMethod(#[from] InvalidMethod),
    /// The topic scheme has no topic for this call. Nothing was sent.
    #[error("the topic scheme has no topic for the call: {0}")]
    Topic(#[from] TopicError),
    /// One caller has called more different methods than
    /// [`RpcClientOptions::methods`](crate::RpcClientOptions::methods) allows. Nothing was sent.
    #[error("more than {limit} different methods are called: raise RpcClientOptions::methods")]
    TooManyMethods {
        /// The limit.
        limit: usize,
    },
    /// There is no connection. Nothing was sent.
    #[error("the client is not connected")]
    NotConnected,
    /// The topic scheme needs MQTT 5, and the connection has another version. Nothing was sent.
    #[error("the topic scheme needs MQTT 5, the connection has {version}: use MqttNetTopics")]
    NeedsProperties {
        /// The version of the connection.
        version: ProtocolVersion,
    },
    /// The server does not let us receive the answer. The request was not sent.
    #[error("the answer could not be received: {0}")]
    InboxRefused(#[source] SubscribeError),
    /// The server does not take the request, or it cannot be sent.
    #[error("the request could not be sent: {0}")]
    NotSent(#[source] PublishError),
    /// Nobody is subscribed to the requests of this method. Told at QoS 1 and 2 on MQTT 5 only; otherwise such a call
    /// times out.
    #[error("nobody answers this method: the server has no subscriber for it")]
    NoResponder,
    /// The connection ended while the call was under way. The request may have been carried out, or may still be if
    /// the session is resumed; the answer will not be taken any more.
    #[error("the connection was lost: {0}")]
    ConnectionLost(DisconnectCause),
    /// Somebody unsubscribed from the answers, or the server lost the session. The next call subscribes again.
    #[error("the subscription for the answers ended before the answer came")]
    InboxClosed,
    /// The responder answered without correlation data, so that the answers of calls under way cannot be told apart.
    /// It does not know MQTT 5: call it by [`MqttNetTopics`](crate::MqttNetTopics).
    #[error("the responder gave no correlation data back: call it by MqttNetTopics")]
    Uncorrelated,
    /// The responder answered with a failure.
    #[error("the responder failed: {0}")]
    Failed(Failure),
    /// The time-out passed. Unless it waited for the answer, nothing was sent.
    #[error("no answer within {limit:?}: {waiting_for}")]
    TimedOut {
        /// The time-out.
        limit: Duration,
        /// What was missing.
        waiting_for: CallStage,
    },
}

/// How far a call had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStage {
    /// Too many calls were under way: see
    /// [`RpcClientOptions::calls_in_flight`](crate::RpcClientOptions::calls_in_flight).
    Turn,
    /// The server was asked for the subscription to the answer.
    Inbox,
    /// The request was offered, or sent.
    Answer,
}

impl fmt::Display for CallStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turn => "too many other calls were under way",
            Self::Inbox => "the server did not answer SUBSCRIBE",
            Self::Answer => "the responder did not answer",
        })
    }
}

/// A method name that cannot stand in a topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMethod {
    /// It is empty.
    #[error("the method name is empty")]
    Empty,
    /// It contains `+`, `#` or `/`, which topics give a meaning of their own, or U+0000.
    #[error("method name {name:?} contains {character:?}: separate its parts with . or _")]
    Character {
        /// The name.
        name: String,
        /// The first wrong character.
        character: char,
    },
}

impl InvalidMethod {
    pub(crate) fn check(name: &str) -> Result<(), Self> {
        if name.is_empty() {
            return Err(Self::Empty);
        }
        match name.chars().find(|character| matches!(character, '+' | '#' | '/' | '\0')) {
            Some(character) => Err(Self::Character { name: name.chars().take(100).collect(), character }),
            None => Ok(()),
        }
    }
}

/// What a handler answers when it has no result: a code for programs and a text for people.
///
/// Any error becomes one by `?`, with the code [`FAILED`](Self::FAILED) and its text, which the caller gets to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: String,
    message: String,
}

impl Failure {
    /// The handler failed.
    pub const FAILED: &'static str = "failed";
    /// The request cannot be understood.
    pub const BAD_REQUEST: &'static str = "bad-request";
    /// The responder has as many requests as it takes. Nothing was done; try again later.
    pub const BUSY: &'static str = "busy";
    /// The handler panicked.
    pub const PANICKED: &'static str = "panicked";
    /// There is a result, but the server does not take a message of its size.
    pub const TOO_LARGE: &'static str = "too-large";

    /// A failure with a code: one of the constants, or one of your own. Codes and texts are cut at 1,000 characters.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: short(code.into()), message: short(message.into()) }
    }

    /// What kind of failure it is.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// A code or a text goes into one property, which is bounded, or beside it.
fn short(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(1000) {
        text.truncate(end);
    }
    text.retain(|character| character != '\0');
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

// It is no `Error` itself: then it could not be made of every error.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Self::FAILED, error.to_string())
    }
}

/// Why a responder did not start.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A method was registered under a name that cannot stand in a topic.
    #[error(transparent)]
    InvalidMethod(#[from] InvalidMethod),
    /// No method is registered.
    #[error("there is nothing to answer: register a method")]
    NoMethods,
    /// The topic scheme has no filter for a method.
    #[error("the topic scheme has no filter for a method: {0}")]
    Topic(#[from] TopicError),
    /// The server does not let us receive the requests, or there is no connection.
    #[error("the requests could not be received: {0}")]
    Subscribe(#[from] SubscribeError),
}

#[cfg(test)]
mod tests {
    use super::{Failure, InvalidMethod};

    #[test]
    fn what_topics_give_a_meaning_to_is_refused() {
        for (name, character) in [("a/b", '/'), ("+", '+'), ("a#", '#'), ("a\0", '\0')] {
            let error = InvalidMethod::Character { name: name.into(), character };
            assert_eq!(InvalidMethod::check(name), Err(error));
        }
        assert_eq!(InvalidMethod::check(""), Err(InvalidMethod::Empty));
        assert_eq!(InvalidMethod::check("deviceA.get_temperature ä"), Ok(()));
    }

    #[test]
    fn every_error_is_a_failure_of_bounded_length() {
        fn parse(text: &str) -> Result<u8, Failure> {
            Ok(text.parse()?)
        }
        let failure = parse("x").unwrap_err();
        assert_eq!((failure.code(), failure.message()), ("failed", "invalid digit found in string"));
        assert_eq!(Failure::new("c", "ä\0".repeat(2000)).message().chars().count(), 500);
    }
}
