//! The machine itself and what both ends do alike, except publishing.
//!
//! Relates to: `sending.rs` and `receiving.rs`, the two directions of publishes; `server.rs` and `client.rs`, which
//! dispatch packets to them and add what only their end does. Leaves out: CONNECT, subscriptions and timers.

use std::ops::DerefMut;

use super::receipts::Receipts;
use crate::codec::FixedHeader;
use crate::error::{EncodeError, Rule, Violation};
use crate::limits::Limits;
use crate::packet::{Auth, Disconnect, PacketType};
use crate::packet_id::PacketId;
use crate::properties::DisconnectProperties;
use crate::reason_code::ReasonCode;
use crate::session::Session;
use crate::time::Moment;
use crate::topic::{InboundAliases, OutboundAliases};

/// One end of an MQTT connection. `R` is which end, `S` is what owns or has borrowed the [`Session`].
///
/// See the [module](crate::connection) for how it is driven.
#[derive(Debug)]
pub struct Connection<R, S> {
    pub(super) session: S,
    pub(super) limits: Limits,
    pub(super) role: R,
    pub(super) phase: Phase,
    pub(super) last_received: Moment,
    pub(super) inbound: InboundAliases,
    /// The topic of the last publish that named one: it is valid, and so is the next one that equals it.
    #[expect(clippy::box_collection, reason = "a connection that does not publish pays one word for it")]
    pub(super) last_topic: Option<Box<String>>,
    pub(super) outbound: Option<Box<OutboundAliases>>,
    pub(super) at_least_once: Receipts,
    pub(super) exactly_once: Receipts,
    /// What is still to be sent again, the next one last.
    pub(super) backlog: Vec<PacketId>,
    /// Publishes of the peer that count against our Receive Maximum, less the flows of earlier connections that it has
    /// released on this one: for those the algorithm of section 4.9 gives it room too.
    pub(super) received: i32,
    /// Our publishes on this connection that count against the peer's Receive Maximum.
    pub(super) sent: u32,
    /// Which of the connections of its session this one is.
    pub(super) generation: u32,
    /// The authentication method of CONNECT; most have none.
    pub(super) method: Option<Box<str>>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// CONNECT is not answered yet.
    Opening,
    Open,
    /// One side has refused the other or said goodbye: nothing is sent any more [MQTT-3.14.4-1], nothing listened to.
    Closed,
}

/// Commands and questions, equal on both ends.
impl<R, S: DerefMut<Target = Session>> Connection<R, S> {
    pub(super) fn with_role(role: R, phase: Phase, limits: Limits, mut session: S, now: Moment) -> Self {
        let generation = session.incoming.begin();
        let mut backlog = session.outgoing.begin();
        backlog.reverse();
        Self {
            session,
            limits,
            role,
            phase,
            last_received: now,
            inbound: InboundAliases::default(),
            last_topic: None,
            outbound: None,
            at_least_once: Receipts::default(),
            exactly_once: Receipts::default(),
            backlog,
            received: 0,
            sent: 0,
            generation,
            method: None,
        }
    }

    /// Sends a step of (re-)authentication. Nothing on a version without AUTH and behind a goodbye.
    ///
    /// # Errors
    ///
    /// A field of it cannot be expressed, or the packet is larger than the peer's Maximum Packet Size [MQTT-3.1.2-24].
    /// Then nothing was written.
    pub fn auth(&mut self, auth: &Auth, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.phase == Phase::Closed || !self.limits.version.has_reason_codes() {
            return Ok(());
        }
        let start = out.len();
        auth.encode(self.limits.version, out)?;
        let (length, maximum) = (out.len() - start, self.limits.peer.maximum_packet_size);
        if length > maximum as usize {
            out.truncate(start);
            return Err(EncodeError::AbovePeerMaximum { length, maximum });
        }
        Ok(())
    }

    /// Ends the connection after a violation of the peer: tells it why, where the version can [MQTT-4.13.1-1]. The
    /// caller closes when `out` is written.
    pub fn goodbye(&mut self, violation: &Violation, out: &mut Vec<u8>) {
        let reason = violation.reason();
        let reason =
            if reason.allowed_in(PacketType::Disconnect) { reason } else { ReasonCode::ProtocolError };
        if self.is_open() && self.limits.version.has_reason_codes() {
            self.write_disconnect(reason, DisconnectProperties::default(), out);
        }
        self.phase = Phase::Closed;
    }

    /// Whether packets flow: the connection is accepted, and nobody said goodbye.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// What was agreed.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// To change what was agreed: the session expiry of a DISCONNECT, say.
    pub const fn limits_mut(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// What owns the session.
    pub const fn session(&self) -> &S {
        &self.session
    }

    /// To change what owns the session; the flows in it stay the machine's.
    pub const fn session_mut(&mut self) -> &mut S {
        &mut self.session
    }

    /// Ends the machine. Messages that were received and not acknowledged are forgotten: the peer sends them again.
    pub fn into_session(self) -> S {
        self.session
    }

    /// When a packet was last received.
    pub const fn last_received(&self) -> Moment {
        self.last_received
    }

    /// Gives back the memory of empty tables, for a connection that idles.
    pub fn trim(&mut self) {
        self.last_topic = None;
        self.at_least_once.trim();
        self.exactly_once.trim();
        if self.backlog.is_empty() {
            self.backlog = Vec::new();
        }
        self.session.trim();
    }
}

/// What the ends dispatch to.
impl<R, S: DerefMut<Target = Session>> Connection<R, S> {
    /// The header and the body of one whole packet within our own Maximum Packet Size.
    #[inline]
    pub(super) fn open_frame<'a>(&self, frame: &'a [u8]) -> Result<(FixedHeader, &'a [u8]), Violation> {
        let Some(header) = FixedHeader::parse(frame)? else { return Err(Rule::IncompletePacket.into()) };
        let violation = |rule| Err(Violation::new(rule).in_packet(header.packet_type));
        if frame.len() > self.limits.own.maximum_packet_size as usize {
            return violation(Rule::PacketTooLarge);
        }
        match frame.get(usize::from(header.header_len)..) {
            Some(body) if frame.len() == header.frame_len() => Ok((header, body)),
            _ if frame.len() > header.frame_len() => violation(Rule::TrailingBytes),
            _ => violation(Rule::IncompletePacket),
        }
    }

    /// A step of authentication arrived; whether a step is due is the caller's to know.
    pub(super) fn receive_auth(&self, header: FixedHeader, body: &[u8]) -> Result<Auth, Violation> {
        let auth = Auth::decode(body, header.flags, self.limits.version)?;
        let sent = &auth.properties.authentication_method;
        match (&self.method, sent) {
            (None, _) => Err(Violation::new(Rule::AuthenticationNotStarted).in_packet(PacketType::Auth)),
            // Nothing but a bare success has no method; the codec sees to it.
            (Some(method), Some(sent)) if **method != **sent => {
                Err(Violation::new(Rule::AuthenticationMethodChanged).in_packet(PacketType::Auth))
            }
            _ => Ok(auth),
        }
    }

    /// Writes DISCONNECT, if need be without reason string and user properties [MQTT-3.14.2-3] [MQTT-3.14.2-4].
    pub(super) fn write_disconnect(
        &self,
        reason: ReasonCode,
        properties: DisconnectProperties,
        out: &mut Vec<u8>,
    ) {
        let reason = reason.adapted_to(PacketType::Disconnect);
        let bare = DisconnectProperties {
            session_expiry_interval: properties.session_expiry_interval,
            server_reference: properties.server_reference.clone(),
            ..DisconnectProperties::default()
        };
        let packet = |properties| Disconnect { reason, properties };
        self.write_trimmed(
            out,
            |out| packet(properties).encode(self.limits.version, out),
            |out| packet(bare).encode(self.limits.version, out),
        );
    }

    /// Writes a packet whole, or bare of what is said in words if it would exceed the peer's Maximum Packet Size or
    /// cannot be expressed. If even that fails, nothing is written.
    pub(super) fn write_trimmed(
        &self,
        out: &mut Vec<u8>,
        whole: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
        bare: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) {
        let start = out.len();
        let fits = |out: &Vec<u8>| out.len() - start <= self.limits.peer.maximum_packet_size as usize;
        if whole(out).is_ok() && fits(out) {
            return;
        }
        out.truncate(start);
        if bare(out).is_err() || !fits(out) {
            out.truncate(start);
        }
    }
}

/// PINGREQ and PINGRESP have no body.
pub(super) const fn only_header(kind: PacketType, body: &[u8]) -> Result<(), Violation> {
    if body.is_empty() { Ok(()) } else { Err(Violation::new(Rule::TrailingBytes).in_packet(kind)) }
}

/// A step of authentication with a reason that its sender cannot have now.
pub(super) fn unfit(auth: &Auth) -> Violation {
    Violation::new(Rule::ReasonCodeInvalid).in_packet(PacketType::Auth).value(auth.reason.value().into())
}
