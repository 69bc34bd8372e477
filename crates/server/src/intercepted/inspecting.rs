//! Showing packets to the inspector.
//!
//! Relates to: `connection.rs`, which knows what has come into the output. Leaves out: changing anything.

use gantline_protocol::FixedHeader;

use super::Interception;
use crate::broker::Broker;
use crate::broker::slot::Order;
use crate::exchange::{End, Exchange};
use crate::hooks::{PacketDirection, PacketView, tell};

impl Interception {
    /// Shows packets to the inspector.
    pub(crate) fn inspect(&self, direction: PacketDirection, bytes: &[u8]) -> bool {
        let Some(inspect) = &self.hooks.inspect else { return true };
        tell(|| inspect(&PacketView { client: &self.client, direction, bytes }))
    }

    /// Shows CONNECT and what answers it. If the inspector panics, the connection ends as soon as it has begun.
    pub(crate) fn inspect_handshake(&self, broker: &Broker, connect: &[u8], answer: &[u8]) {
        if !(self.inspect(PacketDirection::In, connect) && self.inspect_all(answer)) {
            // We hold the session, so nobody sleeps on this mailbox.
            drop(self.slot.mailbox.push_control(Order::Kick(broker.hook_panicked(&self.client))));
        }
    }

    /// Shows what is to be sent; whether the inspector did not panic.
    pub(crate) fn inspect_all(&self, mut packets: &[u8]) -> bool {
        while let Ok(Some(header)) = FixedHeader::parse(packets) {
            let (packet, rest) = packets.split_at(header.frame_len().min(packets.len()));
            if !self.inspect(PacketDirection::Out, packet) {
                return false;
            }
            packets = rest;
        }
        true
    }

    /// Whether packets are to be shown.
    pub(crate) fn inspects(&self) -> bool {
        self.hooks.inspect.is_some()
    }
}

impl Exchange {
    /// Whether packets are to be shown.
    pub(crate) fn inspects(&self) -> bool {
        self.interception.as_ref().is_some_and(|interception| interception.inspects())
    }

    /// Shows a packet of the client.
    ///
    /// # Errors
    ///
    /// The inspector panicked, and with that the connection is over.
    #[cold]
    pub(crate) fn inspect(&self, bytes: &[u8]) -> Result<(), End> {
        match &self.interception {
            Some(interception) if !interception.inspect(PacketDirection::In, bytes) => {
                Err(interception.panicked(&self.broker))
            }
            _ => Ok(()),
        }
    }
}
