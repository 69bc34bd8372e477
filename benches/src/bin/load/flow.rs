//! The scenario `flow`: publishers and subscribers under full load.
//!
//! Closed loop: a publisher refills its window whenever messages of it were delivered, so the load follows
//! the broker and no queue can overflow unless the broker's bounds are below the window. A message counts
//! as delivered when every subscriber that shall get it has read its PUBLISH. [`Ledger`] does the counting,
//! [`Flow`] the sending and reading, [`run`] the clock.

use std::{
    io,
    net::TcpStream,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};

use crate::{
    args::{self, Common, Shape},
    ledger::Ledger,
    link::{self, Link},
    process,
    report::Report,
    wire::{self, Dialect, PublishTemplate},
};

/// With nothing delivered for so long, what is missing counts as lost.
const STALL: Duration = Duration::from_secs(2);

/// Runs the scenario.
pub(crate) fn run(common: &Common, options: &args::Flow) -> io::Result<Report> {
    let mut flow = Flow::open(common, options)?;
    flow.spin(options.warm_up, true)?;
    let before = flow.snapshot(common);
    flow.latency = Histogram::default();
    flow.spin(options.seconds, true)?;
    let after = flow.snapshot(common);
    flow.spin(STALL * 3, false)?;
    Ok(flow.report(common, options, &before, &after))
}

struct Snapshot {
    at: Instant,
    delivered: u64,
    broker: Option<process::Usage>,
    own: Duration,
}

struct Flow {
    poll: Poll,
    dialect: Dialect,
    qos: u8,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    scratch: Vec<u8>,
    latency: Histogram,
    started: Instant,
    progress: Instant,
    stalls: u64,
}

struct Publisher {
    link: Link,
    template: PublishTemplate,
    ledger: Ledger,
    /// QoS 1 and 2: flows that the broker has not finished, and how many it allows.
    unacknowledged: u32,
    allowed: u32,
}

struct Subscriber {
    link: Link,
    delivered: u64,
}

impl Flow {
    fn open(common: &Common, options: &args::Flow) -> io::Result<Self> {
        let broker = common.address()?;
        let poll = Poll::new()?;
        let publishers = usize::from(options.publishers);
        let subscribers =
            if options.shape == Shape::Pairs { publishers } else { usize::from(options.subscribers) };
        let connect = |role: &str, index: usize| {
            let client_id = format!("load-{}-{role}-{index}", std::process::id());
            link::open(broker, common.mqtt, &client_id, 0)
        };
        let topic = |index: usize| format!("load/{}/{index}", std::process::id());
        let link = |stream: TcpStream, token: usize| Link::new(stream, poll.registry(), Token(token));

        let mut receiving = Vec::with_capacity(subscribers);
        for index in 0..subscribers {
            let (mut stream, _) = connect("s", index)?;
            let filter = match options.shape {
                Shape::Pairs => topic(index),
                Shape::Fan => format!("load/{}/+", std::process::id()),
            };
            let mut out = Vec::new();
            wire::subscribe(&mut out, common.mqtt, &filter, options.qos);
            io::Write::write_all(&mut stream, &out)?;
            let suback = link::answer(&mut stream, wire::SUBACK)?;
            if suback.last() != Some(&options.qos) {
                return Err(io::Error::other(format!("the broker granted {suback:?}")));
            }
            receiving.push(Subscriber { link: link(stream, publishers + index)?, delivered: 0 });
        }
        let mut sending = Vec::with_capacity(publishers);
        for index in 0..publishers {
            let (stream, receive_maximum) = connect("p", index)?;
            let targets = if options.shape == Shape::Pairs { index..index + 1 } else { 0..subscribers };
            sending.push(Publisher {
                link: link(stream, index)?,
                template: PublishTemplate::new(
                    common.mqtt,
                    &topic(index),
                    options.qos,
                    options.payload as usize,
                ),
                ledger: Ledger::new(options.window, targets),
                unacknowledged: 0,
                allowed: receive_maximum.min(60_000),
            });
        }
        let now = Instant::now();
        Ok(Self {
            poll,
            dialect: common.mqtt,
            qos: options.qos,
            publishers: sending,
            subscribers: receiving,
            scratch: vec![0; 256 * 1024],
            latency: Histogram::default(),
            started: now,
            progress: now,
            stalls: 0,
        })
    }

    /// Runs the event loop for `duration`, or until all is delivered when nothing new is sent.
    fn spin(&mut self, duration: Duration, sending: bool) -> io::Result<()> {
        let end = Instant::now() + duration;
        let mut events = Events::with_capacity(1024);
        loop {
            let now = Instant::now();
            if sending {
                self.refill(now)?;
            }
            self.flush()?;
            if now >= end || (!sending && self.is_settled()) {
                return Ok(());
            }
            self.poll.poll(&mut events, Some((end - now).min(Duration::from_millis(100))))?;
            let now = Instant::now();
            let publishers = self.publishers.len();
            for event in events.iter().filter(|event| event.is_readable()) {
                match event.token().0 {
                    index if index < publishers => self.read_acks(index)?,
                    index => self.read_messages(index - publishers, now)?,
                }
            }
            if now - self.progress > STALL && sending {
                self.give_up(now);
            }
        }
    }

    /// Fills each window.
    fn refill(&mut self, now: Instant) -> io::Result<()> {
        let stamp = (now - self.started).as_nanos() as u64;
        for (index, publisher) in self.publishers.iter_mut().enumerate() {
            let mut room = publisher.ledger.room();
            if self.qos > 0 {
                room = room.min(u64::from(publisher.allowed.saturating_sub(publisher.unacknowledged)));
                publisher.unacknowledged += room as u32;
            }
            for _ in 0..room {
                let sequence = publisher.ledger.sent;
                publisher.ledger.sent += 1;
                let label = (index as u64) << 48 | sequence;
                publisher.template.write(&mut publisher.link.out, sequence, label, stamp);
            }
        }
        Ok(())
    }

    /// One write for each connection that has something to say.
    fn flush(&mut self) -> io::Result<()> {
        let publishers = self.publishers.iter_mut().map(|it| &mut it.link);
        let subscribers = self.subscribers.iter_mut().map(|it| &mut it.link);
        publishers.chain(subscribers).try_for_each(Link::flush)
    }

    fn read_acks(&mut self, index: usize) -> io::Result<()> {
        let publisher = &mut self.publishers[index];
        let unacknowledged = &mut publisher.unacknowledged;
        publisher.link.read(&mut self.scratch, |first, body, out| match (first >> 4, body) {
            (wire::PUBREC, &[high, low, ..]) => wire::ack(out, wire::PUBREL, [high, low]),
            (wire::PUBACK | wire::PUBCOMP, _) => *unacknowledged = unacknowledged.saturating_sub(1),
            _ => {}
        })
    }

    fn read_messages(&mut self, index: usize, now: Instant) -> io::Result<()> {
        let elapsed = (now - self.started).as_nanos() as u64;
        let (publishers, latency, dialect) = (&mut self.publishers, &mut self.latency, self.dialect);
        let subscriber = &mut self.subscribers[index];
        let mut delivered = 0;
        subscriber.link.read(&mut self.scratch, |first, body, out| match (first >> 4, body) {
            (wire::PUBLISH, body) => {
                let Some(message) = wire::incoming(dialect, first, body) else { return };
                let Some(publisher) = publishers.get_mut((message.label >> 48) as usize) else { return };
                publisher.ledger.arrived(index, message.label & 0xFFFF_FFFF_FFFF);
                latency.add(elapsed.saturating_sub(message.stamp));
                delivered += 1;
                match message.qos {
                    0 => {}
                    1 => wire::ack(out, wire::PUBACK, message.id),
                    _ => wire::ack(out, wire::PUBREC, message.id),
                }
            }
            (wire::PUBREL, &[high, low, ..]) => wire::ack(out, wire::PUBCOMP, [high, low]),
            _ => {}
        })?;
        if delivered > 0 {
            subscriber.delivered += delivered;
            self.progress = now;
        }
        Ok(())
    }

    fn is_settled(&mut self) -> bool {
        self.publishers.iter_mut().all(|it| it.ledger.is_settled() && it.unacknowledged == 0)
    }

    /// Nothing comes any more: opens the windows again, what is out counts as lost unless it comes later.
    fn give_up(&mut self, now: Instant) {
        self.stalls += 1;
        self.progress = now;
        for publisher in &mut self.publishers {
            publisher.ledger.give_up();
        }
    }

    fn snapshot(&self, common: &Common) -> Snapshot {
        Snapshot {
            at: Instant::now(),
            delivered: self.subscribers.iter().map(|it| it.delivered).sum(),
            broker: common.pid.and_then(process::usage),
            own: process::own_cpu(),
        }
    }

    fn report(&self, common: &Common, options: &args::Flow, before: &Snapshot, after: &Snapshot) -> Report {
        let ledgers = || self.publishers.iter().map(|it| &it.ledger);
        let delivered = after.delivered - before.delivered;
        let seconds = (after.at - before.at).as_secs_f64();
        let mut report = Report::default();
        report.text_figure("scenario", if options.shape == Shape::Pairs { "pairs" } else { "fan" });
        report.text_figure("mqtt", if common.mqtt == Dialect::Plain { "3.1.1" } else { "5.0" });
        report.count("publishers", self.publishers.len() as u64);
        report.count("subscribers", self.subscribers.len() as u64);
        report.count("qos", u64::from(options.qos));
        report.count("window", u64::from(options.window));
        report.count("payload_bytes", u64::from(options.payload));
        report.number("seconds", seconds);
        report.count("delivered", delivered);
        report.count("delivered_per_second", (delivered as f64 / seconds) as u64);
        if let (Some(old), Some(new)) = (before.broker, after.broker) {
            let cpu = new.cpu.saturating_sub(old.cpu).as_secs_f64();
            report.count("delivered_per_broker_cpu_second", (delivered as f64 / cpu) as u64);
            report.number("broker_cpu_percent", 100.0 * cpu / seconds);
            report.mebibytes("broker_resident_mib", new.resident);
        }
        let own = (after.own - before.own).as_secs_f64();
        report.number("generator_cpu_percent", 100.0 * own / seconds);
        report.count("latency_p50_us", self.latency.quantile(0.5) / 1000);
        report.count("latency_p99_us", self.latency.quantile(0.99) / 1000);
        report.fault("lost", ledgers().map(Ledger::lost).sum());
        report.fault("duplicates", ledgers().map(|it| it.duplicates).sum());
        report.fault("reordered", ledgers().map(|it| it.reordered).sum());
        report.fault("stalls", self.stalls);
        let open = self.publishers.iter().map(|it| u64::from(it.unacknowledged)).sum();
        report.fault("unacknowledged", open);
        report
    }
}

/// Durations in nanoseconds, sorted into 16 steps to each power of two.
struct Histogram(Vec<u64>);

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; 64 * 16])
    }
}

impl Histogram {
    fn add(&mut self, value: u64) {
        let value = value.max(16);
        let power = value.ilog2();
        let step = (value >> (power - 4)) & 15;
        self.0[(power as usize) * 16 + step as usize] += 1;
    }

    fn quantile(&self, share: f64) -> u64 {
        let rank = (self.0.iter().sum::<u64>() as f64 * share) as u64;
        let mut seen = 0;
        let reached = |count: &u64| {
            seen += count;
            seen > rank
        };
        let Some(index) = self.0.iter().position(reached) else { return 0 };
        (16 + index as u64 % 16) << (index / 16).saturating_sub(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_within_a_sixteenth() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|value| histogram.add(value * 1000));
        let median = histogram.quantile(0.5);
        assert!((470_000..=500_000).contains(&median), "{median}");
    }
}
