//! The handshake: from an accepted stream to a connection whose client is known.
//!
//! A stranger gets a bounded time, TLS included, and may send one bounded CONNECT; what comes behind it stays in the socket until it
//! is answered, but for the AUTH packets of its authentication method. Relates to: `authentication.rs`, which asks that
//! method; `claim.rs`, which gives the session; `connection.rs`, which takes over.

use std::borrow::Cow;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::Arc;

use gantline_protocol::codec::Reader;
use gantline_protocol::{
    Auth, AuthenticationStep, ClientId, ConnAck, ConnAckProperties, Connect, FixedHeader, Limits, Moment,
    Offer, Packet, PacketType, ProtocolVersion, ReasonCode, Rule, ServerConnection, Violation,
};
use gantline_transport::{Clock, Framed, FramedError, HandshakeError, PeerInfo, Stream, WebSocketFailure};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::Instrument;

use crate::admission::Admission;
use crate::authentication::Authentication;
use crate::broker::Broker;
use crate::broker::sessions::Terms;
use crate::claim::{SessionLease, claim};
use crate::connection::{Connection, farewell};
use crate::events::{DropCause, ServerEvent};
use crate::hooks::{ClientContext, PacketDirection};
use crate::intercepted::Interception;
use crate::review::{Reviewed, review};
use crate::session_items::SessionItems;
use crate::validation::{ConnectionRequest, Refusal, Verdict, validate, without_words};

/// Brings a stream through the handshake and starts the task of its connection. Ends early when the server stops.
pub(crate) async fn serve(
    stream: Stream,
    mut admission: Admission,
    clock: Clock,
    mut stopping: watch::Receiver<bool>,
) {
    let broker = admission.broker();
    let peer = Arc::clone(stream.info());
    let shaken = shake_hands(&broker, stream, &mut admission, clock);
    let span = tracing::debug_span!("handshake", %peer);
    let shaken = timeout(broker.options.connect_timeout, shaken.instrument(span));
    let connection = tokio::select! {
        shaken = shaken => shaken,
        _ = stopping.wait_for(|stops| *stops) => return,
    };
    match connection {
        Ok(Ok(Accepted { framed, machine, authentication, interception })) => {
            let mut connection =
                Connection::new(framed, machine, authentication, interception, clock, admission);
            // The order to all may have come too early for this one.
            if *stopping.borrow() {
                connection.stop();
            }
            drop(tokio::spawn(connection.run()));
        }
        Ok(Err(Refused::Told(reason, framed))) => {
            tracing::info!(name: "connection.refused", peer = %framed.info(), %reason, "refused");
            broker.events.announce(|| ServerEvent::Refused { peer: Arc::clone(framed.info()), reason });
            farewell(*framed, broker.options.close_timeout, admission).await;
        }
        Ok(Err(Refused::Untold(stranger, framed))) => {
            broker.counters.violations.add(1);
            stranger.report(framed.info());
            // MQTT has no word for it, but a layer below may have one.
            if framed.has_last_words() {
                farewell(*framed, broker.options.close_timeout, admission).await;
            }
        }
        Ok(Err(Refused::WithoutHandshake(error))) => {
            broker.counters.violations.add(u64::from(matches!(error, HandshakeError::ProxyProtocol(_))));
            tracing::info!(name: "connection.handshake_failed", %peer, %error, "its handshake failed");
        }
        Ok(Err(Refused::Left)) => {
            tracing::debug!(name: "connection.left", %peer, "left before it was accepted")
        }
        Err(_) => {
            broker.counters.timed_out.add(1);
            tracing::info!(
                name: "connection.timed_out",
                %peer,
                "its handshake, CONNECT or authentication did not end in time"
            );
        }
    }
}

/// A connection whose client is known.
struct Accepted {
    framed: Framed,
    machine: ServerConnection<SessionLease>,
    authentication: Option<Box<Authentication>>,
    interception: Option<Box<Interception>>,
}

/// A client that may connect, and on which terms.
struct Judged<'a> {
    id: ClientId,
    offer: Cow<'a, Offer>,
    /// What CONNACK is to say.
    told: ConnAckProperties,
    /// What the validator left for the session.
    items: Option<SessionItems>,
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
    /// There is no way to answer in MQTT.
    Untold(Stranger, Box<Framed>),
    /// It never got as far as MQTT.
    WithoutHandshake(HandshakeError),
    /// The client closed, or the network failed.
    Left,
}

/// Who cannot be answered in MQTT.
#[derive(Debug)]
enum Stranger {
    Violated(Violation),
    WebSocket(WebSocketFailure),
    Tls,
    Http,
}

impl Stranger {
    /// Says in the log who it was.
    fn report(&self, peer: &PeerInfo) {
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

async fn shake_hands(
    broker: &Arc<Broker>,
    stream: Stream,
    admission: &mut Admission,
    clock: Clock,
) -> Result<Accepted, Refused> {
    let options = &broker.options;
    let largest = options.max_connect_size.min(options.offer.maximum_packet_size);
    let stream = stream.handshake().await.map_err(Refused::WithoutHandshake)?;
    admission.comes_from(stream.info());
    let (frame, mut framed) = first_frame(Framed::new(stream, largest)).await?;
    let connect = match read(&frame) {
        Ok(connect) => connect,
        Err(violation) => return Err(answer(&frame, violation, framed)),
    };
    let bytes = frame.len() as u64;
    // The inspector wants to see it when its client is known.
    let frame = options.hooks.inspect.is_some().then_some(frame);
    let received = &broker.counters.flows().received;
    received.packets.add(1);
    received.bytes.add(bytes);
    let version = connect.version;
    let identified = if admission.exceeds { Err(ReasonCode::QuotaExceeded) } else { identify(&connect) };
    let judged = match identified {
        Ok(id) => judge(broker, &connect, id, framed.info()).await,
        Err(reason) => Err(Refusal::boxed(reason)),
    };
    let Judged { id, offer, told, items } = match judged {
        Ok(judged) => judged,
        Err(refusal) => return Err(refuse(*refusal, version, largest_for(&connect), framed)),
    };
    let limits = Limits::for_server(&connect, &offer);
    let mut connack = ConnAck { properties: told, ..ConnAck::default() };
    let authenticated =
        authenticate(broker, &connect, &id, &limits, &mut framed, &mut connack.properties).await;
    let authentication = match authenticated {
        Ok(authentication) => authentication,
        Err(Unauthenticated::Refused(reason)) => {
            broker.counters.unauthenticated.add(1);
            return Err(refuse(Refusal::new(reason), version, largest_for(&connect), framed));
        }
        Err(Unauthenticated::Violated(violation)) => {
            broker.counters.violations.add(1);
            tracing::debug!(
                name: "authentication.violation",
                client = %id,
                %violation,
                "does not answer AUTH as it must"
            );
            return Err(refuse(Refusal::new(violation.reason()), version, largest_for(&connect), framed));
        }
        Err(Unauthenticated::Left) => return Err(Refused::Left),
    };
    if broker.has_no_room_for(&id) {
        broker.counters.refused_sessions.add(1);
        let refusal = Refusal::new(ReasonCode::QuotaExceeded);
        return Err(refuse(refusal, version, largest_for(&connect), framed));
    }
    limits.describe(&offer, &connect, &mut connack.properties);
    if connect.client_id.is_empty() && version.has_properties() {
        connack.properties.assigned_client_identifier = Some(id.as_str().to_owned());
    }
    if !make_fit(&mut connack, version, largest_for(&connect), framed.out()) {
        return Err(untold(Rule::PacketTooLarge.into(), framed));
    }
    let client = (!options.hooks.is_empty()).then(|| {
        let user_name = connect.user_name.clone();
        let items = items.clone().unwrap_or_else(|| broker.items_of(&id));
        Arc::new(ClientContext::new(id.clone(), user_name, version, Arc::clone(framed.info()), items))
    });
    let reviewed = match &client {
        Some(client) if !connect.clean_start => review(broker, client).await,
        _ => Reviewed::default(),
    };
    let lease = claim(broker, clock, &id).await;
    // From here on nothing waits.
    let terms = Terms {
        clean_start: connect.clean_start,
        will: connect.will.as_ref(),
        limits: &limits,
        session_expiry_max: offer.session_expiry_maximum,
        client: client.as_ref(),
    };
    let machine = begin(broker, lease, &terms, reviewed, connack, &mut framed, clock.now())?;
    let slot = machine.session().slot();
    if let Some(items) = items {
        slot.record.items().take_over(&items);
    }
    framed.set_max_packet(offer.maximum_packet_size);
    slot.record.received.packets.add(1);
    slot.record.received.bytes.add(bytes);
    let interception = client.map(|client| {
        client.has_items(slot.record.items());
        let interception = Interception::new(broker, client, slot);
        if let Some(frame) = frame {
            framed.copy_payloads();
            interception.inspect(PacketDirection::In, &frame);
            interception.inspect_all(framed.out());
        }
        interception
    });
    Ok(Accepted { framed, machine, authentication, interception })
}

/// The first packet, whole, if it is one of MQTT.
async fn first_frame(mut framed: Framed) -> Result<(Vec<u8>, Framed), Refused> {
    let mut frame = Vec::new();
    match framed.next_frame(&mut frame).await {
        Ok(()) if frame.starts_with(&TLS_CLIENT_HELLO) => {
            Err(Refused::Untold(Stranger::Tls, Box::new(framed)))
        }
        Ok(()) if frame.starts_with(HTTP_GET) => Err(Refused::Untold(Stranger::Http, Box::new(framed))),
        Ok(()) => Ok((frame, framed)),
        Err(FramedError::Violation(violation)) => Err(untold(violation, framed)),
        Err(FramedError::Closed) => Err(Refused::Left),
        Err(FramedError::Io(error)) => Err(match WebSocketFailure::of(&error) {
            Some(failure) => Refused::Untold(Stranger::WebSocket(failure.clone()), Box::new(framed)),
            None => Refused::Left,
        }),
    }
}

fn untold(violation: Violation, framed: Framed) -> Refused {
    Refused::Untold(Stranger::Violated(violation), Box::new(framed))
}

/// Leaves out of a CONNACK what is too much for the client; whether it fits then. A client that cannot be told is not let
/// in, and nobody has to make room for it.
fn make_fit(connack: &mut ConnAck, version: ProtocolVersion, largest: u32, out: &mut Vec<u8>) -> bool {
    let mut fits = write(connack, version, largest, out);
    if !fits {
        connack.properties = without_words(std::mem::take(&mut connack.properties));
        fits = write(connack, version, largest, out);
    }
    out.clear();
    fits
}

/// Begins the connection with a session that was claimed, and writes CONNACK.
fn begin(
    broker: &Broker,
    mut lease: SessionLease,
    terms: &Terms<'_>,
    reviewed: Reviewed,
    mut connack: ConnAck,
    framed: &mut Framed,
    now: Moment,
) -> Result<ServerConnection<SessionLease>, Refused> {
    let slot = Arc::clone(lease.slot());
    let (peer, out) = (Arc::clone(framed.info()), framed.out());
    let version = terms.limits.version;
    connack.session_present = lease.begin(terms, now);
    slot.record.begin_connection(Arc::clone(&peer), version, now);
    // As before, but for the session.
    connack.encode(version, out).map_err(|_| Refused::Left)?;
    if connack.session_present {
        reviewed.apply(broker, &mut lease);
    }
    let mut machine = ServerConnection::new(terms.limits.clone(), lease, now);
    if let Some(method) = connack.properties.authentication_method {
        machine.set_authentication_method(method);
    }
    if connack.session_present {
        let dropped = machine.resume(now, out);
        broker.count_lost(&slot, DropCause::TooLarge, dropped.len() as u32);
    }
    broker.counters.connected.add(1);
    // CONNACK, and what is sent again.
    let sent = 1 + machine.inflight() as u64;
    slot.record.sent.packets.add(sent);
    broker.counters.flows().sent.packets.add(sent);
    let client = slot.id();
    broker.events.announce(|| ServerEvent::Connected {
        client_id: client.clone(),
        peer: Arc::clone(&peer),
        version,
        session_present: connack.session_present,
    });
    tracing::debug!(
        name: "client.connected",
        %client,
        %version,
        %peer,
        resumed = connack.session_present,
        "connected"
    );
    Ok(machine)
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

fn read(frame: &[u8]) -> Result<Connect, Violation> {
    let Some(header) = FixedHeader::parse(frame)? else { return Err(Rule::IncompletePacket.into()) };
    if header.packet_type != PacketType::Connect {
        return Err(Violation::new(Rule::FirstPacketNotConnect).in_packet(header.packet_type));
    }
    let version = ProtocolVersion::default();
    header.check_flags(version)?;
    Connect::decode(&frame[usize::from(header.header_len)..], header.flags, version)
}

/// The client id.
fn identify(connect: &Connect) -> Result<ClientId, ReasonCode> {
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

/// Whether the server takes a client with this CONNECT, and on which terms.
async fn judge<'a>(
    broker: &'a Broker,
    connect: &Connect,
    id: ClientId,
    peer: &Arc<PeerInfo>,
) -> Result<Judged<'a>, Box<Refusal>> {
    let options = &broker.options;
    let (id, offer, told, items) = match &options.connection_validator {
        None => (id, Cow::Borrowed(&options.offer), ConnAckProperties::default(), None),
        Some(validator) => {
            let items = SessionItems::default();
            let request =
                ConnectionRequest::new(connect.clone(), id.clone(), Arc::clone(peer), items.clone());
            let acceptance = match validate(&**validator, request).await {
                Verdict::Accept(acceptance) => acceptance,
                Verdict::Refuse(refusal) => {
                    broker.counters.rejected.add(1);
                    return Err(refusal);
                }
            };
            let offer = acceptance.grants(&options.offer);
            let (other, told) = acceptance.into_parts(connect);
            (other.unwrap_or(id), offer, told, Some(items).filter(|items| !items.is_empty()))
        }
    };
    if let Some(will) = &connect.will {
        if will.qos > offer.maximum_qos {
            return Err(Refusal::boxed(ReasonCode::QoSNotSupported));
        }
        if will.retain && !offer.retain_available {
            return Err(Refusal::boxed(ReasonCode::RetainNotSupported));
        }
        if let Some(reason) = broker.topic_bounds.refusal(will.topic.as_str()) {
            return Err(Refusal::boxed(reason));
        }
    }
    Ok(Judged { id, offer, told, items })
}

/// The largest packet that the client takes.
fn largest_for(connect: &Connect) -> u32 {
    connect.properties.maximum_packet_size.map_or(u32::MAX, NonZeroU32::get)
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
fn answer(frame: &[u8], violation: Violation, mut framed: Framed) -> Refused {
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

fn refuse(refusal: Refusal, version: ProtocolVersion, largest: u32, mut framed: Framed) -> Refused {
    let (reason, properties) = refusal.into_parts();
    let connack = ConnAck { session_present: false, reason, properties };
    if !write(&connack, version, largest, framed.out()) {
        let connack = ConnAck { properties: without_words(connack.properties), ..connack };
        write(&connack, version, largest, framed.out());
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
/// What an upgrade to WebSocket begins with. To MQTT it is a PUBACK with flags that PUBACK does not have.
const HTTP_GET: &[u8] = b"GET ";
/// CONNACK with return code 1 in the form before 5.0, which every client can read [MQTT-3.1.2-2].
const UNSUPPORTED_VERSION: [u8; 4] = [0x20, 2, 0, 1];
