//! Looking up retained messages by filter, a page at a time.
//!
//! Relates to: [`RetainedTree`], whose nodes it walks: a node before its children, the children in the order of their
//! level. Leaves out: permissions, and what is done with the messages.

use std::collections::btree_map::Range;
use std::ops::Bound;

use gantline_protocol::Moment;

use super::{Retained, RetainedTree};
use crate::broker::arena::NodeId;

/// Whether a look-up has come to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Page {
    /// Nothing matches behind this page.
    Done,
    /// There may be more behind this position, which need not be the topic of a message.
    More {
        /// What to give as `after` to go on.
        last: String,
    },
}

impl RetainedTree {
    /// Appends to `out` what matches a pattern (a filter without `$share`) and comes after the position `after`, in a
    /// fixed order of topics.
    ///
    /// The page ends at `max_messages` messages, before the message that would bring it above `max_bytes` (but not
    /// before its first), or when many nodes were seen, so that the caller holds its lock for a bounded time. A message
    /// that is there from the first page to the last is found exactly once, whatever else is set and cleared between.
    pub(crate) fn page(
        &self,
        pattern: &str,
        after: Option<&str>,
        now: Moment,
        max_messages: usize,
        max_bytes: usize,
        out: &mut Vec<Retained>,
    ) -> Page {
        let (mut messages, mut bytes, mut visits) = (0, 0, 0);
        let mut last = "";
        let mut walk = Walk::new(self, pattern, after);
        while let Some(visit) = walk.next() {
            visits += 1;
            if let Some(message) = visit.matching.filter(|message| message.is_alive(now)) {
                let weight = message.frame.weight();
                if messages > 0 && bytes + weight > max_bytes {
                    return Page::More { last: last.to_owned() };
                }
                out.push(message.clone());
                last = message.frame.topic();
                bytes += weight;
                messages += 1;
                if messages >= max_messages || bytes >= max_bytes {
                    return Page::More { last: last.to_owned() };
                }
            }
            if visits == MAX_VISITS {
                return Page::More { last: walk.position(visit.level) };
            }
            walk.enter(&visit);
        }
        Page::Done
    }
}

/// A way through the nodes that a pattern reaches, from a position on.
struct Walk<'a> {
    tree: &'a RetainedTree,
    /// The levels of the pattern, without a final `#`.
    pattern: Vec<&'a str>,
    /// Whether the pattern ends with `#`.
    covers_below: bool,
    /// The levels of the position after which the walk starts.
    after: Vec<&'a str>,
    /// The node whose children are being visited, below those above it.
    stack: Vec<Step<'a>>,
}

impl<'a> Walk<'a> {
    fn new(tree: &'a RetainedTree, pattern: &'a str, after: Option<&'a str>) -> Self {
        let mut levels: Vec<_> = pattern.split('/').collect();
        let covers_below = levels.pop_if(|level| *level == "#").is_some();
        let after = after.map_or_else(Vec::new, |after| after.split('/').collect());
        let mut walk = Self { tree, pattern: levels, covers_below, after, stack: Vec::new() };
        walk.push(NodeId::ROOT, "", true);
        walk
    }

    /// The next node behind the position.
    fn next(&mut self) -> Option<Visit<'a>> {
        loop {
            let depth = self.stack.len();
            let step = self.stack.last_mut()?;
            let Some((level, node)) = step.children.next() else {
                self.stack.pop();
                continue;
            };
            // A node on the way to the position comes before it or is it; only what is below may come after.
            if step.on_path && self.after.get(depth - 1) == Some(&level) {
                if self.leads_on(depth) {
                    self.push(node, level, true);
                }
                continue;
            }
            let ends = depth == self.pattern.len() || (self.covers_below && depth > self.pattern.len());
            let matching = if ends { self.tree.nodes[node].message.as_ref() } else { None };
            return Some(Visit { level, node, matching });
        }
    }

    /// Goes on with the children of a node just visited.
    fn enter(&mut self, visit: &Visit<'a>) {
        if self.leads_on(self.stack.len()) {
            self.push(visit.node, visit.level, false);
        }
    }

    /// The topic of the node just visited.
    fn position(&self, level: &str) -> String {
        let above = self.stack.iter().skip(1).map(|step| step.level);
        above.chain([level]).collect::<Vec<_>>().join("/")
    }

    /// Whether the pattern reaches below nodes with this many levels.
    fn leads_on(&self, depth: usize) -> bool {
        self.covers_below || depth < self.pattern.len()
    }

    fn push(&mut self, node: NodeId, level: &'a str, on_path: bool) {
        let depth = self.stack.len();
        let from = if on_path { self.after.get(depth).copied() } else { None };
        let children = &self.tree.nodes[node].children;
        let children = match self.pattern.get(depth) {
            Some(&literal) if literal != "+" => {
                let child = if from.is_some_and(|from| literal < from) {
                    None
                } else {
                    children.get_key_value(literal)
                };
                Children::One(child.map(|(level, node)| (&**level, *node)))
            }
            _ => {
                let from = from.unwrap_or_default();
                let range = |from, to| children.range::<str, _>((Bound::Included(from), to));
                if depth > 0 {
                    Children::Many(range(from, Bound::Unbounded), Range::default())
                } else {
                    // [MQTT-4.7.2-1]: a leading wildcard does not reach topics that begin with `$`. They stand
                    // together, before those that begin with the next character.
                    let before =
                        if from < "$" { range(from, Bound::Excluded("$")) } else { Range::default() };
                    Children::Many(before, range(from.max("%"), Bound::Unbounded))
                }
            }
        };
        self.stack.push(Step { level, children, on_path });
    }
}

/// A node whose children are being visited.
struct Step<'a> {
    level: &'a str,
    children: Children<'a>,
    /// Whether this node is on the way to the position or the position itself.
    on_path: bool,
}

/// The children that a pattern reaches and that have not been visited.
enum Children<'a> {
    One(Option<(&'a str, NodeId)>),
    Many(Range<'a, Box<str>, NodeId>, Range<'a, Box<str>, NodeId>),
}

impl<'a> Children<'a> {
    fn next(&mut self) -> Option<(&'a str, NodeId)> {
        match self {
            Self::One(child) => child.take(),
            Self::Many(first, second) => {
                first.next().or_else(|| second.next()).map(|(level, node)| (&**level, *node))
            }
        }
    }
}

/// A node behind the position.
struct Visit<'a> {
    level: &'a str,
    node: NodeId,
    /// Its message, if the pattern matches its topic.
    matching: Option<&'a Retained>,
}

/// How many nodes one page looks at: a fraction of a millisecond.
const MAX_VISITS: usize = 4_096;
