//! The connection loop: publishers and subscribers on one thread, what they send and what of it arrives.
//!
//! A message counts as delivered when a subscriber has read its PUBLISH. Scenarios say who publishes to whom
//! ([`Plan`]) and how fast ([`Pace`]), then let the loop run: for a time ([`Traffic::spin`]), until all is sent
//! ([`Traffic::send_all`]) or until all has arrived ([`Traffic::drain`]). Relates to: [`topology`], who gets what;
//! [`publisher`], one of the senders; [`sample`] and [`waits`], the figures. Leaves out: the scenarios.

pub(crate) mod publisher;
pub(crate) mod sample;
pub(crate) mod topology;
pub(crate) mod waits;

use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, event::Event};

use self::{
    publisher::{Pace, Publisher},
    sample::{Faults, Sample},
    topology::Topology,
    waits::Waits,
};
use super::{
    alarm::Alarm,
    args::Body,
    failure::Failure,
    histogram::Histogram,
    link::{self, Greeted, LONG_KEEP_ALIVE, Link, TICK},
    process,
    progress::Progress,
    run::Run,
    wire::{
        self,
        connect::Session,
        publish::{self, Outline, PublishTemplate},
    },
};

/// With nothing delivered for so long, what is missing counts as lost.
const STALL: Duration = Duration::from_secs(2);

/// What a scenario wants.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) scenario: &'static str,
    pub(crate) publishers: usize,
    pub(crate) topology: Topology,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) body: &'a Body,
    pub(crate) window: u32,
    pub(crate) pace: Pace,
}

/// The connections, and what went over them.
pub(crate) struct Traffic {
    run: Run,
    scenario: &'static str,
    prefix: Vec<u8>,
    poll: Poll,
    events: Events,
    alarm: Alarm,
    publishers: Vec<Publisher>,
    subscribers: Vec<Link>,
    /// How many messages each of them has got.
    received: Vec<u64>,
    /// Those that may have something to write.
    speaking: Vec<usize>,
    pace: Pace,
    scratch: Vec<u8>,
    line: Progress,
    started: Instant,
    /// When something was delivered or acknowledged last.
    moved: Instant,
    /// Messages that were due before, in nanoseconds since the start, are not in `latency`.
    counted_from: u64,
    delivered: u64,
    stalls: u64,
    is_cut_short: bool,
    latency: Histogram,
    /// How long after its due time a message was sent.
    late: Histogram,
    /// From when a message was sent to its acknowledgement, when that is of interest.
    waits: Histogram,
}

impl Traffic {
    /// Connects everybody who takes part, the subscribers first.
    pub(crate) fn open(run: &Run, plan: &Plan<'_>, line: Progress) -> Result<Self, Failure> {
        let now = Instant::now();
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry())?;
        let mut traffic = Self {
            run: run.clone(),
            scenario: plan.scenario,
            prefix: run.topic("").into_bytes(),
            poll,
            events: Events::with_capacity(1024),
            alarm,
            publishers: Vec::new(),
            subscribers: Vec::new(),
            received: Vec::new(),
            speaking: Vec::new(),
            pace: plan.pace,
            scratch: vec![0; 256 * 1024],
            line,
            started: now,
            moved: now,
            counted_from: 0,
            delivered: 0,
            stalls: 0,
            is_cut_short: false,
            latency: Histogram::default(),
            late: Histogram::default(),
            waits: Histogram::default(),
        };
        let mut receiving = Vec::new();
        let subscribers = plan.topology.subscribers(plan.publishers);
        for index in 0..subscribers {
            traffic.line.show(Instant::now(), || {
                format!("{}: {index} of {subscribers} subscribers connected", plan.scenario)
            });
            let mut greeted = Greeted::open(run, run.client_id("s", index), LONG_KEEP_ALIVE, Session::Clean)?;
            greeted.subscribe(run, &[plan.topology.filter(run, index)], plan.qos)?;
            receiving.push(greeted);
        }
        let mut sending = Vec::new();
        for turn in 0..plan.publishers {
            let index = plan.topology.publisher_at(turn);
            let greeted = Greeted::open(run, run.client_id("p", index), LONG_KEEP_ALIVE, Session::Clean)?;
            sending.push((index, greeted));
        }
        sending.sort_by_key(|(index, _)| *index);
        for (index, greeted) in sending {
            traffic.add_publisher(plan, index, greeted)?;
        }
        for greeted in receiving {
            traffic.add_subscriber(greeted, &[])?;
        }
        traffic.started = Instant::now();
        traffic.moved = traffic.started;
        Ok(traffic)
    }

    fn add_publisher(&mut self, plan: &Plan<'_>, index: usize, greeted: Greeted) -> Result<(), Failure> {
        let allowed = greeted.receive_maximum;
        let template = PublishTemplate::new(&Outline {
            dialect: self.run.dialect,
            topic: &self.run.topic(&plan.topology.topic(index)),
            turns: plan.topology.turns(index, plan.publishers),
            qos: plan.qos,
            retain: plan.retain,
            payload: plan.body.payload as usize,
            user_properties: plan.body.user_properties,
        });
        let link = Link::new(greeted, self.poll.registry(), Token(index))?;
        let ledger = plan.topology.ledger(plan.window, index);
        self.publishers.push(Publisher::new(index, link, template, ledger, plan.qos, plan.window, allowed));
        Ok(())
    }

    /// One more subscriber, which sends `bytes` first. All publishers are there by now.
    pub(crate) fn add_subscriber(&mut self, greeted: Greeted, bytes: &[u8]) -> Result<(), Failure> {
        let token = Token(self.publishers.len() + self.subscribers.len());
        let mut link = Link::new(greeted, self.poll.registry(), token)?;
        link.out.extend_from_slice(bytes);
        link.flush()?;
        self.subscribers.push(link);
        self.received.push(0);
        self.moved = Instant::now();
        // What came together with the CONNACK is no event any more.
        self.read_messages(self.subscribers.len() - 1, self.moved)
    }

    /// Sends for `duration`.
    pub(crate) fn spin(&mut self, duration: Duration) -> Result<(), Failure> {
        let end = Instant::now() + duration;
        loop {
            let now = Instant::now();
            if now >= end || self.run.stop.is_set() {
                return Ok(());
            }
            self.refill(now);
            let wait = self.until_due().map_or(Ok(TICK), |due| self.alarm.set(due))?;
            self.turn(wait.min(end - now))?;
            if self.moved.elapsed() > STALL && self.pace == Pace::Window {
                self.give_up();
            }
        }
    }

    /// Sends until each publisher has sent all and had it acknowledged.
    pub(crate) fn send_all(&mut self) -> Result<(), Failure> {
        while !self.publishers.iter().all(|it| it.is_done(self.pace)) && !self.run.stop.is_set() {
            self.refill(Instant::now());
            self.turn(TICK)?;
            if self.moved.elapsed() > link::PATIENCE {
                self.stalls += 1;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends nothing new, until all has arrived and is acknowledged, or nothing more comes. A run that is to end
    /// waits a moment only, and what did not come by then is not lost.
    pub(crate) fn drain(&mut self) -> Result<(), Failure> {
        self.moved = Instant::now();
        let mut stopping = None;
        while !self.publishers.iter().all(Publisher::is_settled) && self.moved.elapsed() < STALL {
            self.turn(TICK)?;
            if self.run.stop.is_set() && stopping.get_or_insert_with(Instant::now).elapsed() > STALL {
                self.is_cut_short = true;
                break;
            }
        }
        Ok(())
    }

    /// Latencies count from now on.
    pub(crate) fn count_latencies(&mut self) {
        self.latency = Histogram::default();
        self.late = Histogram::default();
        self.counted_from = self.since_start();
    }

    /// Waits for acknowledgements count from now on. Nothing is unacknowledged.
    pub(crate) fn count_waits(&mut self) {
        self.waits = Histogram::default();
        self.publishers.iter_mut().for_each(|it| it.waits = Some(Waits::default()));
    }

    /// Does something else, and nothing becomes due meanwhile.
    pub(crate) fn pause<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let began = Instant::now();
        let done = work(self);
        self.started += began.elapsed();
        done
    }

    /// Where things stand.
    pub(crate) fn sample(&self) -> Sample {
        Sample {
            at: Instant::now(),
            delivered: self.delivered,
            sent: self.publishers.iter().map(Publisher::sent).sum(),
            broker: self.run.usage(),
            own: process::own_cpu(),
        }
    }

    /// Where things stood when something moved last: the wait for what did not come is no part of a rate.
    pub(crate) fn last_sample(&self) -> Sample {
        Sample { at: self.moved, ..self.sample() }
    }

    /// What went wrong so far.
    pub(crate) fn faults(&self) -> Faults {
        let sum = |of: fn(&Publisher) -> u64| self.publishers.iter().map(of).sum();
        Faults {
            lost: if self.is_cut_short { 0 } else { sum(|it| it.ledger.lost()) },
            duplicates: sum(|it| it.ledger.duplicates),
            reordered: sum(|it| it.ledger.reordered),
            refused: sum(|it| it.refused),
            unacknowledged: if self.is_cut_short { 0 } else { sum(Publisher::unacknowledged) },
            stalls: self.stalls,
        }
    }

    /// From when a message was due to when it arrived, in nanoseconds.
    pub(crate) const fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// From when a message was due to when it was sent, in nanoseconds.
    pub(crate) const fn late(&self) -> &Histogram {
        &self.late
    }

    /// From when a message was sent to its acknowledgement, in nanoseconds, of all publishers.
    pub(crate) const fn waits(&self) -> &Histogram {
        &self.waits
    }

    /// For how long each publisher waits.
    pub(crate) fn waits_of_each(&self) -> impl Iterator<Item = &Waits> {
        self.publishers.iter().filter_map(|it| it.waits.as_ref())
    }

    /// How many messages each subscriber has got so far.
    pub(crate) fn received(&self) -> &[u64] {
        &self.received
    }

    fn since_start(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// How long until the next message is due, if they have due times.
    fn until_due(&self) -> Option<Duration> {
        let now = self.since_start();
        let next = |it: &Publisher| it.next_due(self.pace, self.publishers.len());
        let due = self.publishers.iter().filter_map(next).min()?;
        Some(Duration::from_nanos(due.saturating_sub(now)))
    }

    fn refill(&mut self, now: Instant) {
        let now = (now - self.started).as_nanos() as u64;
        let count = self.publishers.len();
        for publisher in &mut self.publishers {
            publisher.refill(self.pace, count, now, &mut self.late);
        }
    }

    /// One write for each connection that has something to say, then one look at what has come.
    fn turn(&mut self, wait: Duration) -> Result<(), Failure> {
        for publisher in &mut self.publishers {
            publisher.link.flush_or_explain(&mut self.scratch)?;
        }
        for index in self.speaking.drain(..) {
            self.subscribers[index].flush_or_explain(&mut self.scratch)?;
        }
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = link::poll(&mut self.poll, &mut events, wait);
        let now = Instant::now();
        let outcome = polled.and_then(|()| {
            let is_ours = |event: &&Event| !Alarm::rang(event);
            events.iter().filter(is_ours).try_for_each(|event| {
                // What the socket did not take before it may take now.
                if event.is_writable() && event.token().0 >= self.publishers.len() {
                    self.speaking.push(event.token().0 - self.publishers.len());
                }
                if !event.is_readable() {
                    return Ok(());
                }
                self.read(event.token().0, now)?;
                // A short read leaves the end of the stream behind, for which there is no other event.
                if event.is_read_closed() { self.read(event.token().0, now) } else { Ok(()) }
            })
        });
        self.events = events;
        self.show(now);
        outcome
    }

    fn read(&mut self, token: usize, now: Instant) -> Result<(), Failure> {
        if token >= self.publishers.len() {
            return self.read_messages(token - self.publishers.len(), now);
        }
        let elapsed = (now - self.started).as_nanos() as u64;
        if self.publishers[token].read_acks(&mut self.scratch, elapsed, &mut self.waits)? {
            self.moved = now;
        }
        Ok(())
    }

    fn read_messages(&mut self, index: usize, now: Instant) -> Result<(), Failure> {
        let elapsed = (now - self.started).as_nanos() as u64;
        let Self { publishers, latency, prefix, run, counted_from, .. } = self;
        let mut delivered = 0;
        let each = |first: u8, body: &[u8], out: &mut Vec<u8>| match (first >> 4, body) {
            (wire::PUBLISH, body) => {
                let Some(message) = publish::incoming(run.dialect, first, body) else { return };
                match message.qos {
                    0 => {}
                    1 => wire::ack(out, wire::PUBACK, message.id),
                    _ => wire::ack(out, wire::PUBREC, message.id),
                }
                let Some(mark) = message.mark.filter(|_| message.topic.starts_with(prefix)) else { return };
                let (publisher, sequence) = publisher::parse_label(mark.label);
                let Some(publisher) = publishers.get_mut(publisher) else { return };
                publisher.ledger.arrived(index, sequence);
                if mark.stamp >= *counted_from {
                    latency.add(elapsed.saturating_sub(mark.stamp));
                }
                delivered += 1;
            }
            (wire::PUBREL, &[high, low, ..]) => wire::ack(out, wire::PUBCOMP, [high, low]),
            _ => {}
        };
        self.subscribers[index].read(&mut self.scratch, each)?;
        if !self.subscribers[index].out.is_empty() {
            self.speaking.push(index);
        }
        if delivered > 0 {
            self.received[index] += delivered;
            self.delivered += delivered;
            self.moved = now;
        }
        Ok(())
    }

    /// Nothing comes any more: opens the windows again, what is out counts as lost unless it comes later.
    fn give_up(&mut self) {
        self.stalls += 1;
        self.moved = Instant::now();
        self.publishers.iter_mut().for_each(|it| it.ledger.give_up());
    }

    fn show(&mut self, now: Instant) {
        let (scenario, delivered) = (self.scenario, self.delivered);
        let (publishers, started) = (&self.publishers, self.started);
        self.line.show(now, || {
            let sent: u64 = publishers.iter().map(Publisher::sent).sum();
            let seconds = (now - started).as_secs_f64();
            let rate = (sent.max(delivered)) as f64 / seconds;
            format!("{scenario}: {seconds:.1} s, {sent} sent, {delivered} delivered, {rate:.0}/s")
        });
    }
}
