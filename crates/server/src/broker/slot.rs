//! Client slots: what others need of a client, be it connected or away.
//!
//! A [`ClientSlot`] has the mailbox into which messages are pushed, what a push has to know of the receiver
//! ([`Profile`]), and under a lock the [`State`]: subscriptions, the will, and who has the session. Relates to:
//! [`Clients`](super::clients::Clients), the table of slots by client id; `claim.rs`, which lends the session. Leaves
//! out: what the machine changes with each packet, which is the session's.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Waker;

use foldhash::fast::RandomState;
use gantline_protocol::{ClientId, Limits, Moment, Outbound, ReasonCode, SubscriptionOptions, TopicFilter};
use gantline_transport::sync::Mutex;
use gantline_transport::{Budget, Mailbox, MailboxLimits};

use super::counters::Counters;
use super::patience::Patience;
use super::record::Record;
use super::session::ClientSession;
use super::subscriptions::Subscriber;
use crate::hooks::ClientContext;

/// An order to the task that owns a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Say goodbye with this reason and end at once.
    Kick(ReasonCode),
    /// Send what is under way, say that the server stops, and end.
    Shutdown,
    /// Nothing has come for a while: look whether the keep alive is over.
    KeepAlive,
    /// Nothing has been published for a while: give memory back.
    Trim,
    /// Ask the hooks anew what the client may do.
    Reauthorize,
}

/// A client id and what stays with it between connections, or a subscriber in this process.
pub(crate) struct ClientSlot {
    /// Unique among all slots there ever were.
    key: usize,
    id: ClientId,
    /// What waits for the client.
    pub(crate) mailbox: Mailbox<Order>,
    /// Whether publishers wait for the client when it is slow.
    pub(crate) patience: Patience,
    /// What is counted and known of the client besides.
    pub(crate) record: Box<Record>,
    profile: AtomicU64,
    /// When something last came from the client, in milliseconds.
    heard: AtomicU64,
    /// After how many milliseconds of silence it is given up; 0 is never.
    silence_millis: AtomicU32,
    state: Mutex<State>,
}

/// What is under the lock of a slot.
#[derive(Debug)]
pub(crate) struct State {
    /// The session, unless it is lent.
    pub(crate) session: Option<Box<ClientSession>>,
    /// Whether the session is one that a client can come back to.
    pub(crate) present: bool,
    /// Those who wait for the session, in the order in which they came.
    pub(crate) claims: Vec<Claim>,
    /// Rises with each loan; what belongs to an earlier one is void.
    pub(crate) epoch: u32,
    /// Whether the present holder of the session was told to end.
    pub(crate) kicked: bool,
    /// The slot is no longer in the table: look the client id up again.
    pub(crate) removed: bool,
    /// What the client has subscribed to.
    pub(crate) subscriptions: HashMap<TopicFilter, SubscriptionOptions, RandomState>,
    /// What is published when the client is lost.
    pub(crate) will: Option<Box<PendingWill>>,
    /// When the session ends; [`Moment::NEVER`] as long as there is a connection, or if it does not.
    pub(crate) expires: Moment,
    /// Whether the client had properties on its last connection: caches of matches depend on it.
    pub(crate) had_properties: bool,
    /// How often what the client may do was to be asked about anew.
    pub(crate) reauthorized: u32,
}

impl State {
    fn new() -> Self {
        Self {
            session: Some(Box::default()),
            present: false,
            claims: Vec::new(),
            epoch: 0,
            kicked: false,
            removed: false,
            subscriptions: HashMap::default(),
            will: None,
            expires: Moment::NEVER,
            had_properties: false,
            reauthorized: 0,
        }
    }
}

/// One who waits for the session.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) ticket: u64,
    pub(crate) waker: Option<Waker>,
}

/// A will until it is published.
#[derive(Clone, Debug)]
pub(crate) struct PendingWill {
    pub(crate) message: Outbound,
    /// The Message Expiry Interval counts from when the will is published.
    pub(crate) expiry: Option<u32>,
    /// In seconds, from the end of the connection.
    pub(crate) delay: u32,
    /// When it is published; [`Moment::NEVER`] as long as there is a connection.
    pub(crate) due: Moment,
    /// Whose it is, if hooks are to be asked about it.
    pub(crate) sender: Option<Arc<ClientContext>>,
}

impl ClientSlot {
    /// The slot of a client that nobody has met; the session is there to be claimed.
    pub(crate) fn new(key: usize, id: ClientId, parked: MailboxLimits, budget: Arc<Budget>) -> Self {
        let mailbox = Mailbox::new(parked, budget);
        let _ = mailbox.park(parked);
        Self {
            key,
            id,
            mailbox,
            patience: Patience::default(),
            record: Box::default(),
            profile: AtomicU64::new(Profile::AWAY.pack()),
            heard: AtomicU64::new(0),
            silence_millis: AtomicU32::new(0),
            state: Mutex::new(State::new()),
        }
    }

    /// The client id.
    pub(crate) const fn id(&self) -> &ClientId {
        &self.id
    }

    /// Calls `with` under the lock. Nothing in it may wake, run user code or lock another slot.
    pub(crate) fn with_state<R>(&self, with: impl FnOnce(&mut State) -> R) -> R {
        with(&mut self.state.lock())
    }

    /// What a push has to know of the receiver now.
    #[inline]
    pub(crate) fn profile(&self) -> Profile {
        // What is pushed under an outdated profile is refused by the mailbox, which has the epoch too.
        Profile::unpack(self.profile.load(Ordering::Relaxed))
    }

    /// Says how messages are to be pushed from now on: a connection begins or ends.
    pub(crate) fn set_profile(&self, profile: Profile) {
        self.profile.store(profile.pack(), Ordering::Relaxed);
    }

    /// Notes a sign of life.
    #[inline]
    pub(crate) fn hear(&self, now: Moment) {
        self.heard.store(now.as_millis(), Ordering::Relaxed);
    }

    /// When something last came from the client.
    pub(crate) fn heard(&self) -> Moment {
        Moment::from_millis(self.heard.load(Ordering::Relaxed))
    }

    /// The silence after which the client is given up, in milliseconds; 0 is never.
    pub(crate) fn set_silence(&self, millis: u32) {
        self.silence_millis.store(millis, Ordering::Relaxed);
    }

    /// When the client is given up unless something comes from it.
    pub(crate) fn given_up(&self) -> Moment {
        match self.silence_millis.load(Ordering::Relaxed) {
            0 => Moment::NEVER,
            millis => Moment::from_millis(self.heard.load(Ordering::Relaxed) + u64::from(millis)),
        }
    }

    /// Publishers do not wait for the client any more.
    #[cold]
    pub(crate) fn quarantined(&self, counters: &Counters) {
        tracing::debug!(
            name: "client.quarantined",
            client = %self.id,
            "it is too slow; publishers do not wait for it any more"
        );
        counters.quarantines.add(1);
    }

    /// Tells the connection of this loan to end, once; whoever has the session by now is not concerned. The waker is
    /// to be woken.
    pub(crate) fn kick(&self, epoch: u32, reason: ReasonCode) -> Option<Waker> {
        let mut state = self.state.lock();
        let concerned = state.epoch == epoch && state.session.is_none() && !state.kicked;
        state.kicked |= concerned;
        if concerned { self.mailbox.push_control(Order::Kick(reason)) } else { None }
    }

    /// What the client has subscribed to.
    pub(crate) fn filters(&self) -> Vec<TopicFilter> {
        self.with_state(|state| state.subscriptions.keys().cloned().collect())
    }

    /// How many messages were lost.
    pub(crate) fn dropped(&self) -> u64 {
        self.record.dropped.get()
    }
}

impl fmt::Debug for ClientSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSlot").field("key", &self.key).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Subscriber for Arc<ClientSlot> {
    fn key(&self) -> usize {
        self.key
    }
}

/// What a push has to know of the receiver, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The loan of the session to which all this belongs.
    pub(crate) epoch: u32,
    /// The Maximum Packet Size of the receiver.
    pub(crate) max_packet: u32,
    /// Whether there is a connection.
    pub(crate) connected: bool,
    /// The layout of a PUBLISH.
    pub(crate) has_properties: bool,
    /// Whether every message needs work when it is sent: topic aliases, a hook, or a receiver in this process.
    pub(crate) works: bool,
}

impl Profile {
    /// Of a client without a connection.
    pub(crate) const AWAY: Self =
        Self { epoch: 0, max_packet: 0, connected: false, has_properties: false, works: false };

    /// Of a connection with these limits; `works` if there is a hook to be asked.
    pub(crate) const fn of(limits: &Limits, epoch: u32, works: bool) -> Self {
        Self {
            epoch,
            max_packet: limits.peer.maximum_packet_size,
            connected: true,
            has_properties: limits.version.has_properties(),
            works: works || limits.peer.topic_alias_maximum > 0,
        }
    }

    /// The maximum has 29 bits (268,435,460 at most), so all of it fits.
    const fn pack(self) -> u64 {
        (self.epoch as u64) << 32
            | (self.max_packet as u64) << 3
            | (self.connected as u64) << 2
            | (self.has_properties as u64) << 1
            | self.works as u64
    }

    const fn unpack(word: u64) -> Self {
        Self {
            epoch: (word >> 32) as u32,
            max_packet: (word as u32) >> 3,
            connected: word & 0b100 != 0,
            has_properties: word & 0b010 != 0,
            works: word & 0b001 != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use gantline_protocol::MAXIMUM_PACKET_SIZE;

    use super::{ClientSlot, Profile};

    #[test]
    fn a_profile_fits_into_a_word() {
        let profile = Profile {
            epoch: u32::MAX,
            max_packet: MAXIMUM_PACKET_SIZE,
            connected: true,
            has_properties: false,
            works: true,
        };
        assert_eq!(Profile::unpack(profile.pack()), profile);
        assert_eq!(Profile::unpack(Profile::AWAY.pack()), Profile::AWAY);
    }

    #[test]
    fn a_slot_stays_within_its_memory_budget() {
        assert!(size_of::<ClientSlot>() <= 432, "{}", size_of::<ClientSlot>());
    }
}
