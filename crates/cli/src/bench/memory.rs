//! The highest memory of the broker: a thread that looks at it all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::process;

/// How often the broker is looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks at a process until it is stopped.
pub(crate) struct Watch {
    pid: u32,
    /// What the system had seen before.
    before: u64,
    shared: Arc<Shared>,
    thread: JoinHandle<u64>,
}

#[derive(Default)]
struct Shared {
    /// Since it was asked for, in bytes.
    highest: AtomicU64,
    stopping: AtomicBool,
}

impl Watch {
    /// Begins to look at process `pid`.
    pub(crate) fn start(pid: u32) -> Self {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut highest = 0;
            while !seen.stopping.load(Ordering::Relaxed) {
                let resident = process::resident(pid).unwrap_or(0);
                seen.highest.fetch_max(resident, Ordering::Relaxed);
                highest = highest.max(resident);
                thread::sleep(PAUSE);
            }
            highest
        });
        Self { pid, before: process::highest_resident(pid).unwrap_or(0), shared, thread }
    }

    /// The highest resident memory since this was asked last, in bytes.
    pub(crate) fn highest(&self) -> u64 {
        let now = process::resident(self.pid).unwrap_or(0);
        self.shared.highest.swap(0, Ordering::Relaxed).max(now)
    }

    /// The highest resident memory of all, in bytes.
    pub(crate) fn stop(self) -> u64 {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let seen = self.thread.join().unwrap_or(0);
        // The system misses no peak, but it does not forget those from before either.
        let ever = process::highest_resident(self.pid).unwrap_or(0);
        if ever > self.before { seen.max(ever) } else { seen }
    }
}
