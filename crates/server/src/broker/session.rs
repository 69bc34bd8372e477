//! What is lent to a connection: the flows of a client id and the replays that it has yet to send.
//!
//! Relates to: [`Session`], the flows, which the machine of the connection changes with each packet; `claim.rs`, which
//! lends it; [`RetainedTree`](super::retained::RetainedTree), from which replays read. Leaves out: subscriptions, queue
//! and will, which others need too and are in the slot.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;

use foldhash::fast::RandomState;
use gantline_protocol::{QoS, Session, TopicFilter};

/// The session of a client as far as one task at a time may touch it.
#[derive(Debug, Default)]
pub(crate) struct ClientSession {
    /// The flows in both directions.
    pub(crate) flows: Session,
    /// There exactly if something is to be replayed.
    replays: Option<Box<Replays>>,
}

impl ClientSession {
    /// Adds a replay from the beginning, in place of an unfinished one of the same filter.
    pub(crate) fn replay(&mut self, replay: Replay) {
        let replays = self.replays.get_or_insert_default();
        let place = replays.next;
        replays.next += 1;
        if let Some(before) = replays.places.insert(replay.filter.clone(), place) {
            replays.cursors.remove(&before);
        }
        replays.cursors.insert(place, replay);
    }

    /// The subscription to this filter has changed: what is still to come of its replay follows it [MQTT-3.3.4-3].
    pub(crate) fn change_replay(&mut self, filter: &TopicFilter, qos: QoS, id: Option<NonZeroU32>) {
        let Some(replays) = &mut self.replays else { return };
        let place = replays.places.get(filter);
        if let Some(replay) = place.and_then(|place| replays.cursors.get_mut(place)) {
            (replay.qos, replay.id) = (qos, id);
        }
    }

    /// The replay whose turn it is.
    pub(crate) fn current_replay(&mut self) -> Option<&mut Replay> {
        self.replays.as_mut()?.cursors.first_entry().map(std::collections::btree_map::OccupiedEntry::into_mut)
    }

    /// Whether something is to be replayed.
    pub(crate) const fn has_replay(&self) -> bool {
        self.replays.is_some()
    }

    /// Forgets the replay of a filter: it is done, or the filter is no longer subscribed to.
    pub(crate) fn stop_replay(&mut self, filter: &TopicFilter) {
        let Some(replays) = &mut self.replays else { return };
        if let Some(place) = replays.places.remove(filter) {
            replays.cursors.remove(&place);
        }
        if replays.cursors.is_empty() {
            self.replays = None;
        }
    }
}

/// The retained messages that SUBSCRIBE asked for, in that order, at most one replay for each filter.
#[derive(Debug, Default)]
struct Replays {
    cursors: BTreeMap<u64, Replay>,
    places: HashMap<TopicFilter, u64, RandomState>,
    next: u64,
}

/// A cursor in the retained messages.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The filter of the subscription.
    pub(crate) filter: TopicFilter,
    /// Its highest QoS.
    pub(crate) qos: QoS,
    /// Its identifier.
    pub(crate) id: Option<NonZeroU32>,
    /// The position behind which to go on.
    pub(crate) after: Option<String>,
}

#[cfg(test)]
mod tests {
    use gantline_protocol::{QoS, TopicFilter};

    use super::{ClientSession, Replay};

    fn replay(filter: &str) -> Replay {
        let filter = TopicFilter::new(filter).unwrap();
        Replay { filter, qos: QoS::AtMostOnce, id: None, after: None }
    }

    fn current(session: &mut ClientSession) -> Option<String> {
        session.current_replay().map(|replay| replay.filter.to_string())
    }

    #[test]
    fn a_repeated_filter_begins_anew_behind_the_others() {
        let mut session = ClientSession::default();
        session.replay(replay("a/#"));
        session.replay(replay("b/#"));
        session.current_replay().unwrap().after = Some("a/b".to_owned());
        session.replay(replay("a/#"));
        assert_eq!(current(&mut session).as_deref(), Some("b/#"));
        session.stop_replay(&TopicFilter::new("b/#").unwrap());
        assert_eq!(session.current_replay().unwrap().after, None);
    }

    #[test]
    fn a_session_without_replays_holds_nothing_for_them() {
        let mut session = ClientSession::default();
        session.replay(replay("a/#"));
        assert!(session.has_replay());
        session.stop_replay(&TopicFilter::new("other").unwrap());
        assert_eq!(current(&mut session).as_deref(), Some("a/#"));
        session.stop_replay(&TopicFilter::new("a/#").unwrap());
        assert!(!session.has_replay() && session.replays.is_none());
    }
}
