//! The client's end of a connection, from CONNECT to DISCONNECT.
//!
//! Relates to: `link.rs` for everything that both ends do. Leaves out: who waits for which answer, and reconnecting.

use std::ops::DerefMut;

use super::keep_alive::{Due, Pings};
use super::link::{Phase, only_header, unfit};
use super::receiving::Sender;
use super::{Connected, Connection, Receipt, Received};
use crate::codec::FixedHeader;
use crate::error::{EncodeError, Rule, Violation};
use crate::limits::Limits;
use crate::packet::{
    Ack, ConnAck, Connect, Disconnect, PacketType, PublishRef, SubAck, Subscribe, SubscribeFilter, UnsubAck,
    Unsubscribe,
};
use crate::packet_id::PacketId;
use crate::properties::{DisconnectProperties, SubscribeProperties, UnsubscribeProperties};
use crate::reason_code::ReasonCode;
use crate::session::{Lost, Request, Session};
use crate::time::Moment;
use crate::topic::TopicFilter;
use crate::version::ProtocolVersion;

/// The client's end of a connection.
pub type ClientConnection<S> = Connection<ClientSide, S>;

/// The role of [`ClientConnection`].
#[derive(Debug)]
pub struct ClientSide {
    /// What we asked for, without who we are, until it is answered.
    connect: Option<Box<Connect>>,
    pings: Pings,
}

/// Why a SUBSCRIBE or UNSUBSCRIBE was not sent. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server has not accepted the connection, or it is over.
    #[error("the connection is not open")]
    NotOpen,
    /// A SUBSCRIBE or UNSUBSCRIBE has at least one filter [MQTT-3.8.3-2].
    #[error("there is no topic filter in the request")]
    NoFilter,
    /// All 65,535 packet ids are in use: wait for acknowledgements.
    #[error("all packet ids are in use")]
    NoPacketId,
    /// It is larger than the server's Maximum Packet Size.
    #[error("the packet has {length} bytes and the server accepts {maximum}")]
    TooLarge {
        /// The bytes of the packet.
        length: usize,
        /// The server's maximum.
        maximum: u32,
    },
    /// The server said in CONNACK that it does not offer this.
    #[error("the server does not offer this: {0}")]
    NotOffered(ReasonCode),
    /// A field cannot be expressed.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl<S: DerefMut<Target = Session>> Connection<ClientSide, S> {
    /// The machine of a new connection; writes CONNECT. Nothing else can be sent until [`Received::Connected`].
    ///
    /// The session is the one that the client holds for its client id, also if it is empty: a server that has more
    /// than we remember is not at fault.
    ///
    /// Of `connect` nothing is kept that names or proves who the client is, so that the caller can erase it.
    ///
    /// # Errors
    ///
    /// A field of `connect` cannot be expressed.
    pub fn new(connect: &Connect, session: S, now: Moment, out: &mut Vec<u8>) -> Result<Self, EncodeError> {
        connect.encode(connect.version, out)?;
        let limits = Limits::for_client(connect, &ConnAck::default());
        let method = connect.properties.authentication_method.as_deref().map(Into::into);
        let role = ClientSide { connect: Some(Box::new(terms_of(connect))), pings: Pings::new(now) };
        Ok(Self { method, ..Self::with_role(role, Phase::Opening, limits, session, now) })
    }

    /// Looks at one whole packet, fixed header included. What is to be answered without the caller is appended to
    /// `out`. Behind a goodbye, of whichever side, packets are disregarded.
    ///
    /// # Errors
    ///
    /// The server broke a rule. The connection cannot go on: [`goodbye`](Connection::goodbye), then close.
    #[inline]
    pub fn receive<'a>(
        &'a mut self,
        now: Moment,
        frame: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Received<'a>, Violation> {
        self.note_received(now);
        if self.phase == Phase::Closed {
            return Ok(Received::Handled);
        }
        let (header, body) = self.open_frame(frame)?;
        let kind = header.packet_type;
        if self.phase == Phase::Opening {
            return self.receive_first(now, header, body, out);
        }
        if kind == PacketType::Publish {
            return self.take_publish(Sender::Server, header.flags, body, out).map(Received::publish);
        }
        let version = self.limits.version;
        header.check_flags(version)?;
        match kind {
            PacketType::PubAck | PacketType::PubRec | PacketType::PubComp => {
                with_properties(self.receive_ack(now, kind, body, out)?, kind, body, version)
            }
            PacketType::PubRel => self.receive_pubrel(body, out),
            PacketType::PingResp => {
                only_header(kind, body)?;
                self.role.pings.answered();
                Ok(Received::Pong)
            }
            PacketType::SubAck => {
                let suback = SubAck::decode(body, header.flags, version)?;
                self.answered(kind, suback.packet_id, suback.reasons.len())?;
                Ok(Received::SubAck(suback))
            }
            PacketType::UnsubAck => {
                let mut unsuback = UnsubAck::decode(body, header.flags, version)?;
                let given = version.has_reason_codes().then_some(unsuback.reasons.len());
                let filters = self.answered(kind, unsuback.packet_id, given)?;
                unsuback.reasons.resize(filters, ReasonCode::Success);
                Ok(Received::UnsubAck(unsuback))
            }
            PacketType::Disconnect if version.server_may_disconnect() => {
                let disconnect = Disconnect::decode(body, header.flags, version)?;
                // The expiry of the session is the client's to say [MQTT-3.14.2-2].
                if disconnect.properties.session_expiry_interval.is_some() {
                    return Err(Violation::new(Rule::SessionExpiryFromServer).in_packet(kind));
                }
                self.phase = Phase::Closed;
                Ok(Received::Disconnect(disconnect))
            }
            PacketType::Auth => self.receive_step(header, body),
            _ => Err(Violation::new(Rule::UnexpectedPacket).in_packet(kind)),
        }
    }

    /// As [`receive`](Self::receive), for a frame that is known to be a PUBLISH: the way of most packets, which need
    /// not carry what only others have. `None` if the machine has done what was to be done.
    ///
    /// # Errors
    ///
    /// The server broke a rule.
    #[inline]
    pub fn receive_publish<'a>(
        &'a mut self,
        now: Moment,
        frame: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(PublishRef<'a>, Receipt)>, Violation> {
        self.note_received(now);
        match self.phase {
            Phase::Open => self.open_publish(Sender::Server, frame, out),
            Phase::Opening => Err(Violation::new(Rule::UnexpectedPacket).in_packet(PacketType::Publish)),
            Phase::Closed => Ok(None),
        }
    }

    /// Subscribes; answered with [`Received::SubAck`] of the returned id.
    ///
    /// # Errors
    ///
    /// See [`RequestError`]; nothing was sent.
    pub fn subscribe(
        &mut self,
        filters: Vec<SubscribeFilter>,
        properties: SubscribeProperties,
        out: &mut Vec<u8>,
    ) -> Result<PacketId, RequestError> {
        let limits = &self.limits;
        let offered = |wanted: bool, available: bool, reason: ReasonCode| {
            if wanted && !available { Err(RequestError::NotOffered(reason)) } else { Ok(()) }
        };
        let any = |wanted: fn(&TopicFilter) -> bool| filters.iter().any(|filter| wanted(&filter.filter));
        offered(
            any(TopicFilter::has_wildcard),
            limits.wildcard_subscriptions_available,
            ReasonCode::WildcardSubscriptionsNotSupported,
        )?;
        offered(
            any(|filter| filter.group().is_some()),
            limits.shared_subscriptions_available,
            ReasonCode::SharedSubscriptionsNotSupported,
        )?;
        offered(
            properties.subscription_identifier.is_some(),
            limits.subscription_identifiers_available,
            ReasonCode::SubscriptionIdentifiersNotSupported,
        )?;
        let version = limits.version;
        self.request(PacketType::SubAck, filters.len(), out, |packet_id, out| {
            Subscribe { packet_id, filters, properties }.encode(version, out)
        })
    }

    /// Unsubscribes; answered with [`Received::UnsubAck`] of the returned id.
    ///
    /// # Errors
    ///
    /// See [`RequestError`]; nothing was sent.
    pub fn unsubscribe(
        &mut self,
        filters: Vec<TopicFilter>,
        properties: UnsubscribeProperties,
        out: &mut Vec<u8>,
    ) -> Result<PacketId, RequestError> {
        let version = self.limits.version;
        self.request(PacketType::UnsubAck, filters.len(), out, |packet_id, out| {
            Unsubscribe { packet_id, filters, properties }.encode(version, out)
        })
    }

    /// Sends PINGREQ; answered with [`Received::Pong`]. Without an answer in one keep alive (30 s without keep alive)
    /// [`handle_timeout`](Self::handle_timeout) fails.
    pub fn ping(&mut self, now: Moment, out: &mut Vec<u8>) {
        if self.is_open() {
            out.extend_from_slice(&PINGREQ);
            self.role.pings.pinged(now);
        }
    }

    /// Ends the connection from our side. The caller closes when `out` is written.
    ///
    /// To have the will published, a version without reasons can only close without DISCONNECT: then nothing is
    /// written for [`ReasonCode::DisconnectWithWillMessage`]. A session expiry is left out if CONNECT asked for none
    /// (section 3.14.2.2.2), a server reference always.
    pub fn disconnect(&mut self, reason: ReasonCode, properties: &DisconnectProperties, out: &mut Vec<u8>) {
        let silent = reason != ReasonCode::Success && !self.limits.version.has_reason_codes();
        if self.is_open() && !silent {
            let mut properties = DisconnectProperties { server_reference: None, ..properties.clone() };
            if !self.limits.session_expiry_requested {
                properties.session_expiry_interval = None;
            }
            self.write_disconnect(reason, properties, out);
        }
        self.phase = Phase::Closed;
    }

    /// Bytes came, be it of a packet that is not whole yet: the server lives.
    #[inline]
    pub fn note_received(&mut self, now: Moment) {
        self.last_received = now;
        self.role.pings.received(now);
    }

    /// Bytes were written to the server: the keep alive counts from here. Whoever writes `out` says so.
    pub fn note_sent(&mut self, now: Moment) {
        self.role.pings.sent(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_timeout(&self) -> Moment {
        if self.is_open() { self.role.pings.next(self.limits.keep_alive) } else { Moment::NEVER }
    }

    /// Time has come, or not yet: pings where nothing was sent for the keep alive [MQTT-3.1.2-20].
    ///
    /// # Errors
    ///
    /// A ping was not answered within one keep alive and nothing else came: close. Nobody is there to be told why, and
    /// the reason is the server's to give, so that [`goodbye`](Connection::goodbye) writes nothing.
    pub fn handle_timeout(&mut self, now: Moment, out: &mut Vec<u8>) -> Result<(), Violation> {
        if !self.is_open() {
            return Ok(());
        }
        match self.role.pings.due(self.limits.keep_alive, now) {
            Due::Nothing => Ok(()),
            Due::Ping => {
                self.ping(now, out);
                Ok(())
            }
            Due::GiveUp => {
                self.phase = Phase::Closed;
                Err(Rule::PingUnanswered.into())
            }
        }
    }

    /// Until CONNACK the server sends nothing else but AUTH [MQTT-3.2.0-1].
    fn receive_first(
        &mut self,
        now: Moment,
        header: FixedHeader,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Received<'static>, Violation> {
        match header.packet_type {
            PacketType::ConnAck => {
                let connack = ConnAck::decode(body, header.flags, self.limits.version)?;
                self.connected(now, connack, out)
            }
            PacketType::Auth => self.receive_step(header, body),
            kind => Err(Violation::new(Rule::UnexpectedPacket).in_packet(kind)),
        }
    }

    /// A step of authentication. Only a client asks for it (section 3.15.2.1), and that it succeeded says CONNACK if
    /// that is still to come [MQTT-4.12.0-1].
    fn receive_step(&self, header: FixedHeader, body: &[u8]) -> Result<Received<'static>, Violation> {
        let auth = self.receive_auth(header, body)?;
        let fits = match auth.reason {
            ReasonCode::ContinueAuthentication => true,
            ReasonCode::Success => self.is_open(),
            _ => false,
        };
        if fits { Ok(Received::Auth(auth)) } else { Err(unfit(&auth)) }
    }

    fn connected(
        &mut self,
        now: Moment,
        connack: ConnAck,
        out: &mut Vec<u8>,
    ) -> Result<Received<'static>, Violation> {
        let Some(connect) = self.role.connect.take() else {
            return Err(Violation::new(Rule::UnexpectedPacket).in_packet(PacketType::ConnAck));
        };
        // A server that refuses has no session to speak of [MQTT-3.2.2-6], one that was told to begin anew
        // neither [MQTT-3.2.2-2].
        let violation = |rule| Err(Violation::new(rule).in_packet(PacketType::ConnAck));
        if connack.session_present && connack.reason.is_error() {
            return violation(Rule::SessionPresentWithError);
        }
        if connack.session_present && connect.clean_start {
            return violation(Rule::SessionPresentUnexpected);
        }
        if connack.reason.is_error() {
            self.phase = Phase::Closed;
            return Ok(Received::Connected(Box::new(Connected { connack, lost: Vec::new() })));
        }
        // One without a method is tolerated: nothing can be mistaken.
        let method = &connack.properties.authentication_method;
        if method.is_some() && *method != connect.properties.authentication_method {
            return violation(Rule::AuthenticationMethodChanged);
        }
        self.limits = Limits::for_client(&connect, &connack);
        self.phase = Phase::Open;
        let lost = if self.session_is_present(&connect, &connack) {
            let dropped = self.resume(now, out);
            dropped.into_iter().map(|message| Lost { tag: message.tag, message: Some(message) }).collect()
        } else {
            self.forget_backlog();
            self.session.clear()
        };
        Ok(Received::Connected(Box::new(Connected { connack, lost })))
    }

    /// Whether the server still has the session. Where the version cannot say so, it is as we asked.
    fn session_is_present(&self, connect: &Connect, connack: &ConnAck) -> bool {
        if connect.version.has_session_present() { connack.session_present } else { !connect.clean_start }
    }

    /// The answer to a request arrived with so many reasons, if any are sent; returns how many there should be.
    fn answered(
        &mut self,
        kind: PacketType,
        id: PacketId,
        reasons: impl Into<Option<usize>>,
    ) -> Result<usize, Violation> {
        let violation = |rule| Violation::new(rule).in_packet(kind).value(id.get().into());
        let request =
            self.session.outgoing.answer(id, kind).ok_or_else(|| violation(Rule::AcknowledgementMismatch))?;
        match reasons.into() {
            Some(reasons) if reasons != request.filters => Err(violation(Rule::ReasonCountMismatch)),
            _ => Ok(request.filters),
        }
    }

    fn request(
        &mut self,
        answer: PacketType,
        filters: usize,
        out: &mut Vec<u8>,
        encode: impl FnOnce(PacketId, &mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<PacketId, RequestError> {
        if !self.is_open() {
            return Err(RequestError::NotOpen);
        }
        if filters == 0 {
            return Err(RequestError::NoFilter);
        }
        let id = self.session.outgoing.next_id().ok_or(RequestError::NoPacketId)?;
        let start = out.len();
        let encoded = encode(id, out).map_err(RequestError::from);
        let (length, maximum) = (out.len() - start, self.limits.peer.maximum_packet_size);
        let sent = match encoded {
            Ok(()) if length > maximum as usize => Err(RequestError::TooLarge { length, maximum }),
            encoded => encoded.map(|()| id),
        };
        match sent {
            Ok(_) => self.session.outgoing.insert_request(id, Request { answer, filters }),
            Err(_) => out.truncate(start),
        }
        sent
    }
}

/// Adds the properties of an acknowledgement, which a client shows to its user.
fn with_properties<'a>(
    received: Received<'a>,
    kind: PacketType,
    body: &[u8],
    version: ProtocolVersion,
) -> Result<Received<'a>, Violation> {
    match received {
        // Packet id and reason alone have 3 bytes.
        Received::Acked(mut acked) if body.len() > 3 => {
            let properties = Ack::decode(kind, body, version)?.properties;
            acked.properties = (!properties.is_empty()).then(|| Box::new(properties));
            Ok(Received::Acked(acked))
        }
        other => Ok(other),
    }
}

/// A CONNECT without client id, will and credentials.
fn terms_of(connect: &Connect) -> Connect {
    let &Connect { version, clean_start, keep_alive, bridge, .. } = connect;
    let properties = connect.properties.clone();
    Connect { version, clean_start, keep_alive, properties, bridge, ..Connect::default() }
}

const PINGREQ: [u8; 2] = [0xC0, 0];
