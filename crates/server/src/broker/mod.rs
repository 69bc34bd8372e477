//! The broker: what all connections share, synchronous, without clock and socket.
//!
//! [`Broker`] is the whole of it: the clients and their mailboxes ([`clients`], [`slot`]), who has subscribed to what
//! ([`subscriptions`], [`generations`], [`shared`]), the retained messages ([`retained`]) and what is due when
//! ([`alarms`]). `publish.rs` brings messages to mailboxes, `retaining.rs` keeps those that later subscribers get,
//! `subscribing.rs` changes subscriptions, `sessions.rs` says what becomes of a client when its connection ends.
//!
//! Locks are taken in this order: a shard of the client table, a slot, the subscriptions, the retained messages, a
//! mailbox; never two of one kind, and nothing is woken and no user code runs under any of them. The alarms have a lock
//! of their own, and so have the topics that are not saved, under which no other is taken.
//!
//! Relates to: the tasks around it, which do IO and know the time. Leaves out: everything that waits.

pub(crate) mod alarms;
mod arena;
#[cfg(feature = "bench-support")]
pub mod bench_support;
pub(crate) mod bounds;
pub(crate) mod clients;
pub(crate) mod counters;
mod generations;
pub(crate) mod patience;
pub(crate) mod publication;
pub(crate) mod publish;
pub(crate) mod record;
pub(crate) mod retained;
pub(crate) mod retaining;
mod routes;
pub(crate) mod session;
pub(crate) mod sessions;
mod shared;
pub(crate) mod slot;
mod subscribing;
pub(crate) mod subscriptions;
mod timers;
pub(crate) mod unsaved;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;
use gantline_protocol::{ClientId, Moment, Outbound};
use gantline_transport::Budget;
use gantline_transport::sync::Mutex;
use parking_lot::RwLock;

use self::alarms::Alarms;
use self::bounds::{Addresses, TopicBounds};
use self::clients::Clients;
use self::counters::Counters;
use self::generations::Generations;
use self::retained::RetainedTree;
use self::slot::ClientSlot;
use self::subscriptions::{Subscriber, Subscriptions};
use self::unsaved::Unsaved;
use crate::events::{DropCause, Events, ServerEvent};
use crate::hooks::ClientContext;
use crate::options::ServerOptions;

/// What publishes the will of a client.
type WillHook = Box<dyn Fn(Outbound, &Arc<ClientSlot>, Arc<ClientContext>) + Send + Sync>;

/// What all connections of a server share.
pub(crate) struct Broker {
    pub(crate) options: ServerOptions,
    pub(crate) clients: Clients,
    subscriptions: RwLock<Subscriptions<Arc<ClientSlot>>>,
    generations: Generations,
    pub(crate) retained: RwLock<RetainedTree>,
    /// What a store is still to be told, if there is one.
    pub(crate) unsaved: OnceLock<Unsaved>,
    pub(crate) alarms: Alarms,
    pub(crate) counters: Counters,
    pub(crate) events: Events,
    /// Publishes wills where hooks are asked about messages.
    pub(crate) will_hook: OnceLock<WillHook>,
    /// The subscribers in this process, which have no client id.
    locals: Mutex<HashMap<usize, Arc<ClientSlot>, RandomState>>,
    pub(crate) topic_bounds: TopicBounds,
    pub(crate) addresses: Addresses,
    budget: Arc<Budget>,
    next_key: AtomicUsize,
    /// For when the alarm about retained messages is set, in milliseconds; the greatest number if it is not.
    retained_alarm: AtomicU64,
}

impl Broker {
    /// A broker without clients.
    pub(crate) fn new(options: ServerOptions) -> Self {
        Self {
            budget: Arc::new(Budget::new(options.memory_budget)),
            topic_bounds: TopicBounds::new(&options),
            addresses: Addresses::default(),
            options,
            clients: Clients::default(),
            locals: Mutex::default(),
            subscriptions: RwLock::default(),
            generations: Generations::default(),
            retained: RwLock::default(),
            unsaved: OnceLock::new(),
            alarms: Alarms::default(),
            counters: Counters::default(),
            events: Events::default(),
            will_hook: OnceLock::new(),
            next_key: AtomicUsize::new(1),
            retained_alarm: AtomicU64::new(u64::MAX),
        }
    }

    /// A slot that is in no table.
    pub(crate) fn new_slot(&self, id: ClientId) -> ClientSlot {
        // The number orders nothing; it only has to be a new one.
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        ClientSlot::new(key, id, self.options.parked_limits(), Arc::clone(&self.budget))
    }

    /// Adds a subscriber in this process.
    pub(crate) fn add_local(&self, slot: &Arc<ClientSlot>) {
        self.locals.lock().insert(slot.key(), Arc::clone(slot));
    }

    /// Removes a subscriber in this process, with its subscriptions. What it has not taken, `ready` first, goes to
    /// other members of its share group.
    pub(crate) fn remove_local(&self, slot: &Arc<ClientSlot>, ready: &VecDeque<Outbound>, now: Moment) {
        self.locals.lock().remove(&slot.key());
        self.unsubscribe_all(slot);
        let queued = slot.mailbox.close();
        self.pass_on(ready.iter().chain(&queued), now);
    }

    /// The subscribers in this process.
    pub(crate) fn locals(&self) -> Vec<Arc<ClientSlot>> {
        self.locals.lock().values().cloned().collect()
    }

    /// How many subscriptions there are, and how many of them are shared.
    pub(crate) fn subscription_counts(&self) -> (usize, usize) {
        let index = self.subscriptions.read();
        (index.len(), index.shared_len())
    }

    /// Counts messages that were lost to a client, or that it published in vain, and tells who listens. Not for use
    /// under a lock.
    #[cold]
    pub(crate) fn count_lost(&self, slot: &ClientSlot, cause: DropCause, messages: u32) {
        if messages > 0 {
            slot.record.dropped.add(messages.into());
            self.counters.add_dropped(cause, messages.into());
            let client_id = slot.id();
            self.events.announce(|| ServerEvent::Dropped { client_id: client_id.clone(), messages, cause });
        }
    }

    /// How many messages wait in mailboxes. Looks at each.
    pub(crate) fn queued_messages(&self) -> u64 {
        self.clients.sum(|slot| {
            let (once, queue) = slot.mailbox.load();
            u64::from(once.messages) + u64::from(queue.messages)
        })
    }

    /// How many bytes wait in mailboxes, roughly.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.budget.drawn()
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("clients", &self.clients).finish_non_exhaustive()
    }
}
