//! Received messages that wait, each with its ticket.
//!
//! Relates to: `exchange.rs`, which makes items; `inbox.rs` and `subscription.rs`, through which they go to the
//! application. Leaves out: bounds.

use std::collections::VecDeque;
use std::mem::ManuallyDrop;

use gantline_protocol::Message;

use crate::ticket::Ticket;

/// A message that waits in a stream.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) message: Message,
    pub(crate) ticket: Ticket,
    /// Its bytes, as the bounds count them.
    pub(crate) weight: usize,
}

impl Item {
    #[inline]
    pub(crate) fn new(message: Message, ticket: Ticket) -> Self {
        let weight = message.weight();
        Self { message, ticket, weight }
    }
}

/// A queue of items.
///
/// An item that would be dropped if the queue failed to grow for it has to be whole on the stack before it is moved, in
/// pieces that are larger than those it was made of and have to wait for them: 8 % of what receiving costs. So items do
/// not drop themselves here, and are made in their place; the queue drops what it has left.
#[derive(Debug, Default)]
pub(crate) struct Items(VecDeque<ManuallyDrop<Item>>);

impl Items {
    pub(crate) const fn new() -> Self {
        Self(VecDeque::new())
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn front(&self) -> Option<&Item> {
        self.0.front().map(|item| &**item)
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut Item> {
        self.0.front_mut().map(|item| &mut **item)
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.0.iter().map(|item| &**item)
    }

    #[inline]
    pub(crate) fn push_back(&mut self, item: Item) {
        self.0.push_back(ManuallyDrop::new(item));
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<Item> {
        self.0.pop_front().map(ManuallyDrop::into_inner)
    }

    pub(crate) fn remove(&mut self, index: usize) -> Option<Item> {
        self.0.remove(index).map(ManuallyDrop::into_inner)
    }

    /// Moves the first `count`, of which there are no fewer, to the end of others.
    pub(crate) fn move_front(&mut self, count: usize, others: &mut Self) {
        if count == 1 {
            others.0.extend(self.0.pop_front());
        } else if count == self.0.len() {
            others.0.append(&mut self.0);
        } else {
            others.0.extend(self.0.drain(..count));
        }
    }

    /// Takes all of them.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Item> {
        std::iter::from_fn(|| self.pop_front())
    }
}

impl FromIterator<Item> for Items {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        Self(items.into_iter().map(ManuallyDrop::new).collect())
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        self.drain().for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gantline_protocol::Message;

    use super::{Item, Items};
    use crate::ticket::Ticket;

    fn item(payload: &Bytes) -> Item {
        Item::new(Message::new("t", payload.slice(1..)).unwrap(), Ticket::Void)
    }

    #[test]
    fn whatever_becomes_of_items_they_are_dropped_once() {
        let payload = Bytes::from(vec![0; 100]);
        let mut items: Items = (0..5).map(|_| item(&payload)).collect();
        items.push_back(item(&payload));
        let mut others = Items::new();
        items.move_front(2, &mut others);
        assert_eq!((items.len(), others.len()), (4, 2));
        drop(items.pop_front());
        drop(items.remove(1));
        items.move_front(2, &mut others);
        assert!(items.is_empty() && items.front().is_none());
        assert_eq!(others.drain().take(1).count(), 1);
        assert!(!payload.is_unique());
        drop(others);
        assert!(payload.is_unique());
    }
}
