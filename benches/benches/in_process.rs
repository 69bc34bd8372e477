//! Client and server in one process, over TCP: how many small messages with QoS 0 go through in a second.
//!
//! `cargo bench -p gantline-benches --bench in_process [-- SECONDS [HOOK]]`, 5 unless told, and a moment where it is
//! run as a test. HOOK, `sync` or `async`, is a publish hook of the server that forwards everything. The server has a
//! thread, and so has each of two clients: one publishes, the other subscribes. The publisher never has more than
//! [`WINDOW`] messages underway, so nothing is lost, and what counts is what the subscriber has taken. Relates to:
//! `gantline bench`, which measures a broker in a process of its own. Leaves out: what each part costs.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot begin may panic")]

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gantline_benches::flow::Hook;
use gantline_benches::samples;
use gantline_client::{Client, ConnectOptions, QoS};
use gantline_server::{Server, ServerOptions};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// How many messages may be underway. Less than any queue on the way holds.
const WINDOW: u64 = 1000;
/// How many of them are acknowledged to the publisher at once, beside MQTT.
const STEP: u64 = WINDOW / 4;
/// The name of the server's thread.
const SERVER: &str = "server";
/// What comes before is not counted.
const WARM_UP: Duration = Duration::from_secs(1);
/// With nothing received for so long, what is underway is lost.
const STALL: Duration = Duration::from_secs(2);

fn main() {
    let is_bench = env::args().any(|argument| argument == "--bench");
    let told = env::args().skip(1).find_map(|argument| argument.parse().ok());
    let seconds = told.unwrap_or(if is_bench { 5.0 } else { 0.1 });
    let hook = match env::args().next_back().as_deref() {
        Some("sync") => Hook::Sync,
        Some("async") => Hook::Async,
        _ => Hook::Absent,
    };
    let (address, server) = start_server(hook);
    let progress = Arc::new(Progress::default());
    start_receiver(&address, &progress);
    let sent = runtime().block_on(publish(&address, &progress, Duration::from_secs_f64(seconds)));
    println!("{:.0} messages a second", sent.rate);
    println!("{} sent, {} lost", sent.count, sent.lost);
    println!("{} ns of the server's thread a message", sent.server_nanos);
    drop(server);
}

/// What the subscriber tells the publisher.
#[derive(Debug, Default)]
struct Progress {
    received: AtomicU64,
    moved: Notify,
}

/// What the publisher has done.
#[derive(Debug)]
struct Sent {
    count: u64,
    lost: u64,
    /// Messages that the subscriber took in a second.
    rate: f64,
    /// Processor time of the server for each of them; 0 where the system does not tell.
    server_nanos: u64,
}

/// The processor time that the thread of the server has used, in nanoseconds.
fn server_nanos() -> u64 {
    let used = |task: std::fs::DirEntry| {
        let path = task.path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let times = std::fs::read_to_string(path.join("schedstat")).ok()?;
        (name.trim() == SERVER).then(|| times.split(' ').next()?.parse::<u64>().ok())?
    };
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.filter_map(used).sum()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The URL of a server, and what stops it when it is dropped.
fn start_server(hook: Hook) -> (String, oneshot::Sender<()>) {
    let (started, address) = std::sync::mpsc::channel();
    let (stop, stopping) = oneshot::channel();
    let serve = async move {
        let options = ServerOptions::default();
        let server = hook.register(Server::new(options)).listen("mqtt://127.0.0.1:0").start().await.unwrap();
        started.send(server.local_addresses()[0].to_string()).unwrap();
        let _ = stopping.await;
    };
    thread::Builder::new().name(SERVER.into()).spawn(move || runtime().block_on(serve)).unwrap();
    (address.recv().unwrap(), stop)
}

/// Receives on a thread of its own, until the server ends.
fn start_receiver(address: &str, progress: &Arc<Progress>) {
    let (progress, address) = (progress.clone(), address.to_owned());
    let (ready, is_ready) = std::sync::mpsc::channel();
    thread::spawn(move || {
        runtime().block_on(async {
            let client = Client::connect(ConnectOptions::new(&address).unwrap()).await.unwrap();
            let mut messages = client.subscribe(samples::TOPIC, QoS::AtMostOnce).await.unwrap();
            ready.send(()).unwrap();
            while messages.next().await.is_some() {
                let received = progress.received.fetch_add(1, Ordering::Relaxed) + 1;
                if received.is_multiple_of(STEP) {
                    progress.moved.notify_one();
                }
            }
        });
    });
    is_ready.recv().unwrap();
}

/// Publishes for so long, and looks at what the subscriber has taken meanwhile.
async fn publish(address: &str, progress: &Progress, duration: Duration) -> Sent {
    let client = Client::connect(ConnectOptions::new(address).unwrap()).await.unwrap();
    let message = samples::message(samples::TOPIC);
    let received = || progress.received.load(Ordering::Relaxed);
    let mut count = 0;
    let mut spin = async |duration| {
        let (begin, before) = (Instant::now(), received());
        while begin.elapsed() < duration {
            for _ in 0..(received() + WINDOW).saturating_sub(count) {
                client.publish(message.clone()).await.unwrap();
                count += 1;
            }
            let _ = timeout(STALL, progress.moved.notified()).await;
        }
        (received() - before) as f64 / begin.elapsed().as_secs_f64()
    };
    spin(WARM_UP).await;
    let (nanos, taken) = (server_nanos(), received());
    let rate = spin(duration).await;
    let server_nanos = (server_nanos() - nanos) / (received() - taken).max(1);
    client.flush().await.unwrap();
    // What is underway arrives, unless it is lost.
    let end = Instant::now() + STALL;
    while received() < count && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
    Sent { count, lost: count - received(), rate, server_nanos }
}
