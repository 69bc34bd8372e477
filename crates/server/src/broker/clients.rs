//! The table of client slots by client id.
//!
//! Relates to: [`ClientSlot`], one for each client id that is connected or has a session; `claim.rs`, which asks for
//! them. Leaves out: what is in a slot. The table is in shards, so that clients that come and go rarely meet.

use std::array;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use gantline_protocol::ClientId;
use gantline_transport::sync::Mutex;
use hashbrown::HashMap;

use super::slot::ClientSlot;

type Shard = HashMap<ClientId, Arc<ClientSlot>, RandomState>;

/// All slots that have a client id.
#[derive(Debug)]
pub(crate) struct Clients {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    len: AtomicUsize,
}

impl Clients {
    /// The slot of this client, made if it is missing.
    pub(crate) fn get_or_insert(&self, id: &ClientId, make: impl FnOnce() -> ClientSlot) -> Arc<ClientSlot> {
        let mut shard = self.shard(id.as_str()).lock();
        if let Some(slot) = shard.get(id) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(make());
        shard.insert(id.clone(), Arc::clone(&slot));
        self.len.fetch_add(1, Ordering::Relaxed);
        slot
    }

    /// The slot of this client.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<ClientSlot>> {
        self.shard(id).lock().get(id).cloned()
    }

    /// Removes a slot whose session has ended, unless somebody waits for it.
    pub(crate) fn remove(&self, slot: &Arc<ClientSlot>) {
        let mut shard = self.shard(slot.id().as_str()).lock();
        let removable = slot.with_state(|state| {
            state.removed |= !state.present && state.session.is_some() && state.claims.is_empty();
            state.removed
        });
        let removed = if removable && shard.get(slot.id()).is_some_and(|found| Arc::ptr_eq(found, slot)) {
            self.len.fetch_sub(1, Ordering::Relaxed);
            shard.remove(slot.id())
        } else {
            None
        };
        if shard.len() < shard.capacity() / 8 {
            let len = shard.len();
            shard.shrink_to(len * 2);
        }
        drop(shard);
        // Its memory is freed outside of the lock.
        drop(removed);
    }

    /// All slots, as they are one shard after the other.
    pub(crate) fn all(&self) -> Vec<Arc<ClientSlot>> {
        self.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    /// The sum of something over all slots, as they are one shard after the other. `of` runs under the lock of a shard.
    pub(crate) fn sum(&self, of: impl Fn(&ClientSlot) -> u64) -> u64 {
        self.shards.iter().map(|shard| shard.lock().values().map(|slot| of(slot)).sum::<u64>()).sum()
    }

    /// How many slots there are.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    fn shard(&self, id: &str) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(id) as usize % SHARDS]
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            shards: array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
            len: AtomicUsize::new(0),
        }
    }
}

const SHARDS: usize = 64;
