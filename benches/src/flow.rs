//! Messages through a server in memory: one publisher, one or more subscribers, and no sockets.
//!
//! The peers are scripts without tasks: a `Wire` is the server's end of a connection, and what the server writes into
//! it is looked at then and there, answered as MQTT demands, and counted. When a batch is through, the next one lies in
//! the publisher's wire, so that nothing runs but the tasks of the server. A peer allocates nothing once it has seen
//! one batch, and costs some 50 instructions for a packet and a copy of its bytes.
//!
//! An answer is there only after the server has found nothing to read, as with a socket. Relates to: [`Server`], which
//! is used through its interface. Leaves out: sockets, faults, and the content of messages.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gantline_protocol::{Packet, PacketType, ProtocolVersion, QoS};
use gantline_server::{Outcome, PublishAttempt, RunningServer, Server, ServerOptions};
use gantline_transport::{PeerInfo, Scheme, Stream};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;

use crate::samples;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How messages are published and subscribed to.
    pub qos: QoS,
    /// How many messages the server can read at once. The next batch comes when this one is through.
    pub batch: u16,
    /// How many clients get them.
    pub subscribers: usize,
    /// The version of all clients.
    pub version: ProtocolVersion,
    /// How many user properties a message has.
    pub user_properties: usize,
    /// The hook that sees every message.
    pub hook: Hook,
}

/// A publish hook that forwards everything.
#[derive(Clone, Copy, Debug)]
pub enum Hook {
    /// There is none.
    Absent,
    /// It decides at once.
    Sync,
    /// It is a future, which is ready at once.
    Async,
}

impl Hook {
    /// Gives it to a server.
    pub fn register(self, server: Server) -> Server {
        match self {
            Self::Absent => server,
            Self::Sync => server.intercept_publishes(|_: &PublishAttempt<'_>| Outcome::Forward),
            Self::Async => server.intercept_publishes(|_: &PublishAttempt<'_>| async { Outcome::Forward }),
        }
    }
}

impl Plan {
    /// One subscriber, MQTT 5.0.
    pub fn one_to_one(qos: QoS, batch: u16) -> Self {
        let version = ProtocolVersion::default();
        Self { qos, batch, subscribers: 1, version, user_properties: 0, hook: Hook::Absent }
    }
}

/// A server with clients between which messages flow: the first publishes, the others have subscribed.
#[derive(Debug)]
pub struct Flow {
    hub: Arc<Mutex<Hub>>,
    runtime: Runtime,
    _server: RunningServer,
}

impl Flow {
    /// Connects the clients to a new server, which runs on the thread that calls this and [`run`](Self::run).
    pub fn start(plan: Plan) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let hub = Arc::new(Mutex::new(Hub::new(plan)));
        let server = runtime.block_on(async {
            let server = plan.hook.register(Server::new(ServerOptions::default())).start().await.unwrap();
            for end in 0..=plan.subscribers {
                server.serve(Hub::connect(&hub, end, plan));
            }
            Hub::wait(&hub, |hub| hub.ready == hub.ends.len()).await;
            server
        });
        Self { hub, runtime, _server: server }
    }

    /// Sends so many batches, one after the other.
    pub fn run(&self, batches: u64) {
        self.runtime.block_on(async {
            self.hub.lock().begin(batches);
            Hub::wait(&self.hub, |hub| hub.left == 0).await;
        });
    }
}

/// All peers: that which publishes comes first.
#[derive(Debug)]
struct Hub {
    ends: Vec<End>,
    /// A batch of PUBLISH and, at QoS 2, of the PUBREL that follow.
    publishes: Vec<u8>,
    releases: Vec<u8>,
    qos: QoS,
    batch: usize,
    /// How many peers are connected and subscribed.
    ready: usize,
    /// Of this batch: messages that subscribers have got, PUBREC that came, flows that are complete.
    delivered: usize,
    received: usize,
    completed: usize,
    /// Batches that are not through yet.
    left: u64,
    waits: Option<Waker>,
}

/// What a peer has sent.
#[derive(Debug, Default)]
struct End {
    /// Bytes for the server to read, from this position on.
    input: Vec<u8>,
    position: usize,
    /// Answers, which become readable when the server has found nothing.
    answers: Vec<u8>,
    reader: Option<Waker>,
}

impl End {
    /// Lets the server read this now.
    fn give(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        wake(self.reader.take());
    }
}

impl Hub {
    fn new(plan: Plan) -> Self {
        let ids = 1..=plan.batch;
        let publish = |id| {
            let packet = samples::publish_with(plan.qos, id, plan.user_properties);
            samples::encoded(&packet, plan.version)
        };
        Self {
            ends: (0..=plan.subscribers).map(|_| End::default()).collect(),
            publishes: ids.clone().flat_map(publish).collect(),
            releases: ids.flat_map(|id| ack(PacketType::PubRel, id.to_be_bytes())).collect(),
            qos: plan.qos,
            batch: plan.batch.into(),
            ready: 0,
            delivered: 0,
            received: 0,
            completed: 0,
            left: 0,
            waits: None,
        }
    }

    /// The server's end of a connection on which CONNECT waits, and for a subscriber SUBSCRIBE.
    fn connect(hub: &Arc<Mutex<Self>>, end: usize, plan: Plan) -> Stream {
        let encoded = |packet: &Packet| samples::encoded(packet, plan.version);
        let mut input = encoded(&samples::connect(&format!("client-{end}"), plan.version));
        if end > 0 {
            input.extend(encoded(&samples::subscribe(samples::TOPIC, plan.qos)));
        }
        hub.lock().ends[end].input = input;
        let wire = Wire { hub: Arc::clone(hub), end };
        Stream::from_io(wire, PeerInfo::new(Scheme::Memory, "client", "server"))
    }

    async fn wait(hub: &Mutex<Self>, until: impl Fn(&Self) -> bool) {
        poll_fn(|cx| {
            let mut hub = hub.lock();
            if until(&hub) {
                return Poll::Ready(());
            }
            hub.waits = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn begin(&mut self, batches: u64) {
        self.left = batches;
        if batches > 0 {
            self.ends[0].give(&self.publishes);
        }
    }

    /// Looks at whole packets that the server has sent to a peer.
    fn read(&mut self, end: usize, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            let (length, rest) = remaining_length(rest);
            let (body, rest) = rest.split_at(length);
            self.packet(end, *first, body);
            bytes = rest;
        }
        let acknowledged = if self.qos == QoS::AtMostOnce { 0 } else { self.batch };
        let all = self.batch * (self.ends.len() - 1);
        if self.left > 0 && self.delivered == all && self.completed == acknowledged {
            (self.delivered, self.received, self.completed) = (0, 0, 0);
            self.left -= 1;
            match (self.left, end) {
                (0, _) => {}
                (_, 0) => self.ends[0].answers.extend_from_slice(&self.publishes),
                _ => self.ends[0].give(&self.publishes),
            }
        }
        // Only a start or an end can be waited for.
        if self.left == 0 {
            wake(self.waits.take());
        }
    }

    fn packet(&mut self, end: usize, first: u8, body: &[u8]) {
        let answers = &mut self.ends[end].answers;
        match first >> 4 {
            CONNACK => {
                assert_eq!(body[1], 0, "refused");
                self.ready += usize::from(end == 0);
            }
            SUBACK => self.ready += 1,
            PUBLISH => {
                self.delivered += 1;
                let id = 2 + samples::TOPIC.len();
                match first >> 1 & 0b11 {
                    0 => {}
                    1 => answers.extend_from_slice(&ack(PacketType::PubAck, [body[id], body[id + 1]])),
                    _ => answers.extend_from_slice(&ack(PacketType::PubRec, [body[id], body[id + 1]])),
                }
            }
            PUBREC => {
                self.received += 1;
                if self.received == self.batch {
                    answers.extend_from_slice(&self.releases);
                }
            }
            PUBREL => answers.extend_from_slice(&ack(PacketType::PubComp, [body[0], body[1]])),
            PUBACK | PUBCOMP => self.completed += 1,
            other => panic!("the server has sent a packet of type {other}"),
        }
    }
}

/// The server's end of a connection to a peer.
#[derive(Debug)]
struct Wire {
    hub: Arc<Mutex<Hub>>,
    end: usize,
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let end = &mut self.hub.lock().ends[self.end];
        let bytes = &end.input[end.position..];
        if !bytes.is_empty() {
            let bytes = &bytes[..bytes.len().min(buffer.remaining())];
            buffer.put_slice(bytes);
            end.position += bytes.len();
            if end.position == end.input.len() {
                end.input.clear();
                end.position = 0;
            }
            return Poll::Ready(Ok(()));
        }
        std::mem::swap(&mut end.input, &mut end.answers);
        if !end.input.is_empty() {
            cx.waker().wake_by_ref();
        }
        if !end.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            end.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.hub.lock().read(self.end, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// An acknowledgement without a reason, which means success in all versions.
const fn ack(packet_type: PacketType, id: [u8; 2]) -> [u8; 4] {
    let flags = if matches!(packet_type, PacketType::PubRel) { 0b0010 } else { 0 };
    [packet_type.value() << 4 | flags, 2, id[0], id[1]]
}

/// The remaining length and what comes behind it.
fn remaining_length(bytes: &[u8]) -> (usize, &[u8]) {
    let (mut length, mut shift) = (0, 0);
    for (position, byte) in bytes.iter().enumerate() {
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return (length, &bytes[position + 1..]);
        }
    }
    panic!("the server has written a part of a packet")
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

const CONNACK: u8 = PacketType::ConnAck.value();
const PUBLISH: u8 = PacketType::Publish.value();
const PUBACK: u8 = PacketType::PubAck.value();
const PUBREC: u8 = PacketType::PubRec.value();
const PUBREL: u8 = PacketType::PubRel.value();
const PUBCOMP: u8 = PacketType::PubComp.value();
const SUBACK: u8 = PacketType::SubAck.value();
