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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use gantline_client::PacketId;
    use gantline_protocol::{ClientId, Message};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::options::{OnOutboxFull, OutboxBounds};

    /// Keeps nothing.
    struct Nothing;

    #[async_trait]
    impl SessionStore for Nothing {
        async fn load(&self, _: &mut (dyn FnMut(SessionChange) + Send)) -> Result<(), StoreError> {
            Ok(())
        }

        async fn apply(&self, _: Vec<SessionChange>) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn link() -> SessionLink {
        let bounds = OutboxBounds { messages: 10, bytes: 1000, on_full: OnOutboxFull::default() };
        let mut outbox = Outbox::new(bounds, true);
        outbox.link();
        outbox.accept(true);
        SessionLink::new(Arc::new(Nothing), &Arc::new(Mutex::new(outbox)))
    }

    fn id() -> PacketId {
        PacketId::new(1).unwrap()
    }

    fn sent(name: u64) -> SessionChange {
        let message = Message::new("t", "1").unwrap().qos(QoS::ExactlyOnce);
        SessionChange::Sent { id: id(), message, expires: None, name: Some(name) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_session_forgets_a_message_only_when_the_outbox_has_noted_it() {
        let begin = SessionChange::Begin(ClientId::new("c").unwrap());
        for forgets in [SessionChange::Completed(id()), begin] {
            let link = link();
            let message = Message::new("t", "1").unwrap().qos(QoS::ExactlyOnce);
            drop(link.outbox.lock().offer(message, (Instant::now(), SystemTime::now())));
            link.apply(vec![sent(1)]).await.unwrap();
            let mut forgotten = link.apply(vec![forgets]);
            assert!(timeout(Duration::from_secs(60), &mut forgotten).await.is_err());
            let batch = std::future::poll_fn(|cx| link.outbox.lock().poll_changes(cx)).await.unwrap();
            assert_eq!(batch.changes[1..], [crate::OutboxChange::Sent(MessageId::new(1))]);
            let (told, _) = link.outbox.lock().kept(&batch);
            assert_eq!(told.into_iter().filter_map(|sender| sender.send(()).ok()).count(), 1);
            forgotten.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_journal_that_ends_without_the_note_fails_the_session() {
        let link = link();
        link.apply(vec![sent(1)]).await.unwrap();
        let completed = link.apply(vec![SessionChange::Completed(id())]);
        link.outbox.lock().journal_ended();
        assert!(completed.await.is_err());
    }
}
