//! Tests of the journal: what a task that is stopped leaves, and what comes first.

use gantline_protocol::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::session_store::SessionStore;

/// A log that takes as many batches as there are permits.
struct Log {
    batches: Mutex<Vec<Vec<SessionChange>>>,
    permits: Semaphore,
}

#[async_trait]
impl SessionStore for Log {
    async fn load(&self, _: &mut (dyn FnMut(SessionChange) + Send)) -> Result<(), StoreError> {
        Ok(())
    }

    async fn apply(&self, changes: Vec<SessionChange>) -> Result<(), StoreError> {
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
        self.batches.lock().push(changes);
        Ok(())
    }
}

fn journal(permits: usize) -> (Arc<Journal>, Arc<Log>) {
    let log = Arc::new(Log { batches: Mutex::default(), permits: Semaphore::new(permits) });
    let store = Store(Arc::clone(&log) as Arc<dyn SessionStore>);
    (Journal::new(store, Durability::BeforeSend, Clock::new()), log)
}

fn change(number: u16) -> SessionChange {
    SessionChange::Freed(PacketId::new(number).unwrap())
}

fn note(number: u16) -> [Note; 1] {
    [Note::Change(change(number))]
}

fn is_written(journal: &Journal, batch: u64) -> bool {
    matches!(journal.poll_written(batch, &mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_batch_is_written_is_the_next_one() {
    let (journal, log) = journal(1);
    let first = journal.append(note(1));
    tokio::task::yield_now().await;
    let (second, third) = (journal.append(note(2)), journal.append(note(3)));
    tokio::task::yield_now().await;
    assert!(is_written(&journal, first) && !is_written(&journal, second));
    assert_eq!(second, third);
    log.permits.add_permits(1);
    journal.flush().await.unwrap();
    assert!(is_written(&journal, third));
    assert_eq!(*log.batches.lock(), [vec![change(1)], vec![change(2), change(3)]]);
}

#[test]
fn a_runtime_that_ends_leaves_its_batch_to_the_next() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (journal, log) = journal(0);
    let batch = runtime().block_on(async {
        let batch = journal.append(note(1));
        tokio::task::yield_now().await;
        batch
    });
    // And what is appended where there is no runtime.
    journal.append(note(2));
    let written = journal.poll_written(batch, &mut Context::from_waker(Waker::noop()));
    assert!(matches!(written, Poll::Ready(Err(_))));
    log.permits.add_permits(10);
    runtime().block_on(journal.flush()).unwrap();
    assert!(is_written(&journal, batch));
    assert_eq!(*log.batches.lock(), [vec![change(1), change(2)]]);
}

/// A store that has no place for a change, and then has.
struct Narrow(Mutex<Vec<SessionChange>>);

#[async_trait]
impl SessionStore for Narrow {
    async fn load(&self, _: &mut (dyn FnMut(SessionChange) + Send)) -> Result<(), StoreError> {
        Ok(())
    }

    async fn apply(&self, mut changes: Vec<SessionChange>) -> Result<(), StoreError> {
        let before = changes.len();
        changes.retain(|known| *known != change(1));
        let all = changes.len() == before;
        self.0.lock().extend(changes);
        if all { Ok(()) } else { Err(StoreError::new("cannot keep it", "too long").permanent()) }
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_written_does_not_hold_up_the_rest() {
    let store = Arc::new(Narrow(Mutex::default()));
    let journal = Journal::new(Store(Arc::clone(&store) as _), Durability::BeforeSend, Clock::new());
    journal.append([1, 2].map(|number| Note::Change(change(number))));
    let last = journal.append(note(3));
    journal.flush().await.unwrap();
    assert!(is_written(&journal, last));
    assert_eq!(*store.0.lock(), [change(2), change(3)]);
}
