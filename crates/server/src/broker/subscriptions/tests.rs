//! The index compared with the reference matcher, and its edges: merging, groups, depth.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;

use gantline_protocol::{QoS, SubscriptionIds, TopicFilter, topic};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
use proptest::sample::select;

use super::{Matches, ShareGroup, Subscriber, Subscription, Subscriptions};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Client(usize);

impl Subscriber for Client {
    fn key(&self) -> usize {
        self.0
    }
}

/// What one subscriber is to get: QoS, RETAIN as published, sorted identifiers.
type Wanted = BTreeMap<usize, (QoS, bool, Vec<u32>)>;

/// The filter of a group.
fn filter_of<'a>(subscriptions: &'a Subscriptions<Client>, group: &ShareGroup<Client>) -> &'a TopicFilter {
    let found = subscriptions.names.iter().find(|(_, id)| **id == group.id());
    found.map(|(filter, _)| filter).unwrap()
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn by(key: usize) -> Subscription<Client> {
    let (qos, no_local, retain_as_published) = (QoS::AtLeastOnce, false, false);
    Subscription { subscriber: Client(key), qos, no_local, retain_as_published, id: None }
}

fn index<'a>(filters: impl IntoIterator<Item = (&'a str, usize)>) -> Subscriptions<Client> {
    let mut subscriptions = Subscriptions::default();
    for (text, key) in filters {
        subscriptions.insert(&filter(text), by(key));
    }
    subscriptions
}

fn matches(subscriptions: &Subscriptions<Client>, topic: &str) -> Matches<Client> {
    let mut out = Matches::default();
    subscriptions.matches(topic, None, &mut out);
    out
}

fn wanted(out: &Matches<Client>) -> Wanted {
    let wanted: Wanted = out
        .targets
        .iter()
        .map(|target| {
            let mut ids =
                target.ids.as_ref().map_or(Vec::new(), |ids| SubscriptionIds::as_slice(ids).to_vec());
            ids.sort_unstable();
            (target.subscriber.0, (target.qos, target.retain_as_published, ids))
        })
        .collect();
    assert_eq!(wanted.len(), out.targets.len(), "each subscriber once");
    wanted
}

fn keys(subscriptions: &Subscriptions<Client>, topic: &str) -> Vec<usize> {
    wanted(&matches(subscriptions, topic)).into_keys().collect()
}

/// All sequences of one to `depth` of these levels, without the empty text.
fn sequences(levels: &[&str], depth: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut longest: Vec<String> = levels.iter().map(ToString::to_string).collect();
    for _ in 1..depth {
        let longer =
            longest.iter().flat_map(|start| levels.iter().map(move |level| format!("{start}/{level}")));
        let longer = longer.collect();
        all.append(&mut std::mem::replace(&mut longest, longer));
    }
    all.append(&mut longest);
    all.retain(|text| !text.is_empty());
    all
}

fn all_filters() -> Vec<String> {
    let levels = ["", "a", "b", "$s", "+"];
    let mut filters = sequences(&levels, 4);
    filters.extend(sequences(&levels, 3).into_iter().map(|stem| stem + "/#"));
    filters.extend(["#".to_owned(), "/#".to_owned()]);
    filters.sort();
    filters.dedup();
    filters
}

fn all_topics() -> Vec<String> {
    sequences(&["", "a", "b", "$s", "c"], 4)
}

#[test]
fn every_filter_matches_the_topics_of_the_reference() {
    let (filters, topics) = (all_filters(), all_topics());
    let mut subscriptions = index(filters.iter().map(String::as_str).zip(0..));
    let mut out = Matches::default();
    for kept in [1, 3, 50, usize::MAX] {
        for (key, text) in filters.iter().enumerate().filter(|(key, _)| key % kept != 0) {
            subscriptions.remove(&filter(text), key);
        }
        for name in &topics {
            let expected: Vec<_> = filters
                .iter()
                .enumerate()
                .filter(|(key, text)| {
                    [1, 3, 50, usize::MAX].iter().all(|step| *step > kept || key % step == 0)
                        && topic::matches(text, name)
                })
                .map(|(key, _)| key)
                .collect();
            out.clear();
            subscriptions.matches(name, None, &mut out);
            let mut found: Vec<_> = out.targets.iter().map(|target| target.subscriber.0).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{name}");
        }
    }
    assert_eq!(subscriptions.len(), 1);
}

#[test]
fn every_shared_filter_matches_the_topics_of_the_reference() {
    let filters = all_filters();
    let shared: Vec<_> = filters.iter().map(|text| format!("$share/g/{text}")).collect();
    // Beside own subscriptions, of which a group is none.
    let own = filters.iter().step_by(3);
    let subscriptions = index(shared.iter().chain(own).map(|text| (text.as_str(), 1)));
    let mut out = Matches::default();
    for name in all_topics() {
        out.clear();
        subscriptions.matches(&name, None, &mut out);
        let mut found: Vec<_> =
            out.groups.iter().map(|group| filter_of(&subscriptions, group).pattern()).collect();
        found.sort_unstable();
        let expected: Vec<_> = filters.iter().filter(|text| topic::matches(text, &name)).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_last_removal_leaves_no_node() {
    let filters = all_filters();
    for reverse in [false, true] {
        let mut subscriptions = index(filters.iter().map(|text| (text.as_str(), 1)));
        assert_eq!(subscriptions.len(), filters.len());
        let order: Vec<_> = if reverse { filters.iter().rev().collect() } else { filters.iter().collect() };
        for text in order {
            assert!(subscriptions.remove(&filter(text), 1));
            assert!(!subscriptions.remove(&filter(text), 1));
        }
        assert!(
            subscriptions.len() == 0 && subscriptions.wildcard.is_empty() && subscriptions.exact.is_empty()
        );
    }
}

#[test]
fn overlapping_filters_make_one_target() {
    let mut subscriptions = Subscriptions::default();
    let id = NonZeroU32::new;
    subscriptions.insert(&filter("a/b"), Subscription { id: id(7), ..by(1) });
    subscriptions.insert(&filter("a/#"), Subscription { qos: QoS::ExactlyOnce, id: id(3), ..by(1) });
    subscriptions.insert(&filter("+/b"), Subscription { retain_as_published: true, id: id(7), ..by(1) });
    subscriptions.insert(&filter("#"), Subscription { qos: QoS::AtMostOnce, ..by(1) });
    subscriptions.insert(&filter("#"), Subscription { id: id(9), ..by(2) });
    let expected = [(1, (QoS::ExactlyOnce, true, vec![3, 7, 7])), (2, (QoS::AtLeastOnce, false, vec![9]))];
    assert_eq!(wanted(&matches(&subscriptions, "a/b")), Wanted::from(expected));
}

#[test]
fn the_same_filter_again_replaces() {
    let mut subscriptions = Subscriptions::default();
    for text in ["a", "a/+", "$share/g/a"] {
        assert!(!subscriptions.insert(&filter(text), by(1)));
        assert!(subscriptions.insert(&filter(text), Subscription { qos: QoS::ExactlyOnce, ..by(1) }));
        assert!(!subscriptions.insert(&filter(text), by(2)));
    }
    assert_eq!(subscriptions.len(), 6);
    assert_eq!(matches(&subscriptions, "a/b").targets[0].qos, QoS::ExactlyOnce);
    assert_eq!(matches(&subscriptions, "a").groups[0].len(), 2);
}

#[test]
fn no_local_leaves_out_that_subscription_and_no_other() {
    let mut subscriptions = index([("a/b", 1), ("a/b", 2)]);
    subscriptions.insert(&filter("a/+"), Subscription { no_local: true, qos: QoS::ExactlyOnce, ..by(1) });
    subscriptions.insert(&filter("#"), Subscription { no_local: true, ..by(3) });
    let mut out = Matches::default();
    subscriptions.matches("a/b", Some(1), &mut out);
    let qos: Vec<_> = wanted(&out).into_iter().map(|(key, (qos, ..))| (key, qos)).collect();
    assert_eq!(qos, [(1, QoS::AtLeastOnce), (2, QoS::AtLeastOnce), (3, QoS::AtLeastOnce)]);
    out.clear();
    subscriptions.matches("a/b", Some(3), &mut out);
    assert_eq!(wanted(&out)[&1].0, QoS::ExactlyOnce);
    assert!(!wanted(&out).contains_key(&3));
}

#[test]
fn groups_stand_beside_own_subscriptions() {
    let mut subscriptions = index([
        ("a/b", 1),
        ("$share/g/a/b", 1),
        ("$share/g/a/b", 2),
        ("$share/h/a/b", 1),
        ("$share/g/a/+", 3),
    ]);
    let out = matches(&subscriptions, "a/b");
    assert_eq!(keys(&subscriptions, "a/b"), [1]);
    let mut groups: Vec<_> =
        out.groups.iter().map(|group| (filter_of(&subscriptions, group).as_str(), group.len())).collect();
    groups.sort_unstable();
    assert_eq!(groups, [("$share/g/a/+", 1), ("$share/g/a/b", 2), ("$share/h/a/b", 1)]);
    for group in &out.groups {
        assert!(Arc::ptr_eq(subscriptions.group(group.id()).unwrap(), group));
    }
    assert!(!subscriptions.remove(&filter("$share/x/a/b"), 1));
    assert!(!subscriptions.remove(&filter("$share/h/a/b"), 2));
    assert!(subscriptions.remove(&filter("a/b"), 1));
    for (text, key) in [("$share/g/a/b", 1), ("$share/g/a/b", 2), ("$share/h/a/b", 1), ("$share/g/a/+", 3)] {
        assert!(subscriptions.remove(&filter(text), key));
    }
    assert!(subscriptions.len() == 0 && subscriptions.exact.is_empty() && subscriptions.wildcard.is_empty());
    assert!(subscriptions.groups.is_empty() && subscriptions.names.is_empty());
    assert!(out.groups.iter().all(|group| subscriptions.group(group.id()).is_none()));
}

#[test]
fn a_group_keeps_identity_and_turn_when_its_members_change() {
    let mut subscriptions = index([("$share/g/a", 0), ("$share/g/a", 1), ("$share/g/a", 2)]);
    let before = matches(&subscriptions, "a").groups[0].clone();
    let choose = |group: &ShareGroup<Client>| group.choose(|_, _| Some(0)).unwrap().subscriber.0;
    assert_eq!([choose(&before), choose(&before)], [0, 1]);
    subscriptions.insert(&filter("$share/g/a"), by(3));
    let after = subscriptions.group(before.id()).unwrap();
    assert_eq!((before.len(), after.len()), (3, 4));
    assert_eq!([choose(after), choose(after), choose(after)], [2, 3, 0]);
}

#[test]
fn many_subscribers_of_one_filter_come_and_go() {
    let mut subscriptions = index((0..1_000).map(|key| ("a/#", key)));
    assert!((0..1_000).all(|key| subscriptions.insert(&filter("a/#"), by(key))));
    (0..1_000).filter(|key| key % 7 != 0).for_each(|key| assert!(subscriptions.remove(&filter("a/#"), key)));
    let rest: Vec<_> = (0..1_000).filter(|key| key % 7 == 0).collect();
    assert_eq!(keys(&subscriptions, "a/b"), rest);
    (0..100).for_each(|key| assert!(!subscriptions.insert(&filter("+/b"), by(key))));
    assert_eq!(matches(&subscriptions, "a/b").targets.len(), rest.len() + 100 - 15);
    rest.iter().for_each(|&key| assert!(subscriptions.remove(&filter("a/#"), key)));
    assert_eq!(subscriptions.len(), 100);
}

#[test]
fn a_match_after_the_first_allocates_no_room_for_results() {
    let subscriptions = index((0..500).flat_map(|key| [("a/#", key), ("+/b", key), ("$share/g/a/b", key)]));
    let mut out = matches(&subscriptions, "a/b");
    let room = |out: &Matches<Client>| (out.targets.as_ptr(), out.targets.capacity(), out.groups.as_ptr());
    let first = room(&out);
    out.clear();
    subscriptions.matches("a/b", None, &mut out);
    assert_eq!((room(&out), out.targets.len()), (first, 500));
}

#[test]
fn entries_are_small() {
    assert_eq!(size_of::<super::roster::Entry<Arc<()>>>(), 24);
    assert_eq!(size_of::<super::Place<Arc<()>>>(), 32);
    assert_eq!(size_of::<super::Target<Arc<()>>>(), 24);
}

#[test]
fn depth_costs_no_stack() {
    let small = thread::Builder::new().stack_size(128 * 1024);
    let worker = small.spawn(|| {
        let deep = "/".repeat(65_000);
        let filters =
            [format!("{deep}+"), format!("{deep}#"), format!("+{deep}a/#"), format!("$share/g/{deep}+")];
        let mut subscriptions = index(filters.iter().map(|text| (text.as_str(), 1)));
        assert_eq!(matches(&subscriptions, &deep).targets.len(), 1);
        assert_eq!(matches(&subscriptions, &deep).groups.len(), 1);
        assert_eq!(matches(&subscriptions, &format!("{deep}/a")).targets.len(), 1);
        assert!(subscriptions.remove(&filter(&filters[2]), 1));
        assert!(subscriptions.remove(&filter(&filters[0]), 1));
        drop(subscriptions);
        let mut again = index([(filters[0].as_str(), 1)]);
        assert!(again.remove(&filter(&filters[0]), 1));
        assert!(again.wildcard.is_empty());
    });
    worker.unwrap().join().unwrap();
}

/// What a test does to the index: subscribe (with all options) or unsubscribe.
#[derive(Clone, Debug)]
struct Change {
    filter: String,
    key: usize,
    remove: bool,
    qos: u8,
    no_local: bool,
    retain_as_published: bool,
    id: u32,
}

fn change() -> impl Strategy<Value = Change> {
    let group = select(vec!["", "", "$share/g/", "$share/h/"]);
    let filter = (group, select(all_filters())).prop_map(|(group, text)| format!("{group}{text}"));
    let options = (0..3_u8, any::<bool>(), any::<bool>(), 0..4_u32);
    (filter, 0..5_usize, any::<bool>(), options).prop_map(|(filter, key, remove, options)| {
        let (qos, no_local, retain_as_published, id) = options;
        Change { filter, key, remove, qos, no_local, retain_as_published, id }
    })
}

fn small_change() -> impl Strategy<Value = Change> {
    let small =
        select(vec!["a", "a/b", "a/+", "a/#", "#", "+/b", "+", "$share/g/a", "$share/g/a/#", "$share/h/+"]);
    (small, change()).prop_map(|(small, change)| Change { filter: small.to_owned(), ..change })
}

proptest! {
    #[test]
    fn any_sequence_of_changes_agrees_with_a_list(
        changes in vec(proptest::prop_oneof![change(), small_change()], 1..80),
        publisher in 0..6_usize,
    ) {
        let mut subscriptions = Subscriptions::default();
        let mut list: BTreeMap<(String, usize), Subscription<Client>> = BTreeMap::new();
        for Change { filter: text, key, remove, qos, no_local, retain_as_published, id } in changes {
            let place = (text.clone(), key);
            if remove {
                prop_assert_eq!(subscriptions.remove(&filter(&text), key), list.remove(&place).is_some());
            } else {
                let (qos, id) = (QoS::from_u8(qos).unwrap(), NonZeroU32::new(id));
                let subscription = Subscription { subscriber: Client(key), qos, no_local, retain_as_published, id };
                let replaced = subscriptions.insert(&filter(&text), subscription.clone());
                prop_assert_eq!(replaced, list.insert(place, subscription).is_some());
            }
            prop_assert_eq!(subscriptions.len(), list.len());
        }
        let mut out = Matches::default();
        for name in ["a", "b", "a/b", "b/b", "a/b/c", "$s", "$s/b", "/", "//a", "/b"] {
            let (mut expected, mut members) = (Wanted::new(), BTreeMap::<&str, usize>::new());
            for ((text, key), subscription) in &list {
                let parsed = filter(text);
                if !topic::matches(parsed.pattern(), name) {
                    continue;
                }
                if parsed.group().is_some() {
                    *members.entry(text).or_default() += 1;
                } else if !(subscription.no_local && *key == publisher) {
                    let (qos, as_published, ids) = expected.entry(*key).or_default();
                    *qos = subscription.qos.max(*qos);
                    *as_published |= subscription.retain_as_published;
                    ids.extend(subscription.id.map(NonZeroU32::get));
                    ids.sort_unstable();
                }
            }
            out.clear();
            subscriptions.matches(name, Some(publisher), &mut out);
            prop_assert_eq!(wanted(&out), expected, "{}", name);
            let groups: BTreeMap<_, _> = out.groups.iter().map(|group| (filter_of(&subscriptions, group).as_str(), group.len())).collect();
            prop_assert_eq!(out.groups.len(), groups.len());
            prop_assert_eq!(groups, members, "{}", name);
        }
    }
}
