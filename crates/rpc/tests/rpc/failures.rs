//! Calls that are not answered: what can be known is told at once, and nothing is left behind.

use std::time::Duration;

use futures_util::StreamExt;
use gantline_client::{
    Client, Losses, Message, ProtocolVersion, PubSub, PublishError, PublishResult, QoS, ReasonCode,
    SubscribeError, Subscription, TopicFilter,
};
use gantline_rpc::{CallError, CallStage, RpcClient};
use gantline_server::ServerOptions;

use crate::world::{LONG, Scheme, V3_1_1, V5_0, World, at_once, call, until};

const SHORT: Duration = Duration::from_millis(500);

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_is_told_at_once() {
    // A request has three levels, its answer four.
    let world = World::with(ServerOptions::default().max_topic_levels(3)).await;
    let _responder = world.echo(V5_0).await;
    for (version, scheme) in
        [(V3_1_1, Scheme::Shared), (V5_0, Scheme::Shared), (V3_1_1, Scheme::PerCall), (V5_0, Scheme::Inbox)]
    {
        let rpc = world.caller(version, scheme).await;
        for _ in 0..2 {
            let error = at_once(call(&rpc, "echo", "")).await.unwrap_err();
            let CallError::InboxRefused(SubscribeError::Refused(refused)) = error else { panic!("{error}") };
            assert!(refused.filters[0].0.as_str().ends_with("/response") && refused.filters[0].1.is_error());
        }
        assert_eq!(rpc.stats().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn that_nobody_answers_is_told_at_once_where_the_server_tells() {
    let world = World::new().await;
    for scheme in Scheme::ALL {
        let rpc = world.caller(V5_0, scheme).await;
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let error = at_once(rpc.execute("nothing", "", qos, LONG)).await.unwrap_err();
            assert!(matches!(error, CallError::NoResponder), "{error}");
        }
        // With QoS 0 nobody tells.
        let error = rpc.execute("nothing", "", QoS::AtMostOnce, SHORT).await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut { waiting_for: CallStage::Answer, .. }), "{error}");
        assert_eq!(rpc.stats().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_all_calls_at_once() {
    for (version, scheme) in
        [(V3_1_1, Scheme::Shared), (V5_0, Scheme::Shared), (V5_0, Scheme::PerCall), (V5_0, Scheme::Inbox)]
    {
        let world = World::new().await;
        let mut device = world.device(V5_0, "slow").await;
        let rpc = &world.caller(version, scheme).await;
        let losing = async {
            for _ in 0..3 {
                device.request().await;
            }
            assert!(world.server.disconnect("caller", ReasonCode::AdministrativeAction));
        };
        let [zero, one, two] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]
            .map(|qos| async move { rpc.execute("slow", "", qos, LONG).await.unwrap_err() });
        let (zero, one, two, ()) = at_once(async { tokio::join!(zero, one, two, losing) }).await;
        for error in [zero, one, two] {
            assert!(matches!(error, CallError::ConnectionLost(_)), "{version} {scheme:?} {error}");
        }
        let error = at_once(call(rpc, "slow", "")).await.unwrap_err();
        assert!(matches!(error, CallError::NotConnected), "{error}");
        assert_eq!(rpc.stats().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_connection_serves_calls_again() {
    for scheme in Scheme::ALL {
        for session in [Duration::ZERO, LONG] {
            let world = World::new().await;
            let _responder = world.echo(V5_0).await;
            let client = Client::connect(world.options("caller").session_expiry(session)).await.unwrap();
            let rpc = RpcClient::with_options(client.clone(), scheme.options());
            for number in 0..3 {
                assert_eq!(
                    at_once(call(&rpc, "echo", "hello")).await.unwrap(),
                    "hello",
                    "{scheme:?} {number}"
                );
                client.disconnect().await.unwrap();
                client.reconnect().await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_never_connected_is_told_so() {
    let world = World::new().await;
    for scheme in Scheme::ALL {
        let rpc = RpcClient::with_options(Client::new(world.options("caller")), scheme.options());
        let error = at_once(call(&rpc, "echo", "")).await.unwrap_err();
        assert!(matches!(error, CallError::NotConnected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_who_unsubscribes_ends_the_calls_and_the_next_one_subscribes_again() {
    let world = World::new().await;
    let mut device = world.device(V5_0, "slow").await;
    let rpc = world.caller(V5_0, Scheme::Shared).await;
    let meddling = async {
        device.request().await;
        rpc.client().unsubscribe("MQTTnet.RPC/+/slow/response").await.unwrap();
    };
    let (result, ()) = at_once(async { tokio::join!(call(&rpc, "slow", ""), meddling) }).await;
    assert!(matches!(result, Err(CallError::InboxClosed)), "{result:?}");
    let answering = async {
        let request = device.request().await;
        device.answer(&request, "here").await;
    };
    let (result, ()) = at_once(async { tokio::join!(call(&rpc, "slow", ""), answering) }).await;
    assert_eq!(result.unwrap(), "here");
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_dropped() {
    for scheme in Scheme::ALL {
        let world = World::new().await;
        let mut device = world.device(V5_0, "slow").await;
        let rpc = world.caller(V5_0, scheme).await;
        let error = rpc.execute("slow", "early", QoS::AtMostOnce, SHORT).await.unwrap_err();
        let CallError::TimedOut { limit, waiting_for } = error else { panic!("{error}") };
        assert_eq!((limit, waiting_for), (SHORT, CallStage::Answer));
        let late = device.request().await;
        let answering = async {
            let request = device.request().await;
            device.answer(&late, "too late").await;
            device.answer(&request, "in time").await;
        };
        let (answer, ()) = at_once(async { tokio::join!(call(&rpc, "slow", "next"), answering) }).await;
        assert_eq!(answer.unwrap(), "in time", "{scheme:?}");
        // With a subscription for each call the late one did not even come.
        assert_eq!(rpc.stats().stray, u64::from(scheme != Scheme::PerCall));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_answer_is_dropped() {
    for scheme in [Scheme::Shared, Scheme::Inbox] {
        let world = World::new().await;
        let mut device = world.device(V5_0, "eager").await;
        let rpc = world.caller(V5_0, scheme).await;
        let answering = async {
            let request = device.request().await;
            device.answer(&request, "first").await;
            device.answer(&request, "second").await;
        };
        let (answer, ()) = tokio::join!(call(&rpc, "eager", ""), answering);
        assert_eq!(answer.unwrap(), "first");
        until(|| rpc.stats().stray == 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_gives_its_place_back() {
    for scheme in Scheme::ALL {
        let world = World::new().await;
        let _device = world.device(V5_0, "slow").await;
        let _responder = world.echo(V5_0).await;
        let client = world.client("caller", V5_0).await;
        let rpc = RpcClient::with_options(client, scheme.options().calls_in_flight(1));
        for _ in 0..3 {
            let dropped = tokio::time::timeout(SHORT, call(&rpc, "slow", "")).await;
            assert!(dropped.is_err());
            assert_eq!(rpc.stats().in_flight, 0);
        }
        assert_eq!(at_once(call(&rpc, "echo", "hello")).await.unwrap(), "hello", "{scheme:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_above_the_bound_wait_for_their_turn() {
    let world = World::new().await;
    let mut device = world.device(V5_0, "slow").await;
    let client = world.client("caller", V5_0).await;
    let rpc = RpcClient::with_options(client, Scheme::Inbox.options().calls_in_flight(2));
    let [first, second] = [0, 1].map(|_| tokio::spawn(called(rpc.clone())));
    until(|| rpc.stats().in_flight == 2).await;
    let error = rpc.execute("slow", "", QoS::AtLeastOnce, SHORT).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { waiting_for: CallStage::Turn, .. }), "{error}");
    let third = tokio::spawn(called(rpc.clone()));
    for _ in 0..3 {
        let request = device.request().await;
        device.answer(&request, "done").await;
    }
    for call in [first, second, third] {
        assert_eq!(call.await.unwrap(), "done");
    }
}

async fn called(rpc: RpcClient<Client>) -> String {
    call(&rpc, "slow", "").await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_server_does_not_take_is_told_at_once() {
    let world = World::with(ServerOptions::default().max_packet_size(1000)).await;
    let _responder = world.echo(V5_0).await;
    let rpc = world.caller(V5_0, Scheme::Inbox).await;
    let error = at_once(call(&rpc, "echo", &"x".repeat(2000))).await.unwrap_err();
    assert!(matches!(error, CallError::NotSent(PublishError::TooLarge { maximum: 1000 })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn methods_are_bounded() {
    let world = World::new().await;
    let _responder = world.echo(V5_0).await;
    let client = world.client("caller", V5_0).await;
    let rpc = RpcClient::with_options(client, Scheme::Shared.options().methods(1));
    call(&rpc, "echo", "").await.unwrap();
    let error = at_once(call(&rpc, "other", "")).await.unwrap_err();
    assert!(matches!(error, CallError::TooManyMethods { limit: 1 }), "{error}");
    call(&rpc, "echo", "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_is_not_delivered_when_its_caller_has_given_up() {
    let world = World::new().await;
    let options = world.options("device").session_expiry(LONG);
    let device = Client::connect(options).await.unwrap();
    let mut requests = device.subscribe("MQTTnet.RPC/+/open", QoS::AtLeastOnce).await.unwrap();
    device.disconnect().await.unwrap();
    let rpc = world.caller(V5_0, Scheme::Shared).await;
    let error = rpc.execute("open", "late", QoS::AtLeastOnce, Duration::from_secs(2)).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
    let patient = tokio::spawn(async move { call(&rpc, "open", "in time").await });
    tokio::time::sleep(SHORT).await;
    device.reconnect().await.unwrap();
    assert_eq!(requests.next().await.unwrap().payload_str(), Ok("in time"));
    patient.abort();
}

/// A client whose server never answers SUBSCRIBE.
#[derive(Clone)]
struct Unsubscribable(Client);

impl PubSub for Unsubscribable {
    type Subscription = Subscription;
    type Losses = Losses;

    async fn publish(&self, message: Message) -> Result<PublishResult, PublishError> {
        panic!("{message:?} was published without an inbox")
    }

    async fn subscribe(&self, _: &[(TopicFilter, QoS)]) -> Result<Subscription, SubscribeError> {
        std::future::pending().await
    }

    fn losses(&self) -> Losses {
        self.0.losses()
    }

    fn version(&self) -> Option<ProtocolVersion> {
        self.0.version()
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_its_answer_can_be_received() {
    let world = World::new().await;
    for scheme in Scheme::ALL {
        let client = Unsubscribable(world.client("caller", V5_0).await);
        let rpc = RpcClient::with_options(client, scheme.options());
        let calls = [0, 1].map(|_| rpc.execute("echo", "", QoS::AtLeastOnce, SHORT));
        for result in futures_util::future::join_all(calls).await {
            let Err(error @ CallError::TimedOut { waiting_for: CallStage::Inbox, .. }) = result else {
                panic!()
            };
            assert_eq!(error.to_string(), "no answer within 500ms: the server did not answer SUBSCRIBE");
        }
        assert_eq!(rpc.stats().in_flight, 0);
    }
}

#[test]
fn a_call_on_the_next_connection_is_not_ended_by_the_late_notice_of_a_loss() {
    let (lasting, slow) = (tokio::runtime::Runtime::new().unwrap(), runtime());
    let world = lasting.block_on(World::new());
    let _responder = lasting.block_on(world.echo(V5_0));
    let mut device = lasting.block_on(world.device(V5_0, "slow"));
    let rpc = lasting.block_on(world.caller(V5_0, Scheme::PerCall));
    // What the caller keeps running is on a runtime that stands still from here on.
    slow.block_on(call(&rpc, "echo", "")).unwrap();
    lasting.block_on(async {
        let mut losses = PubSub::losses(rpc.client());
        assert!(world.server.disconnect("caller", ReasonCode::AdministrativeAction));
        assert!(losses.next().await.is_some());
        rpc.client().reconnect().await.unwrap();
        let answering = async {
            let request = device.request().await;
            std::thread::scope(|scope| {
                scope.spawn(|| slow.block_on(tokio::task::yield_now()));
            });
            device.answer(&request, "there").await;
        };
        let (answer, ()) = tokio::join!(call(&rpc, "slow", ""), answering);
        assert_eq!(answer.unwrap(), "there");
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_caller_outlives_the_runtime_of_its_first_call() {
    for scheme in Scheme::ALL {
        let (lasting, short) = (tokio::runtime::Runtime::new().unwrap(), runtime());
        let world = lasting.block_on(World::new());
        let _responder = lasting.block_on(world.echo(V5_0));
        let rpc = short.block_on(world.caller(V5_0, scheme));
        assert_eq!(short.block_on(call(&rpc, "echo", "first")).unwrap(), "first");
        drop(short);
        runtime().block_on(async {
            rpc.client().reconnect().await.unwrap();
            assert_eq!(call(&rpc, "echo", "second").await.unwrap(), "second");
            let losing = async {
                until(|| rpc.stats().in_flight == 1).await;
                assert!(world.server.disconnect("caller", ReasonCode::AdministrativeAction));
            };
            let never = rpc.execute("never", "", QoS::AtMostOnce, LONG);
            let (lost, ()) = tokio::join!(never, losing);
            assert!(matches!(lost, Err(CallError::ConnectionLost(_))), "{lost:?}");
        });
    }
}
