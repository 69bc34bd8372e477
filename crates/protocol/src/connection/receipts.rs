//! The order of acknowledgements: arrivals of one QoS in a queue, released from its front.
//!
//! The oldest arrival stands beside the queue, so that a message which is acknowledged at once, the usual case of a
//! server, touches no queue at all. Leaves out: QoS 2 duplicates, which the session recognises.

use std::collections::VecDeque;

use crate::packet::Delivery;
use crate::packet_id::PacketId;
use crate::reason_code::ReasonCode;

/// The right to acknowledge one received message, once. Of a QoS 0 message it is void.
///
/// It is valid on the connection that gave it: on a later one with the same session it does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a message that is never acknowledged holds back all later acknowledgements of its QoS"]
pub struct Receipt {
    pub(super) delivery: Delivery,
    pub(super) position: u32,
    pub(super) generation: u32,
}

impl Receipt {
    /// QoS and packet id of the message.
    pub const fn delivery(self) -> Delivery {
        self.delivery
    }
}

/// The open receipts of one QoS in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// The position of the oldest one.
    front: u32,
    oldest: Option<Arrived>,
    rest: VecDeque<Arrived>,
}

#[derive(Clone, Copy, Debug)]
struct Arrived {
    packet_id: PacketId,
    verdict: Option<ReasonCode>,
}

impl Receipts {
    pub(super) fn len(&self) -> usize {
        usize::from(self.oldest.is_some()) + self.rest.len()
    }

    /// A message arrived; returns its position. A verdict is given at once where there is nothing to wait for but
    /// those before it.
    #[inline]
    pub(super) fn push(&mut self, packet_id: PacketId, verdict: Option<ReasonCode>) -> u32 {
        let arrived = Arrived { packet_id, verdict };
        if self.oldest.is_none() {
            self.oldest = Some(arrived);
            return self.front;
        }
        self.rest.push_back(arrived);
        // At most 65,535 are open, see `Connection::open_receipt`.
        self.front.wrapping_add(self.rest.len() as u32)
    }

    /// The caller decided about the message at this position. `None` if it is not open.
    #[inline]
    pub(super) fn settle(&mut self, position: u32, verdict: ReasonCode) -> Option<PacketId> {
        let arrived = match position.wrapping_sub(self.front) {
            0 => self.oldest.as_mut(),
            behind => self.rest.get_mut(behind as usize - 1),
        };
        let arrived = arrived.filter(|arrived| arrived.verdict.is_none())?;
        arrived.verdict = Some(verdict);
        Some(arrived.packet_id)
    }

    /// Takes the oldest one, if it is decided.
    #[inline]
    pub(super) fn release(&mut self) -> Option<(PacketId, ReasonCode)> {
        let Arrived { packet_id, verdict } = self.oldest?;
        let verdict = verdict?;
        self.front = self.front.wrapping_add(1);
        self.oldest = self.rest.pop_front();
        Some((packet_id, verdict))
    }

    pub(super) fn trim(&mut self) {
        if self.rest.is_empty() {
            self.rest = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Receipts;
    use crate::packet_id::PacketId;
    use crate::reason_code::ReasonCode;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    #[test]
    fn acknowledgements_leave_in_order_of_arrival() {
        let mut receipts = Receipts::default();
        let positions: Vec<u32> = (1..=3).map(|n| receipts.push(id(n), None)).collect();
        assert_eq!(receipts.settle(positions[2], ReasonCode::Success), Some(id(3)));
        assert_eq!(receipts.release(), None);
        receipts.settle(positions[0], ReasonCode::NotAuthorized);
        assert_eq!(receipts.release(), Some((id(1), ReasonCode::NotAuthorized)));
        assert_eq!(receipts.release(), None);
        receipts.settle(positions[1], ReasonCode::Success);
        assert_eq!(receipts.release(), Some((id(2), ReasonCode::Success)));
        assert_eq!(receipts.release(), Some((id(3), ReasonCode::Success)));
        assert_eq!(receipts.len(), 0);
    }

    #[test]
    fn a_receipt_works_once() {
        let mut receipts = Receipts::default();
        let position = receipts.push(id(1), None);
        assert!(receipts.settle(position, ReasonCode::Success).is_some());
        assert!(receipts.settle(position, ReasonCode::Success).is_none());
        receipts.release();
        receipts.push(id(2), None);
        assert!(receipts.settle(position, ReasonCode::Success).is_none());
    }

    #[test]
    fn one_message_at_a_time_needs_no_queue() {
        let mut receipts = Receipts::default();
        for n in 1..100 {
            let position = receipts.push(id(n), None);
            receipts.settle(position, ReasonCode::Success);
            assert!(receipts.release().is_some());
        }
        assert_eq!(receipts.rest.capacity(), 0);
    }
}
