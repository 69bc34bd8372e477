//! Refusing: what somebody is told who gets no connection, and who cannot be told anything.
//!
//! Relates to: `validation.rs`, whose refusals come with words of their own. Leaves out: why somebody is refused.

use std::num::NonZeroU32;

use gantline_protocol::codec::Reader;
use gantline_protocol::{
    ConnAck, Connect, FixedHeader, PacketType, ProtocolVersion, ReasonCode, Rule, Violation,
};
use gantline_transport::{Framed, HandshakeError, PeerInfo, WebSocketFailure};

use crate::validation::{Refusal, without_words};

/// Why there is no connection.
pub(super) enum Refused {
    /// The client is told why.
    Told(ReasonCode, Box<Framed>),
    /// There is no way to answer in MQTT.
    Untold(Stranger, Box<Framed>),
    /// It never got as far as MQTT.
    WithoutHandshake(HandshakeError),
    /// The client closed, or the network failed.
    Left,
}

/// Who cannot be answered in MQTT.
#[derive(Debug)]
pub(super) enum Stranger {
    Violated(Violation),
    WebSocket(WebSocketFailure),
    Tls,
    Http,
}

impl Stranger {
    /// Says in the log who it was.
    pub(super) fn report(&self, peer: &PeerInfo) {
        match self {
            Self::Violated(violation) => tracing::info!(
                name: "connection.violation",
                %peer,
                %violation,
                "closed before CONNECT was accepted"
            ),
            Self::WebSocket(error) => {
                tracing::info!(name: "connection.handshake_failed", %peer, %error, "its handshake failed")
            }
            Self::Tls => tracing::info!(
                name: "connection.tls_unexpected",
                %peer,
                "sent TLS to a port without TLS: it has to use mqtt://, or another port"
            ),
            Self::Http => tracing::info!(
                name: "connection.http_unexpected",
                %peer,
                "sent HTTP to a port of MQTT: it has to use mqtt://, or the port of a ws:// listener"
            ),
        }
    }
}

/// Nobody understood the other; this is why.
pub(super) fn untold(violation: Violation, framed: Framed) -> Refused {
    Refused::Untold(Stranger::Violated(violation), Box::new(framed))
}

/// The largest packet that the client takes.
pub(super) fn largest_for(connect: &Connect) -> u32 {
    connect.properties.maximum_packet_size.map_or(u32::MAX, NonZeroU32::get)
}

/// Writes a CONNACK, without words if it is too large for the client with them. Whether it is written.
pub(super) fn write_fitting(
    connack: &mut ConnAck,
    version: ProtocolVersion,
    largest: u32,
    out: &mut Vec<u8>,
) -> bool {
    write(connack, version, largest, out) || {
        connack.properties = without_words(std::mem::take(&mut connack.properties));
        write(connack, version, largest, out)
    }
}

/// Writes a CONNACK, unless it is larger than this or cannot be expressed; then nothing is written.
fn write(connack: &ConnAck, version: ProtocolVersion, largest: u32, out: &mut Vec<u8>) -> bool {
    let fits = connack.encode(version, out).is_ok() && out.len() <= largest as usize;
    if !fits {
        out.clear();
    }
    fits
}

/// Answers a CONNECT that cannot be read, if its version allows that.
pub(super) fn answer(frame: &[u8], violation: Violation, mut framed: Framed) -> Refused {
    if violation.rule == Rule::UnsupportedProtocolVersion {
        framed.out().extend_from_slice(&UNSUPPORTED_VERSION);
        return Refused::Told(violation.reason(), Box::new(framed));
    }
    match version_of(frame) {
        Some(version) if version.has_reason_codes() && violation.reason().allowed_in(PacketType::ConnAck) => {
            tracing::debug!(name: "connection.connect_unreadable", %violation, "CONNECT cannot be read");
            refuse(Refusal::new(violation.reason()), version, u32::MAX, framed)
        }
        // [MQTT-3.1.4-1]: before 5.0 there is no return code for it.
        _ => untold(violation, framed),
    }
}

/// Says no, in as many words as the client takes.
pub(super) fn refuse(
    refusal: Refusal,
    version: ProtocolVersion,
    largest: u32,
    mut framed: Framed,
) -> Refused {
    let (reason, properties) = refusal.into_parts();
    let mut connack = ConnAck { session_present: false, reason, properties };
    write_fitting(&mut connack, version, largest, framed.out());
    Refused::Told(reason, Box::new(framed))
}

/// The version that a CONNECT names, whatever is wrong with the rest of it.
fn version_of(frame: &[u8]) -> Option<ProtocolVersion> {
    let header = FixedHeader::parse(frame).ok()??;
    if header.packet_type != PacketType::Connect {
        return None;
    }
    let mut body = Reader::new(frame.get(usize::from(header.header_len)..)?);
    let name = body.binary().ok()?;
    ProtocolVersion::from_wire(name, body.u8().ok()?)
}

/// CONNACK with return code 1 in the form before 5.0, which every client can read [MQTT-3.1.2-2].
const UNSUPPORTED_VERSION: [u8; 4] = [0x20, 2, 0, 1];
