//! Administration: what an application can see and do about the sessions and the retained messages of its server.
//!
//! Everything here looks at the shared state directly, under one short lock at a time, so it is cheap, never waits for a
//! client, and works for clients that are away. Only [`RunningServer::delete_session`] waits, for the connection to let
//! go. Relates to: [`RunningServer`]; `broker/`, which does it. Leaves out: sums over everything, which are
//! [`Stats`](crate::Stats).

use std::sync::Arc;
use std::time::Duration;

use gantline_protocol::{
    ClientId, Message, Moment, PacketType, ReasonCode, SubscriptionOptions, TopicFilter, TopicName,
};

use crate::broker::retained::{Page, Retained};
use crate::broker::sessions::Ending;
use crate::broker::slot::{ClientSlot, Order};
use crate::claim::claim;
use crate::events::{ServerEvent, ServerEvents};
use crate::server::RunningServer;

/// A session at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionStatus {
    /// The client id.
    pub client_id: ClientId,
    /// Whether there is a connection.
    pub connected: bool,
    /// What the client has subscribed to, in no order.
    pub subscriptions: Vec<(TopicFilter, SubscriptionOptions)>,
    /// How many messages wait for the client, those in flight not counted.
    pub queued_messages: u32,
    /// Memory that they hold, in bytes.
    pub queued_bytes: u32,
    /// Sum of the messages that were lost at the bounds of its queue or its Maximum Packet Size.
    pub messages_dropped: u64,
    /// Time since something last came from the client; `None` if it is away.
    pub silent_for: Option<Duration>,
    /// When the session of a client that is away ends; `None` if it does not end by itself, or there is a connection.
    pub expires_in: Option<Duration>,
    /// Whether a will is published if the client is lost, or waits for its delay.
    pub has_will: bool,
}

impl RunningServer {
    /// All sessions, of clients that are connected and of those that are away, in no order. With many sessions this is a
    /// long list, and by its end its beginning may be out of date.
    pub fn sessions(&self) -> Vec<SessionStatus> {
        let now = self.core.clock.now();
        let slots = self.core.broker.clients.all();
        slots.iter().filter_map(|slot| status(slot, now)).collect()
    }

    /// The session of this client.
    pub fn session(&self, client_id: &str) -> Option<SessionStatus> {
        status(&self.slot(client_id)?, self.core.clock.now())
    }

    /// What happens from now on to clients and sessions. Up to 1,024 events wait for a listener that is slow.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use gantline_server::{Server, ServerEvent, ServerOptions};
    ///
    /// let server = Server::new(ServerOptions::default()).listen("memory://hall").start().await?;
    /// let mut events = server.events();
    /// tokio::spawn(async move {
    ///     while let Some(event) = events.next().await {
    ///         if let ServerEvent::Connected { client_id, peer, .. } = event {
    ///             println!("{client_id} has come from {peer}");
    ///         }
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(&self) -> ServerEvents {
        self.core.broker.events.listen()
    }

    /// Disconnects a client with this reason, which 5.0 clients are told; of a reason that DISCONNECT cannot carry,
    /// "administrative action" is made. Its session goes on as after a lost connection, and its will is published.
    /// Returns whether there was a connection to end.
    pub fn disconnect(&self, client_id: &str, reason: ReasonCode) -> bool {
        let Some(slot) = self.slot(client_id) else { return false };
        let epoch = slot.with_state(|state| state.session.is_none().then_some(state.epoch));
        let Some(epoch) = epoch else { return false };
        if let Some(waker) = slot.kick(epoch, in_disconnect(reason)) {
            waker.wake();
        }
        true
    }

    /// Asks the [authorisation](crate::Server::authorize) anew about everything that a client may do: what it was permitted
    /// to publish is forgotten, and each of its subscriptions is asked about, in its own task. Those that are denied end, and
    /// what waits for them is not sent. A client that is away is asked about when it comes back in any case. Returns whether
    /// there was a connection.
    pub fn reauthorize(&self, client_id: &str) -> bool {
        let Some(slot) = self.slot(client_id) else { return false };
        if !slot.profile().connected {
            return false;
        }
        if let Some(waker) = slot.mailbox.push_control(Order::Reauthorize) {
            waker.wake();
        }
        true
    }

    /// Ends a session: disconnects its client with "administrative action" if it is there, and forgets its subscriptions
    /// and what waits for it. Its will is published. Returns whether there was a session.
    ///
    /// Waits until the connection has let go, which takes no longer than a turn of its task. Cancel safe: dropped before,
    /// the client is disconnected and its session stays.
    pub async fn delete_session(&self, client_id: &str) -> bool {
        if self.session(client_id).is_none() {
            return false;
        }
        self.disconnect(client_id, ReasonCode::AdministrativeAction);
        let Ok(id) = ClientId::new(client_id) else { return false };
        let mut lease = claim(&self.core.broker, self.core.clock, &id).await;
        let present = lease.slot().with_state(|state| state.present);
        if present {
            lease.ends(Ending::WithWill);
            lease.set_expiry(0);
        }
        present
    }

    /// Forgets what waits for a client, in flight messages excepted; they are counted as dropped. Returns how many they
    /// were; `None` if there is no such session.
    pub fn clear_queue(&self, client_id: &str) -> Option<u32> {
        let slot = self.slot(client_id)?;
        let cleared = slot.mailbox.clear();
        slot.count_dropped(cleared);
        self.core.broker.counters.add_dropped(cleared.into());
        Some(cleared)
    }

    /// Subscribes on behalf of a client, connected or away. It gets what is published from now on; retained messages are
    /// not sent, because it did not ask. Returns whether there is such a session.
    pub fn subscribe_client(
        &self,
        client_id: &str,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> bool {
        self.with_session(client_id, |slot| {
            self.core.broker.subscribe(slot, filter, options, None);
            let (client_id, filter) = (slot.id().clone(), filter.clone());
            self.core.broker.events.announce(|| ServerEvent::Subscribed { client_id, filter, options });
        })
        .is_some()
    }

    /// Ends a subscription on behalf of a client. Returns whether there was one.
    pub fn unsubscribe_client(&self, client_id: &str, filter: &TopicFilter) -> bool {
        let unsubscribe = |slot: &Arc<ClientSlot>| {
            let removed = self.core.broker.unsubscribe(slot, filter);
            if removed {
                let (client_id, filter) = (slot.id().clone(), filter.clone());
                self.core.broker.events.announce(|| ServerEvent::Unsubscribed { client_id, filter });
            }
            removed
        };
        self.with_session(client_id, unsubscribe).unwrap_or(false)
    }

    /// The retained message of a topic.
    pub fn retained(&self, topic: &TopicName) -> Option<Message> {
        let now = self.core.clock.now();
        let tree = self.core.broker.retained.read();
        let retained = tree.get(topic.as_str(), now).cloned();
        drop(tree);
        retained.map(|retained| message(&retained, now))
    }

    /// The retained messages that a filter matches, in the order of their topics. To set one, publish it; to change one
    /// silently is not possible.
    pub fn retained_messages(&self, filter: &TopicFilter) -> Vec<Message> {
        let now = self.core.clock.now();
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut page = Vec::new();
            let tree = self.core.broker.retained.read();
            let more = tree.page(filter.pattern(), after.as_deref(), now, MESSAGES, BYTES, &mut page);
            drop(tree);
            found.extend(page.iter().map(|retained| message(retained, now)));
            match more {
                Page::More { last } => after = Some(last),
                Page::Done => return found,
            }
        }
    }

    /// Clears the retained messages that a filter matches; nobody is sent anything. Returns how many there were.
    pub fn clear_retained(&self, filter: &TopicFilter) -> usize {
        let mut cleared = 0;
        for message in self.retained_messages(filter) {
            cleared += usize::from(self.core.broker.clear_retained(message.topic().as_str()));
        }
        cleared
    }

    fn slot(&self, client_id: &str) -> Option<Arc<ClientSlot>> {
        self.core.broker.clients.get(client_id)
    }

    /// Calls `with` if there is such a session.
    fn with_session<R>(&self, client_id: &str, with: impl FnOnce(&Arc<ClientSlot>) -> R) -> Option<R> {
        let slot = self.slot(client_id)?;
        slot.with_state(|state| state.present).then(|| with(&slot))
    }
}

fn status(slot: &Arc<ClientSlot>, now: Moment) -> Option<SessionStatus> {
    let (once, queue) = slot.mailbox.load();
    let connected = slot.profile().connected;
    let (subscriptions, expires, has_will) = slot.with_state(|state| {
        let subscriptions = state.subscriptions.iter().map(|(filter, options)| (filter.clone(), *options));
        state.present.then(|| (subscriptions.collect(), state.expires, state.will.is_some()))
    })?;
    Some(SessionStatus {
        client_id: slot.id().clone(),
        connected,
        subscriptions,
        queued_messages: once.messages + queue.messages,
        queued_bytes: once.bytes + queue.bytes,
        messages_dropped: slot.dropped(),
        silent_for: connected.then(|| now.since(slot.heard())),
        expires_in: (expires != Moment::NEVER).then(|| expires.since(now)),
        has_will,
    })
}

fn message(retained: &Retained, now: Moment) -> Message {
    let message = retained.outbound();
    message.frame.to_message(message.qos, true, message.remaining(now), &[])
}

/// A reason that DISCONNECT may carry and that says that something is wrong.
fn in_disconnect(reason: ReasonCode) -> ReasonCode {
    let fits = reason.is_error() && reason.allowed_in(PacketType::Disconnect);
    if fits { reason } else { ReasonCode::AdministrativeAction }
}

/// Retained messages and bytes that are read under one lock.
const MESSAGES: usize = 256;
const BYTES: usize = 64 << 10;
