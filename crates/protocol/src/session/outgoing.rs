//! What we sent and what waits for an answer: the sender's side of QoS 1 and 2, and the one allocator of packet ids.
//!
//! A table by packet id: an entry sits in slot `id & (capacity - 1)`, so finding it costs one look, and doubling the
//! capacity never makes two entries collide. The table is allocated at the first entry and grows with what is in
//! flight, to at most twice that. SUBSCRIBE and UNSUBSCRIBE take their ids here too, so that none is used twice at
//! once [MQTT-2.2.1-3]; they end with the connection, publishes do not.
//! Leaves out: quotas and bytes, which are the connection's.

#[cfg(test)]
mod tests;

use crate::connection::Acked;
use crate::error::Rule;
use crate::outbound::Outbound;
use crate::packet::PacketType;
use crate::packet_id::PacketId;
use crate::qos::QoS;
use crate::reason_code::ReasonCode;
use crate::session::Lost;

/// The publishes in flight to the peer, in the order in which they were sent.
#[derive(Debug, Default)]
pub struct Outgoing {
    slots: Vec<Option<Entry>>,
    publishes: u32,
    requests: u32,
    /// Rises with every packet that must keep its place on a resend.
    next_sequence: u32,
    /// The id given out last; ids go round, so that one that has just become free rests as long as possible.
    last_id: u16,
}

/// A publish in flight, as [`Outgoing::iter`] shows it.
#[derive(Clone, Copy, Debug)]
pub struct InFlight<'a> {
    /// Its packet id.
    pub packet_id: PacketId,
    /// The tag of its [`Outbound`].
    pub tag: u32,
    /// The message; `None` once the receiver has taken it over (PUBREC) and only PUBCOMP is missing.
    pub message: Option<&'a Outbound>,
}

/// How far a publish has come, as [`Outgoing::stage`] tells.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'a> {
    /// PUBLISH was sent; PUBACK or PUBREC is awaited.
    Sent(&'a Outbound),
    /// PUBCOMP is awaited, and there is no message that could be sent again: PUBREC came, or the message was given up.
    Released {
        /// The tag of its [`Outbound`]; `None` if it was given up.
        tag: Option<u32>,
    },
}

#[derive(Debug)]
struct Entry {
    state: State,
    sequence: u32,
    id: PacketId,
    /// Whether it took from the quota of the present connection.
    counted: bool,
}

#[derive(Debug)]
enum State {
    /// PUBLISH was sent; PUBACK or PUBREC is awaited.
    Sent(Outbound),
    /// PUBREC came and the frame is freed; PUBCOMP is awaited.
    Released { tag: u32, reason: ReasonCode },
    /// A QoS 2 message that cannot be sent again, and of which nobody is told any more. The receiver may remember its
    /// id, and would take the next message with it for a duplicate; so PUBREL is sent and PUBCOMP awaited.
    Discarded,
    /// SUBSCRIBE or UNSUBSCRIBE was sent.
    Requested(Request),
}

/// A SUBSCRIBE or UNSUBSCRIBE that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// [`PacketType::SubAck`] or [`PacketType::UnsubAck`].
    pub(crate) answer: PacketType,
    /// How many filters it carries, hence how many reasons the answer must carry.
    pub(crate) filters: usize,
}

/// What an acknowledgement led to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The flow is complete. `counted`: it had taken from the quota of this connection.
    Done { acked: Acked, counted: bool },
    /// PUBREL is due.
    Release,
    /// The flow of a message that was given up is complete.
    Forgotten,
    /// No such id is in use.
    Unknown,
}

/// What is to be sent again for an entry.
#[derive(Debug)]
pub(crate) enum Resend<'a> {
    /// PUBLISH with DUP. `counted` is to be set when it is sent.
    Publish { message: &'a Outbound, counted: &'a mut bool },
    /// PUBREL.
    Release,
}

impl Outgoing {
    /// How many publishes are in flight, those included whose message was given up and whose id is not free yet.
    pub const fn len(&self) -> usize {
        self.publishes as usize
    }

    /// Whether no publish is in flight.
    pub const fn is_empty(&self) -> bool {
        self.publishes == 0
    }

    /// The publishes in flight, in the order in which a new connection would send them again.
    pub fn iter(&self) -> impl Iterator<Item = InFlight<'_>> {
        self.in_order().into_iter().filter_map(|id| self.entry(id)).filter_map(Entry::in_flight)
    }

    /// How far the publish with this id has come; `None` if there is none.
    pub fn stage(&self, id: PacketId) -> Option<Stage<'_>> {
        self.entry(id)?.stage()
    }

    /// How far the publishes have come, in the order in which a new connection would send them again: with
    /// [`Session::restore_sent`](crate::Session::restore_sent) and its like, what a copy of the session is made from.
    pub fn stages(&self) -> impl Iterator<Item = (PacketId, Stage<'_>)> {
        self.in_order().into_iter().filter_map(|id| self.stage(id).map(|stage| (id, stage)))
    }

    /// The id that was given out last; `None` if none was. Behind a publish that was sent, it is the id of that.
    pub const fn last_id(&self) -> Option<PacketId> {
        PacketId::new(self.last_id)
    }

    /// Whether this id is in use, be it by a publish or by a request.
    pub fn contains(&self, id: PacketId) -> bool {
        self.entry(id).is_some()
    }

    /// An id that is not in use; it is taken when something is inserted with it. `None` if all are in use.
    pub(crate) fn next_id(&mut self) -> Option<PacketId> {
        self.make_room();
        for _ in 0..u16::MAX {
            // 0 is no packet id: the number behind 65,535 is 1.
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let id = PacketId::new(self.last_id)?;
            if self.slots[self.slot(id)].is_none() {
                return Some(id);
            }
        }
        None
    }

    /// Keeps a publish that was sent with an id of [`next_id`](Self::next_id).
    pub(crate) fn insert(&mut self, id: PacketId, message: Outbound) {
        self.publishes += 1;
        self.put(id, State::Sent(message), true);
    }

    /// Puts back a publish of an earlier process, behind those that are there; `None` if only PUBCOMP is missing. It
    /// takes the place of one with the same id.
    pub(crate) fn restore(&mut self, id: PacketId, tag: u32, message: Option<Outbound>) {
        // Ends at the latest when each id has a slot of its own.
        while self.slots.is_empty() || self.slots[self.slot(id)].as_ref().is_some_and(|entry| entry.id != id)
        {
            self.grow();
        }
        if !self.contains(id) {
            self.publishes += 1;
        }
        let state = match message {
            Some(message) => State::Sent(Outbound { tag, ..message }),
            None => State::Released { tag, reason: ReasonCode::Success },
        };
        self.put(id, state, false);
        self.last_id = id.get();
    }

    /// Keeps a request that was sent with an id of [`next_id`](Self::next_id).
    pub(crate) fn insert_request(&mut self, id: PacketId, request: Request) {
        self.requests += 1;
        self.put(id, State::Requested(request), false);
    }

    /// The answer to a request arrived: frees the id and returns the request, if there was such a one.
    pub(crate) fn answer(&mut self, id: PacketId, answer: PacketType) -> Option<Request> {
        let slot = self.slot(id);
        let Some(Some(Entry { state: State::Requested(request), id: found, .. })) = self.slots.get(slot)
        else {
            return None;
        };
        if *found != id || request.answer != answer {
            return None;
        }
        let request = *request;
        self.slots[slot] = None;
        self.requests -= 1;
        Some(request)
    }

    /// PUBACK, PUBREC or PUBCOMP arrived.
    ///
    /// # Errors
    ///
    /// The id belongs to a packet that is not answered with this one.
    pub(crate) fn acknowledge(
        &mut self,
        kind: PacketType,
        id: PacketId,
        reason: ReasonCode,
    ) -> Result<Progress, Rule> {
        let slot = self.slot(id);
        let Some(Some(entry)) = self.slots.get_mut(slot) else { return Ok(Progress::Unknown) };
        if entry.id != id {
            return Ok(Progress::Unknown);
        }
        let (tag, qos, reason) = match (&entry.state, kind) {
            (State::Sent(message), PacketType::PubAck) if message.qos == QoS::AtLeastOnce => {
                (message.tag, QoS::AtLeastOnce, reason)
            }
            // A PUBREC with an error ends the flow [MQTT-4.3.3-4].
            (State::Sent(message), PacketType::PubRec)
                if message.qos == QoS::ExactlyOnce && reason.is_error() =>
            {
                (message.tag, QoS::ExactlyOnce, reason)
            }
            (State::Sent(message), PacketType::PubRec) if message.qos == QoS::ExactlyOnce => {
                // From here on it keeps the place of its PUBREC among the PUBRELs [MQTT-4.6.0-4].
                entry.state = State::Released { tag: message.tag, reason };
                let sequence = self.take_sequence();
                if let Some(entry) = &mut self.slots[slot] {
                    entry.sequence = sequence;
                }
                return Ok(Progress::Release);
            }
            (State::Discarded, PacketType::PubRec | PacketType::PubComp)
                if kind == PacketType::PubComp || reason.is_error() =>
            {
                self.slots[slot] = None;
                self.publishes -= 1;
                return Ok(Progress::Forgotten);
            }
            (State::Released { .. } | State::Discarded, PacketType::PubRec) => return Ok(Progress::Release),
            // What became of the message, PUBREC has said. PUBCOMP can only add that the id was not known any more,
            // which is no error while a session recovers (section 3.7.2.1).
            (State::Released { tag, reason }, PacketType::PubComp) => (*tag, QoS::ExactlyOnce, *reason),
            _ => return Err(Rule::AcknowledgementMismatch),
        };
        let counted = entry.counted;
        self.slots[slot] = None;
        self.publishes -= 1;
        Ok(Progress::Done { acked: Acked { packet_id: id, tag, qos, reason, properties: None }, counted })
    }

    /// A new connection begins: requests end, nothing counts against its quota yet. Returns what it has to send again,
    /// in order.
    pub(crate) fn begin(&mut self) -> Vec<PacketId> {
        if self.requests > 0 {
            for slot in &mut self.slots {
                if slot.as_ref().is_some_and(|entry| matches!(entry.state, State::Requested(_))) {
                    *slot = None;
                }
            }
            self.requests = 0;
        }
        for entry in self.slots.iter_mut().flatten() {
            entry.counted = false;
        }
        self.in_order()
    }

    /// What has to be sent again for this id.
    pub(crate) fn resend(&mut self, id: PacketId) -> Option<Resend<'_>> {
        let slot = self.slot(id);
        let entry = self.slots.get_mut(slot)?.as_mut().filter(|entry| entry.id == id)?;
        match &entry.state {
            State::Sent(message) => Some(Resend::Publish { message, counted: &mut entry.counted }),
            State::Released { .. } | State::Discarded => Some(Resend::Release),
            State::Requested(_) => None,
        }
    }

    /// Takes a message out that cannot be sent again. `None` if the id holds none, or one that was taken over. Of QoS
    /// 2, PUBREL is to be sent instead.
    pub(crate) fn remove_unless(
        &mut self,
        id: PacketId,
        keep: impl Fn(&Outbound) -> bool,
    ) -> Option<Outbound> {
        let slot = self.slot(id);
        let entry = self.slots.get_mut(slot)?.as_mut().filter(|entry| entry.id == id)?;
        if !matches!(&entry.state, State::Sent(message) if !keep(message)) {
            return None;
        }
        let State::Sent(message) = std::mem::replace(&mut entry.state, State::Discarded) else { return None };
        if message.qos == QoS::AtLeastOnce {
            self.slots[slot] = None;
            self.publishes -= 1;
        }
        Some(message)
    }

    /// Takes out all messages but those to be kept, in order, as [`remove_unless`](Self::remove_unless).
    pub(crate) fn withdraw(&mut self, keep: impl Fn(&Outbound) -> bool) -> Vec<Outbound> {
        self.in_order().into_iter().filter_map(|id| self.remove_unless(id, &keep)).collect()
    }

    /// Takes all publishes out, in order. Ids go on where they were.
    pub(crate) fn take(&mut self) -> Vec<Lost> {
        let order = self.in_order();
        let lost = order.into_iter().filter_map(|id| {
            let slot = self.slot(id);
            match self.slots[slot].take()?.state {
                State::Sent(message) => Some(Lost { tag: message.tag, message: Some(message) }),
                State::Released { tag, .. } => Some(Lost { tag, message: None }),
                State::Discarded | State::Requested(_) => None,
            }
        });
        let lost = lost.collect();
        self.slots.clear();
        self.publishes = 0;
        self.requests = 0;
        lost
    }

    /// Frees the table if nothing is in it.
    pub(crate) fn trim(&mut self) {
        if self.publishes == 0 && self.requests == 0 {
            self.slots = Vec::new();
        }
    }

    fn put(&mut self, id: PacketId, state: State, counted: bool) {
        let sequence = self.take_sequence();
        let slot = self.slot(id);
        self.slots[slot] = Some(Entry { state, sequence, id, counted });
    }

    /// A sequence number behind all others. Where the numbers end, the entries are numbered anew in their order.
    #[inline]
    fn take_sequence(&mut self) -> u32 {
        if self.next_sequence == u32::MAX {
            self.renumber();
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    #[cold]
    fn renumber(&mut self) {
        let mut entries: Vec<&mut Entry> = self.slots.iter_mut().flatten().collect();
        entries.sort_unstable_by_key(|entry| entry.sequence);
        self.next_sequence = 0;
        for entry in entries {
            entry.sequence = self.next_sequence;
            self.next_sequence += 1;
        }
    }

    /// Leaves at least one slot free, as far as there are ids.
    fn make_room(&mut self) {
        let used = (self.publishes + self.requests) as usize;
        if used >= self.slots.len() && self.slots.len() < MOST_SLOTS {
            self.grow();
        }
    }

    fn grow(&mut self) {
        let capacity = (self.slots.len() * 2).max(FEWEST_SLOTS);
        let mut grown = Vec::with_capacity(capacity);
        grown.resize_with(capacity, || None);
        let old = std::mem::replace(&mut self.slots, grown);
        for entry in old.into_iter().flatten() {
            let slot = self.slot(entry.id);
            self.slots[slot] = Some(entry);
        }
    }

    /// The slot of an id. Only an empty table has no such slot.
    #[inline]
    const fn slot(&self, id: PacketId) -> usize {
        id.get() as usize & self.slots.len().wrapping_sub(1)
    }

    fn entry(&self, id: PacketId) -> Option<&Entry> {
        self.slots.get(self.slot(id))?.as_ref().filter(|entry| entry.id == id)
    }

    fn in_order(&self) -> Vec<PacketId> {
        if self.publishes == 0 {
            return Vec::new();
        }
        let mut entries: Vec<&Entry> = self.slots.iter().flatten().collect();
        entries.retain(|entry| !matches!(entry.state, State::Requested(_)));
        entries.sort_unstable_by_key(|entry| entry.sequence);
        entries.into_iter().map(|entry| entry.id).collect()
    }
}

impl Entry {
    const fn stage(&self) -> Option<Stage<'_>> {
        match &self.state {
            State::Sent(message) => Some(Stage::Sent(message)),
            State::Released { tag, .. } => Some(Stage::Released { tag: Some(*tag) }),
            State::Discarded => Some(Stage::Released { tag: None }),
            State::Requested(_) => None,
        }
    }

    const fn in_flight(&self) -> Option<InFlight<'_>> {
        match &self.state {
            State::Sent(message) => {
                Some(InFlight { packet_id: self.id, tag: message.tag, message: Some(message) })
            }
            State::Released { tag, .. } => Some(InFlight { packet_id: self.id, tag: *tag, message: None }),
            State::Discarded | State::Requested(_) => None,
        }
    }
}

const FEWEST_SLOTS: usize = 8;
/// Every packet id has a slot of its own then.
const MOST_SLOTS: usize = 1 << 16;
