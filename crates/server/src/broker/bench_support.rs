//! The inside of the broker for the programs in `benches/`: the index, the retained messages, the memory of both.
//!
//! Not part of the interface: it is behind the feature `bench-support` and may change with any release. Relates to:
//! `Broker`, whose functions it calls as the tasks do. Leaves out: whatever can be measured through the interface,
//! such as the way of a message.

use std::sync::Arc;

use gantline_protocol::{
    ClientId, ClientIdError, Message, Moment, Outbound, SubscriptionOptions, TopicFilter,
};

use super::Broker;
use super::publication::Publication;
use super::publish::Publisher;
use super::slot::ClientSlot;
use super::subscriptions::Matches;
use crate::options::ServerOptions;

/// A broker without tasks and clock.
#[derive(Debug)]
pub struct Inside {
    broker: Broker,
    matches: Matches<Arc<ClientSlot>>,
}

/// A client that can subscribe. It is not connected, so that nothing is ever pushed to it with QoS 0.
#[derive(Clone, Debug)]
pub struct Client(Arc<ClientSlot>);

impl Inside {
    /// A broker that holds nothing.
    pub fn new() -> Self {
        Self { broker: Broker::new(ServerOptions::default()), matches: Matches::default() }
    }

    /// A client, which the broker does not know until it subscribes.
    ///
    /// # Errors
    ///
    /// The client id is none.
    pub fn client(&self, id: &str) -> Result<Client, ClientIdError> {
        Ok(Client(Arc::new(self.broker.new_slot(ClientId::new(id)?))))
    }

    /// Subscribes with QoS 0. Returns whether this took the place of an earlier subscription.
    pub fn subscribe(&self, client: &Client, filter: &TopicFilter) -> bool {
        self.broker.subscribe(&client.0, filter, SubscriptionOptions::default(), None)
    }

    /// Ends a subscription. Returns whether there was one.
    pub fn unsubscribe(&self, client: &Client, filter: &TopicFilter) -> bool {
        self.broker.unsubscribe(&client.0, filter)
    }

    /// Matches a topic, past all caches. Returns how many clients have subscribed to it.
    pub fn matches(&mut self, topic: &str) -> usize {
        self.broker.subscriptions.read().matches(topic, None, &mut self.matches);
        let count = self.matches.targets.len();
        self.matches.clear();
        count
    }

    /// Publishes a message, which is kept if it says so. Returns how many have subscribed to its topic.
    pub fn publish(&self, message: &Message) -> usize {
        let outbound = Outbound::new(message, Moment::ZERO);
        let mut publisher = Publisher::default();
        let receivers = publisher
            .publish(&self.broker, &mut Publication::of_message(&outbound), Moment::ZERO)
            .unwrap_or(0);
        publisher.settle(&self.broker, Moment::ZERO);
        receivers
    }

    /// Looks up the first retained messages that match a pattern, at most so many. Returns how many there are.
    pub fn retained(&self, pattern: &str, most: usize) -> usize {
        let mut found = Vec::new();
        self.broker.retained.read().page(pattern, None, Moment::ZERO, most, usize::MAX, &mut found);
        found.len()
    }
}

impl Default for Inside {
    fn default() -> Self {
        Self::new()
    }
}
