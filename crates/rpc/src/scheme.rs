//! Topic schemes: on which topics a call goes out and its answer comes back.
//!
//! Two are built in, with the same shape of topics: [`MqttNetTopics`], the default, for every version and every
//! device, and [`ResponseInbox`] for MQTT 5 on both ends. Relates to: `caller.rs` and `responder.rs`, which use one.
//! Leaves out: how answers find their calls (`calls.rs`).

use std::fmt;

use gantline_protocol::{TopicError, TopicFilter, TopicName};

use crate::call_id::CallId;

/// Where requests and answers go. Implement it for topics of your own; caller and responder must use the same ones.
///
/// [`method`](Self::method) and [`requests`](Self::requests) are the responder's half, [`request`](Self::request) and
/// [`inbox`](Self::inbox) the caller's; method names are [checked](crate::InvalidMethod) before they come here.
pub trait TopicScheme: fmt::Debug + Send + Sync + 'static {
    /// The topic of a request.
    ///
    /// # Errors
    ///
    /// There is no such topic; the method name is too long, say.
    fn request(&self, method: &str, call: CallId) -> Result<TopicName, TopicError>;

    /// The topic of the answer to a request, where the request does not name one.
    ///
    /// # Errors
    ///
    /// There is no such topic.
    fn response(&self, request: &TopicName) -> Result<TopicName, TopicError>;

    /// What a caller subscribes to for its answers. Asked once for each method.
    ///
    /// # Errors
    ///
    /// There is no such filter.
    fn inbox(&self, method: &str) -> Result<Inbox, TopicError>;

    /// What a responder subscribes to for the requests of a method.
    ///
    /// # Errors
    ///
    /// There is no such filter.
    fn requests(&self, method: &str) -> Result<TopicFilter, TopicError>;

    /// The method that a request is for; `None` if the topic is none of a request.
    fn method<'a>(&self, request: &'a TopicName) -> Option<&'a str>;
}

/// How the answers reach a caller, and how it tells to which call one belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inbox {
    /// Each call subscribes to the topic of its answer and unsubscribes afterwards. Two more round trips for each
    /// call, but nobody else's answers.
    PerCall,
    /// One subscription for many calls, kept. Calls are told apart by the topic of the answer, which must be different
    /// for each, or by correlation data where the responder gives them back.
    ByTopic(TopicFilter),
    /// One subscription for many calls, kept. Calls are told apart by correlation data alone, so the topics of a
    /// method are the same for all calls. Only on MQTT 5, with responders that give the data back.
    ByCorrelation(TopicFilter),
}

/// The topics of MQTTnet: `MQTTnet.RPC/<32 hex digits>/<method>`, and `/response` behind it for the answer.
///
/// The digits are different for each call, so any device that knows these topics can answer, whatever its version. On
/// MQTT 5 a request has response topic and correlation data in addition.
#[derive(Clone, Debug, Default)]
pub struct MqttNetTopics {
    per_call: bool,
}

impl MqttNetTopics {
    /// One subscription for each method, `MQTTnet.RPC/+/<method>/response`, made by its first call and kept. That is
    /// what [`Default`] is too.
    ///
    /// A call costs no round trip for it. But the server sends all answers of that method to all callers of it, and
    /// each drops those of the others: with more than a handful of busy callers prefer [`ResponseInbox`], or
    /// [`subscription_per_call`](Self::subscription_per_call).
    pub const fn new() -> Self {
        Self { per_call: false }
    }

    /// A subscription for each call, as MQTTnet makes it: for servers that allow only that, and for many callers of
    /// one method over older versions.
    #[must_use]
    pub const fn subscription_per_call(mut self) -> Self {
        self.per_call = true;
        self
    }
}

impl TopicScheme for MqttNetTopics {
    fn request(&self, method: &str, call: CallId) -> Result<TopicName, TopicError> {
        TopicName::new(format!("{PREFIX}/{call}/{method}"))
    }

    fn response(&self, request: &TopicName) -> Result<TopicName, TopicError> {
        TopicName::new(format!("{request}/{RESPONSE}"))
    }

    fn inbox(&self, method: &str) -> Result<Inbox, TopicError> {
        if self.per_call {
            return Ok(Inbox::PerCall);
        }
        Ok(Inbox::ByTopic(TopicFilter::new(format!("{PREFIX}/+/{method}/{RESPONSE}"))?))
    }

    fn requests(&self, method: &str) -> Result<TopicFilter, TopicError> {
        TopicFilter::new(format!("{PREFIX}/+/{method}"))
    }

    fn method<'a>(&self, request: &'a TopicName) -> Option<&'a str> {
        let (_, method) = request.as_str().strip_prefix(PREFIX)?.strip_prefix('/')?.split_once('/')?;
        (!method.contains('/')).then_some(method)
    }
}

/// The same shape of topics with one inbox for everything, for MQTT 5: the digits name the caller, and calls are told
/// apart by correlation data.
///
/// The fastest scheme and the one for many callers: one subscription, `MQTTnet.RPC/<digits>/+/response`, which no
/// other caller's answer matches, and topics that repeat, so that topic aliases apply. Caller and responder must be on
/// MQTT 5, and the responder must give the correlation data back; one that knows nothing but the topics is found out
/// by its first answer ([`CallError::Uncorrelated`](crate::CallError::Uncorrelated)).
#[derive(Clone, Debug)]
pub struct ResponseInbox {
    caller: CallId,
}

impl ResponseInbox {
    /// An inbox with a name that nobody can guess.
    pub fn new() -> Self {
        Self { caller: CallId::random() }
    }
}

impl Default for ResponseInbox {
    fn default() -> Self {
        Self::new()
    }
}

impl TopicScheme for ResponseInbox {
    fn request(&self, method: &str, _: CallId) -> Result<TopicName, TopicError> {
        MqttNetTopics::new().request(method, self.caller)
    }

    fn response(&self, request: &TopicName) -> Result<TopicName, TopicError> {
        MqttNetTopics::new().response(request)
    }

    fn inbox(&self, _: &str) -> Result<Inbox, TopicError> {
        Ok(Inbox::ByCorrelation(TopicFilter::new(format!("{PREFIX}/{}/+/{RESPONSE}", self.caller))?))
    }

    fn requests(&self, method: &str) -> Result<TopicFilter, TopicError> {
        MqttNetTopics::new().requests(method)
    }

    fn method<'a>(&self, request: &'a TopicName) -> Option<&'a str> {
        MqttNetTopics::new().method(request)
    }
}

const PREFIX: &str = "MQTTnet.RPC";
const RESPONSE: &str = "response";

#[cfg(test)]
mod tests {
    use super::{CallId, Inbox, MqttNetTopics, ResponseInbox, TopicName, TopicScheme};

    #[test]
    fn topics_are_those_of_mqttnet() {
        let call = CallId::at(1);
        let scheme = MqttNetTopics::new();
        let request = scheme.request("deviceA.ping", call).unwrap();
        assert_eq!(request.as_str(), format!("MQTTnet.RPC/{call}/deviceA.ping"));
        let response = scheme.response(&request).unwrap();
        assert_eq!(response.as_str(), format!("MQTTnet.RPC/{call}/deviceA.ping/response"));
        assert_eq!(scheme.requests("deviceA.ping").unwrap().as_str(), "MQTTnet.RPC/+/deviceA.ping");
        let Inbox::ByTopic(inbox) = scheme.inbox("deviceA.ping").unwrap() else { panic!() };
        assert!(inbox.matches(response.as_str()));
        assert_eq!(scheme.subscription_per_call().inbox("deviceA.ping").unwrap(), Inbox::PerCall);
    }

    #[test]
    fn an_inbox_takes_the_answers_of_one_caller_only() {
        let (ours, theirs) = (ResponseInbox::new(), ResponseInbox::new());
        let Inbox::ByCorrelation(inbox) = ours.inbox("ping").unwrap() else { panic!() };
        let response = |scheme: &ResponseInbox| {
            scheme.response(&scheme.request("ping", CallId::random()).unwrap()).unwrap()
        };
        assert!(inbox.matches(response(&ours).as_str()));
        assert!(!inbox.matches(response(&theirs).as_str()));
        assert_eq!(response(&ours), response(&ours));
    }

    #[test]
    fn only_topics_of_requests_have_a_method() {
        let method = |topic: &str| {
            let topic = TopicName::new(topic).unwrap();
            MqttNetTopics::new().method(&topic).map(str::to_owned)
        };
        assert_eq!(method("MQTTnet.RPC/anything/ping").as_deref(), Some("ping"));
        for topic in ["MQTTnet.RPC", "MQTTnet.RPC/id", "MQTTnet.RPC/id/ping/response", "MQTTnet.RPCs/id/ping"]
        {
            assert_eq!(method(topic), None, "{topic}");
        }
    }
}
