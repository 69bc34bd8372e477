//! Clients that subscribe and then never read, until they are thawed to see what the broker kept for them.
//!
//! Their sockets have small buffers, so that the broker meets its own bounds soon and not those of the system. Relates
//! to: `dial`, which makes them small. Leaves out: who publishes to them.

use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::bench::{
    dial::Buffers,
    failure::Failure,
    link::{self, Greeted, LONG_KEEP_ALIVE, Link, TICK},
    run::Run,
    wire::{self, connect::Session},
};

/// With nothing read from anybody for so long, all is read.
const QUIET: Duration = Duration::from_secs(1);

/// Clients that do not read.
pub(super) struct Frozen(Vec<Greeted>);

impl Frozen {
    /// Connects and subscribes one client to each of `filters`.
    pub(super) fn open(run: &Run, filters: &[String], qos: u8) -> Result<Self, Failure> {
        let open = |(index, filter): (usize, &String)| {
            let client_id = run.client_id("f", index);
            let stream = link::connect(run, &client_id, Buffers::Small)?;
            let mut greeted = Greeted::over(stream, run, client_id, LONG_KEEP_ALIVE, Session::Clean)?;
            greeted.subscribe(run, &[filter], qos)?;
            Ok(greeted)
        };
        filters.iter().enumerate().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Reads and acknowledges all that there is, and says how many messages each client got. A broker may have closed
    /// connections.
    pub(super) fn thaw(self, run: &Run) -> Result<Vec<u64>, Failure> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(1024);
        let mut scratch = vec![0; 256 * 1024];
        let mut clients = Vec::new();
        for (index, greeted) in self.0.into_iter().enumerate() {
            clients.push((Link::new(greeted, poll.registry(), Token(index))?, 0));
        }
        let mut moved = Instant::now();
        while moved.elapsed() < QUIET && !run.stop.is_set() {
            link::poll(&mut poll, &mut events, TICK)?;
            for event in &events {
                let (client, got) = &mut clients[event.token().0];
                let before = *got;
                match read(client, &mut scratch, got) {
                    Ok(()) | Err(Failure::Closed { .. }) => {}
                    Err(other) => return Err(other),
                }
                if *got > before {
                    moved = Instant::now();
                }
            }
        }
        Ok(clients.into_iter().map(|(_, got)| got).collect())
    }
}

fn read(client: &mut Link, scratch: &mut [u8], got: &mut u64) -> Result<(), Failure> {
    client.read(scratch, |first, body, out| {
        if first >> 4 != wire::PUBLISH {
            return;
        }
        *got += 1;
        // A QoS above 1 is not asked for.
        let id = wire::read_string(body).and_then(|(_, rest)| rest.first_chunk().copied());
        if let Some(id) = id.filter(|_| first & 0x06 != 0) {
            wire::ack(out, wire::PUBACK, id);
        }
    })?;
    client.flush()
}
