//! What binds the outbox's store to the store of the session, where a client has both: a message of QoS 2 is noted as
//! sent in the outbox when the session has it, and the session forgets it only behind that.
//!
//! So a restart knows of each message of QoS 2: one that the session has is the session's to deliver; one that is noted
//! as sent and not there is in doubt; one that is neither was never sent. Nothing waits for the note but the end of a
//! flow, which comes later. Relates to: `lifecycle.rs`, which reads both stores; `outbox.rs`, where notes are made.
//! Leaves out: QoS 1, which may be sent twice.

use std::sync::Arc;

use gantline_client::{SessionChange, SessionStore};
use gantline_protocol::{QoS, StoreError, async_trait};
use parking_lot::Mutex;

use crate::outbox::Outbox;
use crate::outbox_store::MessageId;
use crate::shared::wake;

/// The store of the session as the client sees it.
pub(crate) struct SessionLink {
    store: Arc<dyn SessionStore>,
    outbox: Arc<Mutex<Outbox>>,
}

impl SessionLink {
    pub(crate) fn new(store: Arc<dyn SessionStore>, outbox: &Arc<Mutex<Outbox>>) -> Self {
        Self { store, outbox: Arc::clone(outbox) }
    }

    /// Waits until the outbox's store has what was noted.
    async fn noted(&self) -> Result<(), StoreError> {
        let noted = self.outbox.lock().when_noted();
        match noted {
            None => Ok(()),
            Some(noted) => noted.await.map_err(|gone| {
                StoreError::new(
                    "the store of the outbox does not have what was sent (see its own errors)",
                    gone,
                )
            }),
        }
    }
}

#[async_trait]
impl SessionStore for SessionLink {
    async fn load(&self, found: &mut (dyn FnMut(SessionChange) + Send)) -> Result<(), StoreError> {
        self.store.load(found).await
    }

    async fn apply(&self, changes: Vec<SessionChange>) -> Result<(), StoreError> {
        let sent: Vec<MessageId> = changes.iter().filter_map(sent).collect();
        if changes.iter().any(forgets) {
            self.noted().await?;
        }
        self.store.apply(changes).await?;
        let journal = self.outbox.lock().note_sent(sent);
        wake(journal);
        Ok(())
    }
}

/// The message of QoS 2 that the session has from now on.
fn sent(change: &SessionChange) -> Option<MessageId> {
    match change {
        SessionChange::Sent { message, name: Some(name), .. } if message.qos_level() == QoS::ExactlyOnce => {
            Some(MessageId::new(*name))
        }
        _ => None,
    }
}

/// Whether the session may not have a message any more behind this change.
const fn forgets(change: &SessionChange) -> bool {
    matches!(change, SessionChange::Completed(_) | SessionChange::Begin(_))
}
