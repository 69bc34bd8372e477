//! Authenticating a client before it is let in, by the method that its CONNECT names (section 4.12).
//!
//! Relates to: `authentication.rs`, which asks the method, here and again later. Leaves out: what follows from a
//! refusal.

use std::future::poll_fn;
use std::sync::Arc;

use gantline_protocol::{
    Auth, AuthenticationStep, ClientId, ConnAckProperties, Connect, Limits, Packet, PacketType,
    ProtocolVersion, ReasonCode, Rule, Violation,
};
use gantline_transport::{Framed, FramedError};

use crate::authentication::Authentication;
use crate::broker::Broker;

/// Why the authentication of CONNECT failed.
pub(super) enum Unauthenticated {
    Refused(ReasonCode),
    Violated(Violation),
    Left,
}

/// Lets the method that CONNECT names judge the client, over as many AUTH packets as it wants, and puts its last word
/// into CONNACK [MQTT-4.12.0-5].
pub(super) async fn authenticate(
    broker: &Broker,
    connect: &Connect,
    id: &ClientId,
    limits: &Limits,
    framed: &mut Framed,
    connack: &mut ConnAckProperties,
) -> Result<Option<Box<Authentication>>, Unauthenticated> {
    let Some(name) = &connect.properties.authentication_method else { return Ok(None) };
    let Some(method) = broker.options.authentication_method(name) else {
        return Err(Unauthenticated::Refused(ReasonCode::BadAuthenticationMethod));
    };
    let data = connect.properties.authentication_data.clone();
    let mut authentication =
        Box::new(Authentication::new(Arc::clone(method), id.clone(), connect.user_name.clone(), data));
    loop {
        let data = match poll_fn(|cx| authentication.poll(cx)).await {
            AuthenticationStep::Refuse(reason) => return Err(Unauthenticated::Refused(reason)),
            AuthenticationStep::Continue(data) => data,
            AuthenticationStep::Done(data) => {
                connack.authentication_method = Some(name.clone());
                connack.authentication_data = data;
                return Ok(Some(authentication));
            }
        };
        let (auth, out) = (authentication.packet(ReasonCode::ContinueAuthentication, data), framed.out());
        if auth.encode(connect.version, out).is_err() || out.len() > limits.peer.maximum_packet_size as usize
        {
            tracing::error!(
                name: "authentication.unsendable",
                client = %id,
                "a step of authentication is too large for it"
            );
            out.clear();
            return Err(Unauthenticated::Refused(ReasonCode::UnspecifiedError));
        }
        framed.flush().await.map_err(|_| Unauthenticated::Left)?;
        let answer = next_auth(framed, connect.version, name).await?;
        authentication.receive(answer).map_err(Unauthenticated::Violated)?;
    }
}

/// The client's answer to AUTH: another AUTH with the same method, or DISCONNECT [MQTT-3.1.2-30].
async fn next_auth(
    framed: &mut Framed,
    version: ProtocolVersion,
    method: &str,
) -> Result<Auth, Unauthenticated> {
    let mut frame = Vec::new();
    framed.next_frame(&mut frame).await.map_err(|error| match error {
        FramedError::Violation(violation) => Unauthenticated::Violated(violation),
        FramedError::Closed | FramedError::Io(_) => Unauthenticated::Left,
    })?;
    let (rule, kind) = match Packet::decode(&frame, version).map_err(Unauthenticated::Violated)? {
        Packet::Auth(auth) if auth.properties.authentication_method.as_deref() == Some(method) => {
            return Ok(auth);
        }
        Packet::Auth(_) => (Rule::AuthenticationMethodChanged, PacketType::Auth),
        Packet::Disconnect(_) => return Err(Unauthenticated::Left),
        other => (Rule::UnexpectedPacket, other.packet_type()),
    };
    Err(Unauthenticated::Violated(Violation::new(rule).in_packet(kind)))
}
