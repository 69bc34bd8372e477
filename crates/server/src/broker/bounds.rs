//! The bounds that need a look at what all clients share: topics and filters, subscriptions, sessions, addresses.
//!
//! Relates to: [`ServerOptions`](crate::ServerOptions), which sets them; the handshake and the connections, which tell
//! the client. Leaves out: the bounds of queues, which are the mailboxes', those of retained messages (`retaining.rs`),
//! and rates (`rate.rs`).

use std::net::{IpAddr, Ipv6Addr};

use foldhash::fast::RandomState;
use gantline_protocol::{ClientId, ReasonCode};
use gantline_transport::sync::Mutex;
use hashbrown::HashMap;

use super::Broker;
use super::retaining::is_own;
use crate::options::ServerOptions;

/// What a topic or filter may look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicBounds {
    levels: u16,
    length: u16,
    /// Whatever is shorter is within both.
    harmless: u16,
}

impl TopicBounds {
    pub(super) const fn new(options: &ServerOptions) -> Self {
        let (levels, length) = (options.max_topic_levels, options.max_topic_length);
        // A level takes a byte at least, but for the last.
        Self { levels, length, harmless: if levels < length { levels } else { length } }
    }

    /// Whether a topic or filter is too long or has too many levels.
    pub(crate) fn are_exceeded(self, topic: &str) -> bool {
        if topic.len() < self.harmless.into() {
            return false;
        }
        let separators = topic.bytes().filter(|byte| *byte == b'/').count();
        topic.len() > self.length.into() || separators >= self.levels.into()
    }

    /// Whether a client may perhaps not publish to a topic: [`refusal`](Self::refusal) knows. Cheaper, for most topics.
    #[inline]
    pub(crate) fn are_in_doubt(self, topic: &str) -> bool {
        topic.len() >= self.harmless.into() || topic.starts_with('$')
    }

    /// Why a client may not publish to a topic.
    pub(crate) fn refusal(self, topic: &str) -> Option<ReasonCode> {
        if is_own(topic) {
            // [MQTT-4.7.2-1]: what the server says about itself is said by nobody else.
            return Some(ReasonCode::NotAuthorized);
        }
        self.are_exceeded(topic).then_some(ReasonCode::TopicNameInvalid)
    }
}

impl Broker {
    /// Whether there is no room for the session of this client, which has none yet. Connections that come at the same
    /// time on other threads may exceed the bound by as many.
    pub(crate) fn has_no_room_for(&self, id: &ClientId) -> bool {
        self.clients.len() >= self.options.max_sessions && self.clients.get(id.as_str()).is_none()
    }
}

/// How many connections there are from each address, if that is bounded.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Mutex<HashMap<IpAddr, usize, RandomState>>);

impl Addresses {
    /// Counts one more connection from an address, unless there are so many.
    pub(crate) fn enter(&self, address: IpAddr, most: usize) -> bool {
        let mut counts = self.0.lock();
        let count = counts.entry(network(address)).or_default();
        let fits = *count < most;
        *count += usize::from(fits);
        if *count == 0 {
            // Nothing at all is allowed.
            counts.remove(&network(address));
        }
        fits
    }

    /// Counts one less.
    pub(crate) fn leave(&self, address: IpAddr) {
        let mut counts = self.0.lock();
        let Some(count) = counts.get_mut(&network(address)) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&network(address));
        }
    }
}

/// An address as far as it counts: one host has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::{Addresses, TopicBounds};
    use crate::options::ServerOptions;

    #[test]
    fn topics_are_bounded_in_levels_and_length() {
        let bounds = |levels, length| {
            TopicBounds::new(&ServerOptions::default().max_topic_levels(levels).max_topic_length(length))
        };
        for (levels, length, topic, exceeded) in [
            (3, 100, "a/b/c", false),
            (3, 100, "a/b/c/d", true),
            (3, 100, "//", false),
            (3, 100, "///", true),
            (128, 5, "12345", false),
            (128, 5, "123456", true),
            (0, 0, "a", true),
        ] {
            assert_eq!(bounds(levels, length).are_exceeded(topic), exceeded, "{levels} {length} {topic}");
        }
    }

    #[test]
    fn addresses_are_counted_by_host() {
        let addresses = Addresses::default();
        let at = |text: &str| text.parse().unwrap();
        assert!(addresses.enter(at("192.0.2.1"), 2) && addresses.enter(at("::ffff:192.0.2.1"), 2));
        assert!(!addresses.enter(at("192.0.2.1"), 2));
        assert!(addresses.enter(at("192.0.2.2"), 2));
        assert!(addresses.enter(at("2001:db8::1"), 2) && addresses.enter(at("2001:db8::2"), 2));
        assert!(!addresses.enter(at("2001:db8::3"), 2) && addresses.enter(at("2001:db8:0:1::1"), 2));
        addresses.leave(at("192.0.2.1"));
        assert!(addresses.enter(at("192.0.2.1"), 2));
        assert!(!addresses.enter(at("192.0.2.9"), 0));
        assert_eq!(addresses.0.lock().len(), 4);
    }
}
