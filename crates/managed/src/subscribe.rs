//! A subscription on its way to being wanted: the filters with their options.
//!
//! A value on which options are set and which is then awaited, as with the lower client, whose value it wraps. Relates to:
//! `desire.rs`, where it ends up. Leaves out: the request to the server, which is made again for each session.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use gantline_client::OnFull;
use gantline_protocol::{QoS, RetainHandling, TopicError, TopicFilter};

use crate::client::Handle;
use crate::membership::Membership;
use crate::shared::wake;
use crate::subscription::Subscription;

/// A subscription to be wanted: set options, then await it. Made by
/// [`ManagedClient::subscribe`](crate::ManagedClient::subscribe).
///
/// It resolves at once, whether or not there is a connection, with the stream;
/// [`Subscription::granted`] waits for the server. Options that exist in 5.0 only are refused by the connection that does not
/// have them, as an event and as the answer.
///
/// # Errors
///
/// A text is no topic filter.
#[derive(Clone, Debug)]
#[must_use = "nothing is subscribed until this is awaited"]
pub struct Subscribe {
    handle: Arc<Handle>,
    lower: gantline_client::Subscribe,
}

impl Subscribe {
    pub(crate) const fn new(handle: Arc<Handle>, lower: gantline_client::Subscribe) -> Self {
        Self { handle, lower }
    }

    /// Adds a filter to the same stream. A message that matches several of them comes once.
    pub fn and<F>(self, filter: F, maximum_qos: QoS) -> Self
    where
        F: TryInto<TopicFilter>,
        F::Error: Into<TopicError>,
    {
        Self { lower: self.lower.and(filter, maximum_qos), ..self }
    }

    /// The filter added last: our own messages do not come back to us. 5.0 only; not with `$share`.
    pub fn no_local(self, no_local: bool) -> Self {
        Self { lower: self.lower.no_local(no_local), ..self }
    }

    /// The filter added last: live messages keep the RETAIN flag that they were published with. 5.0 only.
    pub fn retain_as_published(self, keep: bool) -> Self {
        Self { lower: self.lower.retain_as_published(keep), ..self }
    }

    /// The filter added last: when retained messages are sent. 5.0 only. Default: always, which means again on each
    /// connection that finds no session.
    pub fn retain_handling(self, handling: RetainHandling) -> Self {
        Self { lower: self.lower.retain_handling(handling), ..self }
    }

    /// A number that the server adds to each message of this subscription. 5.0 only; 1 to 268,435,455.
    pub fn identifier(self, identifier: u32) -> Self {
        Self { lower: self.lower.identifier(identifier), ..self }
    }

    /// Adds a user property to SUBSCRIBE. 5.0 only.
    pub fn user_property(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { lower: self.lower.user_property(name, value), ..self }
    }

    /// The bounds of the stream. Default: those of the options of connections.
    pub fn bounds(self, messages: usize, bytes: usize) -> Self {
        Self { lower: self.lower.bounds(messages, bytes), ..self }
    }

    /// What the stream does with a message above its bounds. Default: that of the options of connections.
    pub fn on_full(self, on_full: OnFull) -> Self {
        Self { lower: self.lower.on_full(on_full), ..self }
    }

    fn want(self) -> Result<Subscription, TopicError> {
        let (filters, properties) = (self.lower.filters().to_vec(), self.lower.properties().clone());
        // The stream is there before the server is asked: retained messages may come ahead of SUBACK.
        let messages = self.lower.without_request()?;
        let names: Vec<TopicFilter> = filters.iter().map(|filter| filter.filter.clone()).collect();
        let membership = Arc::new(Membership::new(names.clone()));
        let (answers, waker) = self.handle.shared().desire.lock().want(&filters, &properties, &membership);
        wake(waker);
        Ok(Subscription::new(self.handle, messages, membership, names, answers))
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription, TopicError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.want() })
    }
}
