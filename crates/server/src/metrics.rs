//! The state of a server in numbers.
//!
//! Relates to: [`RunningServer::metrics`], which gives a [`Metrics`]; `broker/counters.rs`, where the sums grow;
//! `sys.rs`, which publishes some of them. Leaves out: single clients, which have a
//! [`SessionStatus`](crate::SessionStatus).

use std::time::Duration;

use gantline_protocol::Moment;

use crate::broker::Broker;
use crate::broker::counters::{Counters, Flows, Traffic};
use crate::broker::unsaved::Unsaved;
use crate::events::DropCause;
use crate::server::RunningServer;

/// A picture of a server at one moment. Sums count from its start, and never fall.
///
/// Connections add what they counted once a turn, so that a sum may be a turn behind, and sums of one picture need not
/// fit each other to the last message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Since when the server runs.
    pub uptime: Duration,

    /// Connections that are open, those in their handshake and in their farewell included.
    pub connections: usize,
    /// The most connections that were open at a time.
    pub connections_highest: usize,
    /// Sum of the connections that were accepted from the network, whatever became of them.
    pub accepted: u64,
    /// Sum of the connections whose clients were accepted.
    pub connected: u64,
    /// Sum of the connections that were refused because there were [too many](crate::ServerOptions::max_connections).
    pub refused: u64,
    /// Sum of those that were refused because there were
    /// [too many of their address](crate::ServerOptions::max_connections_per_address).
    pub refused_addresses: u64,
    /// Sum of those that were refused because there were [too many sessions](crate::ServerOptions::max_sessions).
    pub refused_sessions: u64,
    /// Sum of those that the [validator](crate::Server::validate_connections) refused.
    pub rejected: u64,
    /// Sum of those that an [authentication method](crate::Server::authentication_method) refused.
    pub unauthenticated: u64,
    /// Sum of those whose handshake, CONNECT or authentication did not end
    /// [in time](crate::ServerOptions::connect_timeout).
    pub timed_out: u64,
    /// Sum of the connections that ended because the client broke the protocol, or a load balancer in front of it that
    /// of its header.
    pub violations: u64,

    /// Clients that are connected.
    pub clients: usize,
    /// The most clients that were connected at a time.
    pub clients_highest: usize,
    /// Sessions, of clients that are connected and of those that are away.
    pub sessions: usize,
    /// Sum of the sessions that ended because their client stayed away for too long.
    pub sessions_expired: u64,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Those among them that are shared (`$share`).
    pub shared_subscriptions: usize,
    /// Sum of the filters that were refused because the client had
    /// [too many](crate::ServerOptions::max_subscriptions_per_client).
    pub subscriptions_refused: u64,

    /// Sum of what clients sent.
    pub received: TrafficMetrics,
    /// Sum of what was sent to clients. What a connection is told last is not in it.
    pub sent: TrafficMetrics,
    /// Sum of the copies of clients' messages that were handed to receivers.
    pub messages_routed: u64,
    /// Sum of the messages to whose topic nobody has subscribed; `$SYS` is not in it.
    pub messages_unconsumed: u64,
    /// Sum of the messages that were lost, by cause.
    pub dropped: DropMetrics,
    /// Sum of the messages that [hooks](crate::Server::intercept_publishes) dropped or refused, for all their receivers
    /// or for one.
    pub messages_intercepted: u64,
    /// Sum of the hooks that panicked, each of which ended the connection that it was about.
    pub hook_panics: u64,
    /// Sum of the hooks that did not decide within the [time-out](crate::ServerOptions::hook_timeout).
    pub hook_timeouts: u64,
    /// Sum of the messages that expired before they were sent, retained ones included.
    pub messages_expired: u64,

    /// Messages that wait for clients, connected or away; those in flight are not in it.
    pub queued_messages: u64,
    /// Memory that they hold, in bytes. The first 4 KiB of each client are not counted.
    pub queued_bytes: u64,
    /// Sum of the times that a publisher was held back because receivers could not keep up.
    pub holds: u64,
    /// Sum of the times that a receiver was so slow that publishers do not wait for it any more.
    pub quarantines: u64,
    /// Sum of the times that a client was left unread because it sent faster than its
    /// [rate](crate::ServerOptions::max_message_rate).
    pub throttled: u64,

    /// Retained messages, those of `$SYS` included.
    pub retained_messages: usize,
    /// Memory that they hold, in bytes.
    pub retained_bytes: usize,
    /// Topics whose retained messages have changed and are not saved yet; 0 without a store.
    pub retained_unsaved: usize,
    /// Sum of the times that the store of retained messages failed. Nothing is lost by that until the server stops.
    pub retained_store_failures: u64,
}

/// What went one way between all clients and the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrafficMetrics {
    /// PUBLISH packets with QoS 0, 1 and 2. One that is sent again counts once.
    pub messages_by_qos: [u64; 3],
    /// What these packets measured, in bytes, their headers included.
    pub publish_bytes: u64,
    /// Packets of all kinds.
    pub packets: u64,
    /// Bytes of all packets; what TLS and WebSocket add is not in it.
    pub bytes: u64,
}

impl TrafficMetrics {
    /// PUBLISH packets of any QoS.
    pub const fn messages(&self) -> u64 {
        let [once, at_least_once, exactly_once] = self.messages_by_qos;
        once + at_least_once + exactly_once
    }

    fn of(counters: &Counters, way: fn(&Flows) -> &Traffic) -> Self {
        Self {
            messages_by_qos: [0, 1, 2].map(|qos| counters.sum(|flows| &way(flows).messages[qos])),
            publish_bytes: counters.sum(|flows| &way(flows).publish_bytes),
            packets: counters.sum(|flows| &way(flows).packets),
            bytes: counters.sum(|flows| &way(flows).bytes),
        }
    }
}

/// Messages that were lost, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropMetrics([u64; DropCause::ALL.len()]);

impl DropMetrics {
    /// How many were lost for this cause.
    pub const fn by(&self, cause: DropCause) -> u64 {
        self.0[cause as usize]
    }

    /// How many were lost.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl RunningServer {
    /// The state of the server in numbers. It looks at the queue of every client: once a second is no burden, but with
    /// a million sessions it takes tens of milliseconds.
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.core.broker, self.core.clock.now())
    }
}

impl Metrics {
    /// The numbers of a broker that has run since the beginning of time.
    pub(crate) fn of(broker: &Broker, now: Moment) -> Self {
        let (retained_messages, retained_bytes) = {
            let tree = broker.retained.read();
            (tree.count(), tree.bytes())
        };
        let (subscriptions, shared_subscriptions) = broker.subscription_counts();
        let counters = &broker.counters;
        Self {
            uptime: now.since(Moment::ZERO),
            connections: counters.connections.get(),
            connections_highest: counters.connections.highest(),
            accepted: counters.accepted.get(),
            connected: counters.connected.get(),
            refused: counters.refused.get(),
            refused_addresses: counters.refused_addresses.get(),
            refused_sessions: counters.refused_sessions.get(),
            rejected: counters.rejected.get(),
            unauthenticated: counters.unauthenticated.get(),
            timed_out: counters.timed_out.get(),
            violations: counters.violations.get(),
            clients: counters.clients.get(),
            clients_highest: counters.clients.highest(),
            sessions: broker.clients.len(),
            sessions_expired: counters.sessions_expired.get(),
            subscriptions,
            shared_subscriptions,
            subscriptions_refused: counters.subscriptions_refused.get(),
            received: TrafficMetrics::of(counters, |flows| &flows.received),
            sent: TrafficMetrics::of(counters, |flows| &flows.sent),
            messages_routed: counters.sum(|flows| &flows.routed),
            messages_unconsumed: counters.unconsumed.get(),
            dropped: DropMetrics(DropCause::ALL.map(|cause| counters.dropped(cause))),
            messages_intercepted: counters.intercepted.get(),
            hook_panics: counters.hook_panics.get(),
            hook_timeouts: counters.hook_timeouts.get(),
            messages_expired: counters.expired.get(),
            queued_messages: broker.queued_messages(),
            queued_bytes: broker.queued_bytes(),
            holds: counters.holds.get(),
            quarantines: counters.quarantines.get(),
            throttled: counters.throttled.get(),
            retained_messages,
            retained_bytes,
            retained_unsaved: broker.unsaved.get().map_or(0, Unsaved::len),
            retained_store_failures: counters.store_failures.get(),
        }
    }
}
