//! Requests on their way: SUBSCRIBE, UNSUBSCRIBE and DISCONNECT with their options.
//!
//! Each is a value on which options are set and which is then awaited, so that one verb serves with and without
//! options. Leaves out: what becomes of a subscription once it is made (`subscription.rs`).

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use gantline_protocol::{
    AckProperties, DisconnectProperties, QoS, ReasonCode, RetainHandling, SubAck, SubscribeFilter,
    SubscribeProperties, SubscriptionOptions, TopicError, TopicFilter, UnsubAck, UnsubscribeProperties,
};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::command::{Command, Goodbye, SubscribeCommand, Unanswered, UnsubscribeCommand};
use crate::dispatch::StreamId;
use crate::error::{ConnectionError, FiltersRefused, SubscribeError, UnsubscribeError};
use crate::features::first_of;
use crate::inbox::{OnFull, StreamBounds};
use crate::subscription::{Messages, Subscription, Tap};

/// A boxed future, for requests that are too rare to count.
type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A subscription to be made: set options, then await it. Made by [`Client::subscribe`].
///
/// The options of 5.0 are an error on a connection that does not have them, unless
/// [`ConnectOptions::validate_features`](crate::ConnectOptions::validate_features) says otherwise.
///
/// Dropping the future before it resolves gives the subscription up: the server is told by an unsubscribe.
///
/// # Errors
///
/// See [`SubscribeError`].
#[derive(Clone, Debug)]
#[must_use = "nothing is subscribed until this is awaited"]
pub struct Subscribe {
    client: Client,
    filters: Vec<SubscribeFilter>,
    invalid: Option<TopicError>,
    properties: SubscribeProperties,
    bounds: Option<StreamBounds>,
    on_full: Option<OnFull>,
}

impl Subscribe {
    pub(crate) const fn new(
        client: Client,
        filters: Vec<SubscribeFilter>,
        properties: SubscribeProperties,
    ) -> Self {
        Self { client, filters, invalid: None, properties, bounds: None, on_full: None }
    }

    /// Adds a filter to the same stream. A message that matches several of them comes once.
    pub fn and<F>(mut self, filter: F, maximum_qos: QoS) -> Self
    where
        F: TryInto<TopicFilter>,
        F::Error: Into<TopicError>,
    {
        match filter.try_into() {
            Ok(filter) => {
                let options = SubscriptionOptions { maximum_qos, ..SubscriptionOptions::default() };
                self.filters.push(SubscribeFilter { filter, options });
            }
            Err(error) => self.invalid = self.invalid.or(Some(error.into())),
        }
        self
    }

    /// The filter added last: our own messages do not come back to us. 5.0 only; not with `$share`.
    pub fn no_local(mut self, no_local: bool) -> Self {
        self.last(|options| options.no_local = no_local);
        self
    }

    /// The filter added last: live messages keep the RETAIN flag that they were published with. 5.0 only.
    pub fn retain_as_published(mut self, keep: bool) -> Self {
        self.last(|options| options.retain_as_published = keep);
        self
    }

    /// The filter added last: when retained messages are sent. 5.0 only. Default: always.
    pub fn retain_handling(mut self, handling: RetainHandling) -> Self {
        self.last(|options| options.retain_handling = handling);
        self
    }

    /// A number that the server adds to each message of this subscription. 5.0 only; 1 to 268,435,455.
    pub const fn identifier(mut self, identifier: u32) -> Self {
        self.properties.subscription_identifier = Some(identifier);
        self
    }

    /// Adds a user property to SUBSCRIBE. 5.0 only.
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.user_properties.push(name, value);
        self
    }

    /// The bounds of the stream. Default: those of the client's options.
    pub const fn bounds(mut self, messages: usize, bytes: usize) -> Self {
        self.bounds = Some(StreamBounds { messages, bytes });
        self
    }

    /// What the stream does with a message above its bounds. Default: that of the client's options.
    pub const fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = Some(on_full);
        self
    }

    /// The filters with their options, in order.
    pub fn filters(&self) -> &[SubscribeFilter] {
        &self.filters
    }

    /// The properties of SUBSCRIBE.
    pub const fn properties(&self) -> &SubscribeProperties {
        &self.properties
    }

    /// The stream alone, of messages that match the filters, whoever subscribed to them; without a filter, of all
    /// messages. Nothing is sent, so there need be no connection, and the stream outlives connections and sessions; it
    /// ends with the client.
    ///
    /// # Errors
    ///
    /// A text is no topic filter.
    pub fn without_request(self) -> Result<Messages, TopicError> {
        if let Some(error) = self.invalid {
            return Err(error);
        }
        let filters = self.filters.into_iter().map(|filter| filter.filter).collect();
        Ok(Messages::of(self.client, filters, self.bounds, self.on_full))
    }

    /// The request alone: subscribes without a stream, and nobody unsubscribes by dropping something. The messages go
    /// to the streams that want them.
    ///
    /// A filter that the server refuses is no error: see [`Subscribed::reasons`]. Dropped before it resolves, the
    /// request may have been sent.
    ///
    /// # Errors
    ///
    /// See [`SubscribeError`].
    pub async fn without_stream(self) -> Result<Subscribed, SubscribeError> {
        self.check()?;
        let suback = request(&self.client, None, self.filters, self.properties).await?;
        Ok(Subscribed { reasons: suback.reasons, properties: suback.properties })
    }

    fn last(&mut self, set: impl FnOnce(&mut SubscriptionOptions)) {
        if let Some(last) = self.filters.last_mut() {
            set(&mut last.options);
        }
    }

    /// The first option that only exists where packets have properties.
    fn needs_properties(&self) -> Option<&'static str> {
        let any =
            |set: fn(&SubscriptionOptions) -> bool| self.filters.iter().any(|filter| set(&filter.options));
        first_of([
            ("no_local", any(|options| options.no_local)),
            ("retain_as_published", any(|options| options.retain_as_published)),
            ("retain_handling", any(|options| options.retain_handling != RetainHandling::default())),
            ("identifier", self.properties.subscription_identifier.is_some()),
            ("user_property", !self.properties.user_properties.is_empty()),
        ])
    }

    /// Whether this can be sent on the present connection.
    fn check(&self) -> Result<(), SubscribeError> {
        if let Some(error) = &self.invalid {
            return Err(error.clone().into());
        }
        let shared = self.client.shared();
        if !shared.is_connected() {
            return Err(SubscribeError::NotConnected);
        }
        match (shared.strict_version(), self.needs_properties()) {
            (Some(version), Some(option)) => Err(SubscribeError::NotInVersion { option, version }),
            _ => Ok(()),
        }
    }

    async fn send(self) -> Result<Subscription, SubscribeError> {
        self.check()?;
        let shared = self.client.shared();
        let filters: Vec<TopicFilter> = self.filters.iter().map(|filter| filter.filter.clone()).collect();
        // Registered before SUBSCRIBE is sent: retained messages may come ahead of SUBACK.
        let tap = Tap::open(shared, filters.clone(), self.bounds, self.on_full);
        match request(&self.client, Some(tap.id()), self.filters, self.properties).await {
            Ok(suback) => granted(self.client, tap, filters, suback),
            Err(error) => {
                if let SubscribeError::Request(_) = error {
                    tap.disown(&filters);
                }
                // Dropped, the tap unsubscribes from the rest: the server may still grant it.
                Err(error)
            }
        }
    }
}

/// Sends SUBSCRIBE and waits for its answer.
async fn request(
    client: &Client,
    stream: Option<StreamId>,
    filters: Vec<SubscribeFilter>,
    properties: SubscribeProperties,
) -> Result<SubAck, SubscribeError> {
    let (reply, answer) = oneshot::channel();
    let command = SubscribeCommand { stream, filters, properties, reply };
    let shared = client.shared();
    if shared.order(Command::Subscribe(Box::new(command))).is_err() {
        return Err(SubscribeError::NotConnected);
    }
    match answer.await {
        Err(_) => Err(shared.lost().into()),
        Ok(Err(Unanswered::TimedOut(limit))) => Err(SubscribeError::TimedOut { limit }),
        Ok(Err(Unanswered::Failed(failed))) => Err(failed.into()),
        Ok(Ok(suback)) => Ok(suback),
    }
}

/// The stream, if the server granted every filter.
fn granted(
    client: Client,
    tap: Tap,
    filters: Vec<TopicFilter>,
    suback: SubAck,
) -> Result<Subscription, SubscribeError> {
    let refused: Vec<(TopicFilter, ReasonCode)> = filters
        .iter()
        .zip(&suback.reasons)
        .filter(|(_, reason)| reason.is_error())
        .map(|(filter, &reason)| (filter.clone(), reason))
        .collect();
    if refused.is_empty() {
        return Ok(Subscription::new(client, tap, filters, suback));
    }
    let names: Vec<TopicFilter> = refused.iter().map(|(filter, _)| filter.clone()).collect();
    tap.disown(&names);
    Err(SubscribeError::Refused(Box::new(FiltersRefused { filters: refused, properties: suback.properties })))
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription, SubscribeError>;
    type IntoFuture = Answer<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// The server's answer to a subscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// One for each filter, in order: the QoS that was granted, or why not. 3.1.1 knows one reason only.
    pub reasons: Vec<ReasonCode>,
    /// What the server added. Empty on 3.x.
    pub properties: AckProperties,
}

/// An unsubscribe to be made: add filters, then await it. Made by [`Client::unsubscribe`].
///
/// Dropping the future once it was polled changes nothing: it is made, and only the answer remains unknown.
///
/// # Errors
///
/// See [`UnsubscribeError`]. That the server refuses a filter is no error: see [`Unsubscribed::reasons`].
#[derive(Clone, Debug)]
#[must_use = "nothing is unsubscribed until this is awaited"]
pub struct Unsubscribe {
    client: Client,
    filters: Vec<TopicFilter>,
    invalid: Option<TopicError>,
    properties: UnsubscribeProperties,
}

/// The server's answer to an unsubscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribed {
    /// One for each filter, in order: success, that there was no such subscription, or why not. Always success on 3.x.
    pub reasons: Vec<ReasonCode>,
    /// What the server added. Empty on 3.x.
    pub properties: AckProperties,
}

impl Unsubscribe {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, filters: Vec::new(), invalid: None, properties: UnsubscribeProperties::default() }
    }

    /// Adds a filter.
    pub fn and<F>(mut self, filter: F) -> Self
    where
        F: TryInto<TopicFilter>,
        F::Error: Into<TopicError>,
    {
        match filter.try_into() {
            Ok(filter) => self.filters.push(filter),
            Err(error) => self.invalid = self.invalid.or(Some(error.into())),
        }
        self
    }

    /// Adds a user property to UNSUBSCRIBE. 5.0 only.
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.user_properties.push(name, value);
        self
    }

    async fn send(self) -> Result<Unsubscribed, UnsubscribeError> {
        if let Some(error) = self.invalid {
            return Err(error.into());
        }
        if !self.properties.user_properties.is_empty()
            && let Some(version) = self.client.shared().strict_version()
        {
            return Err(UnsubscribeError::NotInVersion { option: "user_property", version });
        }
        let (reply, answer) = oneshot::channel();
        let command =
            UnsubscribeCommand { filters: self.filters, properties: self.properties, reply: Some(reply) };
        let shared = self.client.shared();
        if shared.order(Command::Unsubscribe(Box::new(command))).is_err() {
            return Err(UnsubscribeError::NotConnected);
        }
        match answer.await {
            Err(_) => Err(shared.lost().into()),
            Ok(Err(Unanswered::TimedOut(limit))) => Err(UnsubscribeError::TimedOut { limit }),
            Ok(Err(Unanswered::Failed(failed))) => Err(failed.into()),
            Ok(Ok(UnsubAck { reasons, properties, .. })) => Ok(Unsubscribed { reasons, properties }),
        }
    }
}

impl IntoFuture for Unsubscribe {
    type Output = Result<Unsubscribed, UnsubscribeError>;
    type IntoFuture = Answer<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A goodbye to be said: set reason and properties, then await it. Made by [`Client::disconnect`].
///
/// Dropping the future once it was polled changes nothing: the connection ends, and only nobody waits for it.
///
/// # Errors
///
/// There is no connection, or it ended before the goodbye was said.
#[derive(Clone, Debug)]
#[must_use = "the connection stays until this is awaited"]
pub struct Disconnect {
    client: Client,
    reason: ReasonCode,
    properties: DisconnectProperties,
}

impl Disconnect {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, reason: ReasonCode::Success, properties: DisconnectProperties::default() }
    }

    /// The reason. Default: a normal disconnection, after which the server forgets the will. One that DISCONNECT cannot
    /// carry is sent as [`ReasonCode::UnspecifiedError`] if it is an error, else as the default. On 3.x, which knows no
    /// reasons, any other one closes without goodbye, so that [`ReasonCode::DisconnectWithWillMessage`] means the same.
    pub const fn reason(mut self, reason: ReasonCode) -> Self {
        self.reason = reason;
        self
    }

    /// The properties, such as another session expiry; a session that ends with its connection cannot be kept by it.
    /// 5.0 only.
    pub fn properties(mut self, properties: DisconnectProperties) -> Self {
        self.properties = properties;
        self
    }

    async fn send(self) -> Result<(), ConnectionError> {
        if self.properties != DisconnectProperties::default()
            && let Some(version) = self.client.shared().strict_version()
        {
            return Err(ConnectionError::NotInVersion { option: "properties", version });
        }
        let (reply, answer) = oneshot::channel();
        let (reason, properties) = (self.reason, self.properties);
        let goodbye = Goodbye { reason, properties, reply: Some(reply) };
        self.client.order(Command::Disconnect(Box::new(goodbye)), answer).await
    }
}

impl IntoFuture for Disconnect {
    type Output = Result<(), ConnectionError>;
    type IntoFuture = Answer<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
