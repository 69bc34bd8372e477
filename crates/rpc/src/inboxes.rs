//! The subscriptions through which answers come, and what a caller remembers of each method.
//!
//! An inbox that is kept has a task that reads it and gives the answers to `calls.rs`. It is opened by the first call
//! that needs it, while the others wait, and again by the next call when it has ended, because a connection took its
//! session with it. Leaves out: inboxes of a single call, which the call itself reads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gantline_client::{PubSub, SubscribeError};
use gantline_protocol::{QoS, TopicFilter, TopicName};
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::call_id::CallId;
use crate::calls::Calls;
use crate::error::CallError;
use crate::scheme::{Inbox, TopicScheme};
use crate::stream::next;

/// What is the same for all calls of a method.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Topics and inbox are of each call.
    PerCall,
    /// Topics are of each call, the inbox is kept.
    ByTopic(Arc<KeptInbox>),
    /// Topics and inbox are of all calls.
    ByCorrelation { inbox: Arc<KeptInbox>, request: TopicName, response: TopicName },
}

impl Route {
    pub(crate) const fn kept(&self) -> Option<&Arc<KeptInbox>> {
        match self {
            Self::PerCall => None,
            Self::ByTopic(inbox) | Self::ByCorrelation { inbox, .. } => Some(inbox),
        }
    }
}

/// Methods that were called, and their inboxes.
#[derive(Debug, Default)]
pub(crate) struct Inboxes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    routes: HashMap<Box<str>, Route>,
    kept: HashMap<TopicFilter, Arc<KeptInbox>>,
}

impl Inboxes {
    /// The route of a method.
    ///
    /// # Errors
    ///
    /// The scheme has no topics for it, or there are as many methods already.
    pub(crate) fn route(
        &self,
        method: &str,
        scheme: &dyn TopicScheme,
        limit: usize,
    ) -> Result<Route, CallError> {
        if let Some(route) = self.0.lock().routes.get(method) {
            return Ok(route.clone());
        }
        // Outside of the lock, because the scheme may be the user's.
        let inbox = scheme.inbox(method)?;
        let topics = |call| {
            let request = scheme.request(method, call)?;
            Ok::<_, CallError>((scheme.response(&request)?, request))
        };
        let fixed = matches!(inbox, Inbox::ByCorrelation(_)).then(|| topics(CallId::random())).transpose()?;
        let mut state = self.0.lock();
        if state.routes.len() >= limit && !state.routes.contains_key(method) {
            return Err(CallError::TooManyMethods { limit });
        }
        let route = match (inbox, fixed) {
            (Inbox::ByTopic(filter), _) => Route::ByTopic(state.kept(filter)),
            (Inbox::ByCorrelation(filter), Some((response, request))) => {
                Route::ByCorrelation { inbox: state.kept(filter), request, response }
            }
            (Inbox::PerCall | Inbox::ByCorrelation(_), _) => Route::PerCall,
        };
        state.routes.insert(method.into(), route.clone());
        Ok(route)
    }
}

impl State {
    fn kept(&mut self, filter: TopicFilter) -> Arc<KeptInbox> {
        // Never more than methods, which are bounded.
        let number = self.kept.len() as u32;
        let inbox =
            self.kept.entry(filter).or_insert_with_key(|filter| KeptInbox::new(filter.clone(), number));
        Arc::clone(inbox)
    }
}

impl Drop for Inboxes {
    fn drop(&mut self) {
        for inbox in self.0.get_mut().kept.values() {
            if let Some(reader) = inbox.reader.lock().take() {
                reader.abort();
            }
        }
    }
}

/// An inbox that many calls use.
#[derive(Debug)]
pub(crate) struct KeptInbox {
    filter: TopicFilter,
    number: u32,
    open: AtomicBool,
    /// Held by the call that opens it.
    opening: tokio::sync::Mutex<()>,
    reader: Mutex<Option<AbortHandle>>,
}

impl KeptInbox {
    fn new(filter: TopicFilter, number: u32) -> Arc<Self> {
        let (open, opening, reader) = Default::default();
        Arc::new(Self { filter, number, open, opening, reader })
    }

    /// By which the calls that wait for it are found.
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// Whether the subscription is there. A call registers itself and then asks, so that it is either among those that
    /// are failed at the end of the subscription, or sees that end.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Subscribes, unless that is done. Cancel safe: the next call begins anew.
    ///
    /// # Errors
    ///
    /// As of a subscription.
    pub(crate) async fn open(
        self: &Arc<Self>,
        client: &impl PubSub,
        calls: &Arc<Calls>,
    ) -> Result<(), SubscribeError> {
        if self.is_open() {
            return Ok(());
        }
        let _opening = self.opening.lock().await;
        if self.is_open() {
            return Ok(());
        }
        // More than QoS 1 is not needed: of an answer that comes twice, the first counts.
        let mut answers = client.subscribe(&[(self.filter.clone(), QoS::AtLeastOnce)]).await?;
        self.open.store(true, Ordering::Release);
        let reading = Reading { inbox: Arc::clone(self), client: client.clone(), calls: Arc::clone(calls) };
        let reader = tokio::spawn(async move {
            while let Some(answer) = next(&mut answers).await {
                reading.calls.answer(answer);
            }
        });
        *self.reader.lock() = Some(reader.abort_handle());
        Ok(())
    }
}

/// The task that reads an inbox. Its end closes the inbox, also when its runtime is shut down.
struct Reading<C: PubSub> {
    inbox: Arc<KeptInbox>,
    client: C,
    calls: Arc<Calls>,
}

impl<C: PubSub> Drop for Reading<C> {
    fn drop(&mut self) {
        self.inbox.open.store(false, Ordering::Release);
        // Without a connection it is that loss which ends the calls, with its cause.
        if self.client.version().is_some() {
            self.calls.fail_inbox(self.inbox.number, &CallError::InboxClosed);
        }
    }
}
