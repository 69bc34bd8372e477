//! A managed client as something to build upon: see [`PubSub`].
//!
//! Publishes go to the lower client and pass the outbox by, since what is published this way is worth nothing later.
//! They are accepted once the subscriptions of the connection are restored. Subscriptions are managed ones. Relates to:
//! RPC, which works over it. Leaves out: waiting for a connection.

use std::future::Future;
use std::sync::Arc;

use gantline_client::{FiltersRefused, Losses, PubSub, PublishError, PublishResult, SubscribeError};
use gantline_protocol::{AckProperties, Message, ProtocolVersion, QoS, SubscribeProperties, TopicFilter};

use crate::client::ManagedClient;
use crate::subscribe::Subscribe;
use crate::subscription::{FilterError, Subscription};

impl PubSub for ManagedClient {
    type Subscription = Subscription;
    type Losses = Losses;

    fn publish(&self, message: Message) -> impl Future<Output = Result<PublishResult, PublishError>> + Send {
        let publish = self.is_restored().then(|| self.client().publish(message));
        async {
            match publish {
                Some(publish) => publish.await,
                None => Err(PublishError::NotConnected),
            }
        }
    }

    async fn subscribe(&self, filters: &[(TopicFilter, QoS)]) -> Result<Subscription, SubscribeError> {
        let mut states = self.watch_state();
        if !states.borrow_and_update().is_connected() {
            return Err(SubscribeError::NotConnected);
        }
        let lower = self.client().subscribe_to(Vec::new(), SubscribeProperties::default());
        let lower = filters.iter().fold(lower, |lower, (filter, qos)| lower.and(filter.clone(), *qos));
        let mut subscription = Subscribe::new(self.handle(), lower).await?;
        // Whatever ends this early drops the subscription, which gives its filters up.
        let granted = tokio::select! {
            granted = subscription.granted() => granted,
            _ = states.wait_for(|state| !state.is_connected()) => return Err(SubscribeError::NotConnected),
        };
        match granted {
            Ok(_) => Ok(subscription),
            Err(FilterError::Refused { filter, reason }) => {
                let (filters, properties) = (vec![(filter, reason)], AckProperties::default());
                Err(SubscribeError::Refused(Box::new(FiltersRefused { filters, properties })))
            }
            Err(FilterError::Failed { error, .. }) => Err(Arc::unwrap_or_clone(error)),
            Err(FilterError::Unsubscribed { .. }) => Err(SubscribeError::NotConnected),
        }
    }

    fn losses(&self) -> Losses {
        self.client().losses()
    }

    fn version(&self) -> Option<ProtocolVersion> {
        PubSub::version(self.client())
    }
}
