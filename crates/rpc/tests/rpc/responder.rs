//! The responder: how it answers, what it does with handlers that fail, and its bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use gantline_client::{
    Client, Losses, Message, ProtocolVersion, PubSub, PublishError, PublishResult, QoS, ReasonCode,
    SubscribeError, Subscription, TopicFilter, TopicName,
};
use gantline_rpc::{CallError, Failure, InvalidMethod, Request, RpcClient, RpcServer, ServeError, Unmarked};
use gantline_server::ServerOptions;
use tokio::sync::{Notify, Semaphore};

use crate::world::{LONG, Scheme, V3_1_1, V5_0, World, at_once, call, echoing, until};

fn failing() -> RpcServer {
    echoing(RpcServer::new())
        .method(
            "parse",
            |request: Request| async move { Ok(request.payload_str()?.parse::<u8>()?.to_string()) },
        )
        .method("refuse", |_| async { Err::<&str, _>(Failure::new("out-of-milk", "buy some")) })
        .method("panic", |_| async { if true { panic!("on purpose") } else { Ok("") } })
        .method("panic_early", |request: Request| {
            assert!(request.payload().len() > 1000, "on purpose");
            async { Ok("") }
        })
}

async fn failure(rpc: &RpcClient<Client>, method: &str) -> Failure {
    match at_once(call(rpc, method, "x")).await {
        Err(CallError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn failures_and_panics_reach_the_caller_at_once() {
    for scheme in Scheme::ALL {
        let world = World::new().await;
        let responder = failing().start(world.client("responder", V5_0).await).await.unwrap();
        let rpc = world.caller(V5_0, scheme).await;
        assert_eq!(failure(&rpc, "parse").await, Failure::new("failed", "invalid digit found in string"));
        assert_eq!(failure(&rpc, "refuse").await, Failure::new("out-of-milk", "buy some"));
        for method in ["panic", "panic_early"] {
            assert_eq!(failure(&rpc, method).await.code(), Failure::PANICKED);
        }
        assert_eq!(call(&rpc, "echo", "still there").await.unwrap(), "still there");
        let stats = responder.stats();
        assert_eq!((stats.succeeded, stats.failed, stats.under_way), (1, 4, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_properties_never_takes_a_failure_for_a_result() {
    for (responder, caller) in [(V3_1_1, V3_1_1), (V5_0, V3_1_1), (V3_1_1, V5_0)] {
        let world = World::new().await;
        let running = failing().start(world.client("responder", responder).await).await.unwrap();
        let rpc = world.caller(caller, Scheme::Shared).await;
        let error = rpc.execute("refuse", "", QoS::AtLeastOnce, Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
        running.stop().await;

        let device = world.client("responder", responder).await;
        let _running = failing().unmarked_failures(Unmarked::Text).start(device).await.unwrap();
        assert_eq!(at_once(call(&rpc, "refuse", "")).await.unwrap(), "buy some");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_handlers_run_at_once_than_allowed() {
    let world = World::new().await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
    let server = RpcServer::new().concurrency(4).method("work", move |_| {
        let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok("")
        }
    });
    let _responder = server.start(world.client("responder", V5_0).await).await.unwrap();
    let rpc = &world.caller(V5_0, Scheme::Inbox).await;
    for answer in join_all((0..20).map(|_| call(rpc, "work", ""))).await {
        answer.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

/// With the method `work`, which takes a permit for each request.
fn gated(server: RpcServer) -> (RpcServer, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let inner = Arc::clone(&gate);
    let server = server.method("work", move |_| {
        let gate = Arc::clone(&inner);
        async move {
            gate.acquire().await?.forget();
            Ok("done")
        }
    });
    (server, gate)
}

#[tokio::test(start_paused = true)]
async fn a_request_beyond_those_that_may_wait_is_told_that_the_responder_is_busy() {
    let world = World::new().await;
    let (server, gate) = gated(RpcServer::new().concurrency(1).waiting(2));
    let responder = server.start(world.client("responder", V5_0).await).await.unwrap();
    let rpc = &world.caller(V5_0, Scheme::Inbox).await;
    let calls = join_all((0..5).map(|_| call(rpc, "work", "")));
    let opening = async {
        until(|| responder.stats().refused == 2).await;
        assert_eq!(responder.stats().under_way, 3);
        gate.add_permits(3);
    };
    let (answers, ()) = at_once(async { tokio::join!(calls, opening) }).await;
    let (done, busy): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 3);
    for error in busy {
        let Err(CallError::Failed(failure)) = error else { panic!("{error:?}") };
        assert_eq!(failure.code(), Failure::BUSY);
    }
    assert_eq!(responder.stats().under_way, 0);
}

/// A client whose server never acknowledges a failure.
#[derive(Clone)]
struct Reluctant(Client);

impl PubSub for Reluctant {
    type Subscription = Subscription;
    type Losses = Losses;

    async fn publish(&self, message: Message) -> Result<PublishResult, PublishError> {
        if message.properties().user_properties.get("rpc-error").is_some() {
            return std::future::pending().await;
        }
        self.0.publish(message).await
    }

    async fn subscribe(&self, filters: &[(TopicFilter, QoS)]) -> Result<Subscription, SubscribeError> {
        PubSub::subscribe(&self.0, filters).await
    }

    fn losses(&self) -> Losses {
        self.0.losses()
    }

    fn version(&self) -> Option<ProtocolVersion> {
        self.0.version()
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_only_say_busy_take_no_place_of_a_request() {
    let world = World::new().await;
    let (server, gate) = gated(RpcServer::new().concurrency(1).waiting(0));
    let client = Reluctant(world.client("responder", V5_0).await);
    let responder = server.start(client).await.unwrap();
    let rpc = &world.caller(V5_0, Scheme::Inbox).await;
    let beyond = async {
        until(|| responder.stats().under_way == 1).await;
        let short = Duration::from_secs(1);
        for _ in 0..5 {
            let error = rpc.execute("work", "", QoS::AtLeastOnce, short).await.unwrap_err();
            assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
        }
        gate.add_permits(2);
    };
    let (first, ()) = tokio::join!(call(rpc, "work", ""), beyond);
    assert_eq!(first.unwrap(), "done");
    assert_eq!(responder.stats().refused, 5);
    assert_eq!(at_once(call(rpc, "work", "")).await.unwrap(), "done");
}

#[tokio::test(start_paused = true)]
async fn requests_are_bounded_by_their_bytes_too() {
    let world = World::new().await;
    let (server, gate) = gated(RpcServer::new().bytes(1000));
    let responder = server.start(world.client("responder", V5_0).await).await.unwrap();
    let rpc = &world.caller(V5_0, Scheme::Inbox).await;
    // One may always be larger.
    for (large, small) in [(5000, 1), (900, 101)] {
        let work = async |bytes| call(rpc, "work", &"x".repeat(bytes)).await;
        let beyond = async {
            until(|| responder.stats().bytes == large).await;
            let result = work(small).await;
            gate.add_permits(1);
            result
        };
        let (first, second) = tokio::join!(work(large), beyond);
        assert_eq!(first.unwrap(), "done");
        assert!(
            matches!(&second, Err(CallError::Failed(failure)) if failure.code() == Failure::BUSY),
            "{second:?}"
        );
    }
    assert_eq!((responder.stats().bytes, responder.stats().refused), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_call_over_the_client_that_its_requests_come_through() {
    let world = World::new().await;
    let client = world.client("both", V5_0).await;
    let rpc = RpcClient::with_options(client.clone(), Scheme::Inbox.options());
    let inner = rpc.clone();
    // As many requests wait as the client may leave unacknowledged: they must not keep the answers away.
    let server =
        echoing(RpcServer::new()).concurrency(1500).waiting(1500).method("relay", move |request: Request| {
            let rpc = inner.clone();
            async move {
                let answer = rpc.execute("echo", request.payload().clone(), QoS::AtLeastOnce, LONG).await?;
                Ok(answer.payload().clone())
            }
        });
    let _responder = server.start(client).await.unwrap();
    let caller = &world.caller(V5_0, Scheme::Inbox).await;
    let answers = join_all((0..1024).map(|_| call(caller, "relay", "hello")));
    for answer in at_once(answers).await {
        assert_eq!(answer.unwrap(), "hello");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_answers_each_request_once() {
    let world = World::new().await;
    let mut members = Vec::new();
    for id in ["one", "two"] {
        let client = world.client(id, V5_0).await;
        members.push(echoing(RpcServer::new()).group("workers").start(client).await.unwrap());
    }
    let rpc = world.caller(V5_0, Scheme::Inbox).await;
    for _ in 0..10 {
        call(&rpc, "echo", "").await.unwrap();
    }
    assert_eq!(members.iter().map(|member| member.stats().succeeded).sum::<u64>(), 10);
    assert_eq!(rpc.stats().stray, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_is_ignored() {
    let world = World::new().await;
    let retained = Message::new("MQTTnet.RPC/0/echo", "old").unwrap().retain(true);
    world.server.publish(retained).await.unwrap();
    let allowed = TopicFilter::new("MQTTnet.RPC/+/+/response").unwrap();
    let client = world.client("responder", V5_0).await;
    let responder = echoing(RpcServer::new()).answers_to(allowed).start(client).await.unwrap();
    until(|| responder.stats().ignored == 1).await;

    let door = TopicName::new("doors/front/open").unwrap();
    let request = Message::new("MQTTnet.RPC/1/echo", "yes").unwrap().response_topic(door);
    world.server.publish(request).await.unwrap();
    until(|| responder.stats().ignored == 2).await;
    assert_eq!(responder.stats().succeeded, 0);
    let rpc = world.caller(V5_0, Scheme::Inbox).await;
    assert_eq!(call(&rpc, "echo", "hello").await.unwrap(), "hello");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_server_does_not_take_is_a_failure() {
    let world = World::with(ServerOptions::default().max_packet_size(1000)).await;
    let client = world.client("responder", V5_0).await;
    let server = RpcServer::new().method("large", |_| async { Ok(vec![0; 2000]) });
    let responder = server.start(client).await.unwrap();
    let rpc = world.caller(V5_0, Scheme::Inbox).await;
    assert_eq!(failure(&rpc, "large").await.code(), Failure::TOO_LARGE);
    assert_eq!(responder.stats().unsent, 0);
}

#[tokio::test(start_paused = true)]
async fn a_responder_that_cannot_start_says_why() {
    let world = World::with(ServerOptions::default().max_topic_levels(2)).await;
    let client = world.client("responder", V5_0).await;
    let error = RpcServer::new().start(client.clone()).await.unwrap_err();
    assert!(matches!(error, ServeError::NoMethods), "{error}");
    let server = echoing(RpcServer::new()).method("a/b", |_| async { Ok("") });
    let error = server.start(client.clone()).await.unwrap_err();
    assert!(
        matches!(error, ServeError::InvalidMethod(InvalidMethod::Character { character: '/', .. })),
        "{error}"
    );
    let error = echoing(RpcServer::new()).group("a/b").start(client.clone()).await.unwrap_err();
    assert!(matches!(error, ServeError::Subscribe(_)), "{error}");
    let error = echoing(RpcServer::new()).group("+").start(client.clone()).await.unwrap_err();
    assert!(matches!(error, ServeError::Topic(_)), "{error}");
    let error = at_once(echoing(RpcServer::new()).start(client)).await.unwrap_err();
    assert!(matches!(error, ServeError::Subscribe(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_handlers_and_dropping_does_not() {
    for stops in [true, false] {
        let world = World::new().await;
        let (begun, alive) = (Arc::new(Notify::new()), Arc::new(()));
        let (tell, held) = (Arc::clone(&begun), Arc::clone(&alive));
        let server = RpcServer::new().method("slow", move |_| {
            let (tell, held) = (Arc::clone(&tell), Arc::clone(&held));
            async move {
                tell.notify_one();
                tokio::time::sleep(Duration::from_secs(10)).await;
                drop(held);
                Ok("done")
            }
        });
        let responder = server.start(world.client("responder", V5_0).await).await.unwrap();
        let rpc = world.caller(V5_0, Scheme::Inbox).await;
        let limit = Duration::from_secs(20);
        let ending = async {
            begun.notified().await;
            if stops {
                responder.stop().await;
            } else {
                drop(responder);
            }
        };
        let (answer, ()) = tokio::join!(rpc.execute("slow", "", QoS::AtLeastOnce, limit), ending);
        assert_eq!(answer.is_ok(), stops, "{answer:?}");
        assert_eq!(Arc::strong_count(&alive), 1, "handlers and their futures are gone");
        let error = at_once(call(&rpc, "slow", "")).await.unwrap_err();
        assert!(matches!(error, CallError::NoResponder), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_responder_ends_with_its_session() {
    let world = World::new().await;
    let mut responder = world.echo(V5_0).await;
    assert!(world.server.disconnect("responder", ReasonCode::AdministrativeAction));
    at_once(responder.ended()).await;
    at_once(responder.ended()).await;
}
