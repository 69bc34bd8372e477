//! Calls that are answered: by whom, by what topics, and each with its own answer.

use std::time::Duration;

use futures_util::future::join_all;
use gantline_client::{ProtocolVersion, QoS, TopicFilter, TopicName};
use gantline_protocol::TopicError;
use gantline_rpc::{
    CallError, CallId, Inbox, InvalidMethod, RpcClient, RpcClientOptions, RpcServer, TopicScheme,
};

use crate::world::{LONG, Scheme, V3_1_1, V5_0, World, at_once, call, echoing};

const EVERY_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[tokio::test(start_paused = true)]
async fn every_scheme_works_between_all_versions_that_it_is_for() {
    let versions = [ProtocolVersion::V3_1, V3_1_1, V5_0];
    for (scheme, ours, theirs) in Scheme::ALL
        .iter()
        .flat_map(|scheme| versions.map(|ours| versions.map(|theirs| (*scheme, ours, theirs))))
        .flatten()
    {
        let world = World::new().await;
        let responder = world.echo(theirs).await;
        let rpc = world.caller(ours, scheme).await;
        for qos in EVERY_QOS {
            let answer = at_once(rpc.execute("echo", "hello", qos, LONG)).await;
            match (scheme, ours, theirs) {
                (Scheme::Inbox, V5_0, V5_0) | (Scheme::Shared | Scheme::PerCall, ..) => {
                    let answer = answer.unwrap();
                    assert_eq!(
                        (answer.payload_str(), answer.qos_level()),
                        (Ok("hello"), qos.min(QoS::AtLeastOnce))
                    );
                }
                (Scheme::Inbox, V5_0, _) => {
                    assert!(matches!(answer, Err(CallError::Uncorrelated)), "{answer:?}");
                }
                (Scheme::Inbox, ..) => {
                    let Err(CallError::NeedsProperties { version }) = answer else { panic!("{answer:?}") };
                    assert_eq!(version, ours);
                }
            }
        }
        assert_eq!(responder.stats().failed + responder.stats().unsent, 0);
        assert_eq!(rpc.stats().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_knows_nothing_but_the_topics_answers() {
    for (version, scheme) in
        [(V3_1_1, Scheme::Shared), (V3_1_1, Scheme::PerCall), (V5_0, Scheme::Shared), (V5_0, Scheme::PerCall)]
    {
        let world = World::new().await;
        let mut device = world.device(V3_1_1, "deviceA.ping").await;
        let rpc = world.caller(version, scheme).await;
        let answering = async {
            let request = device.request().await;
            let levels: Vec<_> = request.topic().levels().collect();
            assert_eq!((levels[0], levels[1].len(), levels[2]), ("MQTTnet.RPC", 32, "deviceA.ping"));
            assert!(request.payload_str() == Ok("are you there?") && !request.is_retained());
            device.answer_by_topic(&request, "pong").await;
        };
        let (answer, ()) =
            at_once(async { tokio::join!(call(&rpc, "deviceA.ping", "are you there?"), answering) }).await;
        assert_eq!(answer.unwrap(), "pong", "{version} {scheme:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_in_any_order_find_their_calls() {
    for (version, scheme) in [
        (V3_1_1, Scheme::Shared),
        (V3_1_1, Scheme::PerCall),
        (V5_0, Scheme::Shared),
        (V5_0, Scheme::PerCall),
        (V5_0, Scheme::Inbox),
    ] {
        let world = World::new().await;
        let mut device = world.device(V5_0, "mix").await;
        let rpc = world.caller(version, scheme).await;
        let rpc = &rpc;
        let calls = (0..100).map(|number| async move { call(rpc, "mix", &number.to_string()).await });
        let answering = async {
            let mut requests = Vec::new();
            for _ in 0..100 {
                requests.push(device.request().await);
            }
            // Halves swapped and reversed.
            requests.rotate_left(50);
            for request in requests.iter().rev() {
                device.answer(request, &format!("answer to {}", request.payload_str().unwrap())).await;
            }
        };
        let (answers, ()) = at_once(async { tokio::join!(join_all(calls), answering) }).await;
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.unwrap(), format!("answer to {number}"), "{version} {scheme:?}");
        }
        assert_eq!((rpc.stats().in_flight, rpc.stats().stray), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_has_one_subscription_and_an_inbox_serves_all_methods() {
    for (scheme, expected) in [(Scheme::Shared, 2), (Scheme::PerCall, 0), (Scheme::Inbox, 1)] {
        let world = World::new().await;
        let _responder = echoing(RpcServer::new())
            .method("other", |_| async { Ok("") })
            .start(world.client("responder", V5_0).await)
            .await
            .unwrap();
        let rpc = &world.caller(V5_0, scheme).await;
        let calls = (0..10).flat_map(|_| ["echo", "other"]).map(|method| call(rpc, method, ""));
        for answer in join_all(calls).await {
            answer.unwrap();
        }
        rpc.client().ping().await.unwrap();
        let subscriptions = world.server.session("caller").unwrap().subscriptions;
        assert_eq!(subscriptions.len(), expected, "{scheme:?} {subscriptions:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_caller_that_is_dropped() {
    for scheme in Scheme::ALL {
        let world = World::new().await;
        let _responder = world.echo(V5_0).await;
        let client = world.client("caller", V5_0).await;
        let rpc = RpcClient::with_options(client.clone(), scheme.options());
        let other = rpc.clone();
        call(&rpc, "echo", "").await.unwrap();
        drop(rpc);
        call(&other, "echo", "").await.unwrap();
        drop(other);
        tokio::task::yield_now().await;
        client.ping().await.unwrap();
        assert_eq!(world.server.session("caller").unwrap().subscriptions, []);
    }
}

#[tokio::test(start_paused = true)]
async fn callers_of_one_method_do_not_take_each_others_answers() {
    for scheme in Scheme::ALL {
        let world = World::new().await;
        let _responder = world.echo(V5_0).await;
        let [first, second] = ["first", "second"].map(|id| world.client(id, V5_0));
        let first = RpcClient::with_options(first.await, scheme.options());
        let second = RpcClient::with_options(second.await, scheme.options());
        call(&second, "echo", "").await.unwrap();
        let (one, two) = tokio::join!(call(&first, "echo", "1"), call(&second, "echo", "2"));
        assert_eq!((one.unwrap().as_str(), two.unwrap().as_str()), ("1", "2"));
        second.client().ping().await.unwrap();
        assert_eq!(second.stats().stray, u64::from(scheme == Scheme::Shared));
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_name_that_topics_give_a_meaning_to_is_refused() {
    let world = World::new().await;
    for scheme in Scheme::ALL {
        let rpc = world.caller(V5_0, scheme).await;
        for (name, wrong) in [("a/b", '/'), ("a+", '+'), ("#", '#')] {
            let error = at_once(call(&rpc, name, "")).await.unwrap_err();
            let CallError::InvalidMethod(InvalidMethod::Character { character, .. }) = error else {
                panic!()
            };
            assert_eq!(character, wrong);
        }
        assert!(matches!(call(&rpc, "", "").await, Err(CallError::InvalidMethod(InvalidMethod::Empty))));
        let long = "x".repeat(65_500);
        assert!(matches!(at_once(call(&rpc, &long, "")).await, Err(CallError::Topic(_))));
        assert_eq!(rpc.stats().in_flight, 0);
    }
}

/// Requests to `call/<method>/<id>`, answers to `answer/<id>`.
#[derive(Debug)]
struct Own;

impl TopicScheme for Own {
    fn request(&self, method: &str, call: CallId) -> Result<TopicName, TopicError> {
        TopicName::new(format!("call/{method}/{call}"))
    }

    fn response(&self, request: &TopicName) -> Result<TopicName, TopicError> {
        let id = request.levels().last().unwrap_or_default();
        TopicName::new(format!("answer/{id}"))
    }

    fn inbox(&self, _: &str) -> Result<Inbox, TopicError> {
        Ok(Inbox::ByTopic(TopicFilter::new("answer/+")?))
    }

    fn requests(&self, method: &str) -> Result<TopicFilter, TopicError> {
        TopicFilter::new(format!("call/{method}/+"))
    }

    fn method<'a>(&self, request: &'a TopicName) -> Option<&'a str> {
        request.levels().nth(1)
    }
}

#[tokio::test(start_paused = true)]
async fn topics_may_be_your_own() {
    for version in [V3_1_1, V5_0] {
        let world = World::new().await;
        let device = world.client("device", version).await;
        let _responder = echoing(RpcServer::new()).scheme(Own).start(device).await.unwrap();
        let mut spy = world.server.subscribe("#", QoS::AtMostOnce).unwrap();
        let options = RpcClientOptions::default().scheme(Own);
        let rpc = RpcClient::with_options(world.client("caller", version).await, options);
        assert_eq!(at_once(call(&rpc, "echo", "hello")).await.unwrap(), "hello");
        assert!(spy.next().await.unwrap().topic().as_str().starts_with("call/echo/"));
        assert!(spy.next().await.unwrap().topic().as_str().starts_with("answer/"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_on_several_threads_keep_their_answers() {
    for scheme in Scheme::ALL {
        let world = World::new().await;
        let _responder = world.echo(V5_0).await;
        let rpc = world.caller(V5_0, scheme).await;
        let callers = (0..20).map(|caller| {
            let rpc = rpc.clone();
            tokio::spawn(async move {
                for number in 0..20 {
                    let payload = format!("{caller} {number}");
                    let answer =
                        rpc.execute("echo", payload.clone(), QoS::AtMostOnce, Duration::from_secs(60));
                    assert_eq!(answer.await.unwrap().payload_str(), Ok(payload.as_str()));
                }
            })
        });
        for caller in join_all(callers).await {
            caller.unwrap();
        }
    }
}
