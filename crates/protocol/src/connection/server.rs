//! The server's end of a connection, from CONNACK to the end.
//!
//! Relates to: `link.rs` for everything that both ends do. Leaves out: CONNECT, its authentication and CONNACK, which
//! the server's handshake does before there is a machine, and what subscriptions mean.

use std::ops::DerefMut;

use super::keep_alive::patience_ends;
use super::link::{Phase, only_header, unfit};
use super::receiving::Sender;
use super::{Connection, Receipt, Received};
use crate::error::{Rule, Violation};
use crate::limits::Limits;
use crate::packet::{Disconnect, PacketType, PublishRef, SubAck, Subscribe, UnsubAck, Unsubscribe};
use crate::properties::{AckProperties, DisconnectProperties};
use crate::reason_code::ReasonCode;
use crate::session::Session;
use crate::time::Moment;
use crate::topic::TopicFilter;

/// The server's end of a connection.
pub type ServerConnection<S> = Connection<ServerSide, S>;

/// The role of [`ServerConnection`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerSide(());

impl<S: DerefMut<Target = Session>> Connection<ServerSide, S> {
    /// The machine of a client whose CONNECT was accepted; CONNACK is written by the caller. If the session was
    /// present, [`resume`](Connection::resume) follows.
    pub fn new(limits: Limits, session: S, now: Moment) -> Self {
        Self::with_role(ServerSide(()), Phase::Open, limits, session, now)
    }

    /// The authentication method that CONNECT named: with it the client may authenticate again. Without, AUTH is a
    /// violation [MQTT-4.12.0-6].
    pub fn set_authentication_method(&mut self, method: impl Into<Box<str>>) {
        self.method = Some(method.into());
    }

    /// Bytes came, be it of a packet that is not whole yet: a sign of life. By the letter of [MQTT-3.1.2-22] only
    /// whole packets are one, so this is for packets that take longer than the keep alive on a slow line.
    pub const fn note_received(&mut self, now: Moment) {
        self.last_received = now;
    }

    /// Looks at one whole packet, fixed header included. What is to be answered without the caller is appended to
    /// `out`. Behind a goodbye, of whichever side, packets are disregarded.
    ///
    /// # Errors
    ///
    /// The client broke a rule. The connection cannot go on: [`goodbye`](Connection::goodbye), then close.
    #[inline]
    pub fn receive<'a>(
        &'a mut self,
        now: Moment,
        frame: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Received<'a>, Violation> {
        self.last_received = now;
        if self.phase == Phase::Closed {
            return Ok(Received::Handled);
        }
        let (header, body) = self.open_frame(frame)?;
        let kind = header.packet_type;
        if kind == PacketType::Publish {
            return Ok(Received::publish(self.take_publish(Sender::Client, header.flags, body, out)?));
        }
        let version = self.limits.version;
        header.check_flags(version)?;
        match kind {
            PacketType::PubAck | PacketType::PubRec | PacketType::PubComp => {
                self.receive_ack(now, kind, body, out)
            }
            PacketType::PubRel => self.receive_pubrel(body, out),
            PacketType::PingReq => {
                only_header(kind, body)?;
                out.extend_from_slice(&PINGRESP);
                Ok(Received::Handled)
            }
            PacketType::Subscribe => {
                let subscribe = Subscribe::decode_within(
                    self.limits.maximum_filters.into(),
                    body,
                    header.flags,
                    version,
                )?;
                match self.unavailable(&subscribe) {
                    Some(rule) => Err(Violation::new(rule).in_packet(kind)),
                    None => Ok(Received::Subscribe(subscribe)),
                }
            }
            PacketType::Unsubscribe => {
                let most = self.limits.maximum_filters.into();
                Ok(Received::Unsubscribe(Unsubscribe::decode_within(most, body, header.flags, version)?))
            }
            PacketType::Disconnect => {
                let disconnect = Disconnect::decode(body, header.flags, version)?;
                // A session that was to end with the connection cannot be kept after all (section 3.14.2.2.2).
                let expiry = disconnect.properties.session_expiry_interval.unwrap_or(0);
                if expiry != 0 && !self.limits.session_expiry_requested {
                    return Err(Violation::new(Rule::SessionExpiryRaised).in_packet(kind).value(expiry));
                }
                self.phase = Phase::Closed;
                Ok(Received::Disconnect(disconnect))
            }
            PacketType::Auth => {
                let auth = self.receive_auth(header, body)?;
                // That it succeeded, only a server says (section 3.15.2.1).
                if auth.reason == ReasonCode::Success { Err(unfit(&auth)) } else { Ok(Received::Auth(auth)) }
            }
            // The client introduces itself once [MQTT-3.1.0-2].
            PacketType::Connect => Err(Violation::new(Rule::SecondConnect).in_packet(kind)),
            PacketType::Publish
            | PacketType::ConnAck
            | PacketType::SubAck
            | PacketType::UnsubAck
            | PacketType::PingResp => Err(Violation::new(Rule::UnexpectedPacket).in_packet(kind)),
        }
    }

    /// As [`receive`](Self::receive), for a frame that is known to be a PUBLISH: the way of most packets, which need
    /// not carry what only others have. `None` if the machine has done what was to be done.
    ///
    /// # Errors
    ///
    /// The client broke a rule.
    #[inline]
    pub fn receive_publish<'a>(
        &'a mut self,
        now: Moment,
        frame: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(PublishRef<'a>, Receipt)>, Violation> {
        self.last_received = now;
        if self.phase == Phase::Closed {
            return Ok(None);
        }
        self.open_publish(Sender::Client, frame, out)
    }

    /// Answers a SUBSCRIBE. Reason string and user properties are left out if the client does not want them or its
    /// Maximum Packet Size forbids them [MQTT-3.9.2-1] [MQTT-3.9.2-2].
    pub fn suback(&mut self, suback: &SubAck, out: &mut Vec<u8>) {
        if !self.is_open() {
            return;
        }
        let version = self.limits.version;
        let packet = |properties| SubAck { properties, ..suback.clone() };
        self.write_trimmed(
            out,
            |out| packet(self.told(&suback.properties)).encode(version, out),
            |out| packet(AckProperties::default()).encode(version, out),
        );
    }

    /// Answers an UNSUBSCRIBE; properties as in [`suback`](Self::suback).
    pub fn unsuback(&mut self, unsuback: &UnsubAck, out: &mut Vec<u8>) {
        if !self.is_open() {
            return;
        }
        let version = self.limits.version;
        let packet = |properties| UnsubAck { properties, ..unsuback.clone() };
        self.write_trimmed(
            out,
            |out| packet(self.told(&unsuback.properties)).encode(version, out),
            |out| packet(AckProperties::default()).encode(version, out),
        );
    }

    /// Ends the connection from our side: DISCONNECT where the version lets a server say so. The caller closes when
    /// `out` is written. A session expiry is left out: it is the client's to say [MQTT-3.14.2-2].
    pub fn disconnect(&mut self, reason: ReasonCode, properties: &DisconnectProperties, out: &mut Vec<u8>) {
        if self.is_open() && self.limits.version.server_may_disconnect() {
            let properties = DisconnectProperties { session_expiry_interval: None, ..properties.clone() };
            self.write_disconnect(reason, properties, out);
        }
        self.phase = Phase::Closed;
    }

    /// When the client is given up unless something comes from it. [`Moment::NEVER`] without keep alive.
    pub fn next_timeout(&self) -> Moment {
        patience_ends(self.limits.keep_alive, self.last_received)
    }

    /// Time has come, or not yet: nothing happens before [`next_timeout`](Self::next_timeout).
    ///
    /// # Errors
    ///
    /// The client is silent for one and a half times its keep alive [MQTT-3.1.2-22]: [`goodbye`](Connection::goodbye),
    /// then close.
    pub fn handle_timeout(&mut self, now: Moment, _out: &mut Vec<u8>) -> Result<(), Violation> {
        if self.next_timeout() <= now { Err(Rule::KeepAliveExpired.into()) } else { Ok(()) }
    }

    /// What a SUBSCRIBE asks for although CONNACK said that we do not offer it (sections 3.2.2.3.11 to 13). Where the
    /// version cannot say so, the caller has to refuse it filter by filter.
    fn unavailable(&self, subscribe: &Subscribe) -> Option<Rule> {
        let limits = &self.limits;
        let any =
            |wanted: fn(&TopicFilter) -> bool| subscribe.filters.iter().any(|each| wanted(&each.filter));
        if !limits.version.has_properties() {
            None
        } else if !limits.wildcard_subscriptions_available && any(TopicFilter::has_wildcard) {
            Some(Rule::WildcardSubscriptionsUnavailable)
        } else if !limits.shared_subscriptions_available && any(TopicFilter::is_shared) {
            Some(Rule::SharedSubscriptionsUnavailable)
        } else if !limits.subscription_identifiers_available
            && subscribe.properties.subscription_identifier.is_some()
        {
            Some(Rule::SubscriptionIdentifiersUnavailable)
        } else {
            None
        }
    }

    /// The properties of an acknowledgement as far as the client wants them.
    fn told(&self, properties: &AckProperties) -> AckProperties {
        if self.limits.request_problem_information { properties.clone() } else { AckProperties::default() }
    }
}

const PINGRESP: [u8; 2] = [0xD0, 0];
