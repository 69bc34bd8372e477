//! The nodes of a tree in one vector, naming each other by number.
//!
//! Relates to: the trees of [`subscriptions`](super::subscriptions) and [`retained`](super::retained). Leaves out: what
//! a node is, and who is whose child.
//!
//! Walking such a tree is a loop, and so is dropping it; a topic of 65,535 levels cannot exhaust the stack.

use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

/// A root and the nodes that were added and not removed.
#[derive(Debug)]
pub(crate) struct Arena<N> {
    /// The first is the root; those named in `free` hold the default.
    nodes: Vec<N>,
    free: Vec<NodeId>,
}

impl<N: Default> Arena<N> {
    /// How many nodes there are, the root included.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Adds a default node.
    pub(crate) fn add(&mut self) -> NodeId {
        self.free.pop().unwrap_or_else(|| {
            self.nodes.push(N::default());
            NodeId::of_last(self.nodes.len())
        })
    }

    /// Removes a node other than the root; its number may be given out again.
    pub(crate) fn remove(&mut self, id: NodeId) {
        self[id] = N::default();
        self.free.push(id);
        if self.len() == 1 {
            self.nodes.truncate(1);
            self.nodes.shrink_to_fit();
            self.free = Vec::new();
        }
    }
}

impl<N: Default> Default for Arena<N> {
    fn default() -> Self {
        Self { nodes: vec![N::default()], free: Vec::new() }
    }
}

impl<N> Index<NodeId> for Arena<N> {
    type Output = N;

    fn index(&self, id: NodeId) -> &N {
        &self.nodes[id.index()]
    }
}

impl<N> IndexMut<NodeId> for Arena<N> {
    fn index_mut(&mut self, id: NodeId) -> &mut N {
        &mut self.nodes[id.index()]
    }
}

/// The number of a node. It is kept plus one, so that an `Option` needs no more room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct NodeId(NonZeroU32);

impl NodeId {
    /// The node that is always there.
    pub(crate) const ROOT: Self = Self(NonZeroU32::MIN);

    #[expect(clippy::expect_used, reason = "2^32 nodes need more than 200 GiB")]
    fn of_last(len: usize) -> Self {
        Self(u32::try_from(len).ok().and_then(NonZeroU32::new).expect("fewer than 2^32 nodes"))
    }

    const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, NodeId};

    #[test]
    fn numbers_are_used_again_and_memory_goes_back_with_the_last_node() {
        let mut arena = Arena::<String>::default();
        let [first, second] = [arena.add(), arena.add()];
        arena[first] = "first".to_owned();
        arena.remove(first);
        assert_eq!(arena.add(), first);
        assert_eq!(arena[first], "");
        assert_eq!(arena.len(), 3);
        arena.remove(second);
        arena.remove(first);
        assert_eq!((arena.len(), arena.nodes.capacity()), (1, 1));
        assert_eq!(arena[NodeId::ROOT], "");
    }
}
