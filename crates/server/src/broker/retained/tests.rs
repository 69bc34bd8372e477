//! Pages compared with a plain list, expiry, and depth.

use std::collections::BTreeMap;
use std::thread;

use gantline_protocol::{Frame, Message, Moment, QoS, topic};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

use super::{Page, Retained, RetainedTree};
use crate::broker::arena::NodeId;

fn message(topic: &str, payload: &str, expires: Moment) -> Retained {
    let frame = Frame::from_message(&Message::new(topic, payload.to_owned()).unwrap());
    Retained { frame, qos: QoS::AtLeastOnce, expires }
}

fn set(tree: &mut RetainedTree, topic: &str) -> Option<Retained> {
    tree.set(topic, message(topic, "x", Moment::NEVER))
}

fn topics(found: &[Retained]) -> Vec<&str> {
    found.iter().map(|message| message.frame.topic()).collect()
}

/// All pages; `between` may change the tree after each.
fn read(
    tree: &mut RetainedTree,
    pattern: &str,
    (max_messages, max_bytes): (usize, usize),
    mut between: impl FnMut(&mut RetainedTree),
) -> Vec<Retained> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let mut page = Vec::new();
        let end = tree.page(pattern, after.as_deref(), Moment::ZERO, max_messages, max_bytes, &mut page);
        assert!(page.len() <= max_messages.max(1));
        assert!(
            page.len() <= 1 || page.iter().map(|message| message.frame.weight()).sum::<usize>() <= max_bytes
        );
        found.append(&mut page);
        match end {
            Page::Done => return found,
            Page::More { last } => after = Some(last),
        }
        between(tree);
    }
}

fn is_empty(tree: &RetainedTree) -> bool {
    (tree.count(), tree.bytes(), tree.deadlines.len(), tree.nodes.len()) == (0, 0, 0, 1)
        && tree.nodes[NodeId::ROOT].children.is_empty()
}

#[test]
fn a_topic_has_one_message() {
    let mut tree = RetainedTree::default();
    assert!(tree.set("a/b", message("a/b", "first", Moment::NEVER)).is_none());
    assert_eq!(tree.set("a/b", message("a/b", "second", Moment::NEVER)).unwrap().frame.payload(), b"first");
    assert_eq!(tree.get("a/b", Moment::ZERO).unwrap().frame.payload(), b"second");
    assert!(tree.get("a", Moment::ZERO).is_none() && tree.get("a/b/c", Moment::ZERO).is_none());
    assert_eq!(tree.count(), 1);
    assert!(tree.clear("a").is_none() && tree.clear("a/b/c").is_none());
    assert_eq!(tree.clear("a/b").unwrap().frame.payload(), b"second");
    assert!(tree.clear("a/b").is_none());
    assert!(is_empty(&tree));
}

#[test]
fn pages_come_in_the_order_of_levels() {
    let mut tree = RetainedTree::default();
    for name in ["b", "a!", "a/b", "a", "/", "a/b/c", "/a", "$SYS/a", "~"] {
        set(&mut tree, name);
    }
    let mut all = |pattern| topics(&read(&mut tree, pattern, (1, 1), |_| {})).join(" ");
    assert_eq!(all("#"), "/ /a a a/b a/b/c a! b ~");
    assert_eq!(all("+"), "a a! b ~");
    assert_eq!(all("$SYS/#"), "$SYS/a");
    assert_eq!(all("a/#"), "a a/b a/b/c");
}

/// All sequences of one to four of these levels, without the empty text.
fn all(levels: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = levels.iter().map(ToString::to_string).collect();
    let mut longest = all.clone();
    for _ in 1..4 {
        longest = longest
            .iter()
            .flat_map(|start| levels.iter().map(move |level| format!("{start}/{level}")))
            .collect();
        all.extend_from_slice(&longest);
    }
    all.retain(|text| !text.is_empty());
    all
}

#[test]
fn every_filter_finds_the_topics_of_the_reference() {
    let names = all(&["", "a", "b", "$x"]);
    let mut tree = RetainedTree::default();
    names.iter().for_each(|name| drop(set(&mut tree, name)));
    let filters = all(&["", "a", "b", "$x", "+", "#"]).into_iter();
    let filters = filters.filter(|text| !text.split('/').rev().skip(1).any(|level| level == "#"));
    for filter in filters {
        let mut expected: Vec<_> = names.iter().filter(|name| topic::matches(&filter, name)).collect();
        expected.sort_by(|left, right| left.split('/').cmp(right.split('/')));
        let found = read(&mut tree, &filter, (50, usize::MAX), |_| {});
        assert_eq!(topics(&found), expected, "{filter}");
    }
}

#[test]
fn a_page_never_exceeds_its_bytes_but_for_its_first_message() {
    let mut tree = RetainedTree::default();
    for (name, length) in [("a", 10), ("b", 1_000), ("c", 10), ("d", 10)] {
        tree.set(name, message(name, &"x".repeat(length), Moment::NEVER));
    }
    let weight = tree.get("a", Moment::ZERO).unwrap().frame.weight();
    let mut page = Vec::new();
    assert_eq!(tree.page("#", None, Moment::ZERO, 9, weight * 2, &mut page), Page::More { last: "a".into() });
    assert_eq!(
        tree.page("#", Some("a"), Moment::ZERO, 9, weight * 2, &mut page),
        Page::More { last: "b".into() }
    );
    assert_eq!(tree.page("#", Some("b"), Moment::ZERO, 9, weight * 2 + 1, &mut page), Page::Done);
    assert_eq!(topics(&page), ["a", "b", "c", "d"]);
}

#[test]
fn a_page_that_finds_little_ends_all_the_same() {
    let mut tree = RetainedTree::default();
    for number in 0..10_000 {
        set(&mut tree, &format!("device/{number}/online"));
    }
    set(&mut tree, "device/777/fault");
    let mut pages = 0;
    let found = read(&mut tree, "device/+/fault", (10, 1_000), |_| pages += 1);
    assert_eq!(topics(&found), ["device/777/fault"]);
    assert!((2..10).contains(&pages), "{pages}");
    let found = read(&mut tree, "+/+/online", (10_000, usize::MAX), |tree| {
        tree.clear("device/0/online");
    });
    assert!(found.len() >= 9_999, "{}", found.len());
}

#[test]
fn expired_messages_are_not_found_and_are_removed_in_turn() {
    let at = Moment::from_millis;
    let mut tree = RetainedTree::default();
    for (name, expires) in [("a", 30), ("b", 10), ("c", 20), ("a/b", 10)] {
        tree.set(name, message(name, "x", at(expires)));
    }
    set(&mut tree, "d");
    assert_eq!(tree.next_expiry(), at(10));
    assert!(tree.get("b", at(9)).is_some() && tree.get("b", at(10)).is_none());
    let mut page = Vec::new();
    assert_eq!(tree.page("#", None, at(10), 10, 10_000, &mut page), Page::Done);
    assert_eq!(topics(&page), ["a", "c", "d"]);
    tree.set("c", message("c", "y", at(40)));
    tree.set("b", message("b", "y", at(10)));
    assert!(tree.remove_expired(at(9), 10).is_empty());
    assert_eq!(tree.remove_expired(at(35), 1).len(), 1);
    let mut rest: Vec<_> =
        tree.remove_expired(at(35), 10).iter().map(|gone| gone.frame.topic().len()).collect();
    rest.sort_unstable();
    assert_eq!(rest, [1, 3], "a and a/b");
    assert_eq!((tree.count(), tree.next_expiry()), (2, at(40)));
    tree.set("c", message("c", "z", Moment::NEVER));
    assert_eq!(tree.next_expiry(), Moment::NEVER);
    assert_eq!([tree.clear("c").is_some(), tree.clear("d").is_some(), is_empty(&tree)], [true; 3]);
}

#[test]
fn depth_costs_no_stack() {
    let worker = thread::Builder::new().stack_size(128 * 1024).spawn(|| {
        let deep = "/".repeat(65_000);
        let mut tree = RetainedTree::default();
        set(&mut tree, &deep);
        set(&mut tree, &format!("{deep}a"));
        assert_eq!(read(&mut tree, "#", (1, 1), |_| {}).len(), 2);
        assert_eq!(read(&mut tree, &format!("{deep}+"), (1, 1), |_| {}).len(), 2);
        assert!(tree.clear(&deep).is_some() && tree.clear(&format!("{deep}a")).is_some());
        assert!(is_empty(&tree));
        set(&mut tree, &deep);
    });
    worker.unwrap().join().unwrap();
}

fn name() -> impl Strategy<Value = String> {
    vec(select(vec!["", "a", "b", "$s", "!", "$", "%"]), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("no empty topic", |name| !name.is_empty())
}

fn pattern() -> impl Strategy<Value = String> {
    (vec(select(vec!["", "a", "b", "$s", "+", "+"]), 0..4), any::<bool>())
        .prop_map(|(mut levels, covers_below)| {
            levels.extend(covers_below.then_some("#"));
            levels.join("/")
        })
        .prop_filter("no empty filter", |pattern| !pattern.is_empty())
}

proptest! {
    #[test]
    fn pages_of_every_size_hold_what_matches(names in vec(name(), 0..40), pattern in pattern()) {
        let mut tree = RetainedTree::default();
        let mut list = BTreeMap::new();
        for name in &names {
            set(&mut tree, name);
            list.insert(name.split('/').collect::<Vec<_>>(), name.as_str());
        }
        prop_assert_eq!(tree.count(), list.len());
        let expected: Vec<_> = list.into_values().filter(|name| topic::matches(&pattern, name)).collect();
        for messages in (1..=5).chain([1_000]) {
            for bytes in [1, 100, 1_000_000] {
                let found = read(&mut tree, &pattern, (messages, bytes), |_| {});
                prop_assert_eq!(topics(&found), expected.clone(), "{} messages, {} bytes", messages, bytes);
            }
        }
        for name in &names {
            tree.clear(name);
        }
        prop_assert!(is_empty(&tree));
    }

    #[test]
    fn changes_between_pages_disturb_no_other_message(
        before in vec(name(), 0..30),
        changes in vec((name(), any::<bool>()), 0..30),
        pattern in pattern(),
        size in 1..4_usize,
    ) {
        let mut tree = RetainedTree::default();
        before.iter().for_each(|name| drop(set(&mut tree, name)));
        let mut touched = changes.iter();
        let found = read(&mut tree, &pattern, (size, 10_000), |tree| {
            if let Some((name, there)) = touched.next() {
                drop(if *there { set(tree, name) } else { tree.clear(name) });
            }
        });
        let found = topics(&found);
        prop_assert!(found.is_sorted_by(|left, right| left.split('/').lt(right.split('/'))), "each once, in order");
        prop_assert!(found.iter().all(|name| topic::matches(&pattern, name)));
        for name in before.iter().filter(|name| topic::matches(&pattern, name)) {
            let changed = changes.iter().any(|(changed, _)| changed == name);
            prop_assert!(changed || found.contains(&name.as_str()), "{} is missing", name);
        }
    }

    #[test]
    fn counts_follow_any_sequence_of_changes(changes in vec((name(), 0..6_u64), 0..60)) {
        let mut tree = RetainedTree::default();
        let mut list = BTreeMap::new();
        for (name, expires) in changes {
            let expires = if expires == 5 { Moment::NEVER } else { Moment::from_millis(expires) };
            if expires == Moment::ZERO {
                prop_assert_eq!(tree.clear(&name).is_some(), list.remove(&name).is_some());
            } else {
                let message = message(&name, &name, expires);
                let weight = message.frame.weight();
                prop_assert_eq!(tree.set(&name, message).is_some(), list.insert(name, (expires, weight)).is_some());
            }
            prop_assert_eq!(tree.count(), list.len());
            prop_assert_eq!(tree.bytes(), list.values().map(|(_, weight)| weight).sum::<usize>());
            let next = list.values().map(|(expires, _)| *expires).min().unwrap_or(Moment::NEVER);
            prop_assert_eq!(tree.next_expiry(), next);
        }
        let removed = tree.remove_expired(Moment::from_millis(3), usize::MAX).len();
        prop_assert_eq!(removed, list.values().filter(|(expires, _)| *expires <= Moment::from_millis(3)).count());
    }
}
