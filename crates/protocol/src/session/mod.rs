//! What survives a connection: the messages in flight in both directions.
//!
//! A [`Session`] is plain data. It is owned by one connection at a time, which changes it packet by packet
//! ([`Connection`](crate::Connection)), and is parked between connections. Leaves out: subscriptions, waiting
//! messages and expiry, which belong to the server's own records, and everything that ends with the connection
//! (aliases, open receipts, quotas).

mod incoming;
mod outgoing;

pub use self::incoming::Incoming;
pub(crate) use self::incoming::{Arrival, Departure};
pub use self::outgoing::{InFlight, Outgoing, Stage};
pub(crate) use self::outgoing::{Progress, Request, Resend};
use crate::outbound::Outbound;
use crate::packet_id::PacketId;

/// The message flows of one client id that are not complete, in both directions.
///
/// A fresh one is [`Session::default`] and holds no allocation. It is moved, or lent, into a connection and comes
/// back from there when the connection ends.
#[derive(Debug, Default)]
pub struct Session {
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: Incoming,
}

impl Session {
    /// Whether no flow is open in either direction, so that nothing would be lost by forgetting it.
    pub fn is_empty(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.is_empty()
    }

    /// What we sent and the peer has not yet acknowledged.
    pub const fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// What the peer sent with QoS 2 and has not yet released.
    pub const fn incoming(&self) -> &Incoming {
        &self.incoming
    }

    /// Puts back a publish of QoS 1 or 2 that an earlier process has sent, behind those that are there: the next
    /// connection that resumes the session sends it again. `tag` comes back when its flow is complete.
    pub fn restore_sent(&mut self, id: PacketId, tag: u32, message: Outbound) {
        self.outgoing.restore(id, tag, Some(message));
    }

    /// Puts back a publish of QoS 2 that an earlier process has sent and the peer has taken over (PUBREC), behind those
    /// that are there: the next connection sends PUBREL.
    pub fn restore_released(&mut self, id: PacketId, tag: u32) {
        self.outgoing.restore(id, tag, None);
    }

    /// Puts back the id of a QoS 2 publish that an earlier process has taken over and the peer has not released.
    pub fn restore_received(&mut self, id: PacketId) {
        self.incoming.accept(id);
    }

    /// Gives back the memory of tables that hold nothing, for a session that is parked or a connection that idles.
    pub fn trim(&mut self) {
        self.outgoing.trim();
        self.incoming.trim();
    }

    /// Gives up the messages that are not to be sent again, and returns them in send order. Not for use while a
    /// connection has the session. The ids of those with QoS 2 stay in use until the peer has released them.
    pub fn withdraw(&mut self, keep: impl Fn(&Outbound) -> bool) -> Vec<Outbound> {
        self.outgoing.withdraw(keep)
    }

    /// Forgets all flows; returns the messages that the peer has not completely acknowledged, in send order.
    ///
    /// Receipts of connections that used this session stay invalid.
    pub fn clear(&mut self) -> Vec<Lost> {
        self.incoming.clear();
        self.outgoing.take()
    }
}

/// A message that was in flight and will not be sent again by the machine.
#[derive(Clone, Debug)]
pub struct Lost {
    /// The tag of the [`Outbound`].
    pub tag: u32,
    /// The message, so that it can be sent as a new one. `None` if the peer had taken it over already (PUBREC came
    /// but PUBCOMP did not): sending it once more would deliver it twice.
    pub message: Option<Outbound>,
}

#[cfg(test)]
mod tests {
    use super::Session;

    #[test]
    fn a_session_stays_within_its_memory_budget() {
        assert!(size_of::<Session>() <= 128, "{}", size_of::<Session>());
    }
}
