//! The retained messages of a server, by topic.
//!
//! [`RetainedTree`] is a tree of topic levels, each with its children in order, so that a look-up by filter (`walk`)
//! can stop after any topic and go on from there later, whatever has changed meanwhile.
//!
//! Relates to: the replay on SUBSCRIBE, which takes [pages](RetainedTree::page) in turn with live messages; the store,
//! which is told of each change. Leaves out: locks, disk, and limits.

mod walk;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use gantline_protocol::{Frame, Moment, Outbound, QoS};

use super::arena::{Arena, NodeId};

pub(crate) use self::walk::Page;

/// A retained message.
#[derive(Clone, Debug)]
pub(crate) struct Retained {
    /// Topic, properties and payload.
    pub(crate) frame: Frame,
    /// The QoS with which it was published.
    pub(crate) qos: QoS,
    /// When it expires; [`Moment::NEVER`] if it does not.
    pub(crate) expires: Moment,
}

impl Retained {
    /// The message as it is sent to somebody who has just subscribed [MQTT-3.3.1-8].
    pub(crate) fn outbound(&self) -> Outbound {
        let (frame, qos, expires) = (self.frame.clone(), self.qos, self.expires);
        Outbound { frame, subscription_ids: None, expires, tag: 0, qos, retain: true }
    }

    /// Whether it says the same for ever, so that a store need not be told again.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.expires == Moment::NEVER
            && other.expires == Moment::NEVER
            && self.qos == other.qos
            && self.frame.payload() == other.frame.payload()
            && self.frame.raw_properties() == other.frame.raw_properties()
    }

    fn is_alive(&self, now: Moment) -> bool {
        self.expires > now
    }
}

/// At most one message for each topic.
///
/// An expired message is never handed out, but it stays and counts until [`remove_expired`](Self::remove_expired).
#[derive(Debug, Default)]
pub(crate) struct RetainedTree {
    nodes: Arena<Node>,
    /// The messages that will expire, first come first.
    deadlines: BTreeSet<(Moment, NodeId)>,
    count: usize,
    bytes: usize,
}

impl RetainedTree {
    /// Keeps a message, whose frame has this topic, and gives back the one that it replaces [MQTT-3.3.1-5].
    pub(crate) fn set(&mut self, topic: &str, retained: Retained) -> Option<Retained> {
        debug_assert_eq!(topic, retained.frame.topic());
        let mut node = NodeId::ROOT;
        for level in topic.split('/') {
            node = match self.nodes[node].children.get(level) {
                Some(child) => *child,
                None => {
                    let child = self.nodes.add();
                    self.nodes[node].children.insert(level.into(), child);
                    child
                }
            };
        }
        self.count += 1;
        self.bytes += retained.frame.weight();
        if retained.expires != Moment::NEVER {
            // Added first: the key of the old message differs, or is this one, which must then stay.
            self.deadlines.insert((retained.expires, node));
        }
        let expires = retained.expires;
        let replaced = self.nodes[node].message.replace(retained)?;
        if replaced.expires != expires {
            self.deadlines.remove(&(replaced.expires, node));
        }
        self.uncount(&replaced);
        Some(replaced)
    }

    /// Whether a message fits within so many messages and bytes in all, in place of the one that its topic has.
    pub(crate) fn has_room_for(
        &self,
        topic: &str,
        retained: &Retained,
        messages: usize,
        bytes: usize,
    ) -> bool {
        let more = retained.frame.weight();
        if self.count < messages && self.bytes + more <= bytes {
            return true;
        }
        let replaced = self.find(topic).and_then(|node| self.nodes[node].message.as_ref());
        match replaced.map(|replaced| replaced.frame.weight()) {
            None => self.count < messages && self.bytes + more <= bytes,
            Some(former) => more <= former || self.bytes - former + more <= bytes,
        }
    }

    /// Removes the message of a topic [MQTT-3.3.1-6].
    pub(crate) fn clear(&mut self, topic: &str) -> Option<Retained> {
        let mut ancestors = Vec::new();
        let mut node = NodeId::ROOT;
        for level in topic.split('/') {
            ancestors.push(node);
            node = *self.nodes[node].children.get(level)?;
        }
        let removed = self.nodes[node].message.take()?;
        self.deadlines.remove(&(removed.expires, node));
        self.uncount(&removed);
        for (level, parent) in topic.rsplit('/').zip(ancestors.into_iter().rev()) {
            if !self.nodes[node].is_blank() {
                break;
            }
            self.nodes.remove(node);
            self.nodes[parent].children.remove(level);
            node = parent;
        }
        Some(removed)
    }

    /// The message of a topic, unless it has expired.
    pub(crate) fn get(&self, topic: &str, now: Moment) -> Option<&Retained> {
        self.nodes[self.find(topic)?].message.as_ref().filter(|message| message.is_alive(now))
    }

    fn find(&self, topic: &str) -> Option<NodeId> {
        topic.split('/').try_fold(NodeId::ROOT, |node, level| self.nodes[node].children.get(level).copied())
    }

    /// How many messages there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// How much memory the messages hold, in bytes; the tree itself is not counted.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the next message expires; [`Moment::NEVER`] if none will.
    pub(crate) fn next_expiry(&self) -> Moment {
        self.deadlines.first().map_or(Moment::NEVER, |(expires, _)| *expires)
    }

    /// Removes messages that have expired, at most `limit` of them, oldest expiry first.
    pub(crate) fn remove_expired(&mut self, now: Moment, limit: usize) -> Vec<Retained> {
        let mut removed = Vec::new();
        while removed.len() < limit
            && let Some(&(expires, node)) = self.deadlines.first()
            && expires <= now
            && let Some(frame) = self.nodes[node].message.as_ref().map(|message| message.frame.clone())
        {
            removed.extend(self.clear(frame.topic()));
        }
        removed
    }

    fn uncount(&mut self, gone: &Retained) {
        self.count -= 1;
        self.bytes -= gone.frame.weight();
    }
}

/// What hangs below one sequence of levels.
#[derive(Debug, Default)]
struct Node {
    message: Option<Retained>,
    children: BTreeMap<Box<str>, NodeId>,
}

impl Node {
    fn is_blank(&self) -> bool {
        self.message.is_none() && self.children.is_empty()
    }
}
