//! Accepting: from a listener to the task of each stream, on a worker if there are some.
//!
//! Relates to: `handshake.rs`, which gets each stream; `admission.rs`, which counts them. Leaves out: binding.

use std::sync::Arc;

use gantline_transport::{AcceptBackoff, Clock, Listener, Stream, accept};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::admission::Admission;
use crate::broker::Broker;
use crate::handshake;

/// What an accept loop needs of the server, which it does not keep alive.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Clock,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) alive: mpsc::Sender<()>,
}

/// Accepts until the server stops or the listener fails.
pub(crate) async fn accept_all(mut listener: Box<dyn Listener>, door: Door, workers: Vec<Handle>) {
    let mut backoff = AcceptBackoff::new();
    let mut workers = workers.iter().cycle();
    let mut stopping = door.stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&mut *listener, &mut backoff) => accepted,
            _ = stopping.wait_for(|stops| *stops) => return,
        };
        match accepted {
            Err(error) => {
                tracing::error!(
                    name: "listener.failed",
                    address = %listener.local_address(),
                    %error,
                    "nothing more is accepted here"
                );
                return;
            }
            Ok(stream) => {
                if let Some(admission) = Admission::new(&door.broker, &door.alive) {
                    welcome(stream, admission, &door, workers.next());
                }
            }
        }
    }
}

/// Starts the task of an accepted stream, on a worker if there is one.
fn welcome(stream: Stream, admission: Admission, door: &Door, worker: Option<&Handle>) {
    let (clock, stopping) = (door.clock, door.stopping.clone());
    // To take a socket from a runtime and give it back to the same one would cost two system calls.
    let Some(worker) = worker.filter(|worker| worker.id() != Handle::current().id()) else {
        drop(tokio::spawn(Box::pin(handshake::serve(stream, admission, clock, stopping))));
        return;
    };
    match stream.detach() {
        Err(error) => tracing::warn!(name: "connection.lost", %error, "an accepted connection was lost"),
        Ok(detached) => {
            worker.spawn(async move {
                match detached.attach() {
                    Ok(stream) => handshake::serve(stream, admission, clock, stopping).await,
                    Err(error) => {
                        tracing::warn!(name: "connection.lost", %error, "an accepted connection was lost")
                    }
                }
            });
        }
    }
}
