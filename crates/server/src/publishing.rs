//! What a client publishes, on its way to the broker.
//!
//! Relates to: [`Publisher`], which hands messages to their receivers; `exchange.rs` and `intercepted.rs`, from which
//! they come. Leaves out: acknowledgements.

use std::sync::Arc;
use std::time::Duration;

use gantline_protocol::{Moment, ReasonCode};

use crate::broker::Broker;
use crate::broker::alarms::Due;
use crate::broker::publication::Publication;
use crate::broker::publish::Publisher;
use crate::broker::retaining::NoRoom;
use crate::broker::slot::ClientSlot;
use crate::notices;

/// What a client publishes.
#[derive(Debug, Default)]
pub(crate) struct Publishing {
    /// There while the client publishes.
    pub(crate) publisher: Option<Box<Publisher>>,
    /// Whether something was published since the last look.
    pub(crate) publishes: bool,
    /// Copies that were handed to receivers, since they were counted last.
    pub(crate) routed: u32,
}

impl Publishing {
    /// Publishes a message of the client, and returns what its acknowledgement is to say.
    #[inline(always)]
    pub(crate) fn publish(
        &mut self,
        broker: &Broker,
        slot: &Arc<ClientSlot>,
        publication: &mut Publication<'_>,
        now: Moment,
    ) -> ReasonCode {
        let publisher = match &mut self.publisher {
            Some(publisher) => publisher,
            None => {
                broker.set_alarm(slot, slot.profile().epoch, Due::Trim, now.plus(TRIM_AFTER), now);
                self.publisher.insert(Box::new(Publisher::new(Some(slot))))
            }
        };
        self.publishes = true;
        match publisher.publish(broker, publication, now) {
            Ok(0) => ReasonCode::NoMatchingSubscribers,
            Ok(receivers) => {
                self.routed += receivers as u32;
                ReasonCode::Success
            }
            Err(NoRoom) => notices::no_room(broker, slot),
        }
    }

    /// Hands over what was published.
    pub(crate) fn hand_over(&mut self, broker: &Broker, now: Moment) {
        if let Some(publisher) = &mut self.publisher {
            publisher.settle(broker, now);
        }
    }
}

/// After how much silence a publisher gives its memory back.
pub(crate) const TRIM_AFTER: Duration = Duration::from_secs(10);
