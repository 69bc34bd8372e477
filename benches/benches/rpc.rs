//! Calls over TCP: how many go through in a second, one after the other and in parallel, and that each has its own
//! answer.
//!
//! `cargo bench -p gantline-benches --bench rpc [-- CALLS] [mqtt://broker]`, 100,000 calls unless told, a few where it
//! is run as a test. Without the URL of a broker it starts a server on a thread of its own. Caller and responder share
//! a thread, so that with the broker on another core two cores are enough. Relates to: `in_process.rs`, messages
//! without answers. Leaves out: what each part costs.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot begin may panic")]

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use gantline_client::{Client, ConnectOptions, QoS};
use gantline_rpc::{MqttNetTopics, Request, ResponseInbox, RpcClient, RpcClientOptions, RpcServer};
use gantline_server::{Server, ServerOptions};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// How many calls are under way in parallel. Less than any queue on the way holds.
const PARALLEL: u64 = 512;
/// Of so many calls one is made when they go one after the other.
const SEQUENTIAL: u64 = 10;
const LIMIT: Duration = Duration::from_secs(30);

fn main() {
    let is_bench = env::args().any(|argument| argument == "--bench");
    let mut calls = if is_bench { 100_000 } else { 1000 };
    let mut broker = None;
    for argument in env::args().skip(1) {
        if let Ok(told) = argument.parse() {
            calls = told;
        } else if argument.contains("://") {
            broker = Some(argument);
        }
    }
    let (address, server) = broker.map_or_else(start_server, |broker| (broker, None));
    for (name, options) in [
        ("response inbox", RpcClientOptions::default().scheme(ResponseInbox::new())),
        ("topics of MQTTnet", RpcClientOptions::default().scheme(MqttNetTopics::new())),
    ] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let (sequential, parallel) = runtime().block_on(measure(&address, options.clone(), qos, calls));
            println!("{name}, {qos:?}: {sequential:.0} calls a second in turn, {parallel:.0} in parallel");
        }
    }
    println!("every answer came to its own call");
    drop(server);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The URL of a server, and what stops it when it is dropped.
fn start_server() -> (String, Option<oneshot::Sender<()>>) {
    let (started, address) = std::sync::mpsc::channel();
    let (stop, stopping) = oneshot::channel();
    let serve = async move {
        let options = ServerOptions::default();
        let server = Server::new(options).listen("mqtt://127.0.0.1:0").start().await.unwrap();
        started.send(server.local_addresses()[0].to_string()).unwrap();
        let _ = stopping.await;
    };
    thread::spawn(move || runtime().block_on(serve));
    (address.recv().unwrap(), Some(stop))
}

/// Calls a second, one after the other and in parallel.
async fn measure(address: &str, options: RpcClientOptions, qos: QoS, calls: u64) -> (f64, f64) {
    let connect = || Client::connect(ConnectOptions::new(address).unwrap());
    // Another one of the same broker, by somebody else, would answer too.
    let method = format!("bench-{}", std::process::id());
    let echo = |request: Request| async move { Ok(request.payload().clone()) };
    let responder = RpcServer::new().method(&method, echo).start(connect().await.unwrap()).await.unwrap();
    let rpc = RpcClient::with_options(connect().await.unwrap(), options);
    // Subscribes to the answers.
    call(&rpc, &method, qos, 0..1).await;

    let begin = Instant::now();
    call(&rpc, &method, qos, 0..calls / SEQUENTIAL).await;
    let sequential = (calls / SEQUENTIAL) as f64 / begin.elapsed().as_secs_f64();

    let begin = Instant::now();
    let each = calls.div_ceil(PARALLEL);
    let callers: Vec<_> = (0..PARALLEL)
        .map(|caller| {
            let (rpc, method) = (rpc.clone(), method.clone());
            let numbers = (caller * each).min(calls)..((caller + 1) * each).min(calls);
            tokio::spawn(async move { call(&rpc, &method, qos, numbers).await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let parallel = calls as f64 / begin.elapsed().as_secs_f64();
    responder.stop().await;
    (sequential, parallel)
}

/// Calls with each of the numbers, one after the other; each must come back.
async fn call(rpc: &RpcClient<Client>, method: &str, qos: QoS, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let answer = rpc.execute(method, number.to_be_bytes().to_vec(), qos, LIMIT).await.unwrap();
        assert_eq!(answer.payload()[..], number.to_be_bytes(), "the answer of another call");
    }
}
