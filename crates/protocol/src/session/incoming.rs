//! The receiver's side of QoS 2: which packet ids the peer used and has not released.
//!
//! An id is *current* from its PUBLISH on this connection, and *received* from when the caller acknowledged the
//! message; both until PUBREL. A PUBLISH with an id in either set is a duplicate [MQTT-4.3.3-10]. Received ids survive
//! the connection. Current ones do not: of those that are not received nobody took the message, so a resend must be
//! delivered, and quotas begin anew. Leaves out: the order of acknowledgements, which is kept by the connection's
//! receipts.

use crate::packet_id::PacketId;

/// The QoS 2 packet ids of the peer that are in use: both sets as a sorted list of the words of their bitmaps in which
/// something is set. Two entries for a sender that numbers its messages one after the other, at most 24 KiB for one
/// that does its worst.
#[derive(Debug, Default)]
pub struct Incoming {
    words: Vec<Word>,
    /// Counts the connections that used this session, so that a receipt of an earlier one is recognised.
    generation: u32,
}

/// What is known of 64 ids in a row.
#[derive(Clone, Copy, Debug)]
struct Word {
    index: u16,
    received: u64,
    current: u64,
}

/// What a QoS 2 PUBLISH with some packet id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A message that was not seen before.
    New,
    /// Seen, and not yet acknowledged by the caller: its PUBREC will follow.
    Open,
    /// Seen and acknowledged: PUBREC is due again, and nothing is to be delivered.
    Received,
}

/// What became of a packet id when PUBREL came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It is free again.
    Released,
    /// It was not in use.
    Unknown,
    /// The caller has not acknowledged the message, so that PUBREL comes too early. Nothing was changed.
    Open,
}

impl Incoming {
    /// Whether no id waits for its PUBREL.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| word.received == 0)
    }

    /// How many ids wait for their PUBREL.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.received.count_ones() as usize).sum()
    }

    /// Whether this id waits for its PUBREL.
    pub fn contains(&self, id: PacketId) -> bool {
        self.get(id).is_some_and(|word| word.received & bit(id) != 0)
    }

    /// The ids that wait for their PUBREL, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PacketId> + '_ {
        self.words.iter().flat_map(|word| {
            (0..64)
                .filter(|bit| word.received >> bit & 1 == 1)
                .filter_map(|bit| PacketId::new(word.index * 64 + bit))
        })
    }

    /// A new connection begins: forgets which ids the last one used and returns the number of this connection.
    pub(crate) fn begin(&mut self) -> u32 {
        self.words.retain_mut(|word| {
            word.current = 0;
            word.received != 0
        });
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// Whether a PUBLISH with this id came on this connection and its flow is not complete.
    #[inline]
    pub(crate) fn is_current(&self, id: PacketId) -> bool {
        self.get(id).is_some_and(|word| word.current & bit(id) != 0)
    }

    /// A QoS 2 PUBLISH arrived: its id is current from now on.
    #[inline]
    pub(crate) fn arrived(&mut self, id: PacketId) -> Arrival {
        let (word, bit) = (self.get_or_insert(id), bit(id));
        let is_first = word.current & bit == 0;
        word.current |= bit;
        if word.received & bit != 0 {
            Arrival::Received
        } else if is_first {
            Arrival::New
        } else {
            Arrival::Open
        }
    }

    /// The caller took the message over.
    #[inline]
    pub(crate) fn accept(&mut self, id: PacketId) {
        self.get_or_insert(id).received |= bit(id);
    }

    /// The caller refused the message: its id is free again [MQTT-4.3.3-9].
    pub(crate) fn refuse(&mut self, id: PacketId) {
        if let Ok(place) = self.find(id) {
            self.words[place].current &= !bit(id);
            self.tidy(place);
        }
    }

    /// PUBREL arrived.
    #[inline]
    pub(crate) fn release(&mut self, id: PacketId) -> Departure {
        let Ok(place) = self.find(id) else { return Departure::Unknown };
        let (word, bit) = (&mut self.words[place], bit(id));
        if word.received & bit != 0 {
            word.received &= !bit;
            word.current &= !bit;
            self.tidy(place);
            Departure::Released
        } else if word.current & bit != 0 {
            Departure::Open
        } else {
            Departure::Unknown
        }
    }

    pub(crate) fn clear(&mut self) {
        self.words.clear();
    }

    pub(crate) fn trim(&mut self) {
        if self.words.is_empty() {
            self.words = Vec::new();
        }
    }

    #[inline]
    fn find(&self, id: PacketId) -> Result<usize, usize> {
        self.words.binary_search_by_key(&(id.get() / 64), |word| word.index)
    }

    #[inline]
    fn get(&self, id: PacketId) -> Option<&Word> {
        self.find(id).ok().map(|place| &self.words[place])
    }

    #[inline]
    fn get_or_insert(&mut self, id: PacketId) -> &mut Word {
        let place = self.find(id).unwrap_or_else(|place| {
            self.words.insert(place, Word { index: id.get() / 64, received: 0, current: 0 });
            place
        });
        &mut self.words[place]
    }

    /// Removes a word in which nothing is set any more.
    #[inline]
    fn tidy(&mut self, place: usize) {
        let Word { received, current, .. } = self.words[place];
        if received | current == 0 {
            self.words.remove(place);
        }
    }
}

/// The place of an id in its word.
#[inline]
const fn bit(id: PacketId) -> u64 {
    1 << (id.get() % 64)
}

#[cfg(test)]
mod tests {
    use super::{Arrival, Departure, Incoming};
    use crate::packet_id::PacketId;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    #[test]
    fn an_id_is_open_then_received_then_free() {
        let mut incoming = Incoming::default();
        assert_eq!(incoming.arrived(id(7)), Arrival::New);
        assert_eq!(incoming.arrived(id(7)), Arrival::Open);
        assert_eq!(incoming.release(id(7)), Departure::Open);
        incoming.accept(id(7));
        assert_eq!(incoming.arrived(id(7)), Arrival::Received);
        assert_eq!(incoming.release(id(7)), Departure::Released);
        assert_eq!(incoming.release(id(7)), Departure::Unknown);
        assert!(!incoming.is_current(id(7)));
        assert_eq!(incoming.arrived(id(7)), Arrival::New);
    }

    #[test]
    fn a_refused_id_is_free_at_once() {
        let mut incoming = Incoming::default();
        incoming.arrived(id(7));
        incoming.refuse(id(7));
        assert_eq!(incoming.arrived(id(7)), Arrival::New);
    }

    #[test]
    fn a_new_connection_forgets_open_ids_and_keeps_received_ones() {
        let mut incoming = Incoming::default();
        incoming.arrived(id(1));
        incoming.arrived(id(2));
        incoming.accept(id(2));
        let first = incoming.begin();
        assert_ne!(first, incoming.begin());
        assert!(!incoming.is_current(id(1)) && !incoming.is_current(id(2)));
        assert_eq!(incoming.arrived(id(1)), Arrival::New);
        assert_eq!(incoming.arrived(id(2)), Arrival::Received);
        assert!(incoming.is_current(id(2)));
    }

    #[test]
    fn every_id_can_be_held_at_once_and_leaves_nothing_behind() {
        let mut incoming = Incoming::default();
        let scrambled = || (1..=u16::MAX).map(|n| id(n.wrapping_mul(40_503).max(1)));
        for id in scrambled() {
            incoming.accept(id);
        }
        assert_eq!(incoming.len(), usize::from(u16::MAX));
        assert!(incoming.iter().map(PacketId::get).eq(1..=u16::MAX));
        for id in scrambled() {
            assert_eq!(incoming.release(id), Departure::Released);
        }
        assert!(incoming.is_empty());
    }
}
