//! Ctrl-C: the first asks the scenario to end and to report what there is, the second ends the process.

use std::{
    io, process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::runtime::Builder;

use crate::signals::Signals;

/// How a shell reports a process that a SIGINT ended.
const INTERRUPTED: i32 = 130;
/// How long a sleep may take no notice.
const NAP: Duration = Duration::from_millis(50);

/// Whether it is time to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// One that a signal sets.
    pub(crate) fn at_signal() -> io::Result<Self> {
        let stop = Self::default();
        let seen = stop.clone();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut signals = runtime.block_on(async { Signals::listen() })?;
        let wait = async move {
            signals.wait().await;
            seen.set();
            signals.wait().await;
            process::exit(INTERRUPTED);
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait))?;
        Ok(stop)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps, but not on when it is time to end.
    pub(crate) fn sleep(&self, mut duration: Duration) {
        while !duration.is_zero() && !self.is_set() {
            let nap = duration.min(NAP);
            thread::sleep(nap);
            duration -= nap;
        }
    }
}
