//! Share groups: of all members of `$share/name/filter`, one gets each message (section 4.8.2).
//!
//! Relates to: [`Subscriptions`](super::subscriptions::Subscriptions), which finds the groups that a topic matches.
//! Leaves out: which members can take a message now, which the caller says by a rank.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gantline_protocol::{Outbound, QoS};

use super::subscriptions::{Roster, Subscriber, Subscription, Target};

/// The members of one group name and filter at one time. A match hands out the group as it was; a later change of the
/// membership makes a new one with the same identity and the same place in the turn.
#[derive(Clone, Debug)]
pub(crate) struct ShareGroup<S> {
    id: u32,
    members: Roster<S>,
    /// Whose turn it is: a position in `members`, modulo their number.
    turn: Arc<AtomicU32>,
}

impl<S: Subscriber> ShareGroup<S> {
    /// Makes a group without members.
    pub(super) fn new(id: u32) -> Self {
        Self { id, members: Roster::default(), turn: Arc::default() }
    }

    /// The identity, by which [`Subscriptions::group`](super::subscriptions::Subscriptions::group) finds the group
    /// again as long as it has members.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// How many members there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none; no such group is ever handed out.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a subscriber is a member.
    pub(crate) fn contains(&self, key: usize) -> bool {
        self.members.contains(key)
    }

    /// The member that gets the next message: of those with the lowest rank, the one whose turn it is. A rank is given
    /// to a member and the QoS that it was granted; `None` excludes it.
    ///
    /// Rank 0 should be what most members have, because the search ends at the first of them; any other rank means
    /// that all members are asked.
    pub(crate) fn choose(&self, rank: impl Fn(&S, QoS) -> Option<u8>) -> Option<Target<S>> {
        let members = self.members.entries();
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        // Relaxed: the turn orders nothing but itself, and a lost race costs no more than an uneven turn.
        let start = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(count)?;
        let (before, after) = members.split_at(start as usize);
        let mut best: Option<(u8, usize, _)> = None;
        for (distance, member) in after.iter().chain(before).enumerate() {
            let Some(rank) = rank(member.subscriber(), member.qos()) else { continue };
            if best.is_none_or(|(lowest, ..)| rank < lowest) {
                best = Some((rank, distance, member));
            }
            if rank == 0 {
                break;
            }
        }
        let (_, distance, member) = best?;
        // Those passed over had their turn; else the one behind them would get their messages on top of its own.
        self.turn.fetch_add(u32::try_from(distance).unwrap_or_default(), Ordering::Relaxed);
        Some(member.target())
    }

    /// Adds a member; `true` if it was one before.
    pub(super) fn insert(&mut self, subscription: Subscription<S>) -> bool {
        self.members.insert(subscription)
    }

    /// Removes a member, and says whether there was one.
    pub(super) fn remove(&mut self, key: usize) -> bool {
        self.members.remove(key)
    }
}

/// What a message was when a group got it: the tag of its [`Outbound`]. Whoever gets it instead of a member whose
/// session has ended gets it as if it came from the publisher [MQTT-3.8.4-8].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The identity of the group, 1 to [`LAST_GROUP`].
    pub(crate) group: u32,
    /// The QoS of the publisher.
    pub(crate) qos: QoS,
    /// Whether the publisher set RETAIN.
    pub(crate) retain: bool,
}

impl Origin {
    /// The tag that says so, never 0.
    pub(crate) fn tag(self) -> u32 {
        self.group << 3 | u32::from(self.qos.value()) << 1 | u32::from(self.retain)
    }

    /// Where a message comes from; `None` if not from a group.
    pub(crate) fn of(message: &Outbound) -> Option<Self> {
        let tag = message.tag;
        let qos = QoS::from_u8((tag >> 1 & 3) as u8)?;
        (tag != 0).then_some(Self { group: tag >> 3, qos, retain: tag & 1 == 1 })
    }
}

/// What fits into a tag beside QoS and RETAIN.
pub(super) const LAST_GROUP: u32 = u32::MAX >> 3;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use gantline_protocol::{Message, Moment, Outbound, QoS};

    use super::{LAST_GROUP, Origin, ShareGroup, Subscriber, Subscription};

    #[derive(Clone, Debug)]
    struct Member(usize);

    impl Subscriber for Member {
        fn key(&self) -> usize {
            self.0
        }
    }

    fn group(members: usize) -> ShareGroup<Member> {
        let mut group = ShareGroup::new(1);
        for key in 0..members {
            let (qos, no_local, retain_as_published) = (QoS::AtLeastOnce, false, false);
            group.insert(Subscription {
                subscriber: Member(key),
                qos,
                no_local,
                retain_as_published,
                id: None,
            });
        }
        group
    }

    /// How often each member is chosen.
    fn chosen(group: &ShareGroup<Member>, times: usize, rank: impl Fn(&Member) -> Option<u8>) -> Vec<usize> {
        let mut chosen = vec![0; group.len()];
        let chosen_once = |_| group.choose(|member, _| rank(member));
        (0..times).filter_map(chosen_once).for_each(|target| chosen[target.subscriber.0] += 1);
        chosen
    }

    #[test]
    fn members_take_turns() {
        assert_eq!(chosen(&group(5), 50, |_| Some(0)), [10; 5]);
    }

    #[test]
    fn a_member_behind_one_that_is_excluded_gets_no_more_than_the_others() {
        assert_eq!(chosen(&group(4), 30, |member| (member.0 != 1).then_some(0)), [10, 0, 10, 10]);
        assert_eq!(chosen(&group(4), 30, |member| (member.0 != 1).then_some(3)), [10, 0, 10, 10]);
    }

    #[test]
    fn only_the_best_rank_is_chosen() {
        let rank = |member: &Member| [Some(2), Some(1), None, Some(1)][member.0];
        assert_eq!(chosen(&group(4), 20, rank), [0, 10, 0, 10]);
        assert_eq!(chosen(&group(4), 20, |_| None), [0; 4]);
        assert!(group(0).choose(|_, _| Some(0)).is_none());
    }

    #[test]
    fn the_search_ends_at_the_first_with_rank_0() {
        let asked = Cell::new(0);
        group(1_000).choose(|_, _| {
            asked.set(asked.get() + 1);
            Some(0)
        });
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn a_tag_says_where_a_message_comes_from() {
        let message = Outbound::new(&Message::new("t", "x").unwrap(), Moment::ZERO);
        assert_eq!(Origin::of(&message), None);
        for group in [1, 2, LAST_GROUP] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for retain in [false, true] {
                    let origin = Origin { group, qos, retain };
                    assert_eq!(Origin::of(&Outbound { tag: origin.tag(), ..message.clone() }), Some(origin));
                }
            }
        }
    }
}
