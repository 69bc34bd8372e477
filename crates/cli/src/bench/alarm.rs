//! Waking up when the next message of an open loop is due: to the microsecond, and asleep until shortly before.
//!
//! A wait for events ends on whole milliseconds only. Asking again and again instead would use up the core, and the
//! pauses that the kernel forces on a busy thread with real-time priority would count as latency. So on Linux a timer
//! of the kernel is one more source of events; elsewhere the last millisecond is spent asking. Relates to: `traffic`.
//! Leaves out: what is due when.

use std::time::Duration;

use mio::Registry;

use super::{failure::Failure, link::TICK};

/// Going to sleep and waking up take so long; what is due sooner is waited for awake.
#[cfg(target_os = "linux")]
const LEAD: Duration = Duration::from_micros(50);
/// The token of the timer, which is no connection.
#[cfg(target_os = "linux")]
const TOKEN: mio::Token = mio::Token(usize::MAX);

/// A timer among the sources of events.
#[derive(Debug)]
pub(crate) struct Alarm {
    #[cfg(target_os = "linux")]
    timer: std::os::fd::OwnedFd,
}

#[cfg(target_os = "linux")]
impl Alarm {
    /// One that is not set.
    pub(crate) fn new(registry: &Registry) -> Result<Self, Failure> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        use std::os::fd::AsRawFd;

        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let make = || {
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            let source = &mut mio::unix::SourceFd(&timer.as_raw_fd());
            registry.register(source, TOKEN, mio::Interest::READABLE)?;
            Ok(timer)
        };
        Ok(Self { timer: make().map_err(Failure::system("making a timer"))? })
    }

    /// Whether an event is that of the timer.
    pub(crate) fn rang(event: &mio::event::Event) -> bool {
        event.token() == TOKEN
    }

    /// Sets it to go off shortly before `delay` is over, and says how long to wait for events.
    pub(crate) fn set(&self, delay: Duration) -> Result<Duration, Failure> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        let delay = delay.saturating_sub(LEAD);
        // A timer that is set to 0 would be off.
        if delay >= TICK || delay.is_zero() {
            return Ok(delay.min(TICK));
        }
        let it_value = Timespec { tv_sec: 0, tv_nsec: delay.subsec_nanos().into() };
        let time = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        let set = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &time);
        set.map_err(|error| Failure::system("setting a timer")(error.into()))?;
        Ok(TICK)
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    /// None is needed.
    pub(crate) fn new(_: &Registry) -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// No event is.
    pub(crate) fn rang(_: &mio::event::Event) -> bool {
        false
    }

    /// How long to wait for events so that something can be done after `delay`.
    pub(crate) fn set(&self, delay: Duration) -> Result<Duration, Failure> {
        // A wait may end this much too late; the rest of the time is spent asking.
        const GRAIN: Duration = Duration::from_millis(1);
        Ok(delay.saturating_sub(GRAIN).min(TICK))
    }
}
