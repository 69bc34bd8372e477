//! Makes the server's set of subscriptions the one that is wanted: on a new connection all that it lacks, later each change.
//!
//! Several requests are on their way at once, so that a large set is restored in a few round trips. Relates to: `desire.rs`,
//! which says what to ask for. Leaves out: connections; the supervisor drops this when one ends.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gantline_client::{SubscribeError, UnsubscribeError};
use gantline_protocol::{ReasonCode, SubscribeFilter, SubscribeProperties, TopicFilter};
use tokio::time::{Sleep, sleep};

use crate::desire::Request;
use crate::event::ManagedEvent;
use crate::shared::{Shared, wake};

/// Restores the subscriptions and follows their changes, as long as it is polled. Cancel safe: what was asked and is not
/// answered is asked again on the next connection.
pub(crate) async fn synchronize(shared: &Arc<Shared>) -> Infallible {
    let mut synchronizer =
        Synchronizer { shared, running: Vec::new(), patience: Some(Box::pin(sleep(PATIENCE))) };
    std::future::poll_fn(|cx| synchronizer.poll(cx)).await
}

struct Synchronizer<'a> {
    shared: &'a Arc<Shared>,
    running: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// How long messages wait for the subscriptions.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Synchronizer<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Infallible> {
        loop {
            self.running.retain_mut(|request| request.as_mut().poll(cx).is_pending());
            if self.running.len() == REQUESTS_AT_ONCE {
                break;
            }
            let request = self.shared.desire.lock().poll_request(cx);
            let Poll::Ready(request) = request else { break };
            self.running.push(Box::pin(perform(Arc::clone(self.shared), request)));
        }
        let late = self.patience.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        if self.patience.is_some() && (late || self.running.is_empty()) {
            self.patience = None;
            let pump = self.shared.desire.lock().restored();
            wake(pump);
        }
        Poll::Pending
    }
}

async fn perform(shared: Arc<Shared>, request: Request) {
    match request {
        Request::Subscribe { filters, properties, revision } => {
            subscribe(&shared, filters, properties, revision).await;
        }
        Request::Unsubscribe { filters } => unsubscribe(&shared, filters).await,
    }
}

async fn subscribe(
    shared: &Shared,
    filters: Vec<SubscribeFilter>,
    properties: SubscribeProperties,
    revision: u64,
) {
    let request = shared.client.subscribe_to(filters.clone(), properties);
    match request.without_stream().await {
        Ok(answer) => {
            let refused = shared.desire.lock().subscribed(filters, revision, &answer.reasons);
            if !refused.is_empty() {
                shared.tell(ManagedEvent::FiltersRefused { filters: refused });
            }
        }
        // The next connection asks again.
        Err(SubscribeError::NotConnected | SubscribeError::ConnectionLost(_)) => {}
        Err(error) => {
            let error = Arc::new(error);
            if shared.desire.lock().not_subscribed(&filters, revision, &error) {
                let filters = filters.into_iter().map(|filter| filter.filter).collect();
                shared.tell(ManagedEvent::SubscribingFailed { filters, error });
            }
        }
    }
}

async fn unsubscribe(shared: &Shared, filters: Vec<TopicFilter>) {
    let mut names = filters.iter().cloned();
    let Some(first) = names.next() else { return };
    let request = names.fold(shared.client.unsubscribe(first), gantline_client::Unsubscribe::and);
    match request.await {
        Ok(answer) => {
            shared.desire.lock().unsubscribed(&filters);
            let refused: Vec<(TopicFilter, ReasonCode)> =
                filters.into_iter().zip(answer.reasons).filter(|(_, reason)| reason.is_error()).collect();
            if !refused.is_empty() {
                shared.tell(ManagedEvent::FiltersRefused { filters: refused });
            }
        }
        Err(UnsubscribeError::NotConnected | UnsubscribeError::ConnectionLost(_)) => {}
        Err(error) => {
            shared.desire.lock().unsubscribed(&filters);
            shared.tell(ManagedEvent::UnsubscribingFailed { filters, error: Arc::new(error) });
        }
    }
}

const REQUESTS_AT_ONCE: usize = 16;
/// A server that leaves a SUBSCRIBE unanswered for so long does not hold messages back any longer.
const PATIENCE: Duration = Duration::from_secs(10);
