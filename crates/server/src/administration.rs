//! Administration: what an application can see and do about the sessions and the retained messages of its server.
//!
//! Everything here looks at the shared state directly, under one short lock at a time, so it is cheap, never waits for
//! a client, and works for clients that are away. Only [`RunningServer::delete_session`] waits, for the connection to
//! let go. Relates to: [`RunningServer`]; `broker/`, which does it. Leaves out: sums over everything, which are
//! [`Metrics`](crate::Metrics).

use std::sync::Arc;
use std::time::Duration;

use gantline_protocol::{
    ClientId, Message, Moment, Outbound, PacketType, ProtocolVersion, ReasonCode, SubscriptionOptions,
    TopicFilter, TopicName,
};
use gantline_transport::PeerInfo;

use crate::broker::publication::Publication;
use crate::broker::record::{Details, Traffic};
use crate::broker::retained::{Page, Retained};
use crate::broker::sessions::Ending;
use crate::broker::slot::{ClientSlot, Order};
use crate::claim::claim;
use crate::error::PublishError;
use crate::events::{DropCause, MessageEvents, ServerEvent, ServerEvents};
use crate::server::RunningServer;
use crate::session_items::SessionItems;

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
    /// How many messages with QoS 1 and 2 were sent to the client and are not acknowledged.
    pub inflight: u32,
    /// What the client has sent since the session began, or the sums were [reset](RunningServer::reset_statistics).
    pub received: ClientTraffic,
    /// What was sent to the client since then.
    pub sent: ClientTraffic,
    /// The other end of the connection, or of the last one.
    pub peer: Option<Arc<PeerInfo>>,
    /// The version that the client speaks, or spoke last.
    pub version: Option<ProtocolVersion>,
    /// Time since the session began.
    pub age: Duration,
    /// Time since the connection began; `None` if the client is away.
    pub connected_for: Option<Duration>,
    /// Time since the connection ended; `None` if the client is there.
    pub away_for: Option<Duration>,
    /// Time since something last came from the client; `None` if it is away.
    pub silent_for: Option<Duration>,
    /// Time since a packet last came that was more than a sign of life (PINGREQ); `None` if the client is away.
    pub inactive_for: Option<Duration>,
    /// Time since something was last sent to the client; `None` if it is away.
    pub unaddressed_for: Option<Duration>,
    /// When the session of a client that is away ends; `None` if it does not end by itself, or there is a connection.
    pub expires_in: Option<Duration>,
    /// Whether a will is published if the client is lost, or waits for its delay.
    pub has_will: bool,
}

/// What went one way between a client and the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientTraffic {
    /// PUBLISH packets. One that is sent again counts once.
    pub messages: u64,
    /// Packets of all kinds.
    pub packets: u64,
    /// Bytes of all packets; what TLS and WebSocket add is not in it.
    pub bytes: u64,
}

impl ClientTraffic {
    fn of(traffic: &Traffic) -> Self {
        let Traffic { messages, packets, bytes } = traffic;
        Self { messages: messages.get(), packets: packets.get(), bytes: bytes.get() }
    }
}

impl RunningServer {
    /// The sessions of clients that are connected, in no order.
    pub fn clients(&self) -> Vec<SessionStatus> {
        self.statuses(|slot| slot.profile().connected)
    }

    /// All sessions, of clients that are connected and of those that are away, in no order. With many sessions this is
    /// a long list, and by its end its beginning may be out of date.
    pub fn sessions(&self) -> Vec<SessionStatus> {
        self.statuses(|_| true)
    }

    fn statuses(&self, wanted: impl Fn(&ClientSlot) -> bool) -> Vec<SessionStatus> {
        let now = self.core.clock.now();
        let slots = self.core.broker.clients.all();
        slots.iter().filter(|slot| wanted(slot)).filter_map(|slot| status(slot, now)).collect()
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

    /// What happens from now on to messages: who publishes what, what nobody wants, what was acknowledged and retained.
    /// Up to 1,024 events wait for a listener that is slow. As long as there is one, each message costs a copy; to get
    /// messages themselves [subscribe](Self::subscribe).
    pub fn message_events(&self) -> MessageEvents {
        self.core.broker.events.listen_to_messages()
    }

    /// The items that the application keeps with a session; `None` if there is no such session. They end with it.
    pub fn session_items(&self, client_id: &str) -> Option<SessionItems> {
        self.with_session(client_id, |slot| slot.record.items())
    }

    /// Begins the sums of a client at zero: traffic and lost messages. Those of the server go on. Returns whether there
    /// is such a session.
    pub fn reset_statistics(&self, client_id: &str) -> bool {
        self.with_session(client_id, |slot| slot.record.reset()).is_some()
    }

    /// Puts a message into the queue of one client, connected or away, whatever it has subscribed to. Waits for nobody;
    /// at the bounds of the queue the [policy](crate::ServerOptions::overflow) applies. Returns whether there is such a
    /// session that takes it: one that is away takes no QoS 0. Where a subscription of the client is
    /// [denied](Self::reauthorize) while it waits, a message that matches no other is withdrawn.
    ///
    /// # Errors
    ///
    /// The message cannot be expressed, or the server is shut down.
    pub fn enqueue(&self, client_id: &str, message: &Message) -> Result<bool, PublishError> {
        self.check(message)?;
        let now = self.core.clock.now();
        let outbound = Outbound::new(message, now);
        let enqueue = |slot: &Arc<ClientSlot>| self.core.broker.enqueue(slot, outbound, now);
        Ok(self.with_session(client_id, enqueue).unwrap_or(false))
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

    /// Asks the [authorisation](crate::Server::authorize) anew about everything that a client may do: what it was
    /// permitted to publish is forgotten, and each of its subscriptions is asked about, in its own task. Those that are
    /// denied end, and of what waits, nothing with QoS 1 or 2 is sent that matches none of the others; the members that
    /// are left of a share group get what came by it. A client that is away is asked about when it comes back in any
    /// case. Returns whether there was a connection.
    pub fn reauthorize(&self, client_id: &str) -> bool {
        let Some(slot) = self.slot(client_id) else { return false };
        let is_lent = slot.with_state(|state| {
            // For a connection that is being made, and has asked already.
            state.reauthorized = state.reauthorized.wrapping_add(1);
            state.session.is_none()
        });
        if !is_lent {
            return false;
        }
        if let Some(waker) = slot.mailbox.push_control(Order::Reauthorize) {
            waker.wake();
        }
        true
    }

    /// Ends a session: disconnects its client with "administrative action" if it is there, and forgets its
    /// subscriptions and what waits for it. Its will is published. Returns whether there was a session.
    ///
    /// Waits until the connection has let go, which takes no longer than a turn of its task. Cancel safe: dropped
    /// before, the client is disconnected and its session stays.
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
        self.core.broker.count_lost(&slot, DropCause::QueueCleared, cleared);
        Some(cleared)
    }

    /// Subscribes on behalf of a client, connected or away. It gets what is published from now on; retained messages
    /// are not sent, because it did not ask. Returns whether there is such a session.
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
        let unsubscribe = |slot: &Arc<ClientSlot>| self.core.broker.end_subscription(slot, filter);
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

    /// Keeps a message for later subscribers in place of the one that its topic has, whether or not it says that it is
    /// to be retained; nobody is sent anything. An empty payload clears the topic. To send it too, publish it.
    ///
    /// # Errors
    ///
    /// The message cannot be expressed, there is no room for it, or the server is shut down.
    pub fn set_retained(&self, message: &Message) -> Result<(), PublishError> {
        self.check(message)?;
        let now = self.core.clock.now();
        let outbound = Outbound::new(message, now);
        Ok(self.core.broker.retain(&mut Publication::of_message(&outbound), None, now)?)
    }

    /// The retained messages that a filter matches, in the order of their topics.
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
            cleared += usize::from(self.core.broker.clear_retained(message.topic().as_str(), None));
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
    let (subscriptions, expires, has_will, inflight) = slot.with_state(|state| {
        let subscriptions = state.subscriptions.iter().map(|(filter, options)| (filter.clone(), *options));
        // While the session is lent, its holder says how many there are.
        let inflight = state.session.as_ref().map(|session| session.flows.outgoing().len() as u32);
        state.present.then(|| (subscriptions.collect(), state.expires, state.will.is_some(), inflight))
    })?;
    let record = &slot.record;
    let Details { created, changed, peer } = record.details();
    let (peer, version) = peer.unzip();
    Some(SessionStatus {
        client_id: slot.id().clone(),
        connected,
        subscriptions,
        queued_messages: once.messages + queue.messages,
        queued_bytes: once.bytes + queue.bytes,
        messages_dropped: slot.dropped(),
        inflight: inflight.unwrap_or_else(|| record.inflight()),
        received: ClientTraffic::of(&record.received),
        sent: ClientTraffic::of(&record.sent),
        peer,
        version,
        age: now.since(created),
        connected_for: connected.then(|| now.since(changed)),
        away_for: (!connected).then(|| now.since(changed)),
        silent_for: connected.then(|| now.since(slot.heard())),
        inactive_for: connected.then(|| now.since(record.active())),
        unaddressed_for: connected.then(|| now.since(record.spoken())),
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
