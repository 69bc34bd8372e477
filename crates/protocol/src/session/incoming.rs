//! The receiver's side of QoS 2: which packet ids the peer used and has not released.
//!
//! An id is *current* from its PUBLISH on this connection, and *received* from when the caller acknowledged the message;
//! both until PUBREL. A PUBLISH with an id in either set is a duplicate [MQTT-4.3.3-10]. Received ids survive the
//! connection. Current ones do not: of those that are not received nobody took the message, so a resend must be
//! delivered, and quotas begin anew. Leaves out: the order of acknowledgements, which is kept by the connection's
//! receipts.

use crate::packet_id::PacketId;

/// The QoS 2 packet ids of the peer that are in use.
#[derive(Debug, Default)]
pub struct Incoming {
    received: IdSet,
    current: IdSet,
    /// Counts the connections that used this session, so that a receipt of an earlier one is recognised.
    generation: u32,
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
    pub const fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// How many ids wait for their PUBREL.
    pub fn len(&self) -> usize {
        self.received.iter().count()
    }

    /// Whether this id waits for its PUBREL.
    pub fn contains(&self, id: PacketId) -> bool {
        self.received.contains(id)
    }

    /// The ids that wait for their PUBREL, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PacketId> + '_ {
        self.received.iter()
    }

    /// A new connection begins: forgets which ids the last one used and returns the number of this connection.
    pub(crate) fn begin(&mut self) -> u32 {
        self.current.clear();
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// Whether a PUBLISH with this id came on this connection and its flow is not complete.
    pub(crate) fn is_current(&self, id: PacketId) -> bool {
        self.current.contains(id)
    }

    /// A QoS 2 PUBLISH arrived: its id is current from now on.
    pub(crate) fn arrived(&mut self, id: PacketId) -> Arrival {
        let is_first = self.current.insert(id);
        if self.received.contains(id) {
            Arrival::Received
        } else if is_first {
            Arrival::New
        } else {
            Arrival::Open
        }
    }

    /// The caller took the message over.
    pub(crate) fn accept(&mut self, id: PacketId) {
        self.received.insert(id);
    }

    /// The caller refused the message: its id is free again [MQTT-4.3.3-9].
    pub(crate) fn refuse(&mut self, id: PacketId) {
        self.current.remove(id);
    }

    /// PUBREL arrived.
    pub(crate) fn release(&mut self, id: PacketId) -> Departure {
        if self.received.remove(id) {
            self.current.remove(id);
            Departure::Released
        } else if self.current.contains(id) {
            Departure::Open
        } else {
            Departure::Unknown
        }
    }

    pub(crate) fn clear(&mut self) {
        self.received.clear();
        self.current.clear();
    }

    pub(crate) fn trim(&mut self) {
        self.received.trim();
        self.current.trim();
    }
}

/// A set of packet ids as a sorted list of non-zero 64-bit words of the bitmap: two entries for a sender that numbers
/// its messages one after the other, at most 16 KiB for one that does its worst.
#[derive(Debug, Default)]
struct IdSet {
    words: Vec<Word>,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    index: u16,
    bits: u64,
}

impl IdSet {
    const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn find(&self, id: PacketId) -> (Result<usize, usize>, u64) {
        let index = id.get() / 64;
        (self.words.binary_search_by_key(&index, |word| word.index), 1 << (id.get() % 64))
    }

    fn contains(&self, id: PacketId) -> bool {
        let (place, bit) = self.find(id);
        place.is_ok_and(|place| self.words[place].bits & bit != 0)
    }

    /// Whether the id was not there before.
    fn insert(&mut self, id: PacketId) -> bool {
        let (place, bit) = self.find(id);
        match place {
            Ok(place) => {
                let word = &mut self.words[place];
                let new = word.bits & bit == 0;
                word.bits |= bit;
                new
            }
            Err(place) => {
                self.words.insert(place, Word { index: id.get() / 64, bits: bit });
                true
            }
        }
    }

    /// Whether the id was there.
    fn remove(&mut self, id: PacketId) -> bool {
        let (Ok(place), bit) = self.find(id) else { return false };
        let word = &mut self.words[place];
        let known = word.bits & bit != 0;
        word.bits &= !bit;
        if word.bits == 0 {
            self.words.remove(place);
        }
        known
    }

    fn iter(&self) -> impl Iterator<Item = PacketId> + '_ {
        self.words.iter().flat_map(|word| {
            (0..64)
                .filter(|bit| word.bits >> bit & 1 == 1)
                .filter_map(|bit| PacketId::new(word.index * 64 + bit))
        })
    }

    fn clear(&mut self) {
        self.words.clear();
    }

    fn trim(&mut self) {
        if self.words.is_empty() {
            self.words = Vec::new();
        }
    }
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
