//! What a store has kept: the session that its changes add up to.
//!
//! Relates to: `journal.rs`, which loads it. Leaves out: whose it may be.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use gantline_protocol::{ClientId, Message, Moment, Outbound, PacketId, Session};
use parking_lot::Mutex;

use crate::pending::Pending;
use crate::session_store::SessionChange;

/// Changes of a session that were loaded, as far as they count.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    client_id: Option<ClientId>,
    /// In the order of sending.
    outgoing: BTreeMap<u64, Sent>,
    places: HashMap<PacketId, u64>,
    received: BTreeSet<PacketId>,
    next_place: u64,
}

#[derive(Debug)]
struct Sent {
    id: PacketId,
    name: Option<u64>,
    /// With its expiry; `None` if only PUBCOMP is missing.
    message: Option<(Message, Option<SystemTime>)>,
}

impl Kept {
    /// The next change of the log.
    pub(crate) fn apply(&mut self, change: SessionChange) {
        match change {
            SessionChange::Begin(client_id) => *self = Self { client_id: Some(client_id), ..Self::default() },
            SessionChange::Sent { id, message, expires, name } => {
                self.put(id, name, Some((message, expires)))
            }
            SessionChange::Released { id, name } => self.put(id, name, None),
            SessionChange::Completed(id) => self.remove(id),
            SessionChange::Received(id) => drop(self.received.insert(id)),
            SessionChange::Freed(id) => drop(self.received.remove(&id)),
        }
    }

    /// Whose session it is; `None` if the log does not say, as an empty one.
    pub(crate) const fn client_id(&self) -> Option<&ClientId> {
        self.client_id.as_ref()
    }

    /// The session, with slots for its messages; nobody waits at those without a name.
    pub(crate) fn into_session(self, now: Moment, pending: &Mutex<Pending>) -> Session {
        let mut session = Session::default();
        let mut pending = pending.lock();
        for Sent { id, name, message } in self.outgoing.into_values() {
            let tag = pending.orphan(name);
            match message {
                Some((message, expires)) => {
                    let expires = expires.map_or(Moment::NEVER, |expires| later(now, expires));
                    let message = Outbound { expires, ..Outbound::new(&message, now) };
                    session.restore_sent(id, tag, message);
                }
                None => session.restore_released(id, tag),
            }
        }
        for id in self.received {
            session.restore_received(id);
        }
        session
    }

    fn put(&mut self, id: PacketId, name: Option<u64>, message: Option<(Message, Option<SystemTime>)>) {
        self.remove(id);
        self.places.insert(id, self.next_place);
        self.outgoing.insert(self.next_place, Sent { id, name, message });
        self.next_place += 1;
    }

    fn remove(&mut self, id: PacketId) {
        if let Some(place) = self.places.remove(&id) {
            self.outgoing.remove(&place);
        }
    }
}

/// The moment of a time on the wall clock; at the earliest now.
fn later(now: Moment, time: SystemTime) -> Moment {
    now.plus(time.duration_since(SystemTime::now()).unwrap_or_default())
}
