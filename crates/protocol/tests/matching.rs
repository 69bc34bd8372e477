//! Which filters match which topics, for all of both that can be made of a few levels.
//!
//! The definition here goes the other way than the matcher: it writes down the topics that a filter stands for. The
//! matcher is in turn the reference for the indices of server and client, which are compared with it in their crates.

use std::collections::BTreeSet;

use gantline_protocol::{TopicFilter, topic};

/// The levels of topics: none at all, two that differ, and one that begins with `$`.
const LEVELS: [&str; 4] = ["", "a", "b", "$x"];
/// The most levels of a topic or filter.
const DEPTH: usize = 4;

/// All sequences of this many levels.
fn sequences(levels: &[&'static str], length: usize) -> Vec<Vec<&'static str>> {
    (0..length).fold(vec![Vec::new()], |shorter, _| {
        shorter.iter().flat_map(|start| levels.iter().map(|level| [&start[..], &[level]].concat())).collect()
    })
}

/// All topics: a topic has at least one character [MQTT-4.7.3-1].
fn topics() -> BTreeSet<String> {
    let all = (1..=DEPTH).flat_map(|length| sequences(&LEVELS, length));
    all.map(|levels| levels.join("/")).filter(|name| !name.is_empty()).collect()
}

/// All filters, `#` standing at the end only.
fn filters() -> BTreeSet<String> {
    let levels = [&LEVELS[..], &["+"]].concat();
    let mut all: BTreeSet<String> = BTreeSet::from(["#".to_owned()]);
    for length in 1..=DEPTH {
        all.extend(sequences(&levels, length).iter().map(|levels| levels.join("/")));
        if length < DEPTH {
            all.extend(sequences(&levels, length).iter().map(|levels| levels.join("/") + "/#"));
        }
    }
    all.remove("");
    all
}

/// The topics of up to four levels that a filter stands for.
///
/// `+` stands for any one level. `#` stands for any number of levels, and for none if something is before it. A filter
/// with a wildcard at the front stands for no topic that begins with `$`.
fn meaning(filter: &str) -> BTreeSet<String> {
    let mut found = vec![Vec::new()];
    for level in filter.split('/') {
        let choices: Vec<Vec<&str>> = match level {
            "+" => sequences(&LEVELS, 1),
            "#" => (0..=DEPTH).flat_map(|length| sequences(&LEVELS, length)).collect(),
            text => vec![vec![text]],
        };
        found = found
            .iter()
            .flat_map(|start| choices.iter().map(move |choice| [&start[..], &choice[..]].concat()))
            .collect();
    }
    let begins_with_wildcard = filter.starts_with(['+', '#']);
    found
        .into_iter()
        .filter(|levels| (1..=DEPTH).contains(&levels.len()))
        .map(|levels| levels.join("/"))
        .filter(|name| !name.is_empty() && (!begins_with_wildcard || !name.starts_with('$')))
        .collect()
}

#[test]
fn the_definition_says_what_the_examples_of_the_specification_say() {
    let of = |filter: &str| Vec::from_iter(meaning(filter).into_iter().filter(|name| name.len() < 4));
    assert_eq!(of("a/b"), ["a/b"]);
    assert_eq!(of("a/+"), ["a/", "a/a", "a/b"]);
    assert_eq!(of("+"), ["a", "b"]);
    assert_eq!(of("/+"), ["/", "/$x", "/a", "/b"]);
    assert!(of("a/#").starts_with(&["a", "a/", "a//"].map(str::to_owned)));
    assert!(!of("#").contains(&"$x".to_owned()) && of("$x/#").contains(&"$x".to_owned()));
    assert!(of("+/+").contains(&"/".to_owned()) && !of("+").contains(&"/".to_owned()));
}

#[test]
fn the_matcher_agrees_with_the_definition_everywhere() {
    let (topics, filters) = (topics(), filters());
    assert_eq!((topics.len(), filters.len()), (339, 935));
    for filter in &filters {
        let expected = meaning(filter);
        let (plain, shared) = (TopicFilter::new(filter), TopicFilter::new(format!("$share/g/{filter}")));
        let (plain, shared) = (plain.unwrap(), shared.unwrap());
        for name in &topics {
            let matches = expected.contains(name);
            assert_eq!(topic::matches(filter, name), matches, "{filter} {name}");
            assert_eq!((plain.matches(name), shared.matches(name)), (matches, matches), "{filter} {name}");
        }
    }
}
