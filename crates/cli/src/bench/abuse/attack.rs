//! Plays a case: opens its connections, sends, and notes how and when the broker ends each.
//!
//! Relates to: [`Link`], which a connection is from its opening on. Leaves out: whether that was right.

use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::case::{Case, Ending, Expected, Opening, Then};
use crate::bench::{
    args,
    dial::Buffers,
    failure::Failure,
    link::{self, Greeted, Link},
    run::Run,
    stop::Stop,
    wire::{self, connect::Session},
};

/// How often a byte trickles.
const DROP: Duration = Duration::from_secs(1);

/// Plays `case` until the broker has closed all, or time is up. Says how each connection ended.
pub(crate) fn play(run: &Run, options: &args::Abuse, case: &Case) -> Result<Vec<Ending>, Failure> {
    let limit = if case.expected == Expected::Any { options.hold } else { options.patience };
    let mut attack = Attack::open(run, case)?;
    attack.send(case)?;
    attack.watch(case.then, limit, &run.stop)?;
    Ok(attack.targets.into_iter().map(|it| it.ending).collect())
}

struct Attack {
    poll: Poll,
    targets: Vec<Target>,
    scratch: Vec<u8>,
}

struct Target {
    link: Link,
    sent: Instant,
    ending: Ending,
}

impl Attack {
    fn open(run: &Run, case: &Case) -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let open = |index: u32| -> Result<Target, Failure> {
            let token = Token(index as usize);
            let client_id = run.client_id("abuse", index as usize);
            let link = match case.opening {
                Opening::Stranger => Link::from_stream(
                    link::connect(run, &client_id, Buffers::Usual)?,
                    client_id,
                    poll.registry(),
                    token,
                )?,
                Opening::Client { keep_alive } => {
                    let greeted = Greeted::open(run, client_id, keep_alive, Session::Clean)?;
                    Link::new(greeted, poll.registry(), token)?
                }
            };
            Ok(Target { link, sent: Instant::now(), ending: Ending::default() })
        };
        let targets = (0..case.connections).map(open).collect::<Result<_, _>>()?;
        Ok(Self { poll, targets, scratch: vec![0; 64 * 1024] })
    }

    fn send(&mut self, case: &Case) -> Result<(), Failure> {
        for (index, target) in (0..).zip(&mut self.targets) {
            target.link.out = (case.bytes)(index);
            target.sent = Instant::now();
            target.flush(&mut self.scratch);
            if case.then == Then::Finish {
                target.link.finish()?;
            }
        }
        Ok(())
    }

    /// Until all are closed, at most for `limit`.
    fn watch(&mut self, then: Then, limit: Duration, stop: &Stop) -> Result<(), Failure> {
        let mut events = Events::with_capacity(1024);
        let end = Instant::now() + limit;
        let mut drop_at = if then == Then::Trickle { Instant::now() + DROP } else { end };
        loop {
            let now = Instant::now();
            if now >= end || stop.is_set() || self.targets.iter().all(Target::is_closed) {
                return Ok(());
            }
            if now >= drop_at {
                drop_at += DROP;
                for target in self.targets.iter_mut().filter(|it| !it.is_closed()) {
                    target.link.out.push(0);
                    target.flush(&mut self.scratch);
                }
            }
            let wait = drop_at.min(end).saturating_duration_since(now).min(link::TICK);
            link::poll(&mut self.poll, &mut events, wait)?;
            for event in events.iter().filter(|event| event.is_readable()) {
                if let Some(target) = self.targets.get_mut(event.token().0) {
                    target.read(&mut self.scratch);
                }
            }
        }
    }
}

impl Target {
    const fn is_closed(&self) -> bool {
        self.ending.closed_after.is_some()
    }

    /// Writes; when that fails, what the broker said before it closed is still to be read.
    fn flush(&mut self, scratch: &mut [u8]) {
        if self.link.flush().is_err() {
            self.read(scratch);
            self.close();
        }
    }

    fn read(&mut self, scratch: &mut [u8]) {
        // A short read leaves the end of the stream behind, for which there is no other event: read again.
        for _ in 0..2 {
            if self.is_closed() {
                return;
            }
            let told = &mut self.ending.told;
            let read = self.link.read(scratch, |first, body, _| match first >> 4 {
                wire::CONNACK => *told = Some((wire::CONNACK, body.get(1).copied().unwrap_or(0))),
                wire::GOODBYE => *told = Some((wire::GOODBYE, body.first().copied().unwrap_or(0))),
                _ => {}
            });
            if read.is_err() {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        self.ending.closed_after.get_or_insert_with(|| self.sent.elapsed());
    }
}
