//! A client and a server machine on a virtual clock, joined by two byte queues instead of a socket.
//!
//! Everything that passes between them, and everything that they tell their caller, is a line of the trace. The caller
//! is played by the pair: it acknowledges at once, grants what is asked for and closes after a violation, unless told
//! to wait. Sessions survive [`Pair::cut`] and are resumed by the next [`Pair::connect`], as a broker would do it.
//! Leaves out: subscriptions; messages are published from either end by hand.

mod caller;

use std::time::Duration;

use gantline_protocol::{
    ClientConnection, ConnAck, Connect, DisconnectProperties, EncodeError, FixedHeader, Limits, Message,
    Moment, NotSent, Offer, Outbound, Packet, PacketId, ProtocolVersion, ReasonCode, Receipt, RequestError,
    ServerConnection, Session, SubAck, SubscribeFilter, SubscribeProperties, SubscriptionIds, TopicFilter,
    UnsubscribeProperties, Violation,
};

use self::caller::{Reaction, observe};
use crate::trace;

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client.
    Client,
    /// The server.
    Server,
}

impl End {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What belongs to one end.
#[derive(Debug, Default)]
struct Desk {
    /// Bytes that this end has written and the other has not yet read.
    out: Vec<u8>,
    /// The caller waits with its acknowledgements and answers.
    waits: bool,
    /// What this end writes gets lost, behind so many packets.
    loses: Option<u32>,
    receipts: Vec<Receipt>,
}

/// A client and a server. See the [module](self).
#[derive(Debug)]
pub struct Pair {
    now: Moment,
    offer: Offer,
    version: ProtocolVersion,
    client: Option<ClientConnection<Box<Session>>>,
    server: Option<ServerConnection<Box<Session>>>,
    client_session: Box<Session>,
    /// `None` where the server has no session of the client.
    server_session: Option<Box<Session>>,
    desks: [Desk; 2],
    next_tag: u32,
    trace: Vec<String>,
}

impl Default for Pair {
    fn default() -> Self {
        Self {
            now: Moment::ZERO,
            offer: Offer::default(),
            version: ProtocolVersion::default(),
            client: None,
            server: None,
            client_session: Box::default(),
            server_session: None,
            desks: Default::default(),
            next_tag: 1,
            trace: Vec::new(),
        }
    }
}

impl Pair {
    /// What the server offers on the next connection.
    pub const fn offer_mut(&mut self) -> &mut Offer {
        &mut self.offer
    }

    /// Connects the client anew. The session of either end goes on, unless CONNECT says otherwise.
    ///
    /// # Panics
    ///
    /// If `connect` cannot be encoded, or there is a connection still.
    pub fn connect(&mut self, connect: &Connect) {
        assert!(self.client.is_none(), "the last connection is to be cut first");
        self.version = connect.version;
        let session = std::mem::take(&mut self.client_session);
        let out = &mut self.desks[0].out;
        let client = ClientConnection::new(connect, session, self.now, out);
        self.client = Some(client.unwrap_or_else(|error: EncodeError| panic!("{error}")));
        self.settle();
    }

    /// Publishes from one end; the tag counts up from 1.
    pub fn publish(&mut self, from: End, message: &Message, subscription_ids: &[u32]) {
        let outbound = Outbound {
            tag: self.next_tag,
            subscription_ids: SubscriptionIds::new(subscription_ids),
            ..Outbound::new(message, self.now)
        };
        self.send(from, outbound);
    }

    /// Publishes a message that has been waiting for some time.
    pub fn publish_late(&mut self, from: End, message: &Message, waited: Duration) {
        let mut outbound = Outbound { tag: self.next_tag, ..Outbound::new(message, self.now) };
        if outbound.expires != Moment::NEVER {
            let expires = outbound.expires.as_millis().saturating_sub(waited.as_millis() as u64);
            outbound.expires = Moment::from_millis(expires);
        }
        self.send(from, outbound);
    }

    /// Acknowledges the open receipt of an end with this packet id.
    pub fn acknowledge(&mut self, at: End, id: PacketId, reason: ReasonCode) {
        let desk = &mut self.desks[at as usize];
        let Some(place) = desk.receipts.iter().position(|receipt| receipt.delivery().packet_id() == Some(id))
        else {
            return self.tell(at, "has no such receipt");
        };
        let receipt = desk.receipts.remove(place);
        self.settle_receipt(at, receipt, reason);
        self.settle();
    }

    /// Whether the caller of an end waits with its answers. When it waits no more, open receipts stay open.
    pub fn wait(&mut self, at: End, waits: bool) {
        self.desks[at as usize].waits = waits;
    }

    /// What an end writes is lost, behind so many packets from now on, until the connection is cut.
    pub fn lose(&mut self, at: End, after: u32) {
        self.desks[at as usize].loses = Some(after);
    }

    /// Subscribes from the client.
    pub fn subscribe(&mut self, filters: Vec<SubscribeFilter>, properties: SubscribeProperties) {
        let Some(client) = &mut self.client else { return self.tell(End::Client, "is not connected") };
        let asked = client.subscribe(filters, properties, &mut self.desks[0].out);
        self.asked(asked);
    }

    /// Unsubscribes from the client.
    pub fn unsubscribe(&mut self, filters: Vec<TopicFilter>) {
        let Some(client) = &mut self.client else { return self.tell(End::Client, "is not connected") };
        let asked = client.unsubscribe(filters, UnsubscribeProperties::default(), &mut self.desks[0].out);
        self.asked(asked);
    }

    /// Pings from the client.
    pub fn ping(&mut self) {
        if let Some(client) = &mut self.client {
            client.ping(self.now, &mut self.desks[0].out);
        }
        self.settle();
    }

    /// Answers a SUBSCRIBE whose answer was held back.
    pub fn suback(&mut self, suback: &SubAck) {
        let out = &mut self.desks[1].out;
        self.server.iter_mut().for_each(|server| server.suback(suback, out));
        self.settle();
    }

    /// Says goodbye from one end and closes.
    pub fn disconnect(&mut self, from: End, reason: ReasonCode, properties: &DisconnectProperties) {
        self.leave(from, reason, properties);
        self.cut();
    }

    /// Says goodbye from one end, which does not close yet.
    pub fn leave(&mut self, from: End, reason: ReasonCode, properties: &DisconnectProperties) {
        let out = &mut self.desks[from as usize].out;
        match from {
            End::Client => {
                self.client.iter_mut().for_each(|client| client.disconnect(reason, properties, out))
            }
            End::Server => {
                self.server.iter_mut().for_each(|server| server.disconnect(reason, properties, out))
            }
        }
        self.settle();
    }

    /// Sends a packet that the machine of this end would not send now.
    ///
    /// # Panics
    ///
    /// If the packet cannot be encoded.
    pub fn send_packet(&mut self, from: End, packet: &Packet) {
        let encoded = packet.encode(self.version, &mut self.desks[from as usize].out);
        encoded.unwrap_or_else(|error| panic!("{error}"));
        self.settle();
    }

    /// Sends bytes, which must be whole frames.
    pub fn send_bytes(&mut self, from: End, bytes: &[u8]) {
        self.desks[from as usize].out.extend_from_slice(bytes);
        self.settle();
    }

    /// Lets time pass; both ends are called when they asked for it.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now.plus(time);
        loop {
            let client = self.client.as_ref().map_or(Moment::NEVER, ClientConnection::next_timeout);
            let server = self.server.as_ref().map_or(Moment::NEVER, ServerConnection::next_timeout);
            let next = client.min(server);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            let late = if client <= server {
                let handled =
                    self.client.as_mut().map(|end| end.handle_timeout(self.now, &mut self.desks[0].out));
                (End::Client, handled)
            } else {
                let handled =
                    self.server.as_mut().map(|end| end.handle_timeout(self.now, &mut self.desks[1].out));
                (End::Server, handled)
            };
            let seconds = self.now.as_millis() as f64 / 1000.0;
            self.trace.push(format!("at {seconds} s"));
            if let (end, Some(Err(violation))) = late {
                self.violated(end, &violation);
            }
            self.settle();
        }
        self.now = end;
    }

    /// The connection breaks: what is under way is lost, both ends keep their sessions as they must.
    pub fn cut(&mut self) {
        for desk in &mut self.desks {
            *desk = Desk { waits: desk.waits, ..Desk::default() };
        }
        if let Some(client) = self.client.take() {
            self.client_session = client.into_session();
        }
        if let Some(server) = self.server.take() {
            let kept = server.limits().session_expiry_interval > 0;
            self.server_session = kept.then(|| server.into_session());
            self.trace.push("the connection is closed".to_owned());
        }
    }

    /// The server forgets the session of the client.
    pub fn forget(&mut self) {
        self.server_session = None;
    }

    /// Writes into the trace what an end has in flight.
    pub fn show(&mut self, at: End) {
        let (session, quota, open): (&Session, _, _) = match (at, &self.client, &self.server) {
            (End::Client, Some(client), _) => (client.session(), client.quota(), client.open_receipts()),
            (End::Server, _, Some(server)) => (server.session(), server.quota(), server.open_receipts()),
            (End::Client, None, _) => (&self.client_session, 0, 0),
            (End::Server, _, None) => match &self.server_session {
                Some(session) => (session, 0, 0),
                None => return self.tell(at, "has no session"),
            },
        };
        let in_flight = session.outgoing().iter().map(|entry| {
            let state = if entry.message.is_some() { "sent" } else { "released" };
            format!(" {}:{state}", entry.packet_id.get())
        });
        let unreleased = session.incoming().iter().map(|id| format!(" {}", id.get()));
        let line = format!(
            "quota={quota} receipts={open} outgoing:{} incoming:{}",
            in_flight.collect::<String>(),
            unreleased.collect::<String>()
        );
        self.tell(at, line);
    }

    /// Takes the trace since the last call.
    pub fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    fn send(&mut self, from: End, outbound: Outbound) {
        self.next_tag += 1;
        let out = &mut self.desks[from as usize].out;
        let sent = match from {
            End::Client => self.client.as_mut().map(|client| client.publish(self.now, outbound, out)),
            End::Server => self.server.as_mut().map(|server| server.publish(self.now, outbound, out)),
        };
        match sent {
            None => self.tell(from, "is not connected"),
            Some(Err(NotSent::TooLarge(_))) => self.tell(from, "not sent: too large"),
            Some(Err(NotSent::NoQuota(_))) => self.tell(from, "not sent: no quota"),
            Some(Err(NotSent::NotOffered(_, reason))) => self.tell(from, format!("not sent: {reason}")),
            Some(Err(other)) => self.tell(from, format!("not sent: {other:?}")),
            Some(Ok(())) => {}
        }
        self.settle();
    }

    fn asked(&mut self, asked: Result<PacketId, RequestError>) {
        if let Err(error) = asked {
            self.tell(End::Client, format!("not sent: {error}"));
        }
        self.settle();
    }

    /// Carries bytes back and forth until there are none.
    fn settle(&mut self) {
        loop {
            let from = match (&self.desks[0].out[..], &self.desks[1].out[..]) {
                ([_, ..], _) => End::Client,
                (_, [_, ..]) => End::Server,
                _ => return,
            };
            if from == End::Client
                && let Some(client) = &mut self.client
            {
                client.note_sent(self.now);
            }
            let bytes = std::mem::take(&mut self.desks[from as usize].out);
            for frame in frames(&bytes) {
                if self.client.is_none() {
                    break;
                }
                let loses = &mut self.desks[from as usize].loses;
                let is_lost = *loses == Some(0);
                *loses = loses.map(|after| after.saturating_sub(1));
                let arrow = if is_lost { "-> (lost)" } else { "->" };
                let line = trace::frame(frame, self.version);
                self.trace.push(format!("{} {arrow} {line}", from.name()));
                if !is_lost {
                    self.deliver(from.other(), frame);
                }
            }
        }
    }

    fn deliver(&mut self, at: End, frame: &[u8]) {
        let out = &mut self.desks[at as usize].out;
        let outcome = match (at, &mut self.client, &mut self.server) {
            (End::Client, Some(client), _) => client.receive(self.now, frame, out).map(observe),
            (End::Server, _, Some(server)) => server.receive(self.now, frame, out).map(observe),
            (End::Server, _, None) => return self.handshake(frame),
            (End::Client, None, _) => return,
        };
        match outcome {
            Err(violation) => self.violated(at, &violation),
            Ok((line, reaction)) => {
                if let Some(line) = line {
                    self.tell(at, line);
                }
                self.react(at, reaction);
            }
        }
    }

    /// The server's part of CONNECT, which is no machine's.
    fn handshake(&mut self, frame: &[u8]) {
        let connect = match Packet::decode(frame, self.version) {
            Ok(Packet::Connect(connect)) => connect,
            other => return self.tell(End::Server, format!("ignores {other:?}")),
        };
        let limits = Limits::for_server(&connect, &self.offer);
        let kept = self.server_session.take().filter(|_| !connect.clean_start);
        let session_present = kept.is_some();
        let mut connack = ConnAck { session_present, ..ConnAck::default() };
        limits.describe(&self.offer, &connect, &mut connack.properties);
        let out = &mut self.desks[1].out;
        connack.encode(connect.version, out).unwrap_or_else(|error| panic!("{error}"));
        let mut server = ServerConnection::new(limits, kept.unwrap_or_default(), self.now);
        if let Some(method) = connect.properties.authentication_method {
            server.set_authentication_method(method);
        }
        let dropped = server.resume(self.now, out);
        self.server = Some(server);
        for message in dropped {
            self.tell(End::Server, format!("drops {}", message.tag));
        }
    }

    fn react(&mut self, at: End, reaction: Reaction) {
        let desk = &mut self.desks[at as usize];
        match (reaction, &mut self.server) {
            (Reaction::Acknowledge(receipt), _) if desk.waits => desk.receipts.push(receipt),
            (Reaction::Acknowledge(receipt), _) => self.settle_receipt(at, receipt, ReasonCode::Success),
            (Reaction::Suback(suback), Some(server)) if !desk.waits => server.suback(&suback, &mut desk.out),
            (Reaction::Unsuback(unsuback), Some(server)) if !desk.waits => {
                server.unsuback(&unsuback, &mut desk.out)
            }
            (Reaction::Close(expiry), server) => {
                if let (End::Server, Some(server), Some(expiry)) = (at, server, expiry) {
                    server.limits_mut().session_expiry_interval =
                        expiry.min(self.offer.session_expiry_maximum);
                }
                self.cut();
            }
            _ => {}
        }
    }

    fn settle_receipt(&mut self, at: End, receipt: Receipt, reason: ReasonCode) {
        let out = &mut self.desks[at as usize].out;
        match at {
            End::Client => self.client.iter_mut().for_each(|end| end.acknowledge(receipt, reason, out)),
            End::Server => self.server.iter_mut().for_each(|end| end.acknowledge(receipt, reason, out)),
        }
    }

    fn violated(&mut self, at: End, violation: &Violation) {
        self.tell(at, format!("violation: {violation}"));
        let out = &mut self.desks[at as usize].out;
        match at {
            End::Client => self.client.iter_mut().for_each(|end| end.goodbye(violation, out)),
            End::Server => self.server.iter_mut().for_each(|end| end.goodbye(violation, out)),
        }
        self.settle();
        self.cut();
    }

    fn tell(&mut self, at: End, line: impl AsRef<str>) {
        self.trace.push(format!("{}: {}", at.name(), line.as_ref()));
    }
}

/// The frames in these bytes; what is no frame comes whole.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let length = match FixedHeader::parse(bytes) {
            Ok(Some(header)) => header.frame_len().min(bytes.len()),
            _ => bytes.len(),
        };
        let (frame, rest) = bytes.split_at(length);
        bytes = rest;
        Some(frame)
    })
}
