//! Calls over clients that keep themselves connected: caller and responder go on when the server comes back.

#![cfg(all(feature = "managed", feature = "rpc", feature = "server"))]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::sync::Arc;
use std::time::Duration;

use gantline::managed::ManagedOptions;
use gantline::rpc::{CallError, Failure, MqttNetTopics, Request, ResponseInbox, RpcClientOptions};
use gantline::{
    ConnectOptions, ManagedClient, Message, QoS, RpcClient, RpcServer, RunningServer, Server, ServerOptions,
};
use tokio::sync::Notify;

async fn server(name: &str) -> RunningServer {
    Server::new(ServerOptions::default()).listen(format!("memory://{name}").as_str()).start().await.unwrap()
}

async fn managed(name: &str) -> ManagedClient {
    let options = ConnectOptions::new(format!("memory://{name}")).unwrap();
    let client = ManagedClient::new(ManagedOptions::new(options));
    client.start().await.unwrap();
    client
}

/// A responder and a caller that are connected.
async fn connected(name: &str) -> (ManagedClient, ManagedClient) {
    let (device, caller) = (managed(name).await, managed(name).await);
    device.connected().await.unwrap();
    caller.connected().await.unwrap();
    (device, caller)
}

/// Waits until the client is connected and its subscriptions are restored, because its outbox does, too.
async fn restored(client: &ManagedClient) {
    let message = Message::new("restored", "").unwrap().qos(QoS::AtLeastOnce);
    client.publish(message).await.into_result().unwrap();
}

async fn ask(rpc: &RpcClient<ManagedClient>) -> Result<String, CallError> {
    let answer = rpc.execute("echo", "hello", QoS::AtLeastOnce, Duration::from_secs(5)).await?;
    Ok(answer.payload_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn calls_go_on_when_the_server_comes_back() {
    for (name, options) in [
        ("rpc-managed-topics", RpcClientOptions::default().scheme(MqttNetTopics::new())),
        ("rpc-managed-inbox", RpcClientOptions::default().scheme(ResponseInbox::new())),
    ] {
        let first = server(name).await;
        let (device, caller) = connected(name).await;
        let echo = |request: Request| async move { Ok(request.payload().clone()) };
        let _running = RpcServer::new().method("echo", echo).start(device.clone()).await.unwrap();
        let rpc = RpcClient::with_options(caller.clone(), options);
        assert_eq!(ask(&rpc).await.unwrap(), "hello", "{name}");
        first.shutdown(Duration::ZERO).await;
        drop(first);
        caller.watch_state().wait_for(|state| !state.is_connected()).await.unwrap();
        assert!(matches!(ask(&rpc).await, Err(CallError::NotConnected)), "{name}");
        let _second = server(name).await;
        restored(&device).await;
        restored(&caller).await;
        assert_eq!(ask(&rpc).await.unwrap(), "hello", "{name}");
        device.stop().await;
        caller.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_a_call_at_once() {
    let server = server("rpc-managed-loss").await;
    let (device, caller) = connected("rpc-managed-loss").await;
    let asked = Arc::new(Notify::new());
    let tell = Arc::clone(&asked);
    let never = move |_: Request| {
        tell.notify_one();
        std::future::pending::<Result<&str, Failure>>()
    };
    let _running = RpcServer::new().method("echo", never).start(device).await.unwrap();
    let rpc = RpcClient::new(caller);
    let calling = tokio::spawn(async move { ask(&rpc).await });
    asked.notified().await;
    let before = tokio::time::Instant::now();
    server.shutdown(Duration::ZERO).await;
    assert!(matches!(calling.await.unwrap(), Err(CallError::ConnectionLost(_))));
    assert!(before.elapsed() < Duration::from_secs(1));
}
