//! The responder while it answers: [`RunningRpcServer`].
//!
//! One task takes the requests and starts a task for each, so that handlers run in parallel, may call others over the
//! same client, and hurt nobody when they panic. It never leaves a request in the client's stream: there it would hold
//! back the acknowledgements of the whole connection, and with them the answers to a handler's own calls. So requests
//! wait here, in a bounded number, and whoever comes beyond is told that the responder is busy. Relates to:
//! `reply.rs`, how an answer looks. Leaves out: which handler a request is for (`responder.rs`).

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use gantline_client::{PubSub, PublishError};
use gantline_protocol::{Message, Payload};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::error::Failure;
use crate::reply::ReplyTo;
use crate::responder::{Handler, Request, RpcServer};
use crate::stream::next;

/// How many answers that only say "busy" may be on their way; requests beyond get none.
const MOST_REFUSALS: usize = 256;

/// A responder that answers. Dropping it unsubscribes and drops the handlers that run.
#[derive(Debug)]
pub struct RunningRpcServer {
    task: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
    counters: Arc<Counters>,
}

/// What a responder has to do with at this moment, and did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RpcServerStats {
    /// Requests that run or wait for a handler.
    pub under_way: usize,
    /// Bytes of their payloads.
    pub bytes: usize,
    /// Requests whose handler gave a result.
    pub succeeded: u64,
    /// Requests whose handler failed or panicked.
    pub failed: u64,
    /// Requests that were not handled, because too many waited.
    pub refused: u64,
    /// Messages that are no requests: retained ones, other topics, response topics that may not be answered to.
    pub ignored: u64,
    /// Answers that could not be sent.
    pub unsent: u64,
}

#[derive(Debug, Default)]
struct Counters {
    under_way: AtomicUsize,
    bytes: AtomicUsize,
    succeeded: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    ignored: AtomicU64,
    unsent: AtomicU64,
}

impl RunningRpcServer {
    pub(crate) fn start<C: PubSub>(client: C, server: RpcServer, mut requests: C::Subscription) -> Self {
        let counters = Arc::new(Counters::default());
        let (stop, mut stopping) = oneshot::channel();
        let concurrency = Semaphore::new(server.concurrency.clamp(1, Semaphore::MAX_PERMITS));
        let answering = Arc::new(Answering { client, server, concurrency, counters: Arc::clone(&counters) });
        let task = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            loop {
                let request = tokio::select! {
                    biased;
                    _ = &mut stopping => break,
                    request = next(&mut requests) => request,
                };
                let Some(request) = request else { break };
                while tasks.try_join_next().is_some() {}
                answering.take(request, &mut tasks);
            }
            // Unsubscribes.
            drop(requests);
            while tasks.join_next().await.is_some() {}
        });
        Self { task, stop: Some(stop), counters }
    }

    /// Takes no more requests, and resolves when those under way are answered. Dropping the future drops them.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        self.ended().await;
    }

    /// Resolves when the subscription to the requests is over and those under way are answered: somebody unsubscribed,
    /// or a connection took its session with it. Start another one then; over a client that keeps itself connected
    /// that is never needed. Cancel safe.
    pub async fn ended(&mut self) {
        if !self.task.is_finished() {
            // Only the runtime could have cancelled it.
            let _ = (&mut self.task).await;
        }
    }

    /// Counters.
    pub fn stats(&self) -> RpcServerStats {
        let Counters { under_way, bytes, succeeded, failed, refused, ignored, unsent } = &*self.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RpcServerStats {
            under_way: under_way.load(Ordering::Relaxed),
            bytes: bytes.load(Ordering::Relaxed),
            succeeded: count(succeeded),
            failed: count(failed),
            refused: count(refused),
            ignored: count(ignored),
            unsent: count(unsent),
        }
    }
}

impl Drop for RunningRpcServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Answering<C> {
    client: C,
    server: RpcServer,
    concurrency: Semaphore,
    counters: Arc<Counters>,
}

impl<C: PubSub> Answering<C> {
    /// Starts a task for a request, if there is room.
    fn take(self: &Arc<Self>, message: Message, tasks: &mut JoinSet<()>) {
        let Some((handler, request, reply)) = self.server.understand(message) else {
            return count(&self.counters.ignored);
        };
        let limit = self.server.concurrency.max(1).saturating_add(self.server.waiting);
        let answering = Arc::clone(self);
        let bytes = request.payload().len();
        let under_way = self.counters.under_way.load(Ordering::Relaxed);
        if under_way < limit && self.has_room(bytes) {
            let under_way = UnderWay::new(&self.counters, bytes);
            tasks.spawn(async move {
                answering.handle(handler, request, reply).await;
                drop(under_way);
            });
            return;
        }
        count(&self.counters.refused);
        // The other tasks.
        if tasks.len().saturating_sub(under_way) < MOST_REFUSALS {
            let busy = Failure::new(Failure::BUSY, "the responder has as many requests as it takes");
            tasks.spawn(async move { answering.fail(&reply, &busy).await });
        }
    }

    /// Whether so many bytes more may be under way.
    fn has_room(&self, bytes: usize) -> bool {
        let held = self.counters.bytes.load(Ordering::Relaxed);
        held == 0 || held.saturating_add(bytes) <= self.server.bytes
    }

    async fn handle(&self, handler: Handler, request: Request, reply: ReplyTo) {
        // It is never closed, so there is no error.
        let Ok(turn) = self.concurrency.acquire().await else { return };
        let result = run(&handler, request).await;
        drop((handler, turn));
        match result {
            Ok(payload) => {
                count(&self.counters.succeeded);
                self.succeed(&reply, payload).await;
            }
            Err(failure) => {
                count(&self.counters.failed);
                self.fail(&reply, &failure).await;
            }
        }
    }

    async fn succeed(&self, reply: &ReplyTo, payload: Payload) {
        let Some(answer) = reply.result(payload) else { return };
        match self.client.publish(answer).await {
            Ok(_) => {}
            Err(error @ PublishError::TooLarge { .. }) => {
                self.fail(reply, &Failure::new(Failure::TOO_LARGE, error.to_string())).await;
            }
            Err(error) => self.unsent(&error),
        }
    }

    async fn fail(&self, reply: &ReplyTo, failure: &Failure) {
        let Some(answer) = reply.failure(failure, self.server.unmarked) else { return };
        if let Err(error) = self.client.publish(answer).await {
            self.unsent(&error);
        }
    }

    fn unsent(&self, error: &PublishError) {
        count(&self.counters.unsent);
        tracing::debug!(%error, "an answer could not be sent");
    }
}

/// Runs a handler; a panic of it is a failure.
async fn run(handler: &Handler, request: Request) -> Result<Payload, Failure> {
    let method = request.method().to_owned();
    let panicked = |_| {
        tracing::warn!(method, "a handler panicked");
        Failure::new(Failure::PANICKED, "the handler panicked")
    };
    let mut handling = catch_unwind(AssertUnwindSafe(|| handler(request))).map_err(&panicked)?;
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(panic) => Poll::Ready(Err(panicked(panic))),
    })
    .await
}

/// Counts a request and its bytes as long as it is under way, whatever ends it.
struct UnderWay {
    counters: Arc<Counters>,
    bytes: usize,
}

impl UnderWay {
    fn new(counters: &Arc<Counters>, bytes: usize) -> Self {
        counters.under_way.fetch_add(1, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        Self { counters: Arc::clone(counters), bytes }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.counters.under_way.fetch_sub(1, Ordering::Relaxed);
        self.counters.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
