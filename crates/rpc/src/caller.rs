//! The caller: [`RpcClient`].
//!
//! A call is its own future and no task: it registers itself in `calls.rs`, publishes, and is woken by the answer, by
//! what became of its request, or by the loss of the connection, whatever comes first. Leaves out: topics
//! (`scheme.rs`), and typed calls (`json.rs`).

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use gantline_client::{PubSub, PublishError, PublishResult, SubscribeError};
use gantline_protocol::{Message, Payload, ProtocolVersion, QoS, ReasonCode, TopicFilter, TopicName};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::calls::{Call, Calls, Expected};
use crate::error::{CallError, CallStage, InvalidMethod};
use crate::inboxes::{Inboxes, Route};
use crate::losses::Losses;
use crate::scheme::{MqttNetTopics, TopicScheme};

/// Bounds and topics of a caller.
#[derive(Clone, Debug)]
pub struct RpcClientOptions {
    scheme: Arc<dyn TopicScheme>,
    calls_in_flight: usize,
    methods: usize,
}

impl Default for RpcClientOptions {
    fn default() -> Self {
        Self { scheme: Arc::new(MqttNetTopics::new()), calls_in_flight: 1024, methods: 1024 }
    }
}

impl RpcClientOptions {
    /// On which topics requests and answers travel. Default [`MqttNetTopics`].
    #[must_use]
    pub fn scheme(mut self, scheme: impl TopicScheme) -> Self {
        self.scheme = Arc::new(scheme);
        self
    }

    /// How many calls may be under way at once; further ones wait for their turn, within their time-out. Default
    /// 1,024, which is as many messages as a stream of the client holds: more answers of QoS 0 in one moment could
    /// push each other out. 0 is taken for 1.
    #[must_use]
    pub const fn calls_in_flight(mut self, calls: usize) -> Self {
        self.calls_in_flight = calls;
        self
    }

    /// How many different methods may be called, because each is remembered and may have a subscription of its own.
    /// Default 1,024.
    #[must_use]
    pub const fn methods(mut self, methods: usize) -> Self {
        self.methods = methods;
        self
    }
}

/// Calls methods of responders, over any client. Clone it, share it; any number of calls may be under way.
///
/// Dropping the last clone unsubscribes from the answers.
pub struct RpcClient<C> {
    inner: Arc<Inner<C>>,
}

struct Inner<C> {
    client: C,
    options: RpcClientOptions,
    calls: Arc<Calls>,
    inboxes: Inboxes,
    turns: Semaphore,
    losses: Arc<Losses>,
    /// The task that ends the calls when the connection is lost.
    watch: Mutex<Option<AbortHandle>>,
}

/// What a caller has to do with at this moment, and had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RpcClientStats {
    /// Calls that are under way.
    pub in_flight: usize,
    /// Messages that came to an inbox and that no call waited for: answers that came late or twice, and with
    /// [`MqttNetTopics`] those to other callers of the same methods.
    pub stray: u64,
}

impl<C: PubSub> RpcClient<C> {
    /// A caller with the default options. The client may be used for everything else, too.
    pub fn new(client: C) -> Self {
        Self::with_options(client, RpcClientOptions::default())
    }

    /// A caller with these options.
    pub fn with_options(client: C, options: RpcClientOptions) -> Self {
        let turns = Semaphore::new(options.calls_in_flight.clamp(1, Semaphore::MAX_PERMITS));
        let losses = Arc::new(Losses::new(client.losses()));
        let (calls, inboxes, watch) = Default::default();
        Self { inner: Arc::new(Inner { client, options, calls, inboxes, turns, losses, watch }) }
    }

    /// Calls a method and resolves with the answer, whose payload is the result. Calls of one caller are independent
    /// of each other and their answers may come in any order.
    ///
    /// With QoS 1 or 2 on MQTT 5, [`CallError::NoResponder`] comes at once where nobody subscribes to the requests,
    /// and a request that the time-out overtakes is not delivered any more, because it expires. With QoS 0, and on the
    /// older versions, such calls time out.
    ///
    /// Cancel safe in that a future that is dropped leaves nothing behind and its answer is ignored; the request may
    /// have been sent. Has to be polled on a tokio runtime.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn execute(
        &self,
        method: &str,
        payload: impl Into<Payload>,
        qos: QoS,
        timeout: Duration,
    ) -> Result<Message, CallError> {
        let request = Request { method, payload: payload.into(), qos, timeout };
        let mut stage = CallStage::Turn;
        let answer = tokio::time::timeout(timeout, self.inner.call(request, &mut stage)).await;
        answer.unwrap_or(Err(CallError::TimedOut { limit: timeout, waiting_for: stage }))
    }

    /// The client that it calls over.
    pub fn client(&self) -> &C {
        &self.inner.client
    }

    /// Counters.
    pub fn stats(&self) -> RpcClientStats {
        RpcClientStats { in_flight: self.inner.calls.len(), stray: self.inner.calls.stray() }
    }
}

/// A call to be made.
struct Request<'a> {
    method: &'a str,
    payload: Payload,
    qos: QoS,
    timeout: Duration,
}

impl<C: PubSub> Inner<C> {
    async fn call(&self, request: Request<'_>, stage: &mut CallStage) -> Result<Message, CallError> {
        InvalidMethod::check(request.method)?;
        self.watch();
        // It is never closed, so there is no error.
        let Ok(_turn) = self.turns.acquire().await else { return Err(CallError::NotConnected) };
        let version = self.client.version().ok_or(CallError::NotConnected)?;
        *stage = CallStage::Inbox;
        let scheme = &*self.options.scheme;
        let route = self.inboxes.route(request.method, scheme, self.options.methods)?;
        if matches!(route, Route::ByCorrelation { .. }) && !version.has_properties() {
            return Err(CallError::NeedsProperties { version });
        }
        let call = self.begin(&route).await?;
        let (topic, response) = match &route {
            Route::ByCorrelation { request, response, .. } => (request.clone(), response.clone()),
            Route::PerCall | Route::ByTopic(_) => {
                let topic = scheme.request(request.method, call.id())?;
                let response = scheme.response(&topic)?;
                (topic, response)
            }
        };
        call.expect(match &route {
            Route::ByCorrelation { .. } => Expected::Nothing(response.clone()),
            Route::PerCall | Route::ByTopic(_) => Expected::Topic(response.clone()),
        });
        let own = match &route {
            Route::PerCall => Some(self.subscribe(&response).await?),
            Route::ByTopic(_) | Route::ByCorrelation { .. } => None,
        };
        *stage = CallStage::Answer;
        let message = request.message(topic, response, &call, version)?;
        self.answer(&call, message, own).await
    }

    /// Has the connection watched from now on.
    fn watch(&self) {
        let mut watch = self.watch.lock();
        // It ends with the runtime of the call that began it.
        if watch.as_ref().is_some_and(|watch| !watch.is_finished()) {
            return;
        }
        let (losses, calls) = (Arc::clone(&self.losses), Arc::clone(&self.calls));
        let task = tokio::spawn(async move { losses.watch(&calls).await });
        *watch = Some(task.abort_handle());
    }

    /// Registers a call, with its inbox open if that is a kept one.
    async fn begin(&self, route: &Route) -> Result<Call<'_>, CallError> {
        let begin = |inbox| self.calls.begin(inbox, self.losses.hear(&self.calls));
        let Some(inbox) = route.kept() else { return Ok(begin(None)) };
        loop {
            inbox.open(&self.client, &self.calls).await.map_err(unsubscribed)?;
            let call = begin(Some(inbox.number()));
            if inbox.is_open() {
                return Ok(call);
            }
        }
    }

    /// The inbox of one call.
    async fn subscribe(&self, response: &TopicName) -> Result<C::Subscription, CallError> {
        let filter = TopicFilter::new(response.as_str())?;
        self.client.subscribe(&[(filter, QoS::AtLeastOnce)]).await.map_err(unsubscribed)
    }

    /// Publishes the request and waits for the answer, or for what tells that there will be none.
    async fn answer(
        &self,
        call: &Call<'_>,
        message: Message,
        mut own: Option<C::Subscription>,
    ) -> Result<Message, CallError> {
        let mut publish = pin!(self.client.publish(message));
        let mut published = false;
        poll_fn(|cx| {
            if let Some(own) = &mut own {
                self.poll_own(own, cx)?;
            }
            if let Poll::Ready(outcome) = call.poll(cx) {
                return Poll::Ready(outcome);
            }
            if !published && let Poll::Ready(result) = publish.as_mut().poll(cx) {
                published = true;
                sent(result)?;
            }
            Poll::Pending
        })
        .await
    }

    /// Takes what came to the inbox of one call.
    fn poll_own(&self, own: &mut C::Subscription, cx: &mut Context<'_>) -> Result<(), CallError> {
        while let Poll::Ready(answer) = Pin::new(&mut *own).poll_next(cx) {
            match answer {
                Some(answer) => self.calls.answer(answer),
                // Without a connection it is that loss which ends the call, with its cause.
                None if self.client.version().is_none() => break,
                None => return Err(CallError::InboxClosed),
            }
        }
        Ok(())
    }
}

impl Request<'_> {
    fn message(
        self,
        topic: TopicName,
        response: TopicName,
        call: &Call<'_>,
        version: ProtocolVersion,
    ) -> Result<Message, CallError> {
        let message = Message::new(topic, self.payload)?.qos(self.qos);
        if !version.has_properties() {
            return Ok(message);
        }
        let message = message.response_topic(response).correlation_data(call.id().to_correlation());
        Ok(match self.qos {
            // Nobody keeps it.
            QoS::AtMostOnce => message,
            QoS::AtLeastOnce | QoS::ExactlyOnce => message.expiry(whole_seconds(self.timeout)),
        })
    }
}

/// In seconds, at least one, rounded up.
fn whole_seconds(time: Duration) -> u32 {
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

/// Whether the request may still be answered.
fn sent(result: Result<PublishResult, PublishError>) -> Result<(), CallError> {
    match result {
        Ok(result) if result.reason == ReasonCode::NoMatchingSubscribers => Err(CallError::NoResponder),
        Ok(_) => Ok(()),
        Err(PublishError::NotConnected) => Err(CallError::NotConnected),
        Err(PublishError::ConnectionLost(lost)) => Err(CallError::ConnectionLost(lost.cause)),
        Err(error) => Err(CallError::NotSent(error)),
    }
}

fn unsubscribed(error: SubscribeError) -> CallError {
    match error {
        SubscribeError::NotConnected => CallError::NotConnected,
        SubscribeError::ConnectionLost(lost) => CallError::ConnectionLost(lost.cause),
        error => CallError::InboxRefused(error),
    }
}

impl<C> Drop for Inner<C> {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.get_mut() {
            watch.abort();
        }
    }
}

impl<C> Clone for RpcClient<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<C> fmt::Debug for RpcClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { options, calls, .. } = &*self.inner;
        f.debug_struct("RpcClient").field("options", options).field("in_flight", &calls.len()).finish()
    }
}
