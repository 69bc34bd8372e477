//! Subscribing and unsubscribing: the index, the list of the client, and the caches that depend on them.
//!
//! Relates to: [`Subscriptions`](super::subscriptions::Subscriptions), the index. Leaves out: permissions, and the
//! replay of retained messages, which the connection does.

use std::num::NonZeroU32;
use std::sync::Arc;

use gantline_protocol::{SubscriptionOptions, TopicFilter};

use super::Broker;
use super::slot::ClientSlot;
use super::subscriptions::{Subscriber, Subscription};
use crate::events::ServerEvent;

/// The client has as many subscriptions as it may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooMany;

impl Broker {
    /// Subscribes a client. Returns whether this took the place of an earlier subscription to the same filter
    /// [MQTT-3.8.4-3].
    ///
    /// Messages that are published after this returns reach the client.
    pub(crate) fn subscribe(
        &self,
        slot: &Arc<ClientSlot>,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        id: Option<NonZeroU32>,
    ) -> bool {
        self.subscribe_within(slot, filter, options, id, usize::MAX).unwrap_or(false)
    }

    /// As [`subscribe`](Self::subscribe), unless that would give the client more subscriptions than `most`.
    pub(crate) fn subscribe_within(
        &self,
        slot: &Arc<ClientSlot>,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        id: Option<NonZeroU32>,
        most: usize,
    ) -> Result<bool, TooMany> {
        let subscription = Subscription {
            subscriber: Arc::clone(slot),
            qos: options.maximum_qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            id,
        };
        let replaced = slot.with_state(|state| {
            let subscriptions = &mut state.subscriptions;
            if subscriptions.len() >= most && !subscriptions.contains_key(filter) {
                return Err(TooMany);
            }
            subscriptions.insert(filter.clone(), options);
            Ok(self.subscriptions.write().insert(filter, subscription))
        })?;
        self.generations.changed(filter);
        Ok(replaced)
    }

    /// Ends a subscription; returns whether there was one.
    pub(crate) fn unsubscribe(&self, slot: &Arc<ClientSlot>, filter: &TopicFilter) -> bool {
        let removed = slot.with_state(|state| {
            state.subscriptions.remove(filter);
            self.subscriptions.write().remove(filter, slot.key())
        });
        if removed {
            self.generations.changed(filter);
        }
        removed
    }

    /// As [`unsubscribe`](Self::unsubscribe), and announces it. Not for use under a lock.
    pub(crate) fn end_subscription(&self, slot: &Arc<ClientSlot>, filter: &TopicFilter) -> bool {
        let removed = self.unsubscribe(slot, filter);
        if removed {
            let (client_id, filter) = (slot.id().clone(), filter.clone());
            self.events.announce(|| ServerEvent::Unsubscribed { client_id, filter });
        }
        removed
    }

    /// Ends all subscriptions of a client, a few at a time, so that others are not held up.
    pub(crate) fn unsubscribe_all(&self, slot: &Arc<ClientSlot>) {
        let filters = slot.with_state(|state| std::mem::take(&mut state.subscriptions));
        let filters: Vec<TopicFilter> = filters.into_keys().collect();
        for slice in filters.chunks(FILTERS_AT_ONCE) {
            let mut index = self.subscriptions.write();
            for filter in slice {
                index.remove(filter, slot.key());
            }
            drop(index);
            slice.iter().for_each(|filter| self.generations.changed(filter));
        }
    }

    /// The layout of the client has changed: routes that were found for the earlier one are void.
    pub(crate) fn outdate_routes_to(&self, slot: &Arc<ClientSlot>) {
        slot.with_state(|state| {
            state.subscriptions.keys().for_each(|filter| self.generations.changed(filter))
        });
    }
}

/// Filters that are removed under one lock of the index.
const FILTERS_AT_ONCE: usize = 64;
