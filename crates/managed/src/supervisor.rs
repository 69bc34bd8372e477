//! The supervisor: the one task that owns connecting, and keeps the client connected as long as that is wanted.
//!
//! It tries the servers in turn, pauses, tries again; while there is a connection it restores the subscriptions and
//! lets the pump run; on a fatal failure or a stop it winds up. Relates to: `backoff.rs`, `servers.rs`, `pump.rs` and
//! `synchronize.rs`, each of which does one of these. Leaves out: IO, which is the lower client's.

use std::sync::Arc;

use gantline_client::{ConnectError, ConnectionInfo, DisconnectCause, Event, Events};
use gantline_protocol::ReasonCode;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::backoff::Backoff;
use crate::counters::Tally;
use crate::desire::RequestLimits;
use crate::event::ManagedEvent;
use crate::outcome::{Doubt, DropReason, Outcome};
use crate::pump::Pump;
use crate::servers::{Next, Servers};
use crate::shared::{Shared, Wish, wake};
use crate::state::{Failure, State, StopCause};
use crate::synchronize::synchronize;

#[derive(Debug)]
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    wish: watch::Receiver<Wish>,
    /// Of the lower client.
    events: Events,
    pump: Pump,
    backoff: Backoff,
    servers: Servers,
    journal: Option<JoinHandle<()>>,
}

/// Why it is no longer connected.
enum Left {
    Lost(DisconnectCause),
    Released,
}

impl Supervisor {
    pub(crate) fn new(shared: &Arc<Shared>, journal: Option<JoinHandle<()>>) -> Self {
        let options = &shared.options;
        Self {
            wish: shared.wish.subscribe(),
            events: shared.client.events(),
            pump: std::mem::take(&mut shared.parked.lock()),
            backoff: Backoff::new(options.shortest_pause, options.longest_pause),
            servers: Servers::new(options.servers.clone()),
            journal,
            shared: Arc::clone(shared),
        }
    }

    pub(crate) async fn run(mut self) {
        let cause = self.keep_connected().await;
        self.wind_up(cause).await;
    }

    /// Until it is not wanted any more, or would not help.
    async fn keep_connected(&mut self) -> StopCause {
        loop {
            if !matches!(*self.shared.state.borrow(), State::Connecting) {
                self.shared.enter(State::Connecting);
            }
            self.drop_expired();
            let Some(attempt) = self.attempt().await else { return StopCause::Requested };
            let failure = match attempt {
                Ok(info) => {
                    let began = Instant::now();
                    let left = self.stay(info).await;
                    self.shared.desire.lock().lost();
                    self.pump.settle_lost(&self.shared);
                    let Left::Lost(cause) = left else { return StopCause::Requested };
                    if began.elapsed() >= self.shared.options.stable_after {
                        self.backoff.reset();
                        self.servers.settled();
                    }
                    self.shared.tell(ManagedEvent::Disconnected { cause: cause.clone() });
                    Failure::Lost(cause)
                }
                Err(error) => {
                    self.shared.tally(Tally::failed);
                    let server = self.servers.current().cloned();
                    self.shared.tell(ManagedEvent::ConnectingFailed { error: error.clone(), server });
                    Failure::Connect(error)
                }
            };
            if self.follow(&failure) {
                continue;
            }
            if (self.shared.options.stop_when)(&failure) {
                return StopCause::GaveUp(failure);
            }
            let next = match failure {
                Failure::Connect(_) => self.servers.failed(),
                Failure::Lost(_) => Next::AfterPause,
            };
            if next == Next::AfterPause && !self.pause().await {
                return StopCause::Requested;
            }
        }
    }

    /// Tries once. `None` if it is not wanted any more.
    async fn attempt(&mut self) -> Option<Result<Arc<ConnectionInfo>, ConnectError>> {
        let shared = Arc::clone(&self.shared);
        let options = Arc::clone(&shared.connect.lock());
        shared.client.set_options(match self.servers.current() {
            Some(server) => options.as_ref().clone().server(server),
            None => options.as_ref().clone(),
        });
        let connected = tokio::select! {
            biased;
            () = released(&shared, &mut self.wish) => return None,
            connected = shared.client.reconnect() => connected,
        };
        if let Err(error) = connected {
            return Some(Err(error));
        }
        // The connection may have ended already; its beginning was told all the same.
        loop {
            match self.events.next().await? {
                Event::Connected(info) => return Some(Ok(info)),
                event => pass_on(&shared, event),
            }
        }
    }

    /// Works as long as there is a connection.
    async fn stay(&mut self, info: Arc<ConnectionInfo>) -> Left {
        let properties = &info.connack.properties;
        let packet = properties.maximum_packet_size.map_or(usize::MAX, |most| most.get() as usize);
        let window = properties.receive_maximum.map_or(u16::MAX, std::num::NonZeroU16::get);
        let limits = RequestLimits { filters: self.shared.options.filters_per_request, bytes: packet };
        self.shared.tally(Tally::connected);
        self.shared.desire.lock().begin(info.session_present(), limits);
        self.pump.begin(&self.shared, window.min(self.shared.options.max_in_flight).into());
        self.shared.enter(State::Connected(info));
        let Self { shared, wish, events, pump, .. } = self;
        tokio::select! {
            biased;
            cause = ended(shared, events) => Left::Lost(cause),
            () = released(shared, wish) => Left::Released,
            never = synchronize(shared) => match never {},
            never = pump.run(shared) => match never {},
        }
    }

    /// Goes where the server sends us, if that is allowed.
    fn follow(&mut self, failure: &Failure) -> bool {
        let Some(reason @ (ReasonCode::UseAnotherServer | ReasonCode::ServerMoved)) = failure.reason() else {
            return false;
        };
        let reference = failure.server_reference().filter(|_| self.shared.options.follow_references);
        if !reference.is_some_and(|reference| self.servers.refer(reason, reference)) {
            return false;
        }
        if let Some(server) = self.servers.current().cloned() {
            self.shared.tell(ManagedEvent::Referred { server });
        }
        true
    }

    /// Waits before the next attempt. Returns whether one is still wanted.
    async fn pause(&mut self) -> bool {
        let delay = self.backoff.wait();
        let Self { shared, wish, .. } = self;
        // Before it is told that we wait, so that whoever hears of that is heard.
        let hurry = shared.hurry.notified();
        shared.enter(State::Waiting { delay });
        tokio::select! {
            biased;
            () = released(shared, wish) => false,
            () = hurry => true,
            () = sleep(delay) => true,
        }
    }

    fn drop_expired(&self) {
        let expired = self.shared.outbox.lock().take_expired(Instant::now());
        for entry in expired {
            self.shared.finish(entry, Outcome::Dropped(DropReason::Expired));
        }
    }

    /// Ends the connection, tells everybody who waits, and brings the store up to date.
    async fn wind_up(mut self, cause: StopCause) {
        let shared = &self.shared;
        shared.outbox.lock().accept(false);
        let reason = match *shared.wish.borrow() {
            Wish::Run => ReasonCode::Success,
            Wish::Drain(_, reason) | Wish::Stop(reason) => reason,
        };
        if shared.client.disconnect().reason(reason).await.is_ok() {
            shared.tell(ManagedEvent::Disconnected { cause: DisconnectCause::Requested });
        }
        self.pump.settle_lost(shared);
        self.pump.stop(shared);
        let journal = shared.outbox.lock().close_journal(true);
        wake(journal);
        if let Some(journal) = self.journal.take() {
            // A panic in it is one of ours, and its messages stay in memory.
            let _ = journal.await;
        }
        let (gone, told) = shared.outbox.lock().stop();
        for entry in gone {
            let outcome = if entry.in_doubt {
                Outcome::Indeterminate(Doubt::Stopped)
            } else {
                Outcome::Dropped(DropReason::Stopped)
            };
            shared.finish(entry, outcome);
        }
        for (id, waiter) in told {
            shared.tell_waiter(Some(waiter), id, Outcome::Indeterminate(Doubt::Stored));
        }
        *shared.parked.lock() = std::mem::take(&mut self.pump);
        shared.enter(State::Stopped(cause));
    }
}

/// Resolves when the client is to stop and has done what it should do before.
async fn released(shared: &Shared, wish: &mut watch::Receiver<Wish>) {
    loop {
        let current = *wish.borrow_and_update();
        match current {
            Wish::Stop(_) => return,
            Wish::Run => {
                if wish.changed().await.is_err() {
                    return;
                }
            }
            Wish::Drain(deadline, _) => {
                let late = async {
                    match deadline {
                        Some(deadline) => sleep_until(deadline).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = drained(shared) => return,
                    () = late => return,
                    changed = wish.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}

/// Resolves when the outbox is empty.
async fn drained(shared: &Shared) {
    loop {
        let progress = shared.progress.notified();
        if shared.outbox.lock().is_empty() {
            return;
        }
        progress.await;
    }
}

/// Resolves when the connection has ended.
async fn ended(shared: &Shared, events: &mut Events) -> DisconnectCause {
    while let Some(event) = events.next().await {
        match event {
            Event::Disconnected { cause } => return cause,
            event => pass_on(shared, event),
        }
    }
    // The lower client is ours, so it is not gone.
    DisconnectCause::RuntimeStopped
}

fn pass_on(shared: &Shared, event: Event) {
    match event {
        Event::MessagesDropped { filters, count } => {
            shared.tell(ManagedEvent::MessagesDropped { filters, count });
        }
        Event::MessagesUnclaimed { count } => shared.tell(ManagedEvent::MessagesUnclaimed { count }),
        // The supervisor tells of these itself.
        _ => {}
    }
}
