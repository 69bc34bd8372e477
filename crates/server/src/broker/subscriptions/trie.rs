//! A tree of filter levels: one value for each pattern with a wildcard, found again by the topics that it matches.
//!
//! Relates to: [`Subscriptions`](super::Subscriptions), which keeps a [`Place`](super::Place) for each pattern here.
//! Leaves out: what a value is, and patterns without a wildcard.

use std::hash::{BuildHasher, Hasher};
use std::mem;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::broker::arena::{Arena, NodeId};

/// Values by pattern. `+` and `#` have their own slots, so a literal level is never compared with a wildcard.
#[derive(Debug)]
pub(super) struct Trie<V> {
    nodes: Arena<Node<V>>,
    hasher: RandomState,
}

impl<V: Default> Trie<V> {
    /// The value of a pattern, made when it is missing.
    pub(super) fn entry(&mut self, pattern: &str) -> &mut V {
        let (stem, end) = split(pattern);
        let mut node = NodeId::ROOT;
        for level in stem.into_iter().flat_map(|stem| stem.split('/')) {
            node = match self.child(node, level) {
                Some(child) => child,
                None => self.grow(node, level),
            };
        }
        self.nodes[node].slot(end).get_or_insert_default()
    }
}

impl<V> Trie<V> {
    /// Whether there is no pattern.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes[NodeId::ROOT].is_blank()
    }

    /// The value of a pattern.
    pub(super) fn get_mut(&mut self, pattern: &str) -> Option<&mut V> {
        let (stem, end) = split(pattern);
        let mut node = NodeId::ROOT;
        for level in stem.into_iter().flat_map(|stem| stem.split('/')) {
            node = self.child(node, level)?;
        }
        self.nodes[node].slot(end).as_deref_mut()
    }

    /// Takes the value of a pattern out, with the nodes that only it needed.
    pub(super) fn remove(&mut self, pattern: &str) -> Option<Box<V>> {
        let (stem, end) = split(pattern);
        let mut node = NodeId::ROOT;
        let mut ancestors = Vec::new();
        for level in stem.into_iter().flat_map(|stem| stem.split('/')) {
            ancestors.push(node);
            node = self.child(node, level)?;
        }
        let removed = self.nodes[node].slot(end).take()?;
        for level in stem.into_iter().flat_map(|stem| stem.rsplit('/')) {
            let Some(parent) = ancestors.pop() else { break };
            if !self.nodes[node].is_blank() {
                break;
            }
            self.cut(parent, level, node);
            node = parent;
        }
        Some(removed)
    }

    /// Shows `visit` the value of every pattern that matches the topic.
    ///
    /// The cost is a hash of each level and a look at each node that the topic reaches; how many patterns there are
    /// does not matter.
    pub(super) fn walk(&self, topic: &str, frontier: &mut Frontier, mut visit: impl FnMut(&V)) {
        if self.is_empty() {
            return;
        }
        let Frontier { reached, next } = frontier;
        reached.clear();
        reached.push(NodeId::ROOT);
        // [MQTT-4.7.2-1]: a filter that begins with a wildcard does not match a topic that begins with `$`.
        let mut wildcards = !topic.starts_with('$');
        for level in topic.as_bytes().split(|&byte| byte == b'/') {
            let mut hash = None;
            next.clear();
            for node in reached.iter().map(|&id| &self.nodes[id]) {
                if wildcards {
                    node.below.as_deref().into_iter().for_each(&mut visit);
                    next.extend(node.plus);
                }
                next.extend(node.children.find(level, || *hash.get_or_insert_with(|| self.hash(level))));
            }
            mem::swap(reached, next);
            if reached.is_empty() {
                return;
            }
            wildcards = true;
        }
        for node in reached.iter().map(|&id| &self.nodes[id]) {
            node.here.as_deref().into_iter().for_each(&mut visit);
            // `a/#` matches `a` too (section 4.7.1.2).
            node.below.as_deref().into_iter().for_each(&mut visit);
        }
    }

    fn child(&self, parent: NodeId, level: &str) -> Option<NodeId> {
        let node = &self.nodes[parent];
        if level == "+" {
            return node.plus;
        }
        let level = level.as_bytes();
        node.children.find(level, || self.hash(level))
    }

    /// Adds a child that is missing.
    fn grow(&mut self, parent: NodeId, level: &str) -> NodeId {
        let child = self.nodes.add();
        let Self { nodes, hasher } = self;
        if level == "+" {
            nodes[parent].plus = Some(child);
        } else {
            let edge = Edge { level: Level::new(level), to: child };
            nodes[parent].children.insert(edge, |edge| hash_of(hasher, edge.level.bytes()));
        }
        child
    }

    /// Removes a blank child from its parent.
    fn cut(&mut self, parent: NodeId, level: &str, child: NodeId) {
        self.nodes.remove(child);
        let Self { nodes, hasher } = self;
        if level == "+" {
            nodes[parent].plus = None;
        } else {
            nodes[parent].children.remove(level.as_bytes(), |level| hash_of(hasher, level));
        }
    }

    fn hash(&self, level: &[u8]) -> u64 {
        hash_of(&self.hasher, level)
    }
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { nodes: Arena::default(), hasher: RandomState::default() }
    }
}

/// The nodes that a topic has reached, level by level; kept between walks so that a walk allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Frontier {
    reached: Vec<NodeId>,
    next: Vec<NodeId>,
}

impl Frontier {
    /// Gives memory back that an unusual tree has made it take.
    pub(super) fn shrink(&mut self, limit: usize) {
        self.reached.clear();
        self.next.clear();
        self.reached.shrink_to(limit);
        self.next.shrink_to(limit);
    }
}

/// What hangs below one sequence of levels.
#[derive(Debug)]
struct Node<V> {
    children: Children,
    plus: Option<NodeId>,
    /// The value of the pattern that ends here.
    here: Option<Box<V>>,
    /// The value of the pattern that goes on with `#` and ends.
    below: Option<Box<V>>,
}

impl<V> Node<V> {
    fn slot(&mut self, end: End) -> &mut Option<Box<V>> {
        match end {
            End::Here => &mut self.here,
            End::Below => &mut self.below,
        }
    }

    fn is_blank(&self) -> bool {
        self.children.is_empty() && self.plus.is_none() && self.here.is_none() && self.below.is_none()
    }
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { children: Children::None, plus: None, here: None, below: None }
    }
}

/// The children with a literal level. Most nodes have one at most, which then needs no allocation and no cache miss.
#[derive(Debug)]
enum Children {
    None,
    One(Edge),
    Many(Box<HashTable<Edge>>),
}

impl Children {
    fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    fn find(&self, level: &[u8], hash: impl FnOnce() -> u64) -> Option<NodeId> {
        let is_it = |edge: &&Edge| edge.level.bytes() == level;
        let edge = match self {
            Self::None => None,
            Self::One(edge) => Some(edge).filter(is_it),
            Self::Many(edges) => edges.find(hash(), |edge| is_it(&edge)),
        };
        edge.map(|edge| edge.to)
    }

    /// Adds an edge whose level is not here.
    fn insert(&mut self, edge: Edge, hash: impl Fn(&Edge) -> u64) {
        *self = match mem::replace(self, Self::None) {
            Self::None => Self::One(edge),
            Self::One(first) => {
                let mut edges = HashTable::with_capacity(2);
                edges.insert_unique(hash(&first), first, &hash);
                edges.insert_unique(hash(&edge), edge, &hash);
                Self::Many(Box::new(edges))
            }
            Self::Many(mut edges) => {
                edges.insert_unique(hash(&edge), edge, hash);
                Self::Many(edges)
            }
        };
    }

    fn remove(&mut self, level: &[u8], hash: impl Fn(&[u8]) -> u64) {
        let is_it = |edge: &Edge| edge.level.bytes() == level;
        match self {
            Self::None => {}
            Self::One(_) => *self = Self::None,
            Self::Many(edges) => {
                if let Ok(edge) = edges.find_entry(hash(level), is_it) {
                    edge.remove();
                }
                if edges.is_empty() {
                    *self = Self::None;
                } else if edges.len() < edges.capacity() / 8 {
                    edges.shrink_to(edges.len() * 2, |edge| hash(edge.level.bytes()));
                }
            }
        }
    }
}

/// The way to a child with a literal level.
#[derive(Debug)]
struct Edge {
    level: Level,
    to: NodeId,
}

/// The text of a level. Short ones stand in the table itself, which saves a cache miss at each step of a walk.
#[derive(Debug)]
enum Level {
    Short(u8, [u8; Self::SHORT]),
    Long(Box<[u8]>),
}

impl Level {
    const SHORT: usize = 22;

    fn new(level: &str) -> Self {
        let mut short = [0; Self::SHORT];
        match (short.get_mut(..level.len()), u8::try_from(level.len())) {
            (Some(start), Ok(len)) => {
                start.copy_from_slice(level.as_bytes());
                Self::Short(len, short)
            }
            _ => Self::Long(level.as_bytes().into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, short) => &short[..usize::from(*len)],
            Self::Long(level) => level,
        }
    }
}

/// Whether a pattern ends at its last node or covers all below it.
#[derive(Clone, Copy)]
enum End {
    Here,
    Below,
}

/// The levels that have nodes, `None` for the root, and what follows them.
fn split(pattern: &str) -> (Option<&str>, End) {
    match pattern.strip_suffix('#') {
        None => (Some(pattern), End::Here),
        Some(stem) => (stem.strip_suffix('/'), End::Below),
    }
}

fn hash_of(hasher: &RandomState, level: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(level);
    state.finish()
}
