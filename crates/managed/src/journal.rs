//! Brings the changes of the outbox to its store, in a task of its own, so that a slow disk holds up nobody but those
//! who wait for it.
//!
//! What came while the store was busy goes to it together. Relates to: `outbox.rs`, which notes the changes. Leaves
//! out: what a change means.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use gantline_protocol::StoreError;
use tokio::time::sleep;

use crate::event::ManagedEvent;
use crate::outbox_store::OutboxStore;
use crate::outcome::{Outcome, Rejection};
use crate::shared::{Shared, wake};

/// Runs until the outbox closes the journal.
pub(crate) async fn keep(shared: Arc<Shared>, store: Arc<dyn OutboxStore>) {
    let mut failed = false;
    loop {
        let batch = std::future::poll_fn(|cx| shared.outbox.lock().poll_changes(cx)).await;
        let Some(batch) = batch else { break };
        let (changes, to) = (batch.changes.clone(), Arc::clone(&store));
        match guarded(async move { to.apply(changes).await }).await {
            Ok(()) => {
                failed = false;
                let (told, pump) = shared.outbox.lock().kept(&batch);
                for sender in told {
                    // Whoever waited may have gone.
                    let _ = sender.send(());
                }
                wake(pump);
            }
            Err(error) => {
                tracing::warn!(%error, "the outbox was not stored");
                let ((refused, waiting), closing) = {
                    let mut outbox = shared.outbox.lock();
                    (outbox.not_kept(batch), outbox.is_closing())
                };
                drop(waiting);
                for entry in refused {
                    shared.finish(entry, Outcome::Rejected(Rejection::NotStored(error.clone())));
                }
                let may_pass = !error.is_permanent();
                shared.tell(ManagedEvent::StoreFailed(error));
                if closing && failed {
                    break;
                }
                failed = may_pass;
                if may_pass {
                    sleep(PAUSE).await;
                }
            }
        }
    }
    let waiting = shared.outbox.lock().journal_ended();
    drop(waiting);
    if let Err(error) = guarded(async move { store.close().await }).await {
        tracing::warn!(%error, "the store of the outbox was not closed");
        shared.tell(ManagedEvent::StoreFailed(error));
    }
}

/// Calls the store, and takes its panic for an error.
pub(crate) async fn guarded<T: Send + 'static>(
    call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(call)
        .await
        .unwrap_or_else(|gone| Err(StoreError::new("the store did not end its work (fix the store)", gone)))
}

/// Between two attempts, if the first one failed.
const PAUSE: Duration = Duration::from_secs(1);
