//! Extended authentication with both ends of ours: a method of three steps in which each end proves that it knows a
//! secret, over TCP.

#![cfg(all(feature = "client", feature = "server"))]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::collections::hash_map::DefaultHasher;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gantline::client::{AuthenticationFailure, ConnectError, ReauthenticateError};
use gantline::protocol::{
    AuthenticationContext, AuthenticationExchange, AuthenticationMethod, AuthenticationStep, async_trait,
};
use gantline::{
    Client, ConnectOptions, Message, ProtocolVersion, QoS, ReasonCode, RunningServer, Server, ServerOptions,
};

/// Client: hello. Server: challenge. Client: answer and counter-challenge. Server, with success: answer to that.
#[derive(Clone, Debug)]
struct Secret {
    secret: Arc<AtomicU64>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Client,
    Server,
}

struct Run {
    method: Secret,
    steps: u32,
}

impl Secret {
    fn new(end: End, secret: u64) -> Self {
        Self { secret: Arc::new(AtomicU64::new(secret)), end }
    }

    /// Proof that one knows the secret; not a good one.
    fn prove(&self, challenge: &[u8]) -> Vec<u8> {
        let mut hasher = DefaultHasher::new();
        (self.secret.load(Ordering::Relaxed), challenge).hash(&mut hasher);
        hasher.finish().to_be_bytes().to_vec()
    }
}

impl AuthenticationMethod for Secret {
    fn name(&self) -> &str {
        "SECRET"
    }

    fn begin(&self, _: &AuthenticationContext<'_>) -> Box<dyn AuthenticationExchange> {
        Box::new(Run { method: self.clone(), steps: 0 })
    }
}

#[async_trait]
impl AuthenticationExchange for Run {
    async fn step(&mut self, data: Option<&[u8]>) -> AuthenticationStep {
        // As if it asked a database.
        tokio::task::yield_now().await;
        self.steps += 1;
        let data = data.unwrap_or_default();
        match (self.method.end, self.steps) {
            (End::Client, 1) => AuthenticationStep::Continue(None),
            (End::Server, 1) => AuthenticationStep::Continue(Some("from the server".into())),
            (End::Client, 2) => {
                let mut answer = self.method.prove(data);
                answer.extend_from_slice(b"from the client");
                AuthenticationStep::Continue(Some(answer.into()))
            }
            (End::Server, 2) if data.len() > 8 && data[..8] == self.method.prove(b"from the server") => {
                AuthenticationStep::Done(Some(self.method.prove(&data[8..]).into()))
            }
            (End::Client, 3) if data == self.method.prove(b"from the client") => {
                AuthenticationStep::Done(None)
            }
            _ => AuthenticationStep::Refuse(ReasonCode::NotAuthorized),
        }
    }
}

/// Accepts whoever comes, and does not know the secret.
#[derive(Debug)]
struct Impostor;

impl AuthenticationMethod for Impostor {
    fn name(&self) -> &str {
        "SECRET"
    }

    fn begin(&self, _: &AuthenticationContext<'_>) -> Box<dyn AuthenticationExchange> {
        Box::new(Self)
    }
}

#[async_trait]
impl AuthenticationExchange for Impostor {
    async fn step(&mut self, _: Option<&[u8]>) -> AuthenticationStep {
        AuthenticationStep::Done(Some("trust me".into()))
    }
}

async fn serve(method: impl AuthenticationMethod + 'static) -> RunningServer {
    let server = Server::new(ServerOptions::default()).authentication_method(method);
    server.listen("mqtt://127.0.0.1:0").start().await.unwrap()
}

fn options(server: &RunningServer, secret: u64) -> ConnectOptions {
    let url = server.local_addresses()[0].to_string();
    ConnectOptions::new(url).unwrap().authentication(Secret::new(End::Client, secret))
}

/// Only a failure waits this long.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes in time")
}

#[tokio::test]
async fn both_ends_prove_who_they_are() {
    let server = serve(Secret::new(End::Server, 7)).await;
    let client = soon(Client::connect(options(&server, 7))).await.unwrap();
    client.publish(Message::new("t", "x").unwrap().qos(QoS::ExactlyOnce)).await.unwrap();
    client.disconnect().await.unwrap();
    // Clients without a method are not concerned.
    for version in ProtocolVersion::ALL {
        let url = server.local_addresses()[0].to_string();
        let client = soon(Client::connect(ConnectOptions::new(url).unwrap().version(version))).await.unwrap();
        assert!(matches!(client.reauthenticate().await, Err(ReauthenticateError::NoMethod)));
    }
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_client_with_the_wrong_secret_is_refused() {
    let server = serve(Secret::new(End::Server, 7)).await;
    let result = soon(Client::connect(options(&server, 8))).await;
    let Err(ConnectError::Refused(refusal)) = result else { panic!("{result:?}") };
    assert_eq!(refusal.reason, ReasonCode::NotAuthorized);
    assert_eq!(server.metrics().sessions, 0);
}

#[tokio::test]
async fn a_server_without_the_method_says_so() {
    let server = Server::new(ServerOptions::default()).listen("mqtt://127.0.0.1:0").start().await.unwrap();
    let result = soon(Client::connect(options(&server, 7))).await;
    let Err(ConnectError::Refused(refusal)) = result else { panic!("{result:?}") };
    assert_eq!(refusal.reason, ReasonCode::BadAuthenticationMethod);
}

#[tokio::test]
async fn a_server_with_the_wrong_secret_is_left() {
    let server = serve(Impostor).await;
    let result = soon(Client::connect(options(&server, 7))).await;
    let Err(ConnectError::Unauthenticated(failure)) = result else { panic!("{result:?}") };
    // It was content before it had answered anything.
    assert_eq!(failure, AuthenticationFailure::Unfinished);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_authenticates_again_and_again_under_load() {
    let known = Secret::new(End::Server, 7);
    let secret = Arc::clone(&known.secret);
    let server = serve(known).await;
    let client = soon(Client::connect(options(&server, 7))).await.unwrap();
    let mut messages = client.subscribe("load", QoS::AtLeastOnce).await.unwrap();
    let publisher = client.clone();
    let load = tokio::spawn(async move {
        for number in 0..2_000 {
            let message = Message::new("load", format!("{number}")).unwrap().qos(QoS::AtLeastOnce);
            publisher.publish(message).await.unwrap();
        }
    });
    let receiver = tokio::spawn(async move {
        for number in 0..2_000 {
            assert_eq!(messages.next().await.unwrap().payload_str().unwrap(), number.to_string());
        }
    });
    for _ in 0..50 {
        soon(client.reauthenticate()).await.unwrap();
    }
    soon(load).await.unwrap();
    soon(receiver).await.unwrap();
    // The server forgets the secret, and at the next time the client.
    secret.store(8, Ordering::Relaxed);
    let result = soon(client.reauthenticate()).await;
    let Err(ReauthenticateError::Refused(goodbye)) = &result else { panic!("{result:?}") };
    assert_eq!(goodbye.reason, ReasonCode::NotAuthorized);
    assert!(!client.is_connected());
    server.shutdown(Duration::from_secs(5)).await;
}
