//! How an answer looks: the answer of a responder as a message, and what marks a failure.
//!
//! A result is the payload and nothing else. A failure is marked by the user property `rpc-error`, which holds its
//! code, and its text is the payload. Whoever does not see properties would take that text for a result; so a failure
//! is marked only for a caller that gave correlation data, which proves that properties come through. Leaves out:
//! sending.

use bytes::Bytes;
use gantline_protocol::{Message, Payload, QoS, TopicFilter, TopicName};

use crate::error::Failure;
use crate::scheme::TopicScheme;

/// The user property that marks a failure.
const MARK: &str = "rpc-error";

/// The failure in an answer, if it is one.
pub(crate) fn failure(answer: &Message) -> Option<Failure> {
    let code = answer.properties().user_properties.get(MARK)?;
    Some(Failure::new(code, String::from_utf8_lossy(answer.payload())))
}

/// Where and how the answer to a request goes.
#[derive(Clone, Debug)]
pub(crate) struct ReplyTo {
    topic: TopicName,
    qos: QoS,
    correlation: Option<Bytes>,
}

impl ReplyTo {
    /// Reads it off a request. `None` if there is no topic for the answer, or none that `allowed` matches.
    pub(crate) fn of(
        request: &Message,
        scheme: &dyn TopicScheme,
        allowed: Option<&TopicFilter>,
    ) -> Option<Self> {
        let properties = request.properties();
        let topic = match &properties.response_topic {
            Some(topic) if allowed.is_some_and(|allowed| !allowed.matches(topic.as_str())) => return None,
            Some(topic) => topic.clone(),
            None => scheme.response(request.topic()).ok()?,
        };
        let correlation = properties.correlation_data.clone();
        Some(Self { topic, qos: request.qos_level(), correlation })
    }

    /// The answer with this payload.
    pub(crate) fn result(&self, payload: Payload) -> Option<Message> {
        let answer = Message::new(self.topic.clone(), payload).ok()?.qos(self.qos);
        Some(match &self.correlation {
            Some(data) => answer.correlation_data(data.clone()),
            None => answer,
        })
    }

    /// The answer that says why there is no result; `None` if the caller would take it for one.
    pub(crate) fn failure(&self, failure: &Failure, unmarked: Unmarked) -> Option<Message> {
        let answer = self.result(Payload::copy_from_slice(failure.message().as_bytes()))?;
        match (&self.correlation, unmarked) {
            (Some(_), _) => Some(answer.user_property(MARK, failure.code())),
            (None, Unmarked::Text) => Some(answer),
            (None, Unmarked::Silence) => None,
        }
    }
}

/// What a caller that does not see properties gets instead of a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmarked {
    /// No answer, so that it times out: the text of a failure can never be taken for a result. The default.
    #[default]
    Silence,
    /// The text of the failure as an answer like any other, for callers that can tell the two apart.
    Text,
}
