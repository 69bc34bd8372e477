//! The state of a server in numbers.
//!
//! Relates to: [`RunningServer::stats`](crate::RunningServer::stats). Leaves out: single clients.

/// A picture of a server at one moment. Sums count from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that are open, those in their handshake and in their farewell included.
    pub connections: usize,
    /// Sessions, of clients that are connected and of those that are away.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained_messages: usize,
    /// Memory that they hold, in bytes.
    pub retained_bytes: usize,
    /// Topics whose retained messages have changed and are not saved yet; 0 without a store.
    pub retained_unsaved: usize,
    /// Sum of the times that the store of retained messages failed. Nothing is lost by that until the server stops.
    pub retained_store_failures: u64,
    /// Memory that messages hold which wait for clients, in bytes. The first 4 KiB of each client are not counted.
    pub queued_bytes: u64,
    /// Sum of the connections that were accepted.
    pub connected: u64,
    /// Sum of the connections that were refused because there were too many.
    pub refused: u64,
    /// Sum of the connections that the [validator](crate::Server::validate_connections) refused.
    pub rejected: u64,
    /// Sum of the messages that clients published.
    pub messages_received: u64,
    /// Sum of the copies of them that were handed to receivers.
    pub messages_routed: u64,
    /// Sum of the messages that were lost at a bound: a full queue, a receiver's Maximum Packet Size, the number of
    /// topic levels.
    pub messages_dropped: u64,
    /// Sum of the messages that expired before they were sent, retained ones included.
    pub messages_expired: u64,
    /// Sum of the connections that ended because the client broke the protocol, or a load balancer in front of it that of
    /// its header.
    pub violations: u64,
    /// Sum of the messages that hooks dropped or refused, for all their receivers or for one.
    pub messages_intercepted: u64,
    /// Sum of the hooks that panicked, each of which ended the connection that it was about.
    pub hook_panics: u64,
    /// Sum of the hooks that did not decide within the [time-out](crate::ServerOptions::hook_timeout).
    pub hook_timeouts: u64,
}
