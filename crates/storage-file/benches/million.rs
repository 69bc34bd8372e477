//! A million retained messages on disk: how long they take to load and to find, and whether 10,000 changes a second go
//! on while the log is compacted.
//!
//! `cargo bench -p gantline-storage-file --bench million -- 1000000 30` (messages, seconds of changes)

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for the terminal")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, process};

use gantline_protocol::Message;
use gantline_server::{
    QoS, RetainedMessage, RetainedStore, RunningServer, Server, ServerOptions, TopicFilter,
};
use gantline_storage_file::FileStore;
use tokio::time::{MissedTickBehavior, interval};

fn main() {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    // `cargo test` runs it without.
    let Some(flag) = arguments.iter().position(|argument| argument == "--bench") else { return };
    arguments.remove(flag);
    let number = |at: usize, default| arguments.get(at).map_or(default, |text| text.parse().unwrap());
    let (messages, seconds) = (number(0, 1_000_000), number(1, 30));
    let directory = env::temp_dir().join(format!("gantline-million-{}", process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(&directory, messages, seconds));
    fs::remove_dir_all(directory).unwrap();
}

async fn measure(directory: &Path, messages: usize, seconds: usize) {
    let began = Instant::now();
    fill(directory, messages).await;
    println!(
        "write {messages} messages    {:8.2} s, {} MB",
        began.elapsed().as_secs_f64(),
        megabytes(directory)
    );

    let (before, began) = (resident(), Instant::now());
    let (server, store) = start(directory).await;
    println!("start with all of them    {:8.2} s", began.elapsed().as_secs_f64());
    println!("memory for each message   {:8} B", resident().saturating_sub(before) / messages);
    assert_eq!(server.metrics().retained_messages, messages);
    subscribe(&server, messages).await;
    for pace in [Pace::Peace, Pace::Compacting] {
        change(&server, &store, messages, seconds, pace).await;
    }
    let expected = server.retained_messages(&TopicFilter::new("#").unwrap());
    let began = Instant::now();
    server.shutdown(Duration::from_secs(5)).await;
    println!("shut down                 {:8.2} s", began.elapsed().as_secs_f64());
    drop((server, store));

    let began = Instant::now();
    let (server, _) = start(directory).await;
    println!("start again               {:8.2} s", began.elapsed().as_secs_f64());
    assert!(server.retained_messages(&TopicFilter::new("#").unwrap()) == expected, "something is lost");
    server.shutdown(Duration::from_secs(5)).await;
}

async fn start(directory: &Path) -> (RunningServer, Arc<FileStore>) {
    let store = Arc::new(FileStore::open(directory).unwrap());
    let server = Server::new(ServerOptions::default()).retained_store(Arc::clone(&store));
    (server.start().await.unwrap(), store)
}

/// `site/7/device/7654/temperature`, a thousand devices for each site.
fn topic(number: usize) -> String {
    format!("site/{}/device/{number}/temperature", number / 1_000)
}

async fn fill(directory: &Path, messages: usize) {
    let store = FileStore::open(directory).unwrap();
    for start in (0..messages).step_by(1_000) {
        let batch = (start..messages.min(start + 1_000)).map(|number| {
            let payload = format!("{{\"value\":{}.{},\"unit\":\"celsius\"}}", number % 40, number % 10);
            RetainedMessage::new(Message::new(topic(number), payload).unwrap(), SystemTime::now()).into()
        });
        store.apply(batch.collect()).await.unwrap();
    }
    store.compact().await.unwrap();
    store.close().await.unwrap();
}

async fn subscribe(server: &RunningServer, messages: usize) {
    let mut exact = Vec::new();
    for number in (0..messages).step_by((messages / 1_000).max(1)) {
        let began = Instant::now();
        let mut subscription = server.subscribe(topic(number).as_str(), QoS::AtMostOnce).unwrap();
        subscription.next().await.unwrap();
        exact.push(began.elapsed());
    }
    println!("subscribe to one topic      {}", shown(exact));
    for (filter, count) in [("site/7/#", 1_000), ("site/+/device/7654/temperature", 1), ("#", messages)] {
        let began = Instant::now();
        let mut subscription = server.subscribe(filter, QoS::AtMostOnce).unwrap();
        subscription.next().await.unwrap();
        let first = began.elapsed().as_secs_f64() * 1e3;
        for _ in 1..count {
            subscription.next().await.unwrap();
        }
        let all = began.elapsed().as_secs_f64() * 1e3;
        println!("subscribe to {filter:<31} first message {first:.3} ms, all {count} in {all:.1} ms");
    }
}

/// What goes on beside the changes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pace {
    Peace,
    /// One compaction after the other.
    Compacting,
}

/// 10,000 changes a second.
async fn change(server: &RunningServer, store: &Arc<FileStore>, messages: usize, seconds: usize, pace: Pace) {
    let stop = Arc::new(AtomicBool::new(pace == Pace::Peace));
    let compactions = tokio::spawn({
        let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
        async move {
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                store.compact().await.unwrap();
                times.push(began.elapsed());
            }
            times
        }
    });
    let (mut delays, mut unsaved) = (Vec::new(), 0);
    let mut ticks = interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    for tick in 0..seconds * 100 {
        ticks.tick().await;
        for change in 0..100 {
            let number = (tick * 100 + change).wrapping_mul(7_919) % messages;
            let payload = format!("{{\"value\":{tick}.{change},\"unit\":\"{pace:?}\"}}");
            let message = Message::new(topic(number), payload).unwrap().retain(true);
            let began = Instant::now();
            server.publish(message).await.unwrap();
            delays.push(began.elapsed());
        }
        unsaved = unsaved.max(server.metrics().retained_unsaved);
    }
    let rate = (seconds * 10_000) as f64 / began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let times = compactions.await.unwrap();
    println!("{rate:.0} changes a second, {pace:?}");
    println!("  publish                   {}", shown(delays));
    println!(
        "  not saved at a time       {unsaved} at most, {} failures",
        server.metrics().retained_store_failures
    );
    if let Some(longest) = times.iter().max() {
        println!("  {} compactions, the longest {:.2} s", times.len(), longest.as_secs_f64());
    }
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    format!("p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs, max {:.1} µs", at(0.5), at(0.99), at(0.999), at(1.0))
}

fn megabytes(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>() >> 20
}

/// Bytes of memory of this process; 0 where the system does not say.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
}
