//! The responder before it answers: [`RpcServer`], its handlers and options, and [`Request`], what a handler gets.
//!
//! Relates to: `answering.rs`, which is what it does once it is started. Leaves out: typed handlers (`json.rs`).

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use gantline_client::PubSub;
use gantline_protocol::{Message, Payload, QoS, TopicError, TopicFilter};

use crate::answering::RunningRpcServer;
use crate::error::{Failure, InvalidMethod, ServeError};
use crate::reply::{ReplyTo, Unmarked};
use crate::scheme::{MqttNetTopics, TopicScheme};

/// A request, as a handler gets it.
#[derive(Clone, Debug)]
pub struct Request {
    method: Arc<str>,
    message: Message,
}

impl Request {
    /// The method, for handlers of several.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The argument.
    pub const fn payload(&self) -> &Payload {
        self.message.payload()
    }

    /// The argument as text.
    ///
    /// # Errors
    ///
    /// It is not UTF-8.
    pub fn payload_str(&self) -> Result<&str, std::str::Utf8Error> {
        self.message.payload_str()
    }

    /// The whole message, with its properties.
    pub const fn message(&self) -> &Message {
        &self.message
    }
}

pub(crate) type Handling = Pin<Box<dyn Future<Output = Result<Payload, Failure>> + Send>>;
pub(crate) type Handler = Arc<dyn Fn(Request) -> Handling + Send + Sync>;

/// Answers calls, over any client: register handlers, then [`start`](Self::start).
#[must_use = "nothing is answered until this is started"]
pub struct RpcServer {
    methods: HashMap<Arc<str>, Handler>,
    invalid: Option<InvalidMethod>,
    scheme: Arc<dyn TopicScheme>,
    group: Option<String>,
    answers_to: Option<TopicFilter>,
    pub(crate) unmarked: Unmarked,
    pub(crate) concurrency: usize,
    pub(crate) waiting: usize,
    pub(crate) bytes: usize,
}

impl Default for RpcServer {
    fn default() -> Self {
        Self {
            methods: HashMap::new(),
            invalid: None,
            scheme: Arc::new(MqttNetTopics::new()),
            group: None,
            answers_to: None,
            unmarked: Unmarked::default(),
            concurrency: 256,
            waiting: 1024,
            bytes: 16 << 20,
        }
    }
}

impl RpcServer {
    /// A responder without methods.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a handler, in place of an earlier one of the same name. The payload that it returns is the answer; a
    /// [`Failure`], which every error becomes by `?`, is told to callers that can see it. A panic is a failure, too.
    ///
    /// A wrong name is an error of [`start`](Self::start).
    pub fn method<F, T, R>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(Request) -> T + Send + Sync + 'static,
        T: Future<Output = Result<R, Failure>> + Send + 'static,
        R: Into<Payload>,
    {
        if let Err(invalid) = InvalidMethod::check(name) {
            self.invalid = self.invalid.or(Some(invalid));
            return self;
        }
        let handler = move |request| -> Handling {
            let handling = handler(request);
            Box::pin(async { handling.await.map(Into::into) })
        };
        self.methods.insert(name.into(), Arc::new(handler));
        self
    }

    /// The topics of requests and, where a request names none, of answers. Default [`MqttNetTopics`], which is right
    /// for callers with [`ResponseInbox`](crate::ResponseInbox), too.
    pub fn scheme(mut self, scheme: impl TopicScheme) -> Self {
        self.scheme = Arc::new(scheme);
        self
    }

    /// Shares the requests with all responders of this group, so that each is answered by one of them. Default none:
    /// each responder answers each request, and the caller takes the first answer.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = Some(name.into());
        self
    }

    /// Answers only to response topics that this filter matches, because with one that a request names, a caller can
    /// have the responder publish where it may not publish itself. Default everywhere.
    pub fn answers_to(mut self, filter: TopicFilter) -> Self {
        self.answers_to = Some(filter);
        self
    }

    /// What a caller that does not see properties gets instead of a failure. Default [`Unmarked::Silence`].
    pub const fn unmarked_failures(mut self, unmarked: Unmarked) -> Self {
        self.unmarked = unmarked;
        self
    }

    /// How many handlers may run at once. Default 256; 0 is taken for 1.
    pub const fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers;
        self
    }

    /// How many more requests may wait for a handler. Default 1,024. A request beyond is not handled: its caller is
    /// told [`Failure::BUSY`], and it is counted.
    pub const fn waiting(mut self, requests: usize) -> Self {
        self.waiting = requests;
        self
    }

    /// How many bytes the payloads of requests may have that run or wait; a single request may always be larger.
    /// Default 16 MiB. A request beyond is told [`Failure::BUSY`], too.
    pub const fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Subscribes to the requests and answers them; resolves when the server has granted the subscription. Cancel
    /// safe. Has to be polled on a tokio runtime.
    ///
    /// A request is acknowledged when it is taken, not when it is answered: one whose responder ends meanwhile is not
    /// carried out again, and its caller times out.
    ///
    /// # Errors
    ///
    /// See [`ServeError`].
    pub async fn start<C: PubSub>(self, client: C) -> Result<RunningRpcServer, ServeError> {
        let requests = client.subscribe(&self.filters()?).await?;
        Ok(RunningRpcServer::start(client, self, requests))
    }

    fn filters(&self) -> Result<Vec<(TopicFilter, QoS)>, ServeError> {
        if let Some(invalid) = &self.invalid {
            return Err(invalid.clone().into());
        }
        if self.methods.is_empty() {
            return Err(ServeError::NoMethods);
        }
        let filter = |method: &Arc<str>| -> Result<_, TopicError> {
            let filter = self.scheme.requests(method)?;
            let filter = match &self.group {
                Some(group) => TopicFilter::new(format!("$share/{group}/{filter}"))?,
                None => filter,
            };
            Ok((filter, QoS::ExactlyOnce))
        };
        Ok(self.methods.keys().map(filter).collect::<Result<_, _>>()?)
    }
}

impl RpcServer {
    /// What a message asks for: the handler, what it gets, and where its answer goes. `None` if it is no request that
    /// can be answered. One that was retained is none: it is as old as can be, and would come again with each
    /// subscription.
    pub(crate) fn understand(&self, message: Message) -> Option<(Handler, Request, ReplyTo)> {
        if message.is_retained() {
            return None;
        }
        let (method, handler) = self.methods.get_key_value(self.scheme.method(message.topic())?)?;
        let reply = ReplyTo::of(&message, &*self.scheme, self.answers_to.as_ref())?;
        Some((Arc::clone(handler), Request { method: Arc::clone(method), message }, reply))
    }
}

impl fmt::Debug for RpcServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcServer").field("methods", &self.methods.keys()).finish_non_exhaustive()
    }
}
