//! Giving hooks to a server.
//!
//! Relates to: [`Server`], whose other settings are in `server.rs`. Leaves out: when hooks are asked.

use std::sync::Arc;

use gantline_protocol::packet::SubscribeFilter;
use gantline_protocol::{Message, TopicFilter};

use super::{
    Access, DeliveryAttempt, Hooks, IntoDecision, Outcome, PacketView, Permission, PublishAttempt,
    SubscribeAttempt, UnsubscribeAttempt,
};
use crate::server::Server;

/// Hooks. A closure returns what it decides, or a future of it (`'static`: it copies what it needs), or a
/// [`Decision`](super::Decision) where that varies. Of two hooks for the same thing, the last counts.
///
/// A hook runs in the task of the connection that it is about. What blocks it blocks all connections of its thread, so
/// what takes time belongs into a future: then only this connection waits, for at most the [hook
/// time-out](crate::ServerOptions::hook_timeout), and order is kept. A hook that panics ends the connection, and is
/// counted.
impl Server {
    /// Asks for permission: for each publish, wills included, before it is [intercepted](Self::intercept_publishes),
    /// and for each subscription, when it is made, when a session that has it is resumed, and on
    /// [`reauthorize`](crate::RunningServer::reauthorize). A subscription that is denied on resuming ends, and what is
    /// queued or in flight for it is not sent; all of them are asked about one after the other before the client is
    /// answered, within the [connect time-out](crate::ServerOptions::connect_timeout). What is permitted by a
    /// subscription is everything that its filter matches. Messages of the application need no permission. Default:
    /// everything is permitted.
    ///
    /// ```
    /// use gantline_server::{Access, Action, Permission, Server, ServerOptions};
    ///
    /// let server = Server::new(ServerOptions::default()).authorize(|access: &Access<'_>| {
    ///     let own = format!("devices/{}/", access.client().client_id());
    ///     match access.action() {
    ///         Action::Publish { topic, .. } if topic.starts_with(&own) => Permission::Allow,
    ///         Action::Subscribe { filter } if filter.as_str().starts_with(&own) => Permission::Allow,
    ///         _ => Permission::Deny,
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn authorize<F, R>(mut self, authorize: F) -> Self
    where
        F: Fn(&Access<'_>) -> R + Send + Sync + 'static,
        R: IntoDecision<Permission>,
    {
        self.hooks().authorize = Some(Arc::new(move |access: &Access<'_>| authorize(access).into_decision()));
        self
    }

    /// Intercepts every message before it is retained and before anybody gets it: those of clients, wills, and those of
    /// the application. [`Outcome::Refuse`] is what PUBACK or PUBREC say; a message with QoS 0 is dropped.
    ///
    /// ```
    /// use gantline_server::{Outcome, PublishAttempt, Server, ServerOptions, TopicName};
    ///
    /// let server = Server::new(ServerOptions::default()).intercept_publishes(|publish: &PublishAttempt<'_>| {
    ///     if publish.topic().starts_with("internal/") {
    ///         return Outcome::Drop;
    ///     }
    ///     match TopicName::new(format!("site/{}", publish.topic())) {
    ///         Ok(topic) => Outcome::Replace(publish.to_message().with_topic(topic)),
    ///         Err(_) => Outcome::Forward,
    ///     }
    /// });
    /// ```
    ///
    /// One that asks somebody else:
    ///
    /// ```
    /// # use gantline_server::{Outcome, PublishAttempt, Server, ServerOptions};
    /// # async fn is_known(topic: &str) -> bool { !topic.is_empty() }
    /// let server = Server::new(ServerOptions::default()).intercept_publishes(|publish: &PublishAttempt<'_>| {
    ///     let topic = publish.topic().to_owned();
    ///     async move { if is_known(&topic).await { Outcome::Forward } else { Outcome::Drop } }
    /// });
    /// ```
    #[must_use]
    pub fn intercept_publishes<F, R>(mut self, intercept: F) -> Self
    where
        F: Fn(&PublishAttempt<'_>) -> R + Send + Sync + 'static,
        R: IntoDecision<Outcome<Message>>,
    {
        self.hooks().publish =
            Some(Arc::new(move |attempt: &PublishAttempt<'_>| intercept(attempt).into_decision().into()));
        self
    }

    /// Intercepts every subscription that a client asks for: another filter or other options, a refusal in SUBACK.
    #[must_use]
    pub fn intercept_subscriptions<F, R>(mut self, intercept: F) -> Self
    where
        F: Fn(&SubscribeAttempt<'_>) -> R + Send + Sync + 'static,
        R: IntoDecision<Outcome<SubscribeFilter>>,
    {
        self.hooks().subscribe =
            Some(Arc::new(move |attempt: &SubscribeAttempt<'_>| intercept(attempt).into_decision()));
        self
    }

    /// Intercepts every filter that a client unsubscribes from. Where filters are
    /// [replaced](Self::intercept_subscriptions), they are to be replaced here too.
    #[must_use]
    pub fn intercept_unsubscriptions<F, R>(mut self, intercept: F) -> Self
    where
        F: Fn(&UnsubscribeAttempt<'_>) -> R + Send + Sync + 'static,
        R: IntoDecision<Outcome<TopicFilter>>,
    {
        self.hooks().unsubscribe =
            Some(Arc::new(move |attempt: &UnsubscribeAttempt<'_>| intercept(attempt).into_decision()));
        self
    }

    /// Intercepts every message on its way to each client that receives it, when it leaves the client's queue; retained
    /// messages too. There is nobody to tell, so [`Outcome::Refuse`] is as [`Outcome::Drop`]; a message in its place is
    /// sent with the lower of both QoS, because the subscription bounds it. The hook runs in the task of the receiver,
    /// which waits alone if it takes its time. A message about which it panics is dropped, so that its client can come
    /// back. With this hook a message costs more for each receiver.
    #[must_use]
    pub fn intercept_deliveries<F, R>(mut self, intercept: F) -> Self
    where
        F: Fn(&DeliveryAttempt<'_>) -> R + Send + Sync + 'static,
        R: IntoDecision<Outcome<Message>>,
    {
        self.hooks().deliver =
            Some(Arc::new(move |attempt: &DeliveryAttempt<'_>| intercept(attempt).into_decision()));
        self
    }

    /// Tells of each message that nobody has subscribed to.
    #[must_use]
    pub fn on_undelivered<F>(mut self, undelivered: F) -> Self
    where
        F: Fn(&PublishAttempt<'_>) + Send + Sync + 'static,
    {
        self.hooks().undelivered = Some(Arc::new(undelivered));
        self
    }

    /// Shows every packet of every client that was accepted, as it comes and as it is sent: CONNECT and CONNACK, what
    /// follows, and a DISCONNECT of the server; but not an AUTH before CONNACK. It cannot be changed. For debugging: it
    /// costs.
    #[must_use]
    pub fn inspect_packets<F>(mut self, inspect: F) -> Self
    where
        F: Fn(&PacketView<'_>) + Send + Sync + 'static,
    {
        self.hooks().inspect = Some(Arc::new(inspect));
        self
    }

    fn hooks(&mut self) -> &mut Hooks {
        Arc::make_mut(&mut self.options.hooks)
    }
}
