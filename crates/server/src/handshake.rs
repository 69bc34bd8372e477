//! The handshake: from an accepted stream to a connection whose client is known.
//!
//! A stranger gets a bounded time, TLS included, and may send one bounded CONNECT; what comes behind it stays in the socket until it
//! is answered, but for the AUTH packets of its authentication method. Relates to: `authentication.rs`, which asks that
//! method; `claim.rs`, which gives the session; `connection.rs`, which takes over.

use std::future::poll_fn;
use std::sync::Arc;

use gantline_protocol::codec::Reader;
use gantline_protocol::{
    Auth, AuthenticationStep, ClientId, ConnAck, ConnAckProperties, Connect, FixedHeader, Limits, Packet,
    PacketType, ProtocolVersion, ReasonCode, Rule, ServerConnection, Violation,
};
use gantline_transport::{Clock, Framed, FramedError, HandshakeError, Stream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::admission::Admission;
use crate::authentication::Authentication;
use crate::broker::Broker;
use crate::broker::sessions::Terms;
use crate::claim::{SessionLease, claim};
use crate::connection::{Connection, farewell};

/// Brings a stream through the handshake and starts the task of its connection. Ends early when the server stops.
pub(crate) async fn serve(
    stream: Stream,
    admission: Admission,
    clock: Clock,
    mut stopping: watch::Receiver<bool>,
) {
    let broker = admission.broker();
    let peer = Arc::clone(stream.info());
    let shaken =
        timeout(broker.options.connect_timeout, shake_hands(&broker, stream, admission.exceeds, clock));
    let connection = tokio::select! {
        shaken = shaken => shaken,
        _ = stopping.wait_for(|stops| *stops) => return,
    };
    match connection {
        Ok(Ok(Accepted { framed, machine, authentication })) => {
            let mut connection = Connection::new(framed, machine, authentication, clock, admission);
            // The order to all may have come too early for this one.
            if *stopping.borrow() {
                connection.stop();
            }
            drop(tokio::spawn(connection.run()));
        }
        Ok(Err(Refused::Told(reason, framed))) => {
            tracing::info!(%peer, %reason, "refused");
            farewell(*framed, broker.options.close_timeout, admission).await;
        }
        Ok(Err(Refused::Violated(violation))) => {
            broker.counters.violations.add(1);
            tracing::info!(%peer, %violation, "closed before CONNECT was accepted");
        }
        Ok(Err(Refused::WithoutHandshake(error))) => tracing::info!(%peer, %error, "its handshake failed"),
        Ok(Err(Refused::Tls)) => {
            broker.counters.violations.add(1);
            tracing::info!(%peer, "sent TLS to a port without TLS: it has to use mqtt://, or another port");
        }
        Ok(Err(Refused::Left)) => tracing::debug!(%peer, "left before it was accepted"),
        Err(_) => tracing::info!(%peer, "its TLS handshake, CONNECT or authentication did not end in time"),
    }
}

/// A connection whose client is known.
struct Accepted {
    framed: Framed,
    machine: ServerConnection<SessionLease>,
    authentication: Option<Box<Authentication>>,
}

/// Why the authentication of CONNECT failed.
enum Unauthenticated {
    Refused(ReasonCode),
    Violated(Violation),
    Left,
}

/// Why there is no connection.
enum Refused {
    /// The client is told why.
    Told(ReasonCode, Box<Framed>),
    /// What came was not CONNECT, or there is no way to answer it.
    Violated(Violation),
    /// It never got as far as MQTT.
    WithoutHandshake(HandshakeError),
    /// There should have been no TLS.
    Tls,
    /// The client closed, or the network failed.
    Left,
}

async fn shake_hands(
    broker: &Arc<Broker>,
    stream: Stream,
    exceeds: bool,
    clock: Clock,
) -> Result<Accepted, Refused> {
    let options = &broker.options;
    let largest = options.max_connect_size.min(options.offer.maximum_packet_size);
    let stream = stream.handshake().await.map_err(Refused::WithoutHandshake)?;
    let mut framed = Framed::new(stream, largest);
    let mut frame = Vec::new();
    framed.next_frame(&mut frame).await.map_err(|error| match error {
        FramedError::Violation(violation) => Refused::Violated(violation),
        FramedError::Closed | FramedError::Io(_) => Refused::Left,
    })?;
    if frame.starts_with(&TLS_CLIENT_HELLO) {
        return Err(Refused::Tls);
    }
    let connect = match read(&frame) {
        Ok(connect) => connect,
        Err(violation) => return Err(answer(&frame, violation, framed)),
    };
    drop(frame);
    let (version, offer) = (connect.version, &options.offer);
    let limits = Limits::for_server(&connect, offer);
    let identified = if exceeds { Err(ReasonCode::QuotaExceeded) } else { judge(&connect, broker) };
    let id = match identified {
        Ok(id) => id,
        Err(reason) => return Err(refuse(reason, version, limits.peer.maximum_packet_size, framed)),
    };
    let mut connack = ConnAck::default();
    let authenticated =
        authenticate(broker, &connect, &id, &limits, &mut framed, &mut connack.properties).await;
    let authentication = match authenticated {
        Ok(authentication) => authentication,
        Err(Unauthenticated::Refused(reason)) => {
            return Err(refuse(reason, version, limits.peer.maximum_packet_size, framed));
        }
        Err(Unauthenticated::Violated(violation)) => {
            broker.counters.violations.add(1);
            tracing::debug!(client = %id, %violation, "does not answer AUTH as it must");
            return Err(refuse(violation.reason(), version, limits.peer.maximum_packet_size, framed));
        }
        Err(Unauthenticated::Left) => return Err(Refused::Left),
    };
    limits.describe(offer, &connect, &mut connack.properties);
    if connect.client_id.is_empty() && version.has_properties() {
        connack.properties.assigned_client_identifier = Some(id.as_str().to_owned());
    }
    // A client that cannot be told is not let in, and nobody has to make room for it.
    let out = framed.out();
    if connack.encode(version, out).is_err() || out.len() > limits.peer.maximum_packet_size as usize {
        return Err(Refused::Violated(Rule::PacketTooLarge.into()));
    }
    out.clear();
    let mut lease = claim(broker, clock, &id).await;
    // From here on nothing waits.
    let terms = Terms { clean_start: connect.clean_start, will: connect.will.as_ref(), limits: &limits };
    let now = clock.now();
    connack.session_present = lease.begin(&terms, now);
    let out = framed.out();
    // As before, but for the session.
    connack.encode(version, out).map_err(|_| Refused::Left)?;
    let mut machine = ServerConnection::new(limits, lease, now);
    if let Some(method) = connack.properties.authentication_method {
        machine.set_authentication_method(method);
    }
    if connack.session_present {
        let dropped = machine.resume(now, out);
        broker.counters.add_dropped(dropped.len() as u64);
    }
    framed.set_max_packet(offer.maximum_packet_size);
    broker.counters.connected.add(1);
    tracing::debug!(client = %id, %version, peer = %framed.info(), resumed = connack.session_present, "connected");
    Ok(Accepted { framed, machine, authentication })
}

/// Lets the method that CONNECT names judge the client, over as many AUTH packets as it wants, and puts its last word into
/// CONNACK [MQTT-4.12.0-5].
async fn authenticate(
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
            tracing::error!(client = %id, "a step of authentication is too large for it");
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

fn read(frame: &[u8]) -> Result<Connect, Violation> {
    let Some(header) = FixedHeader::parse(frame)? else { return Err(Rule::IncompletePacket.into()) };
    if header.packet_type != PacketType::Connect {
        return Err(Violation::new(Rule::FirstPacketNotConnect).in_packet(header.packet_type));
    }
    let version = ProtocolVersion::default();
    header.check_flags(version)?;
    Connect::decode(&frame[usize::from(header.header_len)..], header.flags, version)
}

/// The client id, if the server takes a client with this CONNECT.
fn judge(connect: &Connect, broker: &Broker) -> Result<ClientId, ReasonCode> {
    let offer = &broker.options.offer;
    if let Some(will) = &connect.will {
        if will.qos > offer.maximum_qos {
            return Err(ReasonCode::QoSNotSupported);
        }
        if will.retain && !offer.retain_available {
            return Err(ReasonCode::RetainNotSupported);
        }
        if will.topic.levels().count() > usize::from(broker.options.max_topic_levels) {
            return Err(ReasonCode::TopicNameInvalid);
        }
    }
    if connect.client_id.is_empty() {
        // [MQTT-3.1.3-8]: before 5.0 an empty id needs a clean session. 3.1 allows none.
        return if connect.version.has_properties()
            || (connect.clean_start && connect.version.has_session_present())
        {
            Ok(ClientId::random())
        } else {
            Err(ReasonCode::ClientIdentifierNotValid)
        };
    }
    let id = ClientId::new(&connect.client_id).map_err(|_| ReasonCode::ClientIdentifierNotValid)?;
    if id.fits(connect.version) { Ok(id) } else { Err(ReasonCode::ClientIdentifierNotValid) }
}

/// Answers a CONNECT that cannot be read, if its version allows that.
fn answer(frame: &[u8], violation: Violation, mut framed: Framed) -> Refused {
    if violation.rule == Rule::UnsupportedProtocolVersion {
        framed.out().extend_from_slice(&UNSUPPORTED_VERSION);
        return Refused::Told(violation.reason(), Box::new(framed));
    }
    match version_of(frame) {
        Some(version) if version.has_reason_codes() && violation.reason().allowed_in(PacketType::ConnAck) => {
            tracing::debug!(%violation, "CONNECT cannot be read");
            refuse(violation.reason(), version, u32::MAX, framed)
        }
        // [MQTT-3.1.4-1]: before 5.0 there is no return code for it.
        _ => Refused::Violated(violation),
    }
}

fn refuse(reason: ReasonCode, version: ProtocolVersion, max_packet: u32, mut framed: Framed) -> Refused {
    let connack = ConnAck { session_present: false, reason, properties: ConnAckProperties::default() };
    let out = framed.out();
    if connack.encode(version, out).is_err() || out.len() > max_packet as usize {
        out.clear();
    }
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

/// What TLS begins with. To MQTT it is a CONNECT with flags that CONNECT does not have.
const TLS_CLIENT_HELLO: [u8; 2] = [0x16, 3];
/// CONNACK with return code 1 in the form before 5.0, which every client can read [MQTT-3.1.2-2].
const UNSUPPORTED_VERSION: [u8; 4] = [0x20, 2, 0, 1];
