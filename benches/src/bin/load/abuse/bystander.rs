//! Clients that behave: a publisher and a subscriber, QoS 1, 100 messages in a second, on a thread of their own.
//!
//! The publisher does not wait for deliveries, so that a broker that falls behind shows in the worst latency and
//! not in the rate. Relates to: [`Ledger`], which counts. Leaves out: full load, which is `flow`.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};

use crate::{
    args::Common,
    ledger::Ledger,
    link::{self, Link},
    report::Report,
    wire::{self, Dialect, PublishTemplate},
};

const QOS: u8 = 1;
/// The time between two messages.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the last messages may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);
const PUBLISHER: Token = Token(0);
const SUBSCRIBER: Token = Token(1);

/// The running clients.
pub(crate) struct Bystander {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Outcome>,
}

/// What became of their messages.
#[derive(Default)]
pub(crate) struct Outcome {
    sent: u64,
    received: u64,
    lost: u64,
    duplicates: u64,
    reordered: u64,
    unacknowledged: u64,
    /// How long the slowest message took.
    slowest: Duration,
    /// Whether the connections stood to the end.
    disconnected: bool,
}

impl Bystander {
    /// Connects both and lets them run.
    pub(crate) fn start(common: &Common) -> io::Result<Self> {
        let pair = Pair::open(common)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopping);
        Ok(Self { stopping, thread: thread::spawn(move || pair.run(&seen)) })
    }

    /// Waits for the last messages.
    pub(crate) fn stop(self) -> Outcome {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Outcome { disconnected: true, ..Outcome::default() })
    }
}

impl Outcome {
    pub(crate) fn report(&self, report: &mut Report) {
        report.count("bystander_sent", self.sent);
        report.count("bystander_received", self.received);
        report.fault("bystander_lost", self.lost);
        report.fault("bystander_duplicates", self.duplicates);
        report.fault("bystander_reordered", self.reordered);
        report.fault("bystander_unacknowledged", self.unacknowledged);
        report.fault("bystander_disconnected", u64::from(self.disconnected));
        report.number("bystander_slowest_ms", 1000.0 * self.slowest.as_secs_f64());
    }
}

/// Both connections.
struct Pair {
    poll: Poll,
    dialect: Dialect,
    publisher: Link,
    subscriber: Link,
    template: PublishTemplate,
    ledger: Ledger,
    scratch: Vec<u8>,
    started: Instant,
    /// How many messages may be without PUBACK, and how many are.
    allowed: u64,
    unacknowledged: u64,
    received: u64,
    slowest: u64,
}

impl Pair {
    fn open(common: &Common) -> io::Result<Self> {
        let broker = common.address()?;
        let poll = Poll::new()?;
        let connect = |role: &str| {
            let client_id = format!("load-{}-bystander-{role}", std::process::id());
            link::open(broker, common.mqtt, &client_id, 0)
        };
        let topic = format!("load/{}/bystander", std::process::id());
        let (subscriber, _) = connect("s")?;
        let subscriber = subscribe(subscriber, common.mqtt, &topic)?;
        let (publisher, receive_maximum) = connect("p")?;
        Ok(Self {
            dialect: common.mqtt,
            publisher: Link::new(publisher, poll.registry(), PUBLISHER)?,
            subscriber: Link::new(subscriber, poll.registry(), SUBSCRIBER)?,
            poll,
            template: PublishTemplate::new(common.mqtt, &topic, QOS, 16),
            ledger: Ledger::new(u32::MAX, 0..1),
            scratch: vec![0; 64 * 1024],
            started: Instant::now(),
            allowed: receive_maximum.min(60_000).into(),
            unacknowledged: 0,
            received: 0,
            slowest: 0,
        })
    }

    fn run(mut self, stopping: &AtomicBool) -> Outcome {
        let ended = self.spin(stopping);
        Outcome {
            sent: self.ledger.sent,
            received: self.received,
            lost: self.ledger.lost(),
            duplicates: self.ledger.duplicates,
            reordered: self.ledger.reordered,
            unacknowledged: self.unacknowledged,
            slowest: Duration::from_nanos(self.slowest),
            disconnected: ended.is_err(),
        }
    }

    fn spin(&mut self, stopping: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(16);
        let mut end = None;
        loop {
            if stopping.load(Ordering::Relaxed) {
                let end = *end.get_or_insert_with(|| Instant::now() + PATIENCE);
                let settled = self.ledger.is_settled() && self.unacknowledged == 0;
                if settled || Instant::now() >= end {
                    return Ok(());
                }
            } else {
                self.publish();
            }
            self.publisher.flush()?;
            self.subscriber.flush()?;
            self.poll.poll(&mut events, Some(PAUSE))?;
            for event in events.iter().filter(|event| event.is_readable()) {
                if event.token() == PUBLISHER { self.read_acks() } else { self.read_messages() }?;
            }
        }
    }

    /// Sends what is due by now.
    fn publish(&mut self) {
        let elapsed = self.started.elapsed();
        let due = (elapsed.as_nanos() / PAUSE.as_nanos()) as u64;
        while self.ledger.sent < due && self.unacknowledged < self.allowed {
            let sequence = self.ledger.sent;
            self.template.write(&mut self.publisher.out, sequence, sequence, elapsed.as_nanos() as u64);
            self.ledger.sent += 1;
            self.unacknowledged += 1;
        }
    }

    fn read_acks(&mut self) -> io::Result<()> {
        let unacknowledged = &mut self.unacknowledged;
        self.publisher.read(&mut self.scratch, |first, _, _| {
            if first >> 4 == wire::PUBACK {
                *unacknowledged = unacknowledged.saturating_sub(1);
            }
        })
    }

    fn read_messages(&mut self) -> io::Result<()> {
        let now = self.started.elapsed().as_nanos() as u64;
        let (ledger, received, slowest) = (&mut self.ledger, &mut self.received, &mut self.slowest);
        let dialect = self.dialect;
        self.subscriber.read(&mut self.scratch, |first, body, out| {
            if first >> 4 != wire::PUBLISH {
                return;
            }
            let Some(message) = wire::incoming(dialect, first, body) else { return };
            ledger.arrived(0, message.label);
            *received += 1;
            *slowest = (*slowest).max(now.saturating_sub(message.stamp));
            wire::ack(out, wire::PUBACK, message.id);
        })
    }
}

fn subscribe(mut stream: TcpStream, dialect: Dialect, topic: &str) -> io::Result<TcpStream> {
    let mut out = Vec::new();
    wire::subscribe(&mut out, dialect, topic, QOS);
    stream.write_all(&out)?;
    let suback = link::answer(&mut stream, wire::SUBACK)?;
    if suback.last() != Some(&QOS) {
        return Err(io::Error::other(format!("the broker granted {suback:?}")));
    }
    Ok(stream)
}
