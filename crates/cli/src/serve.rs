//! `gantline serve`: the broker as a process.
//!
//! One current-thread runtime for each core: a connection stays where it was accepted, and what it shares
//! with others is the broker's state, not a scheduler. The main thread is the first worker and also accepts
//! and waits for signals. Leaves out: everything that a server is, which is the library's.

use std::{
    error::Error,
    fmt,
    io::{self, IsTerminal, Write},
    num::NonZeroUsize,
    thread,
};

use gantline::{RunningServer, Server, StartError, storage_file::OpenError};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
};
use tracing_subscriber::{filter::Targets, fmt as log, layer::SubscriberExt, util::SubscriberInitExt};

#[cfg(feature = "tls")]
use crate::tls::Renewals;
use crate::{args::Serve, descriptors, signals::Signals};

/// Serves until a signal ends it.
pub(crate) fn run(arguments: &Serve) -> Result<(), Failure> {
    start_log(&arguments.log);
    descriptors::raise_limit(arguments.limits.max_connections);
    let runtime = runtime().map_err(Failure::Runtime)?;
    let workers = Workers::start(worker_count(arguments.workers) - 1).map_err(Failure::Runtime)?;
    let served = runtime.block_on(serve(arguments, &workers));
    workers.stop();
    served
}

async fn serve(arguments: &Serve, workers: &Workers) -> Result<(), Failure> {
    let mut handles = vec![Handle::current()];
    handles.extend(workers.handles.iter().cloned());
    // Before the first line on stdout: whoever reads it may send a signal at once.
    let mut signals = Signals::listen().map_err(Failure::Runtime)?;
    let options = arguments.limits.server_options().sys_interval(arguments.sys_interval);
    let server = Server::new(options).workers(handles);
    let server = arguments.listeners.apply(server);
    #[cfg(feature = "websocket")]
    let server = arguments.websocket.apply(server);
    let server = arguments.retained.apply(server).map_err(Failure::Store)?;
    #[cfg(feature = "tls")]
    let (mut renewals, server) = {
        // Without TLS there is nothing to renew, and SIGHUP means what it always does.
        let renewals = arguments.tls.is_wanted().then(Renewals::listen).transpose();
        (renewals.map_err(Failure::Runtime)?, arguments.tls.apply(server))
    };
    let server = server.start().await.map_err(Failure::Start)?;
    announce(&server);
    #[cfg(not(feature = "tls"))]
    signals.wait().await;
    #[cfg(feature = "tls")]
    match &mut renewals {
        None => signals.wait().await,
        Some(renewals) => tokio::select! {
            () = signals.wait() => {}
            () = renewals.follow(&server) => {}
        },
    }
    tracing::info!("shutting down");
    server.shutdown(arguments.shutdown_timeout).await;
    Ok(())
}

/// One line for each listener. Nobody may be reading, and the broker serves all the same.
fn announce(server: &RunningServer) {
    let mut stdout = io::stdout().lock();
    for address in server.local_addresses() {
        let _ = writeln!(stdout, "listening on {address}");
    }
    let _ = stdout.flush();
}

/// The runtimes beside that of the main thread, each on a thread of its own.
struct Workers {
    handles: Vec<Handle>,
    threads: Vec<thread::JoinHandle<()>>,
    running: watch::Sender<()>,
}

impl Workers {
    fn start(count: usize) -> io::Result<Self> {
        let running = watch::Sender::new(());
        let mut workers = Self { handles: Vec::new(), threads: Vec::new(), running };
        for number in 1..=count {
            let runtime = runtime()?;
            workers.handles.push(runtime.handle().clone());
            let mut running = workers.running.subscribe();
            // Ends with an error when the sender is dropped; tasks that are left are dropped with the runtime.
            let body = move || drop(runtime.block_on(async { running.changed().await }));
            workers.threads.push(thread::Builder::new().name(format!("worker-{number}")).spawn(body)?);
        }
        Ok(workers)
    }

    fn stop(self) {
        drop(self.running);
        for thread in self.threads {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// As many as asked for, or one for each core that this process may use.
fn worker_count(asked: Option<NonZeroUsize>) -> usize {
    asked.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}

fn start_log(targets: &Targets) {
    let lines = log::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(targets.clone()).with(lines).init();
}

/// Why the broker did not serve.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The operating system refused a thread, a poller or a signal handler.
    Runtime(io::Error),
    /// The directory of the retained messages cannot be opened; the error names it.
    Store(OpenError),
    /// The server did not start; the error names the address.
    Start(StartError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(error) => write!(f, "cannot start: {error}"),
            Self::Store(error) => error.fmt(f),
            Self::Start(error) => error.fmt(f),
        }
    }
}

impl Error for Failure {}
