//! What a client publishes, on its way to the broker.
//!
//! Relates to: [`Publisher`], which hands messages to their receivers; `exchange.rs` and `intercepted.rs`, from which they
//! come. Leaves out: acknowledgements.

use std::sync::Arc;
use std::time::Duration;

use gantline_protocol::{Moment, ReasonCode};

use crate::broker::Broker;
use crate::broker::alarms::Due;
use crate::broker::publication::Publication;
use crate::broker::publish::Publisher;
use crate::broker::slot::ClientSlot;

/// What a client publishes.
#[derive(Debug, Default)]
pub(crate) struct Publishing {
    /// There while the client publishes.
    pub(crate) publisher: Option<Box<Publisher>>,
    /// Whether something was published since the last look.
    pub(crate) publishes: bool,
    /// Messages that came and that were handed to somebody, since they were counted last.
    received: u32,
    routed: u32,
}

impl Publishing {
    /// Publishes a message of the client, and returns what its acknowledgement is to say.
    #[inline]
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
        self.received += 1;
        self.publishes = true;
        match publisher.publish(broker, publication, now) {
            0 => ReasonCode::NoMatchingSubscribers,
            receivers => {
                self.routed += receivers as u32;
                ReasonCode::Success
            }
        }
    }

    /// Hands over what was published, and counts it.
    pub(crate) fn settle(&mut self, broker: &Broker, now: Moment) {
        self.hand_over(broker, now);
        broker.counters.received.add(std::mem::take(&mut self.received).into());
        broker.counters.routed.add(std::mem::take(&mut self.routed).into());
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
