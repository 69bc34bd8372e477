//! The one mutex of the workspace's hot paths, replaced by a model checker's under `cfg(shuttle)`.
//!
//! Relates to: the [`Mailbox`](crate::Mailbox) and the server's session hand-over, which are modelled with it.
//! Leaves out: everything a short critical section does not need (fairness, poisoning, try-lock).

#[cfg(shuttle)]
use shuttle::sync::{Mutex as Inner, MutexGuard};

#[cfg(not(shuttle))]
use parking_lot::{Mutex as Inner, MutexGuard};

/// A mutex for critical sections of a few instructions; never held across an await.
#[derive(Debug, Default)]
pub struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    /// Makes an unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    /// Waits for the lock. A panic of an earlier holder does not poison it.
    #[cfg(not(shuttle))]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }

    /// Waits for the lock. A panic of an earlier holder does not poison it.
    #[cfg(shuttle)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
