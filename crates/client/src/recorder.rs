//! The recorder: notes for the store what packets change in the session, and says how long the output is held for it.
//!
//! Four packets must not leave before the change behind them is kept, or a restart would break a promise: PUBLISH,
//! because the message would be lost and its id used for another one; PUBREC, because the server counts on us to know
//! the id from then on (figure 4.3); PUBREL, because behind it PUBLISH must not be sent again [MQTT-4.3.3-6], and would
//! be a new message to the server; PUBCOMP, because the next message with its id would be taken for the old one. The
//! end of a message of ours may be kept later: at worst PUBLISH is sent again with DUP, or PUBREL.
//!
//! Output is held as a whole, and what comes is not read while it is: then all of a turn shares one write to the store.
//! Relates to: `exchange.rs`, which asks for it where there is a store; `journal.rs`, where notes go. Leaves out:
//! disks.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use gantline_protocol::session::Stage;
use gantline_protocol::{
    ClientConnection, Delivery, FixedHeader, PacketId, PacketType, ReasonCode, Receipt, Session, StoreError,
};
use parking_lot::Mutex;

use crate::journal::{Journal, Note};
use crate::pending::Pending;
use crate::session::Lease;
use crate::session_store::SessionChange;

/// The driver's end of the [`Journal`].
#[derive(Debug)]
pub(crate) struct Recorder {
    journal: Arc<Journal>,
    notes: Vec<Note>,
    /// One of the notes holds the output.
    holds: bool,
    /// The batch that the output waits for.
    awaited: Option<u64>,
}

/// A packet that may change the session, and what it may change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    id: PacketId,
    before: State,
}

/// How far the flow of an id has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In our direction.
    Sent,
    Released,
    /// In the server's direction.
    Received,
    None,
}

impl Recorder {
    pub(crate) const fn new(journal: Arc<Journal>) -> Self {
        Self { journal, notes: Vec::new(), holds: false, awaited: None }
    }

    /// Looks at a packet of the server before the machine does; `None` if it cannot change the session.
    pub(crate) fn watch(frame: &[u8], session: &Session) -> Option<Watched> {
        let header = FixedHeader::parse(frame).ok()??;
        let is_outgoing = match header.packet_type {
            PacketType::PubAck | PacketType::PubRec | PacketType::PubComp => true,
            PacketType::PubRel => false,
            _ => return None,
        };
        let &[high, low, ..] = frame.get(header.header_len.into()..)? else { return None };
        let id = PacketId::new(u16::from_be_bytes([high, low]))?;
        let before = if is_outgoing { outgoing(session, id) } else { incoming(session, id) };
        (before != State::None).then_some(Watched { id, before })
    }

    /// Notes what the machine made of it.
    pub(crate) fn seen(
        &mut self,
        Watched { id, before }: Watched,
        session: &Session,
        pending: &Mutex<Pending>,
    ) {
        match (before, outgoing(session, id)) {
            (State::Received, _) if incoming(session, id) == State::None => {
                self.note(SessionChange::Freed(id), Holds::Yes);
            }
            (State::Sent, State::Released) => {
                let tag = match session.outgoing().stage(id) {
                    Some(Stage::Released { tag }) => tag,
                    Some(Stage::Sent(_)) | None => None,
                };
                let name = tag.and_then(|tag| pending.lock().name(tag));
                self.note(SessionChange::Released { id, name }, Holds::Yes);
            }
            (State::Sent | State::Released, State::None) => {
                self.note(SessionChange::Completed(id), Holds::No);
            }
            _ => {}
        }
    }

    /// Notes that the machine has just sent a message of QoS 1 or 2.
    pub(crate) fn sent(&mut self, session: &Session, pending: &Mutex<Pending>) {
        let outgoing = session.outgoing();
        if let Some(id) = outgoing.last_id()
            && let Some(Stage::Sent(message)) = outgoing.stage(id)
        {
            let name = pending.lock().name(message.tag);
            self.notes.push(Note::Sent(id, message.clone(), name));
            self.holds = true;
        }
    }

    /// Acknowledges a message, and notes it.
    pub(crate) fn acknowledge(
        &mut self,
        machine: &mut ClientConnection<Lease>,
        receipt: Receipt,
        reason: ReasonCode,
        out: &mut Vec<u8>,
    ) {
        let Delivery::ExactlyOnce(id) = receipt.delivery() else {
            return machine.acknowledge(receipt, reason, out);
        };
        let before = incoming(machine.session(), id);
        machine.acknowledge(receipt, reason, out);
        if before == State::None && incoming(machine.session(), id) == State::Received {
            self.note(SessionChange::Received(id), Holds::Yes);
        }
    }

    /// Hands over what was noted. Ready when the output may be written.
    ///
    /// # Errors
    ///
    /// The store has failed.
    pub(crate) fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        self.hand_over();
        if let Some(batch) = self.awaited {
            ready!(self.journal.poll_written(batch, cx))?;
            self.awaited = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands over what was noted, so that it is written sooner or later.
    pub(crate) fn hand_over(&mut self) {
        if self.notes.is_empty() {
            return;
        }
        let batch = self.journal.append(self.notes.drain(..));
        if std::mem::take(&mut self.holds) {
            self.awaited = Some(batch);
        }
    }

    /// Whether output waits for the store.
    pub(crate) const fn is_holding(&self) -> bool {
        self.awaited.is_some()
    }

    fn note(&mut self, change: SessionChange, holds: Holds) {
        self.notes.push(Note::Change(change));
        self.holds |= holds == Holds::Yes;
    }
}

/// Whether the output waits until a change is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
}

fn outgoing(session: &Session, id: PacketId) -> State {
    match session.outgoing().stage(id) {
        Some(Stage::Sent(_)) => State::Sent,
        Some(Stage::Released { .. }) => State::Released,
        None => State::None,
    }
}

fn incoming(session: &Session, id: PacketId) -> State {
    if session.incoming().contains(id) { State::Received } else { State::None }
}
