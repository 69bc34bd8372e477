//! A server, clients of it, and devices that somebody else has written.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gantline_client::{Client, ConnectOptions, Message, ProtocolVersion, QoS, TopicName};
use gantline_rpc::{
    CallError, MqttNetTopics, Request, ResponseInbox, RpcClient, RpcClientOptions, RpcServer,
    RunningRpcServer,
};
use gantline_server::{RunningServer, Server, ServerOptions};
use tokio::time::Instant;

pub(crate) use gantline_client::ProtocolVersion::{V3_1_1, V5_0};

/// A time-out that only a failure reaches.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

pub(crate) struct World {
    pub(crate) server: RunningServer,
    url: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(ServerOptions::default()).await
    }

    pub(crate) async fn with(options: ServerOptions) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let url = format!("memory://rpc-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { server: Server::new(options).listen(url.as_str()).start().await.unwrap(), url }
    }

    pub(crate) fn options(&self, id: &str) -> ConnectOptions {
        ConnectOptions::new(&self.url).unwrap().client_id(id).unwrap()
    }

    pub(crate) async fn client(&self, id: &str, version: ProtocolVersion) -> Client {
        Client::connect(self.options(id).version(version)).await.unwrap()
    }

    pub(crate) async fn caller(&self, version: ProtocolVersion, scheme: Scheme) -> RpcClient<Client> {
        RpcClient::with_options(self.client("caller", version).await, scheme.options())
    }

    /// A responder of ours with the method `echo`.
    pub(crate) async fn echo(&self, version: ProtocolVersion) -> RunningRpcServer {
        let client = self.client("responder", version).await;
        echoing(RpcServer::new()).start(client).await.unwrap()
    }

    /// Somebody who takes the requests of a method as messages and answers as he likes.
    pub(crate) async fn device(&self, version: ProtocolVersion, method: &str) -> Device {
        let client = self.client("device", version).await;
        let requests = client.subscribe(format!("MQTTnet.RPC/+/{method}"), QoS::ExactlyOnce).await.unwrap();
        Device { client, requests }
    }
}

pub(crate) fn echoing(server: RpcServer) -> RpcServer {
    server.method("echo", |request: Request| async move { Ok(request.payload().clone()) })
}

pub(crate) struct Device {
    pub(crate) client: Client,
    requests: gantline_client::Subscription,
}

impl Device {
    pub(crate) async fn request(&mut self) -> Message {
        self.requests.next().await.expect("a request")
    }

    /// Answers as the sample for MQTTnet does: by the topic, and by nothing else.
    pub(crate) async fn answer_by_topic(&self, request: &Message, payload: &str) {
        let topic = TopicName::new(format!("{}/response", request.topic())).unwrap();
        self.client.publish(Message::new(topic, payload.to_owned()).unwrap()).await.unwrap();
    }

    /// Answers as MQTT 5 wants it, if the request tells how.
    pub(crate) async fn answer(&self, request: &Message, payload: &str) {
        let Some(topic) = request.properties().response_topic.clone() else {
            return self.answer_by_topic(request, payload).await;
        };
        let answer = Message::new(topic, payload.to_owned()).unwrap();
        let data = request.properties().correlation_data.clone().unwrap();
        self.client.publish(answer.correlation_data(data)).await.unwrap();
    }
}

/// The schemes that are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Shared,
    PerCall,
    Inbox,
}

impl Scheme {
    pub(crate) const ALL: [Self; 3] = [Self::Shared, Self::PerCall, Self::Inbox];

    pub(crate) fn options(self) -> RpcClientOptions {
        let options = RpcClientOptions::default();
        match self {
            Self::Shared => options,
            Self::PerCall => options.scheme(MqttNetTopics::new().subscription_per_call()),
            Self::Inbox => options.scheme(ResponseInbox::new()),
        }
    }
}

/// Calls with QoS 1.
pub(crate) async fn call(rpc: &RpcClient<Client>, method: &str, payload: &str) -> Result<String, CallError> {
    let answer = rpc.execute(method, payload.to_owned(), QoS::AtLeastOnce, LONG).await?;
    Ok(answer.payload_str().unwrap().to_owned())
}

/// What comes without waiting for any time-out.
pub(crate) async fn at_once<T: Future>(future: T) -> T::Output {
    let begin = Instant::now();
    let output = future.await;
    assert!(begin.elapsed() < Duration::from_secs(1), "took {:?}", begin.elapsed());
    output
}

/// Polls until the condition holds; fails if it never does.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("the condition never held");
}
