//! The scenario `relay`: no load but its other end, the floor under what a broker can cost.
//!
//! It listens like a broker, on one thread. Packets are looked at until a connection publishes for the first
//! time; from then on its bytes are copied to whoever subscribes to that topic, as they come: only lengths are
//! read, because several publishers may meet in one subscriber. The acknowledgements of a subscriber with a
//! topic of its own are copied back in the same way, so QoS 1 and 2 work one to one; subscribers with wildcards
//! are granted QoS 0. Leaves out: everything else that a broker does.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, Write},
    mem,
};

use mio::{Events, Interest, Poll, Token, net::TcpListener};

use super::{
    args,
    failure::Failure,
    link::{self, Link},
    place::resolve_plain,
    report::Report,
    socket::Socket,
    stop::Stop,
    wire::{self, Dialect},
};

const LISTENER: Token = Token(usize::MAX);
/// Who does not read for so many bytes is dropped.
const MOST_UNWRITTEN: usize = 64 << 20;

/// Relays until it is time to stop.
pub(crate) fn run(options: &args::Relay, stop: &Stop) -> Result<Report, Failure> {
    let mut relay = Relay::listen(options)?;
    let mut events = Events::with_capacity(1024);
    while !stop.is_set() {
        link::poll(&mut relay.poll, &mut events, link::TICK)?;
        for event in &events {
            match event.token() {
                LISTENER => relay.accept()?,
                Token(index) => relay.serve(index, event.is_read_closed()),
            }
        }
        relay.flush();
    }
    let mut report = Report::new("relay");
    report.count("connections", relay.accepted as u64);
    report.count("copied_bytes", relay.copied);
    Ok(report)
}

struct Relay {
    poll: Poll,
    listener: TcpListener,
    peers: HashMap<usize, Peer>,
    /// Numbers of connections are not used again, so a route never leads to a stranger.
    accepted: usize,
    /// Who subscribes to what.
    filters: HashMap<Vec<u8>, Vec<usize>>,
    /// Who has output to be written.
    dirty: BTreeSet<usize>,
    scratch: Vec<u8>,
    copied: u64,
}

struct Peer {
    link: Link,
    dialect: Dialect,
    /// Where its bytes go. While it is empty, its packets are looked at.
    route: Vec<usize>,
}

impl Relay {
    fn listen(options: &args::Relay) -> Result<Self, Failure> {
        let url = &options.listen;
        let none = || Failure::Address(format!("{url} has no socket address"));
        let address = resolve_plain(url)?.first().copied().ok_or_else(none)?;
        let open = || {
            let poll = Poll::new()?;
            let mut listener = TcpListener::bind(address)?;
            poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
            // Nobody may be reading, and the relay works all the same.
            let _ = writeln!(io::stdout(), "relaying on mqtt://{}", listener.local_addr()?);
            Ok((poll, listener))
        };
        let (poll, listener) = open().map_err(Failure::system(format!("listening on {url}")))?;
        Ok(Self {
            poll,
            listener,
            peers: HashMap::new(),
            accepted: 0,
            filters: HashMap::new(),
            dirty: BTreeSet::new(),
            scratch: vec![0; 256 * 1024],
            copied: 0,
        })
    }

    fn accept(&mut self) -> Result<(), Failure> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Failure::system("accepting a connection")(error)),
            };
            let index = self.accepted;
            self.accepted += 1;
            // Who is gone by now is not missed.
            if stream.set_nodelay(true).is_ok() {
                let client = format!("peer {index}");
                let link = Link::from_stream(
                    Socket::plain(stream.into()),
                    client,
                    self.poll.registry(),
                    Token(index),
                )?;
                self.peers.insert(index, Peer { link, dialect: Dialect::Plain, route: Vec::new() });
            }
        }
    }

    /// Reads what has come from a peer; writes what could not be written to it before.
    fn serve(&mut self, index: usize, is_closed: bool) {
        let Some(mut peer) = self.peers.remove(&index) else { return };
        let mut scratch = mem::take(&mut self.scratch);
        let Peer { link, dialect, route } = &mut peer;
        let take = |bytes: &[u8], out: &mut Vec<u8>| {
            let mut used = 0;
            while route.is_empty() {
                let Some((first, body, length)) = wire::first_frame(&bytes[used..]) else { return used };
                if first >> 4 == wire::PUBLISH {
                    *route = self.route(index, body);
                }
                if route.is_empty() {
                    self.answer(index, dialect, first, body, out);
                    used += length;
                }
            }
            used + self.copy(route, &bytes[used..])
        };
        let served = link.read_bytes(&mut scratch, take);
        self.scratch = scratch;
        self.dirty.insert(index);
        if served.is_ok() && !is_closed {
            self.peers.insert(index, peer);
        } else {
            self.filters.values_mut().for_each(|who| who.retain(|it| *it != index));
        }
    }

    /// Copies whole packets, and says how many bytes those are.
    fn copy(&mut self, route: &[usize], bytes: &[u8]) -> usize {
        let whole = wire::frames(bytes, |_, _| {});
        for target in route {
            if let Some(target) = self.peers.get_mut(target) {
                target.link.out.extend_from_slice(&bytes[..whole]);
            }
        }
        self.dirty.extend(route);
        self.copied += (whole * route.len()) as u64;
        whole
    }

    /// Who gets what `publisher` says; a subscriber with this topic of its own answers to it from now on.
    fn route(&mut self, publisher: usize, body: &[u8]) -> Vec<usize> {
        let Some((topic, _)) = wire::read_string(body) else { return Vec::new() };
        let own = self.filters.get(topic).cloned().unwrap_or_default();
        if let &[only] = &own[..]
            && let Some(subscriber) = self.peers.get_mut(&only)
        {
            subscriber.route = vec![publisher];
        }
        let levels = topic.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let wildcard = [&topic[..levels], b"+"].concat();
        let all = self.filters.get(&wildcard).cloned().unwrap_or_default();
        [own, all].concat()
    }

    /// Answers as a broker would, to the little that it understands. A message for nobody is dropped.
    fn answer(&mut self, index: usize, dialect: &mut Dialect, first: u8, body: &[u8], out: &mut Vec<u8>) {
        match first >> 4 {
            wire::CONNECT => {
                let level = wire::read_string(body).and_then(|(_, rest)| rest.first().copied());
                *dialect = if level == Some(5) { Dialect::Properties } else { Dialect::Plain };
                let mut connack = vec![0, 0];
                dialect.no_properties(&mut connack);
                wire::frame(out, wire::CONNACK << 4, &connack);
            }
            wire::SUBSCRIBE => {
                let mut suback = body.get(..2).unwrap_or_default().to_vec();
                dialect.no_properties(&mut suback);
                let mut rest = body.get(2..).and_then(|it| wire::skip_properties(*dialect, it));
                while let Some((filter, [options, behind @ ..])) = rest.and_then(wire::read_string) {
                    suback.push(self.subscribe(index, filter, *options));
                    rest = Some(behind);
                }
                wire::frame(out, wire::SUBACK << 4, &suback);
            }
            wire::PING => out.extend([wire::PINGRESP << 4, 0]),
            _ => {}
        }
    }

    /// Notes a subscription, and returns the code of SUBACK for it.
    fn subscribe(&mut self, index: usize, filter: &[u8], options: u8) -> u8 {
        let has_wildcard = filter.iter().any(|byte| b"+#".contains(byte));
        let is_last_level = filter.strip_suffix(b"+").is_some_and(|it| !it.iter().any(|b| b"+#".contains(b)));
        if filter.starts_with(b"$") || (has_wildcard && !is_last_level) {
            return 0x80;
        }
        self.filters.entry(filter.to_vec()).or_default().push(index);
        if has_wildcard { 0 } else { options & 3 }
    }

    fn flush(&mut self) {
        for index in mem::take(&mut self.dirty) {
            let Some(peer) = self.peers.get_mut(&index) else { continue };
            if peer.link.flush().is_err() || peer.link.unwritten() > MOST_UNWRITTEN {
                self.peers.remove(&index);
            }
        }
    }
}
