//! Plays a case: opens its connections, sends, and notes how and when the broker ends each.
//!
//! Relates to: [`Link`], which a connection is from its opening on. Leaves out: whether that was right.

use std::{
    io,
    net::TcpStream,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};

use super::case::{Case, Ending, Expected, Opening, Then};
use crate::{
    args::{self, Common},
    link::{self, Link},
    wire,
};

/// How often a byte trickles.
const DROP: Duration = Duration::from_secs(1);

/// Plays `case` until the broker has closed all, or time is up. Says how each connection ended.
pub(crate) fn play(common: &Common, options: &args::Abuse, case: &Case) -> io::Result<Vec<Ending>> {
    let limit = if case.expected == Expected::Any { options.hold } else { options.patience };
    let mut attack = Attack::open(common, case)?;
    attack.send(case)?;
    attack.watch(case.then, limit)?;
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
    fn open(common: &Common, case: &Case) -> io::Result<Self> {
        let broker = common.address()?;
        let poll = Poll::new()?;
        let open = |index: u32| -> io::Result<Target> {
            let stream = match case.opening {
                Opening::Stranger => TcpStream::connect(broker)?,
                Opening::Client { keep_alive } => {
                    let client_id = format!("load-{}-abuse-{index}", std::process::id());
                    link::open(broker, common.mqtt, &client_id, keep_alive)?.0
                }
            };
            let link = Link::new(stream, poll.registry(), Token(index as usize))?;
            Ok(Target { link, sent: Instant::now(), ending: Ending::default() })
        };
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", case.name));
        let targets = (0..case.connections).map(open).collect::<io::Result<_>>().map_err(told)?;
        Ok(Self { poll, targets, scratch: vec![0; 64 * 1024] })
    }

    fn send(&mut self, case: &Case) -> io::Result<()> {
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
    fn watch(&mut self, then: Then, limit: Duration) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let end = Instant::now() + limit;
        let mut drop_at = if then == Then::Trickle { Instant::now() + DROP } else { end };
        loop {
            let now = Instant::now();
            if now >= end || self.targets.iter().all(Target::is_closed) {
                return Ok(());
            }
            if now >= drop_at {
                drop_at += DROP;
                for target in self.targets.iter_mut().filter(|it| !it.is_closed()) {
                    target.link.out.push(0);
                    target.flush(&mut self.scratch);
                }
            }
            self.poll.poll(&mut events, Some(drop_at.min(end).saturating_duration_since(now)))?;
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
