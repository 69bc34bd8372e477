//! What a topic matches: one target for each subscriber, and the share groups.
//!
//! Relates to: [`Subscriptions::matches`](super::Subscriptions::matches), which fills a [`Matches`]. Leaves out:
//! delivery, and the choice of a group's member, which is [`ShareGroup::choose`].

use std::sync::Arc;

use gantline_protocol::{QoS, SubscriptionIds};

use super::Subscriber;
use super::trie::Frontier;
use crate::broker::shared::ShareGroup;

/// The result of a match. Keep one and clear it after use, so that the next match allocates nothing.
#[derive(Debug)]
pub(crate) struct Matches<S> {
    /// Each subscriber that has a matching subscription of its own, once, in no order that means anything.
    pub(crate) targets: Vec<Target<S>>,
    /// The share groups that match. A subscriber may be in several, and among the targets too: a shared and an own
    /// subscription each bring a copy (section 4.8.2).
    pub(crate) groups: Vec<Arc<ShareGroup<S>>>,
    pub(super) frontier: Frontier,
    /// Targets by key while they are merged.
    order: Vec<(usize, u32)>,
    /// Positions of targets that were merged into another.
    merged: Vec<u32>,
}

impl<S: Subscriber> Matches<S> {
    /// Forgets the results and keeps the memory, unless it is unusually much. Not for use under a lock: a last
    /// reference to a subscriber may end here.
    pub(crate) fn clear(&mut self) {
        self.targets.clear();
        self.groups.clear();
        self.targets.shrink_to(KEPT);
        self.groups.shrink_to(KEPT);
        self.frontier.shrink(KEPT);
        self.order.shrink_to(KEPT);
        self.merged.shrink_to(KEPT);
    }

    /// Makes one target of all that name the same subscriber: the highest QoS [MQTT-3.3.4-2], the identifiers of all
    /// [MQTT-3.3.4-4], and RETAIN as published if one of them asks for it.
    pub(super) fn merge(&mut self) {
        let Self { targets, order, merged, .. } = self;
        order.clear();
        order.extend(targets.iter().map(|target| target.subscriber.key()).zip(0..));
        order.sort_unstable();
        merged.clear();
        for same in order.chunk_by(|left, right| left.0 == right.0) {
            let [(_, first), others @ ..] = same else { continue };
            if others.is_empty() {
                continue;
            }
            let of_same = same.iter().map(|&(_, position)| &targets[position as usize]);
            let qos = of_same.clone().map(|target| target.qos).max().unwrap_or_default();
            let retain_as_published = of_same.clone().any(|target| target.retain_as_published);
            let ids = join(of_same.filter_map(|target| target.ids.as_ref()));
            let target = &mut targets[*first as usize];
            target.qos = qos;
            target.retain_as_published = retain_as_published;
            target.ids = ids;
            merged.extend(others.iter().map(|&(_, position)| position));
        }
        // From the last to the first, so that what a removal moves forward is never itself one to be removed.
        merged.sort_unstable();
        for &position in merged.iter().rev() {
            targets.swap_remove(position as usize);
        }
    }
}

impl<S> Default for Matches<S> {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            groups: Vec::new(),
            frontier: Frontier::default(),
            order: Vec::new(),
            merged: Vec::new(),
        }
    }
}

/// A subscriber that gets the message, and how.
#[derive(Clone, Debug)]
pub(crate) struct Target<S> {
    /// Who gets it.
    pub(crate) subscriber: S,
    /// At most this QoS.
    pub(crate) qos: QoS,
    /// Whether the RETAIN flag stays as the publisher set it.
    pub(crate) retain_as_published: bool,
    /// The identifiers of the matching subscriptions that have one; `None` if none has.
    pub(crate) ids: Option<SubscriptionIds>,
}

/// The identifiers of several subscriptions; equal ones stay (section 3.3.4). This alone of a match allocates, and
/// only if one client has two matching subscriptions with identifiers.
fn join<'a>(mut all: impl Iterator<Item = &'a SubscriptionIds>) -> Option<SubscriptionIds> {
    let first = all.next()?;
    let Some(second) = all.next() else { return Some(first.clone()) };
    let mut ids = [first.as_slice(), second.as_slice()].concat();
    all.for_each(|more| ids.extend_from_slice(more.as_slice()));
    SubscriptionIds::new(&ids)
}

/// How many results' worth of memory a cleared [`Matches`] keeps.
const KEPT: usize = 16 * 1024;
