//! What the handles, the streams and the tasks of one managed client share.
//!
//! Several small locks, none of which is held while user code runs, and no two together, but for those of the streams
//! (`membership.rs`) within that of the desire. Wakers are woken behind them, save those of who waits for the answer to
//! a filter, so that an answer and a later wish do not change places. Relates to: `supervisor.rs`, which does the work.
//! Leaves out: how.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::SystemTime;

use gantline_client::{Client, ConnectOptions};
use gantline_protocol::{Message, ReasonCode};
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::time::Instant;

use crate::counters::{Counters, Tally};
use crate::desire::Desire;
use crate::event::{MOST_EVENTS, ManagedEvent};
use crate::lifecycle::Lifecycle;
use crate::options::ManagedOptions;
use crate::outbox::{Answer, Entry, Outbox};
use crate::outbox_store::MessageId;
use crate::outcome::{DropReason, Outcome};
use crate::publish::End;
use crate::pump::Pump;
use crate::session_link::SessionLink;
use crate::state::{State, StopCause};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: ManagedOptions,
    /// The options of the next connection.
    pub(crate) connect: Mutex<Arc<ConnectOptions>>,
    pub(crate) client: Client,
    pub(crate) outbox: Arc<Mutex<Outbox>>,
    pub(crate) desire: Mutex<Desire>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) wish: watch::Sender<Wish>,
    /// Somebody does not want to wait for the next attempt.
    pub(crate) hurry: Notify,
    /// Some message is done with.
    pub(crate) progress: Notify,
    pub(crate) lifecycle: tokio::sync::Mutex<Lifecycle>,
    /// What is on its way, while no supervisor has it.
    pub(crate) parked: Mutex<Pump>,
    events: broadcast::Sender<ManagedEvent>,
    tally: Mutex<Tally>,
    in_flight: AtomicUsize,
}

/// What the application wants of the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Run,
    /// Send what there is, until then at most; `None`: as long as it takes.
    Drain(Option<Instant>, ReasonCode),
    Stop(ReasonCode),
}

/// What a message that was offered has become.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) id: Option<MessageId>,
    pub(crate) end: End,
    pub(crate) kept: Option<oneshot::Receiver<()>>,
}

impl Shared {
    pub(crate) fn new(options: ManagedOptions) -> Arc<Self> {
        let outbox = Arc::new(Mutex::new(Outbox::new(options.outbox, options.store.is_some())));
        let mut connect = options.connect.clone();
        if options.store.is_some() {
            connect = connect.map_session_store(|store| {
                outbox.lock().link();
                SessionLink::new(store, &outbox)
            });
        }
        Arc::new(Self {
            connect: Mutex::new(Arc::new(options.connect.clone())),
            client: Client::new(connect),
            outbox,
            desire: Mutex::default(),
            state: watch::Sender::new(State::Stopped(StopCause::NotStarted)),
            wish: watch::Sender::new(Wish::Stop(ReasonCode::Success)),
            hurry: Notify::new(),
            progress: Notify::new(),
            lifecycle: tokio::sync::Mutex::default(),
            parked: Mutex::default(),
            events: broadcast::Sender::new(MOST_EVENTS),
            tally: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            options,
        })
    }

    // ---- messages ----

    /// Takes a message into the outbox, if it may.
    pub(crate) fn accept(&self, message: Message) -> Accepted {
        let offered = self.outbox.lock().offer(message, (Instant::now(), SystemTime::now()));
        offered.wakers.into_iter().for_each(Waker::wake);
        for mut entry in offered.removed {
            let expired = entry.has_expired(Instant::now());
            let reason = if expired { DropReason::Expired } else { DropReason::Displaced };
            self.tell_waiter(entry.waiter.take(), entry.id, Outcome::Dropped(reason));
        }
        let dropped = match offered.answer {
            Answer::Accepted { outcome, kept } => {
                return Accepted { id: offered.id, end: End::Later(outcome), kept };
            }
            Answer::Full => Outcome::Dropped(DropReason::QueueFull),
            Answer::Closed => Outcome::Dropped(DropReason::Stopped),
        };
        self.report(offered.id, &dropped);
        Accepted { id: offered.id, end: End::Already(dropped), kept: None }
    }

    /// A message that was accepted is done with.
    pub(crate) fn finish(&self, mut entry: Entry, outcome: Outcome) {
        let journal = self.outbox.lock().done(&entry);
        wake(journal);
        if !entry.told {
            self.tell_waiter(entry.waiter.take(), entry.id, outcome);
        }
        self.progress.notify_waiters();
    }

    /// Tells the outcome to the events and to whoever waits for it.
    pub(crate) fn tell_waiter(
        &self,
        waiter: Option<oneshot::Sender<Outcome>>,
        id: MessageId,
        outcome: Outcome,
    ) {
        self.report(Some(id), &outcome);
        if let Some(waiter) = waiter {
            // Who waited may have gone.
            let _ = waiter.send(outcome);
        }
    }

    fn report(&self, id: Option<MessageId>, outcome: &Outcome) {
        self.tally.lock().count(outcome);
        if self.events.receiver_count() == 0 {
            return;
        }
        self.tell(match (id, outcome) {
            (_, Outcome::Dropped(reason)) => ManagedEvent::Skipped { id, reason: *reason },
            (Some(id), outcome) => ManagedEvent::Processed { id, outcome: outcome.clone() },
            (None, _) => return,
        });
    }

    pub(crate) fn note_in_flight(&self, messages: usize) {
        self.in_flight.store(messages, Ordering::Relaxed);
    }

    // ---- what is to be seen ----

    pub(crate) fn tell(&self, event: ManagedEvent) {
        // Nobody may listen.
        let _ = self.events.send(event);
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<ManagedEvent> {
        self.events.subscribe()
    }

    pub(crate) fn enter(&self, state: State) {
        tracing::debug!(?state, "managed client");
        self.state.send_replace(state.clone());
        self.tell(ManagedEvent::StateChanged(state));
    }

    pub(crate) fn tally(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.tally.lock());
    }

    pub(crate) fn counters(&self) -> Counters {
        let load = self.outbox.lock().load();
        let filters = self.desire.lock().filters();
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        self.tally.lock().counters(load, in_flight, filters)
    }
}

/// Wakes, if there is somebody to wake. Not to be called under a lock.
pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
