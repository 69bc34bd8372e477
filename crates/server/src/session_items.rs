//! Session items: what an application keeps with a session.
//!
//! One map by type, so that parts of an application that do not know each other do not meet either: each keeps values
//! of a type of its own. Relates to: [`ConnectionRequest::items`](crate::ConnectionRequest::items), where a validator
//! leaves what it found out; [`RunningServer::session_items`](crate::RunningServer::session_items). Leaves out: keeping
//! them on disk; they end with the session or the server.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

type Item = Arc<dyn Any + Send + Sync>;

/// The items of one session: at most one value of each type. Clones are handles of the same map.
///
/// They live as long as the session, across reconnects; a handle that is kept longer is then nobody else's. The map has
/// a lock of its own, which is held for no longer than a look-up.
///
/// ```
/// use gantline_server::SessionItems;
///
/// #[derive(Debug, PartialEq)]
/// struct Tenant(String);
///
/// let items = SessionItems::default();
/// items.insert(Tenant("acme".into()));
/// assert_eq!(*items.get::<Tenant>().unwrap(), Tenant("acme".into()));
/// assert!(items.get::<u32>().is_none());
/// ```
#[derive(Clone, Default)]
pub struct SessionItems(Arc<Mutex<HashMap<TypeId, Item, RandomState>>>);

impl SessionItems {
    /// Keeps a value, in place of an earlier one of the same type, which is returned.
    pub fn insert<T: Any + Send + Sync>(&self, value: T) -> Option<Arc<T>> {
        let former = self.0.lock().insert(TypeId::of::<T>(), Arc::new(value));
        former.and_then(|item| item.downcast().ok())
    }

    /// The value of this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let item = self.0.lock().get(&TypeId::of::<T>()).cloned();
        item?.downcast().ok()
    }

    /// The value of this type, made and kept if there is none. Of two threads that make one at the same time, the first
    /// to finish counts; `make` runs under no lock.
    pub fn get_or_insert_with<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(value) = self.get() {
            return value;
        }
        let made: Arc<T> = Arc::new(make());
        let item =
            Arc::clone(self.0.lock().entry(TypeId::of::<T>()).or_insert_with(|| Arc::clone(&made) as Item));
        item.downcast().unwrap_or(made)
    }

    /// Removes the value of this type and returns it.
    pub fn remove<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let removed = self.0.lock().remove(&TypeId::of::<T>());
        removed?.downcast().ok()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes over all values of another map, in place of those of the same types.
    pub(crate) fn take_over(&self, from: &Self) {
        if Arc::ptr_eq(&self.0, &from.0) {
            return;
        }
        let moved = std::mem::take(&mut *from.0.lock());
        let mut former = Vec::new();
        let mut items = self.0.lock();
        for (kind, item) in moved {
            former.extend(items.insert(kind, item));
        }
        drop(items);
        // What drops them is user code.
        drop(former);
    }
}

impl fmt::Debug for SessionItems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values need not have a text, and may be secrets.
        f.debug_struct("SessionItems").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::SessionItems;

    #[test]
    fn there_is_one_value_of_each_type() {
        let items = SessionItems::default();
        assert!(items.insert(1_u32).is_none() && items.insert("text").is_none());
        assert_eq!(items.insert(2_u32).as_deref(), Some(&1));
        assert_eq!((items.get::<u32>().as_deref(), items.len()), (Some(&2), 2));
        assert_eq!(items.remove::<u32>().as_deref(), Some(&2));
        assert!(items.remove::<u32>().is_none());
    }

    #[test]
    fn a_value_is_made_once() {
        let items = SessionItems::default();
        let first = items.get_or_insert_with(|| 7_u64);
        assert!(Arc::ptr_eq(&first, &items.get_or_insert_with(|| 8)));
    }

    #[test]
    fn values_that_are_taken_over_replace_those_of_their_type() {
        let (items, other) = (SessionItems::default(), SessionItems::default());
        items.insert(1_u32);
        items.insert("stays");
        other.insert(2_u32);
        items.take_over(&other);
        items.take_over(&items.clone());
        assert_eq!((items.get::<u32>().as_deref(), items.len(), other.len()), (Some(&2), 2, 0));
    }
}
