//! What is due when: one timer wheel for all clients.
//!
//! Relates to: [`TimerWheel`]; `timekeeper.rs`, the task that waits for the next alarm and acts on it. Leaves out: the
//! clock. An alarm that no longer stands is not taken back: it names the loan of the session that it belongs to, and
//! whoever acts on it looks whether that still lasts. So that such alarms do not pile up, none is set farther ahead
//! than [`FARTHEST_ALARM`]; whoever acts on it sets the next one.

use std::sync::Weak;
use std::time::Duration;

use gantline_protocol::Moment;
use gantline_transport::sync::Mutex;
use tokio::sync::Notify;

use super::slot::ClientSlot;
use super::timers::TimerWheel;

/// Something that falls due.
#[derive(Debug)]
pub(crate) enum Alarm {
    /// About a client, and one loan of its session.
    Client {
        /// The client; it may be gone.
        slot: Weak<ClientSlot>,
        /// The loan.
        epoch: u32,
        /// What is due.
        due: Due,
    },
    /// Retained messages expire.
    Retained,
}

/// What is due for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Its keep alive may be over.
    KeepAlive,
    /// Its will delay is over.
    Will,
    /// Its session expires.
    Expiry,
    /// It may have stopped publishing.
    Trim,
}

/// All alarms of a server.
#[derive(Debug)]
pub(crate) struct Alarms {
    wheel: Mutex<Wheel>,
    /// Told when an alarm is earlier than what the timekeeper waits for.
    earlier: Notify,
}

#[derive(Debug)]
struct Wheel {
    timers: TimerWheel<Alarm>,
    /// What the timekeeper waits for.
    awaited: Moment,
}

impl Alarms {
    /// Sets an alarm. With [`Moment::NEVER`] there is none.
    pub(crate) fn set(&self, at: Moment, alarm: Alarm) {
        if at == Moment::NEVER {
            return;
        }
        let mut wheel = self.wheel.lock();
        wheel.timers.schedule(at, alarm);
        let earlier = at < wheel.awaited;
        if earlier {
            wheel.awaited = at;
        }
        drop(wheel);
        if earlier {
            self.earlier.notify_one();
        }
    }

    /// Appends what has fallen due; returns when to ask again, [`Moment::NEVER`] if nothing is set.
    pub(crate) fn take_due(&self, now: Moment, due: &mut Vec<Alarm>) -> Moment {
        let mut wheel = self.wheel.lock();
        wheel.timers.advance(now, due);
        wheel.awaited = wheel.timers.next().unwrap_or(Moment::NEVER);
        wheel.awaited
    }

    /// How many are set.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.wheel.lock().timers.count()
    }

    /// For the timekeeper to wait for an earlier alarm.
    pub(crate) const fn earlier(&self) -> &Notify {
        &self.earlier
    }
}

impl Default for Alarms {
    fn default() -> Self {
        let wheel = Wheel { timers: TimerWheel::default(), awaited: Moment::NEVER };
        Self { wheel: Mutex::new(wheel), earlier: Notify::new() }
    }
}

/// How far ahead an alarm is set. It is not taken back when a client leaves, so that this bounds what clients that come
/// and go can make the server hold.
pub(super) const FARTHEST_ALARM: Duration = Duration::from_secs(60);
